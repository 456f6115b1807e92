"""Root documents (SPEC 3.7): what a gateway takes and what it refuses. On CPython and on MicroPython."""

import json
from hashlib import sha256

from check import equal, raises
from parkgate.errors import FormatError, IntegrityError
from parkgate.log import root
from parkgate.wire import cbor, cose, p256
from parkgate.wire.steps import finish

KEYS = [bytes([number]) * 64 for number in (1, 2, 3)]
OTHERS = [bytes([number]) * 64 for number in (4, 5, 6)]
ROOT, OTHER_ROOT = root.root_id(KEYS), root.root_id(OTHERS)
HUB, NEW_HUB, LOG = b"\x11" * 64, b"\x22" * 64, b"\x33" * 64


def signature(key, digest):
    """A stand-in for ES256: p256 has its own tests, and takes its time."""
    return sha256(b"sign" + key + digest).digest() + bytes(32)


def verify_steps(key, digest, given):
    yield
    return given == signature(key, digest)


def document(serial=2, keys=KEYS, next_root=ROOT, hub=NEW_HUB, by=(0, 1), prior=bytes(32), wrong=None):
    payload = root.encode_payload(serial, keys, next_root, hub, LOG, 1700000000000, prior if serial > 1 else None)
    signed = []
    for at in by:
        kid = cose.thumbprint(keys[at])
        signed.append((kid, signature(keys[at], root.digest(kid, payload))))
    if wrong is not None:
        signed[wrong] = signed[wrong][0], bytes(64)
    return root.encode(payload, signed)


def settings(serial=1, hub=HUB, known=ROOT):
    return {"hub": {"public_key": hub.hex(), "root": known.hex() if known else "", "root_serial": serial}}


def take(data, given, is_point=True):
    return finish(root.take_steps(data, given, verify_steps, lambda key: is_point))


def refused(error, data, given=None, is_point=True):
    given = given or settings()
    before = dict(given["hub"])
    raises(error, take, data, given, is_point)
    equal(given["hub"], before, "a refusal changes nothing")


def test_two_of_three_change_the_key():
    for by in ((0, 1), (0, 2), (2, 1), (0, 1, 2)):
        given = settings()
        equal(take(document(by=by), given), (2, NEW_HUB))
        equal(given, settings(2, NEW_HUB))
        equal(take(document(by=by), given), (2, NEW_HUB), "again: it is known")


def test_numbers_may_be_passed_over_and_never_fall():
    given = settings(3)
    equal(take(document(9), given)[0], 9)
    refused(IntegrityError, document(8), given)
    refused(IntegrityError, document(9, hub=HUB), given)
    refused(IntegrityError, document(1), settings(2))


def test_no_time_ends_a_document():
    payload = root.encode_payload(2, KEYS, ROOT, NEW_HUB, LOG, 0, bytes(32))
    signed = [(cose.thumbprint(key), signature(key, root.digest(cose.thumbprint(key), payload))) for key in KEYS]
    equal(take(root.encode(payload, signed), settings()), (2, NEW_HUB))


def test_one_signature_is_not_enough():
    refused(FormatError, document(by=()))
    refused(FormatError, document(by=(0,)))
    refused(IntegrityError, document(by=(0, 0)))
    refused(IntegrityError, document(by=(0, 1), wrong=1))
    refused(IntegrityError, document(by=(0, 1, 2), wrong=2))
    refused(IntegrityError, document(keys=[KEYS[0], KEYS[0], KEYS[1]], by=(0, 2)))


def test_another_root_is_refused():
    refused(IntegrityError, document(keys=OTHERS, next_root=OTHER_ROOT))
    refused(IntegrityError, document(), settings(known=None))
    payload = root.encode_payload(2, KEYS, ROOT, NEW_HUB, LOG, 0, bytes(32))
    strangers = [(cose.thumbprint(key), signature(key, root.digest(cose.thumbprint(key), payload))) for key in OTHERS]
    refused(IntegrityError, root.encode(payload, strangers[:2]))


def test_a_root_names_the_next_one():
    given = settings()
    take(document(next_root=OTHER_ROOT), given)
    equal(given["hub"]["root"], OTHER_ROOT.hex())
    refused(IntegrityError, document(3), given)
    equal(take(document(3, OTHERS, OTHER_ROOT), given)[0], 3)


def test_no_key_that_is_no_point():
    refused(IntegrityError, document(), is_point=False)


def test_one_form_only():
    data = document()
    for cut in (0, 1, 3, len(data) // 2, len(data) - 1):
        refused(FormatError, data[:cut])
    refused(FormatError, data + b"\x00")
    refused(FormatError, data[:2] + b"\x85" + data[3:])
    refused(FormatError, data.replace(b"\x19\xfe\x54", b"\x19\xfe\x53"))
    for serial, prior in ((1, bytes(32)), (2, None), (0, None)):
        payload = cbor.encode([1, serial, KEYS, ROOT, HUB, LOG, 0, prior])
        signed = [(cose.thumbprint(key), bytes(64)) for key in KEYS[:2]]
        raises(FormatError, root.Document, root.encode(payload, signed))
    for at in range(0, 8 * len(data), 37):
        wrong = bytearray(data)
        wrong[at >> 3] ^= 1 << (at & 7)
        raises((FormatError, IntegrityError), take, bytes(wrong), settings())


def test_the_vectors():
    """By real signatures: tests/vectors/root/documents.json, which others made."""
    with open(__file__[: -len("core/test_root.py")] + "vectors/root/documents.json") as file:
        vectors = json.load(file)
    for vector in vectors:
        known, takes = vector["known"], vector["takes"]
        given = {"hub": {"public_key": known["hub"], "root": known["root"], "root_serial": known["serial"]}}
        try:
            finish(root.take_steps(bytes.fromhex(vector["document"]), given, p256.verify_steps, p256.on_curve))
            equal(given["hub"], {"public_key": takes["hub"], "root": takes["root"], "root_serial": takes["serial"]},
                  vector["name"])  # fmt: skip
        except (FormatError, IntegrityError):
            equal(takes, None, vector["name"])
