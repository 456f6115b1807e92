"""Pulse counting on an emulated RP2040: the PIO program itself, and interrupts where it is not used.

The emulator's state machines keep their own rate (emulator/state_machines.mjs). It moves the pin from outside, in the
wall clock's time, which a board that sleeps keeps up with. An ESP32's pulse counter unit is not emulated anywhere.
"""

import random

import pytest

from tests.board.emulated_pico import EmulatedPico
from tests.board.flash_image import REPOSITORY, compiled, missing_for

MISSING = missing_for("pico")
pytestmark = [pytest.mark.skipif(bool(MISSING), reason=MISSING), pytest.mark.timeout(600)]

PIN = 14
OPEN, CLOSED = 1, 0  # a contact to ground with a pull-up
DEBOUNCE_US = 20000
FILES = (
    "firmware/hal/rp2/pulse_counter.py", "firmware/hal/device/inputs.py", "firmware/sensors/edges.py",
    "lib/parkgate/errors.py", "lib/parkgate/sensing/debounce.py",
)  # fmt: skip

PIO = """
import sys
sys.path.insert(0, '/lib')
from hal.rp2.pulse_counter import PulseCounter
counter = PulseCounter(0, %d, %d)
""" % (PIN, DEBOUNCE_US)

INTERRUPTS = """
import sys, time
sys.path.insert(0, '/lib')
from hal.device.inputs import Contact
from sensors.edges import EdgeCounter
counter = EdgeCounter(Contact(%d, {'hard': True}), time.ticks_us, %d)
counter.value()
""" % (PIN, DEBOUNCE_US)


@pytest.fixture(scope="module")
def pico():
    files = {}
    for name in FILES:
        target = "lib/" + name.split("/", 1)[1].replace(".py", ".mpy")
        files[target] = compiled(REPOSITORY / name)
    with EmulatedPico(files=files) as board:
        board.command("set_pin", pin=PIN, value=OPEN)
        yield board


def play(pico, steps):
    """Move the contact in board time; the board sleeps meanwhile."""
    pico.command("play_pin", pin=PIN, steps=steps)
    wait_ms = sum(ms for ms, _ in steps) + 50
    return int(pico.run(f"import time\ntime.sleep_ms({int(wait_ms)})\nprint(counter.value())"))


@pytest.mark.parametrize("way", [PIO, INTERRUPTS], ids=["PIO", "interrupts"])
def test_pulses_count_and_bounces_do_not(pico, way):
    dice = random.Random(4)
    pico.run(way)
    assert play(pico, [[20, OPEN]]) == 0
    plain = []
    for _ in range(10):  # S0: at least 30 ms closed and 30 ms open
        plain += [[30 + dice.randrange(20), CLOSED], [30 + dice.randrange(20), OPEN]]
    assert play(pico, plain) == 10
    bouncing = []
    for _ in range(5):
        bouncing += [[40, CLOSED]] + [[2, OPEN], [2, CLOSED]] * 6
        bouncing += [[40, OPEN]] + [[2, CLOSED], [2, OPEN]] * 4
    assert play(pico, bouncing) == 15
    spikes = [[40, CLOSED], [2, OPEN]] * 5
    assert play(pico, spikes) == 15
    assert play(pico, [[20, CLOSED], [300, OPEN]]) == 16, "long closed is one pulse"


def test_pio_goes_on_while_flash_is_erased(pico):
    """Interrupts wait for 45 ms; a state machine does not."""
    pico.run(PIO)
    pico.command("play_pin", pin=PIN, steps=[[31, CLOSED], [31, OPEN]] * 20)
    output = pico.run(
        "import rp2, time\nflash = rp2.Flash()\nlast = flash.ioctl(4, 0) - 1\nbegun = time.ticks_ms()\n"
        "while time.ticks_diff(time.ticks_ms(), begun) < 1300: flash.ioctl(6, last)\nprint(counter.value())"
    )
    assert int(output) == 20
