"""What boards with an RP2040 or RP2350 have in common."""

import sys

from hal.device.board import JOURNAL, DeviceBoard
from hal.rp2.mapped_table import mapped_point
from parkgate.errors import FlashError

PROGRAM_SIZE = 256  # one page of the flash chip
MODE_PM = 0xA11140  # the Wi-Fi chip without power saving: with it each answer may take 100 ms longer


class Rp2Board(DeviceBoard):
    """Uses the journal region of our own firmware build; on MicroPython's image the storage area is one file system,
    and the journal `segments` files in it."""

    segments = 96
    irq_options = {"hard": True}

    def comb_point(self):
        """Reader of the signing table: in place in flash, else from its file, None where it is frozen."""
        point = mapped_point()
        # MicroPython's module for the state machines takes 1.4 kB. It is loaded again where a pulse counter wants it.
        sys.modules.pop("rp2", None)
        return point or super().comb_point()

    def code_in_place(self):
        """How many of the modules that lie in flash run there; None where the firmware is frozen in."""
        loader = sys.modules.get("in_place")  # as flat_modules.py names it on MicroPython's image
        return loader and "%d of %d modules" % (loader.loads_in_place, loader.loads)

    def journal_flash(self):
        """The raw region of the journal, or files where the storage area is one file system."""
        boot = sys.modules.get("hal.rp2.boot")
        if boot is None or boot.region is None:
            from hal.segment_files import SegmentFiles

            self.journal_kind = "segment files"
            return SegmentFiles(JOURNAL, self.segments)
        from hal.device.raw_flash import BlockFlash

        self.journal_kind = "raw"
        return BlockFlash(boot.region, PROGRAM_SIZE)

    def _prepare_files(self):
        boot = sys.modules.get("hal.rp2.boot")
        if boot is not None and boot.problem:
            raise FlashError(boot.problem)
        super()._prepare_files()

    def counter(self, port: str, debounce_us: int):
        """A pulse counter: value() since the start, wrapping at `modulo`."""
        from hal.rp2.pulse_counter import PulseCounter

        return PulseCounter(self.counter_number(), self.pin(port), debounce_us)
