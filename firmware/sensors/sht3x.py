"""Temperature and humidity from a Sensirion SHT30, SHT31 or SHT35.

Data sheet "SHT3x-DIS" version 6 (March 2020): single shot without clock stretching, high repeatability 0x2400 (table
9), at most 15.5 ms (table 4); CRC-8 polynomial 0x31 from 0xFF over each word (table 20); conversion (section 4.13)

    T = -45 + 175 × S / (2^16 - 1) °C        RH = 100 × S / (2^16 - 1) %

Accuracy of the SHT31: ±0.2 °C, ±2 %. Its noise is several of its steps, so a frame that does not change for a thousand
conversions comes from a chip that hangs: stale.
"""

from parkgate.reading import BAD_REPLY, SENSOR_FAULT, STALE

from .sensor import Sensor

USUAL_ADDRESS = 0x44
_MEASURE = b"\x24\x00"
_MEASURE_MS = 17  # the loop's clock ticks in whole ms, so a wait may be one short
_FULL = 65535


class Sht3x(Sensor):
    """One conversion gives both channels. `i2c` as machine.I2C; read() raises OSError when nobody answers."""

    def __init__(self, name, period_ms, i2c, address, sleep_ms):
        super().__init__(name, period_ms, "sht3x", ("temperature", 2), ("relative_humidity", 1))
        self._i2c = i2c
        self._address = address
        self._sleep_ms = sleep_ms
        self._reply = bytearray(6)
        self.bad_crc = 0
        self.watch_frames(6)

    async def read(self):
        """(values, qualities or None) of one conversion."""
        self._i2c.writeto(self._address, _MEASURE)
        await self._sleep_ms(_MEASURE_MS)
        reply = self._reply
        self._i2c.readfrom_into(self._address, reply)
        if crc8(reply[0:3]) or crc8(reply[3:6]):
            self.bad_crc += 1
            return self.failed(BAD_REPLY)
        t, h = reply[0] << 8 | reply[1], reply[3] << 8 | reply[4]
        if t in (0, _FULL) or h == _FULL:  # -45 or 130 °C is no weather: a broken element
            return self.failed(SENSOR_FAULT)
        values = [_rounded(17500 * t) - 4500, _rounded(1000 * h)]
        return values, bytes([STALE] * 2) if self.is_stuck(reply) else None


def _rounded(n):
    return (n + _FULL // 2) // _FULL


def crc8(data) -> int:
    """Remainder by x^8 + x^5 + x^4 + 1 from 0xFF: 0 for data followed by its check byte."""
    crc = 0xFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ 0x31 if crc & 0x80 else crc << 1) & 0xFF
    return crc
