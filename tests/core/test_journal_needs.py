"""What each precaution of the journal is for: the shortest life in which it decides. Each of these lives fails when the
precaution is taken out (tests/planted)."""

from hashlib import sha256

from check import equal, true
from flash_sim import FlashSim, WeakFlash
from parkgate import events
from parkgate.wire import cbor
from short_life import journal_of, seal

UNITS = (32, 256)
RAW, SEALED, STATE, PART = 1, 2, 5, 16


def samples(j):
    return [bytes(r.payload) for r in j.unsealed() if r.kind == j.SAMPLE]


def told_events(j):
    return [cbor.decode(r.payload) for r in j.unsealed() if r.kind == j.EVENT]


def check(j):
    """The identity, what is there, and what is told. For journals whose batches tell nothing."""
    c = j.counters
    equal(c.sampled, c.acked + c.buffered + c.dropped)
    equal(sum(j.commit_of(seq).readings for seq in j.held()) + sum(r.readings for r in j.unsealed()), c.buffered)
    equal(sum(event[3] for event in told_events(j) if event[0] == events.GAP), c.dropped)


def kind_of(operation):
    """Kind of the record that a traced program writes; −1 for an erase or a header."""
    return -1 if operation[1] is None or operation[0] % 4096 == 0 else operation[1][6]


def done(flash, operations):
    """A copy of `flash` after these operations."""
    image = flash.copy()
    for operation in operations:
        image.apply(operation)
    return image


def torn_copy(flash, operation):
    """A copy of `flash` in which 32 bytes of the program were done."""
    return done(flash, [(operation[0], operation[1][:32])])


def traced(flash, work, *arguments):
    """The operations that `work` does to `flash`; the flash itself as it was before comes first."""
    before = flash.copy()
    flash.trace = []
    work(*arguments)
    operations, flash.trace = flash.trace, None
    return before, operations


def a_torn_sample(unit):
    """(flash with a torn sample, the program that was torn)."""
    flash = FlashSim(4096, 8, unit)
    j = journal_of(flash)
    j.append(j.SAMPLE, b"kept", 5)
    before, operations = traced(flash, j.append, j.SAMPLE, b"torn" * 20, 17)
    return torn_copy(before, operations[0]), operations[0]


def test_a_torn_record_is_told_at_its_position():
    for unit in UNITS:
        j = journal_of(a_torn_sample(unit)[0])
        records = list(j.unsealed())
        equal([r.position for r in records], [0, 1, 2])
        equal(cbor.decode(records[2].payload), [events.TORN, 1])
        equal(j.append(j.SAMPLE, b"next", 1), 3)


def test_a_record_called_torn_stays_so_behind_a_start_that_was_cut():
    """Two starts find it torn; the first of them was cut in its BOOT. Then its cells read well."""
    for unit in UNITS:
        flash, whole = a_torn_sample(unit)
        before, operations = traced(flash, journal_of, flash)
        flash = torn_copy(before, operations[-1])
        counters = journal_of(flash).counters
        equal(counters.sampled, 5)
        flash.apply(whole)
        j = journal_of(flash)
        equal((j.counters, samples(j)), (counters, [b"kept"]))


def test_the_newest_start_decides():
    """A start finds a record torn and is cut; the next finds it whole. Then the BOOT of the first reads well."""
    for unit in UNITS:
        flash, whole = a_torn_sample(unit)
        before, operations = traced(flash, journal_of, flash)
        flash = torn_copy(before, operations[-1])
        flash.apply(whole)
        j = journal_of(flash)
        shown = (j.counters, samples(j))
        equal(len(shown[1]), 2)
        flash.apply(operations[-1])
        j = journal_of(flash)
        equal((j.counters, samples(j)), shown)


def test_a_damaged_newest_record_stays_so_when_its_sector_is_full():
    """One cell of it reads wrong, and behind it is no room for the BOOT that says so. Then the cell reads well."""
    for unit in UNITS:
        flash = FlashSim(4096, 8, unit)
        j = journal_of(flash)
        number, operations = 0, []
        while j.sectors.room(RAW) >= unit + 64:
            _, operations = traced(flash, j.append, j.SAMPLE, b"%d" % number, 2)
            number += 1
        sector, at = divmod(operations[0][0] + 16, 4096)
        flash.own(sector)[at] ^= 1
        j = journal_of(flash)
        counters = j.counters
        equal((counters.sampled, len(samples(j))), (2 * number, number - 1))
        flash.own(sector)[at] ^= 1
        j = journal_of(flash)
        equal((j.counters, len(samples(j))), (counters, number - 1))
        equal(sum(event[3] for event in told_events(j) if event[0] == events.GAP), 2)


def test_a_torn_record_at_the_end_of_a_sector_counts_nothing_and_takes_nothing_with_it():
    """It had never been stored, and what was stored before it was. There is no room behind it to say so."""
    for unit in UNITS:
        flash = FlashSim(4096, 8, unit)
        j, number = journal_of(flash), 0
        while j.sectors.room(RAW) >= 2 * unit + 100:
            number = j.append(j.SAMPLE, b"stored", 2)
        _, operations = traced(flash, j.append, j.SAMPLE, bytes(60), 3)
        sector, at = divmod(operations[0][0], 4096)
        flash.own(sector)[at + 32 : at + 96] = b"\xff" * 64
        for _ in range(2):
            j = journal_of(flash)
            equal((j.counters.sampled, j.counters.dropped, len(samples(j))), (2 * number, 0, number))
            equal(sum(event[0] == events.GAP for event in told_events(j)), 0)


def test_a_torn_header_is_gone_before_anything_else_is_written():
    """A sector was being begun while the one before it had room. The next start works on in that; then the torn header
    reads well, and would end the sector before it too early."""
    flash = FlashSim(4096, 8, 32)
    j = journal_of(flash)
    while j.sectors.room(RAW) >= 316 + 400:
        j.append(j.SAMPLE, bytes(300), 1)
    while j.sectors.room(RAW) >= 320:
        j.append(j.SAMPLE, bytes(100), 1)
    j._largest = 320
    for _ in range(j.spare_sectors):
        j.maintain()
    before, operations = traced(flash, j._open, RAW)
    header = operations[-1]
    equal(header[0] % 4096, 0)
    flash = torn_copy(before, header)
    j = journal_of(flash)
    for i in range(2):
        j.append(j.SAMPLE, b"small %d" % i, 1)
    shown = (j.counters, samples(j))
    sector = header[0] // 4096
    if flash.sectors[sector][:32] == header[1][:32]:  # else it was erased: its cells are blank and firm
        flash.apply(header)
    j = journal_of(flash)
    equal((j.counters, samples(j)), shown)


def test_a_torn_header_that_cannot_be_erased_is_not_the_newest():
    """Its sector takes no erase, and the one before is full: the BOOT goes to another sector. Then the torn header
    reads well. What was written since has a higher serial, whichever sector comes first in the flash."""
    turns = 0
    for erased in range(12):
        flash = WeakFlash(4096, 8, 32)
        j = journal_of(flash)
        for _ in range(erased):
            while j.sectors.room(RAW) >= 1024:
                j.append(j.SAMPLE, bytes(900), 1)
            seal(j)
            j.acknowledge(j.next_seq - 1)
            j._open(RAW)
        while j.sectors.room(RAW) >= 64:
            j.append(j.SAMPLE, b"x", 1)
        before, operations = traced(flash, j.append, j.SAMPLE, bytes(40), 1)
        n = [data is not None and place % 4096 == 0 for place, data in operations].index(True)
        header = operations[n]
        bad = copy_of(torn_copy(done(before, operations[:n]), header))
        sector = header[0] // 4096
        bad.erase_fails = {sector}
        j = journal_of(bad, 2)
        j.append(j.SAMPLE, b"behind it", 1)
        turns += j.sectors.tails[RAW].sector < sector
        shown = (j.counters, samples(j))
        bad.sectors[sector] = header[1] + bytes(b"\xff" * (4096 - len(header[1])))
        j = journal_of(bad, 3)
        equal((j.counters, samples(j)), shown)
    true(turns)


def test_the_open_sector_is_read_twice_before_its_newest_record_is_called_torn():
    for unit in UNITS:
        flash = WeakFlash(4096, 8, unit)
        j = journal_of(flash)
        j.append(j.SAMPLE, b"first", 1)
        _, operations = traced(flash, j.append, j.SAMPLE, b"newest" * 5, 7)
        at = operations[0][0] % 4096
        flash.err_bits = ((at + 20, 1), (at + 21, 2))
        for n in range(40):
            image = copy_of(flash)
            image.err_bits = flash.err_bits
            image.err_in = n
            j = journal_of(image)
            equal((j.counters.sampled, samples(j)), (8, [b"first", b"newest" * 5]))


def test_a_torn_piece_of_a_batch_is_never_completed():
    """Its last byte is missing, and the first byte of the next batch may be that byte. Were it taken for it, the next
    batch would begin within a record. The byte that it happens with is among the 256 tried."""
    length = 32 - 16 + 1
    for last in range(256):
        flash = FlashSim(4096, 8, 32)
        j = journal_of(flash)
        j.append(j.SAMPLE, b"held", 1)
        seal(j)
        j.append(j.SAMPLE, b"x", 1)
        batch = b"y" * (length - 1) + bytes([last])
        position = list(j.unsealed())[-1].position
        before, operations = traced(flash, j.commit_batch, 1, batch, sha256(batch).digest(), position, 1)
        n = [kind_of(operation) for operation in operations].index(PART)
        flash = torn_copy(done(before, operations[:n]), operations[n])
        j = journal_of(flash)
        equal(j.next_seq, 1)
        seq, other = seal(j, 100)
        equal(j.read_batch(seq), other, "last byte %d" % last)


def test_batches_of_several_starts_share_a_sector():
    for unit in UNITS:
        flash = FlashSim(4096, 16, unit)
        for _ in range(4):
            j = journal_of(flash)
            j.append(j.SAMPLE, b"x", 1)
            seal(j)
        equal(len(journal_of(flash).sectors.sealed), 1)


def test_nothing_is_written_to_a_sealed_sector_that_may_be_half_erased():
    """When every batch is settled, the open sealed sector may be given up for want of room; the power may go then, and
    leave the header whole."""
    for unit in UNITS:
        flash = FlashSim(4096, 8, unit)
        j = journal_of(flash)
        j.append(j.SAMPLE, b"x", 1)
        seq, _ = seal(j)
        j.acknowledge(seq)
        j.save()
        sector = j.sectors.sealed[-1]
        flash.apply_cut((sector, None), 4)
        j = journal_of(flash)
        equal(j.sectors.room(SEALED), 0)
        j.append(j.SAMPLE, b"y", 1)
        seq, batch = seal(j)
        equal(j.read_batch(seq), batch)


def test_a_witness_beyond_repair_frees_no_number():
    """The COMMIT alone says that the batch exists."""
    for unit in UNITS:
        flash = FlashSim(4096, 8, unit)
        j = journal_of(flash)
        j.append(j.SAMPLE, b"x", 1)
        _, operations = traced(flash, seal, j)
        place = [operation[0] for operation in operations if kind_of(operation) == STATE][-1]
        for i in (0, 20, 40):
            flash.own(place // 4096)[place % 4096 + i] ^= 0x18
        j = journal_of(flash)
        equal((j.next_seq, list(j.held()), samples(j)), (1, [0], []))


def full(unit, count=8):
    """A journal without a hub in which every sector but one is taken, with gap records in most."""
    flash = WeakFlash(4096, count, unit)
    j = journal_of(flash)
    for _ in range(count * 30):
        j.append(j.SAMPLE, bytes(100), 1)
    return flash, j


def test_one_sector_fails_and_the_power_goes():
    """A full journal, from several places of the open sector on: its one free sector takes no erase, and the power goes
    before or behind any erase. Room for the gap record was kept: it is on flash before that sector is tried."""
    for unit in UNITS:
        flash, j = full(unit)
        for _ in range(9):
            fill(j, 3)
            bad = copy_of(flash)
            k = journal_of(bad, 2)
            bad.erase_fails = {i for i in range(8) if k.sectors.is_free(i)}
            before, operations = traced(bad, fill, k, 25)
            for n in range(1, len(operations)):
                if None in (operations[n][1], operations[n - 1][1]):
                    image = copy_of(done(before, operations[:n]))
                    image.erase_fails = bad.erase_fails
                    check(journal_of(image, 3))


def copy_of(flash):
    """A WeakFlash with the same content."""
    image = WeakFlash(4096, flash.sector_count, flash.program_size)
    image.sectors = [bytes(sector) for sector in flash.sectors]
    return image


def fill(j, count):
    for _ in range(count):
        j.append(j.SAMPLE, bytes(100), 1)


def test_what_was_erased_before_it_was_told_is_missed():
    """A journal of records without gaps among them, whose two free sectors fail at once."""
    for unit in UNITS:
        flash = WeakFlash(4096, 8, unit)
        j = journal_of(flash)
        while j.sectors.free > 2 or j.sectors.room(RAW) >= 64 + unit:
            j.append(j.SAMPLE, bytes(40), 1)
        flash.erase_fails = {i for i in range(8) if j.sectors.is_free(i)}
        before, operations = traced(flash, fill, j, 2)
        for n in range(1, len(operations)):
            image = copy_of(done(before, operations[:n]))
            image.erase_fails = flash.erase_fails
            check(journal_of(image, 3))


def test_a_wipe_touches_nothing_before_the_new_epoch_stands():
    """Not even when a sector of the old epoch is the least worn."""
    for unit in UNITS:
        flash = FlashSim(4096, 8, unit)
        j = journal_of(flash)
        while j.sectors.free > 1:
            j.append(j.SAMPLE, bytes(100), 1)
        for i in range(8):
            if j.sectors.is_free(i):
                j.sectors.wear[i] = 100
        epoch, counters = j.epoch, j.counters
        before, operations = traced(flash, j.wipe)
        for n in range(len(operations)):
            k = journal_of(done(before, operations[:n]), 50)
            if k.epoch == epoch:
                equal(k.counters, counters)
                equal(sum(r.readings for r in k.unsealed()), counters.buffered)


def test_a_call_that_drops_tells_before_it_returns():
    """Both free sectors fail while `maintain` begins one."""
    for unit in UNITS:
        flash = WeakFlash(4096, 8, unit)
        j = journal_of(flash)
        while j.sectors.free > 2 or j.sectors.room(RAW) >= 1024:
            j.append(j.SAMPLE, bytes(900), 1)
            j.maintain()
        for _ in range(2):
            j.maintain()
        flash.program_fails = {i for i in range(8) if j.sectors.is_free(i)}
        j._largest = 4096
        while j.sectors.room(RAW) >= 256:
            j.append(j.SAMPLE, bytes(40), 1)
        true(j.maintain())
        true(j.counters.dropped)
        check(j)


def several_batches(flash, sizes, readings):
    """A journal with batches of these sizes and readings; gives (journal, {seq: bytes})."""
    j = journal_of(flash)
    batches = {}
    for size, count in zip(sizes, readings):
        j.append(j.SAMPLE, b"x", count)
        seq, batch = seal(j, size)
        batches[seq] = batch
    return j, batches


def test_a_receipt_is_kept_before_its_sector_is_erased():
    """Every free sector is in hand and one more is wanted: that of the acknowledged batch goes. The power goes then."""
    for unit in UNITS:
        flash = FlashSim(4096, 8, unit)
        j, batches = several_batches(flash, (3700, 3700, 3700), (1, 2, 4))
        while j.sectors.free > 2:
            fill(j, 1)
        while j.needs_erase:
            j.maintain()
        j.acknowledge(0)
        j.spare_sectors = 3
        before, operations = traced(flash, j.maintain)
        true(operations[-1][1] is None)
        for n in range(len(operations) + 1):
            k = journal_of(done(before, operations[:n]))
            for seq in k.held():
                equal(k.read_batch(seq), batches[seq])
            equal(k.counters.dropped, 0, "the hub has it")


def test_receipts_can_be_kept_when_every_sector_is_in_use():
    """A start takes sectors that were free, but not erased, into their stream again: none is free. Then receipts come,
    and the open sector is filled to its end: there must be a way to make them durable, and no call may raise."""
    taken = 0
    for unit in UNITS:
        for batches in range(5, 12):
            flash = FlashSim(4096, 8, unit)
            j = journal_of(flash)
            for _ in range(batches):
                j.append(j.SAMPLE, b"x", 1)
                seq, _ = seal(j, 3700)
                j.acknowledge(seq)
            j = journal_of(flash)
            taken += j.sectors.free == 0
            for seq in j.held():
                j.acknowledge(seq)
            while j.sectors.room(RAW) >= unit:
                j.append(j.SAMPLE, b"x", 1)
            fill(j, 1)
            j.maintain()
            equal(j.counters.dropped, 0)
    true(taken)


def test_a_batch_is_not_given_up_for_one_wrong_read():
    for unit in UNITS:
        flash = WeakFlash(4096, 8, unit)
        j, batches = several_batches(flash, (3000,), (5,))
        flash.err_bits = ((600, 1), (601, 2))
        for n in range(8):
            j.sectors.loaded = -1
            flash.err_in = n
            equal(j.read_batch(0), batches[0])
            equal((list(j.held()), j.counters.dropped), ([0], 0))


def test_a_range_that_grows_downward_keeps_its_count():
    """Batches 3 and 2 are acknowledged, then the sector with all of them is dropped; batch 5 begins in it too."""
    for unit in UNITS:
        j, _ = several_batches(FlashSim(4096, 16, unit), (60, 60, 60, 60, 60, 3800, 3800), (1, 2, 4, 8, 16, 32, 64))
        j.acknowledge(3)
        j.acknowledge(2)
        while j.ledger.low < 5:
            j.free_one()
        equal((j.counters.acked, j.counters.dropped), (12, 1 + 2 + 16 + 32))
        check(j)


def test_a_batch_is_read_without_the_pieces_of_one_that_was_cut_short():
    for unit in UNITS:
        flash = FlashSim(4096, 16, unit)
        j, _ = several_batches(flash, (3000,), (1,))
        j.append(j.SAMPLE, b"x", 1)
        before, operations = traced(flash, seal, j, 9000)
        parts = [n for n in range(len(operations)) if kind_of(operations[n]) == PART]
        true(len(parts) > 1)
        for n in range(parts[0] + 1, parts[-1] + 1):
            image = done(before, operations[:n])
            k = journal_of(image)
            seq, batch = seal(k, 700)
            equal((seq, k.read_batch(seq)), (1, batch))
            equal(journal_of(image).read_batch(1), batch)


def test_a_gap_tells_exactly_the_batches_that_went():
    for unit in UNITS:
        j, _ = several_batches(FlashSim(4096, 16, unit), (3000,) * 6, (1,) * 6)
        while j.ledger.low < 4:
            j.free_one()
            j.tell_owed()
        told = [event for event in told_events(j) if event[0] == events.GAP]
        gone = [seq for event in told for seq in range(event[1], event[2] + 1)]
        equal((gone, sum(event[5][0] for event in told)), (list(range(j.ledger.low)), j.ledger.low))


def test_batches_go_before_the_records_that_are_newer():
    for unit in UNITS:
        j, _ = several_batches(FlashSim(4096, 16, unit), (3000,) * 4, (1,) * 4)
        fill(j, 80)
        consumed = j.ledger.consumed
        while j.held():
            equal(j.ledger.consumed, consumed)
            j.free_one()


def test_a_sector_with_a_blank_header_is_erased_before_it_is_used():
    """An erase that was cut had done its first half."""
    for unit in UNITS:
        flash = FlashSim(4096, 8, unit)
        j, _ = several_batches(flash, (3700, 3700), (1, 2))
        for seq in (0, 1):
            j.acknowledge(seq)
        fill(j, 40)
        j.save()
        flash.apply_cut((j.sectors.sealed[0], None), 1)
        j = journal_of(flash)
        fill(j, 300)
        equal((j.flash_faults, j.sectors.writable()), (0, 8))
        check(j)
