"""UF2, the file that an RP2's boot loader takes as a USB drive: blocks of 512 bytes that each say where they belong.

Format: https://github.com/microsoft/uf2. A block carries 256 bytes of flash here. A file may hold blocks of two
families: MicroPython's images for RP2350 begin with one for the family "absolute" that only works around a fault of the
chip (RP2350-E10); such blocks are passed on as they are.
"""

from __future__ import annotations

import struct
from collections import Counter
from typing import NamedTuple

from parkgate.errors import ParkgateError

BLOCK_BYTES = 512
PAGE_BYTES = 256
SECTOR_BYTES = 4096
FLASH_BASE = 0x10000000

_HEAD = struct.Struct("<8I")
_BEGIN, _SECOND, _END = 0x0A324655, 0x9E5D5157, 0x0AB16F30
_NOT_FLASH, _FAMILY_KNOWN = 0x00000001, 0x00002000
_PAYLOAD_MAX = 476


class Uf2Error(ParkgateError):
    """The bytes are no UF2 file, or not one for a chip that we know."""


class Uf2(NamedTuple):
    """What a file puts into flash: `family`'s pages by address, and whole blocks that are for others."""

    family: int
    pages: dict[int, bytes]
    foreign: list[bytes]

    def flash(self, base: int = FLASH_BASE) -> bytes:
        """The flash from `base` to the last page, 0xFF where the file has no page."""
        end = max(address + len(data) for address, data in self.pages.items())
        out = bytearray(b"\xff" * (end - base))
        for address, data in self.pages.items():
            out[address - base : address - base + len(data)] = data
        return bytes(out)


def parse(data: bytes) -> Uf2:
    """Raises Uf2Error."""
    if not data or len(data) % BLOCK_BYTES:
        raise Uf2Error(f"{len(data)} bytes are not whole UF2 blocks: the file is cut short or of another kind")
    blocks = [_block(data[at : at + BLOCK_BYTES], at) for at in range(0, len(data), BLOCK_BYTES)]
    family = Counter(family for family, *_ in blocks).most_common(1)[0][0]
    pages: dict[int, bytes] = {}
    foreign = []
    for index, (of, flags, address, payload) in enumerate(blocks):
        if of != family or flags & _NOT_FLASH:
            foreign.append(data[index * BLOCK_BYTES : (index + 1) * BLOCK_BYTES])
        elif address < FLASH_BASE:
            raise Uf2Error(f"block {index} is for the address {address:#x}, which is not in flash")
        else:
            pages[address] = payload
    if not pages:
        raise Uf2Error("nothing in this file is for flash")
    return Uf2(family, pages, foreign)


def _block(block: bytes, at: int) -> tuple[int, int, int, bytes]:
    begin, second, flags, address, length, _number, _count, family = _HEAD.unpack_from(block)
    end = struct.unpack_from("<I", block, BLOCK_BYTES - 4)[0]
    if (begin, second, end) != (_BEGIN, _SECOND, _END) or length > _PAYLOAD_MAX:
        raise Uf2Error(f"no UF2 block at byte {at}")
    return family if flags & _FAMILY_KNOWN else 0, flags, address, block[_HEAD.size : _HEAD.size + length]


def build(family: int, regions: dict[int, bytes], foreign: list[bytes]) -> bytes:
    """One file that writes `regions` (address → bytes), in whole sectors: the boot loader erases a sector when its
    first page comes, so each sector that is touched is given entirely. Blank sectors of a region are given too."""
    sectors: dict[int, bytearray] = {}
    for start, data in regions.items():
        for address in range(start - start % SECTOR_BYTES, start + len(data), SECTOR_BYTES):
            sector = sectors.setdefault(address, bytearray(b"\xff" * SECTOR_BYTES))
            begin, end = max(address, start), min(address + SECTOR_BYTES, start + len(data))
            sector[begin - address : end - address] = data[begin - start : end - start]
    count = len(sectors) * (SECTOR_BYTES // PAGE_BYTES)
    out = bytearray(b"".join(foreign))
    number = 0
    for address in sorted(sectors):
        for at in range(0, SECTOR_BYTES, PAGE_BYTES):
            head = (_BEGIN, _SECOND, _FAMILY_KNOWN, address + at, PAGE_BYTES, number, count, family)
            out += _HEAD.pack(*head) + sectors[address][at : at + PAGE_BYTES].ljust(_PAYLOAD_MAX, b"\0")
            out += struct.pack("<I", _END)
            number += 1
    return bytes(out)
