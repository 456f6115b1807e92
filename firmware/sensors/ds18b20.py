"""Temperature from a Maxim DS18B20, DS1822 or DS18S20 on a 1-Wire line.

Data sheet DS18B20, 19-7487 rev 6: commands and scratchpad (pages 7 to 12), conversion of 12 bits in at most 750 ms
(page 3), value in 1/16 °C, CRC polynomial x^8 + x^5 + x^4 + 1 (page 9). Accuracy ±0.5 °C from -10 to 85 °C.
Data sheet DS18S20, 19-5474 rev 8/10: value in 1/2 °C, and page 6

    T = whole degrees - 0.25 + (COUNT PER C - COUNT REMAIN) / COUNT PER C

The two parts give the same frame with another meaning: 25 °C of a DS18S20 is 3.13 °C of a DS18B20. So a frame is
taken for what its bytes 4 to 7 say. A DS18B20 has its configuration in byte 4, which is 1F, 3F, 5F or 7F; a DS18S20
has FF FF there, and COUNT PER C is always 10h. Everything else is refused, and so is a part that is not of the family
that the sensor's ROM code names (28h and 22h, or 10h).

Frames that look like readings and are none; each is refused and counted:

- a damaged one: its CRC does not check;
- all zeros: its CRC *does* check, and it is what a line held low gives;
- one of another part, or of none: bytes 4 to 7 as above;
- 85.0000 °C, the power-on value: the chip lost its supply between conversion and reading. A real 85 is believed only
  when the last good reading was within 5 °C of it.
"""

from parkgate.reading import BAD_REPLY, GOOD, SENSOR_FAULT, TIMEOUT

from .sensor import Sensor

_SKIP_ROM, _CONVERT, _READ = 0xCC, 0x44, 0xBE
_CONVERT_MS = 752  # the loop's clock ticks in whole ms, so a wait may be one short
_POWER_ON = 85 * 16
_NEAR = 5 * 16
_LOWEST, _HIGHEST = -55 * 16, 125 * 16
_TRIES = 2  # readings of one conversion's result
_FAMILY_S20 = 0x10


class Ds18b20(Sensor):
    """`wire` as onewire.OneWire; `rom` is the 8-byte code of the sensor, empty when it is alone on its line."""

    def __init__(self, name, period_ms, wire, rom, sleep_ms, mono_ms, quantity="temperature"):
        super().__init__(name, period_ms, _part(rom) + (" " + rom.hex() if rom else ""), (quantity, 2))
        self._wire = wire
        self._rom = rom
        self._sleep_ms = sleep_ms
        self._mono_ms = mono_ms
        self._frame = bytearray(9)
        self._last = None
        self.bad_crc = self.all_zero = self.power_on = self.other_part = self.silent = 0

    async def read(self):
        """([1/100 °C], qualities or None) of one conversion. TIMEOUT when nobody answers the reset."""
        if not self._select():
            return self.failed(TIMEOUT)
        self._wire.writebyte(_CONVERT)
        self.taken_ms = self._mono_ms()
        await self._sleep_ms(_CONVERT_MS)
        quality = BAD_REPLY
        for _ in range(_TRIES):
            if not self._select():
                return self.failed(TIMEOUT)
            self._wire.writebyte(_READ)
            self._wire.readinto(self._frame)
            quality, raw = self._judge()
            if quality == GOOD:
                self._last = raw
                return [(raw * 25 + 2) >> 2], None
            if quality == SENSOR_FAULT:
                break
        return self.failed(quality)

    def _select(self):
        wire = self._wire
        if not wire.reset():
            self.silent += 1
            self._last = None
            return False
        if self._rom:
            wire.select_rom(self._rom)
        else:
            wire.writebyte(_SKIP_ROM)
        return True

    def _judge(self):
        frame = self._frame
        if not any(frame):
            self.all_zero += 1
            return BAD_REPLY, 0
        if crc8(frame):
            self.bad_crc += 1
            return BAD_REPLY, 0
        raw = sixteenths(frame)
        if raw is None or (self._rom and (self._rom[0] == _FAMILY_S20) != (frame[4] == 0xFF)):
            self.other_part += 1
            return SENSOR_FAULT, 0
        if raw == _POWER_ON and (self._last is None or abs(self._last - raw) > _NEAR):
            self.power_on += 1
            self._last = None
            return SENSOR_FAULT, raw
        return (GOOD if _LOWEST <= raw <= _HIGHEST else SENSOR_FAULT), raw


def _part(rom):
    return "ds18s20" if rom and rom[0] == _FAMILY_S20 else "ds18b20"


def sixteenths(frame):
    """The temperature in 1/16 °C of a scratchpad whose CRC checks, None when it is of none of the known parts."""
    raw = frame[1] << 8 | frame[0]
    if raw > 32767:
        raw -= 65536
    configuration = frame[4]
    if configuration & 0x9F == 0x1F:  # 0 R1 R0 11111: 9 to 12 bits, the others are undefined
        return raw >> (3 - (configuration >> 5)) << (3 - (configuration >> 5))
    if configuration == 0xFF and frame[5] == 0xFF and frame[7] == 16 and 0 < frame[6] <= 16:
        return 16 * (raw >> 1) - 4 + 16 - frame[6]
    return None


def crc8(data) -> int:
    """The 1-Wire CRC: 0 for data followed by its check byte (Maxim application note 27)."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0x8C if crc & 1 else crc >> 1
    return crc
