"""The board that is a MicroPython Unix port: flash in a file, serial lines on tty paths, the machine's sockets.

    micropython -X heapsize=390k firmware/main.py FOLDER

FOLDER holds what a board's flash holds: settings.json, identity.key, meters/, and journal.nor, the raw NOR region.
Objects are twice as large here as on a 32-bit board, so 390 kB of heap stand for the 195 kB of a Pico W.
"""

import os
import sys
from tty import Serial

from hal import net
from hal.clock import MonotonicClock, rtc_unix_ms
from hal.files import CombTable, Files
from hal.memory import HeapWatch
from nor_flash import NorFlash

NAME = "unix"
SECTOR_SIZE, SECTOR_COUNT, PROGRAM_SIZE = 4096, 256, 256  # as on RP2: 1 MiB, one page a program


class Board:
    """Everything the firmware needs of the machine it runs on. Other boards have the same members."""

    name = NAME
    connect = staticmethod(net.connect)

    def __init__(self, folder: str):
        self.files = Files(folder)
        self.clock = MonotonicClock()
        self.heap = HeapWatch()
        self._sensors = None

    def comb_point(self):
        """Reader of the signing table for p256.use_table; None where the module p256_table is frozen."""
        return CombTable(__file__[: -len("board.mpy")] + "p256.tbl").point

    def wall_unix_ms(self):
        """Wall time from a source known to be right, None where there is none. Here it is the machine's own clock;
        PARKGATE_NO_CLOCK=1 makes a board that must learn the time from its hub."""
        return None if os.getenv("PARKGATE_NO_CLOCK") else rtc_unix_ms()

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
        """One line of text to the console."""
        sys.stdout.write(text + "\n")


def this_board() -> Board:
    """The board, its folder taken from the command line."""
    if len(sys.argv) != 2:
        sys.stdout.write("usage: micropython firmware/main.py FOLDER\n")
        sys.exit(2)
    return Board(sys.argv[1])
