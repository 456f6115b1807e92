"""A DL/T 645 line in virtual time that does everything at once, and what the client makes of it.

    python -m tests.host.dlt645_soak --exchanges 200000 --seed 1

Three meters, another client, a converter and a port. Every answer carries the number of the request that it answers, so
a credited value is right only if that is the number of the request under way; the address and the identifier are
compared as well, and a credited refusal must be one. What happens, all from one seed:

- answers after 20 to 500 ms, around the client's deadline, or so late that hold-off and guard matter;
- meters that answer in order, however late; a converter that hands single answers over after later ones;
- answers sent twice, damaged, cut, spoilt by another that is sent at the same time; noise; refusals;
- another client that asks the same meters and others; frames of meters that nobody here asked;
- adapters that echo; ports that hand bytes over late, in pieces, or only when they are next read.

Bounds, those of the client's text: a reply that keeps the order may come up to reply time-out + hold-off after its
request, one that does not up to reply time-out + late guard; a second copy begins within `again_us` of the end of the
first. Beyond a checksum of 8 bits nothing on this wire can be told: replies that are damaged and fit by chance are
counted apart.
"""

from __future__ import annotations

import argparse
import heapq
import random
import time
from dataclasses import dataclass, field

from parkgate.errors import Dlt645Refusal, ModbusError
from parkgate.meters.dlt645.client import Client
from parkgate.meters.dlt645.frame import READ, READ_ADDRESS, Reply, address_bytes, identifier_bytes

MS = 1000
BAUD = 2400
CHARACTER_US = 11 * 1_000_000 // BAUD
TIMEOUT_US, HOLD_OFF_US, GUARD_US, AGAIN_US = 600 * MS, 3000 * MS, 1000 * MS, 300 * MS
CLOCK = 1 << 30

METERS = [address_bytes(text) for text in ("000006605518", "201000006816", "166816681668")]
STRANGER = address_bytes("000000190101")
IDENTIFIERS = [identifier_bytes(text) for text in ("02010100", "0201FF00", "00010000", "02030000", "02800002")]
REFUSED = identifier_bytes("02800009")  # no meter has it


@dataclass
class Result:
    """What a soak counted."""

    exchanges: int = 0
    asked: int = 0
    credited: int = 0
    refused: int = 0
    wrong: list[str] = field(default_factory=list)
    by_chance: int = 0
    not_asked: int = 0
    uncounted: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0


def digits(number: int, count: int) -> bytes:
    return bytes.fromhex(f"{number:0{2 * count}d}")[::-1]


def frame(address: bytes, control: int, data: bytes) -> bytes:
    body = bytes((0x68, *address, 0x68, control, len(data), *((byte + 0x33) % 256 for byte in data)))
    return body + bytes((sum(body) % 256, 0x16))


class World:
    """Line, meters, converter, port and the other client, in virtual µs."""

    def __init__(self, seed: int, echo: bool, hands_over: str):
        self.dice = random.Random(seed)
        self.t_us = self.dice.randrange(CLOCK)
        self.echo = echo
        self.hands_over = hands_over  # "at once", "pieces", "when read"
        self.wire: list[tuple[int, int, int, int]] = []  # (when it is whole, order, sender, byte)
        self.sent: list[tuple[int, int, int]] = []  # (from, until, sender) of what was or will be sent lately
        self.asked: list[tuple[int, int, int, int, bytes]] = []  # on the line: (until, number, from, sender, …)
        self.order = 0
        self.arrived: list[tuple[int, int]] = []  # (when the port hands it over, byte)
        self.busy_until = dict.fromkeys(METERS, 0)  # a meter answers in order
        self.refusals: dict[int, bool] = {}
        self.number = 0  # of the newest request on the line
        self.own_number = 0  # of the newest one that is ours
        self.next_other_us = self.t_us + 2_000_000
        self.told: set[tuple[bytes, bytes]] = set()  # (meter, data) of all answers that were sent

    # Bytes on the wire and at the port.

    def send(self, sender: int, start_us: int, data: bytes) -> int:
        began_us = start_us
        for byte in data:
            start_us += CHARACTER_US
            self.order += 1
            heapq.heappush(self.wire, (start_us, self.order, sender, byte))
        self.occupy(sender, began_us, start_us)
        return start_us

    def occupy(self, sender: int, began_us: int, ended_us: int) -> None:
        self.sent = [each for each in self.sent if each[1] > began_us - 4_000_000]
        self.sent.append((began_us, ended_us, sender))

    def advance(self, t_us: int) -> None:
        """Let time pass until t_us: the other client asks, meters hear requests, bytes become whole at the port."""
        while True:
            heard_us = self.asked[0][0] if self.asked else t_us + 1
            if self.next_other_us <= t_us and self.next_other_us <= heard_us:
                self._other(self.next_other_us)
            elif heard_us <= t_us:
                self._heard(*heapq.heappop(self.asked))
            else:
                break
        while self.wire and self.wire[0][0] <= t_us:
            when, _, sender, byte = heapq.heappop(self.wire)
            while self.wire and self.wire[0][2] != sender and self.wire[0][0] - when < CHARACTER_US:
                byte &= heapq.heappop(self.wire)[3]
            late = 0 if self.hands_over != "pieces" else self.dice.choice((0, 0, 4, 16)) * MS
            at = max(when + late, self.arrived[-1][0] if self.arrived else 0)
            self.arrived.append((at, byte))
        self.t_us = t_us

    def drain(self) -> bytes:
        """What the port hands over now."""
        count = 0
        while count < len(self.arrived) and self.arrived[count][0] <= self.t_us:
            count += 1
        data = bytes(byte for _, byte in self.arrived[:count])
        del self.arrived[:count]
        return data

    def read(self, timeout_us: int) -> bytes:
        """Wait for bytes, at most so long."""
        end_us = self.t_us + timeout_us
        step = 3 * MS if self.hands_over != "when read" else 40 * MS
        while True:
            self.advance(min(end_us, self.t_us + step))
            data = self.drain()
            if data or self.t_us >= end_us:
                return data

    def write(self, request: bytes) -> bytes:
        """Send a request; the bytes that the port had by the end of it."""
        self.own_number = self._request(0 if self.echo else -1, self.t_us, request)
        self.advance(self.t_us + len(request) * CHARACTER_US)
        return self.drain()

    # Meters.

    def _request(self, sender: int, start_us: int, request: bytes) -> int:
        """Put a request on the line; its number. The meters hear it when it is whole."""
        self.number += 1
        end_us = start_us + len(request) * CHARACTER_US
        if sender == -1:  # our own, which this port does not hear
            self.occupy(sender, start_us, end_us)
        else:
            self.send(sender, start_us, request)
        heapq.heappush(self.asked, (end_us, self.number, start_us, sender, request))
        return self.number

    def _heard(self, end_us: int, number: int, start_us: int, sender: int, request: bytes) -> None:
        """A request is whole. Whatever else was sent at the same time has spoilt it."""
        if any(began < end_us and ended > start_us and other != sender for began, ended, other in self.sent):
            return
        at = request.index(0x68)
        address, control = request[at + 1 : at + 7], request[at + 8]
        data = bytes((byte - 0x33) % 256 for byte in request[at + 10 : -2])
        for meter in METERS:
            if all(a in (0xAA, b) for a, b in zip(address, meter)):
                self._answer(meter, control, data, end_us, number)

    def _answer(self, meter: bytes, control: int, data: bytes, end_us: int, number: int) -> None:
        dice = self.dice
        chance = dice.random()
        if chance < 0.02:
            return
        delay = dice.uniform(20, 500) * MS
        if chance < 0.12:
            delay = TIMEOUT_US + dice.uniform(-200, 200) * MS
        elif chance < 0.22:
            delay = dice.uniform(TIMEOUT_US, TIMEOUT_US + HOLD_OFF_US - 300 * MS)
        latest_us = int(end_us + TIMEOUT_US + HOLD_OFF_US - 300 * MS)
        start_us = max(int(end_us + delay), self.busy_until[meter])
        if start_us > latest_us:
            return  # a meter drops what it cannot answer any more
        refused = control == READ and (data[:4] == REFUSED or dice.random() < 0.01)
        if control == READ_ADDRESS:
            wire = frame(meter, 0x93, meter)
        elif refused:
            wire = frame(meter, control | 0xC0, b"\x02")
        else:
            wire = frame(meter, control | 0x80, data[:4] + digits(number % 10**8, 4))
            self.told.add((meter, digits(number % 10**8, 4)))
        self.refusals[number] = refused
        end = start_us + (len(wire) + 4) * CHARACTER_US
        self.busy_until[meter] = end
        if dice.random() < 0.03 and start_us - end_us < TIMEOUT_US + GUARD_US:
            # A converter holds this one back; what the meter says later passes it.
            start_us = int(end_us + dice.uniform(start_us - end_us, TIMEOUT_US + GUARD_US - 20 * MS))
        wire = self._spoilt(wire)
        preamble = b"\xfe" * dice.randrange(5)
        ended_us = self.send(1 + METERS.index(meter), start_us, preamble + wire)
        if dice.random() < 0.05:
            self.send(1 + METERS.index(meter), int(ended_us + dice.uniform(1 * MS, AGAIN_US - 10 * MS)), wire)

    def _spoilt(self, wire: bytes) -> bytes:
        dice = self.dice
        chance = dice.random()
        if chance < 0.02:
            at = dice.randrange(len(wire))
            return wire[:at] + bytes((wire[at] ^ 1 << dice.randrange(8),)) + wire[at + 1 :]
        if chance < 0.03:
            return wire[: dice.randrange(1, len(wire))]
        if chance < 0.04:
            return dice.randbytes(dice.randint(1, 5)) + wire
        return wire

    def _other(self, t_us: int) -> None:
        """The other client asks, or a meter of its own speaks, or something disturbs the line."""
        dice = self.dice
        self.next_other_us = t_us + int(dice.uniform(1500, 20000)) * MS
        what = dice.random()
        if what < 0.55:
            self._request(-2, t_us, b"\xfe" * 4 + frame(dice.choice(METERS), READ, dice.choice(IDENTIFIERS)))
        elif what < 0.8:
            identifier = dice.choice(IDENTIFIERS)
            self.send(-3, t_us, frame(STRANGER, 0x91, identifier + digits(dice.randrange(10**8), 4)))
        else:
            self.send(-4, t_us, dice.randbytes(dice.randint(1, 30)))


class Soak:
    """The loop of firmware/bus.py around one client, in a world."""

    def __init__(self, client: Client, world: World, result: Result):
        self.client = client
        self.world = world
        self.result = result
        for meter in METERS:
            client.unit(meter)

    def now(self) -> int:
        return self.world.t_us % CLOCK

    def step(self, wait_us: int):
        data = self.world.read(wait_us)
        return self.client.receive(data, self.now()) if data else self.client.poll(self.now())

    def exchange(self, meter: bytes, identifier: bytes) -> None:
        client, result = self.client, self.result
        result.exchanges += 1
        self.settle()
        if not client.may_ask(meter, READ, 4, self.now(), identifier):
            probe = client.probe(meter, READ, identifier, 4, self.now())
            if probe:
                self.ask(meter, probe[1], True)
            if not client.may_ask(meter, READ, 4, self.now(), identifier):
                result.not_asked += 1
                return
        self.ask(meter, identifier, False)

    def settle(self) -> None:
        """What arrived since the last exchange belongs to no later one."""
        self.world.advance(self.world.t_us)
        data = self.world.drain()
        if data:
            self.client.receive(data, self.now())

    def ask(self, meter: bytes, identifier: bytes, probe: bool) -> None:
        client, world, result = self.client, self.world, self.result
        for _ in range(50):
            self.settle()
            wait_us = client.wait_us(meter, self.now(), READ, identifier)
            if not wait_us:
                break
            self.step(wait_us)
        else:
            return
        try:
            request = client.request(meter, READ, identifier, 4, self.now(), probe)
        except ModbusError:  # what was heard while waiting may have made a debt
            return
        result.asked += 1
        early = world.write(request)
        number = world.own_number
        client.sent(early, self.now())
        event = None
        while event is None:
            due_us = client.due_us(self.now())
            if due_us is None:
                result.wrong.append("an exchange ended unseen")
                return
            event = self.step(max(MS, due_us))
        self.look(event, meter, identifier, number, probe)

    def look(self, event, meter: bytes, identifier: bytes, number: int, probe: bool) -> None:
        result = self.result
        name = type(event).__name__
        result.outcomes[name] = result.outcomes.get(name, 0) + 1
        if isinstance(event, Dlt645Refusal):
            result.refused += 1
            if event.unit_id != meter or not self.world.refusals.get(number):
                self._wrong(event, "a refusal that is none")
        elif isinstance(event, Reply) and not probe:
            result.credited += 1
            if event.unit_id != meter or event.address != identifier:
                self._wrong(event, "of another question")
            elif event.data != digits(number % 10**8, 4):
                if (event.unit_id, event.data) in self.world.told:
                    self._wrong(event, "of another time")
                else:
                    result.by_chance += 1  # nobody sent this: damage that the checksum does not see

    def _wrong(self, event, what: str) -> None:
        self.result.wrong.append(f"{what}: {event.__class__.__name__} at {self.world.t_us} us")


def run(exchanges: int, seed: int, make_client=Client, stop_at_wrong: bool = False) -> Result:
    """So many exchanges, in worlds of a few hundred each."""
    result = Result()
    started = time.perf_counter()
    dice = random.Random(seed)
    while result.exchanges < exchanges:
        hands_over = dice.choice(("at once", "pieces", "when read"))
        world = World(dice.randrange(1 << 30), dice.random() < 0.3, hands_over)
        client = make_client(BAUD, TIMEOUT_US, HOLD_OFF_US, GUARD_US, again_us=AGAIN_US)
        soak = Soak(client, world, result)
        period_us = dice.choice((0, 200, 1000, 1000, 5000)) * MS
        asked = dice.sample(IDENTIFIERS, dice.choice((1, 2, 3))) + [REFUSED] * (dice.random() < 0.3)
        meters = dice.sample(METERS, dice.choice((1, 2, 3)))
        for _ in range(100):
            for meter in meters:
                for identifier in asked:
                    soak.exchange(meter, identifier)
            if period_us:  # nobody reads the port meanwhile
                world.advance(world.t_us + int(period_us * dice.uniform(0.5, 1.5)))
            if stop_at_wrong and (result.wrong or result.by_chance > 100):
                break
        soak.settle()
        _count(result, client)
        if stop_at_wrong and (result.wrong or result.by_chance > 100):
            break
    result.seconds = time.perf_counter() - started
    return result


def _count(result: Result, client: Client) -> None:
    for unit in client.units.values():
        s = unit.statistics
        result.uncounted += s.requests - (s.ok + s.refused + s.timeout + s.crc + s.short + s.foreign)


def main() -> int:
    """Run a soak of the size asked for and print what it counted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--exchanges", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    result = run(args.exchanges, args.seed)
    print(
        f"{result.exchanges} exchanges in {result.seconds:.0f} s (seed {args.seed}): {result.asked} requests, "
        f"{result.credited} values and {result.refused} refusals credited, {len(result.wrong)} wrong, "
        f"{result.by_chance} damaged ones that fit by chance; {result.not_asked} not asked because an older answer "
        f"could still come; {result.uncounted} losses without a name"
    )
    print(", ".join(f"{name} {count}" for name, count in sorted(result.outcomes.items())))
    for text in result.wrong[:10]:
        print("WRONG", text)
    return 1 if result.wrong or result.uncounted else 0


if __name__ == "__main__":
    raise SystemExit(main())
