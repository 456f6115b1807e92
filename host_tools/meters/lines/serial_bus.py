"""A Modbus bus on a serial port of this computer: a USB-RS-485 adapter, or a pseudo-terminal of simulated meters.

The gateway's own client decides what is an answer; here its decisions are carried out, one exchange at a time.
"""

from __future__ import annotations

import time

import serial

from host_tools.base.files import why
from parkgate.errors import (
    LinkError,
    ModbusCrcError,
    ModbusError,
    ModbusForeign,
    ModbusOwed,
    ModbusShort,
    SettingsError,
)
from parkgate.meters.modbus.client import Client, Reply

try:
    import termios

    _REFUSED: tuple[type[Exception], ...] = (termios.error, ValueError)
except ImportError:  # not on Windows
    _REFUSED = (ValueError,)

_POLL_S = 0.0005
_SILENCE_READS = 1000
_PATIENCE_S = 10.0


def clock_us() -> int:
    """A clock that wraps as a board's does."""
    return time.monotonic_ns() // 1000 % (1 << 30)


def _in_words(error: Exception) -> str:
    return why(error) if isinstance(error, OSError) else str(error)


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
            raise LinkError(f"{port} does not open: {_in_words(error)}") from None
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
        self._listen(unit_id)
        while not self.client.may_ask(unit_id, function, count, clock_us()):
            if time.monotonic() > deadline:
                raise ModbusOwed(f"unit {unit_id}: a reply to an older request may still come; not asked")
            probe = self.client.probe(unit_id, function, address, count, clock_us())
            if probe:
                other, place, length = probe
                self._exchange(unit_id, other, place, length, True)
            self._step(50_000)
        if owed_us := self.client.owed_us(unit_id, function, count, clock_us()):
            self._listen(unit_id, owed_us)

    def _listen(self, unit_id: int, until_us: int = 0) -> None:
        """Take what the port holds and what comes until the line has been silent, and for `until_us` at least."""
        client = self.client
        for _ in range(_SILENCE_READS):
            if data := self._drain():
                client.idle(data, clock_us())
                continue
            wait_us = max(client.wait_us(unit_id, clock_us()), until_us)
            until_us = 0
            if not wait_us:
                client.idle(b"", clock_us())
                return
            self._step(wait_us)
        raise ModbusForeign("the line is never silent: something else talks on it")

    def _drain(self) -> bytes:
        """What the port holds, without waiting."""
        try:
            return self._serial.read(self._serial.in_waiting)
        except (OSError, *_REFUSED) as error:
            raise LinkError(f"{self.port}: {_in_words(error)}") from None

    def _exchange(self, unit_id: int, function: int, address: int, count: int, probe: bool = False):
        client = self.client
        self._listen(unit_id)
        request = client.request(unit_id, function, address, count, clock_us(), probe)
        early = self._drain()  # the system does not tell when the last bit leaves: before this no answer can come
        try:
            self._serial.write(request)
        except OSError as error:
            raise LinkError(f"{self.port}: {_in_words(error)}") from None
        client.sent(early, clock_us())
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
            raise LinkError(f"{self.port}: {_in_words(error)}") from None
        return self.client.receive(data, clock_us()) if data else self.client.poll(clock_us())
