"""The whole system in virtual time: seeds that CI lives, each at least a day; a replay is the same to the last byte."""

import json
import subprocess
import sys

from tests.sim.whole import ROOT

SEEDS = 4


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
