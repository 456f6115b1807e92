"""Columns (SPEC 8): what decodes to what, and what must be refused; alone, and where one stands in a batch."""

from .forms import batch, column, table
from .plain_columns import DELTA, DELTA2, DELTA3, FLOOR, LEVEL, Bits, encode, encode_numbers
from .registry import GOOD, vector

NOISE = [(n * n * 7919 + 13) % 101 - 50 for n in range(240)]
METER = [123456789 + n * 17 + (n * n) % 5 for n in range(60)]


def good(transform, values, **more):
    return encode(transform, values, **more), {"values": values}


@vector("column", GOOD, "8", "noise around a level", count=240)
def level():
    return good(LEVEL, [2300 + each for each in NOISE])


@vector("column", GOOD, "8", "what is never negative, mostly zero", count=240)
def floor():
    return good(FLOOR, [max(0, each - 30) for each in NOISE])


@vector("column", GOOD, "8", "a counter, as its differences", count=60)
def delta():
    return good(DELTA, METER)


@vector("column", GOOD, "8", "regular times, as differences of differences", count=300)
def delta_of_delta():
    return good(DELTA2, [n * 900000 for n in range(300)])


@vector("column", GOOD, "8", "a smooth curve, as third differences", count=100)
def third_differences():
    return good(DELTA3, [n**3 - 40 * n * n + (n * 7) % 3 for n in range(100)])


@vector("column", GOOD, "8", "fine classes: two for each bit length", count=240)
def fine_classes():
    return good(LEVEL, [2300 + each for each in NOISE], fine=True)


@vector("column", GOOD, "8", "one value", count=1)
def one_value():
    return good(DELTA, [-42])


@vector("column", GOOD, "8", "all the same", count=4096)
def all_the_same():
    return good(LEVEL, [230] * 4096)


@vector("column", GOOD, "8", "steps of ten", count=60)
def step_of_ten():
    return good(DELTA, [each * 10 for each in METER])


@vector("column", GOOD, "8", "the largest and the smallest value, whose differences wrap", count=6)
def widest_values():
    return good(DELTA, [2**63 - 1, 1 - 2**63, 0, 1 - 2**63, 2**63 - 1, -1])


@vector("column", GOOD, "8", "a 64-bit counter that rolls over", count=40)
def roll_over():
    return good(DELTA, [(2**32 - 700 + n * 37) % 2**32 for n in range(40)])


@vector("column", GOOD, "8", "more classes than contexts", count=62)
def many_classes():
    return good(LEVEL, [(-1) ** n * (1 << n) for n in range(62)], anchor=0)


@vector("column", GOOD, "8", "all the fine classes that there are", count=126)
def all_classes():
    return good(FLOOR, [0, 1, 2, 3] + [(2 + n % 2) << n // 2 for n in range(2, 124)], fine=True)


@vector("column", GOOD, "8", "so many residuals that the counts of a context are halved", count=1000)
def counts_halved():
    return good(FLOOR, [each % 3 == 0 for each in range(1000)])


@vector("column", GOOD, "8", "a carry through several bytes of the range code", count=12)
def carry():
    return good(FLOOR, _with_carry(12))


def _with_carry(count):
    """Values whose range code holds a byte 255 behind a change, found by trying."""
    for seed in range(1, 100000):
        values = [(seed * (n + 3) ** 3 >> 4) % 4 for n in range(count)]
        if min(values) == 0 and b"\x00" in encode(FLOOR, values)[1:3] and len(set(values)) == 4:
            return values
    raise ValueError("none found")


def refused(name, count, data, fact):
    """A vector of a column that is refused."""

    def make():
        return data

    make.__name__ = name
    vector("column", "columns", "8", fact, count=count)(make)


def _add(code, number):
    return (int.from_bytes(code, "big") + number).to_bytes(len(code), "big")


def _one_byte_end(count):
    """Values whose range code could as well end with one byte more, found by trying."""
    for seed in range(1, 1000):
        values = [(seed * (n + 3) ** 3 >> 4) % 3 for n in range(count)]
        if set(values) == {0, 1, 2} and len(encode(FLOOR, values, more=1)) == len(encode(FLOOR, values)) + 1:
            return values
    raise ValueError("none found")


NOISY = encode(LEVEL, NOISE)
COUNTER = encode(DELTA, METER)

refused("cut_off", 240, NOISY[:-1], "a byte is missing at the end")
refused("cut_off_in_front", 240, NOISY[:1] + NOISY[2:], "a byte of the range code is missing")
refused("byte_behind", 240, NOISY + b"\x00", "a byte too many at the end")
refused("byte_between", 60, COUNTER[:3] + b"\x00" + COUNTER[3:], "a byte too many in the middle")
refused("coder_unknown", 60, b"\x05" + COUNTER[1:], "coder 5, otherwise as coder 2")
refused("count_too_small", 239, NOISY, "the column has one value more than the table rows")
refused("count_too_large", 241, NOISY, "the column has one value less than the table rows")
refused("no_coder", 1, b"", "no byte at all, though there is a row")
refused("step_not_greatest", 60, encode(DELTA, [10 * n * n for n in range(60)], step=5), "a step that could be larger")
refused("single_not_marked", 8, encode(LEVEL, [0, 9, 1, 9, 0, 9, 9, 0], anchor=0, hide=(6,)),
        "a class of one number only, not marked as such")  # fmt: skip
refused("floor_not_least", 4, encode(FLOOR, [7, 8, 9, 8], anchor=6), "a floor below the least value")
refused("value_too_large", 2, encode(FLOOR, [1, 2**63], anchor=1),
        "the value 2^63, from an anchor and a residual in range")  # fmt: skip
refused("value_too_small", 2, encode(LEVEL, [-(2**63), 0], anchor=-1),
        "the value -2^63, from an anchor and a residual in range")  # fmt: skip
refused("anchor_too_large", 2, encode(LEVEL, [2**63 - 1, 2**63 - 2], anchor=2**63),
        "the anchor 2^63, 65 bits as zigzag")  # fmt: skip
refused("anchor_too_small", 2, encode(LEVEL, [1 - 2**63, 2 - 2**63], anchor=-(2**63)), "the anchor -2^63")
refused("residual_too_large", 2, encode_numbers(LEVEL, -(2**62), 2, [2**63, 2]),
        "the residual 2^63, though the value is in range")  # fmt: skip
refused("step_of_one_written", 8, encode(LEVEL, [0, 9, 1, 9, 0, 9, 9, 0], anchor=0, say_step=True),
        "a step of length 0: the step 1 written out")  # fmt: skip
refused("class_does_not_occur", 8, encode(FLOOR, [0, 3, 1, 3, 0, 3, 3, 0], extra=(2,)),
        "class 2 is listed and does not occur")  # fmt: skip
refused("code_beyond_all_classes", 8, encode(FLOOR, [0, 2, 1, 2, 0, 2, 2, 0], end=lambda code: b"\xff" * len(code)),
        "the range code begins with ff ff ff: more than 12 units of ⌊2^24 / 12⌋")  # fmt: skip
refused("end_of_three_bytes", 240, encode(LEVEL, [2300 + each for each in NOISE], end=lambda code: code + b"\x00"),
        "a byte too many at the end of the range code")  # fmt: skip
refused("end_one_byte_longer", 8, encode(FLOOR, _one_byte_end(8), more=1),
        "the range code ends with two bytes, where one will do")  # fmt: skip
refused("end_not_the_lowest", 240, encode(LEVEL, [2300 + each for each in NOISE], end=lambda code: _add(code, 1)),
        "the last byte of the range code is one higher")  # fmt: skip
refused("end_below_the_interval", 240, encode(LEVEL, [2300 + each for each in NOISE], end=lambda code: _add(code, -1)),
        "the last byte of the range code is one lower")  # fmt: skip
refused("bytes_for_no_values", 0, encode(LEVEL, [0]), "a column, though there are no values")


def _padded():
    bits = Bits()
    bits.put(0, 7)  # anchor 0
    bits.put(0, 1)  # no step
    bits.put(0, 1)  # coarse classes
    bits.put(0, 7)  # class 0
    bits.put(0, 7)  # and no other
    bits.put(1, 1)  # the only bit of padding
    return bytes([LEVEL]) + bits.bytes()


refused("padding_set", 4, _padded(), "a bit of the padding is set")


# Where a column stands in a batch.


def in_batch(name, part, fact, **more):
    def make():
        return batch(tables=[part], **more)

    make.__name__ = "batch_" + name
    vector("batch", "columns", "5.3", fact)(make)


CHANNEL = [2301, 2299, 2304, 2302]

in_batch("channel_cut_off", table(channels=[column(CHANNEL)[:-1]]), "the column of a channel cut off")
in_batch("channel_empty", table(channels=[b""]), "no values, though all four rows are good")
WIDE = [2301, -40, 777777, 123456789]
in_batch("count_mismatch", table(channels=[[0, 1000000, 1900001]]), "three values for four rows")
TIMEOUT = column([0, 8, 0, 0])
in_batch("value_for_a_timeout", table(quality=TIMEOUT, channels=[WIDE]), "a value for a row that timed out")
in_batch("times_cut_off", [*table()[:3], table()[3][:-1], *table()[4:]], "the column of times cut off")
in_batch("time_before_base", table(times=[0, 1000, -1, 3000]), "a time before the base time")
in_batch("trust_4", table(trust=column([0, 4, 0, 0])), "clock trust 4")
in_batch("trust_negative", table(trust=column([0, -1, 0, 0])), "clock trust -1")
in_batch("trust_zero_written", table(trust=column([0, 0, 0, 0])), "clock trust of all zero written out")
in_batch("quality_16", table(quality=column([0, 16, 0, 0]), channels=[[2301, 2304, 2302]]), "quality 16")
in_batch("quality_zero_written", table(quality=column([0, 0, 0, 0])), "qualities of all zero written out")
in_batch("base_time_not_least", table(times=[1, 1001, 2001, 3002]), "the base time is 1 ms before the first row")
in_batch("time_of_2_to_62", table(times=[0, 1000, 2000, 3000]), "base time and offset are uints, the time 2^62 is none",
         base_ms=2**62 - 3000)  # fmt: skip
TWICE = [encode(each, [0, 0, 2, 0]) for each in (LEVEL, FLOOR)]
in_batch("quality_repeated_in_other_bytes", table(quality=TWICE[0], channels=[CHANNEL, [TWICE[1], column(CHANNEL)]]),
         "a channel brings the codes of the first one, coded in another way")  # fmt: skip
