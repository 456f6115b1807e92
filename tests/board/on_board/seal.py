"""Runs on the board: one batch of 240 samples of 3 channels, from rows to sealed bytes."""

import struct

from measure import Steps, report

from hal.comb_table import CombTable
from parkgate.wire import batch, p256


class Signer:
    def sign_steps(self, digest):
        return p256.sign_steps(KEY, digest)


def columns():
    with open("columns.bin", "rb") as file:
        while True:
            head = file.read(3)
            if not head:
                return
            name = file.read(head[0]).decode()
            count = head[1] << 8 | head[2]
            yield name, struct.unpack("<%dq" % count, file.read(8 * count))


def table():
    wanted = ("power", "energy", "voltage")
    rows = dict((name, values) for name, values in columns() if name in wanted)
    made = batch.Table(0, 3)
    time_ms = 1700000000000
    for i in range(240):
        time_ms += 1000 + (i * 7) % 3
        made.add(time_ms, 0, [rows[name][i] for name in wanted])
    return made


p256.use_table(CombTable("p256.tbl").point)
KEY = p256.key_from_entropy(bytes(range(40)))
header = batch.Header(
    prev=bytes(32),
    boot=7,
    cause=1,
    sampled=720,
    dropped=0,
    receipt_seq=3,
    settings_id=bytes(16),
    schema=b"",
    with_schema=False,
)
payload = Steps(batch.payload_steps(header, [table()], []))
report("payload of 240 x 3 readings", payload.total_us / 1000, "ms")
report("payload, longest step", payload.longest_us / 1000, "ms")
report("payload, heap used up", payload.churn_bytes, "bytes")
sealed = Steps(batch.seal_steps(Signer(), bytes(32), bytes(16), 4, payload.result))
report("seal", sealed.total_us / 1000, "ms")
report("seal, longest step", sealed.longest_us / 1000, "ms")
report("sealed batch", len(sealed.result) / 720, "bytes/reading")
