"""Vibration by an accelerometer with a FIFO: one gap-free window of all axes, judged by parkgate.sensing.vibration.

A FIFO of 32 samples lasts 6 to 24 ms. The first attempts let the other tasks run between two drains; if one of those
held the loop so long that samples were lost, the window is thrown away and counted, and the last attempt keeps the
loop to itself for the length of the window (at most 640 ms). A vibration reading is wanted every ten seconds or more
rarely, so that costs little; meanwhile the serial port's driver goes on receiving.

`chip` has count (samples of a window), rate_hz, limit (samples at or beyond ±limit are saturated), um_s2 (one step in
µm/s²), low_hz, high_hz, noisy (its noise is more than a step), and start(), stop(), flush(), take(axes, at) -> samples
written from `at` on, -1 when some were lost.
"""

from parkgate.errors import ParkgateError
from parkgate.reading import OUT_OF_RANGE, SENSOR_FAULT
from parkgate.sensing.vibration import Analyser

from .sensor import Sensor, in_steps

ATTEMPTS, YIELDING = 3, 2  # the others keep the loop to themselves
_PAUSE_MS = 2
_START_MS = 20  # until the filter behind a change of rate has settled
_SLACK_MS = 100
_GRAVITY_UM_S2 = 9806650


class Accelerometer(Sensor):
    """Channels: RMS velocity in the band for x, y and z; RMS, peak and crest factor of the acceleration of the axis
    that moves most. Fixed RAM: 4.3 kB for a window of 512 samples, 8.5 kB for 1,024 (the rates of the whole band)."""

    def __init__(self, name, period_ms, chip, sleep_ms, mono_ms):
        super().__init__(
            name, period_ms, "%s %d Hz, velocity %d-%d Hz" % (chip.name, chip.rate_hz, chip.low_hz, chip.high_hz),
            ("vibration_velocity_rms_x", 2), ("vibration_velocity_rms_y", 2), ("vibration_velocity_rms_z", 2),
            ("acceleration_rms", 3), ("acceleration_peak", 3), ("acceleration_crest", 2),
        )  # fmt: skip
        self._chip = chip
        self._sleep_ms = sleep_ms
        self._mono_ms = mono_ms
        self._analyser = None
        self.overruns = 0

    async def read(self):
        """(values, qualities or None) of one window. Raises OSError, ParkgateError when the chip does not answer."""
        if self._analyser is None:
            self._analyser = Analyser(self._chip.count)
        chip, axes = self._chip, self._analyser.axes
        if not await self._capture(chip, axes):
            return self.failed(SENSOR_FAULT)
        self.taken_ms = self._mono_ms()
        if chip.noisy and all([max(axis) == min(axis) for axis in axes]):
            return self.failed(SENSOR_FAULT)  # a cell at rest has noise; a FIFO that hangs has none
        saturated = any([max(axis) >= chip.limit or min(axis) <= -chip.limit for axis in axes])
        severities = await in_steps(
            self._analyser.steps(chip.rate_hz, chip.um_s2, chip.low_hz, chip.high_hz), self._sleep_ms
        )
        # At rest or not, the mean is gravity: one that is far from it is a bus that reads constants, or a dead cell.
        steps = [mean * chip.um_s2 // 1000 for mean in self._analyser.means]
        gravity_squared = sum([step * step for step in steps]) * 1000000
        if not _GRAVITY_UM_S2**2 // 4 < gravity_squared < _GRAVITY_UM_S2**2 * 9 // 4:
            return self.failed(SENSOR_FAULT)
        most = severities[0]
        for severity in severities:
            if severity.rms_mm_s2 > most.rms_mm_s2:
                most = severity
        values = [(severity.velocity_um_s + 5) // 10 for severity in severities]
        values += [most.rms_mm_s2, most.peak_mm_s2, most.crest_100]
        return values, bytes([OUT_OF_RANGE] * self.channels) if saturated else None

    async def _capture(self, chip, axes):
        """Fill the axes without a gap; whether that was possible."""
        count = chip.count
        window_ms = count * 1000 // chip.rate_hz
        try:
            for attempt in range(ATTEMPTS):
                chip.start()
                await self._sleep_ms(_START_MS)
                chip.flush()
                deadline_ms = self._mono_ms() + window_ms + _SLACK_MS
                at = 0
                while at < count:
                    taken = chip.take(axes, at)
                    if taken < 0:
                        self.overruns += 1
                        break
                    at += taken
                    if self._mono_ms() > deadline_ms:
                        raise ParkgateError("%s: its FIFO does not fill" % chip.name)
                    if attempt < YIELDING:
                        await self._sleep_ms(_PAUSE_MS)
                if at >= count:
                    return True
            return False
        finally:
            chip.stop()


def unpack(data, count: int, shift: int, axes, at: int) -> int:
    """Write `count` samples x, y, z (16 bit, low byte first) of `data`, shifted right, into the axes from `at` on; as
    many as fit. How many were written."""
    x, y, z = axes
    count = min(count, len(x) - at)
    for i in range(count):
        j = 6 * i
        a = data[j] | data[j + 1] << 8
        b = data[j + 2] | data[j + 3] << 8
        c = data[j + 4] | data[j + 5] << 8
        x[at + i] = (a - 65536 if a > 32767 else a) >> shift
        y[at + i] = (b - 65536 if b > 32767 else b) >> shift
        z[at + i] = (c - 65536 if c > 32767 else c) >> shift
    return count
