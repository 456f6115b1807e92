"""Register contents to integers in a declared decimal scale, exactly and without a float.

A board's float has 24 bits of mantissa and the Unix port's 53: signed bytes that depend on either would
differ from board to board. So the bits of a float register are taken apart as integers, and the value
m × 2^e × 10^s is formed by whole-number arithmetic: exact where it can be, else rounded to the nearest
integer, halves away from zero. (10^s comes from the meter's unit, its decimals and the channel's scale.)

Types, by the name they have in profiles; the number behind the name is their size in bits:

    uint16 uint32 uint48 uint64     whole numbers
    int16 int32 int48 int64         the same, two's complement
    sign16 sign32 sign48 sign64     the top bit is the sign, the other bits are the size
    float32 float64                 IEEE 754
    bcd16 bcd32 bcd48 bcd64         binary coded decimals, four digits a register
    sbcd16 sbcd32 sbcd48 sbcd64     the same with the sign in the top bit
    mod10k32 mod10k48 mod10k64      each register holds four decimal digits as a number from 0 to 9999 (-9999 to 9999)
    time48 time64                   date and time of the meter's clock, as seconds since 1970 (Schneider's two layouts)
    text16 … text256                characters, as a number that names them (see rare_types.identity)
    bit                             one coil or discrete input

Orders, as manuals write them for a value of two registers, A being the most significant byte:

    ABCD   high word first (the usual one)        CDAB   low word first
    BADC   high word first, bytes swapped         DCBA   low word first, bytes swapped

What a register cannot say becomes a quality without a value: NaN, infinity and a result of 64 bits or more
are SENSOR_FAULT (the meter itself has no usable number), digits above 9 in a BCD register are BAD_REPLY, and
the ends of a type's range, which meters use for "not available", are NOT_CONFIGURED where the layout says so.
"""

from parkgate.reading import BAD_REPLY, GOOD, NOT_CONFIGURED, SENSOR_FAULT, VALUE_LIMIT

UNSIGNED, SIGNED, FLOAT, BCD, BIT, SIGNED_BCD, SIGN_MAGNITUDE, MODULO_10000, TIME, TEXT = range(10)
ORDERS = ("ABCD", "CDAB", "BADC", "DCBA")

# Layout code of a register value: what decode() needs, packed into one small integer.
#   bits 0-3 kind, 4-8 registers, 9 low word first, 10 bytes swapped, 11 ends mean "not available",
#   12-14 function code, 15 the plan has a rule for it, 16 secondary side, 17-19 page
_WIDTH_SHIFT = 4
_LOW_WORD_FIRST = 1 << 9
_BYTES_SWAPPED = 1 << 10
ENDS = 1 << 11
_FUNCTION_SHIFT = 12
RULED = 1 << 15
SECONDARY_SIDE = 1 << 16
PAGE_SHIFT = 17

_TOO_LARGE = 200  # a power of two beyond which any mantissa is out of range, whatever the scale


def type_names():
    """The names of all types."""
    return tuple(_FIXED) + tuple(["text%d" % bits for bits in range(16, 272, 16)])


# Kept as one tuple of names: their kind and width follow from the name, so that the table costs few bytes.
_FIXED = (
    "uint16", "uint32", "uint48", "uint64", "int16", "int32", "int48", "int64", "float32", "float64",
    "bcd16", "bcd32", "bcd48", "bcd64", "bit", "sign16", "sign32", "sign48", "sign64", "sbcd16", "sbcd32",
    "sbcd48", "sbcd64", "mod10k32", "mod10k48", "mod10k64", "time48", "time64",
)  # fmt: skip
_KINDS = ("uint", "int", "float", "bcd", "", "sbcd", "sign", "mod10k", "time", "text")


def layout(type_name, order="ABCD", ends=False, function=3):
    """Layout code of a type and order; None when one of them is unknown.

    `ends`: all ones (unsigned, BCD) or both ends of the range (signed) mean "not available".
    """
    if order not in ORDERS:
        return None
    if type_name == "bit":
        return BIT | 1 << _WIDTH_SHIFT | function << _FUNCTION_SHIFT
    if type_name not in _FIXED and type_name not in type_names():
        return None
    bits = int(type_name[-3:] if type_name[-3:].isdigit() else type_name[-2:])
    code = _KINDS.index(type_name[: -len(str(bits))]) | bits // 16 << _WIDTH_SHIFT | function << _FUNCTION_SHIFT
    if order in ("CDAB", "DCBA"):
        code |= _LOW_WORD_FIRST
    if order in ("BADC", "DCBA"):
        code |= _BYTES_SWAPPED
    return code | ENDS if ends else code


def width(code):
    """Registers (or coils) that a value of this layout takes."""
    return code >> _WIDTH_SHIFT & 31


def kind(code):
    """UNSIGNED, SIGNED, FLOAT and so on."""
    return code & 15


def function(code):
    """The function code by which it is read."""
    return code >> _FUNCTION_SHIFT & 7


def decode(data, index, code, exponent):
    """(value, quality) of one register value.

    `data` are the bytes of a reply, `index` the number of the first register (or coil) in it, `code` comes
    from layout(), and the result is what the meter says × 10^exponent. Value is None unless quality is GOOD.
    """
    return convert(raw(data, index, code), code, exponent)


def raw(data, index, code):
    """The contents as one unsigned number, most significant word first; `data` and `index` as for decode()."""
    if code & 15 == BIT:
        return data[index >> 3] >> (index & 7) & 1
    words = code >> _WIDTH_SHIFT & 31
    low_first = code & _LOW_WORD_FIRST
    swapped = code & _BYTES_SWAPPED
    found = 0
    for i in range(words):
        at = 2 * (index + (words - 1 - i if low_first else i))
        found = found << 16 | (data[at + 1] << 8 | data[at] if swapped else data[at] << 8 | data[at + 1])
    return found


def convert(contents, code, exponent):
    """(value, quality) of a register value given as one unsigned number, most significant word first."""
    numerator, denominator = number(contents, code & 15, (code >> _WIDTH_SHIFT & 31) * 16, code & ENDS)
    if denominator == 0:
        return None, numerator
    return scaled(numerator, denominator, exponent)


def scaled(numerator, denominator, exponent):
    """(value, quality) of a fraction × 10^exponent."""
    if exponent > 0:
        numerator *= 10**exponent
    elif exponent < 0:
        denominator *= 10**-exponent
    value = numerator if denominator == 1 else divide_rounded(numerator, denominator)
    if -VALUE_LIMIT < value < VALUE_LIMIT:
        return value, GOOD
    return None, SENSOR_FAULT


def number(contents, kind, bits, ends=0):
    """(numerator, denominator) of what unsigned `contents` of `bits` bits say, or (quality, 0) where that is no number.

    `ends`: whether the ends of the range mean "not available"."""
    if kind == FLOAT:
        return _from_float(contents, bits)
    if kind > SIGNED_BCD:
        from .profile import rare_types  # few meters need it

        return rare_types.number(contents, kind, bits, ends)
    half = 1 << (bits - 1)
    if kind == SIGNED:
        if ends and (contents == half or contents == half - 1):
            return NOT_CONFIGURED, 0
        return contents - 2 * half if contents >= half else contents, 1
    if ends and contents == 2 * half - 1:
        return NOT_CONFIGURED, 0
    if kind in (BCD, SIGNED_BCD):
        negative = kind == SIGNED_BCD and contents >= half
        contents = from_bcd(contents - half if negative else contents, bits // 4)
        if contents is None:
            return BAD_REPLY, 0
        if negative:
            contents = -contents
    return contents, 1


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


def _from_float(raw, bits):
    """The fraction that IEEE 754 binary32 or binary64 is; (0, 1) for what is far below any scale."""
    if bits == 32:
        sign, power, mantissa = raw >> 31, raw >> 23 & 0xFF, raw & 0x7FFFFF
        special, hidden, bias = 0xFF, 1 << 23, 150
    else:
        sign, power, mantissa = raw >> 63, raw >> 52 & 0x7FF, raw & 0xFFFFFFFFFFFFF
        special, hidden, bias = 0x7FF, 1 << 52, 1075
    if power == special:
        return SENSOR_FAULT, 0
    if power == 0:
        power = 1
    else:
        mantissa |= hidden
    power -= bias
    if mantissa == 0 or power < -_TOO_LARGE:
        return 0, 1
    if power > _TOO_LARGE:
        return SENSOR_FAULT, 0
    if sign:
        mantissa = -mantissa
    return (mantissa << power, 1) if power > 0 else (mantissa, 1 << -power)
