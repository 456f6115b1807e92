"""`parkgate meter-register`: which meter it is, who calibrated it, until when that holds, and how far it was off.

    parkgate meter-register add --data DIR --meter GATEWAY INSTRUMENT --serial 12345678 --accuracy-class 1 …
    parkgate meter-register list --data DIR                   every meter, with what is to be said of it today
    parkgate meter-register check --data DIR --from 2026-01-01 --to 2026-12-31
    parkgate meter-register show --data DIR --meter GATEWAY INSTRUMENT     every record, with its place in the log

Each record is a signed statement in the log and is never changed: to correct one, add another of the same serial number
and calibration. `check` names readings without a calibration that holds, and the months that a calibration with too
large an error touches. Errors are in percent of the reading. Works whether the hub runs or not.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
from datetime import date, datetime
from pathlib import Path

from host_tools.base import output
from host_tools.base.files import why
from host_tools.hub.park import zone
from host_tools.hub.park.metering import meters, register
from host_tools.hub.park.metering.meters import Meter
from host_tools.hub.stores.store import connect, existing
from host_tools.log.keys import LogError
from host_tools.log.log import Log
from parkgate.errors import SettingsError


def add_parser(subparsers) -> None:
    """Arguments of `parkgate meter-register`."""
    parser = subparsers.add_parser(
        "meter-register", help="say which meter it is and who calibrated it", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("action", choices=("add", "list", "check", "show"))
    parser.add_argument("--data", required=True, type=Path, metavar="DIR", help="data directory of the hub")
    parser.add_argument(
        "--meter", nargs=2, metavar=("GATEWAY", "INSTRUMENT"), help="the name or id of its gateway, its name there"
    )
    parser.add_argument("--from", dest="first", metavar="DAY", help="for list and check: first day (default: today)")
    parser.add_argument("--to", dest="last", metavar="DAY", help="for list and check: last day (default: today)")
    fields = parser.add_argument_group("for add")
    for name, words in register.FIELDS.items():
        if name not in register.HASHES:
            fields.add_argument(f"--{name.replace('_', '-')}", metavar="TEXT", help=words.replace("%", "%%"))
    fields.add_argument("--certificate-file", type=Path, metavar="FILE", help="its SHA-256 is written down")
    fields.add_argument("--photo-file", type=Path, metavar="FILE", help="its SHA-256 is written down")
    output.add_json(parser)


def run(args) -> int:
    """Raises SettingsError, StoreError, LogError."""
    if (args.action in ("add", "show")) != bool(args.meter):
        raise SettingsError("--meter GATEWAY INSTRUMENT names the meter, for add and show")
    fields = _fields(args)
    if fields and args.action != "add":
        raise SettingsError(f"{', '.join(fields)}: these are for add")
    with contextlib.closing(connect(existing(args.data), read_only=args.action != "add")) as db:
        if args.action == "add":
            return _add(args, db, fields)
        return _show(args, db) if args.action == "show" else _list(args, db)


def _fields(args) -> dict[str, str]:
    found = {name: getattr(args, name) for name in register.FIELDS if getattr(args, name, None) is not None}
    for name, path in (("certificate_sha256", args.certificate_file), ("photo_sha256", args.photo_file)):
        if path is not None:
            try:
                found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
            except OSError as error:
                raise SettingsError(f"cannot read {path}: {why(error)}") from None
    return found


def _add(args, db, fields) -> int:
    meter = meters.find_meter(db, *args.meter)
    made = register.add(db, meter, fields)
    line = f"{' '.join(args.meter)} is meter {made.fields['serial']}: written in the log, {made.entry[:16]}…"
    output.show(args, {"record": _record(made)}, [line])
    return 0


def _record(one: register.Record, leaf: int | None = None) -> dict:
    found = {"unix_ms": one.unix_ms, "by": one.by, "place": one.place, "entry": one.entry, "fields": one.fields}
    return found if leaf is None else {**found, "leaf": leaf}


def _show(args, db) -> int:
    meter = meters.find_meter(db, *args.meter)
    mine = register.of(register.load(db), meter, register.place_of(db, meter.gateway))
    found, lines = [], []
    with Log.open(args.data) as log:
        for one in mine:
            leaf = log.leaf_of_entry(bytes.fromhex(one.entry))
            if leaf is None:
                raise LogError(f"the record of {one.fields['serial']} is not in the log: the database was changed")
            found.append(_record(one, leaf))
            lines.append(f"leaf {leaf}, {one.entry[:16]}…, by {one.by or 'the hub'}")
            lines += [f"  {name}: {text}" for name, text in one.fields.items()]
    output.show(args, {"records": found}, lines or ["the register has no record of this meter"])
    return 0


def _list(args, db) -> int:
    row = db.execute("SELECT value FROM about WHERE name = 'setting zone'").fetchone()
    today = datetime.now(zone.zone(row[0] if row else zone.local_zone_name())).date()
    first, last = _day(args.first, today), _day(args.last, today)
    if last < first:
        raise SettingsError("--to is before --from")
    records, found, lines = register.load(db), [], []
    for each in meters.listed(db):
        one = register.document(db, Meter(each["id"], each["instrument"]), first, last, records)
        found.append({"gateway": each["gateway"], "id": each["id"], **one})
        due = f", due on {one['due_on']}" if one["due_on"] else ""
        lines.append(f"{each['gateway']}: {each['instrument']}: {one['serial'] or 'no record'}{due}")
        for remark in one["remarks"]:
            touched = f" ({', '.join(remark['months'])})" if remark["kind"] == register.AS_FOUND else ""
            lines.append(f"  {remark['kind']}: {remark['text']}{touched}")
    remarks = sum(len(one["remarks"]) for one in found)
    document = {"from": first.isoformat(), "to": last.isoformat(), "meters": found, "remarks": remarks}
    output.show(args, document, lines or ["no energy meter has sent readings yet"])
    return 1 if args.action == "check" and remarks else 0


def _day(text: str | None, today: date) -> date:
    if text is None:
        return today
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise SettingsError(f"{text!r:.40} is not a day: it looks like 2026-11-28") from None
