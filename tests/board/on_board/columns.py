"""Runs on the board: encoding time of each column in columns.bin (see tests/board/bench.py)."""

import struct

from measure import Steps, report

from parkgate.wire import columns

worst_ms = 0
longest_ms = 0
with open("columns.bin", "rb") as file:
    while True:
        head = file.read(3)
        if not head:
            break
        name = file.read(head[0]).decode()
        count = head[1] << 8 | head[2]
        values = list(struct.unpack("<%dq" % count, file.read(8 * count)))
        steps = Steps(columns.encode_steps(values))
        coder_id, data = steps.result
        if list(columns.decode(coder_id, data, count)) != values:
            raise ValueError("%s does not decode to itself" % name)
        value_ms = steps.total_us / 1000 / count
        worst_ms = max(worst_ms, value_ms)
        longest_ms = max(longest_ms, steps.longest_us / 1000)
        report("encode %s" % name, value_ms, "ms/value")
        report("encode %s, size" % name, len(data) / count, "bytes/value")
        report("encode %s, longest step" % name, steps.longest_us / 1000, "ms")
        report("encode %s, heap used up" % name, steps.churn_bytes, "bytes")
report("encode, slowest column", worst_ms, "ms/value")
report("encode, longest step", longest_ms, "ms")
