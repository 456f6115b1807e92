"""The journal in segment files on a real littlefs (the Unix port's), cut at the flash operations that littlefs does."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
SCRIPT = ROOT / "tests" / "sim" / "littlefs_cuts.py"
SEARCH_PATH = [ROOT / folder for folder in ("lib", "tests/sim", "firmware")]


def run(unix_port, *arguments):
    """What the script prints: what was tried, and what failed."""
    finished = unix_port.run(
        SCRIPT, [str(a) for a in arguments], path=SEARCH_PATH, heapsize="256M", timeout_s=280, cwd=ROOT
    )
    assert finished.exit_code == 0, finished.output
    return ast.literal_eval(finished.output.strip().split("\n")[-1])


@pytest.mark.parametrize("unit", [256, 32])
def test_nothing_that_was_synced_is_lost_at_any_cut(unix_port, unit):
    every, second_every = (65, 80) if unit == 256 else (131, 30)
    tally = run(unix_port, 64, unit, 24, 1, 300, every, 0, 1, second_every)
    print(tally)
    assert tally["failures"] == []
    assert tally["states"] > 100 and tally["seconds"] > 100 and tally["continued"] > 5


@pytest.mark.parametrize("bug, every", [("lazy", 0), ("overtaking", 2)])
def test_planted_bug_is_found(unix_port, bug, every):
    tally = run(unix_port, 64, 256, 24, 1, 300, every, 0, 1, 0, bug)
    assert tally["failures"]
    print(tally["failures"][0])
