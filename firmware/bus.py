"""One Modbus bus: the pure client's decisions carried out on a serial line, one exchange at a time."""

import asyncio

from parkgate.errors import LinkError, ModbusCrcError, ModbusError, ModbusForeign, ModbusShort, ModbusTimeout

_PIECE_MS = 1000  # longest single wait; the client's own deadline ends the exchange
_SILENCE_READS = 50  # a line that babbles on for so many reads is taken for disturbed


class ModbusBus:
    """`serial` has async `write(data)` and `read(timeout_ms)`, `client` is a modbus.Client, `ticks_us` a clock."""

    def __init__(self, serial, client, ticks_us):
        self._serial = serial
        self.client = client
        self._ticks_us = ticks_us
        self._lock = asyncio.Lock()

    async def exchange(self, unit_id: int, function: int, address: int, content):
        """The credited Reply. Raises the ModbusError that names what came instead, LinkError when the port is gone.
        The console asks too: whoever comes second waits."""
        async with self._lock:
            return await self._exchange(unit_id, function, address, content)

    async def _exchange(self, unit_id: int, function: int, address: int, content):
        client, ticks_us = self.client, self._ticks_us
        count = content if function <= 4 else len(content) if type(content) in (list, tuple) else 1
        probe = not client.may_ask(unit_id, function, count, ticks_us())
        if probe:
            # An answer of the same shape may still be under way. One register, or two when one is owed too, is
            # another shape: its answer proves that nothing older can follow.
            await self._probe(unit_id, function, address)
            if not client.may_ask(unit_id, function, count, ticks_us()):
                raise ModbusTimeout("unit %d: an older reply may still come; not asked" % unit_id)
        try:
            return await self._ask(unit_id, function, address, content, False)
        except (ModbusCrcError, ModbusShort):
            # Damaged on the way: once more. Never after silence: that would double the price of a dead meter.
            if not client.may_ask(unit_id, function, count, ticks_us()):
                raise
            return await self._ask(unit_id, function, address, content, False)

    async def _probe(self, unit_id, function, address):
        for count in (1, 2, 3):
            if self.client.may_ask(unit_id, function, count, self._ticks_us()):
                try:
                    await self._ask(unit_id, function, address, count, True)
                except ModbusError:
                    pass  # counted by the client; the caller sees whether the debt is gone
                return

    async def _ask(self, unit_id, function, address, content, probe):
        client, serial, ticks_us = self.client, self._serial, self._ticks_us
        for _ in range(_SILENCE_READS):
            wait_us = client.wait_us(unit_id, ticks_us())
            if not wait_us:
                break
            data = await serial.read((wait_us + 999) // 1000)
            if data:
                client.receive(data, ticks_us())
            else:
                client.poll(ticks_us())
        else:
            raise ModbusForeign("the line is never silent: something else talks on it")
        try:
            await serial.write(client.request(unit_id, function, address, content, ticks_us(), probe))
            while True:
                due_us = client.due_us(ticks_us())
                if due_us is None:
                    raise LinkError("the exchange ended unseen")
                data = await serial.read(max(1, min(_PIECE_MS, (due_us + 999) // 1000)))
                event = client.receive(data, ticks_us()) if data else client.poll(ticks_us())
                if isinstance(event, ModbusError):
                    raise event
                if event is not None:
                    return event
        finally:
            client.abandon(ticks_us())  # nothing, unless the port failed or the task that asked was ended
