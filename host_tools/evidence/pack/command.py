"""`parkgate evidence`: one file for a buyer or an auditor, and its check.

    parkgate evidence write --data DIR --place "Hall 3" --from 2026-01-01 --to 2026-12-31 --factors f.json --out e.zip
    parkgate evidence check e.zip --trust ID

The pack has a report (English and Khmer, to print), every figure with its completeness and uncertainty, the meters,
events, lots, emission factors, the Higg FEM sheet where twelve months are known, a mapping of clauses, the signed
batches and two verifiers. --baseline NAME --variables FILE adds a baseline and the comparison with it (see
`parkgate enpi`).

Emission factors come from a file of dated records with source and hash; none is built in. Members and hashes are a
signed statement in the hub's log. `check` needs the id of the log key from elsewhere (`parkgate log show`); without
--trust it says which key signed. Exit code 1 when something does not hold.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import time
from datetime import date
from pathlib import Path

from host_tools.base import files, output
from host_tools.evidence.enpi import baselines, data, report
from host_tools.evidence.pack import check, factors, pack
from host_tools.hub.park import zone
from host_tools.hub.park.metering import register
from host_tools.hub.park.metering.meters import Meter
from host_tools.hub.stores import places
from host_tools.hub.stores.store import connect, existing
from parkgate.errors import SettingsError


def add_parser(subparsers) -> None:
    """Arguments of `parkgate evidence`."""
    parser = subparsers.add_parser(
        "evidence", help="one file of figures, meters and proofs for a buyer or an auditor", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("action", choices=("write", "check"))
    parser.add_argument("file", nargs="?", type=Path, metavar="FILE", help="for check: the pack")
    parser.add_argument("--data", type=Path, metavar="DIR", help="for write: data directory of the hub")
    parser.add_argument("--place", metavar="PLACE", help="for write: its name or id")
    parser.add_argument("--from", dest="first", metavar="DAY", help="for write: first day of the first month")
    parser.add_argument("--to", dest="last", metavar="DAY", help="for write: last day of the last month")
    parser.add_argument("--factors", type=Path, metavar="FILE", help="for write: emission factors, as JSON")
    parser.add_argument("--baseline", metavar="NAME", help="for write: compare with this baseline")
    parser.add_argument("--variables", type=Path, metavar="FILE", help="for write: the baseline's variables")
    parser.add_argument("--out", type=Path, metavar="FILE", help="for write: the pack to write")
    parser.add_argument("--trust", metavar="ID", help="for check: id of the log key, from elsewhere")
    output.add_json(parser)


def run(args) -> int:
    """Raises SettingsError, StoreError, LogError, ArchiveError, RegressionError, FileTrouble."""
    if args.action == "check":
        if args.file is None:
            raise SettingsError("evidence check takes the pack: parkgate evidence check FILE --trust ID")
        return _check(args)
    if not all((args.data, args.place, args.first, args.last, args.out)):
        raise SettingsError("evidence write needs --data, --place, --from, --to and --out")
    if args.out.exists() or args.out.is_symlink():
        raise SettingsError(f"{args.out} exists already; it is not replaced")
    files.check_target(args.out)
    try:
        first, last = date.fromisoformat(args.first), date.fromisoformat(args.last)
    except ValueError:
        raise SettingsError("--from and --to are days such as 2026-01-01") from None
    kept = factors.read(args.factors)[0] if args.factors else []
    with contextlib.closing(connect(existing(args.data))) as db:
        row = db.execute("SELECT value FROM about WHERE name = 'setting zone'").fetchone()
        tz = zone.zone(row[0] if row else zone.local_zone_name())
        place = places.find(db, args.place)
        now_ms = time.time_ns() // 1_000_000
        asked = pack.Asked(place, first, last, tz, now_ms, kept, {})
        if args.baseline:
            asked = asked._replace(enpi=_enpi(args, db, asked))
        found, left_out = pack.members(db, args.data, asked)
        made = pack.write(db, args.data, args.out, asked, found)
    document = {"file": str(args.out), "members": sorted(found), "left_out": left_out, **made}
    lines = [f"{args.out}: {len(found)} members, signed by the log key {made['log_key']}"]
    output.show(args, document, [*lines, *(f"left out: {line}" for line in left_out)])
    return 0


def _enpi(args, db, asked: pack.Asked) -> dict[str, bytes]:
    baseline = baselines.load(db, args.data, args.baseline)
    names = [one["name"] for one in baseline.content["variables"]]
    variables = args.variables and data.read_variables(args.variables)
    if names != (variables.names if variables else []):
        raise SettingsError(f"the baseline's variables are {', '.join(names) or 'none'}: --variables names their file")
    if baseline.content["place"]["id"] != asked.place.id.hex():
        raise SettingsError(f"the baseline is of {baseline.content['place']['name']}, not of {asked.place.name}")
    unit = baseline.content["unit"]
    found = data.energy(db, asked.place, unit, asked.first, asked.last, asked.tz, asked.now_ms)
    kept = register.load(db)
    records = [register.of(kept, Meter("", name), asked.place.id.hex()) for name in found.instruments]
    made = report.document(
        baseline, baselines.adjustments(db, baseline), found, data.points(found, variables),
        report.meter(records, asked.first, asked.last), asked.first, asked.last,
    )  # fmt: skip
    text = json.dumps(made, indent=1, ensure_ascii=False) + "\n"
    return {
        "enpi.json": text.encode(),
        "baseline.json": files.read_bytes(args.data / baselines.FOLDER / f"{baseline.sha256}.json"),
    }


def _check(args) -> int:
    found = check.check(args.file, args.trust)
    facts = found.facts
    document = {
        "file": str(args.file), "holds": not found.faults, "log_key": found.log_key, "trusted": args.trust is not None,
        "faults": [one._asdict() for one in found.faults], "made_ms": found.made_ms, "place": facts.get("name"),
        "from": facts.get("from"), "to": facts.get("to"),
    }  # fmt: skip
    lines = [f"{one.kind}: {one.what}" for one in found.faults]
    if not lines:
        lines = [f"every member is as the log key {found.log_key} signed it: {facts['name']}, {facts['from']} to"
                 f" {facts['to']}"]  # fmt: skip
        if args.trust is None:
            lines.append("compare this id with the one that you have from elsewhere, or give it with --trust")
        lines.append(f"the signatures of the readings: take {pack.ARCHIVE} out, and python3 audit.py archive.zip")
    output.show(args, document, lines)
    return 1 if found.faults else 0
