"""Other formats for the same rows, each encoded by its own library (`make bench` installs them).

Each peer gets what suits it: values as the decimal numbers they were published as, or as scaled integers where the
format is commonly used so; single precision where that keeps every published digit; times relative to a base time
where the format has one. Missing readings are left out, or null where the format needs a place for them.
None of them is signed, chained, or says how good a reading or its clock is.
"""

import importlib
import io
import json
import struct
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

from host_tools.bench.table import Channel

NAME = "gateway-1"
ZLIB_LEVEL = 9

# Sparkplug B 3.0, section 6.4: field numbers of the Payload and of what it holds; types of section 6.4.16.
_UINT32, _UINT64, _FLOAT, _DOUBLE, _BOOL, _STRING, _BYTES, _MESSAGE = 13, 4, 2, 1, 8, 9, 12, 11
_SPARKPLUG = {
    "Payload": (
        ("timestamp", 1, _UINT64, ""),
        ("metrics", 2, _MESSAGE, "*Metric"),
        ("seq", 3, _UINT64, ""),
        ("uuid", 4, _STRING, ""),
        ("body", 5, _BYTES, ""),
    ),
    "Metric": (
        ("name", 1, _STRING, ""),
        ("alias", 2, _UINT64, ""),
        ("timestamp", 3, _UINT64, ""),
        ("datatype", 4, _UINT32, ""),
        ("is_null", 7, _BOOL, ""),
        ("int_value", 10, _UINT32, ""),
        ("long_value", 11, _UINT64, ""),
        ("float_value", 12, _FLOAT, ""),
        ("double_value", 13, _DOUBLE, ""),
        ("dataset_value", 17, _MESSAGE, "DataSet"),
    ),
    "DataSet": (
        ("num_of_columns", 1, _UINT64, ""),
        ("columns", 2, _STRING, "*"),
        ("types", 3, _UINT32, "*"),
        ("rows", 4, _MESSAGE, "*Row"),
    ),
    "Row": (("elements", 1, _MESSAGE, "*DataSetValue"),),
    "DataSetValue": (
        ("int_value", 1, _UINT32, ""),
        ("long_value", 2, _UINT64, ""),
        ("float_value", 3, _FLOAT, ""),
        ("double_value", 4, _DOUBLE, ""),
    ),
}
_TYPE_INT64, _TYPE_FLOAT, _TYPE_DOUBLE, _TYPE_DATETIME = 4, 9, 10, 13


class Rows(NamedTuple):
    """The rows of one batch."""

    times_ms: list[int]
    channels: list[Channel]


class Peer(NamedTuple):
    """A format: what it is called, the package that encodes it, and how. `bare` leaves out the compression that it
    has inside, for zlib to do better from outside."""

    name: str
    package: str
    encode: Callable[[Any, Rows], bytes]
    bare: Callable[[Any, Rows], bytes] | None = None


def _number(value: int, decimals: int) -> float | int:
    return value / 10**decimals if decimals else value


def _single_suffices(channel: Channel) -> bool:
    """Single precision keeps every published digit of this channel."""
    for value in channel.values:
        if value is not None:
            number = _number(value, channel.decimals)
            try:
                rounded = struct.unpack("<f", struct.pack("<f", number))[0]
            except OverflowError:
                return False
            if round(rounded * 10**channel.decimals) != value:
                return False
    return True


def _senml_pack(senml, rows: Rows):
    base_s = rows.times_ms[0] // 1000
    pack = senml.SenmlPack(NAME + ":")
    pack.base_time = base_s
    for i, time_ms in enumerate(rows.times_ms):
        offset_ms = time_ms - base_s * 1000
        time_s = offset_ms / 1000 if offset_ms % 1000 else offset_ms // 1000
        for channel in rows.channels:
            value = channel.values[i]
            if value is not None:
                record = senml.SenmlRecord(channel.name, value=_number(value, channel.decimals))
                record.time = time_s + base_s  # the library subtracts the base time again
                pack.add(record)
    return pack


def senml_json(senml, rows: Rows) -> bytes:
    """RFC 8428, JSON; written compactly, which the library does not."""
    return json.dumps(json.loads(_senml_pack(senml, rows).to_json()), separators=(",", ":")).encode()


def senml_cbor(senml, rows: Rows) -> bytes:
    """RFC 8428, CBOR."""
    return _senml_pack(senml, rows).to_cbor()


def sparkplug_classes(protobuf) -> dict[str, Any]:
    """The classes of Sparkplug B's messages, made from the field numbers that its specification publishes."""
    descriptor = importlib.import_module("google.protobuf.descriptor_pb2")
    pool_module = importlib.import_module("google.protobuf.descriptor_pool")
    factory = importlib.import_module("google.protobuf.message_factory")
    file = descriptor.FileDescriptorProto(name="sparkplug_b.proto", package="sparkplug", syntax="proto2")
    for message, fields in _SPARKPLUG.items():
        described = file.message_type.add(name=message)
        for name, number, kind, more in fields:
            field = described.field.add(name=name, number=number, type=kind, label=3 if more[:1] == "*" else 1)
            if more.strip("*"):
                field.type_name = ".sparkplug." + more.strip("*")
    pool = pool_module.DescriptorPool()
    pool.Add(file)
    return {name: factory.GetMessageClass(pool.FindMessageTypeByName("sparkplug." + name)) for name in _SPARKPLUG}


def sparkplug_alias(protobuf, rows: Rows) -> bytes:
    """Sparkplug B, a metric a value under its alias; without the data type, which DDATA should not repeat."""
    payload = sparkplug_classes(protobuf)["Payload"](timestamp=max(rows.times_ms[-1], 0), seq=7)
    single = [_single_suffices(channel) for channel in rows.channels]
    for i, time_ms in enumerate(rows.times_ms):
        for alias, channel in enumerate(rows.channels):
            value = channel.values[i]
            metric = payload.metrics.add(alias=alias, timestamp=time_ms % (1 << 64))
            if value is None:
                metric.is_null = True
            elif not channel.decimals:
                metric.long_value = value % (1 << 64)
            elif single[alias]:
                metric.float_value = _number(value, channel.decimals)
            else:
                metric.double_value = _number(value, channel.decimals)
    return payload.SerializeToString()


def sparkplug_dataset(protobuf, rows: Rows) -> bytes:
    """Sparkplug B, one DataSet with a column for the time and one a channel."""
    classes = sparkplug_classes(protobuf)
    payload = classes["Payload"](timestamp=max(rows.times_ms[-1], 0), seq=7)
    table = payload.metrics.add(alias=1, timestamp=max(rows.times_ms[-1], 0)).dataset_value
    single = [_single_suffices(channel) for channel in rows.channels]
    table.num_of_columns = 1 + len(rows.channels)
    table.columns.append("time")
    table.types.append(_TYPE_DATETIME)
    for channel, small in zip(rows.channels, single):
        table.columns.append(channel.name)
        table.types.append(
            _TYPE_FLOAT if small and channel.decimals else _TYPE_DOUBLE if channel.decimals else _TYPE_INT64
        )
    for i, time_ms in enumerate(rows.times_ms):
        elements = table.rows.add().elements
        elements.add(long_value=time_ms % (1 << 64))
        for channel, small in zip(rows.channels, single):
            value = channel.values[i]
            if value is None:
                elements.add()
            elif not channel.decimals:
                elements.add(long_value=value % (1 << 64))
            elif small:
                elements.add(float_value=_number(value, channel.decimals))
            else:
                elements.add(double_value=_number(value, channel.decimals))
    return payload.SerializeToString()


def influx_line(library, rows: Rows) -> bytes:
    """InfluxDB line protocol, a line a row, times in ms."""
    lines = []
    for i, time_ms in enumerate(rows.times_ms):
        line = library.InfluxLine("m")
        line.add_tag("g", NAME)
        present = False
        for channel in rows.channels:
            value = channel.values[i]
            if value is not None:
                line.add_field(channel.name, _number(value, channel.decimals), is_integer=not channel.decimals)
                present = True
        line.set_timestamp(time_ms)
        if present:
            lines.append(str(line))
    return "\n".join(lines).encode()


def msgpack_rows(msgpack, rows: Rows) -> bytes:
    """MessagePack, [time in ms, scaled integer, …] a row."""
    columns = [channel.values for channel in rows.channels]
    return msgpack.packb([list(row) for row in zip(rows.times_ms, *columns)])


def _parquet(pyarrow, rows: Rows, compression: str) -> bytes:
    parquet = importlib.import_module("pyarrow.parquet")
    arrays = [pyarrow.array(rows.times_ms, pyarrow.timestamp("ms"))]
    arrays += [pyarrow.array(channel.values, pyarrow.int64()) for channel in rows.channels]
    table = pyarrow.Table.from_arrays(arrays, names=["time", *(channel.name for channel in rows.channels)])
    encodings = dict.fromkeys(table.column_names, "DELTA_BINARY_PACKED")
    sizes = []
    for options in ({}, {"use_dictionary": False, "column_encoding": encodings}):
        out = io.BytesIO()
        parquet.write_table(table, out, compression=compression, write_statistics=False, store_schema=False, **options)
        sizes.append(out.getvalue())
    return min(sizes, key=len)


def parquet_zstd(pyarrow, rows: Rows) -> bytes:
    """Parquet of scaled integers, zstd inside, dictionary or delta encoding, whichever is smaller."""
    return _parquet(pyarrow, rows, "zstd")


def parquet_bare(pyarrow, rows: Rows) -> bytes:
    """The same without zstd."""
    return _parquet(pyarrow, rows, "none")


PEERS = (
    Peer("SenML JSON", "senml", senml_json),
    Peer("SenML CBOR", "senml", senml_cbor),
    Peer("Sparkplug B, alias", "google.protobuf", sparkplug_alias),
    Peer("Sparkplug B, DataSet", "google.protobuf", sparkplug_dataset),
    Peer("Influx line protocol", "influx_line", influx_line),
    Peer("MessagePack, rows of scaled integers", "msgpack", msgpack_rows),
    Peer("Parquet, scaled integers", "pyarrow", parquet_zstd, parquet_bare),
)


def load(peer: Peer) -> Any | None:
    """The library of a peer, None when it is not installed."""
    try:
        return importlib.import_module(peer.package)
    except ImportError:
        return None


def sizes(peer: Peer, library: Any, rows: Rows) -> tuple[int, int]:
    """Bytes of these rows in that format, as they are and after zlib."""
    data = peer.encode(library, rows)
    bare = peer.bare(library, rows) if peer.bare else data
    return len(data), len(zlib.compress(bare, ZLIB_LEVEL))
