"""The pulse counters of RP2 (its PIO program, interpreted cycle by cycle) and of ESP32 (its unit and interrupts),
against contacts that bounce as the field's do."""

import random
import sys
import types
from pathlib import Path

import pytest

FIRMWARE = Path(__file__).resolve().parents[2] / "firmware"
DEBOUNCE_US = 20000

# Steps of (ms, closed): 3 pulses each when played three times; EN 62053-31 pulses with bounces of up to 18 ms.
BOUNCING = {
    "clean": [(30, 1), (30, 0)],
    "after the pulse": [(40, 1), (15, 0), (18, 1), (60, 0)],
    "before the pulse": [(3, 1), (18, 0), (30, 1), (60, 0)],
    "within the pulse": [(20, 1), (17, 0), (30, 1), (60, 0)],
    "most of the shortest pulse": [(2, 1), (4, 0), (3, 1), (5, 0), (2, 1), (2, 0), (12, 1), (60, 0)],
    "most of the shortest pause": [(30, 1), (2, 0), (4, 1), (3, 0), (5, 1), (2, 0), (2, 1), (12, 0)],
    "spikes": [(40, 1), (40, 0), (1, 1), (8, 0), (2, 1), (40, 0)],
}


class StateMachine:
    """Runs what `rp2.asm_pio` was given: jmp and set, with delays, one cycle at a time."""

    contact = None  # closed(µs), set by the test

    def __init__(self, _number, program, freq, in_base=None, jmp_pin=None):
        self.freq = freq
        self._program, self._labels = program
        self._x = self._y = self._pc = 0
        self._us = 0.0
        self._isr = 0

    def active(self, _on):
        self._us = 0.0

    def exec(self, text):
        if text.startswith("set(x"):
            self._x = 0
        elif text.startswith("mov"):
            self._isr = self._x

    def get(self):
        return self._isr

    def run_to(self, us):
        while self._us < us:
            name, args, delay = self._program[self._pc]
            following = (self._pc + 1) % len(self._program)
            if name == "set":
                self._y = args[1]
            else:
                condition, target = args if len(args) == 2 else (None, args[0])
                jumps = True
                if condition == "pin":
                    jumps = not StateMachine.contact(self._us)  # high while the contact is open
                elif condition in ("x_dec", "y_dec"):
                    value = self._x if condition == "x_dec" else self._y
                    jumps = value != 0
                    value = (value - 1) & 0xFFFFFFFF
                    if condition == "x_dec":
                        self._x = value
                    else:
                        self._y = value
                if jumps:
                    following = self._labels[target]
            self._pc = following
            self._us += (1 + delay) * 1e6 / self.freq


class Placed:
    """An instruction that was just written down; `[n]` behind it is its delay."""

    def __init__(self, instruction):
        self._instruction = instruction

    def __getitem__(self, delay):
        assert 0 <= delay < 32
        self._instruction[2] = delay


def asm_pio():
    def assembled(function):
        program, labels = [], {}

        def put(name):
            def place(*args):
                program.append([name, args, 0])
                return Placed(program[-1])

            return place

        words = {"jmp": put("jmp"), "set": put("set"), "label": lambda name: labels.update({name: len(program)})}
        words.update({"wrap_target": lambda: None, "wrap": lambda: None})
        words.update({name: name for name in ("pin", "x", "y", "x_dec", "y_dec")})
        function.__globals__.update(words)
        function()
        for name in words:
            function.__globals__.pop(name)
        assert len(program) <= 32, "a state machine has no more room"
        return program, labels

    return assembled


class Pin:
    IN, PULL_UP, IRQ_RISING, IRQ_FALLING = 0, 1, 2, 4
    level = 1
    handlers: list = []

    def __init__(self, *_):
        pass

    def value(self):
        return Pin.level

    def irq(self, handler, _trigger):
        Pin.handlers.append(handler)


class Counter:
    FALLING = 1
    count = 0

    def __init__(self, *_, **__):
        Counter.count = 0

    def value(self):
        return Counter.count


@pytest.fixture
def hardware(monkeypatch):
    machine, rp2, clock = types.ModuleType("machine"), types.ModuleType("rp2"), types.ModuleType("time")
    machine.Pin, machine.Counter = Pin, Counter  # type: ignore[attr-defined]
    rp2.asm_pio, rp2.StateMachine = asm_pio, StateMachine  # type: ignore[attr-defined]
    clock.us = 1000  # type: ignore[attr-defined]
    clock.ticks_us = lambda: clock.us & (1 << 30) - 1  # type: ignore[attr-defined]
    Pin.level, Pin.handlers = 1, []
    for name, module in (("machine", machine), ("rp2", rp2), ("time", clock)):
        monkeypatch.setitem(sys.modules, name, module)

    def load(path):
        module = types.ModuleType(path)
        exec(compile((FIRMWARE / path).read_text(), path, "exec"), module.__dict__)
        return module

    return load, clock


def levels(steps):
    """Changes of the contact as [(µs, closed), …]; it begins open and stays so for 50 ms."""
    at, changes = 50000, []
    for ms, closed in steps:
        changes.append((at, closed))
        at += int(ms * 1000)
    return changes, at + 100000


def shaken():
    """Three S0 pulses whose first 18 ms, and whose pauses' first 18 ms, are bounces of any kind."""
    dice = random.Random(31)
    for _ in range(40):
        steps = []
        for level in (1, 0) * 3:
            left, now = 18.0, level
            while left > 0:
                ms = min(left, dice.uniform(0.1, 8))
                steps.append((ms, now))
                left, now = left - ms, 1 - now
            steps.append((13 + dice.choice((0, 20, 500)), level))
        yield steps


def pio_count(hardware, steps, debounce_us=DEBOUNCE_US):
    load, _ = hardware
    counter = load("hal/rp2/pulse_counter.py").PulseCounter(0, 14, debounce_us)
    changes, end = levels(steps)
    StateMachine.contact = lambda us: next((closed for at, closed in reversed(changes) if at <= us), 0)
    counter._machine.run_to(end)
    return counter.value()


@pytest.mark.parametrize("name", BOUNCING)
def test_pio_counts_pulses_and_no_bounces(hardware, name):
    assert pio_count(hardware, BOUNCING[name] * 3 + [(60, 0)]) == 3


def test_pio_counts_the_shortest_pulses_whatever_their_bounces(hardware):
    for steps in shaken():
        assert pio_count(hardware, steps) == 3, steps


def test_pio_refuses_what_it_cannot_wait_for(hardware):
    from parkgate.errors import SettingsError

    with pytest.raises(SettingsError, match="at most 64000 us"):
        pio_count(hardware, [], 64001)
    assert pio_count(hardware, [(0.2, 1), (0.3, 0)] * 10, 130) == 10, "fast pulses of a flow meter"


def esp32_count(hardware, steps, deaf=(), look_us=7000):
    """`deaf`: spans of µs in which interrupts wait (flash is erased); then one call comes, as the port gives it."""
    load, clock = hardware
    counter = load("hal/esp32/pulse_counter.py").PulseCounter(0, 14, DEBOUNCE_US)
    changes, end = levels(steps)
    pending, look = False, 0

    def waits(us):
        return any(first <= us < last for first, last in deaf)

    for us in range(0, end, 100):
        clock.us = 1000 + us
        while changes and changes[0][0] <= us:
            closed = changes.pop(0)[1]
            Counter.count += bool(closed and Pin.level)
            pending = pending or Pin.level != 1 - closed
            Pin.level = 1 - closed
        if pending and not waits(us):
            pending = False
            for handler in Pin.handlers:
                handler(None)
        if us >= look and not waits(us):
            counter.value()
            look = us + look_us
    return counter.value()


@pytest.mark.parametrize("name", BOUNCING)
def test_esp32_counts_pulses_and_no_bounces(hardware, name):
    assert esp32_count(hardware, BOUNCING[name] * 3 + [(60, 0)]) == 3


def test_esp32_counts_the_shortest_pulses_whatever_their_bounces(hardware):
    for steps in shaken():
        assert esp32_count(hardware, steps) == 3, steps


def test_esp32_keeps_the_pulse_that_comes_and_goes_while_flash_is_erased(hardware):
    steps = [(30, 1), (60, 0)] * 4
    # The second pulse, from 140 to 170 ms, lies within an erase.
    assert esp32_count(hardware, steps, deaf=((135000, 180000),)) == 4
