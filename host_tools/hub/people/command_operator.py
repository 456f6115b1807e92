"""`parkgate operator`: programs that may read over HTTP, or enrol gateways (`provision --hub URL --token-file FILE`).

A token is shown once, when it is made; the hub keeps only its hash. It is good for --days, and for what --may says:
`enrol` takes new gateways in, `rename` gives those that are known another name, `read` lets a program (Prometheus, a
spreadsheet) read what an auditor may. A running hub notices at once.
"""

import contextlib
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

from host_tools.base import files, output
from host_tools.hub.people import operators
from host_tools.hub.stores.store import connect, existing
from host_tools.hub.verbs.enrol import whoami
from host_tools.log import record
from parkgate.log import statement


def add_parser(subparsers) -> None:
    """Arguments of `parkgate operator`."""
    parser = subparsers.add_parser("operator", help="who may enrol gateways over HTTP", description=__doc__)
    parser.add_argument("name", nargs="?", help="make a token for this operator; without a name, list them")
    parser.add_argument("--data", required=True, type=Path, metavar="DIR", help="data directory of the hub")
    parser.add_argument(
        "--days", type=int, default=operators.DAYS, metavar="N", help=f"days to its expiry (default {operators.DAYS})"
    )
    parser.add_argument(
        "--may", action="append", choices=operators.SCOPES, help="what it allows (may be given again; default enrol)"
    )
    parser.add_argument("--remove", metavar="NAME", help="remove this operator: the token is not accepted any more")
    output.add_json(parser)


def run(args) -> int:
    """Raises SettingsError, StoreError."""
    existing(args.data)
    if args.remove:
        with _logged(args.data, statement.OPERATOR_REMOVED, args.remove):
            operators.remove(args.data, args.remove)
        output.show(args, {"removed": args.remove}, [f"removed {args.remove}"])
    elif args.name:
        output.check()
        scopes = args.may or [operators.ENROL]
        with _logged(args.data, statement.OPERATOR_ADDED, args.name):
            operators.add(args.data, args.name, lambda token: _show(args, token), args.days, scopes)
    else:
        found = operators.load(args.data)
        document = [
            {"name": name, "made_unix_ms": entry.get("made_unix_ms"), "until_unix_ms": operators.until(entry),
             "may": entry.get("may", [operators.ENROL])}
            for name, entry in found.items()
        ]  # fmt: skip
        lines = [
            f"{each['name']:24} may {' and '.join(each['may'])} until "
            f"{datetime.fromtimestamp(each['until_unix_ms'] / 1000, timezone.utc):%Y-%m-%d}"
            for each in document
        ]
        output.show(args, {"operators": document}, lines)
    return 0


@contextlib.contextmanager
def _logged(data_dir: Path, kind: str, name: str) -> Iterator[None]:
    """Who may enrol is a fact that an auditor wants: the log says what the block does, or the block did nothing."""
    with (
        contextlib.closing(connect(data_dir)) as db,
        files.undoing(data_dir / operators.FILE),
        record.recording(db) as leaves,
    ):
        yield
        leaves.statement(kind, {"operator": name}, whoami(), record.now_unix_ms())


def _show(args, token: str) -> None:
    """Before the token is good: one that nobody saw must not be."""
    if output.wanted(args):
        output.show(args, {"operator": args.name, "token": token})
        output.finish()
    else:
        output.secret(token)
