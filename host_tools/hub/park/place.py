"""A place's page: one year, month, week, day or hour of a gateway's meters, beside the one before.

A year shows months, a month and a week show days, a day shows hours, an hour shows minutes: so a year is four clicks
away from a minute. Until places have meters of their own, a gateway stands for its place.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from host_tools.hub.park import answers, states, sums, zone
from host_tools.hub.park.answers import ENERGY, POWER
from host_tools.hub.park.book import Book
from host_tools.hub.park.metering import meters, register
from host_tools.hub.park.metering.meters import Meter
from host_tools.hub.park.zone import PIECE_MS
from host_tools.log.database.seam import Database
from parkgate.errors import SettingsError

UNITS = {"year": "month", "month": "day", "week": "day", "day": "hour", "hour": "minute"}
OUTER = {"hour": "day", "day": "month", "week": "month", "month": "year", "year": None}
INNER = {"year": "month", "month": "day", "week": "day", "day": "hour", "hour": None}
METERS_MAX = 64
STATE = "machine_state"
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


def view(db: Database, gw: int, span: str, at_ms: int, tz: ZoneInfo, now_ms: int, used: Sequence[str]) -> dict:
    """All that the page draws of one stretch of time. `used` are the instruments in the gateway's settings. Energies of
    totals are in mWh, those of one meter in steps of its channel. Raises SettingsError."""
    begin, end = stretch(span, at_ms, tz)
    before = stretch(span, begin - 1, tz)
    unit = UNITS[span]
    bars = list(zone.spans(unit, begin, end, tz))
    book = Book(db)
    gateway_id = db.execute("SELECT kid FROM gateway WHERE gw = ?", (gw,)).fetchone()[0].hex()
    found = _meters(db, gw, gateway_id, begin, end, used)
    energies = {meter: [(row, _asked(book, row, unit, bars)) for row in rows] for meter, rows in found[ENERGY].items()}
    behind = meters.load(db)
    inside, _ = meters.contained(energies, behind)
    name = db.execute("SELECT name FROM gateway WHERE gw = ?", (gw,)).fetchone()[0]

    def drawn(asked) -> list[dict]:
        return [answers.bar(piece, whole, tz) for piece, whole in asked]

    return {
        "zone": tz.key, "span": span, "unit": unit, "now_ms": now_ms,
        "from_ms": begin, "to_ms": end, "from": zone.label(begin, tz), "to": zone.label(end, tz),
        "before": zone.label(before[0], tz), "after": zone.label(end, tz),
        "outer": OUTER[span], "inner": INNER[span],
        "meters": answers.contents(energies, behind, {gateway_id: name}),
        "total": _total([energies[meter] for meter in inside], bars, now_ms, tz),
        "register": _register(db, energies, begin, min(end, max(begin + 1, now_ms)), tz),
        "compared": _compared(book, [found[ENERGY][meter] for meter in inside], before, (begin, end), now_ms, tz),
        "energy": [
            {**_about(row), "inside": meter in inside, "bars": drawn(asked)}
            for meter, rows in energies.items() for row, asked in rows
        ],
        "power": [
            {**_about(row), "bars": drawn(_asked(book, row, unit, bars))}
            for rows in found[POWER].values() for row in rows
        ],
        "states": [
            {**_about(row), **states.timeline(book, row["series"], begin, min(end, max(begin, now_ms)))}
            for rows in found[STATE].values() for row in rows
        ],
    }  # fmt: skip


def _register(db, of: Iterable[Meter], begin: int, end: int, tz: ZoneInfo) -> list[dict]:
    """What the meter register says of each meter in that time."""
    records = register.load(db)
    first, last = (datetime.fromtimestamp(ms / 1000, tz).date() for ms in (begin, end - 1))
    return [register.document(db, meter, first, last, records) for meter in of]


def _meters(db, gw: int, gateway_id: str, begin: int, end: int, used: Sequence[str]) -> dict[str, dict[Meter, list]]:
    """Quantity → meter → its series with readings in that time. A meter in the settings that had readings before is
    there also when it gave none: then the total is not known."""
    found: dict[str, dict[Meter, list]] = {ENERGY: {}, POWER: {}, STATE: {}}
    rows = db.execute(
        "SELECT series, instrument, quantity, unit, scale FROM series WHERE gw = ? AND quantity IN (?, ?, ?)"
        " ORDER BY series", (gw, ENERGY, POWER, STATE),
    ).fetchall()  # fmt: skip
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
    return {name: row[name] for name in ("series", "instrument", "unit", "scale")}


def _asked(book: Book, row: dict, unit: str, bars) -> list:
    if unit == "minute":
        return [(piece, True) for piece in book.make(row["series"], bars[0][0], bars[-1][1], zone.MINUTE_MS)]
    return book.ask(row["series"], bars)


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
        parts.append(answers.energy_of(piece, all(whole for _, whole in asked), row["scale"], span, now_ms))
    return answers.added(parts)


def _compared(book: Book, of: list, before, this, now_ms: int, tz: ZoneInfo) -> dict:
    """The stretch before: all of it, and as far as this one has gone by now."""
    gone_ms = min(max(0, now_ms - this[0]) // PIECE_MS * PIECE_MS, before[1] - before[0])
    until = before[1] if now_ms >= this[1] else before[0] + gone_ms
    flat = [row for rows in of for row in rows]

    def ask(span) -> dict:
        parts = [answers.energy_of(*book.ask(row["series"], [span])[0], row["scale"], span, now_ms) for row in flat]
        return answers.added(parts)

    return {
        "from": zone.label(before[0], tz), "to": zone.label(before[1], tz), "until": zone.label(until, tz),
        "whole": ask(before), "by_then": ask((before[0], until)),
    }  # fmt: skip
