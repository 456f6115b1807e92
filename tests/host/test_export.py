"""Exports: every reading, exact, in forms that other libraries read."""

import argparse
import contextlib
import csv
import gzip
import io
import json
import random
import re
from decimal import Decimal
from urllib.parse import unquote
from zoneinfo import ZoneInfo

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batches import METER, ROOM, START_MS, FakeGateway
from host_tools.cli import main
from host_tools.hub.export import command as export
from host_tools.hub.export import csv_text, question, rows, senml
from host_tools.hub.stores import places
from host_tools.hub.stores.store import connect
from parkgate.errors import SettingsError

KWH = ["old meter", "DDSU666", [["import_active_energy", "kWh", 2], ["frequency", "Hz", 2]]]


def run(rig, form, *more, out="out"):
    parser = argparse.ArgumentParser()
    export.add_parser(parser.add_subparsers())
    out = rig.data_dir / out
    arguments = ["export", "--data", str(rig.data_dir), "--format", form, "--out", str(out), *map(str, more)]
    assert export.run(parser.parse_args(arguments)) == 0
    return out.read_bytes()


def table(rig, *more, delimiter=",", form="csv"):
    text = run(rig, form, *more).decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter))


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
        assert name == f"parkgate:{gateway.id.hex()}:{row['instrument'].replace(' ', '/20')}:{row['quantity']}"
        assert row["gateway_id"] == gateway.id.hex()
        assert time_s * 1000 == Decimal(row["time_unix_ms"])
        if row["unit"] == "kWh":
            assert value == Decimal(row["value"]) * 1000, "the registry has Wh"
        else:
            assert value == Decimal(row["value"])


def test_the_text_is_what_the_meter_said(rig, gateway):
    rig.batches(gateway, gateway.batch(tables={2: [sample(0), sample(1, kwh=100)]}))
    lines = run(rig, "csv").decode().splitlines()
    assert lines[0] == ",".join(csv_text.HEADER)
    start = f"gateway 0,{gateway.id.hex()},gateway 0,{gateway.epoch.hex()},0,old meter,import_active_energy,kWh"
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
    assert len(from_json(run(rig, "senml-json", "--gateway", "two"))) == 40
    assert len(from_json(run(rig, "senml-json", "--gateway", other.id.hex()[:12]))) == 40
    cut = from_json(run(rig, "senml-json", "--gateway", "two", "--from", START_MS + 2000, "--to", START_MS + 5000))
    assert len(cut) == 3 * 4
    with pytest.raises(SettingsError, match="no gateway"):
        run(rig, "csv", "--gateway", "three")


def test_an_empty_hub(rig):
    assert run(rig, "senml-json") == b"[]\n"
    assert cbor2.loads(run(rig, "senml-cbor")) == []
    assert run(rig, "csv").decode().splitlines() == [",".join(csv_text.HEADER)]


def test_no_hub_there(tmp_path, capsys):
    assert main(["export", "--data", str(tmp_path), "--format", "csv"]) == 2
    assert "there is no hub in" in capsys.readouterr().err


# SenML names.


@given(st.text(max_size=30))
def test_names_have_only_what_senml_allows_and_say_which_text_it_was(text):
    part = senml.name_part(text)
    assert re.fullmatch(r"[A-Za-z0-9\-./_]*", part)
    assert unquote(part.replace("/", "%")) == text


def test_no_two_channels_have_one_name(rig):
    names = ["ម៉ាស៊ីនដេរ", "ម៉ាស៊ីនកាត់", "a b", "a/20b", "a:b", "a", "a", "a #2"]
    gateway = FakeGateway(1, [[name, "X", [["b:voltage_l1", "V", 0]]] for name in names])
    rig.enrol(gateway)
    rig.batches(gateway, gateway.batch(rows=1))
    found = [name for name, *_ in from_json(run(rig, "senml-json"))]
    assert len(set(found)) == len(names) == len(table(rig))
    assert len({row["instrument"] for row in table(rig)}) == len(names)


# Time.

PHNOM_PENH, BERLIN = ZoneInfo("Asia/Phnom_Penh"), ZoneInfo("Europe/Berlin")
DAY_MS = 86_400_000
NOV_1 = 1_793_466_000_000  # 2026-11-01 00:00 in Phnom Penh


@pytest.mark.parametrize(
    "words, span",
    [
        ({"from": "2026-11-01", "to": "2026-11-02"}, (NOV_1, NOV_1 + DAY_MS)),
        ({"day": "2026-11-01"}, (NOV_1, NOV_1 + DAY_MS)),
        ({"month": "2026-11"}, (NOV_1, NOV_1 + 30 * DAY_MS)),
        ({"from": "2026-11-01T08:30"}, (NOV_1 + 30_600_000, None)),
        ({"from": "2026-10-31T17:00:00Z"}, (NOV_1, None)),
        ({"to": "2026-11-01T02:00:00.250+09:00"}, (None, NOV_1 + 250)),
        ({"from": str(NOV_1)}, (NOV_1, None)),
        ({}, (None, None)),
    ],
)
def test_moments_are_those_of_the_park(words, span):
    assert question.span_of(words, PHNOM_PENH) == span


def test_days_of_23_and_25_hours():
    def hours(day):
        begin, end = question.span_of({"day": day}, BERLIN)
        return (end - begin) / 3_600_000

    assert [hours(day) for day in ("2026-03-29", "2026-10-25", "2026-10-26")] == [23, 25, 24]
    assert question.span_of({"from": "2026-10-25"}, BERLIN)[0] == question.span_of({"day": "2026-10-25"}, BERLIN)[0]


@pytest.mark.parametrize(
    "words, why",
    [
        ({"from": "2026-10-25T02:30"}, "twice"),
        ({"from": "2026-03-29T02:30"}, "not at all"),
        ({"from": "2026"}, "out of range"),
        ({"from": "1793466000"}, "out of range"),  # seconds
        ({"from": "yesterday"}, "a day is written"),
        ({"from": "2026-02-30"}, "a day is written"),
        ({"from": "20261101"}, "out of range"),
        ({"from": "2026-11-02", "to": "2026-11-01"}, "later than from"),
        ({"from": "2026-11-01", "to": "2026-11-01"}, "later than from"),
        ({"day": "2026-11-1"}, "it is written"),
        ({"month": "2026-13"}, "it is written"),
        ({"day": "2026-11-01", "to": "2026-11-02"}, "either a day"),
        ({"from": "9" * 5000}, "out of range"),
        ({"from": "9999-12-31T00:00Z"}, "no readings of that time"),
        ({"from": "٢٠٢٦-11-01"}, "a day is written"),
    ],
)
def test_what_is_no_moment_is_refused_with_its_reason(words, why):
    with pytest.raises(SettingsError, match=why):
        question.span_of(words, BERLIN)


def long_chain(rig, gateway, batches=40, rows=6):
    """A batch an hour, in whatever order they arrive."""
    step_ms = 3_600_000
    sealed = [
        gateway.batch(tables={0: [(START_MS + n * step_ms + 60_000 * i, 0, [2300, i, n], None) for i in range(rows)]})
        for n in range(batches)
    ]
    random.Random(1).shuffle(sealed)
    for group in range(0, batches, 7):
        rig.batches(gateway, *sealed[group : group + 7])


def test_a_span_decodes_its_own_batches_and_gives_what_the_whole_would(rig, gateway, monkeypatch):
    long_chain(rig, gateway)
    decoded = []
    real = rows.decode_stored
    monkeypatch.setattr(rows, "decode_stored", lambda stored: decoded.append(len(stored)) or real(stored))
    everything = table(rig)
    assert sum(decoded) == 40
    for begin, end in [(-DAY_MS, 100_000), (1, 2), (7_260_000, 7_260_001), (5_000_000, 30_000_000), (0, 9 * DAY_MS)]:
        decoded.clear()
        span = START_MS + begin, START_MS + end
        expected = [row for row in everything if span[0] <= int(row["time_unix_ms"]) < span[1]]
        assert table(rig, "--from", span[0], "--to", span[1]) == expected
        hours = {(int(row["time_unix_ms"]) - START_MS) // 3_600_000 for row in expected}
        assert len(hours) <= sum(decoded) <= len(hours) + 1
    decoded.clear()
    assert {row["quantity"] for row in table(rig, "--quantity", "active_power")} == {"active_power"}
    assert table(rig, "--instrument", "room") == [] and sum(decoded) == 40


def test_readings_without_a_date_are_in_no_month(rig, gateway, capsys):
    undated = [(4711, 3, [5, 5], None), (4712, 3, [6, 6], None)]
    rig.batches(gateway, gateway.batch(tables={2: [sample(0), undated[0]]}), gateway.batch(tables={2: [undated[1]]}))
    months = [table(rig, "--month", month) for month in ("2023-11", "2023-12")]
    assert [len(rows) for rows in months] == [2, 0]
    assert "4 readings have no date" in capsys.readouterr().err
    assert len(table(rig)) == 6
    alone = table(rig, "--undated")
    assert [row["time_since_boot_ms"] for row in alone] == ["4711", "4711", "4712", "4712"]
    assert {row["time_unix_ms"] for row in alone} == {""}
    assert len(table(rig, "--undated", "--quantity", "frequency")) == 2


def test_undated_batches_alone_are_found_by_the_index(rig, gateway, monkeypatch):
    rig.batches(
        gateway, *[gateway.batch(rows=2) for _ in range(5)], gateway.batch(tables={2: [(4711, 3, [5, 5], None)]})
    )
    decoded = []
    real = rows.decode_stored
    monkeypatch.setattr(rows, "decode_stored", lambda stored: decoded.append(len(stored)) or real(stored))
    assert len(table(rig, "--undated")) == 2 and sum(decoded) == 1


# Places.


def test_a_reading_belongs_to_the_place_where_it_was_read(rig, gateway):
    rig.enrol(gateway)
    tables = {2: [sample(n) for n in range(8)] + [(4711, 3, [1, 1], None)]}
    rig.batches(gateway, gateway.batch(tables=tables))
    with contextlib.closing(connect(rig.data_dir)) as db:
        first = places.find(db, "gateway 0")
        places.add(db, "hall 2", "test")
        second = places.find(db, "hall 2")
        moved_ms = START_MS + 250 * 3
        db.execute("UPDATE place_stay SET to_ms = ? WHERE pl = ?", (moved_ms, first.pl))
        db.execute("INSERT INTO place_stay VALUES (?, ?, ?, NULL)", (second.pl, first.gw, moved_ms))
    for row in table(rig):
        dated = row["time_unix_ms"]
        expected = "" if not dated else "gateway 0" if int(dated) < moved_ms else "hall 2"
        assert row["place"] == expected
    assert len(table(rig, "--place", "hall 2")) == 5 * 2
    assert len(table(rig, "--place", second.id.hex(), "--excel")) == 5 * 2
    assert len(table(rig, "--place", "gateway 0", "--to", START_MS + 250)) == 2
    assert len(from_json(run(rig, "senml-json", "--place", "hall 2", "--place", "gateway 0"))) == 8 * 2
    with pytest.raises(SettingsError, match="no place"):
        run(rig, "csv", "--place", "hall 3")


# Spreadsheets.


def test_a_spreadsheet_reads_names_times_and_numbers(rig, gateway):
    gateway.name = "រោងចក្រ"
    rig.enrol(gateway)
    rig.batches(gateway, gateway.batch(tables={2: [sample(1), (4711, 3, [-5, 7], None)]}))
    raw = run(rig, "csv", "--excel", "--zone", "Asia/Phnom_Penh")
    assert raw.startswith(b"\xef\xbb\xbfplace,") and raw.endswith(b"\r\n")
    dated, undated = table(rig, "--excel", "--zone", "Asia/Phnom_Penh", "--quantity", "import_active_energy")
    assert dated["gateway"] == "រោងចក្រ" and dated["value"] == "1234.56"
    assert (dated["time_local"], dated["offset"]) == ("2023-11-15 05:13:20.250", "UTC+07:00")
    assert (undated["time_local"], undated["time_since_boot_ms"], undated["value"]) == ("", "4711", "-0.05")
    options = ["--excel", "--decimal-comma", "--zone", "America/St_Johns"]
    first = table(rig, *options, delimiter=";")[0]
    assert first["value"] == "1234,56" and first["seq"] == "0"
    assert (first["time_local"], first["offset"]) == ("2023-11-14 18:43:20,250", "UTC-03:30")
    plain = {(row["time_unix_ms"], row["quantity"]): row["value"] for row in table(rig)}
    excel = {(row["time_unix_ms"], row["quantity"]): row["value"] for row in table(rig, "--excel")}
    assert plain == excel


def test_a_text_computes_nothing(rig):
    names = [
        "=1+1",
        "+1",
        "-1",
        "@SUM(A1)",
        "\t=1",
        '=HYPERLINK("x";"y")',
        "＝1",
        "1-2",
        "3/4",
        "007",
        "1e5",
        "press 1",
    ]
    gateway = FakeGateway(1, [[name, "X", [["voltage_l1", "V", 1]]] for name in names])
    rig.enrol(gateway)
    rig.batches(gateway, gateway.batch(tables={i: [(START_MS, 0, [-23], None)] for i in range(len(names))}))
    for options, delimiter in (((), ","), (("--decimal-comma",), ";")):
        found = table(rig, "--excel", *options, delimiter=delimiter)
        shown = [row["instrument"] for row in found]
        assert shown == [f"'{name}" for name in names[:-1]] + ["press 1"]
        assert {row["value"].replace(",", ".") for row in found} == {"-2.3"}, "a number is never changed"
    assert [row["instrument"] for row in table(rig)] == names, "for programs: as it is"


def test_what_cannot_be_asked_for_together_is_refused(rig, gateway):
    for form, *more in (
        ("csv", "--decimal-comma"), ("senml-json", "--excel"), ("senml-json", "--undated"),
        ("csv", "--undated", "--day", "2026-11-01"), ("events", "--quantity", "voltage_l1"), ("csv", "--zone", "Mars"),
    ):  # fmt: skip
        with pytest.raises(SettingsError):
            run(rig, form, *more)
    assert not (rig.data_dir / "out").exists()


# Files.


def test_a_file_is_replaced_only_by_a_whole_one(rig, gateway, monkeypatch):
    rig.batches(gateway, gateway.batch(rows=30))
    out = rig.data_dir / "out"
    out.write_text("before")
    with pytest.raises(SettingsError):
        run(rig, "csv", "--day", "tomorrow")
    assert out.read_text() == "before"

    def ends_early(parts, tally, style=None):
        yield b"half"
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(csv_text, "answer", ends_early)
        with pytest.raises(KeyboardInterrupt):
            run(rig, "csv")
    assert out.read_text() == "before"
    assert sorted(path.name for path in rig.data_dir.iterdir() if "out" in path.name) == ["out"]
    assert len(run(rig, "csv").splitlines()) == 1 + 30 * 6


def test_a_compressed_file_is_the_same(rig, gateway):
    rig.batches(gateway, gateway.batch(rows=30))
    assert gzip.decompress(run(rig, "csv", out="out.csv.gz")) == run(rig, "csv")


# Events.


def test_events_by_gateway_and_time(rig, gateway):
    rig.batches(
        gateway,
        gateway.batch(rows=2, events=[[1, 1, 0]]),
        gateway.batch(rows=2),
        gateway.batch(tables={}, events=[[13, [START_MS, 0], "press", "sok", {}]]),
        gateway.batch(tables={2: [(START_MS + DAY_MS, 0, [1, 1], None)]}, events=[[99, "later"]]),
    )
    everything = table(rig, form="events")
    assert [(row["seq"], row["gateway_id"]) for row in everything] == [(n, gateway.id.hex()) for n in ("0", "2", "3")]
    assert json.loads(everything[2]["event"]) == [99, "later"]
    assert [row["seq"] for row in table(rig, "--from", START_MS, "--to", START_MS + 1000, form="events")] == ["0"]
    assert [row["seq"] for row in table(rig, "--from", rig.now_unix_ms, form="events")] == ["2"], "when it was received"
    assert [row["seq"] for row in table(rig, "--from", START_MS, form="events")] == ["0", "2", "3"]
