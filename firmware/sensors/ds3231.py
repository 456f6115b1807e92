"""Time of day from a DS3231, a clock chip with a battery, which goes on through a power cut.

Data sheet "DS3231 Extremely Accurate I2C-Integrated RTC/TCXO/Crystal" (Maxim 19-5170, revision 10): registers 0x00 to
0x06 hold seconds, minutes, hours, day of the week, date, month and year in BCD; bit 6 of the hours is 0 for 24 hours;
bit 7 of status 0x0F (OSF) says that the oscillator had stopped, so that the time means nothing. Frequency within
3.5 ppm from -40 to 85 degrees, 5 ppm by ageing in ten years.

The chip says whole seconds and not how far they are off. That is kept in a file: what the chip showed when it was set,
how many ms behind the true time that was, and how far off the true time was.
"""

from parkgate.errors import FormatError
from parkgate.events import CHIP
from parkgate.settings import kept_twice
from parkgate.wire import cbor

ADDRESS = 0x68
FILE = "clock.chip"
DRIFT_PPM = 9  # frequency and ageing
READ_MS = 510  # half of the second that it shows, and the bus
BETTER_MS = 1000  # the chip is set when the time is known so much better than by the chip
_MAGIC = b"PGR1"
_STATUS, _OSF = 0x0F, 0x80
_DAY_S = 86400


def unix_s_of(registers):
    """Unix time of the chip's seven registers, of 2000 to 2099; None for what is no time."""
    numbers = []
    for i, (byte, low, high) in enumerate(zip(registers, (0, 0, 0, 1, 1, 1, 0), (59, 59, 23, 7, 31, 12, 99))):
        if i == 5:
            byte &= 0x7F  # the century is not used
        number = (byte >> 4) * 10 + (byte & 15)
        if byte & 15 > 9 or not low <= number <= high:
            return None
        numbers.append(number)
    second, minute, hour, _, day, month, year = numbers
    year += 2000 - (month <= 2)
    day_of_year = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5 + day - 1
    days = 365 * year + year // 4 - year // 100 + year // 400 + day_of_year - 719468
    return days * _DAY_S + hour * 3600 + minute * 60 + second


def registers_of(unix_s: int) -> bytes:
    """The seven registers for a Unix time of 2000 to 2099."""
    days, second = divmod(unix_s, _DAY_S)
    shifted = days + 719468  # from 1 March of the year 0
    era = shifted // 146097
    rest = shifted - era * 146097
    year = (rest - rest // 1460 + rest // 36524 - rest // 146096) // 365
    day_of_year = rest - (365 * year + year // 4 - year // 100)
    month = (5 * day_of_year + 2) // 153
    day = day_of_year - (153 * month + 2) // 5 + 1
    year += era * 400 + (month > 9)
    month += 3 if month < 10 else -9
    numbers = second % 60, second // 60 % 60, second // 3600, (days + 3) % 7 + 1, day, month, year - 2000
    return bytes([number // 10 << 4 | number % 10 for number in numbers])


class ClockChip:
    """`i2c` as machine.I2C; `wall_time()` is the board's own source, which comes first; `files` as board.files."""

    def __init__(self, i2c, files, wall_time, log):
        self._i2c = i2c
        self._files = files
        self._wall_time = wall_time
        self._log = log

    def wall_time(self):
        """As board.wall_time."""
        return self._wall_time() or self._own()

    def _own(self):
        try:
            status, registers = bytearray(1), bytearray(7)
            self._i2c.readfrom_mem_into(ADDRESS, _STATUS, status)
            self._i2c.readfrom_mem_into(ADDRESS, 0, registers)
        except OSError as e:
            self._log.error("clock", "the clock chip does not answer: %s" % e)
            return None
        now_s = None if status[0] & _OSF else unix_s_of(registers)
        data = kept_twice.read(self._files, FILE)
        try:
            set_s, behind_ms, error_ms = cbor.decode(data[4:-4]) if data else (None, 0, 0)
        except (FormatError, ValueError, TypeError):
            set_s, behind_ms, error_ms = None, 0, 0
        if now_s is None or set_s is None or now_s < set_s:
            return None  # its battery was empty, or it was set by somebody else: the next good time sets it
        error_ms += READ_MS + (now_s - set_s) * DRIFT_PPM // 1000
        return now_s * 1000 + behind_ms + 500, error_ms, CHIP

    def keep(self, clock, mono_ms: int):
        """Set the chip if `clock` knows the time so much better."""
        error_ms = clock.uncertainty_ms(mono_ms)
        if error_ms is None or clock.disputed:
            return
        own = self._own()
        if own and own[1] <= error_ms + READ_MS + BETTER_MS:
            return
        unix_s, behind_ms = divmod(mono_ms + clock.offset_ms, 1000)
        record = kept_twice.sealed(_MAGIC, cbor.encode([unix_s, behind_ms, error_ms]))
        try:
            self._files.write(FILE, b"")  # cut off in between, the chip is believed by neither record
            self._files.write(FILE + ".2", b"")
            self._i2c.writeto_mem(ADDRESS, 0, registers_of(unix_s))
            self._i2c.writeto_mem(ADDRESS, _STATUS, b"\x00")
            kept_twice.write(self._files, FILE, record)
        except OSError as e:
            self._log.error("clock", "the clock chip cannot be set: %s" % e)
