"""Pulse inputs: from a counter that wraps to a total that does not, and from pulses to what they stand for.

A pulse output as EN 62053-31 (S0) has it gives pulses of at least 30 ms with pauses of at least 30 ms: 16 a second at
most. More than the input's stated rate cannot have come from the meter; such a total is flagged COUNTER_GLITCH, and
it is what was counted, never smoothed.
"""

from parkgate.reading import COUNTER_GLITCH, GOOD

S0_RATE_MAX_HZ = 16
SLACK_MS = 1000  # reads are not exactly a period apart, and a debounced pulse counts when it has come to rest


class PulseTotal:
    """Total of a counter that begins at 0 when the board starts and wraps at `modulo`."""

    def __init__(self, modulo: int, rate_max_hz: int = S0_RATE_MAX_HZ):
        self.total = 0
        self._modulo = modulo
        self._rate_max_hz = rate_max_hz
        self._raw = 0
        self._time_ms = None

    def restore(self, total: int):
        """Go on from the total before the restart; what was counted meanwhile is added to it."""
        self.total += total

    def take(self, raw: int, time_ms: int) -> int:
        """The counter stands at `raw` at `time_ms`; the quality of the total. Must be called before it wraps twice."""
        growth = (raw - self._raw) % self._modulo
        before_ms, self._time_ms = self._time_ms, time_ms
        self._raw = raw
        self.total += growth
        if before_ms is None:  # since the board started, whenever that was
            return GOOD
        most = self._rate_max_hz * (time_ms - before_ms + SLACK_MS) // 1000 + 1
        return GOOD if growth <= most else COUNTER_GLITCH


def scaled(total: int, numerator: int, denominator: int) -> int:
    """What `total` pulses stand for: numerator/denominator steps each. From the whole total each time, so that
    rounding never adds up."""
    return total * numerator // denominator
