"""Runs on MicroPython: looks names up by hal.resolver while another task counts how long the loop ever stands still.

micropython resolver_device.py TIMEOUT_MS HOST SERVER[,SERVER...] [HOST SERVERS]...
"""

# pyright: reportAttributeAccessIssue=false, reportIncompatibleMethodOverride=false

import asyncio
import json
import sys
import time

from hal.net import resolve
from parkgate.errors import LinkError

gap_ms = 0


async def watch():
    global gap_ms
    while True:
        before = time.ticks_ms()
        await asyncio.sleep_ms(5)
        gap_ms = max(gap_ms, time.ticks_diff(time.ticks_ms(), before) - 5)


async def main():
    watching = asyncio.create_task(watch())
    found = []
    timeout_ms, rest = int(sys.argv[1]), sys.argv[2:]
    for host, servers in zip(rest[::2], rest[1::2]):
        before = time.ticks_ms()
        try:
            said = await resolve(host, servers.split(","), timeout_ms)
        except LinkError as e:
            said = str(e)
        found.append([said, time.ticks_diff(time.ticks_ms(), before)])
    watching.cancel()
    print(json.dumps({"found": found, "gap_ms": gap_ms}))


asyncio.run(main())
