"""Simulated SHT3x, ADS1115 and BME280. Their world is functions of time in seconds."""

from fake_bus import EIO, ENODEV, Chip


class FakeSht3x(Chip):
    """`celsius(t)`, `percent(t)`. Reading before the conversion is over is a NAK (data sheet, section 4.1)."""

    def __init__(self, celsius, percent, faults=None):
        super().__init__(faults)
        self._celsius, self._percent = celsius, percent
        self._ready_us = None
        self._frame = None

    def write(self, data):
        if data != b"\x24\x00":
            raise OSError(EIO)
        self.conversions += 1
        self._ready_us = self.now_us() + 15500
        if self._frame is None or not self.faults.dice.hit(self.faults.stuck):
            t, h = self._celsius(self.now_s()), self._percent(self.now_s())
            words = [round((t + 45) * 65535 / 175), round(h * 65535 / 100)]
            words = [min(65535, max(0, self.faults.noisy(word))) for word in words]
            self._frame = b"".join([bytes([w >> 8, w & 255, crc8(w)]) for w in words])

    def read(self, count):
        if self._ready_us is None or self.now_us() < self._ready_us:
            raise OSError(ENODEV)
        self._ready_us = None
        return self._frame[:count]


def crc8(word):
    """The data sheet's example: 0xBEEF gives 0x92."""
    crc = 0xFF
    for i in range(16):
        bit = word >> (15 - i) & 1
        crc = (crc << 1 ^ (0x31 if (crc >> 7) ^ bit else 0)) & 0xFF
    return crc


class FakeAds1115(Chip):
    """`microvolts` is four functions of time, one an input (None: open). Saturates like the real one."""

    def __init__(self, microvolts, faults=None):
        super().__init__(faults)
        self._microvolts = microvolts
        self._register = 0
        self._configuration = 0x8583  # after power-on (table 8)
        self._code = 0
        self._ready_us = 0

    def write(self, data):
        self._register = data[0]
        if len(data) == 3 and data[0] == 1:
            word = data[1] << 8 | data[2]
            if not word & 0x8000 or not word & 0x0100 or word >> 12 & 7 < 4 or word >> 9 & 7 != 1:
                raise OSError(EIO)
            self._configuration = word & 0x7FFF
            self.conversions += 1
            self._ready_us = self.now_us() + 8600
            volts = self._microvolts[(word >> 12) & 3]
            code = self.faults.noisy(round((volts(self.now_s()) if volts else 0) / 125))
            if not self.faults.dice.hit(self.faults.stuck):
                self._code = min(32767, max(-32768, code))

    def read(self, count):
        done = self.now_us() >= self._ready_us
        word = self._configuration | (0x8000 if done else 0) if self._register == 1 else self._code & 0xFFFF
        return bytes([word >> 8, word & 255])[:count]


class FakeBme280(Chip):
    """`raw(t)` gives the converter's codes (temperature, pressure, humidity); `coefficients` is 26 + 7 bytes."""

    def __init__(self, coefficients, raw, faults=None):
        super().__init__(faults)
        self._raw = raw
        self._memory = bytearray(256)
        self._memory[0x88:0xA2] = coefficients[:26]
        self._memory[0xE1:0xE8] = coefficients[26:]
        self._memory[0xD0] = 0x60
        self._memory[0xF7:0xFF] = b"\x80\x00\x00\x80\x00\x00\x80\x00"
        self._register = 0
        self._humidity_set = False
        self._ready_us = 0

    def write(self, data):
        self._register = data[0]
        for i in range(1, len(data)):
            if data[0] == 0xF2:
                self._humidity_set = True
            elif data[0] == 0xF4 and data[i] & 3 == 1:
                self.conversions += 1
                self._ready_us = self.now_us() + 9300
                t, p, h = self._raw(self.now_s())
                if not self._humidity_set:
                    h = 0x8000  # takes effect only by a write to 0xF4 after it (section 5.4.3)
                m = self._memory
                m[0xF7], m[0xF8], m[0xF9] = p >> 12, p >> 4 & 255, p << 4 & 255
                m[0xFA], m[0xFB], m[0xFC] = t >> 12, t >> 4 & 255, t << 4 & 255
                m[0xFD], m[0xFE] = h >> 8, h & 255

    def read(self, count):
        busy = self.now_us() < self._ready_us
        if busy and self._register >= 0xF7:
            raise OSError(EIO)  # strict: data of two measurements would mix
        self._memory[0xF3] = 0x08 if busy else 0
        return self._memory[self._register : self._register + count]
