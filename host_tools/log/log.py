"""The log, to be read: its checkpoints, leaves and proofs. Works beside a running hub, and without one.

    with Log.open(data_dir) as log:
        made = log.checkpoint()
        log.receipt(log.leaf_of_batch(ep, seq))

A proof is computed from tiles, checked against the signed root, and computed again from the leaves if that does not
hold: what is damaged on this disk is never served.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from host_tools.log import signer, tree
from host_tools.log.database import opening
from host_tools.log.database.seam import Database, DatabaseError
from host_tools.log.keys import LogError, verifier_keys
from host_tools.log.signer import Checkpoint
from host_tools.log.tables import BATCH, REMOVED
from parkgate.errors import FormatError, IntegrityError
from parkgate.log import checkpoint, receipt, statement
from parkgate.log.tree import check_consistency, check_inclusion, leaf_hash

_ROW = "size, root, signature, note, signed_unix_ms"


class Leaf(NamedTuple):
    """One leaf: `kind` says where its bytes are (`tables`); `ep` and `seq` of a batch, else None."""

    leaf_index: int
    kind: int
    entry: bytes
    ep: int | None
    seq: int | None


class Log:
    """One log. `log_id`, `origin`, `kid`, `key_xy` (64 bytes), `ed25519` (32 bytes), `verifier_keys` (C2SP)."""

    def __init__(self, db: Database, data_dir: Path):
        """Raises LogError when the database has no log."""
        self._db = db
        log_id = db.about("log_id") if db.has_table("leaf") else None
        if log_id is None:
            raise LogError(f"the hub in {data_dir} has no log yet: start it once")
        self.log_id: bytes = log_id
        self.origin = checkpoint.origin(log_id)
        begun = statement.Statement(self.statement(0))
        self.kid = begun.kid
        self.key_xy, self.ed25519 = bytes(begun.facts["key"]), bytes(begun.facts["ed25519"])
        self.verifier_keys = verifier_keys(self.origin, self.key_xy, self.ed25519)
        self._hashes = tree.Hashes(db, tree.Tiles(signer.tiles_folder(data_dir, log_id)))

    @property
    def db(self) -> Database:
        """What it is read from, for other questions to the same state."""
        return self._db

    @classmethod
    def open(cls, data_dir) -> Log:
        """Read-only, on a connection of its own: `close` it. Raises LogError."""
        if not opening.is_there(data_dir):
            raise LogError(f"there is no hub in {data_dir}")
        db = None
        try:
            db = opening.opened(data_dir, read_only=True)
            return cls(db, Path(data_dir))
        except BaseException as error:
            if db is not None:
                db.close()
            if isinstance(error, (DatabaseError, FormatError)):
                raise LogError(f"cannot read the log in {data_dir}: {error}") from None
            raise

    def close(self) -> None:
        self._db.close()

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    # Checkpoints.

    def checkpoint(self) -> Checkpoint:
        """The newest one that was signed. Raises LogError before the first."""
        row = self._db.execute(
            f"SELECT {_ROW} FROM checkpoint WHERE log_id = ? ORDER BY size DESC LIMIT 1", (self.log_id,)
        ).fetchone()
        if row is None:
            raise LogError("nothing was signed yet: the hub signs its first checkpoint when it runs")
        return Checkpoint(*row)

    def checkpoint_of(self, size: int) -> Checkpoint:
        """The kept checkpoint of this size. Raises LogError."""
        row = self._db.execute(f"SELECT {_ROW} FROM checkpoint WHERE log_id = ? AND size = ?", (self.log_id, size))
        found = row.fetchone()
        if found is None:
            raise LogError(f"no checkpoint of {size} leaves is kept")
        return Checkpoint(*found)

    def checkpoints(self, since: int = 0) -> list[Checkpoint]:
        """All that are kept, of at least `since` leaves, the smallest first."""
        rows = self._db.execute(
            f"SELECT {_ROW} FROM checkpoint WHERE log_id = ? AND size >= ? ORDER BY size", (self.log_id, since)
        )
        return [Checkpoint(*row) for row in rows]

    @property
    def size(self) -> int:
        """Leaves under the newest checkpoint."""
        return self.checkpoint().size

    # Leaves.

    def leaf_of_batch(self, ep: int, seq: int) -> int | None:
        row = self._db.execute("SELECT leaf FROM leaf WHERE kind = 1 AND ep = ? AND seq = ?", (ep, seq)).fetchone()
        return row[0] if row else None

    def leaf(self, index: int) -> Leaf:
        """Raises LogError when there is no such leaf."""
        found = self.leaves(index, index)
        if not found:
            raise LogError(f"there is no leaf {index}")
        return found[0]

    def leaves(self, first: int, last: int) -> list[Leaf]:
        """Leaves first … last, both included, as far as there are."""
        rows = self._db.execute("SELECT * FROM leaf WHERE leaf BETWEEN ? AND ? ORDER BY leaf", (first, last))
        return [Leaf(*row) for row in rows]

    def leaf_of_entry(self, entry: bytes) -> int | None:
        """The first leaf with this entry. Looks through all of them."""
        row = self._db.execute("SELECT leaf FROM leaf WHERE entry = ? ORDER BY leaf LIMIT 1", (entry,)).fetchone()
        return row[0] if row else None

    def find_batch(self, gateway: str, epoch: str, seq: int) -> Leaf:
        """The leaf of a batch. `gateway` is a name, or the first 8 or more digits of an id; `epoch` the first 8 or more
        digits of the epoch. Raises LogError when there is none, or more than one."""
        rows = [
            leaf
            for name, kid, chain, *leaf in self._db.execute(
                "SELECT name, kid, epoch.epoch, leaf.* FROM leaf JOIN epoch USING (ep) JOIN gateway USING (gw)"
                " WHERE kind = 1 AND seq = ?",
                (seq,),
            )
            if (name == gateway or _begins(kid, gateway)) and _begins(chain, epoch)
        ]
        if len(rows) != 1:
            raise LogError(f"{'several batches' if rows else 'no batch'} {seq} of {gateway!r} in epoch {epoch!r}")
        return Leaf(*rows[0])

    def statement(self, index: int) -> bytes:
        """The signed bytes of a leaf that is no batch. Raises LogError."""
        row = self._db.execute("SELECT bytes FROM statement WHERE leaf = ?", (index,)).fetchone()
        if row is None:
            raise LogError(f"leaf {index} is not a statement")
        return row[0]

    def signed_bytes(self, index: int) -> bytes:
        """The signed bytes of any leaf. Raises LogError."""
        leaf = self.leaf(index)
        if leaf.kind != BATCH:
            return self.statement(index)
        question = "SELECT bytes, state FROM batch WHERE ep = ? AND seq = ?"
        row = self._db.execute(question, (leaf.ep, leaf.seq)).fetchone()
        if row is None:
            raise LogError(f"the batch of leaf {index} is missing in the database")
        if row[1] == REMOVED:
            raise LogError(f"the batch of leaf {index} was removed by an operator; the log says why")
        return row[0]

    # Proofs. Each is checked before it leaves.

    def root(self, size: int) -> bytes:
        """The root of the first `size` leaves, from the leaves themselves unless it is a kept checkpoint's."""
        row = self._db.execute("SELECT root FROM checkpoint WHERE log_id = ? AND size = ?", (self.log_id, size))
        found = row.fetchone()
        return found[0] if found else tree.Hashes(self._db, None).root(size)

    def root_of_kept(self, size: int) -> bytes | None:
        """The root of the kept checkpoint of this size, None when none is kept."""
        row = self._db.execute("SELECT root FROM checkpoint WHERE log_id = ? AND size = ?", (self.log_id, size))
        found = row.fetchone()
        return found[0] if found else None

    def inclusion(self, index: int, size: int) -> list[bytes]:
        """The path from leaf `index` to the root of `size` leaves. Raises LogError."""
        if not 0 <= index < size:
            raise LogError(f"no leaf {index} under a checkpoint of {size}")
        leaf, root = leaf_hash(self.leaf(index).entry), self.root(size)
        return self._sure(
            lambda hashes: hashes.inclusion(index, size), lambda path: check_inclusion(index, size, root, leaf, path)
        )

    def consistency(self, size1: int, size2: int) -> list[bytes]:
        """The path that shows that the first `size1` of `size2` leaves are those of before. Raises LogError."""
        if not 1 <= size1 <= size2:
            raise LogError(f"no proof from {size1} to {size2} leaves")
        roots = self.root(size1), self.root(size2)
        return self._sure(
            lambda hashes: hashes.consistency(size1, size2), lambda path: check_consistency(size1, size2, *roots, path)
        )

    def frontier(self, size: int) -> list[bytes]:
        """Hashes of the complete subtrees that make up the first `size` leaves, the largest first."""
        return self._hashes.frontier(size)

    def _sure(self, compute, check):
        for hashes in (self._hashes, tree.Hashes(self._db, None)):
            path = compute(hashes)
            try:
                check(path)
            except (FormatError, IntegrityError):
                continue
            return path
        raise LogError("the leaves in this database are not those that were signed: `parkgate log check` says where")

    def receipt(self, index: int, size: int | None = None) -> bytes:
        """The RFC 9942 receipt of leaf `index` under the kept checkpoint of `size` leaves, or the newest."""
        made = self.checkpoint() if size is None else self.checkpoint_of(size)
        path = self.inclusion(index, made.size)
        return receipt.encode(self.kid, self.log_id, made.size, made.signature, receipt.INCLUSION, index, path)

    def consistency_receipt(self, size1: int, size: int | None = None) -> bytes:
        """The RFC 9942 receipt that the tree of `size1` leaves is the beginning of that of a kept checkpoint."""
        made = self.checkpoint() if size is None else self.checkpoint_of(size)
        path = self.consistency(size1, made.size)
        return receipt.encode(self.kid, self.log_id, made.size, made.signature, receipt.CONSISTENCY, size1, path)

    def tlog_proof(self, index: int) -> str:
        """The C2SP tlog-proof of leaf `index` under the newest checkpoint."""
        made = self.checkpoint()
        lines = ["c2sp.org/tlog-proof@v1", f"index {index}"]
        lines += [checkpoint.base64(each) for each in self.inclusion(index, made.size)]
        return "\n".join(lines) + "\n\n" + made.note

    # Tiles, for the world.

    def tile(self, level: int, number: int, width: int) -> bytes | None:
        """The first `width` (1 … 256) hashes of a tile under the newest checkpoint, None when it has no such tile."""
        if (number * tree.WIDTH + width) << 8 * level > self.size:
            return None
        return self._hashes.tile(level, number, width)

    def entries(self, number: int, width: int) -> bytes | None:
        """The first `width` entries of a bundle, each with its length before it; None when there are not so many."""
        first = number * tree.WIDTH
        if first + width > self.size:
            return None
        return b"".join(b"\x00\x20" + leaf.entry for leaf in self.leaves(first, first + width - 1))


def _begins(data: bytes, digits: str) -> bool:
    return len(digits) >= 8 and data.hex().startswith(digits.lower())
