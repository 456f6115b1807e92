"""Checkpoints of what is committed. The order keeps the promise: leaves durable, then remembered, then signed, then
shown.

A checkpoint is made from committed rows only, at most once a second. The tree in memory follows the rows; nothing that
is in memory only is ever signed. Where the rows contradict what was signed the signer raises LogError, and nothing
more is stored or answered until an operator has decided: gateways keep what they have.
"""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from host_tools.base import files
from host_tools.log import record, signed, tables, tree
from host_tools.log.database.seam import Database
from host_tools.log.keys import PUBLIC_FILE, LogError
from parkgate.log import checkpoint, receipt

PRUNE_MS = 3_600_000  # of checkpoints on which nothing rests, one an hour is kept


class Checkpoint(NamedTuple):
    """One signed checkpoint: `signature` is that of its receipts (r || s), `note` its text with signature lines."""

    size: int
    root: bytes
    signature: bytes
    note: str
    signed_unix_ms: int


class Signer:
    """The one process that signs for this log. `recorder` is that of the same database connection."""

    def __init__(self, recorder: record.Recorder):
        self._recorder, self._db = recorder, recorder.db
        self.broken = False  # the rows contradict what was signed: nothing goes on
        self.log_id = recorder.log_id
        data_dir = self._db.folder
        self._memory = signed.Memory(data_dir, self.log_id)
        self._lock = self._memory.hold()
        try:
            self.tiles = tree.Tiles(tiles_folder(data_dir, self.log_id))
            self._full: list[tuple[int, int, bytes]] = []
            self.last = self._memory.read()
            self._load()
            self._memory.write(self.last)  # a kill between the two files leaves one behind
            _write_public(data_dir, recorder)
        except BaseException:
            os.close(self._lock)
            raise

    def close(self) -> None:
        """Let another process sign. Once is enough; again does nothing."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _load(self):
        """The tree as it was signed last, from tiles where they are right, and what was committed since."""
        record.check_not_set_back(self._db, self.last)
        self.tree = tree.load(self._db, self.tiles, self.last.size)
        if self.last.size and self.tree.root() != self.last.root:
            self.tree = tree.load(self._db, None, self.last.size)
            if self.tree.root() != self.last.root:
                raise LogError(
                    f"the first {self.last.size} leaves of this database are not those that were signed: it is another"
                    " copy, or damaged (`parkgate log check` says where). Put the right one back; where it is lost,"
                    f" {signed.RENEW}"
                )
            self._write_anew()
        self.follow()

    def _write_anew(self):
        """All full tiles, from the leaves: one of them is damaged."""
        fresh = tree.GrowingTree()
        for (entry,) in self._db.iterate("SELECT entry FROM leaf WHERE leaf < ? ORDER BY leaf", (self.last.size,)):
            for full in fresh.add(entry):
                self.tiles.write(*full)

    def follow(self) -> int:
        """Take in the leaves that were committed since. Returns how many. Raises LogError when some have vanished."""
        before = self.tree.size
        expected = before
        for leaf, entry in self._db.iterate("SELECT leaf, entry FROM leaf WHERE leaf >= ? ORDER BY leaf", (before,)):
            if leaf != expected:
                self.broken = True
                raise LogError(f"the database lacks leaf {expected}: restore it, or {signed.RENEW}")
            self._full += self.tree.add(entry)
            expected += 1
        if expected == before and tables.size(self._db) < before:
            self.broken = True
            raise LogError(f"the database lost leaves while the hub ran: it had {before}. {signed.RENEW}")
        return expected - before

    def sign(self, now_unix_ms: int) -> Checkpoint | None:
        """A checkpoint of all that is committed; None when that is what was signed last. Raises LogError, FileTrouble
        or DatabaseError: then nothing new was signed, or the same is signed again next time."""
        self.follow()
        while self._full:
            self.tiles.write(*self._full[0])
            self._full.pop(0)
        size, root = self.tree.size, self.tree.root()
        if size > self.last.size:
            if self._memory.read().size != self.last.size:
                self.broken = True
                raise LogError("another process has signed for this log: stop it, then start this hub again")
            self._memory.write(signed.Signed(size, root))
            self.last = signed.Signed(size, root)
        elif size == 0 or self._is_kept(size):
            return None
        return self._keep(size, root, now_unix_ms)

    def keep(self, made: Checkpoint) -> None:
        """Somebody relies on this checkpoint: its row is never deleted."""
        put(self._db, self.log_id, made, 1)

    def _is_kept(self, size):
        row = self._db.execute("SELECT 1 FROM checkpoint WHERE log_id = ? AND size = ?", (self.log_id, size))
        return row.fetchone() is not None

    def _keep(self, size, root, now_unix_ms):
        key = self._recorder.key
        signature = key.sign(receipt.digest(key.kid, self.log_id, size, root))
        text = checkpoint.text(self.log_id, size, root)
        note = checkpoint.note(self.log_id, size, root, key.note_lines(self.log_id, text))
        made = Checkpoint(size, root, signature, note, now_unix_ms)
        with self._db.transaction():
            before = self._db.execute(
                "SELECT size, signed_unix_ms, keep FROM checkpoint WHERE log_id = ? ORDER BY size DESC LIMIT 1",
                (self.log_id,),
            ).fetchone()
            if before and not before[2] and before[1] // PRUNE_MS == now_unix_ms // PRUNE_MS:
                self._db.execute("DELETE FROM checkpoint WHERE log_id = ? AND size = ?", (self.log_id, before[0]))
            put(self._db, self.log_id, made, 0)
        return made


def put(db: Database, log_id: bytes, made: Checkpoint, keep: int) -> None:
    """Write a checkpoint's row, with its sum."""
    row = (log_id, made.size, made.root, made.signature, made.note, made.signed_unix_ms, keep)
    db.execute(
        "INSERT INTO checkpoint VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (log_id, size) DO UPDATE SET"
        " root = excluded.root, signature = excluded.signature, note = excluded.note,"
        " signed_unix_ms = excluded.signed_unix_ms, keep = excluded.keep, sum = excluded.sum",
        (*row, row_sum(row)),
    )


def row_sum(row: tuple) -> bytes:
    """SHA-256 of a row of `checkpoint` without its last column."""
    return sha256(repr(tuple(row)).encode()).digest()


def tiles_folder(data_dir: Path, log_id: bytes) -> Path:
    """Where the tiles of a log are. A new log has another folder."""
    return Path(data_dir) / "log" / log_id.hex() / "tile"


def _write_public(data_dir: Path, recorder: record.Recorder) -> None:
    lines = recorder.key.public_lines(recorder.log_id)
    path = Path(data_dir) / PUBLIC_FILE
    if not path.is_file() or path.read_bytes() != lines.encode():
        files.write(path, lines)
