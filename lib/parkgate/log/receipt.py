"""COSE receipts (RFC 9942) of the log: a signed root, and a proof of inclusion or consistency beside it (SPEC 13.4).

The root is the detached payload. The protected header also says which log and how many leaves, so the signature covers
all three: it is a checkpoint of its own, and one signature serves every receipt of that checkpoint.

    receipt = tag 18 [protected {1: -7, 4: kid, 395: 1, -65537: [log id, size]},
                      {396: {-1 or -2: [proof]}}, null, signature]
    proof   = bytes of CBOR: inclusion [size, index, path], consistency [size before, size, path]
"""

from parkgate.errors import FormatError, IntegrityError
from parkgate.wire import cbor, cose

from . import tree

VDS, VDP = 395, 396  # RFC 9942: which data structure (1: RFC9162_SHA256), and its proofs
INCLUSION, CONSISTENCY = -1, -2
RECEIPT_BYTES_MAX = 3072  # a consistency path has at most 2 hashes a level

_ALG_KID = b"\xa4\x01\x26\x04\x58\x20"  # {1: -7, 4: 32 bytes …
_VDS_LOG = b"\x19\x01\x8b\x01\x3a\x00\x01\x00\x00\x82\x50"  # … 395: 1, -65537: [16 bytes …
_DETACHED = 0xF6


def protected_header(kid: bytes, log_id: bytes, size: int) -> bytes:
    """What is signed besides the root: the log's key, the log, and how many leaves."""
    cbor.expect_bytes(kid, 32, "kid")
    cbor.expect_bytes(log_id, 16, "log id")
    return b"".join((_ALG_KID, kid, _VDS_LOG, log_id, cbor.encode(size)))


def digest(kid: bytes, log_id: bytes, size: int, root: bytes) -> bytes:
    """The SHA-256 that the signature of a checkpoint holds over."""
    return cose.sign1_digest(protected_header(kid, log_id, size), root)


def encode(kid: bytes, log_id: bytes, size: int, signature: bytes, kind: int, first: int, path: list) -> bytes:
    """A receipt of the checkpoint with this signature (r || s). `first` is the leaf's index, or the size before."""
    proof = cbor.encode([size, first, path] if kind == INCLUSION else [first, size, path])
    return b"".join(
        (
            b"\xd2\x84",
            cbor.encode(protected_header(kid, log_id, size)),
            cbor.encode({VDP: {kind: [proof]}}),
            bytes([_DETACHED]),
            cbor.encode(signature),
        )
    )


class Receipt:
    """A receipt taken apart: `kid`, `log_id`, `size`, `kind`, `first` (index or size before), `path`, `signature`. Well
    formed, not verified."""

    def __init__(self, data: bytes):
        if len(data) > RECEIPT_BYTES_MAX:
            raise FormatError("a receipt of %d bytes" % len(data))
        if data[:2] != b"\xd2\x84":
            raise FormatError("receipt: not a tagged COSE_Sign1")
        protected, at = cbor.decode_at(data, 2, 1)
        proofs, at = cbor.decode_at(data, at, 4)
        if data[at : at + 1] != b"\xf6":
            raise FormatError("receipt: the root must be detached")
        self.signature, at = cbor.decode_at(data, at + 1, 1)
        if at != len(data):
            raise FormatError("receipt: %d bytes after the end" % (len(data) - at))
        cbor.expect_bytes(self.signature, 64, "receipt: signature")
        self._read_protected(protected)
        self._read_proof(proofs)

    def _read_protected(self, protected):
        if type(protected) is not bytes or protected[:6] != _ALG_KID or protected[38:49] != _VDS_LOG:
            raise FormatError("receipt: the protected header is not alg ES256, kid, RFC9162_SHA256, log and size")
        self.kid, self.log_id = protected[6:38], protected[49:65]
        size, end = cbor.decode_at(protected, 65, 1)
        if end != len(protected):
            raise FormatError("receipt: bytes behind the protected header")
        self.size = cbor.expect_uint(size, "receipt: size")

    def _read_proof(self, proofs):
        of_tree = proofs.get(VDP) if type(proofs) is dict and len(proofs) == 1 else None
        if type(of_tree) is not dict:
            of_tree = {}
        kinds = list(of_tree)
        if kinds != [INCLUSION] and kinds != [CONSISTENCY]:
            raise FormatError("receipt: one proof of inclusion or consistency")
        self.kind = kinds[0]
        found = of_tree[self.kind]
        if type(found) is not list or len(found) != 1 or type(found[0]) is not bytes:
            raise FormatError("receipt: one proof of inclusion or consistency")
        proof = cbor.decode(found[0])
        if type(proof) is not list or len(proof) != 3 or type(proof[2]) is not list:
            raise FormatError("receipt: a proof has three parts")
        size, first = (proof[0], proof[1]) if self.kind == INCLUSION else (proof[1], proof[0])
        if cbor.expect_uint(size, "receipt: size of the proof") != self.size:
            raise FormatError("receipt: the proof is of another size than is signed")
        self.first = cbor.expect_uint(first, "receipt: index or size before")
        self.path = proof[2]

    def root(self, leaf: bytes) -> bytes:
        """The root that this proof of inclusion leads to from `leaf` (a leaf hash). Raises FormatError."""
        if self.kind != INCLUSION:
            raise FormatError("receipt: not a proof of inclusion")
        return tree.root_of_inclusion(self.first, self.size, leaf, self.path)

    def digest(self, root: bytes) -> bytes:
        """What the signature must hold over."""
        return digest(self.kid, self.log_id, self.size, root)


def check_key(receipt: Receipt, kid: bytes, log_id: bytes):
    """Return if the receipt names this key and this log. Raises IntegrityError."""
    if receipt.kid != kid:
        raise IntegrityError("receipt: of another key than the log's")
    if receipt.log_id != log_id:
        raise IntegrityError("receipt: of another log")
