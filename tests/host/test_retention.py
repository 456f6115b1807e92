"""`parkgate hub retain`: what goes, what stays, and that nothing of it is silent."""

import contextlib
import json
import zipfile
from datetime import datetime, timezone

import pytest

from archives import PLANT, Plant
from batches import START_MS, FakeGateway
from host_tools import cli
from host_tools.hub.park.book import Book
from host_tools.hub.stores import backup, places, retention
from host_tools.hub.stores.store import connect
from host_tools.log import keys
from host_tools.log.check import Check
from host_tools.log.signer import Signer
from hub_rig import Rig
from parkgate.errors import SettingsError
from parkgate.log import statement
from parkgate.reading import RELATIVE_ONLY
from test_archive import verdict

DAY_MS = 86_400_000
EVERY_MS = DAY_MS
DAYS = 80  # 2023-11-14 to 2024-02-02
FEBRUARY_MS = int(datetime(2024, 2, 1, tzinfo=timezone.utc).timestamp() * 1000)
JANUARY_MS = int(datetime(2024, 1, 1, tzinfo=timezone.utc).timestamp() * 1000)


@pytest.fixture
def park(rig):
    """Two gateways, a batch a day."""
    rig.store.set_setting("zone", "UTC")
    rig.plants = [Plant(number, DAYS, EVERY_MS) for number in (1, 2)]
    for plant in rig.plants:
        plant.gateway.name = plant.name
    rig.enrol(*[plant.gateway for plant in rig.plants])
    for plant in rig.plants:
        rig.batches(plant.gateway, *plant.sealed)
        rig.beat(plant.gateway, plant.gateway.beat(time_ms=plant.time_ms))
    return rig


def retain(rig, capsys, *words, code=0):
    assert cli.main(["hub", "retain", "--data", str(rig.data_dir), "--json", *words]) == code
    return json.loads(capsys.readouterr().out)


def held(rig, gw=1):
    return [seq for (seq,) in rig.rows(
        "SELECT seq FROM batch JOIN epoch USING (ep) WHERE gw = ? AND state = 0 ORDER BY seq", gw)]  # fmt: skip


def leaves(rig):
    return rig.rows("SELECT leaf, kind, entry, ep, seq FROM leaf ORDER BY leaf")


def faults(rig):
    sign(rig)
    *found, _ = backup.check(rig.data_dir)
    return found + Check(rig.data_dir).run().findings


def sign(rig):
    signer = Signer(rig.intake.leaves)
    try:
        signer.sign(rig.now_unix_ms)
    finally:
        signer.close()


def test_a_dry_run_says_what_would_go_and_changes_nothing(park, capsys):
    before = park.everything(), leaves(park), park.rows("SELECT seq, bytes FROM batch ORDER BY id")
    said = retain(park, capsys, "--before", "2024-01")
    assert said["dry_run"] and said["before_ms"] == JANUARY_MS
    assert [(one["place"], one["month"]) for one in said["groups"]] == [
        (f"hall {n}", month) for n in (1, 2) for month in ("2023-11", "2023-12")
    ]
    by_hand: dict[tuple[int, str], int] = {}
    for gw, seq, last_ms in park.rows(
        "SELECT gw, seq, max(block.last_ms) FROM block JOIN series USING (series) GROUP BY gw, seq"
    ):
        if last_ms < JANUARY_MS:
            month = datetime.fromtimestamp(last_ms / 1000, timezone.utc).strftime("%Y-%m")
            by_hand[gw, month] = by_hand.get((gw, month), 0) + 1
            edge = {gw: max(seq, by_hand.get((gw, "edge"), 0)) for gw in (1, 2)}[gw]
            by_hand[gw, "edge"] = edge
    for one in said["groups"]:
        wanted = by_hand[int(one["place"][-1]), one["month"]]
        assert one["batches"] == wanted - (one["month"] == "2023-12"), "the last one before January stays"
        assert one["readings"] == 6 * one["batches"] and one["bytes"] > 100 * one["batches"]
    assert said["kept"][retention.EDGE] == 2 and not said["holds"]
    assert (park.everything(), leaves(park), park.rows("SELECT seq, bytes FROM batch ORDER BY id")) == before
    assert cli.main(["hub", "retain", "--data", str(park.data_dir), "--before", "2024-01-01"]) == 0
    assert "nothing was changed" in capsys.readouterr().out


def test_what_is_removed_is_gone_stated_and_still_proved(park, capsys, tmp_path):
    hashes = park.rows("SELECT ep, seq, hash, prev, sampled FROM batch ORDER BY id")
    wanted = [leaf for leaf in leaves(park) if leaf[1] == 1]
    (series,) = park.rows("SELECT series FROM series WHERE gw = 1 AND quantity = 'import_active_energy'")[0]
    with contextlib.closing(connect(park.data_dir)) as db:
        january = Book(db).ask(series, [(JANUARY_MS, FEBRUARY_MS)])
    dry = retain(park, capsys, "--before", "2024-01")
    said = retain(park, capsys, "--before", "2024-01", "--apply", "--why", "two years are enough")
    assert not said["dry_run"] and said["groups"] == dry["groups"]
    again = retain(park, capsys, "--before", "2024-01", "--apply", "--why", "twice")
    assert again["groups"] == []

    gone = sum(one["batches"] for one in said["groups"])
    assert park.rows("SELECT count(*), sum(length(bytes)) FROM batch WHERE state = -1") == [(gone, 0)]
    first = held(park)[0]
    assert held(park) == list(range(first, DAYS)), "in one piece, the newest before January included"
    assert not park.rows("SELECT 1 FROM block WHERE last_ms >= 0 AND last_ms < ? AND seq <> ?", JANUARY_MS, first)
    assert park.rows("SELECT ep, seq, hash, prev, sampled FROM batch ORDER BY id") == hashes
    assert [leaf for leaf in leaves(park) if leaf[1] == 1] == wanted
    assert not faults(park)

    told = [statement.Statement(data) for (data,) in park.rows(
        "SELECT bytes FROM statement JOIN leaf USING (leaf) WHERE kind = 4 ORDER BY leaf")]  # fmt: skip
    told = [one for one in told if one.kind == statement.READINGS_REMOVED]
    assert len(told) == 2 and sum(one.facts["batches"] for one in told) == gone
    assert told[0].facts["why"] == "two years are enough" and told[0].by.startswith("user ")
    assert told[0].facts["chains"] == [[park.plants[0].gateway.epoch, [[0, first - 1]]]]
    assert told[0].facts["readings"] == 6 * first and told[0].facts["gateway"] == park.plants[0].gateway.id

    with contextlib.closing(connect(park.data_dir)) as db:
        assert Book(db).ask(series, [(JANUARY_MS, FEBRUARY_MS)]) == january, "the month that stays has its beginning"
        assert Book(db).ask(series, [(JANUARY_MS - 30 * DAY_MS, JANUARY_MS - 20 * DAY_MS)])[0][0].good_count == 0
    summaries = [park.summary(plant.gateway) for plant in park.plants]
    park.restart()
    for summary, plant in zip(summaries, park.plants):
        after = park.summary(plant.gateway)
        assert {**after, "spark": 0} == {**summary, "spark": 0}
    assert [one.kind for one in park.batches(park.plants[0].gateway, park.plants[0].sealed[0])] == ["duplicate"]
    park.plants[0].more()
    assert park.batches(park.plants[0].gateway, park.plants[0].sealed[-1])[0].kind == "new"


def archived(rig, out, *words):
    assert cli.main(["archive", "--data", str(rig.data_dir), "--out", str(out), "--zone", "UTC", *words]) == 0
    return verdict(out.read_bytes(), keys.read(rig.data_dir).id.hex())


def test_an_archive_of_the_rest_verifies_and_names_what_was_removed(park, capsys, tmp_path):
    retain(park, capsys, "--before", "2024-01", "--apply", "--why", "two years are enough")
    sign(park)
    capsys.readouterr()
    said = archived(park, tmp_path / "rest.zip", "--from", "2024-01-01", "--to", "2024-01-31")
    assert {reason["reason"] for reason in said["reasons"]} <= {"no_witness"}
    assert said["lines"]["complete"]["state"] == "yes" and not [x for x in said["left_out"] if "operator removed" in x]
    said = archived(park, tmp_path / "all.zip")
    assert {reason["reason"] for reason in said["reasons"]} <= {"no_witness", "start_unproven"}
    assert said["lines"]["unaltered"]["state"] == "yes" and said["lines"]["authentic"]["state"] == "yes"
    first = held(park)[0]
    assert [x for x in said["left_out"] if f"hall 1: an operator removed batches 0 to {first - 1} of chain" in x]
    assert [x for x in said["hub_statements"] if x["kind"] == "readings removed" and x["in_log"]]
    with zipfile.ZipFile(tmp_path / "all.zip") as file:
        assert file.testzip() is None


def test_a_legal_hold_keeps_its_place_and_span(park, capsys):
    hub = ["hub", "hold", "--data", str(park.data_dir), "--json"]
    words = ["--place", "hall 1", "--from", "2023-12-01", "--to", "2023-12-11", "--why", "case 7"]
    assert cli.main([*hub, *words]) == 0
    (one,) = json.loads(capsys.readouterr().out)["holds"]
    assert (one["number"], one["place"], one["why"]) == (1, "hall 1", "case 7")
    said = retain(park, capsys, "--before", "2024-01", "--apply", "--why", "old")
    assert said["kept"][retention.HELD] in (10, 11) and said["holds"] == [one]
    kept_ms = park.rows("SELECT min(first_ms), max(block.last_ms) FROM block JOIN series USING (series) WHERE gw = 1"
                        " AND block.last_ms < ?", JANUARY_MS - 2 * DAY_MS)  # fmt: skip
    from_ms = int(datetime(2023, 12, 1, tzinfo=timezone.utc).timestamp() * 1000)
    assert kept_ms[0][0] - from_ms in range(-EVERY_MS, EVERY_MS)
    assert kept_ms[0][1] - from_ms - 10 * DAY_MS in range(-EVERY_MS, EVERY_MS)
    assert not faults(park)
    release = ["hub", "release", "--data", str(park.data_dir), "--why", "settled"]
    assert cli.main([*release, "--number", "2"]) == 2 and cli.main([*release, "--number", "1"]) == 0
    assert cli.main([*release, "--number", "1"]) == 2
    capsys.readouterr()
    said = retain(park, capsys, "--before", "2024-01", "--apply", "--why", "old")
    assert sum(group["batches"] for group in said["groups"]) in (10, 11) and not said["holds"]
    kinds = [statement.Statement(data).kind for (data,) in park.rows(
        "SELECT bytes FROM statement JOIN leaf USING (leaf) WHERE kind = 4 ORDER BY leaf")]  # fmt: skip
    assert kinds[-5:] == ["legal hold", "readings removed", "readings removed", "hold released", "readings removed"]


def test_a_hold_that_is_set_meanwhile_counts(park, monkeypatch):
    """Between what was planned and the transaction that removes it."""
    with contextlib.closing(connect(park.data_dir)) as db:
        monkeypatch.setattr(retention, "BATCHES_AT_ONCE", 10)
        given = retention.remove(db, JANUARY_MS, None, "old", None)
        assert sum(gone for _, gone in (next(given) for _ in range(10))) == 10
        retention.hold(db, places.find(db, "hall 1"), 0, None, "now", None)
        found = list(given)
    assert not any(gone and one.gw == 1 for one, gone in found) and any(gone for _, gone in found)
    assert len([seq for seq in range(DAYS) if seq not in held(park, 1)]) == 10
    assert not faults(park), "what ended half way is stated"


def test_one_place_alone(park, capsys):
    retain(park, capsys, "--before", "2024-01", "--place", "hall 2", "--apply", "--why", "moved out")
    assert held(park, 1) == list(range(DAYS)) and held(park, 2)[0] > 30


def test_what_others_rest_on_stays(rig, capsys):
    rig.store.set_setting("zone", "UTC")
    plant = Plant(1, 20, EVERY_MS)
    plant.lose(3)
    plant.more(events=[[5, 20, 22, 18, "overflow", None]])
    for _ in range(DAYS):
        plant.more()
    plant.gateway.name = "hall 1"
    rig.enrol(plant.gateway)
    rig.batches(plant.gateway, *plant.sealed)
    said = retain(rig, capsys, "--before", "2024-01", "--apply", "--why", "old")
    assert said["kept"][retention.NEEDED] == 1 and 23 in held(rig)
    before = rig.summary(plant.gateway)
    rig.restart()
    assert rig.rows("SELECT first_seq, last_seq, why FROM missing") == [(20, 22, "gap")]
    assert {**rig.summary(plant.gateway), "spark": 0} == {**before, "spark": 0}
    assert not faults(rig)


def test_the_newest_of_a_chain_and_readings_without_a_date(rig, capsys):
    """An old chain's end says what it owed; undated readings are as old as their arrival; every hold covers them."""
    gateway = FakeGateway(1, PLANT)
    gateway.name = "hall 1"
    rig.enrol(gateway)
    rows = {0: [(n, RELATIVE_ONLY, [1, 2], None) for n in range(3)]}
    rig.now_unix_ms = START_MS
    rig.batches(gateway, *[gateway.batch(tables=rows) for _ in range(3)])
    with contextlib.closing(connect(rig.data_dir)) as db:
        found = list(retention.plan(db, START_MS + 1))
        assert [one.stays for one in found] == [None, None, retention.HEAD] and found[0].first_ms is None
        assert [one.stays for one in retention.plan(db, START_MS)] == [retention.LATER] * 3
        number = retention.hold(db, places.find(db, "hall 1"), START_MS - 2, START_MS - 1, "case", None)
        assert {one.stays for one in retention.plan(db, START_MS + 1)} == {retention.HELD}
        retention.release(db, number, "settled", None)
        assert sum(gone for _, gone in retention.remove(db, START_MS + 1, None, "old", None)) == 2
    assert not faults(rig)


def test_a_row_that_says_removed_without_a_statement_is_found(park):
    """Somebody who writes in the database cannot take readings away in this form."""
    park.store.db.execute("UPDATE batch SET state = -1, bytes = ? WHERE id = 7", (b"",))
    found = [each for each in backup.check(park.data_dir) if "batches" not in each]
    assert [each["what"] for each in found] == ["it was removed, and no statement in the log says so"]
    assert [x for x in Check(park.data_dir).run().findings if "no statement in the log says so" in x]


def test_readings_that_come_late_are_taken_as_before(park, capsys):
    plant = park.plants[0]
    retain(park, capsys, "--before", "2024-01", "--apply", "--why", "old")
    rows = [(START_MS + 10 * DAY_MS + n, 0, [1, 100_000], None) for n in range(3)]
    late = plant.gateway.batch(tables={0: rows})
    assert park.batches(plant.gateway, late)[0].kind == "new"
    series = park.rows("SELECT series FROM series WHERE gw = 1 AND quantity = 'import_active_energy'")[0][0]
    begin_ms = (START_MS + 10 * DAY_MS) // 900_000 * 900_000
    assert Book(park.store.db).ask(series, [(begin_ms, begin_ms + 900_000)])[0][0].good_count == 3
    assert not faults(park)


@pytest.mark.parametrize("words, what", [
    (["retain"], "--before DAY"), (["retain", "--before", "yesterday"], "2024-01-01"),
    (["retain", "--before", "2024-01", "--apply"], "--why"), (["retain", "--before", "9999-01-01"], "has begun"),
    (["retain", "--before", "2024-01", "--place", "nowhere"], "no place"),
    (["retain", "--before", "2024-01", "--apply", "--why", " "], "say why"),
    (["hold", "--place", "hall 1"], "takes --place"), (["release", "--number", "1"], "takes --number"),
    (["hold", "--place", "hall 1", "--from", "2024-01-02", "--to", "2024-01-01", "--why", "x"], "after it begins"),
])  # fmt: skip
def test_what_is_not_understood_changes_nothing(rig, capsys, words, what):
    gateway = FakeGateway(1)
    gateway.name = "hall 1"
    rig.enrol(gateway)
    before = leaves(rig)
    assert cli.main(["hub", *words, "--data", str(rig.data_dir)]) == 2
    assert what in capsys.readouterr().err and leaves(rig) == before


@pytest.mark.sqlite
def test_an_older_database_gets_the_table(tmp_path):
    from hub_rig import make_older

    rig = Rig(tmp_path)
    make_older(rig.store.db, 8)
    rig.restart()
    with contextlib.closing(connect(tmp_path)) as db:
        assert retention.holds(db) == []
    with pytest.raises(SettingsError, match="no hold"):
        retention.release(rig.store.db, 1, "x", None)
    rig.store.close()
