"""Tariffs are checked by name and line; bills are those that were computed by hand, to the last unit."""

import contextlib
import csv
import hashlib
import io
import json
from fractions import Fraction
from pathlib import Path

import pytest

from batches import FakeGateway
from host_tools import cli
from host_tools.hub.park import zone
from host_tools.hub.park.metering import meters
from host_tools.hub.park.money import bill as bills
from host_tools.hub.park.money import located, paper, tariff
from host_tools.hub.park.money.located import FileFault
from host_tools.hub.park.money.measured import Range, month_span
from host_tools.hub.stores.store import connect
from hub_rig import Rig
from parkgate import events

EXAMPLES = Path(tariff.__file__).parent / "tariffs"
PHNOM_PENH = zone.zone("Asia/Phnom_Penh")
OCTOBER = (2026, 10)
BEGIN, END = month_span(OCTOBER, PHNOM_PENH)
LATER = END + 40 * zone.DAY_MS
HOUR, QUARTER = zone.HOUR_MS, zone.PIECE_MS


def document(**changes):
    version = {"from": "2026-01", "to": None, "energy": [{"name": "Energy", "price": "0.164"}]}
    version |= {key: changes.pop(key) for key in ("holidays", "energy", "demand", "fixed", "tax") if key in changes}
    return {"tariff": "t", "currency": "USD", "rounding": "0.01", "versions": [version], **changes}


def priced(**changes):
    return tariff.read(json.dumps(document(**changes)))


# Files.


def test_the_examples_are_right(capsys):
    paths = sorted(EXAMPLES.glob("*.json"))
    assert paths and cli.main(["tariff", "check", *map(str, paths)]) == 0
    for path in paths:
        found = tariff.read(path.read_text(encoding="utf-8"))
        assert found.source.startswith(("http", "Fresh News")), "an example says where its prices are from"
    assert tariff.read(paths[0].read_text()).version((2019, 7)).energy[0].steps[0].price == Fraction(164, 1000)
    assert tariff.read(paths[0].read_text()).version((2021, 1)) is None


@pytest.mark.parametrize("text, line, words", [
    ("", 1, "ends too early"),
    ("{\n}", 1, "'tariff' is missing"),
    ('{"a": 1,\n "a": 2}', 2, "'a' stands twice"),
    ('{"a":\n\n 0.164}', 3, "as text"),
    ('{"a": 1e3}', 1, "as text"),
    ('{"a": NaN}', 1, "is no value"),
    ('{"a": [1,\n2,\n]}', 2, "a comma before ]"),
    ('{"a" 1}', 1, "colon behind 'a'"),
    ('{"a": "x\n"}', 1, "Invalid control character"),
    ("[" * 20, 1, "levels"),
    ("{} x", 1, "more behind the end"),
])  # fmt: skip
def test_what_is_no_such_document(text, line, words):
    with pytest.raises(FileFault) as fault:
        tariff.read(text)
    assert fault.value.line == line and words in fault.value.text


STEPS = [{"up_to_kwh": 50, "price": "380"}, {"up_to_kwh": None, "price": "730"}]


@pytest.mark.parametrize("changes, words", [
    ({"tariff": "a b"}, "is no name"),
    ({"currency": "EUR"}, "there are USD, KHR"),
    ({"rounding": "0.05"}, "rounding: of USD"),
    ({"currency": "KHR"}, "rounding: of KHR"),
    ({"more": 1}, "it has no 'more'"),
    ({"versions": []}, "one or more"),
    ({"energy": [{"name": "E", "price": "-1"}]}, "E: price is a number of 0 or more"),
    ({"energy": [{"name": "E", "price": "1", "steps": STEPS}]}, "either a price or steps"),
    ({"energy": [{"name": "E", "steps": STEPS}]}, "steps_apply"),
    ({"energy": [{"name": "E", "steps": STEPS, "steps_apply": "some"}]}, '"each" or "all"'),
    ({"energy": [{"name": "E", "steps": STEPS[:1], "steps_apply": "all"}]}, "the last step has no end"),
    ({"energy": [{"name": "E", "steps": STEPS[1:] + STEPS[:1], "steps_apply": "all"}]}, "without an end"),
    ({"energy": [{"name": "E", "price": "1", "when": [{"days": "mon-fri"}]}]}, "sat 00:00 has no price"),
    ({"energy": [{"name": "E", "price": "1", "when": [{"days": "mon-sun"}]}]}, "holiday 00:00 has no price"),
    ({"energy": [{"name": "E", "price": "1"}, {"name": "F", "price": "1"}]}, "no when"),
    ({"energy": [{"name": "E", "price": "1"}, {"name": "E", "price": "1", "when": [{"days": "mon"}]}]}, "stands twice"),
    ({"energy": [{"name": "E", "price": "1"}, {"name": "F", "price": "1", "when": [{"days": "mon"}]},
                 {"name": "G", "price": "1", "when": [{"days": "mon", "from": "08:00", "to": "09:00"}]}]},
     "G: mon 08:00 is in F too"),
    ({"energy": [{"name": "E", "price": "1", "when": [{"days": "fri-mon"}]}]}, "runs backwards"),
    ({"energy": [{"name": "E", "price": "1", "when": [{"days": "monday"}]}]}, "'monday'"),
    ({"energy": [{"name": "E", "price": "1", "when": [{"days": "mon", "from": "21:00", "to": "07:00"}]}]}, "a night"),
    ({"energy": [{"name": "E", "price": "1", "when": [{"days": "mon", "from": "07:10"}]}]}, "quarters of an hour"),
    ({"demand": {"name": "D", "price": "4", "minutes": 20}}, "minutes is 15, 30, 60"),
    ({"demand": {"name": "D", "price": "4", "minutes": True}}, "minutes is"),
    ({"holidays": ["2026-02-30"]}, "is not a day"),
    ({"tax": [{"name": "VAT", "percent": "101"}]}, "101 percent"),
    ({"fixed": [{"name": "F"}]}, "'amount' is missing"),
    ({"fixed": [{"name": "F\u0007", "amount": "1"}]}, "cannot be printed"),
])  # fmt: skip
def test_what_a_tariff_cannot_say(changes, words):
    with pytest.raises(FileFault) as fault:
        priced(**changes)
    assert words in fault.value.text


def test_versions_follow_each_other():
    one, two = (
        {"from": f"2026-{month}", "to": None, "energy": [{"name": "E", "price": "1"}]} for month in ("01", "07")
    )
    with pytest.raises(FileFault, match="before the one above ends"):
        priced(versions=[one, two])
    found = priced(versions=[{**one, "to": "2026-06"}, two])
    assert [found.version((2026, month)).first for month in (6, 7)] == [(2026, 1), (2026, 7)]
    assert found.version((2025, 12)) is None


def test_the_verb_names_file_and_line(tmp_path, capsys):
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_text(json.dumps(document()))
    bad.write_text(json.dumps(document(energy=[{"name": "E", "price": 0.164}]), indent=1))
    assert cli.main(["tariff", "check", str(good), str(bad), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["checked"] == 2 and [fault["file"] for fault in found["faults"]] == [str(bad)]
    line = found["faults"][0]["line"]
    assert "0.164" in bad.read_text().split("\n")[line - 1]


def test_located_values_are_those_of_json():
    def bare(node):
        if isinstance(node.value, dict):
            return {name: bare(each) for name, each in node.value.items()}
        return [bare(each) for each in node.value] if isinstance(node.value, list) else node.value

    text = '{"a": [1, -2, "x\\u00e9\\n", true, null], "b": {}, "c": [], "d": {"e": 12345678901}}'
    assert bare(located.parse(text)) == json.loads(text)


# Money.


@pytest.mark.parametrize("amount, rounding, text", [
    ("0.005", "0.01", "0.01"), ("0.0049999", "0.01", "0.00"), ("-0.005", "0.01", "-0.01"), ("12.5", "0.01", "12.50"),
    ("4150", "100", "4200"), ("4149.99", "100", "4100"), ("0.5", "1", "1"), ("3", "0.1", "3.00"),
    ("2.45", "0.1", "2.50"),
])  # fmt: skip
def test_rounding(amount, rounding, text):
    assert bills.money(Fraction(amount), Fraction(rounding)) == text


# Bills, computed by hand. October 2026 in Phnom Penh has 744 hours and begins on a Thursday.


@pytest.fixture
def hall(rig):
    gateway = FakeGateway(1, [["main", "SDM630; every 900 s", [["import_active_energy", "Wh", 0]]]])
    gateway.name = "hall 3"
    rig.enrol(gateway)
    return gateway


def count(rig, gateway, register, from_ms=BEGIN - HOUR, to_ms=END + HOUR, step_ms=QUARTER, told=()):
    """Rows every `step_ms`; register(ms) is what the meter shows, None where it does not answer."""
    times = range(from_ms, to_ms, step_ms)
    for first in range(0, len(times), 200):
        shown = [(ms, register(ms)) for ms in times[first : first + 200]]
        rows = [(ms, 0, [value], [0 if value is not None else 8]) for ms, value in shown]
        rig.now_unix_ms = rows[-1][0]
        mine = [event for event in told if rows[0][0] <= event[6][0] <= rows[-1][0]]
        made = gateway.batch(tables={0: rows}, with_schema=True, events=mine)
        assert rig.take((gateway.batch_topic(), made))[0].receipt


def billed(rig, prices, month=OCTOBER, now_ms=LATER):
    with contextlib.closing(connect(rig.data_dir, read_only=True)) as db:
        return bills.bill(db, 1, month, prices, "00", PHNOM_PENH, now_ms)


def steady(wh_per_hour):
    return lambda ms: 1_000_000 + (ms - BEGIN) * wh_per_hour // HOUR


def amounts(found):
    assert found["complete"] and found["notes"] == []
    assert all(line["amount"]["least"] == line["amount"]["most"] for line in found["lines"])
    assert found["total"]["least"] == found["total"]["most"]
    return [(line["name"], line["quantity"]["least"], line["amount"]["least"]) for line in found["lines"]], found[
        "total"
    ]["most"]


def test_flat_with_fixed_charge_and_tax(rig, hall):
    # From 1,000,000 to 1,234,567 Wh: 234.567 kWh x 0.164 = 38.468988, so 38.47.
    # With 12.00: 50.47; 10 % = 5.047, so 5.05.
    count(rig, hall, lambda ms: 1_000_000 if ms <= BEGIN else 1_234_567)
    prices = priced(fixed=[{"name": "Service", "amount": "12.00"}], tax=[{"name": "VAT", "percent": "10"}])
    found = billed(rig, prices)
    assert amounts(found) == (
        [("Energy", "234.567", "38.47"), ("Service", "1", "12.00"), ("VAT", "50.47", "5.05")], "55.52",
    )  # fmt: skip
    assert [line["price"] for line in found["lines"]] == ["0.164", "12", "10 %"]
    assert found["lines"][0]["exact"]["least"] == "38.468988" and found["percent_of_time_read"] == "100.00"
    (register,) = found["lines"][0]["registers"]
    begin, end = register["begin"]["before"], register["end"]["before"]
    assert (begin["value"], begin["time_ms"], end["value"], end["time_ms"]) == (1_000_000, BEGIN, 1_234_567, END)
    held = {seq: hashlib.sha256(data).hexdigest() for seq, (data, _) in hall.held.items()}
    assert begin["hash"] == held[begin["seq"]] and end["hash"] == held[end["seq"]], "the signed batches"


def test_times_of_use_with_a_holiday(rig, hall):
    # 1 kWh an hour. Monday to Saturday are 27 days, one of them (Wednesday 14) a holiday: 26 x 14 h = 364 kWh at
    # 0.20 are 72.80; the other 744 - 364 = 380 kWh at 0.10 are 38.00.
    count(rig, hall, steady(1000))
    peak = {"name": "Peak", "price": "0.2", "when": [{"days": "mon-sat", "from": "07:00", "to": "21:00"}]}
    found = billed(rig, priced(energy=[peak, {"name": "Rest", "price": "0.1"}], holidays=["2026-10-14"]))
    assert amounts(found) == ([("Peak", "364", "72.80"), ("Rest", "380", "38.00")], "110.80")
    wh = [sum(Fraction(one["wh"]["least"]) for one in line["registers"]) for line in found["lines"]]
    assert wh == [364_000, 380_000], "the registers of each line add up to it"
    assert len(found["lines"][0]["registers"]) == 26


@pytest.mark.parametrize("how, lines, total", [
    # 744 kWh. Each: 50 x 380 = 19000, 150 x 610 = 91500, 544 x 730 = 397120. All: 744 x 730 = 543120.
    ("each", [("Energy, 0 to 50 kWh", "50", "19000"), ("Energy, 50 to 200 kWh", "150", "91500"),
              ("Energy, from 200 kWh", "544", "397120")], "507620"),
    ("all", [("Energy", "744", "543120")], "543120"),
])  # fmt: skip
def test_steps_in_riel(rig, hall, how, lines, total):
    count(rig, hall, steady(1000))
    steps = [STEPS[0], {"up_to_kwh": 200, "price": "610"}, STEPS[1]]
    prices = priced(currency="KHR", rounding="1", energy=[{"name": "Energy", "steps": steps, "steps_apply": how}])
    assert amounts(billed(rig, prices)) == (lines, total)


def test_demand(rig, hall):
    # 1 kWh an hour, but 3 kWh between 10:00 and 10:15 of the 5th: 12 kW. In 30 minutes 3.25 kWh: 6.5 kW.
    # In 60 minutes 3.75 kWh: 3.75 kW.
    peak = BEGIN + 4 * zone.DAY_MS + 10 * HOUR
    count(rig, hall, lambda ms: steady(1000)(ms) + (2750 if ms > peak else 0))
    for minutes, kilowatt, cost in ((15, "12", "48.00"), (30, "6.5", "26.00"), (60, "3.75", "15.00")):
        found = billed(rig, priced(demand={"name": "Demand", "price": "4", "minutes": minutes}))
        assert amounts(found)[0][1] == ("Demand", kilowatt, cost)
        (register,) = found["lines"][1]["registers"]
        assert register["begin"]["at_ms"] == peak and register["end"]["at_ms"] == peak + minutes * 60_000


def test_demand_of_a_meter_that_is_read_too_seldom_is_not_known(rig, hall):
    hall.schema = [["main", "SDM630; every 3600 s", [["import_active_energy", "Wh", 0]]]]
    count(rig, hall, steady(1000), step_ms=HOUR)
    found = billed(rig, priced(demand={"name": "Demand", "price": "4", "minutes": 15}))
    line = found["lines"][1]
    assert line["amount"]["most"] is None and not found["complete"] and found["total"]["most"] is None


def test_a_gap_in_the_month_costs_the_flat_bill_nothing_and_the_times_of_use_an_interval(rig, hall):
    # No reading from 20:00 to 22:00 of the 5th, a Monday: 2 kWh, of which the hour before 21:00 is peak.
    gap = BEGIN + 4 * zone.DAY_MS + 20 * HOUR
    count(rig, hall, lambda ms: None if gap < ms < gap + 2 * HOUR else steady(1000)(ms))
    assert amounts(billed(rig, priced()))[1] == "122.02", "744 x 0.164 = 122.016"
    peak = {"name": "Peak", "price": "0.2", "when": [{"days": "mon-sat", "from": "07:00", "to": "21:00"}]}
    found = billed(rig, priced(energy=[peak, {"name": "Rest", "price": "0.1"}]))
    assert [line["quantity"] for line in found["lines"]] == [
        {"least": "377", "most": "379"}, {"least": "365", "most": "367"},
    ]  # fmt: skip
    assert found["total"] == {"least": "111.90", "most": "112.50"} and not found["complete"]
    assert "not known to the unit" in found["notes"][-1]


@pytest.mark.parametrize("from_ms, to_ms, words", [
    (BEGIN + HOUR, END + HOUR, "no reading before the month: counted from the first one, 2026-10-01T01:00:00+07:00"),
    (BEGIN - HOUR, END - HOUR, "no reading behind the month"),
])  # fmt: skip
def test_what_is_missing_is_said(rig, hall, from_ms, to_ms, words):
    count(rig, hall, steady(1000), from_ms, to_ms)
    found = billed(rig, priced())
    assert not found["complete"] and any(words in note for note in found["notes"])


def test_a_month_that_is_not_over_and_one_that_nothing_is_known_of(rig, hall):
    count(rig, hall, steady(1000), to_ms=BEGIN + 48 * HOUR + QUARTER)
    found = billed(rig, priced(), now_ms=BEGIN + 48 * HOUR)
    assert found["notes"][0] == "the month is not over: counted until 2026-10-03T00:00:00+07:00"
    assert found["lines"][0]["quantity"]["least"] == "48"
    assert billed(rig, priced(), month=(2026, 12), now_ms=LATER + zone.DAY_MS)["total"]["most"] is None
    with pytest.raises(Exception, match="says nothing of 2025-12"):
        billed(rig, priced(), month=(2025, 12))


def test_an_exchange_of_the_meter_counts_what_both_counted(rig, hall):
    # The old meter to 1,100,000, the new one from 500: 100 + 100 kWh; 200 x 0.164 = 32.80.
    at = BEGIN + 10 * zone.DAY_MS
    told = [[events.COUNTER, "main", "import_active_energy", 2, 1_100_000, 500, [at, 0]]]
    count(rig, hall, lambda ms: 1_000_000 if ms <= BEGIN else 1_100_000 if ms < at else 500 if ms == at else 100_500,
          told=told)  # fmt: skip
    found = billed(rig, priced())
    assert amounts(found) == ([("Energy", "200", "32.80")], "32.80")
    assert [(each["what"], each["before"], each["value"]) for each in found["jumps"]] == [("exchange", 1_100_000, 500)]


def test_a_meter_behind_another_is_not_billed_twice(rig):
    channels = [["import_active_energy", "Wh", 0]]
    gateway = FakeGateway(1, [[name, "SDM630; every 900 s", channels] for name in ("main", "press")])
    rig.enrol(gateway)
    for first in range(BEGIN - HOUR, END + HOUR, 50 * HOUR):
        rows = [(ms, 0, [steady(1000)(ms)], [0]) for ms in range(first, min(first + 50 * HOUR, END + HOUR), QUARTER)]
        rig.now_unix_ms = rows[-1][0]
        rig.take((gateway.batch_topic(), gateway.batch(tables={0: rows, 1: rows}, with_schema=True)))
    assert amounts(billed(rig, priced()))[1] == "244.03", "1488 x 0.164 = 244.032"
    with contextlib.closing(connect(rig.data_dir)) as db:
        meters.put(db, *(meters.Meter(gateway.id.hex(), name) for name in ("press", "main")))
    found = billed(rig, priced())
    assert amounts(found)[1] == "122.02" and found["not_counted"] == [{"instrument": "press", "behind": "main"}]


def test_all_at_one_price_need_not_grow_with_the_energy():
    steps = tariff.read(json.dumps(document(energy=[{"name": "E", "steps_apply": "all", "steps": [
        {"up_to_kwh": 100, "price": "1"}, {"up_to_kwh": None, "price": "0.5"}]}]))).versions[0].energy[0]  # fmt: skip
    line = bills._all_at_one_price(steps, Range(Fraction(90), Fraction(110)), Fraction(1, 100))
    assert line["amount"] == {"least": "50.00", "most": "100.00"}, "just above 100 kWh it is 50, at 100 kWh 100"
    assert line["price"] == "0.5 or 1"


def test_the_same_bill_whatever_came_first_and_wherever(rig, hall, tmp_path_factory):
    count(rig, hall, steady(1234))
    first = billed(rig, priced())
    other = Rig(tmp_path_factory.mktemp("other"))
    other.enrol(hall)
    other.now_unix_ms = END
    for seq in reversed(range(hall.seq)):
        other.take((hall.batch_topic(), hall.held[seq][0]))
    second = billed(other, priced(), now_ms=LATER + 99 * zone.DAY_MS)
    assert first["sha256"] == second["sha256"]
    first["lines"][0]["registers"][0]["begin"]["before"]["value"] += 1
    assert bills.digest(first) != second["sha256"] == bills.digest(second)
    other.store.close()


# For people.


def test_the_verb_writes_what_can_be_checked(rig, hall, tmp_path, capsys):
    count(rig, hall, steady(1000))
    rig.store.set_setting("zone", "Asia/Phnom_Penh")
    path = tmp_path / "t.json"
    path.write_text(json.dumps(document(tariff="x", about="<b>", energy=[{"name": "=1+1", "price": "0.164"}])))
    words = ["bill", "--data", str(rig.data_dir), "--month", "2026-10", "--tariff", str(path), "--gateway", "hall 3"]
    real = bills.bill
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            bills,
            "bill",
            lambda db, gw, month, prices, sha256, place, _now_ms: real(db, gw, month, prices, sha256, place, LATER),
        )
        assert cli.main([*words, "--out", str(tmp_path / "out")]) == 0
        assert "744 kWh at 0.164: 122.02" in capsys.readouterr().out
        assert cli.main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["bill"]
    written = json.loads((tmp_path / "out" / "bill.json").read_text())
    assert written == found and found["tariff"]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    text = json.dumps(found, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    rest = json.loads(text, object_hook=lambda item: {name: item[name] for name in item.keys() - {"leaf"}})
    del rest["sha256"]
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"))
    assert hashlib.sha256(text.encode()).hexdigest() == found["sha256"]
    lines = list(csv.reader(io.StringIO((tmp_path / "out" / "lines.csv").read_text())))
    assert lines[1][1] == "'=1+1" and lines[-1][-1] == "122.02"
    registers = list(csv.reader(io.StringIO((tmp_path / "out" / "registers.csv").read_text())))
    assert [row[2] for row in registers[1:]] == ["begin", "end"] and registers[1][6] == "1000000"
    page = (tmp_path / "out" / "bill.html").read_text()
    assert "&lt;b&gt;" in page and "<b>." not in page and "http" not in page.replace("http-equiv", "")
    assert paper.page(found, "static/bill.css").count("<style") == 0
    assert cli.main([*words[:4], "2026-13", *words[5:]]) == 2
    assert "is not a month" in capsys.readouterr().err
