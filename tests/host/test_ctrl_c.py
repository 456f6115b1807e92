"""Ctrl-C in the first moments of every verb: it ends without a traceback, whatever was being loaded."""

import argparse
import importlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from host_tools import cli

PROGRAM = Path(sys.executable).with_name("parkgate")
SIZE = int(os.environ.get("PARKGATE_FUZZ_SIZE", "0"))
INSTANTS = 8 * SIZE  # of each verb
FEW = 10  # verbs, at one instant each, without a size
FIRST_S = 0.2


def leaves(parser, words=()):
    """(words, parser) of every verb below a parser; an action that is a choice of words counts as a verb."""
    below = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    for action in below:
        for name, one in action.choices.items():
            yield from leaves(one, (*words, name))
    if not below:
        chosen = next((a for a in parser._actions if not a.option_strings and a.choices), None)
        for choice in chosen.choices if chosen else [None]:
            yield [*words, *([choice] if choice else [])], parser


def filled(parser, tmp):
    """Arguments for what the parser requires: files and hubs that are not there."""
    words = []
    for action in parser._actions:
        if action.required and not action.choices and not isinstance(action, argparse._SubParsersAction):
            count = action.nargs if isinstance(action.nargs, int) else 1
            words += [*action.option_strings[-1:], *[str(tmp / "nothing")] * count]
        elif action.required and action.option_strings:
            words += [action.option_strings[-1], str(next(iter(action.choices)))]
    return words


def verbs(tmp):
    for verb, (module, _) in cli.VERBS.items():
        parser = argparse.ArgumentParser(prog="parkgate")
        below = parser.add_subparsers()
        importlib.import_module(module).add_parser(below)
        for words, leaf in leaves(below.choices[verb], (verb,)):
            yield words + filled(leaf, tmp)


def interrupted(words, after_s, folder):
    """How `parkgate WORDS` ends when Ctrl-C comes so long after its start."""
    program = subprocess.Popen(
        [str(PROGRAM), *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True,
        cwd=folder,
    )  # fmt: skip
    time.sleep(after_s)
    program.send_signal(signal.SIGINT)
    try:
        _, errors = program.communicate(timeout=150)
    finally:
        program.kill()
    return program.returncode, errors


def check(words, after_s, folder):
    code, errors = interrupted(words, after_s, folder)
    what = f"parkgate {' '.join(words)}: Ctrl-C after {1000 * after_s:.0f} ms: {code} {errors}"
    assert "Traceback" not in errors and "Error" not in errors and "Exception" not in errors, what
    # 2 and 1: it had ended by itself. -SIGINT is what a shell shows as 130.
    assert code in (0, 1, 2, 130, -signal.SIGINT), what
    return code


@pytest.mark.fuzz
def test_every_verb(tmp_path):
    dice = random.Random(int(time.time()) if SIZE else 1)
    all_verbs = list(verbs(tmp_path))
    assert len(all_verbs) > 80
    asked = all_verbs if SIZE else dice.sample(all_verbs, FEW)
    found = [check(words, dice.random() * FIRST_S, tmp_path) for words in asked for _ in range(max(1, INSTANTS))]
    assert any(code in (130, -signal.SIGINT) for code in found)
