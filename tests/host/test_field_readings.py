"""W2, W3 and W13 end to end: what registers say, through the gateway, a broker and the hub, as the export has it.

The registers and the readings that are true of them are those of tests/vectors/field_cases, which names the sources.
"""

import contextlib
import json
from decimal import Decimal
from pathlib import Path

import pytest

from host_tools.base import profile_files
from host_tools.hub.stores.database import connect
from odd_meter import OddMeter
from park import Park
from parkgate.wire.batch import decode_schema

CASES = Path(__file__).parent.parent / "vectors" / "field_cases"
W2, W3 = (json.loads((CASES / f"{name}.json").read_text()) for name in ("W2", "W3"))
RATIO_REGISTER = 6  # of the DTSU666, IrAt
# W3's meter, as a profile that says "secondary side" but knows no register with the ratio.
NO_RATIO = {
    "meter": "of the case", "manual": "of the case", "sources": W3["source"], "licences": ["facts of a public report"],
    "function": 3, "order": "ABCD", "side": "secondary",
    "registers": [
        ["current_l1", 8204, "float32", 3, "A", ""],
        ["import_active_energy", 4126, "float32", 0, "kWh", ""],
    ],
    "usual": ["current_l1", "import_active_energy"],
}  # fmt: skip
METERS = (("disconnected", W2["profile"], 1), ("behind-ct", W3["profile"], 2), ("no-ratio", "own-secondary", 3))
CHANNELS = {"disconnected": sorted(W2["readings"]), "behind-ct": sorted(W3["readings"]), "no-ratio": []}


class Readings(Park):
    """A park of three meters that hold the registers of both cases."""

    def __init__(self, folder):
        super().__init__(folder, METERS, 1000)
        texts = {**W2["registers"], **W3["registers"]}
        self.registers = {int(address): int(word, 16) for address, word in texts.items()}
        self.registers[RATIO_REGISTER + 1] = 0  # no voltage transformers
        self.bus = OddMeter(lambda _t_s: self.registers, unit_ids=(1, 2, 3))

    def settings(self, meters=None):
        settings = super().settings(meters)
        settings["buses"][0]["reply_timeout_ms"] = 300
        for instrument in settings["instruments"]:
            instrument["channels"] = CHANNELS[instrument["name"]]
        return settings

    def has(self, count):
        self.wait(lambda: self.at_hub().get("readings_stored", 0) >= count, 60, f"the hub has {count} readings")

    def events(self, kind):
        """The gateway's signed events of a kind as the hub's page shows them, oldest first."""
        return [event for event in reversed(self.asked()["events"]) if event["kind"] == kind]

    def schemas(self):
        """instrument → {(profile in words, channels)} of all schemas at the hub."""
        found = {}
        with contextlib.closing(connect(self.hub.folder, read_only=True)) as db:
            for (data,) in db.execute("SELECT bytes FROM schema").fetchall():
                for name, profile, channels in decode_schema(data):
                    found.setdefault(name, set()).add((profile, json.dumps(channels)))
        return found


@pytest.fixture(scope="module")
def life(tmp_path_factory):
    """(readings, events, schemas) of one life: the ratio register changes, and then the decimals of a profile."""
    folder = tmp_path_factory.mktemp("readings")
    own = folder / "own" / "own-secondary.json"
    own.parent.mkdir()
    own.write_text(json.dumps(NO_RATIO))
    profile_files.use([own.parent])
    try:
        with Readings(folder) as park:
            park.start_gateway()
            park.has(21)
            park.registers[RATIO_REGISTER] = 40
            park.wait(lambda: len(park.events("ratio")) > 2, 60, "the changed ratio is at the hub")
            park.gateway.kill()
            changed = json.loads(own.read_text())
            changed["registers"][0][3] = 2
            own.write_text(json.dumps(changed))
            park.gateway.configure(park.settings())
            park.gateway.start()
            park.wait(lambda: len(park.schemas().get("no-ratio", ())) > 1, 60, "the changed profile is at the hub")
            park.has(park.at_hub()["readings_stored"] + 14)
            park.drain()
            assert park.gateway.status["crashes"] == 0
            yield park.readings(), {kind: park.events(kind) for kind in ("ratio", "counter")}, park.schemas()
    finally:
        profile_files.use(())


def told(rows, instrument, quantity):
    """{(value, quality)} of a channel at the export; a busy machine may make an answer late."""
    return {
        (Decimal(row["value"]) if row["value"] else None, row["quality"])
        for row in rows
        if (row["instrument"], row["quantity"]) == (instrument, quantity)
        and row["quality"] not in ("timeout", "bad reply")
    }


def test_w2_a_phase_that_is_not_connected_has_no_value(life):
    rows, _, _ = life
    for quantity, (value, quality, _, scale) in W2["readings"].items():
        expected = None if value is None else Decimal(value).scaleb(-scale)
        assert told(rows, "disconnected", quantity) == {(expected, quality)}, quantity


def test_w3_values_behind_transformers_are_primary_ones(life):
    rows, events, _ = life
    assert told(rows, "behind-ct", "current_l1") == {(Decimal(90), "good"), (Decimal(180), "good")}
    energy = [row for row in rows if (row["instrument"], row["quantity"]) == ("behind-ct", "import_active_energy")]
    energy = [row for row in energy if row["quality"] != "timeout"]
    values = [Decimal(row["value"]) for row in energy]
    at = values.index(493600)
    assert (set(values[:at]), set(values[at:])) == ({Decimal(246800)}, {Decimal(493600)})
    assert {row["quality"] for row in energy} == {"good"}, "nothing was counted, and no meter was exchanged"
    rescaled = [event["event"][1:6] for event in events["counter"] if event["event"][1] == "behind-ct"]
    assert rescaled == [["behind-ct", "import_active_energy", 7, 246800, 493600]]


def test_w3_a_changed_ratio_is_a_signed_event_in_words(life):
    _, events, _ = life
    events = events["ratio"]
    changes = [event["event"][1:5] for event in events]
    assert changes[:3] == [
        ["behind-ct", "ct", None, [20, 1]],
        ["behind-ct", "vt", None, [1, 1]],
        ["behind-ct", "ct", [20, 1], [40, 1]],
    ]
    assert events[2]["what"] == "behind-ct: current transformers 40:1, changed from 20:1"


def test_w3_without_a_known_ratio_the_reading_says_that_it_is_secondary(life):
    rows, _, schemas = life
    assert told(rows, "no-ratio", "current_l1") == {
        (Decimal("4.5"), "secondary side"),
        (Decimal("45"), "secondary side"),
    }
    assert told(rows, "no-ratio", "import_active_energy") == {(Decimal(12340), "secondary side")}
    assert all("ct not set, secondary side" in profile for profile, _ in schemas["no-ratio"])
    assert all("ct from registers, vt from registers" in profile for profile, _ in schemas["behind-ct"])


def test_w13_other_decimals_are_another_signed_schema(life):
    """Name and channels are the same before and after; the id of the profile's content is not."""
    _, _, schemas = life
    assert len(schemas["no-ratio"]) == 2
    assert len({channels for _, channels in schemas["no-ratio"]}) == 1
    first, second = (profile.split(",")[0].split() for profile, _ in schemas["no-ratio"])
    assert first[0] == second[0] == "own-secondary"
    assert len(first[1]) == len(second[1]) == 32 and first[1] != second[1]
    assert len(schemas["behind-ct"]) == 1
