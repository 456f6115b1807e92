"""A contact's clean level out of its bouncing edges.

A level counts once the burst of edges that led to it began `hold` ago and the contact has been at rest for `rest`
since the last edge. The change is dated to the first edge of the burst: the moment the contact moved, not the moment
it came to rest. A spike shorter than `hold` is nothing. A burst ends without a change when the old level has lasted
for `hold`.

`rest` is `hold` unless it is given. Pulses want it shorter: of an S0 pulse of 30 ms (EN 62053-31) the contact may
bounce for 18 ms, which leaves 12 ms at rest. With a hold of 20 ms and a rest of 10 ms such a pulse counts, and a
bounce of 18 ms does not.

Times are small integers of one unit; they may wrap at 2^30. Nothing here allocates, so an interrupt may call it.
"""

WRAP = (1 << 30) - 1


class Debounce:
    """`level` is the clean level (0 or 1), `changed_at` when it last changed. `hold`, `rest` and times in one unit."""

    def __init__(self, level: int, hold: int, rest=None):
        self.level = level
        self.changed_at = 0
        self._hold = hold
        self._rest = hold if rest is None else rest
        self.raw = level  # as it was seen after the last edge
        self._since = 0
        self._first = 0
        self._quiet = True  # no edge yet: the first one begins a burst, whatever the time is

    def begin(self, level: int):
        """The level was this before the first edge."""
        self.level = self.raw = level

    def settled(self) -> bool:
        """Whether no burst of edges is under way."""
        return self._quiet

    def edge(self, time: int, level: int) -> bool:
        """An edge at `time`, after which the contact was seen at `level`. Whether a change *before* it now counts."""
        changed = self.settle(time)
        if self._quiet or ((time - self._since) & WRAP) >= self._hold:
            self._first = time
        self._quiet = False
        self.raw = level
        self._since = time
        return changed

    def settle(self, time: int) -> bool:
        """It is `time` and there was no edge since the last: whether a change counts now."""
        if self._quiet:
            return False
        rested = (time - self._since) & WRAP
        if self.raw == self.level:
            self._quiet = rested >= self._hold
            return False
        if rested < self._rest or ((time - self._first) & WRAP) < self._hold:
            return False
        self._quiet = True  # at rest, however long: the time may wrap now
        self.level = self.raw
        self.changed_at = self._first
        return True
