"""A Modbus bus whose serial port fails in the middle of an exchange, or whose caller goes: the next exchange works."""

import asyncio

from bus import ModbusBus
from check import equal, raises, true
from parkgate.errors import LinkError
from parkgate.meters.modbus.client import Client
from parkgate.meters.modbus.frame import frame


class Line:
    """A meter that answers at once. `fails` names the calls that raise, by turn; `silent` waits for ever."""

    def __init__(self, clock, fails=(), silent=False):
        self.clock = clock
        self.fails = list(fails)
        self.silent = silent
        self.answers = b""

    def _turn(self, what):
        if self.fails and self.fails[0] == what:
            self.fails.pop(0)
            raise LinkError("the port failed at " + what)

    async def write(self, data):
        self._turn("write")
        early, self.answers = self.answers, frame(bytes((1, data[1], 2 * data[5])) + b"\x00\x01\x00\x02"[: 2 * data[5]])
        return early

    def drain(self):
        data, self.answers = self.answers, b""
        return data

    async def read(self, timeout_ms):
        self._turn("read")
        if self.silent:
            await asyncio.sleep(3600)
        self.clock[0] += 5000 if self.answers else 1000 * timeout_ms
        data, self.answers = self.answers, b""
        return data


def bus_on(line, clock):
    return ModbusBus(line, Client(9600), lambda: clock[0])


def test_a_port_that_failed_is_used_again():
    for fails in (("write",), ("read",), ("write", "read", "write", "read")):
        clock = [0]
        bus = bus_on(Line(clock, fails), clock)
        for _ in fails:
            raises(LinkError, asyncio.run, bus.exchange(1, 4, 0, 2))
            clock[0] += 1000000
        clock[0] += 10000000  # nothing that was owed can still come
        equal(asyncio.run(bus.exchange(1, 4, 0, 2)).data, b"\x00\x01\x00\x02")
        equal(bus.client.unit(1).statistics.timeout, len(fails), "each is counted")


def test_whoever_goes_leaves_the_bus_usable():
    clock = [0]
    line = Line(clock, silent=True)
    bus = bus_on(line, clock)

    async def ask_and_go():
        try:
            await asyncio.wait_for(bus.exchange(1, 4, 0, 2), 0.05)
        except asyncio.TimeoutError:
            return True

    true(asyncio.run(ask_and_go()))
    line.silent = False
    line.answers = b""
    clock[0] += 10000000
    equal(asyncio.run(bus.exchange(1, 4, 0, 2)).data, b"\x00\x01\x00\x02")
