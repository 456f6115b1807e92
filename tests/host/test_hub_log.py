"""The hub's log: what is a leaf, what is signed, and what never is."""

import hashlib
import shutil

import pytest

from batches import FakeGateway
from host_tools.hub.stores.store import connect
from host_tools.hub.verbs.enrol import clear_alarms, enrol, revoke
from host_tools.log import keys, record, tables
from host_tools.log.keys import LogError
from host_tools.log.log import Log
from host_tools.log.signer import Signer
from hub_rig import Rig
from parkgate.log import checkpoint, receipt, statement, tree
from parkgate.wire import cose, p256

NOW_MS = 1_800_000_000_000


def sign(rig, now_ms=NOW_MS):
    """A hub's signer on this folder, for one checkpoint."""
    signer = Signer(rig.intake.leaves)
    try:
        return signer.sign(now_ms)
    finally:
        signer.close()


def kinds(rig):
    return [row[0] for row in rig.rows("SELECT kind FROM leaf ORDER BY leaf")]


def statements(rig):
    """(kind, facts) of the hub's own statements, each checked: its place, its key, its signature."""
    key = keys.read(rig.data_dir)
    found = []
    for leaf, data in rig.rows("SELECT leaf, bytes FROM statement JOIN leaf USING (leaf) WHERE kind = 4 ORDER BY leaf"):
        said = statement.Statement(data)
        assert (said.index, said.kid, said.log_id) == (leaf, key.kid, rig.intake.leaves.log_id)
        assert p256.verify(key.xy, said.sign1.digest(), said.sign1.signature)
        found.append((said.kind, said.facts))
    return found


def test_every_batch_is_a_leaf_in_the_order_of_acceptance(rig, gateway):
    sealed = [gateway.batch() for _ in range(3)]
    rig.batches(gateway, sealed[1], sealed[0])
    rig.batches(gateway, sealed[1], sealed[2])  # one duplicate
    rows = rig.rows("SELECT entry, seq FROM leaf WHERE kind = 1 ORDER BY leaf")
    assert rows == [(hashlib.sha256(sealed[seq]).digest(), seq) for seq in (1, 0, 2)]
    assert [row[0] for row in rig.rows("SELECT leaf FROM leaf ORDER BY leaf")] == list(range(tables.size(rig.store.db)))


def test_what_the_hub_says_itself(rig, gateway):
    rig.batches(gateway, gateway.batch())
    with_db = connect(rig.data_dir)
    enrol(with_db, gateway.xy, "another name")
    revoke(with_db, "another name")
    revoke(with_db, "another name", undo=True)
    with_db.close()
    said = statements(rig)
    assert [kind for kind, _ in said] == [
        "log begun", "enrolled", "place added", "epoch seen", "renamed", "revoked", "restored",
    ]  # fmt: skip
    facts = dict(said)
    assert facts["log begun"]["key"] == keys.read(rig.data_dir).xy and facts["log begun"]["hub"] == rig.key.id
    assert facts["enrolled"] == {"gateway": gateway.id, "key": gateway.xy, "name": "gateway 0", "place": None}
    assert facts["renamed"] == {"gateway": gateway.id, "before": "gateway 0", "name": "another name"}
    assert facts["revoked"]["from_ms"] > 0
    assert facts["epoch seen"] == {"gateway": gateway.id, "epoch": gateway.epoch, "before": None}


def test_forks_beats_and_cleared_alarms(rig, gateway):
    rig.batches(gateway, gateway.batch(), gateway.batch())
    other = gateway.seal(gateway.payload(rows=5, prev=b"\x01" * 32), seq=1)
    before = tables.size(rig.store.db)
    rig.batches(gateway, other)
    rig.batches(gateway, other)
    assert kinds(rig)[before:] == [tables.FORK], "a fork is a leaf, once"
    assert rig.rows("SELECT bytes FROM statement WHERE leaf = ?", before) == [(other,)]
    rig.beat(gateway)
    rig.beat(gateway)
    assert kinds(rig)[before + 1 :] == [tables.BEAT]
    rig.now_unix_ms += 600_000
    beat = gateway.beat()
    rig.beat(gateway, beat)
    assert kinds(rig)[before + 2 :] == [tables.BEAT]
    db = connect(rig.data_dir)
    assert clear_alarms(db, "gateway 0") == 1
    db.close()
    kind, facts = statements(rig)[-1]
    assert kind == "alarms cleared" and facts["alarms"][0][0] == "fork"


def test_a_checkpoint_is_signed_in_both_forms(rig, gateway):
    rig.batches(gateway, *[gateway.batch() for _ in range(5)])
    made = sign(rig)
    with Log.open(rig.data_dir) as log:
        assert log.checkpoint() == made and made.size == tables.size(rig.store.db)
        note = checkpoint.Checkpoint(made.note)
        assert (note.size, note.root, note.log_id) == (made.size, made.root, log.log_id)
        assert p256.verify(log.key_xy, receipt.digest(log.kid, log.log_id, made.size, made.root), made.signature)
        for index in range(made.size):
            data = log.signed_bytes(index)
            found = receipt.Receipt(log.receipt(index))
            root = found.root(tree.leaf_hash(hashlib.sha256(data).digest()))
            assert root == made.root and found.signature == made.signature
        ep, seq = rig.rows("SELECT ep, seq FROM batch ORDER BY id DESC")[0]
        assert log.leaf(log.leaf_of_batch(ep, seq)).entry == rig.rows("SELECT hash FROM batch WHERE seq = ?", seq)[0][0]


def test_consistency_from_every_size(rig, gateway):
    roots, made = {}, sign(rig)
    for _ in range(6):
        rig.batches(gateway, gateway.batch(), gateway.batch())
        made = sign(rig)
        roots[made.size] = made.root
    with Log.open(rig.data_dir) as log:
        for size in roots:
            found = receipt.Receipt(log.consistency_receipt(size))
            tree.check_consistency(size, made.size, roots[size], made.root, found.path)
        assert len(log.checkpoints()) == 1, "of an hour one is kept"


def test_nothing_is_signed_twice(rig, gateway):
    made = sign(rig)
    assert made is not None and sign(rig) is None
    rig.batches(gateway, gateway.batch())
    assert sign(rig).size > made.size


def test_a_cut_between_remembering_and_signing_signs_the_same(rig, gateway):
    rig.batches(gateway, gateway.batch())
    made = sign(rig)
    rig.store.db.execute("DELETE FROM checkpoint")
    again = sign(rig)
    assert (again.size, again.root, again.signature, again.note) == (made.size, made.root, made.signature, made.note)


# Accidents.


def test_an_older_database_is_refused(rig, gateway, tmp_path):
    rig.batches(gateway, gateway.batch())
    sign(rig)
    rig.store.close()
    copy = tmp_path / "yesterday.sqlite"
    shutil.copy(tmp_path / "hub.sqlite", copy)
    rig.open()
    rig.batches(gateway, gateway.batch())
    sign(rig)
    rig.store.close()
    shutil.copy(copy, tmp_path / "hub.sqlite")
    db = connect(tmp_path)
    with pytest.raises(LogError, match="it is an older copy"):
        record.open_recorder(db)
    with pytest.raises(LogError, match="it is an older copy"):
        enrol(db, FakeGateway(2).xy, "x")
    begun = record.renew(db, "set back")
    db.close()
    rig.open()
    sign(rig)
    said = statements_of_new_log(rig)
    assert said.kind == "log begun" and said.facts["why"] == "set back"
    old_log, size, root = said.facts["before"]
    assert [old_log.hex(), size, root.hex()] == begun["before"] and size == 6
    assert kinds(rig).count(tables.BATCH) == 1
    with Log.open(rig.data_dir) as log:
        assert log.size == tables.size(rig.store.db)
        for index in range(log.size):
            log.receipt(index)


def statements_of_new_log(rig):
    return statement.Statement(rig.rows("SELECT bytes FROM statement WHERE leaf = 0")[0][0])


def test_the_same_number_of_other_leaves_is_refused(rig, gateway):
    rig.batches(gateway, gateway.batch())
    sign(rig)
    rig.store.db.execute("UPDATE leaf SET entry = ? WHERE leaf = 2", (bytes(32),))
    with pytest.raises(LogError, match="are not those that were signed"):
        sign(rig)


def test_two_signers_of_one_log(rig, gateway):
    signer = Signer(rig.intake.leaves)
    with pytest.raises(LogError, match="another hub on this computer"):
        Signer(rig.intake.leaves)
    signer.close()


def test_a_folder_copied_elsewhere_does_not_sign(rig, gateway, monkeypatch, tmp_path):
    sign(rig)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "another computer"))
    with pytest.raises(LogError, match="does not know what this log signed last"):
        sign(rig)


@pytest.mark.parametrize("what", ["missing", "foreign", "damaged", "readable"])
def test_the_key_of_the_log(rig, gateway, tmp_path, what):
    path = tmp_path / keys.KEY_FILE
    rig.store.close()
    if what == "missing":
        path.unlink()
    elif what == "foreign":
        path.unlink()
        keys.make(tmp_path)
    elif what == "damaged":
        path.write_bytes(path.read_bytes()[:-80])
    else:
        path.chmod(0o644)
    before = path.read_bytes() if path.exists() else None
    words = {"missing": "is missing", "foreign": "is not the key of this hub's log",
             "damaged": "does not hold the two keys", "readable": "others may read"}  # fmt: skip
    db = connect(tmp_path)
    with pytest.raises(LogError, match=words[what]):
        record.open_recorder(db)
    db.close()
    assert (path.read_bytes() if path.exists() else None) == before, "no new key takes its place"
    rig.store = connect(tmp_path)


def test_an_older_hubs_batches_get_their_leaves(tmp_path):
    rig = Rig(tmp_path)
    gateway = FakeGateway(2)
    rig.enrol(gateway)
    rig.batches(gateway, *[gateway.batch() for _ in range(4)])
    for table in ("leaf", "statement", "checkpoint"):
        rig.store.db.execute(f"DROP TABLE {table}")
    rig.store.db.execute("DELETE FROM about")
    rig.restart()
    assert [kind for kind, _ in statements(rig)] == ["log begun", "enrolled"]
    assert kinds(rig).count(tables.BATCH) == 4
    rig.store.close()


def test_leaves_go_back_with_their_transaction(rig, gateway, monkeypatch):
    size = tables.size(rig.store.db)
    sealed = gateway.batch()
    real = rig.store.add_events
    monkeypatch.setattr(rig.store, "add_events", lambda *args: 1 // 0)
    rig.batches(gateway, sealed)
    assert tables.size(rig.store.db) == size and not rig.rows("SELECT * FROM batch")
    monkeypatch.setattr(rig.store, "add_events", real)
    rig.batches(gateway, sealed)
    assert kinds(rig)[size:].count(tables.BATCH) == 1


def test_a_damaged_tile_is_never_served_and_is_written_anew(tmp_path):
    rig = Rig(tmp_path)
    db = rig.store.db
    db.execute("BEGIN")
    rig.intake.leaves.begin()
    for number in range(600):
        rig.intake.leaves.batch(hashlib.sha256(b"%d" % number).digest(), 1, number)
    db.execute("COMMIT")
    made = sign(rig)
    paths = sorted(path for path in (tmp_path / "log").rglob("*") if path.is_file() and path.parent.name == "0")
    assert len(paths) == 2
    whole = paths[0].read_bytes()
    damaged = bytearray(whole)
    damaged[100] ^= 4
    paths[0].write_bytes(bytes(damaged))
    with Log.open(tmp_path) as log:
        for index in (0, 3, 300, 599):
            tree.check_inclusion(index, made.size, made.root, tree.leaf_hash(log.leaf(index).entry),
                                 log.inclusion(index, made.size))  # fmt: skip
    paths[1].unlink()
    sign(rig)
    assert paths[0].read_bytes() == whole and paths[1].exists()
    rig.store.close()


def test_the_public_file(rig, gateway, tmp_path):
    sign(rig)
    lines = (tmp_path / keys.PUBLIC_FILE).read_text().splitlines()
    with Log.open(tmp_path) as log:
        assert lines == [log.key_xy.hex(), *log.verifier_keys]
        assert cose.thumbprint(log.key_xy) == log.kid
