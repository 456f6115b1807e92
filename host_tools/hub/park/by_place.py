"""Energy by place: whichever gateway stood there, as one register that goes on.

Where one gateway took the place of another, the meters stayed. So the readings of both, each of its own stay, are one
series: the sums that are kept of each serve as they are, and only the pieces about the exchange are made anew from the
readings of both.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby, pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo

from host_tools.hub.park import answers, sums, zone
from host_tools.hub.park.book import Book
from host_tools.hub.park.sums import Piece
from host_tools.hub.park.zone import PIECE_MS
from host_tools.hub.reading import registers
from host_tools.hub.stores import places
from host_tools.log.database.seam import Database
from parkgate import quantities


class Leg(NamedTuple):
    """One register at one place: the series of the gateway that stood there from from_ms to to_ms (None: still)."""

    series: int
    gw: int
    from_ms: int
    to_ms: int | None


def bars(
    db: Database, place: places.Place, unit: str, from_ms: int | None, to_ms: int | None, tz: ZoneInfo,
    now_ms: int,
) -> dict:  # fmt: skip
    """Hours, days or months of the place's energy, in the form of `answers.bars`. Raises TooMuch."""
    to_ms = now_ms if to_ms is None else to_ms
    from_ms = to_ms - answers.USUAL_MS[unit] if from_ms is None else from_ms
    spans = list(zone.spans(unit, from_ms, to_ms, tz))
    if len(spans) > answers.BARS_MAX[unit]:
        raise answers.TooMuch(f"more than {answers.BARS_MAX[unit]} bars")
    book, found = Book(db), []
    for (instrument, quantity, unit_of, scale), own in legs(db, place.pl).items():
        found.append({
            "instrument": instrument, "quantity": quantity, "unit": unit_of, "scale": scale,
            "bars": [answers.bar(piece, due_ms, tz) for piece, due_ms in ask(book, instrument, quantity, own, spans)],
        })  # fmt: skip
    return {"place": place.id.hex(), "name": place.name, "unit": unit, "zone": tz.key, "series": found}


def legs(db: Database, pl: int, wanted: Sequence[str] = (answers.ENERGY,)) -> dict[tuple, list[Leg]]:
    """(instrument, quantity, unit, scale) → its legs, in the order of time, of the quantities `wanted`."""
    found: dict[tuple, list[Leg]] = {}
    marks = ",".join("?" * len(wanted))
    for stay in places.stays(db, pl):
        for series, *what in db.execute(
            f"SELECT series, instrument, quantity, unit, scale FROM series WHERE gw = ? AND quantity IN ({marks})"
            " ORDER BY series", (stay.gw, *wanted),
        ).fetchall():  # fmt: skip
            found.setdefault(tuple(what), []).append(Leg(series, stay.gw, stay.from_ms, stay.to_ms))
    return found


def _seams(db, legs: list[Leg]) -> list[tuple[int, int]]:
    """The whole pieces about each beginning and end of a leg, up to the nearest readings that belong to the place."""
    moments = {leg.from_ms for leg in legs if leg.from_ms} | {leg.to_ms for leg in legs if leg.to_ms is not None}
    found: list[tuple[int, int]] = []
    for moment in sorted(moments):
        before = [registers.last_before(db, leg.series, moment) for leg in legs if leg.to_ms == moment]
        behind = [registers.first_from(db, leg.series, moment) for leg in legs if leg.from_ms == moment]
        times = [moment, *(read.time_ms for read in (*before, *behind) if read is not None)]
        low, high = min(times) // PIECE_MS * PIECE_MS, (max(times) // PIECE_MS + 1) * PIECE_MS
        if found and low <= found[-1][1]:
            found[-1] = found[-1][0], max(high, found[-1][1])
        else:
            found.append((low, high))
    return found


def ask(
    book: Book, instrument: str, quantity: str, own: Sequence[Leg], spans: Sequence[tuple[int, int]]
) -> list[tuple[Piece, int]]:
    """Of each span, made of whole pieces: the sums over all legs, and how much of it is not added up yet, in ms."""
    if len(own) == 1 and not own[0].from_ms and own[0].to_ms is None:
        return book.ask(own[0].series, spans)
    seams = _seams(book.db, list(own))
    found: list[tuple[Piece, int]] = []
    for leg, run in groupby(spans, lambda span: _alone(own, seams, span)):
        if leg is not None:
            found += book.ask(leg.series, list(run))  # one question for all of them
        else:
            found += [_ask(book, instrument, quantity, own, seams, span) for span in run]
    return found


def _alone(own, seams, span) -> Leg | None:
    """The leg that the whole span lies in, where no exchange is near."""
    begin, end = span
    if any(low < end and begin < high for low, high in seams):
        return None
    return next((leg for leg in own if leg.from_ms <= begin and (leg.to_ms is None or end <= leg.to_ms)), None)


def minutes(book: Book, instrument: str, quantity: str, own: Sequence[Leg], begin: int, end: int) -> list[Piece]:
    """The minutes from begin to end."""
    return _made(book, instrument, quantity, own, list(range(begin, end + 1, zone.MINUTE_MS)))


def _ask(book: Book, instrument, quantity, own, seams, span) -> tuple[Piece, int]:
    begin, end = span
    cuts = sorted({begin, end, *(edge for seam in seams for edge in seam if begin < edge < end)})
    parts, due_ms = [], 0
    for a, b in pairwise(cuts):
        if any(low <= a < high for low, high in seams):
            parts += _made(book, instrument, quantity, own, [a, b])
            continue
        leg = next((leg for leg in own if leg.from_ms <= a and (leg.to_ms is None or b <= leg.to_ms)), None)
        if leg is None:
            parts.append(Piece(a, b))
            continue
        piece, more_ms = book.ask(leg.series, [(a, b)])[0]
        parts.append(piece)
        due_ms += more_ms
    return sums.merge(parts), due_ms


def _made(book: Book, instrument, quantity, own, edges: list[int]) -> list[Piece]:
    """The pieces about an exchange, from the readings of both gateways."""
    rows, jumps = [], {}
    for leg in own:
        read = book.rows(leg.series, edges[0], edges[-1])
        rows += [row for row in read if leg.from_ms <= row.time_ms and (leg.to_ms is None or row.time_ms < leg.to_ms)]
        jumps.update(book.jumps(leg.gw, instrument, quantity))
    about = quantities.find(quantity.partition(" #")[0])
    counts = about is not None and about.kind == "sum"
    return sums.pieces(sorted(rows), edges, jumps if counts else None)
