"""Registers to scaled integers: the same on every interpreter, because no float takes part."""

import json

from check import equal, true
from parkgate.meters import registers
from parkgate.reading import BAD_REPLY, GOOD, NOT_CONFIGURED, SENSOR_FAULT

VECTORS = __file__.rsplit("/", 2)[0] + "/vectors/modbus/"


def decoded(type_name, order, words, exponent=0, sentinel=False):
    data = bytes(byte for word in words for byte in (word >> 8, word & 0xFF))
    return registers.decode(data, 0, registers.layout(type_name, order, sentinel), exponent)


def test_whole_numbers_of_all_widths_and_orders():
    number = 0x0123456789ABCDEF
    for bits in (16, 32, 64):
        raw = number >> (64 - bits)
        big = [raw >> shift & 0xFFFF for shift in range(bits - 16, -16, -16)]
        swapped = [word >> 8 | (word & 0xFF) << 8 for word in big]
        for order, words in (
            ("ABCD", big),
            ("CDAB", big[::-1]),
            ("BADC", swapped),
            ("DCBA", swapped[::-1]),
        ):
            equal(decoded("uint%d" % bits, order, words), (raw, GOOD), "%s %d" % (order, bits))


def test_signed_numbers():
    equal(decoded("int16", "ABCD", [0xFFFF]), (-1, GOOD))
    equal(decoded("int16", "ABCD", [0x8000]), (-32768, GOOD))
    equal(decoded("int32", "CDAB", [0xFFFE, 0xFFFF]), (-2, GOOD))
    equal(decoded("int64", "ABCD", [0x8000, 0, 0, 1]), (1 - (1 << 63), GOOD))


def test_results_of_64_bits_are_no_values():
    equal(decoded("int64", "ABCD", [0x8000, 0, 0, 0]), (None, SENSOR_FAULT))
    equal(decoded("uint64", "ABCD", [0x8000, 0, 0, 0]), (None, SENSOR_FAULT))
    equal(decoded("uint64", "ABCD", [0x7FFF, 0xFFFF, 0xFFFF, 0xFFFF]), ((1 << 63) - 1, GOOD))
    equal(decoded("uint32", "ABCD", [0xFFFF, 0xFFFF], 10), (None, SENSOR_FAULT))


def test_halves_are_rounded_away_from_zero():
    for raw, value in ((15, 2), (25, 3), (24, 2), (26, 3), (0, 0), (4, 0), (5, 1)):
        equal(decoded("int16", "ABCD", [raw], -1), (value, GOOD))
        equal(decoded("int16", "ABCD", [-raw & 0xFFFF], -1), (-value, GOOD))


def test_binary_coded_decimals():
    equal(decoded("bcd16", "ABCD", [0x9876]), (9876, GOOD))
    equal(decoded("bcd32", "CDAB", [0x5678, 0x1234], 1), (123456780, GOOD))
    equal(decoded("bcd64", "ABCD", [0x1234, 0x5678, 0x9012, 0x3456]), (1234567890123456, GOOD))
    equal(decoded("bcd16", "ABCD", [0x12A4]), (None, BAD_REPLY))


def test_bits():
    data = b"\xcd\x01"
    code = registers.layout("bit")
    equal([registers.decode(data, i, code, 0)[0] for i in range(10)], [1, 0, 1, 1, 0, 0, 1, 1, 1, 0])


def test_not_available():
    equal(decoded("uint32", "ABCD", [0xFFFF, 0xFFFF], 0, True), (None, NOT_CONFIGURED))
    equal(decoded("int16", "ABCD", [0x7FFF], 0, True), (None, NOT_CONFIGURED))
    equal(decoded("int16", "ABCD", [0xFFFF], 0, True), (-1, GOOD))
    equal(decoded("uint32", "ABCD", [0xFFFF, 0xFFFF]), (0xFFFFFFFF, GOOD))


def test_floats_against_exact_decimals():
    with open(VECTORS + "float_to_integer.json") as file:
        cases = json.load(file)["cases"]
    true(len(cases) > 700)
    for bits, exponent, value in cases:
        words = [int(bits[i : i + 4], 16) for i in range(0, len(bits), 4)]
        want = (None, SENSOR_FAULT) if value is None else (value, GOOD)
        equal(decoded("float%d" % (4 * len(bits)), "ABCD", words, exponent), want, "%s e%d" % (bits, exponent))


def test_float_of_a_captured_frame():
    # Eastron SDM230, esphome-solax-x1-mini issue 20: 10909.3 kWh; the next value is one unit in the last place more.
    equal(decoded("float32", "ABCD", [0x462A, 0x7521], 3), (10909282, GOOD))
    equal(decoded("float32", "ABCD", [0x462A, 0x7522], 3), (10909283, GOOD))
    equal(decoded("float32", "DCBA", [0x2175, 0x2A46], 3), (10909282, GOOD))


def test_unknown_types_and_orders():
    equal(registers.layout("uint24"), None)
    equal(registers.layout("uint32", "ACBD"), None)
