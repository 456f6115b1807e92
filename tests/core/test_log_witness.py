"""A gateway as a witness: what it takes, what it refuses, and what outlives a power cut. On CPython and on
MicroPython."""

from hashlib import sha256

from check import equal, raises, true
from parkgate.errors import FormatError, IntegrityError
from parkgate.log import receipt, tree
from parkgate.log.witness import Witness, encode_introduction
from parkgate.wire import cose
from parkgate.wire.steps import finish

KEY = bytes(range(64))
KID = cose.thumbprint(KEY)
LOG_ID = b"log id, 16 bytes"
GATEWAY = bytes(32)
LEAVES = [tree.leaf_hash(sha256(b"%d" % number).digest()) for number in range(40)]


def kid_of(key):
    return cose.thumbprint(key)


def signature(digest):
    """A stand-in for ES256: p256 has its own tests, and takes its time."""
    return sha256(b"sign" + digest).digest() + bytes(32)


def verify_steps(key, digest, given):
    yield
    return key == KEY and given == signature(digest)


def mth(first, end):
    if end - first == 1:
        return LEAVES[first]
    half = _half(end - first)
    return tree.node_hash(mth(first, first + half), mth(first + half, end))


def _half(count):
    half = 1
    while half * 2 < count:
        half *= 2
    return half


def subproof(size, first, end, whole):
    if size == end - first:
        return [] if whole else [mth(first, end)]
    half = _half(end - first)
    if size <= half:
        return subproof(size, first, first + half, whole) + [mth(first + half, end)]
    return subproof(size - half, first + half, end, False) + [mth(first, first + half)]


def introduction(size, log_id=LOG_ID, gateway=GATEWAY, root=None):
    root = root or mth(0, size)
    return encode_introduction(gateway, KEY, log_id, size, root, signature(receipt.digest(KID, log_id, size, root)))


def consistency(old, size, log_id=LOG_ID, root=None):
    given = signature(receipt.digest(KID, log_id, size, root or mth(0, size)))
    return receipt.encode(KID, log_id, size, given, receipt.CONSISTENCY, old, subproof(old, 0, size, True))


def introduced(size):
    witness = Witness()
    true(finish(witness.introduced_steps(introduction(size), GATEWAY, kid_of, verify_steps)))
    return witness


def accept(witness, data):
    return finish(witness.accept_steps(data, kid_of, verify_steps))


def test_from_the_introduction_on():
    witness = introduced(5)
    equal((witness.size, witness.root), (5, mth(0, 5)))
    for old, size in ((5, 8), (8, 9), (9, 33), (33, 40)):
        true(accept(witness, consistency(old, size)))
        equal((witness.size, witness.root), (size, mth(0, size)))


def test_what_is_held_outlives_a_cut():
    witness = introduced(5)
    accept(witness, consistency(5, 21))
    again = Witness(witness.encode())
    equal((again.key, again.log_id, again.size), (KEY, LOG_ID, 21))
    equal((again.root, again.signature), (mth(0, 21), witness.signature))
    data = witness.encode()
    for at in range(0, 8 * len(data), 5):
        wrong = bytearray(data)
        wrong[at >> 3] ^= 1 << (at & 7)
        raises(FormatError, Witness, bytes(wrong))


def refused(error, witness, data):
    before = witness.encode()
    raises(error, accept, witness, data)
    equal(witness.encode(), before, "a refusal changes nothing")


def test_a_second_history_is_refused():
    witness = introduced(5)
    other = tree.node_hash(LEAVES[0], LEAVES[1])
    refused(IntegrityError, witness, consistency(5, 9, root=other))  # signed, but not what the path leads to
    data = consistency(5, 9)
    refused(IntegrityError, witness, data[:-1] + bytes([data[-1] ^ 1]))
    refused(FormatError, witness, consistency(4, 9))  # from another size than is held
    refused(IntegrityError, witness, consistency(5, 9, log_id=bytes(16)))
    path = subproof(5, 0, 9, True)
    path[1] = LEAVES[0]
    given = signature(receipt.digest(KID, LOG_ID, 9, mth(0, 9)))
    refused(IntegrityError, witness, receipt.encode(KID, LOG_ID, 9, given, receipt.CONSISTENCY, 5, path))
    refused(FormatError, witness, receipt.encode(KID, LOG_ID, 9, given, receipt.INCLUSION, 5, path))
    true(accept(witness, data))


def test_what_is_older_is_passed_over():
    witness = introduced(9)
    true(not accept(witness, consistency(5, 9)))
    true(not accept(witness, consistency(5, 8)))
    equal(witness.size, 9)


def test_introductions():
    witness = introduced(9)
    true(not finish(witness.introduced_steps(introduction(12), GATEWAY, kid_of, verify_steps)), "the log is known")
    equal(witness.size, 9)
    true(finish(witness.introduced_steps(introduction(3, b"another log id !"), GATEWAY, kid_of, verify_steps)))
    equal((witness.log_id, witness.size), (b"another log id !", 3))
    before = witness.encode()

    def introduce(payload):
        return finish(witness.introduced_steps(payload, GATEWAY, kid_of, verify_steps))

    raises(IntegrityError, introduce, introduction(3, gateway=b"\x01" * 32))
    raises(IntegrityError, introduce, introduction(4)[:-1] + b"\x01")
    raises(FormatError, introduce, b"\x80")
    equal(witness.encode(), before)


def test_a_claim_is_short():
    from parkgate import events
    from parkgate.wire import cbor

    true(len(cbor.encode([events.CHECKPOINT_HELD, (1 << 62) - 1, bytes(32)])) <= 48)


def test_nothing_is_taken_before_an_introduction():
    raises(FormatError, lambda: accept(Witness(), consistency(5, 9)))
