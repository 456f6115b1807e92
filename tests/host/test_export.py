"""Exports: every reading, exact, in forms that other libraries read."""

import csv
import io
import json
from decimal import Decimal
from types import SimpleNamespace

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batches import METER, ROOM, START_MS, FakeGateway
from host_tools.hub.stores.store import StoreError
from host_tools.hub.verbs import export
from parkgate.errors import SettingsError

KWH = ["old meter", "DDSU666", [["import_active_energy", "kWh", 2], ["frequency", "Hz", 2]]]


def run(rig, form, **fields):
    arguments = {"data": str(rig.data_dir), "format": form, "gateway": None, "from_ms": None, "to_ms": None}
    out = rig.data_dir / "out"
    assert export.run(SimpleNamespace(**{**arguments, "out": str(out), **fields})) == 0
    return out.read_bytes()


def resolve(records):
    """(name, time, unit, value, quality) of each SenML record, by RFC 8428 section 4.6; exact."""
    base, found = {}, []
    for record in records:
        base.update({key: record[key] for key in ("bn", "bt", "bu") if key in record})
        time_s = Decimal(base.get("bt", 0)) + Decimal(record.get("t", 0))
        name = base.get("bn", "") + record.get("n", "")
        found.append((name, time_s, record.get("u", base.get("bu")), Decimal(record["v"]), record.get("quality")))
    return found


def from_json(data):
    return resolve(json.loads(data, parse_float=Decimal, parse_int=Decimal))


def from_cbor(data):
    labels = {-2: "bn", -3: "bt", -4: "bu", 2: "v", 6: "t"}
    return resolve([{labels.get(key, key): value for key, value in record.items()} for record in cbor2.loads(data)])


@pytest.fixture
def gateway(rig):
    gateway = FakeGateway(1, [METER, ROOM, KWH])
    rig.enrol(gateway)
    return gateway


def sample(n, kwh=123456, quality=(0, 0)):
    return (START_MS + 250 * n, 0, [kwh, 5001], list(quality))


def test_all_three_say_the_same(rig, gateway):
    rig.batches(gateway, gateway.batch(rows=30), gateway.batch(rows=30))
    rows = list(csv.DictReader(io.StringIO(run(rig, "csv").decode())))
    assert len(rows) == 2 * 30 * 6
    as_json, as_cbor = from_json(run(rig, "senml-json")), from_cbor(run(rig, "senml-cbor"))
    assert as_json == as_cbor and len(as_json) == len(rows)
    for row, (name, time_s, _, value, _) in zip(rows, as_json):
        assert name == f"parkgate:{gateway.id.hex()}:{row['instrument'].replace(' ', '_')}:{row['quantity']}"
        assert time_s * 1000 == Decimal(row["time_unix_ms"])
        if row["unit"] == "kWh":
            assert value == Decimal(row["value"]) * 1000, "the registry has Wh"
        else:
            assert value == Decimal(row["value"])


def test_the_text_is_what_the_meter_said(rig, gateway):
    rig.batches(gateway, gateway.batch(tables={2: [sample(0), sample(1, kwh=100)]}))
    lines = run(rig, "csv").decode().splitlines()
    assert lines[0] == ",".join(export.CSV_HEADER)
    start = f"gateway 0,{gateway.epoch.hex()},0,old meter,import_active_energy,kWh"
    assert lines[1] == f"{start},{START_MS},,synchronised,1234.56,good"
    assert lines[2] == f"{start},{START_MS + 250},,synchronised,1.00,good"
    text = run(rig, "senml-json").decode()
    assert '"bt":1700000000.000,"bu":"Wh","v":1234560}' in text
    assert '{"t":0.250,"v":1000}' in text


def test_units_of_the_registry(rig, gateway):
    rig.batches(gateway, gateway.batch(rows=1))
    units = {name.rpartition(":")[2]: unit for name, _, unit, _, _ in from_json(run(rig, "senml-json"))}
    assert units == {
        "voltage_l1": "V", "active_power": "W", "import_active_energy": "Wh", "temperature": "Cel", "frequency": "Hz",
    }  # fmt: skip


def test_quality_and_dates(rig, gateway, capsys):
    rows = [
        sample(0),
        (START_MS + 250, 0, [None, None], [8, 9]),
        (4711, 3, [5, 5], None),
        (START_MS + 750, 2, [7, 7], [4, 0]),
    ]
    rig.batches(gateway, gateway.batch(tables={2: rows}))
    found = list(csv.DictReader(io.StringIO(run(rig, "csv").decode())))
    assert [row["quality"] for row in found[:4]] == ["good", "timeout", "good", "counter glitch"]
    assert [row["value"] for row in found[:4]] == ["1234.56", "", "0.05", "0.07"]
    assert (found[2]["time_unix_ms"], found[2]["time_since_boot_ms"]) == ("", "4711")
    records = from_json(run(rig, "senml-json"))
    assert [record[4] for record in records] == [None, "counter glitch", None, None]
    assert "4 without a value or a date" in capsys.readouterr().err


def test_choosing_gateways_and_times(rig, gateway):
    other = FakeGateway(2)
    gateway.name, other.name = "one", "two"
    rig.enrol(gateway, other)
    rig.batches(gateway, gateway.batch(rows=10))
    rig.batches(other, other.batch(rows=10))
    assert len(from_json(run(rig, "senml-json"))) == 100
    assert len(from_json(run(rig, "senml-json", gateway=["two"]))) == 40
    assert len(from_json(run(rig, "senml-json", gateway=[other.id.hex()[:12]]))) == 40
    cut = from_json(run(rig, "senml-json", gateway=["two"], from_ms=START_MS + 2000, to_ms=START_MS + 5000))
    assert len(cut) == 3 * 4
    with pytest.raises(SettingsError, match="no gateway"):
        run(rig, "csv", gateway=["three"])


def test_an_empty_hub(rig):
    assert run(rig, "senml-json") == b"[]\n"
    assert cbor2.loads(run(rig, "senml-cbor")) == []
    assert run(rig, "csv").decode().splitlines() == [",".join(export.CSV_HEADER)]


def test_no_hub_there(tmp_path):
    with pytest.raises(StoreError, match="no hub in"):
        export.run(SimpleNamespace(data=str(tmp_path), format="csv", gateway=None, from_ms=None, to_ms=None, out=None))


@given(st.text(max_size=30))
def test_names_have_only_what_senml_allows(text):
    import re

    assert re.fullmatch(r"[A-Za-z0-9\-:._]*", export.senml_name(text))
