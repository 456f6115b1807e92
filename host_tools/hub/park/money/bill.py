"""The bill of a gateway's month: lines from measured energy and a tariff, in exact arithmetic.

Each line has an amount at least and at most. They differ where the energy is not known to the step; `most` is null
where nobody can say. A bill is `complete` only when nothing is missing: the month is over, every register is known at
both ends to the step, and every step between is explained. What is missing stands in `notes`; nothing is estimated.

Each line is rounded alone, halves away from zero; a total is the sum of rounded lines. The document depends only on
the signed readings, the tariff file, the zone and the hub's settings: the same on any computer, to the last unit. Only
the numbers of leaves belong to the log of one hub. `sha256` is the hash of the rest without these numbers, as JSON with
sorted keys and without spaces.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from fractions import Fraction
from zoneinfo import ZoneInfo

from host_tools.hub.park import zone
from host_tools.hub.park.book import Book
from host_tools.hub.park.money import measured
from host_tools.hub.park.money.measured import Month, Range, decimal
from host_tools.hub.park.money.tariff import Energy, Tariff, Version
from host_tools.log.database.seam import Database
from parkgate.errors import SettingsError

FORM = "parkgate bill 1"


def bill(
    db: Database,
    gw: int,
    month: tuple[int, int],
    tariff: Tariff,
    tariff_sha256: str,
    tz: ZoneInfo,
    now_ms: int,
) -> dict:
    """The bill as a document. Raises SettingsError when the tariff says nothing of this month."""
    version = tariff.version(month)
    label = f"{month[0]}-{month[1]:02}"
    if version is None:
        raise SettingsError(f"the tariff {tariff.name} says nothing of {label}")
    found = measured.measure(db, gw, month, tz, now_ms)
    book = Book(db)
    lines = lines_of(found, version, tariff.rounding, Fraction(1, 1000))
    for line in lines:
        runs = line.pop("runs")
        line["registers"] = measured.registers(book, found, runs) if runs else []
    name, kid = db.execute("SELECT name, kid FROM gateway WHERE gw = ?", (gw,)).fetchone()
    notes = list(found.notes)
    if any(line["amount"]["least"] != line["amount"]["most"] for line in lines):
        notes.append("some amounts are not known to the unit: the bill lies between the two totals, or above the first")
    document = {
        "form": FORM, "month": label, "zone": tz.key,
        "from": zone.label(found.begin_ms, tz), "to": zone.label(found.end_ms, tz),
        "gateway": name, "id": kid.hex(), "currency": tariff.currency,
        "tariff": {"name": tariff.name, "about": tariff.about, "source": tariff.source, "sha256": tariff_sha256,
                   "from": f"{version.first[0]}-{version.first[1]:02}"},
        "complete": not notes, "notes": notes, "percent_of_time_read": measured.completeness(found),
        "meters": [one.meter.instrument for one in found.meters],
        "not_counted": [{"instrument": meter.instrument, "behind": main.instrument}
                        for meter, main in found.left_out.items()],
        "register": measured.register_of(db, found),
        "lines": lines, "jumps": measured.jumps(book, gw, found), "total": total(lines, tariff.rounding),
    }  # fmt: skip
    return {**document, "sha256": digest(document)}


def digest(document: dict) -> str:
    """SHA-256 of a bill without its `sha256` and without the numbers of leaves."""
    told = {name: item for name, item in document.items() if name != "sha256"}
    text = json.dumps(_without_leaves(told), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _without_leaves(item):
    if isinstance(item, dict):
        return {name: _without_leaves(each) for name, each in item.items() if name != "leaf"}
    return [_without_leaves(each) for each in item] if isinstance(item, list) else item


def lines_of(found: Month, version: Version, rounding: Fraction, kwh: Fraction) -> list[dict]:
    """The lines; `runs` of each are the quarters of an hour that it is about. `kwh` is how many kWh a Wh is."""
    lines = []
    for i, energy in enumerate(version.energy):
        runs = measured.stretches(found, version.band, i)
        wh = measured.band_energy(found, runs) if found.meters else Range(Fraction(0), None)
        quantity = Range(wh.least * kwh, None if wh.most is None else wh.most * kwh)
        lines += [{**line, "runs": runs} for line in _energy_lines(energy, quantity, rounding)]
    if version.demand is not None:
        watt, where = measured.highest(found, version.demand.minutes)
        kilowatt = Range(watt.least / 1000, None if watt.most is None else watt.most / 1000)
        step = version.demand.minutes // 15
        lines.append({
            **_line("demand", version.demand.name, kilowatt, "kW", version.demand.price, rounding),
            "runs": [] if where is None else [(where, where + step)],
        })  # fmt: skip
    for name, amount in version.fixed:
        one = Range(Fraction(1), Fraction(1))
        lines.append({**_line("fixed", name, one, "month", amount, rounding), "runs": []})
    before = total(lines, rounding)
    for name, percent in version.tax:
        of = Range(Fraction(before["least"]), None if before["most"] is None else Fraction(before["most"]))
        amount = Range(of.least * percent / 100, None if of.most is None else of.most * percent / 100)
        words = f"{decimal(percent)} %"
        lines.append({**_made("tax", name, of, "of the lines above", words, amount, rounding), "runs": []})
    return lines


def _energy_lines(energy: Energy, quantity: Range, rounding: Fraction) -> list[dict]:
    if len(energy.steps) == 1:
        return [_line("energy", energy.name, quantity, "kWh", energy.steps[0].price, rounding)]
    if energy.apply_all:
        return [_all_at_one_price(energy, quantity, rounding)]
    lines, low = [], 0
    for step in energy.steps:
        part = Range(_within(quantity.least, low, step.up_to_kwh), _most_within(quantity.most, low, step.up_to_kwh))
        if not lines or part.most is None or part.most > 0:
            words = f"from {low} kWh" if step.up_to_kwh is None else f"{low} to {step.up_to_kwh} kWh"
            lines.append(_line("energy", f"{energy.name}, {words}", part, "kWh", step.price, rounding))
        low = step.up_to_kwh or 0
    return lines


def _within(value: Fraction, low: int, high: int | None) -> Fraction:
    return max(Fraction(0), (value if high is None else min(value, Fraction(high))) - low)


def _most_within(value: Fraction | None, low: int, high: int | None) -> Fraction | None:
    if value is not None:
        return _within(value, low, high)
    return None if high is None else Fraction(high - low)


def _all_at_one_price(energy: Energy, quantity: Range, rounding: Fraction) -> dict:
    """All kWh at the price of the step that they reach. The cost need not grow with the energy, so every step that the
    energy may reach is looked at."""

    def price_of(value: Fraction) -> Fraction:
        return next(step.price for step in energy.steps if step.up_to_kwh is None or value <= step.up_to_kwh)

    costs = [price_of(quantity.least) * quantity.least]
    if quantity.most is not None:
        costs.append(price_of(quantity.most) * quantity.most)
    for step, behind in zip(energy.steps, energy.steps[1:]):
        limit = Fraction(step.up_to_kwh or 0)
        if quantity.least <= limit and (quantity.most is None or limit < quantity.most):
            costs += [step.price * limit, behind.price * limit]
    prices = (
        [price_of(quantity.least)] if quantity.most is None else [price_of(quantity.least), price_of(quantity.most)]
    )
    prices = sorted(set(prices))
    amount = Range(min(costs), None if quantity.most is None else max(costs))
    words = " or ".join(decimal(price) for price in prices)
    return _made("energy", energy.name, quantity, "kWh", words, amount, rounding)


def _line(kind: str, name: str, quantity: Range, unit: str, price: Fraction, rounding: Fraction) -> dict:
    amount = Range(quantity.least * price, None if quantity.most is None else quantity.most * price)
    return _made(kind, name, quantity, unit, decimal(price), amount, rounding)


def _made(kind, name, quantity: Range, unit, price: str, amount: Range, rounding: Fraction) -> dict:
    return {
        "kind": kind, "name": name, "quantity": measured.plain(quantity), "unit": unit, "price": price,
        "exact": measured.plain(amount),
        "amount": {"least": money(amount.least, rounding),
                   "most": None if amount.most is None else money(amount.most, rounding)},
    }  # fmt: skip


def rounded(amount: Fraction, rounding: Fraction) -> Fraction:
    """To the nearest multiple of `rounding`, halves away from zero."""
    steps = abs(amount) / rounding
    whole = (2 * steps.numerator + steps.denominator) // (2 * steps.denominator)
    return (-whole if amount < 0 else whole) * rounding


def money(amount: Fraction, rounding: Fraction) -> str:
    """Rounded, with the decimals of its currency's smallest unit: 12.50, and 4000."""
    value = rounded(amount, rounding)
    if rounding.denominator == 1 and rounding >= 1 and value.denominator == 1:
        return str(value.numerator)
    cents = value * 100
    sign = "-" if cents < 0 else ""
    return f"{sign}{abs(cents.numerator) // 100}.{abs(cents.numerator) % 100:02}"


def total(lines: Sequence[dict], rounding: Fraction) -> dict:
    """The sum of the rounded lines."""
    least = sum((Fraction(line["amount"]["least"]) for line in lines), Fraction(0))
    mosts = [line["amount"]["most"] for line in lines]
    most = None if None in mosts else sum((Fraction(each) for each in mosts), Fraction(0))
    return {"least": money(least, rounding), "most": None if most is None else money(most, rounding)}
