"""The demo's workshop: what hangs on its one gateway, and how the simulated parts behave.

Eight meters on the bus, two of them dead and one on a bad cable; compressed air by pulses, a press by its contacts,
a spindle by its vibration, the hall by its weather, and a tank by a 4 to 20 mA loop whose wire is broken now and then.
"""

from __future__ import annotations

import json
from pathlib import Path

from host_tools.meter_simulator import Faults, SimulatedMeter

# name, profile, unit id, fate
METERS = (
    ("incomer", "eastron-sdm630", 1, ""),
    ("press", "pzem-004t", 2, ""),
    ("oven", "eastron-sdm120", 3, ""),
    ("mill", "eastron-sdm72d-v2", 4, ""),
    ("saw", "chint-ddsu666", 5, "noisy"),
    ("crane", "orno-we514", 6, ""),
    ("lathe", "eastron-sdm220", 7, "dead"),
    ("paint", "abb-b2x", 8, "dead"),
)
METER_PERIOD_MS = 2000

SENSORS = (
    {
        "name": "air",
        "family": "pulses",
        "port": "s0",
        "options": {"quantity": "compressed_air_volume", "numerator": 10, "offset": 48_200_000},  # 10 l a pulse
    },
    {"name": "press-state", "family": "machine_state", "port": "run", "options": {"alarm": "alarm"}},
    {"name": "spindle", "family": "lis3dh", "port": "i2c0", "period_ms": 5000},
    {"name": "hall", "family": "sht3x", "port": "i2c0", "period_ms": 5000},
    {
        "name": "tank",
        "family": "current_loop",
        "port": "i2c0",
        "options": {"quantity": "level", "at_4ma": 0, "at_20ma": 1000},
    },
)

PARTS = {
    "seed": 7,
    "ports": {
        "s0": {"part": "pulses", "hz": 2.3},
        "run": {"part": "contact", "on_s": 17, "off_s": 6, "bounces": 3},
        "alarm": {"part": "contact", "on_s": 2, "off_s": 90},
        "i2c0": {
            "chips": [
                {"part": "lis3dh", "address": 0x18, "hz": 24.7, "mm_s": 2.3, "faults": {"noise": 1}},
                {
                    "part": "sht3x",
                    "address": 0x44,
                    "world": {"value": 21.4, "swing": [1.5, 900]},
                    "percent": {"value": 47, "swing": [6, 1300]},
                    "faults": {"damaged": 0.02},
                },
                {"part": "ads1115", "address": 0x48, "microvolts": [{"value": 1_000_000, "swing": [1_050_000, 60]}]},
            ]
        },
    },
}


def meters(offset_s: float) -> list[SimulatedMeter]:
    """The simulated meters; `offset_s` shifts their place in the load curve."""
    return [
        SimulatedMeter(
            profile,
            unit_id,
            dead=fate == "dead",
            faults=Faults.noisy() if fate == "noisy" else Faults(),
            offset_s=offset_s + 7 * unit_id,
        )
        for _, profile, unit_id, fate in METERS
    ]


def furnish(settings: dict, folder: Path) -> dict:
    """`settings` with the workshop's sensors; their simulated parts are put into the gateway's folder."""
    (folder / "workshop.json").write_text(json.dumps(PARTS), encoding="utf-8")
    instruments = [dict(item, period_ms=METER_PERIOD_MS) for item in settings["instruments"]]
    return {**settings, "instruments": instruments, "sensors": [dict(sensor) for sensor in SENSORS]}
