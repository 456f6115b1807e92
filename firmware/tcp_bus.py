"""A bus of Modbus TCP: one connection, one exchange at a time, every wait bounded. Loaded where settings name one.

A connection is opened when it is needed, and kept. Another end that closes a connection which lay idle is common: then
the question is asked once more on a new one. A connection that fails is tried again after a wait that doubles up to a
minute; a part of it is drawn by chance, so that the gateways of a hall do not all call at once after a power cut.
"""

import asyncio

from parkgate.errors import LinkError, ModbusError, ModbusTimeout

_CONNECT_MS = 3000
_BACKOFF_MS_MIN, _BACKOFF_MS_MAX = 1000, 60000
_SILENCES_MAX = 3  # so many requests in a row without any frame: the connection is taken for dead
_PIECE_BYTES = 512


class TcpBus:
    """The calls of bus.ModbusBus. `connect(host, port, timeout_ms)` gives (reader, writer); it brings the network up
    and looks a name up. `client` is a modbus.tcp.TcpClient."""

    idle = False  # nothing is lost between exchanges: what comes waits in the connection and names its request

    def __init__(self, connect, host: str, port: int, client, ticks_us, mono_ms):
        self._connect = connect
        self._host = host
        self._port = port
        self.client = client
        self._ticks_us = ticks_us
        self._mono_ms = mono_ms
        self._lock = asyncio.Lock()
        self._reader = self._writer = None
        self._again_ms = 0
        self._failures = 0  # connections in a row that failed, or gave no answer
        self.connections = self.refusals = self.breaks = 0

    async def exchange(self, unit_id: int, function: int, address: int, content):
        """The credited Reply. Raises the ModbusError that names what came instead; no connection is a ModbusTimeout."""
        async with self._lock:
            kept = self._reader is not None
            if not kept:
                await self._open()
            wait_us = self.client.wait_us(unit_id, self._ticks_us())
            if wait_us:
                await asyncio.sleep_ms((wait_us + 999) // 1000)
            try:
                return await self._ask(unit_id, function, address, content)
            except OSError as e:
                if not kept:
                    raise self._broken(e) from None
            await self._open()  # it may have been closed while it lay idle
            try:
                return await self._ask(unit_id, function, address, content)
            except OSError as e:
                raise self._broken(e) from None

    async def confirm(self, _doubtful):
        """Nothing to ask: each answer names its request."""
        return True

    def line(self) -> tuple:
        """The state of the connection and what was counted on it, as (name, value)."""
        state = "open" if self._reader else "closed"
        line = self.client.line
        return (
            ("connection", "%s:%d %s" % (self._host, self._port, state)),
            ("connections opened", self.connections),
            ("connections refused", self.refusals),
            ("connections broken", self.breaks),
            ("foreign frames", line.foreign_frames),
        )

    async def _ask(self, unit_id, function, address, content):
        """One exchange on the open connection. OSError, and the connection is closed, when it broke."""
        client = self.client
        request = client.request(unit_id, function, address, content, self._ticks_us())
        try:
            reply = await self._talk(request)
            self._failures = 0
            return reply
        except OSError:
            self.breaks += 1
            await self._close()
            raise
        finally:
            client.abandon(self._ticks_us())
            if client.broken or client.silences >= _SILENCES_MAX:
                self._wait()
                await self._close()

    async def _talk(self, request):
        client, ticks_us = self.client, self._ticks_us
        self._writer.write(request)
        try:
            await asyncio.wait_for_ms(self._writer.drain(), _CONNECT_MS)
        except asyncio.TimeoutError:
            raise OSError("nothing is taken") from None
        while True:
            wait_ms = max(1, (client.due_us(ticks_us()) + 999) // 1000)
            try:
                data = await asyncio.wait_for_ms(self._reader.read(_PIECE_BYTES), wait_ms)
                if not data:
                    raise OSError("closed by the other end")
                event = client.receive(data, ticks_us())
            except asyncio.TimeoutError:
                event = client.poll(ticks_us())
            if isinstance(event, ModbusError):
                raise event
            if event is not None:
                return event

    async def _open(self):
        now = self._mono_ms()
        if now < self._again_ms:
            raise ModbusTimeout("%s:%d: no connection; tried again later" % (self._host, self._port))
        try:
            self._reader, self._writer = await self._connect(self._host, self._port, _CONNECT_MS)
        except LinkError as e:
            self.refusals += 1
            self._wait()
            raise ModbusTimeout(str(e)) from None
        self.connections += 1
        self.client.opened()

    def _broken(self, error):
        self._wait()
        return ModbusTimeout("%s:%d: the connection broke: %s" % (self._host, self._port, error))

    def _wait(self):
        """The connection failed: no other one for a while, which doubles with each failure."""
        longest_ms = min(_BACKOFF_MS_MIN << min(self._failures, 6), _BACKOFF_MS_MAX)
        self._failures += 1
        drawn = self._ticks_us() & 0xFF  # microseconds since the start are chance enough
        self._again_ms = self._mono_ms() + longest_ms // 2 + longest_ms * drawn // 510

    async def _close(self):
        writer, self._reader, self._writer = self._writer, None, None
        if writer:
            writer.close()
            try:
                await asyncio.wait_for_ms(writer.wait_closed(), _CONNECT_MS)
            except (OSError, asyncio.TimeoutError):
                pass  # it is gone either way
