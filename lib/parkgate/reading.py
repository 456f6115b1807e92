"""What a reading is, and how one sample of an instrument stands in the journal until its batch is sealed
(SPEC 4).

A reading is an integer in a declared unit and decimal scale, with a quality; a sample is one coherent read of
one instrument: a time, how far that time can be trusted, and one reading for each channel of the instrument.

Sample record, all varints unsigned LEB128:

    instrument : varint
    flags      : 1 byte   bits 0-1 clock trust, bit 2 set when a quality byte follows for each channel
    time_ms    : varint   Unix time, or milliseconds since boot while trust is RELATIVE_ONLY
    channels   : varint
    quality    : channels bytes, only with flag bit 2; otherwise every reading is GOOD
    values     : zigzag varint for each channel whose quality carries a value
"""

from .errors import FormatError

GOOD, STALE, OUT_OF_RANGE, SUBSTITUTED, COUNTER_GLITCH, SECONDARY_SIDE, INCONSISTENT = 0, 1, 2, 3, 4, 5, 6
TIMEOUT, BAD_REPLY, SENSOR_FAULT, NOT_CONFIGURED = 8, 9, 10, 11
QUALITY_NAMES = {
    GOOD: "good",
    STALE: "stale",
    OUT_OF_RANGE: "out of range",
    SUBSTITUTED: "substituted",
    COUNTER_GLITCH: "counter glitch",
    SECONDARY_SIDE: "secondary side",
    INCONSISTENT: "inconsistent",
    TIMEOUT: "timeout",
    BAD_REPLY: "bad reply",
    SENSOR_FAULT: "sensor fault",
    NOT_CONFIGURED: "not configured",
}

SYNCHRONISED, HELD_OVER, DATED_LATER, RELATIVE_ONLY = 0, 1, 2, 3
TRUST_NAMES = {
    SYNCHRONISED: "synchronised",
    HELD_OVER: "held over",
    DATED_LATER: "dated later",
    RELATIVE_ONLY: "relative only",
}

VALUE_LIMIT = 1 << 63  # |value| stays below it
QUALITY_LIMIT = 16  # codes stay below it; those that have no name yet are kept as they are
TRUST_LIMIT = 4

_HAS_QUALITY = 4


def has_value(quality: int) -> bool:
    """Codes below 8 come with a value that was measured; the others say why there is none."""
    return quality < 8


def put_varint(out: bytearray, n: int):
    """Append `n` ≥ 0 as LEB128."""
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n)


def get_varint(data: bytes, at: int):
    """(n, offset behind it). Raises FormatError when cut off, over 10 bytes or not the shortest form."""
    n = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise FormatError("varint cut off or too long")
        byte = data[at]
        at += 1
        n |= (byte & 127) << shift
        if byte < 128:
            if byte == 0 and shift:
                raise FormatError("varint is not in its shortest form")
            return n, at
        shift += 7


def encode_sample(instrument: int, time_ms: int, trust: int, values: list, qualities=None) -> bytes:
    """One sample record. `values` has one entry a channel, None where its quality carries no value;
    `qualities` is one code a channel, or None when all are GOOD. Raises FormatError when a value and its
    quality do not fit."""
    out = bytearray()
    put_varint(out, instrument)
    out.append(trust | (_HAS_QUALITY if qualities else 0))
    put_varint(out, time_ms)
    put_varint(out, len(values))
    if qualities:
        if len(qualities) != len(values):
            raise FormatError("%d qualities for %d values" % (len(qualities), len(values)))
        out.extend(bytes(qualities))
    for i, value in enumerate(values):
        if qualities and not has_value(qualities[i]):
            continue
        if value is None or not -VALUE_LIMIT < value < VALUE_LIMIT:
            raise FormatError("channel %d: no 64-bit value, though its quality says there is one" % i)
        put_varint(out, value << 1 if value >= 0 else (-value << 1) - 1)
    return bytes(out)


def decode_sample(data: bytes):
    """(instrument, time_ms, trust, values, qualities or None), undoing `encode_sample`, or FormatError."""
    instrument, at = get_varint(data, 0)
    if at >= len(data) or data[at] > 7:
        raise FormatError("sample flags cut off or unknown")
    flags = data[at]
    time_ms, at = get_varint(data, at + 1)
    count, at = get_varint(data, at)
    if not 0 < count <= len(data) - (at if flags & _HAS_QUALITY else 0):
        raise FormatError("sample cut off, or without channels")
    qualities = None
    if flags & _HAS_QUALITY:
        qualities = data[at : at + count]
        at += count
        if max(qualities) >= QUALITY_LIMIT:
            raise FormatError("sample quality unknown")
    values = []
    for i in range(count):
        if qualities and not has_value(qualities[i]):
            values.append(None)
            continue
        n, at = get_varint(data, at)
        value = -((n + 1) >> 1) if n & 1 else n >> 1
        if not -VALUE_LIMIT < value < VALUE_LIMIT:
            raise FormatError("sample value needs more than 64 bits")
        values.append(value)
    if at != len(data):
        raise FormatError("bytes behind a sample")
    return instrument, time_ms, flags & 3, values, qualities
