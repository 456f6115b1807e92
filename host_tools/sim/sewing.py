"""The demo's floor: people who scan. Lots go from the press to the oven.

What goes wrong on a floor goes wrong here too: every fourth lot is forgotten at the press, so that a rule closes its
job, and one count is typed wrongly and corrected. All of it goes through a simulated scanner on the gateway's UART, the
correction through its console.
"""

from __future__ import annotations

import contextlib
import threading
import time
from datetime import datetime, timezone

from host_tools.gateway.link import Link
from host_tools.sim.scanner import SimulatedScanner
from host_tools.sim.simulate import SimulatedGateway
from parkgate.errors import ParkgateError

STATIONS = ("press", "oven")
PAUSE_S = 3.0
ANSWER_S = 20.0
FORGOTTEN_EVERY = 4


def stations(device: str) -> list[dict]:
    """The settings of the stations; both share one scanner."""
    return [
        {"name": name, "scanner": device, "registers": [f"{name}.import_active_energy"], "idle_min": 1}
        for name in STATIONS
    ]


class People:
    """Those who work at one gateway. `entries` counts what the gateway took, `refused` what it answered otherwise."""

    def __init__(self, gateway: SimulatedGateway):
        self.scanner = SimulatedScanner()
        self.entries = self.refused = self.lots = self.corrections = 0
        self._gateway = gateway
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def start(self) -> None:
        """Begin to work; the scanner has its line already."""
        self._thread.start()

    def stop(self) -> None:
        """Go home."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(ANSWER_S + PAUSE_S)
        self.scanner.stop()

    def _work(self) -> None:
        with contextlib.suppress(OSError):  # the line is gone: the demo ends
            while not self._stopping.wait(PAUSE_S):
                if self._gateway.status.get("sampled", 0) > 0:  # else nobody would hear it
                    self._lot()

    def _scan(self, kind: str, text: str) -> int:
        """Scan, and rest. The number of the entry; 0 for none."""
        if self._stopping.is_set():
            return 0
        answer = self.scanner.scan(kind, text, ANSWER_S)
        words = answer.split()
        taken = len(words) > 1 and words[0] == "+"
        self.entries += taken and words[1].isdigit()
        self.refused += not taken
        self._stopping.wait(PAUSE_S)
        return int(words[1]) if taken and words[1].isdigit() else 0

    def _lot(self) -> None:
        self.lots += 1
        name = f"{datetime.fromtimestamp(time.time(), timezone.utc):%y%m%d-%H%M%S}"
        cut, shirt = f"CUT-{name}", f"SHIRT-{name}"
        self._scan("station", "press")
        self._scan("operator", f"K{self.lots % 3 + 1}")
        self._scan("lot", cut)
        count = self._scan("count", "240")
        if self.lots == 1 and count:
            self._correct(count)
        if self.lots % FORGOTTEN_EVERY:
            self._scan("lot", cut)
        self._scan("station", "oven")
        self._scan("lot", shirt)
        self._scan("in", cut)
        self._scan("count", "24")
        self._scan("scrap", "3/2")
        self._scan("lot", shirt)

    def _correct(self, number: int) -> None:
        """240 should have been 24."""
        with contextlib.suppress(ParkgateError), Link(self._gateway.console(), timeout_s=ANSWER_S) as link:
            link.ask(f"floor correct {number} quantity 24", repeat=False)
            self.corrections += 1
