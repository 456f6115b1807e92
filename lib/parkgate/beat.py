"""The heartbeat: a signed statement of where the chain ends and how the gateway fares (SPEC 7).

Without it the newest batches could be withheld unseen: nothing later would point at them. A beat is a COSE_Sign1 like
a batch, with its own content type; its position is [epoch, next seq] and `head` the hash of the last sealed batch.
"""

from . import cbor, cose
from .errors import FormatError

CONTENT_TYPE = "application/vnd.parkgate.beat"
VERSION = 1
MAX_BEAT_BYTES = 1024
_VERSION, _HEAD, _BOOT, _COUNTERS, _RECEIPT, _OLDEST, _TIME, _HEALTH = 1, 2, 3, 4, 5, 6, 7, 8


def beat_payload(
    head, boot: int, cause: int, counters: tuple, receipt_seq, oldest_held, time_ms: int, trust: int, health: dict
) -> bytes:
    """Encoded payload. `head` is 32 bytes or None before the first batch; `counters` are (sampled, dropped, buffered)
    in readings; `receipt_seq` and `oldest_held` are a seq or None; `health` maps short names to integers."""
    return cbor.encode(
        {
            _VERSION: VERSION,
            _HEAD: head,
            _BOOT: [boot, cause],
            _COUNTERS: list(counters),
            _RECEIPT: receipt_seq,
            _OLDEST: oldest_held,
            _TIME: [time_ms, trust],
            _HEALTH: health,
        }
    )


class Beat:
    """A beat taken apart, well formed, not yet verified. `sign1` has kid, epoch, seq (the next to be sealed)."""

    def __init__(self, data: bytes):
        if len(data) > MAX_BEAT_BYTES:
            raise FormatError("a beat of %d bytes" % len(data))
        self.sign1 = cose.Sign1(data, CONTENT_TYPE)
        fields = cbor.decode(self.sign1.payload)
        if type(fields) is not dict or sorted(fields) != [1, 2, 3, 4, 5, 6, 7, 8] or fields[_VERSION] != VERSION:
            raise FormatError("not a beat of version %d" % VERSION)
        self.head = fields[_HEAD]
        if self.head is not None and (type(self.head) is not bytes or len(self.head) != 32):
            raise FormatError("beat: the head is 32 bytes or null")
        if (self.head is None) != (self.sign1.seq == 0):
            raise FormatError("beat: a head is there exactly when a batch was sealed")
        self.boot, self.cause = _uints(fields[_BOOT], 2, "boot")
        self.sampled, self.dropped, self.buffered = _uints(fields[_COUNTERS], 3, "counters")
        self.time_ms, self.trust = _uints(fields[_TIME], 2, "time")
        self.receipt_seq, self.oldest_held = fields[_RECEIPT], fields[_OLDEST]
        for seq in (self.receipt_seq, self.oldest_held):
            if seq is not None and (type(seq) is not int or seq < 0):
                raise FormatError("beat: a seq is an unsigned integer or null")
        self.health = fields[_HEALTH]
        if type(self.health) is not dict:
            raise FormatError("beat: health is a map")
        for name, value in self.health.items():
            if type(name) is not str or type(value) is not int:
                raise FormatError("beat: health maps names to integers")


def _uints(item, count, what):
    if type(item) is not list or len(item) != count or any(type(n) is not int or n < 0 for n in item):
        raise FormatError("beat: %s must be %d unsigned integers" % (what, count))
    return item
