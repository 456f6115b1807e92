"""A bus of Modbus TCP: one connection, one exchange at a time, every wait bounded. Loaded where settings name one."""

import asyncio

from parkgate.errors import LinkError, ModbusError, ModbusTimeout

_CONNECT_MS = 3000
_BACKOFF_MS_MIN, _BACKOFF_MS_MAX = 1000, 60000
_SILENCES_MAX = 3  # so many requests in a row without any answer: the connection is taken for dead
_RESOLVE_AFTER = 5  # failed connections in a row until a name is looked up again
_PIECE_BYTES = 512


class TcpBus:
    """The calls of bus.ModbusBus. `connect(host, port, timeout_ms)` gives (reader, writer), `resolve(host)` an address
    (it blocks, so it is asked once); `client` is a modbus.tcp.TcpClient."""

    idle = False  # nothing is lost between exchanges: what comes waits in the connection and names its request

    def __init__(self, connect, resolve, host: str, port: int, client, ticks_us, mono_ms):
        self._connect = connect
        self._resolve = resolve
        self._host = host
        self._port = port
        self._address = host if all([c in "0123456789." for c in host]) else None
        self.client = client
        self._ticks_us = ticks_us
        self._mono_ms = mono_ms
        self._lock = asyncio.Lock()
        self._reader = self._writer = None
        self._again_ms = 0
        self._backoff_ms = _BACKOFF_MS_MIN
        self._failures = self._silences = 0
        self.connections = 0

    async def exchange(self, unit_id: int, function: int, address: int, content):
        """The credited Reply. Raises the ModbusError that names what came instead; no connection is a ModbusTimeout."""
        async with self._lock:
            if self._reader is None:
                await self._open()
            wait_us = self.client.wait_us(unit_id, self._ticks_us())
            if wait_us:
                await asyncio.sleep_ms((wait_us + 999) // 1000)
            try:
                return await self._ask(self.client.request(unit_id, function, address, content, self._ticks_us()))
            except OSError as e:
                await self._close()
                raise ModbusTimeout("%s:%d: the connection broke: %s" % (self._host, self._port, e)) from None
            finally:
                self.client.abandon(self._ticks_us())
                if self.client.broken or self._silences >= _SILENCES_MAX:
                    await self._close()

    async def confirm(self, _unit_id, _function, _address, _content):
        """Nothing to ask: each answer names its request."""
        return True

    def line(self) -> tuple:
        """The state of the connection, as (name, value)."""
        state = "open" if self._reader else "closed"
        return (("connection", "%s:%d %s" % (self._host, self._port, state)), ("connections", self.connections))

    async def _ask(self, request):
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
            if event is None:
                continue
            self._silences = self._silences + 1 if isinstance(event, ModbusTimeout) else 0
            if isinstance(event, ModbusError):
                raise event
            return event

    async def _open(self):
        now = self._mono_ms()
        if now < self._again_ms:
            raise ModbusTimeout("%s:%d: no connection; tried again later" % (self._host, self._port))
        try:
            if self._address is None or self._failures >= _RESOLVE_AFTER:
                self._address = self._resolve(self._host)
                self._failures = 0
            self._reader, self._writer = await self._connect(self._address, self._port, _CONNECT_MS)
        except LinkError as e:
            self._failures += 1
            self._again_ms = self._mono_ms() + self._backoff_ms
            self._backoff_ms = min(2 * self._backoff_ms, _BACKOFF_MS_MAX)
            raise ModbusTimeout(str(e)) from None
        self._failures = self._silences = 0
        self._backoff_ms = _BACKOFF_MS_MIN
        self.connections += 1
        self.client.opened()

    async def _close(self):
        writer, self._reader, self._writer = self._writer, None, None
        self._again_ms = self._mono_ms() + _BACKOFF_MS_MIN
        self._silences = 0
        if writer:
            writer.close()
            try:
                await asyncio.wait_for_ms(writer.wait_closed(), _CONNECT_MS)
            except (OSError, asyncio.TimeoutError):
                pass  # it is gone either way
