"""An S0 or other pulse input: the total of its pulses and, where stated, what they stand for.

`counter` has `value()`, which counts from 0 at the start of the board and wraps at `modulo`, and never waits: PCNT on
ESP32 (machine.Counter), a PIO program or sensors.edges.EdgeCounter elsewhere. Debouncing is its business.

At a power cut the pulses since the last journalled sample are lost, so at most one period's (one heartbeat's where the
instrument reports by exception), and those that come while there is no power. Totals begin again from that sample.
"""

from parkgate.reading import GOOD
from parkgate.sensing.pulses import PulseTotal, scaled

from .sensor import Sensor


class PulseInput(Sensor):
    """Channels: pulse_count, and `quantity` (None for none) with numerator/denominator steps a pulse. `offset` is
    added to the latter: what the meter's own register showed when the total was 0."""

    waits = False

    def __init__(
        self, name, period_ms, counter, mono_ms, rate_max_hz, quantity=None, scale=None, numerator=1, denominator=1,
        offset=0,
    ):  # fmt: skip
        rows = [("pulse_count", 0)]
        profile = "pulses"
        if quantity:
            rows.append((quantity, scale))
            profile = "pulses, %d/%d a pulse from %d" % (numerator, denominator, offset)
        super().__init__(name, period_ms, profile, *rows)
        self._counter = counter
        self._mono_ms = mono_ms
        self._total = PulseTotal(counter.modulo, rate_max_hz)
        self._factor = (numerator, denominator, offset) if quantity else None

    def restore(self, values: dict, age_ms):
        """Go on from the last journalled sample, by quantity."""
        if values.get("pulse_count") is not None:
            self._total.restore(values["pulse_count"])

    async def read(self):
        """(values, qualities or None); COUNTER_GLITCH when there were more pulses than can be."""
        quality = self._total.take(self._counter.value(), self._mono_ms())
        values = [self._total.total]
        if self._factor:
            numerator, denominator, offset = self._factor
            values.append(offset + scaled(self._total.total, numerator, denominator))
        return values, None if quality == GOOD else bytes([quality] * self.channels)
