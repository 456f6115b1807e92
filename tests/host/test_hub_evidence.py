"""What the hub keeps for a stranger to check later: beats, the history of keys, gaps by signature; and damage."""

import contextlib
import csv
import io
import sqlite3

import pytest

from batches import FakeGateway
from host_tools.cli import main
from host_tools.hub.reading import window
from host_tools.hub.stores.store import DATABASE_FILE, connect
from host_tools.hub.verbs import enrol
from hub_rig import make_older
from parkgate.wire.beat import Beat

DAY_MS = 86_400_000
EPOCH_2 = b"second epoch 16b"


def write(rig, question, *values):
    """As somebody who has the database open."""
    with contextlib.closing(sqlite3.connect(rig.data_dir / DATABASE_FILE)) as db, db:
        db.execute(question, values)


def exported(rig):
    out = rig.data_dir / "out"
    code = main(["export", "--data", str(rig.data_dir), "--format", "csv", "--out", str(out)])
    return code, list(csv.DictReader(io.StringIO(out.read_text())))


def test_the_newest_beat_of_each_day_and_chain_is_kept(rig, gateway):
    for _day in range(3):
        for _ in range(4):
            rig.batches(gateway, gateway.batch(rows=2))
            rig.beat(gateway)
            rig.now_unix_ms += 1000
        rig.now_unix_ms += DAY_MS
    rows = rig.rows("SELECT seq, bytes FROM beats ORDER BY day")
    assert [seq for seq, _ in rows] == [4, 8, 12]
    assert [Beat(data).sign1.seq for _, data in rows] == [4, 8, 12]
    late = gateway.beat(seq=12, sampled=gateway.sampled - 1)  # older than the one that is kept
    assert rig.take((gateway.beat_topic(), late))[0].kind == "stale beat"
    assert len(rig.rows("SELECT 1 FROM beats")) == 3 + 1, "a day of its own by its arrival"


def test_a_new_chain_is_an_alarm_and_the_old_one_still_owes(rig, gateway):
    rig.batches(gateway, *[gateway.batch(rows=2) for _ in range(3)])
    gateway.batch(rows=2)  # sealed, announced, never sent
    rig.beat(gateway)
    gateway.new_epoch(EPOCH_2)
    rig.batches(gateway, gateway.batch(rows=2))
    rig.beat(gateway)
    for _ in range(2):
        summary = rig.summary(gateway)
        assert [alarm["kind"] for alarm in summary["alarms"]] == ["epoch"]
        assert "batch 2 is the newest held" in summary["alarms"][0]["what"]
        assert summary["unexplained_batches"] == 1
        rig.restart()


@pytest.mark.sqlite
def test_a_row_explains_no_hole(rig, gateway):
    batches = [gateway.batch(rows=2) for _ in range(4)]
    rig.batches(gateway, *batches[:2], batches[3])
    rig.beat(gateway, oldest_held=None)
    assert rig.summary(gateway)["unexplained_batches"] == 1
    write(rig, "INSERT INTO missing VALUES (1, 2, 2, 'gap', 5)")
    write(rig, "INSERT INTO event VALUES (1, 1, 9, 5, x'85050202080080')")
    rig.restart()
    assert rig.summary(gateway)["unexplained_batches"] == 1


@pytest.mark.sqlite
def test_a_signed_gap_explains_it(rig, gateway):
    batches = [gateway.batch(rows=2) for _ in range(3)]
    telling = gateway.batch(rows=2, events=[[5, 2, 2, 8, 0, []]])
    rig.batches(gateway, *batches[:2], telling)
    rig.restart()
    summary = rig.summary(gateway)
    assert (summary["unexplained_batches"], summary["awaited_batches"]) == (0, 0)
    write(rig, "UPDATE batch SET bytes = x'00' WHERE seq = 3")
    rig.store.close()
    with contextlib.closing(connect(rig.data_dir)) as db:
        from host_tools.hub.stores import kept

        assert kept.signed_gaps(db) == [], "what tells it is damaged"
    write(rig, "UPDATE batch SET bytes = ? WHERE seq = 3", telling)
    rig.open()


def test_the_history_of_a_key(rig):
    gateway = FakeGateway(1)
    with contextlib.closing(connect(rig.data_dir)) as db:
        enrol.enrol(db, gateway.xy, "hall 1")
        enrol.enrol(db, gateway.xy, "hall 1")
        enrol.enrol(db, gateway.xy, "hall 2")
        enrol.revoke(db, "hall 2")
        enrol.revoke(db, "hall 2", undo=True)
    told = rig.rows("SELECT what, name FROM gateway_history ORDER BY rowid")
    assert told == [("enrolled", "hall 1"), ("renamed", "hall 2"), ("revoked", "hall 2"), ("restored", "hall 2")]


@pytest.mark.parametrize("older", [1, 2])
@pytest.mark.sqlite
def test_an_older_database_comes_along(rig, gateway, older):
    rig.batches(gateway, gateway.batch(rows=2))
    rig.beat(gateway)
    with contextlib.closing(connect(rig.data_dir)) as db:
        enrol.revoke(db, gateway.id.hex())
    rig.store.close()
    if older == 1:
        for table, column in [("series", "good_ms"), ("series", "row_ms"), ("block", "good_ms"),
                              ("block", "covered_ms"), ("block", "tail_ms")]:  # fmt: skip
            write(rig, f"ALTER TABLE {table} DROP COLUMN {column}")
    with contextlib.closing(connect(rig.data_dir)) as db:
        make_older(db, older)
    rig.open()
    assert [row[0] for row in rig.rows("SELECT what FROM gateway_history ORDER BY rowid")] == ["enrolled", "revoked"]
    assert rig.rows("SELECT seq FROM beats") == [(1,)]


@pytest.mark.sqlite
def test_a_damaged_batch_is_named_and_the_rest_goes_out(rig, gateway, capsys):
    rig.batches(gateway, *[gateway.batch(rows=2) for _ in range(3)])
    whole_code, everything = exported(rig)
    data = bytearray(rig.rows("SELECT bytes FROM batch WHERE seq = 1")[0][0])
    data[len(data) // 2] ^= 1
    write(rig, "UPDATE batch SET bytes = ? WHERE seq = 1", bytes(data))
    code, rest = exported(rig)
    assert (whole_code, code) == (0, 1)
    faults = [row for row in rest if row["quality"].startswith("damaged")]
    assert [(row["seq"], row["value"]) for row in faults] == [("1", "")]
    assert [row for row in rest if row["seq"] != "1"] == [row for row in everything if row["seq"] != "1"]
    assert "gateway 0: batch 1 of epoch" in capsys.readouterr().err
    with contextlib.closing(connect(rig.data_dir, read_only=True)) as db:
        shown = window.window(db, 1, [1], None, None, None, 1000)
    assert [one["seq"] for one in shown["damaged"]] == [1] and shown["series"][0]["readings"] == 4
    rig.restart()
    alarm = rig.summary(gateway)["alarms"][0]
    assert (alarm["kind"], alarm["count"]) == ("damaged", 1) and "batch 1 of epoch" in alarm["what"]
