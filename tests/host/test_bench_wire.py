"""`parkgate bench wire`: any CSV is read as a gateway would have, or refused with a reason; sizes add up; what the
peers encode decodes to the same rows."""

import importlib
import json
import random

import pytest

from host_tools import cli
from host_tools.bench import peers, wire
from host_tools.bench.peers import PEERS, Rows
from host_tools.bench.table import Channel, read
from parkgate.wire import batch

DAY = "2024-03-01T"


@pytest.fixture
def table_file(tmp_path):
    """Give a function that writes a file and gives its path."""

    def write(text, encoding="utf-8"):
        path = tmp_path / "table.csv"
        path.write_bytes(text.encode(encoding))
        return path

    return write


def test_columns_are_read_at_their_published_decimals(table_file):
    path = table_file(f"time,u,i,state\n{DAY}00:00:00,230.1,-0.25,on\n{DAY}00:15:00,229,1e-1,off\n", "utf-8-sig")
    recording = read(path)
    assert recording.channels == [Channel("u", 1, [2301, 2290]), Channel("i", 2, [-25, 10])]
    assert recording.times_ms == [1709251200000, 1709252100000]
    assert recording.time_column == "time"
    assert recording.left_out == {"state": "not a number in row 1: 'on'"}


def test_semicolons_decimal_commas_and_blank_lines(table_file):
    recording = read(table_file("a;b\r\n1,5;2\r\n\r\n;3\r\n2,25;n/a\r\n"))
    assert recording.channels == [Channel("a", 2, [150, None, 225]), Channel("b", 0, [2, 3, None])]
    assert recording.times_ms == [0, 1000, 2000]


def test_names_twice_or_missing_and_ragged_rows(table_file):
    recording = read(table_file("a,a,,b\n1,2,3\n4,5,6,7,8\n"))
    assert [channel.name for channel in recording.channels] == ["a", "a (2)", "column 3", "b"]
    assert recording.channels[3].values == [None, 7]


def test_columns_that_are_no_channels_say_why(table_file):
    path = table_file(f"a,b,c,d,e,f\n1,,inf,0.{'1' * 30},99999999999999999999,9223372036854775808\n")
    assert read(path).left_out == {
        "b": "no numbers",
        "c": "not a finite number in row 1: 'inf'",
        "d": f"more digits than 64 bits hold in row 1: '0.{'1' * 30}'",
        "e": "more digits than 64 bits hold in row 1: '99999999999999999999'",
        "f": "more than 64 bits at 0 decimals",
    }


@pytest.mark.parametrize(
    ("stamps", "times_ms"),
    [
        (("1709251200", "1709251260.5"), [1709251200000, 1709251260500]),
        (("1709251200000", "1709251200001"), [1709251200000, 1709251200001]),
        (("1709251200000000", "1709251201000000"), [1709251200000, 1709251201000]),
        (("2024-03-01 00:00:00Z", "2024/03/01 01:00:00+01:00"), [1709251200000, 1709251200000]),
    ],
)
def test_time_column_by_name(table_file, stamps, times_ms):
    path = table_file("v,when\n" + "".join(f"{i},{stamp}\n" for i, stamp in enumerate(stamps)))
    recording = read(path, "when")
    assert recording.times_ms == times_ms
    assert [channel.name for channel in recording.channels] == ["v"]


@pytest.mark.parametrize(
    ("text", "options", "reason"),
    [
        ("", [], "is empty"),
        ("a,b\n", [], "has a heading and no rows"),
        ("a,b\nx,y\n", [], "no numeric column"),
        (f"time\n{DAY}00:00:00\n", [], "no numeric column"),
        ("a,b\n1,2\n", ["--time-column", "c"], "there is no column 'c'; there are a, b"),
        ("a,b\n1,noon\n", ["--time-column", "b"], "holds no times: neither dates (ISO 8601) nor numbers"),
        ("a\n1\n", ["--rows", "0"], "a batch has 1 to 4096 rows, not 0"),
        ("a\n1\n", ["--rows", "5000"], "a batch has 1 to 4096 rows, not 5000"),
        ("a\n1\n", ["--batches", "-1"], "cannot be measured"),
    ],
)
def test_what_cannot_be_measured_is_one_line(table_file, capsys, text, options, reason):
    assert cli.main(["bench", "wire", "--csv", str(table_file(text)), *options]) == cli.EXIT_ERROR
    said = capsys.readouterr().err
    assert said.startswith("parkgate bench: ")
    assert reason in said
    assert said.count("\n") == 1


def test_files_that_are_no_text(tmp_path, capsys):
    (tmp_path / "binary").write_bytes(bytes(range(256)))
    for name in ("binary", "absent", "."):
        assert cli.main(["bench", "wire", "--csv", str(tmp_path / name)]) == cli.EXIT_ERROR
    said = capsys.readouterr().err
    assert "is not UTF-8 text (byte 128)" in said
    assert "No such file" in said


def test_report_adds_up(table_file, capsys):
    rng = random.Random(1)
    lines = [
        f"{DAY}{i // 60:02}:{i % 60:02}:00,{rng.randrange(2200, 2400) / 10},{'' if i % 7 else i}" for i in range(600)
    ]
    path = table_file("t,u,n\n" + "\n".join(lines))
    assert cli.main(["bench", "wire", "--csv", str(path), "--json", "--rows", "100"]) == 0
    report = json.loads(capsys.readouterr().out)
    ours = report["parkgate"]
    assert (report["batches"], report["rows_a_batch"], report["time_column"]) == (6, 100, "t")
    assert report["values"] == 600 + sum(i % 7 == 0 for i in range(600))
    parts = ours["columns"] + ours["times"] + ours["qualities"] + ours["envelope"]
    assert ours["bytes_a_value"] == pytest.approx(parts)
    assert ours["qualities"] > 0
    by_channel = sum(channel["bytes_a_value"] * channel["values"] for channel in report["channels"])
    assert ours["columns"] * report["values"] == pytest.approx(by_channel)
    assert len(report["peers"]) == len(PEERS)
    assert cli.main(["bench", "wire", "--csv", str(path), "--batches", "0"]) == 0
    assert "600 rows, 2 channels" in capsys.readouterr().out


def test_thousands_of_columns_are_spread_over_batches(table_file):
    names = ",".join(f"c{i}" for i in range(3000))
    rows = "\n".join(",".join(str((i * r) % 50) for i in range(3000)) for r in range(12))
    report = wire.measure(table_file(f"{names}\n{rows}\n"))
    assert report["values"] == 3000 * 12
    assert report["batches"] >= 3000 // batch.MAX_CHANNELS


def test_noise_of_64_bits_is_spread_over_batches(table_file):
    rng = random.Random(2)
    rows = "\n".join(",".join(str(rng.randrange(-(1 << 62), 1 << 62)) for _ in range(12)) for _ in range(240))
    report = wire.measure(table_file(",".join("abcdefghijkl") + "\n" + rows))
    assert report["batches"] > 1
    assert 7.87 <= report["parkgate"]["columns"] < 8


def test_reference_data_meets_its_bound(reference):
    report = wire.measure(reference / "steel_industry.csv")
    assert report["parkgate"]["bytes_a_value"] <= 1.0
    assert report["parkgate"]["columns_to_ideal"] <= 1.0
    # This column goes back in time at each midnight, which a batch says as well as anything.
    again = wire.measure(reference / "steel_industry.csv", time_column="ts_as_published")
    assert again["parkgate"]["bytes_a_value"] <= 1.05


ROWS = Rows(
    [1_700_000_000_000, 1_700_000_000_500, 1_700_000_001_000],
    [Channel("u", 1, [2301, 2299, None]), Channel("big", 0, [-5, 1 << 40, 3]), Channel("fine", 6, [1, 16777217, -7])],
)


def library(name):
    peer = next(peer for peer in PEERS if peer.name.startswith(name))
    found = peers.load(peer)
    if found is None:
        pytest.skip(f"{peer.package} is not installed here: `make bench` has an environment with it")
    return found


def test_senml_says_the_rows():
    senml = library("SenML")
    for coded in (json.loads(peers.senml_json(senml, ROWS)), senml_records(peers.senml_cbor(senml, ROWS))):
        assert coded[0]["bn"] == "gateway-1:"
        base_s = coded[0]["bt"]
        said = {(record["n"], round((base_s + record.get("t", 0)) * 1000)): record["v"] for record in coded}
        assert said == {
            (channel.name, time_ms): value / 10**channel.decimals
            for channel in ROWS.channels
            for time_ms, value in zip(ROWS.times_ms, channel.values)
            if value is not None
        }


def senml_records(data):
    import cbor2

    labels = {-2: "bn", -3: "bt", 0: "n", 2: "v", 6: "t"}
    return [{labels[label]: item for label, item in record.items()} for record in cbor2.loads(data)]


def sparkplug_value(said, channel):
    if said.HasField("long_value"):
        value = said.long_value
        return value - (1 << 64) if value >> 63 else value
    for name in ("float_value", "double_value"):
        if said.HasField(name):
            return round(getattr(said, name) * 10**channel.decimals)
    return None


def test_sparkplug_says_the_rows():
    classes = peers.sparkplug_classes(library("Sparkplug"))
    payload = classes["Payload"].FromString(peers.sparkplug_alias(None, ROWS))
    said = {(metric.alias, metric.timestamp): metric for metric in payload.metrics}
    payload = classes["Payload"].FromString(peers.sparkplug_dataset(None, ROWS))
    rows = payload.metrics[0].dataset_value.rows
    assert [row.elements[0].long_value for row in rows] == ROWS.times_ms
    for alias, channel in enumerate(ROWS.channels):
        for i, (time_ms, value) in enumerate(zip(ROWS.times_ms, channel.values)):
            assert sparkplug_value(said[alias, time_ms], channel) == value
            assert sparkplug_value(rows[i].elements[1 + alias], channel) == value


def test_other_peers_say_the_rows():
    columns = [ROWS.times_ms, *(channel.values for channel in ROWS.channels)]
    msgpack = library("MessagePack")
    assert msgpack.unpackb(peers.msgpack_rows(msgpack, ROWS)) == [list(row) for row in zip(*columns)]
    lines = peers.influx_line(library("Influx"), ROWS).decode().splitlines()
    assert lines[0] == "m,g=gateway-1 u=230.1,big=-5i,fine=1e-06 1700000000000"
    assert lines[2] == "m,g=gateway-1 big=3i,fine=-7e-06 1700000001000"
    pyarrow = library("Parquet")
    parquet = importlib.import_module("pyarrow.parquet")
    for coded in (peers.parquet_zstd(pyarrow, ROWS), peers.parquet_bare(pyarrow, ROWS)):
        found = parquet.read_table(pyarrow.BufferReader(coded))
        assert [column.cast(pyarrow.int64()).to_pylist() for column in found.columns] == columns
