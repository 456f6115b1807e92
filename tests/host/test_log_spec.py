"""The example of SPEC 13.1, read from the text and computed again: by our code, and by hashlib and cryptography
alone."""

import base64
import re
from hashlib import sha256
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from host_tools.log.keys import LogKey
from parkgate.log import checkpoint, receipt, statement, tree

SPEC = (Path(__file__).resolve().parent.parent.parent / "lib" / "SPEC.md").read_text(encoding="utf-8")
SECTION = SPEC[SPEC.index("### 13.1 ") : SPEC.index("### 13.2 ")]
KINDS = SPEC[SPEC.index("### 13.5 ") : SPEC.index("### 13.6 ")]


def said(name: str) -> bytes:
    found = re.search(rf"^\| {re.escape(name)}.*?\| `([0-9a-f]+)` \|$", SECTION, re.MULTILINE)
    assert found, name
    return bytes.fromhex(found[1])


def block(language: str) -> str:
    found = re.search(rf"^```{language}\n(.*?)^```$", SECTION, re.DOTALL | re.MULTILINE)
    assert found
    return found[1]


def the_receipt() -> bytes:
    lines = (re.match(r" *([0-9a-f]+)", line) for line in block("hex").splitlines())
    return bytes.fromhex("".join(line[1] for line in lines if line))


def key() -> LogKey:
    p256 = int.from_bytes(sha256(b"SPEC 13: the log's P-256 key").digest(), "big")
    edwards = sha256(b"SPEC 13: the log's Ed25519 key").digest()
    return LogKey(ec.derive_private_key(p256, ec.SECP256R1()), ed25519.Ed25519PrivateKey.from_private_bytes(edwards))


def test_the_hashes_of_the_example():
    entries = [said(f"entry {at}") for at in range(3)]
    assert entries == [sha256(text).digest() for text in (b"a", b"b", b"c")]
    leaves = [said(f"leaf {at}") for at in range(3)]
    assert leaves == [sha256(b"\x00" + entry).digest() for entry in entries] == [tree.leaf_hash(e) for e in entries]
    assert said("node over 0 and 1") == sha256(b"\x01" + leaves[0] + leaves[1]).digest()
    assert said("root") == sha256(b"\x01" + said("node over 0 and 1") + leaves[2]).digest()


def test_our_code_makes_the_example():
    log_key, log_id, root = key(), said("log id"), said("root")
    assert (log_key.xy, log_key.kid) == (said("log key x") + said("log key y"), said("its id"))
    assert log_key.ed25519 == said("log key, Ed25519")
    text = checkpoint.text(log_id, 3, root)
    assert checkpoint.note(log_id, 3, root, log_key.note_lines(log_id, text)) == block("note")
    signature = log_key.sign(receipt.digest(log_key.kid, log_id, 3, root))
    path = [said("leaf 0"), said("leaf 2")]
    made = receipt.encode(log_key.kid, log_id, 3, signature, receipt.INCLUSION, 1, path)
    assert made == the_receipt() and f"{len(made)} bytes" in SECTION


def test_the_note_holds_by_cryptography_alone():
    text, _, lines = block("note").rpartition("\n\n")
    edwards, ecdsa = (base64.b64decode(line.split(" ")[2]) for line in lines.strip().split("\n"))
    ed25519.Ed25519PublicKey.from_public_bytes(said("log key, Ed25519")).verify(edwards[4:], (text + "\n").encode())
    from cryptography.hazmat.primitives import hashes

    point = b"\x04" + said("log key x") + said("log key y")
    public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    public.verify(ecdsa[4:], (text + "\n").encode(), ec.ECDSA(hashes.SHA256()))


def test_the_kinds_are_those_of_the_code():
    told = set(re.findall(r"`([a-z -]+)`", "\n".join(line.split("|")[1] for line in KINDS.split("\n") if "|" in line)))
    code = {value for name, value in vars(statement).items() if name.isupper() and isinstance(value, str)}
    assert told == code
    assert "3: 65106" in KINDS and statement.CONTENT_TYPE == 65106
