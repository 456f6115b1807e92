"""Evidence packs: figures that are those of the registers, and tampered packs that are refused by name."""

import contextlib
import csv
import io
import json
import os
import random
import re
import zipfile
from datetime import date, datetime, timedelta, timezone
from fractions import Fraction

import pytest

from batches import FakeGateway
from failing_calls import run
from host_tools.evidence.pack import check, figures
from host_tools.hub.park.book import Book
from host_tools.hub.stores.places import Place
from host_tools.hub.stores.store import connect
from hub_rig import HOUR_MS, meters_schema

TAMPERED = 1000 if os.environ.get("PARKGATE_FUZZ_SIZE") else 60
DAY_MS = 24 * HOUR_MS
FIRST, LAST = date(2025, 1, 1), date(2025, 3, 2)
FACTORS = [
    {"id": f"{method}-2025", "value": value, "unit": "kg CO2e/kWh", "year": 2025, "scope": 2, "method": method,
     "source": "a table that this test made up", "date": "2026-01-05", "sha256": "ab" * 32, "from": "2025-01-01",
     "to": "2025-12-31"}
    for method, value in (("location", "0.4"), ("market", "0"))
]  # fmt: skip


def start_ms():
    return int(datetime(FIRST.year, FIRST.month, FIRST.day, tzinfo=timezone.utc).timestamp()) * 1000


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A hall whose register is read at each midnight: 100 kWh a day, 1 kWh more each day of the month. A second hub
    folder is the same without February."""
    from hub_rig import Rig

    folder = tmp_path_factory.mktemp("pack")
    for name, missing in (("whole", None), ("holed", 2)):
        data = folder / name
        data.mkdir()
        rig = Rig(data)
        gateway = FakeGateway(2, meters_schema(["mains"]))
        gateway.name = "hall-3"
        rig.enrol(gateway)
        register, day = 0, FIRST - timedelta(days=1)
        while day < LAST + timedelta(days=2):
            month, rows = day.month, []
            while day.month == month and day < LAST + timedelta(days=2):
                at = start_ms() + (day - FIRST).days * DAY_MS
                rows.append((at, 0, [0, register], [0, 0]))
                register += 100_000 + 1000 * day.day
                day += timedelta(days=1)
            rig.now_unix_ms = rows[-1][0] + HOUR_MS
            sealed = gateway.batch(tables={0: rows}, with_schema=True)
            if month != missing:
                assert rig.batches(gateway, sealed)[0].receipt
        while Book(rig.store.db).catch_up():
            pass
        rig.store.close()
        with contextlib.closing(connect(data)) as db:
            db.execute("INSERT INTO about VALUES ('setting zone', 'UTC')")
    (folder / "factors.json").write_text(json.dumps(FACTORS))
    return folder


def ask(*words):
    result = run(["evidence", *words, "--json"], lambda _: None)
    return result.exit_code, json.loads(result.out)


def write(made, hub, out, *words, first="2025-01-01", last="2025-02-28"):
    span = ["--from", first, "--to", last]
    return ask("write", "--data", str(made / hub), "--place", "hall-3", *span, "--out", str(out), *words)


def table(pack, name):
    return list(csv.DictReader(io.StringIO(pack.read(name).decode())))


@pytest.fixture(scope="module")
def pack(made):
    words = ["meter-register", "add", "--meter", "hall-3", "mains", "--serial", "20481", "--accuracy-class", "1",
             "--calibrated-on", "2024-12-01", "--due-on", "2025-02-10", "--uncertainty", "0.5"]  # fmt: skip
    assert run([*words, "--data", str(made / "whole"), "--json"], lambda _: None).exit_code == 0
    out = made / "e.zip"
    code, found = write(made, "whole", out, "--factors", str(made / "factors.json"))
    assert code == 0, found
    return out, found


def test_the_figures_are_those_of_the_registers(pack):
    out, found = pack
    with zipfile.ZipFile(out) as zipped:
        rows = table(zipped, "figures.csv")
        (meter,) = table(zipped, "meters.csv")
        assert json.loads(zipped.read("factors.json")) == FACTORS
        assert "Noto Sans Khmer" in zipped.read("report.html").decode()
    energy = [row for row in rows if row["unit"] == "kWh"]
    for row in energy:
        first = date.fromisoformat(row["from"])
        days = (date.fromisoformat(row["to"]) - first).days + 1
        assert Fraction(row["value"]) == 100 * days + days * (days + 1) // 2, row
        assert (row["least"], row["most"], row["completeness_percent"], row["imputed_percent"]) == (
            row["value"], row["value"], "100", "0"
        )  # fmt: skip
        assert float(row["uncertainty_k2"]) == pytest.approx(float(row["value"]) * 0.005, rel=1e-5)
        assert re.fullmatch(r"[0-9a-f]{64}:[0-9a-f]{32}:\d+", row["first_batch"]), row
    assert len(energy) == 2
    carbon = {(row["from"], row["factor"]): row["value"] for row in rows if row["unit"] == "kg CO2e"}
    assert len(carbon) == 4 and carbon["2025-01-01", "market-2025"] == "0"
    assert Fraction(carbon["2025-01-01", "location-2025"]) == Fraction(energy[0]["value"]) * Fraction(4, 10)
    assert meter["serial"] == "20481" and "past due" in meter["remarks"]
    assert found["left_out"] == [
        "higg_fem.csv: the pack has 2 months, and the sheet wants 12", "a baseline: none was named"
    ]  # fmt: skip


def test_words_that_no_pack_may_say(pack):
    with zipfile.ZipFile(pack[0]) as zipped:
        for name in zipped.namelist():
            if not name.endswith(".zip"):
                words = re.findall(rb"(?i)\b(certified|compliant)\b", zipped.read(name))
                assert not words, (name, words)


def test_the_archive_inside_holds(pack, tmp_path):
    from host_tools.archive import audit

    with zipfile.ZipFile(pack[0]) as zipped:
        (tmp_path / "archive.zip").write_bytes(zipped.read("proofs/archive.zip"))
    said = tmp_path / "said.json"
    audit.main([str(tmp_path / "archive.zip"), "--trust", pack[1]["log_key"], "--json", str(said)])
    made = json.loads(said.read_text())
    assert made["overall"] in ("success", "incomplete"), made["overall"]


def test_a_month_that_is_not_measured_is_no_0(made):
    out = made / "holed.zip"
    code, found = write(made, "holed", out)
    assert code == 0
    with zipfile.ZipFile(out) as zipped:
        rows = {row["from"][:7]: row for row in table(zipped, "figures.csv")}
    assert rows["2025-02"]["value"] == "not known" or float(rows["2025-02"]["imputed_percent"]) > 5
    assert {line.split(" ")[0] for line in found["left_out"]} >= {"location-based", "market-based", "a"}


def test_the_sheet_of_twelve_months_has_no_blank():
    place = Place(1, b"", "Hall 3", None, 1, "hall-3")

    def year(*energies):
        return [
            figures.Month(date(2025, i + 1, 1), date(2025, i + 1, 28), kwh and (Fraction(kwh), Fraction(kwh)), 28, 28)
            for i, kwh in enumerate(energies)
        ]

    sheet, why = figures.higg(year(*range(100, 1300, 100)), place)
    assert sheet is not None and [row[4] for row in sheet] == [str(n) for n in range(100, 1300, 100)] and not why
    assert all(cell for row in sheet for cell in row)
    sheet, why = figures.higg(year(*[5] * 7, None, *[5] * 4), place)
    assert sheet is None and why == "not known: 2025-08"
    assert figures.higg(year(*[5] * 11), place)[0] is None


def test_a_good_pack_and_another_key(pack):
    out, found = pack
    assert ask("check", str(out), "--trust", found["log_key"])[1]["holds"] is True
    code, said = ask("check", str(out), "--trust", "00" * 32)
    assert code == 1 and [fault["kind"] for fault in said["faults"]] == ["key"]
    code, said = ask("check", str(out))
    assert code == 0 and said["trusted"] is False and said["log_key"] == found["log_key"]


def rewritten(source, target, change):
    """A copy of a zip file, each member through change(name, data) → [(name, data)]."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            for other, data in change(name, old.read(name)):
                new.writestr(other, data)


@pytest.mark.fuzz
def test_a_tampered_pack_is_refused_by_name(pack, tmp_path):
    out, found = pack
    names = [*found["members"], check.STATEMENT, check.KEY]
    dice, target = random.Random(9), tmp_path / "t.zip"
    for round_ in range(TAMPERED):
        victim, way = dice.choice(names), dice.choice(("flip", "drop", "add", "cut", "swap"))

        def change(name, data, victim=victim, way=way):
            if name != victim:
                return [(name, data)]
            at = dice.randrange(len(data) if name != check.KEY else 128)
            if way == "flip":
                return [(name, data[:at] + bytes([data[at] ^ (1 << dice.randrange(3))]) + data[at + 1 :])]
            other = "figures.csv" if name != "figures.csv" else "meters.csv"
            return {
                "drop": [], "add": [(name, data), ("proofs/more.csv", data)], "cut": [(name, data[:at])],
                "swap": [(other + ".old", data)],
            }[way]  # fmt: skip

        rewritten(out, target, change)
        said = check.check(target, found["log_key"])
        kinds = {fault.kind for fault in said.faults}
        assert kinds, (round_, victim, way)
        own = victim not in (check.STATEMENT, check.KEY)
        if own and way != "add":
            wanted = "missing" if way in ("drop", "swap") else "changed"
            assert (wanted, victim) in [tuple(fault) for fault in said.faults], (round_, victim, way, said.faults)
        elif way == "add":
            assert ("added", "proofs/more.csv") in [tuple(fault) for fault in said.faults]
        elif way in ("drop", "swap"):
            assert "no pack" in kinds
        else:
            assert kinds & {"statement", "signature", "key"}, (round_, victim, way, said.faults)


def test_what_is_no_pack(tmp_path):
    path = tmp_path / "x.zip"
    path.write_bytes(b"PK\x03\x04 no zip")
    assert [fault.kind for fault in check.check(path).faults] == ["no pack"]
    assert [fault.kind for fault in check.check(tmp_path / "none.zip").faults] == ["no pack"]


def test_wrong_words(made, pack, tmp_path):
    bad = tmp_path / "f.json"
    out = tmp_path / "o.zip"
    for change, words in (
        ({"value": "0,4"}, "value is a decimal"), ({"unit": "t/MWh"}, "unit is"),
        ({"method": "grid"}, "method is one of"), ({"sha256": "x"}, "SHA-256"), ({"source": ""}, "source"),
        ({"from": "2026"}, "days"), ({"to": "2020-01-01"}, "before"),
        ({"year": "2025"}, "year is a number"), ({"id": None}, "as text"),
    ):  # fmt: skip
        bad.write_text(json.dumps([{**FACTORS[0], **change}]))
        code, said = write(made, "whole", out, "--factors", str(bad))
        assert code == 2 and words in said["error"]["text"], said
    for first, last, words in (
        ("2025-01-02", "2025-01-31", "whole months"), ("2025-01-01", "2025-01-30", "whole months"),
        ("2199-01-01", "2199-01-31", "not over"), ("x", "2025-01-31", "days such as"),
    ):  # fmt: skip
        code, said = write(made, "whole", out, first=first, last=last)
        assert code == 2 and words in said["error"]["text"], said
    assert "exists already" in write(made, "whole", pack[0])[1]["error"]["text"]
    assert not out.exists()
