"""Root documents on the host (SPEC 3.7): which keys a hub has, by the word of keys that are kept elsewhere.

The hub's folder has them in ROOT_FILE, one behind the other, from number 1 on. Each is signed by the root that the one
before names as next, and names the hash of the one before.
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from host_tools.base import files
from host_tools.base.keys import HubKeyMissing, Verifier
from host_tools.log.keys import LogError
from parkgate.errors import FormatError, IntegrityError
from parkgate.log import root
from parkgate.log.root import Document
from parkgate.wire import cbor
from parkgate.wire.steps import finish

ROOT_FILE = "root_documents.cbor"
DOCUMENTS_MAX = 1000


class Chain:
    """Documents in their order, each verified. `documents`, `bytes` (of each), `newest` (None where there is none)."""

    def __init__(self, data: bytes = b""):
        """Raises FormatError, IntegrityError."""
        self.documents: list[Document] = []
        self.bytes: list[bytes] = []
        at = 0
        while at < len(data):
            if data[at : at + 2] != root.START[:2]:
                raise FormatError("root documents: something else stands between them")
            _, end = cbor.decode_at(data, at + 2)
            self.add(data[at:end])
            at = end

    @property
    def newest(self) -> Document | None:
        return self.documents[-1] if self.documents else None

    def add(self, data: bytes) -> Document:
        """Put the next document behind the others. Raises FormatError, IntegrityError; then nothing has changed."""
        document = Document(data)
        before = self.newest
        if document.serial != len(self.documents) + 1 or len(self.documents) >= DOCUMENTS_MAX:
            raise IntegrityError(f"root document {document.serial}: number {len(self.documents) + 1} comes next")
        if before is not None and document.prior != sha256(self.bytes[-1]).digest():
            raise IntegrityError(f"root document {document.serial}: it does not follow the one that is held")
        finish(root.check_steps(document, before.next_root if before else document.root, verify_steps))
        self.documents.append(document)
        self.bytes.append(data)
        return document


def verify_steps(key: bytes, digest: bytes, signature: bytes):
    """As p256.verify_steps, by `cryptography`."""
    yield
    try:
        Verifier(key).check(digest, signature)
    except (FormatError, IntegrityError):
        return False
    return True


def read(data_dir) -> Chain:
    """The documents of this folder; an empty chain where there are none. Raises LogError when they are damaged."""
    path = Path(data_dir) / ROOT_FILE
    if not path.exists():
        return Chain()
    try:
        return Chain(files.read_bytes(path))
    except (FormatError, IntegrityError) as error:
        raise LogError(f"{path} is damaged ({error}): put it back from your backup") from None


def check_keys(data_dir, hub_xy: bytes, log_xy: bytes | None) -> Chain:
    """The documents, the newest of which names these keys (`log_xy` None: it is not looked at). Raises HubKeyMissing or
    LogError with advice: a hub must not start with other keys than the park's root names."""
    chain = read(data_dir)
    newest = chain.newest
    if newest is not None and newest.hub != hub_xy:
        raise HubKeyMissing(
            f"hub_key.pem is not the key that root document {newest.serial} names: put that key back from a backup. "
            "Where it is lost, make new keys and have two root keys sign for them: `parkgate root draft --new-keys`"
        )
    if newest is not None and log_xy is not None and newest.log != log_xy:
        raise LogError(
            f"log_key.pem is not the key that root document {newest.serial} names: put that key back from a backup. "
            "Where it is lost, make new keys and have two root keys sign for them: `parkgate root draft --new-keys`"
        )
    return chain
