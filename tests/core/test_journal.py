"""The journal: what it promises, one promise a test; the same on CPython and on MicroPython, on strict raw flash of two
geometries and in segment files (on the Unix port, on a littlefs that lies on such a flash)."""

from hashlib import sha256

from check import equal, raises, true
from flash_sim import BlockDevice, Chance, FlashSim
from hal.segment_files import SegmentFiles
from parkgate import events
from parkgate.errors import JournalError, JournalFull
from parkgate.journal.journal import Journal, seconds_until_loss
from parkgate.wire import cbor

try:
    import vfs  # pyright: ignore[reportMissingImports]
except ImportError:  # CPython: the files lie in a folder of the machine
    vfs = None


def storages():
    """Every kind of storage, blank, with 16 sectors."""
    yield FlashSim(4096, 16, 256)
    yield FlashSim(4096, 16, 32)
    if vfs is None:
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            yield SegmentFiles(folder + "/journal", 16)
    else:
        device = BlockDevice(FlashSim(4096, 40, 256))
        vfs.VfsLfs2.mkfs(device, progsize=256)
        vfs.mount(vfs.VfsLfs2(device, progsize=256), "/storage")
        try:
            files = SegmentFiles("/storage/journal", 16)
            yield files
            files.close()
        finally:
            vfs.umount("/storage")


def journal(flash, seed=1, **options):
    chance = Chance(seed)
    return Journal(flash, lambda: chance.data(16), **options)


def started(flash, seed=1, **options):
    """A journal after a start. Segment files are flushed before and opened anew."""
    if isinstance(flash, SegmentFiles):
        flash.close()
    j = journal(flash, seed, **options)
    j.recover(1)
    return j


def sample(i, size=40):
    return bytes([i & 255, i >> 8 & 255]) + bytes([(i * 7 + k) & 255 for k in range(size)])


def seal(j, limit=None, filler=0):
    """Seal what is unsealed as one batch; gives (seq, bytes, readings)."""
    parts, readings, position = [], 0, None
    for record in j.unsealed(limit):
        parts.append(bytes([record.kind]) + record.payload)
        readings += record.readings
        position = record.position
    if position is None:
        return None
    batch = b"".join(parts) + bytes(filler)
    batch = batch[:16000]
    seq = j.next_seq
    j.commit_batch(seq, batch, sha256(batch).digest(), position, readings, b"meta%d" % seq)
    return seq, batch, readings


def gap_readings(j):
    """Readings that the gap records among the unsealed tell."""
    told = [cbor.decode(r.payload) for r in j.unsealed() if r.kind == j.EVENT]
    return sum(event[3] for event in told if event[0] == events.GAP)


def identity(j):
    c = j.counters
    equal(c.sampled, c.acked + c.buffered + c.dropped)
    return c


def test_a_blank_flash_begins_an_epoch():
    for flash in storages():
        j = journal(flash)
        report = j.recover(1)
        true(report.born)
        equal((j.epoch, j.epoch_reason, j.boot, j.next_seq), (Chance(1).data(16), 0, 1, 0))
        equal(j.head_hash, bytes(32))
        equal([cbor.decode(r.payload) for r in j.unsealed()], [[events.EPOCH_BORN, 0]])
        again = journal(flash, 2)
        report = again.recover(1)
        true(not report.born)
        equal((again.epoch, again.boot), (j.epoch, 2))
        equal([cbor.decode(r.payload) for r in again.unsealed()], [[events.EPOCH_BORN, 0]])


def test_what_was_appended_is_there_after_a_start():
    for flash in storages():
        j = started(flash)
        for i in range(60):
            j.append(j.SAMPLE, sample(i), 3)
        j.append(j.EVENT, b"\x81\x01")
        for _ in range(2):
            j = started(flash)
            records = list(j.unsealed())[1:]
            equal([r.payload for r in records], [sample(i) for i in range(60)] + [b"\x81\x01"])
            equal([r.readings for r in records], [3] * 60 + [0])
            equal([r.boot for r in records], [1] * 61)
            equal(identity(j), (180, 0, 180, 0))
            equal(j.unsealed_readings, 180)
            equal(j.unsealed_boot, 1)


def test_a_batch_frees_its_records_and_is_held_until_its_receipt():
    for flash in storages():
        j = started(flash)
        batches = {}
        for n in range(12):
            for i in range(20):
                j.append(j.SAMPLE, sample(n * 20 + i), 2)
            seq, batch, readings = seal(j)
            equal((seq, readings), (n, 40))
            batches[seq] = batch
            equal(identity(j).buffered, (n + 1) * 40)
        for _ in range(2):
            equal(list(j.held()), list(range(12)))
            equal(j.head_hash, sha256(batches[11]).digest())
            for seq in batches:
                equal(bytes(j.read_batch(seq)), batches[seq])
                equal(j.batch_hash(seq), sha256(batches[seq]).digest())
            j = started(flash)
        for seq in (11, 3, 4, 0, 1, 2):
            true(j.acknowledge(seq))
        equal(list(j.held()), [5, 6, 7, 8, 9, 10])
        equal((j.held()[0], j.held()[-1], len(j.held()), 4 in j.held(), 5 in j.held()), (5, 10, 6, False, True))
        equal(identity(j), (480, 240, 240, 0))
        equal(j.receipt_seq, 11)
        j.save()
        j = started(flash)
        equal(list(j.held()), [5, 6, 7, 8, 9, 10])
        equal(identity(j), (480, 240, 240, 0))
        equal(bytes(j.read_batch(3)), batches[3], "an acknowledged batch can be read until its sector is needed")


def test_large_batches_span_sectors():
    for flash in storages():
        j = started(flash)
        kept = {}
        for n in range(10):
            for i in range(5):
                j.append(j.SAMPLE, sample(i), 1)
            seq, batch, _ = seal(j, filler=9000 + 700 * n)
            kept[seq] = batch
            if n > 0:
                j.acknowledge(n - 1)
            equal(bytes(j.read_batch(seq)), batch)
            if n % 3 == 2:
                j = started(flash)
                equal(bytes(j.read_batch(seq)), batch)
        identity(j)


def test_parts_of_a_batch_may_come_in_pieces():
    flash = FlashSim(4096, 16, 256)
    j = started(flash)
    j.append(j.SAMPLE, b"x", 1)
    last = list(j.unsealed())[-1].position
    parts = [b"a" * 1000, bytearray(b"b"), memoryview(b"c" * 6000)]
    batch = b"a" * 1000 + b"b" + b"c" * 6000
    j.commit_batch(0, parts, sha256(batch).digest(), last, 1)
    equal(bytes(j.read_batch(0)), batch)


def test_overflow_drops_the_oldest_and_says_so():
    for flash in storages():
        j = started(flash)
        told = 0
        for n in range(60):
            for i in range(30):
                j.append(j.SAMPLE, sample(n * 30 + i), 2)
                while j.needs_erase:
                    true(j.maintain())
                identity(j)
            while not j.ready_for(5000):
                j.maintain()
            told += gap_readings(j)
            seal(j, filler=1500)
        told += gap_readings(j)
        c = identity(j)
        equal(c.sampled, 3600)
        true(c.dropped > 0)
        equal(told, c.dropped)
        equal(j.forced_erases, 1, "the very first sector, and none after it")
        held = list(j.held())
        equal(held, list(range(held[0], 60)))
        again = started(flash)
        equal(again.counters, c)
        equal(list(again.held()), held)
        for seq in held:
            true(again.read_batch(seq) is not None)


def test_overflow_of_raw_records_alone():
    for flash in storages():
        j = started(flash)
        for i in range(3000):
            j.append(j.SAMPLE, sample(i), 1)
            j.maintain()
            identity(j)
        c = j.counters
        records = list(j.unsealed())
        equal(sum(r.readings for r in records), c.buffered)
        gaps = [cbor.decode(r.payload) for r in records if r.kind == j.EVENT]
        equal(gaps[-1][5][4], c.dropped, "the newest gap record tells all that was dropped")
        equal(started(flash).counters, c)


def test_a_batch_whose_records_were_dropped_is_refused():
    flash = FlashSim(4096, 8, 256)
    j = started(flash)
    for i in range(40):
        j.append(j.SAMPLE, sample(i), 1)
    records = list(j.unsealed())
    for i in range(100):
        j.append(j.SAMPLE, sample(i), 1)
    batch = b"batch"
    raises(JournalFull, j.commit_batch, 0, batch, sha256(batch).digest(), records[-1].position, 40)
    equal(j.next_seq, 0)
    identity(j)


def test_wrong_calls_are_refused():
    j = journal(FlashSim(4096, 16, 256))
    raises(JournalError, j.append, j.SAMPLE, b"", 1)
    j.recover()
    raises(JournalError, j.append, 7, b"", 0)
    raises(JournalError, j.append, j.SAMPLE, b"", 256)
    raises(JournalError, j.append, j.EVENT, b"", 1)
    raises(JournalError, j.append, j.SAMPLE, bytes(2049), 1)
    j.append(j.SAMPLE, b"x", 1)
    last = list(j.unsealed())[-1].position
    digest = sha256(b"b").digest()
    raises(JournalError, j.commit_batch, 1, b"b", digest, last, 1)
    raises(JournalError, j.commit_batch, 0, b"c", digest, last, 1)
    raises(JournalError, j.commit_batch, 0, b"b", digest, last + 1, 1)
    raises(JournalError, j.commit_batch, 0, b"b", digest, last, 2)
    raises(JournalError, j.commit_batch, 0, b"b", digest, last, 1, bytes(65))
    raises(JournalError, j.commit_batch, 0, bytes(16385), sha256(bytes(16385)).digest(), last, 1)
    raises(JournalError, j.acknowledge, 0)
    raises(JournalError, j.read_batch, 0)
    j.commit_batch(0, b"b", digest, last, 1)
    raises(JournalError, journal, FlashSim(4096, 4, 256))


def test_what_is_left():
    flash = FlashSim(4096, 64, 256)
    j = started(flash)
    equal(j.space, (64, 61, 1, 0))
    equal(j.seconds_to_loss(1000), None)
    for _ in range(30):
        for i in range(10):
            j.append(j.SAMPLE, sample(i), 1)
        seal(j, filler=2500)
    total, free, raw, sealed = j.space
    equal((total, raw), (64, 1))
    true(20 <= sealed <= 30 and free + sealed + raw + 2 <= 64, "%d free, %d sealed" % (free, sealed))
    seconds = j.seconds_to_loss(1801000)  # 30 batches in half an hour
    true(2000 < seconds < 3600, "%s s" % seconds)
    for seq in list(j.held()):
        j.acknowledge(seq)
    true(j.space.free >= 58 and j.space.sealed <= 1, "%s" % (j.space,))
    equal(seconds_until_loss(3840 * 10, 0, 1000), None)
    equal(seconds_until_loss(38400, 3840, 60000), 600)


def test_sectors_in_hand_and_quiet_windows():
    flash = FlashSim(4096, 16, 256)
    j = started(flash)
    true(j.needs_erase)
    erases = flash.erases
    true(not j.maintain(10), "an erase does not fit into 10 ms")
    equal(flash.erases, erases)
    true(j.maintain(60) and j.maintain(60) and not j.maintain(60))
    equal(flash.erases, erases + 2)
    true(not j.needs_erase)
    true(not j.ready_for(16000))
    while j.maintain():
        pass
    true(j.ready_for(16000))
    j.append(j.SAMPLE, b"x", 1)
    erases, forced = flash.erases, j.forced_erases
    seal(j, filler=16000)
    equal((flash.erases, j.forced_erases), (erases, forced))


def test_an_append_waits_for_no_sector_where_there_are_quiet_windows():
    for unit in (256, 32):
        flash = FlashSim(4096, 16, unit)
        j = started(flash)
        flash.trace = []
        headers = 0
        for i in range(400):
            while j.maintain():
                pass
            before = len(flash.trace)
            j.append(j.SAMPLE, bytes(unit - 16 if i % 3 else 8), 1)
            equal([len(data) for _, data in flash.trace[before:]], [unit], "append %d" % i)
        for place, data in flash.trace:
            headers += data is not None and place % 4096 == 0
        true(headers >= 400 * unit // 4096, "%d sectors begun" % headers)


def test_a_sector_is_begun_ahead_only_when_there_is_time_and_need():
    flash = FlashSim(4096, 16, 256)
    j = started(flash)
    while j.maintain():
        pass
    while j.sectors.room(1) >= 256:
        true(not j.maintain(), "%d bytes are left" % j.sectors.room(1))
        j.append(j.SAMPLE, bytes(100), 1)
    raw = len(j.sectors.raw)
    true(not j.maintain(4))
    equal(len(j.sectors.raw), raw)
    true(j.maintain(5))
    equal(len(j.sectors.raw), raw + 1)
    true(j.needs_erase and not j.maintain(5))
    equal(started(flash).counters, j.counters)


def test_receipts_in_any_order_take_bounded_memory():
    for flash in storages():
        j = started(flash)
        for n in range(40):
            j.append(j.SAMPLE, sample(n), 1)
            seal(j)
        noted = [j.acknowledge(seq) for seq in range(1, 40, 2)]
        equal(noted, [True] * 4 + [False] * 16, "four ranges, then no room")
        equal(j.counters.acked, 4)
        equal([j.acknowledge(seq) for seq in range(0, 10, 2)], [True] * 5)
        equal(list(j.held()), list(range(9, 40)))
        equal(identity(j), (40, 9, 31, 0))
        while j.held():
            true(j.acknowledge(j.held()[0]), "the oldest can always be noted")
        equal(identity(j), (40, 40, 0, 0))


def test_positions_survive_a_wrap_of_their_low_bits():
    flash = FlashSim(4096, 16, 32)
    j = started(flash)
    j.append(j.SAMPLE, b"x", 1)
    seal(j)
    j.ledger.position = j.ledger.consumed = 0xFFF0
    j.ledger.sampled = j.ledger.consumed_sampled = j.ledger.sealed = j.ledger.low_sealed = 0xFFF0
    j.ledger.acked, j.ledger.low = 0xFFF0, 1
    j._open(1)
    for i in range(100):
        j.append(j.SAMPLE, sample(i, 8), 7)
    for _ in range(2):
        records = [r for r in j.unsealed() if r.kind == j.SAMPLE]
        equal([r.position for r in records], list(range(0xFFF0, 0xFFF0 + 100)))
        equal(identity(j).buffered, 700)
        j = started(flash)
