"""Flashes that older firmware has written are read as they are (SPEC 9.9)."""

import json

from check import equal, true
from flash_sim import FlashSim
from parkgate.journal.journal import Journal

VECTOR = __file__[: -len("core/test_journal_older.py")] + "vectors/journal/older_flashes.json"


def flashes():
    with open(VECTOR) as f:
        vector = json.load(f)
    for image in vector["flashes"]:
        flash = FlashSim(image["sector_size"], len(image["sectors"]), image["program_size"])
        for i, sector in enumerate(image["sectors"]):
            data = bytes([int(sector[k : k + 2], 16) for k in range(0, len(sector), 2)])
            flash.sectors[i] = data + bytes([255]) * (flash.sector_size - len(data))
        yield flash, image["after_the_next_start"]


def test_an_older_flash_is_read_as_older_firmware_reads_it():
    for flash, then in flashes():
        j = Journal(flash, lambda: bytes(16))
        report = j.recover(1)
        true(not report.born)
        equal((j.boot, j.epoch, j.next_seq, j.head_hash), (then["boot"], unhex(then["epoch"]), 3, unhex(then["head"])))
        equal(list(j.counters), then["counters"])
        equal(list(j.held()), then["held"])
        for seq in j.held():
            equal(bytes(j.read_batch(seq)), unhex(then["batches"][str(seq)]))
        records = [[r.kind, bytes(r.payload), r.boot, r.readings, r.position] for r in j.unsealed()]
        equal(records, [[r[0], unhex(r[1])] + r[2:] for r in then["unsealed"]])
        true(not any(b"torn" in record[1] for record in records), "what older firmware called torn stays so")


def test_work_goes_on_there():
    for flash, then in flashes():
        j = None
        for start in range(3):
            j = Journal(flash, lambda: bytes(16))
            j.recover(1)
            j.append(j.SAMPLE, b"new %d" % start, 3)
            equal(j.counters.sampled, then["counters"][0] + 3 * (start + 1))
        true(j.acknowledge(j.held()[0]))


def unhex(text):
    return bytes([int(text[k : k + 2], 16) for k in range(0, len(text), 2)])
