"""Flash that is erased while no meter speaks costs no byte; and the fake bus would show it if it did."""

from hashlib import sha256

from busy_bus import Line, StallingFlash, World
from check import equal, true
from parkgate.journal.journal import Journal


def poll(erase_us, lines, samples, keep_quiet=True, spare_ms=1):
    """A gateway that polls `lines` (baud, period_us, first_us, reply bytes) until `samples` have been appended, seals
    each 60 of them, and erases ahead in quiet windows, or else not at all. Gives (bytes lost, lines, journal)."""
    world = World()
    flash = StallingFlash(world, erase_us)
    journal = Journal(flash, lambda: bytes(16), erase_ms=erase_us // 1000 + spare_ms)
    journal.recover(1)
    while keep_quiet and journal.maintain():
        pass
    lines = [Line(world, baud, period_us, world.now_us + first_us, size) for baud, period_us, first_us, size in lines]
    taken = unsealed = 0
    while taken < samples:
        for line in lines:
            if line.serve():
                journal.append(journal.SAMPLE, bytes(60), 10)
                taken += 1
                unsealed += 1
        if unsealed >= 60 and (not keep_quiet or journal.ready_for(1000)):
            records = list(journal.unsealed())
            seq = journal.next_seq
            readings = sum(r.readings for r in records)
            journal.commit_batch(seq, bytes(1000), sha256(bytes(1000)).digest(), records[-1].position, readings)
            if seq:
                journal.acknowledge(seq - 1)
            unsealed = 0
        if not (keep_quiet and journal.maintain(world.quiet_ms())):
            world.pass_us(max(1000, world.quiet_ms() * 1000))
    return sum(line.lost for line in lines), lines, journal


# Two lines whose polls drift through each other, so that what one causes falls into every part of the other's reply.
BOTH = ((9600, 1000000, 0, 85), (38400, 1007000, 3000, 125))


def test_no_byte_is_lost_at_9600_and_38400_baud():
    for erase_us in (45000, 400000):
        lost, lines, journal = poll(erase_us, BOTH, 700)
        equal(lost, 0)
        true(journal.sectors.flash.erases > 45, "enough erases to hit a reply: %d" % journal.sectors.flash.erases)
        equal(journal.forced_erases, 1)  # the first sector of all, before the first poll
        true(all(line.replies > 300 for line in lines))
        true(all(line.late <= 5000 for line in lines), "a poll was late: %s" % [line.late for line in lines])


def test_one_line_alone():
    for line in BOTH:
        lost, _, journal = poll(45000, (line,), 200)
        equal((lost, journal.forced_erases), (0, 1))


def test_erasing_when_it_comes_loses_bytes():
    lost, _, journal = poll(45000, BOTH, 700, keep_quiet=False)
    true(lost > 50, "%d bytes lost" % lost)
    true(journal.forced_erases > 40)
