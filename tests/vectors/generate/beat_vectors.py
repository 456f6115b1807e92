"""Heartbeats (SPEC 7)."""

from .forms import BATCH_TYPE, EPOCH, beat, beat_fields, dumps, sign1
from .registry import GOOD, vector


@vector("beat", GOOD, "7", "a gateway with ten batches sealed, two of them not acknowledged")
def beat_of_ten_batches():
    says = {"epoch": EPOCH, "seq": 10, "sampled": 800, "buffered": 160, "health": {"errors": 0, "heap_peak": 98304}}
    return beat(), says


@vector("beat", GOOD, "7", "a gateway that has sealed nothing yet")
def beat_of_nothing():
    parts = {"head": None, "sampled": 0, "buffered": 0, "receipt_seq": None, "oldest_held": None, "health": {}}
    return beat(0, **parts), {"epoch": EPOCH, "seq": 0, "sampled": 0, "buffered": 0, "health": {}}


@vector("beat", "cose", "3.3", "the content type of a batch")
def beat_with_type_of_a_batch():
    return sign1(dumps(beat_fields()), type=BATCH_TYPE, position=[EPOCH, 10])


@vector("beat", "beat", "7", "no head, though batches were sealed")
def no_head():
    return beat(head=None)


@vector("beat", "beat", "7", "a head, though nothing was sealed")
def head_of_nothing():
    return beat(0)


@vector("beat", "beat", "7", "a head of 31 bytes")
def head_of_31_bytes():
    return beat(head=bytes(31))


@vector("beat", "beat", "7", "clock trust 4")
def trust_4():
    return beat(trust=4)


@vector("beat", "beat", "7", "text in the health map")
def health_in_words():
    return beat(health={"errors": "none"})


@vector("beat", "beat", "7", "33 entries in the health map")
def health_too_long():
    return beat(health={"n%02d" % n: 0 for n in range(33)})


@vector("beat", "beat", "7", "a field too few")
def beat_field_too_few():
    return sign1(dumps(beat_fields()[:11]), type=65102, position=[EPOCH, 10])


@vector("beat", "beat", "7", "version 2")
def beat_version_2():
    return beat(version=2)


@vector("beat", "cbor", "2", "the names of the health map not in the order of their bytes")
def health_not_in_order():
    payload = dumps(beat_fields(health={"a": 0, "b": 0})).replace(b"\x61a\x00\x61b\x00", b"\x61b\x00\x61a\x00")
    return sign1(payload, type=65102, position=[EPOCH, 10])


@vector("beat", "size", "7", "1,025 bytes")
def beat_too_long():
    room = 1025 - len(beat(health={"x" * 700: 0}))
    return beat(health={"x" * (700 + room): 0})


@vector("beat", "beat", "7", "one reading more buffered and dropped than sampled")
def beat_of_too_few_sampled():
    return beat(sampled=800, buffered=160, dropped=641)


@vector("beat", "beat", "7", "a receipt for the batch that is to be sealed next")
def beat_receipt_of_the_next():
    return beat(10, receipt_seq=10)


@vector("beat", "beat", "7", "the oldest batch that is held is the one to be sealed next")
def beat_holds_the_next():
    return beat(10, oldest_held=10)


@vector("beat", "signature", "3.4", "the counters changed after it was signed")
def beat_changed():
    return beat()[:-64] + beat(sampled=801)[-64:]
