"""The short form of `make lives`: random lives of the journal with every fault mixed in, held against its promises."""

import pytest

from tests.oracle import lives
from tests.oracle.__main__ import live

LIVES, LIVES_MIXED = 4, 8


@pytest.mark.parametrize("geometry", sorted(lives.GEOMETRIES))
@pytest.mark.parametrize("faults", ["none", "weak", "bad", "transient", "flip", "wipe", "stray", "mixed"])
def test_no_promise_is_broken(geometry, faults):
    only = None if faults == "mixed" else frozenset({faults} - {"none"})
    total = lives.Tally()
    for seed in range(1, (LIVES_MIXED if only is None else LIVES) + 1):
        tally, failure = live((geometry, seed, 30, only))
        extra = "" if only is None else f" --faults {faults}"
        again = f"python -m tests.oracle --starts 30 --replay {geometry}:{seed}{extra}"
        assert failure is None, f"{failure}: {again}"
        total.add(tally)
    assert total.states > 50 and total.nested > 5 and total.batches >= 20
    assert geometry == "files" or total.nested_four_deep


def test_a_life_is_the_same_each_time():
    first, again = (lives.run(7, "esp32", 20) for _ in range(2))
    assert str(first) == str(again)
