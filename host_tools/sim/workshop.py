"""The demo's workshop: what hangs on its one gateway, and how the simulated parts behave.

Eight meters on the bus, two of them dead and one on a bad cable; compressed air by pulses, a press by its contacts and
a spindle by its vibration.
"""

from __future__ import annotations

import json
from pathlib import Path

from host_tools.base import files
from host_tools.meters.meter_simulator import Faults, SimulatedMeter

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

ONE_PHASE = ("pzem-004t", "eastron-sdm120", "chint-ddsu666", "eastron-sdm220")
METER_PERIOD_MS = 2000
SUBMETER_CHANNELS = ["voltage", "current", "active_power", "import_active_energy"]

SENSORS = (
    {
        "name": "air",
        "family": "pulses",
        "port": "s0",
        "options": {"quantity": "compressed_air_volume", "numerator": 10, "offset": 48_200_000},  # 10 l a pulse
    },
    {"name": "press-state", "family": "machine_state", "port": "run", "options": {"alarm": "alarm"}},
    {"name": "spindle", "family": "lis3dh", "port": "i2c0", "period_ms": 5000},
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
    files.write(folder / "workshop.json", json.dumps(PARTS))
    instruments: list[dict] = [{**item, "period_ms": METER_PERIOD_MS} for item in settings["instruments"]]
    for item in instruments:
        if item["profile"] in ONE_PHASE:
            item["channels"] = SUBMETER_CHANNELS
    return {**settings, "instruments": instruments, "sensors": [dict(sensor) for sensor in SENSORS]}
