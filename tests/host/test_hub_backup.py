"""An operator's life: backup of a running hub, restore, check, and databases of older and newer versions."""

import contextlib
import json
import sqlite3
from pathlib import Path

import pytest

from batches import FakeGateway
from host_tools import cli
from host_tools.base.files import FileTrouble
from host_tools.hub import service
from host_tools.hub.people import operators
from host_tools.hub.stores import backup
from host_tools.hub.stores.store import DATABASE_FILE, StoreError, connect
from hub_rig import NOW_MS, Rig

REFERENCE = Path(__file__).resolve().parent.parent / "reference"


@pytest.fixture
def filled(tmp_path):
    """A hub that runs on tmp_path/hub and has not written its database out of the log beside it."""
    folder = tmp_path / "hub"
    folder.mkdir()
    rig = Rig(folder)
    gateway = FakeGateway(1)
    rig.enrol(gateway)
    rig.store.belong_to(rig.key.id)
    operators.add(folder, "anna")
    rig.batches(gateway, *[gateway.batch(rows=3) for _ in range(5)])
    yield rig, gateway
    rig.store.close()


def test_a_backup_of_a_running_hub_has_all_of_it_and_comes_back(filled, tmp_path):
    rig, gateway = filled
    assert (rig.data_dir / f"{DATABASE_FILE}-wal").stat().st_size, "what a cp of the database would miss"
    manifest = backup.backup(rig.data_dir, tmp_path / "copy")
    assert {DATABASE_FILE, "hub_key.pem", "hub_public.key", "operators.json"} <= manifest["files"].keys()
    assert (tmp_path / "copy" / "hub_key.pem").stat().st_mode & 0o077 == 0
    assert (tmp_path / "copy").stat().st_mode & 0o077 == 0
    before = rig.everything()
    rig.batches(gateway, gateway.batch(rows=3))
    backup.restore(tmp_path / "copy", tmp_path / "new")
    again = Rig(tmp_path / "new")
    assert again.everything() == before and again.key.id == rig.key.id
    outcome = again.batches(gateway, gateway.batch(rows=1))[0]
    assert outcome.receipt
    assert [alarm["kind"] for alarm in again.summary(gateway)["alarms"]] == ["restored"], "the set-back is noticed"
    again.store.close()


def test_the_verbs(filled, tmp_path, capsys):
    rig, _ = filled
    hub = ["hub", "--data", str(rig.data_dir)]
    assert cli.main([*hub, "backup", "--to", str(tmp_path / "copy"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["verb"] == "hub backup"
    assert cli.main([*hub, "backup", "--to", str(tmp_path / "copy")]) == 2
    assert "is there already" in capsys.readouterr().err
    assert cli.main([*hub, "backup"]) == 2
    assert cli.main([*hub, "check"]) == 0
    assert "5 batches read, 0 faults" in capsys.readouterr().out
    assert cli.main([*hub, "restore", "--from", str(tmp_path / "copy")]) == 2
    assert "into an empty folder" in capsys.readouterr().err
    assert cli.main(["hub", "restore", "--from", str(tmp_path / "copy"), "--data", str(tmp_path / "new")]) == 0
    assert cli.main(["hub", "check", "--data", str(tmp_path / "new")]) == 0


def test_a_damaged_backup_is_refused_and_leaves_nothing(filled, tmp_path):
    rig, _ = filled
    copy, new = tmp_path / "copy", tmp_path / "new"
    backup.backup(rig.data_dir, copy)
    data = bytearray((copy / DATABASE_FILE).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / DATABASE_FILE).write_bytes(data)
    with pytest.raises(StoreError, match="is damaged"):
        backup.restore(copy, new)
    assert not new.exists() or not [path for path in new.iterdir() if path.name != "hub.lock"]
    (copy / backup.MANIFEST).write_text('{"form": "parkgate hub backup 1", "files": {"../x": {"sha256": ""}}}')
    with pytest.raises(StoreError, match="not that of a backup"):
        backup.restore(copy, new)
    with pytest.raises(FileTrouble):
        backup.restore(tmp_path / "nothing", new)


def test_a_backup_is_not_restored_under_a_running_hub(filled, tmp_path):
    rig, _ = filled
    backup.backup(rig.data_dir, tmp_path / "copy")
    hub = service.Hub(tmp_path / "other")
    try:
        with pytest.raises(StoreError, match="a hub runs on"):
            backup.restore(tmp_path / "copy", tmp_path / "other")
    finally:
        hub.stop()


def test_a_copy_that_fails_leaves_no_backup(filled, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(backup, "_copy", full)
    with pytest.raises(FileTrouble, match="no space"):
        backup.backup(filled[0].data_dir, tmp_path / "copy")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hub"]


FAULTS = {
    "UPDATE batch SET bytes = zeroblob(length(bytes)) WHERE seq = 2": [(2, "its bytes are not those")],
    "DELETE FROM batch WHERE seq = 3": [(4, "5 batches should be here, and there are 4")],
    "UPDATE batch SET prev = zeroblob(32) WHERE seq = 4": [(4, "does not continue")],
    "UPDATE batch SET bytes = (SELECT bytes FROM batch WHERE seq = 1), hash = (SELECT hash FROM batch WHERE seq = 1),"
    " prev = (SELECT prev FROM batch WHERE seq = 1) WHERE seq = 0": [(0, "another batch's place"),
                                                                    (1, "does not continue")],
    "UPDATE gateway SET public_key = (SELECT public_key FROM gateway WHERE gw = 2) WHERE gw = 1":
        [(n, "its signature") for n in range(5)],
}  # fmt: skip


@pytest.mark.parametrize("question", FAULTS)
def test_check_names_each_fault(filled, question):
    rig, _ = filled
    other = FakeGateway(2)
    other.name = "other"
    rig.enrol(other)
    rig.store.db.execute(question)
    *found, last = backup.check(rig.data_dir)
    assert [each["seq"] for each in found] == [seq for seq, _ in FAULTS[question]], found
    assert all(words in each["what"] for each, (_, words) in zip(found, FAULTS[question]))
    assert last["batches"] in (4, 5)


# Other versions.


def as_format_2(rig) -> None:
    """Rewrite the database as the version before wrote it: the tables of then, with the rows that they have now."""
    old = sqlite3.connect(rig.data_dir / "old.sqlite", isolation_level=None)
    with contextlib.closing(old):
        old.executescript((REFERENCE / "hub_format_2.sql").read_text())
        old.execute("ATTACH ? AS new", (str(rig.data_dir / DATABASE_FILE),))
        for (table,) in old.execute("SELECT name FROM main.sqlite_master WHERE type = 'table'").fetchall():
            columns = ", ".join(row[1] for row in old.execute(f"PRAGMA main.table_info({table})"))
            old.execute(f"INSERT INTO main.{table} ({columns}) SELECT {columns} FROM new.{table}")
        old.execute("DETACH new")
        old.execute("PRAGMA user_version = 2")
    for end in ("", "-wal", "-shm"):
        (rig.data_dir / f"{DATABASE_FILE}{end}").unlink(missing_ok=True)
    (rig.data_dir / "old.sqlite").rename(rig.data_dir / DATABASE_FILE)


def test_a_database_of_the_version_before_is_brought_up_and_loses_nothing(filled):
    rig, gateway = filled
    rig.beat(gateway)
    before, summary = rig.everything(), rig.summary(gateway)
    rig.store.close()
    as_format_2(rig)
    with pytest.raises(StoreError, match="older format 2"):
        connect(rig.data_dir, read_only=True)
    rig.open()
    rig.intake.derived.start(NOW_MS)
    assert rig.everything() == before
    after = rig.summary(gateway)
    assert after["place"]["name"] == summary["place"]["name"]
    for one in (summary, after):
        del one["spark"], one["place"]  # the place is made anew
    assert after == summary
    assert rig.batches(gateway, gateway.batch(rows=2))[0].receipt
    assert rig.rows("SELECT what FROM gateway_history") == [("enrolled",)]
    assert len(rig.rows("SELECT series FROM sums_due")) == len(rig.rows("SELECT DISTINCT series FROM block")), "all due"
    fresh = {row[0] for row in rig.rows("SELECT name FROM sqlite_master WHERE sql NOT NULL")}
    with contextlib.closing(sqlite3.connect(":memory:")) as db:
        from host_tools.hub.stores.schema import TABLES

        db.executescript(TABLES)
        assert {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE sql NOT NULL")} <= fresh


def test_a_newer_database_is_left_alone(filled):
    rig, _ = filled
    rig.store.db.execute("PRAGMA user_version = 99")
    for read_only in (False, True):
        with pytest.raises(StoreError, match="newer parkgate"):
            connect(rig.data_dir, read_only=read_only)
    assert rig.store.db.execute("PRAGMA user_version").fetchone() == (99,)
    rig.store.db.execute("PRAGMA user_version = 8")
