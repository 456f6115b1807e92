"""Root documents, good and bad (SPEC 3.7): `python -m tests.host.root_vectors` writes tests/vectors/root.

Made with cbor2 and cryptography, not with Parkgate's own code; a test makes them again and compares.
"""

import json
from hashlib import sha256
from pathlib import Path

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

FILE = Path(__file__).resolve().parent.parent / "vectors" / "root" / "documents.json"
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
ES256 = ec.ECDSA(utils.Prehashed(hashes.SHA256()), deterministic_signing=True)
MADE_MS = 1_767_225_600_000


def private(words: str) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(int.from_bytes(sha256(words.encode()).digest(), "big"), ec.SECP256R1())


def xy(key: ec.EllipticCurvePrivateKey) -> bytes:
    numbers = key.public_key().public_numbers()
    return numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")


def key_id(public: bytes) -> bytes:
    """RFC 9679."""
    return sha256(cbor2.dumps({1: 2, -1: 1, -2: public[:32], -3: public[32:]}, canonical=True)).digest()


def sign(key: ec.EllipticCurvePrivateKey, digest: bytes, high_s: bool = False) -> bytes:
    r, s = utils.decode_dss_signature(key.sign(digest, ES256))
    if (s > ORDER >> 1) != high_s:
        s = ORDER - s
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


ROOT = [private(f"SPEC 3.7: root key {number}") for number in (1, 2, 3)]
NEXT = [private(f"SPEC 3.7: next root key {number}") for number in (1, 2, 3)]
HUB, OLD_HUB, LOG = private("SPEC 3.7: hub"), private("SPEC 3.7: old hub"), private("SPEC 13: the log's P-256 key")


def root_id(keys) -> bytes:
    return sha256(b"parkgate root v1" + b"".join(map(xy, keys))).digest()


def payload(number=2, keys=ROOT, next_root=ROOT, hub=HUB, prior=bytes(32), **other) -> bytes:
    fields = {
        "version": 1, "number": number, "keys": list(map(xy, keys)), "next": root_id(next_root), "hub": xy(hub),
        "log": xy(LOG), "made": MADE_MS, "prior": prior if number != 1 else None, **other,
    }  # fmt: skip
    return cbor2.dumps(list(fields.values()), canonical=True)


def document(content: bytes, by=(ROOT[0], ROOT[2]), content_type=65108, context="Signature", **how) -> bytes:
    protected = cbor2.dumps({3: content_type})
    signatures = []
    for key in by:
        header = cbor2.dumps({1: -7, 4: key_id(xy(key))}, canonical=True)
        structure = cbor2.dumps([context, protected, header, b"", content])
        signatures.append([header, {}, sign(key, sha256(structure).digest(), **how)])
    return cbor2.dumps(cbor2.CBORTag(98, [protected, {}, content, signatures]), canonical=True)


def vectors() -> list[dict]:
    """Each: `name`, `document`, what a gateway knows before (`root`, `serial`, `hub`), and `takes`: null where it must
    refuse, else its `root`, `serial` and `hub` behind it."""
    made = []

    def add(name, data, takes=None, keys=ROOT, serial=1, hub=OLD_HUB):
        known = {"root": root_id(keys).hex(), "serial": serial, "hub": xy(hub).hex()}
        made.append({"name": name, "document": data.hex(), "known": known, "takes": takes})

    new = {"root": root_id(ROOT).hex(), "serial": 2, "hub": xy(HUB).hex()}
    good = document(payload())
    add("two of three", good, new)
    add("all three", document(payload(), ROOT), new)
    add("the same again", good, new, serial=2, hub=HUB)
    add("a number further on", document(payload(9)), {**new, "serial": 9})
    add("another root from then on", document(payload(next_root=NEXT)), {**new, "root": root_id(NEXT).hex()})
    add("the first", document(payload(1)), {**new, "serial": 1}, serial=0)
    add("signed by the next root", document(payload(3, NEXT, NEXT), NEXT[:2]),
        {"root": root_id(NEXT).hex(), "serial": 3, "hub": xy(HUB).hex()}, keys=NEXT, serial=2)  # fmt: skip
    add("one signature", document(payload(), ROOT[:1]))
    add("no signature", document(payload(), ()))
    add("one key twice", document(payload(), (ROOT[0], ROOT[0])))
    add("one key is two of the three", document(payload(keys=[ROOT[0], ROOT[0], ROOT[1]]), ROOT[:2]),
        keys=[ROOT[0], ROOT[0], ROOT[1]])  # fmt: skip
    add("a third signature that does not hold", document(payload(), ROOT)[:-64] + bytes(63) + b"\x01")
    add("a signature of a stranger beside two good ones", document(payload(), (*ROOT[:2], NEXT[0])))
    add("strangers under the root's keys", document(payload(), NEXT[:2]))
    add("another root", document(payload(keys=NEXT, next_root=NEXT), NEXT[:2]))
    add("a root of before", document(payload(3)), keys=NEXT, serial=2)
    add("a lower number", document(payload(2)), serial=3)
    add("the same number for another key", good, serial=2)
    add("a high s", document(payload(), high_s=True))
    add("signed as a COSE_Sign1", document(payload(), context="Signature1"))
    add("another content type", document(payload(), content_type=65106))
    add("another version", document(payload(version=2)))
    add("number 0", document(payload(0)), serial=0)
    add("the first with one before it", document(_first_with_prior()), serial=0)
    add("the second without one before it", document(payload(2, prior=None)))
    add("a hub's key that is no point", document(_no_point()))
    add("a byte behind", good + b"\x00")
    add("cut off", good[:-1])
    add("another hub's key in the same signatures", good.replace(xy(HUB), xy(OLD_HUB)))
    return made


def _first_with_prior() -> bytes:
    return cbor2.dumps([1, 1, list(map(xy, ROOT)), root_id(ROOT), xy(HUB), xy(LOG), MADE_MS, bytes(32)], canonical=True)


def _no_point() -> bytes:
    return cbor2.dumps([1, 2, list(map(xy, ROOT)), root_id(ROOT), bytes(63) + b"\x01", xy(LOG), MADE_MS, bytes(32)],
                       canonical=True)  # fmt: skip


def text() -> str:
    return json.dumps(vectors(), indent=1) + "\n"


if __name__ == "__main__":
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(text(), encoding="utf-8")
