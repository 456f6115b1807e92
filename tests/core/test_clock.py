"""The clock: trust before, at and long after a synchronisation."""

from check import equal, raises
from parkgate import clock, reading
from parkgate.errors import SettingsError

FLOOR = 1793491200000


def test_relative_until_synchronised_then_dated_later():
    c = clock.Clock(FLOOR)
    time_ms, trust = c.date(5000)
    equal((time_ms, trust), (5000, reading.RELATIVE_ONLY))
    equal(c.date_later(time_ms, trust), (5000, reading.RELATIVE_ONLY))
    equal(c.synchronise(9000, FLOOR + 9000), None)
    equal(c.date_later(time_ms, trust), (FLOOR + 5000, reading.DATED_LATER))
    equal(c.date(9500), (FLOOR + 9500, reading.SYNCHRONISED))
    equal(c.date_later(FLOOR + 9500, reading.SYNCHRONISED), (FLOOR + 9500, reading.SYNCHRONISED))


def test_holds_over_after_six_hours():
    c = clock.Clock(FLOOR)
    c.synchronise(0, FLOOR)
    equal(c.date(clock.HOLD_OVER_MS - 1)[1], reading.SYNCHRONISED)
    equal(c.date(clock.HOLD_OVER_MS)[1], reading.HELD_OVER)


def test_reports_steps_and_not_drift():
    c = clock.Clock(FLOOR)
    day = FLOOR + 86400000
    c.synchronise(0, day)
    equal(c.synchronise(1000, day + 1000 + clock.STEP_MS), None)
    equal(c.synchronise(2000, day + 2000 - 3600000), -3600000 - clock.STEP_MS)


def test_is_not_shaken_by_its_source():
    c = clock.Clock(FLOOR)
    c.synchronise(0, FLOOR + 1000)
    equal(c.synchronise(clock.HOLD_OVER_MS, FLOOR + clock.HOLD_OVER_MS + 900, 100), None)
    equal(c.date(clock.HOLD_OVER_MS), (FLOOR + clock.HOLD_OVER_MS + 1000, reading.SYNCHRONISED), "kept, but fresh")
    equal(c.synchronise(clock.HOLD_OVER_MS, FLOOR + clock.HOLD_OVER_MS + 899, 100), None)
    equal(c.date(clock.HOLD_OVER_MS)[0], FLOOR + clock.HOLD_OVER_MS + 899)


def test_refuses_a_time_before_this_firmware():
    c = clock.Clock(FLOOR)
    raises(SettingsError, c.synchronise, 0, FLOOR - 1)
    equal(c.refused, 1)
    equal(c.date(1)[1], reading.RELATIVE_ONLY)
