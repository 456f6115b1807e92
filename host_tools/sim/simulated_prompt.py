"""MicroPython's prompt on the simulated board: the Unix port's own, raw REPL and all, on the board's console.

A board's prompt outlives a soft reset, the Unix port's process ends there. So this stands between: it starts the next
one as a board would come back, in the raw REPL when it was there, else with main.py, which is the gateway.
"""

from __future__ import annotations

import os
import select
import subprocess
import time
import tty
from collections.abc import Callable
from pathlib import Path

from host_tools.base import unix_port
from host_tools.base.paths import SOURCES

MODULES = SOURCES / "boards" / "unix" / "prompt"
RESET_EXIT_CODE = 77  # as boards/unix/prompt/machine.py has it
_RAW, _FRIENDLY = b"\x01", b"\x02"
_PROMPT = b">>> "
_START_S = 10.0
_WRITE_S = 3.0
_LOOK_S = 0.1


class Prompt:
    """The prompt on the descriptor `console`, in `folder`. `started` is told each process; `stopping` says that the
    power was cut."""

    def __init__(
        self,
        console: int,
        folder: Path,
        app: Path,
        heap_bytes: int,
        started: Callable[[subprocess.Popen], None],
        stopping: Callable[[], bool],
    ):
        self._console = console
        self._folder = folder
        self._app = app
        self._heap_bytes = heap_bytes
        self._started = started
        self._stopping = stopping
        self._raw = False

    def run(self) -> None:
        """Serve it until the gateway is to start again, or the power is cut."""
        while not self._stopping():
            ours, theirs = os.openpty()
            tty.setraw(theirs)
            try:
                command = [*unix_port.interpreter(), "-X", f"heapsize={self._heap_bytes}", "-i"]
                path = {"MICROPYPATH": f".frozen:{MODULES}:{self._app}"}
                process = subprocess.Popen(
                    command,
                    cwd=self._folder,
                    env={**os.environ, **path},
                    stdin=theirs,
                    stdout=theirs,
                    stderr=theirs,
                    start_new_session=True,
                )
                self._started(process)
            finally:
                os.close(theirs)
            try:
                if self._raw:  # a board comes back where it was
                    self._until(ours, _PROMPT)
                    os.write(ours, _RAW)
                self._relay(ours)
            finally:
                os.close(ours)
            code = process.wait()
            if self._stopping() or code == RESET_EXIT_CODE:
                return
            self._say(b"\r\nMPY: soft reboot\r\n")
            if not self._raw:
                return

    def _until(self, descriptor: int, end: bytes) -> None:
        """Pass over what it says up to `end`."""
        seen = b""
        deadline = time.monotonic() + _START_S
        while end not in seen and time.monotonic() < deadline and not self._stopping():
            if select.select([descriptor], [], [], _LOOK_S)[0]:
                seen += _read(descriptor)

    def _relay(self, process: int) -> None:
        """Carry bytes both ways until the process ends."""
        while not self._stopping():
            for ready in select.select([process, self._console], [], [], _LOOK_S)[0]:
                data = _read(ready)
                if ready == process:
                    if not data:
                        return
                    self._say(data)
                elif data:
                    if _RAW in data or _FRIENDLY in data:
                        self._raw = data.rfind(_RAW) > data.rfind(_FRIENDLY)
                    _write_all(process, data)

    def _say(self, data: bytes) -> None:
        """Write to the console; what nobody takes is dropped, as on a board."""
        while data:
            if not select.select([], [self._console], [], _WRITE_S)[1]:
                return
            try:
                data = data[os.write(self._console, data) :]
            except BlockingIOError:
                continue
            except OSError:
                return


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        try:
            data = data[os.write(descriptor, data) :]
        except OSError:  # it ended meanwhile: the next read tells
            return


def _read(descriptor: int) -> bytes:
    """What is there; b"" at the end."""
    try:
        return os.read(descriptor, 4096)
    except BlockingIOError:
        return b""
    except OSError:  # the other end of a pseudo-terminal is closed
        return b""
