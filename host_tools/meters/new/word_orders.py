"""What a few registers may mean: every type and word order at once, so that a person picks the one that is right.

The commonest fault of a hand-made profile is a wrong word order; it gives numbers that look like a fault of the meter.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

ORDERS = ("ABCD", "CDAB", "BADC", "DCBA")
DECIMALS_MAX = 4
_TYPES = {1: ("uint16", "int16"), 2: ("float32", "uint32", "int32"), 4: ("float64", "uint64", "int64")}
_FORMATS = {"float32": ">f", "float64": ">d"}


class Meaning(NamedTuple):
    """One way to read the registers: the number in them, before decimals."""

    type: str
    order: str
    number: Decimal


def meanings(words: Sequence[int]) -> list[Meaning]:
    """Every type and order that fits the beginning of `words` (16-bit registers as they came); equal ones once."""
    found: dict[tuple[str, Decimal], Meaning] = {}
    for count, types in _TYPES.items():
        if count > len(words):
            continue
        for order in ORDERS if count > 1 else ("ABCD", "BADC"):
            raw = _raw(words[:count], order)
            for name in types:
                number = _number(name, raw)
                if number is not None:
                    found.setdefault((name, number), Meaning(name, order, number))
    return list(found.values())


def _raw(words: Sequence[int], order: str) -> bytes:
    """The bytes of the value, most significant first."""
    ordered = list(reversed(words)) if order in ("CDAB", "DCBA") else list(words)
    if order in ("BADC", "DCBA"):
        ordered = [word >> 8 | (word & 0xFF) << 8 for word in ordered]
    return b"".join(word.to_bytes(2, "big") for word in ordered)


def _number(name: str, raw: bytes) -> Decimal | None:
    if name in _FORMATS:
        value = struct.unpack(_FORMATS[name], raw)[0]
        if value != value or abs(value) in (float("inf"),) or (value and not 1e-6 < abs(value) < 1e13):
            return None  # no meter shows such a number
        digits = 9 if name == "float32" else 15
        return Decimal(repr(float(f"{value:.{digits}g}")))
    return Decimal(int.from_bytes(raw, "big", signed=name.startswith("int")))


def decimals_of(number: Decimal, shown: Decimal) -> int | None:
    """How many decimals stand behind the point of `number` when the meter shows `shown`, within its last digit or one
    part in fifty (the value moves while one looks); None when no count fits."""
    exponent = shown.as_tuple().exponent
    last = Decimal(1).scaleb(exponent if isinstance(exponent, int) else 0)
    for decimals in range(DECIMALS_MAX + 1):
        if abs(number.scaleb(-decimals) - shown) <= max(last, abs(shown) / 50):
            return decimals
    return None


def fitting(words: Sequence[int], shown: Decimal, narrow: bool = False) -> list[tuple[Meaning, int]]:
    """(meaning, decimals) of those that agree with what the meter shows, the likeliest first. Two registers of which
    one is 0 read as one register does: `narrow` takes the one (a voltage never needs two), else the two come first
    (a counter will need them some day)."""
    found = []
    for meaning in meanings(words):
        decimals = decimals_of(meaning.number, shown)
        if decimals is not None and not (meaning.type.startswith("float") and decimals):
            found.append((meaning, decimals))
    rank = {"float32": 0, "float64": 1, "uint32": 2, "uint64": 3, "uint16": 4}
    if narrow:
        rank["uint16"] = 1
    return sorted(found, key=lambda one: (rank.get(one[0].type, 5), ORDERS.index(one[0].order)))
