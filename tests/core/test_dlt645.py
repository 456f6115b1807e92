"""The DL/T 645 client: what it sends, what it credits, and under which name everything else is counted."""

import json

from check import equal, raises, true
from parkgate.errors import (
    Dlt645Refusal,
    ModbusCrcError,
    ModbusError,
    ModbusExceptionReply,
    ModbusForeign,
    ModbusShort,
    ModbusTimeout,
)
from parkgate.meters.dlt645.client import Client
from parkgate.meters.dlt645.frame import (
    ANY,
    READ,
    READ_ADDRESS,
    READ_FOLLOWING,
    Reply,
    address_bytes,
    characters_us,
    encode_request,
    frame_length,
    identifier_bytes,
)

MS = 1000
FOLDER = __file__[: -len("core/test_dlt645.py")] + "vectors/dlt645/"
METER = address_bytes("000006605518")
OTHER = address_bytes("201000000012")
VOLTS = identifier_bytes("02010100")
AMPERES = identifier_bytes("02020100")


def hexed(text):
    return bytes([int(pair, 16) for pair in text.split()])


def frame(address, control, data=b"", preamble=b""):
    """A frame put together without the code under test."""
    body = b"\x68" + bytes(address) + b"\x68" + bytes((control, len(data)))
    body += bytes([(byte + 0x33) % 256 for byte in data])
    return preamble + body + bytes((sum(body) % 256, 0x16))


def reply(data=b"\x03\x23", address=METER, identifier=VOLTS, control=0x91, preamble=b"\xfe\xfe\xfe\xfe"):
    return frame(address, control, identifier + data, preamble)


def asked(address=METER, function=READ, identifier=VOLTS, content=2, t_us=0, **options):
    """A client that has just sent one request."""
    client = Client(2400, **options)
    client.unit(METER)
    client.request(address, function, identifier, content, t_us)
    return client


def taken(client, data, t_us):
    """Hand bytes over, and the silence after them; what the client makes of it."""
    return client.receive(data, t_us) or client.poll(t_us + client.quiet_us)


def outcomes(s):
    return s.ok + s.refused + s.timeout + s.crc + s.short + s.foreign


def ended(client, t_us=0):
    """Let time pass until the exchange is over; what ended it."""
    event = None
    while event is None:
        t_us += max(1, client.due_us(t_us))
        event = client.poll(t_us)
    return event


def entries():
    with open(FOLDER + "frames.json") as file:
        return json.load(file)["frames"]


# What is credited.


def test_every_captured_reply_ends_as_it_should():
    counted = {"numbers": 0, "error": 0, "address": 0, "else": 0}
    for entry in entries():
        wire = hexed(entry["reply"])
        if entry["edition"] == 1997 or entry["id"] == "F37":
            # The older edition, and a reply under the wildcard: nobody's, whatever was asked.
            for identifier in ("02010100", "00010000", "0000C343"):
                client = asked(METER, READ, identifier_bytes(identifier))
                client.unit(ANY)
                equal(taken(client, wire, 300 * MS), None, entry["id"])
                true(isinstance(ended(client, 300 * MS), (ModbusForeign, ModbusCrcError)), entry["id"])
                client = asked(ANY, READ, identifier_bytes(identifier))
                equal(taken(client, wire, 300 * MS), None, entry["id"])
                true(isinstance(ended(client, 300 * MS), (ModbusForeign, ModbusCrcError)), entry["id"])
            counted["else"] += 1
            continue
        meter = address_bytes(entry["meter"])
        for piece in (len(wire), 1, 3):
            if "address" in entry:
                client = asked(ANY, READ_ADDRESS, b"", 6)
            else:
                client = asked(meter, READ, identifier_bytes(entry.get("identifier", "02030000")), 20)
            event, t_us = None, 200 * MS
            for at in range(0, len(wire), piece):
                equal(event, None, entry["id"])
                t_us += 5 * MS
                event = taken(client, wire[at : at + piece], t_us)
            if "error" in entry:
                true(isinstance(event, Dlt645Refusal), entry["id"])
                equal((event.code, event.unit_id), (entry["error"], meter))
                counted["error"] += 1
            else:
                true(isinstance(event, Reply), entry["id"])
                equal(event.unit_id, meter)
                equal(event.data, meter if "address" in entry else _data_of(wire))
                counted["address" if "address" in entry else "numbers"] += 1
    equal(counted, {"numbers": 78, "error": 15, "address": 12, "else": 11})


def _data_of(wire):
    """What stands behind the identifier of the only frame in `wire`."""
    at = wire.find(b"\x68")
    return bytes([(byte - 0x33) & 0xFF for byte in wire[at + 14 : -2]])


def test_a_reply_in_its_time_is_credited():
    client = asked()
    true(client.waiting)
    event = taken(client, reply(), 330 * MS)
    equal((event.unit_id, event.address, event.data, event.more), (METER, VOLTS, b"\x03\x23", False))
    equal(event.latency_us, 330 * MS - characters_us(20, 2400))
    s = client.unit(METER).statistics
    equal((s.requests, s.ok), (1, 1))
    equal(client.line.noise_bytes + s.noise_bytes, 0, "FEh in front are no noise")


def test_any_number_of_preamble_bytes_and_rubbish_in_front():
    for count in range(5):
        for before in (b"", b"\x12\x34\x16", b"\x68", b"\x68\x68", b"\x00", b"\xaa\xaa"):
            for piece in (1, 2, 7, 99):
                client = asked()
                wire = before + b"\xfe" * count + reply(preamble=b"")
                event, t_us = None, 200 * MS
                for at in range(0, len(wire), piece):
                    event = event or taken(client, wire[at : at + piece], t_us)
                    t_us += MS
                event = event or client.poll(t_us) or ended(client, t_us)
                true(isinstance(event, Reply), (before, count, piece, event))


def test_a_reply_of_pauses_is_credited_within_tb():
    client = asked()
    wire = reply()
    t_us = 500 * MS
    equal(taken(client, wire[:9], t_us), None)
    t_us += 490 * MS
    equal(client.poll(t_us), None)
    true(isinstance(taken(client, wire[9:], t_us), Reply))
    client = asked()
    equal(taken(client, wire[:14], 500 * MS), None)
    event = ended(client, 500 * MS)
    true(isinstance(event, ModbusShort), event)
    equal(taken(client, wire[14:], 3000 * MS), None)


def test_what_was_there_before_the_request_is_no_answer():
    client = Client(2400)
    client.unit(METER)
    equal(taken(client, reply(), 0), None)
    equal(client.unit(METER).statistics.ok, 0)
    wire = reply()
    equal(taken(client, wire[:10], 40 * MS), None)
    true(client.wait_us(METER, 100 * MS) > 0, "a frame has begun: the line is not free")
    raises(ModbusError, client.request, METER, READ, VOLTS, 2, 100 * MS)
    t_us = 40 * MS + 500 * MS
    equal(client.wait_us(METER, t_us), 0)
    client.request(METER, READ, VOLTS, 2, t_us)
    equal(taken(client, wire[10:], t_us + 10 * MS), None, "the rest of a frame that began before the request")
    true(isinstance(taken(client, reply(b"\x04\x23"), t_us + 200 * MS), Reply))
    equal(client.line.foreign_frames, 1)
    equal(client.line.crc, 1)


def test_what_came_while_the_request_was_sent_is_no_answer():
    wire = reply()
    for early in (wire, wire[:9], wire[:-1], encode_request(METER, READ, VOLTS) + wire):
        client = asked()
        client.sent(early, 90 * MS)
        taken(client, wire[len(early) :], 100 * MS)
        equal(client.unit(METER).statistics.ok, 0)
        true(isinstance(taken(client, reply(b"\x04\x23"), 200 * MS), Reply))
    client = asked()
    client.sent(encode_request(METER, READ, VOLTS), 90 * MS)
    true(isinstance(taken(client, wire, 200 * MS), Reply), "only the echo was early")
    equal(client.unit(METER).statistics.echo_frames, 1)


def test_only_this_meter_and_this_identifier_answer():
    for wire in (
        reply(address=OTHER),
        reply(identifier=AMPERES),
        reply(control=0x92),
        reply(address=ANY),
        frame(METER, 0x91, b"\0\1"),
        frame(METER, 0x81, VOLTS + b"\x03\x23"),
        frame(METER, 0x94),
        encode_request(METER, READ, VOLTS),
    ):
        client = asked()
        equal(taken(client, wire, 150 * MS), None, wire)
        event = taken(client, reply(b"\x04\x23"), 400 * MS)
        true(isinstance(event, Reply) and event.data == b"\x04\x23", wire)
    s = client.unit(METER).statistics
    equal((s.echo_frames, s.foreign_frames), (1, 0))


def test_a_reply_with_something_right_behind_it_is_not_trusted():
    wire = reply(preamble=b"")
    for behind in (reply(address=OTHER), encode_request(OTHER, READ, VOLTS), b"\xfe\xfe\x68", b"\x12", b"\xfe\x01"):
        client = asked()
        equal(taken(client, reply(address=OTHER) + wire + behind, 300 * MS), None, behind)
        equal(client.unit(METER).statistics.ok, 0)
        client = asked()
        equal(client.receive(wire, 300 * MS), None)
        equal(taken(client, behind, 303 * MS), None)
        true(isinstance(ended(client, 303 * MS), ModbusCrcError))
        client = asked()
        equal(client.receive(wire, 300 * MS), None)
        true(isinstance(client.receive(behind, 300 * MS + client.quiet_us), Reply), "after a pause it may be")
    for behind in (b"", b"\0", b"\xff\xff", b"\xfe\xfe\xfe\xfe"):  # a driver that lets go of the line
        client = asked()
        equal(taken(client, wire + behind, 300 * MS).data, b"\x03\x23")
    # Another's FEh clears bit 0 of two odd bytes, data and checksum: the sum still fits.
    spoilt = bytearray(reply(b"\x03\x22", preamble=b""))
    true(spoilt[-3] & 1 and spoilt[-2] & 1)
    spoilt[-3] &= 0xFE
    spoilt[-2] &= 0xFE
    equal(frame_length(spoilt, 0, len(spoilt)), len(spoilt))
    client = asked()
    equal(taken(client, bytes(spoilt) + b"\xfe\xfe" + frame(OTHER, READ, VOLTS), 300 * MS), None)


def test_a_frame_inside_the_data_of_another_is_not_seen():
    inner = reply(preamble=b"")
    client = asked()
    equal(taken(client, frame(OTHER, 0x91, bytes([(byte - 0x33) & 0xFF for byte in inner])), 300 * MS), None)
    wire = frame(OTHER, 0x91, bytes([(byte - 0x33) & 0xFF for byte in inner + b"\0\0"]))
    client = asked()
    equal(taken(client, wire[:-3], 300 * MS), None)
    equal(taken(client, wire[-3:], 310 * MS), None)
    true(isinstance(ended(client, 310 * MS), ModbusForeign))


def test_the_wildcard_tells_the_true_address():
    client = asked(ANY, READ_ADDRESS, b"", 6)
    event = taken(client, frame(METER, 0x93, METER), 200 * MS)
    equal((event.unit_id, event.data), (METER, METER))
    for wire in (frame(METER, 0x93, OTHER), frame(ANY, 0x93, METER), frame(b"\xfa" * 6, 0x93, b"\xfa" * 6)):
        client = asked(ANY, READ_ADDRESS, b"", 6)
        equal(taken(client, wire, 200 * MS), None)
    client = asked(address_bytes("AAAAAAAAAA18"))
    equal(taken(client, reply(address=OTHER), 200 * MS), None)
    equal(taken(client, reply(), 300 * MS).unit_id, METER)


def test_meters_that_answer_at_once_leave_rubbish():
    client = asked(ANY, READ_ADDRESS, b"", 6)
    one, two = frame(METER, 0x93, METER), frame(OTHER, 0x93, OTHER)
    taken(client, bytes([a & b for a, b in zip(one, two)]), 200 * MS)
    true(isinstance(ended(client, 200 * MS), ModbusCrcError))


def test_a_refusal_says_why():
    client = asked()
    event = taken(client, frame(METER, 0xD1, b"\2"), 200 * MS)
    true(isinstance(event, ModbusExceptionReply))
    equal((event.code, event.unit_id), (2, METER))
    equal(client.unit(METER).statistics.exceptions[2], 1)
    client = asked()
    equal(taken(client, frame(METER, 0xD1), 200 * MS).code, 0)


def test_more_follows():
    client = asked(content=200)
    event = taken(client, reply(bytes(100), control=0xB1), 900 * MS)
    true(event.more)
    t_us = 1000 * MS
    client.request(METER, READ_FOLLOWING, VOLTS + b"\1", 100, t_us)
    equal(taken(client, frame(METER, 0x92, VOLTS + bytes(50) + b"\2"), t_us + 300 * MS), None, "another piece")
    event = taken(client, frame(METER, 0xB2, VOLTS + b"\7\7" + b"\1"), t_us + 400 * MS)
    equal((event.data, event.more), (b"\7\7", True))


# What is not credited.


def test_every_outcome_has_its_name():
    wire = reply()
    damaged = bytearray(wire)
    damaged[-3] ^= 1
    for data, error in (
        (b"", ModbusTimeout),
        (b"\xfe\xfe\xfe", ModbusTimeout),
        (bytes(damaged), ModbusCrcError),
        (wire[:-4], ModbusShort),
        (b"\x55\x12\x99\x01\x02", ModbusCrcError),
        (reply(address=OTHER), ModbusForeign),
        (encode_request(OTHER, READ, VOLTS), ModbusForeign),
    ):
        client = asked()
        equal(taken(client, data, 200 * MS), None)
        event = ended(client, 200 * MS)
        equal(type(event), error, data)
        s = client.unit(METER).statistics
        equal((s.requests, outcomes(s)), (1, 1))


def test_a_late_reply_is_never_the_value_of_the_next_sample():
    client = asked()
    event = ended(client)
    true(isinstance(event, ModbusTimeout))
    t_us = 1000 * MS
    true(not client.may_ask(METER, READ, 2, t_us, VOLTS))
    raises(ModbusError, client.request, METER, READ, VOLTS, 2, t_us)
    true(client.may_ask(METER, READ, 2, t_us, AMPERES), "something else may be asked")
    client.request(METER, READ, AMPERES, 3, t_us)
    equal(taken(client, reply(), t_us + 100 * MS), None, "the late one")
    equal(client.unit(METER).statistics.late_frames, 1)
    true(isinstance(taken(client, reply(b"\1\2\3", identifier=AMPERES), t_us + 300 * MS), Reply))
    true(client.may_ask(METER, READ, 2, t_us + 301 * MS, VOLTS), "it has arrived: nothing is owed")


def test_a_debt_ends_by_time_or_by_another_answer():
    client = asked(hold_off_us=3000 * MS, late_guard_us=1000 * MS)
    ended(client)
    true(not client.may_ask(METER, READ, 2, 3000 * MS, VOLTS))
    true(client.may_ask(METER, READ, 2, 3810 * MS, VOLTS))
    client = asked(hold_off_us=3000 * MS, late_guard_us=1000 * MS)
    ended(client)
    function, identifier, content = client.probe(METER, READ, VOLTS, 2, 900 * MS)
    client.request(METER, function, identifier, content, 900 * MS, True)
    event = taken(client, frame(METER, 0x91, identifier + METER), 1200 * MS)
    true(event.probe)
    true(not client.may_ask(METER, READ, 2, 1300 * MS, VOLTS), "converters may change the order")
    true(client.may_ask(METER, READ, 2, 1900 * MS, VOLTS))


def test_another_client_is_heard():
    client = Client(2400)
    client.unit(METER)
    taken(client, encode_request(METER, READ, VOLTS), 0)
    true(not client.may_ask(METER, READ, 2, 100 * MS, VOLTS), "its answer must not be ours")
    true(client.may_ask(METER, READ, 2, 100 * MS, AMPERES))
    taken(client, reply(), 300 * MS)
    true(client.may_ask(METER, READ, 2, 400 * MS, VOLTS))
    taken(client, encode_request(ANY, READ, VOLTS), 500 * MS)
    true(not client.may_ask(METER, READ, 2, 600 * MS, VOLTS))
    taken(client, encode_request(METER, READ_ADDRESS, b""), 700 * MS)
    true(not client.may_ask(METER, READ_ADDRESS, 6, 800 * MS, b""))
    # The same while we wait: nobody can tell whose answer it is.
    client = asked()
    taken(client, encode_request(METER, READ, VOLTS), 150 * MS)
    equal(client.unit(METER).statistics.echo_frames, 1)
    taken(client, encode_request(METER, READ, VOLTS) + reply(), 300 * MS)
    equal((client.unit(METER).statistics.echo_frames, client.unit(METER).statistics.ok), (1, 0))
    client = asked()
    taken(client, frame(ANY, READ, VOLTS) + reply(), 300 * MS)
    equal(client.unit(METER).statistics.ok, 0)


def test_an_answer_proves_nothing_of_what_was_asked_after_it():
    client = asked(identifier=AMPERES)
    taken(client, encode_request(METER, READ, VOLTS), 200 * MS)  # another client
    true(isinstance(taken(client, reply(b"\1\2\3", identifier=AMPERES), 300 * MS), Reply))
    true(not client.may_ask(METER, READ, 2, 1500 * MS, VOLTS), "its answer comes behind ours")
    true(not client.may_ask(METER, READ, 2, 3700 * MS, VOLTS), "reply time-out and hold-off, as for ours")
    true(client.may_ask(METER, READ, 2, 3900 * MS, VOLTS))


def test_a_doubled_reply_is_not_taken_twice():
    client = asked()
    true(isinstance(taken(client, reply(), 200 * MS), Reply))
    true(client.wait_us(METER, 300 * MS, READ, VOLTS) > 0, "a converter may send it again")
    equal(client.wait_us(METER, 300 * MS, READ, AMPERES), 0)
    raises(ModbusError, client.request, METER, READ, VOLTS, 2, 300 * MS)
    equal(taken(client, reply(), 400 * MS), None)
    equal(client.line.foreign_frames, 1)
    t_us = 1000 * MS
    client.request(METER, READ, VOLTS, 2, t_us)
    true(isinstance(taken(client, reply(b"\x09\x23"), t_us + 200 * MS), Reply))
    # A late one may come twice as well, and so may the answer to another client.
    client = asked()
    ended(client)
    taken(client, reply(), 1500 * MS)
    equal(client.unit(METER).statistics.late_frames, 1)
    true(client.may_ask(METER, READ, 2, 1600 * MS, VOLTS))
    true(client.wait_us(METER, 1600 * MS, READ, VOLTS) > 0)
    equal(client.wait_us(METER, 1900 * MS, READ, VOLTS), 0)


def test_a_refusal_in_doubt_refuses_nothing():
    client = asked()
    ended(client)
    t_us = 1000 * MS
    client.request(METER, READ, AMPERES, 3, t_us)
    equal(taken(client, frame(METER, 0xD1, b"\2"), t_us + 200 * MS), None, "of which of the two?")
    event = ended(client, t_us + 200 * MS)
    true(isinstance(event, ModbusForeign))
    # Two refusals one after the other: the second may be the first, sent twice.
    client = asked()
    true(isinstance(taken(client, frame(METER, 0xD1, b"\2"), 200 * MS), Dlt645Refusal))
    client.request(METER, READ, AMPERES, 3, 300 * MS)
    equal(taken(client, frame(METER, 0xD1, b"\2"), 500 * MS), None)
    # And so may one that came when nothing was asked.
    client = Client(2400)
    client.unit(METER)
    taken(client, frame(METER, 0xD1, b"\2"), 0)
    client.request(METER, READ, AMPERES, 3, 300 * MS)
    equal(taken(client, frame(METER, 0xD1, b"\2"), 500 * MS), None)


def test_an_abandoned_request_is_owed():
    client = asked()
    client.abandon(100 * MS)
    true(not client.waiting)
    true(not client.may_ask(METER, READ, 2, 200 * MS, VOLTS))
    equal(outcomes(client.unit(METER).statistics), 1)
    client.abandon(100 * MS)
    equal(outcomes(client.unit(METER).statistics), 1)


def test_an_exchange_ends_within_its_slot():
    # Whatever comes: nothing, a frame that never ends, rubbish for ever, a byte each 499 ms.
    for kind in range(5):
        client = Client(2400)
        client.unit(METER)
        client.request(METER, READ, VOLTS, 2, 0)
        t_us, event, n = 0, None, 0
        wire = (b"", b"\x68", b"\x55", b"\x68" * 8, reply(control=0x91, data=bytes(120)))[kind]
        while event is None:
            step = client.due_us(t_us)
            true(step <= client.slot_us(METER, READ, 2))
            pause = (499 * MS, 11 * MS)[n % 2] if kind else step
            t_us += max(1, min(step, pause))
            if wire and n < 4000:
                event = taken(client, wire[n % len(wire) : n % len(wire) + 1], t_us)
            event = event or client.poll(t_us)
            n += 1
        true(t_us + client.silence_us <= client.slot_us(METER, READ, 2) + 12 * MS, (kind, t_us))


def test_the_clock_may_wrap():
    top = (1 << 30) - 100 * MS
    client = asked(t_us=top)
    event = taken(client, reply(), (top + 300 * MS) % (1 << 30))
    equal(event.latency_us, 300 * MS - characters_us(20, 2400))


def test_meters_are_named_as_on_their_label():
    client = Client(2400)
    equal(client.name(METER), "meter 000006605518")
    event = ended(asked())
    true("000006605518" in str(event) and "02010100" in str(event), str(event))
    true("DL/T" not in str(event))
