"""Sample records: what goes in comes out, and damaged ones are refused."""

from check import equal, raises
from parkgate import reading
from parkgate.errors import FormatError


def roundtrip(*sample):
    back = reading.decode_sample(reading.encode_sample(*sample))
    instrument, time_ms, trust, values, qualities = back
    equal((instrument, time_ms, trust, values), sample[:4])
    equal(bytes(qualities) if qualities else None, bytes(sample[4]) if len(sample) > 4 and sample[4] else None)


def test_roundtrip():
    roundtrip(0, 0, 0, [0])
    roundtrip(3, 1793491200123, reading.SYNCHRONISED, [2301, -5, 0, 1 << 40, (1 << 63) - 1, 1 - (1 << 63)])
    roundtrip(63, 5, reading.RELATIVE_ONLY, [None, 7], [reading.TIMEOUT, reading.STALE])
    roundtrip(1, 1 << 50, reading.HELD_OVER, [None] * 40, [reading.BAD_REPLY] * 40)


def test_negative_and_positive_cost_the_same():
    for n in (1, 63, 8191, 1048575):
        equal(len(reading.encode_sample(0, 0, 0, [n])), len(reading.encode_sample(0, 0, 0, [-n])))


def test_refuses_values_and_qualities_that_do_not_fit():
    raises(FormatError, reading.encode_sample, 0, 0, 0, [1 << 63])
    raises(FormatError, reading.encode_sample, 0, 0, 0, [None])
    raises(FormatError, reading.encode_sample, 0, 0, 0, [1, 2], [0])


def test_every_prefix_and_any_tail_is_refused():
    data = reading.encode_sample(9, 1793491200123, 1, [300, None, -70000], [0, reading.TIMEOUT, 1])
    for end in range(len(data)):
        raises(FormatError, reading.decode_sample, data[:end])
    raises(FormatError, reading.decode_sample, data + b"\x00")
    for wrong in (
        b"\x00\x00\x00\x00",  # no channels
        b"\x00\x04\x00\x02\x00",  # one quality for two channels
        b"\x00\x04\x00\x01\x10\x00",  # quality 16
        b"\x00\x08\x00\x01\x00",  # an unknown flag
        b"\x00\x00\x00\x01" + b"\xff" * 9 + b"\x01",  # the value -2^63
        b"\x00\x00\x00\x01" + b"\xff" * 9 + b"\x7f",  # more than 64 bits
    ):
        raises(FormatError, reading.decode_sample, wrong)
    raises(FormatError, reading.get_varint, b"\x80\x00", 0)
    raises(FormatError, reading.get_varint, b"\xff" * 11, 0)
