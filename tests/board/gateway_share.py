"""How busy a whole gateway keeps an RP2040: the firmware as `parkgate flash` writes it on an emulated plain Pico, two
three-phase meters of ten channels each on its UART read once a second, a batch sealed every minute.

The emulator counts the time in which the processor waits for an interrupt; what is left was work. All of it counts:
sampling, journal, sealing, the erasing of flash, the event loop, the status line, the USB console. A plain Pico has no
network, so nothing is sent.
"""

import json
import os
import socket
import threading
import time
from pathlib import Path

from host_tools.image import boards, flash_image
from host_tools.meters.load_curve import read as read_curve
from host_tools.meters.meter_simulator import SimulatedMeter
from host_tools.meters.register_map import RegisterMap
from parkgate.meters.modbus.frame import frame
from tests.board.emulated_pico import BoardError, EmulatedPico
from tests.board.flash_image import FLASH_BYTES, find_firmware, firmware_bytes

PROFILE = "eastron-sdm630"
CHANNELS = [
    "voltage_l1", "voltage_l2", "voltage_l3", "current_l1", "current_l2", "current_l3", "active_power",
    "power_factor", "frequency", "import_active_energy",
]  # fmt: skip
UNITS = (1, 2)
SEAL_PERIOD_S = 60
START_S = 300
MEASURED_S = 120  # board time: two batches
SETTINGS = {
    "buses": [{"name": "rs485", "device": "rs485", "baud": 9600}],
    "instruments": [
        {
            "name": f"meter{unit}",
            "profile": PROFILE,
            "bus": "rs485",
            "unit_id": unit,
            "period_ms": 1000,
            "channels": CHANNELS,
        }
        for unit in UNITS
    ],
    "sealing": {"period_s": SEAL_PERIOD_S},
}


class Meters:
    """Two meters at the other end of the wires, on a load of their own; their time is the board's, roughly."""

    def __init__(self, wire: socket.socket):
        self._wire = wire
        wire.settimeout(None)
        self._map = RegisterMap(PROFILE)
        curve = read_curve()
        self._loads = {unit: SimulatedMeter(PROFILE, unit).load(curve, 3) for unit in UNITS}
        self.answered = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        waiting = b""
        began_s = time.monotonic()
        while data := self._wire.recv(256):
            waiting += data
            while len(waiting) >= 8:
                if not self._answer(waiting[:8], time.monotonic() - began_s):
                    waiting = waiting[1:]
                    continue
                waiting = waiting[8:]

    def _answer(self, request: bytes, t_s: float) -> bool:
        unit, function, count = request[0], request[1], request[4] << 8 | request[5]
        if frame(request[:6]) != request or unit not in self._loads:
            return False
        words = self._map.words(lambda quantity: self._loads[unit].quantity(quantity, t_s))
        first = request[2] << 8 | request[3]
        data = b"".join(words.get(first + i, 0).to_bytes(2, "big") for i in range(count))
        self._wire.sendall(frame(bytes((unit, function, 2 * count)) + data))
        self.answered += 1
        return True


def flashed(folder: Path) -> Path:
    """The flash chip of a plain Pico with MicroPython's own image, the firmware and the settings above."""
    data = folder / "data"
    data.mkdir()
    (data / "settings.json").write_text(json.dumps(SETTINGS))
    plan = flash_image.plan(boards.load("pico"), _image(), data)
    made = folder / "parkgate.uf2"
    made.write_bytes(plan.outputs["parkgate-pico.uf2"])
    flash = folder / "flash.bin"
    flash.write_bytes(firmware_bytes(made).ljust(FLASH_BYTES, b"\xff"))
    return flash


def _image() -> bytes:
    """MicroPython's own image for the plain Pico, as it is downloaded."""
    firmware, missing = find_firmware("pico")
    if firmware is None:
        raise BoardError(missing)
    files = [Path(name) for name in os.environ["PICO_IMAGE"].split(os.pathsep)]
    return next(file.read_bytes() for file in files if firmware_bytes(file) == firmware)


def status_of(pico: EmulatedPico) -> dict:
    """The next status line."""
    pico.console.read_until(b"status {", START_S)
    return json.loads(b"{" + pico.console.read_until(b"\n", START_S))


def measure(folder: Path, cache: bool = False, measured_s: int = MEASURED_S) -> list[dict]:
    """The figures. Raises BoardError when it does not run as it should."""
    with EmulatedPico(flash=flashed(folder), cache=cache) as pico:
        meters = Meters(pico.uart(1))
        status = status_of(pico)
        while status["batches"] < 1:  # the first batch is of a colder start
            status = status_of(pico)
        before, answered = pico.stats(), meters.answered
        began = status
        while pico.stats()["board_ms"] - before["board_ms"] < measured_s * 1000:
            status = status_of(pico)
        after = pico.stats()
    passed_ms = after["board_ms"] - before["board_ms"]
    busy_ms = passed_ms - (after["idle_ms"] - before["idle_ms"])
    readings = status["sampled"] - began["sampled"]
    if status["crashes"] or status["dropped"] or not readings:
        raise BoardError(f"it does not run well: {status}")
    return [
        {"name": "gateway, 20 channels at 1 Hz: busy", "value": 100 * busy_ms / passed_ms, "unit": "% of an RP2040"},
        {"name": "gateway: readings a second", "value": 1000 * readings / passed_ms, "unit": ""},
        {"name": "gateway: batches sealed", "value": status["batches"] - began["batches"], "unit": ""},
        {"name": "gateway: time measured", "value": passed_ms / 1000, "unit": "s"},
        {"name": "gateway: exchanges on the bus", "value": meters.answered - answered, "unit": ""},
        {"name": "gateway: periods missed", "value": status["missed"] - began["missed"], "unit": ""},
        {"name": "gateway: most of the heap in use", "value": status["heap_peak"], "unit": "bytes"},
        {"name": "gateway: heap", "value": status["heap_limit"], "unit": "bytes"},
    ]
