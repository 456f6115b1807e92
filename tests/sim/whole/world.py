"""A world from a seed: gateways, their meters, network, broker and hub, and what goes wrong with them.

Each seed draws a plan: how gateways are set, and which kinds of faults there are at all and how often (a world with
every fault at once finds less than many with a few). A fault is an event of the world that ends by itself. After the
last day all faults end, and everything must arrive.

    power        cuts at any moment and inside any operation of flash or file system, also while a gateway starts
    link         black holes, resets, refusals, silence, slow and dripping lines, connections that a router forgot
    broker       killed, with or without its memory; away; every lie of network.Lies; answers that are kept back
    hub          away, killed before and after a commit, its database failing at any step, put back from a backup
    clocks       of the hub and of the board: steps of a second to decades; the board's source of time is away
    flash        reads that fail, programs and erases that fail or do nothing, bits that flip; unreadable files
    settings     changed by file and on trial, also to what leads nowhere
    meters       silent, damaged answers; tasks that wake late
"""

import contextlib
import hashlib
import json
import random
import tempfile
import traceback
from pathlib import Path

from tests.sim.whole import loop as virtual
from tests.sim.whole.checker import Broken, Evidence, check
from tests.sim.whole.hub import SimulatedHub
from tests.sim.whole.machine import Machine
from tests.sim.whole.modules import host
from tests.sim.whole.network import Broker, Lies, Network

START_MS = 1_800_000_000_000
DAY_MS = 86_400_000
SETTLE_MS, SETTLE_MS_MAX = 3_600_000, 12 * 3_600_000
ASK_BACK_MS = 2 * 3_600_000  # for a hub that was put back to get what gateways still hold
# How often the gateway's loops look round: so much slower than on a board (100 ms, 1 s, 100 ms, 200 ms, 200 ms), or a
# day would take 15 s. `--fine` leaves them as they are.
PACES = (
    ("gateway.upkeep", "MAINTAIN_MS", 4000), ("gateway.upkeep", "STATUS_MS", 600_000), ("tasks.send", "POLL_MS", 5000),
    ("tasks.seal", "POLL_MS", 5000), ("tasks.sample", "_IDLE_MS", 10_000),
)  # fmt: skip
KINDS = (
    "cut", "cut inside", "cut at start", "hole", "reset", "refuse", "silent net", "drip", "slow", "broker killed",
    "broker away", "lies", "hub away", "hub killed", "database", "restore", "hub clock", "board clock", "flash",
    "files", "settings", "trial", "meter silent", "meter damaged", "late", "no source", "forgotten",
    "kept back",
)  # fmt: skip
PROFILE = json.dumps({
    "meter": "World", "manual": "none", "sources": ["the world"], "licences": ["MIT"], "notes": [], "function": 3,
    "order": "ABCD",
    "registers": [["import_active_energy", 0, "uint32", 0, "Wh", ""], ["voltage", 2, "uint16", 1, "V", ""]],
    "usual": ["import_active_energy", "voltage"],
}).encode()  # fmt: skip


class Plan:
    """What a seed draws before the world begins."""

    def __init__(self, draw, kinds=None):
        self.gateways = draw.choice((1, 1, 2))
        self.meters = draw.choice((1, 1, 2))
        self.pulses = draw.random() < 0.3
        self.period_s = draw.choice((20, 30, 60, 60, 120))
        self.seal_s = draw.choice((60, 300, 300, 900))
        self.beat_s = draw.choice((60, 300, 600))
        self.sectors = draw.choice((48, 64, 64, 96))
        self.source = draw.choice((None, None, "good"))
        if kinds is not None and {"board clock", "no source"} & set(kinds):
            self.source = "good"
        self.kinds = list(kinds) if kinds is not None else [kind for kind in KINDS if draw.random() < 0.35]
        # Kinds that somebody named are to happen.
        self.mean_h = {kind: draw.choice((2, 4, 8, 16)) if kinds is None else 0.5 for kind in KINDS}
        self.paces = PACES


class World:
    """One world. `run` lives it, `check` holds it against SPEC.md."""

    def __init__(self, seed: int, folder: Path, days: float, kinds=None, paces=None, edits=None):
        self.seed, self.days, self.edits = seed, days, edits or {}
        self.draw = random.Random(seed)
        self.plan = Plan(self.draw, kinds)
        self.paces = self.plan.paces if paces is None else paces
        self.happened: dict = {}
        self.loop = virtual.Loop(START_MS * 1000)
        self.began_us = self.loop.now_us
        virtual.use(self.loop)
        self.loop.late = self._lateness
        self.late_ms = 0
        self.well = False
        self.broker = Broker(self, random.Random(self.draw.random()))
        self.hub = SimulatedHub(self, folder, random.Random(self.draw.random()))
        self.offsets_ms = {0}
        self.faults_ms: list = []  # when a call was made to fail (failing.py)
        self.faulty_s = 0.0  # of all faults that last, one after the other
        self._ends: dict = {}  # what a fault does when it ends → when
        self.published: list = []
        self.machines: list[Machine] = []
        for number in range(self.plan.gateways):
            machine = Machine(self, number, self.draw.randrange(1 << 60))
            machine.topic = machine.xy = None
            machine.network = Network(self, self.broker, random.Random(machine.draw.random()))
            machine.network.machine = machine
            machine.silent = {unit: [] for unit in machine.meters}
            machine.unsound = False
            self.machines.append(machine)
        self.end_ms = START_MS + int(days * DAY_MS)
        self.trace = hashlib.sha256()

    def note(self, what: str) -> None:
        """Something happened: counted, and part of what a replay must repeat."""
        self.happened[what] = self.happened.get(what, 0) + 1
        self.trace.update(b"%d %s\n" % (self.loop.now_us, what.encode()))

    def falls(self, machine, error) -> None:
        """A task ended with an error that nobody caught."""
        text = "".join(traceback.format_exception(type(error), error, error.__traceback__)[-3:])
        raise Broken(f"{machine.name}: a task ended: {text}")

    def publishes(self, machine, topic, data):
        self.published.append((machine, self.loop.now_us // 1000, topic, data))
        self.trace.update(b"%d %s " % (self.loop.now_us, topic.encode()) + data)

    def _lateness(self, machine):
        if self.late_ms and self.draw.random() < 0.05:
            return 1000 * self.draw.randrange(self.late_ms)
        return 0

    # Life.

    def settings(self, **changes) -> dict:
        plan = self.plan
        made = {
            "gateway": {"name": changes.get("name", "world")},
            "hub": {"public_key": self.hub.key.xy.hex()},
            "broker": {"host": changes.get("host", Broker.host), "port": Broker.port},
            "sealing": {"period_s": changes.get("seal_s", plan.seal_s)},
            "sending": {"beat_period_s": plan.beat_s, "window": changes.get("window", 4)},
            "buses": [{"name": "b", "device": "uart", "baud": 19200}],
            "instruments": [
                {"name": f"m{unit}", "profile": "world", "bus": "b", "unit_id": unit,
                 "period_ms": 1000 * changes.get("period_s", plan.period_s)}
                for unit in range(1, plan.meters + 1)
            ],
        }  # fmt: skip
        if plan.pulses:
            options = {"rate_max_hz": 10}
            made["sensors"] = [{"name": "p", "family": "pulses", "port": "p", "period_ms": 60_000, "options": options}]
        return made

    def begin(self) -> None:
        for machine in self.machines:
            files = machine.disk.files
            files["/data/settings.json"] = json.dumps(self.settings()).encode()
            files["/data/meters/world.json"] = PROFILE
            if self.plan.source:
                machine.source = (0, 50, 1)
            self.loop.call(self.loop.now_us + 1_000_000 * machine.draw.randint(0, 600), machine.on)
        self.loop.call(self.loop.now_us + 700_000_000, self._enrol)
        for kind in self.plan.kinds:
            self._next(kind)

    def _enrol(self):
        """A person carries the public keys to the hub."""
        for machine in self.machines:
            shown = machine.disk.files.get("/data/public.key")
            if shown is None:
                self.loop.call(self.loop.now_us + 60_000_000, self._enrol)
                return
            machine.xy = bytes.fromhex(shown.decode())
        for machine in self.machines:
            topic = host().enrol(self.hub.store.db, machine.xy, machine.name).hex()[:32]
            machine.topic = topic
        self.hub.store.load()
        self.hub.backup()

    def run(self) -> None:
        self.begin()
        self.loop.run(self.end_ms * 1000)
        self._heal()
        until_ms = self.end_ms + max(SETTLE_MS, 4000 * self.plan.seal_s) + (self.hub.restored > 0) * ASK_BACK_MS
        self.loop.run(until_ms * 1000)
        while until_ms < self.end_ms + SETTLE_MS_MAX and not all(map(self._has_settled, self.machines)):
            until_ms += 600_000
            self.loop.run(until_ms * 1000)

    def _has_settled(self, machine) -> bool:
        """Whether to stop waiting; what is right the checker says."""
        life = machine.life
        if machine.xy is None or life is None or not life.alive or not hasattr(life, "app"):
            return False
        return len(life.app.journal.held()) <= 1

    def _heal(self):
        self.well = True
        self.note("well again")
        self.late_ms = 0
        self.broker.up, self.broker.keeps_back, self.broker.lies = True, False, Lies()
        self.hub.offset_ms = 0
        self.hub.come_back()
        self.hub.fail_in = self.hub.die = None
        for machine in self.machines:
            network = machine.network
            network.drips = network.refuses = network.silent = False
            network.slow_ms = machine.disk.fails = 0
            network.set_hole(False)
            machine.flash.chances = {}
            machine.cut_in = None
            if self.plan.source:
                machine.source = (0, 50, 1)
            machine.on()
            for unit, meter in machine.meters.items():
                meter.damages = 0
                self._speak(machine, unit)
            machine.disk.files["/data/settings.json"] = json.dumps(self.settings()).encode()

    # Faults.

    def _next(self, kind):
        wait_us = int(self.draw.expovariate(1) * self.plan.mean_h[kind] * 3_600_000_000)
        self.loop.call(self.loop.now_us + wait_us, self._strike, kind)

    def _strike(self, kind):
        if self.well:
            return
        machine = self.draw.choice(self.machines)
        if getattr(self, "_" + kind.replace(" ", "_"))(machine) is not False:
            self.note(kind)
        self._next(kind)

    def _for_s(self, low, high, undo, *arguments):
        """End a fault after a while, short ones more often. Where two of a kind overlap, the later end counts."""
        seconds = low * (high / low) ** self.draw.random()
        self.faulty_s += seconds
        end_us, fault = self.loop.now_us + int(seconds * 1e6), (undo, *arguments[:2])
        if end_us > self._ends.get(fault, 0):
            self._ends[fault] = end_us
            self.loop.call(end_us, self._undo, end_us, fault, undo, arguments)

    def _undo(self, end_us, fault, undo, arguments):
        if self._ends[fault] == end_us:
            undo(*arguments)

    def _cut(self, machine):
        machine.off(self.draw.choice((1, 1, 2, 6)), self.draw.choice((1, 5, 60, 600, 7200)))

    def _cut_inside(self, machine):
        if not machine.powered:
            return False
        machine.dark_s = self.draw.choice((1, 5, 300))
        machine.cut_in = self.draw.randint(1, 60)
        return None

    def _cut_at_start(self, machine):
        """Again and again, while it starts."""
        if not machine.powered:
            return False
        machine.dark_s = 1
        machine.off(1, 1)
        for i in range(self.draw.randint(1, 4)):
            self.loop.call(self.loop.now_us + 1_002_000 + 40_000 * i + 1_000_000 * i, self._arm, machine)
        return None

    def _arm(self, machine):
        if machine.powered and not self.well:
            machine.cut_in = self.draw.randint(1, 12)

    def _hole(self, machine):
        machine.network.set_hole(True)
        self._for_s(2, 20_000, machine.network.set_hole, False)

    def _reset(self, machine):
        machine.network.reset()

    def _refuse(self, machine):
        machine.network.refuses = True
        machine.network.reset()
        self._for_s(5, 5000, setattr, machine.network, "refuses", False)

    def _silent_net(self, machine):
        machine.network.silent = True
        machine.network.reset()
        self._for_s(5, 5000, setattr, machine.network, "silent", False)

    def _drip(self, machine):
        machine.network.drips = True
        self._for_s(60, 20_000, setattr, machine.network, "drips", False)

    def _slow(self, machine):
        machine.network.slow_ms = self.draw.choice((300, 2000, 9000, 30_000))
        self._for_s(60, 20_000, setattr, machine.network, "slow_ms", 0)

    def _broker_killed(self, _machine):
        self.broker.restart(self.draw.random() < 0.5)

    def _broker_away(self, _machine):
        self.broker.up = False
        self.broker.restart(self.draw.random() < 0.5)
        self._for_s(5, 10_000, setattr, self.broker, "up", True)

    def _lies(self, _machine):
        lies = self.broker.lies
        for kind in self.draw.sample(lies.KINDS, self.draw.randint(1, 4)):
            lies.chances[kind] = self.draw.choice((20, 100, 300))
        lies.late_ms_max = self.draw.choice((1000, 60_000, 3_600_000, 30_000_000))
        self._for_s(300, 30_000, self._honest)

    def _honest(self):
        self.broker.lies = Lies()

    def _kept_back(self, _machine):
        """What comes from the hub waits for the gateway's next beat: an answer to the one before looks quick then."""
        self.broker.keeps_back = True
        self._for_s(600, 20_000, setattr, self.broker, "keeps_back", False)

    def _hub_away(self, _machine):
        self.hub.up = False
        self._for_s(10, 30_000, self.hub.come_back)

    def _hub_killed(self, _machine):
        self.hub.die = self.draw.choice(("before", "after"))

    def _database(self, _machine):
        self.hub.fail_in = self.draw.choice((1, 50, 400, 1500, 4000))

    def _restore(self, _machine):
        if self.draw.random() < 0.5:
            self.hub.backup()
            return False
        return None if self.hub.restore() else False

    def _hub_clock(self, _machine):
        offset = self._offset_ms()
        self.hub.offset_ms = offset
        self.offsets_ms.add(offset)
        self._for_s(60, 20_000, setattr, self.hub, "offset_ms", 0)

    def _board_clock(self, machine):
        if not self.plan.source:
            return False
        offset = self._offset_ms()
        machine.source = (offset, 50, 1)
        self.offsets_ms.add(offset)
        self._for_s(60, 20_000, setattr, machine, "source", (0, 50, 1))
        return None

    def _no_source(self, machine):
        """NTP does not answer; the board's clock starts at nothing."""
        if not self.plan.source:
            return False
        machine.source = None
        self._for_s(600, 40_000, setattr, machine, "source", (0, 50, 1))
        return None

    def _forgotten(self, machine):
        """A router on the way forgets its connections: what is sent goes nowhere, and nobody says so."""
        machine.network.forget()

    def _offset_ms(self):
        size = self.draw.choice((1000, 90_000, 3_600_000, DAY_MS, 400 * DAY_MS, 7305 * DAY_MS))
        return self.draw.choice((-1, 1)) * size

    def _flash(self, machine):
        machine.flash.chances = {
            self.draw.choice(("program error", "erase error", "program ignored", "erase ignored", "read error")): 10,
            "flip": self.draw.choice((0, 0, 1)),
        }
        machine.unsound = True
        self._for_s(60, 3000, setattr, machine.flash, "chances", {})

    def _files(self, machine):
        machine.disk.fails = 200
        self._for_s(60, 3000, setattr, machine.disk, "fails", 0)

    def _settings(self, machine):
        """A file settings.json is put there, and the gateway is started again."""
        if not machine.powered:
            return False
        plan = self.plan
        made = self.settings(
            seal_s=self.draw.choice((60, plan.seal_s)), window=self.draw.randint(1, 8),
            name=f"n{self.draw.randrange(99)}",
            period_s=self.draw.choice((plan.period_s, plan.period_s, max(10, plan.period_s // 2))),
        )  # fmt: skip
        machine.disk.files["/data/settings.json"] = json.dumps(made).encode()
        machine.off(2, 1)
        return None

    def _trial(self, machine):
        """What the console's `settings commit` does, to settings that may lead nowhere."""
        life = machine.life
        if not machine.powered or not hasattr(life, "app"):
            return False
        leads = self.draw.random() < 0.5
        made = self.settings(name=f"t{self.draw.randrange(99)}", host=Broker.host if leads else "nowhere")
        modules = life.modules
        validate = modules.load("parkgate.settings.schema").validate
        slots = modules.load("parkgate.settings.slots").Slots(life.app.board.files, validate)
        slots.load(None, False)
        if slots.on_trial:
            return False
        slots.commit(made)
        machine.off(5, 1)
        return None

    def _meter_silent(self, machine):
        unit = self.draw.choice(list(machine.meters))
        if machine.meters[unit].silent:
            return False
        machine.meters[unit].silent = True
        machine.silent[unit].append([self.loop.now_us // 1000, None])
        self._for_s(30, 7000, self._speak, machine, unit)
        return None

    def _speak(self, machine, unit):
        if machine.meters[unit].silent:
            machine.meters[unit].silent = False
            machine.silent[unit][-1][1] = self.loop.now_us // 1000

    def _meter_damaged(self, machine):
        meter = machine.meters[self.draw.choice(list(machine.meters))]
        meter.damages = 200
        self._for_s(30, 3000, setattr, meter, "damages", 0)

    def _late(self, machine):
        self.late_ms = self.draw.choice((50, 500, 1500))
        self._for_s(60, 7000, setattr, self, "late_ms", 0)

    # The end.

    def check(self) -> dict:
        """Raises Broken."""
        figures: dict = {}
        for machine in self.machines:
            evidence = Evidence(
                xy=machine.xy,
                meters={f"m{unit}": meter.delivered for unit, meter in machine.meters.items()},
                voltage=next(iter(machine.meters.values())).voltage,
                asked={f"m{unit}": meter.asked for unit, meter in machine.meters.items()},
                power=machine.on_ms,
                silent={f"m{unit}": spans for unit, spans in machine.silent.items()},
                troubled={f"m{unit}": "meter damaged" in self.happened for unit in machine.meters},
                period_ms=1000 * self.plan.period_s,
                published=[each[1:] for each in self.published if each[0] is machine],
                offsets_ms=self.offsets_ms,
                flash_is_sound=not machine.unsound,
                # It is sealed each minute at most, and a batch with its records takes less than 1 KiB.
                flash_is_small=4 * self.plan.sectors < self.faulty_s / 60,
                flash=b"".join(bytes(sector) for sector in machine.flash.sectors),
                end_ms=self.end_ms,
                faults_ms=self.faults_ms,
            )
            try:
                found = check(evidence, self.hub.folder / "hub.sqlite", self.hub.restored > 0)
            except Broken as e:
                raise Broken(f"{machine.name}: {e}") from None
            for name, count in found.items():
                figures[name] = figures.get(name, 0) + count
        return figures


@contextlib.contextmanager
def world(seed: int, days: float, **arguments):
    """A world in a folder of its own."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        made = World(seed, Path(folder), days, **arguments)
        try:
            yield made
        finally:
            for machine in made.machines:
                if machine.life:
                    machine.life.close()
            made.hub.store.close()
