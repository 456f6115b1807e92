"""`parkgate export`: the readings of a hub as CSV, Parquet or SenML (RFC 8428), exact to the last digit.

    parkgate export --data park --format csv --day 2026-11-01 --out sunday.csv
    parkgate export --data park --excel --month 2026-10 --instrument "meter 3" --out october.csv
    parkgate export --data park --format events --from 2026-11-01T06:00 --to 2026-11-01T18:00

Days, months and times without an offset are those of the park's time zone (`parkgate hub --zone`, or --zone here). --to
is the first moment that is left out: --from 2026-11-01 --to 2026-11-02 is one day. A reading whose time is only known
relative to a start of the gateway is in no span of time; without a span it is in CSV, and --undated writes only those.

--excel writes CSV that a spreadsheet opens: a byte order mark, a column with local time, --decimal-comma for a decimal
comma and semicolons. A text that the spreadsheet would compute, or take for a number or a date (a name such as =1+1 or
1-2), gets an apostrophe in front.

--format parquet is for pandas, DuckDB and the like (pip install 'parkgate[parquet]'): the columns of the CSV, the time
as a timestamp, and the value both exactly (steps / 10^scale) and as a float.

A SenML name is parkgate:ID:INSTRUMENT:QUANTITY. Each byte of UTF-8 in a name that SenML does not allow there is written
as / and two hex digits. SenML has no word for quality: only readings that carry a value are in it, and one that is not
good says so in the field "quality".

`availability` is a table of how much of the time each channel's good readings cover, `outages` one of what was signed
as not read, with the reasons, and of the times in which the gateway did not run (those have no instrument); `events`
has all else that the gateways signed. All are CSV.

Works beside a running hub: it reads one snapshot of the database. The bytes of each batch are checked against the hash
under which it was stored. One that is damaged is named and left out (in CSV a line says so), the hub raises an alarm
about it, the rest is written, and the exit code is 1. A file that is there already is replaced when all is written.
"""

import argparse
import contextlib
import gzip
import sys

from host_tools.base import files, output
from host_tools.hub.export import csv_text, question, rows
from host_tools.hub.stores.store import connect, existing
from host_tools.hub.verbs.enrol import find
from parkgate.errors import SettingsError

SENML = ("senml-json", "senml-cbor")


def add_parser(subparsers) -> None:
    """Arguments of `parkgate export`."""
    parser = subparsers.add_parser(
        "export", help="write a hub's readings as CSV, Parquet or SenML", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--data", required=True, metavar="DIR", help="data directory of the hub")
    parser.add_argument("--format", choices=question.FORMATS)
    parser.add_argument("--list", action="store_true", help="only list the gateways and what there is of each")
    output.add_json(parser)
    parser.add_argument("--gateway", action="append", metavar="NAME|ID", help="only this one (may be given again)")
    parser.add_argument("--place", action="append", metavar="NAME|ID", help="only what was read at this place")
    parser.add_argument("--instrument", action="append", metavar="NAME", help="only this one (may be given again)")
    parser.add_argument("--quantity", action="append", metavar="NAME", help="only this one (may be given again)")
    parser.add_argument("--day", metavar="YYYY-MM-DD", help="only this day, in the park's time zone")
    parser.add_argument("--month", metavar="YYYY-MM", help="only this month, in the park's time zone")
    parser.add_argument("--from", dest="begin", metavar="MOMENT", help="only readings at or after this moment")
    parser.add_argument("--to", dest="end", metavar="MOMENT", help="only readings before this moment")
    # As they were before --from and --to took Unix time too.
    parser.add_argument("--from-ms", dest="begin", help=argparse.SUPPRESS)
    parser.add_argument("--to-ms", dest="end", help=argparse.SUPPRESS)
    parser.add_argument("--zone", metavar="ZONE", help="time zone, such as Asia/Phnom_Penh (default: the park's)")
    parser.add_argument("--undated", action="store_true", help="only readings that could never be dated")
    parser.add_argument("--excel", action="store_true", help="CSV for a spreadsheet")
    parser.add_argument("--decimal-comma", action="store_true", help="with --excel: decimal comma and semicolons")
    parser.add_argument(
        "--out", metavar="FILE", help="where to write (default: standard output); FILE.gz is compressed"
    )


def run(args) -> int:
    """Write the export. Raises SettingsError for a question that cannot be answered, StoreError, FileTrouble."""
    if args.list or output.wanted(args):
        return _list(args)
    tally = rows.Tally()
    with contextlib.closing(connect(existing(args.data), read_only=True)) as db:
        db.begin_snapshot()  # one snapshot, whatever the hub does meanwhile
        wanted = _question(db, args)
        if args.out:
            files.check_target(args.out)
            with files.writing(args.out) as file:
                _write(question.answer(db, wanted, tally), file, args.out.endswith(".gz"))
        else:
            _write(question.answer(db, wanted, tally), sys.stdout.buffer, False)
            sys.stdout.buffer.flush()
        undated = rows.count_undated(db, wanted.choice) if wanted.choice.has_span() else 0
    for line in _notes(wanted, tally, undated):
        print(line, file=sys.stderr)
    tally.damaged.alarm(args.data)
    return 1 if tally.damaged.count else 0


def _question(db, args) -> question.Question:
    words = {
        "format": args.format, "from": args.begin, "to": args.end, "day": args.day, "month": args.month,
        "zone": args.zone,
    }  # fmt: skip
    names = {"gateway": args.gateway, "instrument": args.instrument, "quantity": args.quantity, "place": args.place}
    flags = {"undated": args.undated, "excel": args.excel, "decimal-comma": args.decimal_comma}
    if not args.format and not args.excel:
        raise SettingsError(f"--format: one of {', '.join(question.FORMATS)}; or --excel, or --list")
    return question.ask(db, words, names, [name for name, is_set in flags.items() if is_set])


def _write(pieces, file, compressed: bool) -> None:
    if not compressed:
        for piece in pieces:
            file.write(piece)
        return
    with gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=file, mtime=0) as packed:
        for piece in pieces:
            packed.write(piece)


def _notes(wanted: question.Question, tally: rows.Tally, undated: int) -> list[str]:
    """What a person should know of the file."""
    is_table = wanted.form not in ("csv", "parquet", *SENML)
    note = f"; {tally.left_out} without a value or a date are not in SenML" if tally.left_out else ""
    lines = [f"{tally.written} {'lines' if is_table else 'readings'} written{note}"]
    if undated and not is_table:
        lines.append(f"{undated} readings have no date, so they are in no span of time: --undated writes them")
    if wanted.excel and tally.written >= csv_text.SHEET_ROWS_MAX:
        lines.append(f"a spreadsheet shows only the first {csv_text.SHEET_ROWS_MAX:,} lines: choose a shorter time")
    return lines + tally.damaged.lines()


def _list(args) -> int:
    """What could be exported: each gateway, or those that are named."""
    with contextlib.closing(connect(existing(args.data), read_only=True)) as db:
        gateways = [find(db, name) for name in args.gateway or ()]
        gateways = gateways or db.execute("SELECT gw, kid, name FROM gateway ORDER BY name").fetchall()
        found = []
        for gw, gateway_id, name in gateways:
            batches, readings = db.execute(
                "SELECT coalesce(sum(batches), 0), coalesce(sum(readings), 0) FROM epoch WHERE gw = ?", (gw,)
            ).fetchone()
            channels = db.execute(
                "SELECT instrument, quantity, unit, last_ms, undated FROM series WHERE gw = ? ORDER BY series", (gw,)
            ).fetchall()
            fields = ("instrument", "quantity", "unit", "last_ms", "undated")
            found.append({
                "name": name, "id": gateway_id.hex(), "batches": batches, "readings": readings,
                "channels": [dict(zip(fields, row)) for row in channels],
            })  # fmt: skip
    lines = [
        f"{each['name']:24} {each['id'][:8]}…  {each['batches']} batches, {each['readings']} readings, "
        f"{len(each['channels'])} channels"
        for each in found
    ]
    output.show(args, {"gateways": found}, lines or ["no gateway is enrolled yet"])
    return 0
