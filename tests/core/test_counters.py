"""Energy counters: growth, rollover, exchange, reset and glitches; a meter that boots; a return undoes."""

from check import equal, true
from parkgate.meters import profiles
from parkgate.meters.counters import (
    CONFIRM,
    CONFIRM_MS,
    EXCHANGE,
    GLITCH,
    GLITCH_APART_MS,
    NO_EVENT,
    RESCALED,
    RESET,
    RETURN,
    RETURN_MS,
    ROLLOVER,
    SERIAL_NUMBER,
    UNDONE,
    ZERO_MS,
    CounterCheck,
    MeterCounters,
    for_channel,
)
from parkgate.reading import COUNTER_GLITCH, GOOD, TIMEOUT

SECOND = 1000
RATE = 100000  # 100 kW, in Wh


def judged(values, rollover=None, rate=RATE, every_ms=SECOND):
    check = CounterCheck(rate, rollover)
    return [check.judge(value, i * every_ms) for i, value in enumerate(values)]


def test_a_counter_that_grows_or_stands_is_good():
    equal(judged([5, 5, 6, 30, 30, 1000]), [(GOOD, NO_EVENT)] * 6)


def test_growth_beyond_the_rated_power_is_flagged():
    # 100 kW for a second and the minute of update time: 1694 Wh, and two steps.
    equal(judged([1000, 1000 + 1696])[1], (GOOD, NO_EVENT))
    equal(judged([1000, 1000 + 1697])[1], (COUNTER_GLITCH, GLITCH))


def test_a_long_gap_allows_more():
    equal(judged([0, 100000], every_ms=3600 * SECOND)[1], (GOOD, NO_EVENT))
    equal(judged([0, 200000], every_ms=3600 * SECOND)[1], (COUNTER_GLITCH, GLITCH))


def test_a_single_glitch_is_flagged_and_the_rest_is_good():
    for glitch in (0, 999, 70000, (1 << 32) - 1):
        equal(
            judged([1000, 1001, glitch, 1002, 1003]),
            [(GOOD, NO_EVENT)] * 2 + [(COUNTER_GLITCH, GLITCH)] + [(GOOD, NO_EVENT)] * 2,
            "glitch to %d" % glitch,
        )


def test_glitches_of_all_kinds_never_confirm_each_other():
    result = judged([1000, 70000, 3, 900000, 12, 1001])
    told = [(COUNTER_GLITCH, GLITCH)] + [(COUNTER_GLITCH, NO_EVENT)] * 3
    equal(result, [(GOOD, NO_EVENT)] + told + [(GOOD, NO_EVENT)])


def test_a_register_that_is_never_right_is_told_every_ten_minutes():
    values = [1000] + [n % 2 * 10**9 + n % 7 * 10**7 + 50000000 for n in range(3600)]
    events = [event for _, event in judged(values)]
    equal(events.count(GLITCH), 3600 * SECOND // GLITCH_APART_MS)
    equal(events.count(EXCHANGE), 0)


def test_the_good_value_before_is_told():
    check = CounterCheck(RATE)
    check.judge(1000, 0)
    check.judge(70000, SECOND)
    equal(check.before, 1000)
    check.judge(70001, 2 * SECOND)
    equal((check.judge(70002, 12 * SECOND)[1], check.before), (EXCHANGE, 1000))
    check.judge(70003, 13 * SECOND)
    equal(check.before, 70002)


def test_rollover():
    top = 1 << 32
    equal(judged([top - 3, top - 1, 2, 3], top), [(GOOD, NO_EVENT)] * 2 + [(GOOD, ROLLOVER), (GOOD, NO_EVENT)])
    # From the middle it is none.
    equal(judged([1 << 31, 2], top)[1], (COUNTER_GLITCH, GLITCH))
    # And an unknown end cannot be passed.
    equal(judged([top - 3, 2])[1], (COUNTER_GLITCH, GLITCH))


def events_of(check, readings, serial=None):
    """((time in s, event), …) of readings (time in s, value), and how many were flagged."""
    told, flagged = [], 0
    for time_s, value in readings:
        quality, event = check.judge(value, int(time_s * SECOND), serial)
        flagged += quality == COUNTER_GLITCH
        if event:
            told.append((time_s, event))
    return told, flagged


def test_w11_a_display_that_begins_again_is_a_rollover():
    """4-20ma/ModbusMaster 199: 99,999.99 kWh and then 0; no profile says so."""
    kwh = (99999.98, 99999.99, 0.00, 0.01, 0.02)
    for scale in (100, 1000):
        values = [int(value * scale + 0.5) for value in kwh]
        equal([event for _, event in judged(values)], [NO_EVENT, NO_EVENT, ROLLOVER, NO_EVENT, NO_EVENT], str(scale))
    for digits in range(5, 13):
        equal(judged([10**digits - 2, 3])[1], (GOOD, ROLLOVER), "%d digits" % digits)
        equal(judged([10**digits - 2, 3], 1 << 32)[1], (GOOD, ROLLOVER), "and the register could hold more")
        equal(judged([10**digits - 10**digits // 20, 3])[1], (COUNTER_GLITCH, GLITCH), "too far from its end")
        equal(judged([10**digits * 31 // 32 - 9, 0], every_ms=10**12)[1], (COUNTER_GLITCH, GLITCH), "at any time")
        equal(judged([10**digits + 2, 3])[1], (COUNTER_GLITCH, GLITCH), "past its end")
    equal(judged([9999, 3])[1], (COUNTER_GLITCH, GLITCH), "no display is as short as that")


def test_a_rollover_that_was_none_is_undone():
    """The counter stood just below the end of a display when its meter booted and said 0."""
    check = CounterCheck(RATE)
    found = events_of(check, [(1, 999990), (2, 999991), (3, 0), (4, 0), (5, 999992), (6, 999993)])
    equal(found, ([(3, ROLLOVER), (5, UNDONE)], 0))


def test_an_exchanged_meter_is_flagged_until_time_and_readings_confirm_it():
    for every_s in (0.1, 1, 9, 60, 86400):
        readings = [(0, 20000)] + [((i + 1) * every_s, 9000000 + i) for i in range(200)]
        told, flagged = events_of(CounterCheck(RATE), readings)
        equal([event for _, event in told], [GLITCH, EXCHANGE], "every %s s" % every_s)
        equal(flagged, max(CONFIRM - 1, -(-CONFIRM_MS // int(every_s * SECOND))), "every %s s" % every_s)


def test_w8_a_meter_that_boots_shows_zeros_and_is_not_exchanged():
    for every_s, boots_s in ((0.1, 30), (0.1, 590), (1, 8), (1, 590), (60, 540), (86400, 1)):
        check = CounterCheck(RATE)
        readings = [(i * every_s, 5000000 + i) for i in range(3)]
        began_s = 3 * every_s
        zeros = max(1, int(boots_s / every_s))
        readings += [(began_s + i * every_s, 0) for i in range(zeros)]
        back_s = began_s + zeros * every_s
        readings += [(back_s + i * every_s, 5000003 + i) for i in range(5)]
        told, flagged = events_of(check, readings)
        equal(flagged, zeros, "every %s s: all zeros are flagged and nothing else" % every_s)
        equal([event for _, event in told], [GLITCH] + [RETURN] * (zeros > 1), "every %s s" % every_s)


def test_zeros_for_ten_minutes_are_another_meter_until_the_old_value_comes_back():
    for every_s in (0.1, 1, 60):
        check = CounterCheck(RATE)
        count = int(900 / every_s)
        readings = [(0, 5000000)] + [(every_s * (i + 1), 0) for i in range(count)]
        told, _ = events_of(check, readings)
        equal([event for _, event in told], [GLITCH, EXCHANGE])
        true(told[1][0] - told[0][0] >= ZERO_MS // SECOND)
        equal(check.judge(5000400, 1000 * SECOND), (GOOD, UNDONE), "0.4 kWh in a quarter of an hour")
        equal(check.before, 5000000)
        equal(check.judge(5000401, 1001 * SECOND), (GOOD, NO_EVENT))


def test_a_return_a_day_later_is_one_though_the_growth_would_be_possible():
    """Once a day; 100 kW could count 2,400 kWh until the next sample."""
    day = 86400
    check = CounterCheck(RATE)
    told, _ = events_of(check, [(0, 5000000), (day, 0), (2 * day, 0), (3 * day, 0), (4 * day, 5200000)])
    equal(told, [(day, GLITCH), (3 * day, EXCHANGE), (4 * day, UNDONE)])
    # The same value of a meter that has counted since it came is its own.
    check = CounterCheck(RATE)
    readings = [(0, 5000000)] + [((i + 1) * day, 1000000 * i) for i in range(7)]
    told, _ = events_of(check, readings)
    equal(told, [(day, GLITCH), (3 * day, EXCHANGE)])


def test_a_meter_that_is_really_another_stays_so():
    check = CounterCheck(RATE)
    readings = [(0, 5000000)] + [(i + 1, 700 + i) for i in range(3000)]
    told, _ = events_of(check, readings)
    equal([event for _, event in told], [GLITCH, EXCHANGE])
    late_s = 100 + RETURN_MS // SECOND + 100000
    equal(check.judge(100800, late_s * SECOND), (GOOD, NO_EVENT))
    equal(check.judge(5900000, (late_s + 1) * SECOND)[1], GLITCH, "a week later nobody expects the old one")


def test_the_serial_number_decides():
    check = CounterCheck(RATE)
    check.judge(5000000, 0, True)
    equal(check.judge(77, SECOND, False), (GOOD, EXCHANGE), "another number: another meter, at once")
    check = CounterCheck(RATE)
    told, _ = events_of(check, [(0, 5000000)] + [(i + 1, 77 + i) for i in range(20)], True)
    equal([event for _, event in told], [GLITCH, RESET], "the same number: it was reset")


def test_a_meters_counters_and_its_serial_number():
    noted = []
    meter = MeterCounters(
        "m",
        ((SERIAL_NUMBER, None), ("import_active_energy", CounterCheck(RATE)), ("voltage_l1", None)),
        lambda name, *event: noted.append(event),
    )

    def sample(serial, energy, now_s, code=GOOD):
        qualities = bytearray([code, GOOD, GOOD])
        meter.judge([serial, energy, 2300], qualities, now_s * SECOND)
        return list(qualities)[1]

    equal([sample(4711, 5000, 0), sample(4711, 5001, 1)], [GOOD, GOOD])
    equal(sample(0, 0, 2), COUNTER_GLITCH, "it boots: 0 is no serial number")
    equal(sample(None, 5002, 3, TIMEOUT), GOOD)
    kept = meter.memory()
    equal(kept, [4711, [], "", []])
    equal(sample(4712, 12, 4), GOOD)
    equal(
        noted,
        [
            ("import_active_energy", GLITCH, 5001, 0),
            (SERIAL_NUMBER, EXCHANGE, 4711, 4712),
            ("import_active_energy", EXCHANGE, 5002, 12),
        ],
    )
    after = MeterCounters("m", ((SERIAL_NUMBER, None), ("import_active_energy", CounterCheck(RATE))), lambda *_: None)
    after.remember(kept, None)
    equal(after.memory(), kept, "over a restart too")


def test_a_display_behind_transformers_begins_again_at_its_own_number():
    """99,999.99 kWh on the display are 1,999,999.8 kWh behind 100:5."""
    for n, d in ((20, 1), (100, 3), (1, 1), (4000, 5)):
        kwh = (9999998, 9999999, 0, 1)  # in hundredths, as the register has them
        check = CounterCheck(RATE * 1000, 1 << 32, 10 * n // d, (n, d))
        told, flagged = events_of(check, [(i, count * 10 * n // d) for i, count in enumerate(kwh)])
        equal((told, flagged), ([(2, ROLLOVER)], 0), "%d:%d" % (n, d))
    check = CounterCheck(RATE * 1000, 1 << 32, 200)
    equal(events_of(check, [(0, 1999999600), (1, 0)])[0], [(1, GLITCH)], "without the ratio nobody can know")


def test_a_changed_ratio_is_no_jump_of_the_counter():
    noted = []

    def made(basis="a"):
        check = CounterCheck(RATE, 1 << 32)
        return MeterCounters("m", (("import_active_energy", check),), lambda _name, *event: noted.append(event), basis)

    def sample(meter, register, ratio, now_s):
        qualities = bytearray([GOOD])
        ends = {0: ((1 << 32) * ratio, ratio, (ratio, 1))}
        meter.judge([register * ratio], qualities, now_s * SECOND, ends)
        return qualities[0]

    meter = made()
    equal([sample(meter, 500000, 20, 0), sample(meter, 500001, 20, 1)], [GOOD, GOOD])
    equal([sample(meter, 500001 + i, 40, 2 + i) for i in range(30)], [GOOD] * 30)
    equal(sample(meter, 400000, 40, 40), COUNTER_GLITCH, "a jump is still one")
    energy = "import_active_energy"
    equal(noted, [(energy, RESCALED, 500001 * 20, 500001 * 40), (energy, GLITCH, 500030 * 40, 400000 * 40)])
    noted.clear()
    kept = made()
    sample(kept, 500000, 20, 0)
    again = made()
    again.restore({"import_active_energy": 500000 * 20}, -60 * SECOND)
    again.remember(kept.memory(), 0)
    equal(sample(again, 500001, 80, 1), GOOD, "changed while the gateway was off")
    other = made("b")
    other.restore({"import_active_energy": 500000 * 20}, -60 * SECOND)
    other.remember(kept.memory(), 0)
    equal(sample(other, 3, 1, 1), GOOD, "another profile or ratio in the settings: nothing to compare with")
    equal(noted, [(energy, RESCALED, 500000 * 20, 500001 * 80), (energy, RESCALED, 500000 * 20, 3)])


def test_a_jump_waits_over_restarts():
    """Read once a day by a gateway that is started again each day."""
    day = 86400 * SECOND
    events, memory, last = [], None, None
    for value in (5000000, 900, 901, 902, 5100000, 5100001):
        check = CounterCheck(RATE)
        if last is not None:
            check.restore(last[0], last[1] - day)
        if memory:
            check.remember(memory, -day)
        events.append(check.judge(value, 0)[1])
        memory, last = check.memory(), check.state()
    equal(events, [NO_EVENT, GLITCH, NO_EVENT, EXCHANGE, UNDONE, NO_EVENT])


def test_the_state_survives_a_restart():
    before = CounterCheck(RATE)
    before.judge(5000, 0)
    value, time_ms = before.state()
    after = CounterCheck(RATE)
    after.restore(value, time_ms - 60 * SECOND)
    equal(after.judge(0, SECOND), (COUNTER_GLITCH, GLITCH), "a total that jumps after a restart")
    equal(after.judge(5003, 2 * SECOND), (GOOD, NO_EVENT))


def test_which_channels_have_a_check():
    document = {
        "meter": "m",
        "manual": "m",
        "sources": ["s"],
        "licences": ["l"],
        "function": 4,
        "order": "ABCD",
        "usual": ["import_active_energy", "active_power"],
        "registers": [
            ["import_active_energy", 0, "uint32", 2, "kWh", ""],
            ["active_power", 2, "uint16", 0, "W", ""],
            ["run_time", 4, "uint32", 0, "s", ""],
            ["pulse_count", 6, "uint32", 0, "1", ""],
        ],
    }
    channels = profiles.load(
        document, "m", ("import_active_energy", "active_power", "run_time", "pulse_count")
    ).channels
    energy, power, seconds, pulses = [for_channel(channel, 100000) for channel in channels]
    true(power is None and pulses is None)
    # 0.01 kWh a step: 10 kW·h in an hour are 10,000 steps, and 1,667 in the minute of update time.
    equal(energy.judge(0, 0), (GOOD, NO_EVENT))
    equal(energy.judge(169 + 2, SECOND), (GOOD, NO_EVENT))
    equal(energy.judge(400, 2 * SECOND), (COUNTER_GLITCH, GLITCH))
    equal(seconds.judge(10, 0), (GOOD, NO_EVENT))
    equal(seconds.judge(300, SECOND), (COUNTER_GLITCH, GLITCH))
    equal(channels[0].rollover, 1 << 32)
