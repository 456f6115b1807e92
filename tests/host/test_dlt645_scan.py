"""DL/T 645 meters are found by the wildcard, and by pairs where several answer at once."""

import pytest

from host_tools import cli
from host_tools.meters.dlt645 import scan
from host_tools.meters.dlt645.line import Dlt645Bus
from host_tools.meters.dlt645.simulator import Dlt645Line, SimulatedMeter

FAST = {"delay_ms": (5, 15)}


def found(meters, everyone=False, baud=19200, seed=1):
    said = []
    with Dlt645Line(meters, baud=baud, seed=seed) as line, Dlt645Bus(line.device, baud, "E", 45) as bus:
        return scan.find(bus, everyone, said.append), said, line.counts


def test_one_meter_is_found_at_once():
    addresses, said, counts = found([SimulatedMeter("166816681668", **FAST)])
    assert (addresses, said) == (["166816681668"], [])
    assert sum(counts.values()) == 2


@pytest.mark.parametrize(
    "options", [{"knows_13": False}, {"lacks": ("0001",), "knows_13": False}, {"preamble": (0, 0)}]
)
def test_a_meter_that_knows_no_13_or_no_energy_is_found(options):
    assert found([SimulatedMeter("000006605518", **FAST, **options)])[0] == ["000006605518"]


def test_a_meter_of_1997_or_a_dead_one_is_not_found():
    assert found([SimulatedMeter("000006605518", edition=1997, **FAST)])[0] == []
    assert found([SimulatedMeter("000006605518", dead=True, **FAST)])[0] == []


def test_meters_that_answer_at_once_are_told_apart_by_pairs():
    addresses = ["000006605518", "201000000018", "000006605519", "980000000000"]
    there, said, counts = found([SimulatedMeter(address, delay_ms=(10, 10)) for address in addresses])
    assert there == sorted(addresses)
    assert said[0].startswith("several meters answer at once")
    assert "more than one address ends in 18" in said
    assert "write" not in counts


def test_the_verb_scans_names_the_profile_and_hints(capsys):
    meters = [SimulatedMeter("000006605518", "dlt645-2007", **FAST)]
    with Dlt645Line(meters, baud=9600) as line:
        code = cli.main(["meters", "scan", line.device, "--protocol", "dlt645", "--line", "9600N"])
        said = capsys.readouterr().out
        assert code == 0
        assert "meter 000006605518: 2" in said and " V" in said and "kWh" in said
        assert "profile=dlt645-2007 bus=rs485 address=000006605518" in said
        assert "1 meters answered" in said
    with Dlt645Line([SimulatedMeter("000006605518", dead=True)], baud=9600) as line:
        code = cli.main(["meters", "scan", line.device, "--protocol", "dlt645", "--line", "9600E"])
        assert code == 1
        assert "it speaks Modbus" in capsys.readouterr().out


def test_a_modbus_scan_says_who_speaks_dlt645(capsys):
    with Dlt645Line([SimulatedMeter("000006605518", **FAST)], baud=9600) as line:
        words = ["meters", "scan", line.device, "--line", "9600E", "--units", "1-2", "--timeout-ms", "20"]
        assert cli.main(words) == 1
    assert "meter 000006605518 answers DL/T 645" in capsys.readouterr().out
