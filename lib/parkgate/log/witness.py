"""A gateway as a witness: the newest checkpoint that it verified to be consistent with the one before (SPEC 13.6).

The hub introduces its log once, under the receipt key. From then on it sends RFC 9942 receipts of consistency from the
size that the gateway holds. The new root need not be sent: it follows from the old one and the path. What the gateway
holds it states in its next batch as an event, after it is on flash: who claims first and forgets would convict an
honest hub.
"""

from parkgate.errors import FormatError, IntegrityError
from parkgate.wire import cbor
from parkgate.wire.mac import hmac_sha256

from . import receipt, tree

INTRODUCTION_TYPE = 65106
VERSION = 1
RECORD_BYTES_MAX = 256
_SUM_BYTES = 8


def encode_introduction(gateway_id: bytes, key: bytes, log_id: bytes, size: int, root: bytes, signature: bytes):
    """The payload of the Mac0 by which a hub tells a gateway its log's key (x || y) and a first checkpoint: bytes."""
    return cbor.encode([VERSION, gateway_id, key, log_id, size, root, signature])


class Witness:
    """`key` (64 bytes), `log_id`, `size`, `root`, `signature`: None and 0 before the introduction. `claimed`: the
    journal has the event."""

    def __init__(self, record=None):
        """`record` is what `encode` gave, or None. Raises FormatError."""
        self.key = self.log_id = self.root = self.signature = None
        self.size = 0
        self.claimed = True
        if record is not None:
            if len(record) > RECORD_BYTES_MAX or record[-_SUM_BYTES:] != _sum(record[:-_SUM_BYTES]):
                raise FormatError("witness: the record is damaged")
            fields = cbor.expect_array(record[:-_SUM_BYTES], VERSION, (7,), "witness")
            self._take(*fields[1:6])
            self.claimed = bool(fields[6])

    def _take(self, key, log_id, size, root, signature):
        self.key = cbor.expect_bytes(key, 64, "witness: key")
        self.log_id = cbor.expect_bytes(log_id, 16, "witness: log id")
        self.size = cbor.expect_uint(size, "witness: size")
        self.root = cbor.expect_bytes(root, 32, "witness: root")
        self.signature = cbor.expect_bytes(signature, 64, "witness: signature")

    def encode(self) -> bytes:
        """What must be on flash before it is claimed."""
        fields = [VERSION, self.key, self.log_id, self.size, self.root, self.signature, self.claimed]
        data = cbor.encode(fields)
        return data + _sum(data)

    def claim(self) -> list:
        """The event for the journal (events.CHECKPOINT)."""
        return [16, self.size, self.root]

    def introduced_steps(self, payload: bytes, gateway_id: bytes, kid_of, verify_steps):
        """Generator: take a first checkpoint from an authentic introduction; returns whether it is a new log or key.

        `kid_of(key)` gives a key's id; `verify_steps(key, digest, signature)` is a generator that returns whether it
        holds. Raises FormatError, IntegrityError; then nothing has changed."""
        fields = cbor.expect_array(payload, VERSION, (7,), "introduction")
        if fields[1] != gateway_id:
            raise IntegrityError("introduction: for another gateway")
        new = Witness()
        new._take(*fields[2:7])
        if new.log_id == self.log_id and new.key == self.key:
            return False
        holds = yield from verify_steps(new.key, receipt.digest(kid_of(new.key), new.log_id, new.size, new.root),
                                        new.signature)  # fmt: skip
        if not holds:
            raise IntegrityError("introduction: the checkpoint's signature does not hold")
        self._take(*fields[2:7])
        self.claimed = False
        return True

    def accept_steps(self, data: bytes, kid: bytes, verify_steps):
        """Generator: go on to the checkpoint of a receipt of consistency; returns whether it is newer than what is
        held.

        `kid` is the id of `key`. Raises FormatError, IntegrityError; then nothing has changed."""
        found = receipt.Receipt(data)
        receipt.check_key(found, kid, self.log_id)
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
        self.claimed = False
        return True


def _sum(data):
    """Damage on flash must show: half a checkpoint would be a false witness."""
    return hmac_sha256(b"witness", data)[:_SUM_BYTES]
