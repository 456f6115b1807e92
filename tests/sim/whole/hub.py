"""The hub at its broker: the real intake over a real database, and what befalls it.

Its database fails in the middle of a transaction (SQLite is interrupted at some step of its machine); the hub is killed
before or after a commit; its folder is put back from a backup; its clock steps.
"""

import contextlib
import sqlite3
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from tests.sim.whole.checker import Broken
from tests.sim.whole.modules import host

GROUP = 64
RETRY_MS, RETRY_MS_MAX = 500, 30_000


class SimulatedHub:
    """`folder` is where its database lies."""

    def __init__(self, world, folder: Path, draw):
        self.world, self.loop, self.draw, self.folder = world, world.loop, draw, folder
        self._names = host()
        private = ec.derive_private_key(draw.randrange(1, 1 << 255), ec.SECP256R1())
        self.key = self._names.HubKey(private)
        self.up = True
        self.offset_ms = 0  # of its clock
        self._awake = False
        self._retry_ms = RETRY_MS
        self.fail_in: int | None = None  # steps of SQLite's machine until it fails
        self.die = None  # None, "before" or "after" the next commit
        self.has_backup = False
        self.restored = 0
        self.open()

    def open(self) -> None:
        self.store = self._names.Store(self.folder)
        self.store.db.execute("PRAGMA synchronous = OFF")  # nothing here loses what a process has written
        self.intake = self._names.Intake(self.store, self.key, self._names.open_recorder(self.store.db))

    def restart(self) -> None:
        self.store.close()
        self.open()

    def unix_ms(self) -> int:
        return self.loop.now_us // 1000 + self.offset_ms

    def backup(self) -> None:
        """Keep the database as it is now."""
        with contextlib.closing(sqlite3.connect(self.folder / "backup.sqlite")) as copy:
            self.store.db.backup(copy)
        self.has_backup = True

    def restore(self) -> bool:
        """Put the backup back."""
        if not self.has_backup:
            return False
        self.store.close()
        path = self.folder / "hub.sqlite"
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        path.write_bytes((self.folder / "backup.sqlite").read_bytes())
        self.restored += 1
        self.open()
        return True

    def wake(self) -> None:
        if not self._awake and self.up:
            self._awake = True
            self.loop.call(self.loop.now_us + 1000 * self.draw.randint(5, 60), self._work)

    def come_back(self) -> None:
        self.up = True
        self.wake()

    def _work(self):
        self._awake = False
        queue = self.world.broker.hub_queue
        if not self.up or not queue:
            return
        group = queue[:GROUP]
        die, self.die = self.die, None
        if die == "before":
            self.world.note("hub killed before its commit")
            self.fail_in = 200
        if self.fail_in is not None:
            self.store.db.set_progress_handler(lambda: 1, self.fail_in)
        try:
            outcomes = self.intake.take([self._names.Message(*each) for each in group], self.unix_ms())
        except sqlite3.Error:
            self.world.note("database failed")
            self._clear()
            if die == "before":
                self.restart()
            self._awake = True
            self.loop.call(self.loop.now_us + 1000 * self._retry_ms, self._work)
            self._retry_ms = min(2 * self._retry_ms, RETRY_MS_MAX)
            return
        self._clear()
        self._retry_ms = RETRY_MS
        if die == "after":
            self.world.note("hub killed after its commit")
            self.restart()  # nothing was answered or acknowledged: the broker gives the group again
        else:
            del queue[: len(group)]
            self._are_committed(outcomes)
            for outcome in outcomes:
                for topic, data in ((outcome.receipt_topic, outcome.receipt), (outcome.answer_topic, outcome.answer)):
                    if data is not None:
                        self.world.broker.message(False, topic, data)
        if queue:
            self.wake()

    def _are_committed(self, outcomes):
        """SPEC 10.3: a receipt is given for what is committed, as another connection to the database sees it."""
        with contextlib.closing(sqlite3.connect(f"file:{self.folder / 'hub.sqlite'}?mode=ro", uri=True)) as db:
            for outcome in outcomes:
                if outcome.receipt is not None:
                    _, seq, batch_hash = outcome.place
                    there = "SELECT 1 FROM epoch JOIN batch ON batch.ep = epoch.ep AND seq = ? AND hash = ?"
                    if not db.execute(there, (seq, batch_hash)).fetchone():
                        raise Broken(f"the hub gave a receipt for batch {seq}, which is not committed")

    def _clear(self):
        if self.fail_in is not None:
            self.store.db.set_progress_handler(None, 0)
            self.fail_in = None
