"""A place's page: any stretch of time beside the one before, its completeness, and the registers that it rests on."""

import contextlib

import pytest

from batches import FakeGateway
from host_tools.hub.park import place, proof, states, sums, zone
from host_tools.hub.park.book import Book
from host_tools.hub.park.metering import meters
from host_tools.hub.park.sums import Row
from host_tools.hub.stores.store import connect
from hub_rig import fill_meters, meters_schema
from parkgate import events
from parkgate.errors import SettingsError
from test_hub_park import MINUTE, NOON

PHNOM_PENH = zone.zone("Asia/Phnom_Penh")
BERLIN = zone.zone("Europe/Berlin")
HOUR = zone.HOUR_MS


def reader(rig):
    return contextlib.closing(connect(rig.data_dir, read_only=True))


def catch_up(rig):
    rig.store.db.execute("BEGIN")
    while Book(rig.store.db).catch_up():
        pass
    rig.store.db.execute("COMMIT")


@pytest.fixture
def hall(rig):
    gateway = FakeGateway(1, meters_schema(["main", "press"]))
    gateway.name = "hall 3"
    rig.enrol(gateway)
    return gateway


@pytest.mark.parametrize("span, at, begin, end", [
    ("year", "2026-11-28", "2026-01-01T00:00:00+01:00", "2027-01-01T00:00:00+01:00"),
    ("month", "2026-12-31T23:59", "2026-12-01T00:00:00+01:00", "2027-01-01T00:00:00+01:00"),
    ("week", "2026-11-29", "2026-11-23T00:00:00+01:00", "2026-11-30T00:00:00+01:00"),
    ("day", "2026-03-29", "2026-03-29T00:00:00+01:00", "2026-03-30T00:00:00+02:00"),
    ("hour", "2026-10-25T02:30:00+02:00", "2026-10-25T02:00:00+02:00", "2026-10-25T02:00:00+01:00"),
])  # fmt: skip
def test_stretches_are_local(span, at, begin, end):
    found = place.stretch(span, place.moment(at, BERLIN), BERLIN)
    assert [zone.label(each, BERLIN) for each in found] == [begin, end]


@pytest.mark.parametrize("text", ["", "x", "2026", "2026-13-01", "1e9", "0001-01-01", "9999-12-31", "2026-02-30"])
def test_what_is_no_date_is_refused(text):
    with pytest.raises(SettingsError, match="is not a date"):
        place.moment(text, BERLIN)


def test_every_step_back_and_forward_meets_the_next(rig, hall):
    fill_meters(rig, hall, [6000, 1000], NOON - HOUR, NOON)
    with reader(rig) as db:
        for span in place.UNITS:
            here = place.view(db, place.of_gateway(db, 1, ["main", "press"]), span, NOON, BERLIN, NOON)
            forward = place.view(
                db, place.of_gateway(db, 1, []), span, place.moment(here["after"], BERLIN), BERLIN, NOON
            )
            assert forward["from_ms"] == here["to_ms"] and forward["before"] == here["from"]
            assert here["from_ms"] <= NOON < here["to_ms"]
            assert here["total"]["bars"][0]["from_ms"] == here["from_ms"]


def test_a_year_a_month_a_day_and_an_hour_say_the_same(rig, hall):
    begin = NOON - 60 * HOUR
    fill_meters(rig, hall, [6000, 1000], begin, NOON + MINUTE)
    with contextlib.closing(connect(rig.data_dir)) as db:
        meters.put(db, *(meters.Meter(hall.id.hex(), name) for name in ("press", "main")))
    catch_up(rig)
    with reader(rig) as db:
        views = {
            span: place.view(db, place.of_gateway(db, 1, ["main", "press"]), span, NOON - HOUR, PHNOM_PENH, NOON)
            for span in place.UNITS
        }
    assert views["year"]["total"]["whole"]["least_mwh"] == 360_000_000 == views["month"]["total"]["whole"]["most_mwh"]
    hour = views["hour"]["total"]
    assert hour["whole"] == {"least_mwh": 6_000_000, "most_mwh": 6_000_000, "known": 1, "exact": 1, "of": 1,
                             "good_ms": HOUR, "time_ms": HOUR, "percent": 100, "made_percent": 100}  # fmt: skip
    assert len(hour["bars"]) == 60 and {bar["least_mwh"] for bar in hour["bars"]} == {100_000}
    day = views["day"]
    assert len(day["total"]["bars"]) == 24 and day["compared"]["by_then"]["exact"] == 1
    assert day["compared"]["whole"]["least_mwh"] == 144_000_000
    gone = NOON - day["from_ms"]
    assert day["compared"]["by_then"]["least_mwh"] == gone * 6_000_000 // HOUR
    assert [each["inside"] for each in day["energy"]] == [True, False]
    assert day["meters"]["left_out"][0]["instrument"] == "press"
    later = [bar for bar in day["total"]["bars"] if bar["from_ms"] > NOON]
    assert later and all(bar["time_ms"] == 0 and bar["known"] == 0 for bar in later), "what is to come is not missing"


def test_days_of_23_and_25_hours_have_so_many_bars(rig, hall):
    with reader(rig) as db:
        for day, hours in (("2023-03-26", 23), ("2023-10-29", 25), ("2023-11-14", 24)):
            found = place.view(db, place.of_gateway(db, 1, []), "day", place.moment(day, BERLIN), BERLIN, NOON)
            assert len(found["total"]["bars"]) == hours


def test_merged_days_are_the_sum_of_their_pieces_and_do_not_outlive_them(rig, hall):
    begin = zone.begin("day", NOON, zone.zone("UTC")) - 4 * zone.DAY_MS
    fill_meters(rig, hall, [6000, 1000], begin, NOON - 40 * HOUR)
    catch_up(rig)
    fill_meters(rig, hall, [6000, 1000], NOON - 30 * HOUR, NOON)
    asked = [(begin + 5 * HOUR, NOON)]

    def kept_days():
        return {-1 - row[0] for row in rig.rows("SELECT piece FROM sums WHERE series = 2 AND piece < 0")}

    def alone():
        with reader(rig) as db:
            return sums.merge(Book(db).make(2, *asked[0])), Book(db).ask(2, asked)[0]

    whole, found = alone()
    assert found == (whole, 0)
    catch_up(rig)
    days = {at // zone.DAY_MS for at in range(begin, NOON - 12 * HOUR, zone.DAY_MS)}
    assert kept_days() == days
    assert alone()[1] == (whole, 0)
    # Readings for the hole in the middle: what the merged days said is not said any more.
    late = FakeGateway(1, meters_schema(["main", "press"]), epoch=bytes(16))
    fill_meters(rig, late, [9000, 9000], NOON - 40 * HOUR, NOON - 30 * HOUR)
    assert kept_days() < days
    whole, found = alone()
    assert found == (whole, 0)
    catch_up(rig)
    assert kept_days() == days and alone()[1] == (whole, 0)
    rig.store.db.execute("DELETE FROM sums WHERE piece < 0")
    rig.store.db.execute("DELETE FROM about WHERE name = 'sums days merged'")
    catch_up(rig)
    assert kept_days() == days, "a database of before has them too"


# The registers.


def test_a_sum_and_the_registers_that_it_rests_on(rig, hall):
    begin = NOON - 26 * HOUR
    fill_meters(rig, hall, [6000, 1000], begin, NOON + MINUTE)
    with reader(rig) as db:
        found = proof.proof(Book(db), 1, 2, NOON - 24 * HOUR, NOON)
        assert found["energy"] == {"least": 144_000, "most": 144_000} and found["exact"] and found["agrees"]
        start, stop = found["begin"]["before"], found["end"]["before"]
        assert stop["value"] - start["value"] == 144_000
        assert start["time_ms"] == NOON - 24 * HOUR and start["row"] == 0 and start["seq"] == 2
        assert found["begin"]["holds"] and found["begin"]["behind"] is None
        assert start["hash"] == db.execute("SELECT hex(hash) FROM batch WHERE seq = 2").fetchone()[0].lower()
        assert start["leaf"] is not None and start["leaf"] < stop["leaf"]
        assert proof.proof(Book(db), 1, 99, 0, zone.PIECE_MS) is None


def test_an_edge_in_a_gap_names_both_neighbours(rig, hall):
    fill_meters(rig, hall, [6000, 1000], NOON - 6 * HOUR, NOON - 3 * HOUR)
    last = 17_900 + 100
    rows = {0: [(NOON + n * MINUTE, 0, [1, last + 5000], [0, 0]) for n in range(60)]}
    rig.take((hall.batch_topic(), hall.batch(tables=rows)))
    with reader(rig) as db:
        found = proof.proof(Book(db), 1, 2, NOON - 5 * HOUR, NOON - 2 * HOUR)
    assert not found["exact"] and found["agrees"] and not found["end"]["holds"]
    assert found["end"]["before"]["value"] == 17_900 and found["end"]["behind"]["value"] == last + 5000
    assert found["energy"]["most"] - found["energy"]["least"] == last + 5000 - 17_900


def test_an_exchange_between_the_registers(rig, hall):
    fill_meters(rig, hall, [6000, 1000], NOON - 2 * HOUR, NOON - HOUR)
    told = [[events.COUNTER, "main", "import_active_energy", sums.EXCHANGE, 5900, 70, [NOON - HOUR, 0]]]
    rows = {0: [(NOON - HOUR + n * MINUTE, 0, [1, 70 + n], [0, 0]) for n in range(62)]}
    rig.take((hall.batch_topic(), hall.batch(tables=rows, events=told)))
    with reader(rig) as db:
        found = proof.proof(Book(db), 1, 2, NOON - 2 * HOUR, NOON)
    assert found["energy"] == {"least": 5900 + 60, "most": 5900 + 60} and found["agrees"]
    assert [(each["what"], each["before"], each["value"], each["grown"]) for each in found["jumps"]] == [
        ("exchange", 5900, 70, 0)
    ]


# States.


def by_seconds(rows, begin_ms, end_ms):
    """Another way to count: the state of each second by itself."""
    found = {}
    for at in range(begin_ms, end_ms, 1000):
        before = [i for i, row in enumerate(rows) if row.time_ms <= at]
        name = None
        if before and before[-1] + 1 < len(rows):
            row, behind = rows[before[-1]], rows[before[-1] + 1]
            step = behind.time_ms - row.time_ms
            until = behind.time_ms if 2 * step <= 3 * row.row_ms else row.time_ms + row.row_ms
            name = ("off", "idle", "run", "alarm")[row.value] if row.good and at < until else None
        found[name] = found.get(name, 0) + 1000
    return found


def test_states_are_counted_as_by_each_second():
    rows = [Row(n * 10_000, n // 7 % 4, n % 11 != 3, 10_000) for n in range(100) if not 40 < n < 60]
    found = {}
    end = 0
    for from_ms, to_ms, state in states.held(rows, 0, 900_000):
        assert from_ms == end
        end, found[state] = to_ms, found.get(state, 0) + to_ms - from_ms
    assert end == 900_000 and found == by_seconds(rows, 0, 900_000)


def test_the_timeline_of_a_machine(rig):
    gateway = FakeGateway(1, [["press", "contact; every 60 s", [["machine_state", "1", 0]]]])
    rig.enrol(gateway)
    state = {0: 2, 1: 2, 2: 1, 3: 3, 5: 2}  # by hour; nothing in the fifth
    for hour in state:
        rows = [(NOON + hour * HOUR + n * MINUTE, 0, [state[hour]], [0]) for n in range(60)]
        rig.take((gateway.batch_topic(), gateway.batch(tables={0: rows}, with_schema=True)))
    with reader(rig) as db:
        found = states.timeline(Book(db), 1, NOON, NOON + 5 * HOUR)
        assert [(each["from_ms"], each["state"]) for each in found["segments"]] == [
            (NOON, "run"), (NOON + 2 * HOUR, "idle"), (NOON + 3 * HOUR, "alarm"), (NOON + 4 * HOUR, None),
        ]  # fmt: skip
        assert found["run"] == {"least": 400, "most": 600}
        assert sum(found["ms"].values()) == 5 * HOUR
        assert states.timeline(Book(db), 1, NOON, NOON + 90 * zone.DAY_MS)["segments"] is None
