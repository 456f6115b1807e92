"""A 4 to 20 mA loop: from current to reading, with the limits of NAMUR NE 43.

    current, mA      what it says                                        quality of the reading
    0    .. 1.0      nobody drives the loop: broken wire, no supply      SENSOR_FAULT
    ..   3.6         the transmitter signals its own failure, low        SENSOR_FAULT
    3.6  .. 3.8      under-range: the measurement has left its span      OUT_OF_RANGE
    3.8  .. 20.5     measurement                                         GOOD
    20.5 .. 21.0     over-range                                          OUT_OF_RANGE
    21.0 ..          failure signal, high, or a short circuit            SENSOR_FAULT

NE 43 (2003): measuring information 3.8 to 20.5 mA, failure information at most 3.6 or at least 21.0 mA. It does not
know the first line; it is ours, because no two-wire transmitter can live on less than 1 mA. Currents are whole µA.
"""

from parkgate.reading import GOOD, OUT_OF_RANGE, SENSOR_FAULT

BROKEN_WIRE_UA = 1000
FAILURE_LOW_UA, MEASURING_LOW_UA = 3600, 3800
MEASURING_HIGH_UA, FAILURE_HIGH_UA = 20500, 21000

ZERO_UA, SPAN_UA = 4000, 16000


def current_ua(code: int, full_scale_uv: int, full_scale_code: int, shunt_mohm: int) -> int:
    """Current through a shunt (milliohm) from an ADC code, rounded to the nearest µA."""
    # µV × 1000 / mΩ = µA
    numerator = code * full_scale_uv * 1000
    denominator = full_scale_code * shunt_mohm
    return (2 * numerator + denominator) // (2 * denominator)


def quality(ua: int) -> int:
    """What NE 43 says of a current."""
    if ua <= FAILURE_LOW_UA or ua >= FAILURE_HIGH_UA:
        return SENSOR_FAULT
    if ua < MEASURING_LOW_UA or ua > MEASURING_HIGH_UA:
        return OUT_OF_RANGE
    return GOOD


def is_broken_wire(ua: int) -> bool:
    """Whether nothing drives the loop at all."""
    return ua <= BROKEN_WIRE_UA


def scaled(ua: int, at_4ma: int, at_20ma: int) -> int:
    """The reading for a current, on the line through (4 mA, at_4ma) and (20 mA, at_20ma), rounded to nearest."""
    numerator = (ua - ZERO_UA) * (at_20ma - at_4ma)
    return at_4ma + (2 * numerator + SPAN_UA) // (2 * SPAN_UA)
