"""The simulated board's chips and pins for tests, on a clock that only moves when somebody waits or uses a bus.

The fakes are those of boards/unix: what a test sees is what the simulated gateway sees. `World` is their time;
`run` drives a coroutine that waits for nothing but `World.sleep_ms`, on CPython and MicroPython alike.
"""

import sys

_HERE = __file__ if "/" in __file__ else "./" + __file__
sys.path.append(_HERE.rsplit("/", 1)[0] + "/../../boards/unix")

from fake_accelerometer import FakeAdxl345, FakeLis3dh, FakeSpi  # noqa: E402
from fake_analog import FakeAdc, FakeWire  # noqa: E402
from fake_bus import Chip, Dice, FakeI2c, Faults  # noqa: E402
from fake_chips import FakeAds1115, FakeBme280, FakeSht3x  # noqa: E402
from fake_inputs import FakeCounter, FakePin  # noqa: E402

__all__ = (
    "Chip", "Dice", "FakeAdc", "FakeAds1115", "FakeAdxl345", "FakeBme280", "FakeCounter", "FakeI2c", "FakeLis3dh",
    "FakePin", "FakeSht3x", "FakeSpi", "FakeWire", "Faults", "World", "run",
)  # fmt: skip


class World:
    """Time that stands still. `events` are (time in µs, function), called when time comes past them."""

    def __init__(self, start_us: int = 1000000):
        self.us = start_us
        self.slept_ms = 0
        self.lag_us = 0  # what other tasks take each time somebody sleeps
        self._events = []

    def now_us(self) -> int:
        return self.us

    def mono_ms(self) -> int:
        return self.us // 1000

    def ticks_ms(self) -> int:
        """As a board has it: wraps at 2^30."""
        return self.us // 1000 & 0x3FFFFFFF

    def ticks_us(self) -> int:
        return self.us & 0x3FFFFFFF

    def spend_us(self, us: int):
        self.to(self.us + us)

    def at(self, us: int, what):
        """Call `what` when time comes to `us`."""
        at = len(self._events)
        while at and self._events[at - 1][0] > us:
            at -= 1
        self._events.insert(at, (us, what))

    def to(self, us: int):
        while self._events and self._events[0][0] <= us:
            at, what = self._events.pop(0)
            self.us = max(at, self.us)
            what()
        self.us = max(us, self.us)

    async def sleep_ms(self, ms: int):
        self.slept_ms += ms
        self.spend_us(ms * 1000 + self.lag_us)


def run(coroutine):
    """What a coroutine returns that never really waits."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    raise RuntimeError("it waited for something that is not simulated")
