"""A place's page: one year, month, week, day or hour of the meters and sensors at a place, beside the one before and,
where somebody asks for it, beside another time or another place.

A year shows months, a month and a week show days, a day shows hours, an hour shows minutes: so a year is four clicks
away from a minute. Whichever gateway stood there, a meter's register goes on (`by_place`). A gateway that stands
nowhere has a page of its own, of its own readings.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from host_tools.hub.park import answers, by_place, states, sums, zone
from host_tools.hub.park.answers import ENERGY, POWER
from host_tools.hub.park.book import Book
from host_tools.hub.park.metering import meters, register
from host_tools.hub.park.metering.meters import Meter
from host_tools.hub.park.zone import PIECE_MS
from host_tools.hub.stores import places
from host_tools.log.database.seam import Database
from parkgate.errors import SettingsError
from parkgate.events import COUNTER_EVENTS

UNITS = {"year": "month", "month": "day", "week": "day", "day": "hour", "hour": "minute"}
OUTER = {"hour": "day", "day": "month", "week": "month", "month": "year", "year": None}
INNER = {"year": "month", "month": "day", "week": "day", "day": "hour", "hour": None}
METERS_MAX = 64
STATE = "machine_state"
SENSORS = (
    "temperature", "machine_temperature", "ambient_temperature", "relative_humidity", "vibration_velocity_rms",
    "vibration_velocity_rms_x", "vibration_velocity_rms_y", "vibration_velocity_rms_z",
)  # fmt: skip
SHOWN = (ENERGY, POWER, STATE, *SENSORS)
JUMPS_MAX = 20  # of one meter
_FIRST_YEAR, _LAST_YEAR = 2001, 9990


def moment(text: str, tz: ZoneInfo) -> int:
    """A date or a date with a time, in the park's zone where it names no other, as Unix time in ms. Raises
    SettingsError."""
    try:
        found = datetime.fromisoformat(text)
        if not _FIRST_YEAR <= found.year <= _LAST_YEAR:
            raise ValueError
        return int((found if found.tzinfo else found.replace(tzinfo=tz)).timestamp() * 1000)
    except (ValueError, OverflowError):
        raise SettingsError(f"{text!r:.40} is not a date: it looks like 2026-11-28 or 2026-11-28T13:00") from None


def stretch(span: str, at_ms: int, tz: ZoneInfo) -> tuple[int, int]:
    """(begin, end) of the year, month, week (from Monday), day or hour that `at_ms` is in."""
    if span in ("year", "week"):
        local = datetime.fromtimestamp(at_ms / 1000, tz).date()
        if span == "year":
            first, last = local.replace(month=1, day=1), local.replace(year=local.year + 1, month=1, day=1)
        else:
            first = local - timedelta(days=local.weekday())
            last = first + timedelta(days=7)
        return zone.midnight(first, tz), zone.midnight(last, tz)
    begin = zone.begin(span, at_ms, tz)
    return begin, zone.next_begin(span, begin, tz)


class Subject(NamedTuple):
    """Whose page it is: a place `pl`, or a gateway by itself (`pl` None). `gateways` are (gw, id, name, from, to) of
    those whose readings belong to it, the newest last; `used` are the instruments in the settings of the newest."""

    pl: int | None
    name: str
    gateways: list[tuple[int, str, str, int, int | None]]
    used: Sequence[str]


def of_gateway(db: Database, gw: int, used: Sequence[str]) -> Subject:
    """One gateway by itself."""
    kid, name = db.execute("SELECT kid, name FROM gateway WHERE gw = ?", (gw,)).fetchone()
    return Subject(None, name, [(gw, kid.hex(), name, 0, None)], used)


def of_place(db: Database, found: places.Place, used: Sequence[str]) -> Subject:
    """A place, with every gateway that stood there."""
    stays = [
        (stay.gw, stay.gateway_id.hex(), stay.gateway, stay.from_ms, stay.to_ms) for stay in places.stays(db, found.pl)
    ]
    return Subject(found.pl, found.name, stays, used)


class Beside(NamedTuple):
    """What is shown beside: another subject, or this one about another moment."""

    subject: Subject
    at_ms: int


def view(
    db: Database, subject: Subject, span: str, at_ms: int, tz: ZoneInfo, now_ms: int, beside: Beside | None = None
) -> dict:
    """All that the page draws of one stretch of time. Energies of totals are in mWh, those of one meter in steps of its
    channel. Raises SettingsError."""
    begin, end = stretch(span, at_ms, tz)
    before = stretch(span, begin - 1, tz)
    unit = UNITS[span]
    bars = list(zone.spans(unit, begin, end, tz))
    book = Book(db)
    found = _found(db, subject, begin, end)
    energies = {meter: [(row, _asked(book, row, unit, bars)) for row in rows] for meter, rows in found[ENERGY].items()}
    behind = meters.load(db)
    inside, _ = meters.contained(energies, behind)
    names = {gateway_id: name for _, gateway_id, name, *_ in subject.gateways}

    def drawn(asked) -> list[dict]:
        return [answers.bar(piece, due_ms, tz) for piece, due_ms in asked]

    def lines(of: Iterable[str]) -> list[dict]:
        return [
            {**_about(row), "bars": drawn(_asked(book, row, unit, bars))}
            for quantity in of for rows in found[quantity].values() for row in rows
        ]  # fmt: skip

    until = min(end, max(begin, now_ms))
    return {
        "zone": tz.key, "span": span, "unit": unit, "now_ms": now_ms, "name": subject.name,
        "from_ms": begin, "to_ms": end, "from": zone.label(begin, tz), "to": zone.label(end, tz),
        "before": zone.label(before[0], tz), "after": zone.label(end, tz),
        "outer": OUTER[span], "inner": INNER[span],
        "meters": answers.contents(energies, behind, names),
        "total": _total([energies[meter] for meter in inside], bars, now_ms, tz),
        "register": _register(db, energies, begin, min(end, max(begin + 1, now_ms)), tz),
        "compared": _compared(book, [found[ENERGY][meter] for meter in inside], before, (begin, end), now_ms, tz),
        "beside": beside and _beside(book, beside, span, now_ms, tz, behind),
        "history": _history(book, subject),
        "energy": [
            {**_about(row), "inside": meter in inside, "bars": drawn(asked)}
            for meter, rows in energies.items() for row, asked in rows
        ],
        "power": lines([POWER]), "sensors": lines(SENSORS),
        "states": [
            {**_about(row), **_states(book, row, begin, until)} for rows in found[STATE].values() for row in rows
        ],
    }  # fmt: skip


def _beside(book: Book, beside: Beside, span: str, now_ms: int, tz: ZoneInfo, behind) -> dict:
    """The total of another place, or of another time, bar by bar."""
    begin, end = stretch(span, beside.at_ms, tz)
    bars = list(zone.spans(UNITS[span], begin, end, tz))
    found = _found(book.db, beside.subject, begin, end)[ENERGY]
    inside, _ = meters.contained(found, behind)
    asked = [[(row, _asked(book, row, UNITS[span], bars)) for row in found[meter]] for meter in inside]
    return {
        "name": beside.subject.name, "from": zone.label(begin, tz), "to": zone.label(end, tz),
        **_total(asked, bars, now_ms, tz),
    }  # fmt: skip


def _history(book: Book, subject: Subject) -> dict:
    """The gateways that stood there, and what became of the meters' registers."""
    jumps = []
    for gw, _, gateway, from_ms, to_ms in subject.gateways:
        for (instrument,) in book.db.execute(
            "SELECT DISTINCT instrument FROM series WHERE gw = ? AND quantity = ? ORDER BY instrument", (gw, ENERGY)
        ).fetchall():
            for _, seq, what, value_before, value, time_ms in book.told(gw, instrument, ENERGY)[-JUMPS_MAX:]:
                if from_ms <= time_ms and (to_ms is None or time_ms < to_ms):
                    jumps.append({
                        "gateway": gateway, "instrument": instrument, "what": COUNTER_EVENTS[what], "seq": seq,
                        "before": value_before, "value": value, "time_ms": time_ms,
                    })  # fmt: skip
    stays = [
        {"gateway": name, "id": gateway_id, "from_ms": from_ms, "to_ms": to_ms}
        for _, gateway_id, name, from_ms, to_ms in subject.gateways
    ]
    return {"gateways": stays, "registers": sorted(jumps, key=lambda one: one["time_ms"])}


def _states(book: Book, row: dict, begin: int, end: int) -> dict:
    """The timeline of a machine over all gateways that read it."""
    found: list[list] = []
    for leg in row["legs"]:
        low, high = max(begin, leg.from_ms), min(end, end if leg.to_ms is None else leg.to_ms)
        if low >= high:
            continue
        made = states.timeline(book, leg.series, low, high)
        if made["segments"] is None or (low, high) == (begin, end):
            return made
        if low > (found[-1][1] if found else begin):
            found.append([found[-1][1] if found else begin, low, None])
        found += [[part["from_ms"], part["to_ms"], part["state"]] for part in made["segments"]]
    at = found[-1][1] if found else begin
    return states.summed([*found, [at, end, None]] if at < end else found, begin, end)


def _register(db, of: Iterable[Meter], begin: int, end: int, tz: ZoneInfo) -> list[dict]:
    """What the meter register says of each meter in that time."""
    records = register.load(db)
    first, last = (datetime.fromtimestamp(ms / 1000, tz).date() for ms in (begin, end - 1))
    return [register.document(db, meter, first, last, records) for meter in of]


def _found(db, subject: Subject, begin: int, end: int) -> dict[str, dict[Meter, list]]:
    """Quantity → meter → its series with readings in that time, each with its legs. A meter is called by the newest
    gateway that read it."""
    found: dict[str, dict[Meter, list]] = {name: {} for name in SHOWN}
    kept: dict[tuple, dict] = {}
    for n, (gw, gateway_id, _, from_ms, to_ms) in enumerate(subject.gateways):
        used = subject.used if n == len(subject.gateways) - 1 else ()
        low, high = max(begin, from_ms), min(end, end if to_ms is None else to_ms)
        for quantity, of in _meters(db, gw, gateway_id, low, high, used).items():
            for meter, rows in of.items():
                for row in rows:
                    what = row["instrument"], quantity, row["unit"], row["scale"]
                    kept[what] = {**row, "legs": [], "meter": meter}
    if kept:
        own = by_place.legs(db, subject.pl, SHOWN) if subject.pl is not None else {}
        ids = {gw: gateway_id for gw, gateway_id, *_ in subject.gateways}
        for what, row in kept.items():
            row["ids"] = ids
            row["legs"] = own.get(what) or [by_place.Leg(row["series"], subject.gateways[-1][0], 0, None)]
            found[what[1]].setdefault(row["meter"], []).append(row)
    return found


def _meters(db, gw: int, gateway_id: str, begin: int, end: int, used: Sequence[str]) -> dict[str, dict[Meter, list]]:
    """Quantity → meter → its series with readings in that time. A meter in the settings that had readings before is
    there also when it gave none: then the total is not known."""
    found: dict[str, dict[Meter, list]] = {name: {} for name in SHOWN}
    rows = db.execute(
        f"SELECT series, instrument, quantity, unit, scale FROM series WHERE gw = ? AND quantity IN"
        f" ({','.join('?' * len(SHOWN))}) ORDER BY series", (gw, *SHOWN),
    ).fetchall()  # fmt: skip
    if begin >= end:
        return found
    for series, instrument, quantity, unit, scale in rows[: 3 * METERS_MAX]:
        first = db.execute(
            "SELECT first_ms, last_ms FROM block WHERE series = ? AND last_ms >= ? ORDER BY last_ms LIMIT 1",
            (series, begin),
        ).fetchone()
        there = first is not None and first[0] < end
        row = {"series": series, "instrument": instrument, "quantity": quantity, "unit": unit, "scale": scale}
        if there or (instrument in used and _began(db, series, end) and first is None):
            found[quantity].setdefault(Meter(gateway_id, instrument), []).append(row)
    return found


def _began(db, series: int, before_ms: int) -> bool:
    question = "SELECT 1 FROM block WHERE series = ? AND last_ms >= 0 AND last_ms < ? LIMIT 1"
    return db.execute(question, (series, before_ms)).fetchone() is not None


def _about(row: dict) -> dict:
    legs = [
        {"series": leg.series, "gateway": row["ids"][leg.gw], "from_ms": leg.from_ms, "to_ms": leg.to_ms}
        for leg in row["legs"]
    ]
    return {**{name: row[name] for name in ("series", "instrument", "quantity", "unit", "scale")}, "legs": legs}


def _asked(book: Book, row: dict, unit: str, bars) -> list:
    what = row["instrument"], row["quantity"], row["legs"]
    if unit == "minute":
        return [(piece, 0) for piece in by_place.minutes(book, *what, bars[0][0], bars[-1][1])]
    return by_place.ask(book, *what, bars)


def _total(of: list, bars, now_ms: int, tz: ZoneInfo) -> dict:
    """The meters of the total added up: each bar, and all of them. An energy that is not exact in a bar may be so in
    the whole: what an edge takes from one bar it gives to the next."""
    flat = [(row, asked) for rows in of for row, asked in rows]
    made = [
        {**answers.added([answers.energy_of(asked[i][0], asked[i][1], row["scale"], span, now_ms)
                          for row, asked in flat]),
         "from_ms": span[0], "to_ms": span[1], "from": zone.label(span[0], tz), "to": zone.label(span[1], tz)}
        for i, span in enumerate(bars)
    ]  # fmt: skip
    return {"bars": made, "whole": _whole(flat, (bars[0][0], bars[-1][1]), now_ms)}


def _whole(flat, span, now_ms: int) -> dict:
    parts = []
    for row, asked in flat:
        piece = sums.merge([piece for piece, _ in asked])
        parts.append(answers.energy_of(piece, sum(due_ms for _, due_ms in asked), row["scale"], span, now_ms))
    return answers.added(parts)


def _compared(book: Book, of: list, before, this, now_ms: int, tz: ZoneInfo) -> dict:
    """The stretch before: all of it, and as far as this one has gone by now."""
    gone_ms = min(max(0, now_ms - this[0]) // PIECE_MS * PIECE_MS, before[1] - before[0])
    until = before[1] if now_ms >= this[1] else before[0] + gone_ms
    flat = [row for rows in of for row in rows]

    def ask(span) -> dict:
        found = [(row, _asked(book, row, "whole", [span])[0]) for row in flat]
        parts = [answers.energy_of(piece, due_ms, row["scale"], span, now_ms) for row, (piece, due_ms) in found]
        return answers.added(parts)

    return {
        "from": zone.label(before[0], tz), "to": zone.label(before[1], tz), "until": zone.label(until, tz),
        "whole": ask(before), "by_then": ask((before[0], until)),
    }  # fmt: skip
