"""The outbox: live first, backlog paced, one window, and waiting times that grow while nobody answers."""

from check import equal, true
from parkgate.journal.outbox import BACK_OFF_MS_MAX, BackOff, Outbox, spread

TIMEOUT_MS = 10000


def longest(_limit):
    return 0


def dice(seed):
    state = [seed]

    def random(limit):
        state[0] = (state[0] * 1103515245 + 12345) & 0x7FFFFFFF
        return (state[0] >> 8) % limit

    return random


def test_newest_first_then_the_oldest_paced():
    box = Outbox(3, 1000, 200, longest)
    held = [4, 5, 6, 7]
    equal(box.choose(held, 0), 7)
    box.sent(7, 0)
    equal(box.choose(held, 199), None, "any two are apart")
    equal(box.choose(held, 200), 4)
    box.sent(4, 200)
    equal(box.choose(held, 400), None, "one place is left for a newest")
    equal(box.choose(held + [8], 201), 8, "which does not wait for the backlog")
    box.sent(8, 201)
    equal(box.choose(held + [8, 9], 900), None, "but the window holds for it too")
    box.heard(950)
    equal(box.choose([4, 5, 6, 8, 9], 950), 9, "7 has its receipt")


def test_a_window_of_one_still_sends():
    box = Outbox(1, 1000, 0, longest)
    equal(box.choose([0, 1], 0), 1)
    box.sent(1, 0)
    equal(box.choose([0, 1], 1), None)
    box.heard(2)
    equal(box.choose([0], 2), 0)


def test_a_batch_that_is_not_answered_is_sent_again_ever_less_often():
    """The hub answers everything else: one bad batch must not be sent for ever at full pace, nor hold up the rest."""
    box = Outbox(2, 1000, 0, longest)
    sent = []
    now = 0
    for seq in range(1, 3400):
        held = [0, seq]
        now += 500
        for _ in range(2):
            chosen = box.choose(held, now)
            if chosen is None:
                break
            box.sent(chosen, now)
            if chosen == 0:
                sent.append(now)
            else:
                held = [0]
                box.heard(now)
        equal(held, [0], "the others go on")
    apart = [b - a for a, b in zip(sent, sent[1:])]
    equal(apart[:5], [1000, 2000, 4000, 8000, 16000])
    equal(max(apart), BACK_OFF_MS_MAX)
    equal(len(sent), 12)


def outage(seed, hours, interval_ms=10000, window=4, pace_ms=100):
    """(times of all sendings, at most on their way) while the hub is silent and a batch is made every ten seconds."""
    box = Outbox(window, TIMEOUT_MS, pace_ms, dice(seed))
    times = []
    now = 0
    while now < hours * 3600000:
        held = range(1 + now // interval_ms)
        chosen = box.choose(held, now)
        if chosen is not None:
            times.append(now)
            box.sent(chosen, now)
        now += 100
    return times, box


def test_the_window_holds_while_the_hub_is_away_and_repeats_do_not_grow_with_the_outage():
    times, box = outage(1, 3)
    equal(len([1 for time in times if time < TIMEOUT_MS]), 1)
    first = len([1 for time in times if time < 150000])
    true(first <= 4 + 6, first)
    last_hour = len([1 for time in times if time >= 2 * 3600000])
    true(6 <= last_hour <= 13, last_hour)
    true(box.is_silent(3 * 3600000))


def test_a_whole_backlog_puts_no_more_than_a_window_on_its_way():
    box = Outbox(4, TIMEOUT_MS, 0, dice(2))
    held = range(500)
    now = count = 0
    while now < TIMEOUT_MS:
        chosen = box.choose(held, now)
        if chosen is not None:
            box.sent(chosen, now)
            count += 1
        now += 10
    equal(count, 3, "and one place left for a newest")


def test_one_word_of_the_hub_ends_the_silence():
    _, box = outage(3, 1)
    now = 3600000
    held = range(361)
    box.heard(now)
    true(not box.is_silent(now))
    sent = []
    for _ in range(300):
        chosen = box.choose(held, now)
        if chosen is not None:
            sent.append(chosen)
            box.sent(chosen, now)
            box.heard(now + 50)
            held = [seq for seq in held if seq != chosen]
        now += 100
    true(len(sent) >= 290, len(sent))


def test_the_pace_holds_over_a_lost_connection():
    box = Outbox(4, 1000, 300, longest)
    box.sent(1, 0)
    box.connection_lost(10)
    equal(box.choose([0, 1], 20), None)
    equal(box.choose([0, 1], 300), 0)
    box.sent(0, 300)
    equal(box.choose([0, 1], 600), 1, "what was on its way goes again")


def test_silence_outlasts_connections_that_come_and_go():
    box = Outbox(4, 1000, 0, longest)
    box.sent(0, 0)
    count = 0
    for now in range(1000, 601000, 1000):
        box.connection_lost(now)
        while box.choose(range(50), now) is not None:
            box.sent(box.choose(range(50), now), now)
            count += 1
    true(count <= 12, count)


def test_forgets_what_was_acknowledged():
    box = Outbox(1, 1000, 0, longest)
    box.sent(0, 0)
    equal(box.choose([1], 1), 1)
    equal(box.choose([], 1), None)
    equal(len(box._tried), 0)


def test_remembers_no_more_than_it_must():
    box = Outbox(4, 1, 0, longest)
    for seq in range(1000):
        box.sent(seq, seq)
    equal(len(box._tried), 32)


def test_back_off_doubles_is_bounded_and_spread():
    back_off = BackOff(1000, 60000, longest)
    equal([back_off.wait_ms() for _ in range(8)], [1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000])
    back_off.failures = 10**6
    equal(back_off.wait_ms(), 60000)
    waits = [BackOff(2000, 60000, dice(seed)).wait_ms() for seed in range(200)]
    true(min(waits) >= 1000 and max(waits) <= 2000)
    true(max(waits) - min(waits) > 900, "a park does not return at once")
    true(spread(BACK_OFF_MS_MAX, dice(5)) <= BACK_OFF_MS_MAX)
