"""`parkgate oee`: overall equipment effectiveness of a station after ISO 22400, with the source of each number.

    parkgate oee plan hall-3/saw --data DIR --from 2026-03-01 --to 2026-12-31 --weekdays mon-sat \\
        --busy-minutes 480 --piece-seconds 27.5 --source "work study of 2026-02, sheet 4"
    parkgate oee report hall-3/saw --data DIR --from 2026-03-01 --to 2026-03-31

Planned busy time and planned time a piece are typed in: they become a signed statement in the log, with who wrote them.
Production time is the machine's signed run-time register where the station has one, else the time of the jobs. Pieces
are those of jobs that ended in the period.
"""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

from host_tools.base import output
from host_tools.evidence import oee
from host_tools.hub.park import zone
from host_tools.hub.production.floor import Floor
from host_tools.hub.stores.store import connect, existing
from parkgate.errors import SettingsError


def add_parser(subparsers) -> None:
    """Arguments of `parkgate oee`."""
    parser = subparsers.add_parser(
        "oee", help="overall equipment effectiveness of a station", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("action", choices=("plan", "report"))
    parser.add_argument("station", metavar="GATEWAY/STATION")
    parser.add_argument("--data", required=True, type=Path, metavar="DIR", help="data directory of the hub")
    parser.add_argument("--from", dest="first", required=True, metavar="DAY", help="first day, such as 2026-03-01")
    parser.add_argument("--to", dest="last", required=True, metavar="DAY", help="last day")
    parser.add_argument("--weekdays", default="mon-sat", metavar="DAYS", help="for plan: such as mon-fri")
    parser.add_argument("--busy-minutes", metavar="N", help="for plan: planned busy time of such a day")
    parser.add_argument("--piece-seconds", metavar="N", help="for plan: planned run time of a piece")
    parser.add_argument("--source", metavar="TEXT", help="for plan: where these two numbers are from")
    output.add_json(parser)


def run(args) -> int:
    """Raises SettingsError, StoreError, LogError."""
    try:
        first, last = date.fromisoformat(args.first), date.fromisoformat(args.last)
    except ValueError:
        raise SettingsError("--from and --to are days such as 2026-03-01") from None
    planned = args.busy_minutes, args.piece_seconds, args.source
    if (args.action == "plan") != all(planned) or (args.action == "report" and any(planned)):
        raise SettingsError("--busy-minutes, --piece-seconds and --source are for plan, and it needs all of them")
    with contextlib.closing(connect(existing(args.data), read_only=args.action == "report")) as db:
        floor = Floor(db)
        of = oee.station(floor, args.station)
        if args.action == "plan":
            made = oee.plan(db, of.name, first, last, args.weekdays, *planned).document()
            output.show(args, {"plan": made}, [f"{of.name}: written in the log, {made['entry'][:16]}…"])
            return 0
        row = db.execute("SELECT value FROM about WHERE name = 'setting zone'").fetchone()
        tz = zone.zone(row[0] if row else zone.local_zone_name())
        now_ms = time.time_ns() // 1_000_000
        found = oee.report(db, floor, of, oee.plans(db, of.name), first, last, tz, now_ms)
    output.show(args, found, _lines(found))
    return 0


def _lines(found: dict) -> Iterator[str]:
    yield f"{found['station']}, {found['from']} to {found['to']}"
    for name in ("availability", "effectiveness", "quality_ratio", "oee"):
        yield f"  {name.replace('_', ' '):16} {found[name] or 'not known: its denominator is 0'}"
    for name, one in found["inputs"].items():
        yield f"  {name:9} {one['value']}, {one['basis']}: {one['source']}"
    for one in found["plans"]:
        planned = f"{one['busy_minutes']} minutes a day, {one['piece_seconds']} s a piece"
        yield f"  plan from {one['from']} to {one['to']}: {planned}; typed in by {one['by']}, from: {one['source']}"
    if found["jobs_left_out"]:
        yield f"  {found['jobs_left_out']} of {found['jobs']} jobs are left out: no count of theirs or no plan is known"
    for one in found["states"]:
        times = ", ".join(f"{state} {ms // 60_000} min" for state, ms in sorted(one["ms"].items()))
        due = "" if one["made_percent"] == 100 else f"being added up, {one['made_percent']} % done"
        yield f"  {one['instrument']}: {times or due or 'too long a time for its states'}"
