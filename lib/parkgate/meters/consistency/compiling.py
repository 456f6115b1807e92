"""From a meter's channels to the checks they allow. Needed at the start only."""

from parkgate.meters import registers

from . import check

_PATIENCE = (8, 60)  # samples, seconds
_PATIENCE_WIRING = (30, 1800)
_PATIENCE_WINDOW = (1, 0)  # windows of energy have a patience of their own
_PHASES = ("_l1", "_l2", "_l3")

# What a meter shows may be coarser than its register, above all where that is a float: least steps, by unit, as
# (value, decimals). Currents below the starting current read 0 or anything.
_COARSE = {"A": (1, 2), "V": (1, 1), "W": (1, 0), "VA": (1, 0), "var": (1, 0), "1": (1, 2), "Wh": (10, 0), "Hz": (1, 1)}
_LEAST_W = 200  # mean power below which a meter need not count


class _Channels:
    """`channels`: (quantity, unit, scale, step) each, step in units of 10^-scale."""

    def __init__(self, channels):
        self._found = {}
        for i in range(len(channels)):
            name, unit, scale, step = channels[i]
            value, decimals = _COARSE.get(unit, (1, scale))
            coarse = value * 10 ** (scale - decimals) if scale >= decimals else 1
            self._found[name] = (i, scale, max(step, coarse))

    def get(self, *names):
        """[(place, scale, step), …] of all of them, None when one is missing."""
        found = [self._found.get(name) for name in names]
        return None if None in found else found


def _even(*rows):
    """Whether the scales of all are the same; they are compared without another multiplication."""
    return all([row[1] == rows[0][1] for row in rows])


def _power(name, row, factor, pairs, most, least):
    """A check of power `row` against Σ V·A of `pairs`, × PF where there is `factor`."""
    voltages, currents = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    if not _even(*voltages) or not _even(*currents):
        return None
    scale = voltages[0][1] + currents[0][1] + (factor[1] if factor else 0)
    times, times_p = 10 ** max(0, row[1] - scale), 10 ** max(0, scale - row[1])
    if factor and factor[1] < 2:
        return None
    one = 10 ** factor[1] if factor else 1
    numbers = (
        times, times_p, row[2], factor[2] if factor else 0, max([v[2] for v in voltages]),
        max([i[2] for i in currents]), one + one // 100, most, least,
    )  # fmt: skip
    places = [row[0], factor[0] if factor else -1]
    for voltage, current in pairs:
        places += [voltage[0], current[0]]
    flagged = [row[0]] + [current[0] for _, current in pairs] + ([factor[0]] if factor else [])
    return (check.look_power, tuple(places), numbers, [0, 0], _PATIENCE, name, max(row[1], scale)), flagged


def _powers(found, made, single):
    """Power of each phase, or of the whole where phases have none."""
    phases = 0
    pairs = []
    for suffix in ("",) + _PHASES:
        pair = found.get("voltage" + suffix, "current" + suffix)
        if not pair:
            continue
        if suffix:
            pairs.append(pair)
        power, factor = found.get("active_power" + suffix), found.get("power_factor" + suffix)
        apparent = found.get("apparent_power" + suffix)
        # "voltage" and "current" of a three-phase meter: means, sums or between phases, so 1, √3 or 3 times.
        most = 5 if suffix or single else 16
        if power:
            if factor:
                made.append(_power("power" + suffix, power[0], factor[0], [pair], most, 2))
            else:
                made.append(_power("power" + suffix, power[0], None, [pair], most, 0))
            phases += suffix != ""
        if apparent:
            made.append(_power("apparent power" + suffix, apparent[0], None, [pair], most, 2))
    total, factor = found.get("active_power"), found.get("power_factor")
    if total and len(pairs) == 3 and not phases:
        made.append(_power("power", total[0], factor[0] if factor else None, pairs, 5, 1 if factor else 0))


def _sums(found, made):
    rows = found.get("active_power", *["active_power" + suffix for suffix in _PHASES])
    if rows and _even(*rows):
        numbers = (rows[0][2], max([row[2] for row in rows[1:]]))
        places = tuple([row[0] for row in rows])
        looked = (check.look_sum, places, numbers, [0, 0], _PATIENCE, "sum of the phases", rows[0][1])
        made.append((looked, list(places)))


def _apparents(found, made):
    for suffix in ("",) + _PHASES:
        rows = found.get("active_power" + suffix, "apparent_power" + suffix)
        if not rows:
            continue
        active, apparent = rows
        reactive = found.get("reactive_power" + suffix) if suffix else None
        if reactive and not _even(active, reactive[0]):
            reactive = None
        scale = max(active[1], apparent[1])
        times, times_s = 10 ** (scale - active[1]), 10 ** (scale - apparent[1])
        step = max(active[2] * times, apparent[2] * times_s, reactive[0][2] * times if reactive else 0)
        places = (active[0], reactive[0][0] if reactive else -1, apparent[0])
        name = "active and apparent power" + suffix
        looked = (check.look_apparent, places, (times, times_s, step), [0, 0], _PATIENCE, name, scale)
        made.append((looked, [place for place in places if place >= 0]))


def _energy(found, made):
    power = found.get("active_power")
    counters = found.get("import_active_energy", "export_active_energy") or found.get("import_active_energy")
    absolute = found.get("absolute_active_energy")
    if absolute:
        counters = absolute
    if not power or not counters or not _even(*counters):
        return
    power = power[0]
    # steps of energy × per = steps of P × s; in steps of 10^-9 of both where energy is the finer one
    up = power[1] - counters[0][1]
    if up < -3:
        return
    per = 3600 * 10**up if up >= 0 else 3600 // 10**-up
    if not per or (up < 0 and 3600 % 10**-up):
        return
    least = _LEAST_W * 10 ** power[1] if power[1] >= 0 else -(-_LEAST_W // 10 ** -power[1])
    export = counters[1][0] if len(counters) > 1 else (-2 if absolute else -1)
    places = (power[0], counters[0][0], export)
    numbers = (per, max([row[2] for row in counters]), max(least, 20 * power[2]), power[2])
    memory = [0, 0, 0, 0, 0, 0, -1, 0, 0, 0, 0, 1]
    looked = (check.look_energy, places, numbers, memory, _PATIENCE_WINDOW, "energy and power", counters[0][1])
    made.append((looked, [place for place in places if place >= 0]))


def _frozen(found, made, name, other, samples, seconds, part, fine):
    rows = found.get(name, other)
    if rows:
        numbers = (20 * rows[0][2], 20 * rows[1][2], samples, seconds, part, fine)
        memory = [0, 0, check.MISSING, 0, 0, 0, 0, 0]
        places = (rows[0][0], rows[1][0])
        looked = (check.look_frozen, places, numbers, memory, _PATIENCE_WINDOW, "frozen " + name, rows[0][1])
        made.append((looked, [rows[0][0]]))


def _wiring(found, made):
    rows = []
    for suffix in _PHASES:
        row = found.get("voltage" + suffix, "current" + suffix, "active_power" + suffix)
        if not row:
            return
        rows.append(row)
    if not all([_even(*[row[n] for row in rows]) for n in range(3)]):
        return
    voltage, current, power = rows[0]
    scale = voltage[1] + current[1]
    times, times_p = 10 ** max(0, power[1] - scale), 10 ** max(0, scale - power[1])
    least = 40 * power[2] * times_p
    places = []
    for row in rows:
        places += [part[0] for part in row]
    memory = [0, 0] + [-10 * check._POSITIVE_S] * 3
    looked = (check.look_wiring, tuple(places), (times, times_p, least), memory, _PATIENCE_WIRING, "wiring", 3)
    made.append((looked, [row[2][0] for row in rows]))


def _limits(found, made):
    rows = found.get("frequency")
    if rows and rows[0][1] >= 0:
        one = 10 ** rows[0][1]
        looked = (check.look_range, (rows[0][0],), (40 * one, 70 * one), [0, 0], _PATIENCE, "frequency", rows[0][1])
        made.append((looked, [rows[0][0]]))
    names = ["voltage" + suffix for suffix in _PHASES] + ["voltage_l1_l2", "voltage_l2_l3", "voltage_l3_l1"]
    rows = found.get(*names)
    if rows and _even(*rows[:3]) and _even(*rows[3:]):
        scale = max(rows[0][1], rows[3][1])
        numbers = (10 ** (scale - rows[0][1]), 10 ** (scale - rows[3][1]), 50 * 10 ** max(0, rows[0][1]))
        places = tuple([row[0] for row in rows])
        looked = (check.look_line_voltage, places, numbers, [0, 0], _PATIENCE, "voltages between phases", scale)
        made.append((looked, list(places[3:])))


def rows(channels):
    """(quantity, unit, scale, step) of a profile's channels; a float's register has no step of its own."""
    return [(c.quantity, c.unit, c.scale, 1 if registers.kind(c.code) == registers.FLOAT else c.step) for c in channels]


def build(name, channels, note, single=False):
    """The Consistency of a meter whose channels are (quantity, unit, scale, step) each, None when nothing is measured
    twice. `note` as Consistency wants it; `single`: the meter has one phase, so its values without one are those."""
    found = _Channels(channels)
    made = []
    _powers(found, made, single)
    _sums(found, made)
    _apparents(found, made)
    _energy(found, made)
    for suffix in ("",) + _PHASES:
        _frozen(found, made, "current" + suffix, "active_power" + suffix, 30, 300, 3, 6)
        _frozen(found, made, "active_power" + suffix, "current" + suffix, 30, 300, 3, 6)
    for n in range(3):
        _frozen(found, made, "voltage" + _PHASES[n], "voltage" + _PHASES[(n + 1) % 3], 200, 1800, 30, 30)
    _wiring(found, made)
    _limits(found, made)
    made = [item for item in made if item]
    if not made:
        return None
    return check.Consistency(name, [item[0] for item in made], [tuple(item[1]) for item in made], note)
