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
import tempfile
import time
from pathlib import Path

from parkgate.wire.p256_table import TABLES
from tests.board.emulated_pico import BoardError, EmulatedPico, EmulatorError
from tests.board.flash_image import REPOSITORY, compiled, compiled_tree, missing_for

LIBRARY = REPOSITORY / "lib" / "parkgate"
FIRMWARE = REPOSITORY / "firmware"
OTHERS_LIBRARIES = REPOSITORY / "build" / "device_lib"
REFERENCE = REPOSITORY.parent / "shared" / "reference"
ON_BOARD = Path(__file__).parent / "on_board"
RESULT = REPOSITORY / "build" / "bench-board.json"
ROWS = 240
STEEL_FIRST_ROW = 5000  # a working day
SCRIPT_TIMEOUT_S = 3600  # of the wall clock: on a machine that runs much else the emulator has a tenth of its pace

SCRIPTS = {
    "library": "imports.py",
    "columns": "columns.py",
    "sign": "sign.py",
    "seal": "seal.py",
    "journal": "journal.py",
    "sensing": "sensing.py",
    "gateway": "",  # the firmware itself: see gateway_share.py
    "whole pico": "",
    "whole pico_w": "",  # the same with all around it: see whole_run.py
}

# What the design promises (lib/DESIGN.md).
AT_MOST = {
    "encode, slowest column": 1.5,
    "encode, longest step": 10,
    "sign": 120,
    "sign, longest step": 10,
    "verify, longest step": 10,
    "ecdh, longest step": 10,
    "payload, longest step": 10,
    "seal, longest step": 10,
    "append of 24 bytes, longest": 2,
    "journal of 256 sectors, full, heap kept": 2048 + 4096,
    "journal of 256 sectors, every header wrong, start": 2000,
    "gateway, 20 channels at 1 Hz: busy": 40,
    "Pico, serial only: power on to first sample": 8,
    "Pico, serial only: lateness of samples, p99.9": 50,
    "Pico, serial only: UART bytes lost": 0,
    "Pico W, link up by TLS: power on to first sample": 8,
    "Pico W, link up by TLS: lateness of samples, p99.9": 50,
    "Pico W, link up by TLS: UART bytes lost": 0,
}
AT_LEAST = {
    "Pico, serial only: heap free": 90 * 1000,
    "Pico W, link up by TLS: heap free": 60 * 1000,
}


def modules_under(folder: Path, prefix: str = "") -> dict[str, Path]:
    """Dotted name and source of each module under a folder."""
    found = {}
    for source in sorted(folder.rglob("*.py")):
        parts = source.relative_to(folder).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[f"{prefix}.{name}".strip(".")] = source
    return found


def imports_of(name: str, source: Path) -> set[str]:
    """Dotted names that importing a module may import: `from a import b` gives a and a.b. Not what its functions do."""
    package = name if source.stem == "__init__" else name.rpartition(".")[0]
    found = set()
    waiting: list[ast.AST] = [ast.parse(source.read_text(encoding="utf-8"))]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(part for part in (package if node.level else "", node.module or "") if part)
            found.add(base)
            found.update(f"{base}.{alias.name}" for alias in node.names)
        elif not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            waiting.extend(ast.iter_child_nodes(node))
    return found


def in_order(modules: dict[str, Path], wanted: list[str]) -> list[str]:
    """The wanted modules and all that they import out of `modules`, each behind what it imports."""
    ordered: list[str] = []

    def visit(name, path):
        if name in path:
            raise ValueError(f"modules import each other: {[*path, name]}")
        for other in sorted(imports_of(name, modules[name]) & set(modules) - {name}):
            if other not in ordered:
                visit(other, [*path, name])
        if name not in ordered:
            ordered.append(name)

    for name in wanted:
        visit(name, [])
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
    columns = {
        f"steel {name}": [round(float(row[name]) * 100) for row in rows] for name in ("kwh", "kvarh_lag", "pf_lag_pct")
    }
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
    files = {
        **compiled_tree(FIRMWARE),
        **compiled_tree(LIBRARY, "lib/parkgate"),
        **compiled_tree(OTHERS_LIBRARIES, "lib"),
    }
    files.pop("main.mpy", None)  # it would start the gateway
    files["lib/measure.mpy"] = compiled(ON_BOARD / "measure.py")
    files["p256.tbl"] = b"".join(TABLES)
    files["columns.bin"] = columns_file({**synthetic_columns(), **steel_columns()})
    return files


def imports_file() -> bytes:
    """What on_board/imports.py imports: the whole library, as it is. (What a gateway has of it, made small and left in
    flash, is in the figures of the whole run.)"""
    modules = modules_under(LIBRARY, "parkgate")
    del modules["parkgate.wire.p256_table"]  # the gateway reads it from a file
    return json.dumps({"what": "library", "names": in_order(modules, list(modules))}).encode()


def measure(name: str, cache: bool) -> list[dict]:
    """The figures of one script on a board of its own. Raises BoardError if it fails."""
    if name == "gateway":
        from tests.board import gateway_share

        with tempfile.TemporaryDirectory() as folder:
            return gateway_share.measure(Path(folder), cache)
    if name.startswith("whole"):
        from tests.board import whole_run

        with tempfile.TemporaryDirectory() as folder:
            return whole_run.measure(name.split()[1], Path(folder))
    files = board_files()
    if SCRIPTS[name] == "imports.py":
        files["imports.json"] = imports_file()
    with EmulatedPico(files=files, cache=cache) as pico:
        output = pico.run((ON_BOARD / SCRIPTS[name]).read_text(encoding="utf-8"), SCRIPT_TIMEOUT_S)
        flash = pico.stats()["flash"]
    found = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    if name == "journal":
        found.append(
            {"name": "journal, flash programmed where not erased", "value": flash["not_erased"], "unit": "bytes"}
        )
    return found


def compare(figure: dict) -> None:
    """Add the bound of a figure as its peer; the ratio is above 1 where the bound is broken."""
    name, value = figure["name"], figure["value"]
    figure.update(peer=None, peer_value=None, ratio=None)
    if name in AT_MOST:
        ratio = round(value / AT_MOST[name], 3) if AT_MOST[name] else 2 * value  # of nothing, any is too much
        figure.update(peer="at most", peer_value=AT_MOST[name], ratio=ratio)
    if name in AT_LEAST:
        figure.update(peer="at least", peer_value=AT_LEAST[name], ratio=round(AT_LEAST[name] / max(value, 1), 3))


def figures(size: int = 1, cache: bool = False, only: list[str] | None = None) -> list[dict]:
    """All figures, with the bound of each where it has one as `peer_value`. `size` has no effect here."""
    measured = []
    for name in SCRIPTS:
        if only and name not in only:
            continue
        if "pico_w" in name and missing_for("pico_w"):
            print(f"{name}: skipped, {missing_for('pico_w')}", file=sys.stderr)
            continue
        began_s = time.monotonic()
        try:
            found = measure(name, cache)
        except (BoardError, EmulatorError, TimeoutError, AssertionError) as error:
            print(f"{name}: failed on the board\n{error}", file=sys.stderr)
            found = [{"name": f"{name}: failed", "value": None, "unit": ""}]
        for figure in found:
            compare(figure)
        measured += found
        print(f"{name}: {time.monotonic() - began_s:.0f} s", file=sys.stderr)
    return measured


def table(measured: list[dict]) -> str:
    """The figures for people."""
    width = max(len(figure["name"]) for figure in measured)
    lines = []
    for figure in measured:
        value = "-" if figure["value"] is None else f"{figure['value']:,.3f}".rstrip("0").rstrip(".")
        bound = "" if figure["peer"] is None else f"   {figure['peer']} {figure['peer_value']:,}"
        broken = "   BROKEN" if figure["ratio"] is not None and figure["ratio"] > 1 else ""
        lines.append(f"{figure['name']:<{width}}  {value:>10} {figure['unit']}{bound}{broken}")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure the pure core on an emulated Pico.")
    parser.add_argument("--cache", action="store_true", help="reckon with misses of the flash cache")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"only these of: {', '.join(SCRIPTS)}")
    args = parser.parse_args()
    missing = missing_for("pico")
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
