"""A bus of DL/T 645 meters on a serial port of this computer. The gateway's own client decides what is an answer."""

from __future__ import annotations

import time

from host_tools.base.files import why
from host_tools.meters.lines.serial_bus import SerialBus, clock_us
from parkgate.errors import LinkError, ModbusError, ModbusTimeout
from parkgate.meters.dlt645.client import Client
from parkgate.meters.dlt645.frame import READ, READ_ADDRESS, Reply

REPLY_TIMEOUT_MS = 600  # a meter answers within 500 ms
_EXPECTED_BYTES = 20
_PATIENCE_S = 10.0


class Dlt645Bus(SerialBus):
    """One line, opened by its path. Use as a context manager. Raises LinkError when the port does not open,
    SettingsError when it cannot do this baud rate and parity."""

    def __init__(self, port: str, baud: int, parity: str = "E", reply_timeout_ms: int = REPLY_TIMEOUT_MS):
        super().__init__(port, baud, parity, reply_timeout_ms)
        self.heard: set[bytes] = set()  # addresses of all meters whose frames came by
        self.meters = Client(baud, reply_timeout_ms * 1000)
        self.meters.collect(self.heard)

    def __enter__(self) -> Dlt645Bus:
        return self

    def ask(self, address: bytes, identifier: bytes = b"", function: int = READ) -> Reply:
        """The credited answer to one read, READ_ADDRESS without an identifier. Raises the ModbusError that names what
        came instead, LinkError when the port is gone."""
        client = self.meters
        function = function if identifier else READ_ADDRESS
        deadline = time.monotonic() + _PATIENCE_S
        while not client.may_ask(address, function, 0, clock_us(), identifier):
            probe = client.probe(address, function, identifier, 0, clock_us())
            if time.monotonic() > deadline or probe is None:
                raise ModbusTimeout(f"{client.name(address)} owes an older answer")
            self._one(address, *probe, True)
            self._take(50_000)
        event = self._one(address, function, identifier, _EXPECTED_BYTES, False)
        if isinstance(event, ModbusError):
            raise event
        return event

    def listen(self, seconds: float) -> None:
        """Take what comes within this time from any meter."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._take(int(left * 1e6))

    def _one(self, address: bytes, function: int, identifier: bytes, content: int, probe: bool):
        client = self.meters
        while wait_us := client.wait_us(address, clock_us(), function, identifier):
            self._take(wait_us)
        self._take(0)
        request = client.request(address, function, identifier, content, clock_us(), probe)
        try:
            self._serial.write(request)
        except OSError as error:
            raise LinkError(f"{self.port}: {why(error)}") from None
        while True:
            due_us = client.due_us(clock_us())
            event = self._take(due_us or 0)
            if event is not None:
                return event

    def _take(self, wait_us: int):
        """Take what comes within `wait_us`; what the client makes of it."""
        deadline = time.monotonic() + wait_us / 1e6
        try:
            while not (waiting := self._serial.in_waiting) and time.monotonic() < deadline:
                time.sleep(0.001)
            data = self._serial.read(waiting)
        except OSError as error:
            raise LinkError(f"{self.port}: {why(error)}") from None
        return self.meters.receive(data, clock_us()) if data else self.meters.poll(clock_us())
