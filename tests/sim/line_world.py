"""Lines with everything that is known to go wrong on them, in virtual time, read by the gateway's own code.

Each world is drawn from a seed: a line with one to three meters, the port of a board or of an operating system, and
what a converter between them may do. The firmware's bus, meter, client and plan run on it unchanged; time moves only
in the port. Every register of an answer holds the number of the request that it answers, so a good value shows at once
whether its bytes belong to the request that the reading was made of. A world never lies about CRCs: a damaged frame
whose CRC fits all the same is counted as luck, and a wrong value is only ever allowed for it.

What a world may do, and up to which limits (those that lib/parkgate/meters/modbus/debts.py names):

- answers late by any time below 9 s, drawn around the reply time-out, the guard, two and ten times the time-out, from
  meters that answer in order and drop or queue what comes meanwhile; out of order up to time-out + guard;
- answers delivered twice: at once or up to a second later, from meters whose true replies are not lost at the same
  time; where a meter is read in one block, within 20 ms;
- a converter that hands bytes over late (16 ms to 2 s), in lumps, or (without copies) when the next request goes out;
- a second client that asks the same meters; collisions; echoes; a receiver that is deaf while we send;
- damaged, cut and lost frames, noise, refusals;
- an event loop that stands still for up to 0.7 s, pauses of many minutes, a clock that wraps, a port whose buffer of
  512 bytes overflows; a gateway that looks at the line while idle, or does not.

At its end each world goes through an outage: its meters are silent for a while, polled at any pace. Then the line is
sound, and each meter must give a good sample within two minutes: what is feared must not last for ever.
"""

from __future__ import annotations

import heapq
import itertools
import random
from dataclasses import dataclass, field

from bus import ModbusBus
from parkgate.meters.modbus.client import Client
from parkgate.meters.modbus.frame import characters_us, crc16, encode_request, frame
from parkgate.meters.read_plan import ReadPlan
from parkgate.meters.registers import layout
from parkgate.reading import GOOD, NOT_CONFIGURED
from sensors.modbus_meter import ModbusMeter

MS, S = 1000, 1000000
BAUD = 9600
TIMEOUT_US, GUARD_US = 300 * MS, S
LATEST_US = 9 * S
WORDS = 65521
PORT_BYTES = 512
BACK_US = 120 * S


@dataclass
class Result:
    """What worlds counted."""

    worlds: int = 0
    exchanges: int = 0
    readings: int = 0
    good: int = 0
    wrong: list[str] = field(default_factory=list)
    luck: int = 0
    late: int = 0
    doubled: int = 0
    copies: int = 0
    foreign: int = 0
    echoes: int = 0
    collisions: int = 0
    refused: int = 0
    lost: list[str] = field(default_factory=list)

    def add(self, world: World) -> None:
        self.worlds += 1
        self.readings += world.readings
        self.good += world.good
        self.wrong += world.wrong
        self.lost += world.lost
        self.luck += world.luck
        self.copies += world.copies
        self.collisions += world.collisions
        for unit in world.client.units.values():
            statistics = unit.statistics
            self.exchanges += statistics.requests
            self.late += statistics.late_frames
            self.doubled += unit.doubles
            self.foreign += statistics.foreign_frames
            self.echoes += statistics.echo_frames
            self.refused += statistics.refused
        self.foreign += world.client.line.foreign_frames

    def bad(self) -> bool:
        """Whether more values are wrong than the CRC let through, or a meter never came back."""
        return len(self.wrong) > self.luck or bool(self.lost)


class Meter:
    """One meter: when it answers, and whether it can be asked meanwhile."""

    def __init__(self, world: World, unit_id: int):
        dice = world.dice
        self.world = world
        self.unit_id = unit_id
        self.base_us = dice.choice((2, 8, 30, 60, 120, 200)) * MS
        self.late = dice.choice((0, 0, 0.02, 0.1, 0.5, 1.0))
        self.edges = [TIMEOUT_US, TIMEOUT_US + 20 * MS, 2 * TIMEOUT_US, S, TIMEOUT_US + GUARD_US, 3 * S, LATEST_US - S]
        self.edges = [dice.choice(self.edges)] if dice.random() < 0.4 else self.edges
        self.lost = dice.choice((0, 0, 0.01, 0.1))
        self.damaged = dice.choice((0, 0, 0.01, 0.05))
        self.refuses = dice.choice((0, 0, 0, 0.02))
        self.no_single = dice.random() < 0.1  # refuses reads of one register
        kind = random.Random(world.seed + unit_id).random()
        self.one_function = kind < 0.4
        self.exact = kind < 0.1  # refuses every read that goes beyond a block of the plan
        self.queues = dice.random() < 0.2
        self.copied = 0 if world.way == "held" else dice.choice((0, 0, 0, 0.02, 0.2, 1.0))
        self.copy_us = dice.choice((0, 3, 15, 40, 200, 900)) * MS
        if self.copied:  # a first copy and the loss of the true reply at once cannot be told from the truth
            self.lost = self.damaged = 0
            world.second = False
            self.queues = True
        self.busy_us = 0
        self.dead = False

    def heal(self) -> None:
        """From now on it answers every request at once."""
        self.late = self.lost = self.damaged = self.refuses = self.copied = 0
        self.base_us = min(self.base_us, 120 * MS)
        self.dead = self.no_single = False

    def latency_us(self) -> int:
        dice = self.world.dice
        if dice.random() >= self.late:
            return self.base_us + dice.randrange(5 * MS)
        edge = dice.choice(self.edges)
        return max(MS, edge + dice.randrange(-30 * MS, 30 * MS) if dice.random() < 0.7 else dice.randrange(edge))

    def take(self, request: bytes, end_us: int, number: int) -> None:
        """A request that has reached the meter whole."""
        world, dice = self.world, self.world.dice
        if self.dead or dice.random() < self.lost or (self.busy_us > end_us and not self.queues):
            return
        function, count = request[1], request[4] << 8 | request[5]
        start_us = max(end_us, self.busy_us) + self.latency_us()
        if world.reorders:
            start_us = min(end_us + self.latency_us(), end_us + TIMEOUT_US + GUARD_US - 200 * MS)
        latest_us = end_us + LATEST_US - S - world.delay_us
        if start_us > latest_us:
            if not self.copied:
                return
            start_us = latest_us  # where replies come twice, none is lost
        first, last = request[3], request[3] + count
        beyond = self.exact and not any(start <= first and last <= start + size for start, size in world.blocks)
        if beyond or (self.one_function and function != 4):
            answer = frame(bytes((self.unit_id, function | 0x80, 1)))
        elif dice.random() < self.refuses or (self.no_single and count == 1):
            answer = frame(bytes((self.unit_id, function | 0x80, dice.choice((2, 4, 6)) if count == 1 else 6)))
        else:
            data = (number % WORDS).to_bytes(2, "big") * count
            answer = frame(bytes((self.unit_id, function, 2 * count)) + data)
        end_us = world.on_line(start_us, self._damage(answer))
        if not world.reorders:
            self.busy_us = end_us
        if dice.random() < self.copied:
            world.copies += 1
            limit_us = self.copy_us if world.many_blocks else min(self.copy_us, 3 * MS)
            later_us = limit_us if dice.random() < 0.7 else dice.randrange(limit_us + 1)
            world.copy(end_us + later_us + characters_us(len(answer), BAUD), answer)

    def _damage(self, answer: bytes) -> bytes:
        dice = self.world.dice
        if dice.random() >= self.damaged:
            return answer
        damaged = bytearray(answer)
        for _ in range(dice.randint(1, 4)):
            damaged[dice.randrange(len(damaged))] ^= 1 << dice.randrange(8)
        if dice.random() < 0.3:
            damaged = damaged[: dice.randrange(len(damaged))]
        elif bytes(damaged) != answer and crc16(damaged) == 0:
            self.world.luck += 1
        return bytes(damaged)


class World:
    """One line; run `passes` samples of each of its meters."""

    def __init__(self, seed: int):
        self.seed = seed
        self.dice = dice = random.Random(seed)
        self.t_us = dice.randrange(1 << 31)
        self.board = dice.random() < 0.6
        self.deaf = self.board and dice.random() < 0.3
        self.echo = dice.random() < 0.15
        self.idles = dice.random() < 0.8
        self.reorders = dice.random() < 0.1
        self.way = "direct" if self.reorders else dice.choice(("direct", "direct", "direct", "late", "lumps", "held"))
        slow = self.way in ("late", "lumps")
        self.delay_us = dice.choice((16, 50, 250, 299, 310, 500, 1000, 2000)) * MS if slow else 0
        self.deaf = self.deaf and self.way == "direct"
        self.second = dice.random() < 0.3
        self.hesitates = dice.choice((0, 0, 0.01, 0.05))
        self.pauses_ms = dice.choice(((5, 50), (100, 1000), (700, 1300), (1000, 10000), (10000, 1200000)))
        self.wrong: list[str] = []
        self.lost: list[str] = []
        self.readings = self.good = self.luck = self.copies = self.collisions = 0
        self._arrivals: list = []
        self._tie = itertools.count()
        self._held: list[bytes] = []
        self._buffer = bytearray()
        self._frames: list = []  # [start, end, pieces] that are or will be on the wire
        self._second_us = self.t_us + dice.randrange(S)
        self._theirs: tuple | None = None  # the other client's request that is on the wire
        self._number = 0
        self.requests: dict[tuple[int, int, int], int] = {}  # the newest request of each kind
        self.number_of: dict[int, int] = {}  # of the request whose reply became this channel's value
        self.client = Client(BAUD, TIMEOUT_US)
        self.bus = ModbusBus(self, self.client, lambda: self.t_us & 0x3FFFFFFF)
        units = dice.sample(range(1, 256), dice.choice((1, 1, 2, 3)))
        self.blocks: set[tuple[int, int]] = set()
        self.many_blocks = dice.random() < 0.7
        self.meters = {unit_id: Meter(self, unit_id) for unit_id in units}
        self.readers = [self._reader(unit_id) for unit_id in units]

    def _reader(self, unit_id):
        dice, entries, address = self.dice, [], 0
        sizes = dice.choice(((2, 2), (2, 2, 2), (4, 2, 2), (1, 1, 2), (10, 4, 10), (6, 2, 1)))
        for size in sizes if self.many_blocks else sizes[:1]:
            self.blocks.add((address, size))
            entries += [(address + i, layout("uint16", function=4), 0) for i in range(size)]
            address += size + 8
        plan = ReadPlan(entries, 125)
        decode = plan.decode

        def noting(index, data, values, qualities):
            block = plan.blocks[index]
            for i in block.rows:
                self.number_of[i] = self.requests[block.function, block.address, block.count]
            decode(index, data, values, qualities)

        plan.decode = noting
        return ModbusMeter(
            "m", unit_id, max(100, self.pauses_ms[0]), plan, self.bus, self.client.unit(unit_id)
        ), unit_id

    # The port, with the calls of a board's Serial. Only here does time pass.

    def drain(self) -> bytes:
        self._arrive(self.t_us)
        data, self._buffer = bytes(self._buffer), bytearray()
        return data

    async def write(self, data: bytes) -> bytes:
        self._second_client()
        early = b"" if self.board else self.drain()
        start_us, end_us = self.t_us, self.t_us + characters_us(len(data), BAUD)
        number = self._number = self._number + 1
        self.requests[data[1], data[2] << 8 | data[3], data[4] << 8 | data[5]] = number
        hurt = self._collide(start_us, end_us)
        self._frames.append((start_us, end_us, -1))
        at_us = start_us + self.dice.choice((0, 5 * MS, end_us - start_us + MS))
        for held in self._held:
            heapq.heappush(self._arrivals, (at_us, next(self._tie), held, True, -1))
        self._held = []
        if self.board:
            self._arrive(start_us)
            self.t_us = end_us
            before = len(self._buffer)
            self._arrive(end_us)
            if self.deaf:
                del self._buffer[before:]
            if self.echo and not self.delay_us:
                self._buffer += data
            early = self.drain()
        if self.echo and (self.delay_us or not self.board):
            self._schedule(end_us, data)
        meter = self.meters.get(data[0])
        if meter and not hurt:
            meter.take(data, end_us, number)
        return early

    async def read(self, timeout_ms: int) -> bytes:
        deadline_us = self.t_us + timeout_ms * 1000
        while not self._buffer:
            next_us = self._next_us()
            if next_us is None or next_us > deadline_us:
                self.t_us = deadline_us
                break
            self.t_us = max(self.t_us, next_us)
            self._arrive(self.t_us)
        if self.dice.random() < 0.5:  # handed over when no more comes for a moment, or at once
            while (next_us := self._next_us()) is not None and next_us <= min(self.t_us + 5 * MS, deadline_us):
                self.t_us = max(self.t_us, next_us)
                self._arrive(self.t_us)
        if self.dice.random() < self.hesitates:
            self.t_us += self.dice.randrange(700 * MS)
        return self.drain()

    # The line.

    def on_line(self, start_us: int, data: bytes) -> int:
        """Put a frame on the wire; when it ends."""
        took_us = characters_us(len(data), BAUD)
        for other_us, other_end_us, _ in sorted(self._frames):
            if other_us < start_us + took_us and other_end_us > start_us - 2 * MS:
                start_us = other_end_us + 2 * MS  # the line is taken: nobody speaks into a frame that he hears
        end_us = start_us + took_us
        if len(self._frames) > 20:
            self._frames = [f for f in self._frames if f[1] > self.t_us - S]
        which = next(self._tie)
        self._frames.append((start_us, end_us, which))
        self._schedule(end_us, data, which)
        return end_us

    def copy(self, end_us: int, data: bytes) -> None:
        """A converter delivers a frame once more: it is not on the wire."""
        self._schedule(end_us, data)

    def _schedule(self, wire_us: int, data: bytes, which: int = -1) -> None:
        """Bytes that have left the wire at `wire_us`: when the port has them."""
        if not data:
            return
        cut = 0 if self.way == "held" else max(len(data) - 14, self.dice.randrange(len(data)))  # held: whole frames
        for piece, back in ((data[:cut], characters_us(len(data) - cut, BAUD)), (data[cut:], 0)):
            at_us = wire_us - back
            if self.way == "late":
                at_us += self.delay_us
            elif self.way == "lumps":
                at_us = -(-at_us // self.delay_us) * self.delay_us
            if piece:
                heapq.heappush(self._arrivals, (at_us, next(self._tie), piece, False, which))

    def _next_us(self):
        self._second_client()
        return self._arrivals[0][0] if self._arrivals else None

    def _arrive(self, until_us: int) -> None:
        self._second_client()
        while self._arrivals and self._arrivals[0][0] <= until_us:
            _, _, piece, was_held, _ = heapq.heappop(self._arrivals)
            if self.way == "held" and not was_held and (self._held or self.dice.random() < 0.1):
                self._held.append(piece)
                continue
            self._buffer += piece[: max(0, PORT_BYTES - len(self._buffer))]

    def _collide(self, start_us: int, end_us: int) -> bool:
        """Whether somebody else sends while a frame is on the wire: then neither is understood."""
        self._frames = [f for f in self._frames if f[1] > self.t_us - S]
        hurt = False
        for other in self._frames:
            if other[0] < end_us and other[1] > start_us:
                hurt = True
                for i, (at_us, tie, piece, was_held, which) in enumerate(self._arrivals):
                    if which == other[2] >= 0:
                        noise = bytes(self.dice.randrange(256) for _ in piece)
                        self._arrivals[i] = (at_us, tie, noise, was_held, which)
        if hurt:
            self._theirs = None
        self.collisions += hurt
        return hurt

    def _second_client(self) -> None:
        """Another client asks when it finds the line idle."""
        while self.second and self._second_us <= self.t_us:
            at_us = self._second_us
            self._second_us += self.dice.choice((30, 200, 1000)) * MS + self.dice.randrange(50 * MS)
            if at_us < self.t_us - 300 * MS:
                self._second_us = max(self._second_us, self.t_us - 300 * MS)
                continue
            if any(start < at_us + 10 * MS and end > at_us - 4 * MS for start, end, _ in self._frames):
                continue
            unit_id = self.dice.choice([*self.meters, 77])
            address = self.dice.choice((0, 10)) + (self.way != "direct" or self.echo)  # see the client's known limits
            request = encode_request(unit_id, 4, address, self.dice.choice((1, 2, 2, 4)))
            self._take_theirs()
            self._theirs = (unit_id, request, self.on_line(at_us, request))
        if self._theirs and self._theirs[2] <= self.t_us:
            self._take_theirs()

    def _take_theirs(self) -> None:
        """The other client's request reaches its meter, unless somebody sent meanwhile."""
        if self._theirs:
            unit_id, request, end_us = self._theirs
            self._theirs = None
            number = self._number = self._number + 1
            if unit_id in self.meters:
                self.meters[unit_id].take(request, end_us, number)

    # The gateway.

    def run(self, passes: int) -> None:
        """Sample every meter so often."""
        for _ in range(passes):
            for reader, unit_id in self.readers:
                self._sample(reader, unit_id)
                self._pause()

    def outage(self) -> None:
        """No meter answers for a while; then the line is sound. Notes which meter never came back."""
        for meter in self.meters.values():
            meter.dead = True
        self.pauses_ms = self.dice.choice(((5, 50), (100, 300), (450, 550), (900, 1100), (3000, 10000)))
        self.run(self.dice.choice((1, 2, 3, 5, 8, 20, 100)))
        self.second, self.hesitates, self.reorders = False, 0, False
        self.delay_us = min(self.delay_us, 16 * MS)
        for meter in self.meters.values():
            meter.heal()
        began_us = self.t_us
        waiting = list(self.readers)
        while waiting and self.t_us - began_us < BACK_US:
            waiting = [(reader, unit_id) for reader, unit_id in waiting if not self._sample(reader, unit_id)]
            self._pause()
        self.lost += [f"seed {self.seed}: unit {unit_id} never came back" for _, unit_id in waiting]

    def _pause(self) -> None:
        low, high = self.pauses_ms
        end_us = self.t_us + self.dice.randint(low, high) * MS
        while self.t_us < end_us:
            step_us = 200 * MS if end_us - self.t_us < 20 * S else 30 * S
            self.t_us = min(end_us, self.t_us + step_us)
            if self.idles:
                self.bus.idle()

    def _sample(self, reader, unit_id) -> bool:
        """Take one sample; whether all of it was good, but for what the meter had refused."""
        self.number_of.clear()
        values, qualities = run(reader.read())
        self.readings += len(values)
        for i, value in enumerate(values):
            if value is None or (qualities and qualities[i] != GOOD):
                continue
            self.good += 1
            number = self.number_of.get(i)
            if number is None or value != number % WORDS:
                self.wrong.append(f"seed {self.seed}: unit {unit_id} channel {i}: {value} is not of request {number}")
        return qualities is None or all(quality in (GOOD, NOT_CONFIGURED) for quality in qualities)


def run(coroutine):
    """The result of a coroutine that never waits for anything but the port."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("something waited outside the port")


def soak(exchanges: int, seed: int, passes: int = 60, until_wrong: bool = False, worlds: int | None = None) -> Result:
    """Worlds from `seed` on until there were so many exchanges, or worlds; or until a value is wrong."""
    result = Result()
    while result.exchanges < exchanges if worlds is None else result.worlds < worlds:
        world = World(seed)
        world.run(passes)
        world.outage()
        result.add(world)
        seed += 1
        if until_wrong and result.bad():
            break
    return result
