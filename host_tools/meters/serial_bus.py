"""A Modbus bus on a serial port of this computer: a USB-RS-485 adapter, or a pseudo-terminal of simulated meters.

The gateway's own client decides what is an answer; here its decisions are carried out, one exchange at a time.
"""

from __future__ import annotations

import time

import serial

from parkgate.errors import LinkError, ModbusCrcError, ModbusError, ModbusShort, ModbusTimeout, SettingsError
from parkgate.meters.modbus.client import Client, Reply

try:
    import termios

    _REFUSED: tuple[type[Exception], ...] = (termios.error, ValueError)
except ImportError:  # not on Windows
    _REFUSED = (ValueError,)

_POLL_S = 0.0005
_PROBES = (1, 2, 3)
_PATIENCE_S = 10.0


def clock_us() -> int:
    """A clock that wraps as a board's does."""
    return time.monotonic_ns() // 1000 % (1 << 30)


class SerialBus:
    """One line, opened by its path. Use as a context manager. Raises LinkError when the port does not open,
    SettingsError when it cannot do this baud rate and parity."""

    def __init__(self, port: str, baud: int, parity: str = "N", reply_timeout_ms: int = 200):
        self.client = Client(baud, reply_timeout_ms * 1000)
        try:
            self._serial = serial.Serial(port, baud, parity=parity, timeout=0, exclusive=True)
        except _REFUSED as error:
            raise SettingsError(f"{port} cannot do {baud} baud with parity {parity}: {error}") from None
        except OSError as error:  # and serial.SerialException, which is one
            raise LinkError(f"{port} does not open: {error}") from None
        self.port = port

    def __enter__(self) -> SerialBus:
        return self

    def __exit__(self, *_: object) -> None:
        self._serial.close()

    def read(self, unit_id: int, function: int, address: int, count: int) -> Reply:
        """The credited answer to one read; asked once more when it came damaged. Raises the ModbusError that names what
        came instead, LinkError when the port is gone."""
        self._settle(unit_id, function, address, count)
        event = self._exchange(unit_id, function, address, count)
        if isinstance(event, (ModbusCrcError, ModbusShort)):
            self._settle(unit_id, function, address, count)
            event = self._exchange(unit_id, function, address, count)
        if isinstance(event, ModbusError):
            raise event
        return event

    def _settle(self, unit_id: int, function: int, address: int, count: int) -> None:
        """Until no older answer of the same shape can come any more. Raises ModbusTimeout."""
        deadline = time.monotonic() + _PATIENCE_S
        while not self.client.may_ask(unit_id, function, count, clock_us()):
            if time.monotonic() > deadline:
                raise ModbusTimeout(f"unit {unit_id} owes an older answer")
            for probe in _PROBES:
                if probe != count and self.client.may_ask(unit_id, function, probe, clock_us()):
                    self._exchange(unit_id, function, address, probe, True)
                    break
            self._step(50_000)

    def _exchange(self, unit_id: int, function: int, address: int, count: int, probe: bool = False):
        client = self.client
        while wait_us := client.wait_us(unit_id, clock_us()):
            self._step(wait_us)
        request = client.request(unit_id, function, address, count, clock_us(), probe)
        try:
            self._serial.write(request)
        except OSError as error:
            raise LinkError(f"{self.port}: {error}") from None
        while True:
            due_us = client.due_us(clock_us())
            event = self._step(due_us or 0)
            if event is not None:
                return event

    def _step(self, wait_us: int):
        """Take what comes within `wait_us`; what the client makes of it."""
        try:
            deadline = time.monotonic() + max(wait_us, 500) / 1e6
            while not (waiting := self._serial.in_waiting) and time.monotonic() < deadline:
                time.sleep(_POLL_S)
            data = self._serial.read(waiting)
        except (OSError, *_REFUSED) as error:
            raise LinkError(f"{self.port}: {error}") from None
        return self.client.receive(data, clock_us()) if data else self.client.poll(clock_us())
