"""The gateway's key: made on the board at the first start, and it never leaves it. Loaded when it is wanted.

A new key is another gateway. So none is made where anything tells that there was one: a file of it that does not check,
a public key, or a batch in the journal. Then the gateway goes on without: it samples and journals, signs and sends
nothing, and looks again every minute; a factory reset or `identity new` is for a person to decide.
"""

from gateway.loaded import drop
from parkgate.errors import IntegrityError
from parkgate.settings import kept_twice
from parkgate.wire.cose import thumbprint
from parkgate.wire.mac import hkdf_sha256
from parkgate.wire.p256 import SoftwareSigner, key_from_entropy, public_key, use_table

FILE, PUBLIC, NEXT = "identity.key", "public.key", "identity.next"
_MAGIC = b"PGK1"
_KEY_BYTES = 32


def put_key(files, key: bytes, gateway_id: bytes = b""):
    """Write the key; `gateway_id` where it is not that of this key, which followed others."""
    kept_twice.write(files, FILE, kept_twice.sealed(_MAGIC, key + gateway_id))


def make_key(board, host_entropy: bytes) -> bytes:
    """Make a key of the board's randomness and what a host adds: as good as the better of both."""
    mixed = hkdf_sha256(board.entropy(48) + host_entropy, b"", b"parkgate identity v1", 48)
    key = key_from_entropy(mixed)
    put_key(board.files, key)
    return key


def read_key(files):
    """The key (and behind it the gateway's id, once keys were rotated), None when there is none, b"" when it cannot be
    read."""
    data = kept_twice.read(files, FILE)
    if data is None or data[:4] == _MAGIC and len(data) in (8 + _KEY_BYTES, 8 + 2 * _KEY_BYTES):
        return data and data[4:-4]
    return _older(files)


def _older(files):
    """A key of an older firmware, 32 bytes without a check: the public key tells whether it is whole."""
    key, shown = files.read(FILE), files.read(PUBLIC)
    if key is None or len(key) != _KEY_BYTES or shown is None:
        return b""
    try:
        whole = SoftwareSigner(key, bytes).public_key.hex().encode() == shown
    except Exception:  # no number of the right size
        whole = False
    if not whole:
        return b""
    put_key(files, key)
    return key


class NoSigner:
    """In place of a signer while the key cannot be read. `public_key` is what the gateway showed of it, or zeros."""

    is_there = False

    def __init__(self, files):
        shown = files.read(PUBLIC) or b""
        try:
            self.public_key = bytes.fromhex(shown.decode())
        except ValueError:
            self.public_key = b""
        if len(self.public_key) != 64:
            self.public_key = bytes(64)

    def sign_steps(self, _digest):
        raise IntegrityError("the key cannot be read: nothing is signed")

    def ecdh_steps(self, _public_key):
        raise IntegrityError("the key cannot be read: no receipt can be checked")


def load_signer(board, log, next_seq: int):
    """(signer, gateway's id): the signer with the board's key, which is made if there was none; NoSigner when it cannot
    be read. `next_seq` is the journal's. The public half is written where `parkgate enrol` finds it."""
    comb_point = board.comb_point()
    if comb_point:
        use_table(comb_point)
    files = board.files
    key = read_key(files)
    if key and len(kept_twice.read(files, NEXT) or b"") > 40:  # a change of keys was cut off
        from parkgate.log.rotation import settle

        if settle(
            files, next_seq, key[_KEY_BYTES:] or thumbprint(public_key(key)), lambda *args: put_key(files, *args)
        ):
            log.info("identity", "the next key is in use now")
            key = read_key(files)
        drop(("parkgate.log.rotation",))
    if key is None and not next_seq and files.read(PUBLIC) is None:
        key = make_key(board, b"")
        log.info("identity", "made a new key")
    if not key:
        log.error("identity", "the key is %s: readings are kept, none are signed or sent" % (
            "gone" if key is None else "damaged"))  # fmt: skip
        signer = NoSigner(files)
        return signer, thumbprint(signer.public_key)
    signer = SoftwareSigner(key[:_KEY_BYTES], board.entropy)
    shown = signer.public_key.hex().encode()
    if files.read(PUBLIC) != shown:
        files.write(PUBLIC, shown)
    return signer, key[_KEY_BYTES:] or thumbprint(signer.public_key)
