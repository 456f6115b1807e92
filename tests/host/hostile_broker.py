"""A broker that does what it likes between two gateways and their hub: it drops, replays, reorders, duplicates, forges,
delivers across, truncates and holds back. `python -m tests.host.hostile_broker --actions 100000 --seed 1`

Real: the gateway's sender, outbox, clock, timekeeper, journal on the strict flash, its rules for receipts and answers;
the hub's intake and database; all keys, signatures and MACs. The broker and time are made up here. The checks know
only what SPEC.md promises:

    6.2   a batch is freed only when the hub has committed the very bytes that the gateway holds
    10    what the hub holds is what a gateway sealed, bytes for bytes: no row is invented, none is in another's name
    6.4   a clock that was set is off by no more than it says, whatever is delivered when
    5.5   sampled = acknowledged + buffered + dropped at the gateway; nothing is dropped
    10.2  when the broker behaves again, everything arrives: nothing is lost, nothing is there twice
"""

import argparse
import hashlib
import random
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
for folder in (".", "lib", "tests/core", "tests/sim", "tests/host", "firmware"):
    if str(ROOT / folder) not in sys.path:
        sys.path.append(str(ROOT / folder))

from app import App  # noqa: E402
from batches import FakeGateway  # noqa: E402
from enrolled import EnrolledHub  # noqa: E402
from flash_sim import FlashSim  # noqa: E402
from hub_rig import Rig  # noqa: E402
from parkgate import reading  # noqa: E402
from parkgate.clock import Clock  # noqa: E402
from parkgate.journal.journal import Journal  # noqa: E402
from parkgate.wire import cbor  # noqa: E402
from tasks.send import Sender  # noqa: E402
from tasks.timekeeper import Timekeeper  # noqa: E402

START_MS = 1_800_000_000_000
FLOOR_MS = 1_793_491_200_000
SENDING = {"window": 4, "receipt_timeout_s": 15, "backlog_interval_ms": 0, "beat_period_s": 60}
HELD_MAX = 40  # batches a gateway has waiting before it makes no more
KEPT_MAX = 400  # messages that the broker remembers of each direction
PPM_MAX = 45  # of a gateway's crystal; SPEC 6.4 allows 50


class Broken(Exception):
    """A promise of SPEC.md does not hold."""


class Log:
    def error(self, _who, _text):
        pass

    info = error


class Settled:
    """Settings that are not on trial."""

    def accepted(self, _seq):
        pass


class Gateway(App):
    """The gateway's own code around one chain; what it measures is made up, what it signs is real."""

    def __init__(self, number: int, hub_xy: bytes, world):
        self.world, self.maker = world, FakeGateway(number)
        self.name, self.xy = f"gateway {number}", self.maker.xy
        self.ppm = world.draw.randint(-PPM_MAX, PPM_MAX)
        self.log = Log()
        self.hub = EnrolledHub(hub_xy, self, self.maker.id)
        self.hub._key = self.maker.receipt_key(hub_xy)
        self.journal = Journal(FlashSim(4096, 96, 256), lambda: self.maker.epoch)
        self.receipt_ms = None
        self.trial = Settled()
        self.sealed: dict[int, bytes] = {}
        self.readings = self.beats = 0
        self.newest_ms = 0
        self.start()

    def start(self) -> None:
        """A start: all but the journal is forgotten."""
        self.journal.recover(1)
        self.started_ms = self.world.now_ms
        self.clock = Clock(FLOOR_MS)
        self.clock.newest_unix_ms = self.newest_ms
        self.timekeeper = Timekeeper(self.clock, None, self.note, self.mono_ms, self.log)
        take = self.take_receipt, self.hub, None, SENDING, self.timekeeper.take_hub_time
        take += (lambda _message: None, lambda: None, self.world.draw.randrange)
        self.sender = Sender(self.journal, None, self.maker.topic, *take, self.mono_ms, self.log)

    def note(self, event: list) -> None:
        self.journal.append(self.journal.EVENT, cbor.encode(event), 0)

    def mono_ms(self) -> int:
        passed = self.world.now_ms - self.started_ms
        return 1000 + passed + passed * self.ppm // 1_000_000

    def seal(self) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """A batch more, if there is room."""
        journal, maker = self.journal, self.maker
        if len(journal.held()) >= HELD_MAX:
            return
        maker.boot, maker.receipt_seq = journal.boot, journal.receipt_seq
        seq = maker.seq
        sealed = maker.batch(rows=self.world.draw.randint(1, 3))
        count = maker.last_readings
        time_ms, trust = self.clock.date(self.mono_ms())
        if trust == reading.SYNCHRONISED:
            self.newest_ms = max(self.newest_ms, time_ms)
        journal.append(journal.SAMPLE, reading.encode_sample(0, time_ms, trust, [1] * count), count)
        position = [record.position for record in journal.unsealed()][-1]
        journal.commit_batch(seq, sealed, hashlib.sha256(sealed).digest(), position, count)
        self.sealed[seq] = sealed
        self.readings += count
        while journal.needs_erase:
            journal.maintain()

    def send(self) -> None:
        now = self.mono_ms()
        seq = self.sender.outbox.choose(self.journal.held(), now)
        if seq is None and self.sender._wanted:
            seq = self.sender._wanted[0][0]
            self.sender._wanted.pop(0)
            if seq in self.journal.held() or seq not in self.sealed:
                return
            data = self.journal.read_batch(seq)
        elif seq is not None:
            data = self.journal.read_batch(seq)
            self.sender.outbox.sent(seq, now)
        else:
            return
        if data is not None:
            self.world.to_hub(self.maker.batch_topic(), bytes(data))

    def beat(self) -> None:
        """As App.make_beat and the sender's loop do it."""
        maker, journal, counters = self.maker, self.journal, self.journal.counters
        held = journal.held()
        mono_ms = self.mono_ms()
        time_ms, trust = self.clock.date(mono_ms)
        self.beats += 1
        health = {"uptime_ms": mono_ms}
        if self.sender.answered_unix_ms is not None:
            health["answered_ms"] = self.sender.answered_unix_ms
        error_ms = self.clock.uncertainty_ms(mono_ms)
        if error_ms is not None:
            health["clock_error_ms"] = error_ms
        data = maker.beat(
            boot=journal.boot, sampled=counters.sampled, dropped=counters.dropped, buffered=counters.buffered,
            receipt_seq=journal.receipt_seq, oldest_held=held[0] if held else None, time_ms=time_ms, trust=trust,
            health=health,
        )  # fmt: skip
        self.sender._asked = hashlib.sha256(data).digest(), mono_ms
        self.world.to_hub(maker.beat_topic(), data)

    def check(self, where: str) -> None:
        counters = self.journal.counters
        if counters.sampled != counters.acked + counters.buffered + counters.dropped or counters.dropped:
            raise Broken(f"{where}: {self.name}: {counters}")
        if self.clock.offset_ms is not None:
            mono_ms = self.mono_ms()
            error_ms = self.clock.date(mono_ms)[0] - self.world.now_ms
            if abs(error_ms) > self.clock.uncertainty_ms(mono_ms) + 2:
                raise Broken(f"{where}: {self.name}: off by {error_ms} ms, says {self.clock.uncertainty_ms(mono_ms)}")


class World:
    """Two gateways, a hub, and the broker between them. All chance comes from one seed."""

    def __init__(self, seed: int, folder):
        self.draw = random.Random(seed)
        self.now_ms = START_MS
        self.rig = Rig(folder)
        self.gateways = [Gateway(number, self.rig.key.xy, self) for number in (1, 2)]
        self.rig.enrol(*self.gateways)
        self.up: list[tuple[str, bytes]] = []  # on their way to the hub
        self.down: list[tuple[str, bytes]] = []  # on their way to a gateway
        self.seen_up: list[tuple[str, bytes]] = []
        self.seen_down: list[tuple[str, bytes]] = []
        self.done: dict[str, int] = {}

    def to_hub(self, topic, data):
        self.up.append((topic, data))
        self._remember(self.seen_up, (topic, data))

    def _remember(self, seen, message):
        if len(seen) < KEPT_MAX:
            seen.append(message)
        else:
            seen[self.draw.randrange(KEPT_MAX)] = message  # some stay for ever

    def deliver_up(self, topic, data) -> None:
        self.rig.now_unix_ms = self.now_ms
        (outcome,) = self.rig.take((topic, data))
        for where, said in ((outcome.receipt_topic, outcome.receipt), (outcome.answer_topic, outcome.answer)):
            if said is not None:
                self.down.append((where, said))
                self._remember(self.seen_down, (where, said))

    def deliver_down(self, topic, data) -> None:
        """Give a message to the gateway of its topic, and see what it frees."""
        for gateway in self.gateways:
            if topic.split("/")[1] == gateway.maker.topic:
                before = set(gateway.journal.held())
                gateway.sender._on_message(topic.encode(), data)
                for seq in before - set(gateway.journal.held()):
                    self._was_right(gateway, seq)

    def _was_right(self, gateway, seq):
        row = self.rig.store.db.execute(
            "SELECT batch.hash FROM batch JOIN epoch USING (ep) WHERE epoch.epoch = ? AND seq = ?",
            (gateway.maker.epoch, seq),
        ).fetchone()
        if row is None or row[0] != hashlib.sha256(gateway.sealed[seq]).digest():
            raise Broken(f"{gateway.name}: batch {seq} was freed and the hub has not got it")

    # What the broker does.

    def forged(self, data: bytes) -> bytes:
        draw, changed = self.draw, bytearray(data)
        way = draw.randrange(5)
        if way == 0:
            return bytes(changed[: draw.randrange(len(changed))])
        if way == 1:
            return bytes(changed) + draw.randbytes(draw.randint(1, 40))
        if way == 2:
            return draw.randbytes(draw.randint(0, 300))
        for _ in range(draw.randint(1, 3)):
            changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
        return bytes(changed)

    def across(self, topic: str) -> str:
        """Another topic: of the other gateway, or of the other kind."""
        parts = topic.split("/")
        if self.draw.random() < 0.7:
            parts[1] = self.draw.choice(self.gateways).maker.topic
        else:
            parts[2] = self.draw.choice(("receipt", "answer") if parts[0] == "cmd" else ("batch", "beat"))
        return "/".join(parts)

    def act(self) -> None:
        draw = self.draw
        action = draw.choices(
            ("seal", "send", "beat", "deliver", "replay", "drop", "forge", "across", "time", "start", "hub"),
            (12, 20, 6, 34, 8, 5, 5, 5, 10, 0.3, 0.3),
        )[0]
        self.done[action] = self.done.get(action, 0) + 1
        gateway = draw.choice(self.gateways)
        upward = draw.random() < 0.5
        waiting, seen = (self.up, self.seen_up) if upward else (self.down, self.seen_down)
        deliver = self.deliver_up if upward else self.deliver_down
        if action in ("seal", "send", "beat", "start"):
            getattr(gateway, action)()
        elif action == "hub":
            self.rig.restart()
        elif action == "time":
            self.now_ms += int(10 ** draw.uniform(0, 5.5 if draw.random() < 0.97 else 8.5))
        elif action in ("deliver", "drop") and waiting:
            message = waiting.pop(draw.randrange(len(waiting)) if draw.random() < 0.4 else 0)
            self.now_ms += draw.randrange(40)
            if action == "deliver":
                deliver(*message)
        elif seen:
            topic, data = draw.choice(seen)
            if action == "replay":
                deliver(topic, data)
            elif action == "forge":
                deliver(topic, self.forged(data))
            elif action == "across":
                deliver(self.across(topic), data)

    def run(self, actions: int) -> None:
        for number in range(actions):
            self.act()
            for gateway in self.gateways:
                gateway.check(f"action {number}")
        self.settle()
        self.compare()

    def settle(self) -> None:
        """The broker behaves: everything must arrive within two hours."""
        end_ms = self.now_ms + 7_200_000
        beat_ms = 0
        while self.now_ms < end_ms and (self.up or self.down or any(g.journal.held() for g in self.gateways)):
            for gateway in self.gateways:
                if self.now_ms >= beat_ms:
                    gateway.beat()
                gateway.send()
            beat_ms = self.now_ms + 60_000 if self.now_ms >= beat_ms else beat_ms
            while self.up:
                self.deliver_up(*self.up.pop(0))
            while self.down:
                self.deliver_down(*self.down.pop(0))
            self.now_ms += 500
        for gateway in self.gateways:
            if gateway.journal.held():
                raise Broken(f"{gateway.name}: {len(gateway.journal.held())} batches never arrived")

    def compare(self) -> None:
        """The database holds what was sealed and nothing else."""
        for gateway in self.gateways:
            rows = self.rig.rows(
                "SELECT seq, batch.hash FROM batch JOIN epoch USING (ep) JOIN gateway USING (gw) WHERE kid = ?",
                gateway.maker.id,
            )
            wanted = {seq: hashlib.sha256(sealed).digest() for seq, sealed in gateway.sealed.items()}
            if len(rows) != len(wanted) or dict(rows) != wanted:
                raise Broken(f"{gateway.name}: {len(wanted)} batches were sealed, the hub has {len(rows)}")
            summary = self.rig.summary(gateway.maker)
            if summary["readings_stored"] != gateway.readings or summary["forks"]:
                raise Broken(f"{gateway.name}: {summary['readings_stored']} of {gateway.readings} readings")


def campaign(seed: int, actions: int) -> World:
    """Run one; raises Broken with all that is needed to run it again."""
    with tempfile.TemporaryDirectory() as folder:
        world = World(seed, Path(folder))
        try:
            world.run(actions)
        except Broken as error:
            raise Broken(f"seed {seed}, {actions} actions: {error}") from None
        finally:
            world.rig.store.close()
        return world


def main() -> int:
    parser = argparse.ArgumentParser(description="a broker that lies, from one seed")
    parser.add_argument("--actions", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    world = campaign(args.seed, args.actions)
    counts = ", ".join(f"{count} {name}" for name, count in sorted(world.done.items()))
    batches = sum(len(gateway.sealed) for gateway in world.gateways)
    days = (world.now_ms - START_MS) / 86_400_000
    print(f"seed {args.seed}: {args.actions} actions in {days:.1f} days: {counts}")
    print(f"{batches} batches, all at the hub once; nothing freed wrongly, no clock off by more than it says")
    return 0


if __name__ == "__main__":
    sys.exit(main())
