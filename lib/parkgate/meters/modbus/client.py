"""Modbus RTU client without I/O: bytes and times go in, bytes to send and events come out.

The caller owns the port and the clock. One exchange looks like this:

    hand over what the port holds: client.receive(port.drain(), t_us)
    wait until client.wait_us(unit_id, t_us) is 0, and hand over what comes meanwhile
    early = port.write(client.request(unit_id, function, address, content, t_us))
    client.sent(early, t_us)
    repeat: event = client.receive(port.read(), t_us) or client.poll(t_us), at the latest after due_us(t_us),
    until event is a Reply or an instance (returned, not raised) of a ModbusError

Read the port before every `poll`: bytes that wait in a buffer look like silence. Call `idle` between exchanges.

Times are microseconds of any steady clock that may wrap at 2^30 (`time.ticks_us` on boards); only
differences below 2^29 (8.9 minutes) are formed, so call `poll` or `idle` at least every few minutes.

When a reply is credited
------------------------
RTU replies carry no number, so a reply that comes late looks exactly like the answer to the next
request of the same shape (unit, function, byte count). A reply is credited only if

1. all its bytes were handed over after our request had ended. The port is drained before each request, and `sent`
   takes the bytes that were there when the last bit left. How exact that is depends on the port. On a board the
   driver waits until the last bit is out and reads the receiver at once: no byte that was on the wire or in a buffer
   before that moment can be part of a reply. A port of an operating system does not tell when the last bit leaves:
   there the bytes counted as early are those that came before the request was handed to it.
2. unit, function, byte count and CRC fit, and it comes within the reply time-out; and
3. no other reply of the same shape can still be under way from that unit.

For (3) the client remembers what a unit still owes (debts.py). A request whose shape is owed is refused (`may_ask`);
`owed_us` tells how long time alone has to pass, `probe` which read of another shape proves that nothing older follows.

Known limits. The reply to functions 5 and 6 equals the request: on an adapter that echoes, the echo looks like the
reply until two echoes in a row have been seen (any reads show them). Another client's request that equals ours looks
like our echo where the adapter echoes, or where a converter hands it over within two frame times and `frame_gap_us` of
ours. As long as the adapter is not known to echo, a reply behind such bytes is doubtful: its `again` is set, as if it
were a copy, and behind a probe the true reply is owed.
"""

from parkgate.clock import elapsed_us
from parkgate.errors import ModbusError, ModbusExceptionReply
from parkgate.meters.bus_client import CRC_OURS, LONG_US, NOTHING, SHORT_OURS, time_until_us

from .arrivals import Arrivals
from .debts import AGAIN, DAMAGED, OWN
from .frame import (
    BROADCAST,
    FRAME_BYTES_MAX,
    Reply,
    characters_us,
    content_bytes,
    crc16,
    encode_request,
    items,
    shape_of,
)

_GUARD_WAIT_US = 100000  # so little of a guard is waited for
_REMAINS_MAX = 3  # bytes of no frame in front of a reply: from here on it may answer a request that was cut


class Client(Arrivals):
    """The client's side of one line: at most one request under way. See the module's text for the rules."""

    def __init__(
        self,
        baud,
        reply_timeout_us=300000,
        hold_off_us=10000000,
        late_guard_us=1000000,
        frame_gap_us=20000,
        adapter_echoes=False,
        rest_us=0,
    ):
        Arrivals.__init__(self, baud, reply_timeout_us, rest_us, frame_gap_us, adapter_echoes, late_guard_us)
        self.baud = baud
        self.hold_off_us = hold_off_us
        self._shape = self._sent_us = self._budget_us = 0

    def slot_us(self, unit_id, function, count):
        """Longest time one exchange can take, from its first byte to the moment when the same unit may be asked
        again: with the reply time-out that was learnt, the silence of the line and the rests."""
        request_bytes = 8 if function <= 6 else 9 + content_bytes(function, count)
        reply_bytes = 5 + content_bytes(function, count) if function <= 4 else 8
        unit = self.unit(unit_id)
        return (
            characters_us(request_bytes + reply_bytes, self.baud)
            + unit.reply_timeout_us
            + max(self.silence_us, self.rest_us, unit.rest_us)
        )

    def may_ask(self, unit_id, function, content, t_us, _address=None):
        """False while another reply of this shape may still come: ask a probe of another shape instead."""
        return self._debt(self.unit(unit_id), shape_of(function, content), t_us) is None

    def owed_us(self, unit_id, function, content, t_us, _address=None):
        """How long only time has to pass until a request may be sent: a copy of the last reply may come, or the guard
        of an answered probe is not over. 0: at once, or not before a probe is answered."""
        unit = self.unit(unit_id)
        shape = shape_of(function, content)
        debt = self._debt(unit, shape, t_us)
        if debt is not None:
            left = unit.time_left_us(debt, t_us, self.late_guard_us)
            return left if left <= _GUARD_WAIT_US or unit.is_doubt(debt) else 0
        if unit.last_shape == shape and unit.last_us is not None:
            return time_until_us(unit.last_us + self.frame_gap_us, t_us)
        return 0

    def probe(self, unit_id, function, address, content, t_us):
        """(function, address, content) of a read whose answer would prove that no older reply of this unit can follow;
        None when that is proved already, or nothing may be asked now."""
        debt = self._debt(self.unit(unit_id), shape_of(function, content), t_us)
        if debt is not None and self.unit(unit_id).time_left_us(debt, t_us, self.late_guard_us):
            return None
        return self.other_read(unit_id, function, address, content, t_us)

    def other_read(self, unit_id, function, address, content, t_us):
        """A short read of another shape than this request (see debts.Unit.other_read); None when there is none."""
        unit = self.unit(unit_id)
        unit.forget(t_us, self.hold_off_us, self.late_guard_us)
        return unit.other_read(function, address, shape_of(function, content), t_us, self.hold_off_us)

    def doubt(self, reply, t_us):
        """This reply may have been a copy, and nothing has shown the contrary: the true one is owed."""
        self.unit(reply.unit_id).owe(shape_of(reply.function, reply.count), t_us, t_us, AGAIN)

    def wait_us(self, unit_id, t_us):
        """Time until a request to this unit may be sent (silence of the line, rests of line and unit); 0 is now."""
        wait_us = self._rest_left_us(self.unit(unit_id), t_us)
        if self._line_used_us is not None:
            wait_us = max(wait_us, time_until_us(self._line_used_us + self._quiet_us(), t_us))
        return wait_us

    def request(self, unit_id, function, address, content, t_us, probe=False):
        """Begin an exchange at t_us and return the bytes to send (see encode_request for `content`).

        `probe` asks only to hear whether, and in which order, the unit answers; its data must not be used.
        Raises ModbusError when a field is out of range, a request is under way, the line is not silent
        yet, or an older reply of the same shape may still come. Nothing has changed in these cases.
        """
        sent = encode_request(unit_id, function, address, content)
        if self.waiting or self.wait_us(unit_id, t_us) > 0:
            raise ModbusError("a request is under way, or the line is not silent yet: wait_us() tells how long")
        self.poll(t_us)
        count = items(function, content)
        unit = self.unit(unit_id)
        shape = shape_of(function, content)
        debt = self._debt(unit, shape, t_us)
        if debt is not None and not (probe and (debt[0] == shape or unit.may_probe(shape, t_us, self.hold_off_us))):
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
        self._evidence = NOTHING
        self._foreign_seen = self._remains = 0
        self._early = 0
        if not self._echoed and not self.adapter_echoes:
            self._echoes = 0
        self._echoed = self._echo_awaited = False
        self.waiting = True
        self._line_used_us = t_us + characters_us(len(sent), self.baud)
        unit.statistics.requests += 1
        return sent

    def sent(self, early, t_us):
        """The request has left the port at t_us, as far as the port knows. `early` is what had arrived by then: an
        echo, or bytes of somebody else, but no part of the answer."""
        left_us = elapsed_us(t_us, self._sent_us) - characters_us(len(self._sent), self.baud)
        if left_us > 0:  # later than by the baud rate: the time for the answer begins now
            self._sent_us = self._sent_us + left_us
            self._line_used_us = t_us
        self._look_for_overflow(early, t_us)
        self._take(early, t_us)
        if early and self.waiting:
            self._look_for_echo(t_us)
        self._early = self._length

    def due_us(self, t_us):
        """Time until `poll` may have something to say; None when no request is under way."""
        if not self.waiting:
            return None
        due = self._budget_us - elapsed_us(t_us, self._sent_us)
        if self._length and self._line_used_us is not None:
            gap = self.frame_gap_us - elapsed_us(t_us, self._line_used_us)
            due = min(due, gap)
        return max(0, due)

    def receive(self, data, t_us):
        """Take bytes that were handed over at t_us. Returns None, a Reply, or a ModbusError (not raised)."""
        event = None
        self._look_for_overflow(data, t_us)
        for start in range(0, len(data), FRAME_BYTES_MAX):
            self._take(data[start : start + FRAME_BYTES_MAX], t_us)
            if self.waiting:
                event = self._search(t_us) or event
        return event

    def idle(self, data, t_us):
        """Take what came while nothing is under way (b"" for nothing), at some moment since the last look."""
        if data:
            self.receive(data, t_us)
            return
        self.poll(t_us)
        for unit in self.units.values():
            unit.forget(t_us, self.hold_off_us, self.late_guard_us)

    def poll(self, t_us):
        """Let time pass without bytes. Returns None, a Reply (broadcast), or a ModbusError (not raised)."""
        if self._line_used_us is None:
            return None
        gap = elapsed_us(t_us, self._line_used_us)
        if not self.waiting:
            if gap >= self._quiet_us() or gap < -LONG_US:
                self._judge(self._length)
                self._line_used_us = None
            return None
        if elapsed_us(t_us, self._sent_us) >= self._budget_us:
            return self._end(t_us)
        if self._length and gap >= self.frame_gap_us:
            self._judge(self._length)
            if self._evidence >= SHORT_OURS:
                return self._end(t_us)
        return None

    def abandon(self, t_us):
        """Give up what is under way, if anything: the port failed, or the asking task ended. Its reply stays owed."""
        if self.waiting:
            self._end(t_us)

    def _debt(self, unit, shape, t_us):
        unit.forget(t_us, self.hold_off_us, self.late_guard_us)
        return unit.debt(shape)

    def _look_for_echo(self, t_us):
        """Where what comes behind the echo of our request begins in the buffer; 0 where no echo is seen."""
        start = 0
        sent = self._sent
        identical = self._head == sent[:6] and self._reply_bytes == len(sent)
        if not self._echoed and (self.adapter_echoes or not identical):
            echo = self._buffer.find(sent, 0, self._length)
            timely_us = characters_us(2 * len(sent), self.baud) + self.frame_gap_us
            if echo >= 0 and (self.adapter_echoes or elapsed_us(t_us, self._sent_us) < timely_us):
                start = echo + len(sent)
                self._echo_awaited = True
                if not identical:
                    self._judge(start)  # the echo is gone: the same bytes once more are another client's
                    start = 0
        return start

    def _search(self, t_us):
        """Look for our reply in what has come since our request had ended."""
        start = max(self._look_for_echo(t_us), self._early)
        refusal = bytes((self._sent[0], self._sent[1] | 0x80))
        while self.waiting:
            found = self._find(self._head, self._reply_bytes, start)
            refused = self._find(refusal, 5, start)
            if found < 0 and refused < 0:
                return None
            before = self._length
            if found < 0 or 0 <= refused < found:  # the first one is judged first
                event = self._credit(refused, 5, t_us)
            else:
                event = self._credit(found, self._reply_bytes, t_us)
            if event is not None:
                return event
            start = max(0, start - (before - self._length))
        return None

    def _find(self, head, length, start):
        """Where a whole frame begins with this head; -1 where there is none."""
        while True:
            start = self._buffer.find(head, start, self._length)
            if start < 0 or self._length - start < length:
                return -1
            if crc16(self._buffer, start, start + length) == 0:
                return start
            start += 1

    def _credit(self, start, length, t_us):
        """A whole frame that fits: credit it unless it may be an older one."""
        unit = self._unit
        unit_id, function, address, count, probe = self._asked
        refused = self._buffer[start + 1] & 0x80
        code = self._buffer[start + 2]
        content = bytes(self._buffer[start + 3 : start + length - 2]) if function <= 4 else b""
        crc = self._buffer[start + length - 2] | self._buffer[start + length - 1] << 8
        self._judge(start)
        again = unit.came(self._shape if not refused else (function | 0x80) << 8, crc, t_us, self.late_guard_us)
        # What looked like our echo may be another client's request, and this the reply to it.
        doubtful = self._echoed and not self.adapter_echoes
        again = again or doubtful
        self._drop(length)
        if (unit.doubt(self._shape, refused) and not probe) or self._remains >= _REMAINS_MAX:
            # Another client asked the same while we waited (what came in front of this frame may be the remains of its
            # request), or this may refuse an older request: whose answer it is nobody can tell.
            unit.statistics.foreign_frames += 1
            self._foreign_seen += 1
            return None
        mistakable = unit.doubt(self._shape, refused) is not None
        unit.answered(self._shape, refused, self._sent_us, t_us, crc, again, self.hold_off_us)
        if doubtful and probe and not refused:  # nobody asks whether it was ours
            unit.owe(self._shape, self._sent_us, t_us, AGAIN)
        self._finish(t_us)
        if refused:
            if probe:  # with the other function next, unless this refusal proves as much as an answer
                unit.probe_other = not (unit.probe_other and (mistakable or again))
            unit.statistics.count_exception(code)
            refusal = ModbusExceptionReply(code)
            if again:
                copy = Reply(unit_id, function, address, count, b"", t_us, 0, probe, True)
                refusal.again = copy  # pyright: ignore[reportAttributeAccessIssue]
            return refusal
        latency_us = max(0, elapsed_us(t_us, self._sent_us) - characters_us(len(self._sent), self.baud))
        unit.prompt(latency_us)
        unit.statistics.count_ok(latency_us)
        return Reply(unit_id, function, address, count, content, t_us, latency_us, probe, again)

    def _end(self, t_us):
        """The exchange is over without a credited reply: name what came instead."""
        arriving = self._line_used_us is not None and elapsed_us(t_us, self._line_used_us) < self.frame_gap_us
        if arriving:  # judged when it is whole
            self._evidence = max(self._evidence, self._evidence_of_ours(min(self._early, self._length), self._length))
        else:
            self._judge(self._length)
        unit_id, function, address, count, probe = self._asked
        self._finish(t_us)
        if unit_id == BROADCAST:
            self._unit.statistics.count_ok(0)
            return Reply(unit_id, function, address, count, b"", t_us, 0, probe)
        self._unit.tried(self._sent_us, self.hold_off_us)
        if probe:
            self._unit.probe_other = not self._unit.probe_other
        if function <= 4:
            came = self._evidence == CRC_OURS or (self._evidence == SHORT_OURS and not arriving)
            self._unit.owe(self._shape, self._sent_us, t_us, DAMAGED if came else OWN)
        what = "unit %d, function %d, address %d, count %d" % (unit_id, function, address, count)
        return self._outcome(what)
