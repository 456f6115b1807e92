"""The flash of the tests is as strict, and can be as bad, as its model says."""

from check import equal, raises, true
from flash_sim import BadFlash, Chance, FlashSim, PowerCut, half_erased, ways
from parkgate.errors import FlashError


def test_programs_are_whole_units_of_blank_flash():
    flash = FlashSim(4096, 8, 32)
    flash.program(64, bytes(64))
    raises(FlashError, flash.program, 64, b"\x01" * 32)
    raises(FlashError, flash.program, 96, b"\xff" * 32)
    raises(FlashError, flash.program, 8, bytes(32))
    raises(FlashError, flash.program, 0, bytes(31))
    raises(FlashError, flash.program, 0, b"")
    raises(FlashError, flash.program, 4064, bytes(64))
    raises(FlashError, flash.program, 8 * 4096, bytes(32))
    raises(FlashError, flash.erase, 8)
    raises(FlashError, flash.read, 4090, bytearray(16))
    equal((flash.programs, flash.programmed_bytes), (1, 64))
    flash.erase(0)
    flash.program(64, bytes(32))
    there = bytearray(40)
    flash.read(60, there)
    equal(bytes(there), b"\xff" * 4 + bytes(32) + b"\xff" * 4)


def test_a_copy_is_another_flash():
    flash = FlashSim(4096, 8, 32)
    flash.program(0, bytes(32))
    other = flash.copy()
    other.program(32, bytes(32))
    flash.program(64, bytes(32))
    equal(bytes(flash.sectors[0][:96]), bytes(32) + b"\xff" * 32 + bytes(32))
    equal(bytes(other.sectors[0][:96]), bytes(64) + b"\xff" * 32)


def test_the_trace_makes_the_same_flash_again():
    flash = FlashSim(4096, 8, 32)
    flash.trace = []
    chance = Chance(3)
    for i in range(60):
        if i % 20 == 19:
            flash.erase(i // 20)
        flash.program(4096 * (i // 16) + 64 * (i % 64), chance.data(64)) if i % 20 != 19 else None
    again = FlashSim(4096, 8, 32)
    for operation in flash.trace:
        again.apply(operation)
    equal([bytes(s) for s in again.sectors], [bytes(s) for s in flash.sectors])


def test_the_power_goes_when_it_should():
    flash = FlashSim(4096, 8, 32)
    flash.cut_in = 2
    flash.program(0, bytes(32))
    flash.erase(1)
    raises(PowerCut, flash.program, 32, bytes(32))
    raises(PowerCut, flash.erase, 0)
    equal(bytes(flash.sectors[0][32:64]), b"\xff" * 32)


def test_what_a_cut_leaves_of_a_program():
    data = Chance(1).data(256)
    operation = (256, data)
    equal(ways(operation), 10)
    for way in range(10):
        flash = FlashSim(4096, 8, 256)
        flash.apply_cut(operation, way)
        left = bytes(flash.sectors[0][256:512])
        true(all(a & b == b for a, b in zip(left, data)), "only bits of the data were cleared")
        if way < 8:
            equal(left, data[: way * 32] + b"\xff" * (256 - way * 32))
        else:
            true(left != data and left != b"\xff" * 256)
        equal(bytes(flash.sectors[0][:256]) + bytes(flash.sectors[0][512:]), b"\xff" * 3840)
    equal(ways((0, bytes(32))), 3)
    equal(ways((0, bytes(64))), 4)


def test_what_a_cut_leaves_of_an_erase():
    old = Chance(2).data(4096)
    left = [half_erased(old, way, Chance(5)) for way in range(1, 8)]
    for each in left:
        equal(len(each), 4096)
        true(each != old and each != b"\xff" * 4096)
    equal(len(set(left)), 7)
    equal(left[0][2048:] + left[1][:2048], old[2048:] + old[:2048])
    equal(left[3][:256], old[:256])


def test_every_badness_happens_and_is_counted():
    for fault in BadFlash.FAULTS:
        flash = BadFlash(4096, 8, 32, 1, {fault: 500})
        errors = 0
        buffer = bytearray(32)
        for i in range(40):
            try:
                flash.erase(i % 8)
                flash.program(i % 8 * 4096, bytes(32))
                flash.read(i % 8 * 4096, buffer)
            except FlashError:
                errors += 1
        true(flash.happened[fault] > 5, fault)
        true((errors > 0) == (fault not in ("erase ignored", "program ignored", "flip")) or "ignored" in fault)
    flash = BadFlash(4096, 8, 32, 1, {}, wear_limit=10)
    for _ in range(10):
        flash.erase(2)
        flash.program(2 * 4096, bytes(4096))
    flash.erase(2)
    true(bytes(flash.sectors[2]) != flash.blank)


def test_the_same_seed_is_the_same_chance():
    equal([Chance(7).below(100) for _ in range(3)], [Chance(7).below(100)] * 3)
    equal(Chance(1).data(8), bytes([Chance(1).data(8)[i] for i in range(8)]))
    true(Chance(1).data(8) != Chance(2).data(8))
