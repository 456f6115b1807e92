"""Sampling: each bus reads its instruments in turn, and every sample is in the journal before the next is taken."""

import asyncio

from parkgate.errors import LinkError, ParkgateError
from parkgate.reading import SENSOR_FAULT


class Sampler:
    """`instruments` share one bus and have `name`, `index`, `period_ms`, `channels` and `async read()`, which returns
    (values, qualities or None). `record(instrument, values, qualities)` makes a sample durable before it returns."""

    def __init__(self, instruments: list, record, mono_ms, log):
        self._instruments = instruments
        self._record = record
        self._mono_ms = mono_ms
        self._log = log
        self.late = 0  # periods that passed without their sample, because the bus was busy
        self.faults = 0

    async def run(self):
        """Sample for ever. Instruments start staggered, keep their phase, and a missed period is counted, not made up."""
        start = self._mono_ms()
        due = [start + i * 20 for i in range(len(self._instruments))]
        while True:
            i = min(range(len(due)), key=lambda k: due[k])
            instrument = self._instruments[i]
            wait = due[i] - self._mono_ms()
            if wait > 0:
                await asyncio.sleep_ms(wait)
            await self._one(instrument)
            due[i] += instrument.period_ms
            behind = self._mono_ms() - due[i]
            if behind > 0:
                missed = behind // instrument.period_ms
                self.late += missed
                due[i] += missed * instrument.period_ms

    async def _one(self, instrument):
        try:
            values, qualities = await instrument.read()
        except LinkError as e:
            self._fault(instrument, e)
            values, qualities = [None] * instrument.channels, bytes([SENSOR_FAULT] * instrument.channels)
        except (ParkgateError, ValueError, OSError) as e:  # one instrument that throws is a quality, not a dead task
            self._fault(instrument, e)
            values, qualities = [None] * instrument.channels, bytes([SENSOR_FAULT] * instrument.channels)
        self._record(instrument, values, qualities)

    def _fault(self, instrument, error):
        self.faults += 1
        self._log.error(instrument.name, str(error))
