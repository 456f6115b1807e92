"""The whole system in virtual time: seeds that CI lives, each at least a day; a replay is the same to the last byte."""

import json
import subprocess
import sys

import pytest

from tests.sim.whole import ROOT

SEEDS = 4
# Of the planted bugs: those that are found soonest. `make sim ARGS=--planted` tries all of them.
PLANTED = ("any answer", "unsynchronised dropped", "dated by another start", "newest only")


def lived(*arguments):
    """The figures that the campaign prints."""
    command = [sys.executable, "-m", "tests.sim.whole", "--json", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    *said, last = done.stdout.splitlines() or [""]
    assert done.returncode == 0, "\n".join(said) + done.stderr
    return json.loads(last)


def test_nothing_is_lost_doubled_or_unexplained():
    figures = lived("--seeds", SEEDS, "--jobs", 2)
    assert figures["seeds"] == SEEDS
    assert figures["failed"] == 0
    assert figures["gateway_days"] >= SEEDS
    assert figures["readings"] > 1000 * SEEDS


def test_a_seed_lives_the_same_life_twice():
    first, second = (lived("--seed", 3, "--seeds", 1, "--days", 0.3)["worlds"] for _ in range(2))
    assert first == second


@pytest.mark.parametrize("bug", PLANTED)
def test_a_planted_bug_is_found(bug):
    command = [sys.executable, "-m", "tests.sim.whole", "--planted", "--bug", bug, "--seeds", "2", "--days", "0.4"]
    done = subprocess.run([*command, "--jobs", "1"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "1 of 1 planted bugs found" in done.stdout, done.stdout + done.stderr


def test_a_bug_whose_text_no_longer_stands_in_the_source_is_told(monkeypatch):
    from tests.sim.whole import bugs
    from tests.sim.whole.modules import NoSuchEdit

    monkeypatch.setitem(bugs.BUGS, "rotten", ("", (), ("firmware/app.py", "no such text", "")))
    with pytest.raises(NoSuchEdit):
        bugs.plant("rotten")


def test_whatever_call_of_the_gateway_fails_nothing_is_lost():
    command = [sys.executable, "-m", "tests.sim.whole.failing", "--size", "0", "--seed", "5"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "'lives': 12" in done.stdout, done.stdout + done.stderr
