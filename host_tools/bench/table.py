"""A CSV file of any kind, read as a gateway would have: times in ms, each numeric column as integers at the decimals
it is published with.

A column is a channel if every cell that is not empty is a decimal number; a cell without a number (empty, NA, NaN,
null, -) is a missing reading. Columns that are no channel are named with the reason. The delimiter (comma, semicolon
or tab) is the one that the heading has most of; where it is not the comma, a comma in a number is a decimal point.
"""

import csv
import io
from datetime import datetime, timezone
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import NamedTuple

from parkgate.errors import ParkgateError
from parkgate.reading import VALUE_LIMIT
from parkgate.wire.batch import MAX_SCALE

MISSING = frozenset(("", "na", "n/a", "nan", "null", "none", "-", "?"))
_PERIOD_MS = 1000  # between rows where the file has no times
_TIME_LIMIT_MS = 1 << 53
_CSV_FIELD_MAX = 1 << 20


class CsvError(ParkgateError):
    """The file cannot be read as a table of numbers."""


class Channel(NamedTuple):
    """A numeric column: integers (None where a cell is missing), each times 10^-decimals is what the cell said."""

    name: str
    decimals: int
    values: list[int | None]


class Recording(NamedTuple):
    """What a file holds. `time_column` is None where rows are dated a second apart; `left_out` maps name → reason."""

    times_ms: list[int]
    channels: list[Channel]
    time_column: str | None
    left_out: dict[str, str]


def read(path: str | Path, time_column: str | None = None) -> Recording:
    """Read a CSV file. Raises CsvError with the reason when there is nothing to measure in it."""
    names, rows = _cells(Path(path))
    columns = dict(zip(names, map(list, zip(*rows))))
    times_ms, used = _times(columns, time_column, len(rows))
    channels: list[Channel] = []
    left_out = {}
    for name, cells in columns.items():
        if name == used:
            continue
        try:
            channels.append(_channel(name, cells))
        except ValueError as reason:
            left_out[name] = str(reason)
    if not channels:
        named = "; ".join(f"{name}: {reason}" for name, reason in list(left_out.items())[:5])
        raise CsvError(f"{path} has no numeric column ({named or 'the only column holds the times'})")
    return Recording(times_ms, channels, used, left_out)


def _cells(path: Path) -> tuple[list[str], list[list[str]]]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise CsvError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise CsvError(f"{path} is not UTF-8 text (byte {error.start})") from None
    heading = text.partition("\n")[0]
    delimiter = max(",;\t", key=heading.count)
    csv.field_size_limit(_CSV_FIELD_MAX)
    try:
        rows = [
            row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if any(map(str.strip, row))
        ]
    except csv.Error as error:
        raise CsvError(f"{path} is not a CSV file: {error}") from None
    rows = [row for row in rows if any(cell.strip() for cell in row)]
    if not rows:
        raise CsvError(f"{path} is empty")
    head, body = rows[0], rows[1:]
    if not body:
        raise CsvError(f"{path} has a heading and no rows")
    names: list[str] = []
    taken: set[str] = set()
    for i, cell in enumerate(head):
        plain = name = cell.strip() or f"column {i + 1}"
        again = 1
        while name in taken:
            again += 1
            name = f"{plain} ({again})"
        names.append(name)
        taken.add(name)
    point = delimiter != ","
    width = len(head)
    cells = []
    for row in body:
        row = [cell.strip() for cell in row[:width]] + [""] * (width - len(row))
        cells.append([cell.replace(",", ".") for cell in row] if point else row)
    return names, cells


def _channel(name: str, cells: list[str]) -> Channel:
    """Raises ValueError with the reason why these cells are no channel."""
    numbers: list[Decimal | None] = []
    decimals = 0
    for row, cell in enumerate(cells):
        if cell.lower() in MISSING:
            numbers.append(None)
            continue
        try:
            number = Decimal(cell)
        except InvalidOperation:
            raise ValueError(f"not a number in row {row + 1}: {cell[:40]!r}") from None
        exponent = number.as_tuple().exponent
        if not isinstance(exponent, int):
            raise ValueError(f"not a finite number in row {row + 1}: {cell[:40]!r}")
        if exponent < -MAX_SCALE or number.adjusted() > MAX_SCALE:
            raise ValueError(f"more digits than 64 bits hold in row {row + 1}: {cell[:40]!r}")
        decimals = max(decimals, -exponent)
        numbers.append(number)
    if not any(number is not None for number in numbers):
        raise ValueError("no numbers")
    values = [None if number is None else int(number.scaleb(decimals)) for number in numbers]
    if max(abs(value) for value in values if value is not None) >= VALUE_LIMIT:
        raise ValueError(f"more than 64 bits at {decimals} decimals")
    return Channel(name, decimals, values)


def _times(columns: dict[str, list[str]], wanted: str | None, rows: int) -> tuple[list[int], str | None]:
    """Times of the rows in ms and the column they come from."""
    if wanted is not None:
        if wanted not in columns:
            raise CsvError(f"there is no column {wanted!r}; there are {', '.join(list(columns)[:20])}")
        try:
            return _dates(columns[wanted], wanted), wanted
        except ValueError:
            pass
        try:
            return _stamps(columns[wanted]), wanted
        except ValueError as reason:
            raise CsvError(f"column {wanted!r} holds no times: {reason}") from None
    for name, cells in columns.items():
        try:
            return _dates(cells, name), name
        except ValueError:
            continue
    return [_PERIOD_MS * row for row in range(rows)], None


def _dates(cells: list[str], name: str) -> list[int]:
    """ISO 8601 dates and times; those without a zone count as UTC. Raises ValueError."""
    times = []
    for cell in cells:
        if not cell[:4].isdigit() or cell[4:5] not in ("-", "/"):
            raise ValueError(f"not a date: {cell[:40]!r}")
        text = cell.replace("/", "-").replace("Z", "+00:00")
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=timezone.utc)
        # Through integers: a float has no milliseconds left to be exact about.
        since = moment - datetime(1970, 1, 1, tzinfo=timezone.utc)
        times.append((since.days * 86400 + since.seconds) * 1000 + since.microseconds // 1000)
    return times


def _stamps(cells: list[str]) -> list[int]:
    """Numbers: seconds since 1970, or ms, µs or ns where they are too large for that. Raises ValueError."""
    try:
        numbers = [Decimal(cell) for cell in cells]
        largest = max(abs(number) for number in numbers)
    except InvalidOperation:
        raise ValueError("neither dates (ISO 8601) nor numbers") from None
    per_ms = Decimal("0.001")
    for limit, unit in ((10**11, 1), (10**14, 1000), (10**17, 10**6)):
        if largest >= limit:
            per_ms = Decimal(unit)
    times = [int(number / per_ms) for number in numbers]
    if max(map(abs, times)) > _TIME_LIMIT_MS:
        raise ValueError("numbers too large for times")
    return times
