"""--json: one document, its keys as host_tools/JSON.md lists them, also after an error."""

import argparse
import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from console_gateway import Gateway, Port
from failing_calls import run
from host_tools import cli
from host_tools.base.keys import hub_key
from host_tools.hub.stores.store import connect
from host_tools.hub.verbs import enrol

PAGE = Path(__file__).resolve().parent.parent.parent / "host_tools" / "JSON.md"
CASES = {
    "boards [NAME]": ["boards"],
    "meters list": ["meters", "list"],
    "meters show": ["meters", "show", "pzem-004t"],
    "meters check": ["meters", "check"],
    "meters compare": ["meters", "compare", "--facts", "{facts}"],
    "settings show": ["settings", "show", "--port", "x"],
    "settings check": ["settings", "check", "{tmp}/s.json"],
    "settings diff": ["settings", "diff", "{tmp}/s.json", "--port", "x"],
    "settings pull": ["settings", "pull", "{tmp}/pulled.toml", "--port", "x"],
    "settings help": ["settings", "help"],
    "provision": ["provision", "--port", "x", "--hub", "{tmp}/hub", "--name", "hall-7"],
    "console COMMAND": ["console", "--port", "x", "identity"],
    "enrol --list": ["enrol", "--data", "{tmp}/hub", "--list"],
    "enrol KEY": ["enrol", "--data", "{tmp}/hub", "{key}"],
    "enrol --clear-alarms": ["enrol", "--data", "{tmp}/hub", "--clear-alarms", "hall-1"],
    "account list": ["account", "list", "--data", "{tmp}/hub"],
    "alarm list": ["alarm", "list", "--data", "{tmp}/hub"],
    "alarm limits": ["alarm", "limits", "--data", "{tmp}/hub"],
    "operator": ["operator", "--data", "{tmp}/hub"],
    "operator NAME": ["operator", "--data", "{tmp}/hub", "anna"],
    "hub --status": ["hub", "--data", "{tmp}/hub", "--status"],
    "hub retain": ["hub", "retain", "--data", "{tmp}/hub", "--before", "2026-01-01"],
    "hub hold": ["hub", "hold", "--data", "{tmp}/hub"],
    "park meters": ["park", "meters", "--data", "{tmp}/hub"],
    "export --list": ["export", "--data", "{tmp}/hub", "--list"],
}


WRITES_A_PAGE = {"meters docs", "settings docs"}


def _leaves(parser, words=()):
    """(words of the verb, its parser) of all verbs below a parser."""
    below = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    for action in below:
        for name, one in action.choices.items():
            yield from _leaves(one, (*words, name))
    if not below:
        yield " ".join(words), parser


@pytest.mark.parametrize("verb", cli.VERBS)
def test_every_verb_has_the_option(verb, monkeypatch):
    monkeypatch.setattr("sys.argv", ["parkgate", "meters", "simulate"])  # its arguments are loaded on demand
    parser = argparse.ArgumentParser()
    subparsers = parser.add_subparsers()
    importlib.import_module(cli.VERBS[verb][0]).add_parser(subparsers)
    found = dict(_leaves(subparsers.choices[verb], (verb,)))
    assert found
    without = {words for words, one in found.items() if "--json" not in one._option_string_actions}
    assert without <= WRITES_A_PAGE, without


def listed(verb):
    """The keys that the page lists for a verb."""
    row = re.search(rf"^\| (?:[^|]*, )?`{re.escape(verb)}`(?:, [^|]*)? \| (.*) \|$", PAGE.read_text(), re.M)
    assert row, verb
    return set(re.findall(r"`(\w+)`", re.sub(r": each.*|\([^)]*\)", "", row[1])))


@pytest.mark.parametrize("verb", CASES)
def test_the_keys_are_those_of_the_page(verb, tmp_path):
    (tmp_path / "s.json").write_text("{}")
    folder = tmp_path / "hub"
    folder.mkdir()
    database = connect(folder)
    enrol.enrol(database, Gateway().signer.public_key, "hall-1")
    database.close()
    hub_key(folder)
    facts = PAGE.parent.parent / "tests" / "vectors" / "meter_facts.csv"
    places = {"facts": facts, "tmp": tmp_path, "key": Gateway().signer.public_key.hex()}
    words = [word.format(**places) for word in CASES[verb]]
    result = run([*words, "--json"], lambda on_call: Port(Gateway(), on_call))
    document = json.loads(result.out)
    assert document.pop("ok") is True and document.pop("verb").split()[0] == words[0]
    assert set(document) == listed(verb), result.out


@pytest.mark.parametrize("words", [
    ["boards", "no-such-board"], ["settings", "check"], ["settings", "check", "/no/such/file"],
    ["enrol", "--data", "/no/such/hub", "--list"], ["doctor", "--port", "/no/such/port"],
    ["flash", "--board", "pico", "--firmware", "/"], ["export", "--data", "/no", "--format", "xml"],
])  # fmt: skip
def test_an_error_is_a_document_too(words, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "host_tools.cli", *words, "--json"], capture_output=True, text=True, timeout=300,
        env={**os.environ, "PYTHONIOENCODING": "ascii", "HOME": str(tmp_path / "none")},
    )  # fmt: skip
    document = json.loads(done.stdout)
    assert done.returncode == document["exit_code"] == 2 and document["ok"] is False
    assert document["error"]["text"] and "Traceback" not in done.stderr and done.stderr.strip()


def test_version(capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(["--version"])
    assert end.value.code == 0 and re.match(r"parkgate \d+\.\d+", capsys.readouterr().out)
