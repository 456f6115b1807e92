"""When readings behind a file system are made durable: never later than the interval that is promised."""

from check import equal, true
from flash_sim import Chance
from gateway.waiting import QUIET_MS, flush_is_due

LOOK_MS = 100


def flushes(interval_ms, pauses, late_ms, seed=5):
    """Times of the flushes in 200 s. `pauses(now)` is the quiet time then; a look is up to `late_ms` late."""
    chance = Chance(seed)
    now = due = 0
    found = []
    while now < 200000:
        if flush_is_due(now, due, interval_ms, pauses(now), LOOK_MS):
            found.append(now)
            due = now + interval_ms
        now += LOOK_MS + chance.below(late_ms + 1)
    return found


def test_no_reading_waits_longer_than_the_interval():
    chance = Chance(3)
    patterns = (lambda now: 0, lambda now: 1000, lambda now: chance.below(1000), lambda now: 900 - now % 1000)
    for interval_ms in (1000, 10000, 60000):
        for pauses in patterns:
            found = flushes(interval_ms, pauses, LOOK_MS)
            equal(found[0], 0)
            longest = max([later - earlier for earlier, later in zip(found, found[1:])])
            true(longest <= interval_ms, "%d ms of %d" % (longest, interval_ms))


def test_it_is_done_in_a_pause_where_there_is_one():
    def pauses(now):
        return 900 if now % 1000 < 150 else 0

    found = flushes(10000, pauses, 0)
    true(all([pauses(now) >= QUIET_MS for now in found]), "%s" % found)
    true(all([later - earlier >= 8700 for earlier, later in zip(found, found[1:])]), "%s" % found)
