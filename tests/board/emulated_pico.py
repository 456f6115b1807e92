"""Drives an emulated Pico or Pico W: power, flash contents, console, raw REPL, UART wires, power cuts.

    with EmulatedPico(files={"main.py": b"..."}) as pico:
        print(pico.run("import sys; print(sys.version)"))

The plain Pico (emulator/, on rp2040js) is for figures: what a script measures on it is in board time, cycles at
125 MHz, whatever the speed of this machine. The Pico W (emulator_w/, on rp2040py) is for the radio. Timeouts given
here are in seconds of the wall clock; the emulators reach 0.15 and 0.03 to 0.12 of a real board.
"""

import json
import os
import queue
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from tests.board.flash_image import REPOSITORY, boot_rom, find_firmware, flash_bytes, missing_for, rp2040js_folder

COMMANDS = {
    "pico": ["node", str(Path(__file__).parent / "emulator" / "main.mjs")],
    "pico_w": [sys.executable, "-m", "tests.board.emulator_w"],
}
COMMAND_TIMEOUT_S = 60.0


class EmulatorError(Exception):
    """The emulator ended, refused a command or did not answer."""


class BoardError(Exception):
    """A script raised an exception on the board; its traceback is the message."""


class Console:
    """The board's USB serial line, over TCP."""

    def __init__(self, port: int):
        self._socket = socket.create_connection(("127.0.0.1", port), 10)
        self._buffer = bytearray()

    def write(self, data: bytes) -> None:
        self._socket.settimeout(COMMAND_TIMEOUT_S)
        self._socket.sendall(data)

    def read_until(self, end: bytes, timeout_s: float) -> bytes:
        """Everything up to and with `end`. Raises TimeoutError with what came instead."""
        deadline = time.monotonic() + timeout_s
        while True:
            at = self._buffer.find(end)
            if at >= 0:
                found = bytes(self._buffer[: at + len(end)])
                del self._buffer[: at + len(end)]
                return found
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"no {end!r} within {timeout_s} s, but {bytes(self._buffer[-500:])!r}")
            self._socket.settimeout(left)
            try:
                data = self._socket.recv(65536)
            except TimeoutError:
                continue
            if not data:
                raise EmulatorError("the console was closed")
            self._buffer += data

    def everything(self) -> bytes:
        """What has come so far and was not read."""
        self._socket.settimeout(0.05)
        try:
            while data := self._socket.recv(65536):
                self._buffer += data
        except TimeoutError:
            pass
        found = bytes(self._buffer)
        self._buffer.clear()
        return found

    def close(self) -> None:
        self._socket.close()


class EmulatedPico:
    """A board in a process of its own. It is off until `power_on`, which entering a `with` block calls.

    files: what the file system holds, ignored where `flash` names an existing file, which then is used as it is.
    flash: file with the contents of the flash chip; without it a temporary one.
    board: "pico" or "pico_w". The others are options of the emulators: see emulator/main.mjs.
    """

    def __init__(
        self, *, board: str = "pico", files: dict[str, bytes] | None = None, flash: Path | None = None, **options
    ):
        missing = missing_for(board)
        if missing:
            raise EmulatorError(missing)
        self._folder = tempfile.TemporaryDirectory(prefix="pico-")
        self.flash = flash or Path(self._folder.name) / "flash.bin"
        if not self.flash.exists():
            self.flash.write_bytes(flash_bytes(find_firmware(board)[0] or b"", files or {}))
        rom = Path(self._folder.name) / "boot_rom.bin"
        rom.write_bytes(boot_rom())
        options.update(flash=str(self.flash), boot_rom=str(rom))
        self._process = subprocess.Popen(
            [*COMMANDS[board], json.dumps(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "RP2040JS": str(rp2040js_folder())},
            cwd=REPOSITORY,
            start_new_session=True,
        )  # Ctrl-C at the terminal is for us; it ends when its standard input does
        self.events: list[dict] = []
        self._lines: queue.Queue = queue.Queue()
        threading.Thread(target=self._read_lines, daemon=True).start()
        self.ports = self.wait_for_event("ready")["ports"]
        self.console = Console(self.ports["console"])

    def _read_lines(self):
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(json.loads(line))
        self._lines.put(None)

    def _next_line(self, timeout_s: float) -> dict:
        try:
            line = self._lines.get(timeout=max(timeout_s, 0))
        except queue.Empty:
            raise EmulatorError("the emulator does not answer") from None
        if line is None:
            raise EmulatorError(f"the emulator ended with exit code {self._process.wait()}")
        return line

    def command(self, name: str, **fields) -> dict:
        """One command of emulator/main.mjs and its answer."""
        if self._process.stdin is None:
            raise EmulatorError("the emulator has no input")
        try:
            self._process.stdin.write(json.dumps({"do": name, **fields}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise EmulatorError("the emulator ended") from None
        while "ok" not in (line := self._next_line(COMMAND_TIMEOUT_S)):
            self.events.append(line)
        if not line["ok"]:
            raise EmulatorError(line["error"])
        return line

    def wait_for_event(self, name: str, timeout_s: float = COMMAND_TIMEOUT_S) -> dict:
        """The first event of this name that nobody waited for yet: ready, usb, reset, power_cut, fault."""
        deadline = time.monotonic() + timeout_s
        while True:
            for event in self.events:
                if event["event"] == name:
                    self.events.remove(event)
                    return event
            self.events.append(self._next_line(deadline - time.monotonic()))

    def power_on(self) -> None:
        """Apply power, or take it away for a moment if it is on."""
        self.events.clear()
        self.console.everything()
        self.command("power_on")

    def power_off(self) -> None:
        """Take the power away at once, as a cut does."""
        self.command("power_off")

    def cut_after(self, operations: int, torn: bool = True) -> None:
        """Cut the power at the flash operation after the next `operations`; torn: in the middle of it."""
        self.command("cut_after", operations=operations, torn=torn)

    def type_at(self, at_ms: float, data: bytes) -> None:
        """Type on the console so many ms of the board after its start, whatever the speed of this machine. Forgotten
        when the power goes. Only the plain Pico."""
        self.command("type_at", at_ms=at_ms, bytes=data.hex())

    def board_ms(self) -> float:
        """The time that the board has been on, since the emulator began."""
        return self.stats()["board_ms"]

    def stats(self) -> dict:
        """Counters since the emulator began; times in ms of the board."""
        return self.command("stats")

    def uart(self, index: int = 1) -> socket.socket:
        """The wires of a UART."""
        wire = socket.create_connection(("127.0.0.1", self.ports[f"uart{index}"]), 10)
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return wire

    def enter_raw_repl(self, timeout_s: float = 30) -> None:
        """Stop what runs on the board and make it listen to `run`."""
        deadline = time.monotonic() + timeout_s
        while True:
            # Before the USB line is up, or while the board starts, nobody listens: ask again. A gateway takes no
            # Ctrl-C: its own command leads to the prompt, by way of a restart. (At the prompt it is an unknown name.)
            self.console.write(b"\x03repl\r\x03\x03\x01")
            try:
                self.console.read_until(b"raw REPL; CTRL-B to exit\r\n>", 2)
                break
            except TimeoutError:
                if time.monotonic() > deadline:
                    raise
        self.console.everything()

    def run(self, script: str, timeout_s: float = 120) -> str:
        """Run a script in the raw REPL, give what it printed. Raises BoardError if it ended by an exception."""
        self.enter_raw_repl()
        self.start_script(script)
        output = self.console.read_until(b"\x04", timeout_s)[:-1]
        failure = self.console.read_until(b"\x04", timeout_s)[:-1]
        if failure:
            raise BoardError((output + failure).decode(errors="replace"))
        return output.decode().replace("\r\n", "\n")

    def start_script(self, script: str) -> None:
        """Hand a script to the raw REPL, which has been entered, and do not wait for its end."""
        self.console.write(script.encode() + b"\x04")
        self.console.read_until(b"OK", 30)

    def close(self) -> None:
        """End the emulator."""
        self.console.close()
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._folder.cleanup()

    def kill(self) -> None:
        """SIGKILL: the flash file stays as the last whole or torn operation left it."""
        self._process.kill()
        self._process.wait()

    def __enter__(self):
        try:
            self.power_on()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()
