"""Cutting the power: every state that a recorded life could leave on flash, recovered and checked; and cut again.

A *cut* is (n, way): the first n traced operations are done whole, the next one in the given way (flash_sim.ways; 0 is
not at all). A *second cut* is the same within what the recovery of that state wrote. A *flicker* is a torn operation
that reads whole at one start and torn at the next, or the other way round.

Every state has a name (`cut`, `second`, `flicker`) from which `replay` makes it again.
"""

from flash_sim import Chance, FlashSim, ways
from journal_world import Wrong
from parkgate.errors import JournalError, JournalFull
from parkgate.journal.format import COMMIT, MAGIC


class Tally:
    """What was tried."""

    def __init__(self):
        self.states = self.seconds = self.flickers = self.damages = self.continued = 0
        self.operations = 0
        self.failures = []

    def add(self, other):
        """Take in the counts of another tally."""
        for name in ("states", "seconds", "flickers", "damages", "continued", "operations"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.failures += other.failures


class Cuts:
    """All cuts of one recorded `world`. `new_flash()` gives storage as it was before the first traced operation,
    `make_journal` is that of the world, `ways(operation)` is in how many ways a cut can leave an operation."""

    def __init__(self, world, new_flash, make_journal, failures_max=1, ways=ways):
        self.world = world
        self.trace = world.trace
        self.new_flash = new_flash
        self.ways = ways
        self.make_journal = make_journal
        self.failures_max = failures_max
        self.tally = Tally()

    def run(self, operations, second_every=0, flicker_every=0, thorough_every=64, damage_every=0):
        """Cut in every one of `operations` (ascending), in every way. Of the states, every `second_every`th is cut
        again at every operation of its recovery, every `flicker_every`th is read differently at the next start; and
        every `damage_every`th time a bit flips in what is written."""
        flash = self.new_flash()
        done = 0
        tally = self.tally
        for n in operations:
            while done < n:
                flash.apply(self.trace[done])
                done += 1
            tally.operations += 1
            for way in range(self.ways(self.trace[n])):
                if len(tally.failures) >= self.failures_max:
                    return tally
                tally.states += 1
                turn = tally.states
                second = bool(second_every) and turn % second_every == 0
                self._guard(("cut", n, way), self.cut, flash, n, way, turn % thorough_every == 0, second)
                if damage_every and turn % damage_every == 0:
                    self._guard(("damage", n, way), self.damage, flash, n, way)
                if flicker_every and turn % flicker_every == 0 and way and self.trace[n][1] is not None:
                    self._guard(("flicker", n, way, 0), self.flicker, flash, n, way, 0)
                    self._guard(("flicker", n, way, 1), self.flicker, flash, n, way, 1)
        return tally

    def replay(self, name):
        """Do one named state again; what is wrong is raised."""
        flash = self.new_flash()
        n, way = name[1], name[2]
        for operation in self.trace[:n]:
            flash.apply(operation)
        if name[0] == "cut":
            self.cut(flash, n, way, True, False)
        elif name[0] == "damage":
            self.damage(flash, n, way)
        elif name[0] == "second":
            self.second(flash, n, way, name[3], name[4])
        else:
            self.flicker(flash, n, way, name[3])

    def _guard(self, name, what, *arguments):
        try:
            what(*arguments)
        except (Wrong, JournalError, IndexError, KeyError, TypeError, ValueError, MemoryError) as error:
            self.tally.failures.append((name, "%s: %s" % (type(error).__name__, error)))

    def cut(self, flash, n, way, thorough, second):
        """One cut: recover, check; now and then go on living; perhaps cut the recovery too."""
        torn = flash.copy()
        torn.apply_cut(self.trace[n], way, n)
        short = torn.one_bit_short(self.trace[n])
        image = torn.copy() if second else None
        torn.trace = []
        journal = self.make_journal(torn)
        journal.recover(1)
        trace, torn.trace = torn.trace, None
        self.world.check(journal, n, thorough, one_bit_short=short)
        blank_ahead(journal, torn)
        if thorough:
            self._go_on(journal, torn, n)
        if image is not None:
            for m in range(len(trace)):
                for way2 in range(self.ways(trace[m])):
                    self.tally.seconds += 1
                    self._guard(("second", n, way, m, way2), self._second, image, trace, n, m, way2, short)
                image.apply(trace[m])

    def second(self, flash, n, way, m, way2):
        """One second cut, from scratch."""
        image = flash.copy()
        image.apply_cut(self.trace[n], way, n)
        short = image.one_bit_short(self.trace[n])
        torn = image.copy()
        torn.trace = []
        self.make_journal(torn).recover(1)
        for operation in torn.trace[:m]:
            image.apply(operation)
        self._second(image, torn.trace, n, m, way2, short)

    def _second(self, image, trace, n, m, way2, short):
        torn = image.copy()
        torn.apply_cut(trace[m], way2, n * 31 + m)
        journal = self.make_journal(torn)
        journal.recover(1)
        self.world.check(journal, n, False, 2, short)

    def flicker(self, flash, n, way, order):
        """The torn cells read one way at the first start and the other way at the second."""
        place, data = self.trace[n]
        whole, torn = flash.copy(), flash.copy()
        whole.apply(self.trace[n])
        torn.apply_cut(self.trace[n], way, n)
        first, later = (whole, torn) if order else (torn, whole)
        sector, at = divmod(place, first.sector_size)
        first.trace = []
        journal = self.make_journal(first)
        journal.recover(1)
        trace, first.trace = first.trace, None
        self.world.check(journal, n, False, one_bit_short=not order and torn.one_bit_short(self.trace[n]))
        claimed = (journal.next_seq, journal.counters.sampled)
        if any(_touches(operation, first.sector_size, place, len(data)) for operation in trace):
            return  # the cells have been programmed again, or erased: they are firm
        first.own(sector)[at : at + len(data)] = later.sectors[sector][at : at + len(data)]
        self.tally.flickers += 1
        journal = self.make_journal(first)
        journal.recover(1)
        if journal.next_seq != claimed[0]:
            raise Wrong("next seq was %d at one start, is %d at the next" % (claimed[0], journal.next_seq))
        if journal.counters.sampled != claimed[1]:
            raise Wrong("sampled was %d at one start, is %d at the next" % (claimed[1], journal.counters.sampled))
        for seq in journal.held():
            sealed = journal.read_batch(seq)
            if sealed is not None and bytes(sealed) != self.world.batches[seq].sealed:
                raise Wrong("batch %d has other bytes" % seq)
        counters = journal.counters
        if counters.sampled != counters.acked + counters.buffered + counters.dropped:
            raise Wrong("identity")

    def damage(self, flash, n, way):
        """One bit somewhere in what is written has flipped, and the power goes. Nothing may be altered, no number used
        twice, and what is lost is told."""
        chance = Chance(n * 64 + way)
        hurt = flash.copy()
        written = [i for i in range(hurt.sector_count) if hurt.sectors[i] != hurt.blank]
        # The sectors written last hold what is not yet told anywhere else: look there oftener.
        if not written:
            return
        recent = [place if data is None else place // hurt.sector_size for place, data in self.trace[max(0, n - 8) : n]]
        sector = recent[chance.below(len(recent))] if way % 2 and recent else written[chance.below(len(written))]
        end = hurt.sector_size
        while end and hurt.sectors[sector][end - 1] == 0xFF:
            end -= 1
        if not end:
            return
        at = chance.below(end)
        hurt.own(sector)[at] ^= 1 << chance.below(8)
        self.tally.damages += 1
        journal = self.make_journal(hurt)
        report = journal.recover(1)
        self.world.check_damaged(journal, report, n)

    def _go_on(self, journal, flash, n):
        """The journal works on: one sample more, everything sealed, and it all is there at the next start."""
        from hashlib import sha256

        self.tally.continued += 1
        journal.append(journal.SAMPLE, b"afterwards", 5)
        seq = journal.next_seq
        sealed = b"after %d" % n * 400
        while True:
            records = list(journal.unsealed())
            if not any(record.payload == b"afterwards" for record in records):
                raise Wrong("the newest sample is not there")
            readings = sum(record.readings for record in records)
            try:
                journal.commit_batch(seq, sealed, sha256(sealed).digest(), records[-1].position, readings)
                break
            except JournalFull:
                pass  # what it held was dropped to make room for it: what is left is sealed
        while journal.needs_erase and journal.maintain():
            blank_ahead(journal, flash)
        counters = journal.counters
        again = self.make_journal(flash)
        again.recover(1)
        if again.counters != counters or again.next_seq != seq + 1 or bytes(again.read_batch(seq)) != sealed:
            raise Wrong("what was done after the recovery is gone at the next start")
        if any(record.kind == again.SAMPLE for record in again.unsealed()):
            raise Wrong("samples are left after everything was sealed")


def _touches(operation, sector_size, place, length):
    """Whether a traced operation changes cells of the `length` bytes at `place`."""
    at, data = operation
    if data is None:
        return at == place // sector_size
    return at < place + length and place < at + len(data)


def blank_ahead(journal, flash):
    """What the journal takes for erased is erased (on raw flash; a file system has its own blocks)."""
    if journal.sectors.flash is not flash:
        return
    for sector in journal.sectors.spares:
        if flash.sectors[sector] != flash.blank:
            raise Wrong("sector %d is in hand and not blank" % sector)
    for tail in journal.sectors.tails[1:]:
        if tail.sector >= 0 and flash.sectors[tail.sector][tail.offset :] != flash.blank[tail.offset :]:
            raise Wrong("sector %d is not blank behind its last record" % tail.sector)


def complete_a_torn_record(make_journal):
    """A record is torn one byte before its end. Of all 256 values that this byte could have had, one is the first byte
    of what the next start writes; the record must not become true by it. Where it lacks one bit only, it counts as
    stored and damaged (SPEC 9.7), and so it stays."""
    for last in range(255):
        flash = FlashSim(4096, 8, 32)
        journal = make_journal(flash)
        journal.recover(1)
        journal.append(journal.SAMPLE, b"first", 1)
        flash.trace = []
        journal.append(journal.SAMPLE, b"x" * 16 + bytes([last]), 1)
        torn = FlashSim(4096, 8, 32)
        torn.sectors = list(flash.sectors)
        place, data = flash.trace[0]
        sector, at = divmod(place, 4096)
        torn.own(sector)[at + 32 : at + len(data)] = b"\xff" * (len(data) - 32)
        lacks_one_bit = bin(last).count("1") == 7
        for _ in range(2):
            journal = make_journal(torn)
            journal.recover(1)
            there = [record.payload for record in journal.unsealed() if record.kind == journal.SAMPLE]
            if there != [b"first"] or journal.counters.sampled != 1 + lacks_one_bit:
                raise Wrong("a torn record is whole again by what was written behind it, last byte %d" % last)


def is_commit(operation) -> bool:
    """Whether a traced operation begins the COMMIT of a batch."""
    data = operation[1]
    return data is not None and data[6] == COMMIT and data[:4] != MAGIC
