"""Reduction at the edge: windows, qualities, exact integrals, report by exception."""

from check import equal, true
from parkgate.reading import COUNTER_GLITCH, GOOD, OUT_OF_RANGE, SUBSTITUTED, TIMEOUT
from parkgate.sensing.reduction import REDUCTIONS, Reporter, reduced_schema

POWER = [["active_power", "W", 1]]
METER = [["active_power", "W", 1], ["import_active_energy", "Wh", 0], ["machine_state", "1", 0]]


def feed(reporter, samples, period_ms=1000):
    """The kept rows as (time_ms, values, qualities)."""
    rows = []
    for i, sample in enumerate(samples):
        kept = reporter.add(i * period_ms, *sample)
        if kept:
            rows.append((i * period_ms,) + kept)
    return rows


def test_without_anything_each_sample_is_kept():
    equal(feed(Reporter(POWER), [([5],), ([5],), ([6],)]), [(0, [5], None), (1000, [5], None), (2000, [6], None)])


def test_a_window_gives_every_reduction_and_counters_their_last_value():
    equal(
        reduced_schema(METER, ("mean", "max")),
        [
            ["active_power:mean", "W", 1],
            ["active_power:max", "W", 1],
            ["import_active_energy", "Wh", 0],
            ["machine_state", "1", 0],
        ],
    )
    reporter = Reporter(METER, ("mean", "max"), 4)
    samples = [([10, 100, 1],), ([-20, 101, 1],), ([30, 102, 2],), ([41, 103, 2],)]
    equal(feed(reporter, samples), [(3000, [15, 41, 103, 2], None)], "15.25 is 15")
    equal(feed(Reporter(POWER, REDUCTIONS, 2), [([3],), ([6],)]), [(1000, [6, 5, 3, 6, 4], None)])


def test_integrals_lose_nothing_by_rounding():
    equal(reduced_schema(POWER, ("integral",)), [["active_power:integral", "W.s", 1]])
    rows = feed(Reporter(POWER, ("integral",), 7), [([v],) for v in range(1, 700)], 333)
    total = sum([row[1][0] for row in rows])
    exact = sum([(2 * v + 1) * 333 for v in range(1, 7 * len(rows))])
    equal(total, exact // 2000)


def test_an_integral_does_not_bridge_a_hole():
    samples = [([100],), ([100],), ([None], bytes([TIMEOUT])), ([100],), ([100],)]
    equal(feed(Reporter(POWER, ("integral",), 5), samples), [(4000, [200], bytes([SUBSTITUTED]))])


def test_qualities_are_not_averaged_away():
    cases = (
        (([1],), ([3], bytes([OUT_OF_RANGE])), ([2], bytes([OUT_OF_RANGE]))),
        (([1], bytes([COUNTER_GLITCH])), ([3],), ([2], bytes([COUNTER_GLITCH]))),
        (([1],), ([None], bytes([TIMEOUT])), ([1], bytes([SUBSTITUTED]))),
        (([None], bytes([9])), ([None], bytes([TIMEOUT])), ([None], bytes([TIMEOUT]))),
        (([1],), ([2], bytes([GOOD])), ([2], None)),
    )
    for first, second, wanted in cases:
        equal(feed(Reporter(POWER, ("mean",), 2), [first, second]), [(1000,) + wanted])


def test_report_by_exception_keeps_moves_and_a_heartbeat():
    samples = [([v],) for v in (100, 103, 105, 106, 103, 100, 100, 100)]
    reporter = Reporter(POWER, heartbeat_ms=100000, deadbands={"active_power": 5})
    equal([row[:2] for row in feed(reporter, samples)], [(0, [100]), (3000, [106]), (5000, [100])])
    reporter = Reporter(POWER, heartbeat_ms=3000)
    equal([row[0] for row in feed(reporter, [([7],)] * 8)], [0, 3000, 6000])


def test_a_drift_within_the_deadband_is_still_seen():
    """The deadband is measured from the last kept row, so slow growth cannot creep by unseen."""
    reporter = Reporter(POWER, heartbeat_ms=10**6, deadbands={"active_power": 5})
    rows = feed(reporter, [([v],) for v in range(30)])
    equal([row[1][0] for row in rows], [0, 6, 12, 18, 24])


def test_a_changed_quality_is_news():
    samples = [([7],), ([7],), ([None], bytes([TIMEOUT])), ([None], bytes([TIMEOUT])), ([7],), ([7],)]
    rows = feed(Reporter(POWER, heartbeat_ms=10**6), samples)
    equal([row[0] for row in rows], [0, 2000, 4000])
    true(rows[1][2] == bytes([TIMEOUT]))
