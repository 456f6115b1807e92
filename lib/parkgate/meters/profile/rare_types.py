"""Register types that few meters use: loaded with the first profile that has one (see meters/registers.py).

sign         the top bit is the sign, the others are the size (Deye inverters' meters)
mod10k       Schneider FA212766, modulo 10000: value = Σ register[i] × 10^(4 i), i = 0 the least significant; each
             is a number from -9999 to 9999, all of them with the same sign
time48       Schneider PowerLogic, 3 registers of two bytes: month, day; year since 1900, hour; minute, second
time64       Schneider TI081 (IEC 60870-5-4), 4 registers: year since 2000 in bits 0-6; month in bits 8-11, day in
             bits 0-4; hour in bits 8-12, minute in bits 0-5; milliseconds
text         two characters a register
"""

from parkgate.reading import BAD_REPLY, NOT_CONFIGURED

_SIGN_MAGNITUDE, _MODULO_10000, _TIME = 6, 7, 8  # as in registers.py, which loads this file
_TEXT_DIGITS_MAX = 18  # more would not fit 63 bits
_MONTH_STARTS = (0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334)


def number(contents, kind, bits, ends):
    """(numerator, denominator) or (quality, 0), as registers.number gives it."""
    half = 1 << (bits - 1)
    if kind == _SIGN_MAGNITUDE:
        if ends and (contents == half or contents == half - 1 or contents == 2 * half - 1):
            return NOT_CONFIGURED, 0
        return half - contents if contents >= half else contents, 1
    if kind == _MODULO_10000:
        return _modulo_10000(contents, bits // 16, ends)
    if contents == 0 or contents == 2 * half - 1:  # a time or text that was never set
        return NOT_CONFIGURED, 0
    if kind == _TIME:
        return _seconds(contents, bits)
    found = identity(contents.to_bytes(bits // 8, "big"))
    return (NOT_CONFIGURED, 0) if found is None else (found, 1)


def identity(text):
    """An integer that names `text` (bytes), None when it is blank.

    Digits alone are their number (at most 18, without a leading zero); anything else is a negative number: -1 less the
    first 6 bytes of its SHA-256. So two texts that differ give two numbers, and a serial number can be read.
    """
    text = text.strip(b"\0 \xff")
    if not text:
        return None
    if len(text) <= _TEXT_DIGITS_MAX and text[0] != 48 and all([48 <= c <= 57 for c in text]):
        return int(text)
    import hashlib

    return -1 - int.from_bytes(hashlib.sha256(text).digest()[:6], "big")


def _modulo_10000(contents, words, ends):
    total = negative = positive = unset = 0
    for i in range(words):
        word = contents >> 16 * i & 0xFFFF
        if word >= 0x8000:
            word -= 0x10000
        unset += word == -0x8000 or word == 0x7FFF
        negative |= word < 0
        positive |= word > 0
        if not -9999 <= word <= 9999:
            total = None
        elif total is not None:
            total += word * 10 ** (4 * i)
    if ends and unset == words:
        return NOT_CONFIGURED, 0
    if total is None or (negative and positive):
        return BAD_REPLY, 0
    return total, 1


def _seconds(contents, bits):
    if bits == 48:
        month, day, year, hour, minute, second = contents.to_bytes(6, "big")
        year += 1900
    else:
        year = 2000 + (contents >> 48 & 0x7F)
        month, day = contents >> 40 & 15, contents >> 32 & 31
        hour, minute = contents >> 24 & 31, contents >> 16 & 63
        second = (contents & 0xFFFF) // 1000
    return seconds_of(year, month, day, hour, minute, second)


def seconds_of(year, month, day, hour, minute, second):
    """(seconds since 1970, 1) of a date that exists, else (BAD_REPLY, 0). Time zone: that of the numbers."""
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if not (1970 <= year < 2200 and 1 <= month <= 12 and hour < 24 and minute < 60 and second < 60):
        return BAD_REPLY, 0
    last = 30 if month in (4, 6, 9, 11) else 31 if month != 2 else 29 if leap else 28
    if not 1 <= day <= last:
        return BAD_REPLY, 0
    before = year - 1
    days = 365 * (year - 1970) + before // 4 - before // 100 + before // 400 - 477  # 477: leap days before 1970
    days += _MONTH_STARTS[month - 1] + (month > 2 and leap) + day - 1
    return ((days * 24 + hour) * 60 + minute) * 60 + second, 1
