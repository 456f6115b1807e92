"""The journal where writes wait in a cache, as on a file system, and a flush fails: what was lost is counted."""

from check import equal, raises
from flash_sim import FlashSim
from parkgate import events
from parkgate.errors import FlashError
from parkgate.wire import cbor
from short_life import journal_of


def samples(j):
    return [bytes(r.payload) for r in j.unsealed() if r.kind == j.SAMPLE]


def told(j):
    """Readings that gap records among the unsealed tell."""
    found = [cbor.decode(r.payload) for r in j.unsealed() if r.kind == j.EVENT]
    return sum(event[3] for event in found if event[0] == events.GAP)


class Waiting(FlashSim):
    """Flash behind a cache, as a file system is: programs wait for `sync`; `lose` is a flush that fails."""

    verified = True

    def __init__(self, sector_count):
        super().__init__(4096, sector_count, 16)
        self.kept = list(self.sectors)
        self.lost = False

    def lose(self):
        """What waits is gone; the next sync says so."""
        self.sectors = [bytes(sector) for sector in self.kept]
        self.lost = True

    def sync(self):
        """Make all durable, or say that some of it is gone."""
        if self.lost:
            self.lost = False
            raise FlashError("what waited is gone")
        self.kept = [bytes(sector) for sector in self.sectors]


def test_what_a_failed_flush_took_is_counted_by_what_memory_knows():
    flash = Waiting(8)
    j = journal_of(flash)
    j.append(j.SAMPLE, b"kept", 5)
    j.sync()
    j.append(j.SAMPLE, b"waits", 7)
    j.note_lost(3)
    flash.lose()
    raises(FlashError, j.sync)
    j.recover(1)
    equal(j.counters, (15, 0, 12, 3))
    equal(samples(j), [b"kept"])
    equal(told(j), 10)
    equal(journal_of(flash, 9).counters, (15, 0, 12, 3))


def test_an_erase_does_not_hide_a_failed_flush():
    """The sync before an erase is the first to notice: that is no fault of the sector."""
    flash = Waiting(8)
    j = journal_of(flash)
    j.append(j.SAMPLE, b"kept", 5)
    j.sync()
    while len(j.sectors.spares):
        j.sectors.let_go()
    j.append(j.SAMPLE, b"waits", 7)
    flash.lose()
    raises(FlashError, j.maintain)
    equal(j.sectors.writable(), 8)
    j.recover(1)
    equal(j.counters.sampled, 12)
