"""Broker and hub are killed while batches are on their way; `make kills` does it more often."""

import pytest

from host_tools.broker.broker import KINDS
from kills import Broken, count_once, live
from test_broker import available


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_lost_or_doubled_whoever_is_killed(kind, tmp_path):
    figures = live(tmp_path / "park", available(kind), kills=2, seed=4, loads=2)
    assert figures["kills"] >= 2
    assert figures["readings"] > 1000


def test_the_count_sees_a_batch_that_is_missing_doubled_or_changed():
    from batches import FakeGateway

    gateway = FakeGateway(1)
    made = [gateway.batch(rows=3) for _ in range(3)]
    rows = list(enumerate(made))

    def counted(rows):
        figures = {"readings": 0, "batches": 0}
        count_once(figures, rows, gateway.xy, made)
        return figures["readings"]

    assert counted(rows) == 3 * 3 * 4
    for wrong in (rows[:2], rows[:1] + rows[2:], rows + rows[2:], [*rows[:2], (2, made[1])]):
        with pytest.raises(Broken):
            counted(wrong)
