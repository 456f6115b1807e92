"""Sockets: the one place that opens them, always with a deadline; with TLS where a certificate is given.

TLS checks the broker's certificate against that one certificate, its name against the host, and its dates against the
board's real-time clock: the caller has set this clock (DeviceBoard.connect does). mbedTLS never sees
the socket: it reads from memory and writes to memory, so that it does no more than we give it bytes for (hal.handshake
says why), and so that asyncio waits for a socket of MicroPython's own.
"""

import asyncio
import io
import sys

from hal.memory import tls_room
from parkgate.errors import LinkError, NoAnswer, TlsError

_PIECE_BYTES = 512


async def connect(host: str, port: int, timeout_ms: int, ca: bytes = b"", pause=None, servers=()):
    """(reader, writer) of a TCP connection; `ca` (DER) asks for TLS. `pause` is a coroutine function that returns when
    the next 0.7 s are free: TLS needs some. `servers`: see hal.resolver. Raises LinkError saying what failed."""
    try:
        address = await resolve(host, servers, timeout_ms)
        reader, writer = await asyncio.wait_for_ms(asyncio.open_connection(address, port), timeout_ms)
    except asyncio.TimeoutError:
        raise _late(host, port, timeout_ms) from None
    except OSError as e:
        raise LinkError("no connection to %s:%d: %s" % (host, port, e)) from None
    if ca:
        reader = writer = await _secured(reader, host, port, timeout_ms, ca, pause)
    return reader, writer


def _late(host, port, timeout_ms):
    return NoAnswer("no connection to %s:%d within %d ms" % (host, port, timeout_ms))


async def _secured(stream, host, port, timeout_ms, ca, pause):
    if pause:
        await pause()
    secured = TlsStream(stream, host, port)
    try:
        from hal.handshake import begin, shake_hands

        secured.tls = begin(secured.memory, host, ca)
        await shake_hands(secured, timeout_ms, pause)
        return secured
    except BaseException as e:
        secured.close()
        await secured.wait_closed()  # close() alone leaves the socket to the collector
        if isinstance(e, MemoryError):
            raise TlsError("not enough memory for TLS") from None
        if isinstance(e, asyncio.TimeoutError):
            raise _late(host, port, timeout_ms) from None
        raise
    finally:
        _forget_handshake()


def _forget_handshake():
    """Out of memory with what only a handshake needs."""
    sys.modules.pop("hal.handshake", None)
    package = sys.modules.get("hal")  # as a board has it, modules are in no package
    if hasattr(package, "handshake"):
        delattr(package, "handshake")


class _Memory(io.IOBase):
    """What mbedTLS has for a socket: `rx` is what it may read now, `tx` what it has written."""

    def __init__(self):
        self.rx = b""
        self.ended = False
        self.tx = bytearray()

    def readinto(self, buffer):
        rx = self.rx
        if not rx:
            return 0 if self.ended else None
        count = min(len(buffer), len(rx))
        buffer[:count] = rx[:count]
        self.rx = rx[count:] if count < len(rx) else b""
        return count

    def write(self, data):
        self.tx.extend(data)
        return len(data)

    def ioctl(self, _request, _argument):
        return 0


class TlsStream:
    """TLS over an asyncio stream, with the same calls; its errors are sentences. Close it in any case."""

    def __init__(self, stream, host, port):
        self.stream = stream
        self.host = host
        self.port = port
        self.memory = _Memory()
        self.tls = None
        self._unsent = b""
        self._spoken = False
        tls_room.take()

    def write(self, data):
        self._unsent = self._unsent + data if self._unsent else data

    async def drain(self):
        try:
            while self._unsent:
                count = self.tls.write(self._unsent)
                if count is None:
                    await self._more()
                else:
                    self._unsent = self._unsent[count:]
            if self.memory.tx:
                data, self.memory.tx = self.memory.tx, bytearray()
                self.stream.write(data)
                await self.stream.drain()
        except (OSError, ValueError) as e:
            raise self.error(e) from None

    async def _more(self):
        data = await self.stream.read(_PIECE_BYTES)
        self.memory.ended = not data
        self.memory.rx = memoryview(data)

    async def read(self, count):
        """Up to `count` bytes, b"" at the end."""
        buffer = bytearray(count)
        try:
            while True:
                got = self.tls.readinto(buffer)
                if got is not None:
                    break
                await self._more()
        except (OSError, ValueError) as e:
            raise self.error(e) from None
        self._spoken = True
        return bytes(memoryview(buffer)[:got])

    async def readexactly(self, count):
        data = await self.read(count)
        while len(data) < count:
            more = await self.read(count - len(data))
            if not more:
                raise EOFError
            data += more
        return data

    def close(self):
        if self.tls:
            self.tls.close()
        if self.memory:
            self.tls = self.memory = None
            tls_room.give_back()
        self.stream.close()

    async def wait_closed(self):
        await self.stream.wait_closed()

    def error(self, error):
        """What is raised for an error of the stream. Before the broker has said anything it is of the handshake: some
        brokers refuse at its very end."""
        if self._spoken:
            return error if isinstance(error, OSError) else OSError(str(error))
        from hal.handshake import in_words

        return TlsError("TLS: " + in_words(error, self.host, self.port))


async def resolve(host: str, servers, timeout_ms: int) -> str:
    """The address of a name as text. Raises LinkError."""
    if is_address(host):
        return host
    from hal.resolver import address

    return await address(host, servers, timeout_ms)


def is_address(host: str) -> bool:
    """Whether this is an address in digits: then nothing is asked."""
    return ":" in host or all([c in "0123456789." for c in host])
