"""A recorded load, and what an ideal meter in front of it would show at any moment.

A curve is a CSV file with one row an interval: energy (`kwh`), reactive energy (`kvarh_lag`, `kvarh_lead`) or
power (`kw` or `power_w`); other files name their column. It is replayed at `row_s` seconds a row, from its
beginning again when it ends. Power is drawn as a straight line from row to row, and energy is the integral of
just this power over the time that passes at the meter: a gateway that polls faster or slower sees registers
that agree with each other.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from parkgate.errors import SettingsError

DEFAULT_CURVE = Path(__file__).with_name("load_curve.csv")
_PHASE_SHARES = (0.36, 0.33, 0.31)
_NOMINAL_V = 230.0
_POWER_COLUMNS: dict[str, Callable[[float, float], float]] = {
    "kwh": lambda value, interval_s: value * 3.6e6 / interval_s,
    "kw": lambda value, interval_s: value * 1000,
    "power_w": lambda value, interval_s: value,
}


class LoadCurve:
    """Active and reactive power over time, with their integrals, from the rows of a CSV file."""

    def __init__(self, active_w: Sequence[float], reactive_var: Sequence[float], row_s: float = 2.0):
        if len(active_w) < 2 or len(active_w) != len(reactive_var) or row_s <= 0:
            raise SettingsError("a load curve needs two rows or more and a positive time a row")
        self.row_s = row_s
        self.peak_w = max(abs(power) for power in active_w) or 1.0
        self._columns = (list(active_w), list(reactive_var))
        self._sums = tuple(_running_sums(column) for column in self._columns)

    def active_w(self, t_s: float) -> float:
        """Active power t_s seconds after the start."""
        return self._at(0, t_s)

    def reactive_var(self, t_s: float) -> float:
        """Reactive power, positive when lagging."""
        return self._at(1, t_s)

    def active_ws(self, t_s: float) -> float:
        """Energy since the start, in watt-seconds."""
        return self._integral(0, t_s)

    def reactive_vars(self, t_s: float) -> float:
        """Reactive energy since the start, in var-seconds."""
        return self._integral(1, t_s)

    def _at(self, which: int, t_s: float) -> float:
        column = self._columns[which]
        position = t_s / self.row_s
        row = math.floor(position)
        first, second = column[row % len(column)], column[(row + 1) % len(column)]
        return first + (second - first) * (position - row)

    def _integral(self, which: int, t_s: float) -> float:
        column, sums = self._columns[which], self._sums[which]
        rounds, position = divmod(t_s / self.row_s, len(column))
        row = math.floor(position)
        part = position - row
        first, second = column[row], column[(row + 1) % len(column)]
        rows = rounds * sums[-1] + sums[row] + part * (first + part * (second - first) / 2)
        return rows * self.row_s


def _running_sums(column: list[float]) -> list[float]:
    """Integral (in rows) of the closed line through the points up to each row; the whole at the end."""
    sums = [0.0]
    for i, value in enumerate(column):
        sums.append(sums[-1] + (value + column[(i + 1) % len(column)]) / 2)
    return sums


def read(
    path: Path | str = DEFAULT_CURVE, row_s: float = 2.0, column: str = "", interval_s: float = 900.0
) -> LoadCurve:
    """A curve from a CSV file. `column` names the one with the power in W, if none has a known name."""
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
    names = list(rows[0]) if rows else []
    chosen = column or next((name for name in _POWER_COLUMNS if name in names), "")
    if chosen not in names:
        raise SettingsError(
            f"{path}: no column {column or ', '.join(_POWER_COLUMNS)!r}; it has {', '.join(names) or 'no rows'}. "
            "Name the one with the power in W"
        )
    to_w = _POWER_COLUMNS.get(chosen, _POWER_COLUMNS["power_w"])
    active, reactive = [], []
    for number, row in enumerate(rows, 1):
        try:
            active.append(to_w(float(row[chosen]), interval_s))
            kvarh = float(row.get("kvarh_lag") or 0) - float(row.get("kvarh_lead") or 0)
        except (TypeError, ValueError):
            raise SettingsError(f"{path}: data row {number}: not a number in {chosen} or kvarh") from None
        reactive.append(kvarh * 3.6e6 / interval_s if chosen == "kwh" else 0.35 * active[-1])
    return LoadCurve(active, reactive, row_s)


@dataclass
class Load:
    """What one meter sees of a curve: scaled to a peak, shifted in time, with counters that had a start."""

    curve: LoadCurve
    peak_w: float = 60_000.0
    phases: int = 3
    offset_s: float = 0.0
    start_wh: float = 1_234_567.0
    start_varh: float = 345_678.0

    def quantity(self, name: str, t_s: float) -> float:
        """Value of a quantity, in the unit of the quantity table, t_s seconds after the start.

        A load that imports: export counters stand at a small constant. Quantities that are no matter of
        electricity (alarm_state …) are 0.
        """
        base, part = _split(name)
        share = 1.0 if not part or part.startswith("t") else _PHASE_SHARES[int(part[1]) - 1]
        if part in ("t1", "t2"):
            share = 0.7 if part == "t1" else 0.3
        if base.endswith("_energy"):
            return self._energy(base, t_s) * share
        t_s += self.offset_s
        scale = self.peak_w / self.curve.peak_w
        p = self.curve.active_w(t_s) * scale
        q = self.curve.reactive_var(t_s) * scale
        s = math.hypot(p, q)
        volts = _NOMINAL_V + 1.7 * math.sin(t_s / 37) - 3.5 * s / (1.3 * self.peak_w)
        if part in ("l2", "l3"):
            volts += 0.8 if part == "l2" else -1.1
        phases = self.phases
        values = {
            "voltage": volts,
            "voltage_l1_l2": volts * math.sqrt(3),
            "voltage_l2_l3": volts * math.sqrt(3) + 0.4,
            "voltage_l3_l1": volts * math.sqrt(3) - 0.6,
            "voltage_thd": 1.9 + 0.4 * math.sin(t_s / 53),
            "current": s * share / volts / (1 if part else phases),
            "active_power": p * share,
            "import_active_power": p * share,
            "active_power_demand": p * share,
            "reactive_power": q * share,
            "apparent_power": s * share,
            "power_factor": p / s if s else 1.0,
            "phase_angle": math.degrees(math.atan2(q, p)) if s else 0.0,
            "frequency": 50.0 + 0.02 * math.sin(t_s / 11),
        }
        return values.get(base, 0.0)

    def _energy(self, base: str, t_s: float) -> float:
        scale = self.peak_w / self.curve.peak_w
        start = self.curve.active_ws(self.offset_s), self.curve.reactive_vars(self.offset_s)
        active = self.start_wh + (self.curve.active_ws(t_s + self.offset_s) - start[0]) * scale / 3600
        reactive = self.start_varh + (self.curve.reactive_vars(t_s + self.offset_s) - start[1]) * scale / 3600
        return {
            "import_active_energy": active,
            "export_active_energy": 8_400.0,
            "absolute_active_energy": active + 8_400.0,
            "import_reactive_energy": reactive,
            "export_reactive_energy": 1_200.0,
            "absolute_reactive_energy": reactive + 1_200.0,
            "import_apparent_energy": math.hypot(active, reactive),
        }[base]


class WiredLoad:
    """A Load as a meter shows it whose installation has a fault, which is one of

        reversed=2           the current transformer of L2 is the other way round
        swapped=1,2          the current transformers of L1 and L2 are exchanged
        ratio=20             current is shown on the secondary side of transformers 100/5, all else on the primary side
        frozen=current_l1    this register stands still

    Raises SettingsError for anything else."""

    def __init__(self, load: Load, text: str):
        self._load = load
        self.curve = load.curve
        kind, _, value = text.partition("=")
        self._frozen = value if kind == "frozen" else ""
        self._reversed, self._ratio = 0, 1.0
        self._pair: tuple[int, ...] = ()
        try:
            if kind == "reversed":
                self._reversed = _phase(value)
            elif kind == "swapped":
                first, second = value.split(",")
                self._pair = (_phase(first), _phase(second))
            elif kind == "ratio":
                self._ratio = float(value)
            elif kind != "frozen":
                raise ValueError
        except ValueError:
            wanted = "reversed=2, swapped=1,2, ratio=20 or frozen=current_l1"
            raise SettingsError(f"fault {text!r} of an installation: it is one of {wanted}") from None
        self._growth = self._total("active_power", 0.0) / load.quantity("active_power", 0.0) if self._wired else 1.0
        self._held = load.quantity(self._frozen, 0.0) if self._frozen else 0.0

    @property
    def _wired(self) -> bool:
        return bool(self._reversed or self._pair)

    @property
    def start_wh(self) -> float:
        return self._load.start_wh

    def quantity(self, name: str, t_s: float) -> float:
        """As Load.quantity."""
        if name == self._frozen:
            return self._held
        base, part = _split(name)
        if base == "current":
            return self._amps(name, part, t_s) / self._ratio
        if not self._wired:
            return self._load.quantity(name, t_s)
        if base.endswith("active_energy"):
            whole = self._load.quantity(name, t_s)
            begun = self._load.quantity(name, 0.0)
            return begun + (whole - begun) * max(self._growth, 0.0)
        if base in ("active_power", "reactive_power", "apparent_power", "power_factor"):
            value = {"apparent_power": "apparent_power", "power_factor": "active_power"}.get(base, base)
            shown = self._phase_power(value, int(part[1]), t_s) if part else self._total(value, t_s)
            if base != "power_factor":
                return shown
            whole = "apparent_power"
            size = self._phase_power(whole, int(part[1]), t_s) if part else self._total(whole, t_s)
            return shown / size if size else 1.0
        return self._load.quantity(name, t_s)

    def _source(self, phase: int) -> int:
        """The phase whose current flows through the transformer at the terminals of `phase`."""
        if phase not in self._pair:
            return phase
        return self._pair[1] if phase == self._pair[0] else self._pair[0]

    def _amps(self, name: str, part: str, t_s: float) -> float:
        source = f"current_l{self._source(int(part[1]))}" if part else name
        return self._load.quantity(source, t_s)

    def _total(self, base: str, t_s: float) -> float:
        return sum(self._phase_power(base, phase, t_s) for phase in (1, 2, 3))

    def _phase_power(self, base: str, phase: int, t_s: float) -> float:
        p, q = self._load.quantity("active_power", t_s), self._load.quantity("reactive_power", t_s)
        source = self._source(phase)
        size = math.hypot(p, q) * _PHASE_SHARES[source - 1]
        angle = math.atan2(q, p) + math.radians(120) * (source - phase)
        if phase == self._reversed:
            angle += math.pi
        return {"active_power": size * math.cos(angle), "reactive_power": size * math.sin(angle)}.get(base, size)


def _phase(text: str) -> int:
    if text.strip() not in ("1", "2", "3"):
        raise ValueError
    return int(text)


def _split(name: str) -> tuple[str, str]:
    """A quantity's name without its phase or tariff, and that."""
    if name.startswith("voltage_l") and name.count("_l") == 2:
        return name, ""
    base, _, part = name.rpartition("_")
    return (base, part) if part in ("l1", "l2", "l3", "t1", "t2") else (name, "")
