"""Numbers in DL/T 645 data: packed decimals, low pair first, and the time of a demand.

Types, by the name they have in profiles; the number behind the name is their size in bits:

    bcd8 bcd16 … bcd64       two decimal digits a byte
    sbcd8 sbcd16 … sbcd64    the same with the sign in the top bit
    time40                   minute, hour, day, month, year (2000 to 2099) of the meter's clock, as seconds since 1970

Bytes that are all FFh are "not available" (a phase that a meter lacks): NOT_CONFIGURED, without a value. Any other
digit above 9 is no number: BAD_REPLY, without a value. A demand identifier (01xxxxxx) holds a value of three bytes and
the time of it: types of three bytes take the first part, time40 the second.

Source: DL/T 645-2007, appendix A, as quoted by public implementations (tests/vectors/dlt645/README.md).
"""

from parkgate.errors import ProfileError
from parkgate.meters import registers
from parkgate.reading import BAD_REPLY, GOOD, NOT_CONFIGURED

_WIDTH_SHIFT = 4  # as in registers; the width is in bytes here
_DEMAND_BYTES, _DEMAND_VALUE_BYTES = 8, 3
_DEMAND = 0x01


def layout(type_name):
    """Layout code of a type: kind and width in bytes, as registers.layout; None when it is unknown."""
    if type_name == "time40":
        return registers.TIME | 5 << _WIDTH_SHIFT
    signed = type_name[:4] == "sbcd"
    digits = type_name[4:] if signed else type_name[3:] if type_name[:3] == "bcd" else ""
    if digits not in ("8", "16", "24", "32", "40", "48", "56", "64"):
        return None
    return (registers.SIGNED_BCD if signed else registers.BCD) | int(digits) // 8 << _WIDTH_SHIFT


def check_identifier(where, identifier, code):
    """The identifier of a row as bytes on the wire. Raises ProfileError that begins with `where`."""
    right = type(identifier) is str and len(identifier) == 8 and not identifier.strip("0123456789ABCDEF")
    if not right:
        raise ProfileError(
            '%s: impossible identifier %r; it is text of 8 hexadecimal digits in capitals, such as "02010100"'
            % (where, identifier)
        )
    if "FF" in (identifier[2:4], identifier[4:6], identifier[6:8]):
        raise ProfileError(
            "%s: %s is a block; name the single identifier, blocks are read by themselves" % (where, identifier)
        )
    width = registers.width(code)
    if identifier[:2] == "01" and width != (5 if registers.kind(code) == registers.TIME else _DEMAND_VALUE_BYTES):
        raise ProfileError("%s: a demand has a value of 24 bits and a time of 40" % where)
    if identifier[:2] != "01" and registers.kind(code) == registers.TIME:
        raise ProfileError("%s: only a demand (01……) has a time40" % where)
    return bytes([int(identifier[at : at + 2], 16) for at in (6, 4, 2, 0)])


def rollover(code):
    """The count at which a counter of this type begins again."""
    return 10 ** (2 * registers.width(code))


def block_of(identifier):
    """(identifier of the block, place of this one in it), None where the standard has no block.

    Energies and demands of a kind stand with all their tariffs, the total first; momentary values with all their
    phases, for powers and power factors the total first."""
    zero, one, two, three = identifier
    if three in (0x00, _DEMAND) and two <= 0x0A and zero == 0:
        return bytes((0, 0xFF, two, three)), one
    if three == 0x02 and 1 <= two <= 7 and zero == 0:
        place = one if 3 <= two <= 6 else one - 1
        return (bytes((0, 0xFF, two, three)), place) if place >= 0 else None
    return None


def item_bytes(identifier, code):
    """Bytes of one item of this identifier."""
    return _DEMAND_BYTES if identifier[3] == _DEMAND else registers.width(code)


def number(data, at, identifier, code):
    """(number, GOOD) of the item that begins at data[at], or (None, why there is none)."""
    width = registers.width(code)
    if registers.kind(code) == registers.TIME:
        return _time(data, at + _DEMAND_VALUE_BYTES)
    absent, negative, value = True, False, 0
    for i in range(at + width - 1, at - 1, -1):
        byte = data[i]
        if byte != 0xFF:
            absent = False
        if i == at + width - 1 and registers.kind(code) == registers.SIGNED_BCD:
            negative = byte & 0x80
            byte &= 0x7F
        if value is not None:
            value = None if byte & 15 > 9 or byte >> 4 > 9 else 100 * value + 10 * (byte >> 4) + (byte & 15)
    if absent:
        return None, NOT_CONFIGURED
    if value is None:
        return None, BAD_REPLY
    return (-value if negative else value), GOOD


def _time(data, at):
    """Seconds since 1970 of minute, hour, day, month, year. All zero: there was no demand yet."""
    from parkgate.meters.profile.rare_types import seconds_of

    parts = [10 * (byte >> 4) + (byte & 15) if byte & 15 < 10 else 99 for byte in data[at : at + 5]]
    if bytes(data[at : at + 5]) in (bytes(5), b"\xff" * 5):
        return None, NOT_CONFIGURED
    minute, hour, day, month, year = parts
    seconds, good = seconds_of(2000 + year, month, day, hour, minute, 0) if year < 100 else (None, 0)
    return (seconds, GOOD) if good else (None, BAD_REPLY)
