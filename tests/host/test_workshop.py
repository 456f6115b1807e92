"""A workshop on one gateway: eight meters and machine sensors at once, faults as qualities, totals over power cuts."""

import csv
import json
import time
from itertools import pairwise

import pytest

from host_tools.meters.meter_simulator import MeterBus
from host_tools.sim import workshop
from host_tools.sim.simulate import SimulatedGateway
from park import Park

DEAD = [name for name, _, _, fate in workshop.METERS if fate == "dead"]


class Workshop(Park):
    """A park whose one gateway has the demo's workshop."""

    def __init__(self, folder):
        super().__init__(folder, [meter[:3] for meter in workshop.METERS])
        self.bus = MeterBus(workshop.meters(0.0), log=folder / "meters.jsonl")
        # Here the code of all parts lies on the heap, and so do the simulated sensors: 17 instruments want more of it
        # than a board would need, whose code runs in place from flash.
        self.gateway = SimulatedGateway(folder / "gateway", 600_000)

    def settings(self, meters=None):
        settings = super().settings(meters)
        return settings if meters == () else workshop.furnish(settings, self.gateway.folder)

    def start_gateway(self, environment=None):
        self.gateway.folder.mkdir(parents=True, exist_ok=True)
        super().start_gateway(environment)


def by_series(rows):
    """(instrument, quantity) → rows in the order of time."""
    found = {}
    for row in sorted(rows, key=lambda row: int(row["time_unix_ms"])):
        found.setdefault((row["instrument"], row["quantity"]), []).append(row)
    return found


def numbers(rows):
    return [float(row["value"]) for row in rows if row["value"]]


def test_a_workshop_at_once_each_with_its_quality(tmp_path):
    with Workshop(tmp_path) as park:
        park.start_gateway()
        park.wait(lambda: park.gateway.status.get("sampled", 0) > 900, 90, "all instruments were sampled")
        status = dict(park.gateway.status)
        park.drain()
        rows = park.readings()
        assert status["crashes"] == 0
        assert len(rows) == park.gateway.status["sampled"]
        series = by_series(rows)
        instruments = {instrument for instrument, _ in series}
        assert instruments == {item[0] for item in workshop.METERS} | {item["name"] for item in workshop.SENSORS}
        qualities = {name: {row["quality"] for row in rows if row["instrument"] == name} for name in instruments}
        for name in DEAD:
            assert qualities[name] == {"timeout"}
        for name in ("incomer", "press", "oven", "mill", "crane", "air", "press-state"):
            assert "good" in qualities[name], name
            assert qualities[name] <= {"good", "timeout", "bad reply"}, name  # a busy machine makes meters late
        assert "good" in qualities["saw"]
        # A machine that runs much else stops the process for longer than a FIFO lasts (24 ms): lost samples are said.
        assert "good" in qualities["spindle"] and qualities["spindle"] <= {"good", "sensor fault"}
        # Live meters keep their period though two are dead and one is noisy.
        times = [int(row["time_unix_ms"]) for row in series["incomer", "voltage_l1"]]
        gaps = [b - a for a, b in pairwise(times)]
        assert sum(gaps) / len(gaps) == pytest.approx(workshop.METER_PERIOD_MS, rel=0.1)
        assert max(gaps) < 2 * workshop.METER_PERIOD_MS
        _looks_like_the_world(series)


def _looks_like_the_world(series):
    pulses = series["air", "pulse_count"]
    seconds = (int(pulses[-1]["time_unix_ms"]) - int(pulses[0]["time_unix_ms"])) / 1000
    counts = numbers(pulses)
    assert counts[-1] - counts[0] == pytest.approx(2.3 * seconds, abs=4)
    volume = numbers(series["air", "compressed_air_volume"])
    assert volume[-1] - volume[0] == pytest.approx((counts[-1] - counts[0]) / 100)
    assert set(numbers(series["press-state", "machine_state"])) <= {1.0, 2.0, 3.0}
    velocity = numbers(series["spindle", "vibration_velocity_rms_x"])
    assert all(2.1 < v < 2.5 for v in velocity), velocity
    spent = sum(numbers(series["press-state", state])[-1] for state in ("run_time", "idle_time", "alarm_time"))
    assert spent == pytest.approx(seconds, abs=5)


def test_totals_survive_every_power_cut(tmp_path):
    """Killed at any moment, also around sealing: a total begins again at its last journalled sample, never lower, so
    at most one period is lost."""
    with Workshop(tmp_path) as park:
        park.meters = ()
        park.start_gateway()
        sampled = 0
        for cut in range(6):
            sampled = park.gateway.status.get("sampled", 0)
            park.wait(lambda at=sampled: park.gateway.status.get("sampled", 0) >= at + 20, 30, "some samples")
            time.sleep(0.37 * cut)
            park.gateway.kill()
            park.gateway.start()
        park.wait(lambda: park.gateway.status.get("journalled", 0) > sampled + 40, 30, "some more")
        park.drain()
        series = by_series(park.readings())
    for quantity in ("pulse_count", "compressed_air_volume"):
        values = numbers(series["air", quantity])
        assert values == sorted(values), quantity
    counts = series["air", "pulse_count"]
    lived_s = 0.0
    for before, after in pairwise(counts):
        grown = float(after["value"]) - float(before["value"])
        passed_s = (int(after["time_unix_ms"]) - int(before["time_unix_ms"])) / 1000
        assert grown <= 2.3 * passed_s + 3
        lived_s += passed_s
    # Without power and starting: under three seconds a cut; one period more is the most that a cut may cost.
    assert float(counts[-1]["value"]) >= 2.3 * (lived_s - 6 * (3 + 1)) - 5
    for quantity in ("run_time", "idle_time", "cycle_count"):
        values = numbers(series["press-state", quantity])
        assert values == sorted(values), quantity


def test_a_sensor_that_fails_is_one_quality_and_the_others_run(tmp_path):
    parts = {
        "ports": {
            "i2c0": {
                "chips": [
                    {"part": "sht3x", "address": 0x44, "world": {"value": 21.5}, "percent": {"value": 40}},
                    {"part": "ads1115", "address": 0x48, "microvolts": [{"file": "loop.csv", "step_s": 1}]},
                ]
            },
            "w1": {"part": "ds18b20", "world": {"value": 60}, "faults": {"unplugged": 0.5}},
            "adc0": {"part": "clamp", "amplitude": 0.8},
        }
    }
    options = {"quantity": "level", "at_4ma": 0, "at_20ma": 1000}
    clamp = {"calibration_id": "CT-1", "ma_numerator": 1}
    sensors = [
        {"name": "hall", "family": "sht3x", "port": "i2c0", "period_ms": 500},
        {"name": "gone", "family": "sht3x", "port": "i2c0", "period_ms": 500, "options": {"address": 0x45}},
        {"name": "tank", "family": "current_loop", "port": "i2c0", "period_ms": 500, "options": options},
        {"name": "oven", "family": "ds18b20", "port": "w1"},
        {"name": "motor", "family": "ct_clamp", "port": "adc0", "options": clamp},
        {"name": "nowhere", "family": "sht3x", "port": "i2c7"},
        {
            "name": "mean",
            "family": "sht3x",
            "port": "i2c0",
            "period_ms": 200,
            "report": {"reductions": ["mean", "max"], "every": 5},
        },
    ]
    with Park(tmp_path, ()) as park:
        park.gateway.folder.mkdir()
        (park.gateway.folder / "workshop.json").write_text(json.dumps(parts))
        with open(park.gateway.folder / "loop.csv", "w", newline="") as file:
            csv.writer(file).writerows([["t", "uV"], *([i, uv] for i, uv in enumerate([1200000, 0, 365000, 2060000]))])
        whole = park.settings
        park.settings = lambda meters=None: {**whole(), "buses": [], "instruments": [], "sensors": sensors}
        park.start_gateway()
        park.wait(lambda: park.gateway.status.get("sampled", 0) > 90, 60, "samples")
        park.settings = whole
        status = dict(park.gateway.status)
        assert any("nowhere" in line and "no port" in line for line in park.gateway.lines)
        park.drain()
        rows = park.readings()
    assert status["crashes"] == 0
    assert status["faults"] > 0
    series = by_series(rows)
    assert {row["quality"] for row in series["gone", "temperature"]} == {"sensor fault"}
    assert {(row["value"], row["quality"]) for row in series["hall", "temperature"]} == {("21.50", "good")}
    assert {(row["value"], row["quality"]) for row in series["tank", "level"]} == {
        ("50.0", "good"),
        ("", "sensor fault"),
        ("-2.2", "out of range"),
        ("103.8", "out of range"),
    }
    assert {row["value"] for row in series["tank", "loop_current"]} == {"12.000", "0.000", "3.650", "20.600"}
    assert {row["quality"] for row in series["oven", "temperature"]} == {"good", "timeout"}
    assert {row["quality"] for row in series["motor", "current"]} == {"out of range"}
    assert {row["value"] for row in series["mean", "temperature:mean"]} == {"21.50"}
    assert len(series["hall", "temperature"]) == pytest.approx(2.5 * len(series["mean", "temperature:max"]), rel=0.4)
    assert "nowhere" not in {instrument for instrument, _ in series}
