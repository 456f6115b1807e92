"""The codes on travellers and tags, as a barcode scanner sends them over a serial line (SPEC 15.1). Pure: bytes in,
codes out.

    PG kind body * check CR        PGLA-1042*3KQ7ZD

A line is taken only when it is one whole code and its check holds, so noise on the wire, a code that was cut or two
that ran into each other enter nothing. The check is 30 bits of CRC-32: with 16 bits one in 65,536 damaged codes would
pass, and a bad cable damages more than that in a year.
"""

from binascii import crc32

LOT, COUNT, SCRAP, MATERIAL_IN, MATERIAL_OUT, OPERATOR, STATION = "L", "C", "S", "I", "O", "P", "M"
WORDS = {"lot": LOT, "count": COUNT, "scrap": SCRAP, "in": MATERIAL_IN, "out": MATERIAL_OUT, "operator": OPERATOR}
BODY_MAX = 20
QUANTITY_MAX = 1000000
REASON_MAX = 99
_DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"  # RFC 4648, base 32
_CHECK = 6
_LINE_MAX = 2 + 1 + BODY_MAX + 1 + _CHECK


def check_of(text: str) -> str:
    """The six characters that stand behind the `*` of a code whose part before the `*` is `text`."""
    number = crc32(text.encode())
    return "".join([_DIGITS[number >> 5 * i & 31] for i in range(_CHECK)])


def is_body(kind: str, body: str) -> bool:
    """Whether a code of this kind may say `body`: a lot, tag or station of up to 20 of A–Z, 0–9, "-", "." and "/"; a
    count from 1 to 1,000,000; for scrap REASON or REASON/COUNT, the reason from 1 to 99."""
    if not 0 < len(body) <= BODY_MAX:
        return False
    if kind == COUNT:
        return _is_number(body, QUANTITY_MAX)
    if kind == SCRAP:
        reason, slash, count = body.partition("/")
        return _is_number(reason, REASON_MAX) and (not slash or _is_number(count, QUANTITY_MAX))
    if kind not in (LOT, MATERIAL_IN, MATERIAL_OUT, OPERATOR, STATION):
        return False
    return all(["0" <= c <= "9" or "A" <= c <= "Z" or c in "-./" for c in body])


def _is_number(text, high):
    return 0 < len(text) <= 7 and all(["0" <= c <= "9" for c in text]) and text[0] != "0" and int(text) <= high


class Scans:
    """The bytes of one scanner. `refused` counts lines that were no code; empty ones do not count."""

    def __init__(self):
        self._line = bytearray()
        self._too_long = False
        self.refused = 0

    def feed(self, data) -> list:
        """The codes that end in `data`, as (kind, body)."""
        found = []
        for byte in data:
            if byte not in (10, 13):
                if len(self._line) < _LINE_MAX:
                    self._line.append(byte)
                else:
                    self._too_long = True
                continue
            if self._line:
                code = None if self._too_long else _read(bytes(self._line))
                if code:
                    found.append(code)
                else:
                    self.refused += 1
            self._line = bytearray()
            self._too_long = False
        return found


def _read(line):
    """(kind, body) of one line without its end, None when it is no code."""
    if line[:2] != b"PG" or len(line) < 3 + 1 + 1 + _CHECK or line[-1 - _CHECK : -_CHECK] != b"*":
        return None
    if any([not 32 < byte < 127 for byte in line]):
        return None
    text = str(line, "utf-8")
    before, check = text[: -1 - _CHECK], text[-_CHECK:]
    if check != check_of(before) or not is_body(before[2], before[3:]):
        return None
    return before[2], before[3:]
