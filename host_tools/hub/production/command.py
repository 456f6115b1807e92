"""`parkgate lot`: what the workshops made, with the time and the energy that it took.

    parkgate lot list --data DIR                   every lot, the newest first
    parkgate lot show LOT --data DIR               its jobs, pieces, scrap, machine time, energy, proofs
    parkgate lot recall LOT --data DIR             what it went into, and what it was made of, to the last step
    parkgate lot balance --data DIR                of each register: lots + idle + unassigned = meter
    parkgate lot export LOT --data DIR --base URL  an EPCIS 2.0 document; URL is the hub's address
    parkgate lot print LOT --out FILE.html         a traveller to print, with the lot's code
    parkgate lot tag KIND TEXT --out FILE.html     a tag: station NAME, scrap REASON, operator TAG, count N, in, out


Where jobs were open at the same machine at the same time, what its registers grew is shared by --rule, and each figure
names the rule. A figure that rests on a time typed afterwards is an estimate, and says so.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

from host_tools.base import files, output
from host_tools.hub.production import document, epcis, traveller
from host_tools.hub.production.allocation import RULES
from host_tools.hub.production.floor import Floor
from host_tools.hub.production.jobs import Job
from host_tools.hub.stores.store import connect, existing
from host_tools.log.keys import LogError
from host_tools.log.log import Log
from parkgate.errors import SettingsError

_NAMES = {"list": 0, "show": 1, "recall": 1, "balance": 0, "export": 1, "print": 1, "tag": 2}
_RULES = {rule.replace(" ", "-"): rule for rule in RULES}


def add_parser(subparsers) -> None:
    """Arguments of `parkgate lot`."""
    parser = subparsers.add_parser(
        "lot", help="show, recall and print lots: what was made, with its time and energy",
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("action", choices=tuple(_NAMES))
    parser.add_argument("names", nargs="*", metavar="LOT", help="as above")
    parser.add_argument("--data", type=Path, metavar="DIR", help="data directory of the hub")
    parser.add_argument(
        "--rule", choices=tuple(_RULES), default="equal", help="how registers are shared by jobs at the same time"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="where to write it")
    parser.add_argument("--base", default="", metavar="URL", help="for export: the address at which the hub is reached")
    parser.add_argument(
        "--lot-uri", default="", metavar="URI", help="for export: what a lot is called outside, with {lot} for its name"
    )
    parser.add_argument("--lang", choices=traveller.LANGUAGES, default="en", help="language of the print")
    parser.add_argument("--paper", choices=tuple(traveller.PAPERS), default="a4", help="a4, or a roll of 58 mm")
    output.add_json(parser)


def run(args) -> int:
    """Raises SettingsError, StoreError, LotError."""
    if len(args.names) != _NAMES[args.action]:
        raise SettingsError(f"lot {args.action} takes {_NAMES[args.action]} names; see `parkgate lot --help`")
    if args.action in ("print", "tag"):
        return _print(args)
    if args.data is None:
        raise SettingsError("name the hub's data directory: --data DIR")
    with contextlib.closing(connect(existing(args.data), read_only=True)) as db:
        if args.action == "recall":  # from the index: it need not read every entry
            made = document.recall(db, args.names[0])
            output.show(args, made, _recall(made))
            return 0
        floor = Floor(db, _RULES[args.rule])
    if args.action == "export":
        return _export(args, floor)
    made = {
        "list": lambda: {"lots": document.lots(floor)},
        "show": lambda: document.lot(floor, args.names[0]),
        "balance": lambda: {"rule": floor.rule, "registers": document.balance(floor)},
    }[args.action]()
    lines = {"list": _list, "show": _show, "balance": _balance}[args.action](made)
    output.show(args, made, lines)
    return 0


def _export(args, floor: Floor) -> int:
    with Log.open(args.data) as log:

        def leaf(job: Job, seq: int) -> int | None:
            try:
                return log.find_batch(job.chain.gateway_id, job.chain.epoch, seq).leaf_index
            except LogError:
                return None

        exporter = epcis.Exporter(floor, args.base, args.lot_uri, leaf)
        made = exporter.lot(args.names[0], time.time_ns() // 1_000_000)
    text = json.dumps(made, indent=1, ensure_ascii=False)
    if args.out is not None:
        files.write(args.out, text + "\n")
    where = [f"written to {args.out}"] if args.out is not None else text.split("\n")
    output.show(args, {"document": made}, where)
    return 0


def _print(args) -> int:
    if args.out is None:
        raise SettingsError("name the file to write: --out FILE.html")
    kind, text = ("lot", args.names[0]) if args.action == "print" else args.names
    page = traveller.page(kind, text, args.lang, args.paper)
    files.check_target(args.out)
    files.write(args.out, page)
    code = traveller.code(kind, text)
    output.show(args, {"file": str(args.out), "code": code}, [f"{args.out}: open it in a browser and print it", code])
    return 0


def _time(ms: int | None) -> str:
    return "?" if ms is None else f"{datetime.fromtimestamp(ms / 1000, timezone.utc):%Y-%m-%d %H:%M:%S} UTC"


def _amounts(figures: list[dict]) -> str:
    return ", ".join(
        f"{figure['amount']} {figure['unit']} {figure['quantity']}"
        + (f" ({figure['basis']})" if figure["basis"] != "measured" else "")
        + (f" (shared by {', '.join(figure['shared_by'])})" if figure["shared_by"] else "")
        for figure in figures
    )


def _list(made: dict) -> Iterator[str]:
    for lot in made["lots"]:
        state = "open" if lot["open"] else "done"
        marks = f" [{', '.join(lot['flags'])}]" if lot["flags"] else ""
        at = f"{lot['gateway']}/{lot['station']}"
        took = _amounts(lot["totals"]) or "no registers"
        yield f"{lot['lot']:20} {state} {_time(lot['start_ms'])} {at}: {took}{marks}"
    if not made["lots"]:
        yield "no lots: no gateway has sent an entry of the floor"


def _show(made: dict) -> Iterator[str]:
    pieces = "not known" if made["pieces"] is None else made["pieces"]
    yield f"lot {made['lot']}: {'open' if made['open'] else 'done'}, {pieces} pieces; {_amounts(made['totals'])}"
    for scrap in made["scrap"]:
        yield f"  scrap, reason {scrap['reason']}: {scrap['pieces']} pieces"
    for job in made["jobs"]:
        marks = f" [{', '.join(job['flags'])}]" if job["flags"] else ""
        yield f"  job {job['number']} at {job['gateway']}/{job['station']}{marks}"
        yield f"    from {_time(job['start_ms'])} to {_time(job['end_ms'])}; stopped: {job['stop'] or 'still open'}"
        yield f"    {_amounts(job['figures']) or 'no registers'}"
        if job["operators"]:
            yield f"    operators {', '.join(job['operators'])}"
        proof = job["proof"]
        where = f"batches {proof['first_seq']} to {proof['last_seq']} of {job['gateway_id'][:16]}"
        yield f"    signed in {where}, chain {proof['epoch']}"
    for word, key in (("made of", "made_of"), ("went into", "went_into"), ("refused, would close a circle", "refused")):
        if made[key]:
            yield f"  {word}: {', '.join(link['lot'] for link in made[key])}"


def _recall(made: dict) -> Iterator[str]:
    for word, key in (("may have gone into", "forward"), ("was made of", "back")):
        yield f"{made['lot']} {word} {len(made[key])} lots"
        for lot in made[key]:
            yield f"  {lot['lot']:20} in {lot['steps']} steps; {', '.join(lot['where']) or 'no job is known'}"


def _balance(made: dict) -> Iterator[str]:
    for row in made["registers"]:
        name = f"{row['gateway']}/{row['instrument']}.{row['quantity']}"
        yield (
            f"{name}: {row['meter']} {row['unit']} = lots {row['lots']} + idle {row['idle']} + unassigned "
            f"{row['unassigned']}" + (f"; {row['unknown_steps']} steps not known" if row["unknown_steps"] else "")
        )
    if not made["registers"]:
        yield "no register is bound to a station"
