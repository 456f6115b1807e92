"""The sender against brokers and hubs that are away, accept and break, or revoke: in virtual time."""

import asyncio

import tasks.send
from check import equal, true
from parkgate.errors import LinkError
from parkgate.wire import receipt

KEY, HUB_ID, GATEWAY_ID = b"k" * 32, b"h" * 32, b"g" * 32
SENDING = {"window": 4, "receipt_timeout_s": 10, "backlog_interval_ms": 100, "beat_period_s": 60}


class Loop:
    """asyncio in virtual time: it moves when a task sleeps."""

    now_ms = 0
    create_task = staticmethod(asyncio.create_task)

    async def sleep_ms(self, ms):
        wake_ms = self.now_ms + ms
        while self.now_ms < wake_ms:
            self.now_ms += min(1000, wake_ms - self.now_ms)
            await asyncio.sleep(0)


class End(Exception):
    pass


class World:
    """A sender with a journal of `batches` batches, one more every ten seconds, and a broker that is a test's."""

    epoch = bytes(16)

    def __init__(self, batches=0, seed=1):
        self.loop = tasks.send.asyncio = Loop()
        tasks.send.POLL_MS = 200
        self.acked = set()
        self.listed = None
        self.list = []
        self.first = batches
        self.sent = []  # (time, topic, message)
        self.connects = []
        self.beats = 0
        self.state = seed
        self.end_ms = 0
        self.lives_ms = None  # how long a connection lives
        self.hub_answers = False
        self.said = []
        take = self.take_receipt, self, self.make_beat, SENDING, lambda *_: None, None, None, self.random
        self.sender = tasks.send.Sender(self, self.session, "ab", *take, self.mono_ms, self)

    def mono_ms(self):
        return self.loop.now_ms

    def random(self, limit):
        self.state = (self.state * 1103515245 + 12345) & 0x7FFFFFFF
        return (self.state >> 8) % limit

    def error(self, _who, text):
        self.said.append(text)

    info = error

    def held(self):
        count = self.first + self.loop.now_ms // 10000
        if self.listed != (count, len(self.acked)):
            self.listed = count, len(self.acked)
            self.list = [seq for seq in range(count) if seq not in self.acked]
        return self.list

    def read_batch(self, seq):
        return b"%d" % seq

    def take_receipt(self, message):
        self.acked.add(int(message))
        return True

    def open_answer(self, message):
        return receipt.decode_answer(KEY, HUB_ID, GATEWAY_ID, message)

    async def make_beat(self):
        self.beats += 1
        return b"beat %d" % self.beats

    def session(self, on_message):
        return Session(self, on_message)

    def run(self, ms):
        self.end_ms = self.loop.now_ms + ms
        try:
            asyncio.run(self.sender.run())
        except End:
            pass

    def batches_sent(self, first_ms=0, last_ms=1 << 60):
        return len([1 for at_ms, topic, _ in self.sent if topic[-5:] == "batch" and first_ms <= at_ms < last_ms])


class Session:
    def __init__(self, world, on_message):
        self.world = world
        self.on_message = on_message
        self.opened_ms = None

    async def open(self, topics):
        equal(topics, ["cmd/ab/receipt", "cmd/ab/answer", "cmd/ab/log"])
        self.world.connects.append(self.world.loop.now_ms)
        self.opened_ms = self.world.loop.now_ms

    def look(self):
        world = self.world
        if world.loop.now_ms >= world.end_ms:
            raise End
        if world.lives_ms is not None and world.loop.now_ms >= self.opened_ms + world.lives_ms:
            raise LinkError("the broker closed the connection")

    async def publish(self, topic, message):
        self.look()
        world = self.world
        world.sent.append((world.loop.now_ms, topic, message))
        if world.hub_answers:
            await world.loop.sleep_ms(50)
            if topic[-4:] == "beat":
                answer = receipt.encode_answer(KEY, HUB_ID, GATEWAY_ID, tasks.send.sha256(message).digest(), 0, [])
                self.on_message(b"cmd/ab/answer", answer)
            else:
                self.on_message(b"cmd/ab/receipt", message)

    async def run(self):
        while True:
            self.look()
            await asyncio.sleep(0)

    async def close(self):
        pass


def test_a_hub_that_is_away_costs_the_broker_little():
    world = World(100)
    world.run(150000)
    true(4 <= world.batches_sent() <= 12, world.batches_sent())
    equal(len(world.connects), 1)
    world.run(2 * 3600000)
    last_hour = world.batches_sent(3600000)
    true(6 <= last_hour <= 16, last_hour)


def test_the_hub_comes_back_and_all_of_it_arrives():
    world = World(100)
    world.run(900000)
    world.hub_answers = True
    world.run(120000)  # a beat is answered within a minute, 200 batches at 5 a second
    true(len(world.held()) <= 1, world.held())


def test_a_broker_that_accepts_and_breaks_is_called_ever_less_often():
    world = World(10)
    world.lives_ms = 500
    world.run(1200000)
    apart = [b - a for a, b in zip(world.connects, world.connects[1:])]
    true(len(world.connects) <= 20 * 2 + 10, len(world.connects))
    true(min(apart[8:]) >= 30000, apart[:12])
    true(world.beats <= len(world.connects))
    equal(len([text for text in world.said if "connected to" in text]), len(world.connects))


def test_a_word_of_the_hub_makes_the_next_call_quick_again():
    world = World(10)
    world.lives_ms = 500
    world.run(900000)
    world.hub_answers = True
    world.run(120000)
    calls = [at for at in world.connects if at >= 900000]
    apart = [b - a for a, b in zip(calls, calls[1:])]
    true(apart and max(apart[1:10]) <= 3000, apart)


def test_gateways_of_a_park_do_not_return_together():
    calls = []
    for seed in range(1, 40):
        world = World(1, seed * 7919)
        world.lives_ms = 100
        world.run(5000)
        calls.append(world.connects[1])
    true(max(calls) - min(calls) > 700, (min(calls), max(calls)))
