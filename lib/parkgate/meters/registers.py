"""Register contents to integers in a declared decimal scale, exactly and without a float.

A board's float has 24 bits of mantissa and the Unix port's 53: signed bytes that depend on either would
differ from board to board. So the bits of a float register are taken apart as integers, and the value
m × 2^e × 10^s is formed by whole-number arithmetic: exact where it can be, else rounded to the nearest
integer, halves away from zero. (10^s comes from the meter's unit, its decimals and the channel's scale.)

Types, by the name they have in profiles:

    uint16 uint32 uint64 int16 int32 int64    whole numbers, two's complement
    float32 float64                           IEEE 754
    bcd16 bcd32 bcd64                         binary coded decimals, four digits a register
    bit                                       one coil or discrete input

Orders, as manuals write them for a value of two registers, A being the most significant byte:

    ABCD   high word first (the usual one)        CDAB   low word first
    BADC   high word first, bytes swapped         DCBA   low word first, bytes swapped

What a register cannot say becomes a quality without a value: NaN, infinity and a result of 64 bits or more
are SENSOR_FAULT (the meter itself has no usable number), digits above 9 in a BCD register are BAD_REPLY.
"""

from parkgate.reading import BAD_REPLY, GOOD, NOT_CONFIGURED, SENSOR_FAULT, VALUE_LIMIT

UNSIGNED, SIGNED, FLOAT, BCD, BIT = 0, 1, 2, 3, 4
_TYPES = {
    "uint16": (UNSIGNED, 1),
    "uint32": (UNSIGNED, 2),
    "uint64": (UNSIGNED, 4),
    "int16": (SIGNED, 1),
    "int32": (SIGNED, 2),
    "int64": (SIGNED, 4),
    "float32": (FLOAT, 2),
    "float64": (FLOAT, 4),
    "bcd16": (BCD, 1),
    "bcd32": (BCD, 2),
    "bcd64": (BCD, 4),
    "bit": (BIT, 1),
}
TYPE_NAMES = tuple(sorted(_TYPES))
ORDERS = ("ABCD", "CDAB", "BADC", "DCBA")

# Layout code of a register value: what decode() needs, packed into one small integer.
_WIDTH_SHIFT = 3
_LOW_WORD_FIRST = 1 << 6
_BYTES_SWAPPED = 1 << 7
_SENTINEL = 1 << 8

_TOO_LARGE = 200  # a power of two beyond which any mantissa is out of range, whatever the scale


def layout(type_name, order="ABCD", sentinel=False):
    """Layout code of a type and order; None when one of them is unknown.

    `sentinel`: all ones (unsigned) or the largest number (signed) mean "not available", as ABB meters do.
    """
    if type_name not in _TYPES or order not in ORDERS:
        return None
    kind, width = _TYPES[type_name]
    code = kind | width << _WIDTH_SHIFT
    if order in ("CDAB", "DCBA"):
        code |= _LOW_WORD_FIRST
    if order in ("BADC", "DCBA"):
        code |= _BYTES_SWAPPED
    if sentinel and kind in (UNSIGNED, SIGNED):
        code |= _SENTINEL
    return code


def width(code):
    """Registers (or coils) that a value of this layout takes."""
    return code >> _WIDTH_SHIFT & 7


def kind(code):
    """UNSIGNED, SIGNED, FLOAT, BCD or BIT."""
    return code & 7


def decode(data, index, code, exponent):
    """(value, quality) of one register value.

    `data` are the bytes of a reply, `index` the number of the first register (or coil) in it, `code` comes
    from layout(), and the result is what the meter says × 10^exponent. Value is None unless quality is GOOD.
    """
    if code & 7 == BIT:
        return data[index >> 3] >> (index & 7) & 1, GOOD
    words = code >> _WIDTH_SHIFT & 7
    low_first = code & _LOW_WORD_FIRST
    swapped = code & _BYTES_SWAPPED
    raw = 0
    for i in range(words):
        at = 2 * (index + (words - 1 - i if low_first else i))
        raw = raw << 16 | (data[at + 1] << 8 | data[at] if swapped else data[at] << 8 | data[at + 1])
    return convert(raw, code, exponent)


def convert(raw, code, exponent):
    """(value, quality) of a register value given as one unsigned number, most significant word first."""
    what = code & 7
    bits = (code >> _WIDTH_SHIFT & 7) * 16
    if what == FLOAT:
        return _from_float(raw, bits, exponent)
    if what == BCD:
        value = from_bcd(raw, bits // 4)
        if value is None:
            return None, BAD_REPLY
        return _limited(times_power_of_ten(value, exponent))
    if code & _SENTINEL and raw == (1 << (bits - 1 if what == SIGNED else bits)) - 1:
        return None, NOT_CONFIGURED
    if what == SIGNED and raw >> (bits - 1):
        raw -= 1 << bits
    return _limited(times_power_of_ten(raw, exponent))


def from_bcd(raw, digits):
    """The number that `digits` binary coded decimals stand for, or None if one is above 9."""
    value = 0
    for i in range(digits - 1, -1, -1):
        digit = raw >> 4 * i & 15
        if digit > 9:
            return None
        value = 10 * value + digit
    return value


def times_power_of_ten(value, exponent):
    """value × 10^exponent as an integer, halves rounded away from zero."""
    if exponent >= 0:
        return value * 10**exponent
    return divide_rounded(value, 10**-exponent)


def divide_rounded(dividend, divisor):
    """dividend / divisor (> 0) to the nearest integer, halves away from zero."""
    if dividend < 0:
        return -((-2 * dividend + divisor) // (2 * divisor))
    return (2 * dividend + divisor) // (2 * divisor)


def _limited(value):
    if -VALUE_LIMIT < value < VALUE_LIMIT:
        return value, GOOD
    return None, SENSOR_FAULT


def _from_float(raw, bits, exponent):
    """IEEE 754 binary32 or binary64 × 10^exponent."""
    if bits == 32:
        sign, power, mantissa = raw >> 31, raw >> 23 & 0xFF, raw & 0x7FFFFF
        special, hidden, bias = 0xFF, 1 << 23, 150
    else:
        sign, power, mantissa = raw >> 63, raw >> 52 & 0x7FF, raw & 0xFFFFFFFFFFFFF
        special, hidden, bias = 0x7FF, 1 << 52, 1075
    if power == special:
        return None, SENSOR_FAULT
    if power == 0:
        power = 1
    else:
        mantissa |= hidden
    if mantissa == 0:
        return 0, GOOD
    power -= bias
    if power > _TOO_LARGE:
        return None, SENSOR_FAULT
    if power < -_TOO_LARGE:
        return 0, GOOD
    dividend = mantissa * 10**exponent if exponent > 0 else mantissa
    divisor = 10**-exponent if exponent < 0 else 1
    if power > 0:
        dividend <<= power
    else:
        divisor <<= -power
    value = divide_rounded(dividend, divisor)
    return _limited(-value if sign else value)
