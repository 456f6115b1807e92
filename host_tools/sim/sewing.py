"""The demo's floors: people who scan. Lots go through the four machines of a sewing hall or of a carpentry.

What goes wrong on a floor goes wrong here too: every fourth lot is forgotten at the second machine, so that a rule
closes its job, and one count is typed wrongly and corrected. Everything goes through a simulated scanner on the
gateway's UART, the correction through its console.
"""

from __future__ import annotations

import contextlib
import threading
import time
from datetime import datetime, timezone
from typing import NamedTuple

from host_tools.gateway.link import Link
from host_tools.sim.scanner import SimulatedScanner
from host_tools.sim.simulate import SimulatedGateway
from parkgate.errors import ParkgateError

PAUSE_S = 1.5
ANSWER_S = 20.0
FORGOTTEN_EVERY = 4


class Hall(NamedTuple):
    """A workshop: its four machines, each with the meter that it hangs on, what its first machine makes of what it
    buys, and what the others make of that."""

    machines: tuple[tuple[str, str], ...]
    bought: str
    part: str
    made: str


SEWING = Hall(
    (("cutting", "press"), ("sewing", "press"), ("buttons", "oven"), ("ironing", "oven")), "CLOTH", "CUT", "SHIRT"
)
CARPENTRY = Hall(
    (("saw", "press"), ("planer", "press"), ("glue-press", "oven"), ("sander", "oven")), "TIMBER", "PARTS", "CHAIR"
)


def hall(number: int) -> Hall:
    """The hall of gateway `number`: sewing halls and carpentries by turns."""
    return SEWING if number % 2 else CARPENTRY


def stations(of: Hall, device: str) -> list[dict]:
    """The settings of the stations; all share one scanner."""
    return [
        {"name": name, "scanner": device, "registers": [f"{meter}.import_active_energy"], "idle_min": 1}
        for name, meter in of.machines
    ]


class People:
    """Those who work at one gateway. `entries` counts what the gateway took, `refused` what it answered otherwise;
    `finished` are the lots that went through all machines without being forgotten."""

    def __init__(self, gateway: SimulatedGateway, of: Hall = SEWING):
        self.scanner = SimulatedScanner()
        self.entries = self.refused = self.lots = self.corrections = 0
        self.finished: list[str] = []
        self.hall = of
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
        """One lot from the first machine to the last."""
        self.lots += 1
        name = f"{datetime.fromtimestamp(time.time(), timezone.utc):%y%m%d-%H%M%S}"
        part, made = f"{self.hall.part}-{name}", f"{self.hall.made}-{name}"
        is_forgotten = self.lots % FORGOTTEN_EVERY == 0
        stopped = 0
        for at, (machine, _) in enumerate(self.hall.machines):
            lot = made if at else part
            self._scan("station", machine)
            self._scan("operator", f"K{(self.lots + at) % 3 + 1}")
            self._scan("lot", lot)
            if at < 2:
                self._scan("in", part if at else f"{self.hall.bought}-7")
            count = self._scan("count", "24" if at or self.lots > 1 else "240")
            if self.lots == 1 and at == 0 and count:
                self._correct(count)
            if at == 3:
                self._scan("scrap", "3/2")
            if at == 1 and is_forgotten:
                continue
            stopped += self._scan("lot", lot) > 0
        if stopped == len(self.hall.machines):
            self.finished.append(made)

    def _correct(self, number: int) -> None:
        """240 should have been 24."""
        with contextlib.suppress(ParkgateError), Link(self._gateway.console(), timeout_s=ANSWER_S) as link:
            link.ask(f"floor correct {number} quantity 24", repeat=False)
            self.corrections += 1
