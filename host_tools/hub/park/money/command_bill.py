"""`parkgate bill`: what a gateway's month costs, each line traceable to signed registers.

    parkgate bill --data DIR --month 2026-10 --tariff FILE --gateway NAME
    parkgate bill --data DIR --month 2026-10 --tariff FILE --gateway NAME --out FOLDER

With --out the folder gets bill.json, lines.csv, registers.csv and bill.html (to print). A bill that is not complete
says what is missing and gives two totals: at least, and at most. Exit code 1 then.
"""

import argparse
import contextlib
import hashlib
import json
import re
import time
from pathlib import Path

from host_tools.base import files, output
from host_tools.hub.park import zone
from host_tools.hub.park.money import bill as bills
from host_tools.hub.park.money import paper, tariff
from host_tools.hub.park.money.located import FileFault
from host_tools.hub.stores.gateways import find
from host_tools.hub.stores.store import connect, existing
from parkgate.errors import SettingsError


def add_parser(subparsers) -> None:
    """Arguments of `parkgate bill`."""
    parser = subparsers.add_parser(
        "bill", help="what a gateway's month costs", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--data", required=True, type=Path, metavar="DIR", help="folder of the hub, or a backup")
    parser.add_argument("--month", required=True, metavar="YYYY-MM", help="a month in the park's time zone")
    parser.add_argument("--tariff", required=True, type=Path, metavar="FILE", help="the tariff file")
    parser.add_argument("--gateway", required=True, metavar="NAME", help="name or id of the gateway")
    parser.add_argument("--zone", metavar="ZONE", help="time zone of the month (default: the park's)")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="write the bill into this folder, which is made")
    output.add_json(parser)


def run(args) -> int:
    """Raises SettingsError, StoreError, FileTrouble."""
    found = month(args.month)
    text = files.read_text(args.tariff)
    try:
        prices = tariff.read(text)
    except FileFault as fault:
        raise SettingsError(f"{args.tariff}:{fault.line}: {fault.text}") from None
    with contextlib.closing(connect(existing(args.data), read_only=True)) as db:
        gw = find(db, args.gateway)[0]
        place = zone.zone(args.zone or park_zone(db))
        made = bills.bill(db, gw, found, prices, digest(text), place, time.time_ns() // 1_000_000)
    written = _write(args.out, made) if args.out else []
    output.show(args, {"bill": made, "files": written}, [*_lines(made), *(f"wrote {path}" for path in written)])
    return 0 if made["complete"] else 1


def month(text: str) -> tuple[int, int]:
    """(year, month) of YYYY-MM. Raises SettingsError."""
    if not re.fullmatch(r"2[0-9]{3}-(0[1-9]|1[0-2])", text):
        raise SettingsError(f"{text!r:.20} is not a month: it looks like 2026-10")
    return int(text[:4]), int(text[5:])


def park_zone(db) -> str:
    """The zone that the hub keeps; without one, the hub's page shows this computer's."""
    name = db.about("setting zone")
    if name is None:
        raise SettingsError("the hub has no time zone yet: give --zone, or start it with `parkgate hub --zone`")
    return str(name)


def digest(text: str) -> str:
    """SHA-256 of a tariff file, in hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()


def _write(folder: Path, made: dict) -> list[str]:
    files.make_folder(folder)
    contents = {
        "bill.json": json.dumps(made, indent=1, ensure_ascii=False) + "\n", "lines.csv": paper.lines_csv(made),
        "registers.csv": paper.registers_csv(made), "bill.html": paper.page(made),
    }  # fmt: skip
    paths = [folder / name for name in contents]
    with files.undoing(*paths):  # the files of one bill belong together
        for path, text in zip(paths, contents.values()):
            files.write(path, text)
    return [str(path) for path in paths]


def _lines(made: dict) -> list[str]:
    def between(pair: dict) -> str:
        if pair["most"] is None:
            return f"at least {pair['least']}"
        return pair["least"] if pair["least"] == pair["most"] else f"{pair['least']} to {pair['most']}"

    lines = [f"{made['gateway']}, {made['month']} ({made['zone']}), {made['tariff']['name']}"]
    lines += [
        f"  {line['name']:32} {between(line['quantity'])} {line['unit']} at {line['price']}: {between(line['amount'])}"
        for line in made["lines"]
    ]
    lines.append(f"  {'Total':32} {between(made['total'])} {made['currency']}")
    if not made["complete"]:
        lines += ["not complete:", *(f"  {note}" for note in made["notes"])]
    return lines
