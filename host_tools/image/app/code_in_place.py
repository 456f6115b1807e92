"""Bytecode and texts of compiled modules as `firmware/hal/rp2/in_place.py` finds them in an RP2's flash.

The block ends where the signing table's head begins; all integers are little-endian:

    bytecode of each function and each long text with a zero behind it, at multiples of 4; what is equal lies there once
    index     a record for each module, in the order in which they are imported:
                  2 bytes length of the record, 2 how many functions, 2 constants, 2 texts, 1 length of the name, name
                  functions, the outer one before those inside it: 4 bytes place in the block, 2 length, 2 how many
                  functions are directly inside
                  texts: 4 bytes place, 2 length
    tail      "parkgate code 1", 0; 4 bytes length of the block; 4 of the index; CRC-32 of the index

A .mpy file (version 6; py/persistentcode.c of MicroPython) holds the same bytes, but between others, and in a file
system that may lay them anywhere.
"""

from __future__ import annotations

import binascii
import struct
from dataclasses import dataclass, field

from parkgate.errors import ParkgateError

MAGIC = b"parkgate code 1\0"
TAIL_BYTES = 28
LONGEST = 0xFFFF
_STR, _BYTES, _TUPLE = 5, 6, 10
_PLAIN = (1, 2, 3, 4)  # None, False, True, …: no content


class MpyError(ParkgateError):
    """A .mpy file that this code does not understand."""


@dataclass
class Module:
    """`functions` are (bytecode, how many are directly inside), the outer before the inner; the first is the body.
    `names` are the module's names, as bytes, or as their numbers for those that are the same in each MicroPython."""

    functions: list[tuple[bytes, int]] = field(default_factory=list)
    constants: int = 0
    texts: list[bytes] = field(default_factory=list)
    names: list[bytes | int] = field(default_factory=list)

    @property
    def code_bytes(self) -> int:
        """What its functions and texts take in flash, or in the heap."""
        return sum(len(code) for code, _ in self.functions) + sum(map(len, self.texts))


class _Reader:
    def __init__(self, data: bytes):
        self.data = data
        self.at = 0

    def take(self, count: int) -> bytes:
        found = self.data[self.at : self.at + count]
        if len(found) != count:
            raise MpyError("the .mpy file ends too early")
        self.at += count
        return found

    def number(self) -> int:
        value = 0
        while True:
            byte = self.take(1)[0]
            value = value << 7 | byte & 0x7F
            if byte < 0x80:
                return value


def parse(data: bytes) -> Module:
    """The functions and texts of a .mpy file. Raises MpyError."""
    reader = _Reader(data)
    head = reader.take(4)
    if head[:2] != b"M\x06" or head[2] & 0x40:
        raise MpyError("not a .mpy file of version 6")
    names, constants = reader.number(), reader.number()
    module = Module(constants=constants)
    for _ in range(names):
        length = reader.number()
        module.names.append(length >> 1 if length & 1 else reader.take((length >> 1) + 1)[:-1])
    for _ in range(constants):
        _constant(reader, module)
    _function(reader, module)
    if reader.at != len(data):
        raise MpyError("the .mpy file has something behind its code")
    return module


def _constant(reader: _Reader, module: Module) -> None:
    kind = reader.take(1)[0]
    if kind in _PLAIN:
        return
    length = reader.number()
    if kind == _TUPLE:
        for _ in range(length):
            _constant(reader, module)
    elif kind in (_STR, _BYTES):
        text = reader.take(length)
        if reader.take(1) != b"\0":
            raise MpyError("a text of the .mpy file does not end")
        if text or kind == _STR:
            module.texts.append(text)
    else:
        reader.take(length)


def _function(reader: _Reader, module: Module) -> None:
    head = reader.number()
    if head & 3:
        raise MpyError("native code in a .mpy file")
    number = len(module.functions)
    module.functions.append((reader.take(head >> 3), 0))
    children = reader.number() if head & 4 else 0
    module.functions[number] = (module.functions[number][0], children)
    for _ in range(children):
        _function(reader, module)


def build(modules: dict[str, bytes]) -> bytes:
    """The block for these modules (dotted name → .mpy file). Raises MpyError."""
    block = bytearray()
    index = bytearray()

    there: dict[bytes, int] = {}

    def place(content: bytes, end: bytes = b"") -> tuple[int, int]:
        if len(content) > LONGEST:
            raise MpyError("a function or text is too long")
        whole = content + end
        if whole not in there:
            block.extend(bytes(-len(block) % 4))
            there[whole] = len(block)
            block.extend(whole)
        return there[whole], len(content)

    for name, data in modules.items():
        module = parse(data)
        entries = b"".join(struct.pack("<IHH", *place(code), inside) for code, inside in module.functions)
        entries += b"".join(struct.pack("<IH", *place(text, b"\0")) for text in module.texts)
        said = name.encode()
        counts = (len(module.functions), module.constants, len(module.texts), len(said))
        index += struct.pack("<HHHHB", 9 + len(said) + len(entries), *counts) + said + entries
    block.extend(bytes(-(len(block) + len(index) + TAIL_BYTES) % 4))
    size = len(block) + len(index) + TAIL_BYTES
    return bytes(block + index) + MAGIC + struct.pack("<III", size, len(index), binascii.crc32(index))


def places(block: bytes, end: int) -> dict[str, list[int]]:
    """Name of each module in a block that ends at the address `end` → addresses of its functions' bytecode."""
    size, length = struct.unpack_from("<II", block, len(block) - TAIL_BYTES + len(MAGIC))
    at = size - TAIL_BYTES - length
    found = {}
    while at < size - TAIL_BYTES:
        step, functions, _, _, name = struct.unpack_from("<HHHHB", block, at)
        entries = at + 9 + name
        begin = end - size
        found[block[at + 9 : entries].decode()] = [
            begin + struct.unpack_from("<I", block, entries + 8 * i)[0] for i in range(functions)
        ]
        at += step
    return found


def modules_in(block: bytes) -> dict[str, list[int]]:
    """Name of each module in a block → how many bytes of it lie there, and their CRC-32. CODE_STATE in flash_write.py
    asks a board the same of the block in its flash."""
    size, length = struct.unpack_from("<II", block, len(block) - TAIL_BYTES + len(MAGIC))
    at = size - TAIL_BYTES - length
    found = {}
    while at < size - TAIL_BYTES:
        step, functions, _, texts, name = struct.unpack_from("<HHHHB", block, at)
        entries = at + 9 + name
        total = value = 0
        for i in range(functions + texts):
            place, long = struct.unpack_from("<IH", block, entries + 8 * i - 2 * max(0, i - functions))
            value = binascii.crc32(block[place : place + long], value)
            total += long
        found[block[at + 9 : entries].decode()] = [total, value]
        at += step
    return found
