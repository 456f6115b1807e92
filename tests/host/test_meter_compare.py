"""Every row of every profile beside the same row as other sources have it (tests/vectors/meter_facts.csv)."""

from pathlib import Path

import pytest

from host_tools import cli
from host_tools.base.paths import METER_PROFILES, SOURCES
from host_tools.meters.catalogue import compare, docs
from parkgate.errors import ParkgateError, ProfileError

FACTS = SOURCES / "tests" / "vectors" / "meter_facts.csv"

# (profile, quantity, project of the other source) → why the profile is right, or why nobody can tell yet.
DECIDED = {
    ("carlo-gavazzi-em340", "frequency", "OpenEMS/openems"): "50 Hz reads the same signed and unsigned",
    ("eastron-sdm230", "import_active_energy", "EVerest/everest-core"): "that file scales kWh by 10^-6",
    ("eastron-sdm230", "export_active_energy", "EVerest/everest-core"): "that file scales kWh by 10^-6",
    ("eastron-sdm630", "frequency", "OpenEMS/openems"): "that driver leaves out its factor: 0.05 Hz",
    ("socomec-countis-e3x", "import_active_energy", "OpenEMS/openems"): "0xC702 in 10 Wh there, 0xC652 in kWh here",
    ("socomec-countis-e3x", "export_active_energy", "OpenEMS/openems"): "0xC708 in 10 Wh there, 0xC658 in kWh here",
}


def test_no_profile_disagrees_with_another_source_unseen():
    facts = compare.read_facts(FACTS)
    findings, agreed, _ = compare.compare(facts, {fact["profile"] for fact in facts})
    seen = {(finding.profile, finding.quantity, finding.source.split("@")[0]) for finding in findings}
    assert seen == set(DECIDED), "\n".join(map(str, findings))
    assert agreed > 1900


def test_most_profiles_have_facts_beside_them():
    known = {fact["profile"] for fact in compare.read_facts(FACTS)}
    without = {path.stem for path in METER_PROFILES.glob("*.json")} - known
    assert len(known) >= 75, without


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ('["frequency", 70, "float32", 0', '["frequency", 72, "float32", 0', "address 72 here, 70 there"),
        ('["frequency", 70, "float32", 0', '["frequency", 70, "float32", 1', "scale 1/10 here, 1 there"),
        ('["frequency", 70, "float32", 0', '["frequency", 70, "int32", 0', "type int32 here, float32 there"),
        ('"function": 4', '"function": 3', "function 3 here, 4 there"),
        ('"order": "ABCD"', '"order": "CDAB"', "order CDAB here, ABCD there"),
    ],
)
def test_a_planted_disagreement_is_told(tmp_path, monkeypatch, capsys, old, new, word):
    text = (METER_PROFILES / "eastron-sdm630.json").read_text(encoding="utf-8")
    assert old in text
    (tmp_path / "eastron-sdm630.json").write_text(text.replace(old, new), encoding="utf-8")
    monkeypatch.setattr(compare, "METER_PROFILES", tmp_path)
    assert cli.main(["meters", "compare", "eastron-sdm630", "--facts", str(FACTS)]) == 0
    assert f"eastron-sdm630 frequency: {word}" in capsys.readouterr().out


def test_a_table_without_a_column_is_refused(tmp_path):
    table = tmp_path / "facts.csv"
    table.write_text("profile,function\n")
    with pytest.raises(ProfileError, match="'address' is missing"):
        compare.read_facts(table)
    with pytest.raises(ParkgateError, match="there is no such file"):
        compare.read_facts(tmp_path / "none.csv")


def test_the_list_of_meters_is_current():
    page = Path(SOURCES / "lib" / "METERS.md").read_text(encoding="utf-8")
    assert page == docs.markdown(), "parkgate meters docs lib/METERS.md writes it anew"
