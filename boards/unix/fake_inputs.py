"""Simulated pins and counters. Worlds are functions of time in seconds."""

from parkgate.sensing.debounce import WRAP, Debounce


class FakePin:
    """A digital input: `set` is the world's side, and calls the interrupt handler at each change."""

    def __init__(self, level: int = 0):
        self._level = level
        self._handler = None

    def value(self) -> int:
        return self._level

    def on_edge(self, handler):
        self._handler = handler

    def set(self, level: int):
        if level != self._level:
            self._level = level
            if self._handler:
                self._handler()


class FakeCounter:
    """A hardware counter: `count(t)` pulses since the start, wrapped."""

    def __init__(self, count, now_us, modulo: int = 1 << 16):
        self.modulo = modulo
        self._count = count
        self._now_us = now_us

    def value(self) -> int:
        return int(self._count(self._now_us() / 1000000)) % self.modulo


class Bouncing:
    """A pulse counter on a contact that plays `steps`, (ms, level) one after another, again and again. Edges come at
    their own times, and not when the machine gets to them: a busy one makes no bounce longer."""

    modulo = 1 << 30

    def __init__(self, steps, now_us, debounce_us: int):
        self._steps = steps
        self._now_us = now_us
        self._debounce = Debounce(0, debounce_us, debounce_us // 2)  # as the counters of boards
        self._next_us = now_us()
        self._place = self._count = 0

    def value(self) -> int:
        """Pulses since the first call."""
        until_us, debounce = self._now_us(), self._debounce
        while self._next_us <= until_us:
            ms, level = self._steps[self._place % len(self._steps)]
            if level != debounce.raw and debounce.edge(self._next_us & WRAP, level):
                self._count += debounce.level
            self._place += 1
            self._next_us += 1000 * ms
        if debounce.settle(until_us & WRAP):
            self._count += debounce.level
        return self._count
