"""The technician's line on a real board: the USB or UART port that MicroPython's own prompt uses."""

import asyncio
import select
import sys
import time

_LOOK_MS = 10
_BYTES_MAX = 256


class StandardConsole:
    """Reads and writes the standard streams. A read takes only what is there: they cannot be read ahead."""

    def __init__(self):
        self._poll = select.poll()
        self._poll.register(sys.stdin, select.POLLIN)

    async def read(self, timeout_ms: int) -> bytes:
        """What has arrived, b"" when nothing did within `timeout_ms`."""
        deadline = time.ticks_add(time.ticks_ms(), timeout_ms)
        found = bytearray()
        while True:
            while len(found) < _BYTES_MAX and self._poll.poll(0):
                found += sys.stdin.buffer.read(1)
            left = time.ticks_diff(deadline, time.ticks_ms())
            if found or left <= 0:
                return bytes(found)
            await asyncio.sleep_ms(min(left, _LOOK_MS))

    async def write(self, data: bytes):
        """Send `data`. Where nobody reads, the driver drops it after half a second."""
        sys.stdout.buffer.write(data)
