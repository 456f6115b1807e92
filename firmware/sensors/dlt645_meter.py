"""An energy meter on a DL/T 645 bus, read by the plan that its profile gave."""

from parkgate.errors import Dlt645Refusal, ModbusError, ModbusForeign, ModbusTimeout
from parkgate.meters.dlt645.frame import ANY, DATA_BYTES_MAX, READ_ADDRESS, READ_FOLLOWING, address_bytes
from parkgate.reading import TIMEOUT

from .modbus_meter import ModbusMeter

_PIECES_MAX = 8


class _Pieces:
    """The bus, with replies that are longer than one frame put together."""

    def __init__(self, bus):
        self._bus = bus

    async def exchange(self, unit_id, function, address, content):
        reply = await self._bus.exchange(unit_id, function, address, content)
        data, n = reply.data, 0
        while reply.more:
            n += 1
            if n == _PIECES_MAX:
                raise ModbusForeign("a reply of more than %d frames" % n)
            reply = await self._bus.exchange(unit_id, READ_FOLLOWING, address + bytes((n,)), DATA_BYTES_MAX)
            data += reply.data
        reply.data = data
        return reply

    async def confirm(self, *_):
        """True: each reply names what it answers."""
        return True


class Dlt645Meter(ModbusMeter):
    """`address` as on the label, or AAAAAAAAAAAA for whichever meter answers: then its address is asked for first, and
    again when it is silent. `plan` is a Dlt645Plan; `reply_timeout_us`, `rest_us`: None for those of the bus."""

    def __init__(self, name: str, address: str, period_ms: int, plan, bus, reply_timeout_us=None, rest_us=None):
        wire = address_bytes(address)
        self._times = (reply_timeout_us, rest_us)
        self._line = bus
        unit = bus.client.unit(wire, reply_timeout_us, rest_us)
        ModbusMeter.__init__(self, name, wire, period_ms, plan, _Pieces(bus), unit)
        self._finds = wire == ANY

    async def read(self):
        """As ModbusMeter.read."""
        if self._finds and not (self._unit_id != ANY and self._alive):
            await self._find()
        if self._unit_id == ANY:
            return [None] * self.channels, bytes([TIMEOUT] * self.channels)
        return await ModbusMeter.read(self)

    async def _find(self):
        """Ask the meter on the line for its address. One that cannot say it shows it in its answer to a read."""
        block = self._plan.blocks[0]
        client = self._line.client
        for function, address, content in ((READ_ADDRESS, b"", 6), (block.function, block.address, block.count)):
            try:
                found = (await self._line.exchange(ANY, function, address, content)).unit_id
            except Dlt645Refusal as e:
                found = e.unit_id
            except ModbusTimeout:
                continue
            except ModbusError:
                return  # several answer, or something disturbs: nobody is taken for the meter
            if found != self._unit_id:
                if self._unit_id != ANY:
                    client.units.pop(self._unit_id, None)
                self._unit_id = found
                self.unit = client.unit(found, *self._times)
            self._alive = True
            return
