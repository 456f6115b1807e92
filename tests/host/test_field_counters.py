"""W4, W8 and W11 end to end: a negative value, a counter that shows zeros while its meter boots, and one whose display
begins again at 0; from the registers through the gateway, a broker and the hub to the export.

The values are those of the reports in tests/vectors/field_cases (W4) and of the sources named here: W8 is a meter that
answers before it has loaded its counters; W11 is 4-20ma/ModbusMaster#199 (99,999.99 kWh and then 0).
"""

import json
from pathlib import Path

import pytest

from odd_meter import OddMeter
from park import Park

W4 = json.loads((Path(__file__).parent.parent / "vectors" / "field_cases" / "W4.json").read_text())
POWER, IMPORT, EXPORT = 14, 10, 8  # registers of the DDS238
CHANNELS = ["active_power", "reactive_power", "import_active_energy", "export_active_energy"]
DISPLAY_END = [9_999_998, 9_999_999, 0, 1, 2]  # hundredths of a kWh
HALF_LOADED = 7  # not 0, which has to last for ten minutes to be another meter's


class Counting(Park):
    """A park of one DDS238 whose registers the test sets."""

    def __init__(self, folder):
        super().__init__(folder, [("incomer", W4["profile"], 1)], 250)
        self.registers = dict.fromkeys(range(18), 0)
        self.registers.update({int(address): int(word, 16) for address, word in W4["registers"].items()})
        self.counts(IMPORT, DISPLAY_END[0])
        self.counts(EXPORT, 24_680)
        self.bus = OddMeter(lambda _t_s: self.registers)

    def counts(self, register, value):
        self.registers = {**self.registers, register: value >> 16, register + 1: value & 0xFFFF}

    def settings(self, meters=None):
        settings = super().settings(meters)
        settings["buses"][0]["reply_timeout_ms"] = 300
        for instrument in settings["instruments"]:
            instrument["channels"] = CHANNELS
        return settings

    def samples(self, count):
        """Wait until the meter has answered so many more reads of its counters."""
        answers = lambda: sum(at <= IMPORT < at + words for _, at, words in self.bus.answers)  # noqa: E731
        wanted = answers() + count
        self.wait(lambda: answers() >= wanted, 60, f"the meter has answered {wanted} times")

    def events(self):
        """(quantity, what, before, value) of the gateway's signed events of counters, oldest first."""
        told = [event["event"] for event in self.asked()["events"] if event["kind"] == "counter"]
        return [tuple(event[2:6]) for event in reversed(told)]

    def said(self, words):
        """Whether the gateway has said so on its console."""
        return any(words in line for line in self.gateway.lines)


@pytest.fixture(scope="module")
def life(tmp_path_factory):
    """(readings, events): one counter shows zeros for a moment; then a small number for so long that it is taken for
    another meter's, while the other counter's display passes its end; then it goes on from before."""
    with Counting(tmp_path_factory.mktemp("counters")) as park:
        park.start_gateway()
        park.samples(4)
        park.counts(EXPORT, 0)
        park.samples(2)
        park.counts(EXPORT, 24_681)
        park.samples(3)
        park.counts(EXPORT, HALF_LOADED)
        for value in DISPLAY_END[1:]:
            park.counts(IMPORT, value)
            park.samples(2)
        park.wait(lambda: park.said("export_active_energy: exchange"), 30, "it is taken for another meter")
        park.counts(EXPORT, 24_682)
        park.wait(lambda: park.said("export_active_energy: exchange undone"), 30, "the exchange is undone")
        park.samples(1)
        park.drain()
        assert park.gateway.status["crashes"] == 0
        rows, events = park.readings(), park.events()
    return [row for row in rows if row["quality"] not in ("timeout", "bad reply")], events


def of(rows, quantity):
    return [(row["value"] and float(row["value"]), row["quality"]) for row in rows if row["quantity"] == quantity]


def test_w4_a_negative_value_is_negative(life):
    rows, _ = life
    assert set(of(rows, "reactive_power")) == {(-178.0, "good")}
    assert set(of(rows, "active_power")) == {(-986.0, "good")}


def test_w11_a_display_that_begins_again_is_a_rollover_and_no_exchange(life):
    rows, events = life
    found = of(rows, "import_active_energy")
    assert {quality for _, quality in found} == {"good"}
    seen = list(dict.fromkeys(value for value, _ in found))
    assert seen == [99_999_980.0, 99_999_990.0, 0.0, 10.0, 20.0], "in Wh"
    mine = [event[1:] for event in events if event[0] == "import_active_energy"]
    assert [event[0] for event in mine] == [1], "one event, a rollover"


def test_w8_what_a_meter_shows_while_it_boots_is_no_exchange_or_is_undone(life):
    rows, events = life
    found = of(rows, "export_active_energy")
    assert found[0] == (246_800.0, "good") and found[-1] == (246_820.0, "good")
    short = found.index((246_810.0, "good"))
    assert {quality for value, quality in found[:short] if value == 0} == {"counter glitch"}
    mine = [event[1] for event in events if event[0] == "export_active_energy"]
    assert mine == [3, 4, 2, 5], "a jump and that it is over; an exchange (a jump is told once in ten minutes), undone"
