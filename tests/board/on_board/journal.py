"""Runs on the board: the journal on a raw part of the flash. The file system is gone afterwards."""

import gc
import os
import time
from hashlib import sha256

import rp2
from measure import report

import parkgate.journal.recovery  # noqa: F401  now: the journal loads it when there are no files any more
from parkgate.journal import journal
from parkgate.journal.format import SAMPLE, pack_header
from parkgate.journal.space import JOURNAL_LOST

SECTOR_BYTES = 4096
SECTORS = 256
APPENDS = 400
SAMPLE_BYTES = 24
BATCH_BYTES = 1500
ERASE = 6  # ioctl numbers of MicroPython's block devices


class RawFlash:
    """A part of the storage area as the journal wants its flash."""

    sector_size = SECTOR_BYTES
    sector_count = SECTORS
    program_size = 256

    def __init__(self):
        self._device = rp2.Flash(start=0, len=SECTORS * SECTOR_BYTES)
        self.erases = 0

    def read(self, address, buffer):
        self._device.readblocks(address // SECTOR_BYTES, buffer, address % SECTOR_BYTES)

    def program(self, address, data):
        self._device.writeblocks(address // SECTOR_BYTES, data, address % SECTOR_BYTES)

    def erase(self, sector):
        self.erases += 1
        self._device.ioctl(ERASE, sector)

    def sync(self):
        pass


def timed_us(times, function, *args):
    begun = time.ticks_us()
    result = function(*args)
    times.append(time.ticks_diff(time.ticks_us(), begun))
    return result


def told(name, times):
    times.sort()
    report(name + ", median", times[len(times) // 2] / 1000, "ms")
    report(name + ", longest", times[-1] / 1000, "ms")


os.umount("/")
flash = RawFlash()
for sector in range(SECTORS):
    flash.erase(sector)
times = []
gc.collect()
before = gc.mem_alloc()
book = timed_us(times, journal.Journal, flash, lambda: bytes(range(16)))
timed_us(times, book.recover)
report("journal, first start", times[-1] / 1000, "ms")
gc.collect()
report("journal, heap kept", gc.mem_alloc() - before, "bytes")

sample = bytes(range(SAMPLE_BYTES))
appends = []
erases = []
headers = []
for i in range(APPENDS):
    if not i % 20:
        gc.collect()
    while True:  # as the app does when the bus is quiet
        erased = flash.erases
        if not timed_us(headers, book.maintain):
            headers.pop()
            break
        if flash.erases > erased:
            erases.append(headers.pop())
    timed_us(appends, book.append, SAMPLE, sample, 3)
told("append of %d bytes" % SAMPLE_BYTES, appends)
told("erase ahead", erases)
told("sector begun ahead", headers)

gc.collect()
position = readings = 0
begun = time.ticks_us()
for record in book.unsealed():
    position, readings = record.position, readings + record.readings
report("reading %d records back" % APPENDS, time.ticks_diff(time.ticks_us(), begun) / 1000, "ms")
sealed = bytes(BATCH_BYTES)
times = []
while not book.ready_for(BATCH_BYTES):
    book.maintain()
timed_us(times, book.commit_batch, book.next_seq, sealed, sha256(sealed).digest(), position, readings)
report("commit_batch of %d bytes" % BATCH_BYTES, times[0] / 1000, "ms")

again = journal.Journal(flash, lambda: bytes(16))
times = []
gc.collect()
timed_us(times, again.recover)
report("journal, recovery", times[0] / 1000, "ms")
if again.next_seq != book.next_seq:
    raise ValueError("recovered to another state")

# Every sector in use: what a start takes then, and what the journal keeps in memory.
sample = bytes(1000)
while again.space.free > 1:
    again.maintain()
    again.append(SAMPLE, sample, 3)
expected = again.counters
book = again = None
times = []
gc.collect()
before = gc.mem_alloc()
full = journal.Journal(flash, lambda: bytes(16))
timed_us(times, full.recover)
report("journal of %d sectors, full, recovery" % SECTORS, times[0] / 1000, "ms")
gc.collect()
report("journal of %d sectors, full, heap kept" % SECTORS, gc.mem_alloc() - before, "bytes")
if full.counters != expected:
    raise ValueError("recovered to another state")

# Every sector has a header of ours with two wrong bits: nothing of it counts, and each is looked at for one.
header = bytearray(256)
for sector in range(SECTORS):
    flash.erase(sector)
    pack_header(header, sector, 1, 1, 0, 0, bytes(16), full.ledger)
    header[40] ^= 1
    header[90] ^= 1
    flash.program(sector * SECTOR_BYTES, header)
full = None
gc.collect()
times = []
lost = journal.Journal(flash, lambda: bytes(16))
timed_us(times, lost.recover)
report("journal of 256 sectors, every header wrong, start", times[0] / 1000, "ms")
if lost.epoch_reason != JOURNAL_LOST:
    raise ValueError("a wrong header was believed")
