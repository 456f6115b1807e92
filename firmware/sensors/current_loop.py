"""A 4 to 20 mA transmitter over a shunt at one input of a Texas Instruments ADS1115.

Data sheet SBAS444D: configuration register (table 8), range ±4.096 V with 125 µV a step (table 3), single shot at 128
samples a second, whose internal clock may be 10 % slow (8.6 ms). The limits are those of NAMUR NE 43 (see
parkgate/sensing/current_loop.py). A shunt of 100 ohm gives 2.4 V at 24 mA and resolves 1.25 µA.
"""

from parkgate.reading import GOOD, OUT_OF_RANGE, SENSOR_FAULT
from parkgate.sensing import current_loop

from .sensor import Sensor

USUAL_ADDRESS = 0x48
_CONVERSION, _CONFIGURATION = 0, 1
_START = 0x8000 | 0x4000 | 1 << 9 | 1 << 8 | 4 << 5 | 3  # start, single-ended, ±4.096 V, single shot, 128/s
_FULL_SCALE_UV, _FULL_SCALE_CODE = 4096000, 32768
_CONVERT_MS, _MORE_MS, _TRIES = 9, 1, 5


class CurrentLoop(Sensor):
    """Channels: the loop's current, which always is what was measured, and the quantity that it stands for, on the
    line through `at_4ma` and `at_20ma` (in steps of the channel's scale). `i2c` as machine.I2C."""

    def __init__(self, name, period_ms, i2c, address, pin, shunt_mohm, quantity, scale, at_4ma, at_20ma, sleep_ms):
        profile = "ads1115 input %d, shunt %d mohm, %d..%d at 4..20 mA" % (pin, shunt_mohm, at_4ma, at_20ma)
        super().__init__(name, period_ms, profile, ("loop_current", 3), (quantity, scale))
        self._i2c = i2c
        self._address = address
        self._start = bytes([(_START | pin << 12) >> 8, _START & 0xFF])
        self._shunt_mohm = shunt_mohm
        self._at_4ma, self._at_20ma = at_4ma, at_20ma
        self._sleep_ms = sleep_ms
        self._word = bytearray(2)
        self.broken_wire = self.failure_signals = self.late = 0

    async def read(self):
        """(values, qualities or None) of one conversion. Raises OSError when the converter does not answer."""
        i2c, address, word = self._i2c, self._address, self._word
        i2c.writeto_mem(address, _CONFIGURATION, self._start)
        await self._sleep_ms(_CONVERT_MS)
        for _ in range(_TRIES):
            i2c.readfrom_mem_into(address, _CONFIGURATION, word)
            if word[0] & 0x80:
                break
            await self._sleep_ms(_MORE_MS)
        else:
            self.late += 1
            return self.failed(SENSOR_FAULT)
        if (word[0] & 0x7F, word[1]) != (self._start[0] & 0x7F, self._start[1]):
            return self.failed(SENSOR_FAULT)  # somebody else's configuration: the converter was reset meanwhile
        i2c.readfrom_mem_into(address, _CONVERSION, word)
        code = word[0] << 8 | word[1]
        if code > 32767:
            code -= 65536
        ua = current_loop.current_ua(code, _FULL_SCALE_UV, _FULL_SCALE_CODE, self._shunt_mohm)
        quality = current_loop.quality(ua)
        if quality == GOOD:
            return [ua, current_loop.scaled(ua, self._at_4ma, self._at_20ma)], None
        if quality == OUT_OF_RANGE:
            return [ua, current_loop.scaled(ua, self._at_4ma, self._at_20ma)], bytes([OUT_OF_RANGE] * 2)
        if current_loop.is_broken_wire(ua):
            self.broken_wire += 1
        else:
            self.failure_signals += 1
        return [ua, None], bytes([OUT_OF_RANGE, quality])
