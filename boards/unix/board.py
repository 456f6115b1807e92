"""The board that is a MicroPython Unix port: flash in a file, serial lines on tty paths, the machine's sockets.

    micropython -X heapsize=480k firmware/main.py FOLDER

FOLDER holds what a board's flash holds: settings.json, identity.key, meters/, and journal.nor, the raw NOR region.
Objects are twice as large here as on a 32-bit board, so 390 kB of heap stand for the 195 kB of a Pico W.
"""

import asyncio
import os
import sys
from tty import Serial

from hal import net
from hal.clock import MonotonicClock, rtc_unix_ms
from hal.comb_table import CombTable
from hal.files import Files
from hal.memory import HeapWatch
from nor_flash import NorFlash
from parkgate.errors import LinkError
from parkgate.events import PERSON

NAME = "unix"
CLOCK_ERROR_MS = 20
RESTART_EXIT_CODE, PROMPT_EXIT_CODE = 75, 76
SECTOR_SIZE, SECTOR_COUNT, PROGRAM_SIZE = 4096, 256, 256  # as on RP2: 1 MiB, one page a program


class Board:
    """Everything the firmware needs of the machine it runs on. Other boards have the same members."""

    name = NAME
    journal_kind = "raw"
    has_network = True
    watchdog = None

    def __init__(self, folder: str):
        # What stays is no file on a board: the flash chip, and what is wired to it.
        self.files = Files(folder, ("journal.nor", "workshop.json", "meters.jsonl"))
        self.clock = MonotonicClock()
        self.heap = HeapWatch()
        self._sensors = None
        self._exit_code = RESTART_EXIT_CODE

    def comb_point(self):
        """Reader of the signing table for p256.use_table; None where the module p256_table is frozen."""
        return CombTable(__file__[: -len("board.mpy")] + "p256.tbl").point

    def wall_time(self):
        """(Unix time in ms, how far it may be off, source as in parkgate.events) now; None where there is no source.
        Here it is the machine's own clock, which a person keeps; PARKGATE_NO_CLOCK=1 makes a board that must learn the
        time from its hub."""
        return None if os.getenv("PARKGATE_NO_CLOCK") else (rtc_unix_ms(), CLOCK_ERROR_MS, PERSON)

    def use_network(self, _settings: dict):
        """The machine has a network of its own."""

    async def connect(self, host: str, port: int, timeout_ms: int, ca: bytes = b"", _unix_ms: int = 0, pause=None):
        """(reader, writer) of a TCP connection, by TLS where `ca` is given; `pause`: see hal.net. Raises LinkError."""
        return await net.connect(_from_hosts(host), port, timeout_ms, ca, pause, _name_servers())

    def journal_flash(self):
        """The raw flash region of the journal."""
        return NorFlash(self.files.folder + "/journal.nor", SECTOR_SIZE, SECTOR_COUNT, PROGRAM_SIZE)

    def serial(self, bus: dict):
        """The serial line of one entry of settings `buses`."""
        return Serial(bus["device"], bus["baud"], bus["parity"], bus["stop_bits"])

    def _workshop(self):
        if self._sensors is None:
            from workshop import Workshop

            self._sensors = Workshop(self.files)
        return self._sensors

    def i2c(self, port: str):
        """An I2C bus, with the calls of machine.I2C."""
        return self._workshop().i2c(port)

    def spi(self, port: str):
        """(bus, select) of one chip: the calls of machine.SPI, and select(0 or 1)."""
        return self._workshop().spi(port)

    def counter(self, port: str, debounce_us: int):
        """A pulse counter: value() since the start, wrapping at `modulo`."""
        return self._workshop().counter(port, debounce_us)

    def input(self, port: str):
        """A digital input: value(), and on_edge(handler) for its interrupt."""
        return self._workshop().input(port)

    def adc(self, port: str):
        """An analogue input: rate_hz and async burst(buffer)."""
        return self._workshop().adc(port)

    def onewire(self, port: str):
        """A 1-Wire line, with the calls of onewire.OneWire."""
        return self._workshop().onewire(port)

    def entropy(self, count: int) -> bytes:
        """`count` bytes from the best random source of the board."""
        return os.urandom(count)

    def reset_cause(self) -> int:
        """Index into events.CAUSES. A process cannot know; it says power on."""
        return 1

    def write_console(self, text: str):
        """One line of text for the log."""
        sys.stdout.write(text + "\n")

    def hush(self, _ms: int):
        """Somebody types at the console: the log has a way of its own here."""

    def console(self):
        """The technician's line. PARKGATE_CONSOLE names a tty, or is "-" for a standard input that is open both ways
        and never blocks (the simulator's pseudo-terminal); without it there is no console."""
        path = os.getenv("PARKGATE_CONSOLE")
        if not path:
            return None
        return StandardInput() if path == "-" else Serial(path, 115200, "N", 1)

    async def resolve(self, host: str, timeout_ms: int = 5000) -> str:
        """The address of a name, as text. Raises LinkError."""
        return await net.resolve(_from_hosts(host), _name_servers(), timeout_ms)

    def scrub_files(self, _feed):
        """Nothing is left to do: files are overwritten in place here before they are removed."""

    def leave_to_prompt(self):
        """The next start leads to MicroPython's prompt."""
        self._exit_code = PROMPT_EXIT_CODE

    def restart(self):
        """Start again: the parent process sees the exit code and starts it again."""
        sys.exit(self._exit_code)


def _fields(path):
    """Generator: the words of each line of a file of the system."""
    try:
        with open(path) as f:
            for line in f:
                words = line.split("#")[0].split()
                if len(words) > 1:
                    yield words
    except OSError:
        pass


def _name_servers():
    """Those of /etc/resolv.conf; PARKGATE_DNS, as ADDRESS:PORT, stands before them."""
    given = os.getenv("PARKGATE_DNS")
    if given:
        return (given,)
    return [words[1] for words in _fields("/etc/resolv.conf") if words[0] == "nameserver" and ":" not in words[1]]


def _from_hosts(host):
    """The address that /etc/hosts has for a name, else the name."""
    for words in _fields("/etc/hosts"):
        if host in words[1:] and ":" not in words[0]:
            return words[0]
    return host


class StandardInput:
    """Standard input, written to as well."""

    def __init__(self):
        stream = open(0, "r+b")
        self._reader = asyncio.StreamReader(stream)
        self._writer = asyncio.StreamWriter(stream, {})

    async def read(self, timeout_ms: int) -> bytes:
        """What has arrived, b"" when nothing did within `timeout_ms`. Raises LinkError."""
        try:
            return await asyncio.wait_for_ms(self._reader.read(256), timeout_ms) or b""
        except asyncio.TimeoutError:
            return b""
        except OSError as e:
            raise LinkError("console: %s" % e) from None

    async def write(self, data: bytes):
        """Send `data`; waits while nobody reads. What nobody took in time is not said again."""
        try:
            self._writer.write(data)
            await self._writer.drain()
        finally:
            self._writer.out_buf = b""  # pyright: ignore[reportAttributeAccessIssue]


def this_board() -> Board:
    """The board, its folder taken from the command line."""
    if len(sys.argv) != 2:
        sys.stdout.write("usage: micropython firmware/main.py FOLDER\n")
        sys.exit(2)
    return Board(sys.argv[1])
