"""Run all benchmarks, show their figures as one table, and write them to build/bench.json.

Each module here with a function `figures(size)` is a benchmark. It gives a list of dicts with the keys name,
value, unit, peer, peer_value and ratio; the last three are None where there is nothing to compare with. A
benchmark that fails is reported, the others run all the same, and the exit code is 1.
"""

import argparse
import importlib
import json
import pkgutil
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDER = Path(__file__).parent
RESULT = ROOT / "build" / "bench.json"
KEYS = ("name", "value", "unit", "peer", "peer_value", "ratio")

Figure = dict[str, Any]


def names() -> list[str]:
    """Give the names of all modules here that a benchmark may be in."""
    found = [module.name for module in pkgutil.iter_modules([str(FOLDER)])]
    return sorted(name for name in found if name != "__main__" and not name.endswith("_device"))


def measure(name: str, size: int) -> list[Figure] | None:
    """Run one benchmark; give None if it has no `figures`. Raises ValueError if a figure is malformed."""
    module = importlib.import_module(f"tests.bench.{name}")
    if not hasattr(module, "figures"):
        return None
    figures = module.figures(size)
    for figure in figures:
        if set(figure) != set(KEYS):
            raise ValueError(f"a figure of {name} has the keys {sorted(figure)}, not {sorted(KEYS)}")
    return figures


def table(figures: list[Figure]) -> Table:
    """Give the figures as a table for people."""
    result = Table(title="Parkgate's figures", title_justify="left")
    for heading in ("figure", "value", "unit", "compared with", "its value", "ratio"):
        numeric = heading in ("value", "its value", "ratio")
        result.add_column(heading, justify="right" if numeric else "left", no_wrap=numeric)
    for figure in figures:
        result.add_row(*(_shown(figure[key]) for key in KEYS))
    return result


def _shown(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        # Four digits are as many as a measurement repeats, and never 1.2e+04.
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def main() -> int:
    """Run the benchmarks named on the command line, or all; give the exit code."""
    parser = argparse.ArgumentParser(prog="make bench", description="Measure Parkgate against the work of others.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(names())}; all when none is given")
    parser.add_argument("--size", type=int, default=1, help="how much data: 1 takes a minute or two")
    args = parser.parse_args()
    args.names = [name.replace("-", "_") for name in args.names]
    unknown = set(args.names) - set(names())
    if unknown:
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}")
    sys.path += [str(ROOT / folder) for folder in ("tests/core", "tests/sim", "tests/host")]

    console = Console()
    if not console.is_terminal:
        console = Console(width=140)
    measured: list[Figure] = []
    failed: list[str] = []
    for name in args.names or names():
        began_s = time.monotonic()
        try:
            figures = measure(name, args.size)
        except Exception:
            traceback.print_exc()
            failed.append(name)
            console.print(f"{name}: failed", style="red", highlight=False)
            continue
        if figures is not None:
            measured += figures
            took_s = time.monotonic() - began_s
            console.print(f"{name}: {len(figures)} figures in {took_s:.1f} s", highlight=False)
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(measured, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    console.print(table(measured))
    console.print(f"written to {RESULT.relative_to(ROOT)}", highlight=False)
    if failed:
        console.print(f"failed: {', '.join(failed)}", style="red", highlight=False)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
