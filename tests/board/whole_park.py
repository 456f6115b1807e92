"""A park around one emulated board: the firmware as `parkgate flash` writes it, a pymodbus meter at its UART, and on a
Pico W broker, hub and Wi-Fi as well. Used by test_whole_run.py and whole_run.py.

Everything outside of the board runs by the wall clock, the board by its own, which is five to fifty times slower: all
that waits for the board is patient.
"""

import contextlib
import csv
import json
import os
import select
import subprocess
import sys
import threading
import time
from pathlib import Path

from host_tools.broker.broker import Broker
from host_tools.broker.certificates import Authority
from host_tools.gateway.link import PATIENCE
from host_tools.meters.meter_simulator import MeterBus, SimulatedMeter
from host_tools.sim.demo import Hub
from tests.board.emulated_pico import EmulatedPico
from tests.board.flash_image import FLASH_BYTES, find_firmware, firmware_bytes

PROFILE = "eastron-sdm120"
THIS_MACHINE = "10.0.0.1"  # as the emulated Wi-Fi gives it to the board
ACCESS_POINT = "RP2040PY-GUEST"
START_S = 900
BUS = {"name": "rs485", "device": "rs485", "baud": 9600}
METER = {"name": "meter", "profile": PROFILE, "bus": "rs485", "unit_id": 1, "period_ms": 1000}


def image_file(board: str) -> Path:
    """The file of PICO_IMAGE that is MicroPython for this board."""
    wanted = find_firmware(board)[0]
    files = [Path(name) for name in os.environ["PICO_IMAGE"].split(os.pathsep)]
    return next(file for file in files if firmware_bytes(file) == wanted)


def parkgate(*words, environment=None) -> str:
    """One command as a person types it; what it printed."""
    command = [sys.executable, "-m", "host_tools.cli", *map(str, words)]
    environment = {**os.environ, PATIENCE: "60", **(environment or {})}
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, timeout=START_S
    )
    if done.returncode:
        raise AssertionError(f"{' '.join(command[2:])}: {done.stdout}")
    return done.stdout


class Wires:
    """The two wires between a UART of the board and the meters' serial line."""

    def __init__(self, pico: EmulatedPico, device: str):
        self._socket = pico.uart(1)
        self._tty = os.open(device, os.O_RDWR | os.O_NOCTTY)
        threading.Thread(target=self._carry, daemon=True).start()

    def _carry(self):
        with contextlib.suppress(OSError):
            while True:
                for source in select.select([self._socket, self._tty], [], [])[0]:
                    if source is self._socket:
                        data = self._socket.recv(256)
                        if not data:
                            return
                        os.write(self._tty, data)
                    else:
                        self._socket.sendall(os.read(self._tty, 256))

    def close(self):
        self._socket.close()


class WholePark:
    """Use as a context manager. `board` is "pico" or "pico_w"."""

    def __init__(self, board: str, folder: Path):
        self.board = board
        self.folder = folder
        self.network = board == "pico_w"
        self.flash = folder / "flash.bin"
        self.bus = MeterBus([SimulatedMeter(PROFILE, 1)], log=folder / "meters.jsonl")
        self.stack = contextlib.ExitStack()
        self.pico: EmulatedPico | None = None
        self.wires: Wires | None = None
        self.console = b""
        self.heard = bytearray()  # all that the board has said

    def __enter__(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        self.bus.start()
        self.stack.callback(self.bus.stop)
        if self.network:
            authority = Authority.at(self.folder / "tls")
            tls = (*authority.issue(self.folder / "tls", [THIS_MACHINE, "127.0.0.1"]), authority.path)
            self.authority = authority
            self.broker = self.stack.enter_context(Broker("nats", self.folder / "broker", tls=tls))
            self.hub = Hub(self.folder / "hub", self.broker.url, "127.0.0.1:0", authority.path)
            self.stack.callback(self.hub.stop)
            self.hub.start()
        self.stack.callback(self.off)
        return self

    def __exit__(self, *_):
        self.stack.close()

    def write_flash(self, settings: dict | None = None) -> str:
        """Flash the board with our own tool, as a dry run whose bytes are then put into the chip; what it said."""
        words = ["flash", "--board", self.board, "--firmware", image_file(self.board), "--meters", PROFILE]
        if settings is not None:
            data = self.folder / "data"
            data.mkdir(exist_ok=True)
            (data / "settings.json").write_text(json.dumps(settings))
            words += ["--data", data]
        said = parkgate(*words, "--dry-run", self.folder / "dry", environment={"PARKGATE_CACHE": str(self.folder)})
        made = self.folder / "dry" / f"parkgate-{self.board}.uf2"
        self.flash.write_bytes(firmware_bytes(made).ljust(FLASH_BYTES, b"\xff"))
        return said

    def settings(self) -> dict:
        """What the technician wrote into a file for this gateway, secrets and all."""
        wanted: dict = {"buses": [BUS], "instruments": [METER], "sealing": {"period_s": 10}}
        if self.network:
            wanted["network"] = {"ssid": ACCESS_POINT}
            # The broker counts by the wall clock, the board is slower: pings must not be missed.
            wanted["broker"] = {"keepalive_s": 600, "connect_timeout_s": 60}
            wanted["sending"] = {"beat_period_s": 20}
        return wanted

    def provisioning(self) -> tuple[list, dict]:
        """What a technician types to provision the board, as the words of `parkgate`, and the environment for it."""
        settings = self.folder / "workshop.json"
        settings.write_text(json.dumps(self.settings()))
        words = ["provision", "--port", self.port, "--hub", self.hub.folder, "--settings", settings, "--name", "hall-3"]
        words += ["--broker", f"mqtts://{THIS_MACHINE}:{self.broker.port}", "--broker-ca", self.authority.path]
        return [*words, "--wifi", ACCESS_POINT, "--no-code"], {"PARKGATE_WIFI_PASSWORD": ""}

    def exported(self) -> list[dict]:
        """All readings that the hub has, as rows of the CSV export."""
        path = self.folder / "export.csv"
        parkgate("export", "--data", self.hub.folder, "--format", "csv", "--out", path)
        with path.open(newline="", encoding="utf-8") as rows:
            return list(csv.DictReader(rows))

    def on(self):
        """Power on: with the flash as it is."""
        self.pico = EmulatedPico(board=self.board, flash=self.flash, driver_enable={"1": 2})
        self.wires = Wires(self.pico, self.bus.device)
        self.pico.power_on()

    def off(self, kill: bool = True):
        """Power off; `kill` ends the emulator in the middle of whatever it does, as SIGKILL does."""
        if self.pico is not None:
            if kill:
                self.pico.kill()
            self.pico.close()
            self.pico = None
        if self.wires is not None:
            self.wires.close()
            self.wires = None

    @property
    def port(self) -> str:
        """The console for --port."""
        assert self.pico is not None
        return f"socket://127.0.0.1:{self.pico.ports['console']}"

    def status(self) -> dict:
        """The next status line of the board."""
        assert self.pico is not None
        self.heard += self.pico.console.read_until(b"status {", START_S)
        line = self.pico.console.read_until(b"\n", START_S)
        self.heard += line
        return json.loads(b"{" + line)

    def wait(self, condition, what: str, timeout_s: float = START_S) -> dict:
        """The first status for which `condition(status)` is true. Raises AssertionError with what the board said."""
        deadline = time.monotonic() + timeout_s
        status = self.status()
        while time.monotonic() < deadline:
            if condition(status):
                return status
            status = self.status()
        raise AssertionError(f"not within {timeout_s} s: {what}; {status}\n{bytes(self.heard[-3000:]).decode()}")

    def at_hub(self) -> dict:
        """What the hub says of the gateway; {} while it knows none."""
        return next(iter(self.hub.gateways().values()), {})


def lateness_ms(turns_ms: list[float], period_ms: int = 1000) -> list[float]:
    """How much later than the most punctual one each turn of the bus began, sorted."""
    if not turns_ms:
        return []
    phases = [(turn - turns_ms[0] + period_ms / 2) % period_ms for turn in turns_ms]
    return sorted(phase - min(phases) for phase in phases)


def missed(turns_ms: list[float], period_ms: int = 1000) -> int:
    """How many turns are missing between the first and the last."""
    return round((turns_ms[-1] - turns_ms[0]) / period_ms) + 1 - len(turns_ms) if turns_ms else 0


def quantile(values: list[float], part: float) -> float:
    """The value that `part` of the sorted values do not exceed."""
    return values[min(len(values) - 1, int(part * len(values)))]
