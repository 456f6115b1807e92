"""The meter register: which meter stands where, who calibrated it, until when that holds, and how far it was off.

Each record is a signed statement in the hub's log, never changed. A later record of the same meter and calibration
takes the place of an earlier one; both stay in the log. A record belongs to a place and the name of the meter there, so
it outlives the gateway; without a place it belongs to the gateway.

What a register says of readings (`remarks`), from the first day of a span to its last:

not registered    no record of this meter is in force
not calibrated    no calibration was made yet
past due          the calibration in force ran out before
as found          the next calibration found an error above the limit of the meter's class: all months since the
                  calibration before it are touched

Errors and uncertainties are in percent of the reading, as decimals in text; the uncertainty is the expanded one
(k = 2). Limits of classes are those at reference conditions: IEC 62053-21, -22 and -24 (class n: n %), EN 50470-3
(A 2 %, B 1 %, C 0.5 %).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import date, timedelta
from fractions import Fraction
from typing import NamedTuple

from host_tools.hub.park.metering.meters import Meter
from host_tools.hub.stores import places
from host_tools.hub.stores.gateways import whoami
from host_tools.log import record
from host_tools.log.database.seam import Database
from parkgate.errors import SettingsError
from parkgate.log import statement

NAME = "setting meter register"  # in the table `about`
NOT_REGISTERED, NOT_CALIBRATED, PAST_DUE, AS_FOUND = "not registered", "not calibrated", "past due", "as found"
TEXTS = {
    "serial": "serial number on the meter's plate",
    "make": "who made it",
    "model": "its type",
    "medium": "what it measures, such as electricity or water",
    "accuracy_class": "class on the plate, such as 1, 0.5S or B",
    "ct_ratio": "current transformers, such as 200/5",
    "ct_class": "their class",
    "vt_ratio": "voltage transformers, such as 11000/110",
    "vt_class": "their class",
    "pulse_constant": "such as 1000 imp/kWh",
    "register_unit": "unit of its display",
    "register_digits": "digits of its display",
    "seal": "number of the seal",
    "installed_by": "who installed it",
    "certificate": "number of the calibration's certificate",
    "laboratory": "who calibrated it",
    "accreditation": "the laboratory's accreditation number",
    "note": "anything else",
}
DATES = {
    "installed_on": "first day on which it measured here",
    "calibrated_on": "day of the calibration",
    "due_on": "last day on which the calibration holds",
}
PERCENTS = {
    "as_found": "error before it was adjusted, in percent, such as -0.35",
    "as_left": "error afterwards, in percent",
    "uncertainty": "expanded uncertainty (k = 2) of these errors, in percent",
    "limit": "largest error allowed, in percent, where the class does not say it",
}
HASHES = {"certificate_sha256": "SHA-256 of the certificate's file", "photo_sha256": "SHA-256 of a photo of the plate"}
FIELDS = {**TEXTS, **DATES, **PERCENTS, **HASHES}
TEXT_MAX = 80
RECORDS_MAX = 10_000
_MID = {"A": Fraction(2), "B": Fraction(1), "C": Fraction(1, 2)}
_PERCENT = re.compile(r"[+-]?\d{1,3}(\.\d{1,6})?")
_CLASS = re.compile(r"(\d(?:\.\d\d?)?)S?")


class Record(NamedTuple):
    """One record: of which meter, when it was written (Unix time in ms), by whom, the hash of its statement, its
    fields as text."""

    gateway: str
    place: str | None
    instrument: str
    unix_ms: int
    by: str | None
    entry: str
    fields: dict[str, str]

    def day(self, name: str) -> date | None:
        return date.fromisoformat(self.fields[name]) if name in self.fields else None


class Remark(NamedTuple):
    """What is to be said of a meter's readings from one day to another; `begin` None: nobody knows since when."""

    kind: str
    begin: date | None
    end: date
    text: str


def checked(fields: Mapping[str, str]) -> dict[str, str]:
    """The fields of a record as they are kept. Raises SettingsError, which names the field."""
    found = {}
    for name, text in fields.items():
        if name not in FIELDS:
            raise SettingsError(f"the meter register has no field {name!r}; it has {', '.join(FIELDS)}")
        found[name] = _checked(name, " ".join(str(text).split()))
    if not found.get("serial"):
        raise SettingsError("a record needs the serial number on the meter's plate: --serial")
    days = [(name, found[name]) for name in ("installed_on", "calibrated_on", "due_on") if name in found]
    if "due_on" in found and "calibrated_on" not in found:
        raise SettingsError("due_on says until when a calibration holds: give calibrated_on too")
    if dict(days).get("due_on", "9") < dict(days).get("calibrated_on", ""):
        raise SettingsError("due_on is before calibrated_on")
    if ("as_found" in found or "as_left" in found) and "calibrated_on" not in found:
        raise SettingsError("an error was found at a calibration: give calibrated_on too")
    if "as_found" in found and limit(found) is None:
        raise SettingsError("the class does not say which error is allowed: give the limit in percent (--limit)")
    return found


def _checked(name: str, text: str) -> str:
    if name in DATES:
        try:
            return date.fromisoformat(text).isoformat()
        except ValueError:
            raise SettingsError(f"{name} is a day such as 2026-11-28, not {text!r:.40}") from None
    if name in PERCENTS:
        if not _PERCENT.fullmatch(text) or (name in ("uncertainty", "limit") and text.startswith("-")):
            raise SettingsError(f"{name} is a percentage such as 0.35, not {text!r:.40}")
        return text.removeprefix("+")
    if name in HASHES:
        if not re.fullmatch(r"[0-9a-f]{64}", text.lower()):
            raise SettingsError(f"{name} is 64 hexadecimal digits, not {text!r:.80}")
        return text.lower()
    if not 0 < len(text) <= TEXT_MAX or not text.isprintable():
        raise SettingsError(f"{name} has 1 to {TEXT_MAX} characters")
    return text


def limit(fields: Mapping[str, str]) -> Fraction | None:
    """The largest error that is allowed, in percent; None where the record does not say it."""
    if "limit" in fields:
        return Fraction(fields["limit"])
    found = fields.get("accuracy_class", "").upper().removeprefix("CLASS").removeprefix("CL").strip(" .")
    if found in _MID:
        return _MID[found]
    match = _CLASS.fullmatch(found)
    return Fraction(match[1]) if match else None


def load(db: Database) -> list[Record]:
    """Every record, in the order of writing. Raises SettingsError when what is stored cannot be read."""
    row = db.execute("SELECT value FROM about WHERE name = ?", (NAME,)).fetchone()
    try:
        return [Record(*item) for item in json.loads(row[0])] if row else []
    except (ValueError, TypeError, RecursionError):
        raise SettingsError("the meter register cannot be read from the database: it is damaged") from None


def add(db: Database, meter: Meter, fields: Mapping[str, str]) -> Record:
    """Write a record, with its statement in the log. Raises SettingsError; then nothing has changed."""
    found = checked(fields)
    with record.recording(db) as leaves:
        records = load(db)
        if len(records) >= RECORDS_MAX:
            raise SettingsError(f"the meter register has {RECORDS_MAX} records already")
        place = place_of(db, meter.gateway)
        before = of(records, meter, place)
        now_ms, by = record.now_unix_ms(), whoami()
        facts = {
            "gateway": bytes.fromhex(meter.gateway), "place": place and bytes.fromhex(place),
            "instrument": meter.instrument, "prior": bytes.fromhex(before[-1].entry) if before else None,
            "record": found,
        }  # fmt: skip
        entry = leaves.statement(statement.METER_REGISTERED, facts, by, now_ms)
        made = Record(meter.gateway, place, meter.instrument, now_ms, by, entry.hex(), found)
        text = json.dumps([*records, made], ensure_ascii=True)
        db.execute(
            "INSERT INTO about VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", (NAME, text)
        )
    return made


def place_of(db: Database, gateway: str) -> str | None:
    """The id of the place where the gateway with this id stands, or stood last; None where it never did."""
    row = db.execute("SELECT gw FROM gateway WHERE kid = ?", (bytes.fromhex(gateway),)).fetchone()
    if row is None:
        return None
    now = places.of_gateways(db).get(row[0])
    if now is not None:
        return now[0].hex()
    last = db.execute(
        "SELECT id FROM place_stay JOIN place USING (pl) WHERE gw = ? ORDER BY from_ms DESC LIMIT 1", row
    ).fetchone()
    return bytes(last[0]).hex() if last else None


def of(records: list[Record], meter: Meter, place: str | None) -> list[Record]:
    """The records of one meter: of its name at its place, or at its gateway."""
    return [
        one for one in records
        if one.instrument == meter.instrument
        and (one.gateway == meter.gateway or (place is not None and one.place == place))
    ]  # fmt: skip


def in_force(records: list[Record]) -> list[Record]:
    """Of one meter's records those that no later one replaces, in the order of their days."""
    newest: dict[tuple, Record] = {}
    for one in records:
        newest[one.fields["serial"], one.fields.get("calibrated_on")] = one
    return sorted(newest.values(), key=lambda one: (_since(one), one.day("calibrated_on") or date.min, one.unix_ms))


def _since(one: Record) -> date:
    """The first day on which a record holds. A calibration in the laboratory before the meter was installed holds from
    the installation on."""
    return max(one.day("calibrated_on") or date.min, one.day("installed_on") or date.min)


def at(records: list[Record], day: date) -> Record | None:
    """The record that holds on a day, None where none does. `records` are those in force."""
    found = None
    for one in records:
        if _since(one) <= day:
            found = one
    return found


def remarks(records: list[Record], first: date, last: date) -> list[Remark]:
    """What is to be said of a meter's readings from the day `first` to the day `last`. `records` are all of it."""
    known = in_force(records)
    found: list[Remark] = []
    for begin, end, one in _stretches(known, first, last):
        if one is None:
            text = "it is not in the meter register" if not known else "the meter register has no record of these days"
            found.append(Remark(NOT_REGISTERED, begin, end, text))
        elif one.day("calibrated_on") is None:
            text = f"meter {one.fields['serial']}: no calibration is recorded"
            found.append(Remark(NOT_CALIBRATED, begin, end, text))
        else:
            due = one.day("due_on")
            if due is not None and due < end:
                late = max(begin, due + timedelta(days=1))
                done = one.fields["calibrated_on"]
                text = f"meter {one.fields['serial']}: its calibration of {done} was due on {due}"
                found.append(Remark(PAST_DUE, late, end, text))
    return found + [remark for remark in as_found(known) if remark.end >= first and (remark.begin or first) <= last]


def _stretches(known: list[Record], first: date, last: date):
    """(first day, last day, the record that holds) of the parts of a span."""
    edges = {first, *map(_since, known)}
    days = sorted(day for day in edges if first <= day <= last)
    for begin, after in zip(days, [*days[1:], last + timedelta(days=1)]):
        yield begin, after - timedelta(days=1), at(known, begin)


def as_found(known: list[Record]) -> list[Remark]:
    """A remark for each calibration that found an error above the limit. `known` are the records in force."""
    found = []
    for i, one in enumerate(known):
        allowed = limit(one.fields)
        if "as_found" not in one.fields or allowed is None or abs(Fraction(one.fields["as_found"])) <= allowed:
            continue
        serial = one.fields["serial"]
        before = [other for other in known[:i] if other.fields["serial"] == serial and other.day("calibrated_on")]
        end = one.day("calibrated_on")
        assert end is not None  # `checked` wants it beside as_found
        begin = before[-1].day("calibrated_on") if before else one.day("installed_on")
        begin = max(begin, one.day("installed_on") or date.min) if begin else None
        since = "the beginning" if begin is None else begin.isoformat()
        text = (
            f"meter {serial}: the calibration of {end} found an error of {one.fields['as_found']} %, {_text(allowed)} %"
            f" is allowed; readings since {since} are touched"
        )
        found.append(Remark(AS_FOUND, begin, end, text))
    return found


def _text(value: Fraction) -> str:
    return f"{float(value):g}"


def months(remark: Remark, first: date, last: date) -> list[str]:
    """The months that a remark touches, within a span: "2026-11"."""
    day, end = max(remark.begin or first, first).replace(day=1), min(remark.end, last)
    found = []
    while day <= end:
        found.append(f"{day:%Y-%m}")
        day = (day + timedelta(days=31)).replace(day=1)
    return found


def document(db: Database, meter: Meter, first: date, last: date, records=None) -> dict:
    """What is known of a meter for readings of these days: {"instrument", "serial", "class", "calibrated_on", "due_on",
    "remarks": [{"kind", "from", "to", "months", "text"}]}."""
    mine = of(load(db) if records is None else records, meter, place_of(db, meter.gateway))
    one = at(in_force(mine), last)
    fields = one.fields if one else {}
    return {
        "instrument": meter.instrument, "serial": fields.get("serial"), "class": fields.get("accuracy_class"),
        "calibrated_on": fields.get("calibrated_on"), "due_on": fields.get("due_on"),
        "remarks": [
            {"kind": each.kind, "from": each.begin and each.begin.isoformat(), "to": each.end.isoformat(),
             "months": months(each, first, last), "text": each.text}
            for each in remarks(mine, first, last)
        ],
    }  # fmt: skip
