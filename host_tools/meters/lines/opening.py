"""A bus by what a person types: a serial port, or tcp:HOST[:PORT]."""

from __future__ import annotations

from host_tools.meters.lines.serial_bus import SerialBus
from host_tools.meters.lines.tcp_bus import PREFIX, REPLY_TIMEOUT_MS, TcpBus

Bus = SerialBus | TcpBus
PORT_HELP = "serial port of the RS-485 adapter, such as /dev/ttyUSB0 or COM5; or tcp:HOST[:PORT] for Modbus TCP"


def is_tcp(port: str) -> bool:
    """Whether a port is an address of Modbus TCP."""
    return port.startswith(PREFIX)


def open_bus(port: str, baud: int, parity: str, reply_timeout_ms: int) -> Bus:
    """The bus, opened; baud rate and parity mean nothing over TCP, where a reply may take 1.5 s at least. Raises
    LinkError, SettingsError."""
    if is_tcp(port):
        return TcpBus(port, max(reply_timeout_ms, REPLY_TIMEOUT_MS))
    return SerialBus(port, baud, parity, reply_timeout_ms)
