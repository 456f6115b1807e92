"""A bus of Modbus TCP whose connection breaks, is refused, is silent, or speaks something else: what each costs."""

import asyncio
import time

from check import equal, raises, true
from parkgate.errors import LinkError, ModbusError, ModbusExceptionReply, ModbusForeign, ModbusTimeout
from parkgate.meters.modbus.tcp import TcpClient
from tcp_bus import TcpBus

if not hasattr(asyncio, "wait_for_ms"):  # CPython

    async def _wait_for_ms(what, ms):
        return await asyncio.wait_for(what, ms / 1000)

    async def _sleep_ms(ms):
        await asyncio.sleep(ms / 1000)

    asyncio.wait_for_ms = _wait_for_ms  # pyright: ignore[reportAttributeAccessIssue]
    asyncio.sleep_ms = _sleep_ms  # pyright: ignore[reportAttributeAccessIssue]

TIMEOUT_MS = 30


def ticks_us():
    if hasattr(time, "ticks_us"):
        return time.ticks_us()  # pyright: ignore[reportAttributeAccessIssue]
    return time.monotonic_ns() // 1000 % (1 << 30)


class Connection:
    """Reader and writer in one. `answer(request)` gives what the other end sends; b"" closes, None is silence."""

    def __init__(self, answer):
        self.answer = answer
        self.requests = []
        self.closed = False

    def write(self, data):
        self.requests.append(bytes(data))

    async def drain(self):
        pass

    async def read(self, _count):
        said = self.answer(self.requests[-1])
        if said is None:
            await asyncio.sleep(3600)
        return said

    def close(self):
        self.closed = True

    async def wait_closed(self):
        pass


def good(request):
    """Two registers as the request asks for them."""
    return request[:5] + b"\x07" + request[6:8] + b"\x04\x00\x01\x00\x02"


def refusal(code):
    return lambda request: request[:5] + b"\x03" + request[6:7] + bytes((request[7] | 0x80, code))


class Gateway:
    """What is at the other end: `answers`, one a connection; None refuses it."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.made = []
        self.asked_for = []
        self.mono_ms = 0

    async def connect(self, host, port, _timeout_ms):
        self.asked_for.append((host, port))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is None:
            raise LinkError("no connection to %s:%d: refused" % (host, port))
        self.made.append(Connection(answer))
        return self.made[-1], self.made[-1]

    def bus(self, host="10.0.0.5"):
        client = TcpClient(TIMEOUT_MS * 1000)
        return TcpBus(self.connect, host, 502, client, ticks_us, lambda: self.mono_ms)


def ask(bus, unit_id=1):
    return asyncio.run(bus.exchange(unit_id, 4, 0, 2))


def failed(bus, error=ModbusTimeout, unit_id=1):
    """Ask in vain; the error's text."""
    try:
        ask(bus, unit_id)
    except ModbusError as e:
        true(isinstance(e, error), "%s: %s" % (type(e).__name__, e))
        return str(e)
    raise AssertionError("it was answered")


def test_a_connection_is_kept_and_shared_by_the_units_behind_it():
    gateway = Gateway(good)
    bus = gateway.bus()
    for unit_id in (1, 2, 247, 1):
        equal(ask(bus, unit_id).words(), [1, 2])
    equal((len(gateway.made), bus.connections), (1, 1))
    equal([request[6] for request in gateway.made[0].requests], [1, 2, 247, 1])


def test_a_connection_that_was_closed_while_it_lay_idle_costs_no_sample():
    gateway = Gateway(good, good)
    bus = gateway.bus()
    ask(bus)
    gateway.made[0].answer = lambda _request: b""
    equal(ask(bus).words(), [1, 2])
    equal((len(gateway.made), bus.breaks, gateway.made[0].closed), (2, 1, True))
    equal(bus.client.unit(1).statistics.timeout, 1, "the request that was lost is counted")


def test_a_gateway_that_closes_every_connection_is_left_alone_for_longer_and_longer():
    gateway = Gateway(lambda _request: b"")
    bus = gateway.bus()
    tried = []
    for _ in range(400):
        before = len(gateway.made)
        failed(bus)
        if len(gateway.made) > before:
            tried.append(gateway.mono_ms)
        gateway.mono_ms += 500
    gaps = [b - a for a, b in zip(tried, tried[1:])]
    true(len(tried) <= 14, "%d connections in 200 s" % len(tried))
    true(gaps[0] <= 1500 and 30000 <= gaps[-1] <= 60500, str(gaps))


def test_the_wait_between_two_connections_is_drawn():
    waits = set()
    bus = None
    for _ in range(40):
        gateway = Gateway(None)
        bus = gateway.bus()
        true("refused" in failed(bus))
        true("tried again later" in failed(bus))
        true(500 <= bus._again_ms <= 1000, str(bus._again_ms))
        waits.add(bus._again_ms)
        time.sleep(0.0003)
    true(len(waits) > 3, str(waits))
    equal(bus and bus.refusals, 1)


def test_after_an_answer_the_next_failure_waits_shortly_again():
    gateway = Gateway(None, None, None, good, None)
    bus = gateway.bus()
    for _ in range(3):
        failed(bus)
        gateway.mono_ms += 60000
    ask(bus)
    gateway.made[0].answer = lambda _request: b""
    failed(bus)
    true(bus._again_ms - gateway.mono_ms <= 1000)


def test_silence_ends_in_a_timeout_and_three_silences_in_a_new_connection():
    gateway = Gateway(lambda _request: None, good)
    bus = gateway.bus()
    for _ in range(3):
        failed(bus)
    equal((len(gateway.made), gateway.made[0].closed), (1, True))
    gateway.mono_ms += 2000
    equal(ask(bus).words(), [1, 2])


def test_a_dead_unit_behind_a_gateway_leaves_the_connection_alone():
    gateway = Gateway(lambda request: refusal(11)(request) if request[6] == 9 else good(request))
    bus = gateway.bus()
    for _ in range(5):
        true("no unit 9" in failed(bus, unit_id=9))
    equal(ask(bus).words(), [1, 2])
    equal(len(gateway.made), 1)
    raises(ModbusExceptionReply, ask, Gateway(refusal(2)).bus())


def test_another_transaction_number_is_nobodys():
    def once(request):
        connection = gateway.made[-1]
        connection.answer = lambda _request: None
        return b"\x7f\x7f" + good(request)[2:]

    gateway = Gateway(once)
    bus = gateway.bus()
    failed(bus, ModbusForeign)
    equal(bus.client.unit(1).statistics.foreign_frames, 1)


def test_what_speaks_no_modbus_is_closed_and_left_alone():
    gateway = Gateway(lambda _request: b"HTTP/1.1 400 Bad Request\r\n")
    bus = gateway.bus()
    failed(bus, ModbusForeign)
    true(gateway.made[0].closed)
    true("later" in failed(bus))


def test_each_connection_asks_for_the_name():
    gateway = Gateway(good, good)
    bus = gateway.bus("meters.example")
    ask(bus)
    gateway.made[0].answer = lambda _request: b""
    ask(bus)
    equal(gateway.asked_for, [("meters.example", 502)] * 2, "its address may have changed")


def test_the_counters_of_the_connection():
    gateway = Gateway(good)
    bus = gateway.bus()
    ask(bus)
    equal(dict(bus.line())["connection"], "10.0.0.5:502 open")
    equal(dict(bus.line())["connections opened"], 1)
