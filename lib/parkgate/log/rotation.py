"""A gateway's next key (SPEC 3.6): made before it is needed, so that its id can be committed; then the current key and
the next one sign the change together, as an event in the last batch of the current one.

    ready ──begin──▶ begun: the batch with the event is not sealed yet ──its seq is sealed──▶ done: the next key signs

File `identity.next`, kept twice: "PGN1" and the next key (32 bytes); while a change is under way, behind it the key
after that and the seq of the batch with the event (8 bytes). Whatever is cut: `settle`, at the next start, takes the
change back or ends it. Loaded when it is wanted.
"""

from hashlib import sha256

from parkgate import events
from parkgate.errors import FormatError, IntegrityError
from parkgate.settings import kept_twice
from parkgate.wire import cose
from parkgate.wire.p256 import SoftwareSigner, key_from_entropy

FILE = "identity.next"
_MAGIC = b"PGN1"


def digest(gateway_id: bytes, kid: bytes, next_id: bytes) -> bytes:
    """What the new key signs: that it takes the place of key `kid` of this gateway, and which key comes after it."""
    return sha256(b"parkgate rotation v1" + gateway_id + kid + next_id).digest()


def read_event(event):
    """(new key x || y, id of the key after it, signature) of a rotation event. Raises FormatError."""
    sizes = [len(item) if type(item) is bytes else -1 for item in event[1:]]
    if sizes != [64, 32, 64]:
        raise FormatError("a rotation event is [34, key, next, signature]")
    return event[1], event[2], event[3]


def check(event, gateway_id: bytes, kid: bytes, committed, holds):
    """(new key, id of the key after it) of an event in a batch that key `kid` signed. `committed` is the id of its
    next key, or None; `holds(key, digest, signature)` tells about a signature. Raises FormatError, IntegrityError."""
    key, next_id, signature = read_event(event)
    new_id = cose.thumbprint(key)
    if committed is None:
        raise IntegrityError("no next key of this gateway is committed")
    if new_id != committed:
        raise IntegrityError("the new key is not the one that was committed")
    if next_id in (new_id, kid):
        raise IntegrityError("the key after the new one is a key in use")
    if not holds(key, digest(gateway_id, kid, next_id), signature):
        raise IntegrityError("the new key's signature does not hold")
    return key, next_id


def _read(files):
    data = kept_twice.read(files, FILE)
    if data is None:
        return None
    if data[:4] != _MAGIC or len(data) not in (40, 80):
        raise IntegrityError("the next key cannot be read: this key cannot be changed; exchange the board")
    return data[4:-4]


def _write(files, content):
    kept_twice.write(files, FILE, kept_twice.sealed(_MAGIC, content))


def prepare(files, entropy: bytes, board_entropy) -> bytes:
    """The id of the next key, which is made of `entropy` (48 bytes) if there is none. Raises IntegrityError."""
    kept = _read(files)
    if kept is None:
        kept = key_from_entropy(entropy)
        _write(files, kept)
    return cose.thumbprint(SoftwareSigner(kept[:32], board_entropy).public_key)


def begin(files, gateway_id: bytes, kid: bytes, seq: int, entropy: bytes, board_entropy):
    """Write down that batch `seq` will be the last one of key `kid`. Generator in steps; its value is the event for
    that batch. Raises IntegrityError when there is no next key."""
    kept = _read(files)
    if kept is None:
        raise IntegrityError("there is no next key: identity next, and the hub must know its id")
    after = key_from_entropy(entropy)
    signer = SoftwareSigner(kept[:32], board_entropy)
    yield
    next_id = cose.thumbprint(SoftwareSigner(after, board_entropy).public_key)
    yield
    signature = yield from signer.sign_steps(digest(gateway_id, kid, next_id))
    _write(files, kept[:32] + after + seq.to_bytes(8, "big"))
    return [events.KEY_ROTATED, signer.public_key, next_id, signature]


def settle(files, next_seq: int, gateway_id: bytes, put_key):
    """End what was begun: with the batch sealed (`next_seq` is behind it), `put_key(key, gateway_id)` makes the next
    key the current one, else all is as before. Returns whether the key changed."""
    kept = _read(files)
    if kept is None or len(kept) == 32:
        return False
    done = next_seq > int.from_bytes(kept[64:], "big")
    if done:
        put_key(kept[:32], gateway_id)
    _write(files, kept[32:64] if done else kept[:32])
    return done
