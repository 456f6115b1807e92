"""Damage Modbus replies in every way a line can, and look what the client credits.

    python -m tests.host.modbus_campaign --frames 1000000 --seed 1

Each round asks a question whose true answer is known, and gives the client something else than just that
answer, in random pieces: flipped bits, lost, added, changed and repeated bytes, noise, echoes, frames of others, the
same frame with another unit, function or byte count and a right CRC. A reply that is credited must hold the
true data. A frame with the right unit, function, byte count and length but other data passes the CRC once in
65,536 times, and nothing on this wire can tell: such frames are counted as `exposed`, and the number of wrong
values is compared with exposed / 65536.
"""

from __future__ import annotations

import argparse
import random
import time
from dataclasses import dataclass, field

from parkgate.meters.modbus.client import Client, Reply
from parkgate.meters.modbus.frame import content_bytes, encode_request, frame

MS = 1000
END_US = 900 * MS


@dataclass
class Result:
    """What a campaign counted."""

    frames: int = 0
    credited: int = 0
    wrong: int = 0
    exposed: int = 0
    uncounted: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    def expected_wrong(self) -> float:
        """Wrong values that a CRC of 16 bits lets through."""
        return self.exposed / 65536


def flip_bits(dice, reply, _):
    for _ in range(dice.randint(1, 5)):
        reply[dice.randrange(len(reply))] ^= 1 << dice.randrange(8)
    return reply


def change_bytes(dice, reply, _):
    for _ in range(dice.randint(1, 6)):
        reply[dice.randrange(len(reply))] = dice.randrange(256)
    return reply


def lose_bytes(dice, reply, _):
    for _ in range(dice.randint(1, 4)):
        if reply:
            del reply[dice.randrange(len(reply))]
    return reply


def add_bytes(dice, reply, _):
    for _ in range(dice.randint(1, 4)):
        reply.insert(dice.randrange(len(reply) + 1), dice.randrange(256))
    return reply


def cut(dice, reply, _):
    return reply[: dice.randrange(len(reply))]


def lose_head(dice, reply, _):
    return reply[dice.randrange(1, len(reply)) :]


def swap(dice, reply, _):
    a, b = dice.randrange(len(reply)), dice.randrange(len(reply))
    reply[a], reply[b] = reply[b], reply[a]
    return reply


def repeat_part(dice, reply, _):
    at, size = dice.randrange(len(reply)), dice.randint(1, 5)
    return reply[: at + size] + reply[at:]


def noise_before(dice, reply, _):
    return bytearray(dice.choice((0, 0xFF, dice.randrange(256))) for _ in range(dice.randint(1, 5))) + reply


def noise_around(dice, reply, ask):
    return noise_before(dice, reply, ask) + bytearray(dice.randrange(256) for _ in range(dice.randint(1, 9)))


def echo(_, reply, ask):
    return bytearray(ask.request) + reply


def echo_only(dice, _, ask):
    return bytearray(ask.request[: dice.randint(3, len(ask.request))])


def other_unit(dice, reply, _):
    return recomputed(reply, 0, 1 + (reply[0] + dice.randrange(246)) % 247)


def other_function(dice, reply, _):
    return recomputed(reply, 1, dice.choice([f for f in (1, 2, 3, 4, 5, 6, 15, 16) if f != reply[1]]))


def other_byte_count(dice, reply, _):
    return recomputed(reply, 2, (reply[2] + dice.randint(1, 255)) % 256)


def other_length(dice, reply, ask):
    content = [dice.randrange(256) for _ in range(2 * dice.randint(1, 20))]
    if len(content) == len(ask.content):
        content += [0, 0]
    return bytearray(frame(bytes((reply[0], reply[1], len(content), *content))))


def random_bytes(dice, _, __):
    return bytearray(dice.randrange(256) for _ in range(dice.randint(1, 60)))


def frames_of_others(dice, reply, ask):
    theirs = encode_request(1 + (ask.unit_id + dice.randrange(246)) % 247, 4, dice.randrange(999), 2)
    return bytearray(theirs) + other_unit(dice, reply[:], ask) + (reply if dice.random() < 0.5 else b"")


def cut_and_again(dice, reply, ask):
    return cut(dice, reply[:], ask) + reply


def untouched(_, reply, __):
    return reply


def recomputed(reply, at, value):
    reply[at] = value
    return bytearray(frame(bytes(reply[:-2])))


MUTATIONS = (
    flip_bits,
    change_bytes,
    lose_bytes,
    add_bytes,
    cut,
    lose_head,
    swap,
    repeat_part,
    noise_before,
    noise_around,
    echo,
    echo_only,
    other_unit,
    other_function,
    other_byte_count,
    other_length,
    random_bytes,
    frames_of_others,
    cut_and_again,
    untouched,
)


# A second mutation must not put a right CRC on what the first has changed: that is forgery, not damage.
DAMAGE = (flip_bits, change_bytes, lose_bytes, add_bytes, cut, lose_head, swap, repeat_part, noise_around, echo)


class Question:
    """A random read with its true answer."""

    def __init__(self, dice):
        self.unit_id = dice.randint(1, 247)
        self.function = dice.choice((1, 2, 3, 3, 4, 4, 4, 4))
        self.address = dice.randrange(60000)
        self.count = dice.choice((1, 2, 2, 2, 4, 6, 10, 24, 80))
        self.content = dice.randbytes(content_bytes(self.function, self.count))
        self.request = encode_request(self.unit_id, self.function, self.address, self.count)
        self.reply = frame(bytes((self.unit_id, self.function, len(self.content))) + self.content)


def exposures(data: bytes, question: Question) -> int:
    """Places in what was sent that only the CRC can tell from a right reply: header and length fit, data do not."""
    head, found, at = question.reply[:3], 0, -1
    while (at := data.find(head, at + 1)) >= 0:
        piece = data[at : at + len(question.reply)]
        if len(piece) == len(question.reply) and piece != question.reply:
            found += 1
    return found


def deliver(dice, client: Client, data: bytes):
    """Hand bytes over in pieces, with time passing; the first event."""
    t_us = 15 * MS
    event = None
    while data and event is None:
        size = dice.choice((len(data), dice.randint(1, len(data))))
        piece, data = data[:size], data[size:]
        event = client.receive(piece, t_us)
        t_us += dice.choice((1, 3, 8, 15, 40 if dice.random() < 0.1 else 2)) * MS
        event = event or client.poll(t_us)
    while event is None:
        t_us += max(1, client.due_us(t_us))
        event = client.poll(t_us)
    if data:
        client.receive(data, t_us)
    client.poll(t_us + END_US)
    return event


def run(frames: int, seed: int) -> Result:
    """Damage so many replies."""
    dice = random.Random(seed)
    result = Result()
    started = time.perf_counter()
    for _ in range(frames):
        question = Question(dice)
        data = bytes(dice.choice(MUTATIONS)(dice, bytearray(question.reply), question))
        if len(data) > 5 and dice.random() < 0.1:
            data = bytes(dice.choice(DAMAGE)(dice, bytearray(data), question))
        client = Client(9600)
        client.request(question.unit_id, question.function, question.address, question.count, 0)
        result.exposed += exposures(data, question)
        event = deliver(dice, client, data)
        result.frames += 1
        if isinstance(event, Reply):
            result.credited += 1
            result.wrong += event.data != question.content
        _count_outcome(result, client.unit(question.unit_id).statistics)
    result.seconds = time.perf_counter() - started
    return result


def _count_outcome(result, statistics) -> None:
    names = [name for name in ("ok", "refused", "timeout", "crc", "short", "foreign") if getattr(statistics, name)]
    if statistics.requests != 1 or len(names) != 1 or getattr(statistics, names[0]) != 1:
        result.uncounted += 1
        return
    result.outcomes[names[0]] = result.outcomes.get(names[0], 0) + 1


def main() -> int:
    """Run a campaign of the size asked for and print what it counted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    result = run(args.frames, args.seed)
    print(
        f"{result.frames} damaged replies in {result.seconds:.0f} s (seed {args.seed}): {result.credited} credited, "
        f"{result.wrong} of them wrong; {result.exposed} exposed to the CRC alone, which lets "
        f"{result.expected_wrong():.1f} pass on average; {result.uncounted} losses without a name"
    )
    print(", ".join(f"{name} {count}" for name, count in sorted(result.outcomes.items())))
    return 1 if result.uncounted or result.wrong > 3 * result.expected_wrong() + 5 else 0


if __name__ == "__main__":
    raise SystemExit(main())
