"""The sums of every series as rows: pieces of PIECE_MS that are kept, and those that are due because a batch came.

    Due              in the transaction that stores a batch: what of the sums it may change is forgotten and due
    catch_up(db)     by the hub's writer, a little at a time: makes what is due from the signed bytes
    Book(db).ask(…)  hours, days, months of one series; what is not made yet is made for the answer, or said to be due

A piece is a function of the readings that are held (`sums`), so it does not matter in which order they came. The pieces
of a whole day (UTC) are kept merged as well, under the number -1 - day: a year is 365 rows then and not 35,000.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from host_tools.hub.park import sums
from host_tools.hub.park.sums import Jump, Piece, Row
from host_tools.hub.park.zone import PIECE_MS
from host_tools.hub.reading.decode import decode_stored
from host_tools.hub.receiving.state import Series
from host_tools.hub.stores import kept
from host_tools.log.database.seam import Database
from parkgate import events, quantities
from parkgate.errors import FormatError
from parkgate.reading import RELATIVE_ONLY, has_value
from parkgate.sensing import cadence
from parkgate.wire import cbor
from parkgate.wire.batch import decode_schema

TIME_LIMIT = 1 << 53  # what is dated beyond it is no time
UNDO_MS = 8 * 86_400_000  # an exchange can be undone for so long, and then what it counted changes
CHUNK_PIECES = 96  # made together
DAY_PIECES = 96  # merged into one row
BATCHES_KEPT = 64  # decoded, in memory
MADE_FOR_ANSWER = 7 * 96  # pieces made while somebody waits; more are due


# In the transaction of a batch.


class Due:
    """What the blocks of one transaction change, until `write`. A block that stands behind all others of its series
    costs no question to the database."""

    def __init__(self):
        self._spans: dict[int, tuple[int, int]] = {}
        self._between: list[tuple[int, int, int]] = []  # blocks that stand before others of their series

    def add(self, db: Database, series: Series, first_ms: int, last_ms: int) -> None:
        """A block with rows from first_ms to last_ms is new (its row is not written yet): the pieces that it may change
        are those up to its neighbours' good readings. Comes before the series' own `good_ms` moves on."""
        if first_ms < 0 or last_ms >= TIME_LIMIT:
            return
        until_ms = series.until_ms
        if until_ms is None:
            newest = db.execute("SELECT max(last_ms) FROM block WHERE series = ?", (series.id,)).fetchone()[0]
            until_ms = -1 if newest is None else newest
        if first_ms > until_ms:
            before = first_ms if series.good_ms is None else min(series.good_ms, first_ms)
            self._add(series.id, before, last_ms)
        else:
            self._between.append((series.id, first_ms, last_ms))
        series.until_ms = max(until_ms, last_ms)

    def _add(self, series: int, first_ms: int, last_ms: int) -> None:
        known = self._spans.get(series, (first_ms, last_ms))
        self._spans[series] = min(known[0], first_ms), max(known[1], last_ms)

    def write(self, db: Database) -> None:
        """In the transaction of the blocks, behind them all. Where some of these are neighbours, each says what changes
        up to the next, and together they say the same as one after the other."""
        for block in self._between:
            self._add(block[0], *_changed(db, *block))
        _forget(db, self._spans)
        self._spans, self._between = {}, []


def _changed(db, series, first_ms, last_ms) -> tuple[int, int]:
    before = db.execute(
        "SELECT max(good_ms) FROM (SELECT good_ms FROM block WHERE series = ? AND last_ms < ? AND good_ms >= 0"
        " ORDER BY last_ms DESC LIMIT 4) AS nearest", (series, first_ms),
    ).fetchone()[0]  # fmt: skip
    behind = db.execute(
        "SELECT last_ms FROM block WHERE series = ? AND last_ms > ? AND good_ms >= 0 ORDER BY last_ms LIMIT 1",
        (series, last_ms),
    ).fetchone()
    return first_ms if before is None else min(before, first_ms), behind[0] if behind else last_ms


def forget(db: Database, series: int, first_ms: int, last_ms: int) -> None:
    """The pieces of the series from first_ms to last_ms are due."""
    _forget(db, {series: (first_ms, last_ms)})


def _forget(db: Database, spans: dict[int, tuple[int, int]]) -> None:
    rows = [(series, first // PIECE_MS - 1, last // PIECE_MS + 1) for series, (first, last) in spans.items()]
    db.each(
        "DELETE FROM sums WHERE series = ? AND (piece BETWEEN ? AND ? OR piece BETWEEN ? AND ?)",
        [(*row, _day_row(row[2] // DAY_PIECES), _day_row(row[1] // DAY_PIECES)) for row in rows],
    )
    db.each(
        "INSERT INTO sums_due VALUES (?, ?, ?) ON CONFLICT (series) DO UPDATE SET"
        " first = CASE WHEN excluded.first < sums_due.first THEN excluded.first ELSE sums_due.first END,"
        " last = CASE WHEN excluded.last > sums_due.last THEN excluded.last ELSE sums_due.last END",
        rows,
    )


def forget_counters(db: Database, gw: int, found: Sequence[list]) -> None:
    """Events of counters came: all that is later than the oldest of them may count otherwise."""
    for event in found:
        if event[0] != events.COUNTER:
            continue
        told = _told(event)
        if told is None:
            continue
        instrument, quantity, _, _, _, time_ms = told
        for (series,) in db.execute(
            "SELECT series FROM series WHERE gw = ? AND instrument = ? AND quantity = ?", (gw, instrument, quantity)
        ).fetchall():
            newest = db.execute("SELECT max(last_ms) FROM block WHERE series = ?", (series,)).fetchone()[0]
            forget(db, series, max(0, time_ms - UNDO_MS), max(min(newest or 0, TIME_LIMIT), time_ms))


def _told(event: list) -> tuple | None:
    """(instrument, quantity, what, before, value, time) of a counter's event; None in another form."""
    if len(event) != 7 or type(event[6]) is not list or len(event[6]) != 2:
        return None
    _, instrument, quantity, what, before, value, (time_ms, trust) = event
    numbers = what, before, value, time_ms
    if type(instrument) is not str or type(quantity) is not str or any(type(n) is not int for n in numbers):
        return None
    return instrument, quantity, what, before, value, 0 if trust == RELATIVE_ONLY else min(time_ms, TIME_LIMIT)


# Making.


class Placed(NamedTuple):
    """A row and where it was signed: the `n`-th dated row of its channel in batch `seq` of the chain `ep`."""

    ep: int
    seq: int
    n: int
    row: Row


class Book:
    """Reads and makes the sums of a database. `db` may be read-only for `ask`."""

    def __init__(self, db: Database):
        self.db = db
        self._decoded: OrderedDict[tuple[int, int], tuple | None] = OrderedDict()

    def catch_up(self, pieces_max: int = CHUNK_PIECES) -> int:
        """Make some of what is due and keep it, within the caller's transaction. Returns how many pieces."""
        # The newest of all series first: neighbours rest on the same batches, which are then decoded once.
        row = self.db.execute("SELECT series, first, last FROM sums_due ORDER BY last DESC, series LIMIT 1").fetchone()
        if row is None:
            return self._merge_days_of_before()
        series, first, last = row
        known = self._known(series)
        if known is not None:
            first, last = max(first, known[0] // PIECE_MS - 1), min(last, known[1] // PIECE_MS)
        if known is None or first > last:
            self.db.execute("DELETE FROM sums_due WHERE series = ?", (series,))
            return 1
        first = self._skip(series, first, last)
        begin = max(first, last - pieces_max + 1)  # the newest first: that is what is looked at
        for piece in self.make(series, begin * PIECE_MS, (last + 1) * PIECE_MS):
            self._keep(series, piece.begin_ms // PIECE_MS, piece)
        self._merge_days(series, begin // DAY_PIECES, last // DAY_PIECES)
        if begin == first:
            self.db.execute("DELETE FROM sums_due WHERE series = ?", (series,))
        else:
            self.db.execute("UPDATE sums_due SET first = ?, last = ? WHERE series = ?", (first, begin - 1, series))
        return last - begin + 1

    def _skip(self, series, first, last) -> int:
        """Leave out a stretch without readings at the old end: years may lie between two of them."""
        row = self.db.execute(
            "SELECT first_ms FROM block WHERE series = ? AND last_ms >= ? ORDER BY last_ms LIMIT 1",
            (series, first * PIECE_MS),
        ).fetchone()
        return first if row is None else max(first, min(last, row[0] // PIECE_MS - CHUNK_PIECES))

    def _keep(self, series, number, piece) -> None:
        fields = list(piece)[2:]
        while fields and fields[-1] in (0, None, True, False) and fields[-1] == list(Piece(0, 0))[2:][len(fields) - 1]:
            fields.pop()
        text = json.dumps(fields, separators=(",", ":"))
        question = (
            "INSERT INTO sums VALUES (?, ?, ?) ON CONFLICT (series, piece) DO UPDATE SET fields = excluded.fields"
        )
        self.db.execute(question, (series, number, text))

    def _merge_days(self, series, first_day, last_day) -> None:
        """Keep each of these days as one row, where all of its pieces are there."""
        rows = self.db.execute(
            "SELECT piece, fields FROM sums WHERE series = ? AND piece BETWEEN ? AND ? ORDER BY piece",
            (series, first_day * DAY_PIECES, (last_day + 1) * DAY_PIECES - 1),
        ).fetchall()
        days: dict[int, list[Piece]] = {}
        for number, text in rows:
            days.setdefault(number // DAY_PIECES, []).append(_piece(number, json.loads(text)))
        for day, pieces in days.items():
            if len(pieces) == DAY_PIECES:
                self._keep(series, _day_row(day), sums.merge(pieces))

    def _merge_days_of_before(self) -> int:
        """For a database whose days were not merged: those of one series at a time. Returns 0 when none is left."""
        after = self.db.about(_DAYS_MERGED)
        if after == _ALL:
            return 0
        found = self.db.execute("SELECT min(series) FROM sums WHERE series > ?", (after or 0,)).fetchone()[0]
        if found is not None:
            question = "SELECT min(piece), max(piece) FROM sums WHERE series = ? AND piece >= 0"
            first, last = self.db.execute(question, (found,)).fetchone()
            if first is not None:
                self._merge_days(found, first // DAY_PIECES, last // DAY_PIECES)
        self.db.set_about(_DAYS_MERGED, _ALL if found is None else found)
        return 0 if found is None else DAY_PIECES

    def _known(self, series) -> tuple[int, int] | None:
        """(first, last) time of the series' dated rows."""
        first = self.db.execute(
            "SELECT min(first_ms) FROM (SELECT first_ms FROM block WHERE series = ? AND last_ms >= 0"
            " ORDER BY last_ms LIMIT 64) AS oldest", (series,),
        ).fetchone()[0]  # fmt: skip
        last = self.db.execute("SELECT max(last_ms) FROM block WHERE series = ?", (series,)).fetchone()[0]
        return None if first is None or last is None or last < 0 else (first, min(last, TIME_LIMIT))

    def make(self, series: int, begin_ms: int, end_ms: int, step_ms: int = PIECE_MS) -> list[Piece]:
        """The pieces from begin_ms to end_ms, made from the signed bytes."""
        gw, instrument, quantity, span_ms = self.db.execute(
            "SELECT gw, instrument, quantity, span_ms FROM series WHERE series = ?", (series,)
        ).fetchone()
        about = quantities.find(quantity.partition(" #")[0])
        jumps = self.jumps(gw, instrument, quantity) if about is not None and about.kind == "sum" else None
        edges = list(range(begin_ms, end_ms + 1, step_ms))
        return sums.pieces(self._rows(series, begin_ms, end_ms, span_ms), edges, jumps)

    def near(self, series: int, edge_ms: int) -> tuple[Placed | None, Placed | None]:
        """The series' last good reading at or before this moment, and its first good one after it."""
        span_ms = self.db.execute("SELECT span_ms FROM series WHERE series = ?", (series,)).fetchone()[0]
        good = [one for one in self._placed(series, edge_ms, edge_ms, span_ms) if one.row.good]
        good = [one for one in good if one.row.value is not None]
        before = [one for one in good if one.row.time_ms <= edge_ms]
        behind = [one for one in good if one.row.time_ms > edge_ms]
        return (before[-1] if before else None), (behind[0] if behind else None)

    def rows(self, series: int, begin_ms: int, end_ms: int) -> list[Row]:
        """The series' dated rows in that time, with the nearest ones outside it, in order of time."""
        span_ms = self.db.execute("SELECT span_ms FROM series WHERE series = ?", (series,)).fetchone()[0]
        return self._rows(series, begin_ms, end_ms, span_ms)

    def _rows(self, series, begin_ms, end_ms, span_ms) -> list[Row]:
        return [one.row for one in self._placed(series, begin_ms, end_ms, span_ms)]

    def _placed(self, series, begin_ms, end_ms, span_ms) -> list[Placed]:
        """The series' dated rows in that time, with the nearest rows and good rows outside it."""
        question = "SELECT ep, seq, instrument, channel, first_ms, last_ms, good_ms FROM block WHERE series = ?"
        inside = self.db.execute(
            f"{question} AND last_ms BETWEEN ? AND ? ORDER BY last_ms", (series, max(0, begin_ms), end_ms + span_ms)
        ).fetchall()
        blocks = [block for block in inside if block[4] <= end_ms]
        # Before it, and behind it: whatever overlaps with the nearest good block may hold the nearest row.
        for found in (
            self.db.execute(
                f"{question} AND last_ms BETWEEN 0 AND ? AND good_ms >= 0 ORDER BY last_ms DESC LIMIT 4",
                (series, begin_ms - 1),
            ),
            self.db.execute(
                f"{question} AND last_ms BETWEEN 0 AND ? ORDER BY last_ms DESC LIMIT 2", (series, begin_ms - 1)
            ),
            self.db.execute(f"{question} AND last_ms > ? AND good_ms >= 0 ORDER BY last_ms LIMIT 4", (series, end_ms)),
            self.db.execute(f"{question} AND last_ms > ? ORDER BY last_ms LIMIT 2", (series, end_ms)),
        ):
            blocks += [block for block in found if block[5] < TIME_LIMIT]
        rows = []
        for ep, seq, table, channel, *_ in dict.fromkeys(blocks):
            rows += [Placed(ep, seq, n, row) for n, row in enumerate(self._of_block(ep, seq, table, channel))]
        rows.sort(key=lambda one: (one.row.time_ms, *one[:3]))
        return rows

    def _of_block(self, ep, seq, table, channel) -> list[Row]:
        found = self._batch(ep, seq)
        if found is None:
            return []
        tables, cadences = found
        columns = next((each for each in tables if each.instrument == table), None)
        if columns is None or channel >= len(columns.values):
            return []
        quality, values = columns.quality[channel] or bytes(columns.rows), iter(columns.values[channel])
        rows = []
        for time_ms, trust, code in zip(columns.times, columns.trust, quality):
            value = int(next(values)) if has_value(code) else None
            if trust != RELATIVE_ONLY:
                rows.append(Row(int(time_ms), value, code == 0, cadences[table]))
        return rows

    def _batch(self, ep, seq):
        """(tables, cadence of each instrument) of a batch; None where it is damaged or does not decode."""
        if (ep, seq) in self._decoded:
            self._decoded.move_to_end((ep, seq))
            return self._decoded[ep, seq]
        row = self.db.execute(
            "SELECT batch.bytes, hash, schema.bytes FROM batch JOIN epoch USING (ep) JOIN schema USING (gw, schema_id)"
            " WHERE ep = ? AND seq = ?", (ep, seq),
        ).fetchone()  # fmt: skip
        found = None
        if row and kept.whole(row[0], row[1]):
            try:
                (tables,) = decode_stored([row[0]])
                names = [part[1] for part in decode_schema(row[2])]
                if not isinstance(tables, FormatError):
                    found = tables, [cadence.row_ms(name) or 0 for name in names]
                    for columns in tables:
                        found[1][columns.instrument] = found[1][columns.instrument] or _usual_ms(columns)
            except FormatError:
                found = None
        self._decoded[ep, seq] = found
        while len(self._decoded) > BATCHES_KEPT:
            self._decoded.popitem(last=False)
        return found

    def jumps(self, gw, instrument, quantity) -> dict[tuple[int, int], Jump]:
        return sums.jumps([one[2:5] for one in self.told(gw, instrument, quantity)])

    def told(self, gw: int, instrument: str, quantity: str) -> list[tuple]:
        """What the gateway signed of this counter, in the order of its chains: (ep, seq, what, before, value, time)."""
        found = []
        for ep, seq, data in self.db.execute(
            "SELECT ep, seq, event FROM event JOIN epoch USING (ep) WHERE gw = ? AND kind = ? ORDER BY ep, seq, place",
            (gw, events.COUNTER),
        ):
            one = _told(cbor.decode(data))  # type: ignore[arg-type]
            if one is not None and one[:2] == (instrument, quantity):
                found.append((ep, seq, *one[2:]))
        return found

    # Answers.

    def whole(self, series: int, begin_ms: int, end_ms: int) -> Piece:
        """The sums of one stretch of whole pieces; all that is not kept yet is made, however long that takes."""
        piece, due_ms = self.ask(series, [(begin_ms, end_ms)])[0]
        if not due_ms:
            return piece
        edges = [*range(begin_ms, end_ms, CHUNK_PIECES * PIECE_MS), end_ms]
        return sums.merge([made for low, high in pairwise(edges) for made in self.make(series, low, high)])

    def ask(self, series: int, stretches: Sequence[tuple[int, int]]) -> list[tuple[Piece, int]]:
        """Of each (begin, end), made of whole pieces: the sums, and how much of the time is not added up yet, in ms.
        While that is not 0 the sums say nothing of the stretch, although its readings may all be there. Stretches touch
        and ascend; in one that is empty nothing was used."""
        first, last = stretches[0][0] // PIECE_MS, -(-stretches[-1][1] // PIECE_MS)
        known = self._known(series)
        if known is None:
            return [(Piece(begin, end), 0) for begin, end in stretches]
        days = self._days(series, stretches)
        low, high = max(first, known[0] // PIECE_MS), min(last - 1, known[1] // PIECE_MS)
        found: dict[int, Piece] = {}
        for begin, end in _without_days(first, last, days):
            rows = self.db.execute(
                "SELECT piece, fields FROM sums WHERE series = ? AND piece BETWEEN ? AND ?", (series, begin, end - 1)
            ).fetchall()
            fields = json.loads(f"[{','.join(text for _, text in rows)}]")  # thousands of them: parsed at once
            found.update((piece, _piece(piece, each)) for (piece, _), each in zip(rows, fields))
        wanted = [piece for piece in range(low, high + 1) if piece not in found and piece // DAY_PIECES not in days]
        for begin, end in _runs(wanted[-MADE_FOR_ANSWER:]):
            for piece in self.make(series, begin * PIECE_MS, end * PIECE_MS):
                found[piece.begin_ms // PIECE_MS] = piece
        return [self._answer(begin, end, found, days, low, high) for begin, end in stretches]

    def _days(self, series, stretches) -> dict[int, Piece]:
        """The days that are kept merged and lie whole within a stretch."""
        inside: list[tuple[int, int]] = []
        for begin, end in stretches:
            first, last = -(-begin // _DAY_MS), end // _DAY_MS
            if first < last:
                inside.append((first, last))
        if not inside:
            return {}
        rows = self.db.execute(
            "SELECT piece, fields FROM sums WHERE series = ? AND piece BETWEEN ? AND ?",
            (series, _day_row(inside[-1][1] - 1), _day_row(inside[0][0])),
        ).fetchall()
        wanted = {day for first, last in inside for day in range(first, last)}
        kept_days = {-1 - number: text for number, text in rows}
        return {
            day: _piece(day * DAY_PIECES, json.loads(text), _DAY_MS) for day, text in kept_days.items() if day in wanted
        }

    @staticmethod
    def _answer(begin, end, found, days, low, high) -> tuple[Piece, int]:
        if begin == end:
            return Piece(begin, end, grown=0, begin_open=False, end_open=False), 0
        parts, due_ms = [], 0
        piece, last = begin // PIECE_MS, -(-end // PIECE_MS)
        while piece < last:
            day = days.get(piece // DAY_PIECES) if not piece % DAY_PIECES and piece + DAY_PIECES <= last else None
            there = found.get(piece) if day is None else day
            step = 1 if day is None else DAY_PIECES
            if there is None:
                # Before the first reading and behind the last one there is nothing, however long.
                step = 1 if low <= piece <= high else min(low, last) - piece if piece < low else last - piece
                there = Piece(piece * PIECE_MS, (piece + step) * PIECE_MS, begin_open=piece <= low)
                due_ms += PIECE_MS if low <= piece <= high else 0
            parts.append(there)
            piece += step
        return sums.merge(parts), due_ms


_DAYS_MERGED = "sums days merged"  # in `about`: up to which series
_ALL = "all"  # … and when there is none left
_DAY_MS = DAY_PIECES * PIECE_MS


def _day_row(day: int) -> int:
    """The number under which the pieces of a day (since 1970, UTC) are kept as one row."""
    return -1 - day


def _without_days(first: int, last: int, days) -> list[tuple[int, int]]:
    """(begin, end) of the pieces from first to last that no day of `days` contains."""
    found, at = [], first
    for day in sorted(days):
        if at < day * DAY_PIECES:
            found.append((at, day * DAY_PIECES))
        at = (day + 1) * DAY_PIECES
    return [*found, (at, last)] if at < last else found


_FIRST, _LAST = Piece._fields.index("first") - 2, Piece._fields.index("last") - 2


def _piece(piece: int, fields: list, span_ms: int = PIECE_MS) -> Piece:
    """As `_keep` wrote it."""
    for at in (_FIRST, _LAST):
        if len(fields) > at and fields[at] is not None:
            fields[at] = tuple(fields[at])
    return Piece(piece * PIECE_MS, piece * PIECE_MS + span_ms, *fields)


def _usual_ms(columns) -> int:
    steps = sorted(int(b) - int(a) for a, b in zip(columns.times, columns.times[1:]) if b > a)
    return steps[len(steps) // 2] if steps else 0


def _runs(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """(first, end) of the runs of neighbours in ascending numbers, CHUNK_PIECES long at the most."""
    found: list[list[int]] = []
    for number in numbers:
        if found and found[-1][1] == number and number - found[-1][0] < CHUNK_PIECES:
            found[-1][1] += 1
        else:
            found.append([number, number + 1])
    return [(first, end) for first, end in found]
