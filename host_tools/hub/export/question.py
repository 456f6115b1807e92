"""What is to be exported: which gateways and channels, from when to when, in which form. And the answer, in pieces.

Moments are written as a person has them: a day or a minute in the park's time zone (2026-11-01, 2026-11-01T08:30), a
moment with its offset (2026-11-01T08:30:00+07:00, …Z), or Unix time in ms.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timezone
from typing import NamedTuple
from zoneinfo import ZoneInfo

from host_tools.hub.export import csv_text, parquet, rows, senml, time_tables
from host_tools.hub.export.rows import Choice, Tally
from host_tools.hub.park import zone
from host_tools.log.database.seam import Database
from parkgate.errors import SettingsError

FORMATS = ("senml-json", "senml-cbor", "csv", "parquet", *time_tables.FORMATS)
MEDIA_TYPES = {"senml-json": "application/senml+json", "senml-cbor": "application/senml+cbor"}
MEDIA_TYPES["parquet"] = parquet.MEDIA_TYPE
CSV_MEDIA_TYPE = "text/csv; charset=utf-8"
UNIX_MS_LEAST = 100_000_000_000  # 1973: a number below it is a mistake, such as a year or seconds
UNIX_MS_MOST = 1 << 47


class Question(NamedTuple):
    """One export. `zone` is the park's; `excel` and `decimal_comma` are for CSV that a spreadsheet opens."""

    form: str
    choice: Choice
    zone: ZoneInfo
    excel: bool = False
    decimal_comma: bool = False

    def media_type(self) -> str:
        """What the answer is, as HTTP names it."""
        return MEDIA_TYPES.get(self.form, CSV_MEDIA_TYPE)


def ask(
    db: Database, words: Mapping[str, str | None], names: Mapping[str, Sequence[str]], flags: Sequence[str]
) -> Question:
    """The question that a person put: `words` has format, from, to, day, month, zone (those that were given), `names`
    gateway, instrument, quantity, place; `flags` some of undated, excel, decimal-comma. Raises SettingsError."""
    form = words.get("format") or ("csv" if "excel" in flags else None)
    if form not in FORMATS:
        raise SettingsError(f"the format is one of {', '.join(FORMATS)}")
    if "decimal-comma" in flags and "excel" not in flags:
        raise SettingsError("a decimal comma is for spreadsheets: it needs excel")
    if "excel" in flags and form in MEDIA_TYPES:
        raise SettingsError(f"excel is for CSV, and {form} is none")
    if form == "parquet":
        parquet.check()
    tz = park_zone(db, words.get("zone"))
    span = span_of(words, tz)
    undated = "undated" in flags
    if undated and (span != (None, None) or form in MEDIA_TYPES or form in time_tables.FORMATS):
        raise SettingsError("undated is for CSV of readings, without a span of time: what it writes has no date")
    if form in time_tables.FORMATS and any(names.get(name) for name in ("instrument", "quantity", "place")):
        raise SettingsError(f"{form} is of whole gateways: it takes no instrument, quantity or place")
    gateways, places = rows.gateways(db, names.get("gateway") or (), names.get("place") or ())
    choice = Choice(
        gateways,
        *span,
        undated,
        frozenset(names.get("instrument") or ()),
        frozenset(names.get("quantity") or ()),
        places,
    )
    return Question(form, choice, tz, "excel" in flags, "decimal-comma" in flags)


def answer(db: Database, question: Question, tally: Tally) -> Iterator[bytes]:
    """The export in pieces of some tens of kilobytes. What was written and what was left out is counted in `tally`."""
    choice = question.choice
    style = csv_text.Style(question.zone, question.decimal_comma) if question.excel else None
    if question.form in time_tables.FORMATS:
        return time_tables.answer(question.form, db, choice, tally, style)
    parts = rows.read(db, choice, tally)
    if question.form == "csv":
        return csv_text.answer(parts, tally, style)
    if question.form == "parquet":
        return parquet.answer(parts, tally)
    return senml.answer(question.form, parts, tally)


def park_zone(db: Database, name: str | None = None) -> ZoneInfo:
    """The zone of this name, else the park's (`parkgate hub --zone`), else this computer's. Raises SettingsError."""
    if name is None:
        return zone.zone(db.about("setting zone") or zone.local_zone_name())
    return zone.zone(name)


def span_of(words: Mapping[str, str | None], tz: ZoneInfo) -> tuple[int | None, int | None]:
    """(from, to) in Unix ms, `to` not included; None where it is open. Raises SettingsError."""
    given = {name: words[name] for name in ("from", "to", "day", "month") if words.get(name) is not None}
    if len(given) > 1 and given.keys() != {"from", "to"}:
        raise SettingsError("give either a day, or a month, or from and to")
    for unit in ("day", "month"):
        if unit in given:
            begin = _day(str(given[unit]), unit)
            if begin is None:
                example = "2026-11-01" if unit == "day" else "2026-11"
                raise SettingsError(f"{unit} {given[unit]!r}: it is written {example}")
            return next(zone.spans(unit, *_moments(begin, tz), tz))
    found = [moment(name, given.get(name), tz) for name in ("from", "to")]
    if found[0] is not None and found[1] is not None and found[0] >= found[1]:
        raise SettingsError("to must be later than from; it is the first moment that is left out")
    return found[0], found[1]


def _day(text: str, unit: str = "day") -> date | None:
    if unit == "month":
        text += "-01"
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII):
        return None
    with contextlib.suppress(ValueError):
        found = date.fromisoformat(text)
        return found if 1970 < found.year < 3000 else None
    return None


def _moments(day: date, tz: ZoneInfo) -> tuple[int, int]:
    """A moment of this local day, and one behind it."""
    noon_ms = int(datetime(day.year, day.month, day.day, 12, tzinfo=tz).timestamp()) * 1000
    return noon_ms, noon_ms + 1


def moment(name: str, text: str | None, tz: ZoneInfo) -> int | None:
    """A moment as a person writes it, in Unix ms; None for None. Raises SettingsError."""
    if text is None:
        return None
    if re.fullmatch(r"\d+", text, re.ASCII):
        if not UNIX_MS_LEAST <= int(text[:20]) < UNIX_MS_MOST:
            raise SettingsError(f"{name} {text}: as Unix time in ms it is out of range; a day is written 2026-11-01")
        return int(text)
    day = _day(text)
    if day is not None:
        return zone.begin("day", _moments(day, tz)[0], tz)
    try:
        if not re.match(r"\d{4}-\d\d-\d\dT", text, re.ASCII):
            raise ValueError
        found = datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith("Z") else text)
        if found.tzinfo is None:
            found = _local(name, found, tz)
        moment_ms = int((found - _EPOCH).total_seconds() * 1000)
    except (ValueError, OverflowError):
        raise SettingsError(
            f"{name} {text!r}: a day is written 2026-11-01, a moment 2026-11-01T08:30 (in the park's time zone) or "
            "2026-11-01T08:30:00+07:00, or it is Unix time in ms"
        ) from None
    if not UNIX_MS_LEAST <= moment_ms < UNIX_MS_MOST:
        raise SettingsError(f"{name} {text}: there are no readings of that time")
    return moment_ms


_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def _local(name: str, wall: datetime, tz: ZoneInfo) -> datetime:
    """A local time that is there exactly once. Raises SettingsError."""
    first, second = wall.replace(tzinfo=tz, fold=0), wall.replace(tzinfo=tz, fold=1)
    if first.utcoffset() == second.utcoffset():
        return first
    again = first.astimezone(timezone.utc).astimezone(tz).replace(tzinfo=None)
    how = "twice" if again == wall else "not at all"
    raise SettingsError(f"{name} {wall.isoformat()}: that day has this time {how} in {tz.key}; add its offset from UTC")
