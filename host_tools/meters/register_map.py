"""A meter's registers as its profile describes them, filled the other way round: from values to words.

This is the meter's side of a profile, for simulated meters and test vectors. It shares no code with the
gateway's decoder: floats are packed by the platform, whole numbers by Python, decimals by `decimal`.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from decimal import ROUND_HALF_EVEN, Decimal

from host_tools.base.paths import METER_PROFILES
from parkgate.errors import ProfileError
from parkgate.meters import profiles

_WIDTHS = {"16": 1, "32": 2, "64": 4}
_PREFIXES = {"k": 3, "M": 6, "m": -3}


def read_document(name: str) -> dict:
    """The profile file of this name, with its variant (`name+variant`) put in place. Raises ProfileError."""
    file_name, variant = profiles.split_name(name)
    try:
        document = json.loads((METER_PROFILES / f"{file_name}.json").read_text(encoding="utf-8"))
    except OSError:
        raise ProfileError(f"there is no profile {file_name!r}; `parkgate meters list` names them") from None
    profiles.load(document, name)
    return profiles.with_variant(document, variant) if variant else document


def encode(type_name: str, order: str, number: Decimal) -> list[int]:
    """The words of a register value. `number` is what stands in it, rounded where it is a whole one."""
    width = _WIDTHS[type_name[-2:]]
    bits = 16 * width
    if type_name.startswith("float"):
        raw = struct.pack(">f" if width == 2 else ">d", float(number))
    else:
        whole = int(number.to_integral_value(ROUND_HALF_EVEN))
        if type_name.startswith("bcd"):
            whole = int(str(whole % 10 ** (bits // 4)), 16)
        raw = (whole % (1 << bits)).to_bytes(bits // 8, "big")
    words = [int.from_bytes(raw[i : i + 2], "big") for i in range(0, len(raw), 2)]
    if order in ("CDAB", "DCBA"):
        words.reverse()
    if order in ("BADC", "DCBA"):
        words = [word >> 8 | (word & 0xFF) << 8 for word in words]
    return words


def to_register(value: float | Decimal, decimals: int, unit: str, base_unit: str) -> Decimal:
    """What a register holds for a value given in the quantity's unit."""
    prefix = 0 if unit == base_unit else _PREFIXES.get(unit[0], 0) if unit[1:] == base_unit else 3
    return Decimal(value).scaleb(decimals - prefix)


class RegisterMap:
    """All register rows of a profile, and the words they hold at a moment."""

    def __init__(self, name: str):
        self.name = name
        self.document = read_document(name)
        self.function = self.document["function"]
        self.turnaround_ms = self.document.get("turnaround_ms", 0)
        names = tuple(row[0] for row in self.document["registers"][: profiles.CHANNELS_MAX])
        channels = profiles.load(self.document, profiles.split_name(name)[0], names).channels
        self.units = {channel.quantity: channel.unit for channel in channels}

    def ranges(self) -> list[tuple[int, int]]:
        """(first address, count) of the registers that may be read, bridged up to the profile's gap_max."""
        gap_max = self.document.get("gap_max", 0)
        ranges: list[tuple[int, int]] = []
        for _, address, type_name, *_ in sorted(self.document["registers"], key=lambda row: row[1]):
            end = address + (1 if type_name == "bit" else _WIDTHS[type_name[-2:]])
            if ranges and address - sum(ranges[-1]) <= gap_max:
                ranges[-1] = (ranges[-1][0], max(end, sum(ranges[-1])) - ranges[-1][0])
            else:
                ranges.append((address, end - address))
        return ranges

    def words(self, value_of: Callable[[str], float]) -> dict[int, int]:
        """Word by address, from the value (in the quantity's unit) of each quantity."""
        words: dict[int, int] = {}
        for quantity, address, type_name, decimals, unit, _ in self.document["registers"]:
            number = to_register(value_of(quantity), decimals, unit, self.units.get(quantity, unit))
            if type_name.startswith(("uint", "bcd")):
                number = abs(number)  # such a meter tells the size alone
            for i, word in enumerate(encode(type_name, self.document["order"], number)):
                words[address + i] = word
        return words
