"""Sockets: the one place that opens them, always with a deadline."""

import asyncio
import socket

from parkgate.errors import LinkError


async def connect(host: str, port: int, timeout_ms: int):
    """(reader, writer) of a TCP connection. Raises LinkError saying what failed."""
    try:
        return await asyncio.wait_for_ms(asyncio.open_connection(host, port), timeout_ms)
    except asyncio.TimeoutError:
        raise LinkError("no connection to %s:%d within %d ms" % (host, port, timeout_ms)) from None
    except OSError as e:
        raise LinkError("no connection to %s:%d: %s" % (host, port, e)) from None


def resolve(host: str) -> str:
    """The address of a name as text. Raises LinkError. The look-up blocks."""
    try:
        address = socket.getaddrinfo(host, 1)[0][-1]
    except OSError as e:
        raise LinkError("no address for %s: %s" % (host, e)) from None
    return address[0] if isinstance(address, tuple) else "found"
