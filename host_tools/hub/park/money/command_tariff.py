"""`parkgate tariff check FILE …`: check tariff files, and name the line of each fault.

host_tools/hub/park/money/tariff.py describes the format; host_tools/hub/park/money/tariffs has an example.
"""

from pathlib import Path

from host_tools.base import files, output
from host_tools.hub.park.money import tariff
from host_tools.hub.park.money.located import FileFault


def add_parser(subparsers) -> None:
    """Arguments of `parkgate tariff`."""
    parser = subparsers.add_parser("tariff", help="check tariff files", description=__doc__)
    parser.add_argument("action", choices=("check",))
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    output.add_json(parser)


def run(args) -> int:
    """Raises FileTrouble. Exit code 1 when a file has a fault."""
    faults, lines = [], []
    for path in args.files:
        try:
            found = tariff.read(files.read_text(path))
        except FileFault as fault:
            faults.append({"file": str(path), "line": fault.line, "text": fault.text})
            lines.append(f"{path}:{fault.line}: {fault.text}")
            continue
        months = ", ".join(_months(version) for version in found.versions)
        lines.append(f"{path}: {found.name}, {found.currency}, {months}")
    output.show(args, {"ok": not faults, "checked": len(args.files), "faults": faults}, lines)
    return 1 if faults else 0


def _months(version: tariff.Version) -> str:
    first, last = (f"{month[0]}-{month[1]:02}" if month else "" for month in (version.first, version.last))
    return f"{first} to {last}" if last else f"from {first}"
