"""What a machine did: its states over a stretch of time, and for how long each, as far as good readings say so.

A quarter of an hour in which one state held throughout is known from its sums. One with several states is decoded,
the newest first and DECODED_MAX of them (fewer in a long time); what is left over is called "several". What no good
reading covers is unknown, so the share of the time that the machine ran is an interval.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from host_tools.hub.park import sums
from host_tools.hub.park.book import Book
from host_tools.hub.park.sums import Row
from host_tools.hub.park.zone import DAY_MS, PIECE_MS
from parkgate.quantities import STATES

SPAN_MS_MAX = 32 * DAY_MS
DECODED_MAX, DECODED_MAX_LONG = 96, 32
LONG_MS = 8 * DAY_MS
SEVERAL = "several"
RUN = "run"


def timeline(book: Book, series: int, begin_ms: int, end_ms: int) -> dict:
    """{"segments": [{from_ms, to_ms, state}], "ms": {state: time}, "run": {"least", "most"} in per mille of the
    time, "made_percent"}; a `state` is one of STATES, "several", another number as text, or None for unknown.
    `segments` is None where the time is longer than SPAN_MS_MAX, and while it is not all added up."""
    if end_ms - begin_ms > SPAN_MS_MAX:
        return {"segments": None, "ms": {}, "run": None, "made_percent": 100}
    first, last = begin_ms // PIECE_MS, -(-end_ms // PIECE_MS)
    pieces = [(n * PIECE_MS, (n + 1) * PIECE_MS) for n in range(first, last)]
    asked = book.ask(series, pieces) if pieces else []
    due_ms = sum(each_ms for _, each_ms in asked)
    if due_ms:
        share = sums.made_percent(due_ms, end_ms - begin_ms)
        return {"segments": None, "ms": {}, "run": None, "made_percent": share}
    mixed = [
        piece.begin_ms for piece, _ in asked if piece.good_count
        and (piece.least != piece.most or piece.good_ms < PIECE_MS)
    ]  # fmt: skip
    limit = DECODED_MAX_LONG if end_ms - begin_ms > LONG_MS else DECODED_MAX
    runs = dict(_runs(mixed[-limit:]))
    found: list[list] = []
    done_ms = 0
    for piece, _ in asked:
        if piece.begin_ms < done_ms:
            continue
        if piece.begin_ms in runs:
            done_ms = runs[piece.begin_ms]
            parts = list(held(book.rows(series, piece.begin_ms, done_ms), piece.begin_ms, done_ms))
        elif not piece.good_ms:
            parts = [(piece.begin_ms, piece.end_ms, None)]
        elif piece.least == piece.most and piece.good_ms == PIECE_MS:
            parts = [(piece.begin_ms, piece.end_ms, _name(piece.least))]
        else:
            parts = [(piece.begin_ms, piece.end_ms, SEVERAL)]
        for from_ms, to_ms, state in parts:
            from_ms, to_ms = max(from_ms, begin_ms), min(to_ms, end_ms)
            if from_ms >= to_ms:
                continue
            if found and found[-1][2] == state and found[-1][1] == from_ms:
                found[-1][1] = to_ms
            else:
                found.append([from_ms, to_ms, state])
    return summed(found, begin_ms, end_ms)


def _runs(begins: Sequence[int]) -> list[tuple[int, int]]:
    """(begin, end) of the quarters of an hour that touch, each run decoded at once."""
    found: list[tuple[int, int]] = []
    for begin in begins:
        if found and found[-1][1] == begin:
            found[-1] = found[-1][0], begin + PIECE_MS
        else:
            found.append((begin, begin + PIECE_MS))
    return found


def summed(found: list[list], begin_ms: int, end_ms: int) -> dict:
    """`timeline` of segments [from, to, state] that fill the time."""
    times: dict[str, int] = {}
    for from_ms, to_ms, state in found:
        name = "unknown" if state is None else state
        times[name] = times.get(name, 0) + to_ms - from_ms
    run_ms, open_ms = times.get(RUN, 0), times.get("unknown", 0) + times.get(SEVERAL, 0)
    time_ms = end_ms - begin_ms
    run = {"least": 1000 * run_ms // time_ms, "most": -(-1000 * (run_ms + open_ms) // time_ms)} if time_ms > 0 else None
    segments = [{"from_ms": from_ms, "to_ms": to_ms, "state": state} for from_ms, to_ms, state in found]
    return {"segments": segments, "ms": times, "run": run, "made_percent": 100}


def held(rows: Sequence[Row], begin_ms: int, end_ms: int) -> Iterator[tuple[int, int, str | None]]:
    """(from, to, state or None) that fill begin_ms..end_ms: a good reading holds until the next row, or for one cadence
    where the next is further away than 1.5 of them."""
    at = begin_ms
    for i, row in enumerate(rows):
        if not row.good or row.value is None:
            continue
        until = row.time_ms
        if i + 1 < len(rows):
            step_ms = rows[i + 1].time_ms - row.time_ms
            until += step_ms if 2 * step_ms <= 3 * row.row_ms else row.row_ms
        from_ms, to_ms = max(at, row.time_ms), min(until, end_ms)
        if from_ms >= to_ms:
            continue
        if at < from_ms:
            yield at, from_ms, None
        yield from_ms, to_ms, _name(row.value)
        at = to_ms
    if at < end_ms:
        yield at, end_ms, None


def _name(value: int | None) -> str | None:
    if value is None:
        return None
    return STATES[value] if 0 <= value < len(STATES) else f"state {value}"
