"""Sampling: each bus reads its instruments in turn, and every sample is in the journal before the next is taken."""

import asyncio

from parkgate.bus_schedule import BusSchedule
from parkgate.errors import ParkgateError
from parkgate.reading import SENSOR_FAULT, TIMEOUT

_WAIT_MS_MAX = 1000  # the monotonic clock wants to be asked now and then


class Sampler:
    """`instruments` share one bus and have `name`, `index`, `period_ms`, `channels` and `async read()`, which returns
    (values, qualities or None). `record(instrument, values, qualities)` makes a sample durable before it returns."""

    def __init__(self, instruments: list, record, mono_ms, log):
        self._instruments = instruments
        self._record = record
        self._mono_ms = mono_ms
        self._log = log
        self._schedule = BusSchedule([i.period_ms for i in instruments], mono_ms())
        self.faults = 0
        self._busy = False

    def quiet_ms(self) -> int:
        """How long the bus will be idle from now on: time in which flash may be erased."""
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
            answered = await self._one(self._instruments[turn])
            self._busy = False
            schedule.done(turn, answered, self._mono_ms())

    async def _one(self, instrument):
        """Take and keep one sample; whether the instrument answered."""
        try:
            values, qualities = await instrument.read()
            answered = qualities is None or any(quality != TIMEOUT for quality in qualities)
        except (ParkgateError, ValueError, OSError) as e:  # one that throws is a quality, not a dead task
            self.faults += 1
            self._log.error(instrument.name, str(e))
            values, qualities = [None] * instrument.channels, bytes([SENSOR_FAULT] * instrument.channels)
            answered = False
        self._record(instrument, values, qualities)
        return answered
