"""Temperature, humidity and air pressure from a Bosch BME280.

Data sheet BST-BME280-DS001-23 (2022): chip id and registers (section 5), one forced measurement with oversampling 1
of all three, at most 9.3 ms (appendix B: 1.25 + 2.3 + 2.3 + 0.575 + 2.3 + 0.575), compensation in integers with the
factory's coefficients (section 4.2.3; 64-bit pressure). A channel that was not measured reads 0x80000 or 0x8000.

The bus has no check sum, so a result outside the chip's operating range (table 1) is refused, and the coefficients are
read again. Accuracy: ±1 °C, ±3 %, ±1 hPa.
"""

import struct

from parkgate.errors import ParkgateError
from parkgate.reading import SENSOR_FAULT, STALE

from .sensor import Sensor

USUAL_ADDRESS = 0x76
_CHIP_ID, _ID = 0xD0, 0x60
_CALIBRATION, _CALIBRATION_HUMIDITY = 0x88, 0xE1
_CONTROL_HUMIDITY, _STATUS, _CONTROL = 0xF2, 0xF3, 0xF4
_DATA = 0xF7
_FORCED = 0x25  # oversampling 1 of temperature and pressure, forced mode
_MEASURING = 0x08
_T_MIN, _T_MAX = -4000, 8500  # operating range, table 1; 1/100 °C
_P_MIN, _P_MAX = 30000, 110000  # Pa
_MEASURE_MS, _MORE_MS, _TRIES = 11, 2, 5


class Bme280(Sensor):
    """One conversion gives all channels: humidity and pressure need the temperature of the same moment. `i2c` as
    machine.I2C; read() raises OSError when nobody answers."""

    def __init__(self, name, period_ms, i2c, address, sleep_ms):
        super().__init__(name, period_ms, "bme280", ("temperature", 2), ("relative_humidity", 1), ("air_pressure", 0))
        self._i2c = i2c
        self._address = address
        self._sleep_ms = sleep_ms
        self._data = bytearray(8)
        self.watch_frames(8)
        self._t = self._p = self._h = None  # coefficients, read when first needed

    async def read(self):
        """(values, qualities or None) of one conversion."""
        i2c, address = self._i2c, self._address
        if self._t is None:
            self._read_coefficients()
        try:
            i2c.writeto_mem(address, _CONTROL_HUMIDITY, b"\x01")
            i2c.writeto_mem(address, _CONTROL, bytes([_FORCED]))
            await self._sleep_ms(_MEASURE_MS)
            for _ in range(_TRIES):
                if not i2c.readfrom_mem(address, _STATUS, 1)[0] & _MEASURING:
                    break
                await self._sleep_ms(_MORE_MS)
            else:
                return self.failed(SENSOR_FAULT)
            i2c.readfrom_mem_into(address, _DATA, self._data)
        except OSError:
            self._t = None  # whatever is plugged in next has coefficients of its own
            raise
        d = self._data
        p = d[0] << 12 | d[1] << 4 | d[2] >> 4
        t = d[3] << 12 | d[4] << 4 | d[5] >> 4
        h = d[6] << 8 | d[7]
        if t == 0x80000 or p == 0x80000 or h == 0x8000 or t == p == h == 0:
            return self.failed(SENSOR_FAULT)
        fine = fine_temperature(self._t, t)
        pascals = pressure_256(self._p, fine, p)
        if not pascals:
            return self.failed(SENSOR_FAULT)
        values = [(fine * 5 + 128) >> 8, (humidity_1024(self._h, fine, h) * 10 + 512) >> 10, (pascals + 128) >> 8]
        if not (_T_MIN <= values[0] <= _T_MAX and _P_MIN <= values[2] <= _P_MAX):
            self._t = None  # another chip since the coefficients were read, or a damaged frame
            return self.failed(SENSOR_FAULT)
        return values, bytes([STALE] * 3) if self.is_stuck(d) else None

    def _read_coefficients(self):
        i2c, address = self._i2c, self._address
        chip = i2c.readfrom_mem(address, _CHIP_ID, 1)[0]
        if chip != _ID:
            raise ParkgateError("chip id 0x%02x at 0x%02x is not a BME280" % (chip, address))
        data = i2c.readfrom_mem(address, _CALIBRATION, 26)
        self._p = struct.unpack_from("<Hhhhhhhhh", data, 6)
        h1 = data[25]
        if not any(data) or min(data[:24]) == 0xFF:
            raise ParkgateError("the BME280 at 0x%02x has no coefficients" % address)
        data2 = i2c.readfrom_mem(address, _CALIBRATION_HUMIDITY, 7)
        h2, h3 = struct.unpack_from("<hB", data2, 0)
        h4 = (data2[3] - 256 if data2[3] > 127 else data2[3]) << 4 | data2[4] & 15
        h5 = (data2[5] - 256 if data2[5] > 127 else data2[5]) << 4 | data2[4] >> 4
        self._h = (h1, h2, h3, h4, h5, data2[6] - 256 if data2[6] > 127 else data2[6])
        self._t = struct.unpack_from("<Hhh", data, 0)


def fine_temperature(c, t):
    """Temperature in 1/5120 °C, which the other two formulas need."""
    t1, t2, t3 = c
    a = (((t >> 3) - (t1 << 1)) * t2) >> 11
    b = (t >> 4) - t1
    return a + ((((b * b) >> 12) * t3) >> 14)


def pressure_256(c, fine, p):
    """Pressure in 1/256 Pa; 0 where the coefficients make no sense."""
    p1, p2, p3, p4, p5, p6, p7, p8, p9 = c
    a = fine - 128000
    b = a * a * p6 + ((a * p5) << 17) + (p4 << 35)
    a = ((a * a * p3) >> 8) + ((a * p2) << 12)
    a = (((1 << 47) + a) * p1) >> 33
    if not a:
        return 0
    q = (((1048576 - p) << 31) - b) * 3125 // a
    return ((q + ((p9 * (q >> 13) * (q >> 13)) >> 25) + ((p8 * q) >> 19)) >> 8) + (p7 << 4)


def humidity_1024(c, fine, h):
    """Relative humidity in 1/1024 %, 0 to 100 %."""
    h1, h2, h3, h4, h5, h6 = c
    x = fine - 76800
    a = ((h << 14) - (h4 << 20) - h5 * x + 16384) >> 15
    b = ((((x * h6) >> 10) * (((x * h3) >> 11) + 32768)) >> 10) + 2097152
    x = a * ((b * h2 + 8192) >> 14)
    x -= ((((x >> 15) * (x >> 15)) >> 7) * h1) >> 4
    return min(max(x, 0), 419430400) >> 12
