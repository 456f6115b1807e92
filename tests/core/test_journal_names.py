"""Batches that are gone stay named: a gap record that goes with the batch that carries it is told again."""

from check import equal, true
from flash_sim import FlashSim
from journal_world import named_by
from short_life import journal_of, seal

UNITS = (32, 256)


def names_in(j):
    return [names for record in j.unsealed() for names in named_by(j, record)]


def nameless(j, names, acked):
    """The batches that are gone without a receipt, and that nothing names which the hub has or will have. `names` are
    the ranges that each batch names."""
    held = j.held()
    known = names_in(j)
    for seq in range(j.next_seq):
        if seq in held or seq in acked:
            known += names[seq]
    gone = [seq for seq in range(j.next_seq) if seq not in held and seq not in acked]
    return [seq for seq in gone if not any([first <= seq <= last for first, last in known])]


def seal_named(j, names, size):
    names.append(names_in(j))
    seal(j, size)


def test_what_names_a_lost_batch_outlives_the_batch_that_it_is_in():
    for unit in UNITS:
        flash = FlashSim(4096, 10, unit)
        j, names, acked = journal_of(flash), [], set()
        for number in range(60):
            j.append(j.SAMPLE, b"x", 1)
            seal_named(j, names, 3000)
            if number in (20, 37):  # a receipt above others that never come: what is below it may go nameless
                acked.add(j.held()[-1])
                j.acknowledge(j.held()[-1])
            if number % 25 == 24:
                j = journal_of(flash)
            equal(nameless(j, names, acked), [])
        true(len(j.held()) < 10)


def test_the_debt_of_names_outlives_a_cut():
    """There was room for a STATE only when the batches went, and the power goes before the gap record."""
    for unit in UNITS:
        for records in range(60):
            flash = FlashSim(4096, 10, unit)
            j, names = journal_of(flash), []
            for _ in range(12):
                j.append(j.SAMPLE, b"x", 1)
                seal_named(j, names, 2000)
            for _ in range(records):
                j.append(j.SAMPLE, b"x" * 40, 1)
            low = j.ledger.low
            flash.trace = []
            before = flash.copy()
            while j.ledger.low == low:
                j.free_one()
            j.tell_owed()
            trace, flash.trace = flash.trace, None
            for operation in trace:
                before.apply(operation)
                equal(nameless(journal_of(before.copy()), names, ()), [])


def test_a_damaged_batch_leaves_its_names():
    for unit in UNITS:
        flash = FlashSim(4096, 10, unit)
        j, names = journal_of(flash), []
        for _ in range(12):
            j.append(j.SAMPLE, b"x", 1)
            seal_named(j, names, 3000)
        carriers = [seq for seq in j.held() if names[seq]]
        j.append(j.SAMPLE, b"y", 1)
        seal_named(j, names, 10)
        j._gather = lambda seq: None
        for _ in range(2):
            j.read_batch(carriers[-1])
        true(carriers[-1] not in j.held())
        equal(nameless(j, names, ()), [])


def test_no_statement_names_a_batch_of_an_epoch_before():
    flash = FlashSim(4096, 10, 32)
    j, names = journal_of(flash), []
    for _ in range(20):
        j.append(j.SAMPLE, b"x", 1)
        seal_named(j, names, 3000)
    names_in(j)
    j.wipe()
    j.append(j.SAMPLE, b"x", 1)
    seal(j)
    equal(j.commit_of(0).told, 0)
