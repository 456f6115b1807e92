"""The firmware in one file: what a board finds in it is what was put in, and a damaged one is refused."""

import binascii
import struct

import pytest

from host_tools.image import pack
from packs import opened

FILES = {f"room{i % 7}/module{i}.mpy": bytes([i]) * (i + 1) for i in range(150)}


def test_every_file_is_found_and_nothing_else(tmp_path):
    made = opened(pack.build(FILES), tmp_path)
    for i, (path, data) in enumerate(FILES.items()):
        if i == 75:
            made.rest()
        assert made.stat("/" + path)[0] == 0x8000
        with made.open("/" + path, "rb") as file:
            assert file.read(len(data)) == data
    assert made.stat("/room0")[0] == 0x4000
    for path in ("/room0/module1.mpy", "/room7", "/", "/room0/module0.py"):
        with pytest.raises(OSError, match="2"):
            made.stat(path)


def test_a_damaged_pack_is_not_opened(tmp_path):
    whole = pack.build(FILES)
    for damaged in (b"", whole[:12], whole[:200], b"x" + whole[1:], whole[:30] + bytes([whole[30] ^ 1]) + whole[31:]):
        with pytest.raises((OSError, ValueError, struct.error)):
            opened(damaged, tmp_path)


def test_a_damaged_module_is_not_read(tmp_path):
    whole = pack.build(FILES)
    for path, data in list(FILES.items())[::31]:
        at = whole.index(struct.pack("<I", len(data)) + struct.pack("<I", binascii.crc32(data)) + data)
        for place in (at, at + 4, at + 8, at + 7 + len(data)):
            damaged = opened(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :], tmp_path)
            with pytest.raises(ImportError, match="is damaged"):
                damaged.open("/" + path, "rb")
        with pytest.raises((ImportError, struct.error)):
            opened(whole[: at + 7 + len(data)], tmp_path).open("/" + path, "rb")


def test_the_same_files_give_the_same_bytes():
    assert pack.build(FILES) == pack.build(dict(reversed(FILES.items())))
