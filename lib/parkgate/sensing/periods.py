"""What became of every period of one instrument: a sample was taken in it, or not, and why (SPEC 5.7).

A period is a stretch of time: number k lasts from `origin_ms` + k · `period_ms` to the next one. Each has exactly one
outcome, settled once: by the turn that was taken in it, or, when it is over and had no turn, by the reason for that. So

    first + taken + not taken, by reason = settled

holds at every moment, where `first` is the number of the first period that no statement has told yet and the counts
are of the periods since. A statement (events.PERIODS) tells the span first … settled − 1 and begins a new one; the
statements of a start therefore lie side by side without a hole.

A span ends where an outage begins or ends, so that its time is exact, as far as the budget of statements allows: four
at once, then one a minute. Beyond it the span goes on and its counts say how many periods of it were not taken. A span
with an outage is stated again after 1, 2, 4 … minutes and at most an hour, one without after an hour: a crash loses the
part of the account since the last statement, never that there was an outage.

Times are ms of a clock that does not wrap. Nothing is allocated for a period but the integers themselves.
"""

TAKEN, NO_ANSWER, BACKED_OFF, BUSY, NOT_BUILT, FAILED = 0, 1, 2, 3, 4, 5  # events.PERIOD_OUTCOMES names them
_OUTCOMES = 6

MINUTE_MS = 60000
HOUR_MS = 3600000
_BURST = 4


class Periods:
    """The account of one instrument since `origin_ms`."""

    def __init__(self, period_ms: int, origin_ms: int):
        self.period_ms = period_ms
        self._origin_ms = origin_ms
        self.first = 0
        self.settled = 0
        self.not_taken = 0  # since the origin
        self.last = TAKEN  # the newest outcome
        self._counts = [0] * _OUTCOMES
        self._told_ms = origin_ms - MINUTE_MS
        self._wait_ms = MINUTE_MS
        self._budget = _BURST

    def number(self, t_ms: int) -> int:
        """The number of the period that t_ms lies in; 0 before the origin."""
        return max(0, (t_ms - self._origin_ms) // self.period_ms)

    def begins_ms(self, number: int) -> int:
        """When a period begins."""
        return self._origin_ms + number * self.period_ms

    def over(self, t_ms: int) -> int:
        """How many periods are over at t_ms and have no outcome yet."""
        return max(0, self.number(t_ms) - self.settled)

    def settle(self, outcome: int, periods: int = 1):
        """The next periods had this outcome."""
        self._counts[outcome] += periods
        self.settled += periods
        self.last = outcome
        if outcome:
            self.not_taken += periods

    def may_settle(self, t_ms: int) -> bool:
        """Whether the period that t_ms lies in still has no outcome; those before must have been settled."""
        return self.number(t_ms) >= self.settled

    def cuts(self, outcome: int, now_ms: int) -> bool:
        """Whether the span should be told before the next period is settled as `outcome`: an outage begins or ends
        there, and the budget allows a statement."""
        if self.settled == self.first or (outcome == TAKEN) == (self.last == TAKEN):
            return False
        return self._left(now_ms) > 0

    def is_due(self, now_ms: int) -> bool:
        """Whether the span should be told because of its age."""
        if self.settled == self.first:
            return False
        age_ms = now_ms - self._told_ms
        if age_ms >= HOUR_MS:
            return True
        return age_ms >= self._wait_ms and self.troubled()

    def troubled(self) -> bool:
        """Whether a period of the span was not taken."""
        return self._counts[TAKEN] != self.settled - self.first

    def tell(self, now_ms: int):
        """(when the span begins, its counts by outcome); the next span begins behind it."""
        self._budget = max(0, self._left(now_ms) - 1)
        self._told_ms = now_ms
        self._wait_ms = min(2 * self._wait_ms, HOUR_MS) if self.last != TAKEN else MINUTE_MS
        counts = self._counts
        begin_ms = self.begins_ms(self.first)
        self.first = self.settled
        self._counts = [0] * _OUTCOMES
        return begin_ms, counts

    def _left(self, now_ms):
        """Statements that the budget still allows."""
        return min(_BURST, self._budget + (now_ms - self._told_ms) // MINUTE_MS)
