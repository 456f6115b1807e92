"""An energy meter on a Modbus bus, read by the plan that its profile gave."""

from parkgate.errors import ModbusError, ModbusExceptionReply, ModbusOwed, ModbusTimeout
from parkgate.meters.bus_client import BusUnit
from parkgate.meters.modbus.silence import Silence
from parkgate.reading import BAD_REPLY, TIMEOUT

_ILLEGAL_ADDRESS, _ILLEGAL_VALUE = 2, 3  # Modbus Application Protocol V1.1b3, section 7
_SILENCES_A_SAMPLE, _FAULTS_IN_A_ROW = 3, 3
_WRITE_REGISTER = 6
_ASK_AGAIN_SAMPLES = 3600  # then registers that the meter refused are tried once more


class ModbusMeter:
    """`plan` is a read_plan.ReadPlan, `bus` a ModbusBus. A sample is one pass over the plan's blocks.

    A block that is not answered hides no other: a smaller read shows whether the meter is there. If it is not, the pass
    ends, and the next one begins with that small read: a dead meter costs one reply time-out a sample, two when it
    dies. If it is, the block is silent, and `silence` learns when to split it. At most 3 silent blocks are paid for in
    a sample, and 3 bad replies in a row end it. When a reply comes that nobody asked for, one may have been taken for
    another: the sample is given up. So it is when two answers have the same bytes and something that was no frame came
    as well, or a request was not answered: the second may be a copy of the first, and its true answer destroyed."""

    report = None
    taken_ms = None
    _counters = _note_ratio = None
    consistency = None  # a consistency.check.Consistency, where the meter's channels allow one

    def __init__(self, name: str, unit_id, period_ms: int, plan, bus, unit=None):
        self.name = name
        self.period_ms = period_ms
        self.channels = plan.channels
        self._plan = plan
        self.index = None  # place in the schema, given when the gateway is put together
        self._unit_id = unit_id
        self._bus = bus
        self.unit = unit or BusUnit(0)  # the bus's record of the meter
        self._alive = True
        self._known = None  # the smallest read that was answered
        self.silence = Silence()
        self._samples = 0
        self._mono_ms = None

    async def read(self):
        """(values, qualities), one entry a channel; qualities is None when all are good. Raises LinkError."""
        plan = self._plan
        self._samples += 1
        if self._samples % _ASK_AGAIN_SAMPLES == 0:
            plan.ask_again()
        values, qualities = plan.empty()
        await self._pass(plan, values, qualities)
        values, qualities = plan.finish(values, qualities)
        if self._note_ratio:
            self._tell_ratios(plan.ratios)
        if self._counters:
            assert self._mono_ms is not None
            self._counters.judge(values, qualities, self._mono_ms(), plan.ends)
        if self.consistency:
            assert self._mono_ms is not None
            self.consistency.judge(values, qualities, self._mono_ms())
        return values, qualities if any(qualities) else None

    async def _pass(self, plan, values, qualities):
        """Ask every block once; the class text says what ends it early."""
        unit = self.unit
        small = None if self._alive or not plan.blocks else self._small(plan, self._samples % len(plan.blocks))
        again = []  # the answers that may be copies of others
        lost = None if await self._answers(small, True, again) else TIMEOUT
        doubles, strange, unanswered = unit.doubles, unit.strange, _unanswered(unit)
        faults = silences = i = 0
        while i < len(plan.blocks):
            block = plan.blocks[i]
            if lost is not None or self.silence.skips(block):
                plan.failed(i, TIMEOUT if lost is None else lost, values, qualities)
                i += 1
                continue
            heard, late = unit.statistics.heard(), unit.statistics.late_frames
            try:
                reply = await self._ask(plan, i)
                plan.decode(i, reply.data, values, qualities)
                if reply.again:
                    again.append(reply)
                faults = 0
            except ModbusExceptionReply as e:
                self._alive, faults = True, 0
                if e.again:
                    again.append(e.again)
                if e.code in (_ILLEGAL_ADDRESS, _ILLEGAL_VALUE):
                    plan.refused(i)  # asked again in smaller parts, or left out
                    continue
                plan.failed(i, BAD_REPLY, values, qualities)
            except ModbusTimeout as e:
                plan.failed(i, TIMEOUT, values, qualities)
                asked = not isinstance(e, ModbusOwed)
                silences += asked
                if silences > _SILENCES_A_SAMPLE:
                    lost = TIMEOUT  # it answers, but not much: the rest is asked in later samples
                elif unit.statistics.heard() == heard:
                    self._alive = self._alive and await self._answers(self._small(plan, i), False, again)
                    if not self._alive:
                        lost = TIMEOUT
                    elif asked and unit.statistics.late_frames == late and self.silence.silent(block) and plan.split(i):
                        continue
            except ModbusError:
                plan.failed(i, BAD_REPLY, values, qualities)
                faults += 1
                if faults == _FAULTS_IN_A_ROW:
                    lost = BAD_REPLY
            i += 1
        unsure = False
        if again:
            # Where a copy was taken for an answer, the true answer comes before that to a newer read of another shape,
            # or within the guard.
            unsure = not await self._bus.confirm(again, self.period_ms)
        if _unanswered(unit) != unanswered:
            unsure = unsure or bool(again) or unit.strange != strange
        elif again:
            unsure = unsure or unit.strange != strange
        if unsure or unit.doubles != doubles:
            for i in range(len(plan.blocks)):
                plan.failed(i, BAD_REPLY, values, qualities)

    async def _ask(self, plan, index):
        """The reply to one block of the plan. Raises ModbusError."""
        block = plan.blocks[index]
        for address, word in plan.writes(index):
            await self._bus.exchange(self._unit_id, _WRITE_REGISTER, address, word)
        reply = await self._bus.exchange(self._unit_id, block.function, block.address, block.count)
        self.silence.answered(block)
        self._note_answer(block.function, block.address, block.count)
        self._alive = True
        return reply

    async def _answers(self, part, otherwise, again):
        """Whether the meter answers a small read (`otherwise`: there is none); what may be a copy goes to `again`."""
        if part is None:
            return otherwise
        heard = self.unit.statistics.heard()
        try:
            reply = await self._bus.exchange(self._unit_id, *part)
            self._note_answer(*part)
            if reply.again:
                again.append(reply)
        except ModbusTimeout:
            return self.unit.statistics.heard() != heard
        except ModbusExceptionReply as e:
            if e.again:
                again.append(e.again)
        except ModbusError:
            pass
        return True

    def _note_answer(self, function, address, content):
        if self._known is None or content < self._known[2]:
            self._known = (function, address, content)

    def _small(self, plan, index):
        """A read that should be answered although block `index` was not: the smallest one that ever was, else one value
        of this or another block; (function, address, content), None when there is no other."""
        turn = self._samples
        block = plan.blocks[index]
        if self._known and self._known != (block.function, block.address, block.count):
            return self._known
        for i in [index] + list(range(len(plan.blocks))):
            part = plan.part(i, turn)
            if part is None and i != index:
                part = (plan.blocks[i].function, plan.blocks[i].address, plan.blocks[i].count)
            if part:
                return part
        return None

    def connection(self):
        """What the bus counted on its connection, as (name, value); nothing of a serial line."""
        return self._bus.line() if hasattr(self._bus, "line") else ()

    def check_counters(self, checks: list, mono_ms, note, basis=""):
        """Flag what a counter cannot have done. `checks` is (quantity, counters.CounterCheck or None) a channel;
        `note(name, quantity, event, before, value)` makes an event of it durable; `basis`: see MeterCounters."""
        self._mono_ms = mono_ms
        if any([check for _, check in checks]):
            from parkgate.meters.counters import MeterCounters

            self._counters = MeterCounters(self.name, checks, note, basis)

    def watch_ratios(self, note):
        """Tell of each transformer ratio that the meter's registers say, and of each change of one: `note(name, "ct" or
        "vt", before, now)`; both are (numerator, denominator), before is None for the first."""
        self._note_ratio = note
        self._ratios = {}

    def _tell_ratios(self, ratios):
        assert self._note_ratio is not None
        for name in ratios:
            before = self._ratios.get(name)
            if before != ratios[name]:
                self._note_ratio(self.name, name, before, ratios[name])
                self._ratios[name] = ratios[name]

    def restore(self, values: dict, age_ms):
        """The counters' values of the last sample before the restart; without its age nothing can be said of it."""
        if age_ms is not None and self._counters:
            assert self._mono_ms is not None
            self._counters.restore(values, self._mono_ms() - age_ms)

    def memory(self):
        """What the judging of counters must not forget over a restart, None for nothing."""
        return self._counters and self._counters.memory()

    def remember(self, memory, shift_ms):
        """Take up what memory() gave in an earlier run; see counters.MeterCounters."""
        if self._counters:
            self._counters.remember(memory, shift_ms)


def _unanswered(unit):
    """How many requests to this unit were not answered so far."""
    return unit.statistics.requests - unit.statistics.heard()
