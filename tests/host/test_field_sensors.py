"""W7 and W12 end to end: a thermometer of another family and contacts that bounce, from the simulated part through the
gateway, a broker and the hub to the export.

The firmware's drivers and its rule for bounces run as on a board. What only a board has, the counting units of an
RP2040 and an ESP32, is tested in test_pulse_hardware.py. The reports: nodemcu-firmware#610 (W7), Tasmota#7488 (W12).
"""

import json

import pytest

from park import Park
from test_pulse_hardware import BOUNCING

WIRES = {
    "s20": {"part": "ds18s20", "world": {"value": 25}},
    "b20": {"part": "ds18b20", "world": {"value": 25}},
    "alien": {"part": "ds18b20", "world": {"value": 25}, "tail": "9FFF0C10"},  # a configuration that no part has
}
PULSES = 3


class Furnished(Park):
    """A park of one gateway without meters, whose ports have thermometers and contacts."""

    def settings(self, meters=None):
        settings = super().settings(meters)
        settings["buses"] = []
        if meters is None:
            settings["sensors"] = [sensor(name, "ds18b20", {}) for name in WIRES]
            settings["sensors"] += [sensor(name, "pulses", {}) for name in BOUNCING]
            settings["sensors"].append(sensor("too-short", "pulses", {"debounce_us": 5000}))
        return settings


def port(name):
    return f"contact-{list(BOUNCING).index(name)}" if name in BOUNCING else name


def sensor(name, family, options):
    return {"name": port(name), "family": family, "port": port(name), "period_ms": 1000, "options": options}


def contact(steps):
    """So many pulses, and then rest."""
    return {"part": "pulses", "steps": PULSES * steps + [(3_600_000, 0)]}


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    with Furnished(tmp_path_factory.mktemp("sensors"), []) as park:
        ports = {**WIRES, **{port(name): contact(steps) for name, steps in BOUNCING.items()}}
        ports["too-short"] = contact(BOUNCING["after the pulse"])
        park.gateway.folder.mkdir(parents=True)
        (park.gateway.folder / "workshop.json").write_text(json.dumps({"seed": 1, "ports": ports}))
        park.start_gateway()
        park.wait(lambda: park.gateway.status.get("sampled", 0) > 2 * len(ports), 60, "all were sampled twice")
        park.drain()
        assert park.gateway.status["crashes"] == 0
        return park.readings()


def of(rows, name):
    mine = sorted((row for row in rows if row["instrument"] == name), key=lambda row: int(row["time_unix_ms"]))
    return [(row["value"] and float(row["value"]), row["quality"]) for row in mine]


def test_w7_a_thermometer_is_read_for_the_part_that_it_is(rows):
    assert set(of(rows, "s20")) == set(of(rows, "b20")) == {(25.0, "good")}
    assert set(of(rows, "alien")) == {("", "sensor fault")}


@pytest.mark.parametrize("name", BOUNCING)
def test_w12_a_bouncing_contact_counts_each_pulse_once(rows, name):
    counts = of(rows, port(name))
    assert counts[-1] == (PULSES, "good")
    assert max(value for value, _ in counts) == PULSES


def test_w12_these_bounces_do_count_where_a_person_sets_5_ms(rows):
    assert of(rows, "too-short")[-1] == (2 * PULSES, "good")
