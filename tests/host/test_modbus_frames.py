"""Replies as they come in the field: the captured exchanges, a campaign of damaged ones, meters that are slow."""

import json
import os
import random
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

import modbus_campaign as campaign
from parkgate.errors import ModbusCrcError, ModbusExceptionReply, ModbusForeign, ModbusShort, ModbusTimeout
from parkgate.meters.modbus.client import Client, Reply
from parkgate.meters.modbus.frame import crc16, encode_request, frame

SIZE = int(os.environ.get("PARKGATE_FUZZ_SIZE", "1"))
MS = 1000

# What each kind of capture must end as. Entries of a kind that may end in several ways are listed by id.
BY_KIND = {
    "normal": Reply,
    "normal-crc-stripped": Reply,
    "split": Reply,
    "timeout": ModbusTimeout,
    "exception": ModbusExceptionReply,
    "noise+exception": ModbusExceptionReply,
    "foreign": ModbusForeign,
    "truncated": ModbusShort,
    "noise+truncated": ModbusShort,
}
BY_ID = {
    "echo-whole-then-answer": Reply,
    "echo-then-answer-mains": Reply,
    "echo-only-7-of-8": ModbusTimeout,
    "echo-only-pi-uart": ModbusTimeout,
    "echo-cut-7": ModbusTimeout,
    "leading-zero-16reg": Reply,
    "leading-ff": Reply,
    "zeros-only": ModbusTimeout,
    "garbage-wrong-baud": ModbusCrcError,
    "rolling-leftover-1": ModbusShort,
    "rolling-leftover-2": ModbusShort,
    "stale-answer-other-unit": ModbusForeign,
    "back-to-back-requests": ModbusForeign,
    "sdm630-loopback-fc8": ModbusForeign,
}


def hexed(text):
    return bytes.fromhex(text.replace(" ", ""))


def frames(reference):
    return json.loads((reference / "modbus_frames.json").read_text(encoding="utf-8"))["frames"]


def question_for(entry):
    """(unit, function, address, count) of the request; made up from the answer where the capture has none."""
    if "request_hex" in entry:
        request = hexed(entry["request_hex"])
        if entry["request_crc_ok"]:
            assert crc16(request) == 0
        return request[0], request[1], request[2] << 8 | request[3], request[4] << 8 | request[5]
    if "own_request" in entry.get("decode", {}):
        request = hexed(entry["decode"]["own_request"])
        return request[0], request[1], request[2] << 8 | request[3], request[4] << 8 | request[5]
    received = hexed(entry["received_hex"])
    if entry["kind"] == "noise":
        received = received[1:]
    if entry["kind"] == "requests":
        return received[0], 3, 0, 1
    if entry["kind"] == "request":
        return received[0], 4, 0, 2
    if entry["kind"] == "exception":
        return received[0], received[1] & 0x7F, 0, 1
    address = entry.get("decode", {}).get("address", 0)
    return received[0], received[1], address, received[2] // 2


def outcome(entry):
    """(client, event) after the capture was received and time has passed."""
    unit_id, function, address, count = question_for(entry)
    client = Client(9600)
    client.request(unit_id, function, address, count, 0)
    received = hexed(entry["received_hex"])
    if entry["kind"] == "normal-crc-stripped":
        received = frame(received)
    chunks = [hexed(text) for text in entry.get("decode", {}).get("chunks", ())] or [received]
    event, t_us = None, 30 * MS
    for chunk in chunks:
        event = event or client.receive(chunk, t_us)
        t_us += 5 * MS
    event = event or client.poll(t_us + 25 * MS) or client.poll(1000 * MS)
    client.poll(1100 * MS)
    return client, event


def test_all_captured_exchanges_end_as_they_say(reference):
    entries = frames(reference)
    assert len(entries) == 57
    seen = 0
    for entry in entries:
        if entry["kind"] == "exception-mbap":
            continue  # Modbus TCP: see below
        client, event = outcome(entry)
        wanted = BY_ID.get(entry["id"]) or BY_KIND[entry["kind"]]
        assert isinstance(event, wanted), (entry["id"], event)
        if isinstance(event, ModbusExceptionReply):
            assert event.code == entry["decode"]["exception"], entry["id"]
        if isinstance(event, Reply):
            assert_content(entry, event)
        statistics = client.unit(question_for(entry)[0]).statistics
        assert statistics.requests == 1
        seen += 1
    assert seen == 55


def assert_content(entry, event):
    """The reply holds exactly the data bytes that the capture's frame has."""
    decode = entry.get("decode", {})
    received = hexed(decode.get("frame", entry["received_hex"]))
    if entry["kind"] == "noise" and "frame" not in decode:
        received = received[1:]
    assert event.data == received[3 : 3 + received[2]], entry["id"]
    if "registers" in decode:
        assert event.words() == decode["registers"], entry["id"]
    if "bits" in decode:
        assert event.data == hexed(decode["bits"])


def test_modbus_tcp_answers_are_not_for_us(reference):
    """The two captures of Modbus TCP have no CRC: on a serial line they are damaged bytes and nothing else."""
    entries = [entry for entry in frames(reference) if entry["kind"] == "exception-mbap"]
    assert len(entries) == 2
    for entry in entries:
        client = Client(9600)
        client.request(1, 3, 0, 1, 0)
        event = client.receive(hexed(entry["received_hex"]), 30 * MS) or client.poll(1000 * MS)
        assert isinstance(event, (ModbusCrcError, ModbusTimeout, ModbusShort))


def test_leftovers_of_a_rolling_answer_are_gone_before_the_next_request(reference):
    """The two leftover captures as they happened: the bytes arrive while nothing is asked."""
    by_id = {entry["id"]: entry for entry in frames(reference)}
    client = Client(9600)
    client.unit(30)
    client.receive(hexed(by_id["rolling-leftover-1"]["received_hex"])[:2], 0)
    client.poll(50 * MS)
    client.request(30, 4, 0xD2, 1, 60 * MS)
    whole = hexed(by_id["leading-zero-1reg"]["decode"]["frame"])
    assert client.receive(b"\0\0" + whole[:5], 80 * MS) is None
    assert client.receive(whole[5:], 84 * MS).words() == [2913]


@pytest.mark.parametrize("seed", range(1, 3))
def test_damaged_replies_are_never_credited(seed):
    result = campaign.run(20_000 * SIZE, seed)
    assert result.frames == 20_000 * SIZE
    assert result.uncounted == 0
    assert result.wrong <= 3 * result.expected_wrong(), result
    assert result.credited > result.frames // 10
    assert set(result.outcomes) == {"ok", "timeout", "crc", "short", "foreign"}


def test_the_campaign_would_find_a_client_without_a_crc(monkeypatch):
    """Planted: a client that credits what fits without looking at the CRC."""
    monkeypatch.setattr("parkgate.meters.modbus.client.crc16", lambda *_: 0)
    result = campaign.run(2_000, 1)
    assert result.wrong > 20


class SlowMeter:
    """A meter that answers in order, each answer after its own while; the data tell which request is answered."""

    def __init__(self, dice, latency_ms_max, in_order=True):
        self._dice = dice
        self._latency_ms_max = latency_ms_max
        self._in_order = in_order
        self._line = deque()

    def ask(self, unit_id, function, count, number, t_us):
        latency_us = self._dice.randrange(1, self._latency_ms_max) * MS
        if self._dice.random() < 0.6:
            latency_us = self._dice.randrange(1, 100) * MS
        at_us = t_us + latency_us
        if self._in_order and self._line:
            at_us = max(at_us, self._line[-1][0] + 30 * MS)
        content = (number.to_bytes(4, "big") * count)[: 2 * count]
        self._line.append((at_us, frame(bytes((unit_id, function, 2 * count)) + content)))
        if not self._in_order:
            self._line = deque(sorted(self._line))

    def next_at(self):
        return self._line[0][0] if self._line else None

    def answer(self):
        return self._line.popleft()[1]


def talk(seed, exchanges, latency_ms_max, in_order, client):
    """Ask a slow meter again and again as the gateway does; (right, wrong, late frames)."""
    dice = random.Random(seed)
    meter = SlowMeter(dice, latency_ms_max, in_order)
    t_us, right, wrong = 0, 0, 0
    for number in range(1, exchanges + 1):
        t_us = let_time_pass(client, meter, t_us, dice.choice((5, 50, 400, 1000)) * MS)
        t_us = let_time_pass(client, meter, t_us, client.wait_us(1, t_us))
        if client.wait_us(1, t_us):
            continue
        probe = not client.may_ask(1, 4, 2, t_us)
        asked = client.probe(1, 4, 0, 2, t_us) if probe else (4, 0, 2)
        if asked is None:
            continue
        function, _, count = asked
        client.request(1, function, 0, count, t_us, probe)
        meter.ask(1, function, count, number, t_us + 10 * MS)
        event = None
        while event is None:
            due_us = t_us + max(1, client.due_us(t_us))
            if meter.next_at() is not None and meter.next_at() <= due_us:
                t_us = max(t_us, meter.next_at())
                event = client.receive(meter.answer(), t_us)
            else:
                t_us = due_us
                event = client.poll(t_us)
        if isinstance(event, Reply) and not event.probe:
            if event.data == number.to_bytes(4, "big"):
                right += 1
            else:
                wrong += 1
    return right, wrong, client.unit(1).statistics.late_frames


def let_time_pass(client, meter, t_us, wait_us):
    end_us = t_us + wait_us
    while meter.next_at() is not None and meter.next_at() <= end_us:
        t_us = max(t_us, meter.next_at())
        client.receive(meter.answer(), t_us)
    client.poll(end_us)
    return end_us


@pytest.fixture
def no_patience(monkeypatch):
    """A client that learns no longer reply time-out: replies stay late."""
    monkeypatch.setattr("parkgate.meters.bus_client.REPLY_TIMEOUT_MAX_US", 0)


def test_late_replies_of_a_meter_that_answers_in_order_are_never_credited(no_patience):
    """Whatever its delay, here up to ten times the reply time-out and still within the hold-off."""
    right, wrong, late = talk(1, 4_000 * SIZE, 2_900, True, Client(9600, hold_off_us=60_000 * MS))
    assert wrong == 0
    assert right > 500 * SIZE
    assert late > 300 * SIZE


def test_late_replies_out_of_order_are_never_credited_within_the_guard(no_patience):
    right, wrong, late = talk(2, 4_000 * SIZE, 1_250, False, Client(9600))
    assert wrong == 0
    assert right > 500 * SIZE
    assert late > 300 * SIZE


def test_the_slow_meter_would_deceive_a_client_without_debts(monkeypatch):
    """Planted: a client that forgets what a unit owes."""
    monkeypatch.setattr("parkgate.meters.modbus.debts.Unit.owe", lambda *_: None)
    _, wrong, _ = talk(1, 1_000, 2_900, True, Client(9600))
    assert wrong > 20


@given(
    st.binary(max_size=300),
    st.integers(1, 247),
    st.sampled_from((1, 2, 3, 4, 5, 6, 15, 16)),
    st.integers(1, 20),
)
def test_no_bytes_upset_the_client(data, unit_id, function, count):
    client = Client(9600)
    content = {5: True, 6: 1, 15: [True] * count, 16: [1] * count}.get(function, count)
    client.request(unit_id, function, 0, content, 0)
    event = client.receive(data, 20 * MS) or client.poll(60 * MS) or client.poll(2000 * MS)
    assert event is not None
    assert not client.waiting
    statistics = client.unit(unit_id).statistics
    assert statistics.requests == 1


@given(st.lists(st.integers(0, 0xFFFF), min_size=1, max_size=123), st.integers(1, 247), st.integers(0, 60000))
def test_requests_and_replies_fit_pymodbus(words, unit_id, address):
    """A foreign implementation builds the same bytes."""
    from pymodbus.framer import FramerRTU
    from pymodbus.pdu import DecodePDU
    from pymodbus.pdu.register_message import (
        ReadHoldingRegistersRequest,
        ReadHoldingRegistersResponse,
        WriteMultipleRegistersRequest,
    )

    framer = FramerRTU(DecodePDU(False))
    theirs = framer.buildFrame(WriteMultipleRegistersRequest(dev_id=unit_id, address=address, registers=words))
    assert theirs == encode_request(unit_id, 16, address, words)
    theirs = framer.buildFrame(ReadHoldingRegistersRequest(dev_id=unit_id, address=address, count=len(words)))
    assert theirs == encode_request(unit_id, 3, address, len(words))
    client = Client(9600)
    client.request(unit_id, 3, address, len(words), 0)
    answer = framer.buildFrame(ReadHoldingRegistersResponse(dev_id=unit_id, registers=words))
    assert client.receive(answer, 40 * MS).words() == words
