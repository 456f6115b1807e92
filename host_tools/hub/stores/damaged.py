"""Stored batches that cannot be shown: counted, named, and shown as an alarm of their gateway."""

import contextlib
import time

from host_tools.hub.stores.database import StoreError, connect
from host_tools.hub.stores.kept import whole
from host_tools.log.database.seam import DatabaseError

NOT_THE_STORED_BYTES = "its bytes are not those that were stored"


class Damaged:
    """Batches that cannot be shown: the bytes in the database are not those that were stored, or they do not decode.
    They are counted, and the first of them are named."""

    NAMED = 20

    def __init__(self):
        self.count = 0
        self.named: list[tuple[int, str, bytes, int, str]] = []  # gw, name, epoch, seq, what is wrong

    def check(self, place: tuple[int, str, bytes, int], data: bytes, batch_hash: bytes) -> bool:
        """Whether the bytes are whole; `place` is (gw, name of the gateway, epoch, seq)."""
        if whole(data, batch_hash):
            return True
        self.leave_out(place, NOT_THE_STORED_BYTES)
        return False

    def leave_out(self, place: tuple[int, str, bytes, int], why: str) -> None:
        """Note a batch that is not shown."""
        self.count += 1
        if len(self.named) < self.NAMED:
            self.named.append((*place, why))

    def lines(self) -> list[str]:
        """A sentence for each that is named, and one for the rest."""
        found = [f"{name}: {in_words(epoch, seq, why)}; it is left out" for _, name, epoch, seq, why in self.named]
        rest = self.count - len(self.named)
        return [*found, f"and {rest} more"] if rest else found

    def alarm(self, data_dir) -> None:
        """Have the hub show it. A database that cannot be written (a backup) is left as it is."""
        if not self.named:
            return
        try:
            with contextlib.closing(connect(data_dir)) as db, db.transaction():
                for gw, _, epoch, seq, why in self.named:
                    now_unix_ms = time.time_ns() // 1_000_000
                    db.execute(
                        "INSERT INTO alarm VALUES (?, 'damaged', ?, 1, ?, ?) ON CONFLICT (gw, kind) DO UPDATE SET"
                        " count = alarm.count + 1, what = excluded.what, last_unix_ms = excluded.last_unix_ms"
                        " WHERE alarm.what <> excluded.what",
                        (gw, in_words(epoch, seq, why), now_unix_ms, now_unix_ms),
                    )
        except (StoreError, DatabaseError):
            pass


def in_words(epoch: bytes, seq: int, why: str = NOT_THE_STORED_BYTES) -> str:
    """A damaged batch in words."""
    return f"batch {seq} of epoch {epoch.hex()[:8]} is damaged: {why}"
