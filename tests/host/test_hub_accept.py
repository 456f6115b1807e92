"""The hub's decisions, pure: what is held of a chain, and whether a verified batch may join it."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from host_tools.hub.receiving.accept import DUPLICATE, FORK, LATE, NEW, Held, counter_fault, decide, size, without

SEQS = st.lists(st.integers(0, 60), unique=True)


@given(SEQS)
def test_held_is_a_set_in_ranges(seqs):
    held = Held()
    for seq in seqs:
        held.add(seq)
    assert [n for n in range(70) if n in held] == sorted(seqs)
    assert held.head() == max(seqs, default=None)
    ranges = held.ranges()
    assert [n for first, last in ranges for n in range(first, last + 1)] == sorted(seqs)
    assert all(last + 1 < first for (_, last), (first, _) in pairwise(ranges)), "ranges touch"
    assert [n for first, last in held.holes(65) for n in range(first, last + 1)] == sorted(set(range(65)) - set(seqs))


@given(SEQS)
def test_what_held_reports_keeps_a_table_of_ranges_right(seqs):
    held, table = Held(), {}
    for seq in seqs:
        gone, (first, last) = held.add(seq)
        for key in gone:
            del table[key]
        table[first] = last
    assert sorted(table.items()) == held.ranges()


@given(SEQS, st.integers(0, 65))
def test_hole_up_to(seqs, seq):
    held = Held()
    for each in seqs:
        held.add(each)
    hole = held.hole_up_to(seq)
    if seq in seqs:
        assert hole is None
    else:
        assert hole[1] == seq
        assert all(n not in held for n in range(hole[0], seq + 1))
        assert hole[0] == 0 or hole[0] - 1 in held


RANGES = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 9)).map(lambda r: (r[0], r[0] + r[1])), max_size=12)


def numbers(ranges):
    return {n for first, last in ranges for n in range(first, last + 1)}


@given(RANGES, RANGES)
def test_ranges_taken_in_and_taken_out(some, others):
    one, other = Held(), Held()
    for first, last in some:
        one.add_range(first, last)
    for first, last in others:
        other.add_range(first, last)
    assert numbers(one.ranges()) == numbers(some) and size(one.ranges()) == len(numbers(some))
    assert all(last + 1 < first for (_, last), (first, _) in pairwise(one.ranges())), "ranges touch"
    rest = without(one.ranges(), other.ranges())
    assert numbers(rest) == numbers(some) - numbers(others) and size(rest) == len(numbers(rest))
    assert without(one.ranges(), []) == one.ranges()


def no_fork(_hash):
    return False


def test_the_next_batch_is_new():
    assert decide(0, b"h0", None, None, None, None, None, no_fork)[0] == NEW
    assert decide(1, b"h1", b"h0", 0, None, b"h0", None, no_fork)[0] == NEW


def test_a_batch_above_a_hole_is_new_and_one_in_the_hole_is_late():
    assert decide(5, b"h5", b"h4", 2, None, None, None, no_fork)[0] == NEW
    assert decide(4, b"h4", b"h3", 5, None, None, b"h4", no_fork)[0] == LATE


def test_the_same_bytes_are_a_duplicate_and_others_a_fork():
    assert decide(3, b"h3", b"h2", 5, b"h3", b"h2", b"h3", no_fork)[0] == DUPLICATE
    assert decide(3, b"x", b"h2", 5, b"h3", b"h2", b"h3", no_fork)[0] == FORK


def test_a_link_to_another_neighbour_is_a_fork_from_either_side():
    assert decide(3, b"h3", b"x", 2, None, b"h2", None, no_fork)[0] == FORK
    assert decide(3, b"h3", b"h2", 5, None, b"h2", b"x", no_fork)[0] == FORK


def test_what_continues_a_fork_is_a_fork_even_over_a_hole():
    assert decide(9, b"h9", b"forked", 5, None, None, None, lambda h: h == b"forked")[0] == FORK


def test_counters_of_neighbours():
    assert counter_fault(None, (10, 10, 0)) is None
    assert counter_fault((10, 10, 0), (25, 10, 5)) is None
    assert counter_fault((10, 10, 0), (24, 10, 5)) is None  # one of the five was lost after it was sealed
    assert "grew by 26" in counter_fault((10, 10, 0), (36, 20, 5))
    assert "grew by 9" in counter_fault((10, 10, 0), (19, 10, 5))
    assert "dropped grew by -1" in counter_fault((10, 10, 3), (20, 10, 2))
