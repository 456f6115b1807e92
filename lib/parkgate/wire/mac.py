"""HMAC-SHA256, HKDF-SHA256 and a comparison that does not tell where two tags differ.

HMAC is RFC 2104 (FIPS 198-1): H((key ^ opad) || H((key ^ ipad) || message)), the key padded with zeros to
SHA-256's 64-byte block. The padding is done on one 512-bit integer: a loop over 64 bytes would cost the
device more than the hash itself. HKDF is RFC 5869: extract one key from the input, expand it by chained
HMACs.

The tests carry the known answers of RFC 4231 and RFC 5869.
"""

import hashlib

from parkgate.errors import FormatError

BLOCK_SIZE = 64  # bytes SHA-256 takes at once
TAG_SIZE = 32  # bytes of a SHA-256 digest

_IPAD = int.from_bytes(b"\x36" * BLOCK_SIZE, "big")
_OPAD = int.from_bytes(b"\x5c" * BLOCK_SIZE, "big")


def hmac_sha256(key: bytes, *parts) -> bytes:
    """The 32-byte HMAC-SHA256 under `key` (any length) of all `parts`, joined but not in memory."""
    if len(key) > BLOCK_SIZE:
        key = hashlib.sha256(key).digest()
    padded = int.from_bytes(key, "big") << (8 * (BLOCK_SIZE - len(key)))
    inner = hashlib.sha256((padded ^ _IPAD).to_bytes(BLOCK_SIZE, "big"))
    for part in parts:
        inner.update(part)
    outer = hashlib.sha256((padded ^ _OPAD).to_bytes(BLOCK_SIZE, "big"))
    outer.update(inner.digest())
    return outer.digest()


def hkdf_sha256(ikm: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    """`length` bytes (1..8160) derived from the secret `ikm`, RFC 5869; an empty `salt` is the RFC's default.

    Raises FormatError for a length outside that range.
    """
    if not 1 <= length <= 255 * TAG_SIZE:
        raise FormatError("HKDF-SHA256 gives 1 to 8160 bytes, not %d" % length)
    prk = hmac_sha256(salt, ikm)
    blocks = []
    block = b""
    for counter in range(1, (length + TAG_SIZE - 1) // TAG_SIZE + 1):
        block = hmac_sha256(prk, block, info, bytes((counter,)))
        blocks.append(block)
    return b"".join(blocks)[:length]


def equal_ct(a: bytes, b: bytes) -> bool:
    """True if `a` and `b` hold the same bytes. The time depends on their length, which is public, and not on
    where they differ, so a forger cannot find a tag byte by byte."""
    if len(a) != len(b):
        return False
    difference = 0
    for i in range(len(a)):
        difference |= a[i] ^ b[i]
    return difference == 0
