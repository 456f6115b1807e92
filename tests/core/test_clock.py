"""The clock: trust before, at and long after a synchronisation."""

from check import equal, raises, true
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


def test_trust_is_made_of_an_uncertainty_that_grows():
    c = clock.Clock(FLOOR)
    equal(c.uncertainty_ms(7), None)
    c.synchronise(0, FLOOR, 20)
    until = (clock.TRUSTED_MS - 20) * 1000000 // clock.DRIFT_PPM  # 11 hours
    equal(c.uncertainty_ms(until), clock.TRUSTED_MS)
    equal(c.date(until)[1], reading.SYNCHRONISED)
    equal(c.date(until + 20000)[1], reading.HELD_OVER)
    equal(c.uncertainty_ms(14 * 86400000), 20 + 60480, "a crystal of 50 ppm after two weeks")


def test_a_source_that_knows_no_more_makes_the_clock_no_surer():
    c = clock.Clock(FLOOR)
    c.synchronise(0, FLOOR, 20)
    hour = 3600000
    for n in range(1, 24):
        c.synchronise(n * hour, FLOOR + n * hour, 20 + n * hour * clock.DRIFT_PPM // 1000000)  # the same, extrapolated
    equal(c.uncertainty_ms(23 * hour), 20 + 23 * 180)
    equal(c.date(23 * hour)[1], reading.HELD_OVER)
    c.synchronise(24 * hour, FLOOR + 24 * hour + 900, 1000)
    equal(c.date(24 * hour), (FLOOR + 24 * hour, reading.SYNCHRONISED), "it agrees: left as it is")
    equal(c.uncertainty_ms(24 * hour), 1900, "but surer")


def test_steps_are_told_and_drift_is_not():
    c = clock.Clock(FLOOR)
    day = FLOOR + 86400000
    c.synchronise(0, day)
    equal(c.synchronise(1000, day + 1000 + clock.STEP_MS - 1), None)
    equal(c.synchronise(2000, day + 2000 + clock.STEP_MS - 1 + 1000), 1000, "a second forward")
    equal(c.synchronise(3000, day + 3000 + clock.STEP_MS - 1), -1000, "and back")
    equal(c.synchronise(4000, day + 4000 - 3600000), -3600000 - clock.STEP_MS + 1)


def test_is_not_shaken_by_its_source():
    c = clock.Clock(FLOOR)
    c.synchronise(0, FLOOR + 1000)
    equal(c.synchronise(9000, FLOOR + 9900, 100), None)
    equal(c.date(9000)[0], FLOOR + 10000, "kept")
    equal(c.synchronise(9000, FLOOR + 9899, 100), None)
    equal(c.date(9000)[0], FLOOR + 9899)


def test_a_source_that_is_no_person_sets_back_by_little_and_never_before_the_journal():
    c = clock.Clock(FLOOR)
    day = FLOOR + 86400000
    c.newest_unix_ms = day
    for wrong in (day - clock.BACK_MS - 1, FLOOR + 1):
        raises(SettingsError, c.synchronise, 0, wrong, 20, True)
    equal(c.date(1)[1], reading.RELATIVE_ONLY)
    c.synchronise(0, day + 100000, 20, True)
    equal(c.date(0)[1], reading.SYNCHRONISED)
    raises(SettingsError, c.synchronise, 0, day + 100000 - clock.BACK_MS - 1, 20, True)
    equal(c.date(0), (day + 100000, reading.HELD_OVER), "not moved, and no longer sure")
    equal(c.synchronise(0, day + 100000 - clock.BACK_MS, 20, True), -clock.BACK_MS)
    equal(c.date(0)[1], reading.SYNCHRONISED)
    month = 30 * 86400000  # the crystal may be 129.6 s fast by then
    equal(c.synchronise(month, day + 95000 + month - 129000, 20, True), -129000)
    equal(c.synchronise(month, FLOOR, 1000), -(86400000 + 95000 + month - 129000), "a person may")


def test_refuses_a_time_that_no_firmware_lives_to_see():
    c = clock.Clock(FLOOR)
    for wrong in (FLOOR + clock.LIFE_MS + 1, (1 << 62) - 1):
        raises(SettingsError, c.synchronise, 0, wrong)
    equal(c.refused, 2)
    equal(c.synchronise(0, FLOOR + clock.LIFE_MS), None)


def test_another_source_judges():
    c = clock.Clock(FLOOR)
    equal(c.judge(0, FLOOR, 20), None, "nothing to judge yet")
    c.synchronise(0, FLOOR + 1000, 20)
    equal(c.judge(0, FLOOR + 2220, 1200), None)
    equal(c.date(0)[1], reading.SYNCHRONISED)
    equal(c.judge(0, FLOOR + 2221, 1200), 1221)
    equal(c.date(0), (FLOOR + 1000, reading.HELD_OVER))
    c.synchronise(0, FLOOR + 1000, 20)
    equal(c.date(0)[1], reading.HELD_OVER, "saying it again does not settle it")
    equal(c.judge(0, FLOOR + 1300, 1200), None)
    equal(c.date(0)[1], reading.SYNCHRONISED)


def test_refuses_a_time_before_this_firmware():
    c = clock.Clock(FLOOR)
    raises(SettingsError, c.synchronise, 0, FLOOR - 1)
    equal(c.refused, 1)
    equal(c.date(1)[1], reading.RELATIVE_ONLY)


def test_for_14_days_no_crystal_within_the_bound_is_further_off_than_the_clock_says():
    minute = 60000
    for ppm in (-50, -7, 0, 50):
        for every in (None, 360, 4000):  # minutes between answers of a source that may be off by 30 ms
            c = clock.Clock(FLOOR)
            c.synchronise(0, FLOOR, 20)
            for now in range(1, 14 * 1440, 7):
                true_ms = now * minute
                mono_ms = true_ms + true_ms * ppm // 1000000
                if every and now % every < 7:
                    c.synchronise(mono_ms, FLOOR + true_ms + (now % 61 - 30), 30, True)
                time_ms, trust = c.date(mono_ms)
                off_ms = abs(time_ms - FLOOR - true_ms)
                true(off_ms <= c.uncertainty_ms(mono_ms) + 4, (ppm, every, now, off_ms))
                equal(trust == reading.SYNCHRONISED, c.uncertainty_ms(mono_ms) <= clock.TRUSTED_MS)
