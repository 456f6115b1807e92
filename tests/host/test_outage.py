"""A meter is away for a while: every period is accounted for, and the hub shows the outage as an outage, by time."""

import contextlib
import itertools
import os
import time
from pathlib import Path

import pytest

from batches import START_MS, FakeGateway
from host_tools.cli import main
from host_tools.hub.reading import availability, readings, window
from host_tools.hub.stores.database import DATABASE_FILE, connect
from host_tools.hub.stores.schema import TABLES
from hub_rig import make_older
from park import BUSY_MACHINE, Park, answer_of
from parkgate import events
from test_hub_web import CHROMIUM, page_of

NEAR_MS = 1500 * BUSY_MACHINE  # between what happens and the sample that shows it
METERS = (("press", "eastron-sdm120", 1), ("oven", "pzem-004t", 2))
SHOTS = os.environ.get("PARKGATE_SHOTS", "")  # a folder for the pictures of the page
GOOD, TIMEOUT = 0, 8


def rows(first_s, last_s, quality=GOOD):
    values = [None] if quality else [1000]
    return [(START_MS + 1000 * s, 0, values, bytes([quality]) if quality else None) for s in range(first_s, last_s)]


def told(begin_s, *counts):
    counts = [*counts, *[0] * (6 - len(counts))]
    return [events.PERIODS, "press", [START_MS + 1000 * begin_s, 0], 1000, counts]


@pytest.fixture
def away(rig):
    """W10 at the hub: at 1 Hz for 300 s, then away for 127 s, asked nine times, then good for 100 s."""
    gateway = FakeGateway(1, [["press", "eastron-sdm120; every 1 s", [["active_power", "W", 0]]]])
    rig.enrol(gateway)
    rig.batches(gateway, *[gateway.batch(tables={0: rows(60 * n, 60 * n + 60)}) for n in range(5)])
    asked = [300, 301, 303, 307, 315, 331, 363]
    tried = [row for s in asked for row in rows(s, s + 1, TIMEOUT)]
    rig.batches(gateway, gateway.batch(tables={0: tried}, events=[told(0, 300)]))
    return gateway


def state(rig, gateway):
    return rig.summary(gateway)["instruments"]


def covered(rig, gateway):
    until_ms = availability.until_ms(rig.store.by_topic[gateway.topic])
    with contextlib.closing(connect(rig.data_dir, read_only=True)) as db:
        return availability.covered(db, 1, 0, until_ms)[1]


def test_away_is_not_good_and_says_since_when(rig, away):
    (press,) = state(rig, away)
    assert (press["state"], press["reason"]) == ("away", "no answer")
    assert press["since_ms"] == START_MS + 300_000
    assert press["for_ms"] == 63_000, "as far as the gateway has told"
    assert rig.summary(away)["instruments_not_good"] == ["press"]
    assert covered(rig, away)["good_ms"] == 300_000


def test_an_outage_counts_as_time_however_few_rows_it_has(rig, away):
    rig.batches(away, away.batch(tables={0: rows(427, 527)}, events=[told(300, 0, 7, 120)]))
    (press,) = state(rig, away)
    assert press["state"] == "good" and rig.summary(away)["instruments_not_good"] == []
    assert press["periods"]["elapsed"] == 427 and press["periods"]["taken"] == 300
    assert {name: n for name, n in press["periods"]["not_taken"].items() if n} == {"no answer": 7, "backed off": 120}
    found = covered(rig, away)
    assert found["good_ms"] == 399_000 and found["time_ms"] == 526_000
    assert found["percent"] == "75.85", "by rows it would be 98.28"
    with contextlib.closing(connect(rig.data_dir, read_only=True)) as db:
        item = window.window(db, 1, [1], None, None, None, 10_000)["series"][0]
        assert item["gaps"] == [{"from_ms": START_MS + 300_000, "to_ms": START_MS + 427_000, "reason": "no answer"}]
        at = item["times"].index(START_MS + 299_000)
        assert item["values"][at + 1] is None, "no line joins what is on both sides of an outage"
        thinned = window.window(db, 1, [1], None, None, None, 50)["series"][0]
        assert None in thinned["values"]
        what = [event["what"] for event in readings.recent_events(db, 1, 9)]
    assert what[0] == "press: 0 of 127 periods taken in 2 min 7 s; not taken: 7 no answer, 120 backed off"


def test_the_export_tells_time_not_rows(rig, away, tmp_path):
    rig.batches(away, away.batch(tables={0: rows(427, 527)}, events=[told(300, 0, 7, 120)]))
    start = f"gateway 0,{away.id.hex()},press"
    for form, row in (
        ("availability", f"{start},active_power,{START_MS},{START_MS + 526_000},399000,526000,75.85"),
        ("outages", f"{start},{START_MS + 300_000},{START_MS + 427_000},1000,0,7,120,0,0,0"),
    ):
        path = tmp_path / f"{form}.csv"
        assert main(["export", "--data", str(rig.data_dir), "--format", form, "--out", str(path)]) == 0
        assert path.read_text().splitlines()[1:] == [row]


def test_nothing_between_two_batches_is_a_gap_too(rig):
    gateway = FakeGateway(1, [["press", "p; every 1 s", [["active_power", "W", 0]]]])
    rig.enrol(gateway)
    off = [events.OFF, START_MS + 59_000, START_MS + 3_660_000]
    rig.batches(gateway, gateway.batch(tables={0: rows(0, 60)}))
    rig.batches(gateway, gateway.batch(tables={0: rows(3660, 3720)}, events=[off]))
    found = covered(rig, gateway)
    assert (found["good_ms"], found["time_ms"]) == (119_000, 3_719_000)
    with contextlib.closing(connect(rig.data_dir, read_only=True)) as db:
        item = window.window(db, 1, [1], None, None, None, 10_000)["series"][0]
        assert item["gaps"][0]["reason"] == "the gateway was off"
        assert readings.recent_events(db, 1, 9)[0]["what"] == "the gateway did not run for 1 h"


@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4, 5, 6), (6, 5, 4, 3, 2, 1, 0), (3, 0, 6, 1, 5, 2, 4)])
def test_the_order_of_arrival_does_not_matter(rig, order):
    gateway = FakeGateway(1, [["press", "p; every 1 s", [["active_power", "W", 0]]]])
    rig.enrol(gateway)
    sealed = [gateway.batch(tables={0: rows(60 * n, 60 * n + 60)}, with_schema=True) for n in range(6)]
    sealed.append(gateway.batch(tables={0: rows(427, 487)}, events=[told(0, 360, 7, 60)], with_schema=True))
    rig.batches(gateway, *[sealed[n] for n in order])
    first = state(rig, gateway), covered(rig, gateway), rig.everything()
    assert first[1]["good_ms"] == 419_000
    rig.restart()
    assert (state(rig, gateway), covered(rig, gateway), rig.everything()) == first


def test_what_was_not_built_is_shown(rig):
    gateway = FakeGateway(1, [["press", "p; every 1 s", [["active_power", "W", 0]]]])
    rig.enrol(gateway)
    lost = [events.PERIODS, "oven", [START_MS, 0], 1000, [0, 0, 0, 0, 60, 0]]
    rig.batches(gateway, gateway.batch(tables={0: rows(0, 60)}, events=[lost]))
    press, oven = state(rig, gateway)
    assert press["state"] == "good" and oven["state"] == "not built"
    assert rig.summary(gateway)["instruments_not_good"] == ["oven"]
    later = [(time_ms + 10_000_000, *rest) for time_ms, *rest in rows(0, 60)]
    rig.batches(gateway, gateway.batch(tables={0: later}))
    assert [one["state"] for one in state(rig, gateway)] == ["good", "not in the settings"], "no longer stated"


def test_what_was_read_and_can_be_built_no_longer_says_so(rig, away):
    away.schema = [["room", "sht3x; every 1 s", [["temperature", "Cel", 2]]]]
    lost = [events.PERIODS, "press", [START_MS + 500_000, 0], 1000, [0, 0, 0, 0, 9, 0]]
    rig.batches(away, away.batch(tables={0: rows(500, 510)}, events=[lost], with_schema=True))
    room, press = state(rig, away)
    assert (room["state"], press["state"]) == ("good", "not built")
    assert press["since_ms"] == START_MS + 300_000


@pytest.mark.parametrize(
    "event",
    [
        [11], [11, "press"], [11, "press", [0, 0], 0, [1, 0, 0, 0, 0, 0]], [11, "press", [0, 0], 1000, [1]],
        [11, "press", [0, 0], 1000, [1, 0, 0, 0, 0, -1]], [11, 5, [0, 0], 1000, [0] * 6],
        [11, "press", [0, 0], 1000, [1 << 60, 0, 0, 0, 0, 0]], [11, "press", 7, 1000, [0] * 6],
        [12], [12, 5, None], [12, None, "x"],
    ],
)  # fmt: skip
def test_statements_that_make_no_sense_harm_nothing(rig, away, event):
    rig.batches(away, away.batch(tables={0: rows(427, 430)}, events=[event]))
    assert rig.summary(away)["batches_verified"] == 7
    assert state(rig, away)[0]["state"] == "good"
    assert bool(rig.summary(away)["alarms"]) == (event[0] == events.PERIODS)
    with contextlib.closing(connect(rig.data_dir, read_only=True)) as db:
        assert readings.recent_events(db, 1, 9)
        assert window.window(db, 1, [1], None, None, None, 1000)["series"][0]["gaps"]


def test_a_database_of_the_older_format_is_brought_up(rig, away):
    wanted = covered(rig, away), state(rig, away)
    rig.store.close()
    with contextlib.closing(connect(rig.data_dir)) as db:
        for table, columns in (("series", ("good_ms", "row_ms")), ("block", ("good_ms", "covered_ms", "tail_ms"))):
            for column in columns:
                db.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
        make_older(db, 1)
    rig.open()
    rig.intake.derived.account_anew(rig.now_unix_ms)
    assert (covered(rig, away), state(rig, away)) == wanted
    assert rig.rows("SELECT * FROM about WHERE name = 'account'") == []
    made = "".join(sql for (sql,) in rig.rows("SELECT sql FROM sqlite_master WHERE name = 'periods'"))
    assert made and made in TABLES and (Path(rig.data_dir) / DATABASE_FILE).is_file()


# The whole way: a meter on a serial line, the gateway, the broker, the hub, its page in a browser.


def instrument(park, name):
    return next((i for i in park.asked().get("instruments", ()) if i["instrument"] == name), {"state": None})


def picture(page, name):
    if SHOTS:
        page.screenshot(path=str(Path(SHOTS) / f"{name}.png"), full_page=True)


def test_a_meter_away_the_whole_way(tmp_path):
    sync_api = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    # At half a second two meters of a slow line leave no period out, so the statements are of the outage.
    with Park(tmp_path, METERS, period_ms=500) as park, sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        park.start_gateway()
        park.wait(lambda: instrument(park, "press")["state"] == "good", 40, "the press is good")
        time.sleep(8)
        press = park.bus.meters[0]
        away_ms = time.time() * 1000
        press.dead = True
        park.wait(lambda: instrument(park, "press")["state"] == "away", 30, "the press is away")
        time.sleep(6)
        found = instrument(park, "press")
        assert abs(found["since_ms"] - away_ms) < NEAR_MS and found["reason"] == "no answer"
        assert park.asked()["instruments_not_good"] == ["press"]
        assert park.gateway.status["away"] == 1 and park.gateway.status["missed"] > 8
        with page_of(browser, park.hub.page.rstrip("/"), viewport={"width": 1400, "height": 1100}) as page:
            page.wait_for_selector(".state.bad")
            words = page.locator(".state.bad").inner_text()
            assert words.startswith("away since") and words.endswith("no answer"), words
            assert page.locator(".dot.live").count() == 0 and page.locator(".dot.away").count() >= 1
            assert "% good" not in page.content()
            picture(page, "outage-now")
        press.dead = False
        park.wait(lambda: instrument(park, "press")["state"] == "good", 40, "the press is back")
        back_ms = time.time() * 1000
        time.sleep(12)
        answer = park.asked()
        (channel,) = [c for c in answer["channels"] if (c["instrument"], c["quantity"]) == ("press", "active_power")]
        share = channel["availability"]
        missing_ms = share["time_ms"] - share["good_ms"]
        address = f"{park.hub.page}api/gateways/{park.gateway_id}/readings?series={channel['series']}"
        gaps = answer_of(address)["series"][0]["gaps"]
        longest = max(gaps, key=lambda gap: gap["to_ms"] - gap["from_ms"])
        assert 8000 < longest["to_ms"] - longest["from_ms"] < back_ms - away_ms + NEAR_MS
        assert abs(missing_ms - sum(gap["to_ms"] - gap["from_ms"] for gap in gaps)) < 1500, "by time, not by rows"
        assert longest["reason"] == "no answer" and abs(longest["from_ms"] - away_ms) < NEAR_MS
        with page_of(browser, park.hub.page.rstrip("/"), viewport={"width": 1400, "height": 1100}) as page:
            page.wait_for_selector(".state.good")
            page.click("button.chip:has-text('15 min')")
            page.wait_for_selector(".uplot canvas")
            time.sleep(2)
            picture(page, "outage-past")
        check_identity(park)
        # A start later: the profile of the oven is gone from its flash, and the time without power is told.
        park.gateway.kill()
        stopped_ms = time.time() * 1000
        (park.gateway.folder / "meters" / "pzem-004t.json").unlink()
        time.sleep(4)
        park.gateway.start()
        park.wait(lambda: instrument(park, "oven")["state"] == "not built", 40, "the oven is not built")
        assert park.asked()["instruments_not_good"] == ["oven"]
        park.wait(lambda: any(e["kind"] == "off" for e in park.asked()["events"]), 30, "the time without power is told")
        off = next(e["event"] for e in park.asked()["events"] if e["kind"] == "off")
        assert abs(off[1] - stopped_ms) < NEAR_MS and off[2] - off[1] > 3000
        browser.close()


def check_identity(park):
    """Statements of an instrument lie side by side, and what they count as asked is what the rows show."""
    with contextlib.closing(connect(park.hub.folder, read_only=True)) as db:
        spans = db.execute(
            "SELECT begin_ms, end_ms, taken, no_answer, backed_off, bus_busy, not_built, failed FROM periods"
            " WHERE instrument = 'press' ORDER BY ep, seq, place"
        ).fetchall()
    assert len(spans) >= 2 and any(span[4] for span in spans)
    for before, after in itertools.pairwise(spans):
        assert abs(after[0] - before[1]) <= 50, "the clock may be set a little"
    told_ms = [span for span in spans if span[2] == 0]
    assert told_ms, "the outage has a span of its own"
    times = {int(r["time_unix_ms"]) for r in park.readings() if r["instrument"] == "press"}
    for begin_ms, end_ms, taken, no_answer, *_ in spans:
        inside = [t for t in times if begin_ms <= t < end_ms]
        assert abs(len(inside) - taken - no_answer) <= 2, (begin_ms, taken, no_answer, len(inside))
