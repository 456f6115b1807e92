"""The park's root: three keys that are kept off the hub, and may put another key in the place of the hub's (SPEC 3.7).

A root document is a COSE_Sign (RFC 9052 section 4.1) by two or three of the root keys. It names the hub's key and the
log's. A gateway knows the id of the root from its enrolment, and takes the hub's key from a document of that root with
a higher number than the one that it knows; nothing else changes that key over the network. Loaded when a document
comes.
"""

from hashlib import sha256

from parkgate.errors import FormatError, IntegrityError
from parkgate.wire import cbor, cose

CONTENT_TYPE = 65108
VERSION = 1
KEYS, SIGNATURES_MIN = 3, 2
SERIAL_LIMIT = 1 << 30
DOCUMENT_BYTES_MAX = 1024
START = b"\xd8\x62\x84"  # tag 98, array of four
PROTECTED = b"\xa1\x03\x19\xfe\x54"  # {3: 65108}
_SIGNER = b"\xa2\x01\x26\x04\x58\x20"  # {1: -7, 4: 32 bytes


def root_id(keys: list) -> bytes:
    """The id of a root: of its three keys (x || y) in their order."""
    return sha256(b"parkgate root v1" + b"".join(keys)).digest()


def encode_payload(serial: int, keys: list, next_root: bytes, hub: bytes, log: bytes, made_ms: int, prior) -> bytes:
    """What is signed: number `serial`, by the root with these keys; the document after it is by `next_root` (an id).
    `hub` and `log` are x || y of the hub's key and the log's, `prior` the hash of the document before or None."""
    return cbor.encode([VERSION, serial, keys, next_root, hub, log, made_ms, prior])


def digest(kid: bytes, payload: bytes) -> bytes:
    """What the root key with this id signs."""
    hashed = sha256(b"\x85" + cbor.encode("Signature") + cbor.encode(PROTECTED) + cbor.encode(_SIGNER + kid) + b"\x40")
    hashed.update(cbor.encode(payload))
    return hashed.digest()


def encode(payload: bytes, signatures: list) -> bytes:
    """The document; `signatures` are (id of the root key, r || s)."""
    signed = [[_SIGNER + kid, {}, signature] for kid, signature in signatures]
    return START + b"".join([cbor.encode(part) for part in (PROTECTED, {}, payload, signed)])


class Document:
    """A root document taken apart: `serial`, `keys`, `root` (their id), `next_root`, `hub`, `log`, `made_ms`, `prior`,
    `signatures`. Well formed, not verified. Raises FormatError."""

    def __init__(self, data: bytes, signatures_min: int = SIGNATURES_MIN):
        if len(data) > DOCUMENT_BYTES_MAX or data[:3] != START:
            raise FormatError("not a root document")
        protected, at = cbor.decode_at(data, 3, 1)
        unprotected, at = cbor.decode_at(data, at, 1)
        self.payload, at = cbor.decode_at(data, at, 1)
        signed, at = cbor.decode_at(data, at, 4)
        if at != len(data) or protected != PROTECTED or unprotected != {} or type(self.payload) is not bytes:
            raise FormatError("root document: its header is another one")
        if type(signed) is not list or not signatures_min <= len(signed) <= KEYS:
            raise FormatError("root document: two or three signatures are wanted")
        self.signatures = [_signature(each) for each in signed]
        fields = cbor.expect_array(self.payload, VERSION, (8,), "root document")
        _, self.serial, self.keys, self.next_root, self.hub, self.log, self.made_ms, self.prior = fields
        if not 0 < cbor.expect_uint(self.serial, "root document: number") < SERIAL_LIMIT:
            raise FormatError("root document: its number is not one")
        if type(self.keys) is not list or len(self.keys) != KEYS:
            raise FormatError("root document: a root has three keys")
        for key in self.keys + [self.hub, self.log]:
            cbor.expect_bytes(key, 64, "root document: key")
        cbor.expect_bytes(self.next_root, 32, "root document: next root")
        cbor.expect_uint(self.made_ms, "root document: time")
        if (self.prior is None) != (self.serial == 1):
            raise FormatError("root document: the first one, and no other, has none before it")
        if self.prior is not None:
            cbor.expect_bytes(self.prior, 32, "root document: the one before")
        self.root = root_id(self.keys)


def _signature(item):
    if type(item) is not list or len(item) != 3 or item[1] != {} or type(item[0]) is not bytes:
        raise FormatError("root document: a signature has another form")
    kid = item[0][len(_SIGNER) :]
    if item[0][: len(_SIGNER)] != _SIGNER or len(kid) != 32:
        raise FormatError("root document: a signature is not ES256 with a key id")
    cbor.expect_bytes(item[2], 64, "root document: signature")
    return kid, item[2]


def check_steps(document, root: bytes, verify_steps):
    """Generator: return if `document` is signed by two of the three keys of this root, and by nobody else.
    `verify_steps(key, digest, signature)` is a generator that returns whether a signature holds. Raises
    IntegrityError."""
    if document.root != root:
        raise IntegrityError("root document: of another root")
    ids = {cose.thumbprint(key): key for key in document.keys}
    signers = [kid for kid, _ in document.signatures]
    if len(ids) != KEYS or len(set(signers)) != len(signers):
        raise IntegrityError("root document: a key counts twice")
    for kid, signature in document.signatures:
        key = ids.get(kid)
        yield
        holds = key is not None and (yield from verify_steps(key, digest(kid, document.payload), signature))
        if not holds:
            raise IntegrityError("root document: a signature does not hold")


def take_steps(data: bytes, settings: dict, verify_steps, on_curve):
    """Generator: what a gateway with these settings makes of a document: (number, key of the hub), and the settings'
    section `hub` has changed unless it knew the document. Raises FormatError, IntegrityError; then nothing has
    changed."""
    hub = settings["hub"]
    document = Document(data)
    if document.serial < hub["root_serial"] or not hub["root"]:
        raise IntegrityError("root document %d: %d is known" % (document.serial, hub["root_serial"]))
    if document.serial == hub["root_serial"]:
        if document.hub.hex() != hub["public_key"]:
            raise IntegrityError("root document %d: of another key than is known" % document.serial)
        return document.serial, document.hub
    yield from check_steps(document, bytes.fromhex(hub["root"]), verify_steps)
    if not on_curve(document.hub):
        raise IntegrityError("root document: the hub's key is not a P-256 point")
    hub["public_key"], hub["root"] = document.hub.hex(), document.next_root.hex()
    hub["root_serial"] = document.serial
    return document.serial, document.hub
