"""Sampling: each bus reads its instruments in turn, and every sample is in the journal before the next is taken.

A sample's time is when it was acquired: when read() returned, or what the instrument says in `taken_ms`. Where an
instrument has a `report` (sensing/reduction.py), its samples go through it and only what that keeps is journalled.
Every period of every instrument has an outcome, sample or not (sensing/periods.py); statements tell what they were.
"""

import asyncio

from gateway.waiting import WAIT_MS_MAX
from parkgate.errors import JournalError
from parkgate.meters.bus_schedule import BusSchedule
from parkgate.reading import SENSOR_FAULT, TIMEOUT
from parkgate.sensing.periods import BACKED_OFF, BUSY, FAILED, NO_ANSWER, TAKEN, Periods

_IDLE_MS = 200


class Sampler:
    """`instruments` are read one at a time and have `name`, `index`, `period_ms`, `channels`, `taken_ms`, `report` and
    `async read()`, which returns (values, qualities or None). `record(instrument, values, qualities, taken_ms)` makes
    a sample durable before it returns; `tell(name, periods)` makes a statement of a sensing.periods.Periods durable. On
    a bus that is not `shared` a dead instrument takes no time from the others: it keeps its period, and flash may be
    erased at any time. `idle()` is called several times a second while nobody is read: it looks what the line brings;
    False for a bus that is no serial line, so that flash may be erased while it is read."""

    def __init__(self, instruments: list, record, tell, mono_ms, log, shared=True, idle=None):
        self._shared = shared
        self._idle = idle
        self.instruments = instruments
        self._record = record
        self._tell = tell
        self._mono_ms = mono_ms
        self._log = log
        self.faults = 0
        self.turned_ms = 0
        self.begun = False  # whether a first sample was tried
        self._busy = False
        self._turn = None
        self.periods = ()

    def begin(self):
        """Periods count from now on."""
        now_ms = self._mono_ms()
        periods_ms = [i.period_ms for i in self.instruments]
        if self._shared:
            self._schedule = BusSchedule(periods_ms, now_ms)
        else:
            self._schedule = BusSchedule(periods_ms, now_ms, backoff_max_ms=0)
        self.periods = [Periods(ms, self._schedule.due_ms(i)) for i, ms in enumerate(periods_ms)]

    def quiet_ms(self, flash=True) -> int:
        """How long the bus will be idle from now on: time in which flash may be erased, or with `flash` false the
        processor be kept busy. An erase does not keep a bus waiting whose driver sees an interrupted read."""
        if flash and (not self._shared or self._idle is False):
            return WAIT_MS_MAX
        if self._busy:
            return 0
        return self._schedule.wait_ms(self._mono_ms()) or 0

    def missed(self) -> int:
        """Periods that passed without their sample, whatever the reason."""
        return sum([periods.not_taken for periods in self.periods])

    def away(self) -> int:
        """Instruments whose newest period was not taken."""
        return len([periods for periods in self.periods if periods.last != TAKEN])

    async def run(self):
        """Sample without an end."""
        if not self.periods:
            self.begin()
        schedule = self._schedule
        while True:
            self._turn = None
            self._busy = False
            now = self.turned_ms = self._mono_ms()
            turn = schedule.next(now)
            if turn is None:
                longest_ms = _IDLE_MS if self._idle else WAIT_MS_MAX
                await asyncio.sleep_ms(min(max(1, schedule.wait_ms(now) or 0), longest_ms))
                if self._idle:
                    self._idle()
                continue
            self._busy = True
            self._pass(turn, now)
            self._turn = turn
            answered = await self._one(turn, now)
            self._turn = None
            self._busy = False
            self.begun = True
            schedule.done(turn, answered, self._mono_ms())

    def account(self):
        """Settle the periods that are over, and tell what is due to be told."""
        for i, periods in enumerate(self.periods):
            now = self._mono_ms()
            if i != self._turn:  # else the turn says what became of its period
                self._pass(i, now)
            if periods.is_due(now):
                self._tell(self.instruments[i].name, periods)

    def tell_all(self):
        """Tell every span as it is: the gateway is about to restart."""
        for i, periods in enumerate(self.periods):
            if periods.settled > periods.first:
                self._tell(self.instruments[i].name, periods)

    def _pass(self, turn, now):
        """The periods of an instrument that are over and had no turn."""
        periods, instrument = self.periods[turn], self.instruments[turn]
        count = periods.over(now)
        if not count:
            return
        begins_ms = periods.begins_ms(periods.settled)
        self._settle(turn, BACKED_OFF if self._schedule.is_dead(turn) else BUSY, count, now)
        if instrument.report:
            for time_ms, row in instrument.report.skip(begins_ms, instrument.period_ms, count, TIMEOUT):
                self._record(instrument, row[0], row[1], time_ms)

    def _settle(self, turn, outcome, count, now):
        periods = self.periods[turn]
        if periods.cuts(outcome, now):
            self._tell(self.instruments[turn].name, periods)
        periods.settle(outcome, count)

    async def _one(self, turn, now):
        """Take and keep one sample; whether the instrument answered."""
        instrument = self.instruments[turn]
        try:
            values, qualities = await instrument.read()
            answered = qualities is None or any(quality != TIMEOUT for quality in qualities)
            taken_ms = instrument.taken_ms
            outcome = TAKEN if answered else NO_ANSWER
        except Exception as e:  # one that throws is a quality, not a dead task
            self.faults += 1
            self._log.error(instrument.name, "%s %s" % (type(e).__name__, e))
            values, qualities = [None] * instrument.channels, bytes([SENSOR_FAULT] * instrument.channels)
            answered = False
            taken_ms = None
            outcome = FAILED
        if self.periods[turn].may_settle(now):
            self._settle(turn, outcome, 1, now)
        if taken_ms is None:
            taken_ms = self._mono_ms()
        if instrument.report:
            row = instrument.report.add(taken_ms, values, qualities)
            if row is None:
                return answered
            values, qualities = row
        try:
            self._record(instrument, values, qualities, taken_ms)
        except (JournalError, MemoryError) as e:  # counted as lost where it was raised; the next one is taken in time
            self.faults += 1
            self._log.error(instrument.name, "a sample was not kept: %s" % (e or "out of memory"))
        return answered
