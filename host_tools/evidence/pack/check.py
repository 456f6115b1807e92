"""Checks an evidence pack: every member is what the hub's log key signed, none is missing, none was added.

Faults, each by its name: `no pack` (not a zip, or without a statement), `statement` (damaged, or of another kind),
`key` (not the one that is trusted), `signature`, `changed`, `missing`, `added`, `twice`.
"""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from parkgate.errors import FormatError
from parkgate.log import statement
from parkgate.wire import cose

STATEMENT, KEY = "pack.statement", "log_public.key"
MEMBERS_MAX, BYTES_MAX = 200, 1 << 32


class Fault(NamedTuple):
    kind: str
    what: str


class Checked(NamedTuple):
    """`log_key` is the id of the key that signed, hexadecimal; `facts` what it says. Without faults all holds."""

    faults: list[Fault]
    log_key: str | None
    facts: dict
    made_ms: int | None


def check(path: Path, trust: str | None = None) -> Checked:
    """Check a file. `trust` is the id of the log key that the reader has from elsewhere."""
    try:
        with zipfile.ZipFile(path) as pack:
            return _check(pack, trust)
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError) as error:
        return Checked([Fault("no pack", f"it cannot be read as a zip file: {error}")], None, {}, None)


def _check(pack: zipfile.ZipFile, trust: str | None) -> Checked:
    names = pack.namelist()
    faults = [Fault("twice", name) for name in sorted({name for name in names if names.count(name) > 1})]
    if STATEMENT not in names or KEY not in names or len(names) > MEMBERS_MAX:
        return Checked([*faults, Fault("no pack", f"it has no {STATEMENT} or no {KEY}")], None, {}, None)
    key, data = _read(pack, KEY), _read(pack, STATEMENT)
    try:
        said = statement.Statement(data if isinstance(data, bytes) else b"")
        xy = bytes.fromhex((key or b"").split(b"\n")[0].decode())
        if said.kind != statement.EVIDENCE_PACK or len(xy) != 64:
            raise FormatError("it is another statement")
        members = {str(name): (size, digest) for name, size, digest in said.facts["members"]}
    except (FormatError, ValueError, KeyError, TypeError) as error:
        return Checked([*faults, Fault("statement", str(error))], None, {}, None)
    kid = cose.thumbprint(xy)
    if kid != said.kid or (trust is not None and trust.lower() != kid.hex()):
        faults.append(Fault("key", f"signed by {said.kid.hex()}; the key in the pack is {kid.hex()}"))
    if not _holds(said.sign1, xy):
        faults.append(Fault("signature", STATEMENT))
    faults += _members(pack, names, members)
    return Checked(faults, kid.hex(), said.facts, said.time_ms)


def _members(pack, names, members) -> list[Fault]:
    faults = [Fault("missing", name) for name in members if name not in names]
    faults += [Fault("added", name) for name in names if name not in members and name not in (STATEMENT, KEY)]
    for name, (size, digest) in members.items():
        if name in names:
            data = _read(pack, name)
            if data is None or len(data) != size or hashlib.sha256(data).digest() != digest:
                faults.append(Fault("changed", name))
    return faults


def _read(pack: zipfile.ZipFile, name: str) -> bytes | None:
    """A member; None where its own checksum does not hold."""
    try:
        if pack.getinfo(name).file_size > BYTES_MAX:
            return None
        return pack.read(name)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError):
        return None


def _holds(sign1: cose.Sign1, xy: bytes) -> bool:
    try:
        numbers = ec.EllipticCurvePublicNumbers(
            int.from_bytes(xy[:32], "big"), int.from_bytes(xy[32:], "big"), ec.SECP256R1()
        )
        r, s = (int.from_bytes(half, "big") for half in (sign1.signature[:32], sign1.signature[32:]))
        digest = sign1.digest()
        algorithm = ec.ECDSA(utils.Prehashed(hashes.SHA256()))
        numbers.public_key().verify(utils.encode_dss_signature(r, s), digest, algorithm)
        return True
    except (InvalidSignature, ValueError):
        return False
