"""`parkgate demo`: a whole park on this machine, on real parts.

Meters that are pymodbus servers on pseudo-terminals; gateways that are the firmware under MicroPython's Unix port;
nats-server as broker; the hub with its page; halls with two months behind them (`past`). Everything lives in one
folder, and a second start continues every chain.
"""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.table import Table

from host_tools.base import files
from host_tools.broker.broker import Broker
from host_tools.broker.certificates import Authority
from host_tools.hub.stores.store import connect
from host_tools.hub.verbs import enrol
from host_tools.meters.load_curve import read as read_curve
from host_tools.meters.meter_simulator import Faults, MeterBus, SimulatedMeter
from host_tools.sim import proving, sewing, workshop
from host_tools.sim.past.keeping import Past
from host_tools.sim.simulate import SimulatedGateway
from parkgate.errors import LinkError, ParkgateError, SettingsError

PAGE_PORT = 8080
START_TIMEOUT_S = 20.0
POLL_S = 0.5
SEAL_PERIOD_S = 10
BEAT_PERIOD_S = 10
METERS = (("incomer", "eastron-sdm630", 1), ("press", "pzem-004t", 2), ("oven", "eastron-sdm120", 3))
PROOF_EVERY_S = 5.0
COUNTERS = ("sampled", "journalled", "sealed", "acknowledged", "buffered", "dropped")


class DemoFailed(ParkgateError):
    """The demo ran, and what it showed is not what Parkgate promises."""


@dataclass
class Seat:
    """One gateway of the demo with its meters."""

    name: str
    gateway: SimulatedGateway
    meters: MeterBus
    people: sewing.People | None = None
    gateway_id: str = ""
    verified_before: int | None = None  # batches that the hub had of it when the demo began
    first_verified_s: float | None = None
    hub: dict = field(default_factory=dict)


class Hub:
    """The hub as a process of its own."""

    def __init__(self, folder: Path, broker_url: str, page: str, ca: Path | None = None):
        self.folder = folder
        self._command = [sys.executable, "-m", "host_tools.cli", "hub", "--quiet", "--data", str(folder)]
        self._command += ["--broker", broker_url, "--http", page] + (["--ca", str(ca)] if ca else [])
        self._process: subprocess.Popen | None = None
        self.about: dict = {}

    def start(self) -> None:
        """Start and wait until it answers. Raises LinkError with what it said."""
        files.make_folder(self.folder)
        about = self.folder / "hub.json"
        about.unlink(missing_ok=True)
        log = self.folder / "hub.log"
        with open(log, "ab") as output:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not about.exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise LinkError(f"the hub did not start: {log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.05)
        self.about = json.loads(about.read_text())

    @property
    def page(self) -> str:
        return self.about["page"]

    def gateways(self) -> dict[str, dict]:
        """What the hub says of each gateway, by gateway id; {} while it does not answer."""
        try:
            with urllib.request.urlopen(self.page.rstrip("/") + "/api/summary", timeout=5) as answer:
                return {item["id"]: item for item in json.load(answer)["gateways"]}
        except (OSError, ValueError):
            return {}

    def kill(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        if self._process and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()


def gateway_settings(name: str, device: str, broker_port: int, hub_key: str, meters, baud: int = 9600) -> dict:
    """Settings of one gateway with `meters` as (name, profile, unit id) on one bus."""
    return {
        "gateway": {"name": name},
        "hub": {"public_key": hub_key},
        "broker": {"port": broker_port},
        "sealing": {"period_s": SEAL_PERIOD_S},
        "sending": {"beat_period_s": BEAT_PERIOD_S},
        "buses": [{"name": "rs485", "device": device, "baud": baud, "reply_timeout_ms": 200}],
        "instruments": [
            {"name": meter, "profile": profile, "bus": "rs485", "unit_id": unit_id, "period_ms": 1000}
            for meter, profile, unit_id in meters
        ],
    }


def add_parser(subparsers) -> None:
    parser = subparsers.add_parser(
        "demo", help="run gateways, meters, broker and hub on this computer", description=__doc__
    )
    parser.add_argument("--gateways", type=int, default=2, metavar="N",
                        help="how many gateways, 1 to 50 (default 2: a sewing hall and a carpentry)")  # fmt: skip
    parser.add_argument("--duration", type=float, metavar="S", help="end after so many seconds, with a verdict")
    parser.add_argument("--replay", type=Path, metavar="FILE.csv", help="load curve (default: the one included)")
    parser.add_argument("--column", default="", help="column of the file with the power in W, if it is not a known one")
    parser.add_argument(
        "--workshop", action="store_true", help="give the first gateway eight meters, two dead, and machine sensors"
    )
    parser.add_argument(
        "--no-history",
        dest="history",
        action="store_false",
        help="leave out the halls that have two months behind them",
    )
    parser.add_argument("--noisy", action="store_true", help="give every meter a bad cable")
    parser.add_argument("--broker", choices=("nats", "mosquitto"), default="nats", help="which broker (default nats)")
    parser.add_argument("--tls", action="store_true", help="talk to the broker by TLS, under a certificate made here")
    parser.add_argument("--dir", type=Path, default=Path("build/demo"), help="where everything is kept")
    parser.add_argument("--json", type=Path, default=Path("build/demo.json"), help="where the summary goes")


def run(args) -> int:
    """Run until Ctrl-C or --duration. Raises SettingsError, LinkError; DemoFailed when a promise did not hold."""
    if not 1 <= args.gateways <= 50:
        raise SettingsError("--gateways: 1 to 50")
    if args.duration is not None and args.duration < 20:
        raise SettingsError("--duration: at least 20 seconds, or no batch is sealed")
    console = Console()
    if not console.is_terminal:
        console = Console(width=120)
    with ExitStack() as stack:
        authority = Authority.at(args.dir / "tls") if args.tls else None
        tls = (*authority.issue(args.dir / "tls", ["127.0.0.1"]), authority.path) if authority else None
        broker = stack.enter_context(Broker(args.broker, args.dir / "broker", tls=tls))
        past = _bring_past(args, console)
        hub = Hub(args.dir / "hub", broker.url, f"127.0.0.1:{_page_port()}", authority.path if authority else None)
        stack.callback(hub.stop)
        hub.start()
        if past is not None:
            past.live(broker.url)
            stack.callback(past.stop)
        console.print(f"[bold]The hub's page: {hub.page}[/bold]   (Ctrl-C ends; everything is kept in {args.dir})")
        seats = _start_gateways(args, stack, hub, broker, authority)
        started_s = time.monotonic()
        proof: Path | None = None
        proof_due_s = started_s
        try:
            with Live(console=console, refresh_per_second=4) as live:
                while args.duration is None or time.monotonic() - started_s < args.duration:
                    _look(hub, seats, started_s)
                    if proof is None and time.monotonic() >= proof_due_s:
                        proof_due_s = time.monotonic() + PROOF_EVERY_S
                        proof = _prove(args.dir, hub, seats, console)
                    live.update(_table(seats, time.monotonic() - started_s))
                    time.sleep(POLL_S)
        except KeyboardInterrupt:
            console.print("ending …")
        _look(hub, seats, started_s)
        summary = _summary(seats, time.monotonic() - started_s)
        summary["proof"] = str(proof) if proof else None
    files.make_folder(args.json.parent)
    files.write(args.json, json.dumps(summary, indent=1) + "\n")
    _print_summary(console, summary, args.json)
    if summary["problems"] and args.duration is not None:
        raise DemoFailed("; ".join(summary["problems"]))
    return 0


def _bring_past(args, console: Console) -> Past | None:
    """Give the hub the halls that have a history; over TLS they could not go on."""
    if not args.history or args.tls:
        return None
    past = Past(args.dir, args.dir.parent / "demo-history")
    if not past.is_there:
        console.print("making two months of history, once (half a minute) …")
    files.make_folder(args.dir)
    past.bring(args.dir / "hub", int(time.time() * 1000))
    return past


def _prove(folder: Path, hub: Hub, seats: list[Seat], console: Console) -> Path | None:
    """The proof of the first lot that went through all machines, when all of it has arrived at the hub."""
    for seat in seats:
        for lot in (seat.people.finished if seat.people else [])[:1]:
            out = folder / f"{lot}.zip"
            if proving.write_proof(hub.folder, lot, out):
                console.print(f"The proof of lot {lot}, for its buyer: drop {out} on {folder / 'verify.html'}")
                files.write(folder / "verify.html", proving.page())
                return out
    return None


def _page_port() -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", PAGE_PORT))
        except OSError:
            return 0
    return PAGE_PORT


def _start_gateways(args, stack: ExitStack, hub: Hub, broker: Broker, authority: Authority | None) -> list[Seat]:
    curve = read_curve(args.replay, column=args.column) if args.replay else read_curve()
    seats = []
    for number in range(1, args.gateways + 1):
        name = f"gateway-{number}"
        folder = args.dir / name
        files.make_folder(folder)
        furnished = args.workshop and number == 1
        names = [meter[:3] for meter in workshop.METERS] if furnished else METERS
        meters = (
            workshop.meters(61.0 * number)
            if furnished
            else [
                SimulatedMeter(
                    profile,
                    unit_id,
                    faults=Faults.noisy() if args.noisy else Faults(),
                    offset_s=float(61 * number + 7 * unit_id),
                )
                for _, profile, unit_id in METERS
            ]
        )
        bus = MeterBus(meters, curve, log=folder / "meters.jsonl", seed=number, started_s=_since_first_start(folder))
        stack.callback(bus.stop)
        device = bus.start()
        gateway = SimulatedGateway(folder)
        settings = gateway_settings(name, device, broker.port, hub.about["public_key"], names)
        if authority:
            settings["broker"].update(tls="on", ca=authority.setting)
        people = sewing.People(gateway, sewing.hall(number))
        stack.callback(people.stop)
        settings["stations"] = sewing.stations(people.hall, people.scanner.start())
        gateway.configure(workshop.furnish(settings, folder) if furnished else settings)
        stack.callback(gateway.kill)
        gateway.start()
        people.start()
        seats.append(Seat(name, gateway, bus, people))
    database = connect(hub.folder)
    try:
        for seat in seats:
            seat.gateway_id = enrol.enrol(database, seat.gateway.public_key(START_TIMEOUT_S), seat.name).hex()
    finally:
        database.close()
    return seats


def _since_first_start(folder: Path) -> float:
    """The meters' time goes on between two runs, so that their counters never run backwards."""
    path = folder / "meters.started"
    if not path.exists():
        files.write(path, str(time.time()))
    return time.monotonic() - (time.time() - float(path.read_text()))


def _look(hub: Hub, seats: list[Seat], started_s: float) -> None:
    known = hub.gateways()
    for seat in seats:
        seat.hub = known.get(seat.gateway_id, seat.hub)
        verified = seat.hub.get("batches_verified", 0)
        if seat.verified_before is None and seat.hub:
            seat.verified_before = verified
        if seat.first_verified_s is None and verified > (seat.verified_before or 0):
            seat.first_verified_s = time.monotonic() - started_s


def _table(seats: list[Seat], elapsed_s: float) -> Table:
    table = Table(title=f"Parkgate, {elapsed_s:.0f} s", caption="counts are readings; a batch is verified at the hub")
    for heading in ("gateway", *COUNTERS, "verified batches", "last reading", "state"):
        table.add_column(heading, justify="left" if heading in ("gateway", "state") else "right")
    for seat in seats:
        status = seat.gateway.status
        headline = seat.hub.get("headline") or {}
        state = "running" if seat.gateway.running() else "[red]stopped[/red]"
        if seat.gateway.running() and not status.get("connected"):
            state = "[yellow]no broker[/yellow]"
        table.add_row(
            seat.name,
            *(str(status.get(name, "")) for name in COUNTERS),
            str(seat.hub.get("batches_verified", "")),
            f"{headline.get('value') or ''} {headline.get('unit') or ''}".strip(),
            state,
        )
    return table


def _summary(seats: list[Seat], elapsed_s: float) -> dict:
    problems = []
    gateways = {}
    for seat in seats:
        status, hub = seat.gateway.status, seat.hub
        item = {name: status.get(name) for name in COUNTERS}
        item["batches_verified"] = hub.get("batches_verified", 0)
        item["readings_at_hub"] = hub.get("readings_stored", 0)
        for name in ("duplicates", "gaps", "forks", "refused"):
            item[name] = hub.get(name, 0)
        item["heap_peak_bytes"] = status.get("heap_peak")
        item["heap_limit_bytes"] = seat.gateway.heap_bytes
        item["first_verified_s"] = seat.first_verified_s and round(seat.first_verified_s, 1)
        item["meters"] = dict(seat.meters.counts)
        if seat.people:
            item["floor_entries"], item["floor_lots"] = seat.people.entries, seat.people.lots
            item["floor_refused"] = seat.people.refused
        gateways[seat.name] = item
        problems += [f"{seat.name}: {problem}" for problem in _problems(item, seat)]
    return {"duration_s": round(elapsed_s, 1), "gateways": gateways, "problems": problems}


def _problems(item: dict, seat: Seat) -> list[str]:
    """What is not as promised, in words; empty when all is well."""
    if item["sampled"] is None:
        return ["it never said how it is: " + " / ".join(seat.gateway.lines[-3:])]
    found = []
    if item["sampled"] != item["acknowledged"] + item["buffered"] + item["dropped"]:
        found.append("sampled is not acknowledged + buffered + dropped")
    if not item["batches_verified"]:
        found.append("no batch was verified")
    if item["readings_at_hub"] < item["acknowledged"]:
        found.append("the hub acknowledged more readings than it holds")
    if item["refused"]:
        found.append(f"the hub refused messages: {item['refused']}")
    if item["forks"] or item["gaps"] or item["dropped"]:
        found.append("forks, gaps or dropped readings")
    if seat.gateway.status.get("crashes"):
        found.append("a task of the gateway crashed: " + " / ".join(seat.gateway.lines[-8:]))
    return found


def _print_summary(console: Console, summary: dict, path: Path) -> None:
    table = Table(title=f"after {summary['duration_s']} s")
    table.add_column("")
    items = summary["gateways"]
    for name in items:
        table.add_column(name, justify="right")
    for row in next(iter(items.values())):
        table.add_row(row.replace("_", " "), *(_shown(item[row]) for item in items.values()))
    console.print(table)
    console.print(f"written to {path}")
    for problem in summary["problems"]:
        console.print(f"[red]not as promised:[/red] {problem}")


def _shown(value) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} {v}" for k, v in value.items()) or "none"
    return "" if value is None else f"{value:,}" if isinstance(value, int) else str(value)
