"""A simulated ADC input and a 1-Wire line. Worlds are functions of time in seconds."""

from fake_bus import EIO, Faults


class FakeAdc:
    """`level(t)` is the input as a part of the full range, 0 to 1; beyond it the converter is at its rail."""

    def __init__(self, level, now_us, sleep_ms, rate_hz: int = 5000, faults=None, bits: int = 12):
        self.rate_hz = rate_hz
        self.faults = faults or Faults()
        self._level = level
        self._now_us = now_us
        self._sleep_ms = sleep_ms
        self._bits = bits

    async def burst(self, buffer):
        if self.faults.dice.hit(self.faults.unplugged):
            raise OSError(EIO)
        began_us = self._now_us()
        await self._sleep_ms(len(buffer) * 1000 // self.rate_hz)
        top = (1 << self._bits) - 1
        for i in range(len(buffer)):
            t = began_us / 1000000 + i / self.rate_hz
            code = min(top, max(0, self.faults.noisy(round(self._level(t) * top))))
            # As MicroPython's read_u16 stretches it: the bits repeated, so that full scale is 65,535.
            buffer[i] = code << (16 - self._bits) | code >> (2 * self._bits - 16)


class FakeWire:
    """A 1-Wire line with DS18B20s, or DS18S20s where the ROM code begins with 10h: `sensors` is ROM code → celsius(t),
    None for one that is not there. Calls are those of onewire.OneWire. `lose_supply()` makes the next result the
    power-on value; with `held_low` the line always reads zeros; `tail` takes the place of bytes 4 to 7 of the
    scratchpad, and `part` tells the part where there is no ROM code."""

    tail = None
    part = "ds18b20"

    def __init__(self, sensors: dict, now_us, faults=None):
        self.sensors = sensors
        self.faults = faults or Faults()
        self.held_low = False
        self._now_us = now_us
        self._selected = ()
        self._command = None
        self._raw = {}
        self._ready_us = {}

    def lose_supply(self):
        self._raw = {}

    def reset(self, required=False):
        self._command = None
        self._selected = ()
        if self.held_low:
            return True  # a line held low looks like a presence pulse
        return any(self.sensors.values()) and not self.faults.dice.hit(self.faults.unplugged)

    def select_rom(self, rom):
        self._selected = (bytes(rom),)

    def writebyte(self, byte):
        if byte == 0xCC:
            self._selected = tuple(self.sensors)
        elif byte == 0x44:
            for rom in self._selected:
                celsius = self.sensors.get(rom)
                if celsius:
                    self._ready_us[rom] = self._now_us() + 750000
                    self._raw[rom] = self.faults.noisy(round(celsius(self._now_us() / 1000000) * 16))
        elif byte == 0xBE:
            self._command = byte
        else:
            raise OSError(EIO)

    def readinto(self, buffer):
        rom = self._selected[0] if len(self._selected) == 1 else None
        if self.held_low:
            buffer[:] = bytes(len(buffer))
            return
        if self._command != 0xBE or rom is None or not self.sensors.get(rom):
            buffer[:] = b"\xff" * len(buffer)  # nobody pulls the line down
            return
        raw = self._raw.get(rom, 85 * 16)
        if self._now_us() < self._ready_us.get(rom, 0):
            raw = 85 * 16  # asked too early
        if rom[:1] == b"\x10" or self.part == "ds18s20":
            # Half degrees, and what is left of the counter: T = (raw >> 1) - 0.25 + (16 - remain) / 16.
            whole = (raw + 4) >> 4  # so that 1 <= remain <= 16
            remain = 16 * whole + 12 - raw
            halves = 2 * whole + (1 if remain <= 8 else 0)
            frame = bytearray([halves & 255, halves >> 8 & 255, 0x4B, 0x46, 0xFF, 0xFF, remain, 0x10])
        else:
            frame = bytearray([raw & 255, raw >> 8 & 255, 0x4B, 0x46, 0x7F, 0xFF, 0x0C, 0x10])
        if self.tail:
            frame[4:8] = self.tail
        frame.append(_crc(frame))
        if self.faults.dice.hit(self.faults.damaged):
            frame[self.faults.dice.below(9)] ^= 1 << self.faults.dice.below(8)
        buffer[:] = frame[: len(buffer)]


def _crc(data):
    """Bit by bit from the polynomial, lowest bit first."""
    remainder = 0
    for byte in data:
        for i in range(8):
            bit = (byte >> i ^ remainder) & 1
            remainder >>= 1
            if bit:
                remainder ^= 0x8C
    return remainder
