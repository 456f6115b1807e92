"""What arrives on a Modbus RTU line and is not credited: it is named, counted, and what it pays or adds is noted.

A buffer holds what came since the last judgement. `Arrivals` takes whole frames out of it, and judges the bytes between
them; client.Client decides when, and takes the reply to its own request out first.
"""

from parkgate.meters.bus_client import CRC_OURS, DAMAGED, NOTHING, SHORT_OURS, BusClient

from .debts import THEIRS, Unit
from .frame import FRAME_BYTES_MAX, READ_BITS_MAX, WRITE_REGISTERS, frame_length, is_read_request, shape_of, silence_us

_BUFFER_BYTES = 2 * FRAME_BYTES_MAX + 32
_ECHOES_IN_A_ROW = 2  # then the adapter is known to echo
_STRANGE_BYTES = 4  # shorter pieces are noise
_OVERFLOW_BYTES = 500  # a port that held so much at once may have lost some: the buffer of a board's has 512
_HEAD_BYTES = 6  # of a request: all that tells its shape


class Arrivals(BusClient):
    """The receiving half of a client on a serial line."""

    _unit: "Unit"  # pyright: ignore[reportIncompatibleVariableOverride]

    def __init__(self, baud, reply_timeout_us, rest_us, frame_gap_us, adapter_echoes, late_guard_us):
        BusClient.__init__(self, Unit, reply_timeout_us, rest_us)
        self.silence_us = silence_us(baud)
        self.frame_gap_us = max(frame_gap_us, self.silence_us)
        self.adapter_echoes = adapter_echoes
        self.late_guard_us = late_guard_us
        self._buffer = bytearray(_BUFFER_BYTES)
        self._length = 0
        self._echoed = False  # the echo of our request has been seen
        self._echo_awaited = False  # what came looks like it, and soon enough
        self._echoes = 0  # in a row; one may be another client's request like ours
        self._early = 0  # so many bytes of the buffer came before our request had ended
        self._line_used_us = None
        self._sent = self._head = b""
        self._reply_bytes = 0
        self._remains = 0  # so many bytes were judged that came since our request had ended and are part of no frame

    def _look_for_overflow(self, data, t_us):
        if len(data) >= _OVERFLOW_BYTES:
            for unit in self.units.values():
                unit.owe_anything(t_us)

    def _take(self, data, t_us):
        for start in range(0, len(data), FRAME_BYTES_MAX):
            piece = data[start : start + FRAME_BYTES_MAX]
            if self._length + len(piece) > _BUFFER_BYTES:
                self._judge(self._length)
            end = self._length + len(piece)
            self._buffer[self._length : end] = piece
            self._length = end
            self._line_used_us = t_us

    def _quiet_us(self):
        """How long the line must be silent until what came is judged: longer while a frame may be cut in two."""
        data, start, rest = self._buffer, 0, 0
        while start < self._length:
            length = frame_length(data, start, self._length)
            if length == 8 and start + 8 == self._length and data[start + 1] <= 4 == data[start + 2]:
                return self.frame_gap_us  # a zero more would make a reply of it
            start += length or 1
            rest = start if length else rest
        for i in range(max(rest, self._length - 7), self._length):
            if data[i] in self.units and (i + 1 == self._length or data[i + 1] & 0x7F <= WRITE_REGISTERS):
                return self.frame_gap_us
        return self.silence_us

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
        awaited = self.adapter_echoes or self._echo_awaited
        if awaited and not self._echoed and bytes(data[start : start + length]) == self._sent:
            self._echoed = True
            self._echoes += 1
            self.adapter_echoes = self.adapter_echoes or self._echoes >= _ECHOES_IN_A_ROW
            self._own_statistics().echo_frames += 1
            return
        unit = self.units.get(data[start])
        function = data[start + 1]
        t_us = self._line_used_us
        if unit is None:
            self._count_foreign()
            return
        asked = is_read_request(data, start, self._length)  # even if it can be a reply too: both are feared
        whose = None
        if function & 0x80:
            crc = data[start + length - 2] | data[start + length - 1] << 8
            unit.came(function << 8, crc, t_us, self.late_guard_us)
            whose = unit.pay_refusal(function & 0x7F, t_us)
        elif function <= 4 and length == 5 + data[start + 2]:
            shape = function << 8 | data[start + 2]
            crc = data[start + length - 2] | data[start + length - 1] << 8
            unit.came(shape, crc, t_us, self.late_guard_us)
            if length == 8 or not asked:
                whose = unit.pay(shape, t_us, crc)
            if whose is None and length != 8:
                unit.unasked()
        if whose is None and asked:
            self._owe_theirs(unit, shape_of(function, data[start + 4] << 8 | data[start + 5]))
        else:
            self._let_rest(unit, t_us)
        if whose is None:
            self._count_foreign()
        else:
            unit.statistics.late_frames += 1

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
        strange = last - first >= _STRANGE_BYTES
        if not self._is_ours(first, last):
            self._owe_cut_request(first, last)
        if not self.waiting:
            if strange:
                self.line.crc += 1
                for unit in self.units.values():
                    unit.strange += 1
            return
        if self._is_ours(first, last):
            self._own_statistics().echo_frames += 1
            return
        if strange:  # also what came before our request had ended: it may be the true reply to the one before
            self._unit.strange += 1
        first = max(first, min(end, self._early))
        if first < last:
            self._remains += last - first
            evidence = DAMAGED if last - first >= _STRANGE_BYTES else NOTHING
            self._evidence = max(self._evidence, self._evidence_of_ours(first, end) or evidence)

    def _is_ours(self, first, last):
        return self.waiting and self._is_cut_echo(first, last)

    def _owe_cut_request(self, first, last):
        """Where a piece is the beginning of another client's request to one of our units, its answer may come."""
        data = self._buffer
        if last - first >= _HEAD_BYTES and data[first] in self.units and 1 <= data[first + 1] <= 4:
            count = data[first + 4] << 8 | data[first + 5]
            if 1 <= count <= READ_BITS_MAX:
                self._owe_theirs(self.units[data[first]], shape_of(data[first + 1], count))

    def _owe_theirs(self, unit, shape):
        """Another client asked one of our units: its answer must not be taken for ours. It is as if we had asked, and
        our time-out had passed."""
        t_us = self._line_used_us
        unit.owe(shape, t_us, t_us + unit.reply_timeout_us, THEIRS)

    def _is_cut_echo(self, first, last):
        """Whether the bytes are the beginning or the end of our own request and cannot be that of a reply."""
        data = self._buffer
        sent = self._sent
        size = last - first
        piece = bytes(data[first:last])
        if size >= _STRANGE_BYTES and piece == sent[-size:]:
            return True  # its first bytes were lost while the adapter turned round
        return size >= 3 and sent[1] <= 4 and piece[2] != self._head[2] and piece == sent[:size]

    def _evidence_of_ours(self, first, end):
        """Whether data[first:end] holds our reply cut short or damaged."""
        data = self._buffer
        at = data.find(self._head, first, end)
        if at >= 0:
            return CRC_OURS if end - at >= self._reply_bytes else SHORT_OURS
        at = data.find(self._head[:2], first, end)
        if at >= 0 and end - at == 2:
            return SHORT_OURS
        return NOTHING

    def _drop(self, count):
        left = self._length - count
        self._early = max(0, self._early - count)
        if left > 0 and count > 0:
            self._buffer[0:left] = self._buffer[count : self._length]
        self._length = max(0, left)
