"""`parkgate simulate`: a gateway on this machine. It is the firmware itself, under MicroPython's Unix port.

A gateway's folder is what a board's flash would be: settings, key, meter profiles and the raw journal region. Stopping
the process with SIGKILL is a power cut; starting it again on the same folder is the power coming back.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
import tty
from pathlib import Path

from host_tools.base import files, folder_lock, output, profile_files, unix_port
from host_tools.base.paths import METER_PROFILES
from host_tools.image.app import app_image
from host_tools.sim.simulated_prompt import Prompt
from parkgate.errors import ParkgateError
from parkgate.meters.profiles import split_name

# A Pico W has 195 kB with Wi-Fi up. Objects are twice as large here, and the code, which a board runs from its flash,
# takes some 90 kB of this heap.
HEAP_BYTES = 480_000
BOARD = "unix"
STATUS_S = 10.0  # between two status lines where they cannot be overwritten
SHOWN = ("sampled", "acknowledged", "buffered", "dropped", "batches", "errors", "crashes")
LOCK_FILE = "lock"
CLEAR = "\r\x1b[K" if sys.stdout.isatty() else ""
RESTART_EXIT_CODE, PROMPT_EXIT_CODE = 75, 76  # as boards/unix has them


class GatewayBusy(ParkgateError):
    """Another process simulates a gateway on this folder."""


class SimulatedGateway:
    """One gateway process and what it says. Not started by construction."""

    def __init__(self, folder: Path, heap_bytes: int = HEAP_BYTES, app: Path | None = None):
        """`app` is a folder with compiled firmware, where it is not to be the one of now."""
        self.folder = Path(folder)
        self.heap_bytes = heap_bytes
        self.status: dict = {}
        self.lines: list[str] = []  # the last lines of its log, without the status lines
        self.lines_said = 0  # all of them so far
        self._process: subprocess.Popen | None = None
        self._reader: threading.Thread | None = None
        self._environment: dict[str, str] = {}
        self._app: Path | None = None
        self._given_app = app
        self._stopping = threading.Event()
        self._power = threading.Lock()
        self._line: tuple[int, int] | None = None
        self._held: int | None = None  # the lock of the folder; the gateway's process holds a copy of it

    def console(self) -> str:
        """The tty of its console: a pseudo-terminal that stays over restarts; FOLDER/console is a link to it."""
        if self._line is None:
            master, slave = os.openpty()
            tty.setraw(slave)
            os.set_blocking(master, False)  # the gateway reads it and must never wait
            self._line = master, slave
            link = self.folder / "console"
            link.unlink(missing_ok=True)
            link.symlink_to(os.ttyname(slave))
        return os.ttyname(self._line[1])

    def configure(self, settings: dict) -> None:
        """Write settings.json and the meter profiles that it names into the folder."""
        meters = self.folder / "meters"
        files.make_folder(meters)
        for instrument in settings.get("instruments", ()):
            name = split_name(instrument["profile"])[0]
            shutil.copyfile(profile_files.find(name) or METER_PROFILES / f"{name}.json", meters / f"{name}.json")
        files.write(self.folder / "settings.json", json.dumps(settings, indent=1) + "\n")

    def bring_meters(self) -> None:
        """Put every meter profile into the folder, as an installation does."""
        meters = self.folder / "meters"
        files.make_folder(meters)
        for path in profile_files.paths():
            shutil.copyfile(path, meters / path.name)

    def start(self, environment: dict[str, str] | None = None) -> None:
        """Power on. Raises GatewayBusy."""
        if self._process and self._process.poll() is None:
            raise RuntimeError("the gateway is running already")
        self.status = {}
        files.make_folder(self.folder)
        if self._reader:
            self._reader.join(5)  # of a process that was killed from outside: it lets the folder go
        self._hold()
        self.console()
        self._environment = {"PARKGATE_CONSOLE": "-", **(environment or {})}
        self._app = self._given_app or app_image.build(BOARD)
        self._stopping.clear()
        self._process = self._power_on()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _hold(self) -> None:
        """Take the folder: two gateways on one flash would ruin its journal."""
        if self._held is None:
            try:
                self._held = folder_lock.hold(self.folder / LOCK_FILE)
            except BlockingIOError:
                raise GatewayBusy(
                    f"a gateway runs on {self.folder} already: stop it first, or give this one a folder of its own"
                ) from None

    def _let_go(self) -> None:
        with self._power:
            if self._held is not None:
                os.close(self._held)
                self._held = None

    def _power_on(self) -> subprocess.Popen:
        assert self._line is not None and self._app is not None and self._held is not None
        return unix_port.start(
            "main",
            [str(self.folder.absolute())],
            path=[self._app],
            cwd=self._app,  # MicroPython looks for modules where it is started: a folder named "board" is none
            heapsize=str(self.heap_bytes),
            env=self._environment,
            stdin=self._line[0],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(self._held,),  # whoever is killed, the folder is taken while the gateway runs
            start_new_session=True,  # Ctrl-C at the terminal is for the one who started us
            keep_through_hangup=True,  # the meter's end of a line may go away
        )

    def _read(self) -> None:
        """Take in what it says; when it ends to start again, as a board does, start it again."""
        while self._process:
            process = self._process
            self._take(process)
            code = process.wait()
            if code not in (RESTART_EXIT_CODE, PROMPT_EXIT_CODE):
                self._let_go()
                return
            if code == PROMPT_EXIT_CODE:
                self._prompt()
            with self._power:
                if self._stopping.is_set():
                    return
                self.status = {}
                self._process = self._power_on()

    def _prompt(self) -> None:
        """Serve MicroPython's prompt on the console until the gateway is to start again."""
        assert self._line is not None and self._app is not None

        def started(process):
            with self._power:
                if self._stopping.is_set():
                    process.kill()
                self._process = process

        self.status = {}
        self._add_line("MicroPython's prompt is on the console")
        Prompt(self._line[0], self.folder, self._app, self.heap_bytes, started, self._stopping.is_set).run()

    def _take(self, process: subprocess.Popen) -> None:
        assert process.stdout is not None
        for raw in process.stdout:
            line = raw.decode(errors="replace").rstrip()
            if line.startswith("status {"):
                try:
                    self.status = json.loads(line[7:])
                    continue
                except ValueError:
                    pass  # a line cut by the end of the process: show it like any other
            self._add_line(line)

    def _add_line(self, line: str) -> None:
        self.lines.append(line)
        del self.lines[:-200]
        self.lines_said += 1

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def running(self) -> bool:
        if self._process is None:
            return False
        if self._process.poll() is None:
            return True
        return self._reader is not None and self._reader.is_alive() and not self._stopping.is_set()

    def kill(self) -> None:
        """Cut the power."""
        with self._power:
            self._stopping.set()
            if self._process:
                self._process.kill()
                self._process.wait()
        if self._reader:
            self._reader.join(5)
        self._let_go()

    def public_key(self, timeout_s: float = 10.0) -> bytes:
        """x || y, which the gateway writes at its first start."""
        deadline = time.monotonic() + timeout_s
        path = self.folder / "public.key"
        while time.monotonic() < deadline:
            if path.exists():
                return bytes.fromhex(path.read_text())
            if not self.running():
                break
            time.sleep(0.02)
        raise RuntimeError("the gateway made no key:\n" + "\n".join(self.lines[-20:]))


def add_parser(subparsers) -> None:
    parser = subparsers.add_parser("simulate", help="run one gateway here, on a folder that stands for its flash")
    parser.add_argument(
        "folder",
        type=Path,
        help="stands for the flash: key, settings, journal; made if missing. A settings.json in it is used",
    )
    profile_files.add_argument(parser)
    output.add_json(parser)


def run(args) -> int:
    """Run it until Ctrl-C, or until it ends. Raises GatewayBusy, FileTrouble."""
    profile_files.use(args.meter_folders)
    gateway = SimulatedGateway(args.folder)
    with output.talk(args):
        status = _watch(args, gateway)
    output.show(args, {"folder": str(args.folder), "status": status})
    return 0


def _watch(args, gateway: SimulatedGateway) -> dict:
    """Show what it says; its last status."""
    gateway.bring_meters()
    print("compiling the firmware where it has changed …", flush=True)
    gateway.start()
    print(f"console: {args.folder / 'console'} ({gateway.console()})")
    if not (args.folder / "settings.a").exists() and not (args.folder / "settings.b").exists():
        print(f"a bare board; in another terminal: parkgate provision --port {args.folder} --hub …", flush=True)
    shown = 0
    told_s = -STATUS_S
    try:
        while gateway.running():
            time.sleep(0.5)
            said = gateway.lines_said
            if said > shown:
                print(CLEAR + "\n".join(gateway.lines[shown - said :]), flush=True)
            shown = said
            if gateway.status and (sys.stdout.isatty() or time.monotonic() - told_s >= STATUS_S):
                told_s = time.monotonic()
                end = "" if sys.stdout.isatty() else "\n"
                print(CLEAR + ", ".join(f"{gateway.status[k]} {k}" for k in SHOWN), end=end, flush=True)
    except KeyboardInterrupt:
        print()
    finally:
        gateway.kill()
    return gateway.status
