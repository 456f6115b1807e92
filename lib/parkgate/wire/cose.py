"""COSE_Sign1 and COSE_Mac0 (RFC 9052) as Parkgate uses them: one algorithm each, all in the protected header.

Sign1: tag 18, ES256 (RFC 9053 section 2.1), signature = r || s of 32 bytes each with s in the lower half.
Mac0: tag 17, HMAC 256/256 (RFC 9053 section 3.1). The unprotected header is always the empty map: an `alg` or
`kid` that an attacker could change without breaking the signature does not exist. `kid` is the SHA-256 COSE
key thumbprint (RFC 9679) of the signer's public key, so it names a key and cannot name another. SPEC 3.
"""

import hashlib

from parkgate.errors import FormatError, IntegrityError

from . import cbor
from .mac import equal_ct, hmac_sha256

# Header parameters (RFC 9052 section 3.1) and algorithms (RFC 9053), by their numbers on the wire.
ALG, CONTENT_TYPE, KID = 1, 3, 4
POSITION = -65537  # the first label for private use: [epoch, seq] of the message in its chain
ES256, HMAC_256_256 = -7, 5

# Content types are CoAP's numbers (RFC 7252 section 12.3), from its range for experiments: three bytes in
# every message where a media type in words takes thirty. Registered numbers would come with a new version of
# the formats.
BATCH_TYPE, BEAT_TYPE, RECEIPT_TYPE, ANSWER_TYPE = 65101, 65102, 65103, 65104

_SIGN1, _MAC0 = b"\xd2\x84", b"\xd1\x84"  # tag, array of four
_EMPTY_MAP = b"\xa0"
# The fixed parts of the protected headers: {1: -7 (or 5), 3: … 4: 32 bytes … -65537: [16 bytes … seq]}
_SIGN1_START, _MAC0_START = b"\xa4\x01\x26\x03", b"\xa3\x01\x05\x03"
_KID_START, _EPOCH_START = b"\x04\x58\x20", b"\x3a\x00\x01\x00\x00\x82\x50"


def thumbprint(public_key: bytes) -> bytes:
    """The gateway id: RFC 9679 thumbprint (32 bytes) of a P-256 public key given as x || y (64 bytes)."""
    if len(public_key) != 64:
        raise FormatError("a public key is 64 bytes, x and y; this has %d" % len(public_key))
    return hashlib.sha256(encode_key(public_key)).digest()


def encode_key(public_key: bytes) -> bytes:
    """COSE_Key of a P-256 public key: {kty: EC2, crv: P-256, x, y}, only the members the thumbprint needs."""
    return b"\xa4\x01\x02\x20\x01\x21\x58\x20" + public_key[:32] + b"\x22\x58\x20" + public_key[32:]


def decode_key(data: bytes) -> bytes:
    """x || y of a COSE_Key in exactly the form `encode_key` gives. Raises FormatError."""
    if len(data) != 75 or encode_key(data[8:40] + data[43:75]) != data:
        raise FormatError("not a P-256 COSE_Key of x and y")
    return data[8:40] + data[43:75]


def _structure_head(context, protected, payload_length):
    """Sig_structure or MAC_structure (RFC 9052 sections 4.4, 6.3) up to the payload's own bytes."""
    return b"\x84" + cbor.encode(context) + cbor.encode(protected) + b"\x40" + cbor.bytes_head(payload_length)


def sign1_digest(protected: bytes, payload: bytes) -> bytes:
    """SHA-256 of the Sig_structure: what ES256 signs. Fed in two parts, so the payload is not copied."""
    hashed = hashlib.sha256(_structure_head("Signature1", protected, len(payload)))
    hashed.update(payload)
    return hashed.digest()


def sign1_protected(kid: bytes, content_type: int, epoch: bytes, seq: int) -> bytes:
    """The protected header, encoded: algorithm, content type, key and place in the chain.

    It is {ALG: ES256, CONTENT_TYPE: content_type, KID: kid, POSITION: [epoch, seq]}. Raises FormatError when
    `kid` has not 32 bytes or `epoch` not 16."""
    cbor.expect_bytes(kid, 32, "kid")
    cbor.expect_bytes(epoch, 16, "epoch")
    return b"".join((_SIGN1_START, cbor.encode(content_type), _KID_START, kid, _EPOCH_START, epoch, cbor.encode(seq)))


def sign1_join(protected: bytes, payload: bytes, signature: bytes) -> bytes:
    """The whole tagged COSE_Sign1 message."""
    return b"".join(
        (
            _SIGN1,
            cbor.bytes_head(len(protected)),
            protected,
            _EMPTY_MAP,
            cbor.bytes_head(len(payload)),
            payload,
            cbor.bytes_head(64),
            signature,
        )
    )


def _split(data, tag, name):
    if data[:2] != tag:
        raise FormatError("not a tagged %s" % name)
    protected, at = cbor.decode_at(data, 2, 1)
    if data[at : at + 1] != _EMPTY_MAP:
        raise FormatError("the unprotected header must be empty")
    payload, at = cbor.decode_at(data, at + 1, 1)
    end, at = cbor.decode_at(data, at, 1)
    if at != len(data):
        raise FormatError("%d bytes after the end" % (len(data) - at))
    if type(protected) is not bytes or type(payload) is not bytes or type(end) is not bytes:
        raise FormatError("%s wants byte strings" % name)
    return protected, payload, end


class Sign1:
    """A COSE_Sign1 taken apart: `kid`, `epoch`, `seq`, `payload`, `signature`. Well formed, not verified."""

    def __init__(self, data: bytes, content_type: int):
        protected, self.payload, self.signature = _split(data, _SIGN1, "COSE_Sign1")
        start = _SIGN1_START + cbor.encode(content_type) + _KID_START
        kid_end = len(start) + 32
        epoch_at = kid_end + len(_EPOCH_START)
        # All but kid, epoch and seq is fixed, so comparing bytes is the strictest and the quickest way.
        if protected[: len(start)] != start or protected[kid_end:epoch_at] != _EPOCH_START:
            raise FormatError("the protected header is not alg ES256, content type %d, kid, position" % content_type)
        self.kid = protected[len(start) : kid_end]
        self.epoch = protected[epoch_at : epoch_at + 16]
        seq, end = cbor.decode_at(protected, epoch_at + 16, 1)
        if end != len(protected):
            raise FormatError("the protected header has more than alg, content type, kid and position")
        self.seq = cbor.expect_uint(seq, "seq")
        if len(self.signature) != 64:
            raise FormatError("an ES256 signature has 64 bytes")
        self.protected = protected

    def digest(self) -> bytes:
        """What the signature must hold over."""
        return sign1_digest(self.protected, self.payload)


def _mac0_protected(kid, content_type):
    return _MAC0_START + cbor.encode(content_type) + _KID_START + kid


def mac0(key: bytes, kid: bytes, content_type: int, payload: bytes) -> bytes:
    """A whole tagged COSE_Mac0 with HMAC 256/256 under `key` (32 bytes)."""
    protected = _mac0_protected(kid, content_type)
    tag = hmac_sha256(key, _structure_head("MAC0", protected, len(payload)), payload)
    return b"".join((_MAC0, cbor.encode(protected), _EMPTY_MAP, cbor.encode(payload), cbor.encode(tag)))


def open_mac0(key: bytes, kid: bytes, content_type: int, data: bytes) -> bytes:
    """The payload of a COSE_Mac0 made with `key` by `kid`. Raises FormatError, or IntegrityError when the tag
    is wrong."""
    protected, payload, tag = _split(data, _MAC0, "COSE_Mac0")
    if len(tag) != 32:
        raise FormatError("a tag of HMAC 256/256 has 32 bytes")
    if protected != _mac0_protected(kid, content_type):
        raise FormatError("the protected header is not ours: algorithm, content type or key id differ")
    if not equal_ct(tag, hmac_sha256(key, _structure_head("MAC0", protected, len(payload)), payload)):
        raise IntegrityError("the MAC does not hold: not made with the key shared with this hub")
    return payload
