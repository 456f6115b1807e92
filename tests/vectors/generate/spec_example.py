"""The example at the head of lib/SPEC.md, as text: `python -m tests.vectors.generate.spec_example` prints it.

A test compares the text there with this one, and a second reader with what the text explains.
"""

from .forms import (
    EPOCH,
    GATEWAY,
    SCHEMA,
    SETTINGS_ID,
    START_MS,
    batch_at,
    dumps,
    fields,
    protected,
    table,
    to_be_signed,
)
from .plain_columns import DELTA, FLOOR, encode

HEX_WIDTH = 44  # characters of a line that hold bytes; the rest explains them

VOLTAGE = [2301, 2299, 2302, 2302, 2305, 2301]
ENERGY = [90017, 90021, 90030, 90034, 90038, 90042]
TIMES = [0, 1000, 2000, 3000, 4000, 5000, 6000]
QUALITY = [0, 0, 8, 0, 0, 0, 0]
EVENTS = [[2, 0], [1, 1, 1]]

COLUMNS = {
    "times": encode(DELTA, TIMES),
    "quality": encode(FLOOR, QUALITY),
    "voltage": encode(DELTA, VOLTAGE),
    "energy": encode(DELTA, ENERGY),
}


def payload_fields() -> list:
    made = table(times=TIMES, quality=COLUMNS["quality"], channels=[COLUMNS["voltage"], COLUMNS["energy"]])
    made[3] = COLUMNS["times"]
    return fields(
        prev=None, boot=1, sampled=14, receipt_seq=None, tables=[made], events=EVENTS, schema=SCHEMA
    )  # fmt: skip


def sealed() -> bytes:
    """The whole batch."""
    parts = {"boot": 1, "sampled": 14, "tables": payload_fields()[10], "events": EVENTS, "schema": SCHEMA}
    return batch_at(0, **parts)


def explained() -> list:
    """[(depth, bytes, what they say)], in order; the bytes joined are the batch."""
    header, payload = protected(position=[EPOCH, 0]), dumps(payload_fields())
    signature = GATEWAY.sign(to_be_signed(header, payload))
    schema_id, settings_id = payload_fields()[7:9]
    made = payload_fields()[10][0]

    def string(data):
        return dumps(data)[: -len(data)] if data else dumps(data)

    def head(items):
        return bytes([0x80 | len(items)])

    return [
        (0, b"\xd2", "tag 18: COSE_Sign1"),
        (0, b"\x84", "an array of four"),
        (1, string(header), f"1. protected header, {len(header)} bytes:"),
        (2, b"\xa4", "a map of four"),
        (2, b"\x01\x26", "alg (1): ES256 (-7)"),
        (2, b"\x03\x19\xfe\x4d", "content type (3): a batch (65101)"),
        (2, b"\x04" + dumps(GATEWAY.id), "kid (4): the gateway's id"),
        (2, b"\x3a\x00\x01\x00\x00", "position (-65537):"),
        (3, b"\x82" + dumps(EPOCH), "[epoch,"),
        (3, b"\x00", "seq 0]"),
        (1, b"\xa0", "2. unprotected header: empty"),
        (1, string(payload), f"3. payload, {len(payload)} bytes:"),
        (2, b"\x8d", "an array of thirteen"),
        (2, b"\x01", "version 1"),
        (2, b"\xf6", "prev: null, the first of its chain"),
        (2, b"\x01", "boot: the first start"),
        (2, b"\x01", "cause: power on"),
        (2, b"\x0e", "sampled: 14 readings so far"),
        (2, b"\x00", "dropped: none"),
        (2, b"\xf6", "receipt seq: none seen yet"),
        (2, dumps(schema_id), "schema id"),
        (2, dumps(settings_id), "settings id"),
        (2, dumps(START_MS), f"base time: {START_MS}, 2026-01-01T00:00:00Z"),
        (2, b"\x81", "tables, one:"),
        (3, head(made), "an array of six"),
        (3, b"\x00", "instrument 0 of the schema"),
        (3, b"\x07", "7 rows"),
        (3, dumps(made[2]), "trust: all synchronised"),
        (3, dumps(made[3]), "times: coder 2, 0 1000 … 6000"),
        (3, dumps(made[4]), "quality: coder 1, 0 0 8 0 0 0 0"),
        (3, head(made[5]), "channels, two:"),
        (4, dumps(made[5][0]), "coder 2, 2301 2299 2302 2302 2305 2301"),
        (4, dumps(made[5][1]), "coder 2, 90017 90021 90030 … 90042"),
        (2, b"\x82", "events, two:"),
        (3, dumps(EVENTS[0]), "epoch born, first start"),
        (3, dumps(EVENTS[1]), "reset, boot 1, power on"),
        (2, string(SCHEMA), f"schema, {len(SCHEMA)} bytes:"),
        (3, SCHEMA[:1], "two instruments"),
        *[(3, data, words) for data, words in _schema()],
        (1, string(signature), "4. signature, 64 bytes:"),
        (2, signature[:32], "r"),
        (2, signature[32:], "s, in the lower half"),
    ]


def _schema():
    mill, hall = [
        ["mill", "SDM630", [["voltage_l1", "V", 1], ["import_active_energy", "Wh", 0]]],
        ["hall", "SHT3x", [["temperature", "Cel", 2]]],
    ]
    yield b"\x83" + dumps(mill[0]) + dumps(mill[1]) + b"\x82", '"mill", profile "SDM630", 2 channels:'
    yield dumps(mill[2][0]), '"voltage_l1", "V", 1 decimal'
    yield dumps(mill[2][1]), '"import_active_energy", "Wh", 0 decimals'
    yield b"\x83" + dumps(hall[0]) + dumps(hall[1]) + b"\x81", '"hall", profile "SHT3x", 1 channel:'
    yield dumps(hall[2][0]), '"temperature", "Cel", 2 decimals'


def text() -> str:
    """The example as it stands in SPEC."""
    lines = []
    for depth, data, words in explained():
        indent, room = "  " * depth, (HEX_WIDTH - 2 * depth) // 2
        pieces = [data[at : at + room].hex() for at in range(0, len(data), room)]
        for piece in pieces[:-1]:
            lines.append(indent + piece)
        last = indent + pieces[-1]
        lines.append(f"{last:<{HEX_WIDTH}}  {indent}{words}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(f"gateway private key  {GATEWAY.d.hex()}")
    print(f"gateway public key   {GATEWAY.xy[:32].hex()}\n                     {GATEWAY.xy[32:].hex()}")
    print(f"settings id          {SETTINGS_ID.hex()}\n")
    print(text(), end="")
