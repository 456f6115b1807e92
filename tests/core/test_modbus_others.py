"""What is on a Modbus line beside our requests and their replies: copies, remains, other clients. None is credited."""

from check import equal, true
from parkgate.errors import ModbusForeign
from parkgate.meters.modbus.client import Client, Reply
from parkgate.meters.modbus.frame import encode_request, frame, frame_length
from test_modbus import MS, asked, reply


def test_the_copy_of_a_reply_is_counted_and_expected_from_then_on():
    client = asked()
    whole = reply(1, 4, b"\1\2\3\4")
    true(isinstance(client.receive(whole, 30 * MS), Reply))
    equal(client.owed_us(1, 4, 2, 35 * MS), 15 * MS, "the same shape only after a pause")
    equal(client.owed_us(1, 4, 3, 35 * MS), 0)
    client.idle(whole, 60 * MS)
    client.idle(b"", 70 * MS)
    equal(client.unit(1).doubles, 1)
    client.request(1, 4, 0, 2, 100 * MS)
    true(isinstance(client.receive(whole, 130 * MS), Reply))
    equal(client.may_ask(1, 4, 2, 150 * MS), False, "its copy may come")
    equal(client.owed_us(1, 4, 2, 150 * MS), 1280 * MS, "within the guard and a time-out")
    client.idle(reply(1, 4, b"\4\3\2\1"), 152 * MS)
    client.idle(b"", 158 * MS)
    equal(client.unit(1).doubles, 2, "other bytes are no copy")
    client.idle(whole, 160 * MS)
    client.idle(b"", 170 * MS)
    equal(client.may_ask(1, 4, 2, 170 * MS), True)
    equal(client.unit(1).doubles, 2, "it was expected")


def test_a_reply_with_the_bytes_of_a_recent_one_says_so():
    client = Client(9600)
    answer = frame(b"\x01\x04\x04\x00\x01\x00\x02")
    at = [0]

    def ask(address, data, wait_us=50000):
        at[0] += wait_us
        client.idle(b"", at[0])
        client.request(1, 4, address, 2, at[0])
        at[0] += 50000
        return client.receive(data, at[0])

    equal(ask(0, answer).again, False)
    equal(ask(10, frame(b"\x01\x04\x04\x00\x01\x00\x03")).again, False)
    equal(ask(20, answer).again, True, "it may be a copy of the first")
    equal(ask(0, answer, 2000000).again, False, "no copy comes so late")


def test_a_refusal_in_front_of_a_foreign_reply_is_not_taken_for_the_others():
    """Another client's request is seen, then our refusal, then the answer to the other: nobody's, not ours."""
    client = asked(1, 4, 10, 2)
    client.receive(encode_request(1, 4, 30, 2), 100 * MS)
    equal(client.receive(frame(b"\x01\x84\x06") + reply(1, 4, b"\x00\x01\x00\x02"), 150 * MS), None)
    true(isinstance(client.poll(400 * MS), ModbusForeign))


def test_a_reply_behind_the_remains_of_a_request_is_nobodys():
    theirs = encode_request(1, 4, 30, 2)
    for cut in (1, 2, 3, 5):  # so many bytes came before, as noise, or not at all
        client = asked(1, 4, 10, 2)
        equal(client.receive(theirs[cut:] + reply(1, 4, b"\x00\x01\x00\x02"), 100 * MS), None)
    client = Client(9600)
    client.unit(1)
    client.idle(theirs[:6], 0)  # the rest is lost: its answer may come
    client.idle(b"", 50 * MS)
    equal(client.may_ask(1, 4, 2, 60 * MS), False)
    equal(client.may_ask(1, 4, 3, 60 * MS), True)
    client = asked(1, 4, 10, 2)  # the end of our own echo is no such thing
    event = client.receive(encode_request(1, 4, 10, 2)[3:] + reply(1, 4, b"\x00\x01\x00\x02"), 100 * MS)
    true(isinstance(event, Reply))


def test_a_port_that_ran_over_may_have_lost_a_request():
    client = Client(9600)
    client.unit(1)
    client.idle(reply(9, 4, b"\x00\x01") * 80, 0)
    equal(client.may_ask(1, 4, 2, 60000 * MS), False, "time alone does not end it")
    client.idle(b"", 60000 * MS)
    client.request(*((1,) + client.probe(1, 4, 0, 2, 60000 * MS) + (60000 * MS, True)))
    client.poll(61000 * MS)
    equal(client.may_ask(1, 4, 2, 69000 * MS), False)
    equal(client.may_ask(1, 4, 2, 71001 * MS), True)


def test_the_request_under_which_a_port_ran_over_is_no_probe():
    """What was lost then may have an answer that a converter holds back until the next request."""
    client = asked(1, 4, 0, 2)
    client.receive(reply(9, 4, b"\x00\x01") * 80, 100 * MS)
    client.poll(1000 * MS)
    client.idle(b"", 60000 * MS)
    equal(client.may_ask(1, 4, 3, 60000 * MS), False)


def test_of_two_debts_the_older_is_paid_first():
    """What another client asked later, but was noted first, must not prove what we had asked before."""
    client = asked(1, 4, 0, 2)
    client.receive(encode_request(1, 4, 30, 2), 100 * MS)
    client.poll(400 * MS)
    client.receive(reply(1, 4, b"\x00\x01\x00\x02"), 500 * MS)
    client.idle(b"", 600 * MS)
    equal([(debt[1], debt[4]) for debt in client.unit(1).debts], [(100 * MS, 0)])


def test_the_answer_to_another_client_proves_nothing_of_ours():
    """Its request may have been on the line before ours: a converter may hand it over only when ours goes out."""
    client = asked(1, 4, 0, 2)
    client.receive(encode_request(1, 4, 30, 1), 5 * MS)
    client.poll(400 * MS)
    client.receive(reply(1, 4, b"\x00\x01"), 500 * MS)
    client.idle(b"", 60000 * MS)
    equal(client.may_ask(1, 4, 2, 60000 * MS), False)


def test_remains_of_a_reply_in_front_of_our_request_are_strange():
    client = Client(9600)
    client.request(1, 4, 0, 2, 0)
    client.sent(b"\x1c\x25\x84\x45\x9a\x8c", 9000)
    client.receive(frame(b"\x01\x04\x04\x00\x01\x00\x02"), 60000)
    equal(client.unit(1).strange, 1)
    equal(client.unit(1).statistics.ok, 1)


def test_a_second_client_asking_the_same_makes_the_answer_nobodys():
    client = asked()
    other = encode_request(1, 4, 0x0C, 2)
    equal(client.receive(other, 12 * MS), None)
    equal(client.receive(reply(1, 4, b"\1\2\3\4"), 30 * MS), None)
    true(isinstance(client.poll(400 * MS), ModbusForeign))
    equal(client.may_ask(1, 4, 2, 400 * MS), False)


def test_a_second_client_before_us_is_waited_for():
    client = Client(9600)
    client.unit(1)
    client.receive(encode_request(1, 4, 0x0C, 2), 0)
    client.poll(20 * MS)
    equal(client.may_ask(1, 4, 2, 20 * MS), False)
    client.receive(reply(1, 4, b"\1\2\3\4"), 40 * MS)
    client.poll(60 * MS)
    equal(client.may_ask(1, 4, 2, 60 * MS), True)


def test_a_reply_that_ends_in_zero_is_no_request():
    """A CRC that fits still fits with a zero behind the frame, or without the zero that ends it."""
    nine = b"\xc5\x04\x04\x00\x81\x00\x81\xee\x00"
    equal(frame_length(nine, 0, 9), 9)
    equal(frame_length(nine, 0, 8), 0, "33,024 registers are no request")
    seven = reply(1, 4, b"\1\2")
    equal(frame_length(seven + b"\x00", 0, 8), 7)
    client = Client(9600)
    client.unit(0xC5)
    client.idle(nine, 0)
    client.idle(b"", 50 * MS)
    equal((client.unit(0xC5).doubles, client.unit(0xC5).debts), (1, []), "it was not asked for")


def test_a_frame_that_is_a_reply_or_a_request_is_feared_as_both():
    both = b""
    for word in range(0x10000):
        both = frame(b"\x01\x04\x04\x02\x00" + bytes((word >> 8, word & 0xFF)))
        if both[8] == 0 and word >> 8 == 2:
            break  # two registers, or a request for two from address 1026 and a zero of noise
    client = asked(1, 4, 0, 3)
    client.poll(400 * MS)
    client.idle(both, 500 * MS)
    client.idle(b"", 550 * MS)
    equal(client.unit(1).doubles, 1)
    equal([client.may_ask(1, 4, count, 550 * MS) for count in (1, 2, 3)], [True, False, False])


def test_a_reply_behind_what_may_be_no_echo_says_so():
    """Another client's request that equals ours looks like our echo, and the reply to it like ours."""
    client = Client(9600)
    at = [0]

    def ask(address, count, probe=False):
        at[0] += 2000 * MS
        client.idle(b"", at[0])
        sent = client.request(1, 4, address, count, at[0], probe)
        at[0] += 40 * MS
        return client.receive(sent + frame(bytes((1, 4, 2 * count)) + bytes(2 * count)), at[0] - 20 * MS)

    equal(ask(0, 2, True).again, True)
    equal(client.may_ask(1, 4, 2, at[0]), False, "the reply to the probe itself may still come")
    equal(ask(10, 3).again, False, "two echoes in a row: the adapter echoes")
    equal(ask(20, 4).again, False)
