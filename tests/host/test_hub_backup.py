"""An operator's life: backup of a running hub, restore, check, and databases of older and newer versions."""

import contextlib
import json
import os
import sqlite3
from pathlib import Path

import pytest

from batches import FakeGateway
from host_tools import cli
from host_tools.base.files import FileTrouble
from host_tools.broker import certificates
from host_tools.hub import service
from host_tools.hub.people import accounts, operators
from host_tools.hub.people.sessions import Sessions
from host_tools.hub.stores import backup
from host_tools.hub.stores.schema import FORMAT, TABLES
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


def test_every_kind_of_file_comes_back_and_nothing_that_must_not(filled, tmp_path):
    """Made by the tools themselves where they make it, so that a file which a later tool adds is seen here."""
    rig, _ = filled
    folder = rig.data_dir
    accounts.add(folder, "sok", "operator", "a long password")
    Sessions(folder).begin("sok")
    certificates.Authority.at(folder / "tls").issue(folder / "tls", ["broker.example"])
    (folder / "alarms.toml").write_text("")
    for name in ("tariffs/edc.toml", "tariffs/2026/low.toml", "baselines/ab12.json", "broker/store/x", "log/ab/tile/0"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "map.toml").write_text("behind a link")
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    (folder / ".draft.1.new").write_text("")
    os.mkfifo(folder / "pipe")
    backup.backup(folder, folder / "backups")
    backup.backup(folder, tmp_path / "copy")
    left_out = {
        "hub.sqlite-wal", "hub.sqlite-shm", "sessions.json", "log/signed.json", "log/ab/tile/0", "broker/store/x",
        ".draft.1.new", "hub.lock",
    }  # fmt: skip
    backup.restore(tmp_path / "copy", tmp_path / "new")
    wanted, found = contents(folder), contents(tmp_path / "new")
    assert {name for name in wanted if name not in found and not name.startswith("backups/")} <= left_out
    assert not found.keys() & left_out - {"hub.lock"}
    for name in ("hub_key.pem", "log_key.pem", "tls/ca.key", "accounts.json", "operators.json", "alarms.toml"):
        assert name in found
    assert {name: data for name, data in found.items() if name not in ("hub.sqlite", "hub.lock")} == {
        name: data for name, data in wanted.items() if name in found and name not in ("hub.sqlite", "hub.lock")
    }
    for name in ("hub_key.pem", "tls/ca.key", "log_key.pem"):
        assert (tmp_path / "new" / name).stat().st_mode & 0o077 == 0, name


def contents(folder: Path) -> dict[str, bytes]:
    found = {}
    for at, _, names in os.walk(folder, followlinks=True):
        for name in names:
            path = Path(at) / name
            if path.is_file():
                found[path.relative_to(folder).as_posix()] = path.read_bytes()
    return found


def test_a_circle_of_links_ends_the_backup_with_a_sentence(filled, tmp_path):
    rig, _ = filled
    (rig.data_dir / "tariffs").mkdir()
    (rig.data_dir / "tariffs" / "again").symlink_to(rig.data_dir)
    with pytest.raises(FileTrouble, match="lead in a circle"):
        backup.backup(rig.data_dir, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_a_backup_of_the_version_before_is_restored(filled, tmp_path):
    rig, _ = filled
    manifest = backup.backup(rig.data_dir, tmp_path / "copy")
    manifest["form"] = "parkgate hub backup 1"
    (tmp_path / "copy" / backup.MANIFEST).write_text(json.dumps(manifest))
    backup.restore(tmp_path / "copy", tmp_path / "new")
    assert (tmp_path / "new" / DATABASE_FILE).exists()


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "a//x", "./x", "", ".", "a/", "a\0"])
def test_a_name_that_leads_out_of_the_folder_is_refused(filled, tmp_path, name):
    rig, _ = filled
    manifest = backup.backup(rig.data_dir, tmp_path / "copy")
    manifest["files"][name] = {"bytes": 0, "sha256": ""}
    (tmp_path / "copy" / backup.MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(StoreError, match="not that of a backup"):
        backup.restore(tmp_path / "copy", tmp_path / "new")


def test_a_restore_that_fails_half_way_leaves_nothing(filled, tmp_path, monkeypatch):
    rig, _ = filled
    (rig.data_dir / "tariffs" / "2026").mkdir(parents=True)
    (rig.data_dir / "tariffs" / "2026" / "low.toml").write_text("")
    backup.backup(rig.data_dir, tmp_path / "copy")
    plain = backup._copy

    def full(path, to):
        if to.name == DATABASE_FILE:
            raise OSError(28, "No space left on device")
        plain(path, to)

    monkeypatch.setattr(backup, "_copy", full)
    with pytest.raises(FileTrouble, match="no space"):
        backup.restore(tmp_path / "copy", tmp_path / "new")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["hub.lock"]


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
        db.executescript(TABLES)
        assert {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE sql NOT NULL")} <= fresh


def test_a_newer_database_is_left_alone(filled):
    rig, _ = filled
    rig.store.db.execute("PRAGMA user_version = 99")
    for read_only in (False, True):
        with pytest.raises(StoreError, match="newer parkgate"):
            connect(rig.data_dir, read_only=read_only)
    assert rig.store.db.execute("PRAGMA user_version").fetchone() == (99,)
    rig.store.db.execute(f"PRAGMA user_version = {FORMAT}")
