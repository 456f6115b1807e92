"""The log's messages: COSE receipts, checkpoints as text, statements of the hub. One form each, and nothing else."""

from binascii import a2b_base64
from hashlib import sha256

from check import equal, raises, true
from parkgate.errors import FormatError, IntegrityError
from parkgate.log import checkpoint, receipt, statement, tree
from parkgate.wire import cose, p256

SECRET = bytes(31) + b"\x2a"
LOG_ID = bytes(range(16))
XY = p256.public_key(SECRET)
KID = cose.thumbprint(XY)
LEAVES = [tree.leaf_hash(sha256(b"%d" % number).digest()) for number in range(3)]
ROOT = tree.node_hash(tree.node_hash(LEAVES[0], LEAVES[1]), LEAVES[2])
PATH = [LEAVES[0], LEAVES[2]]


def good_receipt(kind=receipt.INCLUSION, first=1, path=PATH):
    signature = p256.sign(SECRET, receipt.digest(KID, LOG_ID, 3, ROOT))
    return receipt.encode(KID, LOG_ID, 3, signature, kind, first, path)


def test_a_receipt_of_inclusion():
    found = receipt.Receipt(good_receipt())
    equal((found.kid, found.log_id, found.size, found.kind, found.first), (KID, LOG_ID, 3, receipt.INCLUSION, 1))
    receipt.check_key(found, KID, LOG_ID)
    root = found.root(LEAVES[1])
    equal(root, ROOT)
    true(p256.verify(XY, found.digest(root), found.signature))
    raises(IntegrityError, receipt.check_key, found, KID, bytes(16))
    raises(IntegrityError, receipt.check_key, found, bytes(32), LOG_ID)
    true(found.root(LEAVES[0]) != ROOT)


def test_a_receipt_of_consistency():
    found = receipt.Receipt(good_receipt(receipt.CONSISTENCY, 2, [LEAVES[2]]))
    equal((found.kind, found.first, found.size), (receipt.CONSISTENCY, 2, 3))
    tree.check_consistency(2, 3, tree.node_hash(LEAVES[0], LEAVES[1]), ROOT, found.path)
    true(p256.verify(XY, found.digest(ROOT), found.signature))
    raises(FormatError, found.root, LEAVES[0])


def test_every_flipped_bit_of_a_receipt_is_refused():
    data = good_receipt()
    for at in range(len(data) * 8):
        wrong = bytearray(data)
        wrong[at >> 3] ^= 1 << (at & 7)
        try:
            found = receipt.Receipt(bytes(wrong))
            receipt.check_key(found, KID, LOG_ID)
            root = found.root(LEAVES[1])
        except (FormatError, IntegrityError):
            continue
        # What is left changed the path, the size and index together, or the signature. One in 16: verifying takes time.
        true(root != ROOT or found.digest(root) != receipt.digest(KID, LOG_ID, 3, ROOT) or at >= 8 * (len(data) - 64))
        if at % 61 == 0:
            true(not p256.verify(XY, found.digest(root), found.signature))


def test_receipts_in_another_form_are_refused():
    data = good_receipt()
    raises(FormatError, receipt.Receipt, data[1:])
    raises(FormatError, receipt.Receipt, data + b"\x00")
    raises(FormatError, receipt.Receipt, data[:-1])
    raises(FormatError, receipt.Receipt, data.replace(b"\xf6\x58\x40", b"\x58\x20" + ROOT + b"\x58\x40"))
    raises(FormatError, receipt.Receipt, data.replace(b"\x83\x03\x01\x82", b"\x83\x04\x01\x82"))
    for kind, proof in ((-1, []), (-1, [b"\x80"]), (-3, [b"\x83\x03\x01\x80"]), (-1, [b"\x83\x03\x01\x80"] * 2)):
        changed = data[:2] + _head(data) + _map(kind, proof) + data[-67:]
        raises(FormatError, receipt.Receipt, changed)


def _head(data):
    return data[2 : 2 + 2 + data[3]]


def _map(kind, proofs):
    from parkgate.wire import cbor

    return cbor.encode({receipt.VDP: {kind: proofs}})


def test_a_checkpoint_as_text():
    name = checkpoint.origin(LOG_ID)
    line = checkpoint.signature_line(name, b"\x01\x02\x03\x04", b"signature")
    whole = checkpoint.note(LOG_ID, 3, ROOT, [line, line])
    found = checkpoint.Checkpoint(whole)
    equal((found.log_id, found.size, found.root), (LOG_ID, 3, ROOT))
    equal(found.signatures, [(name, b"\x01\x02\x03\x04", b"signature")] * 2)
    equal(whole[: len(found.text)], found.text)
    equal(found.text, "parkgate-log/000102030405060708090a0b0c0d0e0f\n3\n%s\n" % checkpoint.base64(ROOT))
    equal(a2b_base64(found.text.split("\n")[2]), ROOT)


def test_a_checkpoint_in_another_form_is_refused():
    name = checkpoint.origin(LOG_ID)
    good = checkpoint.note(LOG_ID, 3, ROOT, [checkpoint.signature_line(name, bytes(4), b"s")])
    for before, after in (
        ("\n3\n", "\n03\n"),
        ("\n3\n", "\n-3\n"),
        ("\n3\n", "\n3 \n"),
        ("\n3\n", "\n4611686018427387904\n"),
        ("parkgate-log/00", "parkgate-log/0"),
        ("parkgate-log/", "example.com/"),
        ("0f\n", "0F\n"),
        ("\n\n", "\nextension\n\n"),
        ("\n\n", "\n"),
        ("— ", "- "),
        ("=\n\n", "\n\n"),
    ):
        true(before in good, before)
        raises(FormatError, checkpoint.Checkpoint, good.replace(before, after))
    raises(FormatError, checkpoint.Checkpoint, good[:-1])
    raises(FormatError, checkpoint.Checkpoint, good + "\n")
    raises(FormatError, checkpoint.Checkpoint, checkpoint.note(LOG_ID, 3, ROOT, []))


def make_statement(index, kind, facts, by=None):
    payload = statement.encode_payload(kind, 1_800_000_000_000, by, facts)
    protected = statement.protected_header(KID, LOG_ID, index)
    return cose.sign1_join(protected, payload, p256.sign(SECRET, cose.sign1_digest(protected, payload)))


def test_a_statement_stands_in_its_place():
    facts = {"gateway": bytes(32), "key": bytes(64), "name": "hall-3", "place": None}
    found = statement.Statement(make_statement(7, statement.ENROLLED, facts, "anna"))
    equal((found.kid, found.log_id, found.index), (KID, LOG_ID, 7))
    equal((found.kind, found.time_ms, found.by, found.facts), ("enrolled", 1_800_000_000_000, "anna", facts))
    true(p256.verify(XY, found.sign1.digest(), found.sign1.signature))


def test_statements_of_tomorrow_are_kept():
    equal(statement.Statement(make_statement(0, "roof repaired", {"by": [1, 2]})).facts, {"by": [1, 2]})


def test_facts_that_a_kind_must_have():
    raises(FormatError, statement.encode_payload, statement.ENROLLED, 1, None, {"gateway": bytes(32)})
    facts = {"gateway": b"", "from_ms": 1, "name": ""}
    raises(FormatError, statement.encode_payload, statement.REVOKED, 1, None, facts)
    raises(FormatError, statement.encode_payload, "", 1, None, {})
    raises(FormatError, statement.encode_payload, "x", -1, None, {})
    raises(FormatError, statement.encode_payload, "x", 1, 2, {})
    raises(FormatError, statement.encode_payload, "x", 1, None, {1: 2})
