"""The energy and the demand of a month, from the registers, each with the readings that it rests on. Exact: Wh and W
are fractions, and what is not known to the step is an interval.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime
from fractions import Fraction
from typing import NamedTuple
from zoneinfo import ZoneInfo

from host_tools.hub.park import proof, sums, zone
from host_tools.hub.park.book import CHUNK_PIECES, Book
from host_tools.hub.park.metering import meters, register
from host_tools.hub.park.metering.meters import ENERGY, Meter
from host_tools.hub.park.sums import Piece
from host_tools.hub.park.zone import PIECE_MS
from host_tools.log.database.seam import Database
from parkgate.wire.batch import decode_schema


class Range(NamedTuple):
    """At least, and at most; `most` is None where nobody can say."""

    least: Fraction
    most: Fraction | None

    def plus(self, other: Range) -> Range:
        return Range(self.least + other.least, _sum(self.most, other.most))


NOTHING = Range(Fraction(0), Fraction(0))


def _sum(a: Fraction | None, b: Fraction | None) -> Fraction | None:
    return None if a is None or b is None else a + b


class Measured(NamedTuple):
    """One meter of a bill in one month: its quarters of an hour. `scale` is the channel's; `series` its number.
    `begin_at` and `end_at` are the times of the last good readings at or before begin and end, None without one."""

    meter: Meter
    series: int
    scale: int
    quarters: list[Piece]
    begin_at: int | None
    end_at: int | None

    def wh(self, value: int) -> Fraction:
        """Steps of the register as Wh."""
        return Fraction(value) / 10**self.scale if self.scale >= 0 else Fraction(value * 10**-self.scale)

    def energy(self, first: int, end: int) -> Range:
        """Of the quarters first..end: Wh."""
        found = sums.merge(self.quarters[first:end])
        counted = found.energy()
        if counted is None:
            return Range(Fraction(0), None)
        return Range(self.wh(counted[0]), None if found.end_open else self.wh(counted[1]))


class Month(NamedTuple):
    """What was measured of a gateway in a month; `left_out` are meters behind others, `notes` what is missing."""

    begin_ms: int
    end_ms: int
    until_ms: int  # as far as the month has gone, a multiple of 15 minutes
    meters: list[Measured]
    left_out: dict[Meter, Meter]
    notes: list[str]
    slots: list[tuple[date, int]]  # local day and quarter of an hour of each quarter


def month_span(month: tuple[int, int], tz: ZoneInfo) -> tuple[int, int]:
    """(begin, end) of a local month as Unix time in ms."""
    year, number = month
    behind = date(year + number // 12, number % 12 + 1, 1)
    return zone.midnight(date(year, number, 1), tz), zone.midnight(behind, tz)


def measure(db: Database, gw: int, month: tuple[int, int], tz: ZoneInfo, now_ms: int) -> Month:
    """All that a bill of the gateway's month needs. Raises SettingsError when the hub's setting of meters is
    damaged."""
    begin, end = month_span(month, tz)
    until = min(end, max(begin, now_ms // PIECE_MS * PIECE_MS))
    gateway_id = db.execute("SELECT kid FROM gateway WHERE gw = ?", (gw,)).fetchone()[0].hex()
    notes = [] if until == end else [f"the month is not over: counted until {zone.label(until, tz)}"]
    found: dict[Meter, list[tuple[int, int]]] = {}
    in_settings = _instruments(db, gw, begin, end)
    for series, instrument, scale in db.execute(
        "SELECT series, instrument, scale FROM series WHERE gw = ? AND quantity = ? ORDER BY series", (gw, ENERGY)
    ).fetchall():
        first = db.execute(
            "SELECT first_ms FROM block WHERE series = ? AND last_ms >= ? ORDER BY last_ms LIMIT 1", (series, begin)
        ).fetchone()
        if first is not None and first[0] < end or instrument in in_settings:
            found.setdefault(Meter(gateway_id, instrument), []).append((series, scale))
    inside, left_out = meters.contained(found, meters.load(db))
    book = Book(db)
    made = []
    for meter in inside:
        for series, scale in found[meter]:
            before = (book.near(series, edge)[0] for edge in (begin, until))
            begin_at, end_at = (each and each.row.time_ms for each in before)
            one = Measured(meter, series, scale, _quarters(book, series, begin, until), begin_at, end_at)
            if len(found[meter]) > 1 and not any(piece.good_count for piece in one.quarters):
                continue  # the same channel in another unit or scale, of another time
            made.append(one)
            notes += _notes(one, until == end, tz)
    if not made:
        notes.append("no energy meter is known for this month")
    return Month(begin, end, until, made, left_out, notes, [_slot(at, tz) for at in range(begin, until, PIECE_MS)])


def _slot(at_ms: int, tz: ZoneInfo) -> tuple[date, int]:
    local = datetime.fromtimestamp(at_ms / 1000, tz)
    return local.date(), local.hour * 4 + local.minute // 15


def _instruments(db, gw: int, begin: int, end: int) -> set[str]:
    """The instruments of the schemas that the gateway used in that time, or of the last one before."""
    question = "schema.bytes FROM batch JOIN epoch USING (ep) JOIN schema USING (gw, schema_id) WHERE gw = ?"
    within = f"SELECT DISTINCT {question} AND received_unix_ms BETWEEN ? AND ?"
    rows = db.execute(within, (gw, begin, end)).fetchall()
    if not rows:
        before = f"SELECT {question} AND received_unix_ms < ? ORDER BY batch.id DESC LIMIT 1"
        rows = db.execute(before, (gw, begin)).fetchall()
    return {part[0] for (data,) in rows for part in decode_schema(data)}


def _quarters(book: Book, series: int, begin: int, end: int) -> list[Piece]:
    """The sums of each quarter of an hour; what the hub has not made yet is made from the signed bytes."""
    if begin >= end:
        return []
    asked = book.ask(series, [(at, at + PIECE_MS) for at in range(begin, end, PIECE_MS)])
    found = [piece for piece, _ in asked]
    missing = [i for i, (_, due_ms) in enumerate(asked) if due_ms]
    for first in range(0, len(missing), CHUNK_PIECES):
        part = missing[first : first + CHUNK_PIECES]
        low, high = part[0], part[-1] + 1
        made = book.make(series, begin + low * PIECE_MS, begin + high * PIECE_MS)
        found[low:high] = made
    return found


def _notes(one: Measured, is_over: bool, tz: ZoneInfo) -> list[str]:
    """What is missing of a meter's month, in words."""
    name = one.meter.instrument
    if not one.quarters:
        return []
    whole = sums.merge(one.quarters)
    if whole.grown is None:
        return [f"{name}: no register reading in this month: its energy is not known"]
    found = []
    if whole.begin_open and whole.first is not None:
        found.append(
            f"{name}: no reading before the month: counted from the first one, {zone.label(whole.first[0], tz)}"
        )
    elif whole.begin_width:
        found.append(f"{name}: the register at the begin of the month is known to {_kwh(one, whole.begin_width)} only")
    if is_over and whole.end_open and whole.last is not None:
        found.append(f"{name}: no reading behind the month: counted to the last one, {zone.label(whole.last[0], tz)}")
    elif whole.end_width:
        found.append(f"{name}: the register at the end of the month is known to {_kwh(one, whole.end_width)} only")
    if whole.unexplained:
        found.append(f"{name}: {whole.unexplained} steps of the register that no signed event explains")
    return found


def _kwh(one: Measured, steps: int) -> str:
    return f"{decimal(one.wh(steps) / 1000)} kWh"


def decimal(value: Fraction) -> str:
    """The value written out exactly. Only for fractions of tenths."""
    places = 0
    while (value * 10**places).denominator != 1:
        places += 1
        if places > 60:
            raise ValueError(f"{value} has no end in tenths")
    digits = str(abs(value.numerator) * 10**places // value.denominator).rjust(places + 1, "0")
    sign = "-" if value < 0 else ""
    return f"{sign}{digits[:-places]}.{digits[-places:]}" if places else f"{sign}{digits}"


# Stretches and what they rest on.


def stretches(month: Month, of: Callable[[date, int], int], wanted: int) -> list[tuple[int, int]]:
    """(first quarter, end) of the runs of quarters for which `of` gives `wanted`."""
    found: list[list[int]] = []
    for i, slot in enumerate(month.slots):
        if of(*slot) != wanted:
            continue
        if found and found[-1][1] == i:
            found[-1][1] = i + 1
        else:
            found.append([i, i + 1])
    return [(first, end) for first, end in found]


def band_energy(month: Month, runs: Sequence[tuple[int, int]]) -> Range:
    """What all meters counted in these runs of quarters: Wh."""
    total = NOTHING
    for one in month.meters:
        for run in runs:
            total = total.plus(one.energy(*run))
    return total


def highest(month: Month, minutes: int) -> tuple[Range, int | None]:
    """(the highest mean power of all meters together over `minutes`, in W; the first quarter of the stretch that had it
    for certain, None without any). The mean lies between the two readings that hold at the ends of the stretch; a meter
    that is read less often than that has no known demand."""
    step = minutes * 60_000 // PIECE_MS
    times = [_edge_times(one) for one in month.meters]
    least, most, where = Fraction(0), Fraction(0), None
    known = bool(month.meters)
    for first in range(0, len(month.slots) - step + 1, step):
        total = NOTHING
        for one, at in zip(month.meters, times):
            total = total.plus(_mean_power(one, at, first, first + step))
        if where is None or total.least > least:
            least, where = total.least, first
        if total.most is None:
            known = False
        else:
            most = max(most, total.most)
    return Range(least, most if known else None), where


def _edge_times(one: Measured) -> list[int | None]:
    """The time of the last good reading at or before each edge of the quarters, None before the first."""
    found, last = [], one.begin_at
    for piece in one.quarters:
        if piece.first is not None and piece.first[0] == piece.begin_ms:
            last = piece.begin_ms
        found.append(last)
        if piece.last is not None:
            last = piece.last[0]
    return [*found, one.end_at]


def _mean_power(one: Measured, times: list[int | None], first: int, end: int) -> Range:
    """In W, over the quarters first..end."""
    energy, nominal_ms = one.energy(first, end), (end - first) * PIECE_MS
    begin_ms, end_ms = times[first], times[end]
    if energy.most is None or energy.least != energy.most or begin_ms is None or end_ms is None:
        hours = Fraction(3_600_000, nominal_ms)
        return Range(energy.least * hours, None if energy.most is None else energy.most * hours)
    if end_ms == begin_ms:
        return Range(Fraction(0), None)
    power = energy.least * 3_600_000 / (end_ms - begin_ms)
    return Range(power, power)


def registers(book: Book, month: Month, runs: Sequence[tuple[int, int]]) -> list[dict]:
    """For each meter and run: the register readings at both ends, who signed them, and what was counted between."""
    found = []
    for one in month.meters:
        edges: dict[int, dict] = {}
        for first, end in runs:
            ends = []
            for edge in (month.begin_ms + first * PIECE_MS, month.begin_ms + end * PIECE_MS):
                if edge not in edges:
                    edges[edge] = proof.edge(book.db, edge, *book.near(one.series, edge))
                ends.append(edges[edge])
            energy = one.energy(first, end)
            found.append({
                "instrument": one.meter.instrument, "series": one.series, "scale": one.scale,
                "begin": ends[0], "end": ends[1], "wh": plain(energy),
            })  # fmt: skip
    return found


def register_of(db: Database, month: Month) -> list[dict]:
    """What the meter register says of each meter of the bill, for the days of the month that are over."""
    if not month.slots:
        return []
    found, records = [], register.load(db)
    for meter in dict.fromkeys(one.meter for one in month.meters):
        found.append(register.document(db, meter, month.slots[0][0], month.slots[-1][0], records))
    return found


def jumps(book: Book, gw: int, month: Month) -> list[dict]:
    """The signed jumps of the registers in the month: rollovers, exchanges, resets."""
    found = []
    for one in month.meters:
        start, stop = book.near(one.series, month.begin_ms), book.near(one.series, month.until_ms)
        told = proof.jumps(book, gw, one.meter.instrument, ENERGY, start[0] or start[1], stop[0])
        found += [{"instrument": one.meter.instrument, **each} for each in told]
    return found


def plain(value: Range) -> dict:
    """As JSON: exact, as text; a decimal where that has an end, else a fraction such as 1/3."""
    return {"least": exact(value.least), "most": None if value.most is None else exact(value.most)}


def exact(value: Fraction) -> str:
    """The value as a decimal, or as a fraction where a decimal would have no end."""
    rest = value.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    return decimal(value) if rest == 1 else f"{value.numerator}/{value.denominator}"


def completeness(month: Month) -> str | None:
    """The share of the month's time that good readings cover, in percent with two decimals, rounded down; None
    without a meter or before the month began."""
    time_ms = len(month.meters) * (month.until_ms - month.begin_ms)
    if not time_ms:
        return None
    good_ms = sum(piece.good_ms for one in month.meters for piece in one.quarters)
    share = 10_000 * good_ms // time_ms
    return f"{share // 100}.{share % 100:02}"
