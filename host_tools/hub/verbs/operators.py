"""`parkgate operator`: who may enrol gateways over HTTP (`parkgate provision --hub URL --token TOKEN`).

A token is shown once, when it is made; the hub keeps only its hash. A running hub notices at once.
"""

from pathlib import Path

from host_tools.hub.stores.store import existing
from host_tools.hub.web import operators


def add_parser(subparsers) -> None:
    """Arguments of `parkgate operator`."""
    parser = subparsers.add_parser("operator", help="who may enrol gateways over HTTP", description=__doc__)
    parser.add_argument("name", nargs="?", help="make a token for this operator; without a name, list them")
    parser.add_argument("--data", required=True, type=Path, metavar="DIR", help="data directory of the hub")
    parser.add_argument("--remove", metavar="NAME", help="take nothing more from this operator")


def run(args) -> int:
    """Raises SettingsError, StoreError."""
    existing(args.data)
    if args.remove:
        operators.remove(args.data, args.remove)
        print(f"removed {args.remove}")
    elif args.name:
        print(operators.add(args.data, args.name))
    else:
        for name in operators.load(args.data):
            print(name)
    return 0
