"""What some registers need besides a decimal scale, applied when a sample is complete. Loaded only with a profile that
has such rows.

    reading = (contents × 10^-decimals + plus) × factor × times / divided_by × 10^power × ratio + offset

`plus`, `times`, `divided_by`, `power` and the ratio may stand in other registers of the meter (auxiliaries). All is one
fraction of whole numbers, rounded once, halves away from zero. If one register of it is missing there is no value, with
that register's quality: a power with an unknown scale is no power.
"""

from parkgate.meters import registers
from parkgate.reading import GOOD, NOT_CONFIGURED, SENSOR_FAULT

CT, VT = 1, 2  # bits of Rule.ratio: transformer ratios that are read from registers
_RATIO_MAX = 10000  # more no transformer has: 50 kA to 5 A, 765 kV to 100 V
RATIOS = (("ct", CT), ("vt", VT))
POWER_MAX = 10  # SunSpec: a scale factor is -10 to 10
NO_CODING, PF, QUADRANT = 0, 1, 2


class Rule:
    """How one entry of a plan becomes a number. Places are those of plan.entries.

    patterns: numbers and (first, last) pairs that mean "not available"; first_bit, bits: the part of the contents that
    counts (0 bits: all); decimals; coding; plus: place or None; numerator / denominator: all constant factors;
    times, divided_by: places; powers: (place, sign) pairs; offset: (numerator, denominator) or None; ratio: CT, VT;
    numbers: contents → number, for auxiliaries; absent: number of an auxiliary that the meter does not have;
    rollover: contents at which a counter begins again, or None; counts: whether it is a counter; multiple: its fixed
    transformer ratio, as Channel.multiple."""

    __slots__ = (
        "absent", "bits", "coding", "counts", "decimals", "denominator", "divided_by", "first_bit", "multiple",
        "numbers", "numerator", "offset", "patterns", "plus", "powers", "ratio", "rollover", "times",
    )  # fmt: skip

    def __init__(self):
        self.patterns = self.times = self.divided_by = self.powers = ()
        self.first_bit = self.bits = self.decimals = self.ratio = 0
        self.coding = NO_CODING
        self.counts, self.multiple = False, None
        self.numerator = self.denominator = 1
        self.plus = self.absent = self.rollover = None
        self.offset: "tuple | None" = None
        self.numbers: "dict | None" = None

    def depends(self):
        """Whether other registers are needed."""
        return bool(self.plus is not None or self.times or self.divided_by or self.powers or self.ratio)


class Rules:
    """The rules of a plan. `by_place`: place → Rule; `channels`: places from here on are auxiliaries; `ratios`: name →
    (place or whole number, place or whole number) of a ratio's two sides."""

    def __init__(self, by_place: dict, channels: int, ratios: dict):
        self.by_place = by_place
        self.channels = channels
        self.sources = ratios
        self.absent = []  # places that the meter refused
        self.ratios = {}  # name → (numerator, denominator) of the last sample
        self.ends = {}  # place → (value at which a counter begins again or None, its step, its transformer ratio), by
        # the registers that were read last

    def number(self, place: int, contents: int, kind: int, bits: int, ends: int):
        """(numerator, denominator) of an entry's contents, or (quality, 0) where they say that there is none."""
        rule = self.by_place[place]
        for pattern in rule.patterns:
            if contents == pattern or (type(pattern) is tuple and pattern[0] <= contents <= pattern[1]):
                return NOT_CONFIGURED, 0
        if rule.bits:
            if ends and contents == (1 << bits) - 1:
                return NOT_CONFIGURED, 0
            contents = contents >> rule.first_bit & ((1 << rule.bits) - 1)
            bits, ends = rule.bits, 0
        return registers.number(contents, kind, bits, ends)

    def finish(self, values: list, qualities):
        """(values, qualities) of the channels, from what was read of all entries."""
        channels = self.channels
        for place in self.by_place:
            if place >= channels:
                self._auxiliary(place, values, qualities)
        self.ratios.clear()
        lost = {}
        for name, bit in RATIOS:
            if name in self.sources:
                ratio = self._ratio(self.sources[name], values, qualities)
                if ratio[1]:
                    self.ratios[name] = ratio
                else:
                    lost[bit] = ratio[0]
        for place in self.by_place:
            if place < channels and qualities[place] == GOOD:
                values[place], qualities[place] = self._value(place, values, qualities, lost)
        return values[:channels], qualities[:channels]

    def _auxiliary(self, place, values, qualities):
        rule = self.by_place[place]
        if qualities[place] == GOOD:
            n, d = values[place]
            if rule.numbers is not None:
                n = rule.numbers.get(n) if d == 1 else None
                if n is None:
                    qualities[place] = SENSOR_FAULT
            if n is not None:
                values[place] = _shifted(n * rule.numerator, d * rule.denominator, -rule.decimals)
        if rule.absent is not None and (place in self.absent or (qualities[place] == GOOD and values[place][0] == 0)):
            values[place], qualities[place] = (rule.absent, 1), GOOD

    def _ratio(self, sides, values, qualities):
        """(numerator, denominator) of a ratio of two sides; (quality, 0) when one cannot be."""
        found = []
        for kind, what in sides:
            if kind:  # a whole number
                found.append((what, 1))
            elif qualities[what] != GOOD:
                return qualities[what], 0
            elif values[what][0] <= 0:
                return SENSOR_FAULT, 0
            else:
                found.append(values[what])
        n, d = reduced(found[0][0] * found[1][1], found[0][1] * found[1][0])
        return (n, d) if n <= _RATIO_MAX * d else (SENSOR_FAULT, 0)

    def _value(self, place, values, qualities, lost):
        rule = self.by_place[place]
        for other in self._needed(rule):
            if qualities[other] != GOOD:
                return None, qualities[other]
        for bit in lost:
            if rule.ratio & bit:
                return None, lost[bit]
        n, d = _shifted(values[place][0], values[place][1], -rule.decimals)
        if rule.coding:
            n = four_quadrants(n, d, rule.coding)
            if n is None:
                return None, SENSOR_FAULT
            if rule.coding == QUADRANT:
                d = 1
        if rule.plus is not None:
            plus = values[rule.plus]
            n, d = n * plus[1] + plus[0] * d, d * plus[1]
        factor = self._factor(rule, values)
        if factor is None:
            return None, SENSOR_FAULT
        if rule.counts:
            step = _shifted(factor[0], factor[1], -rule.decimals)
            end = None if rule.rollover is None else registers.divide_rounded(rule.rollover * step[0], step[1])
            self.ends[place] = end, max(1, registers.divide_rounded(step[0], step[1])), self._multiple(rule)
        n, d = n * factor[0], d * factor[1]
        if rule.offset is not None:
            n, d = n * rule.offset[1] + rule.offset[0] * d, d * rule.offset[1]
        return registers.scaled(n, d, 0)

    def _multiple(self, rule):
        """All transformer ratios that a value is multiplied by, as one."""
        n, d = rule.multiple
        for name, bit in RATIOS:
            if rule.ratio & bit:
                n, d = n * self.ratios[name][0], d * self.ratios[name][1]
        return reduced(n, d)

    def _needed(self, rule):
        places = list(rule.times) + list(rule.divided_by) + [place for place, _ in rule.powers]
        return places if rule.plus is None else [rule.plus] + places

    def _factor(self, rule, values):
        """What the contents are multiplied by, as (numerator, denominator > 0); None when it cannot be."""
        n, d = rule.numerator, rule.denominator
        for place in rule.times:
            n, d = n * values[place][0], d * values[place][1]
        for place in rule.divided_by:
            n, d = n * values[place][1], d * values[place][0]
        for name, bit in RATIOS:
            if rule.ratio & bit:
                n, d = n * self.ratios[name][0], d * self.ratios[name][1]
        for place, sign in rule.powers:
            power, parts = values[place]
            if power % parts or not -POWER_MAX <= power // parts <= POWER_MAX:
                return None
            n, d = _shifted(n, d, sign * (power // parts))
        if n == 0 or d == 0:
            return None
        return (-n, -d) if d < 0 else (n, d)


def _shifted(numerator, denominator, exponent):
    """A fraction × 10^exponent."""
    if exponent >= 0:
        return numerator * 10**exponent, denominator
    return numerator, denominator * 10**-exponent


def reduced(numerator, denominator):
    """The same fraction (both > 0) in its lowest terms."""
    a, b = numerator, denominator
    while b:
        a, b = b, a % b
    return numerator // a, denominator // a


def four_quadrants(numerator, denominator, coding):
    """Schneider's power factor of -2 to 2: the new numerator over the same denominator, or the quadrant 1 to 4; None
    beyond 2.

    0 to 1 is quadrant 1 (import, lagging), -1 to 0 is 2 (export, leading), -2 to -1 is 3 (export, lagging), 1 to 2 is 4
    (import, leading); beyond 1 the size is 2 less the size. The sign that stays is that of the active power."""
    size = -numerator if numerator < 0 else numerator
    if size > 2 * denominator:
        return None
    if coding == QUADRANT:
        if size > denominator:
            return 3 if numerator < 0 else 4
        return 2 if numerator < 0 else 1
    if size > denominator:
        size = 2 * denominator - size
    return -size if numerator < 0 else size
