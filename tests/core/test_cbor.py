"""CBOR: the examples of RFC 8949 appendix A that our subset has, and every way of not being canonical."""

from check import equal, raises
from parkgate.errors import FormatError
from parkgate.wire import cbor

# RFC 8949 appendix A.
EXAMPLES = (
    (0, "00"),
    (1, "01"),
    (10, "0a"),
    (23, "17"),
    (24, "1818"),
    (100, "1864"),
    (1000, "1903e8"),
    (1000000, "1a000f4240"),
    (1000000000000, "1b000000e8d4a51000"),
    (18446744073709551615, "1bffffffffffffffff"),
    (-18446744073709551616, "3bffffffffffffffff"),
    (-1, "20"),
    (-10, "29"),
    (-100, "3863"),
    (-1000, "3903e7"),
    (False, "f4"),
    (True, "f5"),
    (None, "f6"),
    (b"", "40"),
    (b"\x01\x02\x03\x04", "4401020304"),
    ("", "60"),
    ("IETF", "6449455446"),
    ("\u00fc", "62c3bc"),
    ("\u6c34", "63e6b0b4"),
    ([], "80"),
    ([1, [2, 3], [4, 5]], "8301820203820405"),
    (list(range(1, 26)), "98190102030405060708090a0b0c0d0e0f101112131415161718181819"),
    ({}, "a0"),
    ({1: 2, 3: 4}, "a201020304"),
    ({"a": 1, "b": [2, 3]}, "a26161016162820203"),
    (["a", {"b": "c"}], "826161a161626163"),
)

REFUSED = (
    ("", "truncated"),
    ("18", "truncated"),
    ("4403", "truncated"),
    ("6261", "truncated"),
    ("8201", "truncated"),
    ("a101", "truncated"),
    ("9b7fffffffffffffff", "truncated"),
    ("bb7fffffffffffffff", "truncated"),
    ("5b7fffffffffffffff", "truncated"),
    ("0000", "after the end"),
    ("1817", "shortest"),
    ("190018", "shortest"),
    ("1a0000ffff", "shortest"),
    ("1b00000000ffffffff", "shortest"),
    ("3800", "shortest"),
    ("580161", "shortest"),
    ("1c", "reserved"),
    ("5f4101ff", "indefinite"),
    ("9f01ff", "indefinite"),
    ("bf0102ff", "indefinite"),
    ("c11a514b67b0", "tag"),
    ("f93c00", "tag, float"),
    ("fb3ff199999999999a", "tag, float"),
    ("f7", "simple"),
    ("a201020102", "in order"),
    ("a203040102", "in order"),
    ("a2616101 01 02", "in order"),
    ("a1410102", "map key"),
    ("a1f601", "map key"),
    ("a1f501", "map key"),
    ("61ff", "UTF-8"),
    ("818181818181818181", "nested"),
)


def test_examples_encode_and_decode():
    for item, text in EXAMPLES:
        data = bytes.fromhex(text)
        equal(cbor.encode(item), data, text)
        back = cbor.decode(data)
        equal(back, item, text)
        equal(type(back), type(item), text)


def test_refuses_every_other_form():
    for text, why in REFUSED:
        error = raises(FormatError, cbor.decode, bytes.fromhex(text.replace(" ", "")))
        if why not in str(error):
            raise AssertionError("%s: said %s, not %s" % (text, error, why))


def test_keys_are_sorted_by_their_bytes():
    equal(cbor.encode({"a": 1, 10: 2, -1: 3, 100: 4}), bytes.fromhex("a4 0a02 186404 2003 616101".replace(" ", "")))


def test_every_prefix_is_refused():
    data = cbor.encode([1, -300, b"bytes", "text", {1: [None, True], "k": 70000}])
    for end in range(len(data)):
        raises(FormatError, cbor.decode, data[:end])


def test_what_has_no_encoding_is_refused():
    for item in (1.5, 1 << 64, -(1 << 64) - 1, object(), [[[[[[[[[1]]]]]]]]]):
        raises(FormatError, cbor.encode, item)
