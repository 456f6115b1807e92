"""Writing to a board, and reading back what was written.

RP2: one UF2 file onto the boot loader's drive. ESP32: esptool as a program. The app alone: mpremote as a program, over
the serial port. Each way ends with a comparison by hash of what the board then holds.
"""

from __future__ import annotations

import glob
import hashlib
import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from host_tools.base.files import why
from host_tools.gateway.link import find_port
from host_tools.gateway.prompt import to_prompt, wait_prompt
from host_tools.image.app import app_image
from host_tools.image.app.code_in_place import modules_in
from host_tools.image.boards import CHIPS, Board
from host_tools.image.flash_image import OWN_BUILD, FlashError, Plan, app_files, code_block
from parkgate.errors import LinkError, SettingsError

DRIVE_TIMEOUT_S = 30.0
START_TIMEOUT_S = 30.0
LOOK_TIMEOUT_S = 10.0
PROGRAM_TIMEOUT_S = 600.0
_DRIVES = ("/media/*/*", "/run/media/*/*", "/Volumes/*", "[D-Z]:/")
_CHUNK = 64 * 1024
MPY_VERSION = 6

# Run on the board: the sha256 of every file below some folders, as JSON.
HASH_FILES = """
import gc, hashlib, binascii, os, sys, json
def walk(folder):
    for row in os.ilistdir(folder or '/'):
        path = folder + '/' + row[0]
        if row[1] == 0x4000:
            for p in walk(path): yield p
        else: yield path
def digest(path):
    h = hashlib.sha256()
    with open(path, 'rb') as f:
        while True:
            n = f.readinto(b)
            if not n: break
            h.update(memoryview(b)[:n])
    gc.collect()  # what stays must not lie scattered over all of the heap
    return binascii.hexlify(h.digest()).decode()
b = bytearray(1024)
found = {}
for folder in %r:
    try:
        for p in walk(folder): found[p[1:]] = digest(p)
    except OSError: pass
print(json.dumps([sys.implementation._machine, sys.implementation._mpy & 255, found]))
"""
REMOVE_FILES = """
import os
for path in %r: os.remove(path)
"""
# Until all is written each start leads to the prompt (main.py looks for this mark): no start mixes old and new code.
HOLD = """
import os
try: os.mkdir('/data')
except OSError: pass
with open('/data/repl', 'w') as f: f.write('flash')
"""
RELEASE = """
import os
try: os.remove('/data/repl')
except OSError: pass
"""
NOT_WHOLE = (
    "The firmware on the board is old and new in parts now. It waits at MicroPython's prompt, after a restart too, and "
    "samples nothing; settings, key and readings are untouched. Run the same command again: it goes on from there"
)
MARK = """
try: print(open('/data/repl').read())
except OSError: print()
"""
# The modules whose code lies in flash to be run in place, with bytes and CRC-32 (app/code_in_place.py).
CODE_STATE = """
import json
found = {}
try:
    import rp2, struct, uctypes
    from binascii import crc32
    end = uctypes.addressof(rp2.Flash()) - 32768 - 32
    tail = uctypes.bytearray_at(end - 28, 28)
    size, length, crc = struct.unpack_from('<III', tail, 16)
    if tail[:16] == b'parkgate code 1\\0' and 28 + length <= size <= 1 << 20:
        index = uctypes.bytearray_at(end - 28 - length, length)
        at = 0 if crc32(index) == crc else length
        while at < length:
            step, functions, _, texts, name = struct.unpack_from('<HHHHB', index, at)
            entries = at + 9 + name
            total = value = 0
            for i in range(functions + texts):
                place, long = struct.unpack_from('<IH', index, entries + 8 * i - 2 * max(0, i - functions))
                value = crc32(uctypes.bytearray_at(end - size + place, long), value)
                total += long
            found[str(index[at + 9:entries], 'utf-8')] = [total, value]
            at += step
except ImportError: pass
print(json.dumps(found))
"""
CHECK_TABLE = """
try:
    import rp2, uctypes, binascii
    t = uctypes.addressof(rp2.Flash()) - 32768
    print(binascii.crc32(uctypes.bytearray_at(t, 32768)))
except ImportError: print(-1)
"""


def progress(console: Console) -> Progress:
    """The bar that all ways share."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console)


# RP2


def write_rp2(plan: Plan, port: str, drive: Path | None, console: Console) -> None:
    """Copy the UF2 to the boot loader's drive, wait for the start, compare. Raises FlashError."""
    name = f"parkgate-{plan.board.name}.uf2"
    data = plan.outputs[name]
    folder = drive or _find_drive(plan.board, port, console)
    check_drive(folder, plan.board)
    try:
        with progress(console) as bar, (folder / name).open("wb") as out:
            task = bar.add_task("writing", total=len(data))
            for at in range(0, len(data), _CHUNK):
                out.write(data[at : at + _CHUNK])
                out.flush()
                bar.update(task, advance=_CHUNK)
    except OSError as error:
        raise FlashError(
            f"{folder}: {why(error)} while it was written: plug the board in again with BOOTSEL held, and repeat"
        ) from error
    if drive is not None and not (folder / "INFO_UF2.TXT").exists():
        raise FlashError(f"{folder} vanished while it was written: plug the board in again with BOOTSEL held")
    console.print("waiting for the board to start")
    if not plan.files:
        _let_go(plan.board, port, console)
        return
    compare(_after_start(lambda: _state_behind_console(port)), plan.board, plan.files)
    _mpremote(port, "reset")


def _let_go(board: Board, port: str, console: Console) -> None:
    """Let the gateway start where it waits, by `write_app`, for the code that was written just now."""

    def mark() -> str:
        try:
            wait_prompt(find_port(port), LOOK_TIMEOUT_S)
        except (LinkError, SettingsError) as error:
            raise FlashError(str(error)) from error
        return _mpremote(port, "exec", MARK).strip()

    try:
        waits = _after_start(mark, LOOK_TIMEOUT_S)
    except FlashError:
        waits = ""
    if not waits:
        console.print("nothing to read back: no file was written")
        return
    files = {p: data for p, data in app_files(board, table_in_flash=True).items() if p != "main.py"}
    try:
        compare(board_state(port, ["/lib"]), board, files)
    except FlashError as error:
        raise FlashError(
            f"the code is written, but the board's files are others: {error}. It waits at MicroPython's prompt. "
            f"Next: parkgate flash --board {board.name} --app-only"
        ) from error
    _mpremote(port, "exec", RELEASE)
    _mpremote(port, "reset")
    console.print("the files are those of this code: the board started")


def check_drive(folder: Path, board: Board) -> None:
    """Refuse what is no boot loader, or one of another chip."""
    try:
        text = (folder / "INFO_UF2.TXT").read_text(errors="replace")
    except OSError as error:
        raise FlashError(
            f"{folder} is not a boot loader drive: INFO_UF2.TXT is missing. Hold BOOTSEL and plug in"
        ) from error
    wanted = CHIPS[board.chip].drive
    there = next((line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith("Board-ID:")), "?")
    if there != wanted:
        raise FlashError(f"wrong chip: the board in boot loader mode is {there}, {board.name} is {wanted}")


def _drives() -> list[Path]:
    return [Path(p) for pattern in _DRIVES for p in sorted(glob.glob(pattern)) if (Path(p) / "INFO_UF2.TXT").exists()]


def _find_drive(board: Board, port: str, console: Console) -> Path:
    found = _drives()
    if not found:
        try:
            to_prompt(port)
            _mpremote(port, "bootloader", timeout_s=20.0)
        except (FlashError, LinkError, SettingsError):
            pass  # no MicroPython on it yet, or a code is set: the person presses the button
        console.print(f"Hold BOOTSEL while you plug the board in (waiting {DRIVE_TIMEOUT_S:.0f} s for its drive).")
        deadline = time.monotonic() + DRIVE_TIMEOUT_S
        while not found and time.monotonic() < deadline:
            time.sleep(0.5)
            found = _drives()
    if len(found) != 1:
        there = ", ".join(map(str, found)) or "none"
        raise FlashError(f"boot loader drives: {there}. Name one with --drive, or use --dry-run DIR and copy the .uf2")
    return found[0]


# ESP32


def esptool_command(plan: Plan, port: str, folder: Path, verb: str) -> list[str]:
    """What esptool is called with; the images lie in `folder`."""
    names = ["firmware.bin", "littlefs.bin"]
    pairs = [part for (address, *_), name in zip(plan.writes, names) for part in (hex(address), str(folder / name))]
    where = [] if port == "auto" else ["--port", port]
    return [*esptool_program(), "--chip", plan.board.chip, "--baud", "460800", *where, verb, *pairs]


def esptool_program() -> list[str]:
    """esptool of this Python, else the one on the PATH (where pipx puts it). Raises FlashError."""
    if importlib.util.find_spec("esptool") is not None:
        return [sys.executable, "-m", "esptool"]
    found = shutil.which("esptool")
    if found is None:
        raise FlashError("esptool is needed to write an ESP32: pip install 'esptool>=5', or use --dry-run DIR")
    return [found]


def write_esp32(plan: Plan, port: str, console: Console) -> None:
    """Write and verify with esptool, which also refuses a wrong chip. Raises FlashError."""
    esptool_program()
    with tempfile.TemporaryDirectory(prefix="parkgate-") as name:
        folder = Path(name)
        for output, data in plan.outputs.items():
            (folder / output).write_bytes(data)
        for verb in ("write-flash", "verify-flash"):
            console.print(f"esptool {verb}")
            # What esptool says goes to standard error, where our own lines are under --json.
            command, to = esptool_command(plan, port, folder, verb), sys.stderr if console.stderr else None
            try:
                done = subprocess.run(command, check=False, timeout=PROGRAM_TIMEOUT_S, stdout=to)
            except KeyboardInterrupt:
                raise KeyboardInterrupt("interrupted while esptool wrote: run the same command again") from None
            except OSError as error:
                raise FlashError(f"esptool cannot be started: {why(error)}. Run the same command again") from error
            except subprocess.TimeoutExpired as error:
                raise FlashError(f"no answer on port {port}: hold BOOT, press EN, let BOOT go, and repeat") from error
            if done.returncode:
                raise FlashError(
                    f"esptool {verb} failed (see above). Wrong chip: choose another --board. No answer: hold BOOT, "
                    "press EN, let BOOT go, and try again"
                )


# The app alone


def write_app(
    board: Board, files: dict[str, bytes], table: bytes, port: str, console: Console, code: str | None = None
) -> dict[str, int]:
    """Replace what differs in /lib, remove what no longer belongs there, compare, start; how many files were written
    and removed. `code` unlocks a gateway that runs there. Raises FlashError, GatewayRefused, SettingsError."""
    try:
        to_prompt(port, code)
    except LinkError as error:
        raise FlashError(f"{error}. Is the cable a data cable, the port free, MicroPython on the board?") from error
    state = board_state(port, ["/lib"])
    check_board(state, board)
    if OWN_BUILD.decode() in state["machine"]:
        raise FlashError(
            "this board's MicroPython was built with our board folder and has the firmware in it, before any file: "
            "build it anew and write it with --firmware FILE --keep-files"
        )
    try:
        _mpremote(port, "exec", HOLD)
        said = _replace(board, files, table, port, console, state["files"])
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"interrupted. {NOT_WHOLE}") from None
    except (FlashError, OSError) as error:  # the disk or the terminal of this computer can fail here too
        said = why(error) if isinstance(error, OSError) else str(error)
        raise FlashError(f"{said}. {NOT_WHOLE}") from error
    if said["waits"]:
        console.print(
            f"{said['written']} of {len(files)} files written, {said['removed']} removed; all compared. The board "
            "waits at MicroPython's prompt until the code that runs in place is the same: with up to "
            f"{said['in_heap']:,} bytes of it in the heap the gateway would want for memory. "
            f"Next: parkgate flash --board {board.name} --keep-files"
        )
        return said
    _mpremote(port, "reset")
    console.print(
        f"{said['written']} of {len(files)} files written, {said['removed']} removed; all compared, board started"
    )
    return said


def _replace(
    board: Board, files: dict[str, bytes], table: bytes, port: str, console: Console, there: dict[str, str]
) -> dict[str, int]:
    """Write, remove, compare, take the mark away; `there` are the hashes of what the board has. Raises FlashError."""
    if not _table_in_flash(port, table):
        files = {**files, "lib/p256.tbl": table}
    there = {**there, "main.py": ""}
    changed = {path: data for path, data in files.items() if there.get(path) != hashlib.sha256(data).hexdigest()}
    stale = ["/" + path for path in there if path.startswith("lib/") and path not in files]
    large = ["/" + path for path in changed if path.endswith(".pak") and path in there]
    if large:  # there may be no room for the old one beside the new one
        _mpremote(port, "exec", REMOVE_FILES % (large,))
    with tempfile.TemporaryDirectory(prefix="parkgate-") as name, progress(console) as bar:
        task = bar.add_task("writing", total=sum(map(len, changed.values())))
        folders = sorted({parent for path in changed for parent in _parents(path)})
        for folder in folders:
            _mpremote(port, "fs", "mkdir", f":/{folder}", may_fail=True)
        # main.py, which looks for the mark, comes first: one from before may not know that it stays.
        for batch in (["main.py"], *_batches({path: data for path, data in changed.items() if path != "main.py"})):
            words: list[str] = []
            for path in batch:
                local = Path(name) / path.replace("/", "__")
                local.write_bytes(changed[path])
                words += ["+", "fs", "cp", "-f", str(local), f":/{path}"]
            _mpremote(port, *words[1:])
            bar.update(task, advance=sum(len(changed[path]) for path in batch))
    if stale:
        _mpremote(port, "exec", REMOVE_FILES % (stale,))
    compare(board_state(port, ["/lib", "/main.py"]), board, {k: v for k, v in files.items() if k != "main.py"})
    in_heap = _code_in_heap(port, board) if board.port == "rp2" else 0
    waits = in_heap > board.data["stock_build"].get("changed_code_max", in_heap) if in_heap else False
    if not waits:
        _mpremote(port, "exec", RELEASE)
    return {"written": len(changed), "removed": len(stale), "in_heap": in_heap, "waits": waits}


def _code_in_heap(port: str, board: Board) -> int:
    """Bytes of the code that do not lie in flash to be run in place: no more than that will be in the heap. What few
    gateways need may have been left out of flash: it does not count."""
    there = json.loads(_mpremote(port, "exec", CODE_STATE).strip().splitlines()[-1])
    _, seldom = app_image.leaving(app_image.build(board.name))
    in_flash = modules_in(code_block(board))
    for name in seldom:
        if name not in there:
            in_flash.pop(name, None)
    return sum(size for name, (size, crc) in in_flash.items() if there.get(name) != [size, crc])


def _parents(path: str) -> Iterator[str]:
    parts = path.split("/")[:-1]
    for count in range(1, len(parts) + 1):
        yield "/".join(parts[:count])


def _batches(files: dict[str, bytes], size: int = 20) -> Iterator[list[str]]:
    paths = sorted(files)
    for at in range(0, len(paths), size):
        yield paths[at : at + size]


def _table_in_flash(port: str, table: bytes) -> bool:
    import binascii

    return int(_mpremote(port, "exec", CHECK_TABLE).strip() or -1) == binascii.crc32(table)


# Looking at a running board


def board_state(port: str, folders: list[str]) -> dict:
    """What MicroPython on the board says: machine, .mpy version, sha256 of the files. Raises FlashError."""
    text = _mpremote(port, "exec", HASH_FILES % (folders,))
    try:
        machine, mpy, files = json.loads(text.strip().splitlines()[-1])
    except (ValueError, IndexError) as error:
        raise FlashError(f"the board answers {text[-200:]!r}: is MicroPython on it?") from error
    return {"machine": machine, "mpy": mpy, "files": files}


def _state_behind_console(port: str) -> dict:
    """The state of a board on which the gateway runs since a moment, without a code."""
    try:
        to_prompt(port)
    except (LinkError, SettingsError) as error:
        raise FlashError(str(error)) from error
    return board_state(port, ["/lib", "/data"])


def check_board(state: dict, board: Board) -> None:
    """Refuse a board of another chip, or a MicroPython that cannot run what we compile."""
    chip = CHIPS[board.chip].title.replace("-", "")
    machine = state["machine"].replace("-", "")
    if not machine.endswith(chip):
        raise FlashError(
            f"wrong chip: on this port is a {state['machine']!r}, {board.name} has {CHIPS[board.chip].title}"
        )
    if state["mpy"] != MPY_VERSION:
        raise FlashError(
            f"the MicroPython on this board runs .mpy version {state['mpy']}, ours is {MPY_VERSION}: "
            "write the whole board, without --app-only"
        )


def compare(state: dict, board: Board, files: dict[str, bytes]) -> None:
    """Refuse a board whose files are not what was written."""
    check_board(state, board)
    wrong = [p for p, data in files.items() if p in state["files"] or p.startswith(("lib/", "data/"))]
    wrong = [p for p in wrong if state["files"].get(p) != hashlib.sha256(files[p]).hexdigest()]
    if wrong:
        raise FlashError(
            f"{len(wrong)} files on the board differ ({wrong[0]}, …): write once more; if it stays, the flash is bad"
        )


def _after_start(ask: Callable[[], Any], timeout_s: float = START_TIMEOUT_S) -> Any:
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            return ask()
        except FlashError:
            if time.monotonic() > deadline:
                raise
            time.sleep(1)


def _mpremote(port: str, *words: str, may_fail: bool = False, timeout_s: float = PROGRAM_TIMEOUT_S) -> str:
    """One run of mpremote as a program; what it printed. Raises FlashError."""
    command = [sys.executable, "-m", "mpremote", "connect", port, *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout_s)
    except OSError as error:
        raise FlashError(f"mpremote cannot be started: {why(error)}") from error
    except subprocess.TimeoutExpired as error:
        raise FlashError(f"no answer on port {port}: unplug the board and plug it in again") from error
    if done.returncode and not may_fail:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise FlashError(
            f"port {port}: {said[-1] if said else 'mpremote failed'}. Is the cable a data cable, the port free?"
        )
    return done.stdout
