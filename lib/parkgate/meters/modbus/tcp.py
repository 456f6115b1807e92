"""Modbus TCP client without I/O, for meters with a network and for gateways with several units behind one address.

The same calls as modbus.client.Client where a bus needs them. Every request carries a transaction number that its
reply repeats, so a late reply is known as such whatever its delay: nothing is ever owed, and no request is held back. A
reply is credited only if transaction, unit, function and byte count fit. There is no CRC: TCP has checksums. A late
reply raises the unit's time-out as on a serial line.

Known limit. Behind a gateway with a serial line of its own, that gateway decides which answer belongs to which request.
Set its time-out above the slowest meter's, and ours above its own.

Source: Modbus Messaging on TCP/IP Implementation Guide V1.0b, section 3.1.3 (MBAP header): transaction (2 bytes),
protocol (2 bytes, 0), length (2 bytes, of what follows), unit id, then the PDU.
"""

from parkgate.clock import elapsed_us
from parkgate.errors import ModbusError, ModbusExceptionReply
from parkgate.meters.bus_client import BusClient, BusUnit

from .frame import Reply, content_bytes, encode_request, items

PORT = 502
_HEADER_BYTES = 6
_LENGTH_MIN, _LENGTH_MAX = 3, 254
_TRANSACTIONS = 1 << 16
_UNANSWERED_MAX = 8
_PATH_UNAVAILABLE, _TARGET_SILENT = 10, 11  # Modbus Application Protocol V1.1b3, section 7: the gateway says so


class TcpClient(BusClient):
    """The client's side of one connection: at most one request under way. Times are µs of a clock that may wrap."""

    def __init__(self, reply_timeout_us=1000000, rest_us=0):
        BusClient.__init__(self, BusUnit, reply_timeout_us, rest_us)
        self.broken = False  # the stream is out of step: close the connection
        self._transaction = 0
        self._buffer = b""
        self._sent_us = 0
        self._framed = False  # whether any frame came since our request
        self._unanswered = []  # [transaction, when it was sent] of the last requests that ended in silence
        self.silences = 0  # so many requests in a row without any frame

    def opened(self):
        """A new connection: nothing of the old one can follow."""
        self._buffer = b""
        self._unanswered = []
        self.silences = 0
        self.broken = False

    def slot_us(self, unit_id, _function, _count):
        """Longest time one exchange can take, to the moment when the same unit may be asked again."""
        unit = self.unit(unit_id)
        return unit.reply_timeout_us + max(self.rest_us, unit.rest_us)

    def wait_us(self, unit_id, t_us):
        """Time until a request to this unit may be sent: the rests of unit and bus; 0 is now."""
        return self._rest_left_us(self.unit(unit_id), t_us)

    def request(self, unit_id, function, address, content, t_us):
        """Begin an exchange at t_us and return the bytes to send. Raises ModbusError as encode_request does."""
        if self.waiting:
            raise ModbusError("a request is under way")
        pdu = encode_request(unit_id, function, address, content)[:-2]
        self._transaction = (self._transaction + 1) % _TRANSACTIONS
        self._asked = (unit_id, function, address, items(function, content))
        self._unit = self.unit(unit_id)
        self._sent_us = t_us
        self._foreign_seen = 0
        self._framed = False
        self.waiting = True
        self._unit.statistics.requests += 1
        number = self._transaction
        return bytes((number >> 8, number & 0xFF, 0, 0, 0, len(pdu))) + pdu

    def due_us(self, t_us):
        """Time until `poll` has something to say; None when no request is under way."""
        if not self.waiting:
            return None
        return max(0, self._unit.reply_timeout_us - elapsed_us(t_us, self._sent_us))

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
                if self.waiting:
                    self._count_foreign()
                    event = self._end(t_us, "what answers does not speak Modbus TCP")
                return event
            if len(head) < _HEADER_BYTES + length:
                break
            self._buffer = head[_HEADER_BYTES + length :]
            event = self._take(head[0] << 8 | head[1], head[_HEADER_BYTES : _HEADER_BYTES + length], t_us) or event
        return event

    def poll(self, t_us):
        """Let time pass. Returns None or a ModbusError (not raised)."""
        if not self.waiting or self.due_us(t_us):
            return None
        return self._end(t_us, "unit %d, function %d, address %d, count %d" % self._asked)

    def abandon(self, t_us):
        """Give up what is under way, if anything."""
        if self.waiting:
            self._end(t_us, "given up")

    def _take(self, transaction, body, t_us):
        """One frame: our reply, or counted as something else."""
        self._framed = True
        self.silences = 0
        if not self.waiting or transaction != self._transaction:
            self._take_other(transaction, self.units.get(body[0]), t_us)
            return None
        unit_id, function, address, count = self._asked
        if body[0] != unit_id or body[1] & 0x7F != function:
            return self._count_foreign()
        if body[1] & 0x80:
            return self._refused(body[2], t_us)
        if function <= 4:
            fits = len(body) == 3 + content_bytes(function, count) and body[2] == len(body) - 3
        else:
            fits = len(body) == 6
        if not fits:
            return self._count_foreign()
        latency_us = max(0, elapsed_us(t_us, self._sent_us))
        self._finish(t_us)
        self._unit.prompt(latency_us)
        self._unit.statistics.count_ok(latency_us)
        return Reply(unit_id, function, address, count, body[3:] if function <= 4 else b"", t_us, latency_us)

    def _take_other(self, transaction, unit, t_us):
        """A frame that does not answer what is asked: late, or of somebody who does not repeat our numbers."""
        for request in self._unanswered:
            if request[0] == transaction and unit:
                self._unanswered.remove(request)
                unit.statistics.late_frames += 1
                unit.be_patient(elapsed_us(t_us, request[1]))
                return
        self._count_foreign()

    def _refused(self, code, t_us):
        statistics = self._unit.statistics
        if code in (_PATH_UNAVAILABLE, _TARGET_SILENT):
            statistics.exceptions[code] += 1
            return self._end(t_us, "no unit %d behind it (exception %d)" % (self._asked[0], code))
        self._finish(t_us)
        statistics.count_exception(code)
        return ModbusExceptionReply(code)

    def _end(self, t_us, what):
        """The exchange is over without a credited reply."""
        self._unanswered = self._unanswered[1 - _UNANSWERED_MAX :] + [[self._transaction, self._sent_us]]
        if not self._framed:
            self.silences += 1
        self._finish(t_us)
        return self._outcome(what)


def parse(device):
    """(host, port) of "tcp:HOST" or "tcp:HOST:PORT"; None when it is neither."""
    host, _, port = device[4:].partition(":")
    if device[:4] != "tcp:" or not host or not (port or str(PORT)).isdigit() or not 0 < int(port or PORT) < 65536:
        return None
    return host, int(port or PORT)
