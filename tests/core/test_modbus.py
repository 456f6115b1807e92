"""The Modbus client: what it sends, what it credits, and under which name everything else is counted."""

from check import equal, raises, true
from parkgate.clock import elapsed_us
from parkgate.errors import (
    ModbusCrcError,
    ModbusError,
    ModbusExceptionReply,
    ModbusForeign,
    ModbusShort,
    ModbusTimeout,
)
from parkgate.meters.modbus.client import Client, Reply
from parkgate.meters.modbus.frame import crc16, encode_request, frame, frame_length, silence_us

MS = 1000


def asked(unit_id=1, function=4, address=0, content=2, t_us=0, **options):
    """A client that has just sent one request."""
    client = Client(9600, **options)
    client.request(unit_id, function, address, content, t_us)
    return client


def reply(unit_id, function, data):
    return frame(bytes((unit_id, function, len(data))) + data)


def outcomes(statistics):
    return (
        statistics.ok + statistics.refused + statistics.timeout + statistics.crc + statistics.short + statistics.foreign
    )


def test_crc_of_the_specification():
    # Modbus over Serial Line V1.02, 6.2.2: the frame 02 07 has CRC 41 12 on the wire.
    equal(crc16(b"\x02\x07"), 0x1241)
    equal(frame(b"\x02\x07"), b"\x02\x07\x41\x12")


def test_silence_between_frames_by_baud_rate():
    equal(silence_us(9600), 4011)
    equal(silence_us(19200), 2006)
    equal(silence_us(19201), 1750)
    equal(silence_us(115200), 1750)


def test_clock_differences_survive_the_wrap():
    top = (1 << 30) - 5
    equal(elapsed_us(10, top), 15)
    equal(elapsed_us(top, 10), -15)
    client = asked(t_us=top)
    true(isinstance(client.receive(reply(1, 4, b"\1\2\3\4"), (top + 30 * MS) % (1 << 30)), Reply))
    equal(client.unit(1).statistics.latency_ms(), 21, "30 ms less 9.2 ms of sending is in the bin 20..21")


def test_requests_as_in_the_specification():
    # Application protocol V1.1b3, sections 6.1 to 6.12.
    for function, address, content, body in (
        (1, 0x13, 0x13, b"\x01\x00\x13\x00\x13"),
        (2, 0xC4, 0x16, b"\x02\x00\xc4\x00\x16"),
        (3, 0x6B, 3, b"\x03\x00\x6b\x00\x03"),
        (4, 8, 1, b"\x04\x00\x08\x00\x01"),
        (5, 0xAC, True, b"\x05\x00\xac\xff\x00"),
        (6, 1, 3, b"\x06\x00\x01\x00\x03"),
        (15, 0x13, (1, 0, 1, 1, 0, 0, 1, 1, 1, 0), b"\x0f\x00\x13\x00\x0a\x02\xcd\x01"),
        (16, 1, (10, 0x102), b"\x10\x00\x01\x00\x02\x04\x00\x0a\x01\x02"),
    ):
        equal(encode_request(17, function, address, content), frame(b"\x11" + body), "function %d" % function)


def test_requests_out_of_range_are_refused():
    for fields in (
        (0, 3, 0, 1),
        (256, 3, 0, 1),
        (1, 3, -1, 1),
        (1, 3, 65536, 1),
        (1, 3, 65535, 2),
        (1, 3, 0, 0),
        (1, 4, 0, 126),
        (1, 1, 0, 2001),
        (1, 6, 0, 65536),
        (1, 16, 0, [0] * 124),
        (1, 16, 0, []),
        (1, 7, 0, 1),
    ):
        raises(ModbusError, encode_request, *fields)


def test_a_reply_in_pieces():
    client = asked()
    whole = reply(1, 4, b"\x46\x2a\x75\x21")
    for i in range(len(whole) - 1):
        equal(client.receive(whole[i : i + 1], (10 + i) * MS), None)
    event = client.receive(whole[-1:], 20 * MS)
    equal(event.words(), [0x462A, 0x7521])
    equal((event.unit_id, event.function, event.address, event.count, event.t_us), (1, 4, 0, 2, 20 * MS))
    equal(client.waiting, False)


def test_bits_and_writes():
    client = asked(function=1, content=10)
    equal(
        client.receive(reply(1, 1, b"\xcd\x01"), 20 * MS).bits(),
        [True, False, True, True, False, False, True, True, True, False],
    )
    for function, content in ((5, True), (6, 77), (15, (1, 0)), (16, (1, 2))):
        client = Client(9600)
        sent = client.request(1, function, 9, content, 0)
        true(
            isinstance(client.receive(sent[:6] + frame(sent[:6])[6:], 20 * MS), Reply),
            "function %d" % function,
        )


def test_an_exception_is_an_answer():
    client = asked()
    event = client.receive(frame(b"\x01\x84\x02"), 20 * MS)
    true(isinstance(event, ModbusExceptionReply))
    equal(event.code, 2)
    equal(client.unit(1).statistics.as_dict()["exceptions"], {2: 1})
    equal(client.may_ask(1, 4, 2, 21 * MS), True, "nothing is owed")


def test_silence_ends_in_a_timeout_at_the_published_slot():
    client = asked()
    slot = client.slot_us(1, 4, 2) - client.silence_us
    equal(client.due_us(0), slot)
    equal(client.poll(slot - 1), None)
    true(isinstance(client.poll(slot), ModbusTimeout))
    equal(client.unit(1).statistics.timeout, 1)


def test_each_loss_has_its_name():
    good = reply(1, 4, b"\1\2\3\4")
    damaged = bytearray(good)
    damaged[4] ^= 1
    for data, error, name in (
        (b"", ModbusTimeout, "timeout"),
        (b"\x00\xff\x00", ModbusTimeout, "timeout"),
        (good[:-1], ModbusShort, "short"),
        (b"\x00" + good[:5], ModbusShort, "short"),
        (good[:2], ModbusShort, "short"),
        (damaged, ModbusCrcError, "crc"),
        (b"\x55\xaa\x12\x34\x56", ModbusCrcError, "crc"),
        (reply(2, 4, b"\1\2\3\4"), ModbusForeign, "foreign"),
        (reply(1, 3, b"\1\2\3\4"), ModbusForeign, "foreign"),
        (reply(1, 4, b"\1\2"), ModbusForeign, "foreign"),
        (reply(1, 4, b"\1\2\3\4\5\6"), ModbusForeign, "foreign"),
        (frame(b"\x02\x84\x02"), ModbusForeign, "foreign"),
    ):
        client = asked()
        equal(client.receive(data, 20 * MS), None)
        event = client.poll(400 * MS)
        true(isinstance(event, error), "%s for %s" % (event, bytes(data)))
        statistics = client.unit(1).statistics
        equal(getattr(statistics, name), 1)
        equal(statistics.requests, outcomes(statistics))


def test_noise_before_and_after_is_dropped_and_counted():
    for before, after in ((b"\x00", b"\x00"), (b"\xff\xff", b""), (b"\x13\x37", b"\x99")):
        client = asked()
        event = client.receive(before + reply(1, 4, b"\1\2\3\4") + after, 20 * MS)
        equal(event.words(), [0x102, 0x304])
        client.poll(60 * MS)
        equal(client.unit(1).statistics.noise_bytes + client.line.noise_bytes, len(before + after))


def test_the_echo_of_an_adapter_is_no_answer():
    client = Client(9600)
    sent = client.request(1, 4, 0, 2, 0)
    equal(client.receive(sent, 9 * MS), None)
    true(isinstance(client.poll(400 * MS), ModbusTimeout))
    equal(client.unit(1).statistics.echo_frames, 1)
    equal(client.adapter_echoes, False, "one may be another client's request like ours")
    sent = client.request(1, 4, 8, 1, 500 * MS)
    client.receive(sent, 509 * MS)
    client.poll(900 * MS)
    # From now on the first copy of a write is known to be the echo.
    client.request(1, 6, 3, 5, 1000 * MS)
    equal(client.adapter_echoes, True)
    written = frame(b"\x01\x06\x00\x03\x00\x05")
    equal(client.receive(written, 1010 * MS), None)
    true(isinstance(client.receive(written, 1020 * MS), Reply))


def test_an_address_that_looks_like_a_byte_count_does_not_hide_the_echo():
    client = Client(9600)
    sent = client.request(1, 4, 0x0400, 2, 0)
    event = client.receive(sent + reply(1, 4, b"\1\2\3\4"), 20 * MS)
    equal(event.words(), [0x102, 0x304])


def test_a_late_reply_is_never_credited_to_the_next_request():
    client = asked()
    true(isinstance(client.poll(400 * MS), ModbusTimeout))
    equal(client.may_ask(1, 4, 2, 400 * MS), False)
    raises(ModbusError, client.request, 1, 4, 0, 2, 400 * MS)
    # A probe of another shape; the late reply comes first and is drained.
    client.request(1, 4, 0, 1, 400 * MS, True)
    equal(client.receive(reply(1, 4, b"\xde\xad\xbe\xef"), 420 * MS), None)
    event = client.receive(reply(1, 4, b"\xde\xad"), 430 * MS)
    equal(event.probe, True)
    equal(client.unit(1).statistics.late_frames, 1)
    equal(client.may_ask(1, 4, 2, 440 * MS), True, "the debt is paid")


def test_a_probe_that_is_answered_rules_out_older_answers_after_a_guard():
    client = asked()
    client.poll(400 * MS)
    client.request(1, 4, 0, 1, 400 * MS, True)
    true(isinstance(client.receive(reply(1, 4, b"\0\1"), 420 * MS), Reply))
    equal(client.may_ask(1, 4, 2, 430 * MS), False, "a bridge may still bring it out of order")
    equal(client.receive(reply(1, 4, b"\1\2\3\4"), 900 * MS), None)
    equal(client.may_ask(1, 4, 2, 1399 * MS), False)
    equal(client.may_ask(1, 4, 2, 1400 * MS), True)


def test_an_answer_that_may_be_an_older_one_proves_nothing():
    client = asked()
    client.poll(400 * MS)
    client.request(1, 4, 0, 1, 400 * MS, True)
    client.poll(800 * MS)
    client.request(1, 4, 0, 1, 800 * MS, True)
    # This may be the answer to the first probe: that of the second may still be under way.
    true(isinstance(client.receive(reply(1, 4, b"\0\1"), 820 * MS), Reply))
    equal(client.may_ask(1, 4, 2, 1399 * MS), False)
    equal(client.may_ask(1, 4, 2, 1400 * MS), True, "it is newer than the first request in any case")
    equal(client.may_ask(1, 4, 1, 1900 * MS), False)
    # An exception proves nothing either: it may refuse the second probe.
    client.unit(1).probe_other = False
    client.request(1, 4, 0, 3, 2000 * MS, True)
    client.receive(frame(b"\x01\x84\x02"), 2020 * MS)
    equal(client.may_ask(1, 4, 1, 9999 * MS), False)
    equal(client.probe(1, 4, 0, 1, 2100 * MS), (3, 0, 1), "an exception to another function code will prove it")
    client.request(1, 3, 0, 1, 2100 * MS, True)
    true(isinstance(client.receive(frame(b"\x01\x83\x01"), 2120 * MS), ModbusExceptionReply))
    equal(client.may_ask(1, 4, 1, 3100 * MS), True)


def test_two_replies_of_one_shape_are_two_debts():
    client = asked()
    for i in range(1, 4):
        client.poll(400 * i * MS)
        client.request(1, 4, 0, 1, 400 * i * MS, True)
    client.poll(1600 * MS)
    for i in range(3):
        equal(client.may_ask(1, 4, 1, (1600 + 100 * i) * MS), False)
        client.receive(reply(1, 4, b"\0\1"), (1600 + 100 * i) * MS)
        client.poll((1650 + 100 * i) * MS)
    equal(client.may_ask(1, 4, 1, 1900 * MS), True)
    equal(client.may_ask(1, 4, 2, 1900 * MS), True, "each of them was newer")


def test_more_debts_than_can_be_told_apart_stop_all_questions_for_the_hold_off():
    client = asked(reply_timeout_us=50 * MS)
    for i in range(1, 17):
        client.poll(100 * i * MS)
        client.request(1, 4, 0, 1, 100 * i * MS, True)
    client.poll(1700 * MS)
    raises(ModbusError, client.request, 1, 4, 0, 7, 1700 * MS)
    client.request(1, 4, 0, 7, 1700 * MS, True)  # brings out what a converter holds back
    client.poll(1800 * MS)
    raises(ModbusError, client.request, 1, 4, 0, 7, 1800 * MS, True)
    equal(client.may_ask(1, 4, 7, 11799 * MS), False)
    equal(client.may_ask(1, 4, 7, 11800 * MS), True)


def test_a_late_reply_while_idle_pays_the_debt():
    client = asked()
    client.poll(400 * MS)
    equal(client.receive(reply(1, 4, b"\1\2\3\4"), 450 * MS), None)
    client.poll(500 * MS)
    equal(client.unit(1).statistics.late_frames, 1)
    equal(client.may_ask(1, 4, 2, 500 * MS), True)


def test_hold_off_ends_a_debt_once_a_newer_request_was_in_vain():
    client = asked(hold_off_us=2000 * MS)
    client.poll(400 * MS)
    equal(client.may_ask(1, 4, 2, 60000 * MS), False, "a converter may keep it until the next request")
    client.request(1, 4, 0, 1, 60000 * MS, True)
    client.poll(60500 * MS)
    equal(client.may_ask(1, 4, 2, 60500 * MS), True)
    equal(client.may_ask(1, 4, 1, 60500 * MS), False)


def test_bytes_from_before_the_end_of_the_request_are_no_answer():
    whole = reply(1, 4, b"\1\2\3\4")
    for early in (whole, whole[:1], whole[:8], b"\0" + whole):
        client = asked()
        client.sent(early, 10 * MS)
        equal(client.receive(whole[len(early) :], 11 * MS), None)
        event = client.poll(33 * MS) or client.poll(400 * MS)
        true(isinstance(event, ModbusError) and not isinstance(event, ModbusShort), "%s" % event)
        equal(client.may_ask(1, 4, 2, 400 * MS), False, "ours may still come")
    # The echo may come early, in part too; what follows it is the answer.
    for size in (8, 5):
        client = Client(9600)
        sent = client.request(1, 4, 0, 2, 0)
        client.sent(sent[:size], 10 * MS)
        equal(client.receive(sent[size:] + whole, 30 * MS).data, b"\1\2\3\4")
        client.poll(40 * MS)
        equal(client.unit(1).statistics.echo_frames, 1)


def test_what_is_drained_after_a_long_pause_pays_debts():
    client = asked()
    client.poll(400 * MS)
    client.idle(reply(1, 4, b"\1\2\3\4"), 20000 * MS)
    client.idle(b"", 20005 * MS)
    equal(client.unit(1).statistics.late_frames, 1)
    equal(client.may_ask(1, 4, 2, 20005 * MS), True)


def test_late_replies_teach_patience_and_prompt_ones_end_it():
    client = asked()
    unit = client.unit(1)
    client.poll(400 * MS)
    client.receive(reply(1, 4, b"\1\2\3\4"), 440 * MS)
    client.poll(450 * MS)
    equal(unit.reply_timeout_us, 550 * MS)
    t_us = 500 * MS
    for _ in range(250):
        client.request(1, 4, 0, 2, t_us)
        true(isinstance(client.receive(reply(1, 4, b"\1\2\3\4"), t_us + 50 * MS), Reply))
        t_us += 100 * MS
    equal(unit.reply_timeout_us, 300 * MS)
    for _ in range(9):  # at most twice as long at a time, and never longer than the limit
        client.request(1, 4, 0, 2, t_us)
        client.poll(t_us + 4000 * MS)
        client.receive(reply(1, 4, b"\1\2\3\4"), t_us + 5000 * MS)
        client.poll(t_us + 5100 * MS)
        t_us += 6000 * MS
    equal(unit.reply_timeout_us, 2500 * MS)


def test_a_time_out_is_learnt_in_three_exchanges():
    """DESIGN 7: what a restart costs of a meter that is always late."""
    for late_ms, lost in ((332, 1), (700, 2), (1000, 2), (2000, 3), (2400, 3)):
        client, missed, t_us = Client(9600), 0, 0
        for n in range(12):
            t_us += 12000 * MS
            client.idle(b"", t_us)
            client.request(1, 4, 0, 2, t_us)
            answer = reply(1, 4, bytes((0, 1, 0, n)))
            due_us = client.due_us(t_us)
            if due_us < late_ms * MS:
                missed += isinstance(client.poll(t_us + due_us), ModbusTimeout)
                client.idle(answer, t_us + late_ms * MS)
            else:
                true(isinstance(client.receive(answer, t_us + late_ms * MS), Reply))
        equal(missed, lost, "%d ms" % late_ms)


def test_a_refusal_that_may_be_of_an_older_request_is_not_credited():
    client = asked()
    client.poll(400 * MS)
    client.request(1, 4, 8, 4, 400 * MS)
    equal(client.receive(frame(b"\x01\x84\x02"), 420 * MS), None)
    true(isinstance(client.poll(900 * MS), ModbusForeign))


def test_long_pauses_outlive_the_wrap_of_the_clock():
    client = asked()
    client.unit(1, rest_us=50 * MS)
    client.receive(reply(1, 4, b"\1\2\3\4"), 30 * MS)
    for minutes in (1, 5, 9, 12, 15):
        equal(client.wait_us(1, (30 * MS + minutes * 60000 * MS) % (1 << 30)), 0, "%d minutes" % minutes)
        equal(client.owed_us(1, 4, 2, (30 * MS + minutes * 60000 * MS) % (1 << 30)), 0)


def test_a_line_may_need_a_rest_between_units():
    client = Client(9600, rest_us=80 * MS)
    client.request(1, 4, 0, 2, 0)
    client.receive(reply(1, 4, b"\1\2\3\4"), 30 * MS)
    equal(client.wait_us(2, 40 * MS), 70 * MS)
    equal(client.wait_us(2, 110 * MS), 0)


def test_unit_ids_above_the_specification_are_usable():
    for unit_id in (247, 248, 255):
        client = asked(unit_id)
        equal(client.receive(reply(unit_id, 4, b"\1\2\3\4"), 30 * MS).words(), [0x102, 0x304])


def test_late_replies_of_one_unit_do_not_hurt_another():
    client = asked()
    client.poll(400 * MS)
    client.request(2, 4, 0, 2, 400 * MS)
    equal(client.receive(reply(1, 4, b"\xde\xad\xbe\xef"), 420 * MS), None)
    equal(client.receive(reply(2, 4, b"\1\2\3\4"), 430 * MS).words(), [0x102, 0x304])
    equal(client.unit(1).statistics.late_frames, 1)


def test_nothing_is_sent_before_the_line_is_silent():
    client = Client(9600)
    client.receive(b"\x55", 100 * MS)
    equal(client.wait_us(1, 100 * MS), 4011)
    raises(ModbusError, client.request, 1, 4, 0, 2, 104 * MS)
    true(client.request(1, 4, 0, 2, 105 * MS))
    raises(ModbusError, client.request, 1, 4, 0, 2, 106 * MS)


def test_a_unit_gets_the_rest_it_needs():
    client = Client(9600)
    client.unit(1, rest_us=100 * MS)
    client.request(1, 4, 0, 2, 0)
    client.receive(reply(1, 4, b"\1\2\3\4"), 20 * MS)
    equal(client.wait_us(1, 30 * MS), 90 * MS)
    equal(client.wait_us(2, 30 * MS), 0)
    equal(client.wait_us(1, 120 * MS), 0)


def test_a_broadcast_has_no_reply():
    client = Client(9600)
    client.request(0, 6, 1, 1, 0)
    event = client.poll(client.slot_us(0, 6, 1))
    true(isinstance(event, Reply))


def test_a_babbling_line_is_bounded():
    client = asked()
    for i in range(40):
        equal(client.receive(bytes([0x31 + (i * 7 + j) % 100 for j in range(100)]), (i + 1) * MS), None)
    true(isinstance(client.poll(400 * MS), (ModbusCrcError, ModbusForeign)))
    true(client.unit(1).statistics.noise_bytes >= 3900)


def test_frames_are_found_by_length_and_crc():
    data = b"\x99" + encode_request(1, 16, 0, (1, 2)) + frame(b"\x01\x83\x02")
    equal(frame_length(data, 0, len(data)), 0)
    equal(frame_length(data, 1, len(data)), 13)
    equal(frame_length(data, 14, len(data)), 5)
    equal(frame_length(data, 14, len(data) - 1), 0)


def test_latency_percentiles_are_never_too_low_and_at_most_an_eighth_too_high():
    for latency_ms in (0, 1, 15, 16, 17, 31, 32, 100, 333, 1000, 5000, 16000):
        client = Client(9600)
        statistics = client.unit(1).statistics
        for _ in range(100):
            statistics.count_ok(latency_ms * MS)
        bound = statistics.latency_ms(95)
        true(latency_ms <= bound <= latency_ms + latency_ms // 8 + 1, "%d gives %d" % (latency_ms, bound))
