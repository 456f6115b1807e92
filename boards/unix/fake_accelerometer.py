"""Simulated accelerometers with their FIFOs. The world is `g(t) -> (x, y, z)` in g at t seconds.

A FIFO of 32 fills at its rate by the bus's clock; who drains it too late finds samples gone and the overrun flag set.
"""

from fake_bus import EIO, Chip

_DEPTH = 32


class _Fifo(Chip):
    """Sampling by time. `steps_per_g`, `limit` and `rate_hz` are set when measuring begins."""

    def __init__(self, g, faults=None):
        super().__init__(faults)
        self._g = g
        self._memory = bytearray(64)
        self._register = 0
        self._began_us = None
        self._taken = 0
        self._overrun = False
        self.rate_hz = self.steps_per_g = self.limit = 0

    def _restart(self, streaming):
        self._began_us = self.now_us() if streaming else None
        self._taken = 0
        self._overrun = False

    def _waiting(self):
        """How many samples wait; the oldest are lost when there were more than it holds."""
        if self._began_us is None or not self.rate_hz:
            return 0
        made = (self.now_us() - self._began_us) * self.rate_hz // 1000000
        if made - self._taken > _DEPTH:
            self._overrun = True
            self._taken = made - _DEPTH
        return made - self._taken

    def _next(self):
        t = (self._began_us + self._taken * 1000000 // self.rate_hz) / 1000000
        self._taken += 1
        steps = [self.faults.noisy(round(a * self.steps_per_g)) for a in self._g(t)]
        return [min(self.limit, max(-self.limit - 1, step)) for step in steps]


class FakeLis3dh(_Fifo):
    """Registers as data sheet DocID17530 has them."""

    def write(self, data):
        self._register = data[0] & 0x7F
        if len(data) < 2:
            self._increment = bool(data[0] & 0x80)
            return
        self._memory[self._register] = data[1]
        control1, control4 = self._memory[0x20], self._memory[0x23]
        if control1 >> 4 == 9:
            fast = bool(control1 & 8)
            self.rate_hz = 5376 if fast else 1344
            mg = {0: 4, 1: 8, 2: 16, 3: 48}[control4 >> 4 & 3] * (4 if fast else 1)
            self.steps_per_g, self._shift = 1000 / mg, 8 if fast else 6
            self.limit = (1 << (15 - self._shift)) - 1
        elif self._register == 0x20:
            self.rate_hz = 0
        if self._register == 0x2E:
            self._restart(data[1] >> 6 == 2 and self._memory[0x24] & 0x40)

    def read(self, count):
        if self._register == 0x0F:
            return b"\x33"
        if self._register == 0x2F:
            waiting = self._waiting()
            return bytes([(0x40 if self._overrun or waiting >= _DEPTH else 0) | (waiting & 31 or not waiting and 0x20)])
        if self._register != 0x28 or count % 6 or not self._increment or count > 6 * self._waiting():
            raise OSError(EIO)  # strict: reading an empty FIFO gives old data
        out = bytearray()
        for _ in range(count // 6):
            for step in self._next():
                word = step << self._shift & 0xFFFF
                out.append(word & 255)
                out.append(word >> 8)
        return out


class FakeAdxl345(_Fifo):
    """Registers as data sheet rev. E has them."""

    def write(self, data):
        self._register = data[0]
        if len(data) < 2:
            return
        self._memory[self._register] = data[1]
        measuring = self._memory[0x2D] & 8
        self.rate_hz = {0x0D: 800, 0x0F: 3200}.get(self._memory[0x2C], 0) if measuring else 0
        self.steps_per_g = 256
        self.limit = (256 << (self._memory[0x31] & 3) + 1) - 1
        if self._register == 0x38:
            self._restart(data[1] >> 6 == 2)

    def read(self, count):
        if self._register == 0x00:
            return b"\xe5"
        if self._register == 0x30:
            self._waiting()
            return bytes([1 if self._overrun else 0])
        if self._register == 0x39:
            return bytes([self._waiting()])
        if self._register != 0x32 or count != 6:
            raise OSError(EIO)
        out = bytearray()
        for step in self._next() if self._waiting() else (0, 0, 0):
            out.append(step & 255)
            out.append(step >> 8 & 255)
        return out


class FakeSpi:
    """One chip on an SPI bus, by the same chips: `select` is the line, read commands have bit 7, bit 6 goes on."""

    def __init__(self, chip, now_us, spent_us=None, hz: int = 2000000):
        self._chip = chip
        chip.now_us = now_us
        self._spent_us = spent_us
        self._hz = hz
        self._selected = False

    def select(self, level):
        self._selected = not level

    def _pass(self, count):
        if not self._selected:
            raise OSError(EIO)
        if self._spent_us:
            self._spent_us(count * 8 * 1000000 // self._hz)

    def write(self, data):
        self._pass(len(data))
        if len(data) > 1:
            self._chip.write(bytes(data))
        else:
            self._chip.write(bytes([data[0] & 0x3F]))

    def readinto(self, buffer):
        self._pass(len(buffer))
        buffer[:] = self._chip.read(len(buffer))
