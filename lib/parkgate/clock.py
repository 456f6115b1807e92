"""When something happened, and how far that can be trusted: pure bookkeeping over two clocks that others read.

`mono_ms` counts from boot and never steps; `unix_ms` is wall time as some source told it. The clock keeps their
difference. What was taken before the first synchronisation of a boot is dated afterwards from mono_ms and says so
(DATED_LATER); without any synchronisation in that boot it stays RELATIVE_ONLY. A source that names a time before
`floor_unix_ms` (when this firmware was built) is wrong and is refused.
"""

from .errors import SettingsError
from .reading import DATED_LATER, HELD_OVER, RELATIVE_ONLY, SYNCHRONISED

HOLD_OVER_MS = 6 * 3600 * 1000  # a crystal of 50 ppm is then 1 s off
STEP_MS = 2000  # a larger correction is an event in the chain, not a drift
_HALF_CLOCK_US = 1 << 29
_CLOCK_MASK = (1 << 30) - 1


def elapsed_us(later_us, earlier_us):
    """Signed difference of two clock values that may wrap at 2^30; right for |difference| < 2^29."""
    difference = (later_us - earlier_us) & _CLOCK_MASK
    if difference >= _HALF_CLOCK_US:
        difference = difference - _HALF_CLOCK_US - _HALF_CLOCK_US
    return difference


class Clock:
    """Difference between monotonic and wall time. All arguments and results are integer milliseconds."""

    def __init__(self, floor_unix_ms: int):
        self.floor_unix_ms = floor_unix_ms
        self.offset_ms = None
        self.synced_mono_ms = None
        self.refused = 0

    def synchronise(self, mono_ms: int, unix_ms: int, uncertainty_ms: int = 0):
        """Take `unix_ms` as the time at `mono_ms`. A clock that agrees within `uncertainty_ms` is left as it is, and
        is fresh again: a source must not shake time by its own error. Returns the step in ms when it corrected by
        more than STEP_MS, else None. Raises SettingsError when the time lies before the floor."""
        if unix_ms < self.floor_unix_ms:
            self.refused += 1
            raise SettingsError("time source says %d ms, before this firmware was made: refused" % unix_ms)
        step = None if self.offset_ms is None else unix_ms - mono_ms - self.offset_ms
        self.synced_mono_ms = mono_ms
        if step is not None and abs(step) <= uncertainty_ms:
            return None
        self.offset_ms = unix_ms - mono_ms
        return step if step is not None and abs(step) > STEP_MS else None

    def date(self, mono_ms: int):
        """(time_ms, trust) for something that happens at `mono_ms`, which is now."""
        if self.offset_ms is None:
            return mono_ms, RELATIVE_ONLY
        fresh = mono_ms - self.synced_mono_ms < HOLD_OVER_MS
        return mono_ms + self.offset_ms, SYNCHRONISED if fresh else HELD_OVER

    def not_before(self, mono_ms: int) -> int:
        """Wall time at `mono_ms`, which is now; while it is unknown, the day this firmware was made."""
        return self.floor_unix_ms if self.offset_ms is None else mono_ms + self.offset_ms

    def date_later(self, time_ms: int, trust: int):
        """(time_ms, trust) of a sample of *this* boot, dated now if it could not be when it was taken."""
        if trust == RELATIVE_ONLY and self.offset_ms is not None:
            return time_ms + self.offset_ms, DATED_LATER
        return time_ms, trust
