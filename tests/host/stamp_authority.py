"""A time stamp authority for tests (RFC 3161), as honest or as crooked as a test wants.

It is made with asn1crypto and `cryptography`; what it gives is also given to `openssl ts` where that is installed."""

import datetime
import hashlib

from asn1crypto import algos, cms, core, tsp, x509
from cryptography import x509 as cx509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

KEYS = ("P-256", "P-384", "RSA 2048", "RSA 3072", "RSA 4096")
BEGIN = datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)
END = datetime.datetime(2030, 1, 1, tzinfo=datetime.timezone.utc)
_MADE: dict = {}


def _new_key(kind):
    if kind.startswith("P-"):
        return ec.generate_private_key(ec.SECP256R1() if kind == "P-256" else ec.SECP384R1())
    return rsa.generate_private_key(65537, int(kind[4:]))


def _certificate(subject, key, issuer, issuer_key, usage=(ExtendedKeyUsageOID.TIME_STAMPING,), critical=True, end=END):
    def name(text):
        return cx509.Name([cx509.NameAttribute(NameOID.COMMON_NAME, text)])

    made = cx509.CertificateBuilder().subject_name(name(subject)).issuer_name(name(issuer))
    made = made.public_key(key.public_key()).serial_number(7 + len(subject)).not_valid_before(BEGIN)
    made = made.not_valid_after(end)
    if not usage:
        made = made.add_extension(cx509.BasicConstraints(ca=True, path_length=None), True)
    if usage:
        made = made.add_extension(cx509.ExtendedKeyUsage(usage), critical)
    return made.sign(issuer_key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


class Authority:
    """One key, and a certificate under a root of its own. Keys are made once a run."""

    def __init__(self, kind="P-256", **certificate):
        if kind not in _MADE:
            _MADE[kind] = _new_key(kind), _new_key("P-256")
        self.key, root = _MADE[kind]
        self.hash = "sha384" if kind == "P-384" else "sha256"
        self.root = _certificate("root of tests", root, "root of tests", root, usage=())
        self.certificate = _certificate(f"stamps {kind}", self.key, "root of tests", root, **certificate)
        self.id = hashlib.sha256(self.certificate).hexdigest()
        self.root_id = hashlib.sha256(self.root).hexdigest()

    def sign(self, message, how=None):
        chosen = {"sha1": hashes.SHA1(), "sha256": hashes.SHA256(), "sha384": hashes.SHA384()}[how or self.hash]
        if isinstance(self.key, ec.EllipticCurvePrivateKey):
            return self.key.sign(message, ec.ECDSA(chosen))
        return self.key.sign(message, padding.PKCS1v15(), chosen)

    def stamp(self, imprint, gen_ms, nonce=None, change=None, **crooked):
        """A token over a SHA-256. `change` changes the parts before they are signed; see `crooked_stamps`."""
        when = datetime.datetime.fromtimestamp(gen_ms // 1000, datetime.timezone.utc)
        info = tsp.TSTInfo({
            "version": "v1", "policy": "1.3.6.1.4.1.55555.1",
            "message_imprint": {"hash_algorithm": {"algorithm": "sha256"}, "hashed_message": imprint},
            "serial_number": 5, "gen_time": when, "accuracy": {"seconds": 1},
            **({"nonce": int.from_bytes(nonce, "big")} if nonce else {}),
        })  # fmt: skip
        told = info.dump()
        digest = crooked.get("digest", self.hash)
        own = x509.Certificate.load(self.certificate)
        named = crooked.get("named", self.certificate)
        attributes = [
            ("content_type", [crooked.get("content_type", "tst_info")]),
            ("message_digest", [crooked.get("message_digest") or hashlib.new(digest, told).digest()]),
            ("signing_certificate_v2", [{"certs": [{"cert_hash": hashlib.sha256(named).digest()}]}]),
        ]  # fmt: skip
        attributes = cms.CMSAttributes([
            cms.CMSAttribute({"type": name, "values": values})
            for name, values in attributes if name not in crooked.get("without", ())
        ])  # fmt: skip
        signature = self.sign(attributes.dump(), digest)
        if isinstance(self.key, ec.EllipticCurvePrivateKey):
            algorithm = algos.SignedDigestAlgorithm({"algorithm": f"{digest}_ecdsa"})
        else:
            algorithm = algos.SignedDigestAlgorithm({"algorithm": "rsassa_pkcs1v15"})
        signer = cms.SignerInfo({
            "version": "v1",
            "sid": {"issuer_and_serial_number": {
                "issuer": own.issuer, "serial_number": crooked.get("serial", own.serial_number)}},
            "digest_algorithm": {"algorithm": digest}, "signed_attrs": attributes,
            "signature_algorithm": algorithm, "signature": crooked.get("signature") or signature,
        })  # fmt: skip
        if crooked.get("told"):
            told = crooked["told"](told)
        certificates = crooked.get("certificates", [self.certificate, self.root])
        signed = cms.SignedData({
            "version": "v3", "digest_algorithms": [{"algorithm": digest}],
            "encap_content_info": {"content_type": "tst_info", "content": core.ParsableOctetString(told)},
            "certificates": [x509.Certificate.load(each) for each in certificates],
            "signer_infos": [signer] * crooked.get("signers", 1),
        })  # fmt: skip
        return cms.ContentInfo({"content_type": "signed_data", "content": signed}).dump()

    def answer(self, question, gen_ms):
        """A TimeStampResp to a TimeStampReq."""
        asked = tsp.TimeStampReq.load(question)
        nonce = asked["nonce"].native
        nonce = nonce.to_bytes((nonce.bit_length() + 8) // 8, "big") if nonce is not None else None
        token = self.stamp(asked["message_imprint"]["hashed_message"].native, gen_ms, nonce)
        return b"\x30" + _length(len(token) + 5) + b"\x30\3\2\1\0" + token


def _length(n):
    return bytes([n]) if n < 128 else bytes([0x82]) + n.to_bytes(2, "big")


def imprint_of(log_id, size, root):
    """The SHA-256 of a checkpoint's three lines."""
    import base64

    text = f"parkgate-log/{log_id.hex()}\n{size}\n{base64.b64encode(root).decode()}\n"
    return hashlib.sha256(text.encode()).digest()


def flip(data, at):
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


OTHER = Authority("P-256")
# Name of a mutation → (what it does to the stamp, the reason for which it is refused).
MUTATIONS = {
    "of another checkpoint": ({"imprint": bytes(32)}, "stamp_imprint"),
    "time changed": ({"told": lambda told: told.replace(b"20", b"21", 1)}, "stamp_digest"),
    "signature of other bytes": ({"signature_of": b"x"}, "stamp_signature"),
    "signed by another key": ({"signature_by": "other"}, "stamp_signature"),
    "another certificate": ({"certificates": []}, "stamp_certificate"),
    "names another certificate": ({"named": b"x"}, "stamp_certificate"),
    "names another serial number": ({"serial": 99}, "stamp_certificate"),
    "certificate for web servers": ({"usage": (ExtendedKeyUsageOID.SERVER_AUTH,)}, "stamp_usage"),
    "certificate for more than stamps": (
        {"usage": (ExtendedKeyUsageOID.TIME_STAMPING, ExtendedKeyUsageOID.SERVER_AUTH)}, "stamp_usage"),
    "use that is not critical": ({"critical": False}, "stamp_usage"),
    "certificate had ended": ({"end": BEGIN + datetime.timedelta(days=1)}, "stamp_validity"),
    "SHA-1": ({"digest": "sha1"}, "stamp_algorithm"),
    "two signatures": ({"signers": 2}, "stamp_signers"),
    "no digest": ({"without": ("message_digest",)}, "stamp_attributes"),
    "another type of content": ({"content_type": "data"}, "stamp_attributes"),
    "cut off": ({"cut": 40}, "stamp_malformed"),
}  # fmt: skip


def mutated(kind, mutation, imprint, gen_ms):
    """(token, reason) of one mutation, by an authority with this kind of key."""
    how, reason = MUTATIONS[mutation]
    how = dict(how)
    authority = Authority(kind, **{name: how.pop(name) for name in ("usage", "critical", "end") if name in how})
    if "signature_of" in how:
        how["signature"] = authority.sign(how.pop("signature_of"))
    if how.pop("signature_by", None):
        how["signature"] = OTHER.sign(b"") if not kind.startswith("RSA") else bytes(int(kind[4:]) // 8)
    cut = how.pop("cut", 0)
    token = authority.stamp(how.pop("imprint", imprint), gen_ms, **how)
    return token[: len(token) - cut], reason
