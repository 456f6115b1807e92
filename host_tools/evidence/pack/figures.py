"""What a pack says: months of energy, CO2e, lots, meters and events, each row with what it rests on."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from fractions import Fraction
from typing import NamedTuple
from zoneinfo import ZoneInfo

from host_tools.evidence.enpi import data
from host_tools.evidence.enpi.baselines import float_free
from host_tools.evidence.enpi.regression import text
from host_tools.evidence.enpi.report import meter as uncertainty_of
from host_tools.evidence.pack.factors import METHODS, Factor, of
from host_tools.hub.park import zone
from host_tools.hub.park.answers import ENERGY
from host_tools.hub.park.metering import register
from host_tools.hub.park.metering.meters import Meter
from host_tools.hub.production import document
from host_tools.hub.production.floor import Floor
from host_tools.hub.stores import places
from host_tools.hub.stores.places import Place
from host_tools.log.database.seam import Database
from parkgate import events
from parkgate.wire import cbor

HEAD = (
    "id", "place", "channel", "from", "to", "value", "unit", "least", "most", "uncertainty_k2", "completeness_percent",
    "imputed_percent", "method", "factor", "first_batch", "last_batch",
)  # fmt: skip
_KWH = {"Wh": Fraction(1, 1000), "kWh": Fraction(1), "MWh": Fraction(1000)}
_QUIET = (events.PERIODS, events.PRODUCTION, events.CHECKPOINT_HELD, events.COMMISSIONED)
EVENTS_MAX = 100_000


class Month(NamedTuple):
    """One month of the place's meters: `least` and `most` in kWh, None where nobody can say."""

    begin: date
    last: date
    energy: tuple[Fraction, Fraction] | None
    days: int
    known: int

    @property
    def kwh(self) -> Fraction | None:
        return None if self.energy is None else sum(self.energy, Fraction(0)) / 2


def months(db: Database, place: Place, first: date, last: date, tz: ZoneInfo, now_ms: int):
    """(months, instruments of the total). Raises SettingsError."""
    found = data.energy(db, place, "month", first, last, tz, now_ms)
    known = {begin: (least, most) for begin, _, least, most in found.stretches}
    made, at = [], first
    while at <= last:
        after = (at.replace(day=1) + timedelta(days=32)).replace(day=1)
        days = sum(at <= point.begin < after for point in found.day_points)
        made.append(Month(at, after - timedelta(days=1), known.get(at), (after - at).days, days))
        at = after
    return made, found.instruments


def rows(
    db: Database, place: Place, made: Sequence[Month], instruments: Sequence[str], factors: list[Factor],
    tz: ZoneInfo,
) -> list[tuple]:  # fmt: skip
    """The rows of figures.csv: each month's energy, then its CO2e by both methods where a factor covers it."""
    found: list[tuple] = []
    kept = register.load(db)
    for month in made:
        records = [register.of(kept, Meter("", name), place.id.hex()) for name in instruments]
        percent = uncertainty_of(records, month.begin, month.last)["percent"]
        ends = _batches(db, place, month, tz)
        share = text(Fraction(100 * month.known, month.days), 4)
        if month.energy is None or month.kwh is None:
            span = month.begin, month.last
            found.append(
                (_id(found), place.name, "total", *span, "not known", "kWh", "", "", "", share, "", "", "", *ends)
            )
            continue
        unsure = "not known" if percent is None else text(2 * percent * month.kwh / 100, 6)
        open_kwh = month.energy[1] - month.energy[0]
        imputed = text(100 * open_kwh / month.kwh, 4) if month.kwh else "0"
        least, most = map(float_free, month.energy)
        about = place.name, "total", month.begin, month.last
        found.append((
            _id(found), *about, float_free(month.kwh), "kWh", least, most, unsure, share, imputed,
            f"differences of signed registers: {' + '.join(instruments)}", "", *ends,
        ))  # fmt: skip
        for method in METHODS:
            factor = of(factors, method, month.begin, month.last)
            if factor is not None:
                found.append((
                    _id(found), *about, text(month.kwh * factor.value, 9), "kg CO2e",
                    *(text(end * factor.value, 9) for end in month.energy), "", share, imputed,
                    f"scope 2, {method}-based", factor.id, *ends,
                ))  # fmt: skip
    return found


def _id(found: list) -> str:
    return f"F{len(found) + 1:04}"


def _batches(db, place: Place, month: Month, tz: ZoneInfo) -> tuple[str, str]:
    """The first and the last batch with readings of the place's meters in the month: gateway:epoch:seq."""
    begin, end = zone.midnight(month.begin, tz), zone.midnight(month.last + timedelta(days=1), tz)
    found = []
    for stay in places.stays(db, place.pl):
        low, high = max(begin, stay.from_ms), end if stay.to_ms is None else min(end, stay.to_ms)
        found += db.execute(
            "SELECT block.first_ms, kid, epoch, block.seq FROM block JOIN series USING (series) JOIN epoch ON"
            " epoch.ep = block.ep JOIN gateway ON gateway.gw = epoch.gw WHERE series.gw = ? AND quantity = ? AND"
            " block.last_ms >= ? AND block.first_ms < ? ORDER BY block.last_ms",
            (stay.gw, ENERGY, low, high),
        ).fetchall()
    if not found:
        return "", ""
    words = [f"{bytes(kid).hex()}:{bytes(epoch).hex()}:{seq}" for _, kid, epoch, seq in (min(found), max(found))]
    return words[0], words[1]


def lots(floor: Floor, place: Place, begin: int, end: int, factors: list[Factor], tz: ZoneInfo) -> list[tuple]:
    """Lots that ended at the place in that time: energy, basis, CO2e (location-based) and the share of it that rests on
    measured energy."""
    found = []
    for name, jobs in sorted(floor.by_lot.items()):
        ended = [job.end_ms for job in jobs if job.end_ms is not None]
        if not ended or not begin <= max(ended) < end or jobs[-1].chain.gateway != place.gateway:
            continue
        kwh, guessed = Fraction(0), Fraction(0)
        for figure in floor.totals(jobs):
            if figure.register.quantity == ENERGY and figure.register.unit in _KWH:
                step = _KWH[figure.register.unit] / Fraction(10) ** figure.register.scale
                kwh, guessed = kwh + figure.amount * step, guessed + figure.estimated * step
        day = date.fromisoformat(zone.label(max(ended), tz)[:10])
        factor = of(factors, "location", day, day)
        share = text(100 * (kwh - guessed) / kwh, 6) if kwh else "not known"
        made = document.lot(floor, name)
        found.append((
            name, made["pieces"] if made["pieces"] is not None else "not known", float_free(kwh), float_free(guessed),
            text(kwh * factor.value, 9) if factor else "not known", factor.id if factor else "", share, floor.rule,
        ))  # fmt: skip
    return found


LOTS_HEAD = ("lot", "pieces", "kwh", "of_it_estimated_kwh", "kg_co2e", "factor", "primary_data_share", "shared_by")
EVENTS_HEAD = ("gateway", "epoch", "seq", "received", "what", "facts")


def events_of(db: Database, place: Place, begin: int, end: int, tz: ZoneInfo) -> list[tuple]:
    """Signed events of the place's gateways that came in that time: exchanges, gaps, clock, settings and the like."""
    found: list[tuple] = []
    marks = ", ".join("?" * len(_QUIET))
    for stay in places.stays(db, place.pl):
        for epoch, seq, received, kind, event in db.execute(
            "SELECT epoch, event.seq, received_unix_ms, kind, event FROM event JOIN batch ON batch.ep = event.ep AND"
            " batch.seq = event.seq JOIN epoch ON epoch.ep = event.ep WHERE gw = ? AND received_unix_ms >= ? AND"
            f" received_unix_ms < ? AND kind NOT IN ({marks}) ORDER BY event.ep, event.seq, place LIMIT ?",
            (
                stay.gw,
                max(begin, stay.from_ms),
                end if stay.to_ms is None else min(end, stay.to_ms),
                *_QUIET,
                EVENTS_MAX,
            ),
        ).fetchall():
            facts = cbor.decode(event)
            assert isinstance(facts, list)
            told = json.dumps([one.hex() if isinstance(one, bytes) else one for one in facts[1:]])
            what = events.NAMES.get(kind, f"kind {kind}")
            found.append((stay.gateway, bytes(epoch).hex(), seq, zone.label(received, tz), what, told))
    return found


METERS_HEAD = ("instrument", *register.FIELDS, "entry", "remarks")


def meters(db: Database, place: Place, instruments: Sequence[str], first: date, last: date) -> list[tuple]:
    """One row a record of the meter register, and one with what is to be said where there is none."""
    found: list[tuple] = []
    kept = register.load(db)
    for name in instruments:
        own = register.of(kept, Meter("", name), place.id.hex())
        remarks = "; ".join(f"{each.kind}: {each.text}" for each in register.remarks(own, first, last))
        for one in own:
            found.append((name, *(one.fields.get(field, "") for field in register.FIELDS), one.entry, remarks))
        if not own:
            found.append((name, *("" for _ in register.FIELDS), "", remarks))
    return found


def higg(made: Sequence[Month], place: Place) -> tuple[list[tuple] | None, str]:
    """(rows of the Higg FEM sheet or None, why not): purchased electricity of 12 months, none of them blank."""
    missing = [f"{month.begin:%Y-%m}" for month in made if month.kwh is None]
    if len(made) != 12 or missing:
        why = (
            f"not known: {', '.join(missing)}"
            if missing
            else f"the pack has {len(made)} months, and the sheet wants 12"
        )
        return None, why
    return [
        ("purchased electricity", "yes", "yes", f"{month.begin:%Y-%m}", float_free(month.kwh or Fraction(0)), "kWh",
         "meter", "continuous", f"{place.name}; {month.known} of {month.days} days known; see figures.csv")
        for month in made
    ], ""  # fmt: skip


HIGG_HEAD = ("source", "used", "tracked", "month", "quantity", "unit", "method", "frequency", "comments")


def as_csv(head: Sequence[str], found: Iterable[Sequence]) -> bytes:
    """UTF-8; a spreadsheet must not take a name for a formula."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(head)
    for row in found:
        writer.writerow([f"'{one}" if str(one)[:1] in ("=", "+", "@", "\t") else one for one in map(str, row)])
    return out.getvalue().encode()
