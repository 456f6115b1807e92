"""Baselines and EnPI: rules, uncertainty against random draws, baselines that never change, and the command."""

import contextlib
import hashlib
import json
import os
import random
from datetime import date, timedelta
from fractions import Fraction
from math import sqrt

import pytest

from batches import FakeGateway
from failing_calls import run
from host_tools.evidence.enpi import model, report, rules
from host_tools.evidence.enpi.data import read_variables
from host_tools.evidence.enpi.model import Point
from host_tools.hub.park.book import Book
from host_tools.hub.park.metering.register import Record
from host_tools.hub.stores.store import connect
from host_tools.log.log import Log
from hub_rig import HOUR_MS, meters_schema
from parkgate.errors import SettingsError
from parkgate.log.statement import BASELINE_ADJUSTED, BASELINE_SET, Statement

DRAWS = 10_000 if os.environ.get("PARKGATE_FUZZ_SIZE") else 500
CLOSE = 0.05 if DRAWS == 10_000 else 0.15  # the standard deviation of n draws is known to 1/√(2n)
DAY_MS = 24 * HOUR_MS
FIRST = date(2026, 3, 2)
BEGIN_MS = 1_772_409_600_000  # that day in UTC


def points(energies, variables, width=0):
    day = date(2025, 1, 1)
    return [
        Point(day + timedelta(days=i), day + timedelta(days=i + 1), Fraction(e) - Fraction(width, 2),
              Fraction(e) + Fraction(width, 2), tuple(Fraction(v) for v in row))
        for i, (e, row) in enumerate(zip(energies, variables))
    ]  # fmt: skip


# Uncertainty: what many parks would show, beside what the formula says of one.


def drawn(seed, same_meter, meter_percent):
    """(root mean square of expected − what came, root mean square of the uncertainties that were given)."""
    dice = random.Random(seed)
    x = [dice.randrange(800, 2000) for _ in range(12)]
    x_now = [dice.randrange(800, 2000) for _ in range(6)]

    def measured(values, off):
        return [round((5000 + 3 * v + dice.gauss(0, 250)) * (1 + off / 100)) for v in values]

    errors, told = [], []
    for _ in range(DRAWS):
        off = dice.gauss(0, meter_percent)
        off_now = off if same_meter else dice.gauss(0, meter_percent)
        before = points(measured(x, off), [[v] for v in x])
        now = points(measured(x_now, off_now), [[v] for v in x_now])
        made = model.fitted(before)
        errors.append(float(sum(model.expected(made, now)) - sum(point.kwh for point in now)))
        unsure = model.uncertainty(made, now, Fraction(str(meter_percent)), same_meter)
        told.append(float(unsure.variance))
    return sqrt(sum(e * e for e in errors) / DRAWS), sqrt(sum(told) / DRAWS)


@pytest.mark.fuzz
@pytest.mark.parametrize("same_meter, meter_percent", [(True, 0), (True, 1), (False, 2)])
def test_the_uncertainty_is_what_random_draws_show(same_meter, meter_percent):
    found, told = drawn(11, same_meter, meter_percent)
    assert abs(told / found - 1) < CLOSE, (told, found)


@pytest.mark.fuzz
def test_edges_that_are_not_known():
    dice = random.Random(3)
    (wide,) = points([1000], [[]], width=60)
    spread = [dice.uniform(float(wide.least), float(wide.most)) - 1000 for _ in range(10 * DRAWS)]
    made = model.fitted(points([10, 12, 14, 13], [[]] * 4))
    told = float(model.uncertainty(made, [wide], Fraction(0), True).edges)
    assert abs(told / sqrt(sum(e * e for e in spread) / len(spread)) - 1) < CLOSE


def test_95_of_100_parks_without_a_change_show_none():
    dice = random.Random(5)
    outside, parks = 0, 400
    for _ in range(parks):
        x = [dice.randrange(800, 2000) for _ in range(18)]
        y = [round(5000 + 3 * v + dice.gauss(0, 250)) for v in x]
        before, now = points(y[:12], [[v] for v in x[:12]]), points(y[12:], [[v] for v in x[12:]])
        made = model.fitted(before)
        unsure = model.uncertainty(made, now, Fraction(0), True)
        gap = sum(model.expected(made, now)) - sum(point.kwh for point in now)
        outside += abs(gap) > unsure.combined * model.coverage_factor(made)
    assert 6 <= outside <= 36, outside  # 20 to be expected; 5 standard deviations beside it less than once in a million


# Rules.


def judged(found):
    return {verdict.rule: verdict.verdict for verdict in found}


def test_each_rule_by_itself():
    x = [900, 1000, 1100, 1200, 1300, 1400, 1500, 1600, 1700, 1800, 1900, 2000]
    noise = [40, -60, 20, 50, -45, -25, 60, -30, 10, -55, 35, 5]
    good = points([5000 + 3 * v + n for v, n in zip(x, noise)], [[v] for v in x])
    assert set(judged(rules.of_model(model.fitted(good), good, ["pieces"])).values()) == {"pass"}
    few = good[:11]
    assert judged(rules.of_model(model.fitted(few), few, ["pieces"]))["points"] == "fail"
    chance = points([5000 + n for n in noise], [[v] for v in x])
    found = judged(rules.of_model(model.fitted(chance), chance, ["pieces"]))
    assert (found["F test"], found["every variable"], found["best variable"], found["R²"]) == ("fail",) * 4
    down = points([9000 - 3 * v + n for v, n in zip(x, noise)], [[v] for v in x])
    assert judged(rules.of_model(model.fitted(down), down, ["pieces"]))["least coefficient"] == "warn"
    steep = points([3 * v - 900 + n for v, n in zip(x, noise)], [[v] for v in x])
    assert judged(rules.of_model(model.fitted(steep), steep, ["pieces"]))["intercept"] == "warn"
    flat = points([5000] * 11 + [5001], [[]] * 12)
    found = judged(rules.of_model(model.fitted(flat), flat, []))
    assert (found["variables"], found["F test"], found["CV(RMSE)"]) == ("warn", "none", "pass")


@pytest.mark.parametrize("days, known, verdict", [
    (365, 329, "pass"), (365, 328, "fail"), (10, 9, "pass"), (0, 0, "fail"),
])  # fmt: skip
def test_the_rule_of_days(days, known, verdict):
    assert rules.coverage(days, known).verdict == verdict


@pytest.mark.parametrize("width, verdict", [(0, "pass"), (50, "pass"), (51, "fail")])
def test_the_rule_of_imputed_energy(width, verdict):
    assert rules.imputed(points([1000], [[]], width)).verdict == verdict


@pytest.mark.parametrize("now, verdict", [
    (1500, "pass"), (2000, "pass"), (2735, "pass"), (2740, "fail"), (265, "pass"), (260, "fail"),
])  # fmt: skip
def test_the_rule_of_the_range(now, verdict):
    before = points([1] * 5, [[1000], [1200], [1500], [1800], [2000]])  # mean 1500, standard deviation 412.31
    assert [each.verdict for each in rules.of_period(points([1], [[now]]), before, ["pieces"])] == [verdict]


def test_the_meter_of_a_figure():
    def own(**fields):
        return [Record("aa", None, "m", 1, None, "", {"serial": "1", **fields})]

    def percent(*records):
        return report.meter(records, FIRST, FIRST)["percent"]

    assert percent(own(accuracy_class="1")) == model.root(Fraction(1, 3))
    assert percent(own(uncertainty="0.4", calibrated_on="2026-01-01")) == Fraction(1, 5)
    assert percent(own(accuracy_class="1"), own(accuracy_class="B")) == model.root(Fraction(1, 3))
    assert percent(own(accuracy_class="1"), []) is None and percent(own()) is None and percent() is None


# From readings to the report.


@pytest.fixture
def hall(rig, tmp_path):
    """A hall that uses 24 kWh a day and 1 kWh a hundred pieces, with a little scatter, and after two weeks less."""
    gateway = FakeGateway(2, meters_schema(["mains"]))
    gateway.name = "hall-3"
    rig.enrol(gateway)
    dice = random.Random(1)
    register, rows = 0, []
    schema = True
    for day in range(21):
        pieces = dice.randrange(1000, 3000)
        rows.append((FIRST + timedelta(days=day), pieces))
        wh = 24_000 + 10 * pieces + dice.randrange(-300, 300)
        if day >= 14:
            wh = wh * 8 // 10  # since then a fifth less
        for hour in range(0, 24, 6):
            at = BEGIN_MS + day * DAY_MS + hour * HOUR_MS
            row = [(at + i * HOUR_MS, 0, [0, register + wh * (hour + i) // 24], [0, 0]) for i in range(6)]
            rig.now_unix_ms = at + 6 * HOUR_MS
            assert rig.batches(gateway, gateway.batch(tables={0: row}, with_schema=schema))[0].receipt
            schema = False
        register += wh
    while Book(rig.store.db).catch_up():
        pass
    with contextlib.closing(connect(rig.data_dir)) as db:
        db.execute("INSERT INTO about VALUES ('setting zone', 'UTC')")
    rig.variables = tmp_path / "pieces.csv"
    rig.variables.write_text("date,pieces\n" + "".join(f"{day},{pieces}\n" for day, pieces in rows))
    rig.gateway = gateway
    return rig


def ask(rig, *words):
    result = run(["enpi", *words, "--data", str(rig.data_dir), "--json"], lambda _: None)
    return result.exit_code, json.loads(result.out)


BASE = ("--place", "hall-3", "--unit", "day", "--from", "2026-03-02", "--to", "2026-03-15")
AFTER = ("--from", "2026-03-16", "--to", "2026-03-20")


def test_a_fifth_less_is_seen(hall):
    code, made = ask(hall, "baseline", "2026 spring", *BASE, "--variables", str(hall.variables))
    assert code == 0, made
    coefficients = {one["name"]: float(one["value"]) for one in made["content"]["model"]["coefficients"]}
    assert coefficients["intercept"] == pytest.approx(24, abs=1) and coefficients["pieces"] == pytest.approx(
        0.01, rel=0.05
    )
    code, found = ask(hall, "report", "2026 spring", *AFTER, "--variables", str(hall.variables))
    assert code == 0 and found["verdict"] == "less than expected", found
    assert float(found["enpi"]) == pytest.approx(0.8, abs=0.02)
    assert float(found["percent_less"]) == pytest.approx(20, abs=2)
    assert (
        found["uncertainty"]["meter_kwh"] is None and "not in the meter register" in found["uncertainty"]["meter_why"]
    )
    actual = sum(float(one["actual_kwh"]) for one in found["points"])
    assert actual == pytest.approx(float(found["actual_kwh"])) and len(found["points"]) == found["days_known"] == 5
    # An adjustment with its reason changes what is expected, and the report says so.
    code, _ = ask(hall, "adjust", "2026 spring", "--from", "2026-03-16", "--to", "2026-03-25", "--kwh", "-40",
                  "--reason", "two machines were taken away")  # fmt: skip
    code, less = ask(hall, "report", "2026 spring", *AFTER, "--variables", str(hall.variables))
    assert float(less["expected_kwh"]) == pytest.approx(float(found["expected_kwh"]) - 20)
    assert less["adjustments"][0]["reason"] == "two machines were taken away"
    with Log.open(hall.data_dir) as log:
        leaves = [log.leaf_of_entry(bytes.fromhex(e)) for e in (made["entry"], less["adjustments"][0]["entry"])]
        told = [Statement(log.statement(leaf)) for leaf in leaves]
    assert [one.kind for one in told] == [BASELINE_SET, BASELINE_ADJUSTED]
    assert told[0].facts["sha256"].hex() == made["sha256"] == told[1].facts["baseline"].hex()


def test_a_baseline_never_changes(hall):
    code, made = ask(hall, "baseline", "one", *BASE, "--variables", str(hall.variables))
    again = ask(hall, "baseline", "one", *BASE, "--variables", str(hall.variables))
    assert again[0] == 2 and "never changes" in again[1]["error"]["text"]
    path = hall.data_dir / "baselines" / f"{made['sha256']}.json"
    assert hashlib.sha256(path.read_bytes()).hexdigest() == made["sha256"]
    path.write_text(path.read_text().replace("2026-03-02", "2026-03-03", 1))
    for words in (("show", "one"), ("report", "one", *AFTER, "--variables", str(hall.variables))):
        code, refused = ask(hall, *words)
        assert code == 2 and "not as it was signed" in refused["error"]["text"]
    path.unlink()
    assert "cannot read" in ask(hall, "show", "one")[1]["error"]["text"]


def test_no_verdict_where_days_are_missing(hall):
    ask(hall, "baseline", "one", *BASE, "--variables", str(hall.variables))
    more = "".join(f"2026-03-{day},1500\n" for day in range(23, 32))
    hall.variables.write_text(hall.variables.read_text() + more)
    code, found = ask(
        hall, "report", "one", "--from", "2026-03-16", "--to", "2026-03-31", "--variables", str(hall.variables)
    )
    assert code == 1 and found["verdict"] == "no verdict" and "days known" in found["failed"], found
    assert found["days"] == 16 and found["days_known"] < 8


def test_wrong_words(hall, tmp_path):
    for words, text in (
        (["baseline", "x", "--from", "2026-03-02", "--to", "2026-03-15"], "--place"),
        (["baseline", "x", "--place", "hall-3"], "--from and --to"),
        (["report", "x", *AFTER], "no baseline 'x'"),
        (["list", "x"], "no name"),
        (["baseline", "bad/name", *BASE, "--variables", str(hall.variables)], "baseline's name"),
    ):
        code, made = ask(hall, *words)
        assert code == 2 and text in made["error"]["text"], made
    ask(hall, "baseline", "one", *BASE, "--variables", str(hall.variables))
    for words, text in (
        (["report", "one", *AFTER], "variables are pieces"),
        (["adjust", "one", *AFTER, "--kwh", "1", "--reason", "short"], "needs its reason"),
        (["adjust", "one", *AFTER, "--kwh", "much", "--reason", "because of a new hall"], "not a number of kWh"),
    ):
        code, made = ask(hall, *words)
        assert code == 2 and text in made["error"]["text"], made


@pytest.mark.parametrize("text, words", [
    ("", "line 1"), ("day,pieces\n", "line 1"), ("date,pieces,pieces\n", "line 1"), ("date,pieces\n", "no rows"),
    ("date,pieces\n2026-03-01,\n", "line 2"), ("date,pieces\n2026-03-01,1,2\n", "line 2"),
    ("date,pieces\n2026-03-01,1e3\n", "line 2"), ("date,pieces\n2026-03-32,1\n", "line 2"),
    ("date,pieces\n2026-03-01,1\n2026-03-01,2\n", "twice"),
])  # fmt: skip
def test_a_file_of_variables_that_is_wrong(tmp_path, text, words):
    path = tmp_path / "v.csv"
    path.write_text(text)
    with pytest.raises(SettingsError, match=words):
        read_variables(path)


def test_variables_over_a_month(tmp_path):
    path = tmp_path / "v.csv"
    path.write_text("date,pieces,heat:mean\n" + "".join(f"2026-02-{d:02},{d},{d}\n" for d in range(1, 29)))
    found = read_variables(path)
    assert found.of(date(2026, 2, 1), date(2026, 3, 1)) == (406, Fraction(29, 2))
    with pytest.raises(SettingsError, match="no row for 2026-03-01"):
        found.of(date(2026, 2, 1), date(2026, 3, 2))
    path.write_text("date,pieces\n2026-02,77\n")
    assert read_variables(path).of(date(2026, 2, 1), date(2026, 3, 1)) == (77,)
