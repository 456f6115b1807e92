"""A meter's registers as its profile describes them, filled the other way round: from values to words.

This is the meter's side of a profile, for simulated meters and test vectors. It shares no code with the
gateway's decoder: floats are packed by the platform, whole numbers by Python, everything between by fractions.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from typing import Any

from host_tools.base import profile_files
from host_tools.base.files import why
from parkgate.errors import ProfileError
from parkgate.meters import profiles

_PREFIXES = {"k": 3, "M": 6, "m": -3}
_RATIO = {"ct": 20, "vt": 1}  # what a simulated meter's ratio registers say
# SunSpec (sunspec/models, Apache-2.0): "SunS", then each model: number, length, so many registers; FFFF ends the chain.
_SUNSPEC_BASE = 40000
_SUNSPEC_MARK, _SUNSPEC_END = (0x5375, 0x6E53), (0xFFFF, 0)
_SUNSPEC_COMMON = (1, 66)
_SUNSPEC_LENGTHS = {"201": 105, "202": 105, "203": 105, "204": 105, "211": 124, "212": 124, "213": 124, "214": 124}
_SUNSPEC_USUAL = ("203", "213")  # three phases and neutral
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def read_document(name: str) -> dict:
    """The profile file of this name, with its variant (`name+variant`) put in place. Raises ProfileError."""
    file_name, variant = profiles.split_name(name)
    try:
        path = profile_files.find(file_name)
        document = json.loads(path.read_text(encoding="utf-8")) if path else None
    except (OSError, ValueError) as error:
        text = why(error) if isinstance(error, OSError) else str(error)
        raise ProfileError(f"the profile {file_name!r} cannot be read: {text}") from None
    if document is None:
        raise ProfileError(f"there is no profile {file_name!r}; `parkgate meters list` names them") from None
    profiles.load(document, name)
    return profiles.with_variant(document, variant) if variant else document


def bits_of(type_name: str) -> int:
    """Bits of a register type; 16 for a coil."""
    return 16 if type_name == "bit" else int(type_name.lstrip("abcdefghijklmnopqrstuvwxyz").removeprefix("10k"))


def encode(type_name: str, order: str, number: Decimal | Fraction | int) -> list[int]:
    """The words of a register value. `number` is what stands in it, rounded where it is a whole one."""
    bits = bits_of(type_name)
    if type_name.startswith("float"):
        raw = struct.pack(">f" if bits == 32 else ">d", float(number))
    else:
        whole = round(number)
        raw = (_contents(type_name, bits, whole) % (1 << bits)).to_bytes(bits // 8, "big")
    words = [int.from_bytes(raw[i : i + 2], "big") for i in range(0, len(raw), 2)]
    if order in ("CDAB", "DCBA"):
        words.reverse()
    if order in ("BADC", "DCBA"):
        words = [word >> 8 | (word & 0xFF) << 8 for word in words]
    return words


def _contents(type_name: str, bits: int, whole: int) -> int:
    """The unsigned number of `bits` bits that stands for a whole number."""
    size, sign = abs(whole), whole < 0
    if type_name.startswith("bcd"):
        return int(str(whole % 10 ** (bits // 4)), 16)
    if type_name.startswith("sbcd"):
        return int(str(size % (8 * 10 ** (bits // 4 - 1))), 16) | sign << (bits - 1)
    if type_name.startswith("sign"):
        return size % (1 << (bits - 1)) | sign << (bits - 1)
    if type_name.startswith("mod10k"):
        parts = [size // 10000**i % 10000 * (-1 if sign else 1) for i in range(bits // 16)]
        return sum(part % 0x10000 << 16 * i for i, part in enumerate(parts))
    if type_name.startswith("time"):
        return _time(bits, whole)
    if type_name.startswith("text"):
        return int.from_bytes(str(whole).encode().ljust(bits // 8, b" "), "big")
    return whole


def _time(bits: int, seconds: int) -> int:
    at = _EPOCH + timedelta(seconds=seconds)
    if bits == 48:
        return int.from_bytes(bytes((at.month, at.day, at.year - 1900, at.hour, at.minute, at.second)), "big")
    words = (at.year - 2000, at.month << 8 | at.isoweekday() << 5 | at.day, at.hour << 8 | at.minute, at.second * 1000)
    return sum(word << 16 * (3 - i) for i, word in enumerate(words))


def to_register(value: float | Decimal, decimals: int, unit: str, base_unit: str) -> Decimal:
    """What a register holds for a value given in the quantity's unit."""
    return Decimal(value).scaleb(decimals - prefix_of(unit, base_unit))


def prefix_of(unit: str, base_unit: str) -> int:
    """The power of ten that `unit` is of `base_unit`."""
    return 0 if unit == base_unit else _PREFIXES.get(unit[0], 0) if unit[1:] == base_unit else 3


def options_of(row: list) -> dict:
    """The options of a row."""
    return row[6] if len(row) > 6 else {}


def _listed(value: Any) -> list:
    return value if isinstance(value, list) else [value]


class RegisterMap:
    """All register rows of a profile, and the words they hold at a moment.

    `auxiliaries`: name → number that the register of this name stands for (chosen here; may be changed before use).
    `base`: what is added to the addresses of the rows; that of the model for a SunSpec profile, else 0.
    """

    def __init__(self, name: str):
        self.name = name
        self.document = read_document(name)
        self.rows: list[list] = self.document["registers"]
        used = self._used_names()
        self.auxiliary_rows = [row for row in self.document.get("auxiliary", ()) if row[0] in used]
        self.functions = {self._option(row, "function") for row in self.all_rows()}
        self.rest_ms = self.document.get("line", {}).get("rest_ms", 0)
        base = profiles.split_name(name)[0]
        self.units = {channel.quantity: channel.unit for channel in profiles.check(self.document, base)}
        self.auxiliaries = {row[0]: self._usual_number(row) for row in self.auxiliary_rows}
        listed = [self.document.get("unlock", ()), *self.document.get("pages", {}).values()]
        self.writes = {tuple(write) for writes in listed for write in writes}
        self.chain = self._sunspec_chain(profiles.split_name(name)[1])
        self.base = _SUNSPEC_BASE + len(_SUNSPEC_MARK) + 2 + _SUNSPEC_COMMON[1] if self.chain else 0

    def all_rows(self) -> list[list]:
        """The rows of quantities and those of auxiliaries."""
        return [*self.rows, *self.auxiliary_rows]

    def _used_names(self) -> set[str]:
        """Names of the auxiliaries that a row or a ratio needs: a variant may need none of its file's."""
        used = {name for source in self.document.get("ratio", {}).values() for name in _listed(source)}
        for row in self.rows:
            for field in ("power_of_ten", "decimals_from", "times", "divided_by", "plus"):
                used.update(_listed(options_of(row).get(field, [])))
        return used

    def _option(self, row: list, name: str) -> Any:
        return options_of(row).get(name, self.document.get(name))

    def _sunspec_chain(self, variant: str) -> dict[int, int]:
        """Word by address of a chain of SunSpec models: the common one, then the meter's, whose points are 0 here."""
        models = [model for model, name in self.document.get("sunspec", {}).items() if name == variant]
        if not models:
            return {}
        number = next((model for model in _SUNSPEC_USUAL if model in models), models[0])
        length = _SUNSPEC_LENGTHS[number]
        common = [0] * _SUNSPEC_COMMON[1]
        for at, text in ((0, "Parkgate"), (16, "simulated meter"), (48, "1")):  # Mn, Md, SN
            raw = text.encode().ljust(2 * 16, b"\0")
            common[at : at + 16] = [raw[i] << 8 | raw[i + 1] for i in range(0, 32, 2)]
        words = [*_SUNSPEC_MARK, *_SUNSPEC_COMMON, *common, int(number), length, *[0] * length, *_SUNSPEC_END]
        return {_SUNSPEC_BASE + i: word for i, word in enumerate(words)}

    def ranges(self) -> list[tuple[int, int]]:
        """(first address, count) of the registers that may be read, bridged up to the profile's gap_max."""
        if self.chain:
            return [(_SUNSPEC_BASE, len(self.chain))]
        gap_max = self.document.get("gap_max", 0)
        ranges: list[tuple[int, int]] = []
        for _, address, type_name, *_ in sorted(self.all_rows(), key=lambda row: row[1]):
            end = address + bits_of(type_name) // 16
            if ranges and address - sum(ranges[-1]) <= gap_max:
                ranges[-1] = (ranges[-1][0], max(end, sum(ranges[-1])) - ranges[-1][0])
            else:
                ranges.append((address, end - address))
        return ranges

    def words(self, value_of: Callable[[str], float]) -> dict[int, int]:
        """Word by address, from the value (in the quantity's unit) of each quantity."""
        held = self._row_words(value_of)
        return {**self.chain, **{self.base + address: word for address, word in held.items()}}

    def _row_words(self, value_of: Callable[[str], float]) -> dict[int, int]:
        words: dict[int, int] = {}
        signs = {}
        for row in self.rows:
            value = value_of(row[0])
            for name in _listed(options_of(row).get("times", [])):
                if value < 0 and row[2].startswith(("uint", "bcd")) and -1 in self._numbers(name).values():
                    signs[name] = -1
            number = self.contents(row, Fraction(value), {**self.auxiliaries, **signs})
            if row[2].startswith(("uint", "bcd")):
                number = abs(number)  # such a meter tells the size alone
            self._put(words, row, number)
        for row in self.auxiliary_rows:
            number = {**self.auxiliaries, **signs}[row[0]]
            numbers = self._numbers(row[0])
            if numbers:
                contents = Fraction(next(key for key, meant in numbers.items() if meant == number))
            else:
                contents = Fraction(number) * 10 ** row[3] / _fraction(options_of(row).get("factor", 1))
            self._put(words, row, contents)
        return words

    def contents(self, row: list, value: Fraction, auxiliaries: dict[str, int]) -> Fraction:
        """The number in a row's registers for a value in the quantity's unit."""
        options = options_of(row)
        base_unit = self.units[row[0]]
        number = value / Fraction(10) ** prefix_of(row[4], base_unit) - _fraction(options.get("offset", 0))
        if options.get("coding"):
            return number * Fraction(10) ** row[3]  # quadrants 1 and 2 alone
        number /= _fraction(options.get("factor", 1)) * self.ratio(row, auxiliaries)
        for field, sign in (("power_of_ten", 1), ("decimals_from", -1)):
            for name in _listed(options.get(field, [])):
                number /= Fraction(10) ** (sign * auxiliaries[name])
        for name in _listed(options.get("times", [])):
            number /= auxiliaries[name]
        for name in _listed(options.get("divided_by", [])):
            number *= auxiliaries[name]
        for name in _listed(options.get("plus", [])):
            number -= auxiliaries[name]
        return number * Fraction(10) ** row[3]

    def ratio(self, row: list, auxiliaries: dict[str, int]) -> Fraction:
        """The transformer ratio that the meter's registers say for a row, 1 where there is none."""
        options, found = options_of(row), Fraction(1)
        if options.get("side", self.document.get("side")) != "secondary":
            return found
        usual = {"A": "ct", "V": "vt"}.get(self.units[row[0]], "ct vt" if self.units[row[0]][-1:] in "WrAh" else "")
        for name in options.get("ratio", usual).split():
            source = self.document.get("ratio", {}).get(name, "set")
            if source != "set":
                sides = [Fraction(side if isinstance(side, int) else auxiliaries[side]) for side in _listed(source)]
                found *= sides[0] / (sides[1] if len(sides) > 1 else 1)
        return found

    def _put(self, words: dict[int, int], row: list, number: Fraction) -> None:
        _, address, type_name, *_ = row
        options = options_of(row)
        order = self._option(row, "order")
        if "bits" not in options:
            packed = encode(type_name, order, number)
        else:
            first, last = options["bits"]
            width = bits_of(type_name)
            held = encode_back([words.get(address + i, 0) for i in range(width // 16)], order)
            mask = (1 << last - first + 1) - 1
            packed = encode(f"uint{width}", order, held & ~(mask << first) | (round(number) & mask) << first)
        for i, word in enumerate(packed):
            words[address + i] = word

    def _numbers(self, name: str) -> dict[int, int]:
        row = next(row for row in self.document["auxiliary"] if row[0] == name)
        return {int(key): number for key, number in options_of(row).get("map", {}).items()}

    def _usual_number(self, row: list) -> int:
        """A number that the auxiliary may well stand for."""
        name, wanted = row[0], 1
        for quantity in self.rows:
            options = options_of(quantity)
            if name in _listed(options.get("power_of_ten", [])):
                wanted = 1 if self.units[quantity[0]] in ("W", "var", "VA") else -1  # 16 bits hold 327 kW
            elif name in _listed(options.get("plus", [])):
                wanted = 0
        for ratio, source in self.document.get("ratio", {}).items():
            if source == name:
                wanted = _RATIO[ratio]
            elif isinstance(source, list) and name in source:
                wanted = _RATIO[ratio] * 5 if source.index(name) == 0 else 5
        numbers = self._numbers(name).values()
        return wanted if not numbers or wanted in numbers else next(iter(numbers))


def _fraction(value: Any) -> Fraction:
    return Fraction(*value) if isinstance(value, list) else Fraction(value)


def encode_back(words: list[int], order: str) -> int:
    """The unsigned number that words of this order hold."""
    words = [word >> 8 | (word & 0xFF) << 8 for word in words] if order in ("BADC", "DCBA") else list(words)
    if order in ("CDAB", "DCBA"):
        words.reverse()
    return int.from_bytes(b"".join(word.to_bytes(2, "big") for word in words), "big")
