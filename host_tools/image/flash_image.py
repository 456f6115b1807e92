"""The exact bytes that a board's flash gets: MicroPython, our files, the signing table, the partition table.

Nothing here touches a board. `plan` refuses what would not start: firmware for another chip or board, firmware whose
file system lies elsewhere, files that do not fit. What it makes it reads back, by way of the same libraries, before it
gives it out.
"""

from __future__ import annotations

import ast
import binascii
import hashlib
import io
import json
import re
import struct
import tokenize
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from host_tools.base import profile_files
from host_tools.image import esp_image, littlefs_image, pack, rp2_firmware, uf2
from host_tools.image.app import app_image, code_in_place, names_in_place
from host_tools.image.boards import CHIPS, Board
from parkgate.errors import ParkgateError

# Ctrl-C must not lead to the prompt, nor may firmware that is not whole, where a code was set.
MAIN = b"""try:
    from micropython import kbd_intr
    kbd_intr(-1)
    for _ in range(2):
        pass  # a Ctrl-C that came before shows itself here
except KeyboardInterrupt:
    pass
import sys
sys.path.insert(0, '/lib')  # before what MicroPython has frozen
"""
# While `parkgate flash --app-only` writes, and after a cut in the middle of it, nothing runs that is not whole.
HELD = b"""try:
    with open('/data/repl') as f:
        unfinished = f.read()
except OSError:
    unfinished = ''
"""
RUN = b"""try:
    if unfinished:
        print('the firmware is not whole: run parkgate flash --app-only again')
    else:
%s        import pack
        pack.mount()
%s        import main
except BaseException as e:
    sys.print_exception(e)
    try:
        open('/data/access.code').close()
        import machine, time
        time.sleep(20)
        machine.reset()
    except OSError:
        pass
"""
NAMES_IN_PLACE = b"""        try:
            from names_in_place import use_names
            use_names()
        except Exception as e:  # names come into the heap then
            sys.print_exception(e)
"""
IN_PLACE = b"""        from in_place import install
        install()
        rp2 = use_names = None  # rp2: of MicroPython's own start
"""
NO_NETWORK = b"sys.modules['usocket'] = sys  # no network here: the MQTT encoder only wants the name\n"
BEFORE_PACK = ("pack.mpy", "names_in_place.mpy")  # what is imported before the pack is mounted
LITTLE_ROOM = "little room behind MicroPython"
OLDEST_VERSION = (1, 24)  # .mpy files of version 6.3; ours are tested with 1.28
OWN_BUILD = b"Parkgate on "  # begins the board name of a firmware that was built with one of our folders

TABLE_MAGIC = b"parkgate p256 comb table 1\0\0"  # as in firmware/hal/rp2/mapped_table.py
TABLE_HEAD_BYTES = 32
# All meter profiles go along where they take at most this part of the file system (an RP2 has the journal in it too).
METERS_PART = {"rp2": 6, "esp32": 2}
BLOCK_BYTES = littlefs_image.BLOCK_BYTES
SEGMENT_FOLDER, SPARE_BLOCKS = 32, 8  # as in firmware/hal/segment_files.py


class FlashError(ParkgateError):
    """The board cannot be written like this. The text says what to do next."""


@dataclass
class Plan:
    """`writes` are (address in flash, bytes, what it is); `files` is what the file system will hold."""

    board: Board
    version: str
    own_build: bool
    writes: list[tuple[int, bytes, str]] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    outputs: dict[str, bytes] = field(default_factory=dict)  # file name → content, for --dry-run and for the tools
    notes: list[str] = field(default_factory=list)

    def describe(self) -> dict:
        """The plan as JSON takes it."""
        return {
            "board": self.board.name,
            "chip": self.board.chip,
            "micropython": self.version,
            "built_with_parkgate": self.own_build,
            "writes": [
                {"address": address, "bytes": len(data), "sha256": _sha256(data), "what": what}
                for address, data, what in self.writes
            ],
            "files": {path: {"bytes": len(data), "sha256": _sha256(data)} for path, data in sorted(self.files.items())},
            "outputs": {name: {"bytes": len(data), "sha256": _sha256(data)} for name, data in self.outputs.items()},
            "notes": self.notes,
        }


@dataclass
class _Data:
    """What /data shall hold beside what is always there."""

    folder: Path | None
    meters: tuple[str, ...]


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def app_files(board: Board, table_in_flash: bool) -> dict[str, bytes]:
    """The compiled firmware as it lies on the board's file system. Raises CompileError."""
    folder = app_image.build(board.name)
    modules = _compiled(folder)
    files = {f"lib/{name}": modules.pop(name) for name in BEFORE_PACK if name in modules}
    files["lib/app.pak"] = pack.build(modules)
    if not table_in_flash:
        files[f"lib/{app_image.TABLE_FILE}"] = (folder / app_image.TABLE_FILE).read_bytes()
    files["main.py"] = MAIN + (b"" if board.data["links"] else NO_NETWORK)
    files["main.py"] += HELD + RUN % ((NAMES_IN_PLACE, IN_PLACE) if board.port == "rp2" else (b"", b""))
    return files


def _compiled(folder: Path) -> dict[str, bytes]:
    """Path below the folder of the compiled firmware → .mpy file."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*.mpy"))}


def code_block(board: Board) -> bytes:
    """All code that may run in place on an RP2. Raises CompileError, MpyError."""
    return code_in_place.build(_modules(board))


def _modules(board: Board) -> dict[str, bytes]:
    """Name of each module → .mpy file."""
    return {path.removesuffix(".mpy"): data for path, data in _compiled(app_image.build(board.name)).items()}


class InPlace(NamedTuple):
    """What an RP2 reads where it lies in flash: the block of code, the table of names in front of it, a note on what is
    left out. A block that is left out is b""; the note is "" where nothing is."""

    code: bytes
    names: bytes
    note: str


def in_place(board: Board, flash: bytes, end: int) -> InPlace:
    """The blocks that end at the offset `end`, for the MicroPython whose image is `flash`. Where they do not all fit
    behind the image, what costs the fewest gateways the least heap is left out first. Raises CompileError, MpyError."""
    room = end - -(-len(flash) // uf2.SECTOR_BYTES) * uf2.SECTOR_BYTES
    modules = _modules(board)
    rom = names_in_place.of_image(flash)
    if rom is None:
        return _code_alone(modules, room, "no table of names for this MicroPython: names will be in the heap")
    leaving_at_times, seldom = app_image.leaving(app_image.build(board.name))
    paths = [f"/app/{name}.mpy".encode() for name in modules]
    parsed = {name: code_in_place.parse(data) for name, data in modules.items()}
    before = {name for name in parsed["names_in_place"].names if isinstance(name, bytes)}
    before |= _words(app_files(board, True)["main.py"])
    names = names_in_place.table(parsed.values(), paths, rom, before)
    image = names_in_place.Image(rom, names_in_place.types_of_image(flash, rom))

    def blocks(without: set[str], leaving: set[str]) -> tuple[bytes, bytes]:
        code = code_in_place.build({name: data for name, data in modules.items() if name not in without})
        places = code_in_place.places(code, uf2.FLASH_BASE + end)
        firmware = names_in_place.Code({name: parsed[name] for name in places}, places, leaving)
        begin = uf2.FLASH_BASE + end - len(code)
        return code, names_in_place.build(firmware, names, image, begin, CHIPS[board.chip].heap_end)

    missing = 0  # bytes that the last try was too long
    for count in range(-1, len(seldom) + 1):
        without = set(seldom[: max(0, count)])
        less = sum(parsed[name].code_bytes for name in without)
        if count > 0 and less < missing:
            continue
        code, names_block = blocks(without, leaving_at_times | set(seldom if count >= 0 else ()))
        if len(code) + len(names_block) <= room:
            note = f"{LITTLE_ROOM}: {less / 1000:.1f} kB of code that few gateways use will take heap where it is used"
            return InPlace(code, names_block, note if without else "")
        missing = less + len(code) + len(names_block) - room
    code, names_block = blocks(set(seldom), set(modules))
    if len(code) + len(names_block) <= room:
        return InPlace(
            code, names_block, f"{LITTLE_ROOM}: the firmware's functions and tables (25 kB) will be in the heap"
        )
    return _code_alone(modules, room, f"{LITTLE_ROOM}: the firmware's names, functions and tables will be in the heap")


def _code_alone(modules: dict[str, bytes], room: int, note: str) -> InPlace:
    """Without a table of names; without code either where there is no room even for that."""
    code = code_in_place.build(modules)
    if len(code) <= room:
        return InPlace(code, b"", note)
    return InPlace(b"", b"", "no room for the code beside MicroPython: it will be copied into the heap")


def _words(source: bytes) -> set[bytes]:
    """All that MicroPython may take for a name in a source."""
    tokens = list(tokenize.tokenize(io.BytesIO(source).readline))
    found = {token.string for token in tokens if token.type == tokenize.NAME}
    found |= {str(ast.literal_eval(token.string)) for token in tokens if token.type == tokenize.STRING}
    return {word.encode() for word in found}


def _without_indent(text: str) -> bytes:
    """A profile as the board keeps it: each line where it was, since faults are named by line."""
    return "\n".join(line.strip() for line in text.splitlines()).encode() + b"\n"


def data_files(folder: Path | None, room: int, notes: list[str], wanted: tuple[str, ...] = ()) -> dict[str, bytes]:
    """What goes into /data: the files of `folder`, and the meter profiles that are wanted: all, where `room` bytes are
    enough, if none is named."""
    files = {}
    meters = {
        f"data/meters/{path.name}": _without_indent(path.read_text("utf-8"))
        for path in profile_files.paths()
        if not wanted or path.stem in wanted
    }
    unknown = [name for name in wanted if f"data/meters/{name}.json" not in meters]
    if unknown:
        raise FlashError(f"--meters: there is no {', '.join(unknown)}; `parkgate meters list` has all")
    if wanted or len(meters) * BLOCK_BYTES <= room:
        files.update(meters)
    else:
        notes.append("the meter profiles are left out, there is no room for all: name those in use, --meters NAME,NAME")
    if folder is not None:
        if not folder.is_dir():
            raise FlashError(f"--data {folder}: there is no such folder")
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                files[f"data/{path.relative_to(folder).as_posix()}"] = path.read_bytes()
    return files


def plan(
    board: Board,
    firmware: bytes,
    data_folder: Path | None,
    keep_files: bool = False,
    meters: tuple[str, ...] = (),
) -> Plan:
    """Everything that is to be written. `keep_files` leaves the board's file system as it is; `meters` are the profiles
    to bring along, all if there is room and none is named. Raises FlashError, ImageError, CompileError."""
    if board.port == "unix":
        raise FlashError("this board is simulated: `parkgate simulate FOLDER` starts it")
    made = (_plan_rp2 if board.port == "rp2" else _plan_esp32)(board, firmware, _Data(data_folder, meters), keep_files)
    made.outputs["plan.json"] = json.dumps(made.describe(), indent=1).encode() + b"\n"
    return made


def _refuse_old(board: Board, version: str) -> None:
    numbers = re.match(r"v?(\d+)\.(\d+)", version)
    if not numbers:
        raise FlashError(f"not a MicroPython image, or one without a version; take one from {_page(board)}")
    if (int(numbers[1]), int(numbers[2])) < OLDEST_VERSION:
        oldest = ".".join(map(str, OLDEST_VERSION))
        raise FlashError(f"MicroPython {version} is too old: {oldest} or newer from {_page(board)}")


def _page(board: Board) -> str:
    return board.data["micropython"]["page"]


def _file_system(made: Plan, data: _Data, size: int, table_in_flash: bool) -> bytes:
    board = made.board
    made.files = {} if made.own_build else app_files(board, table_in_flash)
    made.files.update(data_files(data.folder, size // METERS_PART[board.port], made.notes, data.meters))
    try:
        image = littlefs_image.build(made.files, size, board.port)
    except littlefs_image.ImageError as error:
        raise FlashError(f"the app is too large for {board.name}: {error}; give fewer files with --data") from error
    if board.port == "rp2" and not made.own_build:
        _check_journal_fits(board, image)
    if littlefs_image.read(image, board.port) != made.files:
        raise FlashError("the file system made here does not read back as it was written: a fault of this computer")
    return image


def _check_journal_fits(board: Board, image: bytes) -> None:
    segments = board.data["stock_build"]["segments"]
    needed = segments + 2 * -(-segments // SEGMENT_FOLDER) + SPARE_BLOCKS
    free = len(image) // BLOCK_BYTES - littlefs_image.used_blocks(image, board.port)
    if free < needed:
        raise FlashError(
            f"the app is too large for {board.name}: its files leave {free} blocks of 4 KiB, "
            f"the journal needs {needed}; "
            "give fewer files with --data, or build MicroPython with this board's folder"
        )


# RP2: one UF2 file.


def _plan_rp2(board: Board, firmware: bytes, data: _Data, keep_files: bool) -> Plan:
    image = _rp2_image(board, firmware)
    flash = image.flash()
    told = rp2_firmware.describe(flash)
    made = Plan(board, told.version, OWN_BUILD in flash)
    wanted = board.data["micropython"]["board_id"]
    if told.board_id != wanted:
        raise FlashError(
            f"this firmware is for the board {told.board_id or 'of an unknown name'!r}, not {wanted!r}; "
            f"take {board.data['micropython']['board']} from {_page(board)}"
        )
    _refuse_old(board, told.version)
    offset, size = board.data["layout"]["storage"]
    if told.storage != (offset, size):
        there = "nowhere" if told.storage is None else f"{told.storage[1] // 1024} KiB at {told.storage[0]:#x}"
        raise FlashError(
            f"this firmware has its storage {there}; for {board.name} it must be {size // 1024} KiB at {offset:#x}: "
            "use MicroPython's own build, or one made with this board's folder"
        )
    if len(flash) > offset:
        raise FlashError("this firmware reaches into its own storage area: the file is damaged")
    made.writes.append((0, flash, "MicroPython " + told.version))
    table = b"" if made.own_build else table_block(app_image.comb_table())
    room = table and len(flash) <= offset - -(-len(table) // uf2.SECTOR_BYTES) * uf2.SECTOR_BYTES
    if room:
        made.writes.append((offset - len(table), table, "signing table"))
        begin = offset - len(table)
        blocks = in_place(board, flash, begin)
        for block, what in ((blocks.code, "code that runs in place"), (blocks.names, "names of the code")):
            begin -= len(block)
            if block:
                made.writes.append((begin, block, what))
        if blocks.note:
            made.notes.append(blocks.note)
    if made.own_build:
        size = board.data["own_build"]["file_system_bytes"]
        made.notes.append("built with this board's folder: the app is frozen in, the journal has a raw region")
    else:
        made.notes.append(
            "MicroPython's own build: the journal lies in files, and an unreadable file system is formatted"
        )
    if keep_files:
        made.notes.append("the file system is not written")
    else:
        made.writes.append((offset, _file_system(made, data, size, bool(room)), "file system"))
    regions = {uf2.FLASH_BASE + address: data for address, data, _ in made.writes}
    made.outputs[f"parkgate-{board.name}.uf2"] = _checked_uf2(image, regions)
    return made


def _rp2_image(board: Board, firmware: bytes) -> uf2.Uf2:
    try:
        image = uf2.parse(firmware)
    except uf2.Uf2Error as error:
        raise FlashError(
            f"{error}; take the .uf2 of {board.data['micropython']['board']} from {_page(board)}"
        ) from error
    chips = {row.uf2_family: chip for chip, row in CHIPS.items() if row.uf2_family}
    chip = chips.get(image.family)
    if chip != board.chip:
        title = CHIPS[chip].title if chip else f"family {image.family:#x}"
        raise FlashError(
            f"wrong chip: this firmware is for {title}, {board.name} has {CHIPS[board.chip].title}; "
            f"take {board.data['micropython']['board']} from {_page(board)}"
        )
    return image


def table_block(table: bytes) -> bytes:
    """The signing table with the head that the firmware looks for; it ends where the storage area begins."""
    return TABLE_MAGIC + struct.pack("<I", binascii.crc32(table)) + table


def _checked_uf2(image: uf2.Uf2, regions: dict[int, bytes]) -> bytes:
    data = uf2.build(image.family, regions, image.foreign)
    back = uf2.parse(data)
    flash = back.flash()
    for address, content in regions.items():
        at = address - uf2.FLASH_BASE
        if flash[at : at + len(content)] != content:
            raise FlashError("the UF2 made here does not read back as it was written: a fault of this computer")
    return data


# ESP32: one call of esptool.


def _plan_esp32(board: Board, firmware: bytes, data: _Data, keep_files: bool) -> Plan:
    start = board.data["layout"]["image_offset"]
    try:
        told = esp_image.describe(firmware, start)
    except esp_image.EspImageError as error:
        raise FlashError(f"{error} ({board.data['micropython']['board']}: {_page(board)})") from error
    if told.chip != CHIPS[board.chip].title:
        raise FlashError(
            f"wrong chip: this firmware is for {told.chip}, {board.name} has {CHIPS[board.chip].title}; "
            f"take {board.data['micropython']['board']} from {_page(board)}"
        )
    _refuse_old(board, told.version)
    table = partitions(board)
    places = {part.name: part for part in table}
    app = next(part for part in table if part.kind == "app")
    if told.app[0] != app.offset or told.app[1] > app.size:
        raise FlashError(
            f"the app in this firmware takes {told.app[1]:,} bytes at {told.app[0]:#x}; there are {app.size:,} at "
            f"{app.offset:#x} in partitions.csv: use MicroPython's plain build, without OTA or extras"
        )
    made = Plan(board, told.version, OWN_BUILD in firmware)
    raw_table = esp_image.table_bytes(table)
    whole = esp_image.with_table(firmware[: app.offset + app.size - start], start, raw_table)
    made.writes.append((start, whole, "boot loader, partition table, MicroPython " + told.version))
    made.outputs["firmware.bin"] = whole
    made.outputs["partitions.bin"] = raw_table
    if keep_files:
        made.notes.append("the file system is not written")
    else:
        vfs = places["vfs"]
        image = _file_system(made, data, vfs.size, table_in_flash=False)
        made.writes.append((vfs.offset, image, "file system"))
        made.outputs["littlefs.bin"] = image
    made.notes.append(f"the journal's partition at {places['journal'].offset:#x} is left as it is")
    return made


def partitions(board: Board) -> list[esp_image.Partition]:
    """The table of an ESP32 board. Raises EspImageError."""
    text = (board.folder / board.data["layout"]["partitions"]).read_text(encoding="utf-8")
    return esp_image.read_csv(text, board.data["flash_bytes"])
