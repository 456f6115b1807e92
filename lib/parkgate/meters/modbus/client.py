"""Modbus RTU client without I/O: bytes and times go in, bytes to send and events come out.

The caller owns the port and the clock. One exchange looks like this:

    wait until client.wait_us(unit_id, t_us) is 0
    port.write(client.request(unit_id, function, address, count, t_us))
    repeat: event = client.receive(port.read(), t_us) or client.poll(t_us), at the latest after due_us(t_us),
    until event is a Reply or an instance (returned, not raised) of a ModbusError

Read the port before every `poll`: bytes that wait in a buffer look like silence.

Times are microseconds of any steady clock that may wrap at 2^30 (`time.ticks_us` on boards); only
differences below 2^29 (8.9 minutes) are formed, so call `poll` at least every few minutes when idle.

When a reply is credited
------------------------
RTU replies carry no number, so a reply that comes late looks exactly like the answer to the next
request of the same shape (unit, function, byte count). A reply is credited only if

1. it comes after our request, in its time, and unit, function, byte count and CRC fit; and
2. no older answer of the same shape can still be under way from that unit.

For (2) the client remembers the shapes a unit still *owes*: our requests that ended without a usable
reply, and requests of another client seen on the line. A request whose shape is owed is refused
(`may_ask` is False) until one of these:

- The owed frame turns up: it is drained and counted as late.
- The unit gives an unmistakable answer to a request of another shape, and `late_guard_us` has passed since
  the owing began. A meter answers in order, so nothing older can follow; the guard covers bridges and
  converters that do not. The caller asks such a *probe* on purpose (`probe=True`: never use its data).
- `hold_off_us` has passed since the owing began, the time after which a reply is taken to be impossible.

So a late frame ends as a count and never as a value: from a meter that answers in order, whatever its delay,
as long as a probe comes first; from anything else up to a delay of `reply_timeout_us + late_guard_us` (with
a probe) or `reply_timeout_us + hold_off_us` (without).

Line silence
------------
A request is sent only after 3.5 characters of silence (Modbus over Serial Line V1.02, 2.5.1.1; fixed
1.75 ms above 19,200 baud). Inside a frame gaps are tolerated up to `frame_gap_us`, much longer than
the 1.5 characters of the specification: operating systems, USB adapters and event loops hand bytes
over in pieces, and a cut by clock would throw good replies away. Length and CRC decide instead.

Known limit: the reply to functions 5 and 6 equals the request. On an adapter that echoes, the echo
looks like the reply until an echo has been seen once (any read shows it) or `adapter_echoes` is set.
"""

from parkgate.clock import elapsed_us
from parkgate.errors import ModbusCrcError, ModbusError, ModbusExceptionReply, ModbusForeign, ModbusShort, ModbusTimeout
from parkgate.meters.bus_statistics import Statistics

from .frame import (
    BROADCAST,
    FRAME_BYTES_MAX,
    WRITE_COILS,
    Reply,
    characters_us,
    content_bytes,
    crc16,
    encode_request,
    frame_length,
    silence_us,
)

_BUFFER_BYTES = 2 * FRAME_BYTES_MAX + 32
_DEBTS_MAX = 8
_ANY_SHAPE = -1

# What bytes that are part of no whole frame tell about our reply, in rising weight.
_NOTHING, _DAMAGED, _SHORT_OURS, _CRC_OURS = 0, 1, 2, 3


class Unit:
    """One unit id on the bus: its time limits, what it still owes, and its statistics.

    A debt is [shape, when it began, whether an unmistakable answer came since]. There is one for each reply that
    may still arrive, so two of a shape are two debts. When they are too many to tell apart, any shape is owed.
    """

    __slots__ = ("debts", "free_at_us", "reply_timeout_us", "statistics", "turnaround_us")

    def __init__(self, reply_timeout_us, turnaround_us):
        self.reply_timeout_us = reply_timeout_us
        self.turnaround_us = turnaround_us
        self.free_at_us = None
        self.debts = []
        self.statistics = Statistics()

    def owe(self, shape, t_us):
        """Remember a reply that may still arrive."""
        if len(self.debts) < _DEBTS_MAX:
            self.debts.append([shape, t_us, False])
        else:
            self.debts[0] = [_ANY_SHAPE, t_us, False]

    def debt(self, shape):
        """The oldest debt of this shape, or None."""
        for debt in self.debts:
            if debt[0] == shape or debt[0] == _ANY_SHAPE:
                return debt
        return None

    def pay(self, shape):
        """Forget one debt of this shape, because its frame arrived late; False if there is none."""
        for i, debt in enumerate(self.debts):
            if debt[0] == shape:
                self.debts.pop(i)
                return True
        return False

    def answered(self, shape, doubtful, refused, t_us):
        """A reply was credited to a request of this shape: what it proves about older ones.

        An unmistakable answer: older ones cannot follow any more. One that may itself be an older one: ours may
        follow, and takes its place. A refusal may be of an older request, so ours may follow too.
        """
        if doubtful:
            debt = self.debt(shape)
            debt[1], debt[2] = t_us, False
        elif refused:
            if self.debts:
                self.owe(shape, t_us)
        else:
            for debt in self.debts:
                debt[2] = True

    def forget(self, t_us, hold_off_us, late_guard_us):
        """Drop the debts that cannot be paid any more."""
        if self.debts:
            self.debts = [
                debt for debt in self.debts if elapsed_us(t_us, debt[1]) < (late_guard_us if debt[2] else hold_off_us)
            ]


class Client:
    """The client's side of one bus: at most one request under way. See the module's text for the rules."""

    def __init__(
        self,
        baud,
        reply_timeout_us=300000,
        hold_off_us=3000000,
        late_guard_us=1000000,
        frame_gap_us=20000,
        adapter_echoes=False,
    ):
        self.baud = baud
        self.silence_us = silence_us(baud)
        self.reply_timeout_us = reply_timeout_us
        self.hold_off_us = hold_off_us
        self.late_guard_us = late_guard_us
        self.frame_gap_us = max(frame_gap_us, self.silence_us)
        self.adapter_echoes = adapter_echoes
        self.units = {}
        self.line = Statistics()
        self._buffer = bytearray(_BUFFER_BYTES)
        self._length = 0
        self._line_used_us = None
        self._sent = b""
        self._waiting = False
        self._unit = None
        self._shape = 0
        self._head = b""
        self._reply_bytes = 0
        self._asked = None
        self._sent_us = 0
        self._budget_us = 0
        self._evidence = _NOTHING
        self._foreign_seen = 0

    def unit(self, unit_id, reply_timeout_us=None, turnaround_us=None):
        """The record of one unit id; the times, where given, replace what was set before.

        `turnaround_us` is the rest a unit needs between its reply and the next request to it. Call this for
        every unit at the start: what another client asks of units not known here is not remembered.
        """
        unit = self.units.get(unit_id)
        if unit is None:
            unit = self.units[unit_id] = Unit(self.reply_timeout_us, 0)
        if reply_timeout_us is not None:
            unit.reply_timeout_us = reply_timeout_us
        if turnaround_us is not None:
            unit.turnaround_us = turnaround_us
        return unit

    @property
    def waiting(self):
        """Whether a request is under way."""
        return self._waiting

    def slot_us(self, unit_id, function, count):
        """Longest time one exchange can take, from its first byte to the end of the silence after it."""
        request_bytes = 8 if function <= 6 else 9 + content_bytes(function, count)
        reply_bytes = 5 + content_bytes(function, count) if function <= 4 else 8
        return (
            characters_us(request_bytes + reply_bytes, self.baud)
            + self.unit(unit_id).reply_timeout_us
            + self.silence_us
        )

    def may_ask(self, unit_id, function, count, t_us):
        """False while an older reply of this shape may still come: ask a probe of another shape instead."""
        return self._debt(self.unit(unit_id), _shape(function, count), t_us) is None

    def wait_us(self, unit_id, t_us):
        """Time until a request to this unit may be sent (silence of the line, rest of the unit); 0 is now."""
        wait = 0
        if self._line_used_us is not None:
            wait = self.silence_us - elapsed_us(t_us, self._line_used_us)
        unit = self.unit(unit_id)
        if unit.free_at_us is not None:
            rest = elapsed_us(unit.free_at_us, t_us)
            if rest <= 0:
                unit.free_at_us = None
            elif rest > wait:
                wait = rest
        return max(0, wait)

    def request(self, unit_id, function, address, content, t_us, probe=False):
        """Begin an exchange at t_us and return the bytes to send (see encode_request for `content`).

        `probe` asks only to hear whether, and in which order, the unit answers; its data must not be used.
        Raises ModbusError when a field is out of range, a request is under way, the line is not silent
        yet, or an older reply of the same shape may still come. Nothing has changed in these cases.
        """
        if self._waiting:
            raise ModbusError("a request is under way")
        sent = encode_request(unit_id, function, address, content)
        if self.wait_us(unit_id, t_us) > 0:
            raise ModbusError("the line is not silent yet: wait_us() tells how long")
        self.poll(t_us)
        count = content if function <= 4 else len(content) if function >= WRITE_COILS else 1
        unit = self.unit(unit_id)
        shape = _shape(function, count)
        debt = self._debt(unit, shape, t_us)
        if debt is not None and not (probe and debt[0] == shape):
            raise ModbusError("unit %d may still send an older reply of this shape: probe it first" % unit_id)
        if function <= 4:
            self._reply_bytes = 5 + content_bytes(function, count)
            self._head = bytes((unit_id, function, self._reply_bytes - 5))
        else:
            self._head = bytes(sent[:6])
            self._reply_bytes = 8
        self._sent = sent
        self._unit = unit
        self._shape = shape
        self._asked = (unit_id, function, address, count, probe)
        self._sent_us = t_us
        self._budget_us = characters_us(len(sent) + self._reply_bytes, self.baud) + unit.reply_timeout_us
        self._evidence = _NOTHING
        self._foreign_seen = 0
        self._waiting = True
        self._line_used_us = t_us + characters_us(len(sent), self.baud)
        unit.statistics.requests += 1
        return sent

    def due_us(self, t_us):
        """Time until `poll` may have something to say; None when no request is under way."""
        if not self._waiting:
            return None
        due = self._budget_us - elapsed_us(t_us, self._sent_us)
        if self._length and self._line_used_us is not None:
            gap = self.frame_gap_us - elapsed_us(t_us, self._line_used_us)
            due = min(due, gap)
        return max(0, due)

    def receive(self, data, t_us):
        """Take bytes that were handed over at t_us. Returns None, a Reply, or a ModbusError (not raised)."""
        event = None
        for start in range(0, len(data), FRAME_BYTES_MAX):
            piece = data[start : start + FRAME_BYTES_MAX]
            if self._length + len(piece) > _BUFFER_BYTES:
                self._judge(self._length)
            end = self._length + len(piece)
            self._buffer[self._length : end] = piece
            self._length = end
            self._line_used_us = t_us
            if self._waiting:
                event = self._search(t_us) or event
        return event

    def poll(self, t_us):
        """Let time pass without bytes. Returns None, a Reply (broadcast), or a ModbusError (not raised)."""
        if self._line_used_us is None:
            return None
        gap = elapsed_us(t_us, self._line_used_us)
        if not self._waiting:
            if gap >= self.silence_us:
                self._judge(self._length)
                self._line_used_us = None
            return None
        if elapsed_us(t_us, self._sent_us) >= self._budget_us:
            return self._end(t_us)
        if self._length and gap >= self.frame_gap_us:
            self._judge(self._length)
            if self._evidence >= _SHORT_OURS:
                return self._end(t_us)
        return None

    def abandon(self, t_us):
        """Give up what is under way, if anything: the port failed, or whoever asked is gone. Its reply stays owed."""
        if self._waiting:
            self._end(t_us)

    # What follows is private.

    def _debt(self, unit, shape, t_us):
        unit.forget(t_us, self.hold_off_us, self.late_guard_us)
        return unit.debt(shape)

    def _search(self, t_us):
        """Look for our reply in what has come so far."""
        start = 0
        sent = self._sent
        identical = self._head == sent[:6] and self._reply_bytes == len(sent)
        if not identical or self.adapter_echoes:
            echo = self._buffer.find(sent, 0, self._length)
            if echo >= 0:
                start = echo + len(sent)
                self.adapter_echoes = True
        event = self._search_for(self._head, self._reply_bytes, start, t_us)
        if event is None:
            refusal = bytes((sent[0], sent[1] | 0x80))
            event = self._search_for(refusal, 5, start, t_us)
        return event

    def _search_for(self, head, length, start, t_us):
        while True:
            start = self._buffer.find(head, start, self._length)
            if start < 0 or self._length - start < length:
                return None
            if crc16(self._buffer, start, start + length) == 0:
                return self._credit(start, length, t_us)
            start += 1

    def _credit(self, start, length, t_us):
        """A whole frame that fits: credit it unless it may be an older one."""
        unit = self._unit
        unit_id, function, address, count, probe = self._asked
        refused = self._buffer[start + 1] & 0x80
        code = self._buffer[start + 2]
        content = bytes(self._buffer[start + 3 : start + length - 2]) if function <= 4 else b""
        self._judge(start)
        self._drop(length)
        doubtful = unit.debt(self._shape) is not None
        if doubtful and not probe:
            # Another client asked the same while we waited: whose answer this is nobody can tell.
            unit.statistics.foreign_frames += 1
            self._foreign_seen += 1
            return None
        unit.answered(self._shape, doubtful, refused, t_us)
        self._finish(t_us)
        latency_us = elapsed_us(t_us, self._sent_us) - characters_us(len(self._sent), self.baud)
        if refused:
            unit.statistics.count_exception(code)
            return ModbusExceptionReply(code)
        latency_us = max(0, latency_us)
        unit.statistics.count_ok(latency_us)
        return Reply(unit_id, function, address, count, content, t_us, latency_us, probe)

    def _finish(self, t_us):
        self._waiting = False
        if self._unit.turnaround_us:
            self._unit.free_at_us = t_us + self._unit.turnaround_us

    def _end(self, t_us):
        """The exchange is over without a credited reply: name what came instead."""
        self._judge(self._length)
        unit_id, function, address, count, probe = self._asked
        self._finish(t_us)
        statistics = self._unit.statistics
        if unit_id == BROADCAST:
            statistics.count_ok(0)
            return Reply(unit_id, function, address, count, b"", t_us, 0, probe)
        if self._evidence < _SHORT_OURS and function <= 4:
            self._unit.owe(self._shape, t_us)
        what = "unit %d, function %d, address %d, count %d" % (unit_id, function, address, count)
        if self._evidence == _CRC_OURS:
            statistics.crc += 1
            return ModbusCrcError(what)
        if self._evidence == _SHORT_OURS:
            statistics.short += 1
            return ModbusShort(what)
        if self._foreign_seen:
            statistics.foreign += 1
            return ModbusForeign(what)
        if self._evidence == _DAMAGED:
            statistics.crc += 1
            return ModbusCrcError(what)
        statistics.timeout += 1
        return ModbusTimeout(what)

    def _judge(self, end):
        """Name and count everything before `end` that was not credited, then forget it."""
        start = rest = 0
        while start < end:
            length = frame_length(self._buffer, start, end)
            if length:
                self._judge_rest(rest, start)
                self._judge_frame(start, length)
                start += length
                rest = start
            else:
                start += 1
        self._judge_rest(rest, end)
        self._drop(end)

    def _judge_frame(self, start, length):
        """A whole frame that is not our reply: an echo, a late reply, or somebody else's."""
        data = self._buffer
        if length == len(self._sent) and bytes(data[start : start + length]) == self._sent:
            self._own_statistics().echo_frames += 1
            return
        unit = self.units.get(data[start])
        function = data[start + 1]
        if unit is None:
            self._count_foreign()
        elif function & 0x80:
            debts = [debt[0] for debt in unit.debts if debt[0] >> 8 == function & 0x7F]
            if len(debts) == 1:
                unit.pay(debts[0])
            if debts:
                unit.statistics.late_frames += 1
            else:
                self._count_foreign()
        elif length == 5 + data[start + 2] and unit.pay(function << 8 | data[start + 2]):
            unit.statistics.late_frames += 1
        else:
            self._count_foreign()
            if 1 <= function <= 4 and length == 8:
                # Another client asks one of our units: its answer must not be taken for ours.
                count = data[start + 4] << 8 | data[start + 5]
                unit.owe(_shape(function, count), self._line_used_us)

    def _count_foreign(self):
        self._foreign_seen += 1
        self._own_statistics().foreign_frames += 1

    def _own_statistics(self):
        return self._unit.statistics if self._waiting else self.line

    def _judge_rest(self, start, end):
        """Bytes that are part of no whole frame."""
        data = self._buffer
        if start >= end:
            return
        self._own_statistics().noise_bytes += end - start
        first, last = start, end
        while first < last and data[first] in (0, 0xFF):
            first += 1
        while last > first and data[last - 1] in (0, 0xFF):
            last -= 1
        if first == last:
            return
        evidence = _DAMAGED if last - first >= 4 else _NOTHING
        if self._waiting:
            if self._is_cut_echo(first, last):
                self._own_statistics().echo_frames += 1
                return
            evidence = self._evidence_of_ours(first, end) or evidence
            self._evidence = max(self._evidence, evidence)
        elif evidence:
            self.line.crc += 1

    def _is_cut_echo(self, first, last):
        """Whether the bytes are the beginning of our own request and cannot be that of a reply."""
        data = self._buffer
        sent = self._sent
        size = last - first
        return (
            size >= 3 and sent[1] <= 4 and data[first + 2] != self._head[2] and bytes(data[first:last]) == sent[:size]
        )

    def _evidence_of_ours(self, first, end):
        """Whether data[first:end] holds our reply cut short or damaged."""
        data = self._buffer
        at = data.find(self._head, first, end)
        if at >= 0:
            return _CRC_OURS if end - at >= self._reply_bytes else _SHORT_OURS
        at = data.find(self._head[:2], first, end)
        if at >= 0 and end - at == 2:
            return _SHORT_OURS
        return _NOTHING

    def _drop(self, count):
        left = self._length - count
        if left > 0 and count > 0:
            self._buffer[0:left] = self._buffer[count : self._length]
        self._length = max(0, left)


def _shape(function, count):
    """What tells two replies of one unit apart: the function and, for reads, the byte count."""
    return function << 8 | (content_bytes(function, count) & 0xFF if function <= 4 else 0)
