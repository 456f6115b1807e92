"""The network between gateways and broker, and the broker: real bytes of MQTT 3.1.1 both ways.

The network delays, stops (and delivers later what TCP still holds), resets, refuses, and drips. The broker is honest or
not: see `Lies`.
"""

from parkgate.errors import LinkError, NoAnswer
from tests.sim.whole import loop as virtual

KEEP_MAX = 300  # messages of each direction that a lying broker remembers
QUEUE_MAX = 20_000


class Connection:
    """A TCP connection between one gateway and the broker."""

    def __init__(self, network, broker):
        self.network, self.broker = network, broker
        self.reader = virtual.Stream()
        self.closed = False  # by either end
        self.lost = False  # nothing goes through it any more, either way
        self.topics: set = set()
        self.client = ""
        self.received = bytearray()
        self.heard_us = network.loop.now_us
        self._unsent = b""
        self._held: list = []  # what goes nowhere for now: (whether up, bytes)
        self._free_us = [0, 0]

    # The gateway's end.

    def write(self, data):
        self._unsent += bytes(data)

    async def drain(self):
        if self.closed:
            raise OSError(104, "ECONNRESET")
        data, self._unsent = self._unsent, b""
        self.network.said(data)
        self.carry(True, data)
        await virtual.sleep_ms(0)

    def close(self):
        if not self.closed:
            self.closed = True
            self.carry(True, None)

    async def wait_closed(self):
        pass

    # The way.

    def carry(self, up: bool, data) -> None:
        network = self.network
        if self.lost:
            return
        if network.hole:
            self._held.append((up, data))
            return
        if not up and network.drips and data and len(data) > 1:
            at = network.draw.randrange(1, len(data))
            self.carry_now(up, data[:at])
            self.carry_now(up, data[at:])
        else:
            self.carry_now(up, data)

    def carry_now(self, up, data):
        loop = self.network.loop
        due_us = max(self._free_us[up], loop.now_us + self.network.delay_us())
        self._free_us[up] = due_us
        loop.call(due_us, self._arrives, up, data)

    def _arrives(self, up, data):
        if self.lost:
            return
        if self.network.hole:
            self._held.append((up, data))
        elif up:
            self.broker.take(self, data)
        elif data is None:
            self.reader.end()
        elif not self.closed:
            self.reader.feed(data)

    def heal(self):
        held, self._held = self._held, []
        for up, data in held:
            self.carry_now(up, data)

    def reset(self):
        """Both ends see the connection broken; through a black hole the gateway does not."""
        self.broker.gone(self)
        if self.network.hole or self.lost:
            self.lost = True
            return
        self.closed = True
        self.reader.end(OSError(104, "ECONNRESET"))


class Network:
    """One gateway's way to the broker."""

    def __init__(self, world, broker, draw):
        self.world, self.loop, self.broker, self.draw = world, world.loop, broker, draw
        self.machine = None
        self.hole = False  # nothing passes, and nobody says so
        self.drips = self.refuses = self.silent = False
        self.slow_ms = 0
        self.connections: list[Connection] = []

    def delay_us(self) -> int:
        return 1000 * self.draw.randint(5, 40) + 1000 * (self.draw.randrange(self.slow_ms) if self.slow_ms else 0)

    async def connect(self, life, host, port, timeout_ms):
        """As board.connect."""
        broker = self.broker
        await virtual.sleep_ms(self.delay_us() // 1000)
        if self.hole or self.silent or host != broker.host:
            await virtual.sleep_ms(timeout_ms)
            raise NoAnswer("no connection to %s:%d within %d ms" % (host, port, timeout_ms))
        if self.refuses or not broker.up or port != broker.port:
            raise LinkError("no connection to %s:%d: refused" % (host, port))
        made = Connection(self, broker)
        self.connections.append(made)
        broker.connections.append(made)
        return made.reader, made

    def said(self, data: bytes) -> None:
        """Tell the world what the gateway publishes, the moment it does."""
        received = bytearray(data)
        while packet := _packet(received):
            if packet[0] == 3:
                topic, body = _published(*packet[1:])
                self.world.publishes(self.machine, topic, body)

    def set_hole(self, hole: bool) -> None:
        self.hole = hole
        if not hole:
            for each in self.connections:
                each.heal()

    def reset(self) -> None:
        """Break what is open."""
        for each in self.connections:
            if not each.closed:
                each.reset()
        self.connections.clear()

    def forget(self) -> None:
        """What is open leads nowhere from now on."""
        for each in self.connections:
            each.lost = True

    def power_lost(self) -> None:
        """The gateway is gone and said nothing: its connections stay half open at the broker."""
        for each in self.connections:
            each.closed = True
        self.connections.clear()


class Lies:
    """What a broker does with messages besides delivering them; chances of a thousand for each message."""

    KINDS = (
        "dropped",
        "doubled",
        "late",
        "forged",
        "across",
        "replayed",
        "no puback",
        "junk",
        "bad connack",
        "bad suback",
    )

    def __init__(self):
        self.chances = dict.fromkeys(self.KINDS, 0)
        self.late_ms_max = 60_000


class Broker:
    """An MQTT broker. `hub_queue` is the hub's persistent session: what it has not acknowledged."""

    host, port = "broker.park", 1883

    def __init__(self, world, draw):
        self.world, self.loop, self.draw = world, world.loop, draw
        self.lies = Lies()
        self.up = True
        self.connections: list[Connection] = []
        self.hub_queue: list = []
        self.seen = {True: [], False: []}  # messages upward, downward
        self.keeps_back = False
        self.kept: list = []  # messages downward that come right after the next beat, before what answers that
        self.told = world.note

    def happens(self, kind: str) -> bool:
        chance = self.lies.chances[kind]
        if chance and self.draw.randrange(1000) < chance:
            self.told(kind)
            return True
        return False

    def restart(self, forgets: bool) -> None:
        """Killed and started again; one without persistence forgets what it had acknowledged."""
        for each in list(self.connections):
            each.reset()
        if forgets:
            self.hub_queue.clear()

    def gone(self, connection) -> None:
        if connection in self.connections:
            self.connections.remove(connection)

    # Bytes in.

    def take(self, connection, data) -> None:
        if data is None:
            self.gone(connection)
            return
        if connection not in self.connections:
            return
        connection.received.extend(data)
        while packet := _packet(connection.received):
            self._packet(connection, *packet)

    def _packet(self, connection, kind, flags, body):
        if kind == 1:
            length = int.from_bytes(body[10:12], "big")
            connection.client = bytes(body[12 : 12 + length]).decode()
            for other in list(self.connections):
                if other is not connection and other.client == connection.client:
                    other.closed = True
                    other.carry(False, None)
                    self.gone(other)
            bad = self.happens("bad connack")
            connection.carry(False, bytes([0x20, 2, 0, self.draw.choice((1, 3, 5)) if bad else 0]))
        elif kind == 8:
            length = int.from_bytes(body[2:4], "big")
            bad = self.happens("bad suback")
            if not bad:
                connection.topics.add(bytes(body[4 : 4 + length]).decode())
            connection.carry(False, b"\x90\x03" + bytes(body[:2]) + (b"\x80" if bad else b"\x01"))
        elif kind == 12:
            connection.carry(False, b"\xd0\x00")
        elif kind == 3:
            topic, content = _published(flags, body)
            if flags & 6 and not self.happens("no puback"):
                at = len(body) - len(content)
                connection.carry(False, b"\x40\x02" + body[at - 2 : at])
            self.message(True, topic, content)
        if self.happens("junk"):
            connection.carry(False, self._junk())

    def _junk(self) -> bytes:
        draw = self.draw
        return draw.choice((
            draw.randbytes(draw.randint(1, 40)),
            b"\x30\x05\x00\x90ab\x00",
            b"\x32\xff\xff\xff\xff\x7f",
            b"\x30" + _length(5000) + draw.randbytes(5000),
            b"\x40\x00",
            b"\xd0\x00" * 3,
        ))  # fmt: skip

    # Messages.

    def message(self, up: bool, topic: str, data: bytes) -> None:
        """Do with a message what this broker does with messages."""
        seen = self.seen[up]
        if any(self.lies.chances.values()):
            if len(seen) < KEEP_MAX:
                seen.append((topic, data))
            else:
                seen[self.draw.randrange(KEEP_MAX)] = (topic, data)
        if self.happens("replayed"):
            self._later(up, *self.draw.choice(seen))
        if self.happens("forged"):
            self._later(up, topic, self._forged(data))
        if self.happens("across"):
            self._later(up, self._across(topic), data)
        if self.happens("doubled"):
            self._later(up, topic, data)
        if self.happens("dropped"):
            return
        if up and topic.endswith("/beat"):
            kept, self.kept = self.kept, []
            for each in kept:
                self.deliver(False, *each)
        if not up and self.keeps_back and self.draw.random() < 0.5:
            self.kept.append((topic, data))
        elif self.happens("late"):
            self._later(up, topic, data)
        else:
            self.deliver(up, topic, data)

    def _later(self, up, topic, data):
        self.loop.call(
            self.loop.now_us + 1000 * self.draw.randrange(1 + self.lies.late_ms_max), self.deliver, up, topic, data
        )

    def deliver(self, up: bool, topic: str, data: bytes) -> None:
        if not self.up:
            return
        if up:
            if len(self.hub_queue) < QUEUE_MAX:
                self.hub_queue.append((topic, data))
            self.world.hub.wake()
            return
        for connection in self.connections:
            if topic in connection.topics and not connection.closed:
                name = topic.encode()
                body = len(name).to_bytes(2, "big") + name + b"\x00\x01" + data
                connection.carry(False, b"\x32" + _length(len(body)) + body)

    def _forged(self, data: bytes) -> bytes:
        draw = self.draw
        if draw.random() < 0.3:
            return data[: draw.randrange(len(data))] if data else b"x"
        changed = bytearray(data)
        for _ in range(draw.randint(1, 3)):
            changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
        return bytes(changed)

    def _across(self, topic: str) -> str:
        parts = topic.split("/")
        topics = [machine.topic for machine in self.world.machines if machine.topic]
        if topics and self.draw.random() < 0.7:
            parts[1] = self.draw.choice(topics)
        else:
            parts[2] = self.draw.choice(("receipt", "answer", "log") if parts[0] == "cmd" else ("batch", "beat"))
        return "/".join(parts)


def _packet(received: bytearray):
    """(kind, flags, body) of the first whole packet, taken out; None."""
    length = shift = 0
    at = 1
    while True:
        if at >= len(received):
            return None
        byte = received[at]
        at += 1
        length |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            break
    if len(received) < at + length:
        return None
    head, body = received[0], bytes(received[at : at + length])
    del received[: at + length]
    return head >> 4, head & 15, body


def _published(flags: int, body: bytes):
    """(topic, content) of a PUBLISH."""
    length = int.from_bytes(body[:2], "big")
    return body[2 : 2 + length].decode(), body[2 + length + (2 if flags & 6 else 0) :]


def _length(count: int) -> bytes:
    made = bytearray()
    while count > 127:
        made.append(count & 127 | 128)
        count >>= 7
    made.append(count)
    return bytes(made)
