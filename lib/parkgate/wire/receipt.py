"""The hub's receipt: the only thing that frees journal space (SPEC 6).

A receipt says: the hub has *committed* the batch (gateway, epoch, seq) whose whole bytes hash to
`batch_hash`. It is a COSE_Mac0 under a key only this gateway and this hub can derive, so neither broker nor
network can make one:

    key = HKDF-SHA256(ikm = ECDH(own private key, other's public key), salt = empty,
                      info = "parkgate receipt v1" || gateway id || hub id, 32 bytes)

It carries the hub's time of commit, which a gateway without another clock source may use to set its own when
the answer came quickly.
"""

from parkgate.errors import FormatError, IntegrityError

from . import cbor
from .cbor import expect_bytes, expect_uint
from .cose import RECEIPT_TYPE, mac0, open_mac0
from .mac import hkdf_sha256

CONTENT_TYPE = RECEIPT_TYPE
VERSION = 1
MAX_RECEIPT_BYTES = 256


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
    expect_uint(committed, "receipt: time of commit")
    return epoch, seq, batch_hash, committed
