"""The start of a hub: what is damaged is named and stops nothing; what is not ours is not touched."""

import argparse
import contextlib
import logging
import os
import shutil
import sqlite3
import subprocess
import sys
from types import SimpleNamespace

import pytest

from batches import FakeGateway
from host_tools.base import folder_lock, keys
from host_tools.base.files import FileTrouble
from host_tools.broker.broker import Broker
from host_tools.hub import service
from host_tools.hub.stores.store import DATABASE_FILE, StoreError
from host_tools.hub.verbs import enrol as enrol_verb
from host_tools.hub.verbs import hub as hub_verb
from hub_rig import NOW_MS, Rig


def write(rig, question, *values):
    """As a disk that errs, or somebody who has the database open."""
    with contextlib.closing(sqlite3.connect(rig.data_dir / DATABASE_FILE)) as db, db:
        assert db.execute(question, values).rowcount


@pytest.fixture
def park(rig, gateway):
    """Two gateways with three batches each."""
    other = FakeGateway(2)
    rig.enrol(gateway, other)
    for each in (gateway, other):
        rig.batches(each, *[each.batch(rows=4) for _ in range(3)])
        rig.beat(each)
    return gateway, other


def started(rig):
    rig.restart()
    rig.intake.derived.start(NOW_MS)


DAMAGE = {
    "newest batch": ("UPDATE batch SET bytes = ? WHERE seq = 2 AND ep = 1", b"x" * 200, "batch 2 of epoch"),
    "newest batch, cut": (
        "UPDATE batch SET bytes = cast(substr(bytes, 1, length(bytes) - 1) AS blob)"
        " WHERE seq = 2 AND ep = 1 AND ? NOT NULL", b"", "batch 2 of epoch",
    ),
    "newest batch gone": ("DELETE FROM batch WHERE seq = 2 AND ep = 1 AND ? NOT NULL", b"", "should be here"),
    "schema": ("UPDATE schema SET bytes = ? WHERE gw = 1", b"\xff", "schema"),
    "beat": ("UPDATE standing SET beat = ? WHERE gw = 1", b"\xff", "beat"),
    "kept beat": ("UPDATE beats SET bytes = ? WHERE ep = 1", b"\xff", "beat"),
    "count of qualities": ("UPDATE series SET qualities = ? WHERE gw = 1", "{", "count of qualities"),
}  # fmt: skip


@pytest.mark.parametrize("what", DAMAGE)
def test_a_damaged_row_is_named_and_stops_nothing(rig, park, caplog, what):
    gateway, other = park
    question, value, words = DAMAGE[what]
    write(rig, question, value)
    with caplog.at_level(logging.ERROR):
        started(rig)
    assert any("gateway 0" in line and words in line for line in caplog.messages), caplog.messages
    (alarm,) = [alarm for alarm in rig.summary(gateway)["alarms"] if alarm["kind"] == "damaged"]
    assert words in alarm["what"]
    assert rig.summary(other)["alarms"] == [] and rig.summary(other)["spark"]
    assert rig.batches(gateway, gateway.batch(rows=2, with_schema=True))[0].receipt, "the next one is taken"
    assert rig.batches(other, other.batch(rows=2))[0].receipt


def test_a_damaged_batch_that_waits_is_passed_over(rig, gateway, caplog):
    first, second, third = (gateway.batch(rows=2, with_schema=n == 2) for n in range(3))
    rig.batches(gateway, first, second)
    assert rig.rows("SELECT DISTINCT state FROM batch") == [(1,)]
    write(rig, "UPDATE batch SET bytes = ? WHERE seq = 0", b"x")
    assert rig.batches(gateway, third)[0].receipt
    assert rig.rows("SELECT state FROM batch ORDER BY seq") == [(1,), (0,), (0,)]
    assert "batch 0 of epoch" in caplog.text


def test_a_damaged_undecodable_batch_is_passed_over(rig, park):
    gateway, _ = park
    write(rig, "UPDATE batch SET state = 2, bytes = x'00' WHERE ep = 1 AND seq = 1")
    started(rig)
    assert "batch 1 of epoch" in rig.summary(gateway)["alarms"][0]["what"]


# Whose folder is it?


def state_of(folder):
    return {
        path.relative_to(folder): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != service.LOCK_FILE
    }


@pytest.fixture
def folder(tmp_path):
    """A hub's folder that no hub runs on."""
    rig = Rig(tmp_path)
    rig.enrol(FakeGateway(1))
    rig.store.belong_to(rig.key.id)
    rig.store.close()
    return tmp_path


def arguments(folder, **given):
    """What the verb's own parser makes of a quiet hub on this folder, with these arguments changed."""
    verbs = argparse.ArgumentParser().add_subparsers()
    hub_verb.add_parser(verbs)
    words = ["--data", str(folder), "--broker", "mqtt://127.0.0.1:1", "--http", "127.0.0.1:0", "--quiet"]
    made = verbs.choices["hub"].parse_args(words)
    if "own_broker" in given:
        made.broker = None
    for name, value in given.items():
        assert hasattr(made, name), name
        setattr(made, name, value)
    return made


def test_a_second_hub_with_a_broker_of_its_own_touches_nothing(folder):
    lock = folder_lock.hold(folder / service.LOCK_FILE)
    try:
        with Broker("nats", folder / "broker") as broker:
            pid = broker.pid
            with pytest.raises(service.HubBusy, match="another hub runs"):
                hub_verb.run(arguments(folder, own_broker="127.0.0.1:1883"))
            assert broker.pid == pid and (folder / "broker" / "broker.pid").read_text() == f"{pid}\n"
    finally:
        os.close(lock)


def test_without_its_key_a_hub_does_not_start_and_makes_none(folder):
    (folder / keys.HUB_KEY_FILE).unlink()
    before = state_of(folder)
    with pytest.raises(keys.HubKeyMissing, match="from a backup"):
        service.Hub(folder)
    with pytest.raises(keys.HubKeyMissing):
        enrol_verb.run(SimpleNamespace(
            data=str(folder), list=False, revoke=None, restore=None, clear_alarms=None, key=FakeGateway(2).xy.hex(),
            name=None, json=False))  # fmt: skip
    (folder / keys.HUB_PUBLIC_FILE).unlink()
    with pytest.raises(keys.HubKeyMissing):
        service.Hub(folder)
    assert state_of(folder) == {k: v for k, v in before.items() if k.name != keys.HUB_PUBLIC_FILE}


def test_a_public_key_alone_is_a_lost_key_too(tmp_path):
    keys.hub_key(tmp_path)
    (tmp_path / keys.HUB_KEY_FILE).unlink()
    with pytest.raises(keys.HubKeyMissing):
        keys.hub_key(tmp_path)


def test_the_key_of_another_hub_is_refused(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    keys.hub_key(other)
    shutil.copy(other / keys.HUB_KEY_FILE, folder)
    with pytest.raises(keys.HubKeyMissing, match="not the key of this hub"):
        service.Hub(folder)
    shutil.copy(other / keys.HUB_PUBLIC_FILE, folder)
    with pytest.raises(StoreError, match="the database here is that of hub"):
        service.Hub(folder)


def test_after_a_refused_start_the_folder_is_free_again(folder):
    key = (folder / keys.HUB_KEY_FILE).read_bytes()
    (folder / keys.HUB_KEY_FILE).unlink()
    with pytest.raises(keys.HubKeyMissing):
        service.Hub(folder)
    (folder / keys.HUB_KEY_FILE).write_bytes(key)
    (folder / keys.HUB_KEY_FILE).chmod(0o600)
    hub = service.Hub(folder)
    hub.stop()
    hub.stop()
    service.Hub(folder).stop()


def test_each_cause_has_its_own_words(folder, monkeypatch):
    def failing(number):
        def fail(path, *_args, **_more):
            raise OSError(number, os.strerror(number), str(path))

        return fail

    for number, words in ((28, "no space is left"), (30, "read-only"), (13, "no permission")):
        with monkeypatch.context() as patch:
            patch.setattr(folder_lock.os, "open", failing(number))
            with pytest.raises(FileTrouble, match=words):
                service.Hub(folder)
    with monkeypatch.context() as patch:
        patch.setattr(folder_lock.fcntl, "flock", failing(37))
        with pytest.raises(FileTrouble, match="cannot lock"):
            service.Hub(folder)
        with pytest.raises(FileTrouble, match="cannot lock"):
            folder_lock.is_held(folder / service.LOCK_FILE)


def test_a_read_only_folder_is_called_so(folder):
    """By a user who is not root, for whom nothing is read-only."""
    program = (
        "import os, sys\nfrom host_tools.hub.service import Hub\nos.getuid() or os.setuid(65534)\nHub(sys.argv[1])\n"
    )
    folder.chmod(0o555)
    for path in folder.iterdir():
        if path.is_file():
            path.chmod(0o444)
    for above in [folder, *folder.parents][:3]:
        above.chmod(above.stat().st_mode | 0o111)
    found = subprocess.run(
        [sys.executable, "-c", program, str(folder)], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    folder.chmod(0o755)
    assert found.returncode and "another hub" not in found.stderr, found.stderr
    assert "FileTrouble: cannot write" in found.stderr or "no permission" in found.stderr, found.stderr
