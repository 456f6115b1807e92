"""The examples of the COSE working group (cose-wg/Examples), where they lie beside the repository.

None is in Parkgate's one form (they carry a kid in the unprotected header), so all must be refused as messages, the
good ones too. What is under the form, the bytes that are signed and the signature over them, must agree.
"""

import base64
import hashlib
import json

import cbor2
import pytest

from parkgate.errors import FormatError
from parkgate.wire import cbor, cose, mac, p256

# What our reading of tag 18's content verifies: the tag is wrong or missing, the rest is sound.
SOUND_BUT_FOR_THE_TAG = {"sign-fail-01", "sign-pass-03"}
# mac-pass-01 is made over an empty protected header, as sign-pass-01 is.
MAC_SOUND = {"HMac-01", "mac-pass-02", "mac-pass-03", "mac-fail-01"}


def examples(reference, folder):
    paths = sorted((reference / "vectors" / "cose" / folder).glob("*.json"))
    assert paths
    for path in paths:
        example = json.loads(path.read_text())
        message = bytes.fromhex(example["output"]["cbor"])
        item = cbor2.loads(message)
        yield path.stem, example, message, list(getattr(item, "value", item))


def unbase64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def test_sign1(reference):
    sound = set()
    for name, example, message, (protected, _, payload, signature) in examples(reference, "sign1-tests"):
        key = example["input"]["sign0"]["key"]
        xy = unbase64(key["x"]) + unbase64(key["y"])
        signed = bytes.fromhex(example["intermediates"]["ToBeSign_hex"])
        assert p256.verify(xy, hashlib.sha256(signed).digest(), signature, False), name
        if p256.verify(xy, cose.sign1_digest(protected, payload), signature, False):
            sound.add(name)
        with pytest.raises(FormatError):
            cose.Sign1(message, cose.BATCH_TYPE)
        if name == "sign-pass-01":  # signed over an empty protected header, though it carries the empty map
            assert p256.verify(xy, cose.sign1_digest(b"", payload), signature, False)
    assert sound == SOUND_BUT_FOR_THE_TAG


def test_mac0(reference):
    sound = set()
    for name, example, message, (protected, _, payload, tag) in examples(reference, "mac0-tests"):
        key = unbase64(example["input"]["mac0"]["recipients"][0]["key"]["k"])
        external = bytes.fromhex(example["input"]["mac0"].get("external", ""))
        structure = cbor.encode(["MAC0", protected, external, payload])
        if mac.equal_ct(mac.hmac_sha256(key, structure), tag):
            sound.add(name)
        with pytest.raises(FormatError):
            cose.open_mac0(key, bytes(32), cose.RECEIPT_TYPE, message)
    assert sound == MAC_SOUND
