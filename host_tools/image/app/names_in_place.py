"""The firmware's names as a table that MicroPython on an RP2 reads where it lies in flash.

MicroPython numbers each name (a "qstr") and keeps those that its image does not have in the heap, in tables ("pools")
that point to the one before: py/qstr.c. A gateway has a thousand of them. Here they become one more such table, for one
image of MicroPython: the numbers continue behind those of the image and of what its start adds (STARTING). So the
numbers of all names are known, and the table of numbers that each module has can lie in flash as well.
`firmware/hal/rp2/names_in_place.py` makes MicroPython use it, if everything on the board is as it was taken to be.

The block ends where the code that runs in place begins (code_in_place.py); all integers are little-endian:

    texts       a zero, then each name and a zero, in the order of their bytes
    hashes      a byte each
    lengths     a byte each
    pool        as py/qstr.h has it; the pool before it is to lie at the address `arena`
    functions   objects as py/objfun.h has them, 16 bytes each: address of the type, of the module's context, 0, address
                of the bytecode
    numbers     2 bytes for each name of each module
    modules     as many as the block of code has, in its order: 4 bytes place of its numbers in the block; 2 each: how
                many numbers, number of the module's context (65535: none), number of its first function, how many
    tail        "parkgate names 1"; 4 bytes each: length of the block, address of the block, of the pool, of `arena`;
                bytes of the arena; address of the newest pool in MicroPython's image; how many names that and those
                before it have; places of modules and functions in the block; CRC-32 of all before

The arena is a piece of the heap at its very end, so that the block can say where things in it are: the table of the few
names that came before, and behind that a context of 16 bytes for each module that has functions here (where they find
the module's variables, names and constants), then 2 kB of nothing: the stack of 8 kB lies right behind the heap
and grows towards it, and where imports nest deep it goes beyond its end.
"""

from __future__ import annotations

import binascii
import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from host_tools.image.app.code_in_place import Module

MAGIC = b"parkgate names 1"
TAIL_BYTES = 56
STARTING = 96  # so many names may come into the heap before this table is in use
STARTING_BYTES = 640  # what the table of those takes
CONTEXT_BYTES = 16
GUARD_BYTES = 2048  # at the end: MicroPython's stack comes from above, and reached 400 bytes into the heap at a start
NO_CONTEXT = 0xFFFF
_GENERATOR, _DEFAULTS_BY_NAME = 1, 8  # flags of a function: MP_SCOPE_FLAG_… in py/bc.h
_BINDS_SELF, _BUILTIN = 0x20, 0x40  # flags of a type: MP_TYPE_FLAG_… in py/obj.h
LONGEST = 255
_ALLOC = 10  # MICROPY_ALLOC_QSTR_ENTRIES_INIT: all pools of an image have it
_OWN_ALLOC = 16  # the next pool, in the heap, is made for twice as many
_SORTED = 1 << 31
_POOL = struct.Struct("<6I")
_ROW = struct.Struct("<IHHHH")


class Rom(NamedTuple):
    """Names of MicroPython's image with their numbers; where its newest pool is, and how many names there are."""

    numbers: dict[bytes, int]
    pool: int
    names: int


class Code(NamedTuple):
    """The firmware: name → module, in the order of the block of code; name → addresses of its functions' bytecode; the
    names of modules that are taken out of memory at times."""

    modules: dict[str, Module]
    places: dict[str, list[int]]
    leaving: set[str]


class Image(NamedTuple):
    """What is to be known of MicroPython's image: its names; the addresses of its types for functions and for generator
    functions, None where they are not found."""

    rom: Rom
    types: tuple[int, int] | None


def types_of_image(flash: bytes, rom: Rom, base: int = 0x10000000) -> tuple[int, int] | None:
    """Addresses of mp_type_fun_bc and mp_type_gen_wrap. Several types have the same name and form. The order in
    which py/objfun.c and py/objgenerator.c define them shows which is which. The board checks the result."""
    head = {word: struct.pack("<HH", _BINDS_SELF, rom.numbers[word]) for word in (b"function", b"generator")}
    built_in = struct.pack("<HH", _BINDS_SELF | _BUILTIN, rom.numbers[b"function"])
    of_types = next(
        (
            at
            for at in _words(flash, struct.pack("<H", rom.numbers[b"type"]), 6)
            if flash[at : at + 4] == struct.pack("<I", base + at)
        ),
        None,
    )
    if of_types is None:
        return None
    kind = flash[of_types : of_types + 4]
    functions = [at for at in _words(flash, kind + head[b"function"], 0) if flash[at + 9] and flash[at + 13]]
    others = _words(flash, kind + built_in, 0)
    generators = _words(flash, kind + head[b"generator"], 0)
    running = [
        at
        for at in _words(flash, struct.pack("<H", rom.numbers[b"generator"]), 6)
        if flash[at : at + 4] == kind and at not in generators
    ]
    if not functions or not others or not generators or not running:
        return None
    function = min(functions, key=lambda at: min(abs(at - other) for other in others))
    generator = max(generators, key=lambda at: abs(at - running[0]))
    return base + function, base + generator


def _words(flash: bytes, wanted: bytes, offset: int) -> list[int]:
    """Places, multiples of 4, with these bytes at an offset from them."""
    found = []
    at = -1
    while (at := flash.find(wanted, at + 1)) >= 0:
        if (at - offset) % 4 == 0:
            found.append(at - offset)
    return found


def of_image(flash: bytes, base: int = 0x10000000) -> Rom | None:
    """The names of an image that begins at address `base`; None where they are not found as this code knows them."""
    at = -1
    while (at := flash.find(struct.pack("<III", 0, 0, _ALLOC), at + 1)) >= 0:
        names = _pool(flash, base, at)
        if names and at % 4 == 0:
            return _chain(flash, base, at, names)
    return None


def _chain(flash: bytes, base: int, at: int, names: list[bytes]) -> Rom | None:
    """All pools, from the oldest on, which is at `at`."""
    found = True
    while found:
        found = False
        here = -1
        while (here := flash.find(struct.pack("<I", base + at), here + 1)) >= 0:
            head = flash[here + 4 : here + 12]
            if here % 4 == 0 and head in (struct.pack("<II", len(names) | bit, _ALLOC) for bit in (0, _SORTED)):
                more = _pool(flash, base, here)
                if more:
                    names, at, found = names + more, here, True
                    break
    numbers = {name: number for number, name in enumerate(names) if name}
    return Rom(numbers, base + at, len(names)) if len(numbers) >= len(names) - 2 else None


def hash_of(name: bytes) -> int:
    """As qstr_compute_hash of MicroPython, where a hash has one byte."""
    value = 5381
    for byte in name:
        value = (value * 33 ^ byte) & 0xFFFFFFFF
    return value & 0xFF or 1


def _pool(flash: bytes, base: int, at: int) -> list[bytes]:
    """The names of a pool at `at`, [] if this is none."""
    *_, count, hashes, lengths = _POOL.unpack_from(flash, at)
    hashes, lengths = hashes - base, lengths - base
    if not 8 < count < 8192 or not 0 < hashes < len(flash) - count or not 0 < lengths < len(flash) - count:
        return []
    places = flash[at + _POOL.size : at + _POOL.size + 4 * count]
    if len(places) < 4 * count:
        return []
    names = []
    for i, (place,) in enumerate(struct.iter_unpack("<I", places)):
        name = flash[place - base : place - base + flash[lengths + i]] if base < place < base + len(flash) else b""
        if name and (
            hash_of(name) != flash[hashes + i]
            or flash[place - base + len(name) : place - base + len(name) + 1] != b"\0"
        ):
            return []
        names.append(name)
    return names


def table(modules: Iterable[Module], paths: Iterable[bytes], rom: Rom, before: set[bytes]) -> list[bytes]:
    """The names that the table shall have, in order: those of the modules and of their files which neither the image
    has nor what is loaded `before` the table."""
    found = {name for module in modules for name in module.names if isinstance(name, bytes)} | set(paths)
    return sorted(name for name in found - rom.numbers.keys() - before if len(name) <= LONGEST)


def build(code: Code, names: list[bytes], image: Image, end: int, heap_end: int) -> bytes:
    """The block that ends at the address `end`; `heap_end` is where the heap ends."""
    rom, types = image
    first = rom.names + STARTING
    numbers = {**rom.numbers, **{name: first + i for i, name in enumerate(names)}}
    made = [_functions(module, name, code, types) for name, module in code.modules.items()]
    arena_bytes = STARTING_BYTES + CONTEXT_BYTES * sum(map(bool, made)) + GUARD_BYTES
    arena = heap_end - arena_bytes
    texts = b"\0" + b"".join(name + b"\0" for name in names)
    fixed = texts + bytes(map(hash_of, names)) + bytes(map(len, names))
    fixed += bytes(-len(fixed) % 4)
    functions_at = len(fixed) + _POOL.size + 4 * len(names)
    contexts = count = 0
    rows, tables, functions = b"", b"", b""
    numbers_at = functions_at + CONTEXT_BYTES * sum(map(len, made))
    for (name, module), of_module in zip(code.modules.items(), made, strict=True):
        table = b"" if name in code.leaving else _numbers(module, numbers)
        number = contexts if of_module else NO_CONTEXT
        rows += _ROW.pack(numbers_at + len(tables), len(table) // 2, number, count, len(of_module))
        tables += table
        context = arena + STARTING_BYTES + CONTEXT_BYTES * contexts
        functions += b"".join(struct.pack("<4I", kind, context, 0, at) for kind, at in of_module)
        contexts += bool(of_module)
        count += len(of_module)
    tables += bytes(-len(tables) % 4)
    rows_at = numbers_at + len(tables)
    size = rows_at + len(rows) + TAIL_BYTES
    begin = end - size
    hashes = begin + len(texts)
    pool = _POOL.pack(arena, first | _SORTED, _OWN_ALLOC, len(names), hashes, hashes + len(names))
    pool += b"".join(struct.pack("<I", begin + place) for place in _places(names))
    block = fixed + pool + functions + tables + rows + MAGIC
    about = (size, begin, begin + len(fixed), arena, arena_bytes, rom.pool, rom.names, rows_at, functions_at)
    block += struct.pack("<9I", *about)
    return block + struct.pack("<I", binascii.crc32(block))


def _functions(module: Module, name: str, code: Code, types: tuple[int, int] | None) -> list[tuple[int, int]]:
    """(type, address of the bytecode) of the functions that can lie in flash: those with no function inside and no
    default values, of modules that stay."""
    if types is None or name in code.leaving:
        return []
    found = []
    for (bytecode, inside), at in list(zip(module.functions, code.places[name], strict=True))[1:]:
        flags, defaults = _signature(bytecode)
        if not inside and not defaults and not flags & _DEFAULTS_BY_NAME:
            found.append((types[flags & _GENERATOR], at))
    return found


def _signature(bytecode: bytes) -> tuple[int, int]:
    """Flags of a function and how many of its parameters have a default value: MP_BC_PRELUDE_SIG in py/bc.h."""
    flags = defaults = count = at = 0
    byte = bytecode[0]
    while byte & 0x80:
        at += 1
        byte = bytecode[at]
        flags |= (byte >> 6 & 1) << count
        defaults |= (byte & 1) << count
        count += 1
    return flags, defaults


def _places(names: list[bytes]) -> Iterator[int]:
    at = 1
    for name in names:
        yield at
        at += len(name) + 1


def _numbers(module: Module, numbers: dict[bytes, int]) -> bytes:
    """A module's table of numbers; empty where one of them is not known beforehand."""
    found = [name if isinstance(name, int) else numbers.get(name) for name in module.names]
    if None in found:
        return b""
    return b"".join(struct.pack("<H", number) for number in found if number is not None)
