"""The verbs of the hub's operator and of the auditor with every call made to fail, as in test_failing_calls.py.

A hub has five batches, a place and a log. Whatever fails, the hub is as before or as after, and the result of the verb
is there whole or not at all.
"""

import shutil

import pytest

import failing_calls
from batches import FakeGateway
from failing_calls import each_failure, run
from host_tools.base.messages import Message, write_messages
from host_tools.hub.stores.store import connect
from hub_rig import Rig
from test_failing_calls import check, no_drafts
from test_hub_log import sign

TABLES = ("batch", "gateway", "place", "place_history", "leaf")
VERBS = {
    "hub backup": ["hub", "backup", "--data", "{hub}", "--to", "{out}"],
    "hub check": ["hub", "check", "--data", "{hub}"],
    "hub restore": ["hub", "restore", "--from", "{copy}", "--data", "{out}"],
    "log show": ["log", "show", "--data", "{hub}"],
    "log check": ["log", "check", "--data", "{hub}"],
    "archive": ["archive", "--data", "{hub}", "--out", "{out}"],
    "place list": ["place", "list", "--data", "{hub}"],
    "place add": ["place", "add", "Hall 7", "--data", "{hub}"],
    "place rename": ["place", "rename", "gateway 0", "Hall 8", "--data", "{hub}"],
    "import": ["import", "--data", "{hub}", "{messages}", "--receipts", "{out}"],
    "export --json": ["export", "--list", "--json", "--data", "{hub}"],
}


@pytest.fixture(autouse=True)
def few(monkeypatch, tmp_path):
    """A few of many calls of one kind."""
    monkeypatch.setattr(failing_calls, "FEW", 1)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def before(tmp_path, monkeypatch):
    """A hub that has run, a backup of it, and messages that it has not seen."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    folder = tmp_path / "before"
    folder.mkdir()
    rig = Rig(folder)
    gateway = FakeGateway(1)
    rig.enrol(gateway)
    rig.batches(gateway, *[gateway.batch(rows=2) for _ in range(5)])
    new = gateway.batch(rows=2)
    topic = gateway.batch_topic()
    sign(rig)
    rig.store.close()
    with connect(folder) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    write_messages(tmp_path / "messages", [Message(topic, new)])
    assert run(["hub", "backup", "--data", folder, "--to", tmp_path / "copy"]).exit_code == 0
    shutil.copytree(tmp_path / "state", tmp_path / "state-before")
    return folder


@pytest.mark.parametrize("name", VERBS)
def test_a_sentence_and_a_whole_state(name, tmp_path, before):
    hub, out = tmp_path / "hub", tmp_path / "out"
    there = {"hub": hub, "out": out, "copy": tmp_path / "copy", "messages": tmp_path / "messages"}
    words = [word.format(**there) for word in VERBS[name]]

    def begin():
        for path in (hub, out):
            shutil.rmtree(path, ignore_errors=True)
        out.unlink(missing_ok=True)
        shutil.copytree(before, hub)
        shutil.rmtree(tmp_path / "state")
        shutil.copytree(tmp_path / "state-before", tmp_path / "state")

    begin()
    whole = run(words)
    assert whole.exit_code == 0, whole
    wanted = state(hub), out_of(out)
    begin()
    untouched = state(hub), out_of(out)
    tried = 0
    for number, result, error in each_failure(words, None, begin):
        tried += 1
        if name in ("log check", "hub check") and result.exit_code == 1:
            assert "Traceback" not in result.out + result.err
            continue  # what could not be read is a finding
        what = check(name, result, error, number)
        assert state(hub) in (untouched[0], wanted[0]), what
        assert out_of(out) in (untouched[1], wanted[1], [], ["hub.lock"]), what  # an empty folder does no harm
        # The draft stays where its removal is what fails.
        assert no_drafts(tmp_path) or (result.failed == "change" and result.exit_code == 0), what
        for draft in tmp_path.glob(".*.new"):
            draft.unlink()
        if result.exit_code == 0:
            assert (state(hub), out_of(out)) == wanted, what
        elif out_of(out) != wanted[1] and state(hub) == untouched[0]:
            assert run(words).exit_code == 0, f"not again: {what}"
    assert tried > 5


def state(folder):
    """What a hub knows: its batches, gateways, places, and the leaves of its log."""
    with connect(folder) as database:
        return [database.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in TABLES]


def out_of(path):
    """The names in a folder that a verb makes, or that there is a file."""
    if path.is_dir():
        return sorted(each.name for each in path.iterdir())
    return path.is_file()
