"""A barcode scanner on a UART: its codes go to the floor, and the answer goes back on the same line, for a display or
a buzzer that listens there: `+` and what was done, or `-` and why not."""

import asyncio

from parkgate.errors import LinkError, ParkgateError
from parkgate.sensing import scans

_READ_MS = 1000
_AGAIN_MS = 5000
_STATION_MS = 60000  # a machine's tag holds so long for what is scanned after it


class Scanner:
    """`line` has async `read(timeout_ms)` and `write(data)`; `here` are the places of the stations that share this
    scanner. With more than one, a machine's tag is scanned first; the first station is meant without it."""

    def __init__(self, line, floor, here: list, log):
        self._line = line
        self._floor = floor
        self._here = here
        self._station = here[0]
        self._log = log
        self._scans = scans.Scans()

    async def run(self):
        """Read codes from the scanner and answer each; this does not end."""
        rest_ms = 0
        while True:
            try:
                data = await self._line.read(_READ_MS)
            except LinkError as e:
                self._log.error("scanner", str(e))
                await asyncio.sleep_ms(_AGAIN_MS)
                continue
            rest_ms = 0 if data else rest_ms + _READ_MS
            if rest_ms >= _STATION_MS:
                self._station = self._here[0]
            refused = self._scans.refused
            for kind, body in self._scans.feed(data):
                await self._take(kind, body)
            if self._scans.refused != refused:
                self._log.info("scanner", "%d lines were no code" % self._scans.refused)
                await self._say("- no code")

    async def _take(self, kind, body):
        floor = self._floor
        try:
            if kind == scans.STATION:
                station = floor.station(body)
                if station not in self._here:
                    await self._say("- no machine " + body)
                    return
                self._station = station
                await self._say("+ at " + body)
                return
            done = floor.enter(self._station, kind, body)
        except ParkgateError as e:
            self._log.info("scanner", str(e))
            await self._say("- " + str(e))
            return
        if done:
            self._log.info("scanner", done)
            await self._say("+ " + done)

    async def _say(self, text):
        try:
            await self._line.write((text + "\r\n").encode())
        except LinkError:
            pass  # nobody has to listen
