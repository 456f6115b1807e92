"""`meters new --protocol dlt645`: a profile of what the meter answers, and what it lacks is left out."""

import builtins
import json

import pytest

from host_tools import cli
from host_tools.base import profile_files
from host_tools.base.paths import METER_PROFILES
from host_tools.meters.dlt645.simulator import Dlt645Line, SimulatedMeter

ADDRESS = "000006605518"


@pytest.fixture
def answers(monkeypatch, tmp_path):
    """What the technician types: (beginning of a question, answers in turn)."""
    monkeypatch.setenv("PARKGATE_METERS", str(tmp_path / "own"))
    told: dict[str, list[str]] = {}

    def typed(question=""):
        for beginning, texts in told.items():
            if question.strip().startswith(beginning):
                return texts.pop(0) if texts else ""
        return ""

    monkeypatch.setattr(builtins, "input", typed)
    yield told
    profile_files.use(())


def test_what_the_meter_lacks_is_left_out_and_more_is_added(answers, tmp_path, capsys):
    answers.update({
        "Maker": ["Acme D1"], "Quantity": ["ct_ratio", ""], "Identifier": ["04000306"], "Type": ["bcd24"],
        "Decimals": ["0"], "Unit": ["1"], "Keep it": ["y"], "Is that right": ["y"],
    })  # fmt: skip
    document = json.loads((METER_PROFILES / "dlt645-2007.json").read_text(encoding="utf-8"))
    few = ("voltage_l1", "temperature", "import_active_energy")
    document["registers"] = [row for row in document["registers"] if row[0] in few]
    document["usual"] = ["voltage_l1"]
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "few.json").write_text(json.dumps(document))
    meter = SimulatedMeter(ADDRESS, "dlt645-2007", delay_ms=(1, 3), lacks=("0280",), fixed={"04000306": "200000"})
    with Dlt645Line([meter], baud=115200, paced=False) as line:
        words = ["meters", "new", "acme-d1", "--protocol", "dlt645", "--port", line.device, "--line", "115200E"]
        assert cli.main([*words, "--address", ADDRESS, "--copy", "few", "--json"]) == 0
        assert line.counts.get("write", 0) == 0
    said = capsys.readouterr()
    document = json.loads(said.out)
    made = json.loads((tmp_path / "own" / "acme-d1.json").read_text(encoding="utf-8"))
    names = [row[0] for row in made["registers"]]
    assert document["registers"] == len(names) and document["tried_live"] is True
    assert "voltage_l1" in names and "temperature" not in names and names[-1] == "ct_ratio"
    assert "left out: the meter does not have it" in said.err and "the meter: 20" in said.err
    assert cli.main(["meters", "check", document["file"]]) == 0


def test_a_silent_line_and_wrong_words(answers, tmp_path, capsys):
    answers["Maker"] = ["Acme"]
    words = ["meters", "new", "acme-d2", "--protocol", "dlt645"]
    assert cli.main([*words, "--address", "12"]) == 2
    assert cli.main([*words, "--port", "tcp:127.0.0.1"]) == 2
    assert cli.main([*words, "--copy", "pzem-004t"]) == 2
    assert "for Modbus" in capsys.readouterr().err
    assert not list((tmp_path / "own").glob("*.json"))
    assert cli.main(words) == 0, "without a meter at hand"
    assert "not tried on a meter" in (tmp_path / "own" / "acme-d2.json").read_text(encoding="utf-8")
