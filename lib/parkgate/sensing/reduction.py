"""Reduction at the edge: many samples in, the few worth keeping out. All integer.

An instrument's samples pass through two stages, each of which may be left out:

1. **Reduce.** Of every `every` samples one row is made; a period that had no sample counts as one without a value
   (`skip`), so that a window lasts `every` periods whatever happens. Each momentary channel gives one channel for each
   of the wanted reductions:

       last       the value of the window's last good sample
       mean       their mean, rounded to nearest
       min, max   their extremes
       integral   sum of (v[i-1] + v[i]) / 2 × dt over the window (trapezoids), in unit × s with the channel's scale;
                  what rounding leaves is carried into the next window, so that integrals add up exactly

   A counter or a state is not averaged: it gives its last value, once.

2. **Report by exception.** A row is kept when a value moved by more than its channel's deadband since the last row
   that was kept, when a quality changed, or when the heartbeat is due: a silent instrument and a steady one differ.

A row's time is that of its last sample. Quality of a reduced value: samples that carry none (a time-out) do not
count; if all were so, the row says the last one's code. If some were, the value is SUBSTITUTED: it stands for a window
it does not cover. Otherwise the highest code of the samples, so that one glitch in a window is not averaged away.
"""

from parkgate.reading import GOOD, SUBSTITUTED, has_value

LAST, MEAN, MIN, MAX, INTEGRAL = "last", "mean", "min", "max", "integral"
REDUCTIONS = (LAST, MEAN, MIN, MAX, INTEGRAL)


def is_momentary(quantity_name: str) -> bool:
    """Whether a quantity can be averaged; one that is not in the table is taken for momentary."""
    from parkgate import quantities  # needed at the start only, and large: not kept

    quantity = quantities.find(quantity_name)
    return quantity is None or quantity.kind == "now"


def reduced_schema(schema: list, reductions) -> list:
    """The channels that `schema` ([[quantity, unit, scale], …]) becomes: "current_l1:max" is the greatest of a
    window. Unit of an integral is the product (UCUM writes W.s)."""
    channels = []
    for quantity, unit, scale in schema:
        if not is_momentary(quantity):
            channels.append([quantity, unit, scale])
            continue
        for reduction in reductions:
            if reduction == LAST:
                channels.append([quantity, unit, scale])
            else:
                named = quantity + ":" + reduction
                channels.append([named, unit + ".s" if reduction == INTEGRAL else unit, scale])
    return channels


class Reporter:
    """Both stages for one instrument. `schema` is that of its samples, `deadbands` a map of quantity → steps of the
    channel's scale (0 when absent: any change is kept), `heartbeat_ms` 0 for no report by exception."""

    def __init__(self, schema: list, reductions=(LAST,), every: int = 1, heartbeat_ms: int = 0, deadbands=None):
        self._every = every
        self._heartbeat_ms = heartbeat_ms
        self._channels = []
        for quantity, _unit, _scale in schema:
            wanted = reductions if is_momentary(quantity) else (LAST,)
            self._channels.append(_Channel(wanted, (deadbands or {}).get(quantity, 0)))
        self._taken = 0
        self._kept = None
        self._kept_ms = 0

    def add(self, time_ms: int, values: list, qualities=None):
        """One sample taken at `time_ms` (of a clock that does not wrap). The row to be kept as (values, qualities or
        None), or None when there is nothing to keep."""
        self._taken += 1
        for i, channel in enumerate(self._channels):
            channel.add(time_ms, values[i], qualities[i] if qualities else GOOD)
        if self._taken < self._every:
            return None
        self._taken = 0
        values, codes = [], bytearray()
        for channel in self._channels:
            channel.close(values, codes)
        if self._heartbeat_ms and not self._is_news(time_ms, values, codes):
            return None
        self._kept, self._kept_ms = (values, codes), time_ms
        return values, bytes(codes) if any(codes) else None

    def skip(self, begins_ms: int, period_ms: int, periods: int, quality: int):
        """Generator: `periods` periods that had no sample, the first at `begins_ms`. A window is a stretch of time, so
        they count in it as samples without a value; gives (time_ms, row) for each row that is to be kept."""
        values = [None] * len(self._channels)
        codes = bytes([quality]) * len(self._channels)
        for _ in range(periods):
            row = self.add(begins_ms, values, codes)
            if row is not None:
                yield begins_ms, row
            begins_ms += period_ms

    def _is_news(self, time_ms, values, codes):
        if self._kept is None or time_ms - self._kept_ms >= self._heartbeat_ms:
            return True
        kept_values, kept_codes = self._kept
        if codes != kept_codes:
            return True
        i = 0
        for channel in self._channels:
            for _ in channel.reductions:
                if values[i] is not None and abs(values[i] - kept_values[i]) > channel.deadband:
                    return True
                i += 1
        return False


class _Channel:
    """The window of one channel."""

    __slots__ = (
        "_area", "_before", "_before_ms", "_count", "_high", "_last", "_low", "_missing", "_sum", "_without", "_worst",
        "deadband", "reductions",
    )  # fmt: skip

    def __init__(self, reductions, deadband):
        self.reductions = reductions
        self.deadband = deadband
        self._before = None
        self._before_ms = 0
        self._area = 0  # twice the integral, in unit × ms
        self._empty()

    def _empty(self):
        self._count = self._missing = self._sum = 0
        self._worst = self._without = GOOD
        self._low = self._high = self._last = None

    def add(self, time_ms, value, quality):
        if not has_value(quality):
            self._missing += 1
            self._without = quality
            self._before = None  # no trapezoid over a hole
            return
        self._count += 1
        self._last = value
        self._sum += value
        if quality > self._worst:
            self._worst = quality
        if self._low is None or value < self._low:
            self._low = value
        if self._high is None or value > self._high:
            self._high = value
        if self._before is not None:
            self._area += (self._before + value) * (time_ms - self._before_ms)
        self._before, self._before_ms = value, time_ms

    def close(self, values, codes):
        """Append what the window gave, and begin the next."""
        code = self._without if not self._count else SUBSTITUTED if self._missing else self._worst
        for reduction in self.reductions:
            if not self._count:
                value = None
            elif reduction == MEAN:
                value = (2 * self._sum + self._count) // (2 * self._count)
            elif reduction == MIN:
                value = self._low
            elif reduction == MAX:
                value = self._high
            elif reduction == INTEGRAL:
                value = self._area // 2000
                self._area -= value * 2000
            else:
                value = self._last
            values.append(value)
            codes.append(code)
        self._empty()
