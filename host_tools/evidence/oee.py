"""Overall equipment effectiveness after ISO 22400-2, with the source of each number.

    availability   = APT / PBT          actual production time over planned busy time
    effectiveness  = PRI · PQ / APT     planned run time per item, times produced quantity, over actual production time
    quality ratio  = GQ / PQ            good quantity over produced quantity
    OEE            = availability · effectiveness · quality ratio

A figure whose denominator is 0 is not known (None), and so is the OEE then: 0 would be a wrong answer. A figure above 1
is shown as it is: it says that a planned number is too generous.

PBT and PRI are typed in by people. They stand in a signed statement in the hub's log, with who wrote them and where
they are from; the report says so beside each figure that rests on them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import date, timedelta
from fractions import Fraction
from typing import NamedTuple
from zoneinfo import ZoneInfo

from host_tools.evidence.enpi.regression import text
from host_tools.hub.park import states, zone
from host_tools.hub.park.book import Book
from host_tools.hub.production.floor import WORKING, Floor
from host_tools.hub.production.jobs import Job
from host_tools.hub.stores.gateways import whoami
from host_tools.log import record
from host_tools.log.database.seam import Database
from parkgate.errors import SettingsError
from parkgate.log import statement
from parkgate.sensing import jobs as kinds

NAME = "setting oee plans"  # in the table `about`
STATE = "machine_state"
_NUMBER = re.compile(r"\d{1,6}(\.\d{1,6})?")
_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
SPAN_DAYS_MAX = 400


class Plan(NamedTuple):
    """What people planned for a station from the day `begin` to the day `end`: minutes a day on `weekdays` (0 is
    Monday), seconds a piece, and where both are from."""

    station: str
    begin: date
    end: date
    weekdays: tuple[int, ...]
    busy_minutes: Fraction
    piece_seconds: Fraction
    source: str
    unix_ms: int
    by: str | None
    entry: str

    def covers(self, day: date) -> bool:
        return self.begin <= day <= self.end

    def document(self) -> dict:
        return {
            "from": self.begin.isoformat(), "to": self.end.isoformat(),
            "weekdays": [_WEEKDAYS[day] for day in self.weekdays], "busy_minutes": text(self.busy_minutes),
            "piece_seconds": text(self.piece_seconds), "source": self.source, "by": self.by, "unix_ms": self.unix_ms,
            "entry": self.entry,
        }  # fmt: skip


class Kpi(NamedTuple):
    """The four figures, each None where its denominator is 0."""

    availability: Fraction | None
    effectiveness: Fraction | None
    quality: Fraction | None
    oee: Fraction | None


def kpi(pbt_s: Fraction, apt_s: Fraction, planned_s: Fraction, produced: int, good: int) -> Kpi:
    """`planned_s` is PRI · PQ: the time that the produced pieces were planned to take. Raises ValueError for numbers
    that cannot be."""
    if min(pbt_s, apt_s, planned_s) < 0 or not 0 <= good <= produced:
        raise ValueError("times and quantities are not negative, and no more pieces are good than were produced")
    found = _over(apt_s, pbt_s), _over(planned_s, apt_s), _over(Fraction(good), Fraction(produced))
    known = [one for one in found if one is not None]
    return Kpi(*found, known[0] * known[1] * known[2] if len(known) == 3 else None)


def _over(top: Fraction, below: Fraction) -> Fraction | None:
    return top / below if below else None


# Plans.


def plans(db: Database, station: str) -> list[Plan]:
    """The plans of a station, in the order of writing. Raises SettingsError."""
    return [
        Plan(
            one["station"], date.fromisoformat(one["from"]), date.fromisoformat(one["to"]), tuple(one["weekdays"]),
            Fraction(one["busy_minutes"]), Fraction(one["piece_seconds"]), one["source"], one["unix_ms"], one["by"],
            one["entry"],
        )
        for one in _kept(db) if one["station"] == station
    ]  # fmt: skip


def _kept(db) -> list[dict]:
    row = db.execute("SELECT value FROM about WHERE name = ?", (NAME,)).fetchone()
    try:
        return list(json.loads(row[0])) if row else []
    except (ValueError, TypeError, RecursionError):
        raise SettingsError("the plans of stations cannot be read from the database: it is damaged") from None


def plan(
    db: Database, station: str, begin: date, end: date, weekdays: str, busy_minutes: str, piece_seconds: str,
    source: str,
) -> Plan:  # fmt: skip
    """Write a plan and its statement. A later plan of the same days takes the place of an earlier one. Raises
    SettingsError."""
    for name, number in (("--busy-minutes", busy_minutes), ("--piece-seconds", piece_seconds)):
        if not _NUMBER.fullmatch(number):
            raise SettingsError(f"{name} is a number such as 480 or 27.5, not {number!r:.40}")
    if Fraction(busy_minutes) > 1440:
        raise SettingsError("a day has 1440 minutes")
    if end < begin:
        raise SettingsError("--to is before --from")
    source = " ".join(source.split())
    if not 5 <= len(source) <= 200 or not source.isprintable():
        raise SettingsError("--source says in 5 to 200 characters where the two numbers are from")
    facts = {
        "station": station, "from": begin.isoformat(), "to": end.isoformat(), "weekdays": _weekdays(weekdays),
        "busy_minutes": busy_minutes, "piece_seconds": piece_seconds, "source": source,
    }  # fmt: skip
    with record.recording(db) as leaves:
        kept = _kept(db)
        now_ms, by = record.now_unix_ms(), whoami()
        before = kept[-1]["entry"] if kept else None
        told = {"name": "oee plan", "before": before and bytes.fromhex(before), "value": facts}
        entry = leaves.statement(statement.SETTING, told, by, now_ms)
        kept.append({**facts, "unix_ms": now_ms, "by": by, "entry": entry.hex()})
        db.execute(
            "INSERT INTO about VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (NAME, json.dumps(kept, ensure_ascii=True)),
        )
    return plans(db, station)[-1]


def _weekdays(words: str) -> list[int]:
    first, dash, last = words.lower().partition("-")
    if first not in _WEEKDAYS or (dash and last not in _WEEKDAYS):
        raise SettingsError(f"--weekdays are such as mon-sat or sun, not {words!r:.40}")
    low, high = _WEEKDAYS.index(first), _WEEKDAYS.index(last if dash else first)
    return list(range(low, high + 1)) if low <= high else [*range(low, 7), *range(high + 1)]


def of_day(found: Sequence[Plan], day: date) -> Plan | None:
    """The newest plan that covers a day."""
    return next((one for one in reversed(found) if one.covers(day)), None)


# A station in a period.


class Station(NamedTuple):
    """A station by gateway/name, with the jobs and the registers that were ever bound to it."""

    name: str
    gw: int
    jobs: list[Job]
    pairs: set[tuple[str, str]]


def station(floor: Floor, name: str) -> Station:
    """Raises SettingsError, which lists the stations that there are."""
    found: dict[str, Station] = {}
    for chain, told in zip(floor.chains, floor.told):
        for at, title in told.names.items():
            key = f"{chain.gateway}/{title}"
            one = found.setdefault(key, Station(key, chain.gw, [], set()))
            one.jobs.extend(job for job in told.jobs if job.station == at)
            one.pairs.update(told.binds.get(at, ()))
    if name not in found:
        raise SettingsError(f"there is no station {name!r}; there are {', '.join(sorted(found)) or 'none yet'}")
    return found[name]


def report(
    db: Database, floor: Floor, of: Station, written: Sequence[Plan], first: date, last: date, tz: ZoneInfo,
    now_ms: int,
) -> dict:  # fmt: skip
    """The figures of a station from the day `first` to the day `last`, as JSON. Raises SettingsError."""
    if last < first or (last - first).days >= SPAN_DAYS_MAX:
        raise SettingsError(f"a period has 1 to {SPAN_DAYS_MAX} days")
    begin, end = zone.midnight(first, tz), zone.midnight(last + timedelta(days=1), tz)
    days = [first + timedelta(days=i) for i in range((last - first).days + 1)]
    used = {day: of_day(written, day) for day in days}
    pbt = sum(
        (one.busy_minutes * 60 for day, one in used.items() if one and day.weekday() in one.weekdays), Fraction(0)
    )
    ended = [job for job in of.jobs if job.end_ms is not None and begin <= job.end_ms < end]
    apt, apt_from = _worked(db, of, ended, begin, min(end, now_ms))
    planned, produced, good, unknown = Fraction(0), 0, 0, 0
    for job in ended:
        made = _pieces(floor, job)
        pri = of_day(written, zone_day(job.end_ms, tz))
        if made is None or pri is None:
            unknown += 1
            continue
        produced, good = produced + made[0], good + made[1]
        planned += pri.piece_seconds * made[0]
    found = kpi(pbt, apt, planned, produced, good)
    documents = {one.entry: one.document() for one in used.values() if one is not None}
    return {
        "station": of.name, "from": first.isoformat(), "to": last.isoformat(), "zone": tz.key,
        "availability": _text(found.availability), "effectiveness": _text(found.effectiveness),
        "quality_ratio": _text(found.quality), "oee": _text(found.oee),
        "inputs": {
            "pbt_s": _input(pbt, "typed in", "the plans below"),
            "pri_pq_s": _input(planned, "typed in", "seconds a piece of the plans below, times the pieces"),
            "apt_s": _input(apt, *apt_from),
            "pq": _input(Fraction(produced), *_counted(ended)),
            "gq": _input(Fraction(good), *_counted(ended)),
        },
        "plans": list(documents.values()),
        "days": len(days), "days_planned": sum(one is not None for one in used.values()),
        "jobs": len(ended), "jobs_left_out": unknown, "states": _states(db, of, begin, min(end, now_ms)),
    }  # fmt: skip


def zone_day(ms: int | None, tz: ZoneInfo) -> date:
    from datetime import datetime

    return datetime.fromtimestamp((ms or 0) / 1000, tz).date()


def _text(value: Fraction | None) -> str | None:
    return None if value is None else text(value, 8)


def _input(value: Fraction, basis: str, source: str) -> dict:
    return {"value": text(value), "basis": basis, "source": source}


def _pieces(floor: Floor, job: Job) -> tuple[int, int] | None:
    """(produced, good) of a job. People enter good pieces and scrap; a machine counts whatever it makes."""
    scrap, counted = sum(job.scrap.values()), floor.pieces(job)
    if counted is None:
        return None
    return (counted, max(0, counted - scrap)) if job.counts == kinds.MACHINE else (counted + scrap, counted)


def _counted(ended: Sequence[Job]) -> tuple[str, str]:
    ways = {job.counts for job in ended}
    if not ways:
        return "measured", "no job ended in this time"
    words = {kinds.MACHINE: "the machine's counter, signed", kinds.HAND: "entries of people at the station, signed"}
    return ("measured" if ways == {kinds.MACHINE} else "entered"), " and ".join(words[way] for way in sorted(ways))


def _worked(db, of: Station, ended: Sequence[Job], begin: int, end: int) -> tuple[Fraction, tuple[str, str]]:
    """Actual production time in seconds, and where it is from."""
    book = Book(db)
    for instrument, quantity in sorted(of.pairs):
        row = (
            quantity == WORKING
            and db.execute(
                "SELECT series, scale FROM series WHERE gw = ? AND instrument = ? AND quantity = ?",
                (of.gw, instrument, quantity),
            ).fetchone()
        )
        if row and begin < end:
            counted = book.whole(row[0], begin, _whole(end)).energy()
            if counted is not None:
                value = Fraction(counted[0] + counted[1], 2) / Fraction(10) ** row[1]
                return value, ("measured", f"{instrument}.{quantity}, a signed register of the machine")
    spans = sorted((max(job.start_ms, begin), job.end_ms or begin) for job in ended)
    total, until = 0, begin
    for start, stop in spans:  # jobs at the same time count once
        total += max(0, stop - max(start, until))
        until = max(until, stop)
    estimated = any(job.estimated for job in ended)
    return Fraction(total, 1000), (
        "estimated" if estimated else "entered",
        "time from start to stop of the jobs, signed",
    )


def _whole(ms: int) -> int:
    return -(-ms // zone.PIECE_MS) * zone.PIECE_MS


def _states(db, of: Station, begin: int, end: int) -> list[dict]:
    """What the machines bound to the station did: {"instrument", "ms": state → time, "segments"}."""
    found, book = [], Book(db)
    for instrument in sorted({instrument for instrument, _ in of.pairs}):
        row = db.execute(
            "SELECT series FROM series WHERE gw = ? AND instrument = ? AND quantity = ?", (of.gw, instrument, STATE)
        ).fetchone()
        if row and begin < end:
            found.append({"instrument": instrument, **states.timeline(book, row[0], begin, end)})
    return found
