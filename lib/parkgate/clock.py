"""When something happened, and how far that can be trusted: pure bookkeeping over two clocks that others read.

`mono_ms` counts from boot and never steps; `unix_ms` is wall time as some source told it. The clock keeps their
difference, and how wrong that may be: what the source said of itself, and what a crystal drifts since then. What was
taken before the first synchronisation of a boot is dated afterwards from mono_ms and says so (DATED_LATER); without any
synchronisation in that boot it stays RELATIVE_ONLY.

A source that names a time before `floor_unix_ms` (when this firmware was built) or LIFE_MS later is wrong and is
refused. A source that is not a person (`limited`) may not set the clock back further than an honest clock can have run
ahead, nor before the newest synchronised time in the journal (`newest_unix_ms`). While such a source disagrees, the
time is not called synchronised.
"""

from .errors import SettingsError
from .reading import DATED_LATER, HELD_OVER, RELATIVE_ONLY, SYNCHRONISED

DRIFT_PPM = 50  # of a crystal, at all temperatures
TRUSTED_MS = 2000  # synchronised is a time that is no further off than this
STEP_MS = 500  # a larger correction is an event in the chain, not a drift
BACK_MS = 5000  # what a limited source may always take back; more only within the clock's own uncertainty
LIFE_MS = 15 * 365 * 86400000
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
        self.newest_unix_ms = 0  # in the journal, of the starts before this one
        self.offset_ms = None
        self.disputed = 0  # bit 0: a source was refused since the last synchronisation; bit 1: the judge says otherwise
        self.refused = 0
        self._synced_mono_ms = 0
        self._error_ms = 0  # at _synced_mono_ms

    def uncertainty_ms(self, mono_ms: int):
        """How far off the time may be at `mono_ms`, which is now; None while there is none."""
        if self.offset_ms is None:
            return None
        return self._error_ms + (mono_ms - self._synced_mono_ms) * DRIFT_PPM // 1000000

    def synchronise(self, mono_ms: int, unix_ms: int, uncertainty_ms: int = 0, limited: bool = False):
        """Take `unix_ms` as the time at `mono_ms`. A clock that agrees within `uncertainty_ms`, or knows the time as
        well, is left as it is, and is fresh again: a source must not shake time by its own error. Returns the step in
        ms when it corrected by STEP_MS or more, else None. Raises SettingsError for a time that cannot be."""
        self._check(mono_ms, unix_ms, limited)
        self.disputed &= 2
        known_ms = self.uncertainty_ms(mono_ms)
        self._synced_mono_ms = mono_ms
        step = None if self.offset_ms is None else unix_ms - mono_ms - self.offset_ms
        if step is not None:
            assert known_ms is not None
            apart = abs(step)
            if apart <= uncertainty_ms or known_ms <= uncertainty_ms >= apart - known_ms:
                self._error_ms = min(known_ms, apart + uncertainty_ms)
                return None
        self._error_ms = uncertainty_ms
        self.offset_ms = unix_ms - mono_ms
        return step if step is not None and abs(step) >= STEP_MS else None

    def judge(self, mono_ms: int, unix_ms: int, uncertainty_ms: int):
        """Compare with a source that is not followed. Returns its distance from this clock in ms where that is more
        than both may be off (the time is then disputed), else None."""
        if self.offset_ms is None:
            return None
        apart = unix_ms - mono_ms - self.offset_ms
        own_ms = self.uncertainty_ms(mono_ms)
        assert own_ms is not None
        if abs(apart) <= uncertainty_ms + own_ms:
            self.disputed &= 1
            return None
        self.disputed |= 2
        return apart

    def _check(self, mono_ms, unix_ms, limited):
        why = None
        if unix_ms < self.floor_unix_ms:
            why = "before this firmware was made"
        elif unix_ms > self.floor_unix_ms + LIFE_MS:
            why = "more than 15 years after this firmware was made"
        elif limited:
            newest, back_ms = self.newest_unix_ms, BACK_MS
            if self.offset_ms is not None:
                newest = max(newest, mono_ms + self.offset_ms)
                off_ms = self.uncertainty_ms(mono_ms)
                assert off_ms is not None
                back_ms = max(back_ms, off_ms)
            if unix_ms < newest - back_ms:
                why = "%d s before a time that was synchronised" % ((newest - unix_ms) // 1000)
        if why:
            self.refused += 1
            self.disputed |= 1
            raise SettingsError("a time source says %d ms, %s: refused" % (unix_ms, why))

    def date(self, mono_ms: int):
        """(time_ms, trust) for something that happens at `mono_ms`, which is now."""
        if self.offset_ms is None:
            return mono_ms, RELATIVE_ONLY
        off_ms = self.uncertainty_ms(mono_ms)
        assert off_ms is not None
        sure = not self.disputed and off_ms <= TRUSTED_MS
        return mono_ms + self.offset_ms, SYNCHRONISED if sure else HELD_OVER

    def not_before(self, mono_ms: int) -> int:
        """Wall time at `mono_ms`, which is now; while it is unknown, the newest known from before."""
        if self.offset_ms is None:
            return max(self.floor_unix_ms, self.newest_unix_ms)
        return mono_ms + self.offset_ms

    def date_later(self, time_ms: int, trust: int):
        """(time_ms, trust) of a sample of *this* boot, dated now if it could not be when it was taken."""
        if trust == RELATIVE_ONLY and self.offset_ms is not None:
            return time_ms + self.offset_ms, DATED_LATER
        return time_ms, trust
