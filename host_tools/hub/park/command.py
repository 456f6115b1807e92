"""`parkgate park`: which meter of the park stands behind which, so that no energy counts twice in a total.

    parkgate park meters --data DIR                          list the energy meters
    parkgate park behind --data DIR --meter GATEWAY INSTRUMENT --main GATEWAY INSTRUMENT
    parkgate park apart --data DIR --meter GATEWAY INSTRUMENT        it stands behind no meter any more

A total (of a hall, of the park, of a bill) contains the meters that stand behind no other meter of that total. Works on
the hub's database, whether the hub runs or not; a running hub notices at once. The signed log records each change.
"""

import argparse
import contextlib
from pathlib import Path

from host_tools.base import output
from host_tools.hub.park.metering import meters
from host_tools.hub.stores.store import connect, existing
from parkgate.errors import SettingsError


def add_parser(subparsers) -> None:
    """Arguments of `parkgate park`."""
    parser = subparsers.add_parser(
        "park", help="which meter stands behind which", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("action", choices=("meters", "behind", "apart"))
    parser.add_argument("--data", required=True, type=Path, metavar="DIR", help="data directory of the hub")
    two = {"nargs": 2, "metavar": ("GATEWAY", "INSTRUMENT")}
    parser.add_argument("--meter", **two, help="the meter: the name or id of its gateway, and its name there")
    parser.add_argument("--main", **two, help="for behind: the meter that measures the same energy and more")
    output.add_json(parser)


def run(args) -> int:
    """Raises SettingsError, StoreError, LogError."""
    with contextlib.closing(connect(existing(args.data))) as db:
        if args.action == "meters":
            found = meters.listed(db)
            lines = [f"{each['gateway']}: {each['instrument']}{_behind(each)}" for each in found]
            output.show(args, {"meters": found}, lines or ["no energy meter has sent readings yet"])
            return 0
        if not args.meter:
            raise SettingsError(f"park {args.action}: --meter GATEWAY INSTRUMENT names the meter")
        if (args.action == "behind") != bool(args.main):
            raise SettingsError(
                "park behind: --main GATEWAY INSTRUMENT names the meter in front; `apart` takes no --main"
            )
        main = meters.find_meter(db, *args.main) if args.main else None
        meter = meters.find_meter(db, *args.meter)
        before = meters.put(db, meter, main)
    document = {"meter": list(meter), "behind": main and list(main), "before": before and list(before)}
    where = f"stands behind {' '.join(args.main)}" if args.main else "stands behind no meter"
    output.show(args, document, [f"{' '.join(args.meter)} {where}"])
    return 0


def _behind(meter: dict) -> str:
    main = meter["behind"]
    return f", behind {main['gateway'] or main['id'][:8]}: {main['instrument']}" if main else ""
