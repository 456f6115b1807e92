"""What SPEC 11.9 and 11.10 say of sensors and reduced channels is what the firmware makes."""

import re
from pathlib import Path

import pytest

from parkgate.sensing.cadence import words
from parkgate.sensing.reduction import reduced_schema
from parkgate.settings import sensors
from parkgate.settings.schema import validate
from sensors.build import build
from tests.bench.drivers_device import OPTIONS, Board, World

SPEC = (Path(__file__).resolve().parent.parent.parent / "lib" / "SPEC.md").read_text(encoding="utf-8")


def rows():
    """Family → (channels, profile) of the table in 11.9."""
    section = SPEC[SPEC.index("### 11.9") : SPEC.index("### 11.10")]
    found = {}
    for line in [line for line in section.splitlines() if line.startswith("| `")]:
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        for family in re.findall(r"`([a-z0-9_]+)`", cells[0]):
            found[family] = cells[1], cells[2]
    return found


def test_every_family_is_in_the_table():
    assert set(rows()) == set(sensors.FAMILIES)


@pytest.mark.parametrize("family", sensors.FAMILIES)
def test_channels_and_profile_are_as_said(family):
    channels, profile = rows()[family]
    item = {"name": "x", "family": family, "port": "p", "options": OPTIONS.get(family, {})}
    item = validate({"sensors": [item]})["sensors"][0]
    world = World()
    sensor = build(item, Board(world, family), world.sleep_ms)
    for (quantity, _, scale), (_, own) in zip(sensor.schema(), sensor._rows):
        said = quantity in channels or "_" + quantity.split("_")[-1] in channels
        assert said or quantity == item["options"].get("quantity")
        if own is not None and quantity != item["options"].get("quantity"):
            assert f"({scale})" in channels, quantity
    beginning = re.match(r"`([a-z0-9]*)", profile).group(1)
    assert sensor.profile.startswith(beginning or family)


def test_reduced_channels_are_named_as_said():
    schema = [["current_l1", "A", 3], ["import_active_energy", "Wh", 0], ["active_power", "W", 1]]
    made = reduced_schema(schema, ("last", "mean", "max", "integral"))
    names = [name for name, _, _ in made]
    assert names == [
        "current_l1", "current_l1:mean", "current_l1:max", "current_l1:integral", "import_active_energy",
        "active_power", "active_power:mean", "active_power:max", "active_power:integral",
    ]  # fmt: skip
    assert made[-1] == ["active_power:integral", "W.s", 1]
    assert "current_l1:max" in SPEC
    report = {"reductions": ("mean", "max"), "every": 10, "heartbeat_s": 60}
    assert words("SDM630", 1000, report) == "SDM630; every 1 s; mean+max of 10, on change or every 60 s"
    assert "; every 1 s; mean+max\nof 10" in SPEC and ", on change or every 60 s" in SPEC
