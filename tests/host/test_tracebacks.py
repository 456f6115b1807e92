"""A traceback of a board, in the words of the source."""

import json

import pytest

from host_tools.base import tracebacks
from host_tools.gateway import console, doctor
from parkgate import VERSION

LOG = [
    "      1200 ms info link: connected",
    "     91000 ms error seal: Traceback (most recent call last):",
    '  File "app", line 120, in aq',
    '  File "tasks.seal", line 88, in ldrex',
    "AttributeError: 'Sealer' object has no attribute 'bz'",
    "     92000 ms info link: connected",
]
LAST = "tasks.seal line 88 in ldrex (seal_one): AttributeError: 'Sealer' object has no attribute 'bz' (_taken)"
NAMES = {"aq": "wrong", "app:aq": "_keep", "ldrex": "seal_one", "bz": "_taken", "connected": "wrong"}


@pytest.fixture
def built(tmp_path, monkeypatch):
    """This computer has built the firmware for the simulated board."""
    monkeypatch.setattr(tracebacks, "build_folder", lambda: tmp_path)
    (tmp_path / "app-unix").mkdir()
    (tmp_path / "app-unix" / "names.json").write_text(json.dumps(NAMES))


def test_names_of_a_traceback_only_are_followed_by_those_of_the_source():
    assert tracebacks.in_words_of_the_source(LOG, NAMES) == [
        LOG[0],
        LOG[1],
        '  File "app", line 120, in aq (_keep)',
        '  File "tasks.seal", line 88, in ldrex (seal_one)',
        "AttributeError: 'Sealer' object has no attribute 'bz' (_taken)",
        LOG[5],
    ]
    assert tracebacks.in_words_of_the_source(LOG, {}) == LOG


def test_a_module_without_folders_gets_its_dotted_name():
    known = {**NAMES, "seal:": "tasks.seal", "seal:ldrex": "seal_of_seal"}
    lines = ['  File "seal", line 88, in ldrex', '  File "seal", line 9, in run']
    assert tracebacks.in_words_of_the_source(lines, known) == [
        '  File "tasks.seal", line 88, in ldrex (seal_of_seal)',
        '  File "tasks.seal", line 9, in run',
    ]


def test_the_last_fault_in_one_line():
    said = tracebacks.last_fault(tracebacks.in_words_of_the_source(LOG, NAMES))
    assert said == LAST
    assert tracebacks.last_fault([LOG[0]]) == ""


def test_only_of_the_same_version_and_board(built):
    assert tracebacks.names({"board": "unix", "firmware": VERSION}) == NAMES
    for identity in ({"board": "unix"}, {"board": "unix", "firmware": "9.9.9"}, {"board": "pico", "firmware": VERSION},
                     {"board": "../unix", "firmware": VERSION}, {}):  # fmt: skip
        assert tracebacks.names(identity) == {}


class Line:
    """A gateway with these log lines."""

    def ask(self, command, *_timeout, repeat=True):
        return {"log": LOG, "identity": ["board = unix", f"firmware = {VERSION}"], "status": ["crashes = 1"]}[command]

    def facts(self, command):
        return dict(line.split(" = ") for line in self.ask(command))


def test_console_and_doctor_show_them(built):
    assert '  File "tasks.seal", line 88, in ldrex (seal_one)' in console._asked(Line(), "log")
    assert console._asked(Line(), "status") == ["crashes = 1"]
    (finding,) = doctor.check_program(doctor.Asked(Line()))
    assert finding.text == "1 errors of its own program since the start; the last one: " + LAST
