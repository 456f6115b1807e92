"""The gateway's key: made on the board at the first start, and it never leaves it. Loaded when it is wanted."""

from parkgate.wire.mac import hkdf_sha256
from parkgate.wire.p256 import SoftwareSigner, key_from_entropy


def make_key(board, host_entropy: bytes) -> bytes:
    """Make a key of the board's randomness and what a host adds: as good as the better of both."""
    mixed = hkdf_sha256(board.entropy(48) + host_entropy, b"", b"parkgate identity v1", 48)
    key = key_from_entropy(mixed)
    board.files.write("identity.key", key)
    return key


def load_signer(board, log) -> SoftwareSigner:
    """The signer with the board's key, which is made if there is none. Its public half is written where
    `parkgate enrol` finds it."""
    files = board.files
    key = files.read("identity.key")
    if key is None:
        key = make_key(board, b"")
        log.info("identity", "made a new key")
    signer = SoftwareSigner(key, board.entropy)
    shown = signer.public_key.hex().encode()
    if files.read("public.key") != shown:
        files.write("public.key", shown)
    return signer
