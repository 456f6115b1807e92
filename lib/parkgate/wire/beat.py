"""The heartbeat: a signed statement of where the chain ends and how the gateway fares (SPEC 7).

Without it the newest batches could be withheld unseen: nothing later would point at them. A beat is a
COSE_Sign1 like a batch, with its own content type; its position is [epoch, next seq] and `head` the hash of
the last sealed batch.
"""

from parkgate.errors import FormatError
from parkgate.reading import TRUST_LIMIT

from . import cbor, cose
from .cbor import expect_bytes, expect_uint

CONTENT_TYPE = cose.BEAT_TYPE
VERSION = 1
MAX_BEAT_BYTES = 1024
MAX_HEALTH = 32  # entries


def beat_payload(
    head,
    boot: int,
    cause: int,
    counters: tuple,
    receipt_seq,
    oldest_held,
    time_ms: int,
    trust: int,
    health: dict,
) -> bytes:
    """Encoded payload. `head` is 32 bytes or None before the first batch; `counters` are (sampled, dropped,
    buffered) in readings; `receipt_seq` and `oldest_held` are a seq or None; `health` maps short names to
    integers."""
    sampled, dropped, buffered = counters
    return cbor.encode(
        [
            VERSION,
            head,
            boot,
            cause,
            sampled,
            dropped,
            buffered,
            receipt_seq,
            oldest_held,
            time_ms,
            trust,
            health,
        ]
    )


class Beat:
    """A beat taken apart, well formed, not verified. `sign1` has kid, epoch, seq (the next to be sealed)."""

    def __init__(self, data: bytes):
        if len(data) > MAX_BEAT_BYTES:
            raise FormatError("a beat of %d bytes" % len(data))
        self.sign1 = cose.Sign1(data, CONTENT_TYPE)
        fields = cbor.expect_array(self.sign1.payload, VERSION, (12,), "beat")
        self.head = fields[1]
        if (self.head is None) != (self.sign1.seq == 0):
            raise FormatError("beat: a head is there exactly when a batch was sealed")
        if self.head is not None:
            expect_bytes(self.head, 32, "beat: head")
        self.boot, self.cause, self.sampled, self.dropped, self.buffered = [
            expect_uint(item, "beat: boot, cause, sampled, dropped, buffered") for item in fields[2:7]
        ]
        self.receipt_seq, self.oldest_held = fields[7:9]
        for seq in (self.receipt_seq, self.oldest_held):
            if seq is not None:
                expect_uint(seq, "beat: receipt seq and oldest held")
                if seq >= self.sign1.seq:
                    raise FormatError("beat: receipt seq and oldest held are below the seq of the next batch")
        if self.buffered + self.dropped > self.sampled:
            raise FormatError("beat: more readings buffered and dropped than sampled")
        self.time_ms = expect_uint(fields[9], "beat: time")
        self.trust = expect_uint(fields[10], "beat: trust")
        if self.trust >= TRUST_LIMIT:
            raise FormatError("beat: no such clock trust")
        self.health = fields[11]
        if type(self.health) is not dict or len(self.health) > MAX_HEALTH:
            raise FormatError("beat: health is a map of at most %d entries" % MAX_HEALTH)
        for name, value in self.health.items():
            if type(name) is not str or type(value) is not int or abs(value) >= cbor.UINT_LIMIT:
                raise FormatError("beat: health maps names to integers")
