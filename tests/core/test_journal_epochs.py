"""What happens to a journal's identity: first start, re-flash, factory reset, loss, an old image, foreign sectors."""

from check import equal, true
from flash_sim import Chance, FlashSim
from parkgate import events
from parkgate.journal.journal import Journal
from parkgate.journal.space import FACTORY_RESET, FIRST_START, JOURNAL_LOST, RE_FLASH
from parkgate.wire import cbor
from short_life import seal, started


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


def test_the_bytes_of_the_example_in_the_specification():
    """SPEC 9.11."""
    flash = FlashSim(4096, 8, 32)
    flash.trace = []
    j = Journal(flash, lambda: bytes(range(16)))
    j.recover(1)
    j.append(j.SAMPLE, bytes((0, 0, 0xC0, 0xB7, 0xA6, 0xA2, 0xD6, 0x33)), 2)
    equal([place for place, _ in flash.trace], [0, 0, 256, 416])
    header, boot, sample = [data for _, data in flash.trace if data]
    ff = b"\xff"
    number = b"\x01\x00\x00\x00\x00\x00\x00\x00"
    start = b"PkJ1\x01\x01\x00\x00" + bytes(range(16)) + number + number[:4]
    equal(header, start + bytes(132) + ff * 80 + number[:4] + b"\x7c\xf6\xaf\x2a")
    head = b"\x15\xe2\xab\xbb\x00\x01\x04\x02\x90\x00\x01\x00\x01\x00\x00\x00"
    equal(boot, head + b"\x02" + number[1:] + number + number + bytes(120))
    head = b"\xc1\x0f\x05\xb3\x00\x01\x01\x02\x08\x00\x01\x00\x01\x00\x00\x00"
    equal(sample, head + b"\x00\x00\xc0\xb7\xa6\xa2\xd6\x33" + ff * 8)


def test_one_sector_of_another_gateway_or_of_an_older_image_changes_nothing():
    for wiped in (False, True):
        other = FlashSim(4096, 16, 256)
        j, _ = started(other, 7)
        j.ledger.serial += 1 << 40
        for _ in range(40):
            j.append(j.SAMPLE, b"of another", 1)
        seal(j, 9000)
        flash = FlashSim(4096, 16, 256)
        j, _ = started(flash)
        for i in range(40):
            j.append(j.SAMPLE, b"ours %d" % i, 1)
        seal(j, 9000)
        older = flash.copy()
        for _ in range(40):
            j.append(j.SAMPLE, b"ours", 1)
        seal(j, 100)
        if wiped:
            j.wipe()  # one sector of our epoch then, the first
        for _ in range(9):
            j._erase_next()
        known = (j.epoch, j.counters, j.next_seq, list(j.held()))
        strays = 0
        for image in (other, older):
            for sector in range(1, 16):
                if flash.sectors[sector] == flash.blank and image.sectors[sector] != flash.blank:
                    flash.sectors[sector] = bytes(image.sectors[sector])
                    strays += 1
                    again, _ = started(flash.copy(), 9)
                    equal((again.epoch, again.counters, again.next_seq, list(again.held())), known)
                    if image is other:
                        break
        true(strays)
