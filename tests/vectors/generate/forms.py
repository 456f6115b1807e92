"""What vectors are made of: keys, envelopes and payloads as lib/SPEC.md says them, from cbor2, cryptography and
hashlib. Every part can be given otherwise, so that a vector breaks one rule and keeps all others: a payload that is
wrong is still signed as it must be.
"""

import hashlib
import hmac

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from .plain_columns import DELTA, FLOOR, LEVEL, encode

ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
BATCH_TYPE, BEAT_TYPE, RECEIPT_TYPE = 65101, 65102, 65103
ES256, HMAC_256_256 = -7, 5
POSITION = -65537
MAX_BATCH_BYTES = 16384


def dumps(item) -> bytes:
    return cbor2.dumps(item, canonical=True)


class Key:
    """A P-256 key pair made from a name, so that everybody can make it again."""

    def __init__(self, name: str):
        self.d = hashlib.sha256(f"parkgate vector key: {name}".encode()).digest()
        self.private = ec.derive_private_key(int.from_bytes(self.d, "big"), ec.SECP256R1())
        point = self.private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        self.xy = point[1:]
        self.cose_key = dumps({1: 2, -1: 1, -2: self.xy[:32], -3: self.xy[32:]})
        self.id = hashlib.sha256(self.cose_key).digest()

    def sign(self, message: bytes, low_s: bool = True) -> bytes:
        """r || s over SHA-256 of `message`, deterministic (RFC 6979)."""
        der = self.private.sign(message, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
        r, s = utils.decode_dss_signature(der)
        if (s > ORDER // 2) == low_s:
            s = ORDER - s
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")


GATEWAY, OTHER, HUB = Key("gateway"), Key("another gateway"), Key("hub")
EPOCH = hashlib.sha256(b"parkgate vector epoch").digest()[:16]
SETTINGS_ID = hashlib.sha256(b"parkgate vector settings").digest()[:16]
START_MS = 1767225600000  # 2026-01-01T00:00:00Z
SCHEMA = dumps(
    [
        ["mill", "SDM630", [["voltage_l1", "V", 1], ["import_active_energy", "Wh", 0]]],
        ["hall", "SHT3x", [["temperature", "Cel", 2]]],
    ]
)


# COSE_Sign1 and COSE_Mac0


def protected(**changes) -> bytes:
    """The protected header of a batch at seq 1; a change to None leaves that parameter out."""
    parts = {"alg": ES256, "type": BATCH_TYPE, "kid": GATEWAY.id, "position": [EPOCH, 1], **changes}
    labels = {"alg": 1, "type": 3, "kid": 4, "position": POSITION}
    return dumps({labels.get(name, name): value for name, value in parts.items() if value is not None})


def to_be_signed(header: bytes, payload: bytes, context: str = "Signature1") -> bytes:
    return dumps([context, header, b"", payload])


def sign1(payload: bytes, header: bytes | None = None, *, key: Key = GATEWAY, **changes) -> bytes:
    """A whole COSE_Sign1. `changes`: tag, unprotected, signature, array; the rest goes to `protected`."""
    tag, unprotected = changes.pop("tag", 18), changes.pop("unprotected", {})
    signature, array = changes.pop("signature", None), changes.pop("array", None)
    if header is None:
        header = protected(**changes)
    if signature is None:
        signature = key.sign(to_be_signed(header, payload))
    items = array or [header, unprotected, payload, signature]
    return dumps(cbor2.CBORTag(tag, items)) if tag is not None else dumps(items)


def mac0(payload: bytes, key: bytes, header: bytes | None = None, *, context: str = "MAC0", **changes) -> bytes:
    """A whole COSE_Mac0. `changes`: tag, unprotected, mac; the rest replaces alg, type, kid of the header."""
    tag, unprotected, mac = changes.pop("tag", 17), changes.pop("unprotected", {}), changes.pop("mac", None)
    if header is None:
        header = protected(**{"alg": HMAC_256_256, "type": RECEIPT_TYPE, "kid": HUB.id, "position": None, **changes})
    if mac is None:
        mac = hmac.new(key, to_be_signed(header, payload, context), "sha256").digest()
    return dumps(cbor2.CBORTag(tag, [header, unprotected, payload, mac]))


# Batches


def column(values: list, transform: int | None = None) -> bytes:
    """A column by the transform that comes out shortest, or by the one given."""
    transforms = (LEVEL, FLOOR, DELTA) if transform is None else (transform,)
    return min((encode(each, values) for each in transforms), key=len) if values else b""


def table(
    instrument: int = 0, times=(0, 1000, 2000, 3001), channels=None, *, rows=None, trust=b"", quality=b""
) -> list:
    """A table: times relative to the base time; channels as values to be coded, or as they shall stand there."""
    if channels is None:
        channels = [[2301, 2299, 2304, 2302], [90017, 90021, 90021, 90026]]
    coded = [column(each) if isinstance(each, list) and isinstance(each[0], int) else each for each in channels]
    return [instrument, len(times) if rows is None else rows, trust, column(list(times)), quality, coded]


FIELDS = (
    "version", "prev", "boot", "cause", "sampled", "dropped", "receipt_seq", "schema_id", "settings_id", "base_ms",
    "tables", "events",
)  # fmt: skip


def fields(**changes) -> list:
    """The payload of a batch at seq 1 with one table of four rows and two channels. `schema=…` adds the last field."""
    schema = changes.pop("schema", ...)
    parts = {
        "version": 1,
        "prev": hashlib.sha256(b"the batch before").digest(),
        "boot": 3,
        "cause": 1,
        "sampled": 16,
        "dropped": 0,
        "receipt_seq": 0,
        "schema_id": hashlib.sha256(SCHEMA).digest()[:16],
        "settings_id": SETTINGS_ID,
        "base_ms": START_MS,
        "tables": [table()],
        "events": [],
        **changes,
    }
    return [parts[name] for name in FIELDS] + ([] if schema is ... else [schema])


def batch(**changes) -> bytes:
    """A whole signed batch at seq 1 with these fields otherwise."""
    return sign1(dumps(fields(**changes)))


def batch_at(seq: int, *, key: Key = GATEWAY, epoch: bytes = EPOCH, **changes) -> bytes:
    """A whole signed batch of that place in the chain."""
    if seq == 0:
        changes = {"prev": None, "receipt_seq": None, **changes}
    return sign1(dumps(fields(**changes)), key=key, kid=key.id, position=[epoch, seq])


# Beats and receipts


def beat_fields(**changes) -> list:
    parts = {
        "version": 1,
        "head": hashlib.sha256(b"the newest batch").digest(),
        "boot": 3,
        "cause": 1,
        "sampled": 800,
        "dropped": 0,
        "buffered": 160,
        "receipt_seq": 7,
        "oldest_held": 8,
        "time_ms": START_MS,
        "trust": 0,
        "health": {"errors": 0, "heap_peak": 98304},
        **changes,
    }
    return list(parts.values())


def beat(seq: int = 10, **changes) -> bytes:
    return sign1(dumps(beat_fields(**changes)), type=BEAT_TYPE, position=[EPOCH, seq])


def receipt_key(gateway: Key = GATEWAY, hub: Key = HUB, label: bytes = b"parkgate receipt v1") -> bytes:
    shared = hub.private.exchange(ec.ECDH(), gateway.private.public_key())
    return HKDF(hashes.SHA256(), 32, salt=None, info=label + gateway.id + hub.id).derive(shared)


def receipt_fields(**changes) -> list:
    parts = {
        "version": 1,
        "gateway": GATEWAY.id,
        "epoch": EPOCH,
        "seq": 1,
        "batch_hash": hashlib.sha256(batch()).digest(),
        "committed": START_MS + 5000,
        **changes,
    }
    return list(parts.values())


def receipt(key: bytes | None = None, **changes) -> bytes:
    return mac0(dumps(receipt_fields(**changes)), key or receipt_key())
