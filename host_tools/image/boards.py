"""`parkgate boards`: the boards that Parkgate knows, and how to wire each.

A board is a folder of boards/ with board.json (what a tool or a person must know), board.py (what the firmware runs,
made from board.json) and what a build of MicroPython needs. The wiring of the usual modules is computed from a
board's pins.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from host_tools.base import files, output
from host_tools.base.paths import SOURCES
from host_tools.image.app import board_module
from parkgate.errors import ParkgateError

BOARDS = SOURCES / "boards"
MODULES = Path(__file__).resolve().parent / "data" / "modules.json"


class Chip(NamedTuple):
    """What the tools must know of a chip. `port` is MicroPython's port: rp2, esp32 or unix."""

    port: str
    title: str
    uf2_family: int = 0  # of a UF2 file (rp2)
    drive: str = ""  # the name of its boot loader's drive (rp2)
    heap_end: int = 0  # address behind MicroPython's heap (rp2)
    esp_number: int | None = None  # "chip_id" in the header of Espressif's images (esp32)


CHIPS = {
    "rp2040": Chip("rp2", "RP2040", uf2_family=0xE48BFF56, drive="RPI-RP2", heap_end=0x20040000),
    "rp2350": Chip("rp2", "RP2350", uf2_family=0xE48BFF59, drive="RP2350", heap_end=0x20080000),  # ARM code, secure
    "esp32": Chip("esp32", "ESP32", esp_number=0),
    "esp32s2": Chip("esp32", "ESP32-S2", esp_number=2),
    "esp32c3": Chip("esp32", "ESP32-C3", esp_number=5),
    "esp32s3": Chip("esp32", "ESP32-S3", esp_number=9),
    "esp32c2": Chip("esp32", "ESP32-C2", esp_number=12),
    "esp32c6": Chip("esp32", "ESP32-C6", esp_number=13),
    "esp32p4": Chip("esp32", "ESP32-P4", esp_number=18),
    "simulated": Chip("unix", "-"),
}
"""Chip as board.json, MicroPython and esptool call it → its row. This is the only table of chips. Some have no
board yet: their images can be told apart."""


class BoardError(ParkgateError):
    """There is no such board, or its folder is not as it should be."""


class Board(NamedTuple):
    """One folder; `data` is its board.json."""

    name: str
    folder: Path
    data: dict

    @property
    def chip(self) -> str:
        return self.data["chip"]

    @property
    def port(self) -> str:
        """MicroPython's port: rp2, esp32 or unix."""
        return CHIPS[self.chip].port

    def pin(self, number: int) -> str:
        """A pin as it is printed on the board."""
        return f"{self.data.get('pin_prefix', '')}{number}"

    def wire(self, end: str) -> str:
        """Where a wire goes: "rs485.tx" or "i2c_sda" on this board; other text as it is; "" if there is no such pin."""
        if end.startswith("pin:"):
            name = end[4:]
            port, _, role = name.partition(".")
            number = self.data["ports"].get(port, {}).get(role) if role else self.data["pins"].get(name)
            return "" if number is None else self.pin(number)
        return self.data.get("power", {}).get(end, end)


def names() -> list[str]:
    """Every board, sorted."""
    return [folder.name for folder in files.listed(BOARDS) if _has_board(folder)]


def _has_board(folder: Path) -> bool:
    try:
        return (folder / "board.json").is_file()
    except OSError as error:
        raise files.trouble("cannot look at", folder / "board.json", error) from None


def load(name: str) -> Board:
    """Raises BoardError."""
    folder = BOARDS / name
    try:
        if "/" in name or not _has_board(folder):
            raise BoardError(f"there is no board {name!r}; there are {', '.join(names())}")
        data = json.loads(files.read_text(folder / "board.json"))
    except ValueError as error:
        raise BoardError(f"{folder / 'board.json'}: {error}") from error
    return Board(name, folder, data)


def modules() -> list[dict]:
    """The usual modules and where their wires go."""
    return json.loads(files.read_text(MODULES))


def add_parser(subparsers) -> None:
    parser = subparsers.add_parser("boards", help="list the boards; with a name, show how to wire it")
    parser.add_argument("name", nargs="?", help="show this board and the wiring of the usual modules")
    parser.add_argument("--page", type=Path, metavar="FILE.md", help="write the page of modules for all boards")
    parser.add_argument("--module", type=Path, metavar="board.py", help="write what the firmware knows of this board")
    output.add_json(parser)


def run(args) -> int:
    console = Console(highlight=False)
    if args.module:
        files.write(args.module, _module(args.name))
    elif args.page:
        files.write(args.page, page())
    elif output.wanted(args):
        output.show(args, {"boards": [_described(load(name)) for name in ([args.name] if args.name else names())]})
    elif args.name:
        _show(load(args.name), console)
    else:
        _list(console)
    return 0


def _module(name: str | None) -> str:
    if not name:
        raise BoardError("--module writes the module of one board: name the board")
    board = load(name)
    if board.port not in board_module.BASES:
        raise BoardError(f"board {name} has a module of its own: it is not made from board.json")
    return board_module.text(name, board.port, board.data)


def _described(board: Board) -> dict:
    """A board for programs: its board.json, and the wiring of the modules as the board's pins are printed."""
    wiring = {module["name"]: {end: board.wire(there) for end, there in module["wires"]} for module in modules()}
    return {"name": board.name, "port": board.port, **board.data, "wiring": {} if board.port == "unix" else wiring}


def _list(console: Console) -> None:
    table = Table(box=None, pad_edge=False)
    for title in ("board", "what", "chip", "network", "RS-485: TX, RX, DE"):
        table.add_column(title)
    for name in names():
        board = load(name)
        data = board.data
        links = ", ".join(data["links"]) or "none: by cable"
        wires = "\n".join(
            ", ".join(board.wire(f"pin:{port}.{role}") or "automatic" for role in ("tx", "rx", "de"))
            for port in data["ports"]
        )
        table.add_row(name, data["title"], CHIPS[data["chip"]].title, links, wires)
    console.print(table)
    console.print("\n`parkgate boards NAME` shows all of its wiring, `parkgate flash --board NAME` writes a board.")


def _show(board: Board, console: Console) -> None:
    data = board.data
    console.print(f"[bold]{data['title']}[/bold]  (board {board.name}, {CHIPS[board.chip].title})\n")
    for note in data["notes"]:
        console.print(f"- {note}")
    if board.port == "unix":
        return
    console.print("\nSerial ports, as settings `buses.device` names them:")
    for name, port in data["ports"].items():
        pins = ", ".join(f"{role} {board.pin(port[role])}" for role in ("tx", "rx", "de") if port[role] is not None)
        console.print(f"  {name}: UART {port['uart']}, {pins}")
    for module in modules():
        console.print(f"\n[bold]{module['name']}[/bold]  {module['what']}")
        for end, there in module["wires"]:
            place = board.wire(there)
            if place:
                console.print(f"  {end:<12} {place}")
        for note in module["notes"]:
            console.print(f"  - {note}")
    console.print("\nSources: " + ", ".join(data["sources"]))


PAGE_HEAD = """# The usual modules, and where their wires go

Written by `parkgate boards --page boards/WIRING.md` from the boards' data; do not edit it here. `parkgate boards NAME`
shows the same for one board. Pins are named as they are printed on the board; a dash: this board has no such pin to
spare. All signals are 3.3 V. Wire with the power off.
"""


def page() -> str:
    """The page of modules, a table each with a column for every real board."""
    real = [board for board in map(load, names()) if board.port != "unix"]
    lines = [PAGE_HEAD]
    for module in modules():
        lines += [f"## {module['name']}", "", module["what"][0].upper() + module["what"][1:] + ".", ""]
        lines += ["| wire | " + " | ".join(board.name for board in real) + " |", "|---" * (len(real) + 1) + "|"]
        for end, there in module["wires"]:
            places = [board.wire(there) or "-" for board in real]
            if len(set(places)) == 1 and places[0] == there:
                lines.append(f"| {end} | {there} |" + " |" * (len(real) - 1))
            else:
                lines.append(f"| {end} | " + " | ".join(places) + " |")
        lines += ["", *[f"- {note}" for note in module["notes"]], ""]
    return "\n".join(lines)
