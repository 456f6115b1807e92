"""`parkgate bench wire --csv FILE`: bytes a value of our batches and of other formats, for your own data."""

import json

from host_tools.bench import wire


def add_parser(subparsers) -> None:
    """Arguments of `parkgate bench`."""
    parser = subparsers.add_parser("bench", help="measure what the wire format costs for your data")
    benches = parser.add_subparsers(dest="bench", metavar="BENCH", required=True)
    of_wire = benches.add_parser("wire", help="bytes a value beside other formats", description=__doc__)
    of_wire.add_argument("--csv", required=True, metavar="FILE", help="any table: each numeric column is a channel")
    of_wire.add_argument("--rows", type=int, default=240, metavar="N", help="rows in a batch (240)")
    of_wire.add_argument(
        "--batches", type=int, default=8, metavar="N", help="batches spread over the file (8; 0: the whole file)"
    )
    of_wire.add_argument("--time-column", metavar="NAME", help="default: the first column that reads as dates")
    of_wire.add_argument("--json", action="store_true", help="print JSON for programs")


def run(args) -> int:
    """Run the bench that was named. Raises CsvError."""
    report = wire.measure(args.csv, args.rows, args.batches, args.time_column)
    if args.json:
        print(json.dumps(report, indent=1, ensure_ascii=False))
    else:
        wire.show(report)
    return 0
