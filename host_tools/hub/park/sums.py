"""Exact sums of one channel over stretches of time, from its readings alone. Pure: no database, no clock, integers.

    rows ─▶ pieces(rows, edges, jumps) ─▶ Piece for each stretch between two edges ─▶ merge ─▶ hour, day, month

A Piece is a function of the set of readings, so the order in which batches came cannot show in it, and pieces that
touch can be merged without loss:

- time: a good reading holds until the next row, or for one cadence where the next is further away than 1.5 of them
  (SPEC 5.7); the last of all holds no time yet. `good_ms` is that time within the piece, `weight` the sum of value ×
  ms over it: the mean is weight / good_ms.
- energy: the register at an edge is that of the last good reading before it, if that still holds there: then the
  edge is exact. Otherwise the edge lies in a gap, and the register was somewhere between the reading before the gap
  and the one behind it: an interval. A piece keeps how far the register went from the reading before its begin to
  the reading before its end (`grown`), and how wide the interval at either edge is. Merged, the `grown` add up and
  the inner edges cancel: hours add up to their day to the step, and a gap within a day costs the day nothing.
- a register steps back only where a signed event says why (SPEC 11.7): over a rollover it grew to its end and from 0
  on, over an exchange or reset it did not grow, and an exchange that is undone takes back what was counted meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

ROLLOVER, EXCHANGE, GLITCH, RETURN, UNDONE, RESET = 1, 2, 3, 4, 5, 6  # as in parkgate.meters.counters


class Row(NamedTuple):
    """One dated row of a channel. `value` is None where there is none; `row_ms` is its batch's cadence."""

    time_ms: int
    value: int | None
    good: bool
    row_ms: int


class Jump(NamedTuple):
    """What a signed event says of a register that went from one value to another: how far it grew, and why."""

    grown: int | None  # None: nobody can say
    what: int


class Piece(NamedTuple):
    """One channel in begin_ms..end_ms. Values are integers at the channel's scale; times Unix ms. `least`, `most`,
    `first`, `last` are None without a good reading, `grown` is None where no register is known at both ends."""

    begin_ms: int
    end_ms: int
    good_count: int = 0  # good readings
    good_ms: int = 0
    weight: int = 0
    least: int | None = None
    most: int | None = None
    first: tuple[int, int] | None = None  # (time, value)
    last: tuple[int, int] | None = None
    grown: int | None = None
    begin_width: int = 0  # how wide the interval of the register is at the begin, and at the end
    end_width: int = 0
    begin_open: bool = True  # no reading before the begin: the register counts from the first one on
    end_open: bool = True  # no reading behind the end yet
    rollovers: int = 0
    exchanges: int = 0  # and resets
    unexplained: int = 0  # steps that no event explains, or whose size nobody can say

    def energy(self) -> tuple[int, int] | None:
        """(at least, at most) what the register grew; None where that is not known at all."""
        if self.grown is None:
            return None
        least = self.grown - self.begin_width
        return (max(0, least) if not self.unexplained else least), self.grown + self.end_width

    def is_exact(self) -> bool:
        """Whether the register at both ends is known to the step, and each step between them explained."""
        known = self.grown is not None and not self.begin_open and not self.end_open
        return known and not (self.begin_width or self.end_width or self.unexplained)


def merge(pieces: Sequence[Piece]) -> Piece:
    """The piece of several that touch, in order of time."""
    first, last = pieces[0], pieces[-1]
    read = [piece for piece in pieces if piece.first is not None]
    known = [piece for piece in pieces if piece.grown is not None]
    return Piece(
        first.begin_ms, last.end_ms,
        sum(piece.good_count for piece in pieces),
        sum(piece.good_ms for piece in pieces),
        sum(piece.weight for piece in pieces),
        min((piece.least for piece in read), default=None),  # type: ignore[type-var]
        max((piece.most for piece in read), default=None),  # type: ignore[type-var]
        read[0].first if read else None,
        read[-1].last if read else None,
        sum(piece.grown for piece in known) if known else None,  # type: ignore[misc]
        known[0].begin_width if known and known[0] is first else 0,
        known[-1].end_width if known and known[-1] is last else 0,
        first.begin_open, last.end_open,
        sum(piece.rollovers for piece in pieces),
        sum(piece.exchanges for piece in pieces),
        sum(piece.unexplained for piece in pieces),
    )  # fmt: skip


def made_percent(due_ms: int, time_ms: int) -> int:
    """How much of a stretch of time is added up: 100 when nothing of it is due, 99 at most before."""
    return 100 if due_ms <= 0 else 100 * (time_ms - due_ms) // time_ms if due_ms < time_ms else 0


class _Register:
    """The register of a counter as it went on, without its jumps: `at[i]` is what it had grown by good row i."""

    def __init__(self, good: list[Row], jumps: Mapping[tuple[int, int], Jump]):
        self.times = [row.time_ms for row in good]
        self.rows = good
        self.at, self.noted = [0] * len(good), [(0, 0, 0)] * len(good)
        for i in range(1, len(good)):
            before, value = good[i - 1].value or 0, good[i].value or 0
            jump = jumps.get((before, value))
            grown = value - before if jump is None else jump.grown
            lost = (jump is None and value < before) or grown is None
            self.at[i] = self.at[i - 1] + (grown or 0)
            what = jump.what if jump else 0
            self.noted[i] = (what == ROLLOVER, what in (EXCHANGE, RESET), lost)


def pieces(rows: Sequence[Row], edges: Sequence[int], jumps: Mapping[tuple[int, int], Jump] | None) -> list[Piece]:
    """A Piece for each stretch between two of the ascending `edges`. `rows` stand in order of time; with them belong
    the row before the first edge, and the nearest good ones outside on both sides. `jumps` is None for a channel that
    is no counter."""
    found = [Piece(begin, end) for begin, end in pairwise(edges)]
    if not found:
        return found
    _cover(rows, found)
    if jumps is not None:
        register = _Register([row for row in rows if row.good and row.value is not None], jumps)
        _grow(register, edges, found)
    return found


def _cover(rows: Sequence[Row], found: list[Piece]) -> None:
    at = 0
    for i, (time_ms, value, good, row_ms) in enumerate(rows):
        if not good or value is None:
            continue
        end_ms = time_ms
        if i + 1 < len(rows):
            step_ms = rows[i + 1].time_ms - time_ms
            end_ms += step_ms if 2 * step_ms <= 3 * row_ms else row_ms
        while at < len(found) and found[at].end_ms <= time_ms:
            at += 1
        look = at
        while look < len(found) and found[look].begin_ms <= max(end_ms - 1, time_ms):
            piece = found[look]
            held_ms = max(0, min(end_ms, piece.end_ms) - max(time_ms, piece.begin_ms))
            changes: dict = {"good_ms": piece.good_ms + held_ms, "weight": piece.weight + value * held_ms}
            if piece.begin_ms <= time_ms < piece.end_ms:
                changes["good_count"] = piece.good_count + 1
                changes["least"] = value if piece.least is None else min(piece.least, value)
                changes["most"] = value if piece.most is None else max(piece.most, value)
                changes["first"] = piece.first or (time_ms, value)
                changes["last"] = (time_ms, value)
            found[look] = piece._replace(**changes)
            look += 1


def _grow(register: _Register, edges: Sequence[int], found: list[Piece]) -> None:
    """The registers at the edges, and from them what each piece grew."""
    times, at = register.times, register.at
    known = []  # of each edge: (index of the good row before it or -1, width, open)
    i = -1
    for edge in edges:
        while i + 1 < len(times) and times[i + 1] <= edge:
            i += 1
        if i < 0:
            known.append((-1, 0, True))
            continue
        holds = 2 * (edge - times[i]) <= 3 * register.rows[i].row_ms
        if i + 1 == len(times):
            known.append((i, 0, times[i] != edge))
        else:
            known.append((i, 0 if holds else max(0, at[i + 1] - at[i]), False))
    for n, piece in enumerate(found):
        (first, begin_width, begin_open), (last, end_width, end_open) = known[n], known[n + 1]
        if last < 0:
            continue
        if begin_open:
            first, begin_width = max(first, 0), 0
        notes = register.noted[first + 1 : last + 1]
        found[n] = piece._replace(
            grown=at[last] - at[first],
            begin_width=begin_width, end_width=end_width, begin_open=begin_open, end_open=end_open,
            rollovers=sum(note[0] for note in notes),
            exchanges=sum(note[1] for note in notes),
            unexplained=sum(note[2] for note in notes),
        )  # fmt: skip


# Jumps of registers.

_ENDS = sorted({10**n for n in range(5, 19)} | {2**bits * 10**n for bits in (16, 24, 31, 32, 48) for n in range(4)})


def end_of_register(before: int) -> int | None:
    """Where a register that stood at `before` began again: its display's or its type's end, of which no more than 1/32
    was left (SPEC 11.7). None where there is no such end."""
    for end in _ENDS:
        if before < end and 32 * (end - before) <= end:
            return end
    return None


def jumps(events: Sequence[tuple[int, int, int]]) -> dict[tuple[int, int], Jump]:
    """(before, value) → Jump, from a counter's signed events (what, before, value) in the order of their chain."""
    found: dict[tuple[int, int], Jump] = {}
    pending: tuple[int, int, int | None] | None = None  # (before, value, grown) of what may be undone
    for what, before, value in events:
        if what == ROLLOVER:
            end = end_of_register(before)
            grown = None if end is None else end - before + value
        elif what in (EXCHANGE, RESET):
            grown = 0
        elif what == UNDONE and pending is not None and pending[2] is not None:
            grown = (value - pending[0]) - (before - pending[1]) - pending[2]
        elif what == UNDONE:
            grown = None
        else:
            continue  # a glitch is no good reading, a return no jump
        found[before, value] = Jump(grown, what)
        pending = (before, value, grown) if what != UNDONE else None
    return found
