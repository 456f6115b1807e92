"""Modbus TCP: transaction numbers tell late replies from the awaited one, and the stream is taken as it comes."""

from check import equal, raises, true
from parkgate.errors import ModbusError, ModbusExceptionReply, ModbusForeign, ModbusTimeout
from parkgate.meters.modbus.frame import Reply
from parkgate.meters.modbus.tcp import TcpClient, parse

MS = 1000


def reply(number, unit_id, pdu):
    return bytes((number >> 8, number & 255, 0, 0, 0, 1 + len(pdu), unit_id)) + pdu


def asked(count=2):
    client = TcpClient(300 * MS)
    return client, client.request(7, 4, 0x100, count, 0)


def test_a_request_as_in_the_guide_and_its_reply_in_pieces():
    client, sent = asked()
    equal(sent, b"\x00\x01\x00\x00\x00\x06\x07\x04\x01\x00\x00\x02")
    whole = reply(1, 7, b"\x04\x04\x00\x01\x00\x02")
    for i in range(len(whole) - 1):
        equal(client.receive(whole[i : i + 1], 10 * MS), None)
    event = client.receive(whole[-1:], 20 * MS)
    true(isinstance(event, Reply))
    equal((event.words(), event.latency_us), ([1, 2], 20 * MS))


def test_a_late_reply_is_counted_and_never_credited():
    client, _ = asked()
    true(isinstance(client.poll(300 * MS), ModbusTimeout))
    client.request(7, 4, 0x100, 2, 300 * MS)
    equal(client.receive(reply(1, 7, b"\x04\x04\xff\xff\xff\xff"), 310 * MS), None)
    event = client.receive(reply(2, 7, b"\x04\x04\x00\x01\x00\x02"), 320 * MS)
    equal(event.words(), [1, 2])
    equal(client.unit(7).statistics.late_frames, 1)


def test_what_fits_by_number_only_is_foreign():
    for wrong in (
        reply(1, 8, b"\x04\x04\x00\x01\x00\x02"),
        reply(1, 7, b"\x03\x04\x00\x01\x00\x02"),
        reply(1, 7, b"\x04\x02\x00\x01"),
        reply(1, 7, b"\x04\x04\x00\x01"),
    ):
        client, _ = asked()
        equal(client.receive(wrong, 10 * MS), None)
        true(isinstance(client.poll(300 * MS), ModbusForeign))


def test_refusals_and_a_silent_unit_behind_a_gateway():
    client, _ = asked()
    event = client.receive(reply(1, 7, b"\x84\x02"), 10 * MS)
    true(isinstance(event, ModbusExceptionReply))
    equal(event.code, 2)
    client.request(7, 4, 0, 2, 20 * MS)
    true(isinstance(client.receive(reply(2, 7, b"\x84\x0b"), 30 * MS), ModbusTimeout))
    statistics = client.unit(7).statistics
    equal((statistics.requests, statistics.refused, statistics.timeout), (2, 1, 1))


def test_what_is_no_modbus_breaks_the_connection():
    client, _ = asked()
    true(isinstance(client.receive(b"HTTP/1.1 400 Bad", 10 * MS), ModbusForeign))
    equal((client.broken, client.waiting), (True, False))
    client.opened()
    client.request(7, 4, 0, 2, 20 * MS)
    true(isinstance(client.receive(reply(2, 7, b"\x04\x04\x00\x01\x00\x02"), 30 * MS), Reply))


def test_one_request_at_a_time_and_the_number_wraps():
    client, _ = asked()
    raises(ModbusError, client.request, 7, 4, 0, 2, 1)
    client.abandon(2)
    client._transaction = 65534
    equal(client.request(7, 4, 0, 2, 3)[:2], b"\xff\xff")
    true(isinstance(client.poll(300 * MS + 3), ModbusTimeout))
    equal(client.request(7, 4, 0, 2, 300 * MS + 4)[:2], b"\x00\x00")
    equal(client.receive(reply(65535, 7, b"\x04\x04\x00\x01\x00\x02"), 300 * MS + 10), None)
    equal(client.unit(7).statistics.late_frames, 1)


def test_a_late_reply_teaches_patience_and_only_what_was_asked_is_late():
    client, _ = asked()
    client.poll(300 * MS)
    client.request(7, 4, 0x100, 2, 301 * MS)
    equal(client.receive(reply(1, 7, b"\x04\x04\x00\x01\x00\x02"), 400 * MS), None)
    equal(client.unit(7).reply_timeout_us, 500 * MS)
    true(isinstance(client.receive(reply(2, 7, b"\x04\x04\x00\x01\x00\x02"), 700 * MS), Reply))
    client.request(7, 4, 0x100, 2, 701 * MS)
    for number in (1, 2, 9, 0):  # twice late, long answered, never asked, a gateway that repeats no numbers
        equal(client.receive(reply(number, 7, b"\x04\x04\x00\x01\x00\x02"), 702 * MS), None)
    true(isinstance(client.poll(1300 * MS), ModbusForeign), "the outcome says that something else answered")
    equal((client.unit(7).statistics.late_frames, client.unit(7).statistics.foreign_frames), (1, 4))


def test_silences_are_counted_until_any_frame_comes():
    client, _ = asked()
    client.poll(300 * MS)
    client.request(7, 4, 0, 2, 301 * MS)
    client.poll(601 * MS)
    equal(client.silences, 2)
    client.request(8, 4, 0, 2, 602 * MS)
    true(isinstance(client.receive(reply(3, 8, b"\x84\x0b"), 610 * MS), ModbusTimeout))
    equal(client.silences, 0, "the gateway answers for a unit that does not: the connection is good")


def test_rests_are_kept():
    client, _ = asked()
    client.unit(7, rest_us=100 * MS)
    client.receive(reply(1, 7, b"\x04\x04\x00\x01\x00\x02"), 20 * MS)
    equal((client.wait_us(7, 30 * MS), client.wait_us(8, 30 * MS)), (90 * MS, 0))


def test_addresses():
    equal(parse("tcp:10.0.0.5"), ("10.0.0.5", 502))
    equal(parse("tcp:meter-gw.local:1502"), ("meter-gw.local", 1502))
    for wrong in ("rs485", "tcp:", "tcp:10.0.0.5:x", "tcp:10.0.0.5:0", "tcp:10.0.0.5:65536", "tcp:a:1:2"):
        equal(parse(wrong), None, wrong)
