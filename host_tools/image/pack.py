"""Many small files in one, for a board whose file system gives each a block of its own (firmware/hal/device/pack.py).

    "parkpak2"   8 bytes
    count        4 bytes, little-endian like all numbers here
    CRC-32       4 bytes, of the index
    index        count entries, ascending: CRC-32 of the path (4 bytes), offset from the start of the pack (4 bytes)
    content      of each file its size (4 bytes), CRC-32 (4 bytes) and bytes

A path is as in `parkgate/errors.mpy`. Folders are entries too, with the offset ffffffff.
"""

from __future__ import annotations

import binascii
import struct
from pathlib import PurePosixPath

from parkgate.errors import ParkgateError

MAGIC = b"parkpak2"
IS_FOLDER = 0xFFFFFFFF


class PackError(ParkgateError):
    """These files cannot be packed."""


def build(files: dict[str, bytes]) -> bytes:
    """The pack of these files, path → content. Raises PackError."""
    folders = {parent.as_posix() for path in files for parent in PurePosixPath(path).parents} - {"."}
    entries: dict[int, str] = {}
    for path in sorted({*files, *folders}):
        other = entries.setdefault(_crc(path), path)
        if other != path:
            raise PackError(f"{path} and {other} have the same CRC-32: rename one of the modules")
    at = len(MAGIC) + 8 + 8 * len(entries)
    index, content = b"", b""
    for crc in sorted(entries):
        path = entries[crc]
        index += struct.pack("<II", crc, IS_FOLDER if path in folders else at + len(content))
        if path in files:
            content += struct.pack("<II", len(files[path]), binascii.crc32(files[path])) + files[path]
    return MAGIC + struct.pack("<II", len(entries), binascii.crc32(index)) + index + content


def _crc(path: str) -> int:
    return binascii.crc32(path.encode())
