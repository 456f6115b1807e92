"""The check that a meter's numbers agree: no false alarm on real data or simulated days, at any load; faults found."""

import lzma
import math
import os
import random
from pathlib import Path

import pytest

from host_tools.meters.load_curve import Load
from host_tools.meters.load_curve import read as read_curve
from host_tools.meters.register_map import RegisterMap
from parkgate.meters import profiles
from parkgate.meters.consistency import diagnosis
from parkgate.meters.consistency.compiling import build, rows
from tests import agreement

EVERY = int(bool(os.environ.get("PARKGATE_FUZZ_SIZE")))  # make fuzz: the long form
VECTORS = Path(__file__).resolve().parents[1] / "vectors"
PHASE = (
    ("voltage", "V", 1), ("current", "A", 1), ("active_power", "W", -1), ("reactive_power", "var", -1),
    ("apparent_power", "VA", -1), ("power_factor", "1", 2),
)  # fmt: skip
STEEL = VECTORS / "steel" / "steel_industry_2018.csv.xz"


def test_a_short_campaign():
    days, alarms, figures = agreement.run(1, 1, part=EVERY or 5)
    assert days > 10 and alarms == 0
    for fault, (meters, _, named) in figures.items():
        assert named == meters, fault


def steel_rows():
    """(W, var) of each quarter of an hour of 2018."""
    for line in lzma.decompress(STEEL.read_bytes()).decode().split():
        active, lagging, leading = (int(text) / 100 for text in line.split(","))
        yield active * 4000, (lagging - leading) * 4000


@pytest.mark.parametrize("phases, per", [(3, 15), (1, 1)])
def test_a_year_of_a_steel_works_has_no_disagreement(phases, per):
    """As a meter behind transformers 1,000/5 shows it: each minute of four days, or each quarter of the whole year."""
    dice = random.Random(5)
    suffixes = ("_l1", "_l2", "_l3") if phases == 3 else ("",)
    channels = [("frequency", "Hz", 2, 1), ("import_active_energy", "Wh", -1, 1), ("export_active_energy", "Wh", -1, 1)]
    for suffix in suffixes:
        for name, unit, scale in PHASE:
            channels.append((name + suffix, unit, scale, 2 if unit == "A" else 1))
    if phases == 3:
        channels.append(("active_power", "W", -1, 1))
    told = []
    check = build("steel", channels, lambda *event: told.append(event), phases == 1)
    data = list(steel_rows())[: 4 * 96 if per > 1 else None]
    assert len(data) in (384, 35040)
    energy, now_s, before = 1e9, 0, data[0]
    for row in data:
        for n in range(1, per + 1):
            watts, vars_ = (a + (b - a) * n / per for a, b in zip(before, row))
            now_s += 900 // per
            energy += watts * 900 / per / 3600
            found = {"frequency": 60.0, "active_power": watts}
            found.update({"import_active_energy": energy, "export_active_energy": 0.0})
            for k, suffix in enumerate(suffixes):
                share = (0.4, 0.33, 0.27)[k] if phases == 3 else 1
                p, q, volts = watts * share, vars_ * share, 220 * dice.uniform(0.97, 1.02)
                size = math.hypot(p, q)
                found.update({"voltage" + suffix: volts, "current" + suffix: size / volts, "active_power" + suffix: p})
                found.update({"reactive_power" + suffix: q, "apparent_power" + suffix: size})
                found["power_factor" + suffix] = p / size if size else 1
            values = [round(found[name] * 10.0**scale / step) * step for name, _, scale, step in channels]
            check.judge(values, bytearray(len(values)), now_s * 1000)
        before = row
    assert told == []


def three_phase_profiles():
    return [path.stem for path in sorted((Path(__file__).resolve().parents[2] / "lib" / "meters").glob("*.json"))]


@pytest.mark.parametrize("peak_w", [60_000.0, 40.0, 0.0], ids=["load", "light load", "no load"])
def test_days_of_the_simulator_have_no_disagreement(peak_w):
    """Every profile's channels, filled by the simulator and rounded to their scales, through the recorded load."""
    curve = read_curve(row_s=900.0)
    checked = 0
    for name in three_phase_profiles():
        try:
            registers = RegisterMap(name)
        except Exception:  # of a protocol that this simulator does not speak
            continue
        document = registers.document
        names = tuple(row[0] for row in document["registers"][: profiles.CHANNELS_MAX])
        profile = profiles.load(document, name, names)
        single = not any(row[0].endswith("_l2") for row in document["registers"])
        told = []
        check = build(name, rows(profile.channels), lambda *event, told=told: told.append(event), single)
        if check is None:
            continue
        checked += 1
        load = Load(curve, peak_w or 1e-6, 1 if single else 3)
        for n in range(300 if EVERY else 80 if peak_w > 1000 else 40):
            now_s = n * 60 if n < 20 else n * 300
            values = []
            for channel in profile.channels:
                step = 1
                value = load.quantity(channel.quantity, float(now_s))
                values.append(round(value * 10.0**channel.scale / step) * step)
            check.judge(values, bytearray(len(values)), now_s * 1000)
        assert [diagnosis.sentence(event[1], *event[3:]) for event in told] == [], name
    assert checked > 30


# What meters in service answered (tests/vectors of captured frames name the source of each): V, A, W, power factor.
CAPTURES = {
    "PZEM-004T v3": [
        (2427, 14167, 32472, 94), (2427, 14101, 32338, 94), (2429, 14128, 32405, 94), (2427, 14133, 32391, 94),
        (2413, 29037, 68923, 98), (2257, 108, 244, 100),
    ],
    "Eastron SDM230": [(2365, 125, 209, 92)],
}  # fmt: skip


def test_captures_of_meters_in_service_have_no_disagreement():
    units = (("voltage", "V", 1), ("current", "A", 3), ("active_power", "W", 1), ("power_factor", "1", 2))
    channels = [(*row, 1) for row in units]
    for name, samples in CAPTURES.items():
        check = build(name, channels, lambda *_: None, True)
        for values in samples:
            assert check.at_once(values, bytearray(4), 0) == [], name
        tenfold = (2427, 14167, 3247, 94)
        assert [told[0] for told in check.at_once(tenfold, bytearray(4), 0)] == ["power"]
