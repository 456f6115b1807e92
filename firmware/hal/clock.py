"""Monotonic and wall clock of any MicroPython board, as integers in milliseconds."""

import time

# ESP32 counts from 2000, the other ports from 1970 (time.gmtime(0) tells): what to add to get Unix time.
EPOCH_OFFSET_S = 946684800 if time.gmtime(0)[0] == 2000 else 0


class MonotonicClock:
    """Milliseconds since it was made; unlike ticks_ms it does not wrap. Must be asked at least every 6 days."""

    ticks_us = staticmethod(time.ticks_us)  # for short times; wraps
    ticks_ms = staticmethod(time.ticks_ms)  # the same, for interrupts

    def __init__(self):
        self._ticks = time.ticks_ms()
        self._mono_ms = 0

    def mono_ms(self) -> int:
        ticks = time.ticks_ms()
        self._mono_ms += time.ticks_diff(ticks, self._ticks)
        self._ticks = ticks
        return self._mono_ms


def rtc_unix_ms() -> int:
    """Wall time as the board's real-time clock has it, right or wrong."""
    return (time.time_ns() // 1000000) + EPOCH_OFFSET_S * 1000
