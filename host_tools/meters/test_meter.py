"""`parkgate meters test`: read live meters by their profiles, show every value in words, and say what cannot be right.

Each meter is read a few times. What the meter measures twice is compared (SPEC 11.11); what disagrees in every sample
is named with its likely cause. With --orders each value is shown in all word orders and as the other usual types: the
right one is the one that makes sense. Only reads are sent; nothing on the bus is changed.
"""

from __future__ import annotations

import struct
import time
from dataclasses import dataclass, field
from typing import Any

from host_tools.base import output
from host_tools.meters.lines.opening import PORT_HELP, Bus, open_bus
from host_tools.meters.register_map import read_document
from host_tools.meters.scan import line_of, sunspec_profile
from parkgate.errors import ModbusError, ModbusExceptionReply, ModbusTimeout, SettingsError
from parkgate.meters import profiles, registers
from parkgate.meters.consistency import diagnosis
from parkgate.meters.consistency.compiling import build, rows
from parkgate.meters.profile.sunspec import Discovery
from parkgate.reading import BAD_REPLY, GOOD, NOT_CONFIGURED, QUALITY_NAMES, TIMEOUT, has_value

_ORDERS = ("ABCD", "CDAB", "BADC", "DCBA")
_REFUSALS_MAX = 200


def add_arguments(parser) -> None:
    """The arguments of a test."""
    parser.add_argument("port", help=PORT_HELP)
    parser.add_argument("meters", nargs="+", metavar="PROFILE@UNIT", help="profile and unit id, as eastron-sdm630@1")
    parser.add_argument("--line", default="9600N", metavar="BAUD[N|E|O]", help="baud rate and parity (default 9600N)")
    parser.add_argument("--samples", type=int, default=3, metavar="N", help="how many times each is read (default 3)")
    parser.add_argument("--every-s", type=float, default=1.0, metavar="S", help="time between two reads (default 1)")
    parser.add_argument("--timeout-ms", type=int, default=500, metavar="MS", help="how long a meter may take to answer")
    parser.add_argument("--orders", action="store_true", help="show each value in all word orders")
    output.add_json(parser)


@dataclass
class Tested:
    """One meter and what it said."""

    profile: str
    unit_id: int
    document: dict = field(default_factory=dict)
    channels: list = field(default_factory=list)
    plan: Any = None
    raw: dict[int, bytes] = field(default_factory=dict)  # address → bytes of the registers from there
    samples: list[tuple[list, bytearray]] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)
    discovery: Discovery | None = None  # of a SunSpec meter, until its model is found


def run(args) -> int:
    """Print what the meters say; 0 when all answered and nothing disagrees. Raises SettingsError, LinkError."""
    baud, parity = line_of(args.line)
    if not 1 <= args.samples <= 1000:
        raise SettingsError("--samples: 1 to 1000")
    if not 10 <= args.timeout_ms <= 5000:
        raise SettingsError("--timeout-ms: 10 to 5000")
    tested = [prepared(text) for text in args.meters]
    with open_bus(args.port, baud, parity, args.timeout_ms) as bus:
        for n in range(args.samples):
            if n:
                time.sleep(args.every_s)
            for meter in tested:
                meter.samples.append(read_once(bus, meter))
    wrong = 0
    lines: list[str] = []
    document: list[dict] = []
    for meter in tested:
        judge(meter, args.every_s)
        said = list(described(meter, args.orders))
        lines += said
        document.append({
            "profile": meter.profile, "unit_id": meter.unit_id, "findings": list(meter.findings),
            "hints": list(meter.hints), "lines": said,
        })  # fmt: skip
        answered = any(quality != TIMEOUT for _, qualities in meter.samples for quality in qualities)
        wrong += bool(meter.findings) or not answered
    output.show(args, {"wrong": wrong, "meters": document}, lines)
    return 1 if wrong else 0


def prepared(text: str) -> Tested:
    """The meter of PROFILE@UNIT with the plan to read all of its registers. Raises SettingsError, ProfileError."""
    name, _, unit = text.rpartition("@")
    if not name or not unit.isdigit() or not 1 <= int(unit) <= 255:
        raise SettingsError(f"{text}: a profile and a unit id, as eastron-sdm630@1")
    document = read_document(name)
    names = tuple(row[0] for row in document["registers"][: profiles.CHANNELS_MAX])
    profile = profiles.load(document, profiles.split_name(name)[0], names)
    models = document.get("sunspec")
    discovery = Discovery(models) if models else None
    return Tested(name, int(unit), document, profile.channels, profile.plan, discovery=discovery)


def read_once(bus: Bus, meter: Tested) -> tuple[list, bytearray]:
    """(values, qualities) of one pass over the meter's registers, as a gateway makes it."""
    if meter.discovery and not _find_model(bus, meter):
        missing = TIMEOUT if meter.discovery.request() else NOT_CONFIGURED
        return [None] * len(meter.channels), bytearray([missing] * len(meter.channels))
    plan = meter.plan
    values, qualities = plan.empty()
    i = refusals = 0
    while i < len(plan.blocks):
        block = plan.blocks[i]
        try:
            reply = bus.read(meter.unit_id, block.function, block.address, block.count)
            meter.raw[block.address] = bytes(reply.data)
            plan.decode(i, reply.data, values, qualities)
        except ModbusExceptionReply:
            refusals += 1
            if refusals < _REFUSALS_MAX:
                plan.refused(i)
                continue
            plan.failed(i, BAD_REPLY, values, qualities)
        except ModbusTimeout:
            plan.failed(i, TIMEOUT, values, qualities)
        except ModbusError:
            plan.failed(i, BAD_REPLY, values, qualities)
        i += 1
    return plan.finish(values, qualities)


def _find_model(bus: Bus, meter: Tested) -> bool:
    """Look for the model of a SunSpec meter, and take its registers; False when there is none or it is silent."""
    discovery = meter.discovery
    assert discovery
    while (request := discovery.request()) is not None:
        try:
            discovery.take(bytes(bus.read(meter.unit_id, *request).data))
        except ModbusExceptionReply:
            discovery.take(None)
        except ModbusError:
            return False
    if discovery.found is None:
        meter.hints[:] = [discovery.reason]
        return False
    profile = sunspec_profile(meter.document, profiles.split_name(meter.profile)[0], *discovery.found)
    meter.channels, meter.plan, meter.discovery = profile.channels, profile.plan, None
    return True


def judge(meter: Tested, every_s: float) -> None:
    """Fill in what disagrees in every sample that could tell, and what one should look at."""
    single = not any(row[0].endswith("_l2") for row in meter.document["registers"])
    consistency = build("meter", rows(meter.channels), lambda *_: None, single)
    if consistency is None:
        meter.hints.append("nothing is measured twice, so nothing can be compared")
        return
    seen: dict[tuple[str, int], list] = {}
    whole = sum(TIMEOUT not in qualities and BAD_REPLY not in qualities for _, qualities in meter.samples)
    for n, (values, qualities) in enumerate(meter.samples):
        for told in consistency.at_once(values, qualities, int(n * every_s * 1000)):
            seen.setdefault(told[:2], []).append(told)
    for told in seen.values():
        if len(told) >= max(1, whole):
            meter.findings.append(diagnosis.sentence(*told[-1]))
    phases = [text.split(" is ")[0] for text in meter.findings]  # what power says need not be said of VA again
    meter.findings = [
        text
        for text in meter.findings
        if not text.startswith("wrong ratio: apparent") or text.split(" is ")[0].replace("apparent ", "") not in phases
    ]
    values, qualities = meter.samples[-1]
    shown = {c.quantity: (values[i], c.scale) for i, c in enumerate(meter.channels) if has_value(qualities[i])}
    for text in diagnosis.first_look(shown):
        if text.split(":")[0] not in [finding.split(":")[0] for finding in meter.findings]:
            (meter.findings if "swapped" in text else meter.hints).append(text)


def described(meter: Tested, orders: bool) -> list[str]:
    """A meter in lines."""
    lines = [f"{meter.profile}, unit id {meter.unit_id} ({meter.document['meter']})"]
    values, qualities = meter.samples[-1]
    for i, channel in enumerate(meter.channels):
        words = _in_words(channel.quantity)
        if not has_value(qualities[i]):
            lines.append(f"  {words:32} {QUALITY_NAMES.get(qualities[i], qualities[i])}")
            continue
        number = f"{values[i] / 10**channel.scale:.{max(channel.scale, 0)}f}"
        unit = "" if channel.unit == "1" else f" {channel.unit}"
        note = "" if qualities[i] == GOOD else f"  ({QUALITY_NAMES.get(qualities[i], qualities[i])})"
        lines.append(f"  {words:32} {number}{unit}{note}")
        if orders:
            lines += [f"      {text}" for text in in_all_orders(meter, channel)]
    if all(quality == TIMEOUT for _, qualities in meter.samples for quality in qualities):
        lines.append("  NO ANSWER: swap wires A and B; check the meter's supply, its unit id, baud rate and parity")
    elif meter.findings:
        lines += [f"  WRONG: {text}" for text in meter.findings]
    elif not meter.hints:
        lines.append("  the numbers agree with each other")
    return lines + [f"  look at it: {text}" for text in meter.hints]


def in_all_orders(meter: Tested, channel) -> list[str]:
    """What the bytes of one value mean in each order: as the type of the profile's width, whole and IEEE 754."""
    data = b""
    for address, raw in meter.raw.items():
        first = 2 * (channel.address - address)
        if first >= 0 and first + 2 * channel.wide <= len(raw):
            data = raw[first : first + 2 * channel.wide]
    if len(data) not in (2, 4, 8) or registers.kind(channel.code) == registers.BIT:
        return []
    lines = []
    for order in _ORDERS if len(data) > 2 else ("ABCD", "BADC"):
        words = [data[at : at + 2] for at in range(0, len(data), 2)]
        if order in ("CDAB", "DCBA"):
            words.reverse()
        if order in ("BADC", "DCBA"):
            words = [word[::-1] for word in words]
        whole = b"".join(words)
        shown = f"{order}: unsigned {int.from_bytes(whole, 'big')}, signed {int.from_bytes(whole, 'big', signed=True)}"
        if len(data) > 2:
            shown += f", float {struct.unpack('>f' if len(data) == 4 else '>d', whole)[0]:.6g}"
        lines.append(shown)
    return [f"registers {data.hex(' ', 2)}", *lines]


def _in_words(quantity: str) -> str:
    """A quantity as a person says it: voltage_l1 is "voltage L1"."""
    words = quantity.split("_")
    return " ".join(word.upper() if word[:1] in "lt" and word[1:].isdigit() or word == "n" else word for word in words)
