"""Days and months of energy at a place, and relevant variables from a file that people keep."""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Sequence
from datetime import date, timedelta
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

from host_tools.base.files import why
from host_tools.evidence.enpi.model import Point
from host_tools.hub.park import by_place, zone
from host_tools.hub.park.metering import meters
from host_tools.hub.park.metering.meters import Meter
from host_tools.hub.stores.places import Place
from host_tools.log.database.seam import Database
from parkgate.errors import SettingsError

UNITS = ("day", "month")
DAYS_MAX = 3700
_KWH = {"Wh": Fraction(1, 1000), "kWh": Fraction(1), "MWh": Fraction(1000)}
_NUMBER = re.compile(r"-?\d{1,15}(\.\d{1,9})?")
_NAME = re.compile(r"[a-z][a-z0-9_ ]{0,39}(:mean)?")
_CHUNK_DAYS = 365


class Energy(NamedTuple):
    """What a place used. `stretches` has (first day, day after, least, most) in kWh of each day or month whose energy
    is known; `days` are how many the period has, `known` of how many the energy is known; `day_points` are those."""

    stretches: list[tuple[date, date, Fraction, Fraction]]
    days: int
    known: int
    day_points: list[Point]
    instruments: list[str]


def energy(db: Database, place: Place, unit: str, first: date, last: date, tz: ZoneInfo, now_ms: int) -> Energy:
    """The energy of a place from the day `first` to the day `last`. Raises SettingsError."""
    if last < first or (last - first).days >= DAYS_MAX:
        raise SettingsError(f"a period has 1 to {DAYS_MAX} days")
    days, instruments = _bars(db, place, "day", first, last, tz, now_ms)
    if not instruments:
        raise SettingsError(f"no energy meter was read at {place.name} in that time")
    day_points = [Point(begin, end, least, most, ()) for begin, end, least, most in days]
    whole = days if unit == "day" else _bars(db, place, unit, first, last, tz, now_ms)[0]
    return Energy(whole, (last - first).days + 1, len(days), day_points, instruments)


def _bars(db, place, unit, first, last, tz, now_ms):
    """(stretches that are known, instruments of the total)."""
    found: dict[tuple[date, date], list[tuple[Fraction, Fraction] | None]] = {}
    inside: list[str] = []
    at = first
    while at <= last:
        until = last if unit == "month" else min(last, at + timedelta(days=_CHUNK_DAYS))
        begin, end = zone.midnight(at, tz), zone.midnight(until + timedelta(days=1), tz)
        made = by_place.bars(db, place, unit, begin, end, tz, now_ms)["series"]
        for series in _total(db, place, made):
            if series["instrument"] not in inside:
                inside.append(series["instrument"])
            factor = _KWH[series["unit"]] / Fraction(10) ** series["scale"]
            if not all(bar["made"] for bar in series["bars"]):
                raise SettingsError(
                    "the hub has not added up all readings of that time yet: let it run for a minute, then ask again"
                )
            for bar in series["bars"]:
                edges = date.fromisoformat(bar["from"][:10]), date.fromisoformat(bar["to"][:10])
                found.setdefault(edges, []).append(_known(bar, factor))
        at = until + timedelta(days=1)
    stretches = []
    for (begin_day, end_day), parts in sorted(found.items()):
        known = [part for part in parts if part is not None]
        if len(known) == len(parts) == len(inside) and first <= begin_day and end_day <= last + timedelta(days=1):
            least, most = (sum((part[i] for part in known), Fraction(0)) for i in (0, 1))
            stretches.append((begin_day, end_day, least, most))
    return stretches, inside


def _total(db, place: Place, series: Sequence[dict]) -> list[dict]:
    """Those series that count: of meters that stand behind no other one here, and that were read at all."""
    gateway = db.execute("SELECT kid FROM gateway WHERE gw = ?", (place.gw,)).fetchone() if place.gw else None
    read = [one for one in series if one["unit"] in _KWH and any(bar["count"] for bar in one["bars"])]
    if gateway is None:
        return read
    of = {one["instrument"]: Meter(bytes(gateway[0]).hex(), one["instrument"]) for one in read}
    inside, _ = meters.contained(list(of.values()), meters.load(db))
    return [one for one in read if of[one["instrument"]] in inside]


def _known(bar: dict, factor: Fraction) -> tuple[Fraction, Fraction] | None:
    """(least, most) in kWh; None where an edge lies outside all readings, or a step is unexplained."""
    counted = bar["energy"]
    if counted is None or bar["begin_open"] or bar["end_open"] or bar["unexplained"]:
        return None
    return counted["least"] * factor, counted["most"] * factor


class Variables(NamedTuple):
    """Relevant variables by day or by month ("2026-11-28" or "2026-11"). `means` says which are averaged over a month;
    the others are added up. `sha256` is that of the file."""

    names: list[str]
    means: list[bool]
    rows: dict[str, list[Fraction]]
    source: str
    sha256: str

    def of(self, begin: date, end: date) -> tuple[Fraction, ...]:
        """For the days from begin to before end. Raises SettingsError, which names what is missing."""
        month = f"{begin:%Y-%m}"
        if month in self.rows and (end - begin).days > 27:
            return tuple(self.rows[month])
        days = [begin + timedelta(days=i) for i in range((end - begin).days)]
        missing = next((day for day in days if day.isoformat() not in self.rows), None)
        if missing is not None:
            raise SettingsError(f"{self.source} has no row for {missing}: a variable that is not known is not 0")
        values = [self.rows[day.isoformat()] for day in days]
        sums = [sum(column, Fraction(0)) for column in zip(*values)]
        return tuple(value / len(days) if mean else value for value, mean in zip(sums, self.means))


def read_variables(path: Path) -> Variables:
    """A CSV file with a column `date` and one a variable, such as `pieces` or `outside temperature:mean`. Raises
    SettingsError, with the line."""
    try:
        data = path.read_bytes()
        text = data.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"cannot read {path}: {why(error) if isinstance(error, OSError) else error}") from None
    lines = list(csv.reader(io.StringIO(text)))
    if not lines or not lines[0] or lines[0][0].strip() != "date" or len(lines[0]) < 2:
        raise SettingsError(f"{path}, line 1: the first column is `date`, the others are variables")
    names = [name.strip().lower() for name in lines[0][1:]]
    if len(set(names)) != len(names) or not all(map(_NAME.fullmatch, names)):
        raise SettingsError(f"{path}, line 1: names of variables are different, of small letters and digits")
    rows: dict[str, list[Fraction]] = {}
    for number, line in enumerate(lines[1:], 2):
        if not any(cell.strip() for cell in line):
            continue
        at = f"{path}, line {number}"
        day = _day(line[0].strip(), at)
        if day in rows:
            raise SettingsError(f"{at}: {day} stands twice")
        cells = [cell.strip() for cell in line[1:]]
        if len(cells) != len(names) or not all(map(_NUMBER.fullmatch, cells)):
            raise SettingsError(f"{at}: a number for each of {', '.join(names)}, with a point; 0 where there was none")
        rows[day] = [Fraction(cell) for cell in cells]
    if not rows:
        raise SettingsError(f"{path} has no rows")
    return Variables(
        [name.removesuffix(":mean") for name in names], [name.endswith(":mean") for name in names], rows,
        path.name, hashlib.sha256(data).hexdigest(),
    )  # fmt: skip


def _day(text: str, at: str) -> str:
    try:
        return f"{date.fromisoformat(f'{text}-01'):%Y-%m}" if len(text) == 7 else date.fromisoformat(text).isoformat()
    except ValueError:
        raise SettingsError(f"{at}: {text!r:.40} is neither a day (2026-11-28) nor a month (2026-11)") from None


def points(found: Energy, variables: Variables | None) -> list[Point]:
    """The points of a model: each day or month whose energy is known, with its variables. Raises SettingsError."""
    return [
        Point(begin, end, least, most, variables.of(begin, end) if variables else ())
        for begin, end, least, most in found.stretches
    ]
