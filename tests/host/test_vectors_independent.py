"""The second verifier, which knows Parkgate only from lib/SPEC.md, agrees with every vector, layer by layer."""

import ast
import json
from itertools import pairwise
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

import independent_verifier as second
from independent_columns import Refused, read_column
from tests.vectors.generate.forms import OTHER

FOLDER = Path(__file__).resolve().parent.parent / "vectors"
VECTORS = sorted(FOLDER.glob("*.json"))


def plain(item):
    """An item as it stands in JSON: byte strings as hexadecimal text."""
    if isinstance(item, bytes):
        return item.hex()
    if isinstance(item, dict):
        return {name: plain(each) for name, each in item.items()}
    return [plain(each) for each in item] if isinstance(item, list) else item


def read(vector):
    """What the vector's message says."""
    messages = [bytes.fromhex(message) for message in vector["messages"]]
    given = {name: bytes.fromhex(part) for name, part in vector.items() if name in GIVEN}
    kind = vector["kind"]
    if kind == "chain":
        links = [second.read_batch(message, key_of(message, given["public_key"])) for message in messages]
        for before, after in pairwise([None, *links]):
            second.check_link(before, after)
        return {}
    if kind == "receipt_key":
        return {"receipt_key": receipt_key(**given)}
    if kind == "column":
        return {"values": read_column(messages[0], vector["count"])}
    if kind == "receipt":
        return second.read_receipt(messages[0], given["receipt_key"], given["gateway_id"], given["hub_id"])
    if kind == "cbor":
        second.canonical(messages[0])
        return {}
    if kind == "key":
        return second.read_key(messages[0])
    return {"batch": second.read_batch, "beat": second.read_beat}[kind](messages[0], given["public_key"])


GIVEN = ("public_key", "receipt_key", "gateway_id", "hub_id", "private", "public")


def key_of(message, key):
    """`key`, or that of the other gateway if the message names it: chains are judged by their links."""
    return OTHER.xy if OTHER.id in message else key


def receipt_key(private, public, gateway_id, hub_id):
    """SPEC 6.1."""
    own = ec.derive_private_key(int.from_bytes(private, "big"), ec.SECP256R1())
    peer = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + public)
    info = b"parkgate receipt v1" + gateway_id + hub_id
    return HKDF(hashes.SHA256(), 32, None, info).derive(own.exchange(ec.ECDH(), peer))


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_agrees(path):
    vector = json.loads(path.read_text(encoding="utf-8"))
    try:
        says, layer = plain(read(vector)), "good"
    except Refused as refused:
        says, layer = {"why": str(refused)}, refused.args[0]
    assert layer == vector["layer"], says
    for name, want in vector.get("says", {}).items():
        assert says[name] == want, name


@pytest.mark.parametrize("name, most", [("independent_verifier", 180), ("independent_columns", 130)])
def test_is_short_and_imports_nothing_of_ours(name, most):
    text = Path(__file__).with_name(name + ".py").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= most
    tree = ast.parse(text)
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    roots = {module.split(".")[0] for module in imported if module}
    assert roots <= {"hashlib", "hmac", "itertools", "math", "cbor2", "cryptography", "independent_columns"}
