"""`parkgate meters scan` on a live line of pymodbus meters, and every profile recognised among all others."""

import json
import os

import pytest

from host_tools import cli
from host_tools.base.paths import METER_PROFILES
from host_tools.meters import scan
from host_tools.meters.lines.serial_bus import SerialBus
from host_tools.meters.load_curve import read as read_curve
from host_tools.meters.meter_simulator import Faults, MeterBus, SimulatedMeter
from host_tools.meters.register_map import RegisterMap
from parkgate.errors import LinkError, SettingsError
from parkgate.meters.profiles import split_name

CURVE = read_curve()
METERS = (
    SimulatedMeter("eastron-sdm630", 1),
    SimulatedMeter("pzem-004t", 2),
    SimulatedMeter("eastron-sdm120", 3, baud=2400),
    SimulatedMeter("eastron-sdm220", 4, dead=True),
    SimulatedMeter("abb-b2x", 5, faults=Faults(crc=0.1, noise=0.2)),
    SimulatedMeter("carlo-gavazzi-em340", 7),
)


def names():
    """All profiles and variants of Modbus."""
    for path in sorted(METER_PROFILES.glob("*.json")):
        document = json.loads(path.read_text(encoding="utf-8"))
        if document.get("protocol") == "dlt645":
            continue
        yield path.stem
        for variant in sorted(document.get("variants", ())):
            yield f"{path.stem}+{variant}"


@pytest.mark.parametrize("name", list(names()))
def test_every_profile_is_recognised_among_all_others(name):
    meter = RegisterMap(name)
    load = SimulatedMeter(name, 1).load(CURVE, 3 if "voltage_l3" in meter.units else 1)
    words = meter.words(lambda quantity: load.quantity(quantity, 100.0))
    asked = []

    def read(function, address, count):
        asked.append((function, address, count))
        if function not in meter.functions or any(address + i not in words for i in range(count)):
            return None, True
        return b"".join(words[address + i].to_bytes(2, "big") for i in range(count)), False

    found = scan.recognise(read)
    if meter.chain:
        name = split_name(name)[0]  # the variant is found by itself
    assert name in [candidate.name for candidate in found]
    best = [candidate.name for candidate in found if candidate.score == found[0].score]
    assert name in best, [(candidate.name, candidate.score) for candidate in found[:4]]
    assert len(asked) == len(set(asked)) < 400  # 20 s at 9,600 baud


def test_who_answers_at_which_baud_rate_and_as_what(capsys):
    with MeterBus(METERS, CURVE, strict_baud=True, seed=3) as bus:
        words = ["meters", "scan", bus.device, "--units", "1-8", "--timeout-ms", "300"]
        code = cli.main([*words, "--line", "9600", "--line", "2400N"])
        counts = bus.counts
    said = capsys.readouterr().out.splitlines()
    at_9600 = said[: said.index("2400 baud, parity N, unit ids 1 to 8")]
    at_2400 = said[len(at_9600) :]
    assert code == 0
    for lines, profiles in (
        (at_9600, {1: "eastron-sdm630", 2: "pzem-004t", 5: "abb-b2x", 7: "carlo-gavazzi-em340"}),
        (at_2400, {3: "eastron-sdm120"}),
    ):
        there = [line.split()[2] for line in lines if line.startswith("  unit id")]
        assert there == [f"{unit_id}:" for unit_id in profiles]
        for unit_id, profile in profiles.items():
            assert any(f"profile={profile} " in line and line.endswith(f"unit_id={unit_id}") for line in lines)
    assert any("voltage_l1 230." in line and "frequency 50.0" in line for line in at_9600)
    assert counts["deaf"] and counts["dead"] and counts["foreign"]
    assert said[-1].startswith("5 answered, of 16")


def test_silence_is_said_with_what_to_do(capsys):
    with MeterBus([SimulatedMeter("pzem-004t", 9)], CURVE) as bus:
        words = ["meters", "scan", bus.device, "--line", "9600", "--timeout-ms", "300", "--units"]
        assert cli.main([*words, "1-3"]) == 1
        assert "swap wires A and B" in capsys.readouterr().out
        assert cli.main([*words, "9", "--no-identify"]) == 0
        assert "profile=" not in capsys.readouterr().out


def test_two_meters_of_one_map_are_both_offered():
    meter = RegisterMap("eastron-sdm230")
    load = SimulatedMeter("eastron-sdm230", 1).load(CURVE, 1)
    words = meter.words(lambda quantity: load.quantity(quantity, 50.0))

    def read(_function, address, count):
        if any(address + i not in words for i in range(count)):
            return None, True
        return b"".join(words[address + i].to_bytes(2, "big") for i in range(count)), False

    lines = scan.described(scan.Found(1, 9600, "N", "", scan.recognise(read)))
    (said,) = [line for line in lines if "have the same registers" in line]
    assert "eastron-sdm220" in said and "eastron-sdm230" in said


@pytest.mark.parametrize("text", ["9601", "9600X", "", "N", "E9600"])
def test_a_wrong_line_is_refused(text):
    with pytest.raises(SettingsError, match="9600E"):
        scan.line_of(text)


@pytest.mark.parametrize("text", ["0", "1-256", "5-4", "a", "1-2-3", ""])
def test_wrong_unit_ids_are_refused(text):
    with pytest.raises(SettingsError, match="1 to 255"):
        scan.units_of(text)


def test_a_port_that_is_not_there_or_goes_away():
    with pytest.raises(LinkError, match="does not open"):
        SerialBus("/dev/nowhere", 9600)
    ours, theirs = os.openpty()
    bus = SerialBus(os.ttyname(theirs), 9600)
    os.close(theirs)
    os.close(ours)
    with pytest.raises(LinkError):
        bus.read(1, 4, 0, 1)
