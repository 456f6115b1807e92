"""`parkgate log check`: everything of the log against everything else, so that no flipped bit stays unseen.

Entries are hashed again from the signed bytes, the tree from the entries; checkpoints, tiles, keys and what is
remembered of the last signature are compared with that. Nothing is changed.
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from host_tools.base import files
from host_tools.base.keys import Verifier
from host_tools.log import keys, signed, signer, tables, tree
from host_tools.log.database import opening
from host_tools.log.database.seam import DatabaseError
from host_tools.log.removed import Stated
from parkgate.errors import FormatError, IntegrityError, ParkgateError
from parkgate.log import checkpoint, receipt, statement
from parkgate.wire.batch import Batch
from parkgate.wire.beat import Beat

FINDINGS_MAX = 100


class Check:
    """One look at the log of a data folder. `findings` are sentences; none means that all agrees."""

    def __init__(self, data_dir):
        self.data_dir = Path(data_dir)
        self.findings: list[str] = []
        self.leaves = self.checkpoints = self.tiles = self.removed = 0
        self._stated = Stated()

    def run(self) -> Check:
        """Raises LogError when there is no log that could be looked at."""
        if not opening.is_there(self.data_dir):
            raise keys.LogError(f"there is no hub in {self.data_dir}")
        db = opening.opened(self.data_dir, read_only=True)
        try:
            db.begin_snapshot()  # one state of the database, while the hub goes on
            self._run(db)
        except DatabaseError as error:
            self._find(f"the database: {error}")
        finally:
            db.close()
        return self

    def _find(self, what: str) -> None:
        if len(self.findings) < FINDINGS_MAX:
            self.findings.append(what)

    def _run(self, db):
        log_id = db.about("log_id") if db.has_table("leaf") else None
        if log_id is None:
            raise keys.LogError(f"the hub in {self.data_dir} has no log yet")
        if type(log_id) is not bytes or len(log_id) != 16:
            self._find("the log id in the database is damaged")
            return
        self.log_id = log_id
        self.key = self._read_key(db)
        self.made = db.execute("SELECT * FROM checkpoint WHERE log_id = ? ORDER BY size", (log_id,)).fetchall()
        foreign = db.execute("SELECT count(*) FROM checkpoint WHERE log_id <> ?", (log_id,)).fetchone()[0]
        known = {bytes(before) for before in self._logs_before(db)}
        if foreign and not known:
            self._find(f"{foreign} checkpoints are of a log that this one does not name")
        self.folder = signer.tiles_folder(self.data_dir, log_id)
        roots = self._walk(db)
        for row in self.made:
            self._check_checkpoint(row, roots)
        self._check_memory(roots)
        self._check_no_more_tiles()

    def _logs_before(self, db):
        """Ids of the logs that statements of this one name."""
        for (data,) in db.execute("SELECT bytes FROM statement JOIN leaf USING (leaf) WHERE kind = 4 AND leaf < 64"):
            try:
                said = statement.Statement(data)
            except FormatError:
                continue
            if said.kind == statement.LOG_BEGUN and said.facts.get("before"):
                yield said.facts["before"][0]

    # Keys.

    def _read_key(self, db):
        """The key, or None: then only what stands in leaf 0 is used."""
        try:
            key = keys.read(self.data_dir)
        except ParkgateError as error:
            self._find(str(error))
            return None
        path = self.data_dir / keys.KEY_FILE
        if path.read_bytes() != key.pem:
            self._find(f"{path} is damaged")
        if db.about("log_kid") != key.kid:
            self._find(f"{path} is not the key that the database names")
        public = self.data_dir / keys.PUBLIC_FILE
        if public.is_file() and public.read_bytes() != key.public_lines(self.log_id).encode():
            self._find(f"{public} is damaged")
        return key

    # Leaves and tiles.

    def _walk(self, db):
        """Every leaf in order; the root at each size that a checkpoint or the memory names."""
        wanted = {row[1] for row in self.made} | {memory.size for memory in self._memories()}
        grown, roots, expected = tree.GrowingTree(), {}, 0
        removed: list[tuple[int, int]] = []
        verifier = Verifier(self.key.xy) if self.key else None
        rows = db.iterate(
            "SELECT leaf.leaf, leaf.kind, entry, leaf.ep, leaf.seq, batch.hash, batch.bytes, batch.state,"
            " statement.bytes FROM leaf"
            " LEFT JOIN batch ON leaf.kind = 1 AND batch.ep = leaf.ep AND batch.seq = leaf.seq"
            " LEFT JOIN statement ON statement.leaf = leaf.leaf ORDER BY leaf.leaf"
        )
        if 0 in wanted:
            roots[0] = tree.EMPTY_ROOT
        for index, kind, entry, ep, seq, batch_hash, batch, state, other in rows:
            if index != expected:
                self._find(f"leaf {expected} is missing" if index > expected else f"leaf {index} has no place")
                return roots
            expected += 1
            data = batch if kind == tables.BATCH else other
            if state == tables.REMOVED and kind == tables.BATCH:
                removed.append((ep, seq))  # its hash stays, and is compared below
            else:
                self._check_leaf(index, kind, entry, data, verifier)
            if kind == tables.BATCH and (batch_hash != entry or other is not None):
                self._find(f"leaf {index}: its batch is stored under another hash")
            if kind != tables.BATCH and (ep is not None or seq is not None):
                self._find(f"leaf {index}: it is no batch, and names a place in a chain")
            for full in grown.add(bytes(entry)):
                self._check_tile(*full)
            if grown.size in wanted:
                roots[grown.size] = grown.root()
        self.leaves = expected
        self._check_removed(db, removed)
        self._check_rest(db)
        return roots

    def _check_removed(self, db, removed):
        chains = {
            ep: (kid, epoch)
            for ep, kid, epoch in db.execute("SELECT ep, kid, epoch FROM epoch JOIN gateway USING (gw)")
        }
        self.removed = len(removed)
        for ep, seq in removed:
            if ep not in chains or not self._stated.names(*chains[ep], seq):
                epoch = chains[ep][1].hex()[:8] if ep in chains else "?"
                self._find(f"batch {seq} of chain {epoch} was removed, and no statement in the log says so")

    def _check_rest(self, db):
        question = "SELECT count(*) FROM statement WHERE leaf NOT IN (SELECT leaf FROM leaf)"
        if db.execute(question).fetchone()[0]:
            self._find("signed statements are stored without a leaf")
        question = (
            "SELECT count(*) FROM batch LEFT JOIN leaf ON kind = 1 AND leaf.ep = batch.ep AND leaf.seq = batch.seq"
            " WHERE leaf IS NULL"
        )
        count = db.execute(question).fetchone()[0]
        if count:
            self._find(f"{count} batches are stored without a leaf: start the hub once, it adds them")

    def _check_leaf(self, index, kind, entry, data, verifier):
        if data is None:
            self._find(f"leaf {index}: its signed bytes are missing")
            return
        if type(entry) is not bytes or sha256(data).digest() != entry:
            self._find(f"leaf {index}: its entry is not the hash of its signed bytes")
            return
        try:
            if kind == tables.BATCH or kind == tables.FORK:
                Batch(data)
            elif kind == tables.BEAT:
                Beat(data)
            elif kind == tables.STATEMENT:
                said = statement.Statement(data)
                if said.log_id == self.log_id:
                    if said.index != index:
                        self._find(f"leaf {index}: its statement was signed for leaf {said.index}")
                    if verifier:
                        verifier.check(said.sign1.digest(), said.sign1.signature)
                self._stated.take(said)
            else:
                self._find(f"leaf {index}: there is no kind {kind}")
        except (FormatError, IntegrityError) as error:
            self._find(f"leaf {index}: {error}")

    def _check_tile(self, level, number, data):
        path = self.folder / tree.tile_path(level, number)
        self.tiles += 1
        try:
            found = path.read_bytes()
        except OSError as error:
            self._find(f"tile {path}: {files.why(error)}")
            return
        if found != data:
            self._find(f"tile {path} is damaged: the hub makes it anew at its next start")

    def _check_no_more_tiles(self):
        found = sum(1 for path in self.folder.rglob("*") if path.is_file())
        if found > self.tiles:
            self._find(f"{self.folder} holds {found - self.tiles} files that are no tile of this log")

    # What was signed.

    def _check_checkpoint(self, row, roots):
        self.checkpoints += 1
        log_id, size, root, signature, note, _, _, row_sum = row
        if row_sum != signer.row_sum(row[:-1]):
            self._find(f"the row of checkpoint {size} is damaged")
            return
        if size not in roots:
            self._find(f"checkpoint {size}: the database has not so many leaves")
            return
        if roots[size] != root:
            self._find(f"checkpoint {size}: its root is not that of the leaves")
            return
        if self.key:
            text = checkpoint.text(log_id, size, root)
            lines = self.key.note_lines(log_id, text)
            if signature != self.key.sign(receipt.digest(self.key.kid, log_id, size, root)):
                self._find(f"checkpoint {size}: its signature is damaged")
            if note != checkpoint.note(log_id, size, root, lines):
                self._find(f"checkpoint {size}: its note is damaged")

    def _memories(self):
        """What either file remembers, where it is whole."""
        memory = signed.Memory(self.data_dir, self.log_id)
        found = []
        for path in (memory.outside, memory.inside):
            try:
                last = memory.look(path)
            except (signed.Damaged, files.FileTrouble):
                continue
            if last is not None:
                found.append(last)
        return found

    def _check_memory(self, roots):
        memory = signed.Memory(self.data_dir, self.log_id)
        for path in (memory.outside, memory.inside):
            try:
                last = memory.look(path)
            except signed.Damaged:
                self._find(f"{path} is damaged")
                continue
            except files.FileTrouble as error:
                self._find(str(error))
                continue
            if last is None:
                self._find(f"{path}, which remembers the last signature, is missing")
            elif last.size not in roots:
                self._find(f"{path}: {last.size} leaves were signed, and the database has {self.leaves}")
            elif last.size and roots[last.size] != last.root:
                self._find(f"{path}: another root was signed for {last.size} leaves")
            elif self.made and last.size < self.made[-1][1]:
                self._find(f"{path} remembers {last.size} leaves, and a checkpoint of {self.made[-1][1]} was signed")
