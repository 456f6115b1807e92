"""The demo's past: a week of it signed, taken by a hub, and gone on with; what went wrong in the park is there."""

import json

import pytest

from host_tools.hub.park import answers, zone
from host_tools.hub.park.book import Book
from host_tools.hub.park.money import bill, measured
from host_tools.hub.park.money import tariff as tariffs
from host_tools.hub.receiving import intake
from host_tools.hub.stores.gateways import enrol
from host_tools.sim.past import chains, halls, keeping, making
from hub_rig import Rig
from parkgate import events
from parkgate.wire import cbor

BEGIN_MS = 1_795_107_600_000  # a midnight of Phnom Penh
DAY_MS = halls.DAY_MS


def hall(name):
    return next(each for each in halls.PARK if each.name == name)


def begun(name, day):
    """A chain of this hall that begins on this day of the history."""
    return chains.new_state(hall(name), name, BEGIN_MS, BEGIN_MS + day * DAY_MS)


def made(name, day, days, state=None):
    state = begun(name, day) if state is None else state
    until_ms = BEGIN_MS + round((day + days) * 24) * 3_600_000
    return list(chains.batches(hall(name), state, until_ms, chains.ROW_MS, chains.BATCH_MS)), state


def hub_with(tmp_path, name, *messages):
    rig = Rig(tmp_path)
    enrol(rig.store.db, chains.Key(name).xy, name)
    rig.restart()
    outcomes = rig.intake.take([intake.Message(*message) for message in messages], BEGIN_MS + 61 * DAY_MS)
    return rig, [outcome.kind for outcome in outcomes]


def told(rig, kind):
    return [cbor.decode(row[0]) for row in rig.rows("SELECT event FROM event WHERE kind = ? ORDER BY seq", kind)]


def test_begin_is_a_local_midnight():
    at = halls.moment(BEGIN_MS, BEGIN_MS)
    assert (at.hour, at.since) == (0, 0)


def test_the_same_seed_gives_the_same_bytes_and_a_chain_goes_on_where_it_stood():
    seven = 7 / 24  # a batch ends at midnight and noon, UTC
    whole, _ = made("Offices and streets", 0, 1 + seven)
    again, state = made("Offices and streets", 0, seven)
    more, _ = made("Offices and streets", seven, 1, state)
    assert whole == again + more


@pytest.mark.parametrize(("name", "day", "kind", "wanted"), [
    ("Hall 4 carpentry", 40, events.COUNTER, 2),  # the exchange of a meter
    ("Hall 1 sewing", 47, events.CONSISTENCY, 1),  # a current transformer the wrong way round
    ("Hall 3 cold store", 36, events.OFF, None),  # the power cut of the park
])  # fmt: skip
def test_a_hub_takes_what_went_wrong(tmp_path, name, day, kind, wanted):
    messages, _ = made(name, day, 1)
    rig, outcomes = hub_with(tmp_path, name, *messages)
    assert "refused" not in outcomes
    found = told(rig, kind)
    assert found and (wanted is None or wanted in found[0])
    assert rig.rows("SELECT count(*) FROM batch")[0][0] == len(messages)


def test_a_day_has_the_energy_of_its_power_and_nights_are_dark(tmp_path):
    messages, _ = made("Offices and streets", 7, 1)
    rig, _ = hub_with(tmp_path, "Offices and streets", *messages)
    tz = zone.zone(halls.ZONE)
    gw = rig.rows("SELECT gw FROM gateway")[0][0]
    found = answers.bars(rig.store.db, gw, "hour", BEGIN_MS + 7 * DAY_MS, BEGIN_MS + 8 * DAY_MS, tz, rig.now_unix_ms)
    lights = next(one for one in found["series"] if one["instrument"] == "street lights")["bars"]
    noon, evening = lights[12]["energy"]["most"], lights[20]["energy"]["least"]
    assert noon < 200 and 6_000 < evening < 6_700  # 140 W by day, 6.3 kW more when it is dark
    series = rig.rows("SELECT series FROM series WHERE quantity = 'active_power' AND instrument = 'street lights'")
    power = Book(rig.store.db).make(series[0][0], lights[20]["from_ms"], lights[20]["to_ms"])
    assert abs(sum(piece.most for piece in power) / 4 - evening) < 120


def test_light_and_dark_lots_have_the_energy_of_their_colour(tmp_path):
    from host_tools.hub.production import entries

    messages, _ = made("Hall 2 dye house", 3, 1)
    rig, _ = hub_with(tmp_path, "Hall 2 dye house", *messages)
    items = [item for item in entries.chains(rig.store.db)[0].items if isinstance(item, entries.Entry)]
    starts = {item.number: item for item in items if item.what == 1}
    used = {}
    for stop in (item for item in items if item.what == 2):
        begin = starts[stop.job]
        used.setdefault(str(begin.job).partition("-")[0], []).append(stop.registers[0] - begin.registers[0])
    assert min(used["DARK"]) > 1.5 * max(used["LIGHT"]) > 0


def test_a_kept_past_is_read_and_not_made_again_and_a_second_start_sends_again_what_was_sent(tmp_path, monkeypatch):
    now_ms = BEGIN_MS + 2 * DAY_MS
    monkeypatch.setattr(keeping, "DAYS", 1)
    monkeypatch.setattr(halls, "PARK", (hall("Offices and streets"),))
    monkeypatch.setattr(making, "make", lambda folder, begin_ms, end_ms: making.main(folder, begin_ms, end_ms, [0]))
    monkeypatch.setattr(keeping.Past, "_furnish", lambda self, hub: None)
    first = keeping.Past(tmp_path, tmp_path / "kept")
    assert not first.is_there and first.bring(tmp_path / "hub", now_ms) > 0
    monkeypatch.setattr(making, "make", None)  # would fail
    second = keeping.Past(tmp_path, tmp_path / "kept")
    assert second.is_there and second.bring(tmp_path / "hub", now_ms + 3_600_000) > 0
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert keeping.Past(elsewhere, tmp_path / "kept").bring(elsewhere / "hub", now_ms) > 0


def test_the_demo_has_prices_for_its_months_and_says_that_they_are_invented(tmp_path):
    prices = tariffs.read(json.dumps(keeping.tariff(BEGIN_MS)))
    tz = zone.zone(halls.ZONE)
    begin = measured.month_span((2026, 11), tz)[0]
    assert prices.version((2026, 10)) is None and prices.version((2031, 1)) is not None
    assert "example" in prices.about and "invented" in prices.source
    messages, _ = made("Offices and streets", 0, 1)
    rig, _ = hub_with(tmp_path, "Offices and streets", *messages)
    found = bill.bill(rig.store.db, 1, (2026, 11), prices, "00", tz, BEGIN_MS + DAY_MS)
    energy = [line for line in found["lines"] if line["kind"] == "energy"]
    assert begin < BEGIN_MS and all(float(line["amount"]["least"]) > 0 for line in energy) and len(energy) == 2
