"""The meter register: records as signed statements, which one holds on a day, and what is said of readings."""

import contextlib
import hashlib
import json
from datetime import date
from fractions import Fraction

import pytest

from batches import FakeGateway
from failing_calls import run
from host_tools.hub.park import zone
from host_tools.hub.park.metering import register
from host_tools.hub.park.metering.meters import Meter
from host_tools.hub.park.metering.register import Record
from host_tools.hub.park.money import bill, paper, tariff
from host_tools.hub.park.place import of_gateway, view
from host_tools.hub.stores import places
from host_tools.hub.stores.store import connect
from host_tools.log.log import Log
from hub_rig import fill_meters, meters_schema
from parkgate.errors import SettingsError
from parkgate.log.statement import METER_REGISTERED, Statement
from test_hub_park import MINUTE, NOON

DAY = date.fromisoformat


def records(*found):
    """Records of one meter, written in this order."""
    return [
        Record("aa", None, "mains", n, None, f"{n:064x}", {"serial": "1", "accuracy_class": "1", **fields})
        for n, fields in enumerate(found)
    ]


def said(found, first, last):
    return [
        (each.kind, each.begin and str(each.begin), str(each.end))
        for each in register.remarks(found, DAY(first), DAY(last))
    ]


@pytest.mark.parametrize("found, expected", [
    ([], [("not registered", "2026-01-01", "2026-12-31")]),
    ([{}], [("not calibrated", "2026-01-01", "2026-12-31")]),
    ([{"installed_on": "2026-03-05"}], [
        ("not registered", "2026-01-01", "2026-03-04"), ("not calibrated", "2026-03-05", "2026-12-31")]),
    ([{"calibrated_on": "2025-07-01", "due_on": "2026-12-31"}], []),
    ([{"calibrated_on": "2025-07-01", "due_on": "2026-06-30"}], [("past due", "2026-07-01", "2026-12-31")]),
    ([{"calibrated_on": "2024-07-01", "due_on": "2025-06-30"}], [("past due", "2026-01-01", "2026-12-31")]),
    # Late, and calibrated again: the days in between stay flagged.
    ([{"calibrated_on": "2024-07-01", "due_on": "2026-03-31"}, {"calibrated_on": "2026-05-02", "due_on": "2028-05-01"}],
     [("past due", "2026-04-01", "2026-05-01")]),
    # The same calibration again, with the day as it should be: the later record holds.
    ([{"calibrated_on": "2025-07-01", "due_on": "2025-07-31"},
      {"calibrated_on": "2025-07-01", "due_on": "2027-07-01"}], []),
    # Another meter, calibrated in the laboratory before it was installed.
    ([{"calibrated_on": "2025-09-01", "due_on": "2026-06-30"},
      {"serial": "2", "calibrated_on": "2025-02-01", "due_on": "2027-02-01", "installed_on": "2026-07-01"}], []),
    ([{"calibrated_on": "2025-07-01", "due_on": "2027-06-30", "as_found": "1.0"}], []),
    ([{"calibrated_on": "2024-07-01", "due_on": "2026-07-01"},
      {"calibrated_on": "2026-06-20", "due_on": "2028-06-20", "as_found": "-1.01"}],
     [("as found", "2024-07-01", "2026-06-20")]),
    ([{"calibrated_on": "2026-06-20", "as_found": "3"}],
     [("not registered", "2026-01-01", "2026-06-19"), ("as found", None, "2026-06-20")]),
    # The error of one meter does not touch another one's months.
    ([{"serial": "2", "calibrated_on": "2024-07-01"},
      {"calibrated_on": "2026-06-20", "installed_on": "2025-12-01", "as_found": "3"}],
     [("as found", "2025-12-01", "2026-06-20")]),
])  # fmt: skip
def test_what_is_said_of_a_year(found, expected):
    assert said(records(*found), "2026-01-01", "2026-12-31") == expected


def test_the_months_that_an_error_touches():
    found = records({"calibrated_on": "2025-11-20"}, {"calibrated_on": "2026-02-01", "as_found": "1.5"})
    (remark,) = register.remarks(found, DAY("2025-12-01"), DAY("2026-12-31"))
    assert register.months(remark, DAY("2025-12-01"), DAY("2026-12-31")) == ["2025-12", "2026-01", "2026-02"]
    assert "1.5 %, 1 % is allowed" in remark.text
    assert not register.remarks(found, DAY("2026-02-02"), DAY("2026-03-01"))


@pytest.mark.parametrize("fields, words", [
    ({"make": "Eastron"}, "--serial"),
    ({"serial": ""}, "serial has 1 to 80"),
    ({"serial": "1", "colour": "red"}, "no field 'colour'"),
    ({"serial": "1", "calibrated_on": "2026-02-30"}, "a day such as"),
    ({"serial": "1", "due_on": "2026-02-03"}, "give calibrated_on too"),
    ({"serial": "1", "calibrated_on": "2026-02-03", "due_on": "2026-02-02"}, "due_on is before"),
    ({"serial": "1", "calibrated_on": "2026-02-03", "as_found": "1e2"}, "a percentage"),
    ({"serial": "1", "calibrated_on": "2026-02-03", "uncertainty": "-1"}, "a percentage"),
    ({"serial": "1", "calibrated_on": "2026-02-03", "as_found": "1"}, "--limit"),
    ({"serial": "1", "as_left": "1"}, "give calibrated_on too"),
    ({"serial": "1", "photo_sha256": "aa"}, "64 hexadecimal digits"),
    ({"serial": "1\x07"}, "1 to 80"),
])  # fmt: skip
def test_a_record_that_is_wrong_is_refused_by_name(fields, words):
    with pytest.raises(SettingsError, match=words):
        register.checked(fields)


@pytest.mark.parametrize("text, expected", [
    ("1", 1), ("0.5S", 0.5), ("0.2s", Fraction(1, 5)), ("B", 1), ("class C", 0.5), ("Cl. 2", 2),
    ("best", None), ("", None),
])  # fmt: skip
def test_the_limit_of_a_class(text, expected):
    assert register.limit({"accuracy_class": text}) == expected


@pytest.fixture
def hall(rig):
    gateway = FakeGateway(2, meters_schema(["mains", "press"]))
    gateway.name = "hall-3"
    rig.enrol(gateway)
    fill_meters(rig, gateway, [6000, 2000], NOON - 40 * zone.HOUR_MS, NOON + MINUTE)
    rig.gateway = gateway
    return rig


def ask(rig, *words):
    result = run(["meter-register", *words, "--data", str(rig.data_dir), "--json"], lambda _: None)
    return result.exit_code, json.loads(result.out)


def test_from_the_command_to_page_and_bill(hall, tmp_path):
    certificate = tmp_path / "c.pdf"
    certificate.write_bytes(b"%PDF")
    first = ["add", "--meter", "hall-3", "mains", "--serial", "20481", "--accuracy-class", "1", "--ct-ratio", "200/5"]
    code, made = ask(
        hall, *first, "--calibrated-on", "2020-03-02", "--due-on", "2022-03-01", "--certificate-file", str(certificate)
    )
    assert code == 0
    assert made["record"]["fields"]["certificate_sha256"] == hashlib.sha256(b"%PDF").hexdigest()
    code, found = ask(hall, "check")
    assert code == 1 and {one["instrument"]: [r["kind"] for r in one["remarks"]] for one in found["meters"]} == {
        "mains": ["past due"], "press": ["not registered"]
    }  # fmt: skip
    with contextlib.closing(connect(hall.data_dir, read_only=True)) as db:
        now = NOON + MINUTE
        shown = view(db, of_gateway(db, 1, ["mains", "press"]), "day", NOON, zone.zone("UTC"), now)["register"]
        year, month = date.fromtimestamp(NOON / 1000).timetuple()[:2]
        text = json.dumps({
            "tariff": "t", "currency": "USD", "rounding": "0.01",
            "versions": [{"from": "2020-01", "to": None, "energy": [{"name": "Energy", "price": "0.164"}]}],
        })  # fmt: skip
        made = bill.bill(db, 1, (year, month), tariff.read(text), "ab" * 32, zone.zone("UTC"), now)
    assert [(one["serial"], [r["kind"] for r in one["remarks"]]) for one in shown] == [
        ("20481", ["past due"]), (None, ["not registered"])
    ]  # fmt: skip
    assert made["register"][0]["remarks"][0]["kind"] == "past due"
    page = paper.page(made)
    assert "serial number 20481" in page and "<b>mains: past due.</b>" in page and "due on 2022-03-01" in page
    # Calibrated again, with a bad error: nothing is past due today, and all months since 2020 are touched.
    today = f"{date.today():%Y-%m-%d}"
    ask(hall, *first, "--calibrated-on", today, "--due-on", "2199-01-01", "--as-found", "2.5", "--as-left", "0.1")
    code, found = ask(hall, "list", "--from", "2020-03-02", "--to", "2020-05-20")
    assert [(r["kind"], r["months"]) for r in found["meters"][0]["remarks"]] == [
        ("as found", ["2020-03", "2020-04", "2020-05"])
    ]  # fmt: skip


def test_records_are_statements_that_name_the_one_before(hall):
    for serial in ("1", "2"):
        assert ask(hall, "add", "--meter", "hall-3", "mains", "--serial", serial)[0] == 0
    ask(hall, "add", "--meter", "hall-3", "press", "--serial", "3")
    code, found = ask(hall, "show", "--meter", "hall-3", "mains")
    assert code == 0 and [one["fields"]["serial"] for one in found["records"]] == ["1", "2"]
    with Log.open(hall.data_dir) as log:
        told = [Statement(log.statement(one["leaf"])) for one in found["records"]]
    assert [one.kind for one in told] == [METER_REGISTERED] * 2
    assert told[0].facts["prior"] is None and told[1].facts["prior"].hex() == found["records"][0]["entry"]
    assert told[1].facts["record"] == {"serial": "2"} and told[1].facts["gateway"] == hall.gateway.id


def test_a_record_outlives_the_gateway(hall):
    ask(hall, "add", "--meter", "hall-3", "mains", "--serial", "20481")
    fresh = FakeGateway(9, meters_schema(["mains"]))
    fresh.name = "hall-3b"
    hall.enrol(fresh)
    with contextlib.closing(connect(hall.data_dir)) as db:
        old, new = (
            tuple(db.execute("SELECT gw, kid, name FROM gateway WHERE kid = ?", (each.id,)).fetchone())
            for each in (hall.gateway, fresh)
        )
        places.replace(db, old, new, NOON + 2 * MINUTE, [], "anna")
        shown = register.document(db, Meter(fresh.id.hex(), "mains"), DAY("2026-01-01"), DAY("2026-01-31"))
    assert shown["serial"] == "20481"


def test_wrong_words_change_nothing(hall):
    for words in (
        ["add", "--serial", "1"],
        ["add", "--meter", "hall-3", "boiler", "--serial", "1"],
        ["add", "--meter", "hall-3", "mains", "--serial", "1", "--due-on", "soon"],
        ["add", "--meter", "hall-3", "mains", "--serial", "1", "--photo-file", "/nowhere/x"],
        ["list", "--from", "2026-02-01", "--to", "2026-01-01"],
        ["list", "--serial", "1"],
    ):
        code, made = ask(hall, *words)
        assert code == 2 and made["ok"] is False, words
    with contextlib.closing(connect(hall.data_dir, read_only=True)) as db:
        assert register.load(db) == []
