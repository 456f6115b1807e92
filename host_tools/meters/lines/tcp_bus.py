"""Modbus TCP from this computer: a meter with a network, or a gateway with several meters behind one address.

The gateway's own client decides what is an answer; here its decisions are carried out, one exchange at a time.
"""

from __future__ import annotations

import contextlib
import socket

from host_tools.base.files import why
from host_tools.meters.lines.serial_bus import clock_us
from parkgate.errors import LinkError, ModbusError, SettingsError
from parkgate.meters.modbus.frame import Reply
from parkgate.meters.modbus.tcp import TcpClient, parse

PREFIX = "tcp:"
REPLY_TIMEOUT_MS = 1500  # a gateway first waits for the meter behind it, then says that it is silent
_CONNECT_S = 5.0
_SILENCES_MAX = 3
_PIECE_BYTES = 4096


class TcpBus:
    """One connection, opened by "tcp:HOST" or "tcp:HOST:PORT". Use as a context manager. Raises SettingsError for what
    is no such address, LinkError when nobody takes the connection."""

    def __init__(self, device: str, reply_timeout_ms: int = REPLY_TIMEOUT_MS):
        where = parse(device)
        if where is None:
            raise SettingsError(f"{device}: must be as tcp:192.168.1.50 or tcp:meters.example:502")
        self.client = TcpClient(reply_timeout_ms * 1000)
        self.port = device
        self._where = where
        self._socket: socket.socket | None = None
        self._open()

    def __enter__(self) -> TcpBus:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def read(self, unit_id: int, function: int, address: int, count: int) -> Reply:
        """The credited answer to one read; asked once more on a new connection when the old one was closed. Raises the
        ModbusError that names what came instead, LinkError when there is no connection."""
        kept = self._socket is not None
        try:
            return self._exchange(unit_id, function, address, count)
        except OSError as error:
            if not kept:
                raise LinkError(f"{self.port}: the connection broke: {why(error)}") from None
        try:
            return self._exchange(unit_id, function, address, count)
        except OSError as error:
            raise LinkError(f"{self.port}: the connection broke: {why(error)}") from None

    def _exchange(self, unit_id: int, function: int, address: int, count: int) -> Reply:
        connection = self._socket or self._open()
        client = self.client
        request = client.request(unit_id, function, address, count, clock_us())
        try:
            connection.settimeout(_CONNECT_S)
            connection.sendall(request)
            while True:
                connection.settimeout(max(0.001, (client.due_us(clock_us()) or 0) / 1e6))
                try:
                    data = connection.recv(_PIECE_BYTES)
                    if not data:
                        raise ConnectionError("closed by the other end")
                    event = client.receive(data, clock_us())
                except TimeoutError:
                    event = client.poll(clock_us())
                if isinstance(event, ModbusError):
                    raise event
                if event is not None:
                    return event
        except OSError:
            self._close()
            raise
        finally:
            client.abandon(clock_us())
            if client.broken or client.silences >= _SILENCES_MAX:
                self._close()

    def _open(self) -> socket.socket:
        host, port = self._where
        try:
            self._socket = socket.create_connection((host, port), _CONNECT_S)
        except OSError as error:
            raise LinkError(f"no connection to {host}:{port}: {why(error)}") from None
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.client.opened()
        return self._socket

    def _close(self) -> None:
        connection, self._socket = self._socket, None
        if connection:
            with contextlib.suppress(OSError):
                connection.close()
