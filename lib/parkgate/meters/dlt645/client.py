"""DL/T 645-2007 client without I/O: bytes and times go in, bytes to send and events come out.

It is driven as modbus.client is. A `unit_id` is a meter's address, 6 bytes as on the wire; `address` a data identifier,
4 bytes as on the wire; `content` how many data bytes are expected (for the time that the reply takes). Times are
microseconds of a clock that may wrap at 2^30; call `poll` or `idle` every few minutes when nothing is asked.

When a reply is credited
------------------------
A reply names its meter and its data identifier, so it can hardly answer another question. It can answer an *older* one
of the same kind: then it holds a value of the sample before. So a reply is credited only if

1. its first byte was handed over after our request, its checksum is right, and it carries the identifier and the
   address that were asked (a true one: a reply under the wildcard is nobody's); and
2. no older answer with this identifier can still be under way from that meter; and
3. nothing but silence follows it for two characters. Where two send at once, the bytes of one clear bits of the
   other's, and a sum of 8 bits does not always see it; but the one who began later also ends later.

For (2) each meter has debts, as in modbus.py: what it was asked and has not answered, and what another client asked it.
A debt ends when its frame turns up (counted as late), `late_guard_us` after it began once the meter has answered
something else, or `hold_off_us` after it began. While an identifier is owed it is not asked for (`may_ask`); `probe`
names another one, whose answer proves that nothing older follows. A frame may also be sent twice by a converter: so an
identifier is not asked again within `again_us` of the last frame that carried it (`wait_us`).

A refusal (bit 6 of the control code) carries no identifier. It is credited only when nothing else is owed and no
refusal came within `late_guard_us`; otherwise it is counted as foreign, and nothing is learnt from it.

Silence
-------
A meter answers within 500 ms (Td) and pauses at most 500 ms between two bytes (Tb). A frame that began keeps the line
for Tb more; a request goes out after `silence_us` without a byte.
"""

from parkgate.clock import elapsed_us
from parkgate.errors import Dlt645Refusal, ModbusError
from parkgate.meters.bus_client import CRC_OURS, DAMAGED, NOTHING, SHORT_OURS, BusClient

from .frame import (
    ANY,
    FRAME_BYTES_MAX,
    FRAME_BYTES_MIN,
    FROM_METER,
    FUNCTION,
    MORE,
    PREAMBLE_BYTES,
    READ,
    READ_ADDRESS,
    READ_FOLLOWING,
    REFUSED,
    Reply,
    characters_us,
    encode_request,
    fits,
    frame_data,
    frame_length,
    is_true,
    meaning,
    shape_of,
    shape_of_reply,
    text_of,
)
from .unit import ANY_SHAPE, Unit

REPLY_TIMEOUT_US_MIN = 600000  # a meter may take 500 ms (Td)
_BUFFER_BYTES = 2 * FRAME_BYTES_MAX
_SETTLE_US = 60000  # rubbish after which nothing came for so long is over
_SILENCE_US_MIN = 20000  # no meter answers sooner (Td)
# Identifiers that nearly every meter has, for a probe: its own address, import energy, voltage, frequency.
_PROBES = (b"\x01\x04\x00\x04", b"\x00\x00\x01\x00", b"\x00\x01\x01\x02", b"\x02\x00\x80\x02")


class Client(BusClient):
    """The client's side of one bus: at most one request under way. See the module's text for the rules."""

    _unit: "Unit"

    def __init__(
        self,
        baud,
        reply_timeout_us=REPLY_TIMEOUT_US_MIN,
        hold_off_us=3000000,
        late_guard_us=1000000,
        frame_gap_us=500000,
        again_us=300000,
        rest_us=0,
    ):
        BusClient.__init__(self, Unit, reply_timeout_us, rest_us)
        self.baud = baud
        self.silence_us = max(_SILENCE_US_MIN, characters_us(4, baud))
        self.quiet_us = characters_us(2, baud) + 2000
        self.hold_off_us = hold_off_us
        self.late_guard_us = late_guard_us
        self.frame_gap_us = frame_gap_us
        self.again_us = again_us
        self._heard = None
        self._buffer = bytearray(_BUFFER_BYTES)
        self._length = 0
        self._early = 0  # so many bytes at the front of the buffer came before the request had left
        self._held = None  # (control, address, content, t_us) of our reply, until it is known that silence follows
        self._partial = False  # the buffer ends in what may become a frame
        self._line_used_us = None
        self._sent = b""
        self._shape = ANY_SHAPE
        self._sent_us = 0
        self._budget_us = 0
        self._echoed = False

    def collect(self, heard):
        """Add the address of every meter whose frame comes by to this set; None ends it."""
        self._heard = heard

    def name(self, unit_id):
        """A meter in words, for messages."""
        return "the only meter" if unit_id == ANY else "meter " + text_of(unit_id)

    def slot_us(self, unit_id, _function, content):
        """Longest time one exchange can take, from its first byte to the moment when the same meter may be asked again:
        the request, the meter's time, the reply, one pause inside a frame, and the silence or the rests."""
        unit = self.unit(unit_id)
        rest_us = max(self.silence_us, self.rest_us, unit.rest_us)
        return self._budget_of(unit, content) + self.frame_gap_us + rest_us

    def may_ask(self, unit_id, function, _content, t_us, address=b""):
        """False while an older reply of this shape may still come: ask a probe of another shape instead."""
        unit = self.unit(unit_id)
        unit.forget(t_us, self.hold_off_us, self.late_guard_us, self.again_us)
        return not unit.owes(shape_of(function, address))

    def probe(self, unit_id, _function, address, _content, t_us):
        """(function, identifier, content) of another read whose answer proves that no older one can follow, or None."""
        unit = self.unit(unit_id)
        for identifier in _PROBES:
            shape = shape_of(READ, identifier)
            if identifier != address and not unit.owes(shape) and not unit.copy_us(shape, t_us, self.again_us):
                return READ, identifier, 6
        return None

    def other_read(self, *which):
        """The same: a read of another identifier."""
        return self.probe(*which)

    def owed_us(self, unit_id, function, _content, t_us, address=b""):
        """How long only time has to pass until this may be asked: a copy of the last frame like its answer may come."""
        return self.unit(unit_id).copy_us(shape_of(function, address), t_us, self.again_us)

    def wait_us(self, unit_id, t_us, function=0, address=None):
        """Time until this may be asked (silence of the line, rest of the meter, repetition); 0 is now."""
        unit = self.unit(unit_id)
        wait = self._rest_left_us(unit, t_us)
        if self._line_used_us is not None:
            silence_us = self.frame_gap_us if self._partial else self.silence_us
            wait = max(wait, silence_us - elapsed_us(t_us, self._line_used_us))
        if address is not None:
            wait = max(wait, unit.copy_us(shape_of(function, address), t_us, self.again_us))
        return wait

    def request(self, unit_id, function, address, content, t_us, probe=False):
        """Begin an exchange at t_us and return the bytes to send.

        `address` is the data identifier (READ), with the sequence number behind it (READ_FOLLOWING, 5 bytes), or b""
        (READ_ADDRESS). `probe` asks only to hear whether, and in which order, the meter answers.
        Raises ModbusError when something is out of range, a request is under way, the line is not silent yet, or an
        older reply of the same shape may still come. Nothing has changed in these cases.
        """
        if self.waiting:
            raise ModbusError("a request is under way")
        sequence = address[4] if function == READ_FOLLOWING and len(address) == 5 else 0
        sent = encode_request(unit_id, function, address[:4], sequence)
        if self.wait_us(unit_id, t_us, function, address) > 0:
            raise ModbusError("the line is not silent yet: wait_us() tells how long")
        if not self.may_ask(unit_id, function, content, t_us, address):
            raise ModbusError("%s may still send an older reply of this shape: probe it first" % self.name(unit_id))
        self._search(t_us, True)  # what came before the request is no answer to it
        unit = self.unit(unit_id)
        self._sent = sent
        self._unit = unit  # pyright: ignore[reportIncompatibleVariableOverride]
        self._shape = shape_of(function, address)
        self._asked = (unit_id, function, address, probe)
        self._sent_us = t_us
        self._budget_us = self._budget_of(unit, content)
        self._evidence = NOTHING
        self._foreign_seen = 0
        self._echoed = False
        self._held = None
        self.waiting = True
        self._line_used_us = t_us + characters_us(len(sent), self.baud)
        unit.statistics.requests += 1
        return sent

    def sent(self, early, t_us):
        """The request has left at t_us. `early` are bytes that had arrived by then: an echo, or of somebody else, and
        so is a frame that begins in them."""
        if self.waiting:
            self._line_used_us = t_us
            if early:
                self._early = self._length + len(early)
                self.receive(early, t_us)

    def due_us(self, t_us):
        """Time until `poll` may have something to say; None when no request is under way."""
        if not self.waiting:
            return None
        due = self._budget_us - elapsed_us(t_us, self._sent_us)
        idle = elapsed_us(t_us, self._line_used_us)
        if self._held is not None:
            return max(0, self.quiet_us - idle)
        if self._length:
            if self._partial:
                due = min(due + self.frame_gap_us, self.frame_gap_us - idle)
            else:
                due = min(due, _SETTLE_US - idle)
        return max(0, due)

    def receive(self, data, t_us):
        """Take bytes that were handed over at t_us. Returns None, a Reply, or a ModbusError (not raised)."""
        event = self._released(t_us)
        for start in range(0, len(data), FRAME_BYTES_MAX):
            piece = data[start : start + FRAME_BYTES_MAX]
            if self._length + len(piece) > _BUFFER_BYTES:
                self._search(t_us, True)
            end = self._length + len(piece)
            self._buffer[self._length : end] = piece
            self._length = end
            self._line_used_us = t_us
            self._search(t_us, False)
        return event

    def idle(self, data, t_us):
        """Take what came while nothing is under way (b"" for nothing), at some moment since the last look."""
        if data:
            self.receive(data, t_us)
            return
        self.poll(t_us)
        for unit in self.units.values():
            unit.forget(t_us, self.hold_off_us, self.late_guard_us, self.again_us)

    def poll(self, t_us):
        """Let time pass without bytes. Returns None, a Reply, or a ModbusError (not raised)."""
        if self._line_used_us is None:
            return None
        idle = elapsed_us(t_us, self._line_used_us)
        if not self.waiting:
            if idle >= (self.frame_gap_us if self._partial else self.silence_us):
                self._search(t_us, True)
                self._line_used_us = None
            return None
        left = self._budget_us - elapsed_us(t_us, self._sent_us)
        event = self._released(t_us)
        if event is not None or self._held is not None:
            return event
        if self._partial:
            if idle >= self.frame_gap_us or left <= -self.frame_gap_us:
                self._search(t_us, True)
        elif self._length and idle >= _SETTLE_US:
            self._search(t_us, True)
        if event is None and self.waiting and left <= 0 and (not self._partial or left <= -self.frame_gap_us):
            event = self._end(t_us)
        return event

    def abandon(self, t_us):
        """Give up what is under way, if anything: the port failed, or the asking task ended. Its reply stays owed."""
        if self.waiting:
            self._end(t_us)

    # What follows is private.

    def _budget_of(self, unit, content):
        """Time from the first byte of a request until its reply must be whole."""
        count = 2 * (PREAMBLE_BYTES + FRAME_BYTES_MIN) + 5 + 5 + content
        return characters_us(count, self.baud) + unit.reply_timeout_us

    def _search(self, t_us, final):
        """Take the whole frames out of the buffer, in their order. `final`: nothing more comes, so what is no whole
        frame is rubbish; otherwise the search waits for the end of what may become one."""
        start = 0
        self._partial = False
        while start < self._length:
            start = self._buffer.find(b"\x68", start, self._length)
            if start < 0:
                break
            length = frame_length(self._buffer, start, self._length)
            if length > 0:
                self._judge_rest(start)
                self._judge_frame(start, length, t_us)
                self._drop(start + length)
                start = 0
            elif length < 0 and not final:
                self._partial = True
                self._spoil()
                return
            else:
                start += 1
        if final:
            self._judge_rest(self._length)
            self._drop(self._length)
        elif self._held is not None and meaning(self._buffer, 0, self._length) is not None:
            self._spoil()

    def _judge_frame(self, start, length, t_us):
        """One whole frame: our reply is kept until silence follows, everything else is named and counted."""
        data = self._buffer
        address = bytes(data[start + 1 : start + 7])
        control = data[start + 8]
        self._spoil()
        if not control & FROM_METER:
            self._judge_request(start, length, address, control, t_us)
            return
        if self._heard is not None and is_true(address):
            self._heard.add(address)
        content = frame_data(data, start, length)
        shape = shape_of_reply(control, content, address)
        if self.waiting and start >= self._early and self._answers(control, address, shape):
            self._held = (control, address, content, t_us)
        else:
            self._uncredited(address, shape, control & REFUSED, t_us)

    def _released(self, t_us):
        """Our reply, if silence has followed it; the event that it is."""
        if self._held is None or elapsed_us(t_us, self._line_used_us) < self.quiet_us:
            return None
        control, address, content, held_us = self._held
        self._held = None
        return self._credit(control, address, content, held_us)

    def _spoil(self):
        """Something followed our reply at once: it may be damaged."""
        if self._held is not None:
            self._held = None
            self._evidence = CRC_OURS

    def _answers(self, control, address, shape):
        """Whether a meter's frame fits our question, as far as the frame itself tells."""
        unit_id, function, _, _ = self._asked
        if control & FUNCTION != function or not fits(unit_id, address) or not is_true(address):
            return False
        return bool(control & REFUSED) or shape == self._shape

    def _credit(self, control, address, content, t_us):
        """A whole frame that fits: credit it unless it may be an older one."""
        unit = self._unit
        _, function, identifier, probe = self._asked
        refused = control & REFUSED
        unit.forget(t_us, self.hold_off_us, self.late_guard_us, self.again_us)
        if unit.owes(self._shape) or (refused and (unit.debts or unit.refused_us is not None)):
            unit.came(None if refused else self._shape, t_us)
            unit.statistics.foreign_frames += 1
            self._foreign_seen += 1
            return None
        self._finish(t_us)
        unit.came(None if refused else self._shape, t_us)
        if refused:
            code = content[0] if content else 0
            unit.statistics.count_exception(code)
            return Dlt645Refusal(code, address)
        for debt in unit.debts:
            if elapsed_us(self._sent_us, debt[1]) >= 0:  # what was asked after us may still come
                debt[2] = True
        latency_us = max(0, elapsed_us(t_us, self._sent_us) - characters_us(len(self._sent), self.baud))
        unit.prompt(latency_us)
        unit.statistics.count_ok(latency_us)
        if function == READ:
            content = content[4:]
        elif function == READ_FOLLOWING:
            content = content[4:-1]
        return Reply(address, function, identifier, content, bool(control & MORE), t_us, latency_us, probe)

    def _uncredited(self, address, shape, refused, t_us):
        """A meter's whole frame that is no answer to us now: late, the second of two, or somebody else's."""
        late = False
        for unit_id, unit in self.units.items():
            if fits(unit_id, address):
                unit.forget(t_us, self.hold_off_us, self.late_guard_us, self.again_us)
                paid = unit.debts[0][0] if refused and len(unit.debts) == 1 else shape
                late = paid is not None and unit.pay(paid, t_us)
                if refused or shape is not None:
                    unit.came(shape, t_us)
                if late:
                    unit.statistics.late_frames += 1
                    break
        if not late:
            self._count_foreign()

    def _judge_request(self, start, length, address, control, t_us):
        """A request: our own echo, or that of another client, whose answer must not be taken for ours."""
        frame = bytes(self._buffer[start : start + length])
        late_us = elapsed_us(t_us, self._sent_us) - characters_us(len(self._sent), self.baud)
        early = late_us < characters_us(length, self.baud)  # one that began behind ours cannot be here yet
        if self.waiting and not self._echoed and early and frame == self._sent[PREAMBLE_BYTES:]:
            self._echoed = True
            self._unit.statistics.echo_frames += 1
            return
        self._count_foreign()
        shape = shape_of_reply(control, frame_data(self._buffer, start, length), address)
        if control not in (READ, READ_FOLLOWING, READ_ADDRESS) or shape is None:
            return
        for unit_id, unit in self.units.items():
            if unit_id == ANY or fits(address, unit_id):
                # As if it were ours, and had just ended unanswered.
                unit.owe(shape, t_us + unit.reply_timeout_us, False)

    def _judge_rest(self, end):
        """Bytes before `end` that are part of no whole frame."""
        rest = meaning(self._buffer, 0, end)
        if rest is None:
            return
        first, end = rest
        self._spoil()
        self._own_statistics().noise_bytes += end - first
        evidence = DAMAGED if end - first >= 4 else NOTHING
        if self.waiting:
            self._evidence = max(self._evidence, self._evidence_of_ours(first, end) or evidence)
        elif evidence:
            self.line.crc += 1

    def _evidence_of_ours(self, first, end):
        """Whether data[first:end] holds our reply cut short or damaged. Damaged, it must still carry our identifier:
        else it may as well be an older one, and ours is still to come."""
        data = self._buffer
        unit_id, function, identifier, _ = self._asked
        wanted = bytes([(byte + 0x33) & 0xFF for byte in identifier[:4]])
        found = NOTHING
        at = data.find(b"\x68", first, end)
        while at >= 0:
            head = end - at >= 9 and data[at + 7] == 0x68 and fits(unit_id, data[at + 1 : at + 7])
            if head and data[at + 8] & ~(REFUSED | MORE) == function | FROM_METER:
                whole = end - at >= FRAME_BYTES_MIN and end - at >= FRAME_BYTES_MIN + data[at + 9]
                ours = whole and bytes(data[at + 10 : at + 10 + len(wanted)]) == wanted
                found = max(found, CRC_OURS if ours else SHORT_OURS)
            at = data.find(b"\x68", at + 1, end)
        return found

    def _end(self, t_us):
        """The exchange is over without a credited reply: name what came instead."""
        self._search(t_us, True)
        self._held = None
        unit_id, _, identifier, _ = self._asked
        self._finish(t_us)
        unit = self._unit
        if self._evidence != CRC_OURS:
            unit.owe(self._shape, t_us)
        what = "%s, identifier %s" % (self.name(unit_id), text_of(identifier[:4]) or "address")
        return self._outcome(what)

    def _drop(self, count):
        left = self._length - count
        if left > 0 and count > 0:
            self._buffer[0:left] = self._buffer[count : self._length]
        self._length = max(0, left)
        self._early = max(0, self._early - count)
