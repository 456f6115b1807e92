"""Certificates for a broker of one's own: an authority in two files, and what it signs.

    authority = Authority.at(folder)                  # made at the first call, then the same
    certificate, key = authority.issue(folder, ["broker.example", "192.168.1.5"])
    authority.setting                                 # what goes into a gateway's broker.ca

Whoever has certificates from elsewhere needs none of this. All keys are RSA with 2,048 bits: an RP2040 checks such a
signature in 0.16 s, one with P-256 in 0.6 s.
"""

from __future__ import annotations

import base64
import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from host_tools.base import files
from parkgate.errors import SettingsError

DAYS = 3650
KEY_BITS = 2048
CERTIFICATE_BYTES_MAX = 64 * 1024
# A gateway that knows no time takes the day its firmware was made (FLOOR_UNIX_MS of firmware/app.py): not later.
NOT_BEFORE = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)


Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey  # authorities of the first versions have EC keys


class Authority:
    """A certificate that signs others, with its key."""

    def __init__(self, certificate: x509.Certificate, key: Key, path: Path):
        self.certificate = certificate
        self.path = path  # the certificate, PEM
        self._key = key

    @classmethod
    def at(cls, folder: Path) -> Authority:
        """The authority of a folder: files ca.pem and ca.key, made if they are not there."""
        path, key_path = folder / "ca.pem", folder / "ca.key"
        if path.exists() and key_path.exists():
            key = load_pem_private_key(key_path.read_bytes(), None)
            if not isinstance(key, (rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey)):
                raise SettingsError(f"{key_path}: neither an RSA nor an EC key")
            return cls(x509.load_pem_x509_certificate(path.read_bytes()), key, path)
        files.make_folder(folder)
        key = _new_key()
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Parkgate broker authority")])
        uses = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        certificate = (
            _builder(name, name, key, NOT_BEFORE, NOT_BEFORE + datetime.timedelta(days=2 * DAYS))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(uses, critical=True)
            .sign(key, SHA256())
        )
        _write_key(key_path, key)
        files.write(path, certificate.public_bytes(Encoding.PEM))
        return cls(certificate, key, path)

    @property
    def setting(self) -> str:
        """This certificate as a gateway's broker.ca."""
        return base64.b64encode(self.certificate.public_bytes(Encoding.DER)).decode()

    def issue(
        self, folder: Path, hosts: list[str], begin: datetime.datetime = NOT_BEFORE, days: int = DAYS
    ) -> tuple[Path, Path]:
        """(certificate, key) for a broker that is reached under these names and addresses: files broker.pem and
        broker.key."""
        key = _new_key()
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0])])
        built = _builder(name, self.certificate.subject, key, begin, begin + datetime.timedelta(days=days))
        built = built.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        certificate = built.add_extension(
            x509.SubjectAlternativeName([_name(host) for host in hosts]), critical=False
        ).sign(self._key, SHA256())
        files.make_folder(folder)
        path, key_path = folder / "broker.pem", folder / "broker.key"
        _write_key(key_path, key)
        files.write(path, certificate.public_bytes(Encoding.PEM))
        return path, key_path


def read(path: Path) -> str:
    """A certificate file, PEM or DER, as a gateway's broker.ca. Raises SettingsError."""
    try:
        data = files.read_bytes(path, CERTIFICATE_BYTES_MAX)
        found = x509.load_pem_x509_certificate(data) if b"-----BEGIN" in data else x509.load_der_x509_certificate(data)
    except ValueError:
        raise SettingsError(f"{path} holds no certificate, neither as PEM nor as DER") from None
    return base64.b64encode(found.public_bytes(Encoding.DER)).decode()


def _builder(subject, issuer, key, begin, end) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
    )


def _name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _new_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)


def _write_key(path: Path, key: rsa.RSAPrivateKey) -> None:
    data = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    files.write(path, data, 0o600)
