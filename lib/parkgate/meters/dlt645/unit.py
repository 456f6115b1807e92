"""What the DL/T 645 client remembers of one meter."""

from parkgate.clock import elapsed_us
from parkgate.meters.bus_client import BusUnit

ANY_SHAPE = b""
_DEBTS_MAX = 8


class Unit(BusUnit):
    """One meter: what it still owes, beside what BusUnit keeps. Its `doubles` and `strange` stay 0: a copy is known by
    its identifier, and damage by the checksum.

    A debt is [shape, when it began, whether the meter has answered something else since, whether we asked]; a shape is
    the function with the data identifier. When there are too many to tell apart, any shape is owed. `copies` are
    [shape, when its frame came]: a second copy of it may follow. `refused_us`: when the last refusal came, None if long
    ago.
    """

    def __init__(self, reply_timeout_us):
        BusUnit.__init__(self, reply_timeout_us)
        self.debts = []
        self.copies = []
        self.refused_us = None

    def owe(self, shape, t_us, ours=True):
        """Remember a reply that may still arrive."""
        if len(self.debts) < _DEBTS_MAX:
            self.debts.append([shape, t_us, False, ours])
        else:
            self.debts[0] = [ANY_SHAPE, t_us, False, False]

    def owes(self, shape):
        """Whether a reply of this shape may still arrive."""
        return any(debt[0] == shape or debt[0] == ANY_SHAPE for debt in self.debts)

    def pay(self, shape, t_us):
        """Forget one debt of this shape, because its frame arrived; False if there is none. A late reply to us teaches
        patience."""
        for i, debt in enumerate(self.debts):
            if debt[0] == shape:
                if self.debts.pop(i)[3]:
                    self.be_patient(self.reply_timeout_us + elapsed_us(t_us, debt[1]))
                return True
        return False

    def came(self, shape, t_us):
        """A frame of this shape came (None: a refusal): a copy of it may follow."""
        if shape is None:
            self.refused_us = t_us
        else:
            self.copies = self.copies[1 - _DEBTS_MAX :] + [[shape, t_us]]

    def copy_us(self, shape, t_us, again_us):
        """How long a copy of a frame of this shape may still come; 0: no longer."""
        left = 0
        for copy in self.copies:
            if copy[0] == shape:
                left = max(left, again_us - elapsed_us(t_us, copy[1]))
        return left

    def forget(self, t_us, hold_off_us, late_guard_us, again_us):
        """Drop what cannot arrive any more."""
        if self.debts:
            self.debts = [d for d in self.debts if elapsed_us(t_us, d[1]) < (late_guard_us if d[2] else hold_off_us)]
        if self.copies:
            self.copies = [copy for copy in self.copies if elapsed_us(t_us, copy[1]) < again_us]
        if self.refused_us is not None and elapsed_us(t_us, self.refused_us) >= late_guard_us:
            self.refused_us = None
