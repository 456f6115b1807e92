"""What a figure of energy rests on: the register at both ends of the time, who signed it, and where the log has it.

The register at an edge is that of the last good reading before it, if that reading still holds there. Otherwise the
edge lies in a gap, and the register was somewhere between the reading before the gap and the one behind it (`sums`).
"""

from __future__ import annotations

from host_tools.hub.park import sums
from host_tools.hub.park.book import Book, Placed
from host_tools.hub.park.sums import Piece
from host_tools.log.database.seam import Database
from host_tools.log.tables import BATCH

WHAT = {
    sums.ROLLOVER: "rollover", sums.EXCHANGE: "exchange", sums.RESET: "reset", sums.UNDONE: "exchange undone",
}  # fmt: skip


def proof(book: Book, gw: int, series: int, begin_ms: int, end_ms: int) -> dict | None:
    """The register readings at both ends of begin_ms..end_ms (multiples of 15 minutes) and what they add up to. None
    when the gateway has no such series. `agrees` says whether the sum that bars and bills show is the difference of
    these registers, corrected by the jumps that the gateway signed."""
    row = book.db.execute(
        "SELECT instrument, quantity, unit, scale FROM series WHERE gw = ? AND series = ?", (gw, series)
    ).fetchone()
    if row is None:
        return None
    instrument, quantity, unit, scale = row
    (piece, due_ms) = book.ask(series, [(begin_ms, end_ms)])[0]
    begin, end = (book.near(series, edge) for edge in (begin_ms, end_ms))
    start, stop = begin[0] or begin[1], end[0]
    told = jumps(book, gw, instrument, quantity, start, stop)
    found = None if due_ms else piece.energy()
    return {
        "series": series, "instrument": instrument, "quantity": quantity, "unit": unit, "scale": scale,
        "from_ms": begin_ms, "to_ms": end_ms,
        "begin": edge(book.db, begin_ms, *begin), "end": edge(book.db, end_ms, *end),
        "jumps": told,
        "energy": None if found is None else {"least": found[0], "most": found[1]},
        "exact": piece.is_exact() and not due_ms,
        "made_percent": sums.made_percent(due_ms, end_ms - begin_ms),
        "agrees": _agrees(piece, not due_ms, start, stop, told),
    }  # fmt: skip


def edge(db, edge_ms: int, before: Placed | None, behind: Placed | None) -> dict:
    holds = before is not None and 2 * (edge_ms - before.row.time_ms) <= 3 * before.row.row_ms
    return {
        "at_ms": edge_ms, "holds": holds, "before": _reading(db, before),
        "behind": None if holds else _reading(db, behind),
    }  # fmt: skip


def _reading(db: Database, one: Placed | None) -> dict | None:
    """A reading and where it is signed; `leaf` is its batch's number in the log, None before the log has it."""
    if one is None:
        return None
    row = db.execute(
        "SELECT epoch, hash FROM batch JOIN epoch USING (ep) WHERE ep = ? AND seq = ?",
        (one.ep, one.seq),
    ).fetchone()
    return {
        "time_ms": one.row.time_ms, "value": one.row.value, "row": one.n, "epoch": row[0].hex(), "seq": one.seq,
        "hash": row[1].hex(), "leaf": _leaf(db, one.ep, one.seq),
    }  # fmt: skip


def _leaf(db: Database, ep: int, seq: int) -> int | None:
    if not db.has_table("leaf"):
        return None
    row = db.execute("SELECT leaf FROM leaf WHERE kind = ? AND ep = ? AND seq = ?", (BATCH, ep, seq)).fetchone()
    return row[0] if row else None


def jumps(book: Book, gw, instrument, quantity, start: Placed | None, stop: Placed | None) -> list[dict]:
    """The signed jumps of the register between the two readings, with what it grew over each (None: nobody can say)."""
    if start is None or stop is None:
        return []
    told = book.told(gw, instrument, quantity)
    grown = sums.jumps([each[2:5] for each in told])
    found = []
    for ep, seq, what, before, value, time_ms in told:
        if what in WHAT and start.row.time_ms < time_ms <= stop.row.time_ms:
            epoch = book.db.execute("SELECT epoch FROM epoch WHERE ep = ?", (ep,)).fetchone()[0]
            found.append({
                "what": WHAT[what], "time_ms": time_ms, "before": before, "value": value,
                "grown": grown[before, value].grown, "epoch": epoch.hex(), "seq": seq, "leaf": _leaf(book.db, ep, seq),
            })  # fmt: skip
    return found


def _agrees(piece: Piece, whole: bool, start: Placed | None, stop: Placed | None, told: list[dict]) -> bool | None:
    """Whether the registers say what the sum says; None while some of the sum is still being made, or without any."""
    if not whole or piece.grown is None or start is None or stop is None:
        return None
    counted = (stop.row.value or 0) - (start.row.value or 0)
    for each in told:
        counted += (each["grown"] or 0) - (each["value"] - each["before"])
    return counted == piece.grown
