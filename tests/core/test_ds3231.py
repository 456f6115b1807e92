"""The clock chip: its registers, how far its time is off, power cuts, an empty battery, and when it is set."""

from check import equal, true
from parkgate.clock import Clock
from parkgate.events import CHIP
from sensors.ds3231 import ADDRESS, FILE, READ_MS, ClockChip, registers_of, unix_s_of

FLOOR = 1793491200000
NOW_S = FLOOR // 1000 + 86400
# Unix time and date, from the calendar: the ends of February, of a year and of the chip's century.
DATES = (
    (946684800, "00000006010100"),
    (951782399, "59592301280200"),
    (951782400, "00000002290200"),
    (1709251199, "59592304290224"),
    (1772323200, "00000007010326"),
    (1798761599, "59592304311226"),
    (4102444799, "59592304311299"),
)


class Chip:
    """The chip's registers; `ppm` is how much too fast it runs. Calls as of machine.I2C."""

    def __init__(self):
        self.true_ms = NOW_S * 1000
        self.ppm = 0
        self.set_at = None  # (true ms, its time in s)
        self.status = 0x80
        self.broken = False
        self.written = 0

    def _answers(self, address):
        if self.broken or address != ADDRESS:
            raise OSError(19)

    def readfrom_mem_into(self, address, register, buffer):
        self._answers(address)
        if register == 0x0F:
            buffer[0] = self.status
        else:
            begun_ms, begun_s = self.set_at or (self.true_ms, 946684800)
            passed_ms = self.true_ms - begun_ms
            buffer[:] = registers_of(begun_s + (passed_ms + passed_ms * self.ppm // 1000000) // 1000)

    def writeto_mem(self, address, register, data):
        self._answers(address)
        if register == 0:
            self.set_at = self.true_ms, unix_s_of(data)
            self.written += 1
        else:
            self.status = data[0]


class Files:
    def __init__(self):
        self.kept = {}
        self.writes_left = -1  # until the power goes; below 0: never

    def read(self, name):
        return self.kept.get(name)

    def write(self, name, data):
        if self.writes_left == 0:
            raise KeyboardInterrupt
        self.writes_left -= 1
        self.kept[name] = data


class World:
    """A gateway with a chip; `start` begins anew, with a clock that knows nothing."""

    def __init__(self):
        self.i2c, self.files, self.source, self.said = Chip(), Files(), None, []
        self.start()

    def start(self):
        self.clock = Clock(FLOOR)
        self.begun_ms = self.i2c.true_ms
        self.chip = ClockChip(self.i2c, self.files, lambda: self.source, self)

    def error(self, _who, text):
        self.said.append(text)

    def mono_ms(self):
        return self.i2c.true_ms - self.begun_ms

    def knows(self, error_ms):
        """The time comes from somewhere else, and the chip may be set."""
        self.clock.synchronise(self.mono_ms(), self.i2c.true_ms, error_ms)
        self.chip.keep(self.clock, self.mono_ms())


def test_registers():
    for unix_s, text in DATES:
        equal(registers_of(unix_s).hex(), text)
        equal(unix_s_of(registers_of(unix_s)), unix_s)
    for day in range(0, 36525, 5):
        unix_s = 946684800 + day * 86400 + day
        equal(unix_s_of(registers_of(unix_s)), unix_s)


def test_what_is_no_time_is_none():
    for text in ("60000006010100", "0a000006010100", "00600006010100", "00002406010100", "00006406010100",
                 "00000006000100", "00000006320100", "00000006010000", "00000006011300", "000000060101a0",
                 "ffffffffffffff"):  # fmt: skip
        equal(unix_s_of(bytes.fromhex(text)), None)


def test_the_time_is_off_by_no_more_than_is_said_after_power_cuts():
    for ppm in (-9, 0, 9):
        for into_ms in (0, 1, 499, 999):
            world = World()
            world.i2c.true_ms += into_ms
            world.i2c.ppm = ppm
            world.knows(220)
            for hours in (0, 1, 30, 2000, 20000):
                world.i2c.true_ms += hours * 3600000 + 137
                world.start()
                unix_ms, error_ms, source = world.chip.wall_time()
                equal(source, CHIP)
                true(abs(unix_ms - world.i2c.true_ms) <= error_ms)
                if hours <= 1:
                    true(error_ms <= 220 + READ_MS + 40)


def test_a_chip_that_nobody_set_or_whose_battery_was_empty_tells_nothing():
    world = World()
    equal(world.chip.wall_time(), None)
    world.knows(220)
    true(world.chip.wall_time() is not None)
    world.i2c.status = 0x80
    equal(world.chip.wall_time(), None)
    world.knows(220)
    true(world.chip.wall_time() is not None, "it was set anew")
    world.i2c.set_at = world.i2c.true_ms, NOW_S - 10**6  # another chip, or somebody set it back
    equal(world.chip.wall_time(), None)
    world.files.kept.clear()
    equal(world.chip.wall_time(), None)


def test_a_damaged_record_is_read_from_its_second_copy():
    world = World()
    world.knows(220)
    before = world.chip.wall_time()
    world.files.kept[FILE] = b"PGR1" + bytes(12)
    equal(world.chip.wall_time(), before)
    world.files.kept[FILE] = world.files.kept[FILE + ".2"] = b"PGR1" + bytes(12)
    equal(world.chip.wall_time(), None)


def test_it_is_set_seldom_and_only_by_who_knows_better():
    world = World()
    world.knows(220)
    for _ in range(24 * 60):
        world.i2c.true_ms += 60000
        world.knows(220)
    true(world.i2c.written <= 2)
    before = world.i2c.written
    world.start()
    world.clock.synchronise(world.mono_ms(), *world.chip.wall_time()[:2])
    world.chip.keep(world.clock, world.mono_ms())
    equal(world.i2c.written, before, "it does not set itself")
    world.clock.disputed = 1
    world.i2c.status = 0x80
    world.chip.keep(world.clock, world.mono_ms())
    equal(world.i2c.written, before, "a time that is disputed sets nothing")


def test_the_boards_own_source_comes_first_and_a_silent_chip_is_told():
    world = World()
    world.knows(220)
    world.source = (1, 2, 1)
    equal(world.chip.wall_time(), world.source)
    world.source, world.i2c.broken = None, True
    equal(world.chip.wall_time(), None)
    world.knows(1)
    true(len(world.said) >= 2)


def test_cut_off_while_it_is_set_it_is_not_believed():
    world = World()
    world.knows(220)
    for cut in range(5):
        world.i2c.true_ms += 200 * 3600000
        world.files.writes_left = cut
        try:
            world.knows(10)
        except KeyboardInterrupt:
            pass
        world.files.writes_left = -1
        world.start()
        found = world.chip.wall_time()
        true(found is None or abs(found[0] - world.i2c.true_ms) <= found[1])
