"""One item of CBOR: the canonical form of SPEC 2, and what is not."""

from .forms import dumps
from .registry import GOOD, vector


@vector("cbor", GOOD, "2", "every kind of item that exists here")
def every_item():
    numbers = [0, 23, 24, 255, 256, 65535, 65536, 2**32 - 1, 2**32, 2**64 - 1, -1, -24, -25, -(2**64)]
    return dumps([numbers, b"", b"\x00" * 24, "", "Wh", "°C", [], {}, {1: None, -1: True, "a": False}])


@vector("cbor", GOOD, "2", 'map keys in the order of their bytes: 10, 100, -1, "z", "aa"')
def keys_in_order():
    return bytes.fromhex("a50a0018640020 00617a0062616100")


@vector("cbor", GOOD, "2", "eight levels, the deepest there are")
def eight_levels():
    return b"\x81" * 7 + b"\x00"


@vector("cbor", GOOD, "2", "eight levels, the deepest an empty array: it is an item like any other")
def eight_levels_and_nothing():
    return b"\x81" * 7 + b"\x80"


@vector("cbor", "cbor", "2", "23 in two bytes")
def uint_23_in_two_bytes():
    return b"\x18\x17"


@vector("cbor", "cbor", "2", "255 in three bytes")
def uint_255_in_three_bytes():
    return b"\x19\x00\xff"


@vector("cbor", "cbor", "2", "65535 in five bytes")
def uint_65535_in_five_bytes():
    return b"\x1a\x00\x00\xff\xff"


@vector("cbor", "cbor", "2", "2^32 - 1 in nine bytes")
def uint_32_bits_in_nine_bytes():
    return b"\x1b\x00\x00\x00\x00\xff\xff\xff\xff"


@vector("cbor", "cbor", "2", "-1 in two bytes")
def nint_in_two_bytes():
    return b"\x38\x00"


@vector("cbor", "cbor", "2", "the length of a byte string in two bytes where one will do")
def bytes_length_not_minimal():
    return b"\x58\x01\x00"


@vector("cbor", "cbor", "2", "the length of an array in two bytes where one will do")
def array_length_not_minimal():
    return b"\x98\x01\x00"


@vector("cbor", "cbor", "2", "a byte string of indefinite length")
def indefinite_bytes():
    return b"\x5f\x41\x00\xff"


@vector("cbor", "cbor", "2", "an array of indefinite length")
def indefinite_array():
    return b"\x9f\x00\xff"


@vector("cbor", "cbor", "2", "a map of indefinite length")
def indefinite_map():
    return b"\xbf\x00\x00\xff"


@vector("cbor", "cbor", "2", "an integer of 65 bits, as a big number with its tag")
def big_number():
    return dumps(2**64)


@vector("cbor", "cbor", "2", "a tag")
def tagged():
    return b"\xc1\x00"


@vector("cbor", "cbor", "2", "a float, though it is a whole number")
def float_16():
    return b"\xf9\x3c\x00"


@vector("cbor", "cbor", "2", "a float of 64 bits")
def float_64():
    return b"\xfb\x3f\xf1\x99\x99\x99\x99\x99\x9a"


@vector("cbor", "cbor", "2", "the simple value `undefined`")
def undefined():
    return b"\xf7"


@vector("cbor", "cbor", "2", "true in two bytes")
def true_in_two_bytes():
    return b"\xf8\x15"


@vector("cbor", "cbor", "2", "the reserved additional information 28")
def reserved_information():
    return b"\x1c"


@vector("cbor", "cbor", "2", "a break with nothing to end")
def break_alone():
    return b"\xff"


@vector("cbor", "cbor", "2", "one map key twice")
def key_twice():
    return b"\xa2\x01\x00\x01\x01"


@vector("cbor", "cbor", "2", "map keys not in the order of their bytes")
def keys_not_in_order():
    return b"\xa2\x02\x00\x01\x00"


@vector("cbor", "cbor", "2", "a byte string as map key")
def key_of_bytes():
    return b"\xa1\x41\x00\x00"


@vector("cbor", "cbor", "2", "text that is not UTF-8")
def text_not_utf_8():
    return b"\x62\xc3\x28"


@vector("cbor", "cbor", "2", "a byte behind the item")
def byte_behind():
    return b"\x00\x00"


@vector("cbor", "cbor", "2", "a byte string cut off")
def bytes_cut_off():
    return b"\x43\x00\x00"


@vector("cbor", "cbor", "2", "an array that says it has 2^63 items")
def array_too_long():
    return b"\x9b\x80\x00\x00\x00\x00\x00\x00\x00"


@vector("cbor", "cbor", "2", "nothing at all")
def nothing():
    return b""


@vector("cbor", "cbor", "2", "nine levels, the ninth an empty array")
def nine_levels_and_nothing():
    return b"\x81" * 8 + b"\x80"


@vector("cbor", "cbor", "2", "nine levels, one too deep")
def nine_levels():
    return b"\x81" * 8 + b"\x00"
