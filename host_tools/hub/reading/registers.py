"""The energy registers of a gateway's meters about one moment: the last good reading before it, the first one behind.

A line of an exchange is [instrument, quantity, unit, scale, before_ms, before, after_ms, after]: what the old gateway
read last and what the new one read first, values as integers at the scale; None where that is not known.
"""

from __future__ import annotations

from typing import NamedTuple

from host_tools.hub.reading.decode import decode_stored
from host_tools.hub.stores import kept
from host_tools.log.database.seam import Database
from parkgate.errors import FormatError
from parkgate.reading import RELATIVE_ONLY

REGISTERS = ("import_active_energy", "export_active_energy")
UNITS = ("Wh", "kWh", "MWh")
LINES_MAX = 120  # of an exchange: so its statement stays below 16 kB
BLOCKS = 8  # looked at to find one reading


class Read(NamedTuple):
    """A register as it was read."""

    time_ms: int
    value: int


def exchange(db: Database, old_gw: int, new_gw: int, at_ms: int) -> list[list]:
    """The lines of an exchange at at_ms, in the order in which the old gateway's registers came up."""
    behind = {row[1:]: row[0] for row in _series(db, new_gw)}
    lines = []
    for series, *what in _series(db, old_gw)[:LINES_MAX]:
        last = last_before(db, series, at_ms)
        if last is not None:
            fresh = behind.get(tuple(what))
            first = None if fresh is None else first_from(db, fresh, at_ms)
            lines.append([*what, *last, *(first or (None, None))])
    return lines


def moment(db: Database, old_gw: int, new_gw: int, now_ms: int) -> int:
    """When the new gateway took over: its first reading behind the old one's last; now, where it has none."""
    times = (
        "SELECT min(first_ms), max(block.last_ms) FROM block JOIN series USING (series)"
        " WHERE gw = ? AND first_ms >= 0 AND block.last_ms BETWEEN 0 AND ?"
    )
    last = db.execute(times, (old_gw, now_ms)).fetchone()[1]
    begun, newest = db.execute(times, (new_gw, now_ms)).fetchone()
    if begun is None or last is not None and newest <= last:
        return now_ms
    return begun if last is None else max(begun, last + 1)


def _series(db, gw: int) -> list[tuple]:
    marks = [",".join("?" * len(names)) for names in (REGISTERS, UNITS)]
    return db.execute(
        "SELECT series, instrument, quantity, unit, scale FROM series"
        f" WHERE gw = ? AND quantity IN ({marks[0]}) AND unit IN ({marks[1]}) ORDER BY series",
        (gw, *REGISTERS, *UNITS),
    ).fetchall()


def last_before(db: Database, series: int, at_ms: int) -> Read | None:
    """The last good reading before at_ms."""
    blocks = db.execute(
        "SELECT ep, seq, instrument, channel FROM block WHERE series = ? AND last_ms >= 0 AND first_ms < ?"
        " AND good_ms >= 0 ORDER BY last_ms DESC LIMIT ?", (series, at_ms, BLOCKS),
    )  # fmt: skip
    found = [read for block in blocks.fetchall() for read in _good(db, *block) if read.time_ms < at_ms]
    return max(found, default=None)


def first_from(db: Database, series: int, at_ms: int) -> Read | None:
    """The first good reading at at_ms or later."""
    blocks = db.execute(
        "SELECT ep, seq, instrument, channel FROM block WHERE series = ? AND last_ms >= ? AND good_ms >= ?"
        " ORDER BY last_ms LIMIT ?", (series, at_ms, at_ms, BLOCKS),
    )  # fmt: skip
    found = [read for block in blocks.fetchall() for read in _good(db, *block) if read.time_ms >= at_ms]
    return min(found, default=None)


def _good(db, ep, seq, table, channel) -> list[Read]:
    data, batch_hash = db.execute("SELECT bytes, hash FROM batch WHERE ep = ? AND seq = ?", (ep, seq)).fetchone()
    if not kept.whole(data, batch_hash):
        return []
    tables = decode_stored([data])[0]
    if isinstance(tables, FormatError):
        return []
    columns = next((each for each in tables if each.instrument == table), None)
    if columns is None:
        return []
    codes, values = columns.rows_of(channel)
    return [
        Read(int(time_ms), int(value))
        for time_ms, trust, value, code in zip(columns.times, columns.trust, values, codes)
        if trust != RELATIVE_ONLY and code == 0 and value is not None
    ]
