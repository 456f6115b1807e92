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
from decimal import ROUND_HALF_UP, Decimal, getcontext
from pathlib import Path

from host_tools.base.paths import METER_PROFILES
from host_tools.meters.register_map import encode, read_document, to_register
from parkgate import quantities

VECTORS = Path(__file__).resolve().parent.parent
getcontext().prec = 1100  # a binary64 has at most 1075 digits
TYPICAL = {"V": 230, "A": 12, "W": 3400, "var": 900, "VA": 3500, "1": 0.93, "Hz": 50, "deg": 21, "%": 2.2}
TYPICAL.update({"Wh": 7_654_321, "varh": 1_234_567, "VAh": 9_876_543})
PREFIX = {"k": 3, "M": 6, "m": -3}


def round_away(number: Decimal) -> int:
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
    return Decimal(int.from_bytes(raw, "big", signed=type_name.startswith("int")))


def meter_vector(name: str) -> dict:
    document = read_document(name)
    random_numbers = random.Random(name)
    registers, readings = {}, {}
    for quantity_name, address, type_name, decimals, unit, _ in sorted(document["registers"], key=lambda row: row[1]):
        quantity = quantities.find(quantity_name)
        value = TYPICAL[quantity.unit] * random_numbers.uniform(0.7, 1.05)
        if quantity_name == "alarm_state":
            value = 65535
        if (
            type_name.startswith(("int", "float"))
            and quantity.unit in ("W", "var", "deg")
            and random_numbers.random() < 0.3
        ):
            value = -value
        if quantity_name.startswith("power_factor"):
            value = min(value, 1.0)
        words = encode(type_name, document["order"], to_register(value, decimals, unit, quantity.unit))
        prefix = 0 if unit == quantity.unit else PREFIX[unit[0]]
        natural = decimals - prefix
        scale = document.get("scales", {}).get(
            quantity_name, quantity.scale if type_name.startswith("float") else natural
        )
        exact = what_it_says(type_name, document["order"], words).scaleb(scale - natural)
        registers[str(address)] = words
        readings[quantity_name] = [round_away(exact), quantity.unit, scale]
    return {"profile": name, "made_by": "generate/meter_vectors.py", "registers": registers, "readings": readings}


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
            vector = meter_vector(name)
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
