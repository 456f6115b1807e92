"""From the columns of batches to blocks: what the index and the newest values need, found while every column
is checked.

A group of batches is decoded together: many columns at a time are decoded several times as fast
(`host_tools.hub.reading.bulk`). First the columns of one entry a row (times, trust, qualities), then, as the qualities
say how many there are, the values. A batch with one bad column has none of its readings indexed; its bytes
are kept all the same.
"""

from collections.abc import Sequence
from itertools import pairwise

from host_tools.hub.reading.bulk import decode_columns
from host_tools.hub.receiving.state import SPARK_POINTS, Channels
from parkgate.errors import FormatError
from parkgate.reading import QUALITY_LIMIT, RELATIVE_ONLY, TRUST_LIMIT, has_value
from parkgate.wire import batch as batch_format
from parkgate.wire.batch import Batch

BULK_COLUMNS = 96  # from here on decoding together is quicker


class Block:
    """The readings of one series in one batch. `first_ms`, `last_ms` span the dated rows, -1 when there is
    none."""

    __slots__ = (
        "series", "instrument", "channel", "readings", "undated", "first_ms", "last_ms", "least", "most", "qualities",
        "newest_ms", "newest_trust", "newest_quality", "newest_value", "spark", "good_ms", "covered_ms", "tail_ms",
        "row_ms",
    )  # fmt: skip


class Columns:
    """The decoded columns of one table: `times` in ms, `trust` a code a row, for each channel `quality`
    (None: all good, else a code a row) and `values` (those that the qualities say are there)."""

    __slots__ = ("instrument", "quality", "rows", "times", "trust", "values")

    def rows_of(self, channel: int) -> tuple[bytes, list[int | None]]:
        """(quality, value or None) of each row of one channel."""
        quality = self.quality[channel] or bytes(self.rows)
        present = iter(self.values[channel])
        return quality, [int(next(present)) if has_value(code) else None for code in quality]


def decode_stored(stored: Sequence[bytes]) -> list[list[Columns] | FormatError]:
    """As `decode_group`, from the bytes of batches that a hub has stored: an older hub may have taken what is refused
    today."""
    made: list[Batch | FormatError] = [_batch(data) for data in stored]
    decoded = iter(decode_group([each for each in made if isinstance(each, Batch)]))
    return [each if isinstance(each, FormatError) else next(decoded) for each in made]


def _batch(data: bytes) -> Batch | FormatError:
    try:
        return Batch(data)
    except FormatError as error:
        return error


def decode_group(batches: list[Batch]) -> list[list[Columns] | FormatError]:
    """The columns of each batch, a table each, or the first fault found in it."""
    wanted = []  # of one entry a row: times, trust, then each quality
    for batch in batches:
        for table in batch.tables:
            # An empty column of trust or qualities says that all are zero. The times are never empty: `_rows` looks.
            wanted += [(column, table.rows if column else 0) for column in _row_columns(table)]
    decoded = iter(_decode(wanted))
    rows = []
    for batch in batches:
        found: list | FormatError = []
        for table in batch.tables:
            parts = [next(decoded) for _ in _row_columns(table)]
            if not isinstance(found, FormatError):
                try:
                    found.append(_rows(batch, table, parts))
                except FormatError as error:
                    found = error
        rows.append(_base_checked(batch, found))
    wanted = []
    for batch, found in zip(batches, rows):
        if not isinstance(found, FormatError):
            for table, columns in zip(batch.tables, found):
                wanted += [(column, _present(columns, i)) for i, column in enumerate(table.channels)]
    decoded = iter(_decode(wanted))  # an empty column of values has no values: any other count is refused
    for i, found in enumerate(rows):
        if not isinstance(found, FormatError):
            fault = None
            for columns in found:
                columns.values = [next(decoded) for _ in columns.quality]
                fault = fault or next((each for each in columns.values if isinstance(each, FormatError)), None)
            rows[i] = fault or found
    return rows


def _base_checked(batch, found):
    if isinstance(found, FormatError):
        return found
    try:
        batch_format.check_base([_least(columns.times) - batch.base_ms for columns in found])
    except FormatError as error:
        return error
    return found


def _row_columns(table):
    return [table.times_data, table.trust_data, *dict.fromkeys(table.quality_data)]


def _decode(wanted: list[tuple[bytes, int]]) -> list[Sequence[int] | FormatError]:
    """The integers of each (column as it stands in a batch, how many), or what is wrong with it."""
    found: list = [None] * len(wanted)
    bulk = []
    for i, (column, count) in enumerate(wanted):
        if len(wanted) >= BULK_COLUMNS and column and count:
            bulk.append(i)
            continue
        try:
            found[i] = batch_format.decode_column(column, count)
        except FormatError as error:
            found[i] = error
    for i, values in zip(bulk, decode_columns([(wanted[i][0][0], wanted[i][0][1:], wanted[i][1]) for i in bulk])):
        found[i] = values
    return found


def _rows(batch, table, parts) -> Columns:
    for part in parts:
        if isinstance(part, FormatError):
            raise part
    times, trust, *qualities = parts
    if not len(times):
        raise FormatError("table: its rows have no times")
    batch_format.check_times(_least(times), _most(times), batch.base_ms)
    columns = Columns()
    columns.instrument, columns.rows = table.instrument, table.rows
    if isinstance(times, list):
        columns.times = [batch.base_ms + offset for offset in times]
    else:
        columns.times = times + batch.base_ms  # both below 2^62
    columns.trust = _codes(trust, table.trust_data, TRUST_LIMIT) or bytes(table.rows)
    by_data = {
        data: _codes(codes, data, QUALITY_LIMIT) for data, codes in zip(dict.fromkeys(table.quality_data), qualities)
    }
    columns.quality = [by_data[data] for data in table.quality_data]
    batch_format.check_qualities(table.quality_data, columns.quality)
    return columns


def _codes(codes, data, limit):
    if not data:
        return None
    if _least(codes) < 0 or not 0 < _most(codes) < limit:
        raise FormatError("table: a code of trust or quality out of range, or all zero and not left out")
    return bytes(list(codes))


def _least(values) -> int:
    """Of a list or an array of numpy, which is the quicker way for each."""
    return min(values) if isinstance(values, list) else int(values.min())


def _most(values) -> int:
    return max(values) if isinstance(values, list) else int(values.max())


def _present(columns, channel):
    quality = columns.quality[channel]
    return columns.rows if quality is None else sum(map(has_value, quality))


def blocks(tables: list[Columns] | FormatError, places: list[Channels]) -> list[Block]:
    """The blocks of a batch from its columns. `places` is its schema: instrument → channel → series.

    Raises FormatError when a column did not decode or the schema has no place for it."""
    if isinstance(tables, FormatError):
        raise tables
    found = []
    for table in tables:
        if table.instrument >= len(places) or len(places[table.instrument]) != len(table.values):
            raise FormatError(f"the schema does not describe instrument {table.instrument} as it stands in the batch")
        dated = table.times
        if RELATIVE_ONLY in table.trust:
            dated = [int(time_ms) for time_ms, code in zip(table.times, table.trust) if code != RELATIVE_ONLY]
        first_ms, last_ms = (_least(dated), _most(dated)) if len(dated) else (-1, -1)
        row_ms = places[table.instrument].row_ms or usual_step_ms(dated)
        covered: dict[bytes | None, tuple[int, int, int]] = {}  # channels with the same qualities cover the same time
        for channel, series in enumerate(places[table.instrument]):
            block = Block()
            block.series, block.instrument, block.channel = series, table.instrument, channel
            block.readings, block.undated = table.rows, table.rows - len(dated)
            block.first_ms, block.last_ms = first_ms, last_ms
            block.newest_ms, block.newest_trust = int(table.times[-1]), table.trust[-1]
            quality, values = table.quality[channel], table.values[channel]
            block.newest_quality = 0 if quality is None else quality[-1]
            block.qualities = (
                {0: table.rows} if quality is None else {code: quality.count(code) for code in sorted(set(quality))}
            )
            if quality not in covered:
                covered[quality] = coverage(table.times, table.trust, quality, row_ms)
            block.good_ms, block.covered_ms, block.tail_ms = covered[quality]
            block.row_ms = row_ms
            block.least = block.most = block.newest_value = None
            block.spark = [int(value) for value in values[-SPARK_POINTS:]] if series.is_headline else []
            if len(values):
                block.least, block.most = _least(values), _most(values)
                if has_value(block.newest_quality):
                    block.newest_value = int(values[-1])
            found.append(block)
    return found


def usual_step_ms(times: Sequence[int]) -> int:
    """The median time between rows: the cadence of a gateway whose schema does not declare one."""
    steps = sorted(int(b) - int(a) for a, b in pairwise(times) if b > a)
    return steps[len(steps) // 2] if steps else 0


def coverage(times: Sequence[int], trust: bytes, quality: bytes | None, row_ms: int) -> tuple[int, int, int]:
    """(time of the last good row or -1, ms that good rows cover between the first row and the last, ms that the last
    row covers at most) by SPEC 5.7: a good row covers the time to the next one, or one cadence when that is further
    than 1.5 of it."""
    rows = [
        (int(time_ms), not quality or not quality[i]) for i, time_ms in enumerate(times) if trust[i] != RELATIVE_ONLY
    ]
    rows.sort(key=lambda row: row[0])
    covered_ms = 0
    good_ms = -1
    for (time_ms, good), (next_ms, _) in pairwise(rows):
        if good:
            step_ms = next_ms - time_ms
            covered_ms += step_ms if 2 * step_ms <= 3 * row_ms else row_ms
            good_ms = time_ms
    if not rows or not rows[-1][1]:
        return good_ms, covered_ms, 0
    return rows[-1][0], covered_ms, row_ms
