"""Sizes on the wire: batches of this project, part by part, beside other formats on the same rows.

Ours is the whole sealed batch as a gateway sends it in the middle of a chain: COSE_Sign1 with signature, gateway,
epoch, seq, the hash of the batch before, counters, times, clock trust and qualities. (The first batch of an epoch also
carries the schema.) Where a file has more channels than one batch holds, they are spread over several batches.
"""

import hashlib
from typing import Any

from rich.console import Console
from rich.table import Table

from host_tools.bench import peers
from host_tools.bench.ideal import ideal_bytes
from host_tools.bench.peers import Rows
from host_tools.bench.table import Channel, CsvError, Recording, read
from parkgate.reading import GOOD, SYNCHRONISED, TIMEOUT
from parkgate.wire import batch, columns, cose
from parkgate.wire.steps import finish

_EPOCH = hashlib.sha256(b"epoch").digest()[:16]
_GATEWAY = hashlib.sha256(b"gateway").digest()
_SHOWN_CHANNELS_MAX = 40
_START_MS = 1_600_000_000_000


def batch_bytes(times_ms: list[int], channels: list[Channel], seq: int = 1000) -> bytes:
    """These rows as one sealed batch of one instrument; the signature is zeros, which are as long as any.

    Raises BatchTooLarge."""
    # Before 1970 and in a file without dates: any time will do, only differences are encoded.
    shift = _START_MS if min(times_ms) < 0 else 0
    table = batch.Table(0, len(channels))
    for i, time_ms in enumerate(times_ms):
        row = [channel.values[i] for channel in channels]
        qualities = [TIMEOUT if value is None else GOOD for value in row] if None in row else None
        table.add(time_ms + shift, SYNCHRONISED, row, qualities)
    schema = [["meter", "", [[channel.name, "", channel.decimals] for channel in channels]]]
    sampled = seq * len(times_ms) * len(channels)
    header = batch.Header(
        prev=hashlib.sha256(b"batch before").digest(),
        boot=3,
        cause=1,
        sampled=sampled + table.readings(),
        dropped=0,
        receipt_seq=seq - 2,
        settings_id=bytes(range(16)),
        schema=batch.encode_schema(schema),
        with_schema=False,
    )
    payload = finish(batch.payload_steps(header, [table], []))
    protected = cose.sign1_protected(_GATEWAY, batch.CONTENT_TYPE, _EPOCH, seq)
    return cose.sign1_join(protected, payload, bytes(64))


class _Sizes:
    """Bytes of our batches by what they are spent on."""

    def __init__(self, channels: int):
        self.batches = self.whole = self.times = self.qualities = 0
        self.columns = [0] * channels

    def add(self, times_ms: list[int], channels: list[Channel], first: int = 0) -> None:
        """Seal these rows, in halves of the channels where they are too much for one batch."""
        several = len(channels) > 1
        try:
            if several and len(channels) > batch.MAX_CHANNELS:
                raise batch.BatchTooLarge("too many channels for one instrument")
            data = batch_bytes(times_ms, channels)
        except batch.BatchTooLarge as error:
            if not several:
                raise CsvError(f"{len(times_ms)} rows are too many for a batch: {error}") from None
            half = len(channels) // 2
            self.add(times_ms, channels[:half], first)
            self.add(times_ms, channels[half:], first + half)
            return
        self.batches += 1
        self.whole += len(data)
        [table] = batch.Batch(data).tables
        self.times += len(table.times_data) + len(table.trust_data)
        for i, column in enumerate(table.channels):
            self.columns[first + i] += len(column)
        # A quality that several channels share stands there once.
        self.qualities += sum(map(len, {id(data): data for data in table.quality_data}.values()))


def _parts(recording: Recording, rows: int, batches: int) -> list[Rows]:
    """The rows of each batch: `batches` of them evenly spread, or all, the last one shorter."""
    count = len(recording.times_ms)
    rows = min(rows, count)
    if batches:
        stride = max(rows, (count - rows) // batches)
        starts = list(range(0, count - rows + 1, stride))[:batches]
    else:
        starts = list(range(0, count, rows))
    return [
        Rows(
            recording.times_ms[start : start + rows],
            [channel._replace(values=channel.values[start : start + rows]) for channel in recording.channels],
        )
        for start in starts
    ]


def measure(path: str, rows: int = 240, batches: int = 8, time_column: str | None = None) -> dict[str, Any]:
    """Sizes in bytes a value (one channel at one time) for this file. Raises CsvError."""
    if not 1 <= rows <= columns.MAX_ROWS:
        raise CsvError(f"a batch has 1 to {columns.MAX_ROWS} rows, not {rows}")
    if batches < 0:
        raise CsvError(f"{batches} batches cannot be measured")
    recording = read(path, time_column)
    parts = _parts(recording, rows, batches)
    sizes = _Sizes(len(recording.channels))
    ideal = [0.0] * len(recording.channels)
    for part in parts:
        sizes.add(part.times_ms, part.channels)
        for i, channel in enumerate(part.channels):
            ideal[i] += ideal_bytes([value for value in channel.values if value is not None])
    present = [
        sum(value is not None for part in parts for value in part.channels[i].values)
        for i in range(len(recording.channels))
    ]
    values = sum(present)
    if not values:
        raise CsvError(f"{path}: all cells in the rows that were measured are empty")
    used = sum(sizes.columns)
    return {
        "file": str(path),
        "rows": len(recording.times_ms),
        "rows_a_batch": min(rows, len(recording.times_ms)),
        "batches": sizes.batches,
        "values": values,
        "time_column": recording.time_column,
        "left_out": recording.left_out,
        "parkgate": {
            "bytes_a_value": sizes.whole / values,
            "columns": used / values,
            "times": sizes.times / values,
            "qualities": sizes.qualities / values,
            "envelope": (sizes.whole - used - sizes.times - sizes.qualities) / values,
            "ideal_columns": sum(ideal) / values,
            "columns_to_ideal": used / sum(ideal) if sum(ideal) else None,
            "bytes_a_batch": sizes.whole / sizes.batches,
        },
        "channels": [
            {
                "name": channel.name,
                "decimals": channel.decimals,
                "values": present[i],
                "bytes_a_value": sizes.columns[i] / present[i] if present[i] else None,
                "ideal_bytes_a_value": ideal[i] / present[i] if present[i] else None,
            }
            for i, channel in enumerate(recording.channels)
        ],
        "peers": [_measure_peer(peer, parts, values, sizes.whole / values) for peer in peers.PEERS],
    }


def _measure_peer(peer: peers.Peer, parts: list[Rows], values: int, ours: float) -> dict[str, Any]:
    library = peers.load(peer)
    if library is None:
        return {"name": peer.name, "bytes_a_value": None, "zlib_bytes_a_value": None, "ratio": None, "zlib_ratio": None}
    plain = packed = 0
    for part in parts:
        sizes = peers.sizes(peer, library, part)
        plain += sizes[0]
        packed += sizes[1]
    return {
        "name": peer.name,
        "bytes_a_value": plain / values,
        "zlib_bytes_a_value": packed / values,
        "ratio": plain / values / ours,
        "zlib_ratio": packed / values / ours,
    }


def show(report: dict[str, Any]) -> None:
    """Print a report for people."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=110)
    ours = report["parkgate"]
    dated = report["time_column"] or "none: rows a second apart"
    console.print(
        f"{report['file']}: {report['rows']} rows, {len(report['channels'])} channels, times: {dated}. "
        f"Measured: {report['batches']} batches of {report['rows_a_batch']} rows, {report['values']} values.",
        highlight=False,
        markup=False,
    )
    table = Table("bytes a value", title_justify="left")
    for heading in ("plain", "× ours", "zlib", "× ours"):
        table.add_column(heading, justify="right")
    table.add_row("Parkgate, signed and chained", f"{ours['bytes_a_value']:.3f}", "1.00", "", "", style="bold")
    for name, note in (
        ("columns", ""),
        ("times", " and clock trust"),
        ("qualities", ""),
        ("envelope", " with signature"),
    ):
        table.add_row(f"  {name}{note}", f"{ours[name]:.3f}", "", "", "")
    for peer in report["peers"]:
        if peer["bytes_a_value"] is None:
            table.add_row(peer["name"], "not installed", "", "", "")
        else:
            numbers = (peer["bytes_a_value"], peer["ratio"], peer["zlib_bytes_a_value"], peer["zlib_ratio"])
            table.add_row(peer["name"], *(f"{number:.2f}" for number in numbers))
    console.print(table)
    _show_channels(console, report)
    for name, reason in list(report["left_out"].items())[:10]:
        console.print(f"left out: {name}: {reason}", highlight=False, markup=False)


def _show_channels(console: Console, report: dict[str, Any]) -> None:
    ours = report["parkgate"]
    table = Table("channel", title_justify="left")
    for heading in ("decimals", "bytes a value", "ideal coder", "× ideal"):
        table.add_column(heading, justify="right")
    for channel in report["channels"][:_SHOWN_CHANNELS_MAX]:
        size, ideal = channel["bytes_a_value"], channel["ideal_bytes_a_value"]
        if size is None:
            table.add_row(channel["name"], str(channel["decimals"]), "no values", "", "")
        else:
            ratio = f"{size / ideal:.2f}" if ideal else ""
            table.add_row(channel["name"], str(channel["decimals"]), f"{size:.3f}", f"{ideal:.3f}", ratio)
    more = len(report["channels"]) - _SHOWN_CHANNELS_MAX
    if more > 0:
        table.add_row(f"{more} more (see --json)", "", "", "", "")
    ratio = f"{ours['columns_to_ideal']:.3f}" if ours["columns_to_ideal"] else ""
    table.add_row("all columns", "", f"{ours['columns']:.3f}", f"{ours['ideal_columns']:.3f}", ratio, style="bold")
    console.print(table)
