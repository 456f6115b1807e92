"""Receipts (SPEC 6): the key, and what a gateway must refuse before it frees anything."""

import hashlib

from .forms import EPOCH, GATEWAY, HUB, OTHER, START_MS, batch, dumps, mac0, receipt, receipt_fields, receipt_key
from .registry import GOOD, vector

SAYS = {"epoch": EPOCH, "seq": 1, "batch_hash": hashlib.sha256(batch()).digest(), "committed": START_MS + 5000}
GIVEN = {"receipt_key": receipt_key(), "gateway_id": GATEWAY.id, "hub_id": HUB.id}
PAYLOAD = dumps(receipt_fields())


@vector("receipt_key", GOOD, "6.1", "the key from the gateway's side", private=GATEWAY.d, public=HUB.xy,
        gateway_id=GATEWAY.id, hub_id=HUB.id)  # fmt: skip
def key_at_the_gateway():
    return [], {"receipt_key": receipt_key()}


@vector("receipt_key", GOOD, "6.1", "the key from the hub's side", private=HUB.d, public=GATEWAY.xy,
        gateway_id=GATEWAY.id, hub_id=HUB.id)  # fmt: skip
def key_at_the_hub():
    return [], {"receipt_key": receipt_key()}


@vector("receipt", GOOD, "6.2", "a receipt", **GIVEN)
def receipt_for_a_batch():
    return receipt(), SAYS


@vector("receipt", "receipt", "6.2", "one bit of the MAC is wrong", **GIVEN)
def mac_wrong():
    return receipt()[:-1] + bytes([receipt()[-1] ^ 1])


@vector("receipt", "receipt", "6.2", "made with the key that the hub shares with another gateway", **GIVEN)
def key_of_another_gateway():
    return receipt(receipt_key(OTHER))


@vector("receipt", "receipt", "6.2", "made with the right key for another gateway", **GIVEN)
def for_another_gateway():
    return receipt(gateway=OTHER.id)


@vector("receipt", "receipt", "6.2", "made with the ECDH secret of the right keys, but another label", **GIVEN)
def key_with_other_label():
    return receipt(receipt_key(label=b"parkgate receipt v2"))


@vector("receipt", "receipt", "6.2", "the MAC over COSE's context of an encrypted message", **GIVEN)
def other_mac_context():
    return mac0(PAYLOAD, receipt_key(), context="MAC")


@vector("receipt", "receipt", "6.2", "the seq changed after the MAC was made", **GIVEN)
def receipt_seq_changed():
    return receipt(seq=2)[:-32] + receipt()[-32:]


@vector("receipt", "cose", "3.5", "a MAC of 16 bytes", **GIVEN)
def mac_of_16_bytes():
    whole = receipt()
    return whole[:-34] + b"\x50" + whole[-32:-16]


@vector("receipt", "cose", "3.5", "the algorithm HMAC 256/64", **GIVEN)
def alg_hmac_256_64():
    return mac0(PAYLOAD, receipt_key(), alg=4)


@vector("receipt", "cose", "3.5", "the kid of another hub", **GIVEN)
def kid_of_another_hub():
    return mac0(PAYLOAD, receipt_key(), kid=OTHER.id)


@vector("receipt", "cose", "3.5", "the algorithm in the unprotected header", **GIVEN)
def receipt_alg_unprotected():
    return mac0(PAYLOAD, receipt_key(), alg=None, unprotected={1: 5})


@vector("receipt", "cose", "3.5", "the tag of COSE_Sign1", **GIVEN)
def tag_of_sign1():
    return mac0(PAYLOAD, receipt_key(), tag=18)


@vector("receipt", "cose", "3.5", "a byte behind the message", **GIVEN)
def receipt_byte_behind():
    return receipt() + b"\x00"


@vector("receipt", "cbor", "2", "the seq in nine bytes", **GIVEN)
def receipt_seq_not_minimal():
    payload = dumps(receipt_fields(seq=77)).replace(b"\x18\x4d", b"\x1b" + bytes(7) + b"\x4d", 1)
    return mac0(payload, receipt_key())


@vector("receipt", "receipt", "6.2", "version 2", **GIVEN)
def receipt_version_2():
    return receipt(version=2)


@vector("receipt", "receipt", "6.2", "an epoch of 15 bytes", **GIVEN)
def receipt_epoch_of_15_bytes():
    return receipt(epoch=EPOCH[:15])


@vector("receipt", "receipt", "6.2", "a negative seq", **GIVEN)
def receipt_seq_negative():
    return receipt(seq=-1)


@vector("receipt", "receipt", "6.2", "a batch hash of 16 bytes", **GIVEN)
def batch_hash_of_16_bytes():
    return receipt(batch_hash=bytes(16))
