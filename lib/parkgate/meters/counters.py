"""Counters that only grow: which readings a meter can have made, and which it cannot.

An energy register may do four things. Each reading is judged against the last good one:

    it grows by no more than the meter can have counted in that time        good
    it passes its end and begins again (rollover)                           good, event ROLLOVER
    it jumps: back, or further than the meter can count                     COUNTER_GLITCH, event GLITCH
    it stays on the other side of a jump for CONFIRM readings in a row      good again, event EXCHANGE

The last is a meter that was exchanged or reset. Until it is confirmed its readings are flagged, and they stay
flagged: nothing is smoothed, filled in or held back, the value always is what the register said. A reading
that jumps and comes back was a glitch, and the ones behind it are good again at once.

Each event goes into the signed chain with the last good value before it and the one that caused it (SPEC 5.4). GLITCH
comes with the first reading of a jump, and not again within GLITCH_APART_MS: a register that is never right must not
fill the journal with events, its readings are flagged one by one.

How far a counter can grow in `t` milliseconds, in units of its channel:

    rate_per_h × (t + UPDATE_MS) / 3,600,000 + 2 steps + value / 2^22

UPDATE_MS because meters bring their energy registers up to date only every few seconds to a minute; the last
term is two units in the last place of a float register.
"""

from parkgate.reading import COUNTER_GLITCH, GOOD

NO_EVENT, ROLLOVER, EXCHANGE, GLITCH = 0, 1, 2, 3  # as in events.COUNTER_EVENTS

CONFIRM = 3
GLITCH_APART_MS = 600000
UPDATE_MS = 60000
POWER_MAX_W = 1000000  # a counter without a rating may grow as at one megawatt (or mega-var, or MVA)

_HOUR_MS = 3600000


class CounterCheck:
    """Judges the readings of one counter.

    `rate_per_h` is the most it can grow in an hour, `rollover` the value at which it begins again at 0 (None if
    unknown), `step` the smallest growth its register can show; all in units of the channel (value × 10^-scale).
    """

    def __init__(self, rate_per_h, rollover=None, step=1):
        self._rate_per_h = rate_per_h
        self._rollover = rollover
        self._step = step
        self._value = None
        self._time_ms = 0
        self._other = None
        self._other_ms = 0
        self._other_count = 0
        self._told_ms = None
        self.before = None  # the last good value before the reading that was judged last

    def judge(self, value, time_ms):
        """(quality, event) of a reading taken at time_ms (of a clock that does not wrap)."""
        self.before = self._value
        if self._value is None:
            self._accept(value, time_ms)
            return GOOD, NO_EVENT
        if self._possible(self._value, self._time_ms, value, time_ms):
            rolled = value < self._value
            self._accept(value, time_ms)
            return GOOD, ROLLOVER if rolled else NO_EVENT
        if self._other is not None and self._possible(self._other, self._other_ms, value, time_ms):
            self._other_count += 1
        else:
            self._other_count = 1
        if self._other_count >= CONFIRM:
            self._accept(value, time_ms)
            return GOOD, EXCHANGE
        self._other, self._other_ms = value, time_ms
        if self._other_count > 1 or (self._told_ms is not None and time_ms - self._told_ms < GLITCH_APART_MS):
            return COUNTER_GLITCH, NO_EVENT
        self._told_ms = time_ms
        return COUNTER_GLITCH, GLITCH

    def state(self):
        """(value, time_ms) of the last good reading, to be kept over a restart; value is None before the first."""
        return self._value, self._time_ms

    def restore(self, value, time_ms):
        """Go on after a restart from what state() gave; time_ms must be in the new clock (negative is allowed)."""
        self._accept(value, time_ms)

    def _accept(self, value, time_ms):
        self._value, self._time_ms = value, time_ms
        self._other, self._other_count = None, 0

    def _possible(self, before, before_ms, value, time_ms):
        growth = value - before
        if growth < 0:
            if self._rollover is None or before >= self._rollover:
                return False
            growth += self._rollover
        passed_ms = time_ms - before_ms
        if passed_ms < 0:
            passed_ms = 0
        limit = self._rate_per_h * (passed_ms + UPDATE_MS) // _HOUR_MS + 2 * self._step + (before >> 22)
        return 0 <= growth <= limit


def for_channel(channel, power_max_w=POWER_MAX_W):
    """The check for a profile's channel, or None when it is no counter of energy or time.

    `power_max_w` is the meter's rated power (see `ratings` of its profile).
    """
    from parkgate import quantities  # needed at the start only, and large: not kept

    quantity = quantities.find(channel.quantity)
    if not quantity.cumulative:
        return None
    if quantity.unit in ("Wh", "varh", "VAh"):
        rate_per_h = power_max_w
    elif quantity.unit == "s":
        rate_per_h = 3600
    else:
        return None
    scale = channel.scale
    rate_per_h = rate_per_h * 10**scale if scale >= 0 else rate_per_h // 10**-scale + 1
    step = 10**channel.exponent if channel.exponent > 0 else 1
    return CounterCheck(rate_per_h, channel.rollover, step)
