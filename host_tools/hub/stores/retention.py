"""Readings that an operator has removed, and legal holds that forbid it.

What is removed are the signed bytes of whole batches and what is made of them (index, events, sums). What stays is what
proves that they were there: place in the chain, hash, counters, the leaf in the log. Each removal is a statement in the
log with the reason and the seqs, in the same transaction. A gateway that sends such a batch again gets its receipt, as
for any duplicate.

A batch stays, however old,
- when one of its readings is dated at or after the limit, or cannot be read yet;
- when it is the last one before the limit of any of its series: the first month that stays begins with its registers;
- when it is the newest of its chain;
- when others rest on its events: a signed gap, a key, a counter's change, an entry of the floor;
- when a legal hold of its place covers any of its readings. Undated readings are covered by every hold of every place
  where the gateway ever stood.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from host_tools.hub.park import book
from host_tools.hub.stores import places
from host_tools.hub.stores.schema import DECODED, REMOVED
from host_tools.log.database.seam import Database
from host_tools.log.record import Recorder, now_unix_ms, open_recorder, recording
from parkgate import events
from parkgate.errors import SettingsError
from parkgate.log import statement

RESTED_ON = (events.GAP, events.KEY_ROTATED, events.HUB_KEY_TAKEN, events.COUNTER, events.PRODUCTION)
BATCHES_AT_ONCE = 500  # removed in one transaction; a hub that runs waits for it
RUNS_STATED = 250  # in one statement
WHY_CHARACTERS_MAX = 500
LATER, EDGE, HEAD, NEEDED, HELD, OTHER_PLACE = (
    "has readings at or after the limit, or some that are not decoded",
    "is the last one before the limit",
    "is the newest of its chain",
    "contains an event that other data rest on",
    "is under a legal hold",
    "is of another place",
)


class Hold(NamedTuple):
    """Readings of this place dated from_ms or later, and before to_ms (None: no end), are not removed."""

    number: int
    pl: int
    place: str
    from_ms: int
    to_ms: int | None
    why: str
    by: str | None
    set_unix_ms: int


class Found(NamedTuple):
    """A batch that begins before the limit. `pl` is the place of its last reading, None where its gateway stood
    nowhere. `stays` says why it is not removed, None when it is. Without dated readings first_ms is None, and
    last_ms the time of arrival."""

    gw: int
    pl: int | None
    ep: int
    seq: int
    first_ms: int | None
    last_ms: int
    readings: int
    size: int
    blocks: list[tuple[int, int, int]]  # (series, first_ms, last_ms)
    stays: str | None


# Holds.


def holds(db: Database) -> list[Hold]:
    """Those in force."""
    rows = db.execute(
        "SELECT number, pl, place.name, from_ms, to_ms, why, by, set_unix_ms FROM legal_hold JOIN place USING (pl)"
        " WHERE released_unix_ms IS NULL ORDER BY number"
    )
    return [Hold(*row) for row in rows]


def hold(db: Database, place: places.Place, from_ms: int, to_ms: int | None, why: str, by: str | None) -> int:
    """Forbid the removal of this place's readings in that time. Returns the hold's number. Raises SettingsError."""
    _check_why(why)
    if to_ms is not None and to_ms <= from_ms:
        raise SettingsError("a hold ends after it begins")
    with recording(db) as recorder:
        now = now_unix_ms()
        (number,) = db.execute(
            "INSERT INTO legal_hold (pl, from_ms, to_ms, why, by, set_unix_ms) VALUES (?, ?, ?, ?, ?, ?)"
            " RETURNING number", (place.pl, from_ms, to_ms, why, by, now),
        ).fetchone()  # fmt: skip
        facts = {"place": place.id, "hold": number, "from_ms": from_ms, "to_ms": to_ms, "why": why}
        recorder.statement(statement.LEGAL_HOLD, facts, by, now)
    return number


def release(db: Database, number: int, why: str, by: str | None) -> Hold:
    """End a hold. Raises SettingsError."""
    _check_why(why)
    with recording(db) as recorder:
        found = next((one for one in holds(db) if one.number == number), None)
        if found is None:
            raise SettingsError(f"no hold has the number {number}; `parkgate hub hold --data DIR` lists them")
        now = now_unix_ms()
        db.execute("UPDATE legal_hold SET released_unix_ms = ? WHERE number = ?", (now, number))
        (place_id,) = db.execute("SELECT id FROM place WHERE pl = ?", (found.pl,)).fetchone()
        recorder.statement(statement.HOLD_RELEASED, {"place": place_id, "hold": number, "why": why}, by, now)
    return found


def _check_why(why: str) -> None:
    if not why or not why.strip() or len(why) > WHY_CHARACTERS_MAX:
        raise SettingsError(f"say why, in at most {WHY_CHARACTERS_MAX} characters: the log keeps it")


# What a removal would take.


def plan(db: Database, before_ms: int, pls: set[int] | None = None) -> Iterator[Found]:
    """Every batch that has a reading dated before the limit, gateway by gateway; `pls` are the places, None for all."""
    forbidden = holds(db)
    for (gw,) in db.execute("SELECT gw FROM gateway ORDER BY gw").fetchall():
        yield from _of_gateway(db, gw, before_ms, pls, forbidden)


def _of_gateway(db, gw, before_ms, pls, forbidden) -> Iterator[Found]:
    blocks: dict[tuple[int, int], list] = {}
    edges = set()
    for (series,) in db.execute("SELECT series FROM series WHERE gw = ?", (gw,)).fetchall():
        last = None
        for last_ms, ep, seq, first_ms, readings in db.iterate(
            "SELECT last_ms, ep, seq, first_ms, readings FROM block WHERE series = ? AND last_ms < ? ORDER BY last_ms",
            (series, before_ms),
        ):
            blocks.setdefault((ep, seq), []).append((series, first_ms, last_ms, readings))
            last = (ep, seq) if last_ms >= 0 else last
        edges.add(last)
    if not blocks:
        return
    stays = _stays(db, gw)
    for ep in sorted({ep for ep, _ in blocks}):
        needed = _needed(db, ep)
        (head,) = db.execute("SELECT max(last_seq) FROM held WHERE ep = ?", (ep,)).fetchone()
        for seq, received_ms, readings, size, state in db.iterate(
            "SELECT seq, received_unix_ms, readings, length(bytes), state FROM batch WHERE ep = ? ORDER BY seq", (ep,)
        ):
            own = blocks.get((ep, seq))
            if own is None:
                continue
            first_ms = min((block[1] for block in own if block[2] >= 0), default=None)
            last_ms = max(block[2] for block in own) if first_ms is not None else received_ms
            pl = next((pl for pl, begin, end in stays if begin <= last_ms < end), None)
            found = Found(gw, pl, ep, seq, first_ms, last_ms, readings, size, [block[:3] for block in own], None)
            why = None
            if state != DECODED or last_ms >= before_ms or sum(block[3] for block in own) != readings:
                why = LATER
            elif pls is not None and not _only_at(found, stays, pls):
                why = OTHER_PLACE
            elif any(_forbids(one, found, stays) for one in forbidden):
                why = HELD
            elif (ep, seq) in edges:
                why = EDGE
            elif seq == head:
                why = HEAD
            elif seq in needed:
                why = NEEDED
            yield found._replace(stays=why)


def _stays(db, gw) -> list[tuple[int, int, float]]:
    """(place, from, to) of a gateway."""
    rows = db.execute("SELECT pl, from_ms, to_ms FROM place_stay WHERE gw = ?", (gw,)).fetchall()
    return [(pl, begin, float("inf") if end is None else end) for pl, begin, end in rows]


def _needed(db, ep) -> set[int]:
    marks = ",".join("?" * len(RESTED_ON))
    rows = db.execute(f"SELECT DISTINCT seq FROM event WHERE ep = ? AND kind IN ({marks})", (ep, *RESTED_ON))
    return {seq for (seq,) in rows}


def _only_at(found: Found, stays, pls: set[int]) -> bool:
    """Whether all of its readings are of these places."""
    if found.first_ms is None:
        return {pl for pl, _, _ in stays} <= pls and bool(stays)
    met = {pl for pl, begin, end in stays if begin <= found.last_ms and found.first_ms < end}
    return found.pl in pls and met <= pls


def _forbids(one: Hold, found: Found, stays) -> bool:
    own = [(begin, end) for pl, begin, end in stays if pl == one.pl]
    if found.first_ms is None:
        return bool(own)
    end_ms = float("inf") if one.to_ms is None else one.to_ms
    return any(
        max(begin, one.from_ms, found.first_ms) <= found.last_ms and max(begin, one.from_ms) < min(end, end_ms)
        and found.first_ms < min(end, end_ms)
        for begin, end in own
    )  # fmt: skip


# Removing.


def remove(
    db: Database, before_ms: int, pls: set[int] | None, why: str, by: str | None
) -> Iterator[tuple[Found, bool]]:
    """Do what `plan` says. Gives each batch that begins before the limit, and whether it was removed, after the
    commit: what ends this half way leaves what was given removed and recorded. Raises SettingsError, DatabaseError,
    LogError."""
    _check_why(why)
    recorder = open_recorder(db)
    part: list[Found] = []
    for (gw,) in db.execute("SELECT gw FROM gateway ORDER BY gw").fetchall():
        for found in list(_of_gateway(db, gw, before_ms, pls, holds(db))):
            if found.stays is not None:
                yield found, False
                continue
            part.append(found)
            if len(part) == BATCHES_AT_ONCE:
                yield from _remove(db, recorder, part, before_ms, why, by)
                part = []
        if part:
            yield from _remove(db, recorder, part, before_ms, why, by)
            part = []


def _remove(db, recorder: Recorder, part: list[Found], before_ms, why, by) -> list[tuple[Found, bool]]:
    """These batches of one gateway, in one transaction with its statement. A hold that was set meanwhile counts."""
    with recording(db, recorder):
        stays, forbidden = _stays(db, part[0].gw), holds(db)
        gone = [one for one in part if not any(_forbids(each, one, stays) for each in forbidden)]
        places_of = [(one.ep, one.seq) for one in gone]
        db.executemany(
            f"UPDATE batch SET bytes = ?, state = {REMOVED} WHERE ep = ? AND seq = ?", [(b"", *at) for at in places_of]
        )
        db.executemany(
            "DELETE FROM block WHERE series = ? AND last_ms = ? AND ep = ? AND seq = ?",
            [(series, last_ms, one.ep, one.seq) for one in gone for series, _, last_ms in one.blocks],
        )
        for table in ("event", "periods"):
            db.executemany(f"DELETE FROM {table} WHERE ep = ? AND seq = ?", places_of)
        _forget_sums(db, gone)
        _state(db, recorder, gone, before_ms, why, by)
    done = {id(one) for one in gone}
    return [(one if id(one) in done else one._replace(stays=HELD), id(one) in done) for one in part]


def _forget_sums(db, gone: list[Found]) -> None:
    spans: dict[int, tuple[int, int]] = {}
    for one in gone:
        for series, first_ms, last_ms in one.blocks:
            if first_ms >= 0 and last_ms < book.TIME_LIMIT:
                known = spans.get(series, (first_ms, last_ms))
                spans[series] = min(known[0], first_ms), max(known[1], last_ms)
    for series, span in spans.items():
        book.forget(db, series, *span)


def _state(db, recorder: Recorder, gone: list[Found], before_ms, why, by) -> None:
    """The statements of what is removed, with a bounded number of runs of seqs in each."""
    runs: list[list] = []  # [ep, first, last, batches, readings]
    for one in sorted(gone, key=lambda one: (one.ep, one.seq)):
        if runs and runs[-1][0] == one.ep and runs[-1][2] == one.seq - 1:
            runs[-1][2], runs[-1][3], runs[-1][4] = one.seq, runs[-1][3] + 1, runs[-1][4] + one.readings
        else:
            runs.append([one.ep, one.seq, one.seq, 1, one.readings])
    for at in range(0, len(runs), RUNS_STATED):
        stated = runs[at : at + RUNS_STATED]
        chains: dict[bytes, list] = {}
        for ep, first, last, _, _ in stated:
            (epoch,) = db.execute("SELECT epoch FROM epoch WHERE ep = ?", (ep,)).fetchone()
            chains.setdefault(epoch, []).append([first, last])
        (kid,) = db.execute("SELECT kid FROM gateway WHERE gw = ?", (gone[0].gw,)).fetchone()
        facts = {
            "gateway": kid, "before_ms": before_ms, "why": why,
            "chains": [[epoch, own] for epoch, own in chains.items()],
            "batches": sum(run[3] for run in stated), "readings": sum(run[4] for run in stated),
        }  # fmt: skip
        recorder.statement(statement.READINGS_REMOVED, facts, by, now_unix_ms())


def removed_runs(db: Database, ep: int) -> list[tuple[int, int]]:
    """(first, last) seq of the batches of a chain that were removed."""
    runs: list[list[int]] = []
    for (seq,) in db.iterate(f"SELECT seq FROM batch WHERE ep = ? AND state = {REMOVED} ORDER BY seq", (ep,)):
        if runs and runs[-1][1] == seq - 1:
            runs[-1][1] = seq
        else:
            runs.append([seq, seq])
    return [(first, last) for first, last in runs]


def totals(found: Iterable[Found]) -> tuple[int, int, int]:
    """(batches, readings, bytes)."""
    batches = readings = size = 0
    for one in found:
        batches, readings, size = batches + 1, readings + one.readings, size + one.size
    return batches, readings, size
