"""`parkgate meters test`: a simulated hall with its faults is diagnosed in words, on a serial line."""

import pytest

from host_tools import cli
from host_tools.meters.load_curve import Load, WiredLoad
from host_tools.meters.load_curve import read as read_curve
from host_tools.meters.meter_simulator import MeterBus, SimulatedMeter
from parkgate.errors import SettingsError

HALL = (
    SimulatedMeter("eastron-sdm630", 1),
    SimulatedMeter("eastron-sdm630", 2, wiring="reversed=2"),
    SimulatedMeter("eastron-sdm630", 3, wiring="swapped=1,3"),
    SimulatedMeter("eastron-sdm630", 4, wiring="ratio=20"),
    SimulatedMeter("pzem-004t", 5),
)


@pytest.fixture(scope="module")
def hall():
    with MeterBus(HALL) as bus:
        yield bus


def said(capsys, hall, *arguments):
    """(exit code, meter → its lines) of one test."""
    code = cli.main(["meters", "test", hall.device, *arguments, "--every-s", "0.1"])
    found: dict[int, list[str]] = {}
    lines: list[str] = []
    for line in capsys.readouterr().out.splitlines():
        if not line.startswith(" "):
            lines = found.setdefault(int(line.split("unit id ")[1].split()[0]), [])
        lines.append(line)
    return code, found


def test_a_hall_is_diagnosed_in_words(hall, capsys):
    meters = [f"{meter.profile}@{meter.unit_id}" for meter in HALL]
    code, found = said(capsys, hall, *meters)
    assert code == 1
    wrong = {unit: [line.strip() for line in lines if "WRONG" in line] for unit, lines in found.items()}
    assert wrong[1] == wrong[5] == []
    assert found[1][-1].strip() == found[5][-1].strip() == "the numbers agree with each other"
    assert wrong[2] == [
        "WRONG: current transformer of L2 reversed: power is negative there, with as much current as elsewhere"
    ]
    assert wrong[3] == ["WRONG: L1 and L3 are swapped between voltage and current: the powers of the phases cancel out"]
    assert [line.split(" is ")[0] for line in wrong[4]] == [f"WRONG: wrong ratio: power of L{n}" for n in (1, 2, 3)]
    assert all(line.endswith("x 20, a transformer 100/5") for line in wrong[4])
    assert any(line.startswith("  voltage L1 ") and line.endswith(" V") for line in found[1])


def test_all_word_orders_are_shown_when_asked(hall, capsys):
    code, found = said(capsys, hall, "eastron-sdm630@1", "--orders", "--samples", "1")
    assert code == 0
    at = next(n for n, line in enumerate(found[1]) if line.startswith("  voltage L1 "))
    shown = found[1][at + 1 : at + 6]
    assert [line.split()[0] for line in shown] == ["registers", "ABCD:", "CDAB:", "BADC:", "DCBA:"]
    assert shown[1].split("float ")[1][:2] == "23", "the right order reads as the mains"
    assert found[1][at].split()[-2][:2] == "23"


def test_a_meter_that_does_not_answer(hall, capsys):
    code, found = said(capsys, hall, "eastron-sdm120@9", "--samples", "1", "--timeout-ms", "50")
    assert code == 1 and "NO ANSWER" in found[9][-1]


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["eastron-sdm630"], "a profile and a unit id"),
        (["eastron-sdm630@0"], "a profile and a unit id"),
        (["nobody@1"], "nobody"),
        (["eastron-sdm630@1", "--line", "9601N"], "--line"),
        (["eastron-sdm630@1", "--samples", "0"], "--samples"),
    ],
)
def test_what_is_wrong_is_said(hall, capsys, arguments, words):
    assert cli.main(["meters", "test", hall.device, *arguments]) == 2
    assert words in capsys.readouterr().err


def test_faults_of_an_installation_that_are_none():
    load = Load(read_curve())
    for text in ("", "reversed", "reversed=4", "swapped=1", "ratio=x", "upside=1"):
        with pytest.raises(SettingsError, match="it is one of"):
            WiredLoad(load, text)
    frozen = WiredLoad(load, "frozen=current_l1")
    assert frozen.quantity("current_l1", 0.0) == frozen.quantity("current_l1", 50.0)
    assert frozen.quantity("current_l2", 0.0) != frozen.quantity("current_l2", 50.0)
