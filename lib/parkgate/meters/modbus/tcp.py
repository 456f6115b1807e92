"""Modbus TCP client without I/O, for meters with a network and for gateways with several units behind one address.

The same calls as modbus.client.Client where a bus needs them. Every request carries a transaction number that its
reply repeats, so a late reply is known as such whatever its delay: nothing is ever owed, and no request is held back. A
reply is credited only if transaction, unit, function and byte count fit. There is no CRC: TCP has checksums.

Source: Modbus Messaging on TCP/IP Implementation Guide V1.0b, section 3.1.3 (MBAP header): transaction (2 bytes),
protocol (2 bytes, 0), length (2 bytes, of what follows), unit id, then the PDU.
"""

from parkgate.clock import elapsed_us
from parkgate.errors import ModbusError, ModbusExceptionReply, ModbusForeign, ModbusTimeout
from parkgate.meters.bus_statistics import Statistics

from .debts import Unit
from .frame import Reply, content_bytes, encode_request, items, time_until_us

PORT = 502
_HEADER_BYTES = 6
_LENGTH_MIN, _LENGTH_MAX = 3, 254
_TRANSACTIONS = 1 << 16
_PATH_UNAVAILABLE, _TARGET_SILENT = 10, 11  # Modbus Application Protocol V1.1b3, section 7: the gateway says so


class TcpClient:
    """The client's side of one connection: at most one request under way. Times are µs of a clock that may wrap."""

    def __init__(self, reply_timeout_us=1000000, rest_us=0):
        self.reply_timeout_us = reply_timeout_us
        self.rest_us = rest_us
        self.units = {}
        self.waiting = False
        self.broken = False  # the stream is out of step: close the connection
        self.line = Statistics()
        self._transaction = 0
        self._buffer = b""
        self._asked = None
        self._sent_us = 0
        self._free_at_us = None
        self._foreign_seen = 0

    def unit(self, unit_id, reply_timeout_us=None, rest_us=None):
        """The record of one unit id; the times, where given, replace what was set before."""
        unit = self.units.get(unit_id)
        if unit is None:
            unit = self.units[unit_id] = Unit(self.reply_timeout_us, 0)
        if reply_timeout_us is not None:
            unit.reply_timeout_us = unit.set_timeout_us = reply_timeout_us
        if rest_us is not None:
            unit.rest_us = rest_us
        return unit

    def name(self, unit_id):
        """A unit in words."""
        return "unit %d" % unit_id

    def opened(self):
        """A new connection: nothing of the old one can follow."""
        self._buffer = b""
        self.broken = False

    def slot_us(self, unit_id, _function, _count):
        """Longest time one exchange can take, to the moment when the same unit may be asked again."""
        unit = self.unit(unit_id)
        return unit.reply_timeout_us + max(self.rest_us, unit.rest_us)

    def wait_us(self, unit_id, t_us):
        """Time until a request to this unit may be sent: the rests of unit and bus; 0 is now."""
        until = (self._free_at_us, self.unit(unit_id).free_at_us)
        return max([time_until_us(moment, t_us) for moment in until if moment is not None] or [0])

    def request(self, unit_id, function, address, content, t_us):
        """Begin an exchange at t_us and return the bytes to send. Raises ModbusError as encode_request does."""
        if self.waiting:
            raise ModbusError("a request is under way")
        pdu = encode_request(unit_id, function, address, content)[:-2]
        self._transaction = (self._transaction + 1) % _TRANSACTIONS
        self._asked = (unit_id, function, address, items(function, content))
        self._sent_us = t_us
        self._foreign_seen = 0
        self.waiting = True
        self.unit(unit_id).statistics.requests += 1
        number = self._transaction
        return bytes((number >> 8, number & 0xFF, 0, 0, 0, len(pdu))) + pdu

    def due_us(self, t_us):
        """Time until `poll` has something to say; None when no request is under way."""
        if not self.waiting:
            return None
        return max(0, self.unit(self._asked[0]).reply_timeout_us - elapsed_us(t_us, self._sent_us))

    def receive(self, data, t_us):
        """Take bytes that arrived. Returns None, a Reply, or a ModbusError (not raised)."""
        self._buffer = self._buffer + data if self._buffer else bytes(data)
        event = None
        while len(self._buffer) >= _HEADER_BYTES and not self.broken:
            head = self._buffer
            length = head[4] << 8 | head[5]
            if head[2] or head[3] or not _LENGTH_MIN <= length <= _LENGTH_MAX:
                self.broken = True
                self._buffer = b""
                return self._end(t_us, ModbusForeign("what answers does not speak Modbus TCP"))
            if len(head) < _HEADER_BYTES + length:
                break
            self._buffer = head[_HEADER_BYTES + length :]
            event = self._take(head[0] << 8 | head[1], head[_HEADER_BYTES : _HEADER_BYTES + length], t_us) or event
        return event

    def poll(self, t_us):
        """Let time pass. Returns None or a ModbusError (not raised)."""
        if not self.waiting or self.due_us(t_us):
            return None
        if self._foreign_seen:
            return self._end(t_us, ModbusForeign("another answer than the one that was asked for"))
        return self._end(t_us, ModbusTimeout("unit %d, function %d, address %d, count %d" % self._asked))

    def abandon(self, t_us):
        """Give up what is under way, if anything."""
        if self.waiting:
            self._end(t_us, ModbusTimeout("given up"))

    def _take(self, transaction, body, t_us):
        unit = self.units.get(body[0])
        statistics = unit.statistics if unit else self.line
        if not self.waiting or transaction != self._transaction:
            behind = (self._transaction - transaction) % _TRANSACTIONS
            if unit and behind < _TRANSACTIONS // 2:
                statistics.late_frames += 1
            else:
                statistics.foreign_frames += 1
            return None
        unit_id, function, address, count = self._asked
        if body[0] != unit_id or body[1] & 0x7F != function:
            return self._count_foreign(statistics)
        if body[1] & 0x80:
            return self._refused(unit, body[2], t_us)
        if function <= 4:
            fits = len(body) == 3 + content_bytes(function, count) and body[2] == len(body) - 3
        else:
            fits = len(body) == 6
        if not fits:
            return self._count_foreign(statistics)
        latency_us = max(0, elapsed_us(t_us, self._sent_us))
        self._finish(unit, t_us)
        statistics.count_ok(latency_us)
        content = bytes(body[3:]) if function <= 4 else b""
        return Reply(unit_id, function, address, count, content, t_us, latency_us, False)

    def _refused(self, unit, code, t_us):
        if code in (_PATH_UNAVAILABLE, _TARGET_SILENT):
            unit.statistics.exceptions[code] += 1
            return self._end(t_us, ModbusTimeout("no unit %d behind it (exception %d)" % (self._asked[0], code)))
        self._finish(unit, t_us)
        unit.statistics.count_exception(code)
        return ModbusExceptionReply(code)

    def _count_foreign(self, statistics):
        statistics.foreign_frames += 1
        self._foreign_seen += 1

    def _finish(self, unit, t_us):
        self.waiting = False
        if self.rest_us:
            self._free_at_us = t_us + self.rest_us
        if unit.rest_us:
            unit.free_at_us = t_us + unit.rest_us

    def _end(self, t_us, error):
        """The exchange is over without a credited reply."""
        if not self.waiting:
            return error
        unit = self.unit(self._asked[0])
        self._finish(unit, t_us)
        if isinstance(error, ModbusForeign):
            unit.statistics.foreign += 1
        else:
            unit.statistics.timeout += 1
        return error


def parse(device):
    """(host, port) of "tcp:HOST" or "tcp:HOST:PORT"; None when it is neither."""
    host, _, port = device[4:].partition(":")
    if device[:4] != "tcp:" or not host or not (port or str(PORT)).isdigit() or not 0 < int(port or PORT) < 65536:
        return None
    return host, int(port or PORT)
