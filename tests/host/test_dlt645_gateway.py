"""DL/T 645 meters end to end: a pseudo-terminal, the gateway on the Unix port, a broker, the hub, the export."""

import json

from host_tools.gateway.link import Link
from host_tools.meters.dlt645.simulator import Dlt645Line, Faults, SimulatedMeter
from park import Park
from parkgate.meters.dlt645.frame import identifier_bytes
from parkgate.meters.dlt645.values import layout, number

FIRST, SECOND = "000006605518", "166816681668"  # the second is full of start and end bytes


class Dlt645Park(Park):
    """A park whose one bus speaks DL/T 645. `meters`: (name, profile, address in the settings)."""

    def __init__(self, folder, line, meters, period_ms=1500, **instrument):
        super().__init__(folder, [(name, profile, i + 1) for i, (name, profile, _) in enumerate(meters)], period_ms)
        self.bus = line
        self._addresses = {name: address for name, _, address in meters}
        self._instrument = instrument

    def settings(self, meters=None):
        settings = super().settings(meters)
        settings["buses"][0].update({"protocol": "dlt645", "baud": self.bus.baud, "parity": "E"})
        for item in settings["instruments"]:
            item.update(self._instrument, address=self._addresses[item["name"]])
        return settings

    def rows_after(self, count, timeout_s=90):
        """The rows at the hub once it has `count` readings."""
        self.start_gateway()
        self.wait(lambda: self.at_hub().get("readings_stored", 0) >= count, timeout_s, f"the hub has {count} readings")
        self.drain()
        assert self.gateway.status["crashes"] == 0
        return self.readings()


def answers(path):
    return [json.loads(text) for text in path.read_text().splitlines()]


def test_values_at_the_hub_are_those_of_the_meters(tmp_path):
    """To the last digit, through doubled, damaged and late replies, varying preambles and delays, refused blocks."""
    log = tmp_path / "answers.jsonl"
    faults = Faults(crc=0.05, cut=0.03, dropped=0.02, late=0.02, doubled=0.1, noise=0.05)
    line = Dlt645Line(
        [
            SimulatedMeter(FIRST, "dlt645-2007", faults=faults),
            SimulatedMeter(SECOND, "dlt645-2007-1p", delay_ms=(20, 400), blocks=False, lacks=("0280",), faults=faults),
        ],
        baud=9600,
        log=log,
    )
    meters = [("three", "dlt645-2007", FIRST), ("one", "dlt645-2007-1p", SECOND)]
    with Dlt645Park(tmp_path, line, meters, 3000) as park:
        rows = park.rows_after(150)
    sent = answers(log)
    assert not any(answer["fate"] == "write" for answer in sent)
    assert {answer["control"] for answer in sent} <= {0x11}
    told = _told(sent)
    good = [row for row in rows if row["quality"] == "good"]
    assert len(good) > 0.6 * len(rows)
    for row in good:
        address = FIRST if row["instrument"] == "three" else SECOND
        scaled = round(float(row["value"]) * 10 ** SCALES[row["quantity"]])
        assert scaled in told[address, row["quantity"]], row
    absent = {row["quality"] for row in rows if row["instrument"] == "one" and row["quantity"] == "frequency"}
    assert "not configured" in absent and "good" not in absent


SCALES = {
    "voltage": 1, "current": 3, "active_power": 1, "reactive_power": 1, "power_factor": 3, "frequency": 2,
    "import_active_energy": -1, "export_active_energy": -1,
}  # fmt: skip
SCALES.update({f"{name}_l{n}": SCALES[name] for name in ("voltage", "current", "active_power") for n in (1, 2, 3)})


def _told(sent):
    """(address, quantity) → every number that the meter told, block by block."""
    from host_tools.meters.register_map import read_document

    found = {}
    for address, profile in ((FIRST, "dlt645-2007"), (SECOND, "dlt645-2007-1p")):
        for quantity, identifier, type_name, *_ in read_document(profile)["registers"]:
            numbers = found.setdefault((address, quantity), set())
            name, code = identifier_bytes(identifier), layout(type_name)
            block = f"{identifier[:4]}FF{identifier[6:]}"
            size = int(type_name.strip("sbcd")) // 8
            first = 1 if identifier[2:4] in ("01", "02") and identifier[:2] == "02" else 0
            for answer in sent:
                if answer["meter"] != address or "data" not in answer:
                    continue
                data = bytes.fromhex(answer["data"])
                at = 0 if answer["identifier"] == identifier else (int(identifier[4:6], 16) - first) * size
                if answer["identifier"] in (identifier, block) and at + size <= len(data):
                    numbers.add(number(data, at, name, code)[0])
    return found


def test_the_only_meter_is_found_by_itself_and_so_is_its_successor(tmp_path):
    """The wildcard: the address is asked for; when another meter hangs there, it is found."""
    line = Dlt645Line([SimulatedMeter(FIRST, "dlt645-2007-1p")], baud=9600)
    channels = ["voltage", "serial_number", "import_active_energy"]
    with Dlt645Park(tmp_path, line, [("m", "dlt645-2007-1p", "AAAAAAAAAAAA")], 1000, channels=channels) as park:
        park.start_gateway()
        park.wait(lambda: park.at_hub().get("readings_stored", 0) >= 9, 60, "the hub has 9 readings")
        with Link(str(park.gateway.folder)) as link:
            assert any("address AAAAAAAAAAAA" in text for text in link.ask("meters list", 20))
            assert f"meter {FIRST} answers" in link.ask("meters scan rs485", 30)
            tested = link.ask("meters test m", 20)
            assert any(text.startswith("voltage = 2") and text.endswith("V (good)") for text in tested), tested
            assert any(text.startswith("line ok = ") and text != "line ok = 0" for text in tested), tested
        line.replace([SimulatedMeter(SECOND, "dlt645-2007-1p")])
        before = park.at_hub()["readings_stored"]
        park.wait(lambda: park.at_hub()["readings_stored"] >= before + 30, 60, "readings of the other meter")
        park.drain()
        rows = park.readings()
    serials = [int(float(row["value"])) for row in rows if row["quantity"] == "serial_number" and row["value"]]
    assert serials[0] == int(FIRST) and serials[-1] == int(SECOND)
