"""Energy counters: growth, rollover, exchange and glitches."""

from check import equal, true
from parkgate.meters import profiles
from parkgate.meters.counters import (
    CONFIRM,
    EXCHANGE,
    GLITCH,
    GLITCH_APART_MS,
    NO_EVENT,
    ROLLOVER,
    CounterCheck,
    for_channel,
)
from parkgate.reading import COUNTER_GLITCH, GOOD

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
    equal((check.judge(70002, 3 * SECOND)[1], check.before), (EXCHANGE, 1000))
    check.judge(70003, 4 * SECOND)
    equal(check.before, 70002)


def test_rollover():
    top = 1 << 32
    equal(judged([top - 3, top - 1, 2, 3], top), [(GOOD, NO_EVENT)] * 2 + [(GOOD, ROLLOVER), (GOOD, NO_EVENT)])
    # From the middle it is none.
    equal(judged([1 << 31, 2], top)[1], (COUNTER_GLITCH, GLITCH))
    # And an unknown end cannot be passed.
    equal(judged([top - 3, 2])[1], (COUNTER_GLITCH, GLITCH))


def test_an_exchanged_meter_is_flagged_until_it_is_confirmed():
    for start in (0, 500000):
        result = judged([20000, start, start + 1, start + 1, start + 2])
        equal(CONFIRM, 3)
        equal(
            result,
            [
                (GOOD, NO_EVENT),
                (COUNTER_GLITCH, GLITCH),
                (COUNTER_GLITCH, NO_EVENT),
                (GOOD, EXCHANGE),
                (GOOD, NO_EVENT),
            ],
        )


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
