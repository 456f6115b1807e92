"""Readings back out of the hub: the same integers that went in, thinned without losing a peak, decoded either
way."""

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batches import START_MS, FakeGateway
from host_tools.hub.reading import decode, readings, window
from host_tools.hub.reading.summary import decimal_text
from host_tools.hub.stores.store import connect
from parkgate.errors import FormatError
from parkgate.wire.batch import Batch

VALUES = st.integers(-(2**63) + 1, 2**63 - 1)


def ask(rig, gateway, series, from_ms=None, to_ms=None, last_s=None, points=100_000):
    with contextlib.closing(connect(rig.data_dir, read_only=True)) as db:
        gw = readings.gateway_row(db, gateway.id.hex())
        return window.window(db, gw, series, from_ms, to_ms, last_s, points)


@pytest.fixture
def gateway(rig):
    gateway = FakeGateway(1)
    rig.enrol(gateway)
    rig.batches(gateway, *[gateway.batch(rows=50) for _ in range(8)])
    return gateway


def test_what_went_in_comes_out(rig, gateway):
    found = ask(rig, gateway, [1, 4])
    assert [item["quantity"] for item in found["series"]] == ["voltage_l1", "temperature"]
    voltage, room = found["series"]
    assert voltage["times"] == room["times"] == [START_MS + 1000 * n for n in range(400)]
    assert voltage["values"] == [2300 + n * 7 % 50 for n in range(400)]
    assert (voltage["scale"], voltage["unit"], voltage["from_blocks"]) == (1, "V", False)


def test_windows_cut_exactly(rig, gateway):
    found = ask(rig, gateway, [1], START_MS + 60_000, START_MS + 130_000)["series"][0]
    assert found["times"] == [START_MS + 1000 * n for n in range(60, 131)]
    assert len(ask(rig, gateway, [1], last_s=10)["series"][0]["times"]) == 11
    assert ask(rig, gateway, [1], 0, 5)["series"][0]["times"] == []
    assert ask(rig, gateway, [99])["series"] == []


def test_batches_that_came_late_stand_in_order(rig, tmp_path):
    gateway = FakeGateway(2)
    rig.enrol(gateway)
    sealed = [gateway.batch(rows=20) for _ in range(4)]
    rig.batches(gateway, sealed[0], sealed[3], sealed[1], sealed[2])
    times = ask(rig, gateway, [1])["series"][0]["times"]
    assert times == sorted(times) and len(times) == 80


def test_thinning_keeps_the_peaks(rig):
    gateway = FakeGateway(1, [["m", "p", [["power", "W", 0]]]])
    rig.enrol(gateway)
    rows = [(START_MS + n, 0, [5_000_000 if n == 1234 else -7 if n == 777 else n % 10], None) for n in range(2000)]
    rig.batches(gateway, gateway.batch(tables={0: rows}))
    found = ask(rig, gateway, [1], points=100)["series"][0]
    assert len(found["times"]) <= 102 and found["readings"] == 2000
    assert max(found["values"]) == 5_000_000 and min(found["values"]) == -7
    assert found["times"] == sorted(found["times"])


def test_a_very_long_window_is_drawn_from_the_extremes_of_batches(rig, gateway, monkeypatch):
    monkeypatch.setattr(window, "DECODE_READINGS", 100)
    found = ask(rig, gateway, [1])["series"][0]
    assert found["from_blocks"] and len(found["times"]) == 16
    assert (min(found["values"]), max(found["values"])) == (2300, 2349)


def test_readings_without_value_are_gaps_and_without_date_left_out(rig):
    gateway = FakeGateway(1, [["m", "p", [["power", "W", 0]]]])
    rig.enrol(gateway)
    rows = [(START_MS, 0, [1], None), (START_MS + 1, 0, [None], [8]), (77, 3, [2], None), (START_MS + 2, 0, [3], None)]
    rig.batches(gateway, gateway.batch(tables={0: rows}))
    found = ask(rig, gateway, [1])["series"][0]
    assert (found["times"], found["values"]) == ([START_MS, START_MS + 1, START_MS + 2], [1, None, 3])


def test_events_in_words():
    assert readings.describe([1, 7, 3]) == "start 7, cause: watchdog"
    assert readings.describe([2, 1]) == "a new chain begins: journal lost"
    assert readings.describe([3, 5, -1500]) == "clock corrected by -1.500 s"
    assert "12 readings lost before they were sealed: overflow" in readings.describe([5, None, None, 12, 0])
    assert "in batches 3 to 9" in readings.describe([5, 3, 9, 12, 0])
    for strange in ([1], [2, 99], [4, None], [3, 1, "x"], [5, 1, 2, 3, "x"], [77, 1]):
        assert "hub does not" in readings.describe(strange)


@given(VALUES, st.integers(-3, 18))
def test_decimal_text_is_exact(value, scale):
    from decimal import Decimal

    text = decimal_text(value, scale)
    assert Decimal(text) == Decimal(value).scaleb(-scale)
    assert len(text.partition(".")[2]) == max(0, scale)


# Decoding a group together and one by one must agree in everything, also in what is refused.

ROWS = st.lists(
    st.tuples(st.integers(0, 2**40), st.integers(0, 3), VALUES, st.sampled_from([0, 0, 0, 1, 4, 8, 11, 15])),
    min_size=1,
    max_size=40,
)


@settings(max_examples=30)
@given(st.lists(ROWS, min_size=1, max_size=6))
def test_decoding_together_is_decoding_one_by_one(tables):
    schema = [["m", "p", [["power", "W", 0], ["other", "W", 0]]]]
    gateway = FakeGateway(1, schema)
    batches = []
    for rows in tables:
        samples = [(t, trust, [v if q < 8 else None, 5], [q, 0]) for t, trust, v, q in rows]
        batches.append(Batch(gateway.batch(tables={0: samples})))
    together = decode.decode_group(batches * 24)[: len(batches)]
    for batch, columns in zip(batches, together):
        (table,), (found,) = batch.tables, columns
        assert list(found.times) == table.times(batch.base_ms)
        assert found.trust == table.trust and found.quality == table.quality
        for channel in (0, 1):
            assert list(found.values[channel]) == [v for v in table.column(channel) if v is not None]


@settings(max_examples=60)
@given(st.integers(0, 6), st.integers(0, 60), st.integers(1, 255))
def test_what_one_by_one_refuses_is_refused_together(which, at, flip):
    gateway = FakeGateway(1)
    batch = Batch(gateway.batch(rows=20))
    table = batch.tables[0]
    columns = [table.times_data, *table.channels]
    changed = bytearray(columns[which % len(columns)])
    changed[at % len(changed)] ^= flip
    if which % len(columns) == 0:
        table.times_data = bytes(changed)
    else:
        table.channels[which % len(columns) - 1] = bytes(changed)

    def one_by_one():
        try:
            return [list(table.times(batch.base_ms)), *[table.column(i) for i in range(3)]]
        except FormatError:
            return None

    good = [Batch(FakeGateway(2).batch(rows=20)) for _ in range(20)]
    found = decode.decode_group([*good[:10], batch, *good[10:]])
    assert all(not isinstance(item, FormatError) for i, item in enumerate(found) if i != 10), "no other is harmed"
    if one_by_one() is None:
        assert isinstance(found[10], FormatError)
    else:
        (first, *_) = found[10]
        assert [list(first.times), *map(list, first.values)] == one_by_one()
