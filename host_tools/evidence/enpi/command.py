"""`parkgate enpi`: energy baselines and performance indicators of a place, after ISO 50001 and ISO 50006.

    parkgate enpi baseline NAME --data DIR --place "Hall 3" --from 2025-01-01 --to 2025-12-31 --variables pieces.csv
    parkgate enpi report NAME --data DIR --from 2026-01-01 --to 2026-06-30 --variables pieces.csv
    parkgate enpi adjust NAME --data DIR --from 2026-03-01 --to 2026-12-31 --kwh 4200 --reason "a second shift"
    parkgate enpi show NAME --data DIR              its model, its rules and its adjustments
    parkgate enpi list --data DIR

The variables file is CSV: a column `date` with days or months, and one column a variable, such as `pieces`; `:mean`
behind a name averages it over a month instead of adding it up. A baseline never changes: its file is named by its hash,
and a signed statement in the log names that. What has changed since is an adjustment with a reason.

Energy is that of the place's meters which stand behind no other one there. No verdict is given where less than 90 % of
the days are known, more than 5 % of the energy is imputed, or a rule fails (exit code 1).
"""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

from host_tools.base import output
from host_tools.evidence.enpi import baselines, data, model, report, rules
from host_tools.evidence.enpi.data import Energy
from host_tools.hub.park import zone
from host_tools.hub.park.metering import register
from host_tools.hub.park.metering.meters import Meter
from host_tools.hub.stores import places
from host_tools.hub.stores.store import connect, existing
from parkgate.errors import SettingsError

_NAMED = {"baseline": True, "report": True, "adjust": True, "show": True, "list": False}


def add_parser(subparsers) -> None:
    """Arguments of `parkgate enpi`."""
    parser = subparsers.add_parser(
        "enpi", help="energy baselines and performance indicators", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("action", choices=tuple(_NAMED))
    parser.add_argument("name", nargs="?", metavar="NAME", help="of the baseline")
    parser.add_argument("--data", required=True, type=Path, metavar="DIR", help="data directory of the hub")
    parser.add_argument("--place", metavar="PLACE", help="for baseline: its name or id")
    parser.add_argument("--from", dest="first", metavar="DAY", help="first day, such as 2026-01-01")
    parser.add_argument("--to", dest="last", metavar="DAY", help="last day")
    parser.add_argument("--unit", choices=data.UNITS, default="month", help="for baseline: what a point is")
    parser.add_argument("--variables", type=Path, metavar="FILE", help="relevant variables, as CSV")
    parser.add_argument("--no-intercept", action="store_true", help="for baseline: nothing is used where all are 0")
    parser.add_argument("--kwh", metavar="KWH", help="for adjust: how much more is to be expected; less with a minus")
    parser.add_argument("--reason", metavar="TEXT", help="for adjust: what has changed")
    output.add_json(parser)


def run(args) -> int:
    """Raises SettingsError, StoreError, LogError, RegressionError."""
    if _NAMED[args.action] != bool(args.name):
        raise SettingsError(
            f"enpi {args.action} takes {'the name of a baseline' if _NAMED[args.action] else 'no name'}"
        )
    writes = args.action in ("baseline", "adjust")
    with contextlib.closing(connect(existing(args.data), read_only=not writes)) as db:
        return {"baseline": _baseline, "report": _report, "adjust": _adjust, "show": _show, "list": _list}[args.action](
            args, db
        )


def _span(args) -> tuple[date, date]:
    if not args.first or not args.last:
        raise SettingsError(f"enpi {args.action} needs --from and --to")
    try:
        return date.fromisoformat(args.first), date.fromisoformat(args.last)
    except ValueError:
        raise SettingsError("--from and --to are days such as 2026-01-01") from None


def _ask(args, db, place, unit, variables) -> tuple[Energy, list, list, dict]:
    """(energy, points, records of each meter, the meters' uncertainty)."""
    first, last = _span(args)
    row = db.execute("SELECT value FROM about WHERE name = 'setting zone'").fetchone()
    tz = zone.zone(row[0] if row else zone.local_zone_name())
    found = data.energy(db, place, unit, first, last, tz, time.time_ns() // 1_000_000)
    kept = register.load(db)
    gateway = place.gw and db.execute("SELECT kid FROM gateway WHERE gw = ?", (place.gw,)).fetchone()[0].hex()
    records = [register.of(kept, Meter(gateway or "", name), place.id.hex()) for name in found.instruments]
    return found, data.points(found, variables), records, report.meter(records, first, last)


def _baseline(args, db) -> int:
    if not args.place:
        raise SettingsError("enpi baseline: --place names the place")
    place, variables = places.find(db, args.place), args.variables and data.read_variables(args.variables)
    found, points, _, meter = _ask(args, db, place, args.unit, variables)
    names = variables.names if variables else []
    made = model.fitted(points, not args.no_intercept)
    verdicts = [
        rules.coverage(found.days, found.known), rules.imputed(found.day_points),
        *rules.of_model(made, points, names),
    ]  # fmt: skip
    content = {
        "form": baselines.FORM, "name": args.name, "place": {"id": place.id.hex(), "name": place.name},
        "from": args.first, "to": args.last, "unit": args.unit, "intercept": not args.no_intercept,
        "instruments": found.instruments,
        "variables": [
            {"name": name, "added_up": not mean, "source": variables.source, "sha256": variables.sha256}
            for name, mean in zip(names, variables.means)
        ] if variables else [],
        "points": [baselines.point(one) for one in points], "days": found.days, "days_known": found.known,
        "meter": {"serials": meter["serials"]}, "model": model.document(made, points, names),
        "rules": [one.document() for one in verdicts],
    }  # fmt: skip
    kept = baselines.put(db, args.data, args.name, place.id, content)
    failed = rules.failed(verdicts)
    output.show(args, {**_about(kept), "content": content, "failed": failed}, _model_lines(content))
    return 1 if failed else 0


def _about(one: baselines.Baseline) -> dict:
    return {key: getattr(one, key) for key in ("name", "sha256", "unix_ms", "by", "entry")}


def _report(args, db) -> int:
    baseline = baselines.load(db, args.data, args.name)
    wanted = [one["name"] for one in baseline.content["variables"]]
    variables = args.variables and data.read_variables(args.variables)
    if wanted != (variables.names if variables else []):
        raise SettingsError(
            f"the baseline's variables are {', '.join(wanted) or 'none'}: --variables with these columns"
        )
    place = places.find(db, baseline.content["place"]["id"])
    found, points, _, meter = _ask(args, db, place, baseline.content["unit"], variables)
    if found.instruments != baseline.content["instruments"]:
        raise SettingsError(
            f"the baseline is of the meters {', '.join(baseline.content['instruments'])}, and this period of"
            f" {', '.join(found.instruments)}: a new baseline is needed"
        )
    first, last = _span(args)
    made = report.document(baseline, baselines.adjustments(db, baseline), found, points, meter, first, last)
    if variables:
        made["variables"] = [{"name": n, "source": variables.source, "sha256": variables.sha256} for n in wanted]
    output.show(args, made, _report_lines(made))
    return 1 if made["verdict"] == report.NO_VERDICT else 0


def _adjust(args, db) -> int:
    if not args.kwh or not args.reason:
        raise SettingsError("enpi adjust needs --kwh and --reason")
    baseline = baselines.load(db, args.data, args.name)
    made = baselines.adjust(db, baseline, *_span(args), args.kwh, args.reason)
    line = f"{made.kwh} kWh from {made.begin} to {made.end}: {made.reason}; written in the log, {made.entry[:16]}…"
    output.show(args, {"baseline": _about(baseline), "adjustment": made.document()}, [line])
    return 0


def _show(args, db) -> int:
    baseline = baselines.load(db, args.data, args.name)
    adjusted = [one.document() for one in baselines.adjustments(db, baseline)]
    lines = [*_model_lines(baseline.content), *_adjustment_lines(adjusted)]
    output.show(args, {**_about(baseline), "content": baseline.content, "adjustments": adjusted}, lines)
    return 0


def _list(args, db) -> int:
    found = baselines.listed(db)
    lines = [f"{one['name']:24} {one['sha256'][:16]}…  by {one['by'] or 'the hub'}" for one in found]
    output.show(args, {"baselines": found}, lines or ["there is no baseline yet"])
    return 0


def _model_lines(content: dict) -> Iterator[str]:
    made = content["model"]
    of = f"{made['points']} points ({content['unit']})"
    yield f"{content['place']['name']}, {content['from']} to {content['to']}: {of}"
    for one in made["coefficients"]:
        yield f"  {one['name']:20} {_short(one['value'])} ± {_short(one['standard_error'])}   p {_short(one['p'])}"
    yield from _rule_lines(content["rules"])


def _rule_lines(found: list[dict]) -> Iterator[str]:
    for one in found:
        value = "nothing" if one["value"] is None else _short(one["value"])
        yield f"  {one['verdict']:5} {one['rule']:20} {value}; {one['limit']} ({one['source']})"


def _adjustment_lines(found: list[dict]) -> Iterator[str]:
    for one in found:
        yield f"  adjusted by {one['kwh']} kWh from {one['from']} to {one['to']}: {one['reason']} ({one['by']})"


def _report_lines(made: dict) -> Iterator[str]:
    unsure = made["uncertainty"]
    yield f"{made['from']} to {made['to']}: {made['verdict']}"
    actual, expected = _short(made["actual_kwh"]), _short(made["expected_kwh"])
    yield f"  actual {actual} kWh, expected {expected} kWh, EnPI {_short(made['enpi'])}"
    yield f"  difference {_short(made['difference_kwh'])} ± {_short(unsure['expanded_kwh'])} kWh (95 %)"
    if unsure["meter_kwh"] is None:
        yield f"  the meter's uncertainty is not in it: {unsure['meter_why']}"
    yield from _adjustment_lines(made["adjustments"])
    yield from _rule_lines(made["rules"])
    if made["failed"]:
        yield f"  no verdict, because of: {', '.join(made['failed'])}"


def _short(text: str | None) -> str:
    """For people: six digits of a figure that --json has whole."""
    from decimal import Context, Decimal

    return "not known" if text is None else format(Context(prec=6).create_decimal(Decimal(text)), "f")
