"""Random bytes from a source that may be weak at any one moment: much of it is hashed into a pool.

RP2040 has only a ring oscillator (os.urandom), whose bits are biased; ESP32's generator is a true one only while its
radio runs. The pool is filled once from `gather()`; every output is SHA-256 of the pool, a counter and fresh bytes of
os.urandom, so that one good source is enough.
"""

import os
import time
from hashlib import sha256

_GATHER_BYTES = 1024


def gather_urandom() -> bytes:
    """Two hashes' worth of what os.urandom gives, with the jitter of reading it."""
    pool = sha256()
    for _ in range(_GATHER_BYTES // 32):
        pool.update(os.urandom(32))
        pool.update(time.ticks_cpu().to_bytes(4, "little"))
    return pool.digest()


class Entropy:
    """Call it with a number of bytes."""

    def __init__(self, gather=gather_urandom):
        self._gather = gather
        self._pool = None
        self._count = 0

    def __call__(self, count: int) -> bytes:
        if self._pool is None:
            self._pool = self._gather()
        out = b""
        while len(out) < count:
            self._count += 1
            block = sha256(self._pool)
            block.update(self._count.to_bytes(8, "little"))
            block.update(os.urandom(32))
            out += block.digest()
        self._pool = sha256(b"next" + self._pool).digest()  # what was given cannot be computed again from here
        return out[:count]
