"""Make the vectors of meters and registers: `python -m tests.vectors.generate.meter_vectors` from the repository.

Independent of the gateway's decoder: registers are packed by `host_tools/meters/register_map.py` (struct and Python's
integers), and what they must read as is computed here with exact decimals, halves rounded away from zero. All numbers
come from one seed a file, so the files only change when a profile does.

    meters/<profile>.json              all registers of the profile (or profile+variant) and all its readings
    modbus/float_to_integer.json       bits, width, exponent, value or null
"""

import json
import random
import struct
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal, getcontext
from fractions import Fraction
from pathlib import Path

from host_tools.base.paths import METER_PROFILES
from host_tools.meters.dlt645.simulator import encoded
from host_tools.meters.register_map import RegisterMap, bits_of, options_of
from parkgate import quantities

VECTORS = Path(__file__).resolve().parent.parent
getcontext().prec = 1100  # a binary64 has at most 1075 digits
TYPICAL = {"V": 230, "A": 12, "W": 3400, "var": 900, "VA": 3500, "1": 0.93, "Hz": 50, "deg": 21, "%": 2.2}
TYPICAL.update({"s": 1_700_000_000, "Cel": 41, "mA": 12, "Wh": 7_654_321, "varh": 1_234_567, "VAh": 9_876_543})
PREFIX = {"k": 3, "M": 6, "m": -3}


def round_away(number: Decimal | Fraction) -> int:
    if isinstance(number, Fraction):
        return (1 if number >= 0 else -1) * int(abs(number) + Fraction(1, 2))
    return int(number.to_integral_value(ROUND_HALF_UP))


def what_it_says(type_name: str, order: str, words: list[int]) -> Decimal:
    """The number in a register, taken apart in another way than it was put together."""
    words = [word >> 8 | (word & 255) << 8 for word in words] if order in ("BADC", "DCBA") else list(words)
    if order in ("CDAB", "DCBA"):
        words.reverse()
    raw = b"".join(word.to_bytes(2, "big") for word in words)
    if type_name.startswith("float"):
        return Decimal(struct.unpack(">f" if len(raw) == 4 else ">d", raw)[0])
    if type_name.startswith("bcd"):
        return Decimal(raw.hex())
    if type_name.startswith(("sign", "sbcd")):
        size = bytes([raw[0] & 127]) + raw[1:]
        sign = -1 if raw[0] & 128 else 1
        return sign * (Decimal(size.hex()) if type_name.startswith("sbcd") else Decimal(int.from_bytes(size, "big")))
    if type_name.startswith("mod10k"):
        parts = struct.unpack(f">{len(raw) // 2}h", raw)
        return sum((Decimal(part).scaleb(4 * i) for i, part in enumerate(reversed(parts))), Decimal(0))
    if type_name.startswith("text"):
        return Decimal(raw.decode().strip())
    if type_name.startswith("time"):
        at = (
            datetime(1900 + raw[2], raw[0], raw[1], raw[3], raw[4], raw[5])
            if len(raw) == 6
            else datetime(2000 + raw[1], raw[2], raw[3] & 31, raw[4], raw[5], words[3] // 1000)
        )
        return Decimal(int((at - datetime(1970, 1, 1)).total_seconds()))
    return Decimal(int.from_bytes(raw, "big", signed=type_name.startswith("int")))


def typical(name: str, quantity, type_name: str, random_numbers: random.Random) -> float:
    """A value that the quantity may well have."""
    if quantity.kind == "state":
        return 65535 if name == "alarm_state" else random_numbers.randrange(1, 200)
    value = TYPICAL[quantity.unit] * random_numbers.uniform(0.7, 1.05)
    if type_name.startswith(("int", "float", "sign", "sbcd")) and quantity.unit in ("W", "var", "deg"):
        value = -value if random_numbers.random() < 0.3 else value
    return min(value, 1.0) if name.startswith("power_factor") else value


def meter_vector(name: str) -> dict:
    registers_of = RegisterMap(name)
    document = registers_of.document
    random_numbers = random.Random(name)
    values = {}
    for row in sorted(registers_of.rows, key=lambda row: row[1]):
        values[row[0]] = typical(row[0], quantities.find(row[0]), row[2], random_numbers)
    words = registers_of.words(values.__getitem__)
    registers, readings = {}, {}
    numbers = {}
    for row in sorted(registers_of.all_rows(), key=lambda row: row[1]):
        held = [words[registers_of.base + row[1] + i] for i in range(bits_of(row[2]) // 16)]
        registers[str(row[1])] = held
        options = options_of(row)
        says = what_it_says(row[2], options.get("order", document["order"]), held)
        if "bits" in options:
            first, last = options["bits"]
            says = Decimal(int(says) >> first & (1 << last - first + 1) - 1)
            if row[2].startswith("int") and says >= 1 << last - first:
                says -= 1 << last - first + 1
        numbers[row[0]] = Fraction(says)
    for row in registers_of.auxiliary_rows:
        meanings = options_of(row).get("map")
        factor = ratio(options_of(row).get("factor", 1))
        held = numbers[row[0]]
        numbers[row[0]] = Fraction(meanings[str(held)]) if meanings else held / 10 ** row[3] * factor
    for row in registers_of.rows:
        quantity = quantities.find(row[0])
        assert quantity
        prefix = 0 if row[4] == quantity.unit else PREFIX[row[4][0]]
        moves = {"factor", "power_of_ten", "decimals_from", "divided_by", "coding"} & options_of(row).keys()
        natural = quantity.scale if row[2].startswith("float") or moves else row[3] - prefix
        scale = document.get("scales", {}).get(row[0], natural)
        exact = reading(registers_of, row, numbers) * Fraction(10) ** (scale + prefix)
        readings[row[0]] = [round_away(exact), quantity.unit, scale]
    return {"profile": name, "made_by": "generate/meter_vectors.py", "registers": registers, "readings": readings}


def dlt645_vector(name: str, document: dict) -> dict:
    """The same of a DL/T 645 profile: identifier → data as on the wire, packed here and by the simulated meter."""
    random_numbers = random.Random(name)
    registers, readings = {}, {}
    for row in document["registers"]:
        quantity_name, identifier, type_name, decimals, unit = row[:5]
        quantity = quantities.find(quantity_name)
        assert quantity
        prefix = 0 if unit == quantity.unit else PREFIX[unit[0]]
        value = typical(quantity_name, quantity, type_name, random_numbers)
        whole = round_away(Decimal(value).scaleb(decimals - prefix))
        held = encoded(type_name, Decimal(whole))
        registers[identifier] = (held + bytes.fromhex("3412010723") if identifier[:2] == "01" else held).hex()
        readings[quantity_name] = [whole, quantity.unit, decimals - prefix]
    return {"profile": name, "made_by": "generate/meter_vectors.py", "registers": registers, "readings": readings}


def ratio(pair) -> Fraction:
    return Fraction(*pair) if isinstance(pair, list) else Fraction(pair)


def reading(registers_of: RegisterMap, row: list, numbers: dict) -> Fraction:
    """The reading in the row's unit, from the numbers in the registers."""
    options = options_of(row)
    value = numbers[row[0]] / Fraction(10) ** row[3]

    def others(field):
        names = options.get(field, [])
        return [numbers[name] for name in (names if isinstance(names, list) else [names])]

    if options.get("coding") == "schneider_quadrant":
        return Fraction((4 if value > 0 else 3) if abs(value) > 1 else (1 if value >= 0 else 2))
    if options.get("coding") and abs(value) > 1:
        value = (2 - abs(value)) * (1 if value > 0 else -1)
    value = (value + sum(others("plus"))) * ratio(options.get("factor", 1)) * registers_of.ratio(row, numbers)
    for number in others("times"):
        value *= number
    for number in others("divided_by"):
        value /= number
    for number in others("power_of_ten"):
        value *= Fraction(10) ** int(number)
    for number in others("decimals_from"):
        value /= Fraction(10) ** int(number)
    return value + ratio(options.get("offset", 0))


def float_cases() -> list:
    numbers = random.Random("floats")
    cases = []
    for width, pack, unpack, top in ((32, ">f", ">I", 2**32), (64, ">d", ">Q", 2**64)):
        bits = [
            struct.unpack(unpack, struct.pack(pack, v))[0]
            for v in (0.0, -0.0, 0.5, -0.5, 1.5, 2.5, -2.5, 0.1, 230.05, 1e-30)
        ]
        bits += [1, top // 2 + 1, (1 << width - 9) - 1]
        bits += [numbers.randrange(top) for _ in range(150)]
        bits += [
            struct.unpack(unpack, struct.pack(pack, numbers.choice((1, -1)) * 10 ** numbers.uniform(-3, 9)))[0]
            for _ in range(150)
        ]
        bits += [struct.unpack(unpack, struct.pack(pack, numbers.randrange(-9999, 9999) / 8))[0] for _ in range(60)]
        bits += [struct.unpack(unpack, struct.pack(pack, v))[0] for v in (float("nan"), float("inf"), float("-inf"))]
        if width == 64:
            bits += [
                struct.unpack(unpack, struct.pack(pack, v))[0] for v in (9223372036854774784.0, 9223372036854775808.0)
            ]
        for raw in bits:
            exponent = numbers.choice((0, 0, 1, 2, 3, 6, -1, -3))
            number = struct.unpack(pack, raw.to_bytes(width // 8, "big"))[0]
            value = None
            if number - number == 0:
                value = round_away(Decimal(number).scaleb(exponent))
                value = value if -(2**63) < value < 2**63 else None
            cases.append([f"{raw:0{width // 4}x}", exponent, value])
    return cases


def main() -> None:
    folder = VECTORS / "meters"
    for old in folder.glob("*.json"):
        old.unlink()
    for path in sorted(METER_PROFILES.glob("*.json")):
        document = json.loads(path.read_text(encoding="utf-8"))
        for name in [path.stem, *(f"{path.stem}+{variant}" for variant in document.get("variants", ()))]:
            dlt645 = document.get("protocol") == "dlt645"
            vector = dlt645_vector(name, document) if dlt645 else meter_vector(name)
            lines = [f'  "{key}": {json.dumps(vector[key])}' for key in ("profile", "made_by")]
            for key in ("registers", "readings"):
                rows = ",\n".join(f"    {json.dumps(k)}: {json.dumps(v)}" for k, v in vector[key].items())
                lines.append(f'  "{key}": {{\n{rows}\n  }}')
            (folder / f"{name}.json").write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    rows = ",\n".join("    " + json.dumps(case) for case in float_cases())
    (VECTORS / "modbus" / "float_to_integer.json").write_text(
        '{\n  "about": "[bits, exponent, value]: IEEE 754 number x 10^exponent, halves away from zero; null: none",\n'
        f'  "made_by": "generate/meter_vectors.py",\n  "cases": [\n{rows}\n  ]\n}}\n',
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()
