"""Small stand-ins for MicroPython's images, made from the formats' own documents: enough for a tool that looks at
what an image says about itself. They run nowhere."""

import hashlib
import struct

FLASH_BASE = 0x10000000
FAMILIES = {"rp2040": 0xE48BFF56, "rp2350": 0xE48BFF59, "absolute": 0xE48BFF57}


def rp2_flash(board_id="pico_w", version="v1.28.0", storage=(0x12C000, 848 * 1024), size=50_000, name=b"Pico W"):
    """A flash image with the Pico SDK's binary information: header, list of pointers, entries."""
    flash = bytearray(b"\x5a" * size)

    def put(at, data):
        flash[at : at + len(data)] = data

    put(0x300, version.encode() + b"\0")
    put(0x340, board_id.encode() + b"\0")
    put(0x400, struct.pack("<HHII", 6, 0x5052, 0x11A9BC3A, FLASH_BASE + 0x300))
    put(0x420, struct.pack("<HHII", 6, 0x5052, 0xB63CFFBB, FLASH_BASE + 0x340))
    entries = [FLASH_BASE + 0x400, FLASH_BASE + 0x420]
    if storage:
        put(0x440, struct.pack("<HHIIIIH", 7, 0x504D, 0, FLASH_BASE + storage[0], storage[1], 0, 0))
        entries.append(FLASH_BASE + 0x440)
    put(0x500, struct.pack(f"<{len(entries)}I", *entries))
    start = FLASH_BASE + 0x500
    put(0x100, struct.pack("<5I", 0x7188EBF2, start, start + 4 * len(entries), 0, 0xE71AA390))
    put(0x600, name + b" with RP2040\0")
    return bytes(flash)


def uf2(flash, chip="rp2040", first=()):
    """A UF2 file as a linker makes it: pages of 256 bytes. `first` are whole blocks put in front."""
    pages = [flash[at : at + 256].ljust(256, b"\0") for at in range(0, len(flash), 256)]
    blocks = list(first)
    for number, page in enumerate(pages):
        head = (0x0A324655, 0x9E5D5157, 0x2000, FLASH_BASE + 256 * number, 256, number, len(pages), FAMILIES[chip])
        blocks.append(struct.pack("<8I", *head) + page + bytes(476 - 256) + struct.pack("<I", 0x0AB16F30))
    return b"".join(blocks)


def errata_block():
    """The block for RP2350-E10 that MicroPython's images begin with."""
    head = (0x0A324655, 0x9E5D5157, 0x2000, 0x10FFFF00, 256, 0, 2, FAMILIES["absolute"])
    return struct.pack("<8I", *head) + b"\xef" * 256 + bytes(476 - 256) + struct.pack("<I", 0x0AB16F30)


def _esp_app(chip_id, content, segments=2):
    head = struct.pack("<BBBBI", 0xE9, segments, 2, 0x20, 0x40080000) + bytes(4)
    head += struct.pack("<H", chip_id) + bytes(9) + b"\x01"  # a hash is appended
    body = b""
    for index in range(segments):
        piece = content if index == 0 else b"\x11" * 64
        body += struct.pack("<II", 0x3F400000 + index * 0x10000, len(piece)) + piece
    out = head + body
    out += bytes(15 - len(out) % 16) + b"\xef"
    return out + hashlib.sha256(out).digest()


def esp32(chip_id=0, offset=0x1000, version=b"v1.28.0", app_bytes=200_000, table=True):
    """MicroPython's whole .bin for an ESP32: boot loader, partition table, app."""
    banner = b"MicroPython " + version + b" on 2026-04-06; Generic ESP32 module with ESP32\0"
    app = _esp_app(chip_id, banner.ljust(app_bytes - app_bytes % 4, b"\x22"))
    boot = _esp_app(chip_id, b"\x33" * 4096)
    image = bytearray(b"\xff" * (0x10000 - offset))
    image[: len(boot)] = boot
    if table:
        rows = [(1, 2, 0x9000, 0x6000, b"nvs"), (0, 0, 0x10000, 0x1F0000, b"factory")]
        data = b"".join(struct.pack("<HBBII16sI", 0x50AA, k, s, o, n, name, 0) for k, s, o, n, name in rows)
        data += b"\xeb\xeb" + b"\xff" * 14 + hashlib.md5(data).digest()
        image[0x8000 - offset : 0x8000 - offset + len(data)] = data
    return bytes(image) + app
