"""An energy meter on a Modbus bus, read by the plan that its profile gave."""

from parkgate.errors import ModbusError, ModbusExceptionReply, ModbusTimeout
from parkgate.reading import BAD_REPLY, TIMEOUT

_ILLEGAL_ADDRESS, _ILLEGAL_VALUE = 2, 3  # Modbus Application Protocol V1.1b3, section 7
_ASK_AGAIN_SAMPLES = 3600  # then registers that the meter refused are tried once more


class ModbusMeter:
    """`plan` is a read_plan.ReadPlan, `bus` a ModbusBus. A sample is one pass over the plan's blocks; the first
    block that is not answered ends the pass, so a dead meter costs one reply time-out and not one a block."""

    report = None
    taken_ms = None
    _counters = None
    consistency = None  # a consistency.check.Consistency, where the meter's channels allow one

    def __init__(self, name: str, unit_id: int, period_ms: int, plan, bus):
        self.name = name
        self.period_ms = period_ms
        self.channels = plan.channels
        self._plan = plan
        self.index = None  # place in the schema, given when the gateway is put together
        self._unit_id = unit_id
        self._bus = bus
        self._samples = 0
        self._mono_ms = None

    async def read(self):
        """(values, qualities), one entry a channel; qualities is None when all are good. Raises LinkError."""
        plan = self._plan
        self._samples += 1
        if self._samples % _ASK_AGAIN_SAMPLES == 0:
            plan.ask_again()
        values, qualities = plan.empty()
        i = 0
        lost = None
        while i < len(plan.blocks):
            block = plan.blocks[i]
            if lost is not None:
                plan.failed(i, lost, values, qualities)
                i += 1
                continue
            try:
                reply = await self._bus.exchange(self._unit_id, block.function, block.address, block.count)
                plan.decode(i, reply.data, values, qualities)
            except ModbusExceptionReply as e:
                if e.code in (_ILLEGAL_ADDRESS, _ILLEGAL_VALUE):
                    plan.refused(i)  # asked again in smaller parts, or left out
                    continue
                plan.failed(i, BAD_REPLY, values, qualities)
            except ModbusTimeout:
                lost = TIMEOUT
                continue
            except ModbusError:
                lost = BAD_REPLY
                continue
            i += 1
        values, qualities = plan.finish(values, qualities)
        if self._counters:
            self._counters.judge(values, qualities, self._mono_ms())
        if self.consistency:
            self.consistency.judge(values, qualities, self._mono_ms())
        return values, qualities if any(qualities) else None

    def check_counters(self, checks: list, mono_ms, note):
        """Flag what a counter cannot have done. `checks` is (quantity, counters.CounterCheck or None) a channel;
        `note(name, quantity, event, before, value)` makes an event of it durable."""
        self._mono_ms = mono_ms
        if any([check for _, check in checks]):
            from parkgate.meters.counters import MeterCounters

            self._counters = MeterCounters(self.name, checks, note)

    def restore(self, values: dict, age_ms):
        """The counters' values of the last sample before the restart; without its age nothing can be said of it."""
        if age_ms is not None and self._counters:
            self._counters.restore(values, self._mono_ms() - age_ms)

    def memory(self):
        """What the judging of counters must not forget over a restart, None for nothing."""
        return self._counters and self._counters.memory()

    def remember(self, memory, shift_ms):
        """Take up what memory() gave in an earlier run; see counters.MeterCounters."""
        if self._counters:
            self._counters.remember(memory, shift_ms)
