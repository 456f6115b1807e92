"""There is always a way on: whichever sector fails, and when; every loss is told; a wipe ends an epoch whole or not."""

from hashlib import sha256

from check import equal, raises, true
from flash_sim import Chance, FlashSim, WeakFlash
from parkgate import events
from parkgate.errors import JournalFull
from parkgate.wire import cbor
from short_life import journal_of, seal

UNITS = (32, 256)


def told_by_sealing(j, size=0, limit=None):
    """Seal what is unsealed; gives the readings that gap records in it tell."""
    lost = sum([lost_in(r) for r in j.unsealed(limit) if r.kind == j.EVENT])
    seal(j, size, limit)
    return lost


def lost_in(record):
    event = cbor.decode(record.payload)
    return event[3] if event[0] == events.GAP else 0


def check(j, told_before=0):
    """The identity, what is there, and what is told."""
    c = j.counters
    equal(c.sampled, c.acked + c.buffered + c.dropped)
    there = sum(j.commit_of(seq).readings for seq in j.held())
    told = told_before
    for r in j.unsealed():
        there += r.readings
        told += lost_in(r) if r.kind == j.EVENT else 0
    equal(there, c.buffered)
    equal(told, c.dropped)


def fill(j, records, size=100):
    for _ in range(records):
        j.append(j.SAMPLE, bytes(size), 1)


def test_the_one_free_sector_fails_when_the_journal_is_full():
    """No hub, no quiet window; and then at the next start, at each place of the open sector."""
    for unit in UNITS:
        for count in (8, 40):
            for restart in (False, True):
                flash = WeakFlash(4096, count, unit)
                j = journal_of(flash)
                fill(j, count * 30)
                for _ in range(31 if count == 8 else 4):
                    fill(j, 1)
                    free = [i for i in range(count) if j.sectors.is_free(i)]
                    true(free)
                    bad = WeakFlash(4096, count, unit)
                    bad.sectors = [bytes(sector) for sector in flash.sectors]
                    bad.erase_fails = set(free)
                    k = journal_of(bad, 2) if restart else j
                    k.sectors.flash = bad
                    fill(k, 70)
                    k.maintain()
                    check(k)
                    for _ in range(3):
                        k = journal_of(bad, 3)
                        fill(k, 5)
                        check(k)
                    if not restart:
                        j = journal_of(flash)


def test_it_goes_on_with_two_sectors():
    """One sector after the other fails, at erases or at programs; with two left everything but a batch goes on."""
    for unit in UNITS:
        for fails in ("erase_fails", "program_fails"):
            flash = WeakFlash(4096, 10, unit)
            j = journal_of(flash)
            failing = getattr(flash, fails)
            told = 0
            chance = Chance(unit)
            for sector in range(8):
                fill(j, 60 + chance.below(60))
                failing.add(sector)
                fill(j, 60 + chance.below(60))
                j.maintain()
                j.note_lost(3)
                check(j, told)
                j = journal_of(flash, sector + 2)
                check(j, told)
            equal(j.sectors.count - len(failing), 2)
            for _ in range(3):
                fill(j, 100)
                j = journal_of(flash, 20)
                check(j, told)
            counters = j.counters
            list(j.unsealed())
            big = bytes(9000)
            raises(JournalFull, j.commit_batch, 0, big, sha256(big).digest(), j.ledger.position - 1, 1)
            equal((j.counters, j.next_seq), (counters, 0), "nothing has changed")


def test_eight_sectors_hold_any_batch():
    for unit in UNITS:
        flash = FlashSim(4096, 8, unit)
        j = journal_of(flash)
        told = 0
        for turn in range(12):
            fill(j, 7 + 20 * turn)
            for _ in range(6):
                try:
                    told += told_by_sealing(j, 16384 - 5000 if turn % 2 else 1, 20)
                    break
                except JournalFull:
                    pass  # what was under it was dropped to make room; the rest is sealed
            else:
                raise AssertionError("no batch in six tries")
            check(j, told)


def test_losses_owed_are_all_told():
    """A gap record with a flipped bit, readings that could not be stored, and overflow, close together."""
    for unit in UNITS:
        flash = FlashSim(4096, 8, unit)
        j = journal_of(flash)
        fill(j, 260)
        for _ in range(40):
            fill(j, 1)
            hurt = flash.copy()
            k = journal_of(hurt, 2)
            hurt.trace = []
            k.note_lost(300)
            place, _ = [o for o in hurt.trace if o[1] is not None and o[1][6] == 3 and o[0] % 4096][-1]
            hurt.own(place // 4096)[place % 4096 + 20] ^= 1
            k = journal_of(hurt, 3)
            k.note_lost(12)
            check(k)
            fill(k, 30)
            check(k)
            true(k.counters.dropped >= 312)


def test_nothing_is_full_without_a_fault():
    """Batches of every size, receipts in any order and forgotten at starts, in few sectors, without a quiet window."""
    for unit in UNITS:
        for seed in range(24):
            chance = Chance(seed * 2 + unit)
            flash = FlashSim(4096, 8 + seed % 3, unit)
            j = journal_of(flash)
            told = 0
            for _ in range(60):
                what = chance.below(8)
                if what < 3:
                    fill(j, 1 + chance.below(40), chance.below(200))
                elif what < 5 and j.unsealed_records:
                    for _ in range(8):
                        try:
                            told += told_by_sealing(j, chance.below(9000), 30)
                            break
                        except JournalFull:
                            pass
                    else:
                        raise AssertionError("no batch in eight tries")
                elif what < 7:
                    held = j.held()
                    for _ in range(min(len(held), 1 + chance.below(6))):
                        j.acknowledge(held[chance.below(len(held))])
                        held = j.held() or [0]
                elif chance.below(3):
                    j.maintain()
                else:
                    j = journal_of(flash, seed)
                check(j, told)


def test_a_cut_inside_a_wipe_leaves_one_epoch_whole():
    """The old one with every batch and every sample, or the new one, empty; in a journal that is full."""
    for unit in UNITS:
        flash = FlashSim(4096, 8, unit)
        j = journal_of(flash)
        for _ in range(3):
            fill(j, 4)
            seal(j, 3000)
        while j.sectors.free > 1:
            fill(j, 1)
        held = [(seq, bytes(j.read_batch(seq))) for seq in j.held()]
        true(len(held) >= 2)
        counters, epoch = j.counters, j.epoch
        unsealed = [tuple(r) for r in j.unsealed()]
        before = flash.copy()
        flash.trace = []
        j.wipe()
        true(j.epoch != epoch)
        old = new = 0
        for n in range(len(flash.trace) + 1):
            for way in range(8 if n < len(flash.trace) else 1):
                torn = before.copy()
                for operation in flash.trace[:n]:
                    torn.apply(operation)
                if n < len(flash.trace):
                    torn.apply_cut(flash.trace[n], way, n)
                k = journal_of(torn, 50)
                if k.epoch != epoch:
                    new += 1
                    equal((k.counters.sampled, list(k.held())), (0, []))
                    equal([cbor.decode(r.payload)[0] for r in k.unsealed()][:1], [events.EPOCH_BORN])
                    continue
                old += 1
                equal([(seq, bytes(k.read_batch(seq))) for seq in k.held()], held)
                equal(k.counters, counters)
                equal([tuple(r) for r in k.unsealed()][: len(unsealed)], unsealed)
        true(old and new)
