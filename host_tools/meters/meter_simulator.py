"""Simulated Modbus meters on a serial line: pymodbus answers, from real register maps and a recorded load.

A `MeterBus` is one RS-485 line with any number of meters, each with the register map of a profile. It makes
a pair of pseudo terminals and gives the path of the gateway's end, or serves a serial port that exists.
Every request that a meter saw is written to a JSON-lines file with the exact words of the answer and what
became of it, so that a test can compare the values at the hub with the registers, to the last digit:

    {"unix_ms": …, "unit": 1, "function": 4, "address": 0, "count": 2, "words": [17254, 36700],
     "fate": "sent"}

Faults, all drawn from one seed: damaged CRC, cut, dropped and late replies, noise bytes before a reply; an
echo of all requests; dead meters, which never answer; `strict_baud`, under which a meter hears only what comes at its
own baud rate (a pseudo-terminal tells what the other end has set). The fate of a reply is one of

    sent, noise                  it reached the line whole (the second behind noise bytes)
    crc, cut, dropped            it did not, though `words` were read
    late                         it was sent `late_ms` later
    refused                      it was an exception, whose code is in "exception"
    dead, foreign, deaf          nothing was sent: the meter is dead, there is none of this unit id, or it
                                 listens at another baud rate
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import select
import termios
import threading
import time
import tty
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from pymodbus.constants import ExcCodes
from pymodbus.framer import FramerType
from pymodbus.server import ModbusSerialServer
from pymodbus.simulator import DataType, SimData, SimDevice

from host_tools.base import files
from host_tools.meters.dlt645 import simulator as dlt645
from host_tools.meters.load_curve import Load, LoadCurve, WiredLoad
from host_tools.meters.load_curve import read as read_curve
from host_tools.meters.register_map import RegisterMap
from parkgate.errors import LinkError, SettingsError
from parkgate.meters.modbus.frame import characters_us

_START_TIMEOUT_S = 10
_STOP_TIMEOUT_S = 5


@dataclass
class Faults:
    """Probability of each fault for one reply (0 to 1), and how late a late one is."""

    crc: float = 0.0
    cut: float = 0.0
    dropped: float = 0.0
    late: float = 0.0
    late_ms: int = 600
    noise: float = 0.0

    @classmethod
    def noisy(cls) -> Faults:
        """A bad cable: about one reply in six suffers."""
        return cls(crc=0.05, cut=0.03, dropped=0.02, late=0.02, noise=0.05)


@dataclass
class SimulatedMeter:
    """One meter of a bus."""

    profile: str
    unit_id: int
    peak_w: float | None = None
    dead: bool = False
    faults: Faults = field(default_factory=Faults)
    offset_s: float | None = None
    baud: int | None = None  # where it is not that of the bus; see strict_baud
    wiring: str = ""  # a fault of its installation, as load_curve.WiredLoad wants it

    def load(self, curve: LoadCurve, phases: int) -> Load | WiredLoad:
        peak_w = self.peak_w or (60_000.0 if phases == 3 else 5_000.0)
        offset_s = self.offset_s if self.offset_s is not None else 7.0 * self.unit_id
        load = Load(curve, peak_w, phases, offset_s, start_wh=1_000_000.0 + 50_000.0 * self.unit_id)
        return WiredLoad(load, self.wiring) if self.wiring else load


class MeterBus:
    """A serial line with meters. Start it, give `device` to a gateway, stop it.

    `device` of the constructor is a port that exists; without it a pair of pseudo terminals is made and the
    attribute `device` is the gateway's end, also reachable as `link` (a symbolic link) when one is asked for.
    `paced` makes bytes take the time they take at the baud rate. Time starts with `start` (or `started_s`, a
    time.monotonic() value, so that a bus that is started again goes on where it was).
    """

    def __init__(
        self,
        meters: Sequence[SimulatedMeter],
        curve: LoadCurve | None = None,
        *,
        baud: int = 9600,
        parity: str = "N",
        device: str = "",
        link: Path | None = None,
        log: Path | None = None,
        seed: int = 1,
        echo: bool = False,
        paced: bool = False,
        strict_baud: bool = False,
        started_s: float | None = None,
    ):
        if len({meter.unit_id for meter in meters}) != len(meters):
            raise SettingsError("two meters of a bus have the same unit id")
        self.device = device
        self.baud = baud
        self.counts: dict[str, int] = {}
        self.meters = tuple(meters)
        self._meters = {meter.unit_id: meter for meter in meters}
        self._maps = {meter.unit_id: RegisterMap(meter.profile) for meter in meters}
        curve = curve or read_curve()
        self._loads = {
            meter.unit_id: meter.load(curve, 3 if "voltage_l3" in self._maps[meter.unit_id].units else 1)
            for meter in meters
        }
        self.parity = parity
        self._own_pair = not device
        self._link = link
        self._log_path = log
        self._log: Any = None
        self._random = random.Random(seed)
        self._echo = echo
        self._paced = paced
        self._strict_baud = strict_baud
        self._started_s = started_s
        self._asked: dict[str, Any] = {}
        self._server_device = device
        self._descriptors: list[int] = []
        self._threads: list[threading.Thread] = []
        self._stopping = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server: ModbusSerialServer | None = None
        self._failure: BaseException | None = None

    def __enter__(self) -> MeterBus:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> str:
        """Begin to answer; the path of the gateway's end of the line. Raises LinkError."""
        if self._own_pair:
            self._make_pair()
        if self._log_path:
            self._log = open(self._log_path, "a", encoding="utf-8")  # noqa: SIM115 - closed by stop()
        self._started_s = time.monotonic() if self._started_s is None else self._started_s
        ready = threading.Event()
        server = threading.Thread(target=self._serve, args=(ready,), name="meters", daemon=True)
        self._threads.append(server)
        server.start()
        if not ready.wait(_START_TIMEOUT_S) or self._failure:
            self.stop()
            raise LinkError(f"the simulated meters did not start: {self._failure or 'no answer in time'}")
        return self.device

    def stop(self) -> None:
        """Fall silent and give everything back."""
        self._stopping.set()
        if self._loop and self._loop.is_running() and self._server:
            with contextlib.suppress(RuntimeError, TimeoutError):
                asyncio.run_coroutine_threadsafe(self._server.shutdown(), self._loop).result(_STOP_TIMEOUT_S)
        for thread in self._threads:
            thread.join(_STOP_TIMEOUT_S)
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors, self._threads = [], []
        if self._link:
            self._link.unlink(missing_ok=True)
        if self._log:
            self._log.close()
            self._log = None

    def words(self, unit_id: int, t_s: float | None = None) -> dict[int, int]:
        """All register words of a meter, now or t_s seconds after the start."""
        load = self._loads[unit_id]
        if t_s is None:
            t_s = time.monotonic() - (self._started_s or 0.0)
        return self._maps[unit_id].words(lambda quantity: load.quantity(quantity, t_s))

    # The serial line: two pseudo terminals and a thread that carries bytes between their masters.

    def _make_pair(self) -> None:
        ours, ours_slave = os.openpty()
        theirs, theirs_slave = os.openpty()
        # The slaves stay open here: a gateway that goes away and comes back must find the line alive.
        self._descriptors = [ours, ours_slave, theirs, theirs_slave]
        for descriptor in self._descriptors:
            tty.setraw(descriptor)
        self._server_device = os.ttyname(ours_slave)
        self.device = os.ttyname(theirs_slave)
        if self._link:
            self._link.unlink(missing_ok=True)
            self._link.symlink_to(self.device)
        carrier = threading.Thread(target=self._carry, args=(ours, theirs), name="line", daemon=True)
        self._threads.append(carrier)
        carrier.start()

    def _carry(self, ours: int, theirs: int) -> None:
        while not self._stopping.is_set():
            readable, _, _ = select.select([ours, theirs], [], [], 0.1)
            for source in readable:
                data = os.read(source, 4096)
                if source == theirs and self._echo:
                    os.write(theirs, data)
                for piece in self._pieces(data):
                    os.write(theirs if source == ours else ours, piece)

    def _pieces(self, data: bytes):
        """The bytes as they would come over the line: all at once, or a few at a time at the baud rate."""
        if not self._paced:
            yield data
            return
        step = max(1, self.baud // 1100)  # about 10 ms a piece
        for start in range(0, len(data), step):
            piece = data[start : start + step]
            time.sleep(characters_us(len(piece), self.baud) / 1e6)
            yield piece

    # The meters.

    def _serve(self, ready: threading.Event) -> None:
        try:
            asyncio.run(self._run(ready))
        except BaseException as error:  # handed to the thread that waits in start()
            self._failure = error
            ready.set()

    async def _run(self, ready: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._server = _Server(
            [_nobody(), *(self._simulated_device(unit_id) for unit_id in self._meters)],
            framer=FramerType.RTU,
            port=self._server_device,
            baudrate=self.baud,
            parity=self.parity,
            trace_packet=self._trace,
        )
        await self._server.serve_forever(background=True)
        ready.set()
        await self._server.serving

    def _simulated_device(self, unit_id: int) -> SimDevice:
        words = self.words(unit_id, 0.0)
        data = [
            SimData(first, values=[words.get(first + i, 0) for i in range(count)], datatype=DataType.REGISTERS)
            for first, count in self._maps[unit_id].ranges()
        ]

        async def action(function: int, start: int, address: int, count: int, registers: list, values: Any):
            self._asked = {"unit": unit_id, "function": function, "address": address, "count": count}
            held_map = self._maps[unit_id]
            if values is not None and function == 6 and (address, int(values[0])) in held_map.writes:
                return None  # a page or an unlock that the profile declares
            if values is not None or function not in held_map.functions:
                return ExcCodes.ILLEGAL_FUNCTION
            held = self.words(unit_id)
            for i in range(count):
                registers[address + i - start] = held.get(address + i, 0)
            return None

        return SimDevice(unit_id, simdata=data, action=action)

    def _trace(self, sending: bool, packet: bytes) -> bytes:
        """pymodbus' hook for every packet. Here replies are recorded, silenced, damaged or held back."""
        if not sending:
            self._asked = {}
            return packet
        unit_id, function = packet[0], packet[1]
        meter = self._meters.get(unit_id)
        entry = {"unix_ms": time.time_ns() // 1_000_000, "unit": unit_id, "function": function, **self._asked}
        if meter is None or meter.dead or not self._hears(meter):
            # pymodbus answers for every unit id; a real line stays silent.
            self._record(entry, "foreign" if meter is None else "dead" if meter.dead else "deaf")
            return b""
        if function & 0x80:
            entry.update(function=function & 0x7F, exception=packet[2])
            self._record(entry, "refused")
            return packet
        entry["words"] = [packet[i] << 8 | packet[i + 1] for i in range(3, len(packet) - 2, 2)]
        fate, changed, delay_ms = self._draw(meter.faults, packet)
        self._record(entry, fate)
        if not delay_ms:
            return changed
        if self._loop and self._server:
            self._loop.call_later(delay_ms / 1000, self._send_late, changed)
        return b""

    def _hears(self, meter: SimulatedMeter) -> bool:
        """Whether the other end talks at the meter's baud rate; always, unless `strict_baud`."""
        if not self._strict_baud or not self._descriptors:
            return True
        return termios.tcgetattr(self._descriptors[2])[4] == getattr(termios, f"B{meter.baud or self.baud}")

    def _send_late(self, packet: bytes) -> None:
        handler = self._server.handler if isinstance(self._server, _Server) else None
        if handler and handler.transport and not self._stopping.is_set():
            handler.transport.write(packet)

    def _draw(self, faults: Faults, packet: bytes) -> tuple[str, bytes, int]:
        """(fate, bytes to send, delay in ms) of one reply."""
        chance = self._random.random()
        if chance < faults.crc:
            damaged = bytearray(packet)
            damaged[self._random.randrange(2, len(packet))] ^= 1 << self._random.randrange(8)
            return "crc", bytes(damaged), 0
        chance -= faults.crc
        if chance < faults.cut:
            return "cut", packet[: self._random.randrange(1, len(packet))], 0
        chance -= faults.cut
        if chance < faults.dropped:
            return "dropped", b"", 0
        chance -= faults.dropped
        if chance < faults.late:
            return "late", packet, faults.late_ms
        chance -= faults.late
        if chance < faults.noise:
            return (
                "noise",
                bytes(self._random.choice((0, 0xFF)) for _ in range(self._random.randint(1, 3))) + packet,
                0,
            )
        return "sent", packet, 0

    def _record(self, entry: dict, fate: str) -> None:
        self.counts[fate] = self.counts.get(fate, 0) + 1
        if self._log:
            self._log.write(json.dumps({**entry, "fate": fate}) + "\n")
            self._log.flush()


def _nobody() -> SimDevice:
    """pymodbus asks device 0 for unit ids that it does not know, and answers; the answer is silenced by `_trace`."""

    async def action(*_: Any):
        return ExcCodes.ILLEGAL_FUNCTION

    return SimDevice(0, simdata=[SimData(0, values=[0], datatype=DataType.REGISTERS)], action=action)


class _Server(ModbusSerialServer):
    """pymodbus' server, remembering the handler through which a late reply can still be sent."""

    handler: Any = None

    def callback_new_connection(self):
        self.handler = super().callback_new_connection()
        return self.handler


# The command line: `parkgate meters simulate`.


def add_arguments(parser) -> None:
    """The arguments of a simulated line."""
    parser.add_argument(
        "--meter",
        action="append",
        metavar="PROFILE@UNIT",
        help="a meter and its unit id, e.g. eastron-sdm630@1, or with --protocol dlt645 its address, e.g. "
        "dlt645-2007@000006605518; may be given several times",
    )
    parser.add_argument("--protocol", choices=("modbus", "dlt645"), default="modbus", help="what the meters speak")
    parser.add_argument(
        "--dead", type=int, action="append", default=[], metavar="UNIT", help="this meter never answers"
    )
    parser.add_argument(
        "--wiring",
        action="append",
        default=[],
        metavar="UNIT:FAULT",
        help="a fault of its installation: reversed=2, swapped=1,2, ratio=20 or frozen=current_l1, as 3:reversed=2",
    )
    parser.add_argument(
        "--noisy", type=int, action="append", default=[], metavar="UNIT", help="this one has a bad cable"
    )
    parser.add_argument(
        "--replay", type=Path, metavar="FILE.csv", help="load curve (default: the one that is included)"
    )
    parser.add_argument("--column", default="", help="column of the file with the power in W, if it is not a known one")
    parser.add_argument("--row-s", type=float, default=2.0, help="seconds a row of the curve lasts (default 2)")
    parser.add_argument("--device", default="", help="serve this serial port instead of a new pseudo terminal")
    parser.add_argument("--link", type=Path, help="symbolic link to the gateway's end of the line")
    parser.add_argument("--baud", type=int, help="default 9600; DL/T 645: 2400")
    parser.add_argument("--parity", choices=("N", "E", "O"), help="default N; DL/T 645: E")
    parser.add_argument("--paced", action="store_true", help="let bytes take their time at the baud rate")
    parser.add_argument("--echo", action="store_true", help="echo requests as some RS-485 adapters do")
    parser.add_argument("--settings", type=Path, metavar="FILE.toml", help="write a gateway's settings to read them")
    parser.add_argument("--log", type=Path, metavar="FILE.jsonl", help="record every answer, word by word")
    parser.add_argument("--seed", type=int, default=1, help="of all faults (default 1)")


def from_arguments(args) -> MeterBus:
    """The bus that the arguments describe. Raises SettingsError."""
    meters = []
    for number, text in enumerate(args.meter or ["eastron-sdm630@1"], 1):
        profile, _, unit = text.partition("@")
        if unit and not unit.isdigit():
            raise SettingsError(f"--meter {text}: the unit id is a number, as in eastron-sdm630@1")
        unit_id = int(unit or number)
        faults = Faults.noisy() if unit_id in args.noisy else Faults()
        wiring = next((text.split(":", 1)[1] for text in args.wiring if text.split(":", 1)[0] == str(unit_id)), "")
        meters.append(SimulatedMeter(profile, unit_id, dead=unit_id in args.dead, faults=faults, wiring=wiring))
    curve = read_curve(args.replay, args.row_s, args.column) if args.replay else read_curve(row_s=args.row_s)
    return MeterBus(
        meters,
        curve,
        baud=args.baud or 9600,
        parity=args.parity or "N",
        device=args.device,
        link=args.link,
        log=args.log,
        seed=args.seed,
        echo=args.echo,
        paced=args.paced,
    )


def settings_text(bus: MeterBus, link: Path | None) -> str:
    """Settings of a gateway whose bus this is, sealing often so that one sees something soon."""
    device = link.absolute() if link else bus.device
    lines = ["[sealing]", "period_s = 10", "", "[[buses]]", 'name = "rs485"', f'device = "{device}"']
    lines += [f"baud = {bus.baud}", f'parity = "{bus.parity}"']
    for number, meter in enumerate(bus.meters, 1):
        lines += ["", "[[instruments]]", f'name = "meter-{number}"', f'profile = "{meter.profile}"']
        lines += ['bus = "rs485"', f"unit_id = {meter.unit_id}"]
    return "\n".join(lines) + "\n"


def run(args) -> int:
    """Serve until Ctrl-C."""
    if args.settings:
        files.check_target(args.settings)
    if args.protocol == "dlt645":
        bus = line = dlt645.from_arguments(args)
        text = partial(dlt645.settings_text, line, args.link)
    else:
        bus = modbus = from_arguments(args)
        text = partial(settings_text, modbus, args.link)
    with bus:
        if args.settings:
            files.write(args.settings, text())
            print(f"settings of a gateway that reads them: {args.settings}")
        print(f"meters answer on {args.link or bus.device} at {bus.baud} baud; Ctrl-C ends", flush=True)
        try:
            while True:
                time.sleep(1)
        finally:
            print(", ".join(f"{fate} {count}" for fate, count in sorted(bus.counts.items())))
