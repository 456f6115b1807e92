"""Emission factors: dated records with source and hash, kept in a file of people. A factor of the grid changes every
year and with imports, so none stands in this program.

    [{"id": "KH-grid-2021", "value": "0.40046", "unit": "kg CO2e/kWh", "year": 2021, "scope": 2, "method": "location",
      "source": "…", "date": "2023-05-02", "sha256": "64 hexadecimal digits of the source's file", "from": "2021-01-01",
      "to": "2026-12-31"}]
"""

from __future__ import annotations

import hashlib
import json
import re
from datetime import date
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

from host_tools.base.files import why
from parkgate.errors import SettingsError

METHODS = ("location", "market")
UNIT = "kg CO2e/kWh"
_NUMBER = re.compile(r"\d{1,3}(\.\d{1,9})?")
_TEXTS = ("id", "value", "unit", "method", "source", "date", "sha256", "from", "to")


class Factor(NamedTuple):
    """`value` is in kg CO2e/kWh, for energy used from the day `begin` to the day `end`."""

    id: str
    value: Fraction
    year: int
    method: str
    begin: date
    end: date
    record: dict


def read(path: Path) -> tuple[list[Factor], str]:
    """(the factors of a file, the SHA-256 of the file). Raises SettingsError, which names the record."""
    try:
        data = path.read_bytes()
        found = json.loads(data)
    except (OSError, ValueError, RecursionError) as error:
        raise SettingsError(f"cannot read {path}: {why(error) if isinstance(error, OSError) else error}") from None
    if not isinstance(found, list) or not found:
        raise SettingsError(f"{path}: a list of records, one a factor")
    made = [_factor(record, f"{path}, record {i + 1}") for i, record in enumerate(found)]
    if len({one.id for one in made}) != len(made):
        raise SettingsError(f"{path}: two factors have the same id")
    return made, hashlib.sha256(data).hexdigest()


def _factor(record, at: str) -> Factor:
    if not isinstance(record, dict) or any(not isinstance(record.get(name), str) for name in _TEXTS):
        raise SettingsError(f"{at}: it needs {', '.join(_TEXTS)} as text, and year and scope as numbers")
    if not _NUMBER.fullmatch(record["value"]) or record["unit"] != UNIT:
        raise SettingsError(f"{at}: value is a decimal such as 0.40046, and unit is {UNIT!r}")
    if record["method"] not in METHODS or record.get("scope") != 2 or type(record.get("year")) is not int:
        raise SettingsError(f"{at}: scope is 2, method is one of {', '.join(METHODS)}, year is a number")
    if not re.fullmatch(r"[0-9a-f]{64}", record["sha256"]) or len(record["source"]) < 10:
        raise SettingsError(f"{at}: it names its source, and the SHA-256 of the source's file")
    try:
        days = [date.fromisoformat(record[name]) for name in ("from", "to", "date")]
    except ValueError:
        raise SettingsError(f"{at}: from, to and date are days such as 2026-01-01") from None
    if days[1] < days[0]:
        raise SettingsError(f"{at}: to is before from")
    return Factor(record["id"], Fraction(record["value"]), record["year"], record["method"], days[0], days[1], record)


def of(factors: list[Factor], method: str, begin: date, last: date) -> Factor | None:
    """The factor of this method that covers the days from begin to last, the newest year first."""
    fits = [one for one in factors if one.method == method and one.begin <= begin and last <= one.end]
    return max(fits, key=lambda one: one.year, default=None)
