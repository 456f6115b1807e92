"""Others read our log: the library scitt-cose checks our receipts, a client of C2SP logs reads tiles and notes.

The client below is written from the C2SP texts (tlog-tiles, tlog-checkpoint, signed-note, tlog-proof; commit 5ba5ee8)
and shares no code with Parkgate. `python -m tests.host.test_log_foreign --receipts 10000` runs at length.
"""

import argparse
import base64
import hashlib
import random
import sys
import tempfile
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from host_tools.base.keys import Verifier
from host_tools.hub.web.auditing.log_pages import parse_tile
from host_tools.log.log import Log
from host_tools.log.signer import Signer
from hub_rig import Rig
from parkgate.errors import FormatError, IntegrityError
from parkgate.log import receipt
from parkgate.log.tree import leaf_hash

VECTORS = Path(__file__).resolve().parent.parent / "vectors" / "scitt_cose"
LEAVES = 700


def fill(folder: Path, leaves: int) -> Rig:
    """A hub whose log has so many leaves, signed once in the middle and at the end."""
    rig = Rig(folder)
    signer = Signer(rig.intake.leaves)
    for first, last in ((0, leaves // 2), (leaves // 2, leaves)):
        rig.store.db.execute("BEGIN")
        rig.intake.leaves.begin()
        for number in range(first, last):
            rig.intake.leaves.batch(hashlib.sha256(b"%d" % number).digest(), 1, number)
        rig.store.db.execute("COMMIT")
        signer.sign(rig.now_unix_ms + 3_600_000 * first)
    signer.close()
    return rig


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("log")
    rig = fill(folder, LEAVES)
    yield folder
    rig.store.close()


def public_pem(xy: bytes) -> bytes:
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + xy)
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


# scitt-cose.


def test_the_published_receipts_have_their_verdicts():
    scitt_cose = pytest.importorskip("scitt_cose", reason="`make test` installs it")
    import json

    seen = []
    for case in sorted(path for path in VECTORS.iterdir() if path.is_dir()):
        wanted = json.loads((case / "expected.json").read_text())
        statement = (case / "statement.cose").read_bytes()
        assert hashlib.sha256(statement).hexdigest() == wanted["leaf_entry"], "the same entry as ours"
        result = scitt_cose.verify_receipt(
            (case / "receipt.cose").read_bytes(),
            leaf_entry_hex=wanted["leaf_entry"],
            log_public_key_pem=(case / "log-key.pub").read_bytes(),
        )
        assert result.ok == wanted["receipt_valid"], case.name
        seen.append(case.name)
    assert len(seen) == 5


def check_receipts(folder: Path, count: int, seed: int) -> tuple[int, int, int]:
    """Of `count` receipts, each whole and with one bit flipped somewhere: how many whole ones were accepted, how many
    flipped ones refused, and how many flipped ones name another size than the one that is signed. The last are taken by
    whoever does not compare: RFC 9942 leaves the size out of what is signed, and some sizes give the same path.
    Raises AssertionError."""
    from scitt_cose import verify_receipt

    chance = random.Random(seed)
    accepted = refused = other_size = 0
    with Log.open(folder) as log:
        pem, size = public_pem(log.key_xy), log.size
        root = log.checkpoint().root.hex()
        for _ in range(count):
            index = chance.randrange(size)
            entry, data = log.leaf(index).entry.hex(), log.receipt(index)
            good = verify_receipt(data, leaf_entry_hex=entry, log_public_key_pem=pem)
            assert good.ok and (good.leaf_index, good.tree_size, good.root) == (index, size, root), good.errors
            assert good.protected_header_ext[-65537] == [log.log_id, size]
            accepted += 1
            bit = chance.randrange(8 * len(data))
            wrong = bytearray(data)
            wrong[bit >> 3] ^= 1 << (bit & 7)
            bad = verify_receipt(bytes(wrong), leaf_entry_hex=entry, log_public_key_pem=pem)
            where = f"seed {seed}, leaf {index}: bit {bit} of {data.hex()}"
            if bad.ok:
                assert bad.tree_size != bad.protected_header_ext[-65537][1], where
                other_size += 1
            refused += not bad.ok
            with pytest.raises((FormatError, AssertionError)):  # our own reader compares
                found = receipt.Receipt(bytes(wrong))
                digest = found.digest(found.root(leaf_hash(bytes.fromhex(entry))))
                assert found.kid == log.kid and holds(log.key_xy, digest, found.signature), where
    return accepted, refused, other_size


def holds(xy: bytes, digest: bytes, signature: bytes) -> bool:
    try:
        Verifier(xy).check(digest, signature)
    except IntegrityError:
        return False
    return True


def test_a_library_of_others_takes_our_receipts_and_no_flipped_one(folder):
    pytest.importorskip("scitt_cose", reason="`make test` installs it")
    accepted, refused, other_size = check_receipts(folder, 300, 20261127)
    assert accepted == 300 == refused + other_size and other_size < 10


# C2SP, from its texts.


def read_note(note: str, vkeys: list[str]) -> tuple[str, int, bytes, int]:
    """(origin, size, root, how many signatures hold). Raises when one of a known key does not."""
    text, _, signatures = note.rpartition("\n\n")
    text += "\n"
    origin, size, root = text.split("\n")[:3]
    known = {}
    for vkey in vkeys:
        name, key_id, encoded = vkey.split("+", 2)
        known[name, bytes.fromhex(key_id)] = base64.b64decode(encoded)
    holds = 0
    for line in signatures.strip("\n").split("\n"):
        dash, name, encoded = line.split(" ")
        assert dash == "\u2014"
        data = base64.b64decode(encoded, validate=True)
        key = known.get((name, data[:4]))
        if key is None:
            continue
        if key[0] == 1:
            assert hashlib.sha256(name.encode() + b"\n\x01" + key[1:]).digest()[:4] == data[:4]
            ed25519.Ed25519PublicKey.from_public_bytes(key[1:]).verify(data[4:], text.encode())
        else:
            assert key[0] == 2 and hashlib.sha256(key[1:]).digest()[:4] == data[:4]
            public = serialization.load_der_public_key(key[1:])
            assert isinstance(public, ec.EllipticCurvePublicKey)
            public.verify(data[4:], text.encode(), ec.ECDSA(hashes.SHA256()))
        holds += 1
    return origin, int(size), base64.b64decode(root, validate=True), holds


def node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def mth(hashes_: list[bytes]) -> bytes:
    if len(hashes_) == 1:
        return hashes_[0]
    half = 1
    while half * 2 < len(hashes_):
        half *= 2
    return node(mth(hashes_[:half]), mth(hashes_[half:]))


def number_path(number: int) -> str:
    digits = f"{number:0{-(-max(1, len(str(number))) // 3) * 3}d}"
    parts = [digits[at : at + 3] for at in range(0, len(digits), 3)]
    return "/".join(["x" + part for part in parts[:-1]] + parts[-1:])


def read_tiles(fetch, size: int) -> bytes:
    """The root of `size` leaves, by fetching every tile of every level; levels must agree with each other."""
    below: list[bytes] = []
    root_parts = None
    level = 0
    while size >> 8 * level:
        count = size >> 8 * level
        found = []
        for number in range(-(-count // 256)):
            width = min(256, count - 256 * number)
            data = fetch(f"{level}/{number_path(number)}" + (f".p/{width}" if width < 256 else ""))
            assert len(data) == 32 * width
            found += [data[at : at + 32] for at in range(0, len(data), 32)]
        if level == 0:
            root_parts = found
        else:
            assert found == [mth(below[256 * at : 256 * (at + 1)]) for at in range(len(found))]
        below, level = found, level + 1
    assert root_parts is not None
    return mth(root_parts)


def test_tiles_and_notes_are_read_by_the_texts_alone(folder):
    with Log.open(folder) as log:

        def fetch(path):
            asked = parse_tile(path)
            assert asked is not None, path
            level, number, width = asked
            data = log.entries(number, width) if level is None else log.tile(level, number, width)
            assert data is not None, path
            return data

        for made in log.checkpoints():
            origin, size, root, holds = read_note(made.note, log.verifier_keys)
            assert (origin, holds) == (log.origin, 2)
            assert read_tiles(fetch, size) == root
        bundle = fetch("entries/000")
        leaves = fetch("0/000")
        for at in range(256):
            assert bundle[34 * at : 34 * at + 2] == b"\x00\x20"
            entry = bundle[34 * at + 2 : 34 * at + 34]
            assert hashlib.sha256(b"\x00" + entry).digest() == leaves[32 * at : 32 * at + 32]


def test_a_note_with_a_flipped_bit_does_not_hold(folder):
    with Log.open(folder) as log:
        note, keys = log.checkpoint().note, log.verifier_keys
    text_end = note.rindex("\n\n")
    first = bytearray(note.encode())
    for at in range(0, text_end, 3):
        wrong = bytearray(first)
        wrong[at] ^= 1
        with pytest.raises((InvalidSignature, ValueError, AssertionError)):
            _, _, _, holds = read_note(wrong.decode("utf-8", "replace"), keys)
            assert holds == 2


def test_a_tlog_proof_by_the_text_alone(folder):
    with Log.open(folder) as log:
        for index in (0, 255, 256, 500, log.size - 1):
            head, _, note = log.tlog_proof(index).partition("\n\n")
            lines = head.split("\n")
            assert lines[:2] == ["c2sp.org/tlog-proof@v1", f"index {index}"]
            _, size, root, _ = read_note(note, log.verifier_keys)
            at, last = index, size - 1
            mine = hashlib.sha256(b"\x00" + log.leaf(index).entry).digest()
            for line in lines[2:]:
                other = base64.b64decode(line, validate=True)
                if at & 1 or at == last:
                    mine = node(other, mine)
                    while not at & 1 and at:
                        at, last = at >> 1, last >> 1
                else:
                    mine = node(mine, other)
                at, last = at >> 1, last >> 1
            assert last == 0 and mine == root


@pytest.mark.parametrize(
    "path",
    ["0/0", "0/000.p/256", "0/000.p/0", "0/000.p/01", "00/000", "0/x000/000", "0/1234", "0/001/000", "entries/1",
     "0/x1/234", "-1/000", "0/000.p/", "64a/000"],
)  # fmt: skip
def test_paths_in_another_form_are_none(path):
    assert parse_tile(path) is None


def test_paths_in_their_form():
    assert parse_tile("0/000") == (0, 0, 256) and parse_tile("entries/x001/x234/067.p/8") == (None, 1234067, 8)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--receipts", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rig = fill(Path(folder), 5000)
        accepted, refused, other_size = check_receipts(Path(folder), args.receipts, args.seed)
        rig.store.close()
    print(
        f"scitt-cose took {accepted} receipts of {args.receipts}; with one bit flipped it refused {refused}, and showed"
        f" {other_size} as of another size than is signed"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
