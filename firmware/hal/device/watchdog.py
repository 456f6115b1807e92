"""The hardware watchdog: a program that no longer turns its loop is reset."""

from machine import WDT

LONGEST_MS = 8388  # what an RP2040 can count; ESP32 could more


class Watchdog:
    """Sleeps until it is fed for the first time; from then on it cannot be stopped, and wants food within
    `timeout_ms`."""

    def __init__(self, timeout_ms: int = LONGEST_MS):
        self.timeout_ms = timeout_ms
        self._timer = None

    def feed(self):
        """All is well."""
        if self._timer is None:
            self._timer = WDT(timeout=self.timeout_ms)
        self._timer.feed()
