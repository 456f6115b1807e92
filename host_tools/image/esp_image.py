"""ESP32 images: the partition table, and what a firmware file holds.

Formats: ESP-IDF, "Partition Tables" and "App Image Format". MicroPython's .bin for a board is one piece: boot loader,
partition table at 0x8000 and app at 0x10000 of the flash; it is written from the chip's boot loader offset on.
"""

from __future__ import annotations

import csv
import hashlib
import re
import struct
from typing import NamedTuple

from host_tools.image.boards import CHIPS
from parkgate.errors import ParkgateError

TABLE_ADDRESS = 0x8000
TABLE_BYTES = 0xC00
_ENTRY = struct.Struct("<HBBII16sI")
_ENTRY_MAGIC, _HASH_MAGIC = 0x50AA, b"\xeb\xeb" + b"\xff" * 14
_IMAGE_MAGIC = 0xE9
_TYPES = {"app": 0, "data": 1}
_SUBTYPES = {"factory": 0x00, "ota": 0x00, "phy": 0x01, "nvs": 0x02, "fat": 0x81, "spiffs": 0x82}
_ALIGNMENT = {"app": 0x10000, "data": 0x1000}
_SEGMENTS_MAX = 16
_VERSION = re.compile(rb"v(\d+\.\d+\.\d+[\w.-]*) on 20\d\d-\d\d-\d\d")


class EspImageError(ParkgateError):
    """A partition table or firmware file that cannot be used."""


class Partition(NamedTuple):
    """One line of the table; offset and size in bytes."""

    name: str
    kind: str
    subtype: int
    offset: int
    size: int


def read_csv(text: str, flash_bytes: int) -> list[Partition]:
    """The table as a person writes it. Raises EspImageError if it would not work on a flash of that size."""
    rows = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    table = []
    for row in csv.reader(rows, skipinitialspace=True):
        try:
            name, kind, subtype, offset, size = [field.strip() for field in row[:5]]
            number = _SUBTYPES[subtype] if subtype in _SUBTYPES else int(subtype, 0)
            table.append(Partition(name, kind, number, int(offset, 0), int(size, 0)))
        except (ValueError, KeyError) as error:
            raise EspImageError(f"partition table: {','.join(row)!r} cannot be read ({error})") from error
    end = TABLE_ADDRESS + 0x1000
    for part in table:
        if part.kind not in _TYPES or part.offset % _ALIGNMENT[part.kind] or part.size % 0x1000 or not part.size:
            raise EspImageError(f"partition {part.name}: wrong kind, or not on a boundary")
        if part.offset < end:
            raise EspImageError(f"partition {part.name} begins inside the one before")
        end = part.offset + part.size
    if end > flash_bytes or len({part.name for part in table}) != len(table):
        raise EspImageError(f"the partitions end at {end:#x}, beyond the flash, or two have one name")
    return table


def table_bytes(table: list[Partition]) -> bytes:
    """The table as the boot loader reads it, with its MD5."""
    out = b"".join(
        _ENTRY.pack(_ENTRY_MAGIC, _TYPES[p.kind], p.subtype, p.offset, p.size, p.name.encode(), 0) for p in table
    )
    return (out + _HASH_MAGIC + hashlib.md5(out).digest()).ljust(TABLE_BYTES, b"\xff")


class Firmware(NamedTuple):
    """`app` is (offset in flash, bytes)."""

    chip: str
    version: str
    app: tuple[int, int]


def describe(image: bytes, image_offset: int) -> Firmware:
    """What a whole image holds that is written at `image_offset`. Raises EspImageError."""
    chip = _chip(image, 0)
    table = TABLE_ADDRESS - image_offset
    if len(image) < table + TABLE_BYTES or image[table : table + 2] != struct.pack("<H", _ENTRY_MAGIC):
        raise EspImageError(
            "there is no partition table in this file: it is an app alone (.app-bin), or for another chip; "
            "take the plain .bin of MicroPython's download page"
        )
    for at in range(table, table + TABLE_BYTES, _ENTRY.size):
        magic, kind, _, offset, _, _, _ = _ENTRY.unpack_from(image, at)
        if magic == _ENTRY_MAGIC and kind == _TYPES["app"]:
            begin = offset - image_offset
            size = _app_bytes(image, begin)
            version = _VERSION.search(image, begin)
            return Firmware(chip, version[1].decode() if version else "", (offset, size))
    raise EspImageError("the partition table in this file has no app")


def _chip(image: bytes, at: int) -> str:
    if len(image) < at + 24 or image[at] != _IMAGE_MAGIC:
        raise EspImageError("this is not an image for an ESP32: it does not begin with 0xE9")
    number = struct.unpack_from("<H", image, at + 12)[0]
    return next((chip.title for chip in CHIPS.values() if chip.esp_number == number), f"chip {number}")


def _app_bytes(image: bytes, at: int) -> int:
    """Length of the app image at `at`: header, segments, checksum to a multiple of 16, hash where there is one."""
    _chip(image, at)
    end = at + 24
    segments, hashed = image[at + 1], image[at + 23]
    if segments > _SEGMENTS_MAX:
        raise EspImageError(f"the app claims {segments} segments: the file is damaged")
    for _ in range(segments):
        if end + 8 > len(image):
            raise EspImageError("the file is cut short inside the app")
        end += 8 + struct.unpack_from("<I", image, end + 4)[0]
    end += 16 - (end - at) % 16
    end += 32 if hashed else 0
    if end > len(image):
        raise EspImageError(f"the file is cut short: the app ends at {end:,}, the file at {len(image):,}")
    return end - at


def with_table(image: bytes, image_offset: int, table: bytes) -> bytes:
    """The image with another partition table."""
    at = TABLE_ADDRESS - image_offset
    return image[:at] + table + image[at + len(table) :]
