"""A barcode scanner and what is printed for it, simulated: a pseudo-terminal that a gateway takes for its UART."""

from __future__ import annotations

import os
import select
import threading
import time
import tty

from host_tools.hub.production import traveller

ANSWER_S = 60.0


class SimulatedScanner:
    """`start` gives the gateway's end; `scan` sends the code of a traveller or tag and gives the gateway's answer."""

    def __init__(self):
        self._ours = self._theirs = -1
        self.device = ""
        self._lock = threading.Lock()
        self._heard = b""

    def start(self) -> str:
        """Make the line; the path of the gateway's end."""
        self._ours, self._theirs = os.openpty()
        tty.setraw(self._theirs)
        tty.setraw(self._ours)
        self.device = os.ttyname(self._theirs)
        return self.device

    def stop(self) -> None:
        """Give the line back."""
        for descriptor in (self._ours, self._theirs):
            if descriptor >= 0:
                os.close(descriptor)
        self._ours = self._theirs = -1

    def send(self, data: bytes) -> None:
        """Send any bytes, as noise is."""
        os.write(self._ours, data)

    def scan(self, kind: str, text: str, timeout_s: float = ANSWER_S) -> str:
        """The answer to one code, without its end; "" when none comes in time."""
        with self._lock:
            self._heard = b""
            self.send(traveller.code(kind, text).encode() + b"\r\n")
            return self.hear(timeout_s)

    def hear(self, timeout_s: float = ANSWER_S) -> str:
        """The next line that the gateway says; "" when none comes in time."""
        deadline_s = time.monotonic() + timeout_s
        while b"\n" not in self._heard:
            ready, _, _ = select.select([self._ours], [], [], max(0.0, deadline_s - time.monotonic()))
            if not ready:
                return ""
            self._heard += os.read(self._ours, 1024)
        line, _, self._heard = self._heard.partition(b"\n")
        return line.decode(errors="replace").strip()
