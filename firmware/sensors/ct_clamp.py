"""Current through a conductor by a clamp-on current transformer at an ADC input: true RMS over whole mains cycles.

The clamp's calibration is part of the data: its id and the hash of its numbers stand in the schema, which is signed,
so an auditor can tell by which calibration a reading was made and that nobody changed it under the same name.
"""

from array import array

from parkgate.reading import OUT_OF_RANGE, SENSOR_FAULT
from parkgate.sensing import true_rms
from parkgate.wire.batch import short_id
from parkgate.wire.cbor import encode

from .sensor import Sensor, in_steps

BURST_MS = 100  # five cycles of 50 Hz, six of 60
_BIAS_LOW, _BIAS_HIGH = 65536 // 4, 65536 * 3 // 4  # the divider that lifts the input gives about a half


class CtClamp(Sensor):
    """`adc` has `rate_hz` and async `burst(buffer)`, which fills an array of 16-bit samples at that rate. One step
    of the ADC (of 65,536) is ma_numerator/ma_denominator mA; `noise_256` is the RMS without current in 1/256 step."""

    def __init__(
        self, name, period_ms, adc, mains_hz, calibration_id, ma_numerator, ma_denominator, noise_256, sleep_ms,
        quantity,
    ):  # fmt: skip
        numbers = [calibration_id, ma_numerator, ma_denominator, noise_256]
        profile = "ct clamp, calibration %s %s" % (calibration_id, short_id(encode(numbers))[:8].hex())
        super().__init__(name, period_ms, profile, (quantity, 3))
        self._adc = adc
        self._mains_hz = mains_hz
        self._numbers = (ma_numerator, ma_denominator, noise_256)
        self._sleep_ms = sleep_ms
        self._samples = None
        self.clipped = 0

    async def read(self):
        """([mA], qualities or None) of one burst; OUT_OF_RANGE when it reached a rail of the converter, SENSOR_FAULT
        without the bias that a connected clamp has. Raises OSError from the ADC."""
        rate_hz = self._adc.rate_hz
        if self._samples is None:
            self._samples = array("H", bytes(2 * (rate_hz * BURST_MS // 1000)))
        await self._adc.burst(self._samples)
        burst = await in_steps(true_rms.burst_steps(self._samples, rate_hz, self._mains_hz), self._sleep_ms)
        if not _BIAS_LOW < burst.mean < _BIAS_HIGH:
            return self.failed(SENSOR_FAULT)
        if max(self._samples) == min(self._samples):
            return self.failed(SENSOR_FAULT)  # a converter has noise; one that hangs has none
        ma = true_rms.clamp_ma(burst.rms_256, *self._numbers)
        if burst.clipped:
            self.clipped += 1
            return [ma], bytes([OUT_OF_RANGE])
        return [ma], None
