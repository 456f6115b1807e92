"""The accelerometer ADXL345 of Analog Devices, as accelerometer.Accelerometer wants a chip.

Data sheet rev. E: registers (page 23 on), FIFO of 32 and the output register behind it (page 21), full resolution
3.9 mg a step at every range (table 1: 256 steps a g). Over I²C at 400 kHz it manages at most 800 Hz (table 7), whose
band ends at 360 Hz, and says so; the whole ISO band wants 3,200 Hz, and so SPI.
"""

from parkgate.errors import ParkgateError

from .accelerometer import unpack

USUAL_ADDRESS = 0x53
_DEVID, _IDENTITY = 0x00, 0xE5
_RATE, _POWER, _SOURCE, _FORMAT, _DATA, _FIFO, _FIFO_STATUS = 0x2C, 0x2D, 0x30, 0x31, 0x32, 0x38, 0x39
_MEASURE, _STANDBY, _BYPASS, _STREAM, _OVERRUN, _FULL_RESOLUTION = 0x08, 0x00, 0x00, 0x80, 0x01, 0x08
_RATE_CODES = {800: 0x0D, 3200: 0x0F}
_RANGE_CODES = {2: 0, 4: 1, 8: 2, 16: 3}


class Adxl345:
    """`registers` is a registers_bus object; `rate_hz` 800 or 3200, `range_g` 2, 4, 8 or 16."""

    name = "adxl345"
    low_hz = 10
    noisy = True  # 1.1 steps (table 1)
    um_s2 = 38307  # 9.80665 m/s² / 256

    def __init__(self, registers, rate_hz: int, range_g: int):
        self._registers = registers
        self._format = _FULL_RESOLUTION | _RANGE_CODES[range_g]
        self._byte = bytearray(1)
        self._data = bytearray(6)
        self.rate_hz = rate_hz
        self.count = 1024 if rate_hz == 3200 else 512  # 320 or 640 ms, lines of 3.1 or 1.6 Hz
        self.high_hz = 1000 if rate_hz == 3200 else 360
        self.limit = 256 * range_g - 1

    def start(self):
        """Begin to measure. Raises ParkgateError when another chip answers, OSError when none does."""
        registers = self._registers
        registers.read_into(_DEVID, self._byte)
        if self._byte[0] != _IDENTITY:
            raise ParkgateError("adxl345: chip id 0x%02x is another's" % self._byte[0])
        registers.write(_RATE, _RATE_CODES[self.rate_hz])
        registers.write(_FORMAT, self._format)
        registers.write(_POWER, _MEASURE)

    def flush(self):
        """Forget what is in the FIFO and begin to fill it; reading the data clears an old overrun."""
        self._registers.write(_FIFO, _BYPASS)
        self._registers.read_into(_DATA, self._data)
        self._registers.write(_FIFO, _STREAM)

    def take(self, axes, at: int) -> int:
        """Move what is in the FIFO into the axes; -1 when samples were lost."""
        registers = self._registers
        registers.read_into(_SOURCE, self._byte)
        if self._byte[0] & _OVERRUN:
            return -1
        registers.read_into(_FIFO_STATUS, self._byte)
        count = min(self._byte[0] & 0x3F, len(axes[0]) - at)
        for i in range(count):  # each read of six registers takes one sample out
            registers.read_into(_DATA, self._data)
            unpack(self._data, 1, 0, axes, at + i)
        return count

    def stop(self):
        """Sleep. An error here would hide the one that ended the window."""
        try:
            self._registers.write(_POWER, _STANDBY)
        except OSError:
            pass
