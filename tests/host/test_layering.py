"""Who may import whom, read from the source of every file, and a few more promises about the code itself.

    boards/<b>            → firmware/hal → machine, network, socket, time, os, vfs ...
    firmware/main         → board, firmware/start, firmware/app, lib/parkgate; what stands between a fallen program and
                            MicroPython's prompt
    firmware/app          → the rest of firmware (never hal), lib/parkgate
    firmware/gateway/safe → board, firmware/start, the rest of firmware (never hal), lib/parkgate: only main loads it
    firmware/start        → firmware/sensors, the other modules of firmware (never hal), lib/parkgate
    firmware/* otherwise  → lib/parkgate, each other (never hal: its objects are handed in)
    host_tools            → lib/parkgate (never firmware, boards or tests); no circle; rooms as HOST_ROOMS lists them
    lib/parkgate          → its own earlier modules (no circle), struct, hashlib, binascii, collections, array

A floor has at most ROOMS_MAX rooms (folders and modules); folders of one kind (FLAT) are exempt.

Every other arrow is a fault. `faults(root)` looks at any tree laid out like this one, so that the tests below
can plant a fault and see it found.
"""

import ast
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDERS = ("lib", "firmware", "boards", "host_tools", "tests")
LINES_MAX = 500
LONG = {"host_tools/archive/audit.py"}  # one file, so that an auditor carries one file
ROOMS_MAX = 12
FLAT = {"lib/meters", "firmware/sensors"}  # one instrument or meter a file
# Rooms of host_tools: each may import from those that stand behind it. cli.py imports none: it finds verbs by name.
HOST_ROOMS = (
    "cli",
    "bench",
    "sim",
    "image",
    "evidence",
    "archive",
    "gateway",
    "hub",
    "log",
    "meters",
    "broker",
    "base",
)
# SQL's dialects stand behind one seam: only these may name a database. A backup is a copy of SQLite's file.
DATABASES = {"sqlite3", "psycopg"}
BEHIND_THE_SEAM = ("host_tools/log/database/", "host_tools/hub/stores/backup.py")

PURE = {"struct", "hashlib", "binascii", "collections", "array"}
# What firmware outside hal may take from MicroPython: nothing that reads a clock, a pin, a file or a socket.
QUIET = {
    "array", "asyncio", "binascii", "collections", "errno", "gc", "hashlib", "io", "json",
    "micropython", "struct", "sys",
}  # fmt: skip
HARDWARE = {
    "bluetooth", "btree", "builtins", "cryptolib", "deflate", "dht", "esp", "esp32", "framebuf", "lwip",
    "machine", "neopixel", "network", "ntptime", "onewire", "os", "platform", "random", "rp2",
    "select", "socket", "ssl", "time", "tls", "uctypes", "vfs",
}  # fmt: skip


class Room(NamedTuple):
    """A part of the tree: the rooms and the modules of MicroPython that its files may import."""

    rooms: frozenset[str]
    modules: frozenset[str]


def _room(rooms: str, *modules: set[str]) -> Room:
    return Room(frozenset(rooms.split()), frozenset[str]().union(*modules))


ROOMS = {
    "lib": _room("lib", PURE),
    "hal": _room("hal lib", QUIET, HARDWARE),
    "main": _room("board start app hal lib safe", QUIET, {"machine", "os"}),
    "safe": _room("board start firmware tasks lib", QUIET, {"select"}),
    "app": _room("app start firmware tasks sensors lib", QUIET),
    "start": _room("start firmware sensors lib", QUIET),
    "firmware": _room("firmware lib", QUIET, {"umqtt"}),
    "tasks": _room("tasks firmware lib", QUIET),
    "sensors": _room("sensors firmware lib", QUIET),
    "board": _room("board hal lib", QUIET),
    # This board is made of files and ttys: here they are the hardware.
    "board unix": _room("board hal lib", QUIET, HARDWARE, {"math", "termios"}),
}


class File(NamedTuple):
    """One source file: its path from the root, its room, and its syntax tree."""

    path: Path
    room: str
    tree: ast.Module


def faults(root: Path) -> list[str]:
    """Give one line for each promise that a file below `root` breaks."""
    files = [_read(root, path) for folder in FOLDERS for path in sorted((root / folder).rglob("*.py"))]
    names = _firmware_names(files)
    found = [fault for file in files for fault in _faults_of_file(root, file, names)]
    host = [file for file in files if file.room == "host_tools"]
    found += _host_arrows(host) + _circles("host_tools", host)
    return found + _circles("lib/parkgate", [file for file in files if file.room == "lib"]) + _full_floors(files)


def _read(root: Path, path: Path) -> File:
    relative = path.relative_to(root)
    return File(relative, _room_of(relative), ast.parse(path.read_text(encoding="utf-8"), str(relative)))


def _room_of(path: Path) -> str:
    top, *rest = path.parts
    if top == "firmware":
        if rest == ["gateway", "safe.py"]:
            return "safe"  # puts the parts together, as app does
        if len(rest) > 1:
            return rest[0] if rest[0] in ("hal", "tasks", "sensors") else "firmware"
        return path.stem if path.stem in ("main", "app", "start", "tasks", "hal") else "firmware"
    if top == "boards":
        return "board unix" if rest[0] == "unix" else "board"
    return top


def _firmware_names(files: list[File]) -> dict[str, str]:
    """Map each first part of a module name that the device knows to its room (folders are its top level)."""
    names = {"parkgate": "lib"}
    for file in files:
        parts = file.path.parts
        if parts[0] == "firmware" and file.room != "safe":
            names[Path(parts[1]).stem] = file.room
        elif parts[0] == "boards" and len(parts) > 2:
            names[Path(parts[2]).stem] = "board"
    return names


def _imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Give (line, dotted name) of each import, wherever it stands; a relative name keeps its dots."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            for alias in node.names:
                yield node.lineno, base + alias.name if base.endswith(".") else f"{base}.{alias.name}"


def _faults_of_file(root: Path, file: File, names: dict[str, str]) -> Iterator[str]:
    lines = (root / file.path).read_text(encoding="utf-8").count("\n")
    if lines > LINES_MAX and file.path.as_posix() not in LONG:
        yield f"{file.path}: {lines} lines, {LINES_MAX} are allowed"
    for line, name in _imports(file.tree):
        if not _allowed(file, name, names):
            yield f"{file.path}:{line}: {file.room} must not import {name}"
    if file.room in ROOMS:
        yield from _device_faults(file)


def _allowed(file: File, name: str, names: dict[str, str]) -> bool:
    first = name.split(".")[0]
    if file.room == "host_tools":
        # A name that Python itself has (a board may have a tty.py) is Python's here.
        forbidden = names.keys() - {"parkgate"} - sys.stdlib_module_names | {"firmware", "boards", "tests"}
        if not file.path.as_posix().startswith(BEHIND_THE_SEAM):
            forbidden |= DATABASES
        return first not in forbidden
    if file.room == "tests":
        return True
    room = ROOMS[file.room]
    if f"{name}.".startswith("gateway.safe."):
        return "safe" in room.rooms
    if name.startswith("."):
        # Inside a package of the device. Two dots or more would leave it.
        return not name.startswith("..")
    if first in names:
        return names[first] in room.rooms
    return first in room.modules


def _device_faults(file: File) -> Iterator[str]:
    """Find what must not be in code that a board runs; in lib, no float may arise either."""
    for node in ast.walk(file.tree):
        what = ""
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id == "print":
                what = "print(): the console's UART is not for that"
            elif node.func.id in ("__import__", "exec", "eval"):
                what = f"{node.func.id}(): an import that no test can see"
        if file.room == "lib" and not what:
            what = _float_fault(node)
        if what:
            yield f"{file.path}:{getattr(node, 'lineno', 0)}: {what}"


def _float_fault(node: ast.AST) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, (float, complex)):
        return f"the float {node.value}"
    if isinstance(node, (ast.BinOp, ast.AugAssign)) and isinstance(node.op, ast.Div):
        return "a true division gives a float: use //"
    if isinstance(node, ast.Name) and node.id == "float":
        return "float"
    return ""


def _host_arrows(files: list[File]) -> list[str]:
    """Find imports that lead up among the rooms of host_tools."""
    found = []
    for file in files:
        room = file.path.parts[1].removesuffix(".py")
        for line, name in _imports(file.tree):
            parts = name.split(".")
            if parts[0] != "host_tools" or room == "__init__":
                continue
            if parts[1] in HOST_ROOMS and HOST_ROOMS.index(parts[1]) < HOST_ROOMS.index(room):
                found.append(f"{file.path}:{line}: {room} must not import {name}")
    return found


def _full_floors(files: list[File]) -> list[str]:
    """Find folders of the product that hold more rooms than a newcomer can take in."""
    rooms: dict[Path, set[str]] = {}
    for file in files:
        for inner in (file.path, *file.path.parents):
            if inner.name != "__init__.py" and inner.parts[:1] in (("lib",), ("firmware",), ("host_tools",)):
                rooms.setdefault(inner.parent, set()).add(inner.name)
    return [
        f"{floor}: {len(names)} rooms, {ROOMS_MAX} are allowed"
        for floor, names in sorted(rooms.items())
        if len(names) > ROOMS_MAX and floor.as_posix() not in FLAT
    ]


def _module_name(file: File) -> str:
    """The dotted name of a module of lib (a top level of Python's there) or of host_tools."""
    parts = file.path.with_suffix("").parts
    return ".".join(parts[1:] if file.room == "lib" else parts).removesuffix(".__init__")


def _circles(part: str, files: list[File]) -> list[str]:
    """Find a circle in the imports of a part of the tree, wherever in a file they stand (in a function, or only for the
    types): each module may use only modules that come before it."""
    arrows: dict[str, set[str]] = {_module_name(file): set() for file in files}
    for file in files:
        own = _module_name(file)
        for _, name in _imports(file.tree):
            whole = f"{own.rpartition('.')[0]}.{name[1:]}" if name.startswith(".") else name
            arrows[own] |= {whole, whole.rpartition(".")[0]} & arrows.keys()
    try:
        TopologicalSorter(arrows).prepare()
    except CycleError as error:
        return [f"{part}: imports in a circle: {' ← '.join(error.args[1])}"]
    return []


def test_this_repository_keeps_its_promises():
    found = faults(ROOT)
    if found:
        pytest.fail("\n".join(found), pytrace=False)


def test_all_rooms_have_been_looked_at():
    rooms = {_room_of(path.relative_to(ROOT)) for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")}
    assert rooms >= {"lib", "hal", "main", "app", "tasks", "sensors", "board unix", "host_tools", "tests"}


GOOD = {
    "lib/parkgate/errors.py": "class ParkgateError(Exception):\n    pass\n",
    "lib/parkgate/wire/cbor.py": "import struct\nfrom parkgate.errors import ParkgateError\nx = 7 // 2\n",
    "lib/parkgate/wire/batch.py": "from . import cbor\nfrom parkgate.errors import ParkgateError\n",
    "firmware/main.py": "from app import App\nfrom board import this_board\n",
    "firmware/app.py": "import asyncio\nfrom tasks.send import Sender\nfrom sensors.meter import Meter\n",
    "firmware/mqtt.py": "import umqtt.simple\nfrom parkgate.errors import ParkgateError\n",
    "firmware/tasks/send.py": "from parkgate.wire import batch\n",
    "firmware/sensors/meter.py": "from parkgate.wire import cbor\n",
    "firmware/hal/clock.py": "import time, machine\n",
    "boards/pico/board.py": "from hal.clock import Clock\nimport pins\n",
    "boards/pico/pins.py": "LED = 25\n",
    "boards/unix/tty.py": "import termios\n",
    "boards/unix/board.py": "import os\nfrom hal.clock import Clock\n",
    "host_tools/hub/stores/store.py": "import tty\nfrom host_tools.base.keys import Key\nx = 1 / 2\n",
    "host_tools/hub/stores/kept.py": "from host_tools.hub.stores.store import x\n",
    "tests/host/test_x.py": "from host_tools.hub import store\n",
}


def _plant(root: Path, *more: tuple[str, str]) -> list[str]:
    for name, text in [*GOOD.items(), *more]:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return faults(root)


def test_a_tree_as_it_should_be_passes(tmp_path):
    assert _plant(tmp_path) == []


@pytest.mark.parametrize(
    "path, text, fault",
    [
        ("lib/parkgate/wire/cbor.py", "import time\n", "lib must not import time"),
        ("lib/parkgate/wire/cbor.py", "def f():\n    from os import stat\n", "lib must not import os.stat"),
        ("lib/parkgate/wire/cbor.py", "import typing\n", "lib must not import typing"),
        ("lib/parkgate/wire/cbor.py", "from hal import clock\n", "lib must not import hal.clock"),
        ("lib/parkgate/wire/cbor.py", "from .batch import Batch\n", "circle: "),
        ("lib/parkgate/wire/cbor.py", "from parkgate.wire import batch\n", "circle: "),
        ("lib/parkgate/wire/cbor.py", "import parkgate.wire.batch\n", "circle: "),
        ("lib/parkgate/wire/cbor.py", "x = 1.5\n", "the float 1.5"),
        ("lib/parkgate/wire/cbor.py", "def f(a):\n    a /= 2\n", "cbor.py:2: a true division"),
        ("lib/parkgate/wire/cbor.py", "x = 3 / 2\n", "a true division"),
        ("lib/parkgate/wire/cbor.py", "x = float('1')\n", "float"),
        ("lib/parkgate/wire/cbor.py", "print('x')\n", "print()"),
        ("lib/parkgate/wire/cbor.py", "x = 1\n" * 501, "501 lines"),
        ("firmware/main.py", "import time\n", "main must not import time"),
        ("firmware/main.py", "from tasks.seal import Sealer\n", "main must not import tasks.seal.Sealer"),
        ("firmware/app.py", "from hal.clock import Clock\n", "app must not import hal.clock.Clock"),
        ("firmware/app.py", "import board\n", "app must not import board"),
        ("firmware/mqtt.py", "import socket\n", "firmware must not import socket"),
        ("firmware/mqtt.py", "import app\n", "firmware must not import app"),
        ("firmware/tasks/send.py", "import time\n", "tasks must not import time"),
        ("firmware/tasks/send.py", "from hal.clock import Clock\n", "tasks must not import hal.clock.Clock"),
        ("firmware/tasks/send.py", "from sensors import meter\n", "tasks must not import sensors.meter"),
        ("firmware/tasks/send.py", "print('x')\n", "print()"),
        ("firmware/tasks/send.py", "__import__('machine')\n", "__import__()"),
        ("firmware/sensors/meter.py", "import machine\n", "sensors must not import machine"),
        ("firmware/sensors/meter.py", "from ..hal import clock\n", "sensors must not import ..hal.clock"),
        (
            "firmware/sensors/meter.py",
            "from host_tools import cli\n",
            "sensors must not import host_tools.cli",
        ),
        ("firmware/hal/clock.py", "import app\n", "hal must not import app"),
        ("boards/pico/board.py", "import machine\n", "board must not import machine"),
        ("boards/pico/board.py", "from tasks import send\n", "board must not import tasks.send"),
        ("boards/unix/board.py", "import subprocess\n", "board unix must not import subprocess"),
        ("host_tools/hub/stores/store.py", "from firmware import app\n", "host_tools must not import firmware.app"),
        ("host_tools/hub/stores/store.py", "import hal.clock\n", "host_tools must not import hal.clock"),
        ("host_tools/hub/stores/store.py", "import host_tools.hub.stores.kept\n", "circle: "),
        ("host_tools/hub/stores/store.py", "def f():\n    from host_tools.hub.stores import kept\n", "circle: "),
        (
            "host_tools/hub/stores/store.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from host_tools.hub.stores.kept import Kept\n",
            "circle: ",
        ),
        ("host_tools/hub/stores/store.py", "def f():\n    import sqlite3\n", "host_tools must not import sqlite3"),
        ("host_tools/log/log.py", "import psycopg.rows\n", "host_tools must not import psycopg.rows"),
        (
            "host_tools/hub/stores/store.py",
            "from boards.unix import board\n",
            "host_tools must not import boards.unix.board",
        ),
        (
            "host_tools/hub/stores/store.py",
            "from tests.sim import flash\n",
            "host_tools must not import tests.sim.flash",
        ),
    ],
)
def test_a_planted_fault_is_found(tmp_path, path, text, fault):
    found = _plant(tmp_path, (path, text))
    assert any(line.startswith(("lib/parkgate: ", "host_tools: ", path)) and fault in line for line in found), found
