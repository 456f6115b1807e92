"""What a meter's display shows against what the gateway reads: within the display's last digit, or not, and why.

Pure: texts and integers in, a verdict in words out.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import NamedTuple

from parkgate.errors import SettingsError

_PREFIXES = {"k": 3, "M": 6, "m": -3}
_MOVING = Decimal("0.03")  # a momentary value may move by so much between two looks
_FACTORS = (Decimal(10), Decimal(100), Decimal(1000))
_PRIMARIES = (30, 40, 50, 60, 75, 100, 120, 125, 150, 200, 250, 300, 400, 500, 600, 750, 800, 1000, 1200, 1500, 2000)


class Compared(NamedTuple):
    """One value: the text typed, its number in the channel's unit, what the gateway read there, whether they agree, and
    that in words."""

    quantity: str
    typed: str
    shown: Decimal
    read: Decimal
    agrees: bool
    words: str


def number_of(text: str, unit: str) -> Decimal:
    """The number in `unit` that a person typed, such as "12.5 kW" or "12,5". Raises SettingsError."""
    digits, _, given = text.strip().replace(",", ".").partition(" ")
    if not given:
        split = len(digits.rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ%"))
        digits, given = digits[:split], digits[split:]
    try:
        number = Decimal(digits)
    except InvalidOperation:
        raise SettingsError(f"{text!r} is not a number; type it as the display shows it, such as 230.5") from None
    if not number.is_finite():
        raise SettingsError(f"{text!r} is not a number; type it as the display shows it, such as 230.5")
    return number.scaleb(power(given.strip(), unit)) if given.strip() else number


def power(given: str, unit: str) -> int:
    """The power of ten from one unit to another: 3 from kW to W. Raises SettingsError for another kind of unit."""
    for prefix, exponent in {"": 0, **_PREFIXES}.items():
        for other, other_exponent in {"": 0, **_PREFIXES}.items():
            if given == prefix + unit[len(other) :] and unit.startswith(other) and (other == "" or len(unit) > 1):
                return exponent - other_exponent
    raise SettingsError(f"{given} is not a unit for this value; it is in {unit}")


def compare(quantity: str, typed: str, unit: str, read: Decimal, counter: bool) -> Compared:
    """Whether what was typed from the display agrees with what was read. Raises SettingsError."""
    shown = number_of(typed, unit)
    last = last_digit(typed, unit)
    allowed = last if counter else max(last, abs(shown) * _MOVING)
    difference = abs(shown - read)
    if difference <= allowed:
        return Compared(quantity, typed, shown, read, True, f"agrees: {plain(read)} {unit}")
    words = f"differs: the display shows {plain(shown)} {unit}, the gateway reads {plain(read)} {unit}"
    return Compared(quantity, typed, shown, read, False, words + cause(shown, read, unit != "V"))


def last_digit(typed: str, unit: str) -> Decimal:
    """One step of the last digit that was typed, in `unit`."""
    number = number_of(typed, unit)
    exponent = number.as_tuple().exponent
    return Decimal(1).scaleb(exponent if isinstance(exponent, int) else 0)


def cause(shown: Decimal, read: Decimal, current: bool = True) -> str:
    """What a difference looks like, as the end of a sentence; "" where it looks like nothing known. `current`: whether
    the value depends on a current transformer."""
    if not shown or not read:
        return ": the gateway reads nothing there" if shown and not read else ""
    if abs(shown + read) <= abs(shown) * _MOVING:
        return ": the sign is the other way round; a current transformer may be reversed"
    more = max(abs(shown / read), abs(read / shown))
    for factor in _FACTORS:
        if abs(more / factor - 1) <= Decimal("0.04"):
            transformer = f", or a transformer {5 * factor}:5" if current else ""
            return f": a factor of {factor}; decimals or unit of the profile{transformer}"
    for primary in _PRIMARIES if current else ():
        if abs(more / (Decimal(primary) / 5) - 1) <= Decimal("0.03"):
            factor = plain(Decimal(primary) / 5)
            return f": a factor of {factor}; a transformer {primary}:5 that is not set, or set twice"
    return f": a factor of {plain(more.quantize(Decimal('0.01')))}"


def plain(number: Decimal) -> str:
    """Without an exponent and without zeros at the end."""
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def findings(values: dict[str, Decimal]) -> list[str]:
    """What the live values of the phases say of their wiring, in sentences."""
    said = []
    phases = [p for p in ("l1", "l2", "l3") if f"voltage_{p}" in values]
    for phase in phases:
        if values[f"voltage_{phase}"] < 50:
            said.append(f"no voltage at {phase.upper()}: a fuse, or a phase that is not connected")
    powers = {p: values[f"active_power_{p}"] for p in phases if f"active_power_{p}" in values}
    negative = [p.upper() for p, watts in powers.items() if watts < 0]
    if negative and len(negative) < len(powers):
        said.append(
            f"power is negative at {' and '.join(negative)} only: the current transformer there is reversed, or that "
            "phase feeds back"
        )
    elif negative:
        said.append("power is negative at every phase: all transformers are reversed, or the hall feeds back")
    for phase, watts in powers.items():
        if f"current_{phase}" in values:
            most = values[f"voltage_{phase}"] * abs(values[f"current_{phase}"])
            if most and abs(watts) > most * Decimal("1.1"):
                said.append(
                    f"power at {phase.upper()} is {plain(abs(watts))} W, voltage x current only {plain(most)} VA: "
                    "a wrong ratio, or voltage and current of different phases"
                )
    currents = [p for p in phases if abs(values.get(f"current_{p}", Decimal(0))) > 1]
    weak = [
        p.upper() for p in currents if p in powers
        and abs(powers[p]) < values[f"voltage_{p}"] * abs(values[f"current_{p}"]) * Decimal("0.2")
    ]  # fmt: skip
    if len(weak) > 1:
        names = " and ".join(weak)
        said.append(f"almost no power at {names} in spite of their current: these two phases may be swapped")
    return said
