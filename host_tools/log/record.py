"""Leaves, added in the transaction that stores what they are of: a batch is in the log exactly if it is in the
database.

    recorder.begin()                            right after BEGIN
    recorder.batch(hash, ep, seq)               … in the order in which things were accepted
    recorder.statement(kind, facts, by, now)    signed here, in its place

Whoever holds the database's write lock may add leaves: the hub, and verbs such as `parkgate enrol` beside it. Only the
hub signs checkpoints (`signer`).
"""

from __future__ import annotations

import contextlib
import os
import time
from hashlib import sha256
from pathlib import Path

from host_tools.base.keys import hub_key
from host_tools.log import keys, signed, tables
from host_tools.log.database.seam import Database
from host_tools.log.keys import LogError, LogKey
from host_tools.log.tables import BATCH, STATEMENT
from parkgate.log import statement
from parkgate.wire import cbor, cose


class Recorder:
    """Adds leaves to one log through one connection."""

    def __init__(self, db: Database, key: LogKey, log_id: bytes):
        self.db, self.key, self.log_id = db, key, log_id
        self.next = 0

    def begin(self) -> None:
        """The transaction has the write lock: where the next leaf goes."""
        self.next = tables.size(self.db)

    def batch(self, entry: bytes, ep: int, seq: int) -> None:
        """A batch that is stored in this transaction."""
        self.db.append("leaf", "leaf, kind, entry, ep, seq", (self.next, BATCH, entry, ep, seq))
        self.next += 1

    def signed_bytes(self, kind: int, data: bytes) -> bytes:
        """A beat or a fork, with the bytes as they were signed. Returns its entry."""
        entry = sha256(data).digest()
        self.db.execute("INSERT INTO leaf VALUES (?, ?, ?, NULL, NULL)", (self.next, kind, entry))
        self.db.execute("INSERT INTO statement VALUES (?, ?)", (self.next, data))
        self.next += 1
        return entry

    def statement(self, kind: str, facts: dict, by: str | None, now_unix_ms: int) -> bytes:
        """What the hub itself says. Returns its entry."""
        payload = statement.encode_payload(kind, now_unix_ms, by, facts)
        protected = statement.protected_header(self.key.kid, self.log_id, self.next)
        signature = self.key.sign(cose.sign1_digest(protected, payload))
        return self.signed_bytes(STATEMENT, cose.sign1_join(protected, payload, signature))


def open_recorder(db: Database) -> Recorder:
    """The recorder of the database's log; a log is begun where there is none yet. Raises LogError when the folder's
    key is missing or foreign."""
    tables.make(db)
    data_dir = db.folder
    if db.about("log_id") is None:
        with db.transaction():
            if db.about("log_id") is None:  # nobody was quicker
                _begin(db, data_dir, "first start", None)
    log_id, kid = db.about("log_id"), db.about("log_kid")
    assert log_id is not None
    key = keys.read(data_dir)
    if key.kid != kid:
        raise LogError(
            f"{data_dir / keys.KEY_FILE} is not the key of this hub's log: put the right one back from your backup."
            f" {signed.RENEW}"
        )
    check_not_set_back(db, signed.Memory(data_dir, log_id).read())
    recorder = Recorder(db, key, log_id)
    if db.execute("SELECT 1 FROM place_history WHERE entry IS NULL").fetchone():
        with recording(db, recorder):
            _places(recorder)
    return recorder


def check_not_set_back(db: Database, last: signed.Signed) -> None:
    """Raise LogError when the database has fewer leaves than were signed."""
    found = tables.size(db)
    if found < last.size:
        raise LogError(
            f"this database has {found} leaves, and {last.size} were signed: it is an older copy. Put the newest one"
            f" back; where it is lost, {signed.RENEW}"
        )


@contextlib.contextmanager
def recording(db: Database, recorder: Recorder | None = None):
    """A transaction that changes what the log must say: `with recording(db) as recorder`."""
    recorder = recorder or open_recorder(db)
    with db.transaction():
        recorder.begin()
        yield recorder


def now_unix_ms() -> int:
    return time.time_ns() // 1_000_000


def _begin(db, data_dir: Path, why: str, before) -> None:
    """Begin a log in the open transaction: its first leaf, and a leaf for all that is held already."""
    hub = hub_key(data_dir, make=db.execute("SELECT 1 FROM gateway").fetchone() is None)
    key = keys.read(data_dir) if (data_dir / keys.KEY_FILE).exists() else keys.make(data_dir)
    log_id = os.urandom(16)
    recorder = Recorder(db, key, log_id)
    facts = {
        "key": key.xy, "ed25519": key.ed25519, "hub": hub.id, "hub_key": hub.xy, "why": why, "before": before,
    }  # fmt: skip
    held = db.execute("SELECT leaf, kind, entry, ep, seq FROM leaf ORDER BY leaf").fetchall() if before else []
    if held:
        # The old log's leaves follow the new first one, in their order.
        db.execute("CREATE TEMP TABLE old_statement AS SELECT * FROM statement")
        db.execute("DELETE FROM leaf")
        db.execute("DELETE FROM statement")
    recorder.statement(statement.LOG_BEGUN, facts, None, now_unix_ms())
    if held:
        db.executemany("INSERT INTO leaf VALUES (? + 1, ?, ?, ?, ?)", held)
        db.execute("INSERT INTO statement SELECT leaf + 1, bytes FROM old_statement")
        db.execute("DROP TABLE old_statement")
        recorder.begin()
    else:
        _enrolled(recorder)
    add_unlogged(recorder)
    for name, value in (("log_id", log_id), ("log_kid", key.kid)):
        db.set_about(name, value)
    memory = signed.Memory(data_dir, log_id)
    memory.write(signed.Signed(0, bytes(32)))


def _enrolled(recorder: Recorder) -> None:
    """Gateways that an older hub enrolled."""
    for kid, key, name, revoked in recorder.db.execute(
        "SELECT kid, public_key, name, revoked_unix_ms FROM gateway ORDER BY gw"
    ).fetchall():
        now = now_unix_ms()
        facts = {"gateway": kid, "key": key, "name": name, "place": None}
        recorder.statement(statement.ENROLLED, facts, None, now)
        if revoked is not None:
            recorder.statement(statement.REVOKED, {"gateway": kid, "name": name, "from_ms": revoked}, None, now)


def _places(recorder: Recorder) -> None:
    """What was done with places before there was a log to say it in."""
    for row, pl, kind, by, facts in recorder.db.execute(
        "SELECT rowid, pl, what, by, facts FROM place_history WHERE entry IS NULL ORDER BY rowid"
    ).fetchall():
        say_of_place(recorder, row, pl, kind, cbor.decode(facts), by, now_unix_ms())  # type: ignore[arg-type]


def say_of_place(recorder: Recorder, row, pl: int, kind: str, facts: dict, by: str | None, unix_ms: int) -> None:
    """The statement of one row of place_history. It names the place's statement before it."""
    prior = recorder.db.execute(
        "SELECT entry FROM place_history WHERE pl = ? AND rowid < ? ORDER BY rowid DESC LIMIT 1", (pl, row)
    ).fetchone()
    entry = recorder.statement(kind, {**facts, "prior": prior[0] if prior else None}, by, unix_ms)
    recorder.db.execute("UPDATE place_history SET entry = ? WHERE rowid = ?", (entry, row))


def add_unlogged(recorder: Recorder) -> int:
    """Leaves for batches that have none (an older hub stored them), in the order of storing. Returns how many."""
    rows = recorder.db.execute(
        "SELECT hash, batch.ep, batch.seq FROM batch LEFT JOIN leaf"
        " ON leaf.kind = 1 AND leaf.ep = batch.ep AND leaf.seq = batch.seq WHERE leaf IS NULL ORDER BY id"
    ).fetchall()
    for entry, ep, seq in rows:
        recorder.batch(entry, ep, seq)
    return len(rows)


def renew(db: Database, why: str) -> dict:
    """Begin a new log that names the old one. No hub may run on the folder. Returns {"before": …, "log": hex}."""
    tables.make(db)
    data_dir = db.folder
    old = db.about("log_id")
    before = None
    if old is not None:
        row = db.execute("SELECT size, root FROM checkpoint WHERE log_id = ? ORDER BY size DESC", (old,)).fetchone()
        known = [signed.Signed(*row)] if row else []
        last = signed.Memory(data_dir, old).newest()
        known += [last] if last else []
        newest = max(known) if known else signed.Signed(0, bytes(32))
        before = [old, newest.size, newest.root]
    with db.transaction():
        _begin(db, data_dir, why, before)
    log_id = db.about("log_id")
    assert log_id is not None
    return {"log": log_id.hex(), "before": before and [before[0].hex(), before[1], before[2].hex()]}
