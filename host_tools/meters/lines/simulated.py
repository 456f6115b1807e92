"""What all simulated lines have in common: faults, the place where the gateway finds them, the log, the time."""

from __future__ import annotations

import json
import os
import random
import threading
import time
import tty
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_JOIN_S = 5


@dataclass
class Faults:
    """Probability of each fault for one reply (0 to 1), and how late a late or second one is."""

    crc: float = 0.0
    cut: float = 0.0
    dropped: float = 0.0
    late: float = 0.0
    late_ms: int = 900
    doubled: float = 0.0
    doubled_ms: int = 60
    noise: float = 0.0

    @classmethod
    def noisy(cls) -> Faults:
        """A bad cable: about one reply in six suffers."""
        return cls(crc=0.05, cut=0.03, dropped=0.02, late=0.02, noise=0.05)

    def draw(
        self, dice: random.Random, wire: bytes, damaged: Callable[[], bytes], noise: Callable[[], bytes]
    ) -> tuple[str, bytes, float]:
        """(fate, bytes to send, delay in s) of one reply; `damaged` and `noise` make what these two faults send."""
        chance = dice.random()
        for fate, probability, change in (
            ("crc", self.crc, damaged),
            ("cut", self.cut, lambda: wire[: dice.randrange(1, len(wire) - 1)]),
            ("dropped", self.dropped, lambda: b""),
            ("late", self.late, lambda: wire),
            ("doubled", self.doubled, lambda: wire),
            ("noise", self.noise, lambda: noise() + wire),
        ):
            if chance < probability:
                return fate, change(), self.late_ms / 1000 if fate == "late" else 0.0
            chance -= probability
        return "sent", wire, 0.0


class SimulatedLine:
    """A line with meters: start it, give `device` to a gateway, stop it. Subclasses answer.

    `device` of the constructor is a port that exists; without it a pair of pseudo terminals is made and the attribute
    `device` is the gateway's end, also reachable as `link` (a symbolic link) when one is asked for. Time starts with
    `start` (or `started_s`, a time.monotonic() value, so that a line that is started again goes on where it was).
    Every answer is counted by its fate, and written to `log` where one is given.
    """

    def __init__(self, device: str, link: Path | None, log: Path | None, seed: int, started_s: float | None):
        self.device = device
        self.counts: dict[str, int] = {}
        self._own_pair = not device
        self._link = link
        self._log_path = log
        self._log: Any = None
        self._random = random.Random(seed)
        self._started_s = started_s
        self._descriptors: list[int] = []
        self._threads: list[threading.Thread] = []
        self._stopping = threading.Event()

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> str:
        """Begin to answer; the path of the gateway's end of the line. Raises LinkError."""
        if self._log_path:
            self._log = open(self._log_path, "a", encoding="utf-8")  # noqa: SIM115 - closed by stop()
        self._started_s = time.monotonic() if self._started_s is None else self._started_s
        return self.device

    def stop(self) -> None:
        """Fall silent and give everything back."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(_JOIN_S)
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors, self._threads = [], []
        if self._link:
            self._link.unlink(missing_ok=True)
        if self._log:
            self._log.close()
            self._log = None

    def elapsed_s(self) -> float:
        """Time since the start."""
        return time.monotonic() - (self._started_s or 0.0)

    def _terminals(self, count: int) -> list[int]:
        """So many new pseudo terminals, each as two descriptors, ours and the other end's. The other ends stay open
        here: a gateway that goes away and comes back must find the line alive."""
        for _ in range(count):
            self._descriptors += os.openpty()
        for descriptor in self._descriptors:
            tty.setraw(descriptor)
        return self._descriptors

    def _show(self, device: str) -> None:
        """The gateway finds the line here."""
        self.device = device
        if self._link:
            self._link.unlink(missing_ok=True)
            self._link.symlink_to(device)

    def _thread(self, name: str, target: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=target, args=args, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _record(self, entry: dict, fate: str) -> None:
        self.counts[fate] = self.counts.get(fate, 0) + 1
        if self._log:
            self._log.write(json.dumps({**entry, "fate": fate}) + "\n")
            self._log.flush()
