"""Runs on MicroPython: makes keys and sealed batches of random readings, prints them as hexadecimal lines.

micropython sealed_batches_device.py COUNT SEED        →  key x y | batch …
"""

import sys

from parkgate.wire import batch, cose, p256
from parkgate.wire.steps import finish

KEYS = 4
CHANNEL = ["voltage_l1", "V", 1]


class Dice:
    """Numbers from one seed (Marsaglia's xorshift64), the same on every machine."""

    def __init__(self, seed):
        self.state = seed * 2654435761 + 88172645463325252 & 0xFFFFFFFFFFFFFFFF

    def bits(self, count):
        x = self.state
        x ^= x << 13 & 0xFFFFFFFFFFFFFFFF
        x ^= x >> 7
        x ^= x << 17 & 0xFFFFFFFFFFFFFFFF
        self.state = x
        return x >> 64 - count

    def below(self, limit):
        return self.bits(32) % limit

    def bytes(self, count):
        return bytes([self.bits(8) for _ in range(count)])


def random_table(dice, instrument):
    table = batch.Table(instrument, 1 + dice.below(3))
    time_ms = 1_767_225_600_000 + dice.bits(30)
    width = 1 + dice.below(63)
    for _ in range(1 + dice.below(12)):
        time_ms += dice.below(3) * 1000 - dice.below(2)
        values = [dice.bits(width) - (1 << width - 1) for _ in table.values]
        qualities = [dice.below(12) if dice.below(9) == 0 else 0 for _ in values]
        table.add(time_ms, dice.below(4) if dice.below(9) == 0 else 0, values, qualities)
    return table


def random_batch(dice, key, gateway_id):
    seq = dice.bits(1 + dice.below(61)) if dice.below(5) else 0
    tables = [random_table(dice, i) for i in range(dice.below(4))]
    header = batch.Header(
        prev=dice.bytes(32) if seq else None,
        boot=dice.bits(20),
        cause=dice.below(7),
        sampled=dice.bits(40),
        dropped=dice.bits(8),
        receipt_seq=seq - 1 if seq else None,
        settings_id=dice.bytes(16),
        schema=batch.encode_schema([["mill", "SDM630", [CHANNEL] * len(table.values)] for table in tables]),
        with_schema=dice.below(4) == 0,
    )
    events = [[1, dice.bits(10), 1]] * dice.below(3)
    payload = finish(batch.payload_steps(header, tables, events))
    signer = p256.SoftwareSigner(key)
    return finish(batch.seal_steps(signer, gateway_id, dice.bytes(16), seq, payload))


def main():
    count, dice = int(sys.argv[1]), Dice(int(sys.argv[2]))
    key = public = b""
    for n in range(count):
        if n % -(-count // KEYS) == 0:
            key = p256.key_from_entropy(dice.bytes(48))
            public = p256.public_key(key)
            print("key", public[:32].hex(), public[32:].hex())
        print("batch", random_batch(dice, key, cose.thumbprint(public)).hex())


main()
