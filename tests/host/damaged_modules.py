"""Damage one module of the compiled firmware, start the gateway, and see what of it still works.

    python -m tests.host.damaged_modules                    # every module, both damages, about 10 minutes
    python -m tests.host.damaged_modules console send       # these

The Unix port stands for a board. A damaged module is missing, or begins with zeros. A board reads its modules from a
pack that checks each of them as a whole (tests/host/test_pack.py), so that to it any damage looks like these.
"""

import argparse
import contextlib
import json
import shutil
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
for folder in ("tests/host", "tests/core", "tests/sim"):
    if str(ROOT / folder) not in sys.path:
        sys.path.append(str(ROOT / folder))

from host_tools.hub.stores.store import connect  # noqa: E402
from host_tools.hub.verbs.enrol import enrol  # noqa: E402
from host_tools.image.app import app_image  # noqa: E402
from host_tools.sim.simulate import SimulatedGateway  # noqa: E402
from park import Park  # noqa: E402
from parkgate import events  # noqa: E402
from parkgate.journal.journal import Journal  # noqa: E402
from parkgate.wire import cbor  # noqa: E402

DAMAGES = {
    "missing": None,
    "begins with zeros": lambda data: bytes(8) + data[8:],
}
# What is left, from the best to the worst.
WHOLE, REPORTS, SAMPLES, KEEPS, SAYS, STARTS_AGAIN, ENDED = (
    "goes on", "safe mode: samples and sends", "safe mode: samples", "safe mode: keeps a record", "safe mode: says so",
    "starts again and again", "ended",
)  # fmt: skip
ORDER = (WHOLE, REPORTS, SAMPLES, KEEPS, SAYS, STARTS_AGAIN, ENDED)
SENSOR = {"name": "pulses", "family": "pulses", "port": "s0", "period_ms": 500}
PORTS = {"ports": {"s0": {"part": "pulses", "hz": 1.7}}}
WAIT_S = 60  # ends sooner where it is clear what is left
SETTLE_S = 3
STARTS = 3  # so many failed starts without anything better are enough
RUNNING = "safe mode: running: "
_STORED = (
    "SELECT count(*) FROM batch JOIN epoch USING (ep) JOIN gateway USING (gw) WHERE kid = ? AND batch.readings > 0"
)


def modules(app: Path) -> list[str]:
    """The flat names of all modules. Without `main`: where that fails, a board starts again."""
    return sorted(path.stem for path in app.glob("*.mpy") if path.stem != "main")


def damaged(app: Path, name: str, damage: str, target: Path) -> Path:
    """A copy of the firmware with one module damaged."""
    shutil.copytree(app, target)
    path = target / f"{name}.mpy"
    change = DAMAGES[damage]
    if change is None:
        path.unlink()
    else:
        path.write_bytes(change(path.read_bytes()))
    return target


def events_of(folder: Path) -> tuple[list, int]:
    """(events in the journal, readings sampled) of a gateway's folder; none when there is no journal."""
    from parkgate.wire.batch import Batch

    sys.path.append(str(ROOT / "boards" / "unix"))
    from nor_flash import NorFlash  # pyright: ignore[reportMissingImports]

    if not folder.joinpath("journal.nor").exists():
        return [], 0
    journal = Journal(NorFlash(str(folder / "journal.nor"), 4096, 256, 256), lambda: bytes(16))
    journal.recover()
    found = []
    for seq in range(journal.next_seq):
        sealed = journal.read_batch(seq)
        found += Batch(sealed).events if sealed else []
    found += [cbor.decode(r.payload) for r in journal.unsealed() if r.kind == journal.EVENT]
    return found, journal.counters.sampled


class Trial:
    """One start with one damaged module, beside a park that takes what it sends."""

    def __init__(self, park, folder: Path, app: Path, name: str, damage: str):
        self.name, self.damage, self.folder = name, damage, folder
        self._park = park
        self._kid = self._running = self._seen_s = None
        port = int(park.broker.url.rsplit(":", 1)[1])
        self._settings = {"hub": {"public_key": park.hub.about["public_key"]}, "broker": {"port": port},
                          "sealing": {"period_s": 2}, "sensors": [SENSOR]}  # fmt: skip
        self._app = damaged(app, name, damage, folder / "app")

    def run(self) -> str:
        """What is left of the gateway."""
        place = self.folder / "gateway"
        place.mkdir()
        place.joinpath("workshop.json").write_text(json.dumps(PORTS))
        gateway = SimulatedGateway(place, app=self._app)
        gateway.configure(self._settings)
        gateway.start()
        try:
            deadline = time.monotonic() + WAIT_S
            while time.monotonic() < deadline and gateway.running() and not self._is_clear(gateway, place):
                time.sleep(0.2)
            alive = gateway.running()
            self.lines = list(gateway.lines)
        finally:
            gateway.kill()
        return self._judge(alive, place)

    def _is_clear(self, gateway, place) -> bool:
        """Whether nothing better will come."""
        if self._kid is None and place.joinpath("public.key").exists():
            with contextlib.closing(connect(self._park.hub.folder)) as db:
                self._kid = enrol(db, bytes.fromhex(place.joinpath("public.key").read_text()), self.name[:32])
        self._running = gateway.status.get("sampled", self._running)
        parts = next((line for line in gateway.lines if line.startswith(RUNNING)), "")
        if self._stored() or sum(line.startswith("Traceback") for line in gateway.lines) > STARTS:
            return True
        if " hub;" in parts:
            return False  # it may send
        if parts or self._running is not None:
            self._seen_s = self._seen_s or time.monotonic()
            return time.monotonic() > self._seen_s + SETTLE_S
        return False

    def _stored(self) -> bool:
        if self._kid is None:
            return False
        with contextlib.closing(connect(self._park.hub.folder, read_only=True)) as db:
            return bool(db.execute(_STORED, (self._kid,)).fetchone()[0])

    def _judge(self, alive, place) -> str:
        if not alive:
            return ENDED
        if not any(line.startswith(RUNNING) for line in self.lines):
            return WHOLE if self._running is not None else STARTS_AGAIN
        noted, sampled = events_of(place)
        if not any(event[0] == events.CRASH and event[1] == "start" for event in noted):
            return SAYS
        if not sampled:
            return KEEPS
        return REPORTS if self._stored() else SAMPLES


def campaign(names, damages, at_a_time: int = 4, tell=print) -> dict[tuple[str, str], str]:
    """(module, damage) → what is left."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        app = app_image.build("unix")
        with Park(Path(folder) / "park", ()) as park, ThreadPoolExecutor(at_a_time) as pool:

            def one(name, damage):
                place = Path(folder) / f"{name}-{damage.replace(' ', '-')}"
                place.mkdir()
                trial = Trial(park, place, app, name, damage)
                result = trial.run()
                found[name, damage] = result
                tell(f"{name:24} {damage:20} {result}")
                shutil.rmtree(place)

            for done in [pool.submit(one, name, damage) for name in names for damage in damages]:
                done.result()
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description="damage each module in turn, and start")
    parser.add_argument("names", nargs="*", metavar="MODULE")
    parser.add_argument("--damage", choices=DAMAGES, action="append")
    args = parser.parse_args()
    known = modules(app_image.build("unix"))
    unknown = set(args.names) - set(known)
    if unknown:
        parser.error(f"no module is called {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    names = args.names or known
    found = campaign(names, args.damage or DAMAGES)
    for result in ORDER:
        which = sorted({name for (name, _), is_so in found.items() if is_so == result})
        if which:
            print(f"{result}: {len(which)}: {', '.join(which)}")
    return 1 if ENDED in found.values() else 0


if __name__ == "__main__":
    sys.exit(main())
