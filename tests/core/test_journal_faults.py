"""The journal on flash that fails, and what happens to its identity: bad chips, wiped, restored and foreign flash."""

from hashlib import sha256

from check import equal, raises, true
from flash_sim import BadFlash, Chance, FlashSim
from parkgate import cbor, events
from parkgate.errors import FlashError, JournalFull
from parkgate.journal import Journal
from parkgate.journal_recovery import FACTORY_RESET, FIRST_START, JOURNAL_LOST, RE_FLASH


def started(flash, seed=1, reason=FIRST_START):
    chance = Chance(seed)
    j = Journal(flash, lambda: chance.data(16))
    return j, j.recover(1, reason)


def seal(j, size=0):
    """Seal everything; gives (seq, bytes)."""
    records = list(j.unsealed())
    batch = b"".join([r.payload for r in records]) + bytes(size)
    seq = j.next_seq
    j.commit_batch(seq, batch, sha256(batch).digest(), records[-1].position, sum(r.readings for r in records))
    return seq, batch


def nth(number):
    """The payload of the sample with this number."""
    chance = Chance(number)
    return b"%d:" % number + chance.data(chance.below(60))


class Abused:
    """A journal on bad flash, used until `samples` were offered, and what it promised."""

    def __init__(self, flash, samples):
        self.flash = flash
        self.offered = self.stored = self.refused = self.errors = self.starts = self.full = 0
        self.batches = {}
        self.begin()
        chance = Chance(99)
        while self.offered < samples:
            try:
                self.once(chance)
            except FlashError:
                self.errors += 1
                self.begin()
            except JournalFull:
                self.full += 1
            c = self.journal.counters
            equal(c.sampled, c.acked + c.buffered + c.dropped)

    def begin(self):
        for _ in range(100):
            self.starts += 1
            try:
                self.journal, self.report = started(self.flash, self.starts)
                return
            except FlashError:
                self.errors += 1
        raise FlashError("no start in a hundred succeeded")

    def once(self, chance):
        j = self.journal
        self.offered += 1
        payload = nth(self.offered)
        try:
            j.append(j.SAMPLE, payload, 1)
            self.stored += 1
        except FlashError:
            self.refused += 1
            raise
        j.maintain()
        if self.offered % 25 == 0:
            for r in j.unsealed():
                if r.kind == j.SAMPLE:
                    number = int(r.payload.split(b":")[0])
                    true(number <= self.offered and r.payload == nth(number), "an altered sample")
            seq, batch = seal(j, chance.below(3000))
            true(self.batches.get((j.epoch, seq), batch) == batch, "a number used twice")
            self.batches[(j.epoch, seq)] = batch
            held = list(j.held())
            for seq in (held[-1], held[0]):
                there = j.read_batch(seq)
                if there is not None:
                    equal(bytes(there), self.batches[(j.epoch, seq)], "an altered batch")
                    j.acknowledge(seq)
        if self.offered % 211 == 0:
            self.begin()


def abuse(chances, samples=900, wear_limit=0, unit=256, sectors=16):
    flash = BadFlash(4096, sectors, unit, 7, chances, wear_limit)
    life = Abused(flash, samples)
    for fault in chances:
        true(flash.happened.get(fault), "%s never happened" % fault)
    return life


def lossless(life):
    """Every sample that was stored is counted, and none was refused."""
    equal(life.refused, 0)
    equal(life.journal.counters.sampled, life.stored)


def test_failing_programs():
    lossless(abuse({"program error": 15}))
    lossless(abuse({"program error": 15}, unit=32))


def test_programs_silently_ignored():
    lossless(abuse({"program ignored": 15}))


def test_failing_erases():
    life = abuse({"erase error": 60})
    lossless(life)


def test_erases_silently_ignored():
    lossless(abuse({"erase ignored": 60}))


def test_failing_reads():
    lossless(abuse({"read error": 30}))


def test_flipping_bits():
    """What a flip destroys is not always counted (it may be the only copy of the newest count), but never altered."""
    life = abuse({"flip": 8})
    c = life.journal.counters
    true(c.sampled <= life.stored)
    true(life.stored - c.sampled < life.stored // 2, "%d of %d" % (c.sampled, life.stored))


def test_everything_at_once():
    abuse(
        {"program error": 8, "program ignored": 4, "erase error": 20, "erase ignored": 20, "read error": 10, "flip": 3}
    )


def test_worn_sectors_are_given_up_and_told():
    flash = BadFlash(4096, 12, 256, 5, {})
    worn = (3, 7)
    for sector in worn:
        flash.erases_of[sector] = 1000
    flash.wear_limit = 900
    life = Abused(flash, 600)
    lossless(life)
    told = []
    j = life.journal
    for seq in j.held():
        true(j.read_batch(seq) is not None)
    for r in j.unsealed():
        if r.kind == j.EVENT:
            told.append(cbor.decode(r.payload))
    for sector in worn:
        true(not j.sectors.is_free(sector) or [events.FLASH_FAULT, sector, 2] in told)
    equal(life.errors, 0)


def test_a_chip_that_dies_says_so():
    flash = BadFlash(4096, 12, 256, 5, {}, wear_limit=3)
    life = Abused(flash, 1200)
    true(life.full > 100, "36 erases cannot hold 1,200 samples")


def test_damage_in_the_middle_is_told_where_it_was():
    flash = FlashSim(4096, 16, 256)
    j, _ = started(flash)
    flash.trace = []
    for i in range(9):
        j.append(j.SAMPLE, b"sample %d" % i, 5)
    place = flash.trace[4][0]
    flash.own(place // 4096)[place % 4096 + 20] ^= 4
    j, report = started(flash)
    equal(report.missing, 1)
    records = list(j.unsealed())
    equal([r.payload for r in records if r.kind == j.SAMPLE], [b"sample %d" % i for i in range(9) if i != 4])
    gap = cbor.decode(records[5].payload)
    equal(gap[:5], [events.GAP, None, None, 5, 1])
    equal(gap[5][1], 1)
    batch = b"all"
    j.commit_batch(0, batch, sha256(batch).digest(), records[-1].position, 40)
    equal(j.counters, (45, 0, 40, 5))
    equal(started(flash)[0].counters, (45, 0, 40, 5))


def test_a_damaged_event_is_told_too():
    flash = FlashSim(4096, 16, 32)
    j, _ = started(flash)
    j.append(j.SAMPLE, b"before", 1)
    flash.trace = []
    j.append(j.EVENT, cbor.encode([events.CLOCK_SET, 1, None]))
    j.append(j.SAMPLE, b"after", 1)
    place = flash.trace[0][0]
    flash.own(place // 4096)[place % 4096 + 16] ^= 1
    j, _ = started(flash)
    told = [cbor.decode(r.payload) for r in j.unsealed() if r.kind == j.EVENT]
    equal([(event[0], event[-1]) for event in told], [(events.EPOCH_BORN, 0), (events.CORRUPT, 1)])


def test_a_damaged_batch_is_dropped_counted_and_told():
    for unit in (32, 256):
        flash = FlashSim(4096, 16, unit)
        j, _ = started(flash)
        batches = []
        for n in range(6):
            j.append(j.SAMPLE, b"sample %d" % n, 10 + n)
            batches.append(seal(j, 1000)[1])
        where = [i for i in range(16) if batches[3][:200] in bytes(flash.sectors[i])]
        at = bytes(flash.sectors[where[0]]).find(batches[3][:200])
        flash.own(where[0])[at + 900] ^= 1
        j, _ = started(flash)
        equal(j.read_batch(3), None)
        equal(list(j.held()), [0, 1, 2, 4, 5])
        equal(j.counters, (75, 0, 62, 13))
        told = [cbor.decode(r.payload) for r in j.unsealed() if r.kind == j.EVENT]
        equal(told[-1][:5], [events.GAP, 3, 3, 13, 1])
        for seq in (0, 1, 2, 4, 5):
            equal(bytes(j.read_batch(seq)), batches[seq])
            j.acknowledge(seq)
        equal(j.counters, (75, 62, 0, 13))


def test_the_newest_batch_damaged_frees_no_number():
    """Its COMMIT is the newest ledger there is but one: the witness in the raw stream."""
    flash = FlashSim(4096, 16, 256)
    j, _ = started(flash)
    j.append(j.SAMPLE, b"x", 7)
    flash.trace = []
    seal(j)
    commit = next(place for place, data in flash.trace if data and data[6] == 17)
    flash.own(commit // 4096)[commit % 4096 + 30] ^= 1
    j, _ = started(flash)
    equal(j.next_seq, 1)
    equal(j.read_batch(0), None)
    equal(j.counters, (7, 0, 0, 7))


def test_readings_that_never_were_stored():
    j, _ = started(FlashSim(4096, 16, 256))
    j.append(j.SAMPLE, b"x", 3)
    j.note_lost(4)
    j.append(j.SAMPLE, b"y", 2)
    equal(j.counters, (9, 0, 5, 4))
    told = [cbor.decode(r.payload) for r in j.unsealed() if r.kind == j.EVENT]
    equal(told[-1][:5], [events.GAP, None, None, 4, 2])
    j, _ = started(j.sectors.flash)
    equal(j.counters, (9, 0, 5, 4))
    seal(j)
    equal(j.counters, (9, 0, 5, 4))
    j.acknowledge(0)
    equal(j.counters, (9, 5, 0, 4))


def test_epochs_and_their_reasons():
    flash = FlashSim(4096, 16, 256)
    j, report = started(flash, 1)
    equal((report.born, j.epoch_reason), (True, FIRST_START))
    first = j.epoch
    # A new firmware beside it changes nothing; one over it leaves blank flash, and the caller knows that it is not new.
    j, report = started(flash, 2, RE_FLASH)
    equal((report.born, j.epoch, j.epoch_reason), (False, first, FIRST_START))
    j, report = started(FlashSim(4096, 16, 256), 3, RE_FLASH)
    equal((report.born, j.epoch_reason), (True, RE_FLASH))
    # Something else where the journal was.
    lost = FlashSim(4096, 16, 256)
    for i in range(16):
        lost.sectors[i] = Chance(i).data(4096)
    j, report = started(lost, 4, RE_FLASH)
    equal((report.born, j.epoch_reason, report.strange), (True, JOURNAL_LOST, 16))
    equal([cbor.decode(r.payload) for r in j.unsealed()], [[events.EPOCH_BORN, JOURNAL_LOST]])
    j, report = started(lost, 5)
    equal((report.born, j.epoch_reason), (False, JOURNAL_LOST))


def test_a_factory_reset_begins_anew_and_erases():
    flash = FlashSim(4096, 16, 256)
    j, _ = started(flash)
    for i in range(40):
        j.append(j.SAMPLE, b"secret %d" % i, 1)
    seal(j, 9000)
    old, boot = j.epoch, j.boot
    j.wipe()
    true(j.epoch != old)
    equal((j.epoch_reason, j.next_seq, j.counters, list(j.held())), (FACTORY_RESET, 0, (0, 0, 0, 0), []))
    equal(j.boot, boot)
    again, report = started(flash, 9)
    equal((again.epoch, report.born, report.epoch_reason), (j.epoch, False, FACTORY_RESET))
    true(report.foreign > 0)
    again.scrub()
    true(not any(b"secret" in bytes(sector) for sector in flash.sectors), "nothing old can be read")
    again, report = started(flash, 10)
    equal((again.epoch, report.foreign), (j.epoch, 0))


def test_a_factory_reset_cut_anywhere():
    flash = FlashSim(4096, 16, 256)
    j, _ = started(flash)
    for _ in range(40):
        j.append(j.SAMPLE, b"x", 1)
    before = flash.copy()
    flash.trace = []
    j.wipe()
    for n in range(len(flash.trace)):
        for way in range(8):
            torn = before.copy()
            for operation in flash.trace[:n]:
                torn.apply(operation)
            torn.apply_cut(flash.trace[n], way, n)
            after, _ = started(torn, 50)
            if after.epoch == j.epoch:
                equal(after.counters.sampled, 0)
            else:
                equal(after.counters.sampled, 40)


def test_an_old_image_written_back_continues_from_then():
    """The journal cannot know better; the hub sees seqs with other hashes, a fork."""
    flash = FlashSim(4096, 16, 256)
    j, _ = started(flash)
    j.append(j.SAMPLE, b"x", 1)
    seal(j)
    old = flash.copy()
    j.append(j.SAMPLE, b"y", 1)
    seal(j)
    head = j.head_hash
    j, _ = started(old, 7)
    equal(j.next_seq, 1)
    j.append(j.SAMPLE, b"z", 1)
    seal(j)
    true(j.head_hash != head)
    equal(j.next_seq, 2)


def test_old_sectors_of_another_epoch_are_not_believed():
    """Half of the sectors come from an older journal: only the newest epoch counts, and nothing of the other."""
    old, new = FlashSim(4096, 16, 256), FlashSim(4096, 16, 256)
    j, _ = started(old, 1)
    for _ in range(100):
        j.append(j.SAMPLE, b"old", 1)
    j, _ = started(new, 2)
    for _ in range(150):
        j.append(j.SAMPLE, b"new", 1)
    counters = j.counters
    for i in range(16):
        if new.sectors[i] == new.blank:
            new.sectors[i] = old.sectors[i - 8]
    j, report = started(new, 3)
    equal(j.counters, counters)
    true(all(r.payload == b"new" for r in j.unsealed() if r.kind == j.SAMPLE))
    true(not report.born)


def test_a_device_that_answers_nothing():
    class Dead(FlashSim):
        def read(self, address, buffer):
            raise FlashError("no answer")

    raises(FlashError, started, Dead(4096, 16, 256))
