"""The journal on flash that fails: bad chips, damaged records, storms of torn starts, worn sectors."""

from hashlib import sha256

from check import equal, raises, true
from flash_sim import BadFlash, Chance, FlashSim
from parkgate import events
from parkgate.errors import FlashError, JournalFull
from parkgate.journal.journal import Journal
from parkgate.wire import cbor
from short_life import seal, started


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
    lossless(abuse({"flip": 8}))
    lossless(abuse({"flip": 8}, unit=32))


def test_no_flipped_bit_takes_readings_with_it_uncounted():
    """Every bit of the newest record, and some of each byte of its sector's header, of which there is one copy."""
    flash = FlashSim(4096, 8, 32)
    j, _ = started(flash)
    for i in range(3):
        j.append(j.SAMPLE, nth(i), 20 + i)
    flash.trace = []
    j.append(j.SAMPLE, b"the newest", 7)
    sector, at = divmod(flash.trace[0][0], 4096)
    flash.trace = None
    places = [(offset, bit) for offset in range(at, at + 16 + 10) for bit in range(8)]
    places += [(offset, offset % 8) for offset in range(256)]
    for offset, bit in places:
        hurt = flash.copy()
        hurt.own(sector)[offset] ^= 1 << bit
        j, report = started(hurt)
        where = "bit %d of byte %d" % (bit, offset)
        equal(j.counters, (70, 0, 70, 0), where)
        told = kept = 0
        for r in j.unsealed():
            kept += r.readings
            event = cbor.decode(r.payload) if r.kind == j.EVENT else [None]
            if event[0] == events.GAP:
                told += event[3]
        equal((kept, told), (63, 7) if offset >= at else (70, 0), where)
        equal((report.missing, report.torn), (1 if offset >= at else 0, 0), where)


def test_a_loss_told_in_a_damaged_record_is_told_again():
    flash = FlashSim(4096, 8, 256)
    j, _ = started(flash)
    flash.trace = []
    j.note_lost(9)
    sector, at = divmod(flash.trace[-1][0], 4096)
    flash.own(sector)[at + 30] ^= 1
    j, _ = started(flash)
    equal(j.counters, (9, 0, 0, 9))
    told = [cbor.decode(r.payload) for r in j.unsealed()]
    equal([event[3] for event in told if event[0] == events.GAP], [9])


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
        flash.own(where[0])[at + 901] ^= 1
        j, _ = started(flash)
        equal(j.read_batch(3), None)
        equal(list(j.held()), [0, 1, 2, 3, 4, 5], "not given up at one call")
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
    flash.own(commit // 4096)[commit % 4096 + 30] ^= 3
    j, _ = started(flash)
    equal(j.next_seq, 1)
    equal((j.read_batch(0), j.read_batch(0)), (None, None))
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


def test_a_device_that_answers_nothing():
    class Dead(FlashSim):
        def read(self, address, buffer):
            raise FlashError("no answer")

    raises(FlashError, started, Dead(4096, 16, 256))


def test_a_storm_of_torn_starts():
    """A supply that fails again at every start, in a journal without a free sector: each start is cut at some operation
    of its own. Nothing that was stored is altered, and what is dropped to make room is counted and told."""
    for unit in (256, 32):
        flash = FlashSim(4096, 8, unit)
        j, _ = started(flash)
        for i in range(400 if unit == 32 else 100):
            j.append(j.SAMPLE, nth(i), 3)
            if i % 40 == 39:
                seal(j, 2000)
        chance = Chance(unit)
        sampled = j.counters.sampled
        for storm in range(120):
            image = flash.copy()
            image.trace = []
            started(image, 50)
            n = chance.below(len(image.trace))
            for operation in image.trace[:n]:
                flash.apply(operation)
            way = chance.below(8)
            flash.apply_cut(image.trace[n], way if image.trace[n][1] is None else min(way, 2), storm)
        j, report = started(flash, 51)
        c = j.counters
        equal(c.sampled, sampled)
        equal(c.sampled, c.acked + c.buffered + c.dropped)
        there = 0
        for r in j.unsealed():
            there += r.readings
            if r.kind == j.SAMPLE:
                equal(r.payload, nth(int(r.payload.split(b":")[0])))
        for seq in j.held():
            true(j.read_batch(seq) is not None)
            there += j.commit_of(seq).readings
        equal(there, c.buffered)
        true(report.boot > 2)
        for i in range(60):
            j.append(j.SAMPLE, nth(i), 1)
        equal(started(flash, 52)[0].counters.sampled, sampled + 60)


def test_sectors_that_fail_while_the_journal_is_full():
    """The sector that was kept free for the gap record fails as well: the oldest is erased first, and told after."""
    for unit in (256, 32):
        flash = FlashSim(4096, 10, unit)
        j, _ = started(flash)
        n = 0
        for _ in range(3):
            for _ in range(10):
                n += 1
                j.append(j.SAMPLE, nth(n), 2)
            seal(j, 5000)
        for sector in range(10):
            if j.sectors.is_free(sector):
                j.sectors.give_up(sector, 1)
        j.sectors.spares = j.sectors.spares[:0]
        equal(j.sectors.free, 0)
        for _ in range(300):
            n += 1
            j.append(j.SAMPLE, nth(n), 2)
            c = j.counters
            equal((c.sampled, c.buffered), (2 * n, 2 * n - c.acked - c.dropped))
        true(j.counters.dropped >= 60)
        told = sum(
            e[3] for e in [cbor.decode(r.payload) for r in j.unsealed() if r.kind == j.EVENT] if e[0] == events.GAP
        )
        equal(told, j.counters.dropped)
        counters = j.counters
        j, _ = started(flash, 2)
        equal(j.counters, counters)
        equal(sum(r.readings for r in j.unsealed()) + sum(j.commit_of(s).readings for s in j.held()), counters.buffered)


def test_neighbours_damaged_together():
    """Two batches in a row lose their COMMITs: what both had together is known, and is told once."""
    flash = FlashSim(4096, 16, 32)
    j, _ = started(flash)
    flash.trace = []
    for n in range(5):
        j.append(j.SAMPLE, nth(n), 10 + n)
        seal(j, 100)
    commits = [place for place, data in flash.trace if data and data[6] == 17 and data[:4] != b"PkJ1"]
    for place in commits[1:3]:
        flash.own(place // 4096)[place % 4096 + 50] ^= 3
    j, _ = started(flash)
    equal((j.read_batch(1), j.read_batch(1), j.read_batch(2)), (None, None, None))
    equal(list(j.held()), [0, 3, 4])
    equal(j.counters, (60, 0, 37, 23))
    gaps = [cbor.decode(r.payload) for r in j.unsealed() if r.kind == j.EVENT]
    equal([g[:5] for g in gaps if g[0] == events.GAP], [[events.GAP, 1, 2, 23, 1]])
    # The same, but a receipt comes before anybody looks: the loss is told all the same, the receipt is not counted.
    flash = FlashSim(4096, 16, 32)
    j, _ = started(flash)
    flash.trace = []
    for n in range(4):
        j.append(j.SAMPLE, nth(n), 5)
        seal(j, 100)
    commits = [place for place, data in flash.trace if data and data[6] == 17 and data[:4] != b"PkJ1"]
    for place in commits[1:3]:
        flash.own(place // 4096)[place % 4096 + 50] ^= 3
    j, _ = started(flash)
    true(j.acknowledge(2))
    equal(j.counters, (20, 0, 10, 10))


def test_what_gap_records_tell_can_be_merged_by_the_caller():
    flash = FlashSim(4096, 8, 256)
    j = Journal(
        flash, lambda: bytes(16), merge_meta=lambda a, b: bytes([a[0] + b[0]]), meta_of=lambda payload: payload[:1]
    )
    j.recover(1)
    for _ in range(250):
        j.append(j.SAMPLE, b"\x01 sample", 1)
        j.maintain()
    gaps = [cbor.decode(r.payload) for r in j.unsealed() if r.kind == j.EVENT]
    gaps = [g for g in gaps if g[0] == events.GAP]
    true(gaps)
    for gap in gaps:
        equal((gap[1], gap[2], gap[5][0]), (None, None, 0))
        equal(gap[5][5], bytes([gap[3] & 255]), "one for each sample lost")


def test_wear_is_kept_and_does_not_overflow():
    flash = FlashSim(4096, 8, 32)
    j, _ = started(flash)
    j.sectors.wear[:] = bytes([250 + i % 3 for i in range(8)])
    for n in range(9000):
        j.append(j.SAMPLE, b"x", 1)
        if n % 100 == 99:
            seal(j)
            for seq in j.held():
                j.acknowledge(seq)
    total = [j.sectors.wear_base + wear for wear in j.sectors.wear]
    true(j.sectors.wear_base > 0 and max(total) - min(total) <= 6, "%s" % total)
    j, _ = started(flash)
    again = [j.sectors.wear_base + wear for wear in j.sectors.wear]
    true(max(abs(a - b) for a, b in zip(total, again)) <= 4, "%s %s" % (total, again))
