"""A meter's energy counter on its way into the journal: what it cannot have done is flagged, nothing is smoothed."""

import struct

from check import equal
from parkgate.errors import ModbusTimeout
from parkgate.meters import counters, profiles
from parkgate.meters.counters import EXCHANGE, GLITCH, RESCALED, CounterCheck
from parkgate.meters.read_plan import ReadPlan
from parkgate.meters.registers import layout
from parkgate.reading import COUNTER_GLITCH, GOOD, SECONDARY_SIDE, TIMEOUT
from sensor_fakes import World, run
from sensors.modbus_meter import ModbusMeter

ROLLOVER = 1 << 32


class Reply:
    again = False

    def __init__(self, data):
        self.data = data


class Bus:
    """Answers with a power of 100 and the next of `values` as energy; None is no answer."""

    def __init__(self, values):
        self._values = list(values)
        self._gone = False

    async def exchange(self, _unit_id, _function, _address, count):
        if count < 4:  # is it there at all? Not just after it did not answer, and then again
            if self._gone:
                self._gone = False
                raise ModbusTimeout("no answer")
            return Reply(struct.pack(">I", 100))
        value = self._values.pop(0)
        self._gone = value is None
        if value is None:
            raise ModbusTimeout("no answer")
        return Reply(struct.pack(">II", 100, value))


def meter(values, world, note):
    """A meter of 10 kW that counts Wh."""
    uint32 = layout("uint32")
    made = ModbusMeter("m", 1, 1000, ReadPlan([(0, uint32, 0), (2, uint32, 0)], 125), Bus(values))
    checks = [("active_power", None), ("import_active_energy", CounterCheck(10000, ROLLOVER))]
    made.check_counters(checks, world.mono_ms, note)
    return made


def read_all(values, restore=None):
    """((energy, quality), …) read every second, and what was noted as (event, value before, value)."""
    world, noted = World(), []
    made = meter(values, world, lambda name, quantity, *event: noted.append(event))
    if restore:
        made.restore({"import_active_energy": restore[0]}, restore[1])
    found = []
    for _ in values:
        world.to(world.us + 1000000)
        read, qualities = run(made.read())
        equal(qualities[0] if qualities else GOOD, GOOD if read[0] is not None else TIMEOUT, "power is not judged")
        found.append((read[1], qualities[1] if qualities else GOOD))
    return found, noted


def test_a_jump_is_flagged_with_its_value_and_the_next_is_good_again():
    found, noted = read_all([5000, 5001, 905002, 5003, 5004])
    equal(noted, [(GLITCH, 5001, 905002)])
    equal(found, [(5000, GOOD), (5001, GOOD), (905002, COUNTER_GLITCH), (5003, GOOD), (5004, GOOD)])


def test_a_rollover_is_good_and_another_meter_after_ten_seconds():
    found, noted = read_all([ROLLOVER - 2, 3, 4])
    equal(([quality for _, quality in found], noted), ([GOOD] * 3, [(counters.ROLLOVER, ROLLOVER - 2, 3)]))
    found, noted = read_all([5000] + [77] * 9 + [78, 78, 79])
    equal([quality for _, quality in found], [GOOD] + [COUNTER_GLITCH] * 10 + [GOOD] * 2)
    equal(noted, [(GLITCH, 5000, 77), (EXCHANGE, 5000, 78)])


def test_a_hole_is_not_judged():
    equal(read_all([5000, None, 5001])[0], [(5000, GOOD), (None, TIMEOUT), (5001, GOOD)])


def test_a_jump_over_a_restart_is_flagged_where_its_age_is_known():
    equal(read_all([900000], (5000, 3600000))[0], [(900000, COUNTER_GLITCH)])
    equal(read_all([14000], (5000, 3600000))[0], [(14000, GOOD)], "nine kWh in an hour are possible")
    equal(read_all([900000], (5000, None))[0], [(900000, GOOD)], "no clock: nothing can be said")


# Counters behind transformers.


class Held:
    """A meter that holds `words` from register 0 on."""

    def __init__(self, words):
        self.words = words

    async def exchange(self, _unit_id, _function, address, count):
        return Reply(b"".join([word.to_bytes(2, "big") for word in self.words[address : address + count]]))

    async def confirm(self, *_):
        return True


def secondary(counts, ratios=None, power_max_w=10000):
    """((energy in Wh, quality), …), events: a secondary-side counter of 2 registers in tenths of a kWh that ends at 10
    million, read every second. `ratios`: what the ratio register says each time; None: nobody knows the ratio."""
    document = {
        "meter": "m", "manual": "m", "sources": ["s"], "licences": ["l"], "function": 3, "order": "ABCD",
        "side": "secondary", "usual": ["import_active_energy"], "rollover": 10000000,
        "registers": [["import_active_energy", 0, "uint32", 1, "kWh", ""]],
    }  # fmt: skip
    if ratios:
        document["ratio"] = {"ct": "ct_ratio"}
        document["auxiliary"] = [["ct_ratio", 2, "uint16", 0, "1", ""]]
    profile = profiles.load(document, "m")
    world, noted, bus = World(), [], Held([])
    made = ModbusMeter("m", 1, 1000, profile.plan, bus)
    checks = [(c.quantity, counters.for_channel(c, power_max_w)) for c in profile.channels]
    made.check_counters(checks, world.mono_ms, lambda name, quantity, *event: noted.append(event))
    found = []
    for i, count in enumerate(counts):
        world.to(world.us + 1000000)
        bus.words = [count >> 16, count & 0xFFFF, ratios[i] if ratios else 0]
        values, qualities = run(made.read())
        scale = 10 ** -profile.channels[0].scale
        found.append((values[0] * scale, qualities[0] if qualities else GOOD))
    return found, noted


def test_a_counter_of_the_secondary_side_is_judged_like_a_good_one():
    found, noted = secondary([50, 51, 9000000, 52])
    equal([quality for _, quality in found], [SECONDARY_SIDE, SECONDARY_SIDE, COUNTER_GLITCH, SECONDARY_SIDE])
    equal([event[0] for event in noted], [GLITCH])
    found, noted = secondary([9999999, 1])
    equal([quality for _, quality in found], [SECONDARY_SIDE] * 2)
    equal([event[0] for event in noted], [counters.ROLLOVER])


def test_a_counter_behind_a_ratio_register_ends_and_steps_by_what_was_read():
    found, noted = secondary([9999999, 1], [20, 20])
    equal(found, [(19999998000, GOOD), (2000, GOOD)])
    equal([event[0] for event in noted], [counters.ROLLOVER])
    found, noted = secondary([50, 51, 52], [4000] * 3)
    equal((found[1:], noted), ([(20400000, GOOD), (20800000, GOOD)], []), "one step of the register is 400 kWh")
    found, noted = secondary([50, 53], [4000] * 2)
    equal(([quality for _, quality in found], [event[0] for event in noted]), ([GOOD, COUNTER_GLITCH], [GLITCH]))


def test_a_counter_whose_ratio_changes_is_no_other_meter():
    """The energy of before was multiplied by another ratio: the event has both, and what follows is good."""
    found, noted = secondary([1000, 1000, 1000, 1001], [20, 20, 40, 40])
    equal([quality for _, quality in found], [GOOD] * 4)
    equal(noted, [(RESCALED, 20000, 40000)])
