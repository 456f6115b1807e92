"""Readings as Apache Parquet, for pandas, DuckDB, Spark and the like: one row a reading, in groups of rows.

| column | type | |
|---|---|---|
| gateway, gateway_id, place, instrument, quantity, unit | string | as in CSV |
| epoch, seq | string, int64 | the signed batch that holds it |
| time | timestamp, ms, UTC | null when the time is only known relative to a start |
| time_since_boot_ms | int64 | null when `time` is there |
| clock_trust, quality | string | as in CSV |
| steps, scale | int64, int8 | the value exactly: steps / 10^scale; null when there is none |
| value | double | the same as a float, which may round the last digit |

A batch that is damaged is one row without a reading, whose quality says what is wrong. Needs the library pyarrow, which
is imported here only.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from host_tools.hub.export.csv_text import quality_name
from host_tools.hub.export.rows import Rows, Tally
from parkgate.errors import SettingsError
from parkgate.reading import RELATIVE_ONLY, TRUST_NAMES

MEDIA_TYPE = "application/vnd.apache.parquet"
GROUP_ROWS = 100_000  # in memory at a time
_TEXTS = ("gateway", "gateway_id", "place", "epoch", "instrument", "quantity", "unit")


def check() -> None:
    """Raises SettingsError where the library is not installed."""
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise SettingsError(f"Parquet needs a library more: pip install 'parkgate[parquet]' ({error})") from None


def answer(parts: Iterator[Rows], tally: Tally) -> Iterator[bytes]:
    """The file in pieces, one a group of rows, and its index at the end."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    text = pa.dictionary(pa.int32(), pa.string())
    schema = pa.schema([
        *((name, text) for name in _TEXTS), ("seq", pa.int64()), ("time", pa.timestamp("ms", "UTC")),
        ("time_since_boot_ms", pa.int64()), ("clock_trust", text), ("steps", pa.int64()), ("scale", pa.int8()),
        ("value", pa.float64()), ("quality", text),
    ])  # fmt: skip
    out = _Pieces()
    with pq.ParquetWriter(out, schema, compression="zstd", version="2.6") as writer:
        held, count = [], 0
        for part in parts:
            made = _batch(pa, schema, part, tally)
            held.append(made)
            count += made.num_rows
            if count >= GROUP_ROWS:
                writer.write_table(pa.Table.from_batches(held, schema).unify_dictionaries(), count)
                held, count = [], 0
                yield out.take()
        if held:
            writer.write_table(pa.Table.from_batches(held, schema).unify_dictionaries(), count)
    yield out.take()


class _Pieces:
    """A file to write that keeps what was written until it is taken."""

    closed = False

    def __init__(self):
        self._parts: list[bytes] = []
        self._size = 0

    def write(self, data) -> int:
        self._parts.append(bytes(data))
        self._size += len(self._parts[-1])
        return len(self._parts[-1])

    def tell(self) -> int:
        return self._size

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False

    def take(self) -> bytes:
        data = b"".join(self._parts)
        self._parts.clear()
        return data


def _batch(pa: Any, schema: Any, part: Rows, tally: Tally) -> Any:
    """One channel of one batch as columns."""
    channel, count = part.channel, len(part.times)
    if channel is None:
        texts = part.gateway.name, part.gateway.id.hex(), part.place, part.epoch.hex(), "", "", ""
        columns = [_same(pa, one, 1) for one in texts] + [pa.array([part.seq], pa.int64())]
        columns += [pa.nulls(1, schema.field(name).type) for name in schema.names[8:-1]]
        return pa.record_batch([*columns, _same(pa, f"damaged: {part.fault}", 1)], schema)
    texts = (
        part.gateway.name, part.gateway.id.hex(), part.place, part.epoch.hex(), channel.instrument, channel.quantity,
        channel.unit,
    )  # fmt: skip
    relative = [code == RELATIVE_ONLY for code in part.trust]
    times = [int(time_ms) for time_ms in part.times]
    steps = [None if value is None else int(value) for value in part.values]
    divisor = 10.0**channel.scale
    columns = [_same(pa, one, count) for one in texts]
    columns += [
        pa.array([part.seq] * count, pa.int64()),
        pa.array([None if r else t for t, r in zip(times, relative)], pa.int64()).cast(schema.field("time").type),
        pa.array([t if r else None for t, r in zip(times, relative)], pa.int64()),
        _coded(pa, part.trust, lambda code: TRUST_NAMES[code]),
        pa.array(steps, pa.int64()),
        pa.array([channel.scale] * count, pa.int8()),
        pa.array([None if value is None else value / divisor for value in steps], pa.float64()),
        _coded(pa, part.quality, quality_name),
    ]
    tally.written += count
    return pa.record_batch(columns, schema)


def _same(pa: Any, text: str, count: int) -> Any:
    return pa.DictionaryArray.from_arrays(pa.array([0] * count, pa.int32()), pa.array([text], pa.string()))


def _coded(pa: Any, codes: bytes, name) -> Any:
    known = sorted(set(codes))
    place = {code: at for at, code in enumerate(known)}
    return pa.DictionaryArray.from_arrays(
        pa.array([place[code] for code in codes], pa.int32()), pa.array([name(code) for code in known], pa.string())
    )
