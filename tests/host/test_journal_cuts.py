"""The short form of `make cuts`, some seconds of what takes hours there; and bugs planted to be found by it."""

from importlib import import_module

import pytest

import short_life
from flash_sim import Chance
from journal_cuts import complete_a_torn_record, is_commit
from journal_world import Wrong
from parkgate.errors import JournalError
from parkgate.journal.journal import Journal
from tests import cuts
from tests.oracle import lives as lives_of_the_oracle
from tests.planted import journal_bugs

SEED = 3
SAMPLES = 300
STATES = {"rp2": 8, "esp32": 8, "small-rp2": 20, "small-esp32": 20, "story-rp2": 20, "story-esp32": 20}  # operations
LIVES_HUNTED = 30
BROKEN = (Wrong, JournalError, IndexError, TypeError, ValueError)


@pytest.mark.parametrize("name", sorted(cuts.LIVES))
def test_nothing_is_lost_at_any_cut(name):
    world, make_journal = cuts.make_life(name, SEED, SAMPLES)
    every = len(world.trace) // STATES[name]
    tally = cuts.all_cuts(name, world, make_journal).run(
        range(7, len(world.trace), every), second_every=10, flicker_every=10, thorough_every=16, damage_every=4
    )
    print(tally.__dict__)
    if tally.failures:
        state, what = tally.failures[0]
        pytest.fail(f'{what}: python -m tests.cuts --replay "{name}:{SEED}:{SAMPLES}:{state}"', pytrace=False)
    assert tally.states and tally.seconds and tally.flickers and tally.damages and tally.continued


@pytest.mark.parametrize("name", sorted(cuts.FILES))
def test_nothing_synced_is_lost_at_any_cut_in_files(name):
    world, make_journal = cuts.make_file_life(name, SEED, SAMPLES)
    tally = cuts.all_cuts(name, world, make_journal).run(range(0, len(world.trace), 7), 1, thorough_every=16)
    assert not tally.failures, f'python -m tests.cuts --replay "{name}:{SEED}:{SAMPLES}:{tally.failures[0]}"'
    assert tally.states > 20 and tally.seconds > 20 and tally.continued


@pytest.mark.parametrize("bug", sorted(journal_bugs.BUGS))
def test_planted_bug_is_found(bug):
    journal_class = journal_bugs.load(bug)
    life = journal_bugs.LIVES.get(bug)
    found = failure(life, journal_class) if life else hunt(journal_class)
    assert found, f"{journal_bugs.BUGS[bug][0]}: not found"
    print(found)


def failure(life, journal_class):
    """What is wrong with such a journal in a life of tests/core, which a sound one lives through; None when nothing."""
    module, name = life.split(".")
    lives = import_module(module)
    sound = short_life.Journal
    makers = [maker for maker in (short_life, lives) if hasattr(maker, "Journal")]
    for maker in makers:
        maker.Journal = journal_class
    try:
        getattr(lives, name)()
    except Exception as error:  # a journal with a bug may fail in any way
        return f"{name}: {type(error).__name__}: {error}"
    finally:
        for maker in makers:
            maker.Journal = sound
    return None


def test_a_sound_journal_is_not_taken_for_one_with_a_bug():
    """Else each planted bug would be found by what is wrong with the hunt."""
    complete_a_torn_record(lambda flash: Journal(flash, lambda: bytes(16)))
    for life in sorted(set(journal_bugs.LIVES.values())):
        assert failure(life, Journal) is None
    for geometry in ("rp2", "esp32"):
        lives_of_the_oracle.run(1, geometry)


def hunt(journal_class):
    """What is wrong with such a journal, found by living with it and by cuts; None when nothing is."""
    for seed in range(1, LIVES_HUNTED + 1):
        for geometry in ("rp2", "esp32"):
            try:
                lives_of_the_oracle.run(seed, geometry, journal_class=journal_class)
            except lives_of_the_oracle.Failure as failure:
                return f"{geometry}: {failure}"
            except Exception as error:  # a journal with a bug may fail in any way
                return f"{geometry}, seed {seed}: {type(error).__name__}: {error}"
    try:
        lives = [(name, *cuts.make_life(name, SEED, 1, journal_class)) for name in ("story-rp2", "story-esp32")]
    except BROKEN as error:
        return f"while living: {type(error).__name__}: {error}"
    for choose, options in PASSES:
        for name, world, make_journal in lives:
            tally = cuts.all_cuts(name, world, make_journal).run(choose(world.trace), **options)
            if tally.failures:
                return tally.failures[0]
    return None


def _erases(trace):
    return [i for i in range(len(trace) * 3 // 4, len(trace)) if trace[i][1] is None]


def _commits(trace):
    return [i for i in range(len(trace)) if is_commit(trace[i])]


# Where to cut, the rare and telling operations first.
PASSES = (
    (_erases, {}),
    (lambda trace: _commits(trace)[::3], {"flicker_every": 3, "thorough_every": 4, "damage_every": 2}),
    (lambda trace: range(0, len(trace), 61), {"flicker_every": 2, "thorough_every": 4, "damage_every": 4}),
    (lambda trace: range(0, len(trace), 13), {"second_every": 7, "flicker_every": 5, "damage_every": 3}),
    (lambda trace: range(5, len(trace), 7), {"second_every": 50, "thorough_every": 1}),
)


def test_a_planted_edit_that_fits_nowhere_is_an_error():
    journal_bugs.BUGS["rotten"] = ("its text is not there", ("sectors", "no such text", ""))
    try:
        with pytest.raises(LookupError, match="rotten"):
            journal_bugs.load("rotten")
    finally:
        del journal_bugs.BUGS["rotten"]


def test_the_lives_are_the_same_each_time():
    first, again = (cuts.make_life("story-rp2", SEED, 1)[0] for _ in range(2))
    assert first.trace == again.trace
    assert Chance(1).data(4) == Chance(1).data(4) != Chance(2).data(4)
