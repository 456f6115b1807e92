"""What the hub says to a gateway: receipts and answers (SPEC 6).

A *receipt* says that the hub has *committed* the batch (gateway, epoch, seq) whose whole bytes hash to `batch_hash`. An
*answer* replies to one beat, whose hash it repeats: it tells the hub's time, and which batches the hub lacks. Both are
COSE_Mac0 under a key that only this gateway and this hub can derive, so neither broker nor network can make one:

    key = HKDF-SHA256(ikm = ECDH(own private key, other's public key), salt = empty,
                      info = "parkgate receipt v1" || gateway id || hub id, 32 bytes)

A receipt may be kept back and be played to the gateway at any later time, so it tells nothing about the present. An
answer does: it cannot exist before its beat left the gateway, and no two beats are the same.
"""

from parkgate.errors import FormatError, IntegrityError, JournalError

from . import cbor
from .cbor import expect_bytes, expect_uint
from .cose import ANSWER_TYPE, RECEIPT_TYPE, mac0, open_mac0
from .mac import equal_ct, hkdf_sha256

CONTENT_TYPE = RECEIPT_TYPE
VERSION = 1
MAX_RECEIPT_BYTES = 256
MAX_ANSWER_BYTES = 512
MAX_WANTED = 8  # ranges in one answer
TIME_LIMIT_MS = 1 << 48  # year 10889: no time of a hub is later


def shared_key(ecdh_x: bytes, gateway_id: bytes, hub_id: bytes) -> bytes:
    """The 32-byte receipt key from the ECDH x coordinate and both key thumbprints (32 bytes each)."""
    return hkdf_sha256(ecdh_x, b"", b"parkgate receipt v1" + gateway_id + hub_id, 32)


def encode_receipt(
    key: bytes,
    hub_id: bytes,
    gateway_id: bytes,
    epoch: bytes,
    seq: int,
    batch_hash: bytes,
    committed_unix_ms: int,
) -> bytes:
    """The receipt for one committed batch."""
    payload = cbor.encode([VERSION, gateway_id, epoch, seq, batch_hash, committed_unix_ms])
    return mac0(key, hub_id, CONTENT_TYPE, payload)


def decode_receipt(key: bytes, hub_id: bytes, gateway_id: bytes, data: bytes):
    """(epoch, seq, batch_hash, committed_unix_ms) of an authentic receipt for this gateway.

    Raises FormatError when it is malformed, IntegrityError when it was not made by the hub for this
    gateway."""
    if len(data) > MAX_RECEIPT_BYTES:
        raise FormatError("a receipt of %d bytes" % len(data))
    fields = cbor.expect_array(open_mac0(key, hub_id, CONTENT_TYPE, data), VERSION, (6,), "receipt")
    _, gateway, epoch, seq, batch_hash, committed = fields
    if expect_bytes(gateway, 32, "receipt: gateway") != gateway_id:
        raise IntegrityError("the receipt is for another gateway")
    expect_bytes(epoch, 16, "receipt: epoch")
    expect_uint(seq, "receipt: seq")
    expect_bytes(batch_hash, 32, "receipt: batch hash")
    _expect_time(committed, "receipt: time of commit")
    return epoch, seq, batch_hash, committed


def accept_receipt(journal, epoch: bytes, seq: int, batch_hash: bytes) -> bool:
    """Settle the batch that an authentic receipt names, by the rules of SPEC 6.2: the one place where a receipt frees
    anything. True when it did; False when there is nothing to free: the epoch is another one, or the batch is not
    held. Raises IntegrityError when the receipt is for other bytes than those held, or nothing tells which they are;
    JournalError when there is no room to note it: then the batch is sent again."""
    if epoch != journal.epoch or seq not in journal.held():
        return False
    held_hash = journal.batch_hash(seq)
    if held_hash is None:
        raise IntegrityError("receipt for batch %d: its hash cannot be read just now" % seq)
    if not equal_ct(held_hash, batch_hash):
        raise IntegrityError("receipt for batch %d names another content" % seq)
    if not journal.acknowledge(seq):
        raise JournalError("no room to note the receipt for batch %d just now" % seq)
    return True


def encode_answer(key: bytes, hub_id: bytes, gateway_id: bytes, beat_hash: bytes, hub_unix_ms: int, wanted) -> bytes:
    """The answer to the beat with this SHA-256. `wanted` are ranges [first seq, last seq] of the beat's epoch."""
    payload = cbor.encode([VERSION, gateway_id, beat_hash, hub_unix_ms, wanted])
    return mac0(key, hub_id, ANSWER_TYPE, payload)


def decode_answer(key: bytes, hub_id: bytes, gateway_id: bytes, data: bytes):
    """(beat_hash, hub_unix_ms, wanted) of an authentic answer for this gateway.

    Raises FormatError when it is malformed, IntegrityError when it was not made by the hub for this gateway."""
    if len(data) > MAX_ANSWER_BYTES:
        raise FormatError("an answer of %d bytes" % len(data))
    fields = cbor.expect_array(open_mac0(key, hub_id, ANSWER_TYPE, data), VERSION, (5,), "answer")
    _, gateway, beat_hash, hub_unix_ms, wanted = fields
    if expect_bytes(gateway, 32, "answer: gateway") != gateway_id:
        raise IntegrityError("the answer is for another gateway")
    expect_bytes(beat_hash, 32, "answer: beat hash")
    _expect_time(hub_unix_ms, "answer: time")
    if type(wanted) is not list or len(wanted) > MAX_WANTED:
        raise FormatError("answer: wanted is a list of at most %d ranges" % MAX_WANTED)
    end = -1
    for part in wanted:
        if type(part) is not list or len(part) != 2:
            raise FormatError("answer: a range is [first seq, last seq]")
        first, last = [expect_uint(seq, "answer: seq") for seq in part]
        if not end < first <= last:
            raise FormatError("answer: ranges rise and do not meet")
        end = last
    return beat_hash, hub_unix_ms, wanted


def _expect_time(time_ms, what):
    if expect_uint(time_ms, what) >= TIME_LIMIT_MS:
        raise FormatError("%s: no such time" % what)
