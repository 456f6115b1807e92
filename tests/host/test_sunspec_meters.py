"""SunSpec meters from their chain of models to the scan, to `meters test`, and through a gateway to the export."""

from decimal import Decimal

import pytest

from host_tools import cli
from host_tools.gateway.link import Link
from host_tools.meters import scan
from host_tools.meters.meter_simulator import MeterBus, SimulatedMeter
from host_tools.meters.register_map import RegisterMap
from odd_meter import OddMeter
from park import Park

VALUES = {"voltage_l1": 230.4, "current_l1": 12.5, "active_power": -3400.0, "import_active_energy": 7654320.0}


def words_of(name):
    return RegisterMap(name).words(lambda quantity: VALUES.get(quantity, 50.0))


@pytest.mark.parametrize(("name", "model", "length"), [("sunspec", 203, 105), ("sunspec+float", 213, 124)])
def test_a_simulated_meter_serves_the_chain(name, model, length):
    """sunspec/models: 40000 "SunS", model 1 of 66 registers, the meter's, FFFF."""
    words = words_of(name)
    assert (words[40000] << 16 | words[40001]).to_bytes(4, "big") == b"SunS"
    assert [words[40002], words[40003]] == [1, 66]
    assert b"".join(words[40004 + i].to_bytes(2, "big") for i in range(16)).rstrip(b"\0") == b"Parkgate"
    assert [words[40070], words[40071]] == [model, length]
    assert [words[40072 + length], words[40073 + length]] == [0xFFFF, 0]
    assert sorted(words) == list(range(40000, 40074 + length))
    if model == 203:
        assert (words[40070 + 8], words[40070 + 15]) == (2304, 0xFFFF)  # PhVphA, V_SF -1
        assert (words[40070 + 18], words[40070 + 22]) == (65536 - 340, 1)  # W, W_SF


def test_scan_and_test_know_them_on_a_live_line(capsys):
    with MeterBus([SimulatedMeter("sunspec", 1), SimulatedMeter("sunspec+float", 2)]) as bus:
        assert cli.main(["meters", "scan", bus.device, "--units", "1-2", "--line", "9600", "--timeout-ms", "1000"]) == 0
        scanned = capsys.readouterr().out
        code = cli.main(["meters", "test", bus.device, "sunspec@1", "sunspec@2", "--samples", "1"])
        tested = capsys.readouterr().out
    for unit_id in (1, 2):
        assert f"settings add instruments name=meter{unit_id} profile=sunspec bus=rs485 unit_id={unit_id}" in scanned
    assert scanned.count("voltage_l1 230.") == 2
    assert code == 0, tested
    assert tested.count("voltage L1                       230.") == 2, tested


def test_a_chain_without_a_meter_and_a_damaged_mark_are_no_sunspec_meter():
    for address, word in ((40070, 103), (40000, 0x5376)):
        words = {**words_of("sunspec"), address: word}

        def read(_function, first, count, words=words):
            if any(first + i not in words for i in range(count)):
                return None, True
            return b"".join(words[first + i].to_bytes(2, "big") for i in range(count)), False

        assert scan.sunspec_candidates(read) == []


@pytest.mark.parametrize("name", ["sunspec"])
def test_values_at_the_export_are_those_of_the_model(tmp_path, name):
    """The settings say "sunspec" alone: the gateway finds the model, and with it the variant."""
    words = words_of(name)
    park = Park(tmp_path, [("m", "sunspec", 1)], 1000)
    park.bus = OddMeter(lambda _t_s: words)
    with park:
        park.start_gateway()
        park.wait(lambda: park.at_hub().get("readings_stored", 0) >= 33, 60, "the hub has three samples")
        with Link(str(park.gateway.folder)) as link:
            scanned = link.ask("meters scan rs485 1", 30)
        assert "unit id 1: speaks SunSpec; if it is a meter: profile=sunspec" in scanned
        park.drain()
        assert park.gateway.status["crashes"] == 0
        rows = park.readings()
    for quantity, value in VALUES.items():
        of_it = [row for row in rows if row["quantity"] == quantity and row["value"]]  # a busy machine costs samples
        told = {(Decimal(row["value"]), row["quality"]) for row in of_it}
        assert told == {(Decimal(str(value)), "good")}, quantity
