"""Energy by place: whichever gateway stood there, as one register that goes on.

Where one gateway took the place of another, the meters stayed. So the readings of both, each of its own stay, are one
series: the sums that are kept of each serve as they are, and only the pieces about the exchange are made anew from the
readings of both.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo

from host_tools.hub.park import answers, sums, zone
from host_tools.hub.park.book import Book
from host_tools.hub.park.sums import Piece
from host_tools.hub.park.zone import PIECE_MS
from host_tools.hub.reading import registers
from host_tools.hub.stores import places
from host_tools.log.database.seam import Database


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
    for (instrument, quantity, unit_of, scale), legs in _legs(db, place.pl).items():
        seams = _seams(db, legs)
        made = [_ask(book, instrument, quantity, legs, seams, span) for span in spans]
        found.append({
            "instrument": instrument, "quantity": quantity, "unit": unit_of, "scale": scale,
            "bars": [answers.bar(piece, whole, tz) for piece, whole in made],
        })  # fmt: skip
    return {"place": place.id.hex(), "name": place.name, "unit": unit, "zone": tz.key, "series": found}


def _legs(db, pl: int) -> dict[tuple, list[Leg]]:
    """(instrument, quantity, unit, scale) → its legs, in the order of time."""
    found: dict[tuple, list[Leg]] = {}
    for stay in places.stays(db, pl):
        for series, *what in db.execute(
            "SELECT series, instrument, quantity, unit, scale FROM series WHERE gw = ? AND quantity = ?"
            " ORDER BY series", (stay.gw, answers.ENERGY),
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


def _ask(book: Book, instrument, quantity, legs, seams, span) -> tuple[Piece, bool]:
    begin, end = span
    cuts = sorted({begin, end, *(edge for seam in seams for edge in seam if begin < edge < end)})
    parts, whole = [], True
    for a, b in pairwise(cuts):
        if any(low <= a < high for low, high in seams):
            parts.append(_made(book, instrument, quantity, legs, a, b))
            continue
        leg = next((leg for leg in legs if leg.from_ms <= a and (leg.to_ms is None or b <= leg.to_ms)), None)
        if leg is None:
            parts.append(Piece(a, b))
            continue
        piece, is_made = book.ask(leg.series, [(a, b)])[0]
        parts.append(piece)
        whole = whole and is_made
    return sums.merge(parts), whole


def _made(book: Book, instrument, quantity, legs, begin, end) -> Piece:
    """The piece about an exchange, from the readings of both gateways."""
    rows, jumps = [], {}
    for leg in legs:
        own = book.rows(leg.series, begin, end)
        rows += [row for row in own if leg.from_ms <= row.time_ms and (leg.to_ms is None or row.time_ms < leg.to_ms)]
        jumps.update(book.jumps(leg.gw, instrument, quantity))
    return sums.pieces(sorted(rows), [begin, end], jumps)[0]
