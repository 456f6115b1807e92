"""Runs in build/venv-cwt, which has the library cwt: checks lines of `sealed_batches_device.py` from standard input.

Prints how many batches verify. A batch with its payload changed must not.
"""

import hashlib
import sys

import cbor2
import cwt  # pyright: ignore[reportMissingImports]
from cwt import COSE, COSEKey  # pyright: ignore[reportMissingImports]


def key_of(x: str, y: str):
    members = {1: 2, -1: 1, -2: bytes.fromhex(x), -3: bytes.fromhex(y)}
    thumbprint = hashlib.sha256(cbor2.dumps(members, canonical=True)).digest()
    return COSEKey.new({**members, 2: thumbprint, 3: -7})  # cwt looks the key up by its kid


def refuses(cose, key, data: bytes) -> bool:
    try:
        cose.decode(data, key)
    except (cwt.VerifyError, cwt.DecodeError):
        return True
    return False


def main() -> None:
    cose, key, verified = COSE.new(), None, 0
    for line in sys.stdin:
        word, *parts = line.split()
        if word == "key":
            key = key_of(*parts)
            continue
        data = bytes.fromhex(parts[0])
        cose.decode(data, key)
        verified += 1
        if verified % 50 == 0:
            changed = bytearray(data)
            changed[-80] ^= 1
            if not refuses(cose, key, bytes(changed)):
                sys.exit(f"cwt takes a changed batch: {changed.hex()}")
    print(verified)


if __name__ == "__main__":
    main()
