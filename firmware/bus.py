"""One bus of meters: the pure client's decisions carried out on a serial line, one exchange at a time.

Before each request the port is drained, and what it held is judged by the client: bytes that came while nobody read
can pay what a meter owes, but are never part of an answer. `idle` does the same between exchanges, so that the port's
buffer does not overflow and it is known how late a late reply came.
"""

import asyncio

from parkgate.clock import elapsed_us
from parkgate.errors import (
    LinkError,
    ModbusCrcError,
    ModbusError,
    ModbusExceptionReply,
    ModbusForeign,
    ModbusOwed,
    ModbusShort,
)

_PIECE_MS = 1000  # longest single wait; the client's own deadline ends the exchange
_SILENCE_READS = 50  # a line that babbles on for so many reads is taken for disturbed
_TRUSTED_REPLIES = 100  # so many without a late one or a copy: this unit keeps the order
_PROBES = 2  # the second with another function code, where the meter refuses the first


class ModbusBus:
    """`serial` has async `write(data)`, which returns what had arrived when the last bit left, async `read(timeout_ms)`
    and `drain()`, which never waits; `client` is a modbus.client.Client or one with the same calls; `ticks_us` a clock.
    """

    def __init__(self, serial, client, ticks_us):
        self._serial = serial
        self.client = client
        self._ticks_us = ticks_us
        self._lock = asyncio.Lock()
        self._sure = False  # whether the last probe was answered, and not by what may be a copy

    async def exchange(self, unit_id, function: int, address, content):
        """The credited Reply. Raises the ModbusError that names what came instead, LinkError when the port is gone.
        The sampler and the console both ask: the second one waits."""
        async with self._lock:
            return await self._exchange(unit_id, function, address, content)

    async def confirm(self, doubtful, period_ms):
        """Ask for a read of another shape than the last of these replies of one unit, which may be copies; whether it
        was answered. Then all older replies of a unit that answers in order have come, and its `doubles` tells of those
        that nobody had asked for. On a line where a unit was late before, or answered twice, replies may be out of
        order too: they are waited for, a reply time-out and the guard longer; so are those of a unit that is hardly
        known: once, and again where its `period_ms` has room for that. Without an answer the true replies are owed."""
        async with self._lock:
            client, last = self.client, doubtful[-1]
            unit = client.unit(last.unit_id)
            confirmed = await self._confirm(last.unit_id, last.function, last.address, last.count)
            if not confirmed:
                for reply in doubtful:
                    client.doubt(reply, self._ticks_us())
            else:
                wait_us = client.late_guard_us + unit.reply_timeout_us
                known = unit.statistics.ok >= _TRUSTED_REPLIES or (unit.listened and period_ms * 1000 < 2 * wait_us)
                unit.listened = True
                if not known or any([u.doubles or u.statistics.late_frames for u in client.units.values()]):
                    await self._listen(last.unit_id, wait_us)
            return confirmed

    async def _confirm(self, unit_id, function, address, content):
        """Whether the unit answered a read of another shape. A refusal of this function may be the reply to the request
        before: then the other function is tried."""
        for _ in range(_PROBES):
            self._sure = False
            probe = self.client.other_read(unit_id, function, address, content, self._ticks_us())
            if await self._probe(unit_id, probe) or probe[0] != function:
                return self._sure
        return False

    def idle(self):
        """Look what has come while nobody asks. Call it now and then."""
        if not self._lock.locked():
            try:
                self.client.idle(self._serial.drain(), self._ticks_us())
            except LinkError:
                pass  # the next exchange says so

    async def _exchange(self, unit_id, function, address, content):
        client = self.client
        await self._listen(unit_id)
        for _ in range(_PROBES):
            if client.may_ask(unit_id, function, content, self._ticks_us(), address):
                break
            probe = client.probe(unit_id, function, address, content, self._ticks_us())
            if probe is None or await self._probe(unit_id, probe):
                break
        try:
            return await self._ask(unit_id, function, address, content, False)
        except (ModbusCrcError, ModbusShort):
            # Damaged on the way: once more, as soon as the answer to another read shows that nothing of it can follow.
            # Never after silence: that would double the price of a dead meter.
            confirmed = await self._confirm(unit_id, function, address, content)
            if not confirmed or not client.may_ask(unit_id, function, content, self._ticks_us(), address):
                raise
            unit = client.unit(unit_id)
            doubles, strange = unit.doubles, unit.strange
            reply = await self._ask(unit_id, function, address, content, False)
            # A copy of the damaged one looks the same: then the true reply to this request comes behind it.
            confirmed = await self._confirm(unit_id, function, address, content)
            if confirmed and unit.doubles == doubles and unit.strange == strange:
                return reply
            raise ModbusForeign("%s: a copy may have been taken for the reply" % client.name(unit_id)) from None

    async def _probe(self, unit_id, probe):
        """Ask what proves that nothing older can follow; True when asking once more would be in vain."""
        if probe is None:
            return True
        function, address, content = probe
        try:
            self._sure = not (await self._ask(unit_id, function, address, content, True)).again
            return True
        except ModbusExceptionReply as e:
            self._sure = not e.again
            return False
        except ModbusError:  # counted by the client; the caller sees whether the debt is gone
            return True

    async def _listen(self, unit_id, until_us=0):
        """Take what the port holds and what comes until the line has been silent, and for `until_us` at least."""
        client, serial, ticks_us = self.client, self._serial, self._ticks_us
        began_us = ticks_us()
        for _ in range(_SILENCE_READS):
            data = serial.drain()
            if not data:
                now_us = ticks_us()
                wait_us = max(client.wait_us(unit_id, now_us), until_us - elapsed_us(now_us, began_us))
                if wait_us <= 0:
                    client.idle(b"", ticks_us())
                    return
                data = await serial.read((wait_us + 999) // 1000)
            client.idle(data, ticks_us())
        raise ModbusForeign("the line is never silent: something else talks on it")

    async def _ask(self, unit_id, function, address, content, probe):
        client, serial, ticks_us = self.client, self._serial, self._ticks_us
        await self._listen(unit_id)
        owed_us = 0 if probe else client.owed_us(unit_id, function, content, ticks_us(), address)
        if owed_us:
            await self._listen(unit_id, owed_us)
        if not probe and not client.may_ask(unit_id, function, content, ticks_us(), address):
            raise ModbusOwed("%s: a reply to an older request may still come; not asked" % client.name(unit_id))
        try:
            request = client.request(unit_id, function, address, content, ticks_us(), probe)
            client.sent(await serial.write(request) or b"", ticks_us())
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
