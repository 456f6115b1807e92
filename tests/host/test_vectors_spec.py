"""lib/SPEC.md is true: its example, its keys, its limits, its CDDL, and the sections that others cite."""

import json
import re
from pathlib import Path

import cbor2
import pytest

import independent_verifier as second
from independent_columns import read_column
from parkgate.wire import batch, beat, cbor, cose, receipt
from parkgate.wire.steps import finish
from tests.vectors.generate import spec_example
from tests.vectors.generate.forms import GATEWAY

ROOT = Path(__file__).resolve().parent.parent.parent
SPEC = (ROOT / "lib" / "SPEC.md").read_text(encoding="utf-8")
VECTORS = [json.loads(path.read_text(encoding="utf-8")) for path in sorted((ROOT / "tests/vectors").glob("*.json"))]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", SPEC, re.DOTALL | re.MULTILINE)


def example() -> bytes:
    """The bytes of the example as a reader takes them from the text."""
    lines = blocks("hex")[0].splitlines()
    return bytes.fromhex("".join(line[: spec_example.HEX_WIDTH] for line in lines))


def test_the_example_is_made_by_its_generator():
    assert blocks("hex")[0] == spec_example.text()
    assert example() == spec_example.sealed()
    assert f"first batch, {len(example())} bytes" in SPEC


def test_the_example_says_what_the_text_says():
    x, y = re.findall(r"public key [xy] \| `([0-9a-f]{64})`", SPEC)
    assert bytes.fromhex(x + y) == GATEWAY.xy
    assert f"private key d | `{GATEWAY.d.hex()}`" in SPEC
    says = second.read_batch(example(), bytes.fromhex(x + y))
    second.check_link(None, says)
    (_, times, trust, channels), schema = says["tables"][0], cbor2.loads(says["schema"])
    assert trust == [0] * 7 and [time - times[0] for time in times] == [1000 * n for n in range(7)]
    rows = re.findall(r"^\| (?:2026-01-01T)?00:00:0(\d)Z? \| (.*?) \| (.*?) \|$", SPEC, re.MULTILINE)
    assert [int(row[0]) for row in rows] == list(range(7))
    for at, row in enumerate(rows):
        for channel, (quality, values) in enumerate(channels):
            _, unit, scale = schema[0][2][channel]
            want = "timeout" if quality[at] == 8 else f"{values[at] / 10**scale:,.{scale}f} {unit}"
            assert row[1 + channel] == want


def test_our_own_decoder_reads_the_example():
    message = batch.Batch(example())
    assert message.tables[0].column(0) == [2301, 2299, None, 2302, 2302, 2305, 2301]
    assert message.tables[0].column(1) == [90017, 90021, None, 90030, 90034, 90038, 90042]


def test_our_own_encoder_says_the_example_no_longer():
    table = batch.Table(0, 2)
    fields = spec_example.payload_fields()
    voltage, energy = iter(spec_example.VOLTAGE), iter(spec_example.ENERGY)
    for offset, code in zip(spec_example.TIMES, spec_example.QUALITY):
        values = [None, None] if code == 8 else [next(voltage), next(energy)]
        table.add(fields[9] + offset, 0, values, [code, code])
    header = batch.Header(
        prev=None, boot=1, cause=1, sampled=14, dropped=0, receipt_seq=None,
        settings_id=fields[8], schema=fields[12], with_schema=True,
    )  # fmt: skip
    payload = finish(batch.payload_steps(header, [table], spec_example.EVENTS))
    theirs = cose.Sign1(example(), cose.BATCH_TYPE).payload
    assert len(payload) <= len(theirs)  # an encoder is free in how it codes columns, and ours looks for the shortest
    ours, theirs = cbor.decode(payload), cbor.decode(theirs)
    assert ours[:10] + ours[11:] == theirs[:10] + theirs[11:]


def test_the_example_of_a_column_is_true():
    values, coder, data = re.search(r"^ +((?:\d+ )+)  under coder (\d)   ([0-9a-f ]+)$", SPEC, re.MULTILINE).groups()
    wanted = [int(value) for value in values.split()]
    assert read_column(bytes([int(coder)]) + bytes.fromhex(data), len(wanted)) == wanted


def test_the_limits_are_those_of_the_code():
    for number in (batch.MAX_BATCH_BYTES, batch.MAX_ROWS, batch.MAX_NUMBERS, batch.MAX_READINGS):
        assert f"{number:,}" in SPEC
    assert (batch.MAX_INSTRUMENTS, batch.MAX_CHANNELS, batch.MAX_EVENTS) == (64, 64, 256)
    assert (beat.MAX_BEAT_BYTES, receipt.MAX_RECEIPT_BYTES, beat.MAX_HEALTH) == (1024, 256, 32)
    assert (cbor.UINT_LIMIT, cbor.MAX_DEPTH) == (2**62, 8)
    assert (cose.BATCH_TYPE, cose.BEAT_TYPE, cose.RECEIPT_TYPE) == (65101, 65102, 65103)


def test_every_section_that_is_cited_exists():
    headings = set(re.findall(r"^#{2,3} ([0-9.]+)", SPEC, re.MULTILINE))
    cited = {vector["spec"] for vector in VECTORS}
    for path in sorted((ROOT / "lib/parkgate").glob("*.py")):
        cited |= set(re.findall(r"SPEC ([0-9](?:\.[0-9])?)\b", path.read_text(encoding="utf-8")))
    # The last sections, on what is not signed, are other people's rooms.
    assert {section for section in cited if int(section.split(".")[0]) < 9} <= headings


# CDDL. pycddl wants the rule to match first, and cannot look into byte strings: their content is matched apart.


def for_pycddl(text: str, data: bytes) -> str:
    """The CDDL said in ways that pycddl 0.6.4 understands: it fails on an optional last item of an array, on any
    number of items behind a first one or of several types, on a range that begins below zero, and takes any map for
    the empty one and no array for an empty list of tables."""
    item = cbor2.loads(data)
    with_schema = isinstance(item, list) and len(item) == 13
    text = text.replace("? schema: bytes,", "schema: bytes," if with_schema else "")
    text = text.replace("event = [kind: uint62, * item]", "event = any").replace("[* item]", "[* any]")
    if isinstance(item, list) and len(item) > 10 and item[10] == []:
        text = text.replace("[0*64 table]", "[]")
    text = text.replace("-18..18", " / ".join(str(scale) for scale in range(-18, 19)))
    text = re.sub(r"-([0-9]+)\.\.([0-9]+)", r"(int .ge -\1) .and (int .le \2)", text)
    return text.replace("{}", "{0*0 int => any}")


def matches(rule: str, data: bytes) -> bool:
    pycddl = pytest.importorskip("pycddl", reason="no pycddl for this Python")
    try:
        pycddl.Schema(for_pycddl(f"root = {rule}\n" + "\n".join(blocks("cddl")), data)).validate_cbor(data)
    except pycddl.ValidationError:
        return False
    return True


def parts(data: bytes) -> tuple[bytes, bytes]:
    protected, _, payload, _ = cbor2.loads(data[1:])
    return protected, payload


def good(kind: str) -> list[bytes]:
    return [
        bytes.fromhex(message)
        for vector in VECTORS
        if vector["kind"] == kind and vector["layer"] == "good"
        for message in vector["messages"]
    ]


@pytest.mark.parametrize(
    "kind, message_rule, header_rule, payload_rule",
    [
        ("batch", "signed-message", "batch-header", "batch"),
        ("chain", "signed-message", "batch-header", "batch"),
        ("beat", "signed-message", "beat-header", "beat"),
        ("receipt", "receipt-message", "receipt-header", "receipt"),
    ],
)
def test_good_messages_match_the_cddl(kind, message_rule, header_rule, payload_rule):
    for message in good(kind) + ([example()] if kind == "batch" else []):
        header, payload = parts(message)
        assert matches(message_rule, message)
        assert matches(header_rule, header)
        assert matches(payload_rule, payload)


def test_keys_schema_and_events_match_the_cddl():
    for key in good("key"):
        assert matches("cose-key", key)
    assert matches("schema-document", spec_example.payload_fields()[12])
    for event in spec_example.EVENTS:
        assert matches("known-event", cbor2.dumps(event))
    counter = [9, "press", "import_active_energy", 2, 5000, 77, [1767225600000, 0]]
    assert matches("counter", cbor2.dumps(counter))
    assert matches("known-event", cbor2.dumps([14, "press", "wiring", 1, 42, -950, 2700, 3, [1767225600000, 0]]))
    assert not matches("counter", cbor2.dumps([*counter[:3], 8, *counter[4:]]))


def test_bad_messages_do_not_match_the_cddl():
    """What CDDL can say, it says: of the vectors that the layers `batch` and `beat` refuse, most do not match."""
    rules = {"batch": "batch", "beat": "beat"}
    bad = [vector for vector in VECTORS if vector["kind"] in rules and vector["layer"] in rules]
    caught = [
        vector["fact"]
        for vector in bad
        if not matches(rules[vector["kind"]], parts(bytes.fromhex(vector["messages"][0]))[1])
    ]
    assert len(caught) >= len(bad) // 2, sorted({vector["fact"] for vector in bad} - set(caught))


def test_header_and_key_faults_do_not_match_the_cddl():
    assert not matches("batch-header", cbor2.dumps({1: -35, 3: 65101, 4: bytes(32), -65537: [bytes(16), 1]}))
    assert not matches("batch-header", cbor2.dumps({1: -7, 3: 65102, 4: bytes(32), -65537: [bytes(16), 1]}))
    assert not matches("cose-key", cbor2.dumps({1: 2, -1: 2, -2: bytes(32), -3: bytes(32)}))
    assert not matches("signed-message", cbor2.dumps(cbor2.CBORTag(18, [b"", {1: -7}, b"", bytes(64)])))
