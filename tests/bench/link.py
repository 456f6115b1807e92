"""Faults of the link, each met by a gateway of its own beside a healthy one: does sampling wait for any of them?

A gateway under MicroPython's Unix port counts pulses once a second. Its broker is wrong in one of the ways of
tests/host/link_faults.py; some gateways run at a time, and with each such group a healthy one, with a real broker and a
real hub. Afterwards each journal is read: a sample's lateness is its time less the beginning of its period (of the
earliest sample of that gateway: no clock is compared with another), and a period without a sample is missed.

    make bench ARGS=link                       # about 5 minutes
    make bench SIZE=20 ARGS=link               # 10 minutes of each fault, an outage of an hour at the end
    python -m tests.bench.link --seconds 60 --outage 3600 "black hole" drip
"""

import argparse
import contextlib
import importlib
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent.parent
if __name__ == "__main__":
    sys.path += [str(ROOT / folder) for folder in ("tests/core", "tests/sim", "tests/host")]

from host_tools.hub.stores.store import connect  # noqa: E402
from host_tools.hub.verbs.enrol import enrol  # noqa: E402
from host_tools.sim.simulate import SimulatedGateway  # noqa: E402
from link_faults import NAMES, PLAIN, TLS, Faults  # noqa: E402
from park import Park  # noqa: E402
from parkgate.journal.journal import Journal  # noqa: E402
from parkgate.reading import decode_sample  # noqa: E402
from parkgate.wire.batch import Batch  # noqa: E402

ALL = (*PLAIN, *NAMES, *TLS)
OUTAGE = "nothing listens"
AT_A_TIME = 9  # gateways beside a healthy one
PERIOD_MS = 1000
SETTLE_S = 4.0  # from the first samples on: many gateways start at once, which no workshop does
EARLY_MS = 200  # no sample is earlier than most by more
SECONDS = 30  # of each fault at size 1
OUTAGE_SIZE, OUTAGE_S = 10, 3600  # from this size on the outage lasts so long
GOAL_MS = 20
SENSOR = {"name": "pulses", "family": "pulses", "port": "s0", "period_ms": PERIOD_MS}
PORTS = {"ports": {"s0": {"part": "pulses", "hz": 1.7}}}


VERBOSE = int(os.environ.get("PARKGATE_LINK_LINES", "0"))  # so many last lines of each gateway's log


class Met(NamedTuple):
    """What became of a gateway beside a fault. Lateness in ms, sorted; what was sent is per minute."""

    name: str
    late: list[int]
    missed: int
    connections: float
    messages: float
    healthy: list[int]
    healthy_missed: int

    def at(self, share: float) -> int:
        return quantile(self.late, share)


def quantile(late: list[int], share: float) -> int:
    """The smallest lateness that `share` of the samples do not exceed."""
    return late[min(len(late) - 1, int(share * len(late)))]


def sample_times(folder: Path) -> list[int]:
    """The times of all samples in the journal of a gateway's folder, also of batches that have a receipt."""
    if str(ROOT / "boards" / "unix") not in sys.path:
        sys.path.append(str(ROOT / "boards" / "unix"))
    flash = importlib.import_module("nor_flash").NorFlash(str(folder / "journal.nor"), 4096, 256, 256)
    journal = Journal(flash, lambda: bytes(16))
    journal.recover()
    found = []
    for seq in range(journal.next_seq):
        sealed = journal.read_batch(seq) if seq >= journal.oldest_on_flash else None
        if sealed is not None:
            batch = Batch(sealed)
            for table in batch.tables:
                found += table.times(batch.base_ms)
    found += [decode_sample(r.payload)[1] for r in journal.unsealed() if r.kind == journal.SAMPLE]
    return sorted(found)


def lateness(times: list[int], begin_ms: float = 0) -> tuple[list[int], int]:
    """(lateness of each sample since `begin_ms`, sorted; periods without a sample), up to the last. Periods begin with
    the earliest of the samples that are as punctual as most."""
    times = [t for t in times if t >= begin_ms]
    usual = sorted((t - times[0]) % PERIOD_MS for t in times)[len(times) // 2]
    before = (min((t - times[0] - usual + EARLY_MS) % PERIOD_MS for t in times)) - EARLY_MS
    begin = times[0] + usual + before
    begin -= PERIOD_MS * -((times[0] - begin) // PERIOD_MS)
    numbers = {(t - begin) // PERIOD_MS for t in times}
    return sorted((t - begin) % PERIOD_MS for t in times), max(numbers) + 1 - len(numbers)


class _Group:
    """Some faults at a time, and a healthy park beside them."""

    def __init__(self, folder: Path, names, seconds: float):
        self.folder, self.names, self.seconds = folder, names, seconds

    def _settings(self, hub_key, broker):
        sealing = {"period_s": 5}
        return {"hub": {"public_key": hub_key}, "broker": broker, "sealing": sealing, "sensors": [SENSOR]}

    def run(self) -> list[Met]:
        with Park(self.folder / "park", ()) as park, Faults(self.folder) as faults, contextlib.ExitStack() as stack:
            key = park.hub.about["public_key"]
            port = int(park.broker.url.rsplit(":", 1)[1])
            ways = {name: faults.start(name) for name in self.names}
            ways[""] = {"port": port}, {}
            gateways = {}
            for name, (broker, environment) in ways.items():
                gateway = gateways[name] = SimulatedGateway(self.folder / f"gateway-{len(gateways)}")
                gateway.folder.mkdir()
                gateway.folder.joinpath("workshop.json").write_text(json.dumps(PORTS))
                gateway.configure(self._settings(key, broker))
                stack.callback(gateway.kill)
                gateway.start(environment)
            with contextlib.closing(connect(park.hub.folder)) as db:
                enrol(db, gateways[""].public_key(60), "healthy")
            for gateway in gateways.values():
                park.wait(lambda gateway=gateway: gateway.status.get("sampled"), 60, "the first sample")
            time.sleep(SETTLE_S)  # all of them have loaded what sends
            begin_ms = time.time() * 1000
            said = {name: gateway.lines_said for name, gateway in gateways.items()}
            counts = {name: (count.connections, count.messages) for name, count in faults.counts.items()}
            time.sleep(self.seconds)
            if not gateways[""].status.get("acknowledged"):
                raise ValueError("the healthy gateway's readings did not reach the hub: nothing is proved")
            tries = {
                name: sum(" send" in line for line in gateway.lines[said[name] - gateway.lines_said :])
                for name, gateway in gateways.items()
            }
            if VERBOSE:
                for name, gateway in gateways.items():
                    print(name, *gateway.lines[-VERBOSE:], sep="\n    ")
            after = {name: (count.connections, count.messages) for name, count in faults.counts.items()}
        return self._met(gateways, begin_ms, counts, after, tries)

    def _met(self, gateways, begin_ms, before, after, tries) -> list[Met]:
        healthy = lateness(sample_times(gateways[""].folder), begin_ms)
        found = []
        for name in self.names:
            late, missed = lateness(sample_times(gateways[name].folder), begin_ms)
            connections, messages = (now - then for now, then in zip(after[name], before[name]))
            minutes = self.seconds / 60
            found.append(Met(name, late, missed, (connections or tries[name]) / minutes, messages / minutes, *healthy))
        return found


def meet(names, seconds: float, outage_s: float = 0.0, at_a_time: int = AT_A_TIME) -> list[Met]:
    """Let gateways meet these faults for so long, a longer outage last. Raises ValueError, AssertionError."""
    alone = [OUTAGE] if outage_s > seconds and OUTAGE in names else []
    names = [name for name in names if name not in alone]
    groups = [(names[at : at + at_a_time], seconds) for at in range(0, len(names), at_a_time)]
    found = []
    for group, group_s in groups + ([(alone, outage_s)] if alone else []):
        with tempfile.TemporaryDirectory() as folder:
            found += _Group(Path(folder), group, group_s).run()
    return found


def table(found: list[Met]) -> Table:
    """All of it, for people."""
    result = Table(title="A gateway at 1 Hz beside each fault of its link", title_justify="left")
    for heading in ("fault", "samples", "late p99.9, ms", "worst", "healthy p99.9", "worst", "missed", "healthy",
                    "connections/min", "messages/min"):  # fmt: skip
        result.add_column(heading, justify="left" if heading == "fault" else "right", no_wrap=heading == "fault")
    for met in found:
        healthy = quantile(met.healthy, 0.999), met.healthy[-1]
        row = met.name, len(met.late), met.at(0.999), met.late[-1], *healthy, met.missed, met.healthy_missed
        result.add_row(*map(str, row), f"{met.connections:.1f}", f"{met.messages:.1f}")
    return result


def figures(size: int = 1) -> list[dict]:
    """The table, printed, and its worst lines as figures."""
    found = meet(ALL, SECONDS * size, OUTAGE_S if size >= OUTAGE_SIZE else 0.0)
    Console(width=150).print(table(found))
    late = sorted(ms for met in found for ms in met.late)
    groups = {id(met.healthy): met.healthy for met in found}
    healthy = sorted(ms for each in groups.values() for ms in each)
    worst = max(found, key=lambda met: met.late[-1])
    busiest = max(found, key=lambda met: met.connections)
    missed = sum(met.missed for met in found), max(met.healthy_missed for met in found)
    what = f"link: {len(found)} faults, {len(late):,} samples: "
    return [
        _figure(what + "late p99.9", quantile(late, 0.999), "ms", quantile(healthy, 0.999)),
        _figure(f"link: latest sample ({worst.name})", worst.late[-1], "ms", worst.healthy[-1]),
        _figure("link: periods missed", missed[0], "", missed[1]),
        _figure(f"link: most connections ({busiest.name})", round(busiest.connections, 1), "1/min", None),
        _figure("link: most messages", round(max(met.messages for met in found), 1), "1/min", None),
    ]


def _figure(name, value, unit, healthy):
    peer = None if healthy is None else "healthy, same run"
    return {"name": name, "value": value, "unit": unit, "peer": peer, "peer_value": healthy,
            "ratio": round(value / healthy, 2) if healthy else None}  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description="faults of the link, each beside a healthy gateway")
    parser.add_argument("names", nargs="*", metavar="FAULT", help="some of them; all when none is given")
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--outage", type=float, default=0.0, help="how many seconds the outage lasts")
    args = parser.parse_args()
    unknown = set(args.names) - set(ALL)
    if unknown:
        parser.error(f"there is no fault {', '.join(sorted(unknown))}; there are {', '.join(ALL)}")
    found = meet(args.names or ALL, args.seconds, args.outage)
    Console(width=150).print(table(found))
    return 0 if all(met.missed == 0 and met.at(0.999) <= GOAL_MS for met in found) else 1


if __name__ == "__main__":
    sys.exit(main())
