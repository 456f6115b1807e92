"""A gateway as a witness: the newest checkpoint that it verified to be consistent with the one before (SPEC 13.6).

The hub introduces its log once, under the receipt key. From then on it sends RFC 9942 receipts of consistency from the
size that the gateway holds. The new root need not be sent: it follows from the old one and the path. What the gateway
holds it states in its next batch as an event, after it is on flash: nobody must claim what a power cut makes it forget.
"""

from hashlib import sha256

from parkgate.errors import FormatError, IntegrityError
from parkgate.wire import cbor

from . import receipt, tree

INTRODUCTION_TYPE = 65107
VERSION = 1
RECORD_BYTES_MAX = 256


def encode_introduction(gateway_id: bytes, key: bytes, log_id: bytes, size: int, root: bytes, signature: bytes):
    """The payload of the Mac0 by which a hub tells a gateway its log's key (x || y) and a first checkpoint: bytes."""
    return cbor.encode([VERSION, gateway_id, key, log_id, size, root, signature])


class Witness:
    """`key` (64 bytes), `log_id`, `size`, `root`, `signature`: None and 0 before the introduction."""

    def __init__(self, record=None):
        """`record` is what `encode` gave, or None. Raises FormatError when it is damaged."""
        self.key = self.log_id = self.root = self.signature = None
        self.size = 0
        if record is not None:
            if len(record) > RECORD_BYTES_MAX or record[-8:] != sha256(record[:-8]).digest()[:8]:
                raise FormatError("witness: the record is damaged")
            self._take(cbor.expect_array(record[:-8], VERSION, (6,), "witness")[1:])

    def _take(self, fields):
        key, log_id, size, root, signature = fields
        cbor.expect_bytes(key, 64, "witness: key")
        cbor.expect_bytes(log_id, 16, "witness: log id")
        cbor.expect_uint(size, "witness: size")
        cbor.expect_bytes(root, 32, "witness: root")
        cbor.expect_bytes(signature, 64, "witness: signature")
        self.key, self.log_id, self.size, self.root, self.signature = key, log_id, size, root, signature

    def encode(self) -> bytes:
        """What must be on flash before it is claimed."""
        data = cbor.encode([VERSION, self.key, self.log_id, self.size, self.root, self.signature])
        return data + sha256(data).digest()[:8]

    def introduced_steps(self, payload: bytes, gateway_id: bytes, kid_of, verify_steps):
        """Generator: take a first checkpoint from an authentic introduction; returns whether it is a new log or key.

        `kid_of(key)` gives a key's id; `verify_steps(key, digest, signature)` is a generator that returns whether it
        holds. Raises FormatError, IntegrityError; then nothing has changed."""
        fields = cbor.expect_array(payload, VERSION, (7,), "introduction")
        if fields[1] != gateway_id:
            raise IntegrityError("introduction: for another gateway")
        new = Witness()
        new._take(fields[2:])
        if new.log_id == self.log_id and new.key == self.key:
            return False
        assert new.log_id is not None and new.root is not None
        digest = receipt.digest(kid_of(new.key), new.log_id, new.size, new.root)
        holds = yield from verify_steps(new.key, digest, new.signature)
        if not holds:
            raise IntegrityError("introduction: the checkpoint's signature does not hold")
        self._take(fields[2:])
        return True

    def accept_steps(self, data: bytes, kid_of, verify_steps):
        """Generator: go on to the checkpoint of a receipt of consistency; returns whether it is newer than that held.

        Raises FormatError, IntegrityError; then nothing has changed."""
        if self.key is None:
            raise FormatError("witness: no log was introduced yet")
        assert self.log_id is not None and self.root is not None
        found = receipt.Receipt(data)
        receipt.check_key(found, kid_of(self.key), self.log_id)
        if found.kind != receipt.CONSISTENCY:
            raise FormatError("witness: not a receipt of consistency")
        if found.size <= self.size:
            return False
        if found.first != self.size:
            raise FormatError("witness: the receipt begins at %d leaves, and %d are held" % (found.first, self.size))
        yield
        root = yield from tree.root_of_consistency_steps(found.first, found.size, self.root, found.path)
        holds = yield from verify_steps(self.key, found.digest(root), found.signature)
        if not holds:
            raise IntegrityError("witness: the signature does not hold")
        self.size, self.root, self.signature = found.size, root, found.signature
        return True
