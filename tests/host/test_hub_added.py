"""While the hub has not added up all readings of a time, it says so, and gives no sum and no share of that time. A bill
is made from the signed readings, and is right from the first minute on."""

import contextlib

import pytest

from batches import FakeGateway
from host_tools.hub.park import answers, by_place, place, proof, states, zone
from host_tools.hub.park.book import DAY_PIECES, Book
from host_tools.hub.park.money import bill as bills
from host_tools.hub.stores import places
from host_tools.hub.stores.store import connect
from parkgate.quantities import STATES
from test_bills import priced

UTC = zone.zone("UTC")
DAY, HOUR, QUARTER = zone.DAY_MS, zone.HOUR_MS, zone.PIECE_MS
BEGIN = place.moment("2026-10-01", UTC)
NOW = BEGIN + 31 * DAY - HOUR // 2
SCHEMA = [["main", "SDM630; every 900 s", [
    ["import_active_energy", "Wh", 0], ["active_power", "W", 1], ["machine_state", "", 0]]]]  # fmt: skip
KILOWATT = 1_000  # each hour of it is a kWh
SERIES, RUNS = 1, STATES.index("run")


@pytest.fixture
def imported(rig):
    """A hub that was given 31 days of readings at once, and has added up none of them."""
    gateway = FakeGateway(1, SCHEMA)
    gateway.name = "hall 3"
    rig.enrol(gateway)
    times = range(BEGIN - 2 * HOUR, NOW + 1, QUARTER)
    for at in range(0, len(times), 500):
        rows = [
            (ms, 0, [(ms - times[0]) * KILOWATT // HOUR, KILOWATT * 10, RUNS], [0] * 3) for ms in times[at : at + 500]
        ]
        rig.now_unix_ms = rows[-1][0] + 1000
        assert rig.take((gateway.batch_topic(), gateway.batch(tables={0: rows}, with_schema=not at)))[0].receipt
    return gateway


def catch_up(rig, times):
    rig.store.db.execute("BEGIN")
    book = Book(rig.store.db)
    done = [book.catch_up() for _ in range(times)]
    rig.store.db.execute("COMMIT")
    return done


def totals(found):
    """Every total of an answer, however deep."""
    if isinstance(found, dict):
        if "made_percent" in found:
            yield found
        found = list(found.values())
    for each in found if isinstance(found, list) else ():
        yield from totals(each)


def answered(rig, gateway):
    """What the hub says of the month: the park, the gateway's page, the place's page, its bars and its proof."""
    with contextlib.closing(connect(rig.data_dir, read_only=True)) as db:
        mine = place.of_place(db, places.find(db, "hall 3"), ["main"])
        beside = place.Beside(mine, BEGIN)
        return {
            "park": answers.overview(db, [rig.summary(gateway)], UTC, NOW),
            "gateway": place.view(db, place.of_gateway(db, 1, ["main"]), "month", BEGIN, UTC, NOW),
            "place": place.view(db, mine, "month", BEGIN, UTC, NOW, beside),
            "after": place.view(db, mine, "month", BEGIN + 31 * DAY, UTC, NOW + 1 * DAY),
            "bars": by_place.bars(db, places.find(db, "hall 3"), "month", BEGIN, BEGIN + 31 * DAY, UTC, NOW),
            "proof": proof.proof(Book(db), 1, SERIES, BEGIN, BEGIN + 31 * DAY),
        }  # fmt: skip


def test_no_answer_says_a_share_or_a_sum_of_what_is_half_added_up(rig, imported):
    assert all(catch_up(rig, 24)), "eight days of each series"
    found = answered(rig, imported)
    for name in ("gateway", "place"):
        page = found[name]
        whole = page["total"]["whole"]
        assert 40 < whole["made_percent"] < 60, "eight days are kept, seven are made for the answer"
        assert whole["known"] == 0 and whole["percent"] is whole["least_mwh"] is whole["good_ms"] is None
        parts = [bar["made_percent"] for bar in page["total"]["bars"]]
        assert parts[0] == 0 and parts[-2:] == [100, 100]
        (state,) = page["states"]
        assert state["segments"] is None and state["made_percent"] < 100, "it is not unknown what the machine did"
    assert found["place"]["beside"]["whole"]["percent"] is None
    assert found["after"]["compared"]["whole"]["percent"] is None, "the month before"
    assert found["proof"]["energy"] is found["proof"]["agrees"] is None and found["proof"]["made_percent"] < 100
    assert not found["bars"]["series"][0]["bars"][0]["made"]
    every = list(totals(found))
    assert {one["percent"] for one in every if "percent" in one and one["made_percent"] < 100} == {None}
    assert {bar["percent"] for bar in found["place"]["total"]["bars"]} == {None, 100}, "what is added up is all read"


def test_all_of_it_is_said_when_all_is_added_up(rig, imported):
    while all(catch_up(rig, DAY_PIECES)):
        pass
    found = answered(rig, imported)
    assert {one["made_percent"] for one in totals(found)} == {100}
    for name in ("gateway", "place"):
        whole = found[name]["total"]["whole"]
        assert whole["percent"] == 100 and whole["least_mwh"] == 31 * 24 * 1_000_000 - 500_000
        assert found[name]["states"][0]["run"]["least"] > 990
    assert found["after"]["compared"]["whole"]["percent"] == 99
    assert found["proof"]["agrees"] and found["proof"]["energy"]["most"] == 31 * 24 * KILOWATT - 500


def test_a_bill_and_a_stretch_for_the_record_wait_for_no_sums(rig, imported):
    with contextlib.closing(connect(rig.data_dir, read_only=True)) as db:
        found = bills.bill(db, 1, (2026, 10), priced(), "00", UTC, NOW)
        whole = Book(db).whole(SERIES, BEGIN, BEGIN + 31 * DAY)
    assert found["percent_of_time_read"] == "100.00"
    assert found["lines"][0]["quantity"]["least"] == "743.5"
    assert whole.energy() == (743_500, 743_500) and Book(rig.store.db).ask(SERIES, [(BEGIN, NOW)])[0][1] > 0


def test_states_that_are_added_up_fill_their_time(rig, imported):
    with contextlib.closing(connect(rig.data_dir, read_only=True)) as db:
        series = db.execute("SELECT series FROM series WHERE quantity = 'machine_state'").fetchone()[0]
        day = states.timeline(Book(db), series, BEGIN + 3 * DAY, BEGIN + 4 * DAY)
    assert day["made_percent"] == 100 and day["run"] == {"least": 1000, "most": 1000}
