"""Counters that only grow: which readings a meter can have made, and which it cannot.

An energy register may do these things. Each reading is judged against the last good one:

    it grows by no more than the meter can have counted in that time        good
    it passes its end, or that of the display, and begins again             good, event ROLLOVER
    it jumps: back, or further than the meter can count                     COUNTER_GLITCH, event GLITCH
    it goes on from before the jump                                         good, event RETURN
    it stays on the other side of the jump until that is confirmed          good again, event EXCHANGE or RESET
    it goes on from before a confirmed exchange (or a rollover)             good, event UNDONE
    its values are in another measure from here on                          good, event RESCALED

A jump is confirmed when CONFIRM readings in a row, over CONFIRM_MS or more, are ones that a meter can have made one
after another. A meter that boots shows zeros for a while: a jump to 0 is confirmed after ZERO_MS. Samples alone prove
nothing: at ten a second three of them are an instant. The serial number proves more than time: one that has changed
is another meter's and confirms at once; one that has stayed the same says that the meter was reset, not exchanged.

Nothing is smoothed, filled in or held back, the value always is what the register said. After a confirmed exchange the
old value is remembered for RETURN_MS: a register that goes on from there never was another meter's, and says so.
Each event goes into the signed chain with the last good value before it and the one that caused it (SPEC 5.4). GLITCH
comes with the first reading of a jump, and not again within GLITCH_APART_MS: a register that is never right must not
fill the journal with events, its readings are flagged one by one. RETURN comes only behind two readings or more that
agreed with each other.

How far a counter can grow in `t` milliseconds, in units of its channel:

    rate_per_h × (t + UPDATE_MS) / 3,600,000 + 2 steps + value / 2^22

UPDATE_MS because meters bring their energy registers up to date only every few seconds to a minute; the last
term is two units in the last place of a float register.

Rollover: at `rollover` (from the profile, or the end of the register's type), and where that does not explain it at the
next power of ten from 10^5 on: meters whose display has 5 to 9 digits begin again at 99,999.99 kWh and the like
whatever their register could hold. Behind transformers whose ratio the gateway multiplies by, it is the display's own
number that passes the power of ten.

A transformer ratio that the meter's registers say may be changed at the meter. Then the value jumps, but nothing was
counted: what is remembered is multiplied too. After a change of the profile or of a ratio in the settings (`basis`)
the old values mean something else, and nothing is compared with them. RESCALED tells the values on both sides.
"""

from parkgate.meters.registers import divide_rounded
from parkgate.reading import COUNTER_GLITCH, GOOD, SECONDARY_SIDE

SERIAL_NUMBER = "serial_number"

NO_EVENT, ROLLOVER, EXCHANGE, GLITCH, RETURN, UNDONE, RESET, RESCALED = range(8)  # as in events.COUNTER_EVENTS

CONFIRM = 3
CONFIRM_MS = 10000
ZERO_MS = 600000
RETURN_MS = 7 * 86400000
GLITCH_APART_MS = 600000
UPDATE_MS = 60000
POWER_MAX_W = 1000000  # a counter without a rating may grow as at one megawatt (or mega-var, or MVA)

_HOUR_MS = 3600000
_DISPLAY_MIN = 100000
_NEAR_END = 5  # an end that nobody stated is passed with the last 1/32 of the display at most
_GROWS, _ROLLS = 1, 2  # how a reading follows from another; 0 when it cannot


class CounterCheck:
    """Judges the readings of one counter.

    `rate_per_h` is the most it can grow in an hour, `rollover` the value at which it begins again at 0 (None if
    unknown), `step` the smallest growth its register can show; all in units of the channel (value × 10^-scale).
    `multiple` is the transformer ratio that the display's number was multiplied by, as (numerator, denominator). Where
    the meter's own registers say the scale, `follow` sets the last three before a reading is judged.
    """

    def __init__(self, rate_per_h, rollover=None, step=1, multiple=(1, 1)):
        self._rate_per_h = rate_per_h
        self.rollover = rollover
        self.step = step
        self.multiple = multiple
        self._rescaled = None  # the last good value in the measure of before
        self._value = None
        self._time_ms = 0
        self._moved = False  # whether it has grown since it was taken for another meter's
        self._other = None  # the newest reading behind a jump, the first of them, and how many agree
        self._other_ms = 0
        self._first = None
        self._first_ms = 0
        self._count = 0
        self._old = None  # the last good value before an exchange or rollover, while a return is possible
        self._old_ms = 0
        self._told_ms = None
        self.before = None  # the last good value before the reading that was judged last

    def judge(self, value, time_ms, serial=None):
        """(quality, event) of a reading taken at time_ms (of a clock that does not wrap). `serial`: True when the
        meter's serial number was read with it and is the one before, False when it has changed, None if unknown."""
        rescaled, self._rescaled = self._rescaled, None
        quality, event = self._judge(value, time_ms, serial)
        if rescaled is not None and event in (NO_EVENT, ROLLOVER):
            self.before, event = rescaled, RESCALED
        return quality, event

    def _judge(self, value, time_ms, serial):
        self.before = self._value
        if self._value is None:
            self._accept(value, time_ms)
            return GOOD, NO_EVENT
        if self._old is not None and self._returns(value, time_ms):
            self.before = self._old
            self._old = None
            self._accept(value, time_ms)
            return GOOD, UNDONE
        how = self._follows(self._value, self._time_ms, value, time_ms)
        if how:
            return GOOD, self._goes_on(value, time_ms, how == _ROLLS)
        if serial is False:
            self._moved = True
            return GOOD, self._exchanged(value, time_ms, EXCHANGE)
        if self._other is None or self._follows(self._other, self._other_ms, value, time_ms) != _GROWS:
            self._count, self._first, self._first_ms = 0, value, time_ms
        self._count += 1
        self._other, self._other_ms = value, time_ms
        lasts_ms = ZERO_MS if self._first == 0 else CONFIRM_MS
        if self._count >= CONFIRM and time_ms - self._first_ms >= lasts_ms:
            self._moved = self._first != value
            return GOOD, self._exchanged(value, time_ms, RESET if serial else EXCHANGE)
        if self._count > 1 or (self._told_ms is not None and time_ms - self._told_ms < GLITCH_APART_MS):
            return COUNTER_GLITCH, NO_EVENT
        self._told_ms = time_ms
        return COUNTER_GLITCH, GLITCH

    def follow(self, rollover, step, multiple):
        """What the registers of the next reading say. Where the ratio has changed since the last one, all that is
        remembered is multiplied as the reading is."""
        self.rollover, self.step = rollover, step
        old, self.multiple = self.multiple, multiple
        if old and old != multiple and self._value is not None:
            self._rescaled = self._value
            n, d = multiple[0] * old[1], multiple[1] * old[0]
            self._value, self._other, self._first, self._old = [
                None if value is None else divide_rounded(value * n, d)
                for value in (self._value, self._other, self._first, self._old)
            ]

    def forget(self):
        """What is remembered is in another measure than the next reading will be: nothing can be compared."""
        self._rescaled = self._value
        self._value = self._other = self._first = self._old = None
        self._count = 0

    def state(self):
        """(value, time_ms) of the last good reading, to be kept over a restart; value is None before the first."""
        return self._value, self._time_ms

    def restore(self, value, time_ms):
        """Go on after a restart from what state() gave; time_ms must be in the new clock (negative is allowed)."""
        self._accept(value, time_ms)

    def memory(self):
        """What else is to be kept over a restart: a jump that waits for its confirmation, and the value before the last
        exchange. Times are as in judge(). None, nearly always, when there is neither."""
        if self._other is None and self._old is None:
            return None
        jump = None
        if self._other is not None:
            jump = [self._other, self._other_ms, self._first, self._first_ms, self._count]
        return [jump, self._old, self._old_ms, self._moved]

    def remember(self, memory, shift_ms):
        """Take up what memory() gave; `shift_ms` is to be added to its times to have them in the new clock."""
        jump, self._old, old_ms, self._moved = memory
        self._old_ms = old_ms + shift_ms
        if jump:
            self._other, other_ms, self._first, first_ms, self._count = jump
            self._other_ms, self._first_ms = other_ms + shift_ms, first_ms + shift_ms
            self._told_ms = self._first_ms

    def _goes_on(self, value, time_ms, rolled):
        """Take a reading that follows from the last good one; the event of it."""
        event = ROLLOVER if rolled else RETURN if self._count > 1 else NO_EVENT
        if rolled:
            self._old, self._old_ms, self._moved = self._value, self._time_ms, False
        elif self._old is not None:
            self._moved = self._moved or value != self._value
            if time_ms - self._old_ms > RETURN_MS:
                self._old = None
        self._accept(value, time_ms)
        return event

    def _exchanged(self, value, time_ms, event):
        self._old, self._old_ms = self._value, self._time_ms
        self._accept(value, time_ms)
        return event

    def _returns(self, value, time_ms):
        """Whether a reading goes on from before the exchange. Where it could also be the new meter's (a long time has
        passed), it is that one's if its counter has moved since."""
        if self._follows(self._old, self._old_ms, value, time_ms) != _GROWS:
            return False
        return value != self._value and (
            not self._moved or not self._follows(self._value, self._time_ms, value, time_ms)
        )

    def _accept(self, value, time_ms):
        self._value, self._time_ms = value, time_ms
        self._other, self._count = None, 0

    def _follows(self, before, before_ms, value, time_ms):
        """How a reading follows from another: _GROWS, _ROLLS, or 0 when a counter cannot have done that."""
        passed_ms = time_ms - before_ms
        if passed_ms < 0:
            passed_ms = 0
        limit = self._rate_per_h * (passed_ms + UPDATE_MS) // _HOUR_MS + 2 * self.step + (before >> 22)
        growth = value - before
        if growth >= 0:
            return _GROWS if growth <= limit else 0
        if self.rollover is not None and before < self.rollover and growth + self.rollover <= limit:
            return _ROLLS
        n, d = self.multiple or (1, 1)
        display = _DISPLAY_MIN
        while display * n <= before * d:
            display *= 10
        display = divide_rounded(display * n, d)
        growth += display
        return _ROLLS if growth <= limit and growth <= display >> _NEAR_END else 0


class MeterCounters:
    """The counters of one meter, and its serial number. `checks` is (quantity, CounterCheck or None) a channel;
    `note(name, quantity, event, before, value)` makes an event durable; `basis` says what the values mean (the content
    id of the profile with its ratios)."""

    def __init__(self, name, checks, note, basis=""):
        self._name = name
        self._checks = [(i, checks[i][0], checks[i][1]) for i in range(len(checks)) if checks[i][1]]
        self._note = note
        self._basis = basis
        self._serial_at = None
        for i in range(len(checks)):
            if checks[i][0] == SERIAL_NUMBER:
                self._serial_at = i
        self._serial = None

    def judge(self, values, qualities, now_ms, ends=()):
        """Flag in `qualities` what a counter cannot have done, one sample after another. `ends`: place of a channel →
        (rollover, step, multiple) that this sample's registers say; see ReadPlan.ends."""
        serial = self._judge_serial(values, qualities)
        for i, quantity, check in self._checks:
            if i in ends:
                check.follow(*ends[i])
            if qualities[i] == GOOD or qualities[i] == SECONDARY_SIDE:
                quality, event = check.judge(values[i], now_ms, serial)
                if quality:
                    qualities[i] = quality
                if event:
                    self._note(self._name, quantity, event, check.before, values[i])

    def restore(self, values: dict, time_ms):
        """The counters' values of the last sample before a restart, which was at `time_ms`."""
        for _, quantity, check in self._checks:
            if quantity in values:
                check.restore(values[quantity], time_ms)

    def memory(self):
        """What restore() does not know: [serial number or null, [[quantity, CounterCheck.memory()], …], basis,
        [[quantity, numerator, denominator], …] of the transformer ratios]; None when there is nothing."""
        found, multiples = [], []
        for _, quantity, check in self._checks:
            kept = check.memory()
            if kept:
                found.append([quantity, kept])
            if check.multiple and check.multiple != (1, 1):
                multiples.append([quantity, check.multiple[0], check.multiple[1]])
        if found or multiples or self._basis or self._serial is not None:
            return [self._serial, found, self._basis, multiples]
        return None

    def remember(self, memory, shift_ms):
        """Take up what memory() gave; only the serial number where `shift_ms` is None (nobody knows the time)."""
        self._serial, found = memory[:2]
        basis, multiples = memory[2:] if len(memory) > 2 else ("", ())
        if basis and self._basis and basis != self._basis:
            for _, _, check in self._checks:
                check.forget()
            return
        for quantity, n, d in multiples:
            for _, name, check in self._checks:
                if name == quantity:
                    check.multiple = n, d  # until the meter's registers say another
        if shift_ms is None:
            return
        for quantity, kept in found:
            for _, name, check in self._checks:
                if name == quantity:
                    check.remember(kept, shift_ms)

    def _judge_serial(self, values, qualities):
        """True: read and the same, False: changed, None: unknown. A meter that boots says 0: that is no number."""
        at = self._serial_at
        if at is None or qualities[at] != GOOD or not values[at]:
            return None
        before, self._serial = self._serial, values[at]
        if before is None:
            return None
        if before != values[at]:
            self._note(self._name, SERIAL_NUMBER, EXCHANGE, before, values[at])
        return before == values[at]


def for_channel(channel, power_max_w=POWER_MAX_W):
    """The check for a profile's channel, or None when it is no counter of energy or time.

    `power_max_w` is the meter's rated power (see `ratings` of its profile).
    """
    from parkgate import quantities  # needed at the start only, and large: not kept

    quantity = quantities.find(channel.quantity)
    assert quantity is not None  # the check of profiles refuses unknown ones
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
    return CounterCheck(rate_per_h, channel.rollover, channel.step, channel.multiple)
