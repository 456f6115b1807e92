"""Sockets: the one place that opens them, always with a deadline; with TLS where a certificate is given.

TLS checks the broker's certificate against that one certificate, its name against the host, and its dates against the
board's real-time clock: whoever calls sees to it that this clock is set (DeviceBoard.connect does). MicroPython makes
the handshake in the first write and reads; what goes wrong there is told as TlsError, in words.
"""

import asyncio
import gc
import socket
import time

from parkgate.errors import LinkError, TlsError


async def connect(host: str, port: int, timeout_ms: int, ca: bytes = b""):
    """(reader, writer) of a TCP connection; `ca` (DER) asks for TLS. Raises LinkError saying what failed."""
    tls = {"ssl": _context(ca), "server_hostname": host} if ca else {}
    try:
        reader, writer = await asyncio.wait_for_ms(asyncio.open_connection(host, port, **tls), timeout_ms)
    except asyncio.TimeoutError:
        raise LinkError("no connection to %s:%d within %d ms" % (host, port, timeout_ms)) from None
    except OSError as e:
        raise LinkError("no connection to %s:%d: %s" % (host, port, e)) from None
    except MemoryError:
        raise TlsError("not enough memory for TLS") from None
    if ca:
        reader = writer = _TlsStream(reader, host, port)
    return reader, writer


def _context(ca):
    import ssl  # only where it is wanted

    gc.collect()  # one piece of 17 kB is needed
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_mode = ssl.CERT_REQUIRED
    try:
        context.load_verify_locations(cadata=ca)
    except (OSError, ValueError) as e:
        raise TlsError("broker.ca is no certificate in DER: %s" % e) from None
    return context


class _TlsStream:
    """An asyncio stream whose errors are said in words."""

    def __init__(self, stream, host, port):
        self._stream = stream
        self._host = host
        self._port = port
        self._spoken = False

    def write(self, data):
        try:
            self._stream.write(data)
        except (OSError, ValueError) as e:
            raise self._error(e) from None

    async def drain(self):
        try:
            await self._stream.drain()
        except (OSError, ValueError) as e:
            raise self._error(e) from None

    async def read(self, count):
        try:
            data = await self._stream.read(count)
        except (OSError, ValueError) as e:
            raise self._error(e) from None
        self._spoken = True
        return data

    async def readexactly(self, count):
        try:
            data = await self._stream.readexactly(count)
        except (OSError, ValueError, EOFError) as e:
            raise self._error(e) from None
        self._spoken = True
        return data

    def close(self):
        self._stream.close()

    async def wait_closed(self):
        await self._stream.wait_closed()

    def _error(self, error):
        """What is raised for an error of the stream."""
        if self._spoken:
            return error if isinstance(error, OSError) else OSError(str(error))
        text = str(error)
        if "starts in the future" in text:
            why = "the broker's certificate is not valid yet by this gateway's clock (%s): set network.ntp, or type "
            why = (why + "`time set`") % _today()
        elif "has expired" in text:
            why = "the broker's certificate has expired, by this gateway's clock (%s)" % _today()
        elif "Common Name" in text:
            why = "the broker's certificate is not for the name %s (broker.host)" % self._host
        elif "not correctly signed" in text:
            why = "the broker's certificate does not come from broker.ca"
        elif isinstance(error, ValueError):
            why = text.strip()
        else:
            why = "%s:%d ends the handshake; does it talk TLS? (%s)" % (self._host, self._port, text or "closed")
        return TlsError("TLS: " + why)


def _today():
    return "%d-%02d-%02d" % time.gmtime()[:3]


def resolve(host: str) -> str:
    """The address of a name as text. Raises LinkError. The look-up blocks."""
    try:
        address = socket.getaddrinfo(host, 1)[0][-1]
    except OSError as e:
        raise LinkError("no address for %s: %s" % (host, e)) from None
    return address[0] if isinstance(address, tuple) else "found"
