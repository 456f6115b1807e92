"""What boards with an ESP32 have in common."""

import esp32
import network

from hal.device.board import DeviceBoard
from hal.device.entropy import Entropy, gather_urandom
from hal.device.raw_flash import BlockFlash
from parkgate.errors import FlashError

PROGRAM_SIZE = 32
LABEL = "journal"  # of the partition, in partitions.csv


def gather_with_radio() -> bytes:
    """ESP32's random generator is fed by the radio's noise: switch it on for the moment (data sheet, RNG)."""
    radio = network.WLAN(network.STA_IF)
    was_on = radio.active()
    radio.active(True)
    seed = gather_urandom()
    if not was_on:
        radio.active(False)
    return seed


class Esp32Board(DeviceBoard):
    """The journal lies in a partition of its own; `parkgate flash` writes the table that has it."""

    adc_timer = 0

    def __init__(self):
        super().__init__()
        self.entropy = Entropy(gather_with_radio)

    def journal_flash(self):
        """The raw partition of the journal."""
        found = esp32.Partition.find(esp32.Partition.TYPE_DATA, label=LABEL)
        if not found:
            raise FlashError("no partition %r: write the whole board with parkgate flash" % LABEL)
        self.journal_kind = "raw"
        return BlockFlash(found[0], PROGRAM_SIZE)

    def counter(self, port: str, debounce_us: int):
        """A pulse counter: value() since the start, wrapping at `modulo`."""
        from hal.esp32.pulse_counter import PulseCounter

        return PulseCounter(self.counter_number(), self.pin(port), debounce_us)
