"""What an RP2 firmware says about itself: the Pico SDK's "binary information" inside the image.

Layout: pico-sdk, src/common/pico_binary_info/include/pico/binary_info/{defs,structure}.h. A header near the start
points to a list of pointers to entries; all pointers are addresses of the mapped flash.
"""

from __future__ import annotations

import re
import struct
from typing import NamedTuple

from host_tools.image.uf2 import FLASH_BASE

_HEADER = re.compile(rb"\xf2\xeb\x88\x71(............)\x90\xa3\x1a\xe7", re.DOTALL)
_SEARCHED = 4096
_TYPE_STRING, _TYPE_BLOCK_DEVICE = 6, 7
_ID_BOARD, _ID_VERSION = 0xB63CFFBB, 0x11A9BC3A
_ENTRIES_MAX = 1000


class Rp2Firmware(NamedTuple):
    """`storage` is (offset in flash, bytes) of MicroPython's storage area; None or "" where the image does not say."""

    board_id: str
    version: str
    storage: tuple[int, int] | None


def describe(flash: bytes) -> Rp2Firmware:
    """Read an image that begins at the start of the flash. What is missing or damaged stays empty."""
    board_id = version = ""
    storage = None
    found = _HEADER.search(flash, 0, _SEARCHED)
    if found:
        start, end, _ = struct.unpack("<III", found[1])
        for at in range(start, min(end, start + 4 * _ENTRIES_MAX), 4):
            entry = _word(flash, at)
            kind = _word(flash, entry) & 0xFFFF
            if kind == _TYPE_STRING:
                name = _word(flash, entry + 4)
                if name == _ID_BOARD:
                    board_id = _text(flash, _word(flash, entry + 8))
                elif name == _ID_VERSION:
                    version = _text(flash, _word(flash, entry + 8))
            elif kind == _TYPE_BLOCK_DEVICE and storage is None:
                storage = (_word(flash, entry + 8) - FLASH_BASE, _word(flash, entry + 12))
    return Rp2Firmware(board_id, version, storage)


def _word(flash: bytes, address: int) -> int:
    at = address - FLASH_BASE
    return struct.unpack_from("<I", flash, at)[0] if 0 <= at <= len(flash) - 4 else 0


def _text(flash: bytes, address: int) -> str:
    at = address - FLASH_BASE
    return flash[at : flash.find(b"\0", at)].decode(errors="replace") if 0 <= at < len(flash) else ""
