"""The device's half of the journal's bench, on the Unix port: littlefs as the peer, segment files, memory, CPU time.

micropython journal_device.py WHAT UNIT COUNT     prints a JSON object of figures
"""

import gc
import json
import sys
import time

import vfs  # pyright: ignore[reportMissingImports]

from flash_sim import BlockDevice, FlashSim
from hal.segment_files import SegmentFiles
from parkgate.journal.journal import Journal

RECORD = bytes(range(64))
BLOCKS = 128


def mounted(unit):
    flash = FlashSim(4096, BLOCKS, unit)
    device = BlockDevice(flash)
    vfs.VfsLfs2.mkfs(device, progsize=unit)
    vfs.mount(vfs.VfsLfs2(device, progsize=unit), "/bench")
    return flash


def used(flash, before):
    return {
        "erases": flash.erases - before[0],
        "programmed": flash.programmed_bytes - before[1],
        "busy_us": flash.busy_us - before[2],
        "hottest": max(flash.erases_of),
        "blocks": BLOCKS,
    }


def counts(flash):
    return flash.erases, flash.programmed_bytes, flash.busy_us


def littlefs(unit, count):
    """`count` readings of 64 bytes, each appended and flushed; a new file after 4 KB, the oldest of 16 goes."""
    flash = mounted(unit)
    f = open("/bench/0", "wb")
    before = counts(flash)
    for i in range(count):
        if i and i % 64 == 0:
            f.close()
            f = open("/bench/%d" % (i // 64 % 16), "wb")
        f.write(RECORD)
        f.flush()
    f.close()
    return used(flash, before)


def segments(unit, count):
    """The journal in segment files, one reading a second, synced every ten, sealed every 240 and acknowledged."""
    from hashlib import sha256

    flash = mounted(unit)
    files = SegmentFiles("/bench/journal", 64)
    journal = Journal(files, lambda: bytes(16))
    journal.recover(1)
    before = counts(flash)
    for i in range(count):
        journal.append(journal.SAMPLE, RECORD[:48], 1)
        if i % 10 == 9:
            journal.sync()
        if i % 240 == 239:
            position = 0
            for record in journal.unsealed():
                position = record.position
            sealed = bytes(500)
            journal.commit_batch(journal.next_seq, sealed, sha256(sealed).digest(), position, 240)
            for seq in list(journal.held())[:-1]:
                journal.acknowledge(seq)
        while journal.needs_erase and journal.maintain():
            pass
    journal.sync()
    return used(flash, before)


def memory(unit, count):
    """Bytes on the heap that a journal of `count` sectors, full and recovered, keeps."""
    flash = FlashSim(4096, count, unit)
    journal = Journal(flash, lambda: bytes(16))
    journal.recover(1)
    for _ in range(count * (15 if unit == 256 else 60)):
        journal.append(journal.SAMPLE, RECORD[:48], 1)
        journal.maintain()
    gc.collect()
    before = gc.mem_alloc()
    journal = None
    gc.collect()
    empty = gc.mem_alloc()
    journal = Journal(flash, lambda: bytes(16))
    journal.recover(1)
    gc.collect()
    return {"bytes": max(before, gc.mem_alloc()) - empty, "sector": 4096}


def speed(unit, count):
    """CPU time of one append, and of one record read back."""
    flash = FlashSim(4096, 256, unit)
    journal = Journal(flash, lambda: bytes(16))
    journal.recover(1)
    payload = RECORD[:48]
    start = time.ticks_us()
    for _ in range(count):
        journal.append(journal.SAMPLE, payload, 1)
    append_us = time.ticks_diff(time.ticks_us(), start)
    start = time.ticks_us()
    for _ in journal.unsealed():
        pass
    read_us = time.ticks_diff(time.ticks_us(), start)
    start = time.ticks_us()
    Journal(flash, lambda: bytes(16)).recover(1)
    return {
        "append_ns": append_us * 1000 // count,
        "read_ns": read_us * 1000 // count,
        "recover_us": time.ticks_diff(time.ticks_us(), start),
    }


if __name__ == "__main__":
    what = {"littlefs": littlefs, "segments": segments, "memory": memory, "speed": speed}[sys.argv[1]]
    print(json.dumps(what(int(sys.argv[2]), int(sys.argv[3]))))
