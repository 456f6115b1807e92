"""Simulated pins and counters. Worlds are functions of time in seconds."""


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
