"""The host's end of a gateway's console: framed requests over a serial port or a pseudo-terminal (SPEC 12).

A request is answered within its time, whole, or LinkError says what came instead. Log lines, status lines and what an
earlier program left in the line have no frame of ours: they are skipped.
"""

from __future__ import annotations

import base64
import binascii
import errno
import os
import random
import time
from pathlib import Path

import serial
from serial.tools import list_ports

from host_tools.base.files import why
from parkgate.console.line import SEQ_MAX, frame, unframe
from parkgate.errors import LinkError, SettingsError

BAUD = 115200
REPLY_TIMEOUT_S = 5.0
RESTART_REPLY_TIMEOUT_S = 1.5
PATIENCE = "PARKGATE_PATIENCE"  # environment: how many times slower than a board the other end is, for emulators
TRIES = 3
_READ_S = 0.05
_DAMAGED_S = 1.0
_GONE = "the line broke off: look at cable and power, then do it again"
_USB_BOARDS = (0x2E8A, 0x303A, 0x10C4, 0x1A86, 0x0403)  # Raspberry Pi, Espressif, CP210x, CH340, FTDI


class GatewayRefused(SettingsError):
    """The gateway understood and refuses; its text says why."""


class CodeMissing(SettingsError):
    """The gateway is locked, and nobody gave its code."""


def add_port_argument(parser) -> None:
    """`--port`, the same for every verb."""
    parser.add_argument(
        "--port", default="auto", metavar="TTY", help="serial port, pseudo-terminal or FOLDER of a simulated gateway"
    )
    parser.add_argument("--code", help="code of the gateway (default: the environment variable PARKGATE_CODE)")


def find_port(port: str) -> str:
    """The device that --port means. Raises LinkError."""
    if port != "auto":
        path = Path(port)
        return str(path / "console") if path.is_dir() else port
    found = _on_usb()
    if len(found) == 1:
        return found[0]
    raise LinkError(f"name the port with --port; boards on USB: {', '.join(found) or 'none found'}")


def _on_usb() -> list[str]:
    return [p.device for p in list_ports.comports() if p.vid in _USB_BOARDS]


def _why_closed(port: str, error: Exception) -> str:
    """In words, with what to do, why a port does not open."""
    if getattr(error, "errno", None) == errno.ENOENT:
        if Path(port).name == "console" and Path(port).parent.is_dir():
            return f"no simulated gateway runs in the folder {Path(port).parent}"
        return f"there is no such port; boards on USB: {', '.join(_on_usb()) or 'none found'}"
    if getattr(error, "errno", None) == errno.EACCES:
        return f"{_said(error)}; on Linux join its group (sudo usermod -aG dialout $USER) and log in anew"
    return _said(error)


def _said(error: Exception) -> str:
    """What the system said of the line, in words."""
    number = getattr(error, "errno", None)
    return why(error) if isinstance(error, OSError) and number in errno.errorcode else str(error)


class Link:
    """One open console. Use as a context manager."""

    def __init__(self, port: str, timeout_s: float = REPLY_TIMEOUT_S):
        self.port = find_port(port)
        self.timeout_s = timeout_s
        self.patience = float(os.environ.get(PATIENCE, "1"))
        self._seq = random.randrange(1, SEQ_MAX)
        self._rest = b""
        try:
            self._serial = serial.serial_for_url(self.port, BAUD, timeout=_READ_S, write_timeout=5)
        except (serial.SerialException, OSError) as error:
            raise LinkError(f"{self.port} does not open: {_why_closed(self.port, error)}") from None
        self.discard()

    def __enter__(self) -> Link:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        self._serial.close()

    def discard(self) -> None:
        """Forget what is in the line, and end a line that somebody left half typed."""
        self._rest = b""
        self.write(b"\x03")
        deadline = time.monotonic() + 1.0
        while time.monotonic() < deadline and self.read():
            pass

    def write(self, data: bytes) -> None:
        """Raises LinkError."""
        try:
            self._serial.write(data)
        except (serial.SerialException, OSError) as error:
            raise LinkError(f"{self.port}: {_GONE} ({_said(error)})") from None

    def read(self) -> bytes:
        """What has arrived; b"" when nothing did for a moment. Raises LinkError."""
        try:
            return self._serial.read(max(1, self._serial.in_waiting))
        except (serial.SerialException, OSError) as error:
            raise LinkError(f"{self.port}: {_GONE} ({_said(error)})") from None

    def ask(self, line: str, timeout_s: float | None = None, repeat: bool = True) -> list[str]:
        """The lines of the reply to one command. Raises LinkError; GatewayRefused with the gateway's own words.

        `repeat`: ask again when the reply was damaged; not for what must not be done twice."""
        why = ""
        for _ in range(TRIES if repeat else 1):
            self._seq = self._seq % SEQ_MAX + 1
            self.write(frame(self._seq, "", line))
            try:
                return self._reply((timeout_s or self.timeout_s) * self.patience)
            except _Damaged as error:
                why = str(error)
        raise LinkError(f"{self.port}: {why}")

    def _reply(self, timeout_s: float) -> list[str]:
        lines: list[str] = []
        deadline = time.monotonic() + timeout_s
        while True:
            line = self._line(deadline)
            if line is None:
                raise _Damaged(f"no whole answer within {timeout_s:.0f} s: is that a gateway's console?")
            found = unframe(line[max(0, line.find(b"@")) :])  # a prompt may stand before it
            if found is None:
                continue
            seq, text = found
            if seq == 0 and text.startswith("! damaged"):
                deadline = min(deadline, time.monotonic() + _DAMAGED_S * self.patience)  # or another's
                continue
            if seq != self._seq:
                continue
            kind, _, rest = text.partition(" ")
            if kind == ">":
                lines.append(rest)
                deadline = time.monotonic() + timeout_s
            elif kind == "!":
                raise GatewayRefused(rest)
            elif kind == ".":
                if rest != str(len(lines)):
                    raise _Damaged("lines of the answer were lost")
                return lines

    def _line(self, deadline: float) -> bytes | None:
        while b"\n" not in self._rest:
            if time.monotonic() > deadline:
                return None
            self._rest = (self._rest + self.read())[-65536:]
        line, self._rest = self._rest.split(b"\n", 1)
        return line.rstrip(b"\r")

    # What most verbs need.

    def facts(self, line: str) -> dict[str, str]:
        """A reply of `name = value` lines."""
        return dict(part.split(" = ", 1) for part in self.ask(line) if " = " in part)

    def data(self, line: str) -> bytes:
        """A reply that carries bytes in base64. Raises LinkError when they are not whole."""
        first, *pieces = self.ask(line, 15.0)
        try:
            found = b"".join(base64.b64decode(piece, validate=True) for piece in pieces)
        except binascii.Error as error:
            raise LinkError(f"not base64: {error}") from None
        if first != f"bytes = {len(found)}":
            raise LinkError("the data is not whole")
        return found

    def unlock(self, code: str | None) -> None:
        """Unlock if the console is locked. Raises GatewayRefused, CodeMissing when no code is known."""
        identity = self.facts("identity")
        if identity.get("unlocked") == "yes" and not (code and identity.get("code") == "on trial"):
            return  # (a code on trial is in force from the moment on when somebody proves to know it)
        code = code or os.environ.get("PARKGATE_CODE")
        if not code:
            raise CodeMissing("the gateway is locked: --code or PARKGATE_CODE must give its code")
        self.ask(f"unlock {code}", 10.0, repeat=False)

    def wait_restart(self, boot_before: int, timeout_s: float = 60.0) -> None:
        """Wait until the gateway has started again. Raises LinkError."""
        deadline = time.monotonic() + timeout_s * self.patience
        while time.monotonic() < deadline:
            try:
                # What was asked during the start is lost: ask again soon.
                lines = self.ask("journal status", RESTART_REPLY_TIMEOUT_S, repeat=False)
                if [line for line in lines if line.startswith("boot = ")] not in ([], [f"boot = {boot_before}"]):
                    return
            except (LinkError, GatewayRefused):
                time.sleep(0.2)
        raise LinkError(f"{self.port}: the gateway did not come back within {timeout_s:.0f} s")

    def boot(self) -> int:
        """The number of the gateway's start."""
        return int(self.facts("journal status")["boot"])


class _Damaged(LinkError):
    """The exchange went wrong on the way; asking again may help."""


def open_unlocked(args) -> Link:
    """A link from the arguments of `add_port_argument`, unlocked."""
    link = Link(args.port)
    try:
        link.unlock(args.code)
    except BaseException:
        link.close()
        raise
    return link
