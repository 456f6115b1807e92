"""The page of settings is what the table says, and its example can be used."""

import re
from pathlib import Path

from host_tools import cli
from host_tools.gateway import settings_docs
from host_tools.gateway.settings import read_file
from parkgate.settings import MEANING, NAME
from parkgate.settings.schema import LISTS, TABLE, validate
from parkgate.settings.sensors import FAMILIES, title

PAGE = Path(__file__).resolve().parent.parent.parent / "lib" / "SETTINGS.md"


def test_the_page_is_current():
    assert PAGE.read_text(encoding="utf-8") == settings_docs.markdown(), "run: parkgate settings docs lib/SETTINGS.md"


def test_every_setting_is_on_it():
    text = settings_docs.markdown()
    for section, fields in TABLE.items():
        part = text.split(f"[{section}]`\n" if section not in LISTS else f"[{section}]]`\n", 1)[1].split("\n## ", 1)[0]
        for field in fields:
            assert f"| `{field[NAME]}` |" in part and field[MEANING].replace("|", "\\|") in part
    for family in FAMILIES:
        assert f"family `{family}`" in text and f"{title(family)}.\n" in text
    assert not re.search(r"\| *\|", text.replace("|---|", "")), "no empty cell"


def test_its_example_holds(tmp_path, capsys):
    file = tmp_path / "example.toml"
    file.write_text(re.search(r"```toml\n(.*?)```", settings_docs.markdown(), re.S).group(1))
    validate(read_file(file))
    assert cli.main(["settings", "check", str(file)]) == 0
    assert cli.main(["settings", "docs", str(tmp_path / "page.md")]) == 0
    assert (tmp_path / "page.md").read_text() == settings_docs.markdown()


def test_help_goes_down_to_the_options_of_a_family(capsys):
    assert cli.main(["settings", "help", "sensors.pulses"]) == 0
    assert "sensors.NAME.options.debounce_us" in capsys.readouterr().out
