"""The accelerometer LIS3DH of ST, as accelerometer.Accelerometer wants a chip.

Data sheet DocID17530 rev 2: registers (section 8), FIFO of 32 (section 5.1), rates (table 31), sensitivity (table 4).
At 1,344 Hz (normal mode, 10 bit) the chip passes half the rate: the velocity band ends at 600 Hz, and says so. The
whole ISO band wants 5,376 Hz, which it has in low-power mode only, with 8 bit: steps of 16 mg at ±2 g, whose noise is
0.05 mm/s in the velocity.
"""

from parkgate.errors import ParkgateError

from .accelerometer import unpack

USUAL_ADDRESS = 0x18
_WHO_AM_I, _IDENTITY = 0x0F, 0x33
_CTRL1, _CTRL4, _CTRL5, _FIFO_CTRL, _FIFO_SRC, _OUT = 0x20, 0x23, 0x24, 0x2E, 0x2F, 0x28
_POWER_DOWN, _FIFO_ENABLE, _BYPASS, _STREAM, _OVERRUN = 0x00, 0x40, 0x00, 0x80, 0x40
_UM_S2_A_MG = 980665  # 100 × µm/s² a mg
# ±g → bits of CTRL4 and mg a digit in 10 bit; four times that in 8 bit
_RANGES = {2: (0x00, 4), 4: (0x10, 8), 8: (0x20, 16), 16: (0x30, 48)}


class Lis3dh:
    """`registers` is a registers_bus object; `rate_hz` 1344 or 5376, `range_g` 2, 4, 8 or 16."""

    name = "lis3dh"
    low_hz = 10

    def __init__(self, registers, rate_hz: int, range_g: int):
        bits, mg = _RANGES[range_g]
        fast = rate_hz == 5376
        self._registers = registers
        self._control1 = 0x9F if fast else 0x97  # rate code 9, low power or normal, all axes
        self._control4 = bits
        self._shift = 8 if fast else 6
        self.noisy = not fast and range_g == 2  # 220 µg/√Hz (table 4) over 672 Hz are 5.7 mg
        self._byte = bytearray(1)
        self._data = bytearray(6 * 32)
        self.rate_hz = rate_hz
        self.count = 1024 if fast else 512  # 190 or 381 ms, lines of 5.25 or 2.6 Hz
        self.high_hz = 1000 if fast else 600
        self.limit = (1 << (15 - self._shift)) - 1
        self.um_s2 = mg * (4 if fast else 1) * _UM_S2_A_MG // 100

    def start(self):
        """Begin to measure. Raises ParkgateError when another chip answers, OSError when none does."""
        registers = self._registers
        registers.read_into(_WHO_AM_I, self._byte)
        if self._byte[0] != _IDENTITY:
            raise ParkgateError("lis3dh: chip id 0x%02x is another's" % self._byte[0])
        registers.write(_CTRL1, self._control1)
        registers.write(_CTRL4, self._control4)
        registers.write(_CTRL5, _FIFO_ENABLE)

    def flush(self):
        """Forget what is in the FIFO and begin to fill it."""
        self._registers.write(_FIFO_CTRL, _BYPASS)
        self._registers.write(_FIFO_CTRL, _STREAM)

    def take(self, axes, at: int) -> int:
        """Move what is in the FIFO into the axes; -1 when it was full, so that samples may be missing."""
        self._registers.read_into(_FIFO_SRC, self._byte)
        source = self._byte[0]
        if source & _OVERRUN:
            return -1
        count = source & 0x1F
        if not count:
            return 0
        self._registers.read_into(_OUT, memoryview(self._data)[: 6 * count])  # the address goes round x, y, z
        return unpack(self._data, count, self._shift, axes, at)

    def stop(self):
        """Sleep. An error here would hide the one that ended the window."""
        try:
            self._registers.write(_CTRL1, _POWER_DOWN)
        except OSError:
            pass
