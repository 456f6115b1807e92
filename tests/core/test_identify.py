"""Which profile answers plausibly: what speaks for one, and what against."""

from check import equal, true
from parkgate.meters import identify, registers
from parkgate.reading import BAD_REPLY, GOOD, NOT_CONFIGURED, SENSOR_FAULT


class Row:
    """A channel as profiles.check makes it."""

    def __init__(self, quantity, unit, address=0, type_name="uint16", scale=1):
        self.quantity, self.unit, self.address, self.scale = quantity, unit, address, scale
        self.code = registers.layout(type_name)
        self.exponent = 0
        self.alone = True
        self.wide = registers.width(self.code)


def weight(quantity, unit, value, quality=GOOD, scale=1, type_name="uint16"):
    return identify.weigh(Row(quantity, unit, 0, type_name, scale), value, quality)


def test_mains_speak_for_a_profile_and_anything_else_against_it():
    for value, wanted in ((2300, 3), (800, 3), (5000, 3), (799, identify.AGAINST), (5001, identify.AGAINST)):
        equal(weight("voltage_l1", "V", value), wanted, value)
    equal(weight("voltage", "V", 0), identify.AGAINST, "no voltage at all")
    equal(weight("voltage_l3", "V", 0), 0, "a phase that is not connected")
    equal(weight("voltage_l1_l2", "V", 6900), 3, "between two phases")
    equal(weight("frequency", "Hz", 5000, scale=2), 3)
    equal(weight("frequency", "Hz", 4499, scale=2), identify.AGAINST)
    equal(weight("voltage", "V", 2300, type_name="float32"), 6, "chance makes a float right more seldom")
    equal(weight("power_factor", "1", 1001, scale=3), identify.AGAINST)
    equal(weight("power_factor", "1", -990, scale=3), 1)
    equal(weight("import_active_energy", "Wh", -1, scale=0), identify.AGAINST)
    equal(weight("import_active_energy", "Wh", 10**13, scale=0), identify.AGAINST)
    equal(weight("current", "A", 0), 0)


def test_no_number_is_a_contradiction_unless_the_meter_says_so():
    equal(weight("voltage", "V", None, SENSOR_FAULT), identify.AGAINST)
    equal(weight("voltage", "V", None, BAD_REPLY), identify.AGAINST)
    equal(weight("voltage", "V", None, NOT_CONFIGURED), 0)


def words(*numbers):
    return b"".join([bytes([n >> 8, n & 255]) for n in numbers])


def tried(held, rows):
    """A candidate that read all it wanted from `held`, address → number."""
    candidate = identify.Candidate("meter", rows)
    asked = []
    for key_only in (True, False):
        while candidate.wanted(key_only) is not None:
            address = candidate.wanted(key_only).address
            asked.append(address)
            candidate.take(words(held[address]) if address in held else None, True)
    return candidate, asked


ROWS = [
    Row("active_power", "W", 2), Row("voltage", "V", 0), Row("current", "A", 1, scale=3),
    Row("import_active_energy", "Wh", 9, scale=0),
]  # fmt: skip


def test_a_right_profile_is_read_whole_and_a_wrong_one_given_up_early():
    right, asked = tried({0: 2300, 1: 5000, 2: 11000, 9: 7}, ROWS)
    true(right.plausible)
    equal(right.contradictions, 0)
    equal(sorted(asked), [0, 1, 2, 9])
    wrong, asked = tried({0: 7, 1: 60000, 2: 3}, ROWS)
    true(not wrong.plausible)
    silent, asked = tried({}, ROWS)
    true(not silent.plausible)
    true(len(asked) <= 3, asked)


def test_power_that_voltage_and_current_cannot_make_contradicts():
    row = [Row("voltage", "V", 0), Row("current", "A", 1, scale=3), Row("active_power", "W", 2)]
    equal(tried({0: 2300, 1: 5000, 2: 11000}, row)[0].contradictions, 0)  # 230 V x 5 A, 1,100 W
    equal(tried({0: 2300, 1: 500, 2: 11000}, row)[0].contradictions, 1)  # 0.5 A


def test_the_profile_that_explains_more_stands_first():
    few, _ = tried({0: 2300, 1: 5000, 2: 11000, 9: 7}, ROWS[:3])
    many, _ = tried({0: 2300, 1: 5000, 2: 11000, 9: 7}, ROWS)
    wrong, _ = tried({0: 7}, ROWS)
    few.name = "few"
    equal([c.name for c in identify.ranking([few, wrong, many])], ["meter", "few"])
