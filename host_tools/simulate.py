"""`parkgate simulate`: a gateway on this machine. It is the firmware itself, under MicroPython's Unix port.

A gateway's folder is what a board's flash would be: settings, key, meter profiles and the raw journal region. Stopping
the process with SIGKILL is a power cut; starting it again on the same folder is the power coming back.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
import time
from pathlib import Path

from host_tools import app_image, unix_port
from parkgate.profiles import split_name

HEAP_BYTES = 390_000  # objects are twice as large as on a Pico W, which has 195 kB with Wi-Fi up
REPOSITORY = Path(__file__).resolve().parent.parent
METERS = REPOSITORY / "lib" / "meters"
BOARD = "unix"


class SimulatedGateway:
    """One gateway process and what it says. Not started by construction."""

    def __init__(self, folder: Path, heap_bytes: int = HEAP_BYTES):
        self.folder = Path(folder)
        self.heap_bytes = heap_bytes
        self.status: dict = {}
        self.lines: list[str] = []  # the last lines of its console, without the status lines
        self._process: subprocess.Popen | None = None
        self._reader: threading.Thread | None = None

    def configure(self, settings: dict) -> None:
        """Write settings.json and the meter profiles that it names into the folder."""
        meters = self.folder / "meters"
        meters.mkdir(parents=True, exist_ok=True)
        for instrument in settings.get("instruments", ()):
            name = split_name(instrument["profile"])[0] + ".json"
            shutil.copyfile(METERS / name, meters / name)
        path = self.folder / "settings.json"
        aside = path.with_suffix(".new")
        aside.write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
        aside.replace(path)

    def start(self, environment: dict[str, str] | None = None) -> None:
        """Power on."""
        if self._process and self._process.poll() is None:
            raise RuntimeError("the gateway is running already")
        self.status = {}
        self._process = unix_port.start(
            "main",
            [str(self.folder)],
            path=[app_image.build(BOARD)],
            heapsize=str(self.heap_bytes),
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C at the terminal is for the one who started us
        )
        self._reader = threading.Thread(target=self._read, args=(self._process,), daemon=True)
        self._reader.start()

    def _read(self, process: subprocess.Popen) -> None:
        assert process.stdout is not None
        for raw in process.stdout:
            line = raw.decode(errors="replace").rstrip()
            if line.startswith("status {"):
                try:
                    self.status = json.loads(line[7:])
                    continue
                except ValueError:
                    pass  # a line cut by the end of the process: show it like any other
            self.lines.append(line)
            del self.lines[:-200]

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """Cut the power."""
        if self._process:
            self._process.kill()
            self._process.wait()
        if self._reader:
            self._reader.join(5)

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
    parser.add_argument("folder", type=Path, help="folder with settings.json; key and journal are made in it")


def run(args) -> int:
    if not (args.folder / "settings.json").exists():
        raise SystemExit(f"{args.folder}: no settings.json in it; `parkgate demo` makes such folders in build/demo")
    gateway = SimulatedGateway(args.folder)
    gateway.start()
    shown = 0
    try:
        while gateway.running():
            time.sleep(0.5)
            for line in gateway.lines[shown:]:
                print(line)
            shown = len(gateway.lines)
            if gateway.status:
                print("\r" + " ".join(f"{k}={v}" for k, v in gateway.status.items()), end="", flush=True)
    except KeyboardInterrupt:
        print()
    finally:
        gateway.kill()
    return 0
