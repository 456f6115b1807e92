"""`parkgate meters compare`: every register of every profile beside the same register as other sources have it.

A table of facts is CSV with the columns `profile, function, address, type, order, scale, unit, quantity, source`, where
a value is the register × scale in `unit`. A fact agrees when a row of the profile, or of one of its variants, reads the
same quantity from the same address with the same function, type, order and scale. The command lists each difference.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

from host_tools.base import files, output
from host_tools.base.paths import METER_PROFILES
from parkgate import quantities
from parkgate.errors import ProfileError
from parkgate.meters import profiles

COLUMNS = ("profile", "function", "address", "type", "order", "scale", "unit", "quantity", "source")


class Reading(NamedTuple):
    """How one quantity is read. `scale` is of the quantity's own unit; `order` is "" for a single register."""

    function: int
    address: int
    type: str
    order: str
    scale: Fraction


class Finding(NamedTuple):
    """A fact that no row of the profile agrees with. `differs` names what the nearest row has otherwise."""

    profile: str
    quantity: str
    ours: Reading
    theirs: Reading
    source: str
    differs: tuple[str, ...]

    def as_document(self) -> dict:
        """For programs: each value that differs as [here, there]."""
        pairs = {name: [_shown(getattr(self.ours, name)), _shown(getattr(self.theirs, name))] for name in self.differs}
        return {"profile": self.profile, "quantity": self.quantity, "source": self.source, "differs": pairs}

    def __str__(self) -> str:
        parts = [f"{name} {_shown(getattr(self.ours, name))} here, {_shown(getattr(self.theirs, name))} there"
                 for name in self.differs]  # fmt: skip
        return f"{self.profile} {self.quantity}: {'; '.join(parts)} ({self.source})"


def add_arguments(parser) -> None:
    """Arguments of the verb."""
    parser.add_argument("profiles", nargs="*", metavar="PROFILE", help="default: all of which there are facts")
    parser.add_argument(
        "--facts", type=Path, action="append", required=True, metavar="FILE.csv",
        help="a table of facts; tests/vectors/meter_facts.csv is the project's own",
    )  # fmt: skip
    output.add_json(parser)


def run(args) -> int:
    """Print each disagreement, then the counts. Raises ProfileError for a table that cannot be read."""
    facts = [fact for path in args.facts for fact in read_facts(path)]
    wanted = set(args.profiles) or {fact["profile"] for fact in facts}
    findings, agreed, unknown = compare(facts, wanted)
    counted = f"{agreed} facts agree, {len(findings)} differ, {unknown} are of quantities that the profiles leave out"
    document = {"agreed": agreed, "unknown": unknown, "findings": [finding.as_document() for finding in findings]}
    output.show(args, document, [*map(str, findings), counted])
    return 0


def read_facts(path: Path) -> list[dict[str, str]]:
    """The rows of a table of facts. Raises ProfileError."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise ProfileError(f"{path}: the column {missing[0]!r} is missing; there must be {', '.join(COLUMNS)}")
            return list(reader)
    except OSError as error:
        raise files.trouble("cannot read", path, error) from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise ProfileError(f"{path}: {error}") from None


def compare(facts: list[dict[str, str]], names: set[str]) -> tuple[list[Finding], int, int]:
    """(disagreements, facts that agree, facts of quantities that a profile does not have). Raises ProfileError."""
    findings: list[Finding] = []
    counts: Counter[str] = Counter()
    for name in sorted(names):
        ours = _readings(name)
        for fact in facts:
            if fact["profile"] != name:
                continue
            rows = ours.get(fact["quantity"])
            if not rows:
                counts["unknown"] += 1
                continue
            theirs = _fact_reading(fact)
            nearest = min(rows, key=lambda row: len(_differs(row, theirs)))
            differs = _differs(nearest, theirs)
            if differs:
                findings.append(Finding(name, fact["quantity"], nearest, theirs, fact["source"], differs))
            else:
                counts["agreed"] += 1
    return findings, counts["agreed"], counts["unknown"]


def _readings(name: str) -> dict[str, list[Reading]]:
    """quantity → how the profile and its variants read it."""
    path = METER_PROFILES / f"{name}.json"
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise ProfileError(f"there is no profile {name!r}: `parkgate meters list` shows those there are") from None
    found: dict[str, list[Reading]] = {}
    for variant in (document, *(profiles.with_variant(document, each) for each in document.get("variants", ()))):
        for quantity, reading in _document_readings(variant):
            found.setdefault(quantity, []).append(reading)
    return found


def _document_readings(document) -> Iterator[tuple[str, Reading]]:
    for quantity, address, kind, decimals, unit, _, *more in document["registers"]:
        options = more[0] if more else {}
        scale = Fraction(10) ** (_exponent(unit, quantity) - decimals)
        if "factor" in options:
            scale *= Fraction(*options["factor"])
        order = options.get("order", document["order"]) if _registers(kind) > 1 else ""
        yield quantity, Reading(options.get("function", document["function"]), address, kind, order, scale)


def _fact_reading(fact: dict[str, str]) -> Reading:
    try:
        scale = Fraction(fact["scale"]) * Fraction(10) ** _exponent(fact["unit"], fact["quantity"])
        order = fact["order"] if _registers(fact["type"]) > 1 else ""
        return Reading(int(fact["function"]), int(fact["address"]), fact["type"], order, scale)
    except ValueError:
        raise ProfileError(f"a fact about {fact['profile']} cannot be read: {fact}") from None


def _exponent(unit: str, quantity: str) -> int:
    """The power of ten that `unit` is of the quantity's own. Raises ValueError when it is none of it."""
    found = quantities.find(quantity)
    exponent = quantities.unit_exponent(unit, found.unit) if found else None
    if exponent is None:
        raise ValueError(f"{unit} is not a unit of {quantity}")
    return exponent


def _registers(kind: str) -> int:
    bits = int("".join(c for c in kind if c.isdigit()) or 1)
    return bits // 16


def _differs(ours: Reading, theirs: Reading) -> tuple[str, ...]:
    return tuple(name for name in Reading._fields if getattr(ours, name) != getattr(theirs, name))


def _shown(value) -> str:
    return repr(value) if value == "" else str(value)
