"""A meter on a pseudo-terminal that does what the reports in tests/vectors/field_cases say: late, silent, restarts."""

from __future__ import annotations

import os
import select
import threading
import time
import tty
from collections.abc import Callable
from dataclasses import dataclass, field

from parkgate.meters.modbus.frame import frame

_LOOK_S = 0.0005


@dataclass
class OddMeter:
    """`words(t_s)` gives word by address. `delay_s`: each answer comes so late, and what is asked meanwhile is dropped.
    `silent_above`: larger reads get no answer. `rest_s`: asked sooner than that after its last answer it restarts and
    is silent for `restart_s`. Times of requests and answers are kept."""

    words: Callable[[float], dict[int, int]]
    unit_ids: tuple[int, ...] = (1,)
    delay_s: float = 0.002
    silent_above: int = 125
    rest_s: float = 0.0
    restart_s: float = 3.0
    copies: int = 0
    restarts: int = 0
    answers: list[tuple[float, int, int]] = field(default_factory=list)
    asked: list[tuple[float, int, int]] = field(default_factory=list)
    device: str = ""

    def start(self) -> str:
        """Begin to answer; the path of the gateway's end."""
        self._ours, slave = os.openpty()
        tty.setraw(slave)
        tty.setraw(self._ours)
        self._slave = slave
        self.device = os.ttyname(slave)
        self._stopping = threading.Event()
        self._began_s = time.monotonic()
        self._quiet_until_s = self._answered_s = -60.0
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self.device

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(5)
        os.close(self._ours)
        os.close(self._slave)

    def now_s(self) -> float:
        """Time since the start."""
        return time.monotonic() - self._began_s

    def _serve(self) -> None:
        held = b""
        while not self._stopping.is_set():
            readable, _, _ = select.select([self._ours], [], [], 0.05)
            if not readable:
                held = b""
                continue
            held += os.read(self._ours, 512)
            while len(held) >= 8:
                request, held = held[:8], held[8:]
                self._take(request)

    def _take(self, request: bytes) -> None:
        now_s = self.now_s()
        address, count = request[2] << 8 | request[3], request[4] << 8 | request[5]
        self.asked.append((now_s, address, count))
        if frame(request[:6]) != request or request[0] not in self.unit_ids or now_s < self._quiet_until_s:
            return
        if now_s < self._answered_s + self.rest_s:
            self.restarts += 1
            self._quiet_until_s = now_s + self.restart_s
            return
        if count > self.silent_above:
            return
        words = self.words(now_s)
        data = b"".join(words.get(address + i, 0).to_bytes(2, "big") for i in range(count))
        time.sleep(self.delay_s)
        answer = frame(bytes((request[0], request[1], len(data))) + data)
        for _ in range(1 + self.copies):
            os.write(self._ours, answer)
        self._answered_s = self.now_s()
        self.answers.append((self._answered_s, address, count))
        while select.select([self._ours], [], [], 0)[0]:
            os.read(self._ours, 512)  # dropped: it came while the answer was made
