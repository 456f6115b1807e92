"""Do the numbers of one meter agree with each other? An edge check of every sample.

What is measured twice is compared: power with voltage × current × power factor, the sum of the phases with the total,
apparent power with active and reactive power, the growth of energy with the integral of power, the registers of a phase
with their own past. `compiling.build` makes the checks that a meter's channels allow, none where there are none.

A check is (look, channels, numbers, memory, patience, name, scale):

    look(values, now_s, channels, numbers, memory)   0 agrees, a code when not, None when it cannot tell (light load,
                                                     a value missing); what it compared stands in memory[0:2] then
    channels     places of the values in the sample     numbers     multipliers and resolutions, in steps
    memory       a list of its own                      patience    (samples, seconds) that a disagreement must last
    name         what it is about                       scale       decimals of memory[0:2]

Tolerances come from the resolution of the registers (±1 step of each factor; where they add up to more than a sixth
of the result the load is too light to tell), from reads that are not simultaneous, and from what meters may call power
factor: with a distorted current cos φ is up to twice P / S. So a disagreement is more than +25 % or less than half,
says the same thing in every sample, and lasts. Nothing is concluded from one sample.

While a check disagrees, its channels have the quality INCONSISTENT, with their values; beginning and end are events.
Cost a sample, as counted: 19 multiplications for a single-phase meter (5 checks), 25 for a usual three-phase one (6),
129 for one with every channel (23). The rules are in SPEC 11.11.
"""

from parkgate.reading import GOOD, INCONSISTENT, SECONDARY_SIDE, has_value

BEGINS, ENDS = 1, 2
MISSING = 1 << 60  # a value that was not read

# Codes of a disagreement; the phase (1 to 3, or a mask of them) is added where one is to blame.
TOO_HIGH, TOO_LOW = 1, 2  # power against V·A·PF, energy against power
SIGN, LEFT_OUT, SUM = 10, 20, 30  # phases against the total
REVERSED, SWAPPED = 40, 50  # mask of phases; the phase that is right
FROZEN = 60
IMPOSSIBLE = 70  # a frequency, a ratio of voltages, P > S
OTHER_WAY = 80  # import and export

_GAP_S = 90  # power between two samples further apart is not known
_WINDOW_S, _WINDOW_SAMPLES, _WINDOW_STEPS = 600, 60, 50
_WINDOWS = 3
_POSITIVE_S = 172800  # a phase that imported within two days is not connected the wrong way round


def look_power(values, _now_s, channels, numbers, memory):
    """|P| against Σ V·A (· PF, or · 1 for apparent power). channels: power, power factor or -1, then voltage and
    current of each phase. numbers: (multiplier of V·A·PF, of P, steps of P, PF, V, A; one of PF, most, least): P may be
    `most`/4 to `least`/4 of what is expected."""
    times, times_p, step_p, step_f, step_v, step_i, one, most, least = numbers
    power = values[channels[0]]
    if power == MISSING:
        return None
    expected = room = largest = 0
    smallest = MISSING
    for at in range(2, len(channels), 2):
        v, i = values[channels[at]], values[channels[at + 1]]
        if v == MISSING or i == MISSING:
            return None
        i = abs(i)
        size = v * i
        expected += size
        largest, smallest = max(largest, size), min(smallest, size)
        room += v * step_i + i * step_v
    if channels[1] >= 0:
        factor = abs(values[channels[1]])
        if factor > one or 4 * factor < one:  # missing, a coding of its own, or too small to tell
            return None
        room = room * factor + expected * step_f
        expected *= factor
    power = abs(power) * times_p
    expected *= times
    room = room * times + step_p * times_p
    if not expected or 6 * room > max(power, expected):
        return None  # many meters show no current below their starting current, but power
    memory[0], memory[1] = power, expected
    if 4 * (power - room) > most * expected:
        return TOO_HIGH
    if 4 * (power + room) < least * expected:
        # Where one phase exports what another imports, the total is small and nothing is wrong.
        return TOO_LOW if 4 * largest <= 5 * smallest else None
    return 0


def look_sum(values, _now_s, channels, numbers, memory):
    """The sum of the phases against the total: channels: total, three phases. numbers: steps of total and phases."""
    total = values[channels[0]]
    phases = [values[at] for at in channels[1:]]
    if total == MISSING or MISSING in phases:
        return None
    added = sum(phases)
    size = sum([abs(phase) for phase in phases])
    room = numbers[0] + 3 * numbers[1]
    if max(size, abs(total)) < 20 * room:
        return None
    room += size // 5
    memory[0], memory[1] = total, added
    if abs(added - total) <= room or abs(size - abs(total)) <= room:
        return 0
    for n in range(3):
        if abs(added - 2 * phases[n] - total) <= room:
            return SIGN + n + 1
    for n in range(3):
        if abs(added - phases[n] - total) <= room:
            return LEFT_OUT + n + 1
    return SUM


def look_apparent(values, _now_s, channels, numbers, memory):
    """|P|, and P² + Q² where there is Q, is not above S. channels: P, Q or -1, S. numbers: multipliers of P and Q, of
    S, and the largest step."""
    active, apparent = values[channels[0]], values[channels[2]]
    reactive = values[channels[1]] if channels[1] >= 0 else 0
    if MISSING in (active, apparent, reactive):
        return None
    times, times_s, step = numbers
    active, reactive, apparent = abs(active) * times, abs(reactive) * times, abs(apparent) * times_s
    most = active if active > reactive else reactive
    if max(most, apparent) < 40 * step:
        return None
    apparent += 2 * step
    memory[0], memory[1] = most, apparent
    return IMPOSSIBLE if 4 * (active * active + reactive * reactive) > 6 * apparent * apparent else 0


def look_energy(values, now_s, channels, numbers, memory):
    """Growth of the counters against the integral of |P|, over windows of at least ten minutes and 50 steps.

    channels: P, then the counters (import or absolute, export or -1). numbers: (steps of energy × `per` are steps of
    P × s; step of the counters, least mean power of a window, step of P). memory: stated, expected, last P, its time,
    energy and export at the beginning, its time, samples, integral, windows in a row, code of these, all positive."""
    per, step, least, step_p = numbers
    power, energy = values[channels[0]], values[channels[1]]
    export = values[channels[2]] if channels[2] >= 0 else 0
    if MISSING in (power, energy, export):
        return None
    last, last_s = memory[2], memory[3]
    memory[2], memory[3] = power, now_s
    grown, exported = energy - memory[4], export - memory[5]
    alone = channels[2] == -1 and power < 0  # nobody says which counter exported energy goes to
    if memory[6] < 0 or now_s - last_s > _GAP_S or grown < 0 or exported < 0 or alone:
        memory[4:9] = [energy, export, -1 if alone else now_s, 0, 0]
        memory[11] = 1
        return None
    memory[7] += 1
    memory[8] += (abs(last) + abs(power)) * (now_s - last_s)
    if power <= 0:
        memory[11] = 0
    lasts_s = now_s - memory[6]
    if lasts_s < _WINDOW_S or memory[7] < _WINDOW_SAMPLES:
        return None
    expected, stated = memory[8] >> 1, (grown + exported) * per
    enough = _WINDOW_STEPS * step * per
    if expected < enough and stated < enough:
        return None
    room = 3 * step * per + step_p * lasts_s
    code = 0
    if 2 * (stated - room) > 5 * (expected + room):
        code = TOO_HIGH
    elif expected >= least * lasts_s and 5 * (stated + room) < 2 * (expected - room):
        code = TOO_LOW
    elif memory[11] and exported > 20 * step and exported > 4 * grown:
        code = OTHER_WAY
    memory[0], memory[1] = stated // per, expected // per
    memory[9] = memory[9] + 1 if code == memory[10] else 1
    memory[10] = code
    memory[4:9] = [energy, export, now_s, 0, 0]
    memory[11] = 1
    return code if not code or memory[9] >= _WINDOWS else None


def look_frozen(values, now_s, channels, numbers, memory):
    """A register that stands still, to the last digit, while its neighbour moves. channels: it, its neighbour.
    numbers: (least value, least value of the neighbour, samples, seconds, moves by 1/n, the same where the value is ten
    times the least and its last digit is therefore fine). memory: value, how far the neighbour was, then value,
    samples, since, neighbour's first value, samples near it and far from it. Some of both are wanted: a dip that one
    sample has met is no movement."""
    value, other = values[channels[0]], values[channels[1]]
    least, least_other, samples, seconds, part, fine = numbers
    if MISSING in (value, other):
        return None
    other = abs(other)
    if value != memory[2]:
        was = memory[2]
        memory[2:8] = [value, 0, now_s, other, 0, 0]
        return 0 if was != MISSING else None
    memory[3] += 1
    first = memory[5]
    moved = other - first if other > first else first - other
    if moved * (fine if abs(value) >= 10 * least else part) > (other if other > first else first):
        memory[7] += 1
        memory[1] = moved
    else:
        memory[6] += 1
    if abs(value) < least or (other < least_other and first < least_other):
        return None
    if memory[3] < samples or now_s - memory[4] < seconds:
        return None
    memory[0] = value
    return FROZEN if memory[6] >= 8 and memory[7] >= 8 else None


def look_wiring(values, now_s, channels, numbers, memory):
    """How power stands to voltage × current on three evenly loaded phases: one the other way round (its current
    transformer is reversed), or the pattern cos φ, cos (φ + 120°), cos (φ - 120°) of a swapped pair, for which Σ = 0
    and Σ of squares = 3/2 whatever φ is (less where the current is distorted). channels: voltage, current, power of
    each phase. numbers: (multiplier of V·A, of P, least V·A). memory: two numbers, then when each phase last
    imported."""
    times, times_p, least = numbers
    sizes, cosines = [], []
    for at in range(0, 9, 3):
        v, i, p = values[channels[at]], values[channels[at + 1]], values[channels[at + 2]]
        if v == MISSING or i == MISSING or p == MISSING:
            return None
        size = v * abs(i) * times
        if size < least:
            return None
        sizes.append(size)
        cosines.append(p * times_p * 1000 // size)
    for n in range(3):
        if cosines[n] > 300:
            memory[2 + n] = now_s
    if 4 * max(sizes) > 5 * min(sizes):
        return None
    return wiring(cosines, [now_s - memory[2 + n] < _POSITIVE_S for n in range(3)], memory)


def wiring(cosines, positive, memory):
    """Code of three cosines × 1000 on even phases; `positive`: phases that have imported lately."""
    squares = sum([cosine * cosine for cosine in cosines]) // 1000
    memory[0], memory[1] = sum(cosines), squares
    if abs(memory[0]) < 150 and 580 < squares < 1700:
        right = cosines.index(max(cosines))
        return SWAPPED + right + 1
    sizes = [abs(cosine) for cosine in cosines]
    mask = 0
    for n in range(3):
        if cosines[n] < 0:
            if positive[n]:
                return 0
            mask |= 1 << n
    if mask in (0, 7):
        return 0
    return REVERSED + mask if min(sizes) > 300 and max(sizes) - min(sizes) < 150 else None


def look_range(values, _now_s, channels, numbers, memory):
    """A value other than 0 lies within its limits: the frequency."""
    value = values[channels[0]]
    if value in (MISSING, 0):
        return None
    memory[0], memory[1] = value, numbers[0]
    return 0 if numbers[0] <= value <= numbers[1] else IMPOSSIBLE


def look_line_voltage(values, _now_s, channels, numbers, memory):
    """Voltages between phases are 1.5 to 2.1 times those to neutral, where these are even. channels: three to neutral,
    three between phases. numbers: multipliers of both, least voltage to neutral."""
    found = [values[at] for at in channels]
    if MISSING in found or min(found[:3]) < numbers[2] or 10 * max(found[:3]) > 11 * min(found[:3]):
        return None
    neutral, between = sum(found[:3]) * numbers[0], sum(found[3:]) * numbers[1]
    memory[0], memory[1] = between // 3, neutral // 3
    return 0 if 15 * neutral < 10 * between < 21 * neutral else IMPOSSIBLE


class Consistency:
    """The checks of one meter, as above. `flagged` are for each the channels that get the quality; `note(name, check,
    what, code, stated, expected, scale)` makes an event durable."""

    def __init__(self, name, checks, flagged, note):
        self._name = name
        self._checks = checks
        self._flagged = flagged
        self._note = note
        # For each: a code, how many samples in a row gave it and since when, and the code that holds.
        self._bad = [[0, 0, 0, 0] for _ in checks]
        self._values = None

    def judge(self, values, qualities, now_ms):
        """Flag in `qualities` what disagrees, one sample after another."""
        now_s = now_ms // 1000
        if self._values is None:
            self._values = list(values)
        seen = self._values
        for i in range(len(values)):
            good = qualities[i] == GOOD or qualities[i] == SECONDARY_SIDE
            seen[i] = values[i] if good else MISSING
        for n in range(len(self._checks)):
            look, channels, numbers, memory, patience, name, scale = self._checks[n]
            code = look(seen, now_s, channels, numbers, memory)
            state = self._bad[n]
            if code is None:
                # Rare moments in which a load is switched, with nothing between them, must not add up.
                state[1] -= state[1] > 0
            elif self._lasts(state, code, now_s, patience):
                state[3] = code
                self._note(self._name, name, BEGINS if code else ENDS, code, memory[0], memory[1], scale)
            if state[3]:
                for at in self._flagged[n]:
                    if qualities[at] == GOOD or qualities[at] == SECONDARY_SIDE:
                        qualities[at] = INCONSISTENT

    def holds(self):
        """[(name of the check, code, stated, expected, scale), …] of what disagrees now."""
        return [
            (check[5], state[3], check[3][0], check[3][1], check[6])
            for check, state in zip(self._checks, self._bad)
            if state[3]
        ]

    def at_once(self, values, qualities, now_ms):
        """The same for this one sample, without any patience: for a person who knows what he looks at."""
        seen = [values[i] if qualities is None or has_value(qualities[i]) else MISSING for i in range(len(values))]
        found = []
        for look, channels, numbers, memory, _, name, scale in self._checks:
            code = look(seen, now_ms // 1000, channels, numbers, memory)
            if code:
                found.append((name, code, memory[0], memory[1], scale))
        return found

    @staticmethod
    def _lasts(state, code, now_s, patience):
        """Whether `code` has now lasted long enough to take the place of the one that holds."""
        if code == state[3]:
            state[1] = 0
            return False
        if code != state[0] or not state[1]:
            state[0], state[1], state[2] = code, 0, now_s
        state[1] += 1
        if state[1] < patience[0] or now_s - state[2] < patience[1]:
            return False
        state[1] = 0
        return True
