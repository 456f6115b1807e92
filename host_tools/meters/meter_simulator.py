"""Simulated Modbus meters: pymodbus answers, from real register maps and a recorded load.

A `MeterBus` is one RS-485 line with any number of meters, each with the register map of a profile. It makes
a pair of pseudo terminals and gives the path of the gateway's end, or serves a serial port that exists. As
"tcp:HOST:PORT" it is a Modbus TCP gateway with these meters behind it.
Every request that a meter saw is written to a JSON-lines file with the exact words of the answer and what
became of it, so that a test can compare the values at the hub with the registers, to the last digit:

    {"unix_ms": …, "unit": 1, "function": 4, "address": 0, "count": 2, "words": [17254, 36700],
     "fate": "sent"}

Faults, all drawn from one seed: damaged CRC, cut, dropped and late replies, noise bytes before a reply; an
echo of all requests; dead meters, which never answer; `strict_baud`, under which a meter hears only what comes at its
own baud rate (a pseudo-terminal tells what the other end has set). Over TCP a damaged reply is one with another
transaction number, nothing is cut and there is no noise, and a meter that is dead or not there gets the gateway's
exception 11. The fate of a reply is one of

    sent, noise, doubled         it reached the line whole (behind noise bytes, or twice)
    crc, cut, dropped            it did not, though `words` were read
    late                         it was sent `late_ms` later
    refused                      it was an exception, whose code is in "exception"
    dead, foreign, deaf          nothing was sent: the meter is dead, there is none of this unit id, or it
                                 listens at another baud rate
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import termios
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from pymodbus.constants import ExcCodes
from pymodbus.framer import FramerType
from pymodbus.server import ModbusSerialServer, ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from host_tools.base import files, output
from host_tools.meters.dlt645 import simulator as dlt645
from host_tools.meters.lines.opening import is_tcp
from host_tools.meters.lines.simulated import Faults, SimulatedLine
from host_tools.meters.load_curve import Load, LoadCurve, WiredLoad
from host_tools.meters.load_curve import read as read_curve
from host_tools.meters.register_map import RegisterMap
from parkgate.errors import LinkError, SettingsError
from parkgate.meters.modbus.frame import characters_us
from parkgate.meters.modbus.tcp import parse

_TARGET_SILENT = 11  # what a gateway says of a meter behind it that does not answer
_START_TIMEOUT_S = 10
_STOP_TIMEOUT_S = 5
_STOPPED = 130


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


class MeterBus(SimulatedLine):
    """A serial line with meters, or a Modbus TCP gateway in front of them; see SimulatedLine. `paced` makes bytes take
    the time they take at the baud rate."""

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
        super().__init__(device, link, log, seed, started_s)
        self.baud = baud
        self.meters = tuple(meters)
        self._meters = {meter.unit_id: meter for meter in meters}
        self._maps = {meter.unit_id: RegisterMap(meter.profile) for meter in meters}
        curve = curve or read_curve()
        self._loads = {
            meter.unit_id: meter.load(curve, 3 if "voltage_l3" in self._maps[meter.unit_id].units else 1)
            for meter in meters
        }
        self.parity = parity
        self._tcp = is_tcp(device)
        self._echo = echo
        self._paced = paced
        self._strict_baud = strict_baud
        self._asked: dict[str, Any] = {}
        self._server_device = device
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server: ModbusSerialServer | ModbusTcpServer | None = None
        self._failure: BaseException | None = None

    def start(self) -> str:
        """Begin to answer; the path of the gateway's end of the line. Raises LinkError."""
        if self._own_pair:
            self._make_pair()
        super().start()
        ready = threading.Event()
        self._thread("meters", self._serve, ready)
        if not ready.wait(_START_TIMEOUT_S) or self._failure:
            self.stop()
            raise LinkError(f"the simulated meters did not start: {_in_words(self._failure)}")
        return self.device

    def stop(self) -> None:
        """Fall silent and give everything back."""
        self._stopping.set()
        if self._loop and self._loop.is_running() and self._server:
            with contextlib.suppress(RuntimeError, TimeoutError):
                asyncio.run_coroutine_threadsafe(self._server.shutdown(), self._loop).result(_STOP_TIMEOUT_S)
        super().stop()

    def words(self, unit_id: int, t_s: float | None = None) -> dict[int, int]:
        """All register words of a meter, now or t_s seconds after the start."""
        load = self._loads[unit_id]
        if t_s is None:
            t_s = self.elapsed_s()
        return self._maps[unit_id].words(lambda quantity: load.quantity(quantity, t_s))

    # The serial line: two pseudo terminals and a thread that carries bytes between their masters.

    def _make_pair(self) -> None:
        ours, ours_slave, theirs, theirs_slave = self._terminals(2)
        self._server_device = os.ttyname(ours_slave)
        self._show(os.ttyname(theirs_slave))
        self._thread("line", self._carry, ours, theirs)

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
        devices = [_nobody(), *(self._simulated_device(unit_id) for unit_id in self._meters)]
        if self._tcp:
            host, port = _place(self.device)
            self._server = _TcpServer(devices, address=(host, port), trace_packet=self._trace)
            await self._server.serve_forever(background=True)
            listening: Any = self._server.transport
            self._show("tcp:%s:%d" % (host, listening.sockets[0].getsockname()[1]))
        else:
            self._server = _Server(
                devices, framer=FramerType.RTU, port=self._server_device, baudrate=self.baud, parity=self.parity,
                trace_packet=self._trace,
            )  # fmt: skip
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
        if self._tcp:
            return self._trace_reply(packet, 6, b"")
        return self._trace_reply(packet, 0, packet[-2:])

    def _trace_reply(self, packet: bytes, start: int, crc: bytes) -> bytes:
        """What becomes of a reply whose unit id stands at `start`."""
        unit_id, function = packet[start], packet[start + 1]
        meter = self._meters.get(unit_id)
        entry = {"unix_ms": time.time_ns() // 1_000_000, "unit": unit_id, "function": function, **self._asked}
        if meter is None or meter.dead or not self._hears(meter):
            # pymodbus answers for every unit id; a real line stays silent.
            self._record(entry, "foreign" if meter is None else "dead" if meter.dead else "deaf")
            silent = bytes((unit_id, function | 0x80, _TARGET_SILENT))
            return packet[:4] + bytes((0, len(silent))) + silent if self._tcp else b""
        if function & 0x80:
            entry.update(function=function & 0x7F, exception=packet[start + 2])
            self._record(entry, "refused")
            return packet
        entry["words"] = [packet[i] << 8 | packet[i + 1] for i in range(start + 3, len(packet) - len(crc), 2)]
        fate, changed, delay_s = self._draw(meter.faults, packet)
        self._record(entry, fate)
        if fate == "doubled":
            self._later(meter.faults.doubled_ms / 1000, packet)
        if not delay_s:
            return changed
        self._later(delay_s, changed)
        return b""

    def _later(self, delay_s: float, packet: bytes) -> None:
        if self._loop and self._server:
            self._loop.call_later(delay_s, self._send_late, packet)

    def _hears(self, meter: SimulatedMeter) -> bool:
        """Whether the other end talks at the meter's baud rate; always, unless `strict_baud`."""
        if not self._strict_baud or not self._descriptors:
            return True
        return termios.tcgetattr(self._descriptors[2])[4] == getattr(termios, f"B{meter.baud or self.baud}")

    def _send_late(self, packet: bytes) -> None:
        handler = self._server.handler if isinstance(self._server, _Remembering) else None
        if handler and handler.transport and not self._stopping.is_set():
            handler.transport.write(packet)

    def _draw(self, faults: Faults, packet: bytes) -> tuple[str, bytes, float]:
        """(fate, bytes to send, delay in s) of one reply."""
        dice = self._random

        def damaged() -> bytes:
            changed = bytearray(packet)
            changed[dice.randrange(2) if self._tcp else dice.randrange(2, len(packet))] ^= 1 << dice.randrange(8)
            return bytes(changed)

        def noise() -> bytes:
            return bytes(dice.choice((0, 0xFF)) for _ in range(dice.randint(1, 3)))

        fate, changed, delay_s = faults.draw(dice, packet, damaged, noise)
        if self._tcp and fate in ("cut", "noise"):
            return "sent", packet, 0.0
        return fate, changed, delay_s


def _place(device: str) -> tuple[str, int]:
    """(host, port) of tcp:HOST[:PORT]; port 0 is any that is free. Raises SettingsError."""
    free = device.endswith(":0")
    where = parse(device[:-2] if free else device)
    if where is None:
        raise SettingsError(f"{device}: must be as tcp:127.0.0.1:1502")
    return where[0], 0 if free else where[1]


def _in_words(failure: BaseException | None) -> str:
    if isinstance(failure, OSError):
        return files.why(failure)
    return str(failure or "no answer in time")


def _nobody() -> SimDevice:
    """pymodbus asks device 0 for unit ids that it does not know, and answers; the answer is silenced by `_trace`."""

    async def action(*_: Any):
        return ExcCodes.ILLEGAL_FUNCTION

    return SimDevice(0, simdata=[SimData(0, values=[0], datatype=DataType.REGISTERS)], action=action)


class _Remembering:
    """pymodbus' server, remembering the handler through which a late reply can still be sent."""

    handler: Any = None

    def callback_new_connection(self):
        self.handler = super().callback_new_connection()  # type: ignore[misc]
        return self.handler


class _Server(_Remembering, ModbusSerialServer):
    """On a serial line."""


class _TcpServer(_Remembering, ModbusTcpServer):
    """Over TCP."""


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
        "--noisy", type=int, action="append", default=[], metavar="UNIT", help="this meter has a bad cable"
    )
    parser.add_argument(
        "--replay", type=Path, metavar="FILE.csv", help="load curve (default: the one that is included)"
    )
    parser.add_argument("--column", default="", help="column of the file with the power in W, if it is not a known one")
    parser.add_argument("--row-s", type=float, default=2.0, help="seconds a row of the curve lasts (default 2)")
    parser.add_argument("--device", default="", help="serve this port or tcp:HOST:PORT, not a pseudo terminal")
    parser.add_argument("--link", type=Path, help="symbolic link to the gateway's end of the line")
    parser.add_argument("--baud", type=int, help="default 9600; DL/T 645: 2400")
    parser.add_argument("--parity", choices=("N", "E", "O"), help="default N; DL/T 645: E")
    parser.add_argument("--paced", action="store_true", help="send bytes no faster than the baud rate")
    parser.add_argument("--echo", action="store_true", help="echo requests as some RS-485 adapters do")
    parser.add_argument("--settings", type=Path, metavar="FILE.toml", help="write a gateway's settings to read them")
    parser.add_argument("--log", type=Path, metavar="FILE.jsonl", help="record every answer, word by word")
    parser.add_argument("--seed", type=int, default=1, help="seed of all random faults (default 1)")
    output.add_json(parser)


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
    name = "ethernet" if is_tcp(bus.device) else "rs485"
    lines = ["[sealing]", "period_s = 10", "", "[[buses]]", f'name = "{name}"', f'device = "{device}"']
    if not is_tcp(bus.device):
        lines += [f"baud = {bus.baud}", f'parity = "{bus.parity}"']
    for number, meter in enumerate(bus.meters, 1):
        lines += ["", "[[instruments]]", f'name = "meter-{number}"', f'profile = "{meter.profile}"']
        lines += [f'bus = "{name}"', f"unit_id = {meter.unit_id}"]
    return "\n".join(lines) + "\n"


def run(args) -> int:
    """Serve until Ctrl-C; then 130, as a program that was stopped."""
    if args.settings:
        files.check_target(args.settings)
    if is_tcp(args.device) and (args.link or args.baud or args.parity or args.paced or args.echo):
        raise SettingsError("--link, --baud, --parity, --paced and --echo are for a serial line, not for Modbus TCP")
    if is_tcp(args.device) and args.protocol == "dlt645":
        raise SettingsError("DL/T 645 meters are on a serial line, not on Modbus TCP")
    if args.protocol == "dlt645":
        bus = line = dlt645.from_arguments(args)
        text = partial(dlt645.settings_text, line, args.link)
    else:
        bus = modbus = from_arguments(args)
        text = partial(settings_text, modbus, args.link)
    with bus:
        if args.settings:
            files.write(args.settings, text())
            output.say(args, f"settings of a gateway that reads them: {args.settings}")
        speed = "" if is_tcp(bus.device) else f" at {bus.baud} baud"
        output.say(args, f"meters answer on {args.link or bus.device}{speed}; Ctrl-C ends")
        try:
            while True:
                time.sleep(1)
        except KeyboardInterrupt:
            counted = dict(sorted(bus.counts.items()))
            document = {"device": bus.device, "baud": None if is_tcp(bus.device) else bus.baud, "counts": counted}
            output.show(args, document, [", ".join(f"{fate} {count}" for fate, count in counted.items())])
    return _STOPPED
