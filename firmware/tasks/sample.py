"""Sampling: each bus reads its instruments in turn, and every sample is in the journal before the next is taken.

A sample's time is when it was acquired: when read() returned, or what the instrument says in `taken_ms`. Where an
instrument has a `report` (sensing/reduction.py), its samples go through it and only what that keeps is journalled.
"""

import asyncio

from parkgate.meters.bus_schedule import BusSchedule
from parkgate.reading import SENSOR_FAULT, TIMEOUT

_WAIT_MS_MAX = 1000  # the monotonic clock wants to be asked now and then


QUIET_MS = 500  # a file system may take about so long to keep a batch
QUIET_LOOK_MS = 50
QUIET_WAIT_MS = 2500  # then it is done whether a bus is quiet or not


def quiet_ms(samplers) -> int:
    """How long all buses will be idle from now on."""
    return min([sampler.quiet_ms() for sampler in samplers] or [_WAIT_MS_MAX])


async def until_quiet(samplers, wanted_ms: int = QUIET_MS, look_ms: int = QUIET_LOOK_MS):
    """Wait for a pause of all buses that lasts so long (usual: to write flash in it), but not for ever."""
    for _ in range(QUIET_WAIT_MS // look_ms):
        if quiet_ms(samplers) >= wanted_ms:
            return
        await asyncio.sleep_ms(look_ms)


def flush_is_due(now_ms: int, due_ms: int, interval_ms: int, pause_ms: int, look_ms: int) -> bool:
    """Whether to make readings durable now that must be so at `due_ms`, `interval_ms` after the last time: in a pause
    of the buses that is long enough, if it comes in the last eighth; and in any case while there is still a look to
    spare (they come every `look_ms`), for the loss bound is a promise."""
    ahead_ms = interval_ms // 8 if pause_ms >= QUIET_MS else 0
    return now_ms + max(2 * look_ms, ahead_ms) > due_ms


class Sampler:
    """`instruments` are read one at a time and have `name`, `index`, `period_ms`, `channels`, `taken_ms`, `report` and
    `async read()`, which returns (values, qualities or None). `record(instrument, values, qualities, taken_ms)` makes
    a sample durable before it returns. On a bus that is not `shared` a dead instrument takes no time from the others:
    it keeps its period, and flash may be erased at any time."""

    def __init__(self, instruments: list, record, mono_ms, log, shared=True):
        self._shared = shared
        self.instruments = instruments
        self._record = record
        self._mono_ms = mono_ms
        self._log = log
        periods_ms = [i.period_ms for i in instruments]
        if shared:
            self._schedule = BusSchedule(periods_ms, mono_ms())
        else:
            self._schedule = BusSchedule(periods_ms, mono_ms(), backoff_max_ms=0)
        self.faults = 0
        self.begun = False  # whether a first sample was tried
        self._busy = False

    def quiet_ms(self) -> int:
        """How long the bus will be idle from now on: time in which flash may be erased."""
        if not self._shared:
            return _WAIT_MS_MAX  # an interrupted read is seen by its driver
        if self._busy:
            return 0
        return self._schedule.wait_ms(self._mono_ms()) or 0

    def missed(self) -> int:
        """Periods that passed without their sample, because the bus was busy."""
        return sum(self._schedule.missed)

    async def run(self):
        """Sample for ever."""
        schedule = self._schedule
        while True:
            now = self._mono_ms()
            turn = schedule.next(now)
            if turn is None:
                await asyncio.sleep_ms(min(max(1, schedule.wait_ms(now) or 0), _WAIT_MS_MAX))
                continue
            self._busy = True
            answered = await self._one(self.instruments[turn])
            self._busy = False
            self.begun = True
            schedule.done(turn, answered, self._mono_ms())

    async def _one(self, instrument):
        """Take and keep one sample; whether the instrument answered."""
        try:
            values, qualities = await instrument.read()
            answered = qualities is None or any(quality != TIMEOUT for quality in qualities)
            taken_ms = instrument.taken_ms
        except Exception as e:  # one that throws is a quality, not a dead task
            self.faults += 1
            self._log.error(instrument.name, "%s %s" % (type(e).__name__, e))
            values, qualities = [None] * instrument.channels, bytes([SENSOR_FAULT] * instrument.channels)
            answered = False
            taken_ms = None
        if taken_ms is None:
            taken_ms = self._mono_ms()
        if instrument.report:
            row = instrument.report.add(taken_ms, values, qualities)
            if row is None:
                return answered
            values, qualities = row
        self._record(instrument, values, qualities, taken_ms)
        return answered
