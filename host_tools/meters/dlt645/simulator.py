"""Simulated DL/T 645-2007 meters on a serial line, as stubborn as real ones.

A `Dlt645Line` is one RS-485 line with any number of meters, each with the identifiers of a profile and a recorded load.
It makes a pseudo terminal and gives the path of the gateway's end, or serves a serial port that exists. It shares no
code with the gateway's client: frames, checksums and decimals are made here anew.

What differs between real meters differs here too, drawn from one seed: 0 to 4 bytes FEh before each reply, the time to
the first byte (20 to 500 ms by the standard), whether blocks (…FF) are answered, whether an identifier that it lacks is
refused or met with silence. Bytes take the time that they take at the baud rate. Two meters that answer at once spoil
each other's bytes. Faults: damaged, cut, dropped, late and doubled replies, noise in front.

Every request that a meter saw is written to a JSON-lines file with what was sent, so that a test can compare what
arrives at the hub with it, to the last digit:

    {"unix_ms": …, "meter": "000006605518", "control": 17, "identifier": "02010100", "data": "0323", "fate": "sent"}

Fates: sent, noise, doubled; crc, cut, dropped; late; refused (with "error"); dead; and `write` for a control code that
would change the meter, which is refused and counted: no such request may ever come from a gateway.
"""

from __future__ import annotations

import heapq
import os
import select
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import Any

from host_tools.base import files
from host_tools.meters.lines.simulated import Faults, SimulatedLine
from host_tools.meters.load_curve import Load, LoadCurve, WiredLoad
from host_tools.meters.load_curve import read as read_curve
from host_tools.meters.register_map import read_document, to_register
from parkgate import quantities
from parkgate.errors import LinkError, SettingsError

_READ, _READ_FOLLOWING, _READ_ADDRESS = 0x11, 0x12, 0x13
_NO_SUCH_DATA, _NO_RIGHT = 0x02, 0x04
_BITS = 11
_PIECE_BYTES = 180  # of data in one frame; what is longer is read piece by piece


@dataclass
class SimulatedMeter:
    """One meter of a line. `delay_ms` is the range of its time to the first byte, `preamble` that of its bytes FEh;
    `lacks` are identifiers (or their beginnings) that it does not have; `silent` meets those with silence."""

    address: str
    profile: str = "dlt645-2007"
    delay_ms: tuple[int, int] = (20, 120)
    preamble: tuple[int, int] = (0, 4)
    blocks: bool = True
    lacks: tuple[str, ...] = ()
    silent: bool = False
    knows_13: bool = True
    keeps_wildcard: bool = False  # answers the wildcard under the wildcard, as some do (capture F37)
    dead: bool = False
    peak_w: float | None = None
    offset_s: float = 0.0
    edition: int = 2007
    fixed: dict[str, str] = field(default_factory=dict)  # identifier → data as on the wire, in hexadecimal
    faults: Faults = field(default_factory=Faults)
    wiring: str = ""  # a fault of its installation, as load_curve.WiredLoad wants it

    def wire_address(self) -> bytes:
        return bytes.fromhex(self.address)[::-1]


def encoded(type_name: str, number: Decimal) -> bytes:
    """The bytes of one packed decimal, low pair first; the sign in the top bit of the last."""
    signed = type_name.startswith("s")
    count = int(type_name.lstrip("sbcd")) // 8
    whole = int(number.to_integral_value(ROUND_HALF_EVEN))
    digits = f"{abs(whole) % 10 ** (2 * count):0{2 * count}d}"
    data = bytearray(reversed(bytes.fromhex(digits)))
    if signed and whole < 0:
        data[-1] |= 0x80
    return bytes(data)


def framed(address: bytes, control: int, data: bytes, preamble: int = 0) -> bytes:
    """A frame as a meter sends it."""
    body = bytes((0x68, *address, 0x68, control, len(data), *((byte + 0x33) % 256 for byte in data)))
    return b"\xfe" * preamble + body + bytes((sum(body) % 256, 0x16))


class Memory:
    """The identifiers of one meter and what they hold at a moment."""

    def __init__(self, meter: SimulatedMeter, curve: LoadCurve):
        self.meter = meter
        document = read_document(meter.profile)
        self._rows = {row[1]: row for row in document["registers"] if type(row[1]) is str}
        phases = 3 if any(row[0] == "voltage_l3" for row in self._rows.values()) else 1
        load = Load(
            curve, meter.peak_w or (20_000.0 if phases == 3 else 5_000.0), phases, meter.offset_s,
            start_wh=1_000_000.0 + int(meter.address[-4:]) * 10,
        )  # fmt: skip
        self._load = WiredLoad(load, meter.wiring) if meter.wiring else load

    def read(self, identifier: str, t_s: float) -> bytes | None:
        """The data behind an identifier; None when the meter does not have it."""
        meter = self.meter
        if identifier in meter.fixed:
            return bytes.fromhex(meter.fixed[identifier])
        if any(identifier.startswith(beginning) for beginning in meter.lacks):
            return None
        if identifier in ("04000401", "04000402"):
            return meter.wire_address()
        if identifier in self._rows:
            return self._single(identifier, t_s)
        if "FF" in (identifier[4:6], identifier[6:]):
            return self._block(identifier, t_s) if meter.blocks else None
        return None

    def _single(self, identifier: str, t_s: float) -> bytes:
        quantity, _, type_name, decimals, unit, *_ = self._rows[identifier]
        found = quantities.find(quantity)
        base = found.unit if found else unit
        number = to_register(self._load.quantity(quantity, t_s), decimals, unit, base)
        data = encoded(type_name, number)
        return data + bytes.fromhex("3412010723") if identifier.startswith("01") else data

    def _block(self, identifier: str, t_s: float) -> bytes | None:
        """All items in order from the first one there is: a total where there is one, then phases or tariffs."""
        data = b""
        for number in range(64):
            single = f"{identifier[:4]}{number:02X}{identifier[6:]}"
            if single in self._rows and not any(single.startswith(b) for b in self.meter.lacks):
                data += self._single(single, t_s)
            elif single in self.meter.fixed:
                data += bytes.fromhex(self.meter.fixed[single])
            elif data:
                break
        return data or None


class Dlt645Line(SimulatedLine):
    """A serial line with DL/T 645 meters; see SimulatedLine."""

    def __init__(
        self,
        meters: Sequence[SimulatedMeter],
        curve: LoadCurve | None = None,
        *,
        baud: int = 2400,
        parity: str = "E",
        device: str = "",
        link: Path | None = None,
        log: Path | None = None,
        seed: int = 1,
        echo: bool = False,
        paced: bool = True,
        started_s: float | None = None,
    ):
        if len({meter.address for meter in meters}) != len(meters):
            raise SettingsError("two meters of a line have the same address")
        for meter in meters:
            if len(meter.address) != 12 or not meter.address.isdigit():
                raise SettingsError(f"{meter.address!r} is not an address: 12 digits, such as 000006605518")
        super().__init__(device, link, log, seed, started_s)
        self._curve = curve or read_curve()
        self.baud = baud
        self.parity = parity
        self.meters: tuple[SimulatedMeter, ...] = ()
        self._memories: dict[str, Memory] = {}
        self.replace(meters)
        self._echo = echo
        self._paced = paced
        self._line = -1
        self._due: list[tuple[float, int, int, bytes]] = []  # (when, order, meter, byte)
        self._order = 0

    def replace(self, meters: Sequence[SimulatedMeter]) -> None:
        """From now on these hang on the line."""
        self._memories = {meter.address: Memory(meter, self._curve) for meter in meters}
        self.meters = tuple(meters)

    def start(self) -> str:
        """Begin to answer; the path of the gateway's end of the line. Raises LinkError."""
        if self._own_pair:
            self._line, theirs = self._terminals(1)
            self._show(os.ttyname(theirs))
        else:
            self._line = _open_port(self.device, self.baud, self.parity)
            self._descriptors = [self._line]
            self._show(self.device)
        super().start()
        self._thread("dlt645 meters", self._serve)
        return self.device

    # The line: requests in, bytes out at their time.

    def _serve(self) -> None:
        heard = bytearray()
        while not self._stopping.is_set():
            wait_s = 0.05
            if self._due:
                wait_s = max(0.0, min(wait_s, self._due[0][0] - time.monotonic()))
            readable, _, _ = select.select([self._line], [], [], wait_s)
            if readable:
                try:
                    data = os.read(self._line, 4096)
                except OSError:
                    return
                if self._echo:
                    os.write(self._line, data)
                heard += data
                heard = self._take(heard)
            self._send_due()

    def _send_due(self) -> None:
        out = bytearray()
        now = time.monotonic()
        character_s = _BITS / self.baud
        while self._due and self._due[0][0] <= now:
            when, _, meter, data = heapq.heappop(self._due)
            byte = data[0]
            # Another meter that sends at the same moment spoils it.
            while self._due and self._due[0][2] != meter and self._due[0][0] - when < character_s:
                byte &= heapq.heappop(self._due)[3][0]
            out.append(byte)
        if out:
            os.write(self._line, bytes(out))

    def _send_at(self, when: float, meter: int, data: bytes) -> None:
        for i in range(len(data)):
            self._order += 1
            at = when + (i * _BITS / self.baud if self._paced else 0.0)
            heapq.heappush(self._due, (at, self._order, meter, data[i : i + 1]))

    def _take(self, heard: bytearray) -> bytearray:
        """Answer every whole request in `heard`; what is left of it."""
        while True:
            start = heard.find(b"\x68")
            if start < 0 or len(heard) - start < 12:
                return heard[-64:]
            length = 12 + heard[start + 9]
            if heard[start + 7] != 0x68:
                del heard[: start + 1]
                continue
            if len(heard) - start < length:
                return heard
            frame = bytes(heard[start : start + length])
            if sum(frame[:-2]) % 256 == frame[-2] and frame[-1] == 0x16:
                del heard[: start + length]
                if not frame[8] & 0x80:
                    self._asked(frame)
            else:
                del heard[: start + 1]

    def _asked(self, frame: bytes) -> None:
        request_s = len(frame) * _BITS / self.baud if self._paced else 0.0
        for number, meter in enumerate(self.meters):
            own = meter.wire_address()
            if all(a in (0xAA, b) for a, b in zip(frame[1:7], own)):
                self._answer(number, meter, frame, request_s)

    # The meters.

    def _answer(self, number: int, meter: SimulatedMeter, frame: bytes, request_s: float) -> None:
        control, data = frame[8], bytes((byte - 0x33) % 256 for byte in frame[10:-2])
        entry: dict[str, Any] = {"unix_ms": time.time_ns() // 1_000_000, "meter": meter.address, "control": control}
        if meter.dead or meter.edition != 2007:
            self._record(entry, "dead")
            return
        address = frame[1:7] if meter.keeps_wildcard else meter.wire_address()
        reply = self._reply(meter, control, data, entry)
        if reply is None:
            self._record(entry, "dropped")
            return
        preamble = self._random.randint(*meter.preamble)
        wire = framed(address, reply[0], reply[1], preamble)
        fate, changed, late_s = self._draw(meter.faults, wire)
        if fate == "sent" and "error" in entry:
            fate = "write" if control not in (_READ, _READ_FOLLOWING, _READ_ADDRESS) else "refused"
        self._record(entry, fate)
        when = time.monotonic() + request_s + self._random.uniform(*meter.delay_ms) / 1000 + late_s
        self._send_at(when, number, changed)
        if fate == "doubled":
            again_s = when + len(changed) * _BITS / self.baud + meter.faults.doubled_ms / 1000
            self._send_at(again_s, number, changed)

    def _reply(self, meter: SimulatedMeter, control: int, data: bytes, entry: dict) -> tuple[int, bytes] | None:
        """(control code, data) of the reply; None for silence."""
        if control == _READ_ADDRESS:
            return (0x93, meter.wire_address()) if meter.knows_13 else None
        if control not in (_READ, _READ_FOLLOWING) or len(data) < 4:
            entry["error"] = _NO_RIGHT
            return control | 0xC0, bytes((_NO_RIGHT,))
        identifier = data[:4][::-1].hex().upper()
        t_s = self.elapsed_s()
        held = self._memories[meter.address].read(identifier, t_s)
        entry["identifier"] = identifier
        if held is None:
            if meter.silent:
                return None
            entry["error"] = _NO_SUCH_DATA
            return control | 0xC0, bytes((_NO_SUCH_DATA,))
        piece = data[4] if control == _READ_FOLLOWING and len(data) > 4 else 0
        part = held[piece * _PIECE_BYTES : (piece + 1) * _PIECE_BYTES]
        more = 0x20 if len(held) > (piece + 1) * _PIECE_BYTES else 0
        entry["data"] = part.hex()
        tail = data[4:5] if control == _READ_FOLLOWING else b""
        return control | 0x80 | more, data[:4] + part + tail

    def held(self, address: str, identifier: str, t_s: float) -> bytes | None:
        """What a meter holds `t_s` seconds after the start, as on the wire."""
        return self._memories[address].read(identifier, t_s)

    def _draw(self, faults: Faults, wire: bytes) -> tuple[str, bytes, float]:
        """(fate, bytes to send, delay in s) of one reply."""
        dice = self._random
        return faults.draw(dice, wire, lambda: self._damaged(wire), lambda: dice.randbytes(dice.randint(1, 6)))

    def _damaged(self, wire: bytes) -> bytes:
        at = self._random.randrange(wire.index(b"\x68"), len(wire))
        return wire[:at] + bytes((wire[at] ^ 1 << self._random.randrange(8),)) + wire[at + 1 :]


def from_arguments(args) -> Dlt645Line:
    """The line that the arguments of `parkgate meters simulate --protocol dlt645` describe. Raises SettingsError."""
    meters = []
    for text in args.meter or ["dlt645-2007@000000000001"]:
        profile, _, address = text.partition("@")
        if len(address) != 12 or not address.isdigit():
            raise SettingsError(f"--meter {text}: PROFILE@ADDRESS, as dlt645-2007@000006605518")
        number = int(address)
        faults = Faults.noisy() if number in args.noisy else Faults()
        wiring = next((text.split(":", 1)[1] for text in args.wiring if text.split(":", 1)[0] == str(number)), "")
        meters.append(SimulatedMeter(address, profile, dead=number in args.dead, faults=faults, wiring=wiring))
    curve = read_curve(args.replay, args.row_s, args.column) if args.replay else read_curve(row_s=args.row_s)
    return Dlt645Line(
        meters, curve, baud=args.baud or 2400, parity=args.parity or "E", device=args.device, link=args.link,
        log=args.log, seed=args.seed, echo=args.echo,
    )  # fmt: skip


def settings_text(line: Dlt645Line, link: Path | None) -> str:
    """Settings of a gateway whose bus this is, sealing often so that one sees something soon."""
    device = link.absolute() if link else line.device
    lines = ["[sealing]", "period_s = 10", "", "[[buses]]", 'name = "rs485"', f'device = "{device}"']
    lines += ['protocol = "dlt645"', f"baud = {line.baud}", f'parity = "{line.parity}"']
    for number, meter in enumerate(line.meters, 1):
        lines += ["", "[[instruments]]", f'name = "meter-{number}"', f'profile = "{meter.profile}"']
        lines += ['bus = "rs485"', f'address = "{meter.address}"', "period_ms = 5000"]
    return "\n".join(lines) + "\n"


def _open_port(device: str, baud: int, parity: str) -> int:
    import serial

    try:
        port = serial.Serial(device, baud, parity=parity, timeout=0, exclusive=True)
        return os.dup(port.fileno())
    except OSError as error:
        raise LinkError(f"{device} does not open: {files.why(error)}") from None
