"""Keys on the host: the hub's own P-256 key file, public keys as people hand them around, and receipt keys.

The hub's private key is one PEM file, mode 0600, made at the first start and never printed. Beside it lies
`hub_public.key`, one line of 128 hexadecimal digits (x then y): what a gateway is given when it is
provisioned. The receipt key of a gateway is derived from both key pairs (SPEC 6), so a broker between them
cannot make it.
"""

import hmac
import stat
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

from host_tools.base import files
from parkgate.errors import FormatError, IntegrityError, ParkgateError
from parkgate.wire import cose, receipt

HUB_KEY_FILE = "hub_key.pem"
HUB_PUBLIC_FILE = "hub_public.key"
HUB_KEYS_BEFORE_FILE = "hub_keys_before.pem"  # keys that the park's root has replaced, the newest first
PUBLIC_KEY_FILE_BYTES_MAX = 4096

_CURVE = ec.SECP256R1()
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_ES256 = ec.ECDSA(utils.Prehashed(hashes.SHA256()))
_DETERMINISTIC = ec.ECDSA(utils.Prehashed(hashes.SHA256()), deterministic_signing=True)


def public_xy(key) -> bytes:
    """x || y (64 bytes) of a P-256 private or public key object."""
    if isinstance(key, ec.EllipticCurvePrivateKey):
        key = key.public_key()
    point = key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    return point[1:]


def load_public(xy: bytes) -> ec.EllipticCurvePublicKey:
    """The key object for x || y. Raises FormatError when that is not a point of the curve."""
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(_CURVE, b"\x04" + xy)
    except ValueError:
        raise FormatError("not a P-256 public key: the point is not on the curve") from None


def parse_public(text_or_bytes) -> bytes:
    """x || y of a public key as people hand it around: 128 hex digits, a COSE_Key (75 bytes, raw or hex), or
    PEM.

    Raises FormatError, also for a point that is not on the curve."""
    data = text_or_bytes.encode() if isinstance(text_or_bytes, str) else bytes(text_or_bytes)
    if b"PRIVATE KEY" in data:
        raise FormatError("this is a private key: it must not leave where it was made; give the public one")
    if b"BEGIN PUBLIC KEY" in data:
        try:
            key = serialization.load_pem_public_key(data)
        except ValueError as error:
            raise FormatError(f"not a readable PEM public key: {error}") from None
        if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != _CURVE.name:
            raise FormatError("the PEM holds a public key, but not one of P-256")
        return public_xy(key)
    if len(data) not in (64, 75):
        try:
            data = bytes.fromhex("".join(data.decode("ascii").split()))
        except ValueError:
            raise FormatError("a public key is 128 hex digits (x, y), a COSE_Key or PEM; this is neither") from None
    xy = cose.decode_key(data) if len(data) == 75 else data
    if len(xy) != 64:
        raise FormatError(f"a P-256 public key has 64 bytes (x, y); this has {len(xy)}")
    load_public(xy)
    return xy


def read_public(file_or_hex: str) -> bytes:
    """x || y from the argument itself where it is a key in hex, else from the file of this name. Raises FormatError."""
    path = Path(file_or_hex)
    if not _is_hex(file_or_hex):
        try:
            mode = path.stat().st_mode
        except FileNotFoundError:
            raise FormatError(f"{file_or_hex!r} is neither a file nor a public key in hexadecimal") from None
        except OSError as error:
            raise FormatError(f"{file_or_hex[:80]!r} cannot be read as a file: {files.why(error)}") from None
        if stat.S_ISDIR(mode):
            raise FormatError(f"{path} is a folder, and a file with a public key is wanted")
        try:
            return parse_public(files.read_bytes(path, PUBLIC_KEY_FILE_BYTES_MAX))
        except files.FileTrouble as error:
            raise FormatError(f"{error}; it should hold a public key") from None
    return parse_public(file_or_hex)


def _is_hex(text: str) -> bool:
    return len(text) in (128, 150) and all(digit in "0123456789abcdefABCDEF" for digit in text)


class Verifier:
    """One gateway's public key, made ready once. `check` is strict ES256: 64 bytes, both parts in range, low
    s."""

    def __init__(self, xy: bytes):
        self._key = load_public(xy)

    def check(self, digest: bytes, signature: bytes) -> None:
        """Return if `signature` (r || s) holds over the 32-byte `digest`. Raises IntegrityError that says why
        not."""
        r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
        if len(signature) != 64 or not (0 < r < _ORDER and 0 < s < _ORDER):
            raise IntegrityError("signature parts out of range")
        if s > _ORDER >> 1:
            raise IntegrityError("signature with high s: valid for others, but not the one canonical form")
        try:
            self._key.verify(utils.encode_dss_signature(r, s), digest, _ES256)
        except InvalidSignature:
            raise IntegrityError("signature does not hold") from None


class HubKey:
    """The hub's key pair: `xy` public (64 bytes), `id` its thumbprint (32 bytes). `before`: the keys that it had
    before this one, the newest first: gateways that have not heard of the new key still go by one of them."""

    def __init__(self, private: ec.EllipticCurvePrivateKey, before: "tuple[HubKey, ...]" = ()):
        self._private = private
        self.before = before
        self.xy = public_xy(private)
        self.id = cose.thumbprint(self.xy)

    def sign_root(self, digest: bytes) -> bytes:
        """r || s, low s, over a SHA-256 digest: of a root key, which is kept in such a file too."""
        r, s = utils.decode_dss_signature(self._private.sign(digest, _DETERMINISTIC))
        return r.to_bytes(32, "big") + min(s, _ORDER - s).to_bytes(32, "big")

    def client_id(self) -> str:
        """By what name this hub keeps its session at a broker: always the same, and known to nobody who has not the
        private key, because who knows it can take the session over."""
        scalar = self._private.private_numbers().private_value.to_bytes(32, "big")
        return "parkgate-hub-" + hmac.digest(scalar, b"parkgate broker session", "sha256").hex()[:32]

    def broker_password(self, user: str) -> str:
        """The password of an account at the hub's own broker: from the private key, so that nothing has to be kept. A
        gateway's outlives the hub's keys, because it must come in to hear of the new one: it is made of the first."""
        first = self.before[-1] if self.before and user != "hub" else self
        scalar = first._private.private_numbers().private_value.to_bytes(32, "big")
        return hmac.digest(scalar, b"parkgate broker account " + user.encode(), "sha256").hex()[:40]

    def receipt_key(self, gateway_xy: bytes, gateway_id: bytes | None = None) -> bytes:
        """The 32-byte key under which this hub makes receipts for the gateway with this public key. `gateway_id` is its
        id, where its keys were rotated."""
        shared = self._private.exchange(ec.ECDH(), load_public(gateway_xy))
        return receipt.shared_key(shared, gateway_id or cose.thumbprint(gateway_xy), self.id)


class HubKeyMissing(ParkgateError):
    """This folder has a hub's data and not its key, or the key of another hub."""


def hub_key(data_dir: Path, make: bool = True) -> HubKey:
    """The hub key of this data directory, made at the first call where `make` allows it. Raises FormatError when the
    file is not a P-256 key, or others may read it; HubKeyMissing when it is not there and must not be made, or is not
    the key whose public half lies beside it; FileTrouble."""
    path = Path(data_dir) / HUB_KEY_FILE
    public_file = Path(data_dir) / HUB_PUBLIC_FILE
    if not _is_there(path):
        if not make or _is_there(public_file):
            raise HubKeyMissing(
                f"{path} is missing, and there is a hub's data beside it. Put the file back from a backup "
                "(`parkgate hub backup` keeps it too). No new key was made: with another key this would be another "
                "hub, and every gateway would have to be provisioned again"
            )
        make_private(path)
    key = _read_private(path)
    before = Path(data_dir) / HUB_KEYS_BEFORE_FILE
    if _is_there(before):
        key.before = tuple(_split_keys(before))
    line = key.xy.hex() + "\n"
    shown = files.read_text(public_file, PUBLIC_KEY_FILE_BYTES_MAX) if _is_there(public_file) else ""
    if shown != line:
        if _is_hex(shown.strip()):
            raise HubKeyMissing(
                f"{path} is not the key of this hub: {public_file} names another one. Put the right hub_key.pem back "
                "from a backup. Nothing was changed"
            )
        files.write(public_file, line)
    return key


def _is_there(path: Path) -> bool:
    """Whether there is such a file. Raises FileTrouble where that cannot be known."""
    try:
        path.stat()
        return True
    except FileNotFoundError:
        return False
    except OSError as error:
        raise files.trouble("cannot look at", path, error) from None


def read_hub_key(path: Path) -> HubKey:
    """The key of one file. Raises FormatError, FileTrouble."""
    return _read_private(path)


def make_private(path: Path) -> None:
    """A new key in a file that is there whole or not at all, and never replaces another."""
    private = ec.generate_private_key(_CURVE)
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    files.write_once(path, pem, 0o600)


def _split_keys(path: Path) -> list[HubKey]:
    _check_private(path)
    end = b"-----END PRIVATE KEY-----\n"
    return [_load_private(path, pem + end) for pem in files.read_bytes(path).split(end) if pem.strip()]


def _check_private(path: Path) -> None:
    if path.stat().st_mode & 0o077:
        raise FormatError(f"others may read {path}: run chmod 600 on it (and think about who could have copied it)")


def _read_private(path: Path) -> HubKey:
    pem = files.read_bytes(path)
    _check_private(path)
    return _load_private(path, pem)


def _load_private(path: Path, pem: bytes) -> HubKey:
    try:
        private = serialization.load_pem_private_key(pem, None)
    except (ValueError, TypeError) as error:
        raise FormatError(f"{path} is not a readable private key: {error}") from None
    if not isinstance(private, ec.EllipticCurvePrivateKey) or private.curve.name != _CURVE.name:
        raise FormatError(f"{path} does not hold a P-256 key")
    return HubKey(private)
