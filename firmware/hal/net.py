"""Sockets: the one place that opens them, always with a deadline; with TLS where a certificate is given.

TLS checks the broker's certificate against that one certificate, its name against the host, and its dates against the
board's real-time clock: whoever calls sees to it that this clock is set (DeviceBoard.connect does). What goes wrong in
the handshake is told as TlsError, in words.

A handshake is half a second of an RP2040's time three times over: the certificate's signature, that of the key
exchange, the exchange itself. mbedTLS goes on in one call for as long as it has bytes. So it gets them from memory
instead of from the socket, one message of the handshake at a time, and before each that costs so much the caller is
asked to wait for a pause of its buses.
"""

import asyncio
import gc
import io
import socket
import time

from hal.memory import tls_room
from parkgate.errors import LinkError, TlsError

_PIECE_BYTES = 512
_CHANGE_CIPHER, _HANDSHAKE, _APPLICATION = 20, 22, 23  # types of records
_COSTLY = (11, 12, 14)  # messages of a handshake: Certificate, ServerKeyExchange, ServerHelloDone


async def connect(host: str, port: int, timeout_ms: int, ca: bytes = b"", pause=None):
    """(reader, writer) of a TCP connection; `ca` (DER) asks for TLS. `pause` is a coroutine function that returns when
    the next 0.7 s are free: TLS needs some. Raises LinkError saying what failed."""
    try:
        reader, writer = await asyncio.wait_for_ms(asyncio.open_connection(host, port), timeout_ms)
    except asyncio.TimeoutError:
        raise _late(host, port, timeout_ms) from None
    except OSError as e:
        raise LinkError("no connection to %s:%d: %s" % (host, port, e)) from None
    if ca:
        reader = writer = await _secured(reader, host, port, timeout_ms, ca, pause)
    return reader, writer


def _late(host, port, timeout_ms):
    return LinkError("no connection to %s:%d within %d ms" % (host, port, timeout_ms))


async def _secured(stream, host, port, timeout_ms, ca, pause):
    if pause:
        await pause()
    secured = _TlsStream(stream, host, port)
    try:
        secured.begin(ca)
        await secured.shake_hands(timeout_ms, pause)
        return secured
    except BaseException as e:
        secured.close()
        if isinstance(e, MemoryError):
            raise TlsError("not enough memory for TLS") from None
        if isinstance(e, asyncio.TimeoutError):
            raise _late(host, port, timeout_ms) from None
        raise


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
        self.rx = rx[count:]
        return count

    def write(self, data):
        self.tx.extend(data)
        return len(data)

    def ioctl(self, _request, _argument):
        return 0


class _TlsStream:
    """TLS over an asyncio stream, with the same calls; its errors are said in words."""

    def __init__(self, stream, host, port):
        self._stream = stream
        self._host = host
        self._port = port
        self._memory = _Memory()
        self._tls = None
        self._unsent = b""
        self._spoken = False
        tls_room.take()

    def begin(self, ca):
        """Make ready. Raises TlsError, MemoryError."""
        import ssl  # only where it is wanted

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_verify_locations(cadata=ca)
        except (OSError, ValueError) as e:
            raise TlsError("broker.ca is no certificate in DER: %s" % e) from None
        self._tls = context.wrap_socket(self._memory, server_hostname=self._host, do_handshake_on_connect=False)

    async def shake_hands(self, timeout_ms, pause):
        """Do the handshake; the broker may take `timeout_ms` for each record. Raises TlsError, asyncio.TimeoutError."""
        changed = over = False
        await self._step(b"", False)
        while not over:
            try:
                record = await asyncio.wait_for_ms(self._record(), timeout_ms)
            except (OSError, EOFError) as e:
                raise self._error(e) from None
            over = changed
            changed = changed or record[0] == _CHANGE_CIPHER
            for message in (record,) if changed else _messages(record):
                costly = message[0] == _HANDSHAKE and message[5] in _COSTLY
                if costly and pause:
                    await pause()
                await self._step(message, costly)

    async def _record(self):
        head = await self._stream.readexactly(5)
        if not _CHANGE_CIPHER <= head[0] <= _APPLICATION or head[1] != 3:
            return head  # no TLS at all: mbedTLS will say so
        return head + await self._stream.readexactly(head[3] << 8 | head[4])

    async def _step(self, data, costly):
        """Let the handshake go as far as `data` leads."""
        self._memory.rx = memoryview(data)
        threshold = gc.threshold()
        if costly:
            gc.collect()  # mbedTLS takes and gives back a thousand small pieces: quickest where the heap begins, and
            gc.threshold(-1)  # there is nothing to collect in between
        try:
            self._tls.readinto(bytearray(1))
        except (OSError, ValueError) as e:
            self._stream.write(self._memory.tx)  # the alert that tells the broker why
            raise self._error(e) from None
        finally:
            gc.threshold(threshold)
        await self.drain()

    def write(self, data):
        self._unsent = self._unsent + data if self._unsent else data

    async def drain(self):
        try:
            while self._unsent:
                count = self._tls.write(self._unsent)
                if count is None:
                    await self._more()
                else:
                    self._unsent = self._unsent[count:]
            if self._memory.tx:
                data, self._memory.tx = self._memory.tx, bytearray()
                self._stream.write(data)
                await self._stream.drain()
        except (OSError, ValueError) as e:
            raise self._error(e) from None

    async def _more(self):
        data = await self._stream.read(_PIECE_BYTES)
        self._memory.ended = not data
        self._memory.rx = memoryview(data)

    async def read(self, count):
        """Up to `count` bytes, b"" at the end."""
        buffer = bytearray(count)
        try:
            while True:
                got = self._tls.readinto(buffer)
                if got is not None:
                    break
                await self._more()
        except (OSError, ValueError) as e:
            raise self._error(e) from None
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
        if self._tls:
            self._tls.close()
        if self._memory:
            self._tls = self._memory = None
            tls_room.give_back()
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


def _messages(record):
    """A record that is not encrypted, as one record for each message of the handshake in it."""
    at = 5
    found = []
    while record[0] == _HANDSHAKE and at + 4 <= len(record):
        size = 4 + (record[at + 1] << 16 | record[at + 2] << 8 | record[at + 3])
        if at + size > len(record):
            break
        found.append(record[:3] + bytes((size >> 8, size & 255)) + record[at : at + size])
        at += size
    return found if at == len(record) and found else (record,)


def _today():
    return "%d-%02d-%02d" % time.gmtime()[:3]


def resolve(host: str) -> str:
    """The address of a name as text. Raises LinkError. The look-up blocks."""
    try:
        address = socket.getaddrinfo(host, 1)[0][-1]
    except OSError as e:
        raise LinkError("no address for %s: %s" % (host, e)) from None
    return address[0] if isinstance(address, tuple) else "found"
