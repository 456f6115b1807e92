"""Times and memory of the pure core on an emulated Pico: `python -m tests.board.bench [--cache] [name …]`.

Times are board time: processor cycles at 125 MHz. The emulator does not reckon with misses of the flash cache unless
`--cache` asks for its model of them; a real board lies between the two. Needs what tests/board/flash_image.py names.
Writes build/bench-board.json.
"""
import argparse
import ast
import csv
import json
import random
import struct
import sys
import time
from pathlib import Path

from tests.board.emulated_pico import BoardError, EmulatedPico
from tests.board.flash_image import REPOSITORY, compiled, missing_for_pico, package_files

LIBRARY = REPOSITORY / "lib" / "parkgate"
REFERENCE = REPOSITORY.parent / "shared" / "reference"
ON_BOARD = Path(__file__).parent / "on_board"
RESULT = REPOSITORY / "build" / "bench-board.json"
ROWS = 240
STEEL_FIRST_ROW = 5000  # a working day
SCRIPT_TIMEOUT_S = 600

# The most each figure may be; issue 5, point 9, and lib/DESIGN.md.
BOUNDS = {
    "encode, slowest column": 1.5,
    "encode, longest step": 10,
    "sign": 120,
    "sign, longest step": 10,
    "verify, longest step": 10,
    "ecdh, longest step": 10,
    "payload, longest step": 10,
    "seal, longest step": 10,
}


def modules_in_order() -> list[str]:
    """All modules of the library, each behind those it imports."""
    wants = {}
    for source in LIBRARY.glob("*.py"):
        if source.stem == "__init__":
            continue
        wants[source.stem] = needs = set()
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                parts = (node.module or "").split(".")
                if node.level == 0 and parts[0] != "parkgate":
                    continue
                inner = parts[1:] if node.level == 0 else [part for part in parts if part]
                needs.update(inner[:1] or [alias.name for alias in node.names])
    ordered: list[str] = []
    while wants:
        ready = sorted(name for name, needs in wants.items() if not (needs & set(wants)) - {name})
        if not ready:
            raise ValueError(f"modules import each other: {sorted(wants)}")
        for name in ready:
            del wants[name]
        ordered += ready
    return ordered


def synthetic_columns() -> dict[str, list[int]]:
    """240 seconds of a three-phase meter, always the same."""
    source = random.Random(5)
    columns: dict[str, list[int]] = {"power": [], "energy": [], "voltage": [], "constant": [7] * ROWS}
    power, energy, voltage = 4200, 5_000_000_000, 2304
    for i in range(ROWS):
        power += source.randint(-15, 15) + (900 if i in (60, 170) else 0) - (850 if i in (110, 220) else 0)
        energy += power // 36
        voltage += source.choice((-1, 0, 0, 0, 1))
        columns["power"].append(power)
        columns["energy"].append(energy)
        columns["voltage"].append(voltage)
    return columns


def steel_columns() -> dict[str, list[int]]:
    """Measured columns of a steel works, where the reference data are at hand."""
    file = REFERENCE / "steel_industry.csv"
    if not file.is_file():
        return {}
    with file.open(newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))[STEEL_FIRST_ROW : STEEL_FIRST_ROW + ROWS]
    columns = {f"steel {name}": [round(float(row[name]) * 100) for row in rows]
               for name in ("kwh", "kvarh_lag", "pf_lag_pct")}
    total, counter = 123_456_789, []
    for value in columns["steel kwh"]:
        total += value
        counter.append(total)
    return {**columns, "steel counter": counter}


def columns_file(columns: dict[str, list[int]]) -> bytes:
    """Length of name, count (2 bytes), name, 64-bit values of each column."""
    packed = bytearray()
    for name, values in columns.items():
        packed += struct.pack(">BH", len(name), len(values)) + name.encode() + struct.pack(f"<{len(values)}q", *values)
    return bytes(packed)


def board_files() -> dict[str, bytes]:
    """All that is on the board: the library compiled, the measuring code, the columns."""
    files = package_files(LIBRARY)
    files["lib/measure.mpy"] = compiled(ON_BOARD / "measure.py")
    files["columns.bin"] = columns_file({**synthetic_columns(), **steel_columns()})
    return files


def import_script() -> str:
    """Imports everything, one module after the other."""
    lines = ["import gc", "import time", "from measure import loaded, report", "gc.collect()",
             "report('heap free, nothing loaded', gc.mem_free(), 'bytes')", "times = sizes = 0"]
    for name in modules_in_order():
        lines += [f"taken_ms, size = loaded({name!r})", "times += taken_ms; sizes += size",
                  f"report('import {name}', taken_ms, 'ms')", f"report('import {name}, heap', size, 'bytes')"]
    lines += ["report('import of all', times, 'ms')", "report('import of all, heap', sizes, 'bytes')", "gc.collect()",
              "report('heap free, all loaded', gc.mem_free(), 'bytes')", "begun = time.ticks_us()", "gc.collect()",
              "report('gc.collect(), all loaded', time.ticks_diff(time.ticks_us(), begun) / 1000, 'ms')"]
    return "\n".join(lines) + "\n"


def scripts() -> dict[str, str]:
    """What is run, each from a fresh start."""
    named = {"imports": import_script()}
    for name in ("columns", "sign", "seal", "journal"):
        named[name] = (ON_BOARD / f"{name}.py").read_text(encoding="utf-8")
    return named


def measure(name: str, script: str, cache: bool) -> list[dict]:
    """The figures of one script. Raises BoardError if it fails."""
    with EmulatedPico(files=board_files(), cache=cache) as pico:
        output = pico.run(script, SCRIPT_TIMEOUT_S)
        flash = pico.stats()["flash"]
    found = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    if name == "journal":
        found.append({"name": "journal, flash programmed where not erased", "value": flash["not_erased"],
                      "unit": "bytes"})
    return found


def figures(size: int = 1, cache: bool = False, only: list[str] | None = None) -> list[dict]:
    """All figures, with the bound of each where it has one in `peer_value`. `size` has no effect here."""
    measured = []
    for name, script in scripts().items():
        if only and name not in only:
            continue
        began_s = time.monotonic()
        try:
            found = measure(name, script, cache)
        except BoardError as error:
            print(f"{name}: failed on the board\n{error}", file=sys.stderr)
            found = [{"name": f"{name}: failed", "value": None, "unit": ""}]
        for figure in found:
            bound = BOUNDS.get(figure["name"])
            over = bound is not None and figure["value"] > bound
            figure.update(peer=None if bound is None else "bound, over" if over else "bound", peer_value=bound,
                          ratio=None if bound is None else round(figure["value"] / bound, 3))
        measured += found
        print(f"{name}: {time.monotonic() - began_s:.0f} s", file=sys.stderr)
    return measured


def table(measured: list[dict]) -> str:
    """The figures for people."""
    width = max(len(figure["name"]) for figure in measured)
    lines = []
    for figure in measured:
        value = "-" if figure["value"] is None else f"{figure['value']:,.3f}".rstrip("0").rstrip(".")
        bound = "" if figure["peer_value"] is None else f"   at most {figure['peer_value']}"
        over = "   OVER" if figure["peer"] == "bound, over" else ""
        lines.append(f"{figure['name']:<{width}}  {value:>10} {figure['unit']}{bound}{over}")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure the pure core on an emulated Pico.")
    parser.add_argument("--cache", action="store_true", help="reckon with misses of the flash cache")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"only these of: {', '.join(scripts())}")
    args = parser.parse_args()
    missing = missing_for_pico()
    if missing:
        print(f"no board to measure on: {missing}", file=sys.stderr)
        return 2
    measured = figures(cache=args.cache, only=args.names)
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
    print(table(measured))
    return 1 if any(figure["value"] is None for figure in measured) else 0


if __name__ == "__main__":
    sys.exit(main())
