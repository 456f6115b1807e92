"""A park for tests of the alarms, in virtual time: gateways that speak with jitter, meters behind them, a hub that is
restarted now and then. It makes what `causes` is given, and plants the faults that must be found."""

import random

from host_tools.hub.alarms import causes, rules
from host_tools.hub.alarms.causes import DAY_MS, HOUR_MS, MINUTE_MS, Certificate, Facts, Happened

START_MS = 1_800_000_000_000
STEP_MS = MINUTE_MS
METERS = ("main", "press", "oven")


class Hall:
    """One gateway. `silent`, `away`, … are set by a test; everything else jitters as real ones do."""

    def __init__(self, number: int, chance: random.Random):
        self.id = f"{number:064x}"
        self.name = f"hall {number}"
        self.chance = chance
        self.beat_ms = chance.choice((60_000, 60_000, 60_000, 300_000))  # one of four speaks every 5 minutes
        self.next_ms = START_MS + chance.randrange(self.beat_ms)
        self.heard_ms = START_MS
        self.silent = False
        self.reason = dict.fromkeys(METERS, "")  # why a meter gives nothing, or ""
        self.away_ms: dict[str, int] = {}
        self.findings: list[dict] = []
        self.trust, self.late_ms = "synchronised", 0
        self.awaited = self.unexplained = 0
        self.loss_in_s = 600_000
        self.revoked_ms = None
        self.refused = 0

    def live(self, now_ms: int, hub_is_up: bool) -> None:
        while self.next_ms <= now_ms:
            lost = (
                self.heard_ms > self.next_ms - 2 * self.beat_ms and self.chance.random() < 0.02
            )  # it comes with the next
            if hub_is_up and not self.silent and not lost:
                self.heard_ms = min(now_ms, self.next_ms + self.chance.randrange(3000))
            self.next_ms += self.beat_ms + self.chance.randrange(-2000, 2000)
        for name, reason in self.reason.items():
            if not reason:
                self.away_ms.pop(name, None)
            elif name not in self.away_ms and not self.silent:
                self.away_ms[name] = now_ms

    def summary(self) -> dict:
        instruments = [
            {"instrument": name, "state": self._state(name), "since_ms": self.away_ms.get(name),
             "reason": self.reason[name] or None}
            for name in METERS
        ]  # fmt: skip
        return {
            "id": self.id, "name": self.name, "place": {"id": "", "name": self.name},
            "revoked_unix_ms": self.revoked_ms, "last_seen_unix_ms": self.heard_ms,
            "signed_ms": self.heard_ms - self.late_ms, "alarms": self.findings, "instruments": instruments,
            "unexplained_batches": self.unexplained, "awaited_batches": self.awaited, "loss_in_s": self.loss_in_s,
            "beat": {"clock_trust": self.trust}, "refused": {"revoked": self.refused},
        }  # fmt: skip

    def _state(self, name: str) -> str:
        if name not in self.away_ms:
            return "good"
        return "away" if self.reason[name] == "no answer" else "partly"


class World:
    """A park of halls and its alarms. `run` lives; `told` is every alarm that was opened."""

    def __init__(self, seed: int, halls: int):
        self.chance = random.Random(seed)
        self.halls = [Hall(number, self.chance) for number in range(1, halls + 1)]
        self.now_ms = START_MS
        self.up_ms = START_MS
        self.memory = rules.Memory()
        self.alarms: list[rules.Alarm] = []
        self.marks: dict[str, int] = {}
        self.told: list[rules.Alarm] = []
        self.over: list[rules.Alarm] = []
        self.happened: list[Happened] = []
        self.fields: dict = {}  # more of Facts
        self.witnessed_ms = START_MS
        self.is_up = True

    def run(self, ms: int, restarts: bool = False) -> None:
        end_ms = self.now_ms + ms
        while self.now_ms < end_ms:
            self.now_ms += STEP_MS
            if restarts and self.chance.random() < STEP_MS / DAY_MS:
                self.restart(self.chance.randrange(1, 40) * MINUTE_MS)
            self.step()

    def restart(self, down_ms: int) -> None:
        """The hub is down for so long; of what it remembered it has only what it had stored."""
        self.is_up = False
        for _ in range(down_ms // STEP_MS):
            self.now_ms += STEP_MS
            self.move()
        self.is_up, self.up_ms, self.memory = True, self.now_ms, rules.Memory(dict(self.memory.seen))

    def move(self) -> None:
        for hall in self.halls:
            hall.live(self.now_ms, self.is_up)
        if self.now_ms - self.witnessed_ms > 2 * HOUR_MS:
            self.witnessed_ms = self.now_ms

    def step(self) -> None:
        self.move()
        fields = {
            "witnessed_ms": self.witnessed_ms, "listening_ms": self.now_ms - self.up_ms, "disk": (1 << 40, 2 << 40),
            "usual_ms": {hall.id: hall.beat_ms for hall in self.halls},
            "certificates": [Certificate("the page's certificate", self.now_ms + 200 * DAY_MS)], **self.fields,
        }  # fmt: skip
        happened, self.happened = self.happened, []
        facts = Facts(self.now_ms, [hall.summary() for hall in self.halls], happened=happened, **fields)
        found = causes.causes(facts)
        for what, alarm in rules.step(self.alarms, self.memory, found, self.marks, self.now_ms, len(self.halls)):
            if what == rules.OPENED:
                self.told.append(alarm)
            elif what == rules.CLOSED:
                self.over.append(alarm)

    def opened(self) -> list[str]:
        return [alarm.kind for alarm in self.told]
