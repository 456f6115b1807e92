"""OEE after ISO 22400: figures computed by hand, zero denominators among them, and a station from entries to report."""

import contextlib
import json
from fractions import Fraction

import pytest

from batches import START_MS
from failing_calls import run
from host_tools.evidence import oee
from host_tools.hub.stores.store import connect
from host_tools.log.log import Log
from parkgate.log.statement import SETTING, Statement
from parkgate.sensing import jobs
from test_lots import Hall

H = 3600


def part(text):
    return None if text is None else Fraction(text)


# pbt_s, apt_s, PRI·PQ in s, PQ, GQ → availability, effectiveness, quality ratio, OEE
@pytest.mark.parametrize("pbt, apt, planned, produced, good, expected", [
    # A shift of 8 h, 6 h of them at work, 1,000 pieces of 18 s planned, 950 good: 3/4 · 5/6 · 19/20 = 19/32.
    (8 * H, 6 * H, 18_000, 1000, 950, ("3/4", "5/6", "19/20", "19/32")),
    (8 * H, 8 * H, 28_800, 960, 960, ("1", "1", "1", "1")),  # everything as planned
    (8 * H, 4 * H, 14_400, 100, 100, ("1/2", "1", "1", "1/2")),
    (8 * H, 8 * H, 14_400, 100, 100, ("1", "1/2", "1", "1/2")),
    (8 * H, 8 * H, 28_800, 100, 50, ("1", "1", "1/2", "1/2")),
    (8 * H, 8 * H, 28_800, 100, 0, ("1", "1", "0", "0")),  # all scrap: 0 is known
    (7 * H, 21_000, 20_000, 3, 1, ("5/6", "20/21", "1/3", "50/189")),
    (8 * H, 10 * H, 18_000, 100, 100, ("5/4", "1/2", "1", "5/8")),  # worked longer than planned
    (8 * H, 6 * H, 24_000, 100, 90, ("3/4", "10/9", "9/10", "3/4")),  # quicker than planned
    (8 * H, 0, 0, 0, 0, ("0", None, None, None)),  # it stood: no time, no pieces
    (8 * H, 6 * H, 0, 0, 0, ("3/4", "0", None, None)),  # ran and made nothing
    (0, 6 * H, 18_000, 1000, 950, (None, "5/6", "19/20", None)),  # no plan for these days
    (0, 0, 0, 0, 0, (None, None, None, None)),  # a holiday
    (8 * H, 0, 18_000, 1000, 950, ("0", None, "19/20", None)),  # pieces without time: the counter or the clock is wrong
    (1, 1, 1, 1, 1, ("1", "1", "1", "1")),
])  # fmt: skip
def test_figures_computed_by_hand(pbt, apt, planned, produced, good, expected):
    found = oee.kpi(Fraction(pbt), Fraction(apt), Fraction(planned), produced, good)
    assert tuple(found) == tuple(map(part, expected))
    if found.oee is not None:  # the production time cancels out
        assert found.oee == Fraction(planned, pbt) * Fraction(good, produced)


@pytest.mark.parametrize("numbers", [(-1, 0, 0, 0, 0), (1, 1, 1, 1, 2), (1, 1, 1, -1, -1), (1, -1, 1, 1, 1)])
def test_numbers_that_cannot_be(numbers):
    with pytest.raises(ValueError):
        oee.kpi(*map(Fraction, numbers[:3]), *numbers[3:])


@pytest.fixture
def saw(rig):
    """A saw that runs 130 s of its 600 planned ones, and makes 100 pieces, 6 of them scrap; a tool that
    people count at."""
    cutting, bench = Hall(rig, 1, "cutting", "saw"), Hall(rig, 2, "sewing", "line-1")
    cut = cutting.entry(jobs.START, "CUT-1", jobs.MACHINE, 1000, 10, 5, at_s=10)
    cutting.entry(jobs.SCRAP, cut, [3, 6], 1100, 60, 55, at_s=100)
    cutting.entry(jobs.STOP, cut, jobs.BY_HAND, 1250, 130, 105, at_s=200)
    shirt = bench.entry(jobs.START, "SHIRT-1", jobs.HAND, 5010, 0, 0, at_s=300)
    bench.entry(jobs.COUNT, shirt, 27, 5040, 0, 0, at_s=400)
    bench.entry(jobs.SCRAP, shirt, [1, 3], 5050, 0, 0, at_s=410)
    bench.entry(jobs.STOP, shirt, jobs.BY_HAND, 5131, 0, 0, at_s=600)
    bench.entry(jobs.START, "SHIRT-2", jobs.HAND, 5131, 0, 0, at_s=700)
    with contextlib.closing(connect(rig.data_dir)) as db:
        db.execute("INSERT INTO about VALUES ('setting zone', 'UTC')")
    return rig


def day():
    from datetime import datetime, timezone

    return datetime.fromtimestamp(START_MS / 1000, timezone.utc).date().isoformat()


def ask(rig, action, station, *words, of=None):
    span = ["--from", of or day(), "--to", of or day()]
    result = run(["oee", action, station, *span, *words, "--data", str(rig.data_dir), "--json"], lambda _: None)
    return result.exit_code, json.loads(result.out)


PLAN = ("--weekdays", "mon-sun", "--busy-minutes", "10", "--piece-seconds", "1.5", "--source", "work study, sheet 4")


def test_from_entries_to_the_report(saw):
    code, made = ask(saw, "plan", "cutting/saw", *PLAN)
    assert code == 0, made
    code, found = ask(saw, "report", "cutting/saw")
    assert code == 0, found
    inputs = {name: (Fraction(one["value"]), one["basis"]) for name, one in found["inputs"].items()}
    assert inputs == {
        "pbt_s": (600, "typed in"), "pri_pq_s": (150, "typed in"), "apt_s": (130, "measured"), "pq": (100, "measured"),
        "gq": (94, "measured"),
    }  # fmt: skip
    assert [found[name] for name in ("availability", "effectiveness", "quality_ratio", "oee")] == [
        "0.21666667", "1.1538462", "0.94", "0.235"
    ]  # fmt: skip
    (plan,) = found["plans"]
    assert plan["source"] == "work study, sheet 4" and plan["by"] and plan["entry"] == made["plan"]["entry"]
    with Log.open(saw.data_dir) as log:
        told = Statement(log.statement(log.leaf_of_entry(bytes.fromhex(plan["entry"]))))
    assert told.kind == SETTING and told.facts["value"]["source"] == "work study, sheet 4"


def test_pieces_that_people_count_and_no_run_time(saw):
    """The bench has a run-time register too, and it never moved: 0 s are measured, and nothing divides by them."""
    code, found = ask(saw, "report", "sewing/line-1")
    assert code == 0 and found["plans"] == [] and found["jobs_left_out"] == 1
    assert [found[name] for name in ("availability", "effectiveness", "quality_ratio", "oee")] == [None] * 4
    ask(saw, "plan", "sewing/line-1", *PLAN)
    code, found = ask(saw, "report", "sewing/line-1")
    assert (found["quality_ratio"], found["inputs"]["pq"]["value"], found["inputs"]["gq"]["basis"]) == (
        "0.9", "30", "entered"
    )  # fmt: skip
    assert found["effectiveness"] is None and found["oee"] is None
    code, found = ask(saw, "report", "sewing/line-1", of="2001-01-01")
    assert (found["jobs"], found["days_planned"], found["oee"]) == (0, 0, None)


def test_a_later_plan_takes_the_place_of_an_earlier_one(saw):
    ask(saw, "plan", "cutting/saw", *PLAN)
    ask(saw, "plan", "cutting/saw", *PLAN[:3], "20", *PLAN[4:])
    _, found = ask(saw, "report", "cutting/saw")
    assert found["inputs"]["pbt_s"]["value"] == "1200" and len(found["plans"]) == 1


def test_wrong_words(saw):
    for action, station, words, text in (
        ("report", "cutting/press", (), "there are cutting/saw, sewing/line-1"),
        ("report", "cutting/saw", ("--source", "x"), "are for plan"),
        ("plan", "cutting/saw", PLAN[:6], "all of them"),
        ("plan", "cutting/saw", (*PLAN[:3], "1441", *PLAN[4:]), "1440"),
        ("plan", "cutting/saw", (*PLAN[:3], "1e2", *PLAN[4:]), "is a number"),
        ("plan", "cutting/saw", (*PLAN[:7], "x"), "where the two numbers"),
        ("plan", "cutting/saw", ("--weekdays", "monday", *PLAN[2:]), "mon-sat"),
    ):
        code, made = ask(saw, action, station, *words)
        assert code == 2 and text in made["error"]["text"], made
    with contextlib.closing(connect(saw.data_dir, read_only=True)) as db:
        assert oee.plans(db, "cutting/saw") == []


def test_weekdays():
    assert oee._weekdays("mon-sat") == [0, 1, 2, 3, 4, 5] and oee._weekdays("sun") == [6]
    assert oee._weekdays("sat-mon") == [5, 6, 0]
