"""The log's key: one PEM file with two keys, made when the log begins and never again.

P-256 signs statements, receipts and notes; Ed25519 signs notes too, as clients of C2SP logs know no other. Beside the
file lies `log_public.key`: x and y in hexadecimal, then the two verifier keys of C2SP notes, a line each.
"""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, utils

from host_tools.base import files
from host_tools.base.keys import public_xy
from parkgate.errors import ParkgateError
from parkgate.log import checkpoint
from parkgate.wire import cose

KEY_FILE = "log_key.pem"
PUBLIC_FILE = "log_public.key"

_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_FORM = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
_END = b"-----END PRIVATE KEY-----\n"
_ED25519, _ECDSA = b"\x01", b"\x02"


class LogError(ParkgateError):
    """The log cannot be used, or must not go on. The text says why, and what to do."""


class LogKey:
    """`xy` (64 bytes), `id` and `kid` (its thumbprint), `ed25519` (32 bytes), `pem` (its file)."""

    def __init__(self, private: ec.EllipticCurvePrivateKey, edwards: ed25519.Ed25519PrivateKey):
        self._private, self._edwards = private, edwards
        self.pem = private.private_bytes(*_FORM) + edwards.private_bytes(*_FORM)
        self.xy = public_xy(private)
        self.id = self.kid = cose.thumbprint(self.xy)
        raw = serialization.Encoding.Raw, serialization.PublicFormat.Raw
        self.ed25519 = edwards.public_key().public_bytes(*raw)

    def sign(self, digest: bytes) -> bytes:
        """r || s, low s, over a SHA-256 digest. RFC 6979's nonce, so the same digest gives the same signature."""
        algorithm = ec.ECDSA(utils.Prehashed(hashes.SHA256()), deterministic_signing=True)
        r, s = utils.decode_dss_signature(self._private.sign(digest, algorithm))
        s = min(s, _ORDER - s)
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    def note_lines(self, log_id: bytes, text: str) -> list[str]:
        """The signature lines of a note with this text."""
        name = checkpoint.origin(log_id)
        data = text.encode()
        rs = self.sign(sha256(data).digest())
        der = utils.encode_dss_signature(int.from_bytes(rs[:32], "big"), int.from_bytes(rs[32:], "big"))
        return [
            checkpoint.signature_line(name, _ed25519_id(name, self.ed25519), self._edwards.sign(data)),
            checkpoint.signature_line(name, _ecdsa_id(self.xy), der),
        ]

    def public_lines(self, log_id: bytes) -> str:
        """What `log_public.key` holds."""
        name = checkpoint.origin(log_id)
        return f"{self.xy.hex()}\n" + "".join(line + "\n" for line in verifier_keys(name, self.xy, self.ed25519))


def verifier_keys(name: str, xy: bytes, edwards: bytes) -> list[str]:
    """The C2SP verifier keys of a log: Ed25519 (type 1), then ECDSA (type 2)."""
    first = f"{name}+{_ed25519_id(name, edwards).hex()}+{b64encode(_ED25519 + edwards).decode()}"
    second = f"{name}+{_ecdsa_id(xy).hex()}+{b64encode(_ECDSA + _spki(xy)).decode()}"
    return [first, second]


def _ed25519_id(name: str, edwards: bytes) -> bytes:
    return sha256(name.encode() + b"\n" + _ED25519 + edwards).digest()[:4]


def _ecdsa_id(xy: bytes) -> bytes:
    return sha256(_spki(xy)).digest()[:4]


def _spki(xy: bytes) -> bytes:
    """A P-256 public key as SubjectPublicKeyInfo, DER (RFC 5480)."""
    return bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200") + b"\x04" + xy


def make(data_dir: Path) -> LogKey:
    """A new key in a file that is there whole or not at all, and never replaces another. Raises FileTrouble."""
    make_file(Path(data_dir) / KEY_FILE)
    return read(data_dir)


def make_file(path: Path) -> None:
    """A new key in this file, which must not be there yet. Raises FileTrouble."""
    pem = LogKey(ec.generate_private_key(ec.SECP256R1()), ed25519.Ed25519PrivateKey.generate()).pem
    files.write_once(path, pem, 0o600)


def read(data_dir: Path) -> LogKey:
    """The key of this folder. Raises LogError when it is missing, damaged, or others may read it."""
    path = Path(data_dir) / KEY_FILE
    if not path.exists():
        raise LogError(
            f"the log's key {path} is missing: put it back from your backup. Without it this log cannot go on;"
            " `parkgate log renew` begins a new one that names this one"
        )
    return read_file(path)


def read_file(path: Path) -> LogKey:
    """The key in this file. Raises LogError when it is damaged or others may read it, FileTrouble."""
    pem = files.read_bytes(path)
    if path.stat().st_mode & 0o077:
        raise LogError(f"others may read {path}: run chmod 600 on it (and think about who could have copied it)")
    first, middle, second = pem.partition(_END)
    try:
        private = serialization.load_pem_private_key(first + middle, None)
        edwards = serialization.load_pem_private_key(second, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        private = edwards = None
    if not isinstance(private, ec.EllipticCurvePrivateKey) or not isinstance(edwards, ed25519.Ed25519PrivateKey):
        raise LogError(f"{path} does not hold the two keys of a log: put it back from your backup")
    if private.curve.name != "secp256r1":
        raise LogError(f"{path} does not hold a P-256 key: put it back from your backup")
    return LogKey(private, edwards)
