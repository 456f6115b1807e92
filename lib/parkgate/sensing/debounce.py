"""A contact's clean level out of its bouncing edges.

A level counts once it has lasted `hold` without an edge, and the change is dated to the first edge of the burst that
led to it: the moment the contact moved, not the moment it came to rest. A spike shorter than `hold` is nothing.
Times are small integers of one unit; they may wrap at 2^30. Nothing here allocates, so an interrupt may call it.
"""

WRAP = (1 << 30) - 1


class Debounce:
    """`level` is the clean level (0 or 1), `changed_at` when it last changed. `hold` and times in one unit."""

    def __init__(self, level: int, hold: int):
        self.level = level
        self.changed_at = 0
        self._hold = hold
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
        if self._quiet or ((time - self._since) & WRAP) < self._hold:
            return False
        self._quiet = True  # at rest, however long: the time may wrap now
        if self.raw == self.level:
            return False
        self.level = self.raw
        self.changed_at = self._first
        return True
