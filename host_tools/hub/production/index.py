"""An index of the floor's entries in the hub's database, so that a recall reads what it needs and no more.

What a job took and gave follows from the entries that name it and from their corrections, and from nothing else. So
each entry that comes, early, late or in any order, changes the rows of one job; they are made anew from the signed
events. `make` makes the whole index from the events alone, and gives the same rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from host_tools.hub.production.entries import Chain, Entry, parse_entry
from host_tools.hub.production.genealogy import Genealogy, Link, knotted, walk
from host_tools.hub.production.jobs import tell
from host_tools.log.database.seam import Database
from parkgate import events
from parkgate.sensing import jobs as kinds
from parkgate.wire import cbor

_AT_ONCE = 500  # names in one question


def take(db: Database, ep: int, seq: int, found: Sequence[Sequence]) -> None:
    """Take the entries among the events of one batch of a chain, within the caller's transaction."""
    touched: set[int] = set()
    for place, event in enumerate(found):
        entry = parse_entry(seq, event) if event[0] == events.PRODUCTION else None
        if entry is not None:
            _note(db, ep, place, entry)
            touched.add(_about(entry))
    corrected = [number for number in touched if number]
    for number in corrected:  # of a correction this is an entry; its job is the one that this entry names
        rows = db.execute(
            "SELECT about FROM lot_entry WHERE ep = ? AND number = ? AND what <> ?", (ep, number, kinds.CORRECTION)
        ).fetchall()
        touched.update(about for (about,) in rows)
    for number in sorted(touched - {0}):
        _derive(db, ep, number)


def make(db: Database) -> None:
    """Make the index from the events that are held."""
    for table in ("lot_entry", "lot_job", "lot_link", "lot_station"):
        db.execute(f"DELETE FROM {table}")
    for ep, seq, place, data in db.execute(
        "SELECT ep, seq, place, event FROM event WHERE kind = ? ORDER BY ep, seq, place", (events.PRODUCTION,)
    ).fetchall():
        entry = parse_entry(seq, cbor.decode(data))  # type: ignore[arg-type]
        if entry is not None:
            _note(db, ep, place, entry)
    for ep, number in db.execute(
        "SELECT DISTINCT ep, about FROM lot_entry WHERE about > 0 AND what <> ?", (kinds.CORRECTION,)
    ).fetchall():
        _derive(db, ep, number)


def _about(entry: Entry) -> int:
    """The number of the job that an entry is of; of a correction, of the entry that it corrects; 0 where of none."""
    return entry.number if entry.what == kinds.START else int(entry.job)


def _note(db, ep: int, place: int, entry: Entry) -> None:
    db.execute(
        "INSERT INTO lot_entry VALUES (?, ?, ?, ?, ?, ?)",
        (ep, entry.seq, place, entry.number, entry.what, _about(entry)),
    )
    if entry.what == kinds.STATION and isinstance(entry.detail, list):
        db.execute(
            "INSERT INTO lot_station VALUES (?, ?, ?, ?) ON CONFLICT (ep, station) DO UPDATE SET"
            " number = excluded.number, name = excluded.name WHERE excluded.number > lot_station.number",
            (ep, entry.station, entry.number, entry.detail[0]),
        )


def _derive(db, ep: int, number: int) -> None:
    """Make the rows of one job anew."""
    db.execute("DELETE FROM lot_job WHERE ep = ? AND job = ?", (ep, number))
    db.execute("DELETE FROM lot_link WHERE ep = ? AND job = ?", (ep, number))
    own = _entries(db, ep, "about = ? AND what <> ?", (number, kinds.CORRECTION))
    numbers = sorted({entry.number for _, entry in own} | {number})
    for at in range(0, len(numbers), _AT_ONCE):
        part = numbers[at : at + _AT_ONCE]
        marks = ", ".join("?" * len(part))
        own += _entries(db, ep, f"what = ? AND about IN ({marks})", (kinds.CORRECTION, *part))
    own.sort(key=lambda row: row[0])
    chain = Chain(0, "", "", "", [entry for _, entry in own], 0)
    for job in tell(chain, is_whole=False).jobs:
        if job.number != number or job.lot is None:
            continue
        db.execute("INSERT INTO lot_job VALUES (?, ?, ?, ?, ?)", (ep, number, job.lot, job.station, job.start_ms))
        links = {(time_ms, lot, job.lot) for time_ms, lot in job.taken}
        links |= {(time_ms, job.lot, lot) for time_ms, lot in job.given}
        rows = [(ep, number, *link) for link in sorted(links)]
        db.executemany("INSERT INTO lot_link (ep, job, time_ms, source, target) VALUES (?, ?, ?, ?, ?)", rows)


def _entries(db, ep: int, where: str, values: Iterable) -> list[tuple[tuple[int, int], Entry]]:
    """((seq, place), entry) of those entries of a chain."""
    rows = db.execute(
        "SELECT seq, place, event FROM event JOIN lot_entry USING (ep, seq, place) WHERE ep = ? AND " + where,
        (ep, *values),
    ).fetchall()
    found = [((seq, place), parse_entry(seq, cbor.decode(data))) for seq, place, data in rows]  # type: ignore[arg-type]
    return [(at, entry) for at, entry in found if entry is not None]


def jobs_of(db: Database, lots: Sequence[str]) -> list[tuple[int, int]]:
    """(chain, number) of the jobs of these lots, and of those out of which one of them came, lot by lot as given."""
    found: dict[tuple[int, int], None] = {}
    for lot in lots:
        rows = db.execute("SELECT ep, job FROM lot_job WHERE lot = ? ORDER BY start_ms, ep, job", (lot,)).fetchall()
        found.update(dict.fromkeys((ep, job) for ep, job in rows))
    return list(found)


def window(db: Database, ep: int, number: int) -> tuple[int, int]:
    """The first and the last batch that are needed to tell what a job took: from the statement of its station and the
    start of each job that was open when it began, to its last entry."""
    start_seq, station = db.execute(
        "SELECT seq, station FROM lot_entry JOIN lot_job USING (ep) WHERE ep = ? AND number = ? AND job = number",
        (ep, number),
    ).fetchone()
    last = db.execute("SELECT max(seq) FROM lot_entry WHERE ep = ? AND about = ? AND what <> ?",
                      (ep, number, kinds.CORRECTION)).fetchone()[0]  # fmt: skip
    first = start_seq
    for seq, data in db.iterate(
        "SELECT seq, event FROM event JOIN lot_entry USING (ep, seq, place) WHERE ep = ? AND what = ? AND number < ?"
        " ORDER BY number DESC", (ep, kinds.STATION, number),
    ):  # fmt: skip
        entry = parse_entry(seq, cbor.decode(data))  # type: ignore[arg-type]
        if entry is not None and entry.station == station:
            first = min(first, seq)
            break
    for job, seq in _open_at(db, ep, number):
        if _unbroken(db, ep, job, number):
            first = min(first, seq)
    return first, max(last, start_seq)


def _open_at(db, ep: int, number: int) -> list[tuple[int, int]]:
    """(number, batch) of the jobs that were open when the job with this number began."""
    return db.execute(
        "SELECT job, seq FROM lot_job JOIN lot_entry ON lot_entry.ep = lot_job.ep AND lot_entry.number = job"
        " WHERE lot_job.ep = ? AND job < ? AND NOT EXISTS (SELECT 1 FROM lot_entry AS stop WHERE stop.ep = lot_job.ep"
        " AND stop.about = job AND stop.what = ? AND stop.number < ?)", (ep, number, kinds.STOP, number),
    ).fetchall()  # fmt: skip


def _unbroken(db, ep: int, first: int, last: int) -> bool:
    """Whether no entry is missing between two numbers."""
    count = db.execute(
        "SELECT count(DISTINCT number) FROM lot_entry WHERE ep = ? AND number > ? AND number < ?", (ep, first, last)
    ).fetchone()[0]
    return count == last - first - 1


def corrections_behind(db: Database, ep: int, numbers: Sequence[int], last: int) -> list[Entry]:
    """The corrections of these entries that stand in batches behind `last`, in their order."""
    found = []
    for at in range(0, len(numbers), _AT_ONCE):
        part = numbers[at : at + _AT_ONCE]
        marks = ", ".join("?" * len(part))
        found += _entries(db, ep, f"what = ? AND seq > ? AND about IN ({marks})", (kinds.CORRECTION, last, *part))
    return [entry for _, entry in sorted(found, key=lambda row: row[0])]


class Recall:
    """What a lot went into and what it was made of, with where each was made."""

    def __init__(self, db: Database, lot: str):
        self.is_known = bool(
            db.execute("SELECT 1 FROM lot_job WHERE lot = ?", (lot,)).fetchone()
            or db.execute("SELECT 1 FROM lot_link WHERE source = ? OR target = ?", (lot, lot)).fetchone()
        )
        self.forward = _walk(db, lot, "source", "target")
        self.back = _walk(db, lot, "target", "source")
        self.where = _where(db, {lot, *self.forward, *self.back})


def _walk(db, lot: str, near: str, far: str) -> dict[str, int]:
    """Lot → in how few steps it is reached over links from `near` to `far`, the nearest first. A circle that the walk
    meets is in the links whole, so that the one which is refused is the same as in the whole park."""
    reached = _reached(near, far)
    pairs = db.execute(reached % f"{near}, {far}", (lot,)).fetchall()
    if not knotted(pairs):  # the usual case: the order in which the links came does not matter
        following: dict[str, list[str]] = {}
        for one, other in pairs:
            following.setdefault(one, []).append(other)
        return walk(following, lot)
    kids = {ep: bytes(kid).hex() for ep, kid in db.execute("SELECT ep, kid FROM epoch JOIN gateway USING (gw)")}
    rows = db.execute(reached % "time_ms, ep, job, source, target", (lot,))
    found = Genealogy(Link(time_ms, kids[ep], job, *ends) for time_ms, ep, job, *ends in rows)
    return found.forward(lot) if near == "source" else found.back(lot)


def _reached(near: str, far: str) -> str:
    return (
        f"WITH RECURSIVE reached (lot) AS (SELECT CAST(? AS TEXT) UNION SELECT {far} FROM lot_link JOIN reached ON"
        f" {near} = reached.lot) SELECT %s FROM lot_link JOIN reached ON {near} = reached.lot"
    )


def behind(db: Database, lot: str) -> list[str]:
    """The lot and, nearest first, every lot that any link says went into it, links that close a circle included."""
    following: dict[str, list[str]] = {}
    for target, source in db.execute(_reached("target", "source") % "target, source", (lot,)).fetchall():
        following.setdefault(target, []).append(source)
    return [lot, *walk(following, lot)]


def _where(db, lots: set[str]) -> dict[str, list[str]]:
    """Lot → gateway/station of its jobs."""
    gateways = dict(db.execute("SELECT ep, name FROM epoch JOIN gateway USING (gw)").fetchall())
    stations = {(ep, at): name for ep, at, name in db.execute("SELECT ep, station, name FROM lot_station")}
    asked, names = "SELECT lot, ep, station FROM lot_job", tuple(lots)
    if len(names) > _AT_ONCE:
        rows = db.execute(asked)
    else:
        rows = db.execute(f"{asked} WHERE lot IN ({', '.join('?' * len(names))})", names)
    at: dict[tuple[int, int], str] = {}
    found: dict[str, set[str]] = {}
    for lot, ep, station in rows:
        if lot in lots:
            if (ep, station) not in at:
                at[ep, station] = f"{gateways[ep]}/{stations.get((ep, station)) or f'station {station}'}"
            found.setdefault(lot, set()).add(at[ep, station])
    return {lot: sorted(places) for lot, places in found.items()}
