"""Which profile a meter answers like, when nobody knows what hangs on the bus.

A register says nothing about its meaning, but a wrong reading of it seldom looks like mains: of all 16-bit numbers one
in sixteen is 80 to 500 V in tenths, of all floats one in a hundred. So each profile is tried on what the meter
answers, register by register, and every value counts for or against it:

    voltage 80 to 500 V, frequency 45 to 65 Hz         strongly for; anything else against
    (voltage of the phases 2 and 3: 0 is a phase that is not connected)
    power factor at most 1, angles within a turn, currents, powers and counters that exist       weakly for
    0 of these                                                                                   nothing
    a register that the meter refuses, or a number that cannot be                                against
    active power and voltage × current of a phase that contradict each other                     against

A float counts double: chance makes it right far more seldom. `Candidate` adds up; `wanted` names the register to ask
next and gives up a profile early, so that most cost one request. What this cannot do: tell apart two meters whose maps
are the same where they answer. Then both are offered, those that explain more registers first.
"""

from parkgate.reading import GOOD, NOT_CONFIGURED

from . import registers

AGAINST = -6
_STRONG, _WEAK = 3, 1
_VOLTS_MV = 80000, 500000
_LINE_VOLTS_MV = 130000, 900000  # between two phases
_HERTZ_MHZ = 45000, 65000
_CURRENT_MA_MAX = 10000000
_POWER_MW_MAX = 10**10  # 10 MW
_ENERGY_MWH_MAX = 10**15  # 1 TWh
_KEY = ("voltage", "frequency", "power_factor", "current", "active_power")


def weigh(channel, value, quality) -> int:
    """How much one register speaks for its profile (see above), below 0 against it. `channel` as profiles.Channel."""
    if quality == NOT_CONFIGURED:  # the meter says itself that it has no number there
        return 0
    if quality != GOOD:
        return AGAINST
    milli = registers.times_power_of_ten(value, 3 - channel.scale)
    name, unit = channel.quantity, channel.unit
    strong = _STRONG * 2 if registers.kind(channel.code) == registers.FLOAT else _STRONG
    weak = strong // _STRONG * _WEAK
    if unit == "V":
        low, high = _LINE_VOLTS_MV if name.count("_l") > 1 else _VOLTS_MV
        if low <= milli <= high:
            return strong
        return 0 if milli == 0 and name not in ("voltage", "voltage_l1") else AGAINST
    if unit == "Hz":
        return strong if _HERTZ_MHZ[0] <= milli <= _HERTZ_MHZ[1] else AGAINST
    if value == 0:
        return 0
    limit = {
        "A": _CURRENT_MA_MAX, "W": _POWER_MW_MAX, "var": _POWER_MW_MAX, "VA": _POWER_MW_MAX, "Wh": _ENERGY_MWH_MAX,
        "varh": _ENERGY_MWH_MAX, "VAh": _ENERGY_MWH_MAX, "deg": 360000, "%": 1000000,
    }.get(unit, 1000 if name.startswith("power_factor") else None)  # fmt: skip
    if limit is None:
        return 0
    if not -limit <= milli <= limit or (value < 0 and unit[-1] == "h" and name.startswith("import")):
        return AGAINST
    return weak


class Candidate:
    """One profile on trial. `rows` are all its Channel objects (profiles.check); those that other registers scale are
    left out, since one register says nothing of them."""

    def __init__(self, name: str, rows: list):
        self.name = name
        rows = [row for row in rows if row.alone]
        self.score = 0
        self.answered = self.contradictions = 0
        self.values = {}  # quantity → (value, scale, unit), good ones
        key = [row for row in rows if is_key(row.quantity)]
        self._waiting = key + [row for row in rows if not is_key(row.quantity)]
        self._key_left = len(key) or len(rows)
        self.total = len(rows)

    def wanted(self, key_only: bool):
        """The Channel to read next, None when there is nothing more to learn. `key_only`: what tells most."""
        if not self._waiting or self.score < 2 * AGAINST:
            return None
        if key_only and (self.contradictions > 1 or self._key_left < 1):
            return None
        return self._waiting[0]

    def take(self, data, refused: bool):
        """What the meter answered to a read of the wanted channel's registers: bytes, or None when it `refused` or was
        silent."""
        channel = self._waiting.pop(0)
        self._key_left -= 1
        weight = AGAINST
        if data is not None:
            value, quality = registers.decode(data, 0, channel.code, channel.exponent)
            self.answered += 1
            weight = weigh(channel, value, quality)
            if quality == GOOD:
                self.values[channel.quantity] = (value, channel.scale, channel.unit)
                if weight >= 0 and channel.quantity.startswith("active_power"):
                    weight = self._power(channel.quantity[len("active_power") :], weight)
        elif refused and self.score > 0 and not is_key(channel.quantity):
            weight = AGAINST // 2  # a smaller meter of the family
        self.score += weight
        if weight < 0:
            self.contradictions += 1

    def _power(self, phase, weight):
        """Real power is at most voltage × current (a tenth and 10 W of slack: the reads are not of one moment)."""
        milli = []
        for quantity in ("active_power", "voltage", "current"):
            found = self.values.get(quantity + phase)
            if found is None:
                return weight
            milli.append(abs(registers.times_power_of_ten(found[0], 3 - found[1])))
        power, volts, amperes = milli
        most = volts * amperes // 1000
        if phase == "" and "voltage_l1" in self.values:
            most *= 3
        if power > most + most // 10 + 10000:
            return AGAINST
        return weight + _STRONG if power > most // 10 and power > 10000 else weight

    @property
    def worth_it(self) -> bool:
        """Whether the rest of the registers should be read after the key ones."""
        return self.plausible or (self.score > 0 and not self.contradictions)

    @property
    def plausible(self) -> bool:
        """Whether more speaks for the profile than against it, and something strongly."""
        return self.score >= _STRONG and 2 * self.contradictions < self.answered


def is_key(quantity: str) -> bool:
    """Whether a quantity tells most of what a meter is."""
    return any([quantity == key or quantity.startswith(key + "_l") for key in _KEY])


def ranking(candidates: list) -> list:
    """The plausible ones, best first: by score, then by how much of the profile was answered."""
    found = [candidate for candidate in candidates if candidate.plausible]
    return sorted(found, key=lambda c: (-c.score, c.total - c.answered, c.name))
