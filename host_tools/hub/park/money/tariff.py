"""A tariff file: what energy, demand and service cost, from which month on. Checked strictly before anything is priced.

    {
     "tariff": "mv-industry",                  its name: letters, digits, - and .
     "about": "…", "source": "…",              for people: what it is, and who published it where
     "currency": "USD",                        USD or KHR
     "rounding": "0.01",                       each line of a bill is rounded to a multiple of it, halves away from zero
     "versions": [{
       "from": "2026-01", "to": "2026-12",     first and last month; "to" may be null (until further notice)
       "holidays": ["2026-04-14"],             optional: local days that count as "holiday"
       "energy": [
         {"name": "Peak", "price": "0.164", "when": [{"days": "mon-sat", "from": "07:00", "to": "21:00"}]},
         {"name": "Off peak", "price": "0.117"}            without "when": all other times
       ],
       "demand": {"name": "Demand", "price": "4.5", "minutes": 15},      optional: per kW of the highest mean power
       "fixed": [{"name": "Service", "amount": "12.00"}],                optional, per month
       "tax": [{"name": "VAT", "percent": "10"}]                         optional, on all lines before the taxes
     }]
    }

Instead of "price", energy may have "steps": [{"up_to_kwh": 50, "price": "380"}, {"up_to_kwh": null, "price": "730"}]
with "steps_apply": "each" (each kWh at the price of its step) or "all" (all kWh at the price of the step that the
month reaches). Prices are per kWh. Amounts and prices are text, so that they stay exact.
"""

from __future__ import annotations

import re
from datetime import date
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

from host_tools.hub.park.money.located import FileFault, Node, parse

CURRENCIES = {"USD": ("0.01", "0.1", "1"), "KHR": ("1", "10", "50", "100")}  # and what lines may be rounded to
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun", "holiday")
QUARTERS = 96  # of an hour in a day
DEMAND_MINUTES = (15, 30, 60)
FILE_BYTES_MAX = 256 * 1024
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,63}")
_DECIMAL = re.compile(r"(?:0|[1-9][0-9]{0,11})(?:\.[0-9]{1,9})?")
_MONTH = re.compile(r"(2[0-9]{3})-(0[1-9]|1[0-2])")
_TIME = re.compile(r"([01][0-9]|2[0-4]):(00|15|30|45)")


class Step(NamedTuple):
    """Energy up to `up_to_kwh` (None: without an end) at `price` a kWh."""

    up_to_kwh: int | None
    price: Fraction


class Energy(NamedTuple):
    """One price of energy. `quarters` are the (day of DAYS, quarter of an hour) it is for; None: all that no other
    has."""

    name: str
    steps: tuple[Step, ...]
    apply_all: bool
    quarters: frozenset[tuple[int, int]] | None
    line: int


class Demand(NamedTuple):
    """What a kW of the highest mean power over `minutes` costs a month."""

    name: str
    price: Fraction
    minutes: int


class Version(NamedTuple):
    """What a tariff says from a month (year, month) on, to one, or None."""

    first: tuple[int, int]
    last: tuple[int, int] | None
    holidays: frozenset[date]
    energy: tuple[Energy, ...]
    demand: Demand | None
    fixed: tuple[tuple[str, Fraction], ...]
    tax: tuple[tuple[str, Fraction], ...]
    line: int

    def has(self, month: tuple[int, int]) -> bool:
        return self.first <= month and (self.last is None or month <= self.last)

    def band(self, day: date, quarter: int) -> int:
        """Which of `energy` a quarter of an hour of a local day belongs to."""
        kind = len(DAYS) - 1 if day in self.holidays else day.weekday()
        rest = 0
        for i, each in enumerate(self.energy):
            if each.quarters is None:
                rest = i
            elif (kind, quarter) in each.quarters:
                return i
        return rest


class Tariff(NamedTuple):
    """A checked tariff file."""

    name: str
    about: str
    source: str
    currency: str
    rounding: Fraction
    versions: tuple[Version, ...]

    def version(self, month: tuple[int, int]) -> Version | None:
        return next((each for each in self.versions if each.has(month)), None)


def read(text: str) -> Tariff:
    """Raises FileFault, which names the line."""
    if len(text) > FILE_BYTES_MAX:
        raise FileFault(1, f"more than {FILE_BYTES_MAX} characters")
    document = parse(text)
    fields = _fields(document, "the file", ("tariff", "currency", "rounding", "versions"), ("about", "source"))
    name = _text(fields["tariff"], "tariff")
    if not _NAME.fullmatch(name):
        raise FileFault(fields["tariff"].line, f"tariff: {name!r:.80} is no name: letters, digits, - and .")
    currency = _text(fields["currency"], "currency")
    if currency not in CURRENCIES:
        raise FileFault(fields["currency"].line, f"currency: {currency!r:.20}; there are {', '.join(CURRENCIES)}")
    rounding = _text(fields["rounding"], "rounding")
    if rounding not in CURRENCIES[currency]:
        raise FileFault(fields["rounding"].line, f"rounding: of {currency} it is {', '.join(CURRENCIES[currency])}")
    versions = [_version(node) for node in _list(fields["versions"], "versions")]
    for before, behind in pairwise(versions):
        if before.last is None or behind.first <= before.last:
            raise FileFault(behind.line, "versions: this one begins before the one above ends")
    about, source = (_text(fields[key], key, "") if key in fields else "" for key in ("about", "source"))
    return Tariff(name, about, source, currency, Fraction(rounding), tuple(versions))


def _version(node: Node) -> Version:
    fields = _fields(node, "a version", ("from", "to", "energy"), ("holidays", "demand", "fixed", "tax", "note"))
    first = _month(fields["from"], "from")
    last = None if fields["to"].value is None else _month(fields["to"], "to")
    if last is not None and last < first:
        raise FileFault(fields["to"].line, "to: it is before from")
    energy = tuple(_energy(each) for each in _list(fields["energy"], "energy"))
    _check_bands(energy, fields["energy"].line)
    return Version(
        first, last, frozenset(_date(each) for each in _list(fields["holidays"], "holidays", 0)) if "holidays" in
        fields else frozenset(), energy, _demand(fields["demand"]) if "demand" in fields and fields["demand"].value is
        not None else None, _amounts(fields.get("fixed"), "fixed", "amount"), _amounts(fields.get("tax"), "tax",
        "percent"), node.line,
    )  # fmt: skip


def _energy(node: Node) -> Energy:
    fields = _fields(node, "energy", ("name",), ("price", "steps", "steps_apply", "when"))
    name = _text(fields["name"], "energy: name")
    if ("price" in fields) == ("steps" in fields):
        raise FileFault(node.line, f"{name}: it has either a price or steps")
    if "price" in fields:
        steps = (Step(None, _decimal(fields["price"], f"{name}: price")),)
    else:
        steps = _steps(fields["steps"], name)
    if ("steps" in fields) != ("steps_apply" in fields):
        raise FileFault(node.line, f'{name}: steps have "steps_apply": "each" or "all"')
    how = _text(fields["steps_apply"], f"{name}: steps_apply") if "steps_apply" in fields else "each"
    if how not in ("each", "all"):
        raise FileFault(fields["steps_apply"].line, f'{name}: steps_apply is "each" or "all"')
    quarters = None
    if "when" in fields:
        found: set[tuple[int, int]] = set()
        for each in _list(fields["when"], f"{name}: when"):
            found |= _when(each, name)
        quarters = frozenset(found)
    return Energy(name, steps, how == "all", quarters, node.line)


def _steps(node: Node, name: str) -> tuple[Step, ...]:
    found: list[Step] = []
    for each in _list(node, f"{name}: steps"):
        fields = _fields(each, f"{name}: a step", ("up_to_kwh", "price"))
        limit = fields["up_to_kwh"].value
        if found and found[-1].up_to_kwh is None:
            raise FileFault(each.line, f"{name}: a step behind the one without an end")
        if limit is not None and (type(limit) is not int or limit <= (found[-1].up_to_kwh or 0 if found else 0)):
            raise FileFault(each.line, f"{name}: up_to_kwh is a whole number above the one before, or null in the last")
        found.append(Step(limit, _decimal(fields["price"], f"{name}: price")))
    if found[-1].up_to_kwh is not None:
        raise FileFault(node.line, f"{name}: the last step has no end: up_to_kwh is null")
    return tuple(found)


def _when(node: Node, name: str) -> set[tuple[int, int]]:
    fields = _fields(node, f"{name}: when", ("days",), ("from", "to"))
    days: set[int] = set()
    for part in _text(fields["days"], f"{name}: days").split(","):
        ends = part.strip().split("-")
        if len(ends) > 2 or any(end not in DAYS for end in ends) or "holiday" in ends and len(ends) == 2:
            raise FileFault(fields["days"].line, f"{name}: days: {part.strip()!r:.40}; write mon-fri, sat or holiday")
        first, last = DAYS.index(ends[0]), DAYS.index(ends[-1])
        if last < first:
            raise FileFault(fields["days"].line, f"{name}: days: {part.strip()!r} runs backwards")
        days |= set(range(first, last + 1))
    begin = _quarter(fields["from"], name) if "from" in fields else 0
    end = _quarter(fields["to"], name) if "to" in fields else QUARTERS
    if end <= begin:
        raise FileFault(node.line, f"{name}: to is not after from; a night is two entries, to 24:00 and from 00:00")
    return {(day, quarter) for day in days for quarter in range(begin, end)}


def _check_bands(energy: tuple[Energy, ...], line: int) -> None:
    """Every quarter of an hour has exactly one price."""
    rest = [each for each in energy if each.quarters is None]
    if len(rest) > 1:
        raise FileFault(rest[1].line, f"{rest[1].name}: no when; {rest[0].name} is for all other times already")
    for quarter in range(QUARTERS):
        for day, day_name in enumerate(DAYS):
            having = [each for each in energy if each.quarters is not None and (day, quarter) in each.quarters]
            when = f"{day_name} {quarter // 4:02}:{quarter % 4 * 15:02}"
            if len(having) > 1:
                raise FileFault(having[1].line, f"{having[1].name}: {when} is in {having[0].name} too")
            if not having and not rest:
                raise FileFault(line, f"energy: {when} has no price; an entry without when is for all other times")
    names = [each.name for each in energy]
    for i, each in enumerate(energy):
        if each.name in names[:i]:
            raise FileFault(each.line, f"{each.name}: the name stands twice")


def _demand(node: Node) -> Demand:
    fields = _fields(node, "demand", ("name", "price", "minutes"))
    if fields["minutes"].value not in DEMAND_MINUTES or type(fields["minutes"].value) is not int:
        raise FileFault(fields["minutes"].line, f"demand: minutes is {', '.join(map(str, DEMAND_MINUTES))}")
    name = _text(fields["name"], "demand: name")
    return Demand(name, _decimal(fields["price"], "demand: price"), fields["minutes"].value)


def _amounts(node: Node | None, what: str, key: str) -> tuple[tuple[str, Fraction], ...]:
    found: list[tuple[str, Fraction]] = []
    for each in _list(node, what, 0) if node is not None else ():
        fields = _fields(each, what, ("name", key))
        found.append((_text(fields["name"], f"{what}: name"), _decimal(fields[key], f"{what}: {key}")))
        if key == "percent" and found[-1][1] > 100:
            raise FileFault(each.line, f"{what}: {fields[key].value} percent")
    return tuple(found)


def _fields(node: Node, what: str, wanted: tuple[str, ...], more: tuple[str, ...] = ()) -> dict[str, Node]:
    if type(node.value) is not dict:
        raise FileFault(node.line, f"{what} is an object: {{…}}")
    for name in wanted:
        if name not in node.value:
            raise FileFault(node.line, f"{what}: {name!r} is missing")
    for name, each in node.value.items():
        if name not in wanted and name not in more:
            raise FileFault(each.line, f"{what}: it has no {name!r:.60}; there are {', '.join((*wanted, *more))}")
    return node.value


def _list(node: Node, what: str, least: int = 1) -> list[Node]:
    if type(node.value) is not list or not least <= len(node.value) <= 1000:
        raise FileFault(node.line, f"{what} is a list: […]" + (" of one or more" if least else ""))
    return node.value


def _text(node: Node, what: str, empty: str | None = None) -> str:
    if type(node.value) is not str or not node.value.strip() and empty is None or len(node.value) > 2000:
        raise FileFault(node.line, f"{what} is text")
    if not node.value.isprintable():
        raise FileFault(node.line, f"{what}: a character in it cannot be printed")
    return node.value


def _decimal(node: Node, what: str) -> Fraction:
    if type(node.value) is int and 0 <= node.value < 10**12:
        return Fraction(node.value)
    if type(node.value) is not str or not _DECIMAL.fullmatch(node.value):
        raise FileFault(node.line, f'{what} is a number of 0 or more as text, such as "0.164"')
    return Fraction(node.value)


def _month(node: Node, what: str) -> tuple[int, int]:
    found = _MONTH.fullmatch(node.value) if type(node.value) is str else None
    if not found:
        raise FileFault(node.line, f'{what} is a month, such as "2026-01"; a tariff changes with a month')
    return int(found[1]), int(found[2])


def _date(node: Node) -> date:
    try:
        return date.fromisoformat(_text(node, "holidays: a day"))
    except ValueError:
        raise FileFault(node.line, f'holidays: {node.value!r:.20} is not a day, such as "2026-04-14"') from None


def _quarter(node: Node, name: str) -> int:
    found = _TIME.fullmatch(node.value) if type(node.value) is str else None
    if not found or found[1] == "24" and found[2] != "00":
        raise FileFault(node.line, f'{name}: a time is such as "07:00", in quarters of an hour up to "24:00"')
    return int(found[1]) * 4 + int(found[2]) // 15
