"""Simulated chips on an I²C bus, stricter than real ones: what a data sheet forbids is refused here.

`FakeI2c` has the calls of machine.I2C. Chips are given by their address and get their world from functions of time in
seconds (floats: this is the world, not the gateway). `Faults` of a chip are drawn from a seed: NAKs as if unplugged,
damaged bytes, a stuck conversion. Every chip counts what it was asked.
"""

ENODEV, EIO = 19, 5


class Dice:
    """The same random numbers on every Python: xorshift of 32 bits."""

    def __init__(self, seed: int = 1):
        self._state = (seed * 2654435761 + 1) & 0xFFFFFFFF or 1

    def below(self, n: int) -> int:
        x = self._state
        x ^= x << 13 & 0xFFFFFFFF
        x ^= x >> 17
        x ^= x << 5 & 0xFFFFFFFF
        self._state = x
        return x % n

    def hit(self, chance: float) -> bool:
        """Whether something that happens with this chance happens now."""
        return chance > 0 and self.below(1000000) < chance * 1000000


class Faults:
    """`unplugged`, `damaged`, `stuck`: chance for each transaction, 0 to 1; `noise` in steps of the chip."""

    def __init__(self, seed: int = 1, unplugged=0.0, damaged=0.0, stuck=0.0, noise=0):
        self.dice = Dice(seed)
        self.unplugged = unplugged
        self.damaged = damaged
        self.stuck = stuck
        self.noise = noise

    def noisy(self, value: int) -> int:
        """`value` with this chip's noise, about triangular."""
        n = self.noise
        return value + self.dice.below(n + 1) + self.dice.below(n + 1) - n if n else value


class FakeI2c:
    """`chips` is address → chip; `now_us` the time; `spent_us(µs)` is told how long each transaction took."""

    def __init__(self, chips: dict, now_us, spent_us=None, hz: int = 400000):
        self.chips = chips
        self.now_us = now_us
        self._spent_us = spent_us
        self._hz = hz
        for chip in chips.values():
            chip.now_us = now_us

    def _chip(self, address, count):
        chip = self.chips.get(address)
        if chip is None or chip.faults.dice.hit(chip.faults.unplugged):
            raise OSError(ENODEV)
        if self._spent_us:
            self._spent_us((count + 1) * 9 * 1000000 // self._hz)
        return chip

    def writeto(self, address, data):
        self._chip(address, len(data)).write(bytes(data))

    def readfrom_into(self, address, buffer):
        chip = self._chip(address, len(buffer))
        data = bytearray(chip.read(len(buffer)))
        if chip.faults.dice.hit(chip.faults.damaged):
            data[chip.faults.dice.below(len(data))] ^= 1 << chip.faults.dice.below(8)
        buffer[:] = data

    def writeto_mem(self, address, register, data):
        self._chip(address, 1 + len(data)).write(bytes([register]) + bytes(data))

    def readfrom_mem_into(self, address, register, buffer):
        self.writeto(address, bytes([register]))
        self.readfrom_into(address, buffer)

    def readfrom_mem(self, address, register, count):
        buffer = bytearray(count)
        self.readfrom_mem_into(address, register, buffer)
        return bytes(buffer)


class Chip:
    """What all chips have."""

    def __init__(self, faults=None):
        self.faults = faults or Faults()
        self.now_us = None
        self.conversions = 0

    def now_s(self) -> float:
        return self.now_us() / 1000000


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
        if busy and 0xF7 <= self._register:
            raise OSError(EIO)  # strict: data of two measurements would mix
        self._memory[0xF3] = 0x08 if busy else 0
        return self._memory[self._register : self._register + count]
