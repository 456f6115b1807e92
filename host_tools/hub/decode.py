"""From the columns of a batch to blocks: what the index and the newest values need, found while every column
is checked."""

from parkgate.errors import FormatError
from parkgate.reading import RELATIVE_ONLY

from .state import SPARK_POINTS


class Block:
    """The readings of one series in one batch. `first_ms`, `last_ms` span the dated rows, -1 when there is
    none."""

    __slots__ = (
        "series", "instrument", "channel", "readings", "undated", "first_ms", "last_ms", "least", "most", "qualities",
        "newest_ms", "newest_trust", "newest_quality", "newest_value", "spark",
    )  # fmt: skip


def blocks(batch, places: list) -> list[Block]:
    """The blocks of `batch`, all columns decoded. `places` is its schema: instrument → channel → series.

    Raises FormatError when a column does not decode or the schema has no place for it."""
    found = []
    for table in batch.tables:
        if table.instrument >= len(places) or len(places[table.instrument]) != len(table.channels):
            raise FormatError(
                f"the schema does not describe instrument {table.instrument} as it stands in the batch"
            )
        times, trust, qualities = table.times(batch.base_ms), table.trust, table.quality
        dated = times
        if RELATIVE_ONLY in trust:
            dated = [time_ms for time_ms, code in zip(times, trust) if code != RELATIVE_ONLY]
        first_ms, last_ms = (min(dated), max(dated)) if dated else (-1, -1)
        for channel, series in enumerate(places[table.instrument]):
            block = Block()
            block.series, block.instrument, block.channel = series, table.instrument, channel
            block.readings, block.undated = table.rows, table.rows - len(dated)
            block.first_ms, block.last_ms = first_ms, last_ms
            values = table.column(channel)
            quality = qualities[channel]
            block.newest_ms, block.newest_trust = times[-1], trust[-1]
            block.newest_value = values[-1]
            if quality is None:
                block.newest_quality, block.qualities = 0, {0: table.rows}
                present = values
            else:
                block.newest_quality = quality[-1]
                block.qualities = {code: quality.count(code) for code in set(quality)}
                present = [value for value in values if value is not None]
            block.least, block.most = (min(present), max(present)) if present else (None, None)
            block.spark = present[-SPARK_POINTS:]
            found.append(block)
    return found
