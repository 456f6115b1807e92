"""What tests/bench/sign.py runs on MicroPython's Unix port: `sign_device.py speed ROUNDS` or `sign_device.py
heap`.

Prints one line of JSON. `speed` takes many short turns between the libraries, so that a busy machine slows all
of them; garbage collection is part of what is measured. `heap` fills the heap but for a rest and finds the
smallest rest that an operation works with.
"""

import gc
import json
import sys
import time

from parkgate.wire import p256

KEY = p256.key_from_entropy(bytes(range(40)))
DIGEST = bytes(range(32))
PUBLIC = p256.public_key(KEY)
SIGNATURE = p256.sign(KEY, DIGEST)

HEAP_STEP_BYTES = 256
HEAP_TRIED_MAX_BYTES = 32 * 1024


def utinyec_sign():
    """What a signature with utinyec takes at least: it brings points and inverses, but no ECDSA."""
    from utinyec.ec import mod_inv
    from utinyec.registry import get_curve

    curve = get_curve("secp256r1")
    d = int.from_bytes(KEY, "big")
    z = int.from_bytes(DIGEST, "big")
    k = int.from_bytes(p256.sign(KEY, DIGEST)[:32], "big")  # any number of this size

    def sign():
        r = (k * curve.g).x % curve.field.n
        s = mod_inv(k, curve.field.n) * (z + r * d) % curve.field.n
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    return sign


def starkbank_sign():
    """starkbank-ecdsa's own sign, its table of 257 points made beforehand."""
    from starkbank_ecdsa.curve import prime256v1
    from starkbank_ecdsa.ecdsa import Ecdsa

    class Key:
        curve = prime256v1
        secret = int.from_bytes(KEY, "big")

    class Done:  # a hash function whose digest is the one to be signed
        def __init__(self, message):
            self.message = message

        def digest(self):
            return self.message

    def sign():
        signature = Ecdsa.sign(DIGEST, Key, Done)
        return signature.r.to_bytes(32, "big") + signature.s.to_bytes(32, "big")

    return sign


def turns_us(rounds):
    """For each operation its mean time over a few calls, in microseconds, in each of `rounds` turns."""
    operations = {
        "sign": (4, lambda: p256.sign(KEY, DIGEST)),
        "verify": (1, lambda: p256.verify(PUBLIC, DIGEST, SIGNATURE)),
        "ecdh": (1, lambda: p256.ecdh(KEY, PUBLIC)),
        "starkbank_sign": (2, starkbank_sign()),
        "utinyec_sign": (1, utinyec_sign()),
    }
    for name in ("starkbank_sign", "utinyec_sign"):
        signature = operations[name][1]()
        if not p256.verify(PUBLIC, DIGEST, signature, low_s=False):
            raise ValueError("%s is not patched rightly: its signature does not verify" % name)
    turns = {name: [] for name in operations}
    for _ in range(rounds):
        for name in operations:
            count, operation = operations[name]
            begun = time.ticks_us()
            for _ in range(count):
                operation()
            turns[name].append(time.ticks_diff(time.ticks_us(), begun) / count)
    return turns


def fits(operation, rest):
    """True if `operation` works with at most `rest` bytes of heap free."""
    gc.collect()
    blocks = [None] * 2000
    count = 0
    for size in (8192, 1024, 128):
        while gc.mem_free() > rest + size:
            try:
                blocks[count] = bytearray(size)
            except MemoryError:
                break
            count += 1
    if gc.mem_free() > rest + 128:
        raise ValueError("the heap is too torn to be filled")
    try:
        operation()
    except MemoryError:
        return False
    finally:
        blocks = None
    return True


def peak_heap_bytes(operation):
    """The smallest free heap, in steps of 256 bytes, that `operation` works with."""
    too_small, enough = 0, HEAP_TRIED_MAX_BYTES
    while enough - too_small > HEAP_STEP_BYTES:
        middle = (too_small + enough) // 2
        if fits(operation, middle):
            enough = middle
        else:
            too_small = middle
    return enough


def main():
    if sys.argv[1] == "speed":
        result = turns_us(int(sys.argv[2]))
    else:
        result = {
            "sign": peak_heap_bytes(lambda: p256.sign(KEY, DIGEST, DIGEST)),
            "verify": peak_heap_bytes(lambda: p256.verify(PUBLIC, DIGEST, SIGNATURE)),
            "ecdh": peak_heap_bytes(lambda: p256.ecdh(KEY, PUBLIC)),
        }
    print(json.dumps(result))


main()
