"""`parkgate meters scan`: which meters answer on a live bus, at which baud rate, and what they may be.

Each unit id is asked for one register, with function 4 and then 3, at each baud rate and parity in turn. A refusal is
an answer too. What answers is then tried on every profile and variant (see parkgate/meters/identify.py): those that
read as mains are named, the best one first, with what they say. Only reads are sent; nothing on the bus is changed.
Over Modbus TCP (tcp:HOST) there is no line to find. A gateway answers for each meter behind it; a meter with a network
of its own often answers under every unit id: then it is named once.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from host_tools.base import output, profile_files
from host_tools.meters.dlt645 import scan as dlt645_scan
from host_tools.meters.lines.opening import PORT_HELP, Bus, is_tcp, open_bus
from host_tools.meters.register_map import read_document
from parkgate.errors import ModbusError, ModbusExceptionReply, ModbusTimeout, SettingsError
from parkgate.meters import identify, profiles
from parkgate.meters.modbus.frame import UNIT_ID_MAX
from parkgate.meters.profile.sunspec import Discovery
from parkgate.reading import GOOD, TIMEOUT

LINES = ("9600N", "19200E", "19200N", "9600E", "2400N", "4800N", "38400N", "115200N")  # the usual ones first
BAUDS = (1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200)
_UNLIKELY_UNITS = (233, 241)  # where no meter is expected
_SHOWN = 4
_SUNSPEC_MARK_WEIGHT = 30  # "SunS" where it belongs, and a chain that leads to a meter: no chance does that
_KEY_SHOWN = ("voltage", "voltage_l1", "frequency", "active_power", "import_active_energy")


@dataclass
class Found:
    """A unit that answered."""

    unit_id: int
    baud: int | None  # None over TCP
    parity: str | None
    how: str
    candidates: list[identify.Candidate] = field(default_factory=list)


def add_arguments(parser) -> None:
    """The arguments of a scan."""
    parser.add_argument("port", help=PORT_HELP)
    parser.add_argument(
        "--line",
        action="append",
        metavar="BAUD[N|E|O]",
        help=f"baud rate and parity, may be given several times (default: {' '.join(LINES)})",
    )
    parser.add_argument("--units", default="1-32", metavar="FIRST-LAST", help="unit ids (default 1-32; at most 1-255)")
    parser.add_argument(
        "--timeout-ms", type=int, default=150, metavar="MS", help="how long a meter may take to answer (default 150)"
    )
    parser.add_argument("--no-identify", action="store_true", help="only say which unit ids answer")
    parser.add_argument("--protocol", choices=("modbus", "dlt645"), default="modbus", help="what the meters speak")
    parser.add_argument("--all", action="store_true", help="DL/T 645: look pair by pair, at every speed")
    output.add_json(parser)


def run(args) -> int:
    """Print what is found; 0 when something answered. Raises SettingsError, LinkError."""
    if args.protocol == "dlt645":
        return dlt645_scan.run(args, [line_of(text) for text in args.line or dlt645_scan.LINES])
    tcp = is_tcp(args.port)
    if tcp and args.line:
        raise SettingsError("--line: Modbus TCP has no baud rate and no parity")
    speeds: list[tuple[int, str]] = [(0, "")] if tcp else [line_of(text) for text in args.line or LINES]
    first, last = units_of(args.units)
    if not 10 <= args.timeout_ms <= 5000:
        raise SettingsError("--timeout-ms: 10 to 5000")
    found: list[Found] = []
    asked = 0
    began_s = time.monotonic()
    for baud, parity in speeds:
        where = args.port if tcp else f"{baud} baud, parity {parity}"
        output.say(args, f"{where}, unit ids {first} to {last}")
        try:
            bus = open_bus(args.port, baud, parity, args.timeout_ms)
        except SettingsError as error:
            if tcp:
                raise
            output.say(args, f"  left out: {error}")
            continue
        with bus:
            unit_ids = range(first, last + 1)
            if tcp and all(answer_of(bus, unit_id) for unit_id in _UNLIKELY_UNITS):
                output.say(args, "  it answers under every unit id: a single meter, asked once")
                unit_ids = range(first, first + 1)
            asked += len(unit_ids)
            for item in scan_line(bus, unit_ids, baud or None, parity or None):
                output.say(args, f"  unit id {item.unit_id}: {item.how}")
                if not args.no_identify:
                    unit_id = item.unit_id
                    item.candidates = recognise(lambda *what, u=unit_id, b=bus: _registers(b, u, *what))
                    for text in described(item):
                        output.say(args, f"    {text}")
                found.append(item)
    lines = [f"{len(found)} answered, of {asked} asked, in {time.monotonic() - began_s:.0f} s"]
    if not found:
        lines += _what_to_do(tcp)
    if not found and not tcp:
        for address, baud, parity in dlt645_scan.glance(args.port):
            lines.append(
                f"meter {address} answers DL/T 645 at {baud} baud, parity {parity}: scan with --protocol dlt645"
            )
        lines.append("silence may also mean that the meter speaks DL/T 645, as many Chinese DIN-rail meters do:")
        lines.append("then the display or the label says 645, and the address has 12 digits")
    output.show(args, {"asked": asked, "found": [_as_document(item) for item in found]}, lines)
    return 0 if found else 1


def _as_document(item: Found) -> dict:
    candidates = [
        {
            "profile": each.name, "score": each.score, "answered": each.answered, "registers": each.total,
            "values": {name: {"value": value, "scale": scale, "unit": unit}
                       for name, (value, scale, unit) in sorted(each.values.items())},
        }
        for each in item.candidates
    ]  # fmt: skip
    return {"unit_id": item.unit_id, "baud": item.baud, "parity": item.parity, "how": item.how,
            "candidates": candidates}  # fmt: skip


def line_of(text: str) -> tuple[int, str]:
    """(baud, parity) of "9600E". Raises SettingsError."""
    parity = text[-1:].upper()
    digits = text[:-1] if parity in ("N", "E", "O") else text
    if not digits.isdigit() or int(digits) not in BAUDS:
        raise SettingsError(f"--line {text}: one of {', '.join(map(str, BAUDS))} with N, E or O behind it, as 9600E")
    return int(digits), parity if parity in ("N", "E", "O") else "N"


def units_of(text: str) -> tuple[int, int]:
    """(first, last) of "1-32" or "7". Raises SettingsError."""
    first, _, last = text.partition("-")
    last = last or first
    if not first.isdigit() or not last.isdigit() or not 1 <= int(first) <= int(last) <= UNIT_ID_MAX:
        raise SettingsError(f"--units {text}: two unit ids from 1 to {UNIT_ID_MAX}, as 1-32")
    return int(first), int(last)


def _what_to_do(tcp: bool) -> list[str]:
    if tcp:
        return ["what to do: check the unit ids (--units 1-255), and wires and line settings behind the gateway"]
    return ["what to do: swap wires A and B; check ground, the meter's supply and its unit id (--units 1-255)"]


def scan_line(bus: Bus, unit_ids, baud: int | None, parity: str | None):
    """Each unit that answers, one after another."""
    for unit_id in unit_ids:
        how = answer_of(bus, unit_id)
        if how:
            yield Found(unit_id, baud, parity, how)


def answer_of(bus: Bus, unit_id: int) -> str:
    """What a unit answers to a read of one register, in words; "" for silence."""
    for function in (4, 3):
        try:
            bus.read(unit_id, function, 0, 1)
            return f"answers function {function}"
        except ModbusExceptionReply as error:
            return f"answers (function {function}: exception {error.code})"
        except ModbusTimeout:
            continue
        except ModbusError as error:
            what = "another baud rate, or two meters with this unit id?"
            return f"something answers, but not readably ({type(error).__name__}): {what}"
    return ""


def candidates() -> list[identify.Candidate]:
    """Every profile and variant with fixed addresses, untried."""
    made = []
    for path in profile_files.paths():
        document = json.loads(path.read_text(encoding="utf-8"))
        if document.get("protocol", "modbus") != "modbus" or document.get("sunspec"):
            continue
        for variant in ("", *sorted(document.get("variants", ()))):
            name = f"{path.stem}+{variant}" if variant else path.stem
            changed = profiles.with_variant(document, variant) if variant else document
            changed = {**changed, "variants": {}}
            made.append(identify.Candidate(name, profiles.check(changed, name)))
    return made


def recognise(read: Callable[[int, int, int], tuple[bytes | None, bool]]) -> list[identify.Candidate]:
    """The plausible profiles, best first. `read(function, address, count)` gives what the meter answers: (bytes,
    False), or None and whether it refused. Every register is asked for once, however many profiles want it."""
    seen: dict[tuple[int, int, int], tuple[bytes | None, bool]] = {}

    def once(function: int, address: int, count: int) -> tuple[bytes | None, bool]:
        what = function, address, count
        if what not in seen:
            seen[what] = read(*what)
        return seen[what]

    def ask(candidate: identify.Candidate, key_only: bool) -> None:
        while (channel := candidate.wanted(key_only)) is not None:
            candidate.take(*once(channel.function, channel.address, channel.wide))

    tried = candidates()
    for candidate in tried:
        ask(candidate, True)
    for candidate in tried:
        if candidate.worth_it:
            ask(candidate, False)
    scaled = [_tried(candidate.name, _whole(candidate.name), once) for candidate in tried if not candidate.total]
    return identify.ranking(tried + scaled + sunspec_candidates(once))


def sunspec_candidates(read: Callable[..., tuple[bytes | None, bool]]) -> list[identify.Candidate]:
    """The SunSpec profiles whose model stands in the meter's chain, tried on its points. `read` as in `recognise`."""
    made = []
    for path in profile_files.paths():
        document = json.loads(path.read_text(encoding="utf-8"))
        if not document.get("sunspec"):
            continue
        discovery = Discovery(document["sunspec"])
        while (request := discovery.request()) is not None:
            discovery.take(read(*request)[0])
        if discovery.found:
            profile = sunspec_profile(document, path.stem, *discovery.found)
            made.append(_tried(path.stem, profile, read, _SUNSPEC_MARK_WEIGHT))
    return made


def sunspec_profile(document: dict, name: str, model: int, address: int) -> profiles.Profile:
    """All channels of a SunSpec profile, as the meter's model has them at this address. Raises ProfileError."""
    variant = document["sunspec"][str(model)]
    quantities = tuple(row[0] for row in document["registers"][: profiles.CHANNELS_MAX])
    profile = profiles.load(document, f"{name}+{variant}" if variant else name, quantities)
    profile.plan.move(address)
    for channel in profile.channels:
        channel.address += address
    return profile


def _whole(name: str) -> profiles.Profile:
    """All channels of a profile, for one whose every value needs other registers: a scale, a ratio."""
    document = read_document(name)
    quantities = tuple(row[0] for row in document["registers"][: profiles.CHANNELS_MAX])
    return profiles.load(document, profiles.split_name(name)[0], quantities)


def _tried(name: str, profile: profiles.Profile, read, begins_with: int = 0) -> identify.Candidate:
    """What one pass over a profile's reads says for it, besides a weight that it `begins_with`."""
    plan = profile.plan
    values, qualities = plan.empty()
    i = 0
    while i < len(plan.blocks):
        block = plan.blocks[i]
        data, refused = read(block.function, block.address, block.count)
        if refused:
            plan.refused(i)
            continue
        if data is None:
            plan.failed(i, TIMEOUT, values, qualities)
        else:
            plan.decode(i, data, values, qualities)
        i += 1
    values, qualities = plan.finish(values, qualities)
    candidate = identify.Candidate(name, [])
    candidate.score, candidate.total = begins_with, len(profile.channels)
    for channel, value, quality in zip(profile.channels, values, qualities):
        weight = identify.weigh(channel, value, quality)
        candidate.score += weight
        candidate.answered += quality == GOOD
        candidate.contradictions += weight < 0
        if quality == GOOD:
            candidate.values[channel.quantity] = (value, channel.scale, channel.unit)
    return candidate


def _registers(bus: Bus, unit_id: int, function: int, address: int, count: int) -> tuple[bytes | None, bool]:
    """(bytes, False); (None, True) when the meter refuses; (None, False) when it is silent or not understood."""
    for _ in range(2):
        try:
            return bus.read(unit_id, function, address, count).data, False
        except ModbusExceptionReply:
            return None, True
        except ModbusError:
            continue
    return None, False


def described(found: Found) -> list[str]:
    """What a unit may be, in lines."""
    if not found.candidates:
        where = f"--unit {found.unit_id} --from-scan"
        if found.baud:
            where = f"--unit {found.unit_id} --line {found.baud}{found.parity} --from-scan"
        return [
            "it answers, but no profile fits: Parkgate may not know this meter yet",
            f"to start a profile from what it answers: parkgate meters new MAKER-MODEL --port PORT {where}",
        ]
    best = found.candidates[0]
    alike = [c.name for c in found.candidates[1:] if (c.score, c.answered) == (best.score, best.answered)]
    lines = []
    for candidate in found.candidates[:_SHOWN]:
        says = [f"{name} {_number(*candidate.values[name])}" for name in _KEY_SHOWN if name in candidate.values]
        lines.append(
            f"{candidate.name}: {candidate.answered} of {candidate.total} registers, "
            f"weight {candidate.score}: {', '.join(says)}"
        )
    if alike:
        lines.append(f"{best.name} and {', '.join(alike)} have the same registers: read the label to know which it is")
    lines.append(
        f"settings add instruments name=meter{found.unit_id} profile={best.name} bus=rs485 unit_id={found.unit_id}"
    )
    return lines


def _number(value: int, scale: int, unit: str) -> str:
    text = f"{value / 10**scale:.{max(scale, 0)}f}"
    return f"{text} {unit}"
