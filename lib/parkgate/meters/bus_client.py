"""What the clients of all buses have in common: the times of a unit, rests, statistics, and how an exchange ended.

Times are microseconds of a clock that may wrap at 2^30; see parkgate.clock.elapsed_us.
"""

from parkgate.clock import elapsed_us
from parkgate.errors import ModbusCrcError, ModbusForeign, ModbusShort, ModbusTimeout

from .bus_statistics import Statistics

REPLY_TIMEOUT_MAX_US = 2500000  # a learnt reply time-out never exceeds this, or the one set if that is longer
LONG_US = 10000000  # no rest and no silence that is waited for is longer
_PROMPT_REPLIES = 250  # so many replies in a row within the time-out that was set: the learnt one is forgotten

# What bytes that are part of no whole frame tell about our reply, in rising weight.
NOTHING, DAMAGED, SHORT_OURS, CRC_OURS = 0, 1, 2, 3


def time_until_us(until_us, t_us):
    """Time from t_us until a moment that is near or past. One that seems far ahead is long past: the clock wraps."""
    left = elapsed_us(until_us, t_us)
    return left if 0 < left < LONG_US else 0


class BusUnit:
    """One unit on a bus: its time limits and its statistics.

    `reply_timeout_us` is the one in force: the one that was set, or a longer one that was learnt from late replies.
    `doubles` counts reply frames of this unit that nobody had asked for: copies of an answer, or answers to requests
    that we did not hear. `strange` counts pieces of four bytes or more that were part of no frame. `listened`: after an
    answer that may have been a copy it was waited once for the true one.
    """

    doubles = strange = 0
    listened = False

    def __init__(self, reply_timeout_us):
        self.reply_timeout_us = self.set_timeout_us = reply_timeout_us
        self.rest_us = 0
        self.free_at_us = None
        self.statistics = Statistics()
        self._prompt = 0

    def prompt(self, latency_us):
        """A reply came after `latency_us`: a learnt time-out that is not needed any more is forgotten in the end."""
        if self.reply_timeout_us > self.set_timeout_us:
            self._prompt = self._prompt + 1 if 4 * latency_us < 3 * self.set_timeout_us else 0
            if self._prompt >= _PROMPT_REPLIES:
                self.reply_timeout_us = self.set_timeout_us
                self._prompt = 0

    def be_patient(self, late_us):
        """A reply of ours came `late_us` after its request, or less: wait longer from now on, but at most twice as
        long at a time, since it may have lain in a buffer where nobody looked."""
        self._prompt = 0
        wanted = min(late_us + late_us // 4, 2 * self.reply_timeout_us, REPLY_TIMEOUT_MAX_US)
        self.reply_timeout_us = max(self.reply_timeout_us, wanted)


class BusClient:
    """The client's side of one bus: at most one request under way. `make_unit(reply_timeout_us)` makes a BusUnit."""

    def __init__(self, make_unit, reply_timeout_us, rest_us):
        self.reply_timeout_us = reply_timeout_us
        self.rest_us = rest_us
        self.units = {}
        self.waiting = False  # whether a request is under way
        self.line = Statistics()
        self._make_unit = make_unit
        self._unit: "BusUnit" = None  # pyright: ignore[reportAttributeAccessIssue]  # while one is asked
        self._asked = None
        self._free_at_us = None
        self._evidence = NOTHING
        self._foreign_seen = 0

    def unit(self, unit_id, reply_timeout_us=None, rest_us=None):
        """The record of one unit; the times, where given, replace what was set before.

        `rest_us` is the rest a unit needs between its reply and the next request to it, beside the rest of the line.
        Call this for every unit at the start: what another client asks of units not known here is not remembered.
        """
        unit = self.units.get(unit_id)
        if unit is None:
            unit = self.units[unit_id] = self._make_unit(self.reply_timeout_us)
        if reply_timeout_us is not None:
            unit.reply_timeout_us = unit.set_timeout_us = reply_timeout_us
        if rest_us is not None:
            unit.rest_us = rest_us
        return unit

    def name(self, unit_id):
        """A unit in words, for messages."""
        return "unit %d" % unit_id

    def _rest_left_us(self, unit, t_us):
        """What is left of the rests of line and unit."""
        left_us = 0
        for until_us in (self._free_at_us, unit.free_at_us):
            if until_us is not None:
                left_us = max(left_us, time_until_us(until_us, t_us))
        return left_us

    def _let_rest(self, unit, t_us):
        if unit.rest_us:
            unit.free_at_us = t_us + unit.rest_us

    def _finish(self, t_us):
        self.waiting = False
        if self.rest_us:
            self._free_at_us = t_us + self.rest_us
        self._let_rest(self._unit, t_us)

    def _own_statistics(self):
        return self._unit.statistics if self.waiting else self.line

    def _count_foreign(self):
        self._foreign_seen += 1
        self._own_statistics().foreign_frames += 1

    def _outcome(self, what):
        """Count how an exchange without a credited reply ended; the ModbusError that names it, about `what`."""
        statistics = self._unit.statistics
        if self._evidence == CRC_OURS:
            statistics.crc += 1
            return ModbusCrcError(what)
        if self._evidence == SHORT_OURS:
            statistics.short += 1
            return ModbusShort(what)
        if self._foreign_seen:
            statistics.foreign += 1
            return ModbusForeign(what)
        if self._evidence == DAMAGED:
            statistics.crc += 1
            return ModbusCrcError(what)
        statistics.timeout += 1
        return ModbusTimeout(what)
