"""What is kept of a chain beside its batches: its beats, and the gaps that its signed batches tell.

The bytes of a batch are checked against the hash under which it was stored, everywhere they are read: `whole`.
"""

import hashlib

from parkgate import events
from parkgate.errors import FormatError
from parkgate.wire.batch import Batch
from parkgate.wire.beat import Beat
from parkgate.wire.cbor import UINT_LIMIT

DAY_MS = 86_400_000


def whole(data: bytes, batch_hash: bytes) -> bool:
    """Whether these are the bytes that were stored under this hash."""
    return hashlib.sha256(data).digest() == batch_hash


def rank(beat: Beat) -> tuple[int, int, int]:
    """Of two beats of one chain the one with the higher rank is the newer."""
    return beat.boot, beat.sign1.seq, beat.sampled


def keep_beat(db, ep: int, beat: Beat, data: bytes, now_unix_ms: int) -> None:
    """Keep a verified beat: the newest of each chain and day of arrival stays."""
    db.execute(
        "INSERT INTO beats VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (ep, day) DO UPDATE SET boot = excluded.boot,"
        " seq = excluded.seq, sampled = excluded.sampled, received_unix_ms = excluded.received_unix_ms,"
        " bytes = excluded.bytes"
        " WHERE (excluded.boot, excluded.seq, excluded.sampled) >= (beats.boot, beats.seq, beats.sampled)",
        (ep, now_unix_ms // DAY_MS, beat.boot, beat.sign1.seq, beat.sampled, now_unix_ms, data),
    )


def take_standing(db) -> None:
    """Keep the beats that an older hub had: one a gateway."""
    rows = db.execute("SELECT gw, beat, beat_unix_ms FROM standing WHERE beat IS NOT NULL").fetchall()
    for gw, data, received in rows:
        try:
            beat = Beat(data)
        except FormatError:
            continue  # damaged: nobody can verify it
        row = db.execute("SELECT ep FROM epoch WHERE gw = ? AND epoch = ?", (gw, beat.sign1.epoch)).fetchone()
        if row:
            keep_beat(db, row[0], beat, data, received or 0)


def gap_told(event: list) -> tuple[tuple[int, int] | None, int] | None:
    """((first, last) lost batches or None, readings) of a gap event; None when its fields are of another form."""
    if event[0] != events.GAP:
        return None
    first, last, readings = (event + [None] * 4)[1:4]
    sealed = None
    if type(first) is int and type(last) is int and 0 <= first <= last < UINT_LIMIT:
        sealed = first, last
    counted = type(readings) is int and 0 <= readings < UINT_LIMIT
    if not counted or not (sealed or (first is None and last is None)):
        return None
    return sealed, readings


def signed_gaps(db, where: str = "1 = 1") -> list[tuple[int, int, int]]:
    """(ep, first seq, last seq) that gap events explain, read from the signed batches themselves: a row that somebody
    wrote into `missing` or `event` explains nothing."""
    found = []
    rows = db.execute(
        "SELECT DISTINCT event.ep, batch.bytes, batch.hash FROM event"
        f" JOIN batch ON batch.ep = event.ep AND batch.seq = event.seq WHERE event.kind = {events.GAP} AND {where}"
    )
    for ep, data, batch_hash in rows:
        if not whole(data, batch_hash):
            continue
        try:
            told = [gap_told(event) for event in Batch(data).events]
        except FormatError:
            continue
        found += [(ep, *gap[0]) for gap in told if gap and gap[0]]
    return found
