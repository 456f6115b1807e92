"""The outbox: live first, backlog paced, a window, resends."""

from check import equal
from parkgate.outbox import Outbox


def test_newest_first_then_the_oldest_paced():
    box = Outbox(3, 1000, 200)
    held = [4, 5, 6, 7]
    equal(box.choose(held, 0), 7)
    box.sent(7, 7, 0)
    equal(box.choose(held, 0), 4)
    box.sent(4, 7, 0)
    equal(box.choose(held, 199), None)
    equal(box.choose(held, 200), 5)
    box.sent(5, 7, 200)
    equal(box.choose(held, 400), None, "the window is full")
    equal(box.choose(held + [8], 400), 8, "but the newest never waits for the backlog")


def test_sends_again_after_the_timeout():
    box = Outbox(2, 1000, 0)
    box.sent(0, 0, 0)
    equal(box.choose([0], 999), None)
    equal(box.choose([0], 1000), 0)
    box.sent(0, 0, 1000)
    equal(box.repeats, 1)
    equal(box.round_trip_ms(0, 1300), 300)


def test_forgets_what_was_acknowledged_and_what_a_lost_connection_took():
    box = Outbox(1, 1000, 0)
    box.sent(0, 1, 0)
    box.sent(1, 1, 0)
    equal(box.choose([1], 1), None)
    equal(list(box.sent_ms), [1])
    box.connection_lost()
    equal(box.choose([1], 1), 1)
    equal(box.choose([], 1), None)
    equal(box.round_trip_ms(1, 1), None)
