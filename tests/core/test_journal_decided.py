"""What a start has decided stays decided, whatever cells read later; one wrong bit or one wrong read costs nothing."""

from check import equal, true
from flash_sim import FlashSim, WeakFlash
from parkgate import events
from parkgate.wire import cbor
from short_life import seal, started

UNITS = (32, 256)


def samples(j):
    return [(r.payload, r.readings) for r in j.unsealed() if r.kind == j.SAMPLE]


def told(j):
    """Readings that events among the unsealed tell as lost."""
    found = [cbor.decode(r.payload) for r in j.unsealed() if r.kind == j.EVENT]
    return sum(event[3] for event in found if event[0] == events.GAP)


def newest(flash):
    """Address and bytes of the newest program."""
    return [operation for operation in flash.trace if operation[1] is not None][-1]


def weaken_two(flash):
    """Two cells of what was programmed last are weak: their bytes are far apart and were to become other than ff."""
    place, data = newest(flash)
    wanted = [i for i in range(len(data)) if data[i] != 0xFF]
    for i in (wanted[len(wanted) // 3], wanted[-1]):
        flash.weaken(place + i, ~data[i] & 255 & -(~data[i] & 255))


def test_a_torn_record_never_comes_back():
    """A record is torn by two cells; the next start is cut in its BOOT, torn by two cells as well. From then on the
    four read as they like: what the first whole start says stays true."""
    for unit in UNITS:
        for order in range(16):
            flash = WeakFlash(4096, 16, unit)
            j, _ = started(flash)
            j.append(j.SAMPLE, b"kept", 5)
            flash.trace = []
            j.append(j.SAMPLE, b"torn", 17)
            weaken_two(flash)
            flash.power_on(bool(order & 1))
            flash.trace = []
            started(flash)  # cut in its last program
            weaken_two(flash)
            flash.power_on(bool(order & 2))
            j, _ = started(flash)
            counters, there, boot = j.counters, samples(j), j.boot
            equal(counters.sampled, 5 + 17 * (len(there) - 1))
            for more in (4, 8):
                flash.power_on(bool(order & more))
                j, _ = started(flash)
                equal((j.counters, samples(j)), (counters, there), "unit %d, order %d" % (unit, order))
                true(j.boot > boot)
                boot = j.boot
            seal(j)
            equal(j.counters, counters)


def test_what_is_built_on_a_marginal_header_stays():
    """The header of a new sector has two weak cells, reads whole at one start, is worked in, and wrong at the next."""
    for unit in UNITS:
        flash = WeakFlash(4096, 16, unit)
        j, _ = started(flash)
        number = 0
        while j.sectors.room(1) >= unit:
            j.append(j.SAMPLE, b"%d" % number, 1)
            number += 1
        flash.trace = []
        j.maintain()
        j.maintain()
        j.maintain()
        equal(newest(flash)[0] % 4096, 0, "a sector was begun ahead")
        weaken_two(flash)
        flash.power_on(True)
        j, _ = started(flash)
        for _ in range(10):
            j.append(j.SAMPLE, b"%d" % number, 1)
            number += 1
        counters = j.counters
        flash.power_on(False)
        j, _ = started(flash)
        equal((j.counters, len(samples(j))), (counters, number))
        positions = [r.position for r in j.unsealed()]
        equal(positions, list(range(len(positions))))


def test_a_header_that_did_not_count_does_not_count_later():
    """The same, but it reads wrong first: another sector is begun. Later it reads whole, with the same serial."""
    for unit in UNITS:
        flash = WeakFlash(4096, 16, unit)
        j, _ = started(flash)
        number = 0
        while j.sectors.room(1) >= unit:
            j.append(j.SAMPLE, b"%d" % number, 1)
            number += 1
        flash.trace = []
        for _ in range(3):
            j.maintain()
        weaken_two(flash)
        flash.power_on(False)
        j, _ = started(flash)
        for _ in range(10):
            j.append(j.SAMPLE, b"%d" % number, 1)
            number += 1
        boot = j.boot
        flash.power_on(True)
        j, _ = started(flash)
        equal((j.counters.sampled, len(samples(j)), j.boot), (number, number, boot + 1))


def test_a_marginal_newest_record_stays_as_it_was_shown():
    for unit in UNITS:
        for write in ("sample", "commit"):
            flash = WeakFlash(4096, 16, unit)
            j, _ = started(flash)
            j.append(j.SAMPLE, b"first", 3)
            flash.trace = []
            if write == "sample":
                j.append(j.SAMPLE, b"second", 4)
            else:
                seal(j)
                # The power goes right behind the COMMIT.
                commits = [i for i in range(len(flash.trace)) if flash.trace[i][1] and flash.trace[i][1][6] == 17]
                trace = flash.trace[: commits[-1] + 1]
                again = WeakFlash(4096, 16, unit)
                started(again)[0].append(1, b"first", 3)
                for operation in trace:
                    again.apply(operation)
                flash = again
                flash.trace = trace
            weaken_two(flash)
            flash.trace = None
            flash.power_on(True)
            j, _ = started(flash)
            shown = (j.counters, samples(j), j.next_seq)
            for programmed in (False, True):
                flash.power_on(programmed)
                j, _ = started(flash)
                equal((j.counters, samples(j), j.next_seq), shown)
                for seq in j.held():
                    true(j.read_batch(seq) is not None)


def test_no_flipped_bit_loses_a_statement_of_loss_or_a_boot_number():
    """Every byte of a GAP, a BOOT and a STATE in the middle of the open sector, one bit each."""
    for unit in UNITS:
        flash = FlashSim(4096, 16, unit)
        j, _ = started(flash)
        flash.trace = []
        j.append(j.SAMPLE, b"before", 2)
        j.note_lost(50)
        j.append(j.SAMPLE, b"between", 3)
        j, _ = started(flash)
        j.append(j.SAMPLE, b"behind", 4)
        boot = j.boot
        for place, data in flash.trace:
            if data[6] not in (3, 4):
                continue
            for i in range(16 + 196 if data[6] == 3 else 16 + 144):
                hurt = flash.copy()
                hurt.own(place // 4096)[place % 4096 + i] ^= 1 << i % 8
                j, _ = started(hurt)
                where = "kind %d, byte %d" % (data[6], i)
                equal((j.counters, told(j), j.boot), ((59, 0, 9, 50), 50, boot + 1), where)
                equal(started(hurt)[0].boot, boot + 2, where)


def test_the_boot_number_is_in_every_record():
    """The BOOT itself is beyond repair."""
    flash = FlashSim(4096, 16, 32)
    started(flash)
    flash.trace = []
    j, _ = started(flash)
    place = newest(flash)[0]
    j.append(j.SAMPLE, b"x", 1)
    boot = j.boot
    for i in (0, 20, 40):
        flash.own(place // 4096)[place % 4096 + i] ^= 0x18
    equal(started(flash)[0].boot, boot + 1)


def test_one_flipped_bit_loses_no_batch():
    """In any part of it, and in its COMMIT."""
    for unit in UNITS:
        flash = FlashSim(4096, 16, unit)
        j, _ = started(flash)
        j.append(j.SAMPLE, b"x", 7)
        flash.trace = []
        seq, batch = seal(j, 5000)
        for place, data in flash.trace:
            if data is None or data[6] not in (16, 17) or data[:4] == b"PkJ1":
                continue
            for i in range(0, 16 + (data[8] | data[9] << 8), 97):
                hurt = flash.copy()
                at = place + i
                hurt.own(at // 4096)[at % 4096] ^= 1 << i % 8
                j, _ = started(hurt)
                equal((list(j.held()), j.read_batch(seq)), ([seq], batch))


def life_to_read(unit):
    flash = WeakFlash(4096, 12, unit)
    j, _ = started(flash)
    for i in range(90):
        j.append(j.SAMPLE, b"%d" % i, 2)
        j.maintain()
        if i % 30 == 29:
            seal(j, 3000)
    for i in range(20):
        j.append(j.SAMPLE, b"last %d" % i, 2)
    j.note_lost(50)
    return flash


def test_a_read_that_is_wrong_once_costs_nothing():
    """Every read of a start, and of reading everything, has two wrong bits in it, at one of three places."""
    for unit in UNITS:
        flash = life_to_read(unit)
        image = list(flash.sectors)
        j, _ = started(flash)
        right = (j.counters, samples(j), told(j), [bytes(j.read_batch(seq)) for seq in j.held()])
        for bits in (((40, 1), (41, 2)), ((2000, 4), (3000, 8)), ((600, 1), (601, 1))):
            n = 0
            while True:
                flash.sectors = [bytes(sector) for sector in image]
                flash.err_bits = bits
                flash.err_in = n
                j, _ = started(flash)
                found = (j.counters, samples(j), told(j), [bytes(j.read_batch(seq)) for seq in j.held()])
                equal(found, right, "read %d" % n)
                if flash.err_in >= 0:
                    break
                n += 1
            true(n > 40)
            flash.err_in = -1


def test_work_goes_on_while_reads_go_wrong():
    for unit in UNITS:
        flash = WeakFlash(4096, 12, unit)
        flash.err_every = 7
        j, _ = started(flash)
        batches = {}
        number = 0
        for i in range(600):
            j.append(j.SAMPLE, b"%d" % i, 2)
            number += 2
            if i % 40 == 39:
                seq, batch = seal(j, 2000)
                batches[seq] = batch
            if i % 90 == 89:
                j, _ = started(flash)
            if len(j.held()) > 4:
                seq = j.held()[0]
                equal(bytes(j.read_batch(seq)), batches[seq])
                j.acknowledge(seq)
            c = j.counters
            equal((c.sampled, c.dropped), (number, 0))
        equal(j.sectors.writable(), 12, "no sector was given up")
