"""What a new profile may begin with: a list of registers in a CSV file, another profile, or a search of the meter."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

from host_tools.base import files, profile_files
from host_tools.meters.new import word_orders
from parkgate import quantities
from parkgate.errors import ProfileError
from parkgate.meters.profiles import split_name

COLUMNS = ("quantity", "address", "type", "decimals", "unit", "words")
_RANGES = {"V": (80, 900), "Hz": (45, 65)}  # what mains reads as (SPEC 11.8)
_SEARCHED = ((0, 128), (0x100, 32), (0x1000, 64), (0x2000, 64), (0x4000, 64), (0x5000, 64), (0x5B00, 64))
_BLOCK = 8

Read = Callable[[int, int, int], "list[int] | str"]


def from_csv(path: Path) -> dict:
    """Registers from a CSV file with a heading of COLUMNS (words may be left out; comma or semicolon). Raises
    ProfileError that names the line."""
    text = files.read_text(path)
    delimiter = ";" if text.split("\n", 1)[0].count(";") > text.split("\n", 1)[0].count(",") else ","
    rows = csv.DictReader(io.StringIO(text), delimiter=delimiter)
    heading = [name.strip().lower() for name in rows.fieldnames or ()]
    missing = [name for name in COLUMNS[:5] if name not in heading]
    if missing:
        raise ProfileError(f"{path}:1: the heading must have {', '.join(COLUMNS)}; {', '.join(missing)} is missing")
    found = []
    for number, row in enumerate(rows, 2):
        cells = {name.strip().lower(): (value or "").strip() for name, value in row.items() if isinstance(name, str)}
        if not any(cells.values()):
            continue
        if quantities.find(cells["quantity"]) is None:
            what = f"there is no quantity {cells['quantity']!r}; `parkgate meters new` lists them with ?"
            raise ProfileError(f"{path}:{number}: {what}")
        try:
            address, decimals = int(cells["address"], 0), int(cells["decimals"] or "0")
        except ValueError:
            raise ProfileError(f"{path}:{number}: address and decimals are whole numbers (0x1F is one)") from None
        found.append([cells["quantity"], address, cells["type"], decimals, cells["unit"], cells.get("words", "")])
    if not found:
        raise ProfileError(f"{path}: there is no register in it")
    return {"registers": found}


def from_profile(name: str) -> dict:
    """A copy of another profile, its facts' sources with it. Raises ProfileError."""
    path = profile_files.find(split_name(name)[0])
    if path is None:
        raise ProfileError(f"there is no profile {name!r}; `parkgate meters list` names them")
    document = json.loads(files.read_text(path))
    for field in ("meter", "manual", "variants", "notes"):
        document.pop(field, None)
    document["notes"] = [f"Begun as a copy of {name}."]
    return document


def from_scan(read: Read) -> dict:
    """What of a meter's registers reads as mains, as a skeleton: voltages and frequency, for a person to complete."""
    for function in (4, 3):
        found = _search(read, function)
        if found:
            return {"function": function, "order": found[0][1], "registers": [row for row, _ in found]}
    raise ProfileError("no register of it reads as a mains voltage or frequency: begin with the manual's list (--csv)")


def _search(read: Read, function: int) -> list[tuple[list, str]]:
    held: dict[int, int] = {}
    for first, count in _SEARCHED:
        silent = 0
        for at in range(first, first + count, _BLOCK):
            words = read(function, at, _BLOCK)
            if isinstance(words, list):
                held.update(enumerate(words, at))
            elif "refused" not in words:
                silent += 1
                if silent > 1:
                    break
            else:
                held.update(_one_by_one(read, function, at))
    best: list[tuple[list, str]] = []
    for order in word_orders.ORDERS:
        for type_name in ("float32", "uint32", "uint16"):
            rows = _plausible(held, type_name, order)
            if len(rows) > len(best) or (best and len(rows) == len(best) and type_name == "float32" != best[0][0][2]):
                best = [(row, order) for row in rows]
    return best


def _one_by_one(read: Read, function: int, first: int) -> dict[int, int]:
    """A refused block may hold single registers."""
    found = {}
    for at in range(first, first + _BLOCK, 2):
        words = read(function, at, 2)
        if isinstance(words, list):
            found.update(enumerate(words, at))
    return found


def _plausible(held: dict[int, int], type_name: str, order: str) -> list[list]:
    """Rows of at most three voltages side by side and one frequency that read as mains in this type and order."""
    count = 1 if type_name == "uint16" else 2
    values = {}
    for address in sorted(held):
        words = [held.get(address + i) for i in range(count)]
        if None in words:
            continue
        for one in word_orders.meanings([word for word in words if word is not None]):
            if one.type == type_name and one.order == order:
                values[address] = one.number
    rows: list[list] = []
    for unit, names in (("V", ("voltage_l1", "voltage_l2", "voltage_l3")), ("Hz", ("frequency",))):
        low, high = _RANGES[unit]
        for places in (0, 1, 2) if type_name != "float32" else (0,):
            fits = [a for a, number in values.items() if low <= number.scaleb(-places) <= high and number % 1000 != 0 or
                    type_name == "float32" and low <= number <= high]  # fmt: skip
            chosen = _side_by_side(fits, count)[: len(names)]
            if len(chosen) > sum(row[4] == unit for row in rows):
                rows = [row for row in rows if row[4] != unit]
                used = names if len(chosen) > 1 or unit == "Hz" else ("voltage",)
                rows += [
                    [name, address, type_name, places, unit, f"reads as {values[address].scaleb(-places)} {unit}"]
                    for name, address in zip(used, chosen)
                ]
    return rows


def _side_by_side(addresses: list[int], step: int) -> list[int]:
    """The first three that follow each other, else the first one."""
    for address in addresses:
        if address + step in addresses and address + 2 * step in addresses:
            return [address, address + step, address + 2 * step]
    return addresses[:1]


def doubt(quantity: str, value: Decimal, unit: str) -> str:
    """Why a value can hardly be right, in words; "" where it can."""
    limits = {"V": 1000, "Hz": 70, "A": 10_000, "kW": 10_000, "W": 10_000_000}
    if quantity.startswith("voltage") and unit == "V" and not 80 <= abs(value) <= 900:
        return "no mains voltage: another word order or decimals?"
    if quantity == "frequency" and unit == "Hz" and not 45 <= value <= 65:
        return "no mains frequency"
    if quantity.startswith("power_factor") and abs(value) > 1:
        return "a power factor is at most 1"
    if unit in limits and abs(value) > limits[unit]:
        return "very large: another word order or decimals?"
    return ""
