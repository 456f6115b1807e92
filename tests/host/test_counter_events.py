"""A meter is exchanged, another one jumps: flagged readings, signed events, and the hub says so in words. And what the
console finds on their bus."""

import pytest

from host_tools.gateway.link import Link
from host_tools.hub.reading import readings
from host_tools.meters.meter_simulator import SimulatedMeter
from park import Park
from parkgate import events

METERS = (("press", "eastron-sdm120", 1), ("oven", "pzem-004t", 2))


def hub_events(park):
    """What the hub's page shows as signed by the gateway, newest first."""
    return park.asked()["events"]


class TwoPeriods(Park):
    """The press is listed twice: all of it at the usual period, its energy four times as slowly."""

    def settings(self, meters=None):
        settings = super().settings(meters)
        if meters is None:
            slow = {**settings["instruments"][0], "name": "press-slow", "channels": ["import_active_energy"]}
            settings["instruments"].append({**slow, "period_ms": 4 * self.period_ms})
        return settings


def test_an_exchanged_meter_and_a_jump_are_events_at_the_hub(tmp_path):
    with TwoPeriods(tmp_path, METERS, period_ms=500) as park:  # so slowly that the line has time for both
        park.gateway.heap_bytes = 600_000  # `meters scan` wants more beside two meters than a Pico W has
        park.start_gateway()
        with Link(str(park.gateway.folder), timeout_s=60) as link:
            scanned = link.ask("meters scan rs485 1 3")
        park.wait(lambda: park.at_hub().get("readings_stored", 0) > 20, 30, "the hub has readings")
        first = park.bus._loads[1]
        later = SimulatedMeter("eastron-sdm120", 1).load(first.curve, 1)
        later.start_wh = 7_000.0  # a new meter has counted little
        park.bus._loads[1] = later
        jump = park.bus._loads[2]
        park.wait(lambda: any("another" in e["what"] for e in hub_events(park)), 30, "the exchange is at the hub")
        jump.start_wh += 900_000.0
        counted = lambda name: any(e["kind"] == "counter" and e["event"][1] == name for e in hub_events(park))  # noqa: E731
        park.wait(lambda: counted("oven"), 30, "the jump is at the hub")
        jump.start_wh -= 900_000.0
        park.wait(lambda: any("continues from" in e["what"] for e in hub_events(park)), 30, "its end is at the hub")
        park.drain()
        told = [e["event"] for e in reversed(hub_events(park)) if e["kind"] == "counter"]
        told = [event for event in told if event[1] != "press-slow"]
        rows = park.readings()
    plausible = [line.rsplit(":", 1)[0] for line in scanned if "plausible" in line]
    assert plausible == ["unit id 1: plausible as eastron-sdm120", "unit id 2: plausible as pzem-004t"]
    assert scanned[-1] == "2 of 3 unit ids answered"
    fast, slow = (
        len([row for row in rows if (row["instrument"], row["quantity"]) == (name, "import_active_energy")])
        for name in ("press", "press-slow")
    )
    assert slow == pytest.approx(fast / 4, abs=3), "each entry keeps its own period"
    assert [(e[1], e[2], e[3]) for e in told[:2]] == [
        ("press", "import_active_energy", 3),
        ("press", "import_active_energy", 2),
    ]
    assert told[2][1:4] == ["oven", "import_active_energy", 3]
    assert told[0][4] > 1_000_000 and told[1][5] < 8_000  # the old meter's last value, the new one's
    press = [row for row in rows if (row["instrument"], row["quantity"]) == ("press", "import_active_energy")]
    flags = [row["quality"] for row in press]
    at, flagged = flags.index("counter glitch"), flags.count("counter glitch")
    assert flags[at : at + flagged] == ["counter glitch"] * flagged, "until it is confirmed"
    waited_ms = int(press[at + flagged]["time_unix_ms"]) - int(press[at]["time_unix_ms"])
    assert waited_ms == pytest.approx(10_000, abs=2 * park.period_ms + 500)
    assert float(press[at]["value"]) < 8_000 < float(press[at - 1]["value"]), "nothing is smoothed"
    assert str(told[0][6][0]) < press[at + 1]["time_unix_ms"]
    oven = [event[3] for event in told if event[1] == "oven"]
    assert oven in ([3, 4], [3, 2, 5]), "it goes on from before the jump, confirmed or not"


@pytest.mark.parametrize(
    "event, said",
    [
        ([9, "press", "import_active_energy", 1, 4294967290, 3, [0, 3]], "rollover"),
        ([9, "press", "import_active_energy", 2, 90, 3, [0, 3]], "exchange"),
        ([9, "press", "import_active_energy", 3, 90, 3, [0, 3]], "glitch"),
        ([9, "press", "import_active_energy", 4, 90, 93, [0, 3]], "continues from"),
        ([9, "press", "import_active_energy", 5, 90, 93, [0, 3]], "exchange undone"),
        ([9, "press", "import_active_energy", 6, 90, 3, [0, 3]], "the same meter"),
        ([9, "press", "import_active_energy", 7, 90, 3, [0, 3]], "another unit or scale"),
        ([9, "press", "import_active_energy", 8, 90, 3, [0, 3]], "not understand"),
        ([9, "press"], "not understand"),
        ([14, "press", "power_l2", 1, 1, 1800, 90, 1, [0, 3]], "wrong ratio: power of L2 is 180.0 W"),
        ([14, "press", "power_l2", 2, 0, 90, 90, 1, [0, 3]], "agree again"),
        ([14, "press", "wiring", 1, 42, 90, 90, 3, [0, 3]], "transformer of L2 reversed"),
        ([14, "press", "power_l2", 3, 0, 90, 90, 1, [0, 3]], "not understand"),
        ([99], "does not know"),
    ],
)
def test_an_event_of_a_counter_in_words(event, said):
    assert said in readings.describe(event)
    assert events.NAMES[events.COUNTER] == "counter"
