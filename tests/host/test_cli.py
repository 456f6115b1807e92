"""The command `parkgate`: verbs are loaded only when typed, and an error of ours is one line and exit code 2."""

import subprocess
import sys
import types

import pytest

from host_tools import cli
from parkgate.errors import FormatError


def _verb(fails_with=None):
    """Make a verb's module that gives 0 or raises."""

    def add_parser(subparsers):
        subparsers.add_parser("planted").add_argument("--number", type=int, default=0)

    def run(args):
        if fails_with is not None:
            raise fails_with
        return args.number

    module = types.ModuleType("planted_verb")
    module.__dict__.update(add_parser=add_parser, run=run)
    module.__spec__ = types.SimpleNamespace()  # pyright: ignore[reportAttributeAccessIssue]
    return module


def _plant(monkeypatch, module):
    monkeypatch.setitem(sys.modules, "planted_verb", module)
    monkeypatch.setitem(cli.VERBS, "planted", ("planted_verb", "planted by a test"))


def test_a_verb_gets_its_arguments_and_gives_the_exit_code(monkeypatch):
    _plant(monkeypatch, _verb())
    assert cli.main(["planted"]) == 0
    assert cli.main(["planted", "--number", "3"]) == 3


def test_an_error_of_ours_is_one_line(monkeypatch, capsys):
    _plant(monkeypatch, _verb(FormatError("byte 7 is wrong")))
    assert cli.main(["planted"]) == 2
    assert capsys.readouterr().err == "parkgate planted: byte 7 is wrong\n"


def test_debug_shows_the_traceback(monkeypatch, capsys):
    _plant(monkeypatch, _verb(FormatError("byte 7 is wrong")))
    assert cli.main(["--debug", "planted"]) == 2
    error = capsys.readouterr().err
    assert "Traceback" in error and "FormatError: byte 7 is wrong" in error


def test_a_fault_of_the_program_is_not_hidden(monkeypatch):
    _plant(monkeypatch, _verb(KeyError("x")))
    with pytest.raises(KeyError):
        cli.main(["planted"])


def test_ctrl_c_is_no_error(monkeypatch, capsys):
    _plant(monkeypatch, _verb(KeyboardInterrupt()))
    assert cli.main(["planted"]) == 130
    assert capsys.readouterr().err == ""


def test_an_unknown_verb_is_refused(capsys):
    with pytest.raises(SystemExit) as raised:
        cli.main(["no-such-verb"])
    assert raised.value.code == 2
    assert "no-such-verb" in capsys.readouterr().err


def test_a_verb_without_a_module_is_not_offered(monkeypatch, capsys):
    monkeypatch.setitem(cli.VERBS, "absent", ("host_tools.absent.command", "never there"))
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    assert "absent" not in capsys.readouterr().out


def test_help_loads_no_verb():
    code = "import sys; from host_tools import cli\ntry: cli.main(['--help'])\nexcept SystemExit: pass\n" + (
        "print('loaded:', sorted({'numpy', 'starlette', 'cryptography', 'pymodbus', 'rich'} & sys.modules.keys()))"
    )
    finished = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, timeout=150)
    assert finished.stdout.endswith("loaded: []\n"), finished.stdout


@pytest.mark.parametrize("verb", [verb for verb, (module, _) in cli.VERBS.items() if cli._exists(module)])
def test_each_verb_explains_itself(verb, capsys):
    with pytest.raises(SystemExit) as raised:
        cli.main([verb, "--help"])
    assert raised.value.code == 0
    assert f"parkgate {verb}" in capsys.readouterr().out
