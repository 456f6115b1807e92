"""The flash file: UF2, board names, file system. These need no board and no firmware."""

import struct

import pytest

from tests.board import flash_image


def uf2(blocks):
    """A UF2 file of (address, data, flags)."""
    out = bytearray()
    for index, (address, data, flags) in enumerate(blocks):
        head = struct.pack("<8I", *flash_image.UF2_MAGIC, flags, address, len(data), index, len(blocks), 0)
        out += (head + data).ljust(508, b"\0") + struct.pack("<I", 0x0AB16F30)
    return bytes(out)


def test_uf2_becomes_what_lies_in_flash(tmp_path):
    file = tmp_path / "firmware.uf2"
    file.write_bytes(uf2([(0x10000000, b"a" * 256, 0), (0x10000200, b"b" * 256, 0), (0x20000000, b"ram", 0)]))
    assert flash_image.firmware_bytes(file) == b"a" * 256 + b"\xff" * 256 + b"b" * 256


def test_what_is_no_uf2_is_taken_as_it_is(tmp_path):
    file = tmp_path / "firmware.bin"
    file.write_bytes(b"x" * 600)
    assert flash_image.firmware_bytes(file) == b"x" * 600


@pytest.mark.parametrize(
    "name, board",
    [(b"Raspberry Pi Pico with RP2040", "pico"), (b"Raspberry Pi Pico W with RP2040", "pico_w"), (b"other", None)],
)
def test_the_board_is_read_from_the_firmware(name, board):
    assert flash_image.board_of(b"\0" * 100 + name + b"\0" * 100) == board


def test_every_reason_for_no_firmware_is_told(tmp_path, monkeypatch):
    monkeypatch.delenv("PICO_IMAGE", raising=False)
    assert "set PICO_IMAGE" in flash_image.find_firmware("pico")[1]
    monkeypatch.setenv("PICO_IMAGE", str(tmp_path / "absent.uf2"))
    assert "is no file" in flash_image.find_firmware("pico")[1]
    file = tmp_path / "w.bin"
    file.write_bytes(b"Raspberry Pi Pico W with RP2040")
    monkeypatch.setenv("PICO_IMAGE", str(file))
    assert "MicroPython for pico" in flash_image.find_firmware("pico")[1]
    assert flash_image.find_firmware("pico_w") == (file.read_bytes(), "")


def test_the_file_system_holds_its_files():
    littlefs = pytest.importorskip("littlefs", reason="the package littlefs-python is not installed")
    files = {"main.py": b"print(1)", "lib/parkgate/big.mpy": bytes(range(256)) * 100}
    size = flash_image.FILE_SYSTEM_BYTES["pico"]
    image = flash_image.file_system(files, size)
    context = littlefs.UserContext(buffsize=size)
    context.buffer[:] = image
    disk = littlefs.LittleFS(context=context, block_size=4096, block_count=size // 4096, prog_size=256, mount=True)
    for name, content in files.items():
        with disk.open(name, "rb") as file:
            assert file.read() == content
