"""Parquet says what the CSV says, to the digit; in groups of rows, from either store."""

import csv
import io
import sys

import pytest

from batches import START_MS, FakeGateway
from host_tools import cli
from host_tools.hub.export import parquet
from parkgate.reading import RELATIVE_ONLY

pq = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed: pip install 'parkgate[parquet]'")


@pytest.fixture
def filled(rig):
    """Two gateways: all qualities, dates and no dates, negative and large numbers, names of every kind."""
    schema = [
        ["មាស៊ីន, 1", "SDM630", [["active_power", "W", 1], ["import_active_energy", "kWh", 2]]],
        ["=1+1", "profile", [["temperature", "Cel", 3]]],
    ]
    for number in (1, 2):
        gateway = FakeGateway(number, schema)
        gateway.name = f"hall {number}"
        rig.enrol(gateway)
        for at in range(3):
            times = [START_MS + 1000 * (20 * at + n) for n in range(20)]
            power = [(ms, 0, [n - 7, (1 << 61) - n], [0, 0]) for n, ms in enumerate(times)]
            power[3] = times[3], 0, [None, 7], [8, 0]
            room = [(n, RELATIVE_ONLY, [n * 1001], [0]) for n in range(5)]
            assert rig.take((gateway.batch_topic(), gateway.batch(tables={0: power, 1: room})))[0].receipt
    return rig


def exported(rig, form, tmp_path, *words):
    out = tmp_path / f"out.{form}"
    code = cli.main(["export", "--data", str(rig.data_dir), "--format", form, "--out", str(out), *words])
    return code, out.read_bytes()


def as_csv(table):
    """Rows as the CSV has them."""
    found = []
    for row in table.to_pylist():
        if row["steps"] is not None:
            digits = f"{abs(row['steps']):0{row['scale'] + 1}d}"
            text = f"{digits[: -row['scale']]}.{digits[-row['scale'] :]}" if row["scale"] else digits
            assert abs(row["value"] - row["steps"] / 10 ** row["scale"]) <= abs(row["value"]) * 1e-15
        else:
            text = ""
            assert row["value"] is None
        time_ms = "" if row["time"] is None else str(round(row["time"].timestamp() * 1000))
        found.append({
            **{name: str(row[name]) for name in ("gateway", "gateway_id", "place", "epoch", "seq", "instrument",
                                                 "quantity", "unit", "clock_trust", "quality")},
            "time_unix_ms": time_ms, "value": f"-{text}" if (row["steps"] or 0) < 0 else text,
            "time_since_boot_ms": "" if row["time_since_boot_ms"] is None else str(row["time_since_boot_ms"]),
        })  # fmt: skip
    return found


@pytest.mark.parametrize("words", [
    [], ["--gateway", "hall 2"], ["--quantity", "temperature"],
    ["--from", str(START_MS + 5000), "--to", str(START_MS + 30_000)],
])  # fmt: skip
def test_it_says_what_the_csv_says(filled, tmp_path, monkeypatch, words):
    monkeypatch.setattr(parquet, "GROUP_ROWS", 50)
    code, data = exported(filled, "parquet", tmp_path, *words)
    assert code == 0
    table = pq.read_table(io.BytesIO(data))
    wanted = list(csv.DictReader(io.StringIO(exported(filled, "csv", tmp_path, *words)[1].decode())))
    assert wanted and as_csv(table) == wanted
    groups = pq.ParquetFile(io.BytesIO(data)).metadata
    assert all(groups.row_group(n).num_rows < 50 + 20 for n in range(groups.num_row_groups)), "bounded memory"


def test_a_damaged_batch_is_named(filled, tmp_path):
    filled.store.db.execute("UPDATE batch SET bytes = ? WHERE seq = 1 AND ep = 1", (bytes(99),))
    code, data = exported(filled, "parquet", tmp_path)
    assert code == 1
    damaged = [row for row in pq.read_table(io.BytesIO(data)).to_pylist() if row["quality"].startswith("damaged")]
    assert [(row["gateway"], row["seq"], row["steps"]) for row in damaged] == [("hall 1", 1, None)]


def test_an_empty_answer_is_a_file_too(filled, tmp_path):
    code, data = exported(filled, "parquet", tmp_path, "--day", "2001-01-01")
    assert code == 0 and pq.read_table(io.BytesIO(data)).num_rows == 0


def test_without_the_library_it_is_said_before_anything_is_written(filled, tmp_path, monkeypatch, capsys):
    for name in [name for name in sys.modules if name.partition(".")[0] == "pyarrow"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    out = tmp_path / "x.parquet"
    assert cli.main(["export", "--data", str(filled.data_dir), "--format", "parquet", "--out", str(out)]) == 2
    assert "pip install 'parkgate[parquet]'" in capsys.readouterr().err and not out.exists()
    assert exported(filled, "csv", tmp_path)[0] == 0
