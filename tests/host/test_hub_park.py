"""What the first screen says: nothing is called known, live or exact that is not."""

import contextlib
import time

import httpx
import pytest

from batches import FakeGateway
from host_tools.hub.park import answers, zone
from host_tools.hub.stores.store import connect
from hub_rig import Rig
from test_hub_web import Server

MINUTE = 60_000
UTC = zone.zone("UTC")
NOON = 1_700_000_000_000 // zone.DAY_MS * zone.DAY_MS + 12 * zone.HOUR_MS
SCHEMA = [["mill", "SDM630; every 60 s", [["active_power", "W", 1], ["import_active_energy", "Wh", 0]]]]


def fill(rig, gateway, from_ms, to_ms, watt=6000, bad=lambda _ms: False):
    """A meter that counts `watt` exactly, a row a minute, an hour a batch."""
    at = from_ms
    while at < to_ms:
        rows = []
        for time_ms in range(at, min(at + zone.HOUR_MS, to_ms), MINUTE):
            away = bad(time_ms)
            values = [None, None] if away else [watt * 10, (time_ms - from_ms) // MINUTE * watt // 60]
            rows.append((time_ms, 0, values, [8, 8] if away else [0, 0]))
        rig.now_unix_ms = rows[-1][0] + 1000
        assert rig.take((gateway.batch_topic(), gateway.batch(tables={0: rows})))[0].receipt
        at += zone.HOUR_MS


@pytest.fixture
def hall(rig):
    gateway = FakeGateway(1, SCHEMA)
    gateway.name = "paint shop"
    rig.enrol(gateway)
    return gateway


def park(rig, *gateways, now_ms=NOON):
    with contextlib.closing(connect(rig.data_dir, read_only=True)) as db:
        return answers.overview(db, [rig.summary(each) for each in gateways], UTC, now_ms)


def test_power_and_energy_of_a_day_that_is_whole(rig, hall):
    fill(rig, hall, NOON - 40 * zone.HOUR_MS, NOON + MINUTE)
    found = park(rig, hall)
    assert found["power"] == {"value_mw": 6_000_000, "known": 1, "of": 1}
    today = found["energy"]["today"]
    assert today["least_mwh"] == today["most_mwh"] == 72_000_000 and today["exact"] == today["known"] == 1
    assert found["energy"]["yesterday_by_now"]["least_mwh"] == 72_000_000
    assert found["energy"]["yesterday"]["most_mwh"] == 144_000_000
    assert found["energy"]["yesterday"]["exact"] == found["energy"]["yesterday_by_now"]["exact"] == 1
    assert today["percent"] == 100 and found["off"] == found["needs"] == []
    assert found["halls"][0]["standing"] == "live"


@pytest.mark.parametrize("minutes", [0, 1, 14, 15, 29])
def test_the_first_minutes_of_a_day(rig, hall, minutes):
    midnight = zone.begin("day", NOON, UTC)
    now_ms = midnight + minutes * MINUTE
    fill(rig, hall, midnight - 30 * zone.HOUR_MS, now_ms + MINUTE)
    found = park(rig, hall, now_ms=now_ms)
    by_now = minutes // 15 * 15 * MINUTE  # yesterday is compared by whole quarters of an hour
    assert found["energy"]["yesterday_by_now"]["least_mwh"] == by_now * 6_000_000 // zone.HOUR_MS
    assert found["energy"]["yesterday_by_now"]["exact"] == found["energy"]["yesterday"]["exact"] == 1
    assert found["energy"]["yesterday"]["most_mwh"] == 144_000_000
    assert found["halls"][0]["standing"] == "live"


def test_a_day_that_began_late_is_not_called_exact(rig, hall):
    fill(rig, hall, NOON - 30 * zone.HOUR_MS, NOON + MINUTE)
    before = park(rig, hall)["energy"]["yesterday_by_now"]
    assert before["least_mwh"] == 36_000_000 and before["known"] == 1 and before["exact"] == 0
    assert before["percent"] == 50


def test_an_old_reading_is_not_power_now(rig, hall):
    fill(rig, hall, NOON - 3 * zone.HOUR_MS, NOON)
    assert park(rig, hall, now_ms=NOON + 4 * MINUTE)["power"]["known"] == 1
    late = park(rig, hall, now_ms=NOON + 6 * MINUTE)
    assert late["power"] == {"value_mw": 0, "known": 0, "of": 1}
    assert late["halls"][0]["standing"] == "silent" and late["needs"][0]["kind"] == "silent"
    assert [one["state"] for one in late["off"]] == ["silent"]


def test_what_is_missing_shows_in_the_share_and_at_the_edge(rig, hall):
    midnight = NOON - 12 * zone.HOUR_MS
    fill(rig, hall, NOON - 20 * zone.HOUR_MS, NOON, bad=lambda ms: abs(ms - midnight) < zone.HOUR_MS)
    today = park(rig, hall)["energy"]["today"]
    assert today["least_mwh"] < 72_000_000 < today["most_mwh"], "midnight lies in a gap"
    assert today["exact"] == 0 and today["known"] == 1 and today["percent"] == 91
    fill(rig, hall, NOON, NOON + MINUTE)


def test_nothing_is_live_that_signs_nothing_new(rig, hall):
    fill(rig, hall, NOON - 2 * zone.HOUR_MS, NOON)
    last = hall.held[hall.seq - 1][0]
    seen = rig.summary(hall)["last_seen_unix_ms"]
    rig.now_unix_ms = NOON + 30 * MINUTE
    assert rig.take((hall.batch_topic(), last))[0].kind == "duplicate"
    rig.take((hall.batch_topic(), b"garbage"))
    summary = rig.summary(hall)
    assert summary["last_seen_unix_ms"] == seen < NOON + 30 * MINUTE
    assert answers.standing(summary, rig.now_unix_ms) == "silent"
    rig.restart()
    assert rig.summary(hall)["last_seen_unix_ms"] == seen, "a restart is no news"


def test_old_statements_that_come_now_are_late_and_not_live(rig, hall):
    fill(rig, hall, NOON - 2 * zone.HOUR_MS, NOON)
    rig.now_unix_ms = NOON + zone.DAY_MS
    rows = [(NOON + MINUTE, 0, [1, 1], [0, 0])]
    rig.take((hall.batch_topic(), hall.batch(tables={0: rows})))
    assert answers.standing(rig.summary(hall), rig.now_unix_ms) == "late"
    assert park(rig, hall, now_ms=rig.now_unix_ms)["power"]["known"] == 0


def test_a_board_that_another_replaced_is_no_trouble_and_in_no_total(rig, hall):
    fill(rig, hall, NOON - 3 * zone.HOUR_MS, NOON)
    rig.store.db.execute("UPDATE place_stay SET to_ms = ?", (NOON,))
    rig.store.load()
    found = park(rig, hall, now_ms=NOON + zone.HOUR_MS)
    assert found["halls"][0]["standing"] == "replaced" and not found["needs"] and not found["off"]
    assert found["power"]["of"] == found["energy"]["today"]["of"] == 0


def test_dead_meters_and_no_meters_are_not_live(rig, hall):
    new = FakeGateway(2, SCHEMA)
    new.name = "new"
    rig.enrol(new)
    fill(rig, hall, NOON - 2 * zone.HOUR_MS, NOON, bad=lambda ms: ms > NOON - 30 * MINUTE)
    rig.batches(new, new.batch(rows=0, with_schema=True))
    found = park(rig, hall, new, now_ms=NOON + MINUTE)
    assert [(each["name"], each["standing"]) for each in found["halls"]] == [("paint shop", "dead"), ("new", "new")]
    assert found["needs"][0]["kind"] == "dead" and found["off"][0]["instrument"] == "mill"


def test_trouble_comes_first_and_a_revoked_board_that_sends_on_is_trouble(rig, hall):
    others = [FakeGateway(n, SCHEMA) for n in (2, 3)]
    for each, name in zip(others, ("a", "z")):
        each.name = name
    rig.enrol(hall, *others)
    for each in (others[0], others[1]):
        fill(rig, each, NOON - zone.HOUR_MS, NOON)
    fill(rig, hall, NOON - zone.HOUR_MS, NOON)
    rig.store.db.execute("UPDATE gateway SET revoked_unix_ms = 5 WHERE name = 'z'")
    rig.store.load()
    rig.take((others[1].batch_topic(), others[1].batch(rows=1)))
    found = park(rig, hall, *others, now_ms=NOON + MINUTE)
    assert [each["name"] for each in found["halls"]] == ["z", "a", "paint shop"]
    assert found["needs"][0]["kind"] == "revoked" and "1 messages were refused" in found["needs"][0]["what"]
    assert found["power"]["of"] == 2, "a revoked board measures nothing for us"


def test_bars_of_hours_and_days_agree(rig, hall):
    gap = NOON - 6 * zone.HOUR_MS
    fill(rig, hall, NOON - 40 * zone.HOUR_MS, NOON + MINUTE, bad=lambda ms: 0 < ms - gap <= zone.HOUR_MS)
    with contextlib.closing(connect(rig.data_dir, read_only=True)) as db:
        asked = db, 1, "hour", NOON - 24 * zone.HOUR_MS, NOON, zone.zone("Asia/Phnom_Penh"), NOON
        hours = answers.bars(*asked)["series"][0]["bars"]
        assert len(hours) == 24 and sum(bar["energy"]["least"] for bar in hours if bar["exact"]) == 22 * 6000
        assert [bar["percent"] for bar in hours].count(100) == 22
        day = answers.bars(db, 1, "day", *asked[3:])
        assert day["zone"] == "Asia/Phnom_Penh" and day["series"][0]["bars"][0]["from"].endswith("00:00:00+07:00")
        power = answers.bars(*asked, wanted=[1])["series"][0]["bars"]
        assert {bar["mean_milli"] for bar in power if bar["good_ms"]} == {60_000_000}
        with pytest.raises(answers.TooMuch):
            answers.bars(db, 1, "minute", 0, NOON, UTC, NOON)


@pytest.fixture
def server(tmp_path):
    rig = Rig(tmp_path)
    gateway = FakeGateway(1, SCHEMA)
    rig.enrol(gateway)
    now_ms = time.time_ns() // 1_000_000 // MINUTE * MINUTE
    fill(rig, gateway, now_ms - 3 * zone.HOUR_MS, now_ms)
    rig.store.close()
    with Server(tmp_path) as server:
        server.id = gateway.id.hex()
        yield server


def test_the_api(server):
    found = httpx.get(server.url + "/api/park").json()
    assert found["power"]["known"] == 1 and found["halls"][0]["standing"] == "live"
    place = f"{server.url}/api/gateways/{server.id}/energy"
    bars = httpx.get(place + "?unit=hour").json()["series"][0]["bars"]
    assert any(bar["energy"] and bar["exact"] for bar in bars)
    for bad in ("?unit=week", "?from=x", "?from=5&to=4", "?unit=minute&from=0", "?series=" + ",".join(["1"] * 17),
                f"?from={1 << 60}"):  # fmt: skip
        assert httpx.get(place + bad).status_code == 400, bad
    assert httpx.get(f"{server.url}/api/gateways/{'0' * 64}/energy").status_code == 404


def test_health_and_readiness_are_two_things(server):
    assert httpx.get(server.url + "/healthz").json() == {"ok": True}
    ready = httpx.get(server.url + "/readyz")
    assert ready.status_code == 503 and ready.json()["faults"] == ["the broker is not connected"]
    server.hub._turned_s -= 1e6
    server.hub.is_alive = lambda: False
    assert httpx.get(server.url + "/healthz").status_code == 503
