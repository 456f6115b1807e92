"""What one unit on a Modbus line still owes us, and its time limits.

A debt is a reply that may still arrive: of one of our requests that ended without a usable reply, of a request of
another client that was seen on the line, or a second copy of a reply, from a unit that has sent copies before. There is
one debt for each such reply. It ends when

- the owed frame arrives, during an exchange or between two: it is counted as late and never credited. What is drained
  from a port arrived at an unknown moment since the last look: it pays debts first, and only then time ends any.
  Nothing that was asked before it can follow, unless it may be the answer to another client: nobody knows when that
  one asked, since a converter may have held its request back until ours went out;
- the unit gives an unmistakable answer to a newer request of another shape (a probe), and `late_guard_us` has passed
  since the debt began. A meter answers in order, so nothing older can follow; the guard covers converters and bridges
  that do not keep the order;
- a newer request was sent in vain `hold_off_us` after the debt began, or later, or was refused. Time alone never ends
  a debt: a converter may hold a reply back until the next request goes out. So that there always is such a request, one
  of a shape that has been owed for `hold_off_us` may be sent as a probe where all are owed.

So a late frame ends as a count and never as a value: from a meter that answers in order, whatever its delay, as long as
it answers a probe; out of order up to a delay of `reply_timeout_us + late_guard_us`; from a unit that answers no probe
at all up to `reply_timeout_us + hold_off_us`.

Copies: a repeater or bridge may deliver a reply twice. Before a unit is asked for the same shape again the line must
have been free of its frames for `frame_gap_us`. A reply frame that answers nothing we know of is counted (`doubles`);
from then on each reply of that unit leaves a debt, its copy. The first copy ever is not credited if it comes before the
next request of its shape. If it comes later it may be taken for a reply; but it has the very bytes of a reply that came
less than `late_guard_us` and a reply time-out before, and the credited reply says so (`again`). The meter's reader then
asks for something of another shape: the true reply comes before the answer to that, and counts as a double. If it is
destroyed on the way, its remains count as `strange`, or the request that destroyed it gets no answer. In all three
cases the sample is given up (sensors/modbus_meter.py); where nothing answers, the true reply is owed from then on. A
debt of a unit that sends copies ends `late_guard_us` and a reply time-out after the proof, not after it began: the
reply may have come in pieces while nobody looked, and then its copy is still to come. What remains: a first copy that
comes later than that, or whose true reply is lost without a trace.

A reply of ours that comes after its time-out raises the unit's time-out, to 2.5 s at most; 250 prompt replies in a row
bring it back.
"""

from parkgate.clock import elapsed_us
from parkgate.meters.bus_client import LONG_US, BusUnit

from .frame import shape_of

# Whose reply it is. DAMAGED was ours, it seems, and came damaged. AGAIN may still come: what was credited in its place
# has the bytes of a reply shortly before.
OWN, THEIRS, COPY, DAMAGED, AGAIN = 0, 1, 2, 3, 4

_COPY_REPLIES = 1000  # so many replies without a copy: the unit is taken to send no copies any more
_DEBTS_MAX = 16
_PROBE_COUNT_MAX = _DEBTS_MAX + 2  # more than can be owed: one is always free
_ANY_SHAPE = -1
_SHAPE, _ASKED, _SINCE, _WHOSE, _STATE, _CRC = 0, 1, 2, 3, 4, 5  # places in a debt
_FRESH, _TIMED, _PROVEN = 0, 1, 2  # states: it may come at any time; time ends it; the unit answered something newer


class Unit(BusUnit):
    """One unit id on the line: what it still owes, beside what BusUnit keeps. `probe_other` is whether the unit refuses
    probes with its own function code."""

    def __init__(self, reply_timeout_us):
        BusUnit.__init__(self, reply_timeout_us)
        self.debts = []
        self.doubles = self.strange = 0
        self.last_shape = self.last_us = None  # of the last credited reply
        self.probe_other = False
        self._wary = 0
        self._came = []  # what reply frames came within the last moment, each as two entries: shape and CRC, when

    def came(self, shape, crc, t_us, late_guard_us):
        """A reply frame came. Whether the same bytes came within the guard and a reply time-out before: then it may be
        a copy."""
        key, came, again = shape << 16 | crc, self._came, False
        while came and elapsed_us(t_us, came[1]) > late_guard_us + self.reply_timeout_us:
            del came[:2]
        for i in range(0, len(came), 2):
            again = again or came[i] == key
        came.append(key)
        came.append(t_us)
        return again

    def owe(self, shape, asked_us, t_us, whose=OWN, crc=None):
        """Remember a reply that may still arrive, of a request that began at `asked_us`; of a copy its CRC."""
        debts = self.debts
        if len(debts) < _DEBTS_MAX:
            at = len(debts)  # in the order in which they were asked: the oldest is paid first
            while at and debts[at - 1][_SHAPE] != _ANY_SHAPE and elapsed_us(debts[at - 1][_ASKED], asked_us) > 0:
                at -= 1
            debts.insert(at, [shape, asked_us, t_us, whose, _FRESH, crc])
        elif debts[0][_SHAPE] == _ANY_SHAPE and whose != THEIRS:  # our own request brings out what is held back
            debts[0][_SINCE] = t_us
        else:
            self.owe_anything(t_us)

    def owe_anything(self, t_us):
        """More is owed than can be told apart, or requests to this unit were lost before we saw them: any reply may
        come, until a probe was sent (its answer counts for nothing) and `hold_off_us` has passed."""
        others = [debt for debt in self.debts if debt[_SHAPE] != _ANY_SHAPE]
        self.debts = [[_ANY_SHAPE, t_us, t_us, OWN, _FRESH, None]] + others[1 - _DEBTS_MAX :]

    def debt(self, shape):
        """The oldest debt of this shape, or None."""
        for debt in self.debts:
            if debt[_SHAPE] == shape or debt[_SHAPE] == _ANY_SHAPE:
                return debt
        return None

    def other_read(self, function, address, own, t_us, hold_off_us):
        """(function, address, count) of a short read whose shape is not `own` and not owed. Where all of them are owed,
        one that has been owed for `hold_off_us`: sent in vain it ends its debt, and answered it is the newest debt of
        its shape, so that a unit that was dead is asked again. None when there is neither."""
        if function > 4:
            function = 3
        if self.probe_other:
            function = ((function - 1) ^ 1) + 1  # 1 and 2, 3 and 4: an exception names the function, so it counts
        found = None
        for n in range(1, _PROBE_COUNT_MAX + 1):
            count = n if function > 2 else 8 * n - 7  # replies of coils differ by whole bytes
            shape = shape_of(function, count)
            if shape != own and address + count <= 0x10000 and self.may_probe(shape, t_us, hold_off_us):
                if not self._owes(shape) and not self._came_lately(shape):  # of which nothing can be on its way
                    return function, address, count
                found = found or (function, address, count)
        return found

    def _owes(self, shape):
        return any([debt[_SHAPE] == shape for debt in self.debts])

    def may_probe(self, shape, t_us, hold_off_us):
        """Whether a read of this shape may be sent as a probe: nothing of it is owed, or all of that has been for
        `hold_off_us`, and no answer has come since to say that it is over soon."""
        owed = self._owes(shape)
        for debt in self.debts:
            hinders = debt[_SHAPE] == shape or debt[_SHAPE] == _ANY_SHAPE
            recent = debt[_STATE] != _FRESH or elapsed_us(t_us, debt[_SINCE]) < hold_off_us
            if hinders and (debt[_STATE] != _FRESH if not owed else recent):
                return False
        return True

    def _came_lately(self, shape):
        came = self._came
        return any([came[i] >> 16 == shape for i in range(0, len(came), 2)])

    def pay(self, shape, t_us, crc=None):
        """A reply of this shape arrived that is not credited: it ends one debt, and from a unit that answers in order
        nothing older can follow. Whose debt it was, None when there was none. A late reply to us teaches patience."""
        self.last_shape, self.last_us = shape, t_us
        for debt in self.debts:  # the same bytes once more are the copy that is expected
            if debt[_WHOSE] == COPY and debt[_SHAPE] == shape and debt[_CRC] == crc:
                self.debts.remove(debt)
                self._wary = _COPY_REPLIES
                return COPY
        theirs = False  # when another client asked is not known: the line may have held its request back until ours
        for debt in self.debts:
            theirs = theirs or (debt[_SHAPE] == shape and debt[_WHOSE] == THEIRS)
        for i, debt in enumerate(self.debts):
            if debt[_SHAPE] == shape and debt[_WHOSE] != COPY:
                self.debts.pop(i)
                if not theirs:
                    self.prove(debt[_ASKED], t_us)
                if debt[_WHOSE] == AGAIN:
                    self.unasked()  # so a copy had been credited
                elif debt[_WHOSE] == OWN:
                    self.be_patient(elapsed_us(t_us, debt[_ASKED]))
                if self._wary:
                    self.owe(shape, debt[_ASKED], t_us, COPY, crc)
                return debt[_WHOSE]
        return None

    def pay_refusal(self, function, t_us):
        """The same for an exception frame, which does not say of which shape the request was."""
        shapes = [debt[_SHAPE] for debt in self.debts if debt[_SHAPE] >> 8 == function]
        if len(shapes) == 1:
            return self.pay(shapes[0], t_us)
        return THEIRS if shapes else None

    def prove(self, asked_us, t_us):
        """A unit that answers in order has answered a request that was sent at `asked_us`: nothing older follows, but
        for the copies of what it may have answered unseen."""
        if self.debts and self.debts[0][_SHAPE] == _ANY_SHAPE:
            return  # which debt was paid is not known any more
        for debt in self.debts:
            if elapsed_us(asked_us, debt[_ASKED]) > 0:
                if self._wary and debt[_WHOSE] != COPY and debt[_STATE] != _PROVEN:
                    debt[_SINCE] = t_us
                debt[_STATE] = _PROVEN

    def tried(self, asked_us, hold_off_us):
        """A request that was sent at `asked_us` was not answered: replies that were owed for so long had their chance
        to come out of any buffer that is emptied by the next request."""
        self._probed(asked_us, asked_us)
        self._end_old(asked_us, hold_off_us)

    def _end_old(self, asked_us, hold_off_us):
        self.debts = [
            debt
            for debt in self.debts
            if debt[_STATE] != _FRESH or debt[_WHOSE] == COPY or elapsed_us(asked_us, debt[_SINCE]) < hold_off_us
        ]

    def _probed(self, asked_us, t_us):
        """A request has gone out, and with it what a converter had held back: what may come of anything comes now. One
        that went out before something was lost proves nothing: a converter may have begun to hold back since."""
        if not self.debts:
            return
        first = self.debts[0]
        if first[_SHAPE] == _ANY_SHAPE and first[_STATE] == _FRESH and elapsed_us(asked_us, first[_ASKED]) >= 0:
            first[_STATE], first[_SINCE] = _TIMED, t_us

    def doubt(self, shape, refused):
        """The oldest debt that a frame of this shape could pay; for a refusal, of this function. None without one."""
        for debt in self.debts:
            same = debt[_SHAPE] == shape
            if refused:
                same = debt[_SHAPE] >> 8 == shape >> 8 and debt[_WHOSE] != COPY
            if same or debt[_SHAPE] == _ANY_SHAPE:
                return debt
        return None

    def answered(self, shape, refused, asked_us, t_us, crc, again, hold_off_us):
        """A reply was credited to the request of this shape sent at `asked_us`: what it proves about older ones.

        It may be the reply to an older request where one of this shape is owed, or, for a refusal, one of this
        function: then it proves the oldest of those only, and the reply to this request may still come.
        """
        doubtful = self.doubt(shape, refused)
        self._probed(asked_us, t_us)
        if doubtful is not None and doubtful[_SHAPE] == _ANY_SHAPE:
            self.owe(shape, asked_us, t_us)
        elif doubtful is None:
            if not again:  # a copy proves nothing
                self.prove(asked_us, t_us)
            if refused and self._wary:
                self.owe(shape, asked_us, t_us)  # it may be a copy of the last refusal
        elif refused:
            self._end_old(asked_us, hold_off_us)  # as good as sent in vain
            self.owe(shape, asked_us, t_us)
        else:
            self.prove(doubtful[_ASKED], t_us)
            doubtful[_ASKED], doubtful[_SINCE], doubtful[_STATE] = asked_us, t_us, _FRESH
            self.debts.remove(doubtful)
            self.debts.append(doubtful)  # the newest now
        if not refused:
            self.last_shape, self.last_us = shape, t_us
            if self._wary:
                self._wary -= 1
                self.owe(shape, asked_us, t_us, COPY, crc)

    def forget(self, t_us, hold_off_us, late_guard_us):
        """Drop the debts that cannot be paid any more."""
        if self.debts:
            for debt in self.debts:
                age_us = elapsed_us(t_us, debt[_SINCE])
                if age_us > hold_off_us or age_us < -LONG_US:  # as old as counts: the clock wraps
                    debt[_SINCE] = t_us - hold_off_us
                age_us = elapsed_us(t_us, debt[_ASKED])
                if age_us > 2 * hold_off_us or age_us < -LONG_US:
                    debt[_ASKED] = t_us - 2 * hold_off_us
            self.debts = [debt for debt in self.debts if not self._is_over(debt, t_us, hold_off_us, late_guard_us)]
        if self.last_us is not None and elapsed_us(t_us, self.last_us) > late_guard_us + self.reply_timeout_us:
            self.last_us = None
            self._came = []

    def _is_over(self, debt, t_us, hold_off_us, late_guard_us):
        if debt[_WHOSE] == COPY:
            limit = late_guard_us + self.reply_timeout_us
        elif debt[_STATE] == _FRESH:
            return False  # time alone does not end it
        elif debt[_WHOSE] == DAMAGED:
            limit = 0  # it came, or else would have come before the newer answer
        else:
            limit = late_guard_us if debt[_STATE] == _PROVEN else hold_off_us
        return elapsed_us(t_us, debt[_SINCE]) >= self._with_copy(limit, debt, late_guard_us)

    def _with_copy(self, limit_us, debt, late_guard_us):
        """What was proven may have come unseen, in pieces: of a unit that sends copies, one comes yet."""
        if self._wary and debt[_STATE] == _PROVEN:
            return late_guard_us + self.reply_timeout_us
        return limit_us

    def time_left_us(self, debt, t_us, late_guard_us):
        """How long a debt stands that only time has to end; 0 for one that needs an answer first."""
        if debt[_WHOSE] == COPY:
            return max(1, late_guard_us + self.reply_timeout_us - elapsed_us(t_us, debt[_SINCE]))
        if debt[_STATE] == _PROVEN:
            return max(1, self._with_copy(late_guard_us, debt, late_guard_us) - elapsed_us(t_us, debt[_SINCE]))
        return 0

    def is_doubt(self, debt):
        """Whether what is owed is a copy of a reply, or one that may have been replaced by a copy: then it is waited
        for."""
        return debt[_WHOSE] == COPY or debt[_WHOSE] == AGAIN or (self._wary and debt[_STATE] == _PROVEN)

    def unasked(self):
        """A reply frame of this unit came that answers no request we know of: a copy of the last one, perhaps. From
        now on each reply may have a copy."""
        self.doubles += 1
        self._wary = _COPY_REPLIES
