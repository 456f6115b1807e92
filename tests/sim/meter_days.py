"""Days in the life of simulated meters, sound and faulty, for the check that their numbers agree (consistency).

A `Hall` has loads that come and go, motors and rectifiers (whose current is distorted), welders, an air conditioner
that cycles, perhaps a photovoltaic plant on one phase or three. A `Meter` in front of it rounds to the resolution of
its registers, measures current and power at slightly different moments, counts above its starting current only, brings
its energy up to date every few seconds, restarts, is exchanged, passes the end of its display. Everything is drawn
from one seed. A fault is planted by its name, see FAULTS; what it is to be called stands beside it.
"""

import cmath
import math
import random

from parkgate import quantities
from parkgate.meters.consistency import check
from parkgate.meters.consistency.compiling import build

PHASES = ("_l1", "_l2", "_l3")
PERIODS_S = (10, 30, 60, 300, 900)

# fault → (names of the checks that may find it, codes without the phase)
FAULTS = {
    "reversed CT": ("wiring", check.REVERSED),
    "swapped pair": ("wiring", check.SWAPPED),
    "current on the secondary side": ("power", check.TOO_HIGH),
    "power on the secondary side": ("power", check.TOO_LOW),
    "energy on the secondary side": ("energy and power", check.TOO_LOW),
    "decimals of energy": ("energy and power", check.TOO_HIGH),
    "sign of one phase": ("wiring", check.REVERSED),  # of a meter whose total is the sum of sizes: the same
    "frozen current": ("frozen current", check.FROZEN),
    "frozen power": ("frozen active_power", check.FROZEN),
    "frozen energy": ("energy and power", check.TOO_LOW),
    "voltage ratio": ("voltages between phases", check.IMPOSSIBLE),
}


class Hall:
    """`even`: three-phase loads only and enough of them, so that every fault can show."""

    def __init__(self, dice, phases, even):
        self.dice = dice
        self.phases = phases
        self.even = even
        self.volts = dice.choice((230, 230, 230, 120, 277))
        self.peak_a = 10 ** dice.uniform(0.7, 2.6) if not even else 10 ** dice.uniform(1.3, 2.6)
        share = 0.04 if even else dice.choice((0.05, 0.3, 0.9))
        self.share = [1 + share * dice.uniform(-1, 1) for _ in range(3)]
        self.angle = math.radians(dice.uniform(0, 40))
        self.rectifiers = 0 if dice.random() < 0.5 else dice.uniform(0, 1)
        self.level = 0.6 if even else dice.choice((0.0, 0.002, 0.02, 0.3, 0.7))
        self.work = self.level
        self.cycle_s = dice.choice((0, 0, 90, 600, 1800))
        self.welder = not even and dice.random() < 0.2
        self.sun = [0.0] * 3
        if not even and dice.random() < 0.25:
            one = dice.randrange(3)
            self.sun = [dice.uniform(0.2, 2) if n == one or dice.random() < 0.5 else 0 for n in range(3)]
        self.t = 0.0

    def step(self, dt):
        dice = self.dice
        self.t += dt
        pull = min(1, dt / 1800)
        least = 0.25 if self.even else 0
        target = self.level * (1 + 0.6 * math.sin(2 * math.pi * self.t / 86400))
        self.work += pull * (target - self.work) + self.level * dice.gauss(0, 0.5) * math.sqrt(pull)
        self.work = min(max(self.work, least), 1.2)
        if self.even:
            self.work = min(max(self.work, 0.3 + 0.25 * math.sin(self.t / 700)), 1.2)

    def now(self):
        """[(V, fundamental current as a complex number to its own voltage, distortion), …] of the phases."""
        dice = self.dice
        found = []
        cycling = self.cycle_s and (self.t % self.cycle_s) < self.cycle_s / 3
        weld = self.welder and dice.random() < 0.3
        daylight = max(0.0, math.sin(2 * math.pi * (self.t / 86400 - 0.25)))
        for n in range(3 if self.phases == 3 else 1):
            size = self.peak_a * self.work * self.share[n] * (1 + 0.02 * dice.gauss(0, 1))
            if cycling and not self.even:
                size += 0.1 * self.peak_a
            current = max(size, 0) * cmath.exp(-1j * self.angle)
            if weld and n == 0:
                current += self.peak_a * cmath.exp(-1j)
            current -= self.sun[n] * self.peak_a * daylight
            distortion = 1 + 0.6 * self.rectifiers * (1 if abs(current) < 0.5 * self.peak_a else 0.5)
            volts = self.volts * (1 + 0.01 * math.sin(self.t / 41 + 2 * n)) * (1 + 0.002 * dice.gauss(0, 1))
            if dice.random() < 0.0005:
                volts *= dice.uniform(0, 0.9)  # a dip
                current *= dice.uniform(0, 1)
            found.append((volts, current, distortion))
        return found


class Meter:
    """Registers of one meter as integers. `fault` is one of FAULTS or None."""

    def __init__(self, seed, fault=None):
        dice = self.dice = random.Random(seed)
        self.fault = fault
        self.phases = 3 if fault in ("reversed CT", "swapped pair", "sign of one phase", "voltage ratio") else (
            dice.choice((1, 3, 3))
        )  # fmt: skip
        self.hall = Hall(dice, self.phases, fault is not None)
        self.period_s = dice.choice((30, 60) if fault else PERIODS_S)
        self.ratio = dice.choice((1, 1, 10, 20, 40, 80))
        self.phase = dice.randrange(3 if self.phases == 3 else 1)
        names = ["frequency", "import_active_energy"]
        suffixes = PHASES if self.phases == 3 else ("",)
        whole = dice.random() < 0.6 or fault is not None
        for suffix in suffixes:
            names += ["voltage" + suffix, "current" + suffix]
            if whole or self.phases == 1:
                names += ["active_power" + suffix, "power_factor" + suffix]
                if dice.random() < 0.7:
                    names += ["apparent_power" + suffix, "reactive_power" + suffix]
        if self.phases == 3:
            names += ["active_power", "power_factor"]
            if dice.random() < 0.5 or fault == "voltage ratio":
                names += ["voltage_l1_l2", "voltage_l2_l3", "voltage_l3_l1"]
        if dice.random() < 0.6:
            names.append("export_active_energy")
        self.names = names
        self.channels, self.scales, self.steps = [], {}, {}
        for name in names:
            self._place(name)
        self.cosine_only = dice.random() < 0.3  # power factor is cos φ of the fundamental
        self.energy = {"import": dice.uniform(1e3, 9e6), "export": dice.uniform(0, 1e5)}
        self.display = 10 ** dice.choice((8, 9, 10))
        if not fault and dice.random() < 0.1:
            self.energy["import"] = self.display - dice.uniform(0, 2e4)
        self.start_w = 0.02 * self.hall.volts * self.ratio * dice.uniform(0.2, 1)
        self.shown = dict(self.energy)
        self.before = None
        self.frozen = {}
        self.away = 0
        self.k = dice.choice((10, 20, 40, 80, 100))

    def _place(self, name):
        dice, quantity = self.dice, quantities.find(name)
        unit, scale = quantity.unit, quantity.scale
        step = 1
        if not hasattr(self, "coarse"):
            self.coarse = dice.random() < 0.4 and self.fault is None
            self.places = {unit: dice.choice(offered) for unit, offered in (
                ("A", (1, 2, 3)), ("V", (0, 1)), ("W", (0, 1)), ("VA", (0, 1)), ("var", (0, 1)), ("1", (2, 3)),
                ("Wh", (-1, 0, 0)), ("Hz", (1, 2)),
            )}  # fmt: skip
        if self.coarse and unit in self.places:
            scale = self.places[unit]
            step = self.ratio if unit in ("A", "W", "VA", "var", "Wh") else 1
        self.channels.append((name, unit, scale, step))
        self.scales[name], self.steps[name] = scale, step

    def sample(self):
        """(values, qualities) after one more period."""
        dice, hall = self.dice, self.hall
        hall.step(self.period_s)
        now = hall.now()
        late = hall.now() if dice.random() < 0.2 else now  # currents of another moment than the powers
        found = {"frequency": 50 + 0.02 * dice.gauss(0, 1)}
        powers, reactives, sizes, truths = [], [], [], []
        order = list(range(len(now)))
        if self.fault == "swapped pair":
            a, b = [n for n in range(3) if n != self.phase]
            order[a], order[b] = b, a
        for n, (volts, _, _) in enumerate(now):
            _, current, distortion = now[order[n]]
            _, shown_current, shown_distortion = late[order[n]]
            turn = cmath.exp(-2j * math.pi / 3 * (order[n] - n))
            current = current * turn
            if self.fault == "reversed CT" and n == self.phase:
                current = -current
            s = volts * current.conjugate()
            size = volts * abs(current) * distortion
            truths.append(s.real)
            powers.append(s.real)
            reactives.append(s.imag)
            sizes.append(size)
            suffix = PHASES[n] if self.phases == 3 else ""
            amps = abs(shown_current) * shown_distortion
            if amps * 1000 < 0.02 * hall.peak_a:
                amps = 0
            found["voltage" + suffix] = volts
            found["current" + suffix] = amps
            found["active_power" + suffix] = s.real
            found["reactive_power" + suffix] = s.imag
            found["apparent_power" + suffix] = size
            fundamental = volts * abs(current)
            base = fundamental if self.cosine_only else size
            found["power_factor" + suffix] = s.real / base if base else 1
        total = sum(powers)
        if self.phases == 3:
            found["active_power"] = total
            whole = math.hypot(total, sum(reactives))
            found["power_factor"] = total / (whole or 1) if self.cosine_only else total / (sum(sizes) or 1)
            mean = sum(v for v, _, _ in now) / 3
            for name in ("voltage_l1_l2", "voltage_l2_l3", "voltage_l3_l1"):
                found[name] = mean * math.sqrt(3) * (1 + 0.003 * dice.gauss(0, 1))
        self._count(total)
        found["import_active_energy"], found["export_active_energy"] = self.shown["import"], self.shown["export"]
        self._plant(found)
        return self._rounded(found)

    def _count(self, total):
        mean = (total + self.before) / 2 if self.before is not None else total
        self.before = total
        if abs(mean) < self.start_w:
            mean = 0
        which = "import" if mean >= 0 else "export"
        self.energy[which] += abs(mean) * self.period_s / 3600
        if self.energy[which] >= self.display:
            self.energy[which] -= self.display
        if self.dice.random() < 0.9:  # else the register is not yet up to date
            self.shown = dict(self.energy)

    def _plant(self, found):
        fault, k = self.fault, self.k
        suffix = PHASES[self.phase] if self.phases == 3 else ""
        for name in list(found):
            if fault == "current on the secondary side" and name.startswith("current"):
                found[name] /= k
            if fault == "power on the secondary side" and name.split("_l")[0] in (
                "active_power", "reactive_power", "apparent_power",
            ):  # fmt: skip
                found[name] /= k
            if fault == "energy on the secondary side" and name.endswith("energy"):
                found[name] /= k
            if fault == "decimals of energy" and name.endswith("energy"):
                found[name] *= 10
            if fault == "voltage ratio" and name.startswith("voltage_l") and name.count("_l") == 2:
                found[name] *= 10
        if fault == "sign of one phase":
            found["active_power" + suffix] *= -1
        frozen = {"frozen current": "current" + suffix, "frozen power": "active_power" + suffix,
                  "frozen energy": "import_active_energy"}.get(fault or "")  # fmt: skip
        if frozen:
            found[frozen] = self.frozen.setdefault(frozen, found[frozen])

    def _rounded(self, found):
        dice = self.dice
        if not self.fault:
            if self.away:
                self.away -= 1
                return [None] * len(self.names), bytearray([8] * len(self.names))
            if dice.random() < 0.001:
                self.away = dice.randrange(1, 10)
            if dice.random() < 0.0002:  # exchanged
                self.energy = {"import": dice.uniform(0, 9e6), "export": 0.0}
                self.shown = dict(self.energy)
        values = []
        for name, _, scale, step in self.channels:
            value = round(found[name] * 10.0**scale / step) * step
            values.append(value)
        return values, bytearray(len(values))


def rightly_named(fault, events):
    """Whether one of the events is the one that this fault should bring."""
    name, code = FAULTS[fault]
    exact = code in (check.TOO_HIGH, check.TOO_LOW, check.FROZEN, check.IMPOSSIBLE)
    for said, what, told, *_ in events:
        if what == check.BEGINS and said.startswith(name) and (told == code if exact else code < told < code + 8):
            return True
    return False


def live(seed, fault, samples):
    """The events [(check, what, code, stated, expected, scale), …] of one meter's life."""
    meter = Meter(seed, fault)
    events = []
    consistency = build("m", meter.channels, lambda _name, *event: events.append(event), meter.phases == 1)
    if consistency is None:
        return events, meter
    for n in range(samples):
        values, qualities = meter.sample()
        consistency.judge(values, qualities, n * meter.period_s * 1000)
    return events, meter
