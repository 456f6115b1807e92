"""Bugs for the whole system: each is a small edit of the product's source, and a world must find it.

name → (what it does wrong, kinds of faults that bring it out, edits: (path, text, text instead)). The text must stand
there exactly once, so that an edit cannot rot unseen.
"""

import importlib.machinery
import importlib.util
import sys

from tests.sim.whole import ROOT
from tests.sim.whole.modules import NoSuchEdit

SEND, SEAL, MQTT = "firmware/tasks/send.py", "firmware/tasks/seal.py", "firmware/mqtt.py"
INTAKE = "host_tools/hub/receiving/intake.py"

BUGS = {
    "any answer": (
        "an answer to an older beat sets the clock",
        ("kept back", "cut"),
        (SEND, "if asked is None or asked[0] != beat_hash:", "if asked is None:"),
    ),
    "no round trip": (
        "the hub's time is taken as of now, however long it took",
        ("slow", "drip"),
        (SEND, "self._take_time(hub_unix_ms + round_trip_ms // 2, round_trip_ms // 2 + CLOCK_GRAIN_MS)",
         "self._take_time(hub_unix_ms, 20)"),
    ),
    "no drift": (
        "a clock that was set once is called as good for ever",
        ("hub away",),
        ("lib/parkgate/clock.py", "DRIFT_PPM = 50", "DRIFT_PPM = 0"),
    ),
    "newest only": (
        "what was held before the newest batch is not sent",
        ("hole", "refuse"),
        ("lib/parkgate/journal/outbox.py", "if under_way < max(1, self.window - 1):", "if under_way < 0:"),
    ),
    "dated by another start": (
        "samples of an earlier start are dated by the clock of this one",
        ("cut", "refuse", "no source"),
        (SEAL, "        if record.boot == self._journal.boot:\n            time_ms, trust = self._clock",
         "        if True:\n            time_ms, trust = self._clock"),
    ),
    "sampled ahead": (
        "a batch counts a sample that is not in it",
        ("hole",),
        (SEAL, "sampled=sampled_before + taken.readings,", "sampled=sampled_before + taken.readings + (seq > 20),"),
    ),
    "unsynchronised dropped": (
        "samples before the clock is set are not kept",
        ("cut",),
        ("firmware/gateway/records.py", "        time_ms, trust = self._clock.date(taken_ms)\n",
         "        time_ms, trust = self._clock.date(taken_ms)\n        if trust == 3:\n            return\n"),
    ),
    "no time-out": (
        "a read of the broker waits for ever",
        ("forgotten",),
        (MQTT, "return await asyncio.wait_for_ms(self._reader.readexactly(count), timeout_ms)",
         "return await self._reader.readexactly(count)"),
    ),
    "trial for ever": (
        "settings under which the hub hears nothing are kept",
        ("trial",),
        ("firmware/gateway/trial.py", "self._until_ms = start.trial_ms", "self._until_ms = None"),
    ),
    "receipt without a commit": (
        "the hub answers although its database failed",
        ("database", "hub away", "slow"),
        (INTAKE, "        self._commit(group, now_unix_ms)\n",
         "        try:\n            self._commit(group, now_unix_ms)\n        except sqlite3.Error:\n"
         "            group = [work for work in group if hasattr(work, \"outcome\")]\n"),
    ),
    "duplicate unanswered": (
        "a batch that the hub has already gets no receipt",
        ("lies", "hub killed", "reset"),
        (INTAKE, "return Outcome(decision, why, gateway, (epoch.epoch, seq, batch_hash))",
         "place = (epoch.epoch, seq, batch_hash) if decision != accept.DUPLICATE else None\n"
         "        return Outcome(decision, why, gateway, place)"),
    ),
    "never asks back": (
        "a hub that was put back from a backup does not ask for what it lost",
        ("restore",),
        ("host_tools/hub/receiving/present.py", "    if receipt_seq is None:\n        return [], 0\n",
         "    if receipt_seq is None or receipt_seq >= 0:\n        return [], 0\n"),
    ),
    "no signature": (
        "the hub takes what is not signed as it must be",
        ("lies",),
        ("host_tools/hub/receiving/verify.py", "gateway.verifier.check(sign1.digest(), sign1.signature)", "pass"),
    ),
    "raw freed before the commit": (
        "records are freed before their batch is whole",
        ("cut inside", "cut at start"),
        ("lib/parkgate/journal/batches.py", "        try:\n            count = self._put_parts(",
         "        self.ledger.consumed = position + 1\n        self.free_raw()\n"
         "        try:\n            count = self._put_parts("),
    ),
}  # fmt: skip


def edits(name: str) -> dict:
    """Path → [(text, text instead)] of a bug."""
    found: dict = {}
    for path, old, new in BUGS[name][2:]:
        found.setdefault(path, []).append((old, new))
    return found


class _Finder(importlib.machinery.SourceFileLoader):
    """Gives the hub's modules with the edits in them. To be used before any of them is loaded."""

    changes: dict = {}

    @classmethod
    def find_spec(cls, name, _path=None, _target=None):
        path = name.replace(".", "/") + ".py"
        if path not in cls.changes:
            return None
        return importlib.util.spec_from_loader(name, cls(name, str(ROOT / path)))

    def get_code(self, fullname):
        path = fullname.replace(".", "/") + ".py"
        text = (ROOT / path).read_text(encoding="utf-8")
        for old, new in self.changes[path]:
            if text.count(old) != 1:
                raise NoSuchEdit(f"{path}: {text.count(old)} times {old!r}")
            text = text.replace(old, new)
        return compile(text, str(ROOT / path), "exec")


def plant(name: str) -> dict:
    """Put a bug into this process; gives the edits of the gateway's modules."""
    changes = edits(name)
    for path, found in changes.items():
        text = (ROOT / path).read_text(encoding="utf-8")
        for old, _new in found:  # now: in a world it would look like a bug that was found
            if text.count(old) != 1:
                raise NoSuchEdit(f"{path}: {text.count(old)} times {old!r}")
    _Finder.changes = {path: found for path, found in changes.items() if path.startswith("host_tools/")}
    if any(path[:-3].replace("/", ".") in sys.modules for path in _Finder.changes):
        raise RuntimeError("the hub is loaded already")
    sys.meta_path.insert(0, _Finder)  # pyright: ignore[reportArgumentType]
    return {path: found for path, found in changes.items() if path not in _Finder.changes}
