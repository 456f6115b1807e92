"""The numbers of a meter agree with each other: each kind of disagreement, light load, patience, words."""

from check import equal, true
from parkgate.meters.consistency import check, diagnosis
from parkgate.meters.consistency.compiling import build
from parkgate.reading import GOOD, INCONSISTENT, TIMEOUT

SINGLE = (
    ("voltage", "V", 1, 1), ("current", "A", 3, 1), ("active_power", "W", 1, 1), ("power_factor", "1", 3, 1),
    ("import_active_energy", "Wh", 0, 1), ("frequency", "Hz", 2, 1),
)  # fmt: skip
THREE = tuple(
    [(name + phase, unit, scale, 1) for phase in ("_l1", "_l2", "_l3") for name, unit, scale in (
        ("voltage", "V", 1), ("current", "A", 3), ("active_power", "W", 1), ("power_factor", "1", 3),
    )]
) + (("active_power", "W", 1, 1),)  # fmt: skip


class Life:
    """A meter that is read; what was noted is (time in s, check, what, code)."""

    def __init__(self, channels, single=True):
        self.told = []
        self.now_s = 0
        self.places = {channels[i][0]: i for i in range(len(channels))}
        self.check = build("m", channels, self.note, single)
        self.qualities = None

    def note(self, name, check_name, what, code, stated, expected, scale):
        equal(name, "m")
        self.told.append((self.now_s, check_name, what, code))
        self.words = diagnosis.sentence(check_name, code, stated, expected, scale) if code else ""

    def read(self, values, times=1, every_s=1):
        for _ in range(times):
            self.now_s += every_s
            self.qualities = bytearray([TIMEOUT if value is None else GOOD for value in values])
            self.check.judge(values, self.qualities, self.now_s * 1000)

    def flagged(self):
        return sorted([name for name in self.places if self.qualities[self.places[name]] == INCONSISTENT])


def single(power=11500, current=5000, energy=1000, hz=5000):
    return [2300, current, power, 1000, energy, hz]


def three(cosines, amps=(20000, 20000, 20000), total=None):
    values = []
    for n in range(3):
        power = 2300 * amps[n] * cosines[n] // 10**6
        values += [2300, amps[n], power, abs(cosines[n])]
    return values + [sum(values[2:12:4]) if total is None else total]


def test_what_is_measured_once_has_no_check():
    equal(build("m", (("voltage", "V", 1, 1), ("import_active_energy", "Wh", 0, 1)), None), None)
    equal(build("m", (), None), None)


def test_a_wrong_ratio_is_told_after_eight_samples_and_a_minute():
    life = Life(SINGLE)
    life.read(single(), 100)
    equal((life.told, life.flagged()), ([], []))
    life.read(single(power=230000), 59)
    equal((life.told, life.flagged()), ([], []))
    life.read(single(power=230000), 10)
    equal(life.told, [(161, "power", check.BEGINS, check.TOO_HIGH)])
    equal(life.flagged(), ["active_power", "current", "power_factor"])
    true("x 20, a transformer 100/5" in life.words, life.words)
    life.read(single(), 61)
    equal(life.told[1], (230, "power", check.ENDS, 0))
    equal(life.flagged(), [])
    slow = Life(SINGLE)
    slow.read(single(power=575), 8, 86400)
    equal([(what[1], what[3]) for what in slow.told], [("power", check.TOO_LOW)])
    true("1 / 20, a transformer 100/5" in slow.words, slow.words)


def test_what_does_not_last_or_has_two_faces_is_nothing():
    life = Life(SINGLE)
    for n in range(1000):
        life.read(single(power=230000, current=5000 + n % 2, energy=None), 7, 60)
        life.read(single(energy=None), 1, 60)
    for n in range(1000):
        life.read(single(power=(230000, 575)[n % 2], current=(5000, 5001)[n % 2], energy=None), 1, 60)
    equal(life.told, [])


def test_light_load_and_no_load_say_nothing():
    life = Life(SINGLE)
    # 0.03 A of a register of 10 mA is 7 W, give or take a third; no load shows anything.
    for values in (single(0, 0), single(46, 30), single(140, 30), single(23, 0), single(0, 12)):
        life.read(values, 500)
        life.read([None] * 6, 3)
    equal(life.told, [])
    coarse = Life(
        (("voltage", "V", 0, 1), ("current", "A", 1, 1), ("active_power", "W", 0, 1), ("power_factor", "1", 2, 1))
    )
    coarse.read([230, 3, 57, 100], 500)  # 0.3 A in steps of 0.1 A
    equal(coarse.told, [])


def test_a_distorted_current_is_no_disagreement():
    life = Life(SINGLE)
    life.read([2300, 5000, 11500 * 10 // 16, 1000, 0, 5000], 500)  # cos phi 1, power factor 0.63
    equal(life.told, [])


def test_a_reversed_transformer_and_a_swapped_pair():
    for cosines, code, said in (
        ((950, -950, 950), check.REVERSED + 2, "current transformer of L2 reversed"),
        ((-900, 920, -950), check.REVERSED + 5, "current transformers of L1 and L3 reversed"),
        ((-100, -770, 866), check.SWAPPED + 3, "L1 and L2 are swapped between voltage and current"),
        ((1000, -500, -500), check.SWAPPED + 1, "L2 and L3 are swapped between voltage and current"),
    ):
        life = Life(THREE, False)
        life.read(three(cosines), 1800)
        equal(life.told, [])
        life.read(three(cosines), 2)
        equal([(name, told) for _, name, _, told in life.told], [("wiring", code)])
        true(said in life.words, life.words)


def test_a_phase_that_exports_is_not_reversed():
    life = Life(THREE, False)
    life.read(three((950, 950, 950)), 100)
    life.read(three((950, -950, 950)), 7200)  # it imported today
    equal(life.told, [])
    other = Life(THREE, False)
    other.read(three((950, -950, 950), (20000, 8000, 21000)), 7200)  # currents of their own
    other.read(three((-950, -950, -950)), 7200)
    equal(other.told, [])


def test_phases_against_the_total():
    even = three((950, 950, 950))
    total, one = even[12], even[2]
    for shown, code in ((total - 2 * one, check.SIGN + 1), (total - one, check.LEFT_OUT + 1), (total // 20, check.SUM)):
        life = Life(THREE, False)
        life.read(even[:12] + [shown], 70)
        equal([told[3] for told in life.told if told[1] == "sum of the phases"], [code])
        equal(len(life.told), 1)
    life = Life(THREE, False)
    uneven = three((950, -950, 950), (20000, 9000, 30000))
    life.read(uneven[:12] + [uneven[12] + 2 * uneven[6] * 3], 70)
    equal(len(life.told), 1)
    life.read(uneven, 70)
    equal(life.told[1][2:], (check.ENDS, 0))


def grown(life, watts, factor, hours, every_s=10):
    for _ in range(hours * 3600 // every_s):
        life.energy += watts * every_s * factor / 3600.0
        life.read(single(watts * 10, watts * 1000 // 230, int(life.energy)), 1, every_s)


def test_energy_against_power():
    for factor, code, said in (
        (1, 0, ""), (0.05, check.TOO_LOW, "1 / 20"), (10, check.TOO_HIGH, "x 10"), (0, check.TOO_LOW, "0 Wh")
    ):  # fmt: skip
        life = Life(SINGLE)
        life.energy = 1000.0
        grown(life, 1150, factor, 3)
        equal([(told[1], told[3]) for told in life.told], [("energy and power", code)] if code else [], str(factor))
        true(not code or said in life.words, life.words if code else "")
    life.energy += 10**6  # another meter takes its place
    grown(life, 1150, 1, 6)
    equal([told[3] for told in life.told], [check.TOO_LOW, 0])
    life = Life(SINGLE)
    life.energy = 0.0
    grown(life, 150, 0, 24)  # below what a meter must count behind transformers
    equal(life.told, [])


def test_a_register_that_stands_still():
    life = Life(SINGLE)
    for n in range(400):
        amps = 5000 + 3000 * (n % 60) // 60
        life.read(single(power=11500, current=amps), 1)
    equal([(told[1], told[3]) for told in life.told], [("frozen active_power", check.FROZEN)])
    true("frozen register: active_power stands at 1150.0" in life.words, life.words)
    life.read(single(), 1)
    life.read(single(power=11501), 2)
    equal(life.told[-1][2], check.ENDS)
    for power, told in ((11500, ["frozen active_power"]), (1500, [])):  # a step of 1 W is a 150th of 150 W
        life = Life(SINGLE)
        for n in range(400):
            life.read(single(power=power, current=(power + power * (n % 60) // 240) * 1000 // 2300))
        equal([told[1] for told in life.told], told, "a fifth is enough where the last digit is fine")
    steady = Life(SINGLE)
    steady.read(single(energy=None), 5000)  # a heater
    equal(steady.told, [])


def test_limits():
    life = Life(SINGLE)
    life.read(single(hz=500), 70)
    equal([told[1] for told in life.told], ["frequency"])
    life.read(single(hz=0), 70)
    equal(len(life.told), 1, "no mains is no mains")
    between = THREE + tuple([(name, "V", 1, 1) for name in ("voltage_l1_l2", "voltage_l2_l3", "voltage_l3_l1")])
    life = Life(between, False)
    life.read(three((950, 950, 950)) + [3990, 3985, 3990], 300)
    equal(life.told, [])
    life.read(three((950, 950, 950)) + [39900, 39850, 39900], 300)
    equal([told[1] for told in life.told], ["voltages between phases"])


def test_a_first_look_at_one_sample():
    def look(cosines, amps=(20000, 20000, 20000)):
        values = three(cosines, amps)
        return diagnosis.first_look({THREE[i][0]: (values[i], THREE[i][2]) for i in range(len(THREE))})

    equal(look((950, 950, 950)), [])
    true("current transformer of L2 reversed" in look((950, -950, 950))[0])
    true("L1 and L2 are swapped" in look((-500, -500, 1000), (9000, 30000, 14000))[0])
    true("negative at L1 only: a current transformer is reversed there, or" in look((-950, 500, 950))[0])
    true("negative at all phases" in look((-950, -900, -950))[0])
    equal(look((950, 950, 950), (20000, 0, 20000)), ["no voltage or no current at L2"])
    equal(diagnosis.first_look({}), [])


def test_every_code_has_a_sentence():
    for name, code in (
        ("power_l2", 1), ("power", 2), ("apparent power_l1", 1), ("energy and power", 2), ("energy and power", 80),
        ("sum of the phases", 11), ("sum of the phases", 23), ("sum of the phases", 30), ("wiring", 43), ("wiring", 52),
        ("frozen current_l3", 60), ("frequency", 70), ("voltages between phases", 70), ("power", 99), ("new", 7),
        ("active and apparent power_l1", 70),
    ):  # fmt: skip
        for numbers in ((0, 0), (123456, 6), (-5, 10**12)):
            text = diagnosis.sentence(name, code, numbers[0], numbers[1], 3)
            true(len(text) > 20 and "%" not in text, text)
