"""A meter whose current is on the secondary side: flagged readings, a signed event, words at the hub and console."""

from host_tools.gateway.link import Link
from host_tools.meters.load_curve import WiredLoad
from park import Park

METERS = (("press", "eastron-sdm120", 1), ("oven", "pzem-004t", 2))


def hub_events(park):
    """What the hub's page shows as signed by the gateway, newest first."""
    return park.asked()["events"]


def test_a_wrong_ratio_reaches_the_hub_and_ends_there(tmp_path):
    with Park(tmp_path, METERS) as park:
        park.start_gateway()
        park.wait(lambda: park.at_hub().get("readings_stored", 0) > 20, 30, "the hub has readings")
        right = park.bus._loads[1]
        park.bus._loads[1] = WiredLoad(right, "ratio=20")
        park.wait(lambda: any("wrong ratio" in e["what"] for e in hub_events(park)), 110, "it is at the hub")
        with Link(str(park.gateway.folder), timeout_s=60) as link:
            tested = link.ask("meters test press")
            other = link.ask("meters test oven")
        park.bus._loads[1] = right
        park.drain()
        told = [e for e in reversed(hub_events(park)) if e["kind"] == "consistency"]
        rows = park.readings()
    assert any(line.startswith("DISAGREES, signed: wrong ratio: power is ") for line in tested)
    assert "what is measured twice agrees" in other
    assert {(e["event"][1], e["event"][2], e["event"][3]) for e in told} >= {("press", "power", 1)}
    assert all(e["event"][1] == "press" for e in told)
    assert "x 20, a transformer 100/5" in next(e["what"] for e in told if e["event"][2] == "power")
    press = [row for row in rows if (row["instrument"], row["quantity"]) == ("press", "active_power")]
    flags = [row["quality"] for row in press]
    at = flags.index("inconsistent")
    assert "inconsistent" not in flags[:at] and press[at]["value"], "with its value, and not before"
    assert not [row for row in rows if row["instrument"] == "oven" and row["quality"] == "inconsistent"]
