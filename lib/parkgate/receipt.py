"""The hub's receipt: the only thing that frees journal space (SPEC 6).

A receipt says: the hub has *committed* the batch (gateway, epoch, seq) whose whole bytes hash to `batch_hash`.
It is a COSE_Mac0 under a key only this gateway and this hub can derive, so neither broker nor network can make one:

    key = HKDF-SHA256(ikm = ECDH(own private key, other's public key), salt = empty,
                      info = "parkgate receipt v1" || gateway id || hub id, 32 bytes)

It carries the hub's time of commit, which a gateway without another clock source may use to set its own when the
answer came quickly.
"""

from . import cbor
from .cose import mac0, open_mac0
from .errors import FormatError, IntegrityError
from .mac import hkdf_sha256

CONTENT_TYPE = "application/vnd.parkgate.receipt"
VERSION = 1
MAX_RECEIPT_BYTES = 320
_VERSION, _GATEWAY, _EPOCH, _SEQ, _BATCH_HASH, _COMMITTED = 1, 2, 3, 4, 5, 6


def shared_key(ecdh_x: bytes, gateway_id: bytes, hub_id: bytes) -> bytes:
    """The 32-byte receipt key from the ECDH x coordinate (32 bytes) and both key thumbprints (32 bytes each)."""
    return hkdf_sha256(ecdh_x, b"", b"parkgate receipt v1" + gateway_id + hub_id, 32)


def encode_receipt(
    key: bytes, hub_id: bytes, gateway_id: bytes, epoch: bytes, seq: int, batch_hash: bytes, committed_unix_ms: int
) -> bytes:
    """The receipt for one committed batch."""
    payload = {
        _VERSION: VERSION,
        _GATEWAY: gateway_id,
        _EPOCH: epoch,
        _SEQ: seq,
        _BATCH_HASH: batch_hash,
        _COMMITTED: committed_unix_ms,
    }
    return mac0(key, hub_id, CONTENT_TYPE, cbor.encode(payload))


def decode_receipt(key: bytes, hub_id: bytes, gateway_id: bytes, data: bytes):
    """(epoch, seq, batch_hash, committed_unix_ms) of an authentic receipt for this gateway.

    Raises FormatError when it is malformed, IntegrityError when it was not made by the hub for this gateway."""
    if len(data) > MAX_RECEIPT_BYTES:
        raise FormatError("a receipt of %d bytes" % len(data))
    fields = cbor.decode(open_mac0(key, hub_id, CONTENT_TYPE, data))
    if type(fields) is not dict or sorted(fields) != [1, 2, 3, 4, 5, 6] or fields[_VERSION] != VERSION:
        raise FormatError("not a receipt of version %d" % VERSION)
    if fields[_GATEWAY] != gateway_id:
        raise IntegrityError("the receipt is for another gateway")
    epoch, seq, batch_hash, committed = fields[_EPOCH], fields[_SEQ], fields[_BATCH_HASH], fields[_COMMITTED]
    if type(epoch) is not bytes or len(epoch) != 16 or type(batch_hash) is not bytes or len(batch_hash) != 32:
        raise FormatError("receipt: epoch has 16 bytes and the batch hash 32")
    if type(seq) is not int or seq < 0 or type(committed) is not int or committed < 0:
        raise FormatError("receipt: seq and time are unsigned integers")
    return epoch, seq, batch_hash, committed
