"""A simulated I²C bus, and what all chips on it have in common. Stricter than real ones: what a data sheet forbids is
refused here.

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
    """`chips` is address → chip; `now_us` the time; `spent_us(µs)` gets the time that each transaction took."""

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
