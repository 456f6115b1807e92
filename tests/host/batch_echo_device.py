"""Runs on MicroPython: seals the batches that a JSON file describes, prints each as a hexadecimal line.

The file is a list of [seq, [[instrument, channels, [[time_ms, trust, values, qualities or null], …]], …], events].
On CPython the same functions are called by test_batch_across.py, so both sides do the same with their own interpreter.
"""

import json
import sys

from parkgate.wire import batch, cose, p256
from parkgate.wire.steps import finish

KEY = bytes(range(1, 33))
EPOCH = b"0123456789abcdef"
CHANNEL = ["voltage_l1", "V", 1]


def schema_of(described):
    """A schema that has the described instruments with their channels."""
    channels = {instrument: count for instrument, count, _ in described}
    return batch.encode_schema([["m", "p", [CHANNEL] * channels.get(i, 1)] for i in range(max(channels or [0]) + 1)])


def tables_of(described):
    tables = []
    for instrument, channels, samples in described:
        table = batch.Table(instrument, channels)
        for time_ms, trust, values, qualities in samples:
            table.add(time_ms, trust, values, qualities)
        tables.append(table)
    return tables


def seal(signer, gateway_id, seq, described, events):
    """The sealed bytes of one described batch, by this interpreter."""
    header = batch.Header(
        prev=bytes(32) if seq else None,
        boot=1,
        cause=1,
        sampled=seq,
        dropped=0,
        receipt_seq=None,
        settings_id=b"s" * 16,
        schema=schema_of(described),
        with_schema=seq == 0,
    )
    payload = finish(batch.payload_steps(header, tables_of(described), events))
    return finish(batch.seal_steps(signer, gateway_id, EPOCH, seq, payload))


def signer_and_id():
    return p256.SoftwareSigner(KEY), cose.thumbprint(p256.public_key(KEY))


def main():
    signer, gateway_id = signer_and_id()
    with open(sys.argv[1]) as file:
        for seq, described, events in json.load(file):
            print(seal(signer, gateway_id, seq, described, events).hex())


if __name__ == "__main__":
    main()
