"""NAMUR NE 43's limits, and the line from current to reading."""

from check import equal
from parkgate.reading import GOOD, OUT_OF_RANGE, SENSOR_FAULT
from parkgate.sensing import current_loop


def test_the_limits_of_ne_43():
    for ua, wanted in (
        (-5, SENSOR_FAULT),
        (0, SENSOR_FAULT),
        (3600, SENSOR_FAULT),
        (3601, OUT_OF_RANGE),
        (3799, OUT_OF_RANGE),
        (3800, GOOD),
        (4000, GOOD),
        (20000, GOOD),
        (20500, GOOD),
        (20501, OUT_OF_RANGE),
        (20999, OUT_OF_RANGE),
        (21000, SENSOR_FAULT),
        (24000, SENSOR_FAULT),
    ):
        equal(current_loop.quality(ua), wanted, str(ua))
    equal([current_loop.is_broken_wire(ua) for ua in (0, 1000, 1001, 3500)], [True, True, False, False])


def test_the_line_through_four_and_twenty():
    equal([current_loop.scaled(ua, 0, 1000000) for ua in (4000, 12000, 20000, 3800)], [0, 500000, 1000000, -12500])
    equal([current_loop.scaled(ua, 500, -500) for ua in (4000, 12000, 20000)], [500, 0, -500])
    equal(current_loop.scaled(4008, 0, 1000), 1, "0.5 is rounded up")


def test_current_from_the_converters_code():
    equal(current_loop.current_ua(16000, 4096000, 32768, 100000), 20000, "2 V over 100 ohm")
    equal(current_loop.current_ua(3200, 4096000, 32768, 100000), 4000)
    equal(current_loop.current_ua(-1, 4096000, 32768, 100000), -1)
