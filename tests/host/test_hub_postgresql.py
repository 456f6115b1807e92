"""What only a database server can do to a hub: stop in the middle, lose its settings, be used by two hubs. The tests of
the hub's data run on both stores by the fixture `store`."""

import contextlib
import json
import threading
import time

import pytest

from batches import FakeGateway
from host_tools import cli
from host_tools.hub.stores.database import StoreError, connect
from host_tools.hub.stores.schema import TABLES
from host_tools.log.database import opening, seam
from host_tools.log.database.dialect import in_postgresql
from hub_rig import Rig
from parkgate.errors import SettingsError
from postgres_server import server as postgres_server


@pytest.fixture(scope="module")
def server():
    with postgres_server() as found:
        yield found


@pytest.fixture
def rig(server, tmp_path):
    opening.choose(tmp_path, server.new())
    rig = Rig(tmp_path)
    yield rig
    rig.store.close()


@pytest.fixture
def gateway(rig):
    gateway = FakeGateway(1)
    rig.enrol(gateway)
    return gateway


def test_a_server_that_is_killed_between_commits_costs_no_reading(server, rig, gateway):
    """The hub's loop: the same group again until it is stored."""
    receipts, sealed = 0, [gateway.batch() for _ in range(24)]
    stop = threading.Event()

    def kills():
        for _ in range(3):
            time.sleep(0.3)
            server.kill()
            server.start()
        stop.set()

    killer = threading.Thread(target=kills)
    killer.start()
    failed = at = 0
    while not stop.is_set() or at < len(sealed):
        data = sealed[at % len(sealed)]
        try:
            outcome = rig.take((gateway.batch_topic(), data))[0]
        except seam.DatabaseError:
            failed += 1
            time.sleep(0.02)
            continue
        assert outcome.receipt is not None
        seqs = {seq for (seq,) in with_new_connection(rig, "SELECT seq FROM batch")} if at % 8 == 0 else None
        assert seqs is None or outcome.place[1] in seqs, "a receipt without a commit"
        receipts += 1
        at += 1
    killer.join()
    assert failed, "the server was never away"
    assert [row[0] for row in with_new_connection(rig, "SELECT seq FROM batch ORDER BY seq")] == list(range(24))
    before = rig.everything()
    rig.restart()
    assert rig.everything() == before and rig.summary(gateway)["batches_verified"] == 24


def with_new_connection(rig, question):
    for _ in range(200):
        with contextlib.suppress(StoreError, seam.DatabaseError):
            return rig.rows(question)
        time.sleep(0.05)
    raise AssertionError("the server does not come back")


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_commit_whose_answer_is_lost(server, rig, gateway, when, monkeypatch):
    """The connection ends at COMMIT: no receipt; and the same message again gets one, stored once."""
    data = gateway.batch()
    plain = type(rig.store.db).execute

    def cut(db, question, *values):
        if question != "COMMIT":
            return plain(db, question, *values)
        monkeypatch.undo()
        if when == "after":
            plain(db, question)
        server.run(f"SELECT pg_terminate_backend({db._connection.info.backend_pid})")
        return plain(db, "SELECT 1") if when == "after" else plain(db, question)

    monkeypatch.setattr(type(rig.store.db), "execute", cut)
    with pytest.raises(seam.DatabaseError):
        rig.batches(gateway, data)
    assert rig.rows("SELECT count(*) FROM batch") == [(int(when == "after"),)]
    outcome = rig.batches(gateway, data)[0]
    assert outcome.receipt and outcome.kind == ("duplicate" if when == "after" else "new")
    assert rig.rows("SELECT count(*) FROM batch") == [(1,)]
    assert rig.rows("SELECT count(*) FROM leaf WHERE kind = 1") == [(1,)]


def test_a_failure_that_somebody_caught_does_not_become_a_commit(rig, gateway):
    """After an error PostgreSQL answers COMMIT with ROLLBACK, and calls that no error."""
    db = rig.store.db
    with pytest.raises(seam.OperationalError, match="rolled back"), db.transaction():
        db.set_about("x", "y")
        with contextlib.suppress(seam.DatabaseError):
            db.execute("SELECT 1 / 0")
    assert db.about("x") is None


def test_nothing_goes_on_outside_a_transaction_that_lost_its_connection(server, rig):
    db = rig.store.db
    with pytest.raises(seam.DatabaseError), db.transaction():
        server.run(f"SELECT pg_terminate_backend({db._connection.info.backend_pid})")
        with contextlib.suppress(seam.DatabaseError):
            db.set_about("x", "y")
        db.set_about("z", "y")
    assert db.about("x") is None and db.about("z") is None


@pytest.mark.parametrize("name", ["fsync", "full_page_writes", "synchronous_commit"])
def test_a_server_that_forgets_is_refused(server, tmp_path, name):
    opening.choose(tmp_path, server.new())
    server.run(f"ALTER SYSTEM SET {name} = off")
    try:
        server.run("SELECT pg_reload_conf()")
        until = time.monotonic() + 60
        while server.run(f"SHOW {name}") != [("off",)]:
            assert time.monotonic() < until
            time.sleep(0.02)
        with pytest.raises(StoreError, match=f"{name} is off: .*erases what a hub has acknowledged"):
            Rig(tmp_path)
    finally:
        server.run(f"ALTER SYSTEM RESET {name}")
        server.run("SELECT pg_reload_conf()")


def test_a_connection_that_does_not_wait_for_the_disk_is_refused(server, tmp_path):
    """The setting may be that of a role or a database too."""
    url = server.new()
    role = url.split("//")[1].split("@")[0]
    server.run(f"ALTER ROLE {role} SET synchronous_commit = off")
    opening.choose(tmp_path, url)
    with pytest.raises(StoreError, match="synchronous_commit is off"):
        Rig(tmp_path)


def test_one_hub_a_database(server, rig, tmp_path):
    assert rig.store.db.hold()
    with contextlib.closing(opening.opened(rig.data_dir)) as other:
        assert not other.hold()
    server.kill()
    server.start()
    with pytest.raises(seam.DatabaseError):
        rig.store.db.about("hub_id")
    rig.store.db.about("hub_id")  # the connection is made anew, with its lock
    with contextlib.closing(opening.opened(rig.data_dir)) as other:
        assert not other.hold()


def test_the_hub_sees_what_another_process_enrols(rig, gateway):
    rig.batches(gateway, gateway.batch())
    assert not rig.store.refresh(), "its own changes are no news"
    second = FakeGateway(2)
    second.name = "second"
    rig.enrol(second)
    assert rig.batches(second, second.batch())[0].receipt


def test_numbers_and_texts_at_their_ends(rig):
    db = rig.store.db
    for fact in ("text", "", "\u17a0\u17be", b"", b"\x00\xff", 0, -1, (1 << 63) - 1):
        db.set_about("x", fact)
        assert db.about("x") == fact and type(db.about("x")) is type(fact)
    with pytest.raises(OverflowError):
        db.execute("SELECT CAST(? AS BIGINT)", (1 << 63,))
    db.set_about("x", "a\0b")
    assert db.about("x") == "a\u2400b"


def test_names_are_sorted_by_their_bytes(rig):
    db = rig.store.db
    names = ["b", "B", "a", "\u17a0", "Z", "_", " "]
    for name in names:
        db.set_about(f"sorted {name}", "")
    found = db.execute("SELECT name FROM about WHERE name LIKE 'sorted %' ORDER BY name").fetchall()
    assert [name[7:] for (name,) in found] == sorted(names, key=str.encode)


def test_a_long_answer_comes_in_parts(rig):
    db = rig.store.db
    rows = db.iterate("SELECT generate_series(1, ?)", (3000,))
    assert rows.fetchone() == (1,) and rows.fetchmany(2) == [(2,), (3,)]
    db.begin_snapshot()
    assert sum(1 for _ in rows) == 2997
    assert sum(n for (n,) in db.iterate("SELECT generate_series(1, 1000)")) == 500_500


def test_the_address(tmp_path, capsys):
    for url, what in (
        ("mysql://x/y", "is not the address"), ("postgresql://host", "is not the address"),
        ("postgresql://a:secret@h/d", "every user"), ("postgresql://a@h/d?password=secret", "every user"),
    ):  # fmt: skip
        assert cli.main(["hub", "--data", str(tmp_path / "new"), "--store", url]) == 2
        said = capsys.readouterr().err
        assert what in said and "secret" not in said
    assert not (tmp_path / "new" / "store.json").exists()
    opening.choose(tmp_path, "postgresql://a@h/d")
    with pytest.raises(SettingsError, match="keeps its data in"):
        opening.choose(tmp_path, "postgresql://a@h/other")
    (tmp_path / "store.json").write_text("{}")
    with pytest.raises(SettingsError, match="damaged"):
        connect(tmp_path)


def test_a_server_that_is_not_there(tmp_path):
    opening.choose(tmp_path, "postgresql://a@/d?host=/nonexistent")
    with pytest.raises(StoreError, match="cannot open"):
        connect(tmp_path)


def test_backup_says_what_to_use(rig, tmp_path, capsys):
    assert cli.main(["hub", "backup", "--data", str(rig.data_dir), "--to", str(tmp_path / "b")]) == 2
    assert "pg_dump" in capsys.readouterr().err and not (tmp_path / "b").exists()


def test_check_reads_everything(rig, gateway, capsys):
    rig.batches(gateway, gateway.batch(), gateway.batch())
    assert cli.main(["hub", "check", "--data", str(rig.data_dir), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["batches"] == 2
    rig.store.db.execute("UPDATE batch SET bytes = ? WHERE seq = 1", (bytes(9),))
    assert cli.main(["hub", "check", "--data", str(rig.data_dir)]) != 0


def test_tables_in_postgresqls_words():
    found = in_postgresql(TABLES)
    text = "\n".join(found)
    for word in ("WITHOUT ROWID", "BLOB", "INTEGER", "--"):
        assert word not in text
    made: set[str] = set()
    for statement in (each for each in found if each.startswith("CREATE TABLE")):
        name = statement.split()[2]
        made.add(name)
        assert all(part.split()[0].strip(",()") in made for part in statement.split("REFERENCES ")[1:]), name


# From a file to a server.


def test_move(server, tmp_path, capsys):
    """Everything, to the byte: exports, sums, the log with its proofs; and the hub goes on there."""
    (tmp_path / "hub").mkdir()
    park = Rig(tmp_path / "hub")
    gateways = [FakeGateway(1), FakeGateway(2)]
    park.enrol(*gateways)
    for gateway in gateways:
        park.batches(gateway, *[gateway.batch() for _ in range(5)])
        park.beat(gateway)
    park.take((gateways[0].batch_topic(), b"nothing"))
    wanted, exports = park.everything(), exported(park, capsys)
    leaves = park.rows("SELECT leaf, kind, entry, ep, seq FROM leaf ORDER BY leaf")
    park.store.close()
    words = ["--data", str(park.data_dir), "--to", server.new()]
    assert cli.main(["hub", "move", *words, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["tables"]["batch"] == 10 and said["tables"]["leaf"] == len(leaves)
    assert not (park.data_dir / "hub.sqlite").exists() and (park.data_dir / "hub.moved.sqlite").exists()
    park.open()
    assert type(park.store.db).__name__ == "Postgresql"
    assert park.everything() == wanted and exported(park, capsys) == exports
    assert park.rows("SELECT leaf, kind, entry, ep, seq FROM leaf ORDER BY leaf") == leaves
    third = FakeGateway(3)
    third.name = "third"
    park.enrol(third)
    for gateway in (*gateways, third):
        assert [one.kind for one in park.batches(gateway, gateway.batch(), gateway.batch())] == ["new", "new"]
    assert park.take((gateways[0].batch_topic(), b"nothing else"))[0].receipt is None
    assert cli.main(["log", "check", "--data", str(park.data_dir)]) in (0, 1)
    assert cli.main(["hub", "move", *words]) == 2
    assert "in a server already" in capsys.readouterr().err
    park.store.close()


def exported(rig, capsys):
    found = []
    for words in ([], ["--format", "senml-json"], ["--format", "events"], ["--format", "outages"]):
        if cli.main(["export", "--data", str(rig.data_dir), *words]) == 0:
            found.append(capsys.readouterr().out)
    assert found and all(found)
    return found


def test_a_move_that_fails_changes_nothing(server, tmp_path, capsys, monkeypatch):
    (tmp_path / "hub").mkdir()
    park = Rig(tmp_path / "hub")
    gateway = FakeGateway(1)
    park.enrol(gateway)
    park.batches(gateway, gateway.batch())
    park.store.close()
    url = server.new()
    words = ["hub", "move", "--data", str(park.data_dir), "--to", url]
    from host_tools.log.database.postgresql import Postgresql

    plain = Postgresql.fill
    with monkeypatch.context() as patch:
        patch.setattr(Postgresql, "fill", lambda db, table, columns, rows: plain(db, table, columns, list(rows)[1:]))
        assert cli.main(words) == 2
    assert "is not the same in the server" in capsys.readouterr().err
    with contextlib.closing(opening.opened_server(url, None, tmp_path)) as db:
        assert db.format() == 0 and not db.has_table("batch")
    park.open()
    assert park.batches(gateway, gateway.batch())[0].receipt
    park.store.close()
    assert cli.main(words) == 0
    capsys.readouterr()
    (tmp_path / "other").mkdir()
    other = Rig(tmp_path / "other")
    other.store.close()
    assert cli.main(["hub", "move", "--data", str(other.data_dir), "--to", url]) == 2
    assert "holds a hub's data already" in capsys.readouterr().err
