"""Random lives of a gateway with its journal, every fault mixed in, each start held against the promises.

A life is made of one seed: geometry, faults, work and cuts. Between two starts the gateway appends, seals, acknowledges
in any order, notes losses, tidies up, wipes; the power goes in the middle of any of it, or in the recovery, again and
again: cuts nest as deep as chance has it, and cells that a cut left weak read differently at each start. `run(seed)`
gives a Tally or raises Failure, which names the seed.
"""

from __future__ import annotations

import importlib.util
import random
from hashlib import sha256

from parkgate.errors import FlashError, JournalError, JournalFull
from parkgate.journal.journal import Journal

from .chip import Chip, PowerCut
from .files import Files
from .promises import Batch, Broken, Oracle, Sample, named_by, told_by

# name → (program size, sector counts); 0: segment files on a file system
GEOMETRIES = {"rp2": (256, (8, 10, 16, 40)), "esp32": (32, (8, 10, 16, 40)), "files": (0, (8, 10, 16, 40))}
# Good sectors that are left at least, and the most bytes that a batch then takes beside its samples (SPEC 9.8).
ROOM = ((8, 14000), (8, 14000), (5, 300))
ACTIONS = (
    ("append", 60), ("event", 3), ("seal", 9), ("acknowledge", 6), ("maintain", 14), ("note_lost", 2), ("save", 1),
    ("sync", 1), ("check", 2), ("wipe", 0), ("burst", 3),
)  # fmt: skip


_SEGMENT_FILES = importlib.util.find_spec("hal.segment_files")


def _segment_files(medium):
    """A copy of the module hal.segment_files whose files are those of `medium`."""
    module = importlib.util.module_from_spec(_SEGMENT_FILES)
    _SEGMENT_FILES.loader.exec_module(module)
    module.os, module.open = medium, medium.open
    return module


class Failure(Exception):
    """A promise was broken in the life of `seed`, at its start number `start`."""

    def __init__(self, seed: int, start: int, doing: str, error: Exception):
        super().__init__(f"seed {seed}, start {start}, {doing}: {type(error).__name__}: {error}")
        self.seed = seed


class Tally:
    """What was tried: each is a count."""

    NAMES = ("lives", "states", "cuts", "nested", "nested_four_deep", "deepest", "bad_sectors", "erred_reads", "flips")
    NAMES += ("wipes", "refusals", "foreign_images", "foreign_sectors", "lost_at_bad_sectors", "appends", "batches")
    NAMES += ("states_weak", "states_bad", "states_transient", "states_flip", "states_wipe", "states_stray")
    NAMES += ("states_no_fault",)

    def __init__(self) -> None:
        for name in self.NAMES:
            setattr(self, name, 0)

    def add(self, other: Tally) -> None:
        """Take in the counts of another tally."""
        for name in self.NAMES:
            mine, theirs = getattr(self, name), getattr(other, name)
            setattr(self, name, max(mine, theirs) if name == "deepest" else mine + theirs)

    def __str__(self) -> str:
        return ", ".join(f"{getattr(self, name):,} {name.replace('_', ' ')}" for name in self.NAMES)


class Faults:
    """Which faults a life has. Drawn from its seed, or named (`only`)."""

    KINDS = ("weak", "bad", "transient", "flip", "wipe", "stray")

    def __init__(self, chance: random.Random, only: frozenset[str] | None = None):
        on = {kind: chance.random() < 0.5 for kind in self.KINDS}
        on["flip"] = chance.random() < 0.2
        if only is not None:
            on = {kind: kind in only for kind in self.KINDS}
        self.weak, self.bad, self.transient, self.flip, self.wipe, self.stray = (on[kind] for kind in self.KINDS)
        self.names = [kind for kind in self.KINDS if on[kind]] or ["no_fault"]


class Told:
    """A storage that tells when a sync has returned. Raw flash keeps everything at once: each change is a sync."""

    def __init__(self, storage, synced):
        self._storage = storage
        self._synced = synced
        self._at_once = isinstance(storage, Chip)
        self.sector_count = storage.sector_count
        self.sector_size = storage.sector_size
        self.program_size = storage.program_size
        self.verified = storage.verified
        self.read = storage.read
        self.erase = storage.erase

    def program(self, address, data):
        """As the storage does."""
        self._storage.program(address, data)
        if self._at_once:
            self._synced()

    def sync(self):
        """As the storage does."""
        self._storage.sync()
        self._synced()


class Life:
    """One gateway, one chip or file system."""

    def __init__(self, seed: int, geometry: str, journal_class=Journal, only: frozenset[str] | None = None):
        self.seed = seed
        self.chance = random.Random(f"{seed}:{geometry}")
        self.faults = Faults(self.chance, only)
        program_size, counts = GEOMETRIES[geometry]
        count = self.chance.choice(counts)
        if program_size:
            self.medium: Chip | Files = Chip(count, program_size, self.chance)
            self.medium.keeps_weak = self.faults.weak
        else:
            self.medium = Files(self.chance)
        self.sector_count = count
        good_min, self.filler_max = self.chance.choice(ROOM)
        if isinstance(self.medium, Chip):
            self.medium.bad_max = count - good_min
        self.journal_class = journal_class
        self.oracle = Oracle()
        self.tally = Tally()
        self.tally.lives = 1
        self.serial = 0
        self.depth = 0
        self.doing = "nothing"
        self.online = True
        self.album: list[tuple[int, bytes]] = []  # sectors as they were at earlier starts, or are elsewhere

    def live(self, starts: int) -> Tally:
        """So many starts. Raises Failure."""
        for number in range(starts):
            try:
                if not number and self.chance.randrange(4) == 0:
                    self._inherit()
                self._one_start()
            except (Broken, JournalError, AssertionError, IndexError, KeyError, TypeError, ValueError) as error:
                raise Failure(self.seed, number, self.doing, error) from error
            finally:
                self.tally.erred_reads = self.medium.erred
                self.tally.lost_at_bad_sectors = self.oracle.lost_at_bad_sectors
                if isinstance(self.medium, Chip):
                    self.tally.bad_sectors = len(self.medium.bad())
        return self.tally

    def _inherit(self) -> None:
        """The flash comes from another gateway: another epoch, full of records, with serials far above any of ours. It
        is wiped before it is used, and the power goes again and again meanwhile. What was there never comes back."""
        chance, medium = self.chance, self.medium
        self.tally.foreign_images += 1
        self.doing = "inherit"
        journal = self._journal()
        journal.recover(1)
        journal.ledger.serial += chance.getrandbits(chance.choice((20, 40, 60)))
        for _ in range(chance.choice((5, 60, 400))):
            journal.append(journal.SAMPLE, chance.randbytes(100), 3)
        journal.sync()
        foreign, counters = journal.epoch, journal.counters
        while journal.epoch == foreign:
            medium.power_on()
            medium.cut_in = chance.randrange(8)
            try:
                journal = self._journal()
                journal.recover(1)
                if journal.epoch == foreign:
                    if journal.counters != counters:
                        raise Broken("9: half of an epoch that is not wiped yet is gone")
                    journal.wipe()
            except PowerCut:
                self.tally.cuts += 1
                journal.epoch = foreign
        self.oracle.ended.add(foreign)
        self.oracle.begin(journal.epoch)

    def _stray(self) -> None:
        """A sector turns up where there was none: of another gateway, with serials above ours, or as it was in an older
        image of this flash. It is whole, and nothing of it may be believed."""
        chance, medium = self.chance, self.medium
        if not isinstance(medium, Chip) or self.oracle.epoch is None:
            return
        blank = b"\xff" * medium.sector_size
        images = self.album if chance.randrange(3) == 0 else self._sectors_elsewhere(medium)
        places = [(i, image) for i, image in images if medium.cells[i] == blank]
        if places:
            sector, image = chance.choice(places)
            medium.cells[sector][:] = image
            self.tally.foreign_sectors += 1
        sector = chance.randrange(medium.sector_count)
        if medium.cells[sector] != blank and not medium.weak[sector]:
            self.album.append((sector, bytes(medium.cells[sector])))

    def _sectors_elsewhere(self, medium: Chip) -> list[tuple[int, bytes]]:
        """Those of another gateway, but the first of its epoch: that one cannot be told from a wipe (LIMITS.md)."""
        chance = self.chance
        chip = Chip(self.sector_count, medium.program_size, chance)
        journal = self.journal_class(chip, lambda: chance.randbytes(16))
        journal.recover(1)
        journal.ledger.serial += chance.getrandbits(chance.choice((20, 40, 60)))
        for _ in range(chance.choice((2, 4, 8))):
            for _ in range(30):
                journal.append(journal.SAMPLE, chance.randbytes(100), 3)
            records = list(journal.unsealed())
            data = b"".join([bytes(r.payload) for r in records])[:3000]
            readings = sum(r.readings for r in records)
            journal.commit_batch(journal.next_seq, data, sha256(data).digest(), records[-1].position, readings)
        return [(i, bytes(cells)) for i, cells in enumerate(chip.cells) if i and cells.count(255) < len(cells)]

    def _journal(self):
        """As the settings of this start make it."""
        chance = self.chance
        spare_sectors = chance.choice((0, 1, 2, 2, 2, 4))
        epochs = lambda: chance.getrandbits(128).to_bytes(16, "big")  # noqa: E731
        return self.journal_class(self._storage(), epochs, spare_sectors=spare_sectors)

    def _one_start(self) -> None:
        chance, medium = self.chance, self.medium
        medium.power_on()
        self._harm()
        # Half of the starts are cut at once or soon, so that cuts nest.
        way = chance.randrange(8)
        reach = (3, 6, 12, 40, 150, 150, 400, -1)[way]
        medium.cut_in = chance.randrange(reach) if reach > 0 else -1
        self.doing = "recover"
        journal = self._journal()
        try:
            self.oracle.recovering = True
            report = journal.recover(1)
            left, medium.cut_in = medium.cut_in, -1
            self.doing = f"check after {report.text()}"
            if isinstance(medium, Chip):
                self.oracle.refused, self.oracle.failing = bool(medium.program_fails), len(medium.bad())
            self.oracle.check_start(journal, report)
            self.tally.states += 1
            for name in self.faults.names:
                setattr(self.tally, "states_" + name, getattr(self.tally, "states_" + name) + 1)
            medium.cut_in = left
            if chance.randrange(6) == 0:
                self.online = not self.online
            for _ in range(chance.choice((0, 1, 5, 40, 120))):
                try:
                    self._act(journal)
                except FlashError:
                    if isinstance(medium, Chip):
                        raise  # raw flash with enough good sectors never refuses
                    self._recover_again(journal)
            self.doing = "left alone"
            self.depth = 0
        except FlashError:
            if isinstance(medium, Chip) or not medium.full_every:
                raise
        except PowerCut:
            self.tally.cuts += 1
            self.depth += 1
            self.tally.nested += self.depth > 1
            self.tally.nested_four_deep += self.depth > 3
            self.tally.deepest = max(self.tally.deepest, self.depth)

    def _recover_again(self, journal) -> None:
        """The file system refused: the gateway recovers the same journal and goes on."""
        self.tally.refusals += 1
        doing = self.doing
        self.doing = f"recover again after {doing}"
        for _ in range(9):
            self.oracle.recovering = True
            try:
                report = journal.recover(1)
                break
            except FlashError:
                continue
        else:
            raise Broken("8: the journal does not recover")
        left, self.medium.cut_in = self.medium.cut_in, -1
        self.doing = f"check after {report.text()} after {doing}"
        self.oracle.check_start(journal, report, False)
        self.medium.cut_in = left

    def _storage(self):
        """The storage as a start finds it; each sync that returns is told to the oracle."""
        if isinstance(self.medium, Chip):
            storage = self.medium
        else:
            storage = _segment_files(self.medium).SegmentFiles("journal", self.sector_count)
        return Told(storage, self.oracle.synced)

    def _harm(self) -> None:
        chance, medium, faults = self.chance, self.medium, self.faults
        medium.transient_every = chance.choice((0, 60, 400)) if faults.transient else 0
        flips = faults.flip and chance.randrange(5) == 0
        if isinstance(medium, Chip):
            medium.bad_in = chance.choice((-1, 2, 20, 200)) if faults.bad else -1
        if flips:
            self.tally.flips += 1
            self.oracle.flips += 1
        if isinstance(medium, Files):
            medium.full_every = chance.choice((0, 300, 1000)) if faults.bad else 0
            self.oracle.refusing = medium.full_every > 0  # what waited in the file is lost with it
            self.oracle.flips += self.oracle.refusing
            if flips:
                medium.flip()
            return
        if faults.stray and chance.randrange(4) == 0:
            self._stray()
        if faults.bad and chance.randrange(6) == 0 and len(medium.bad()) < medium.bad_max:
            chance.choice((medium.program_fails, medium.erase_fails)).add(chance.randrange(medium.sector_count))
        if flips:
            medium.flip(chance.randrange(medium.sector_count))

    def _act(self, journal) -> None:
        name = self.chance.choices([a for a, _ in ACTIONS], [w for _, w in ACTIONS])[0]
        if self.faults.wipe and self.chance.randrange(400) == 0:
            name = "wipe"
        self.doing = name
        getattr(self, "_" + name)(journal)

    def _append(self, journal) -> None:
        chance = self.chance
        self.serial += 1
        size = chance.choice((0, 8, 24, 40, 100, 300, 2000))
        payload = b"%d:" % self.serial + chance.randbytes(size)
        sample = Sample(payload, chance.choice((0, 1, 2, 8, 20, 255)))
        self.oracle.flying = sample
        self.tally.appends += 1
        self.oracle.appended(journal.append(journal.SAMPLE, payload, sample.readings))

    def _burst(self, journal) -> None:
        """A journal without a quiet window."""
        for _ in range(self.chance.randint(10, 120)):
            self._append(journal)

    def _event(self, journal) -> None:
        journal.append(journal.EVENT, b"\x83\x04\x40\xf6")

    def _seal(self, journal) -> None:
        """As the firmware does: gather, commit, again when records were dropped meanwhile."""
        chance = self.chance
        filler = min(chance.choice((0, 0, 300, 3000, 9000, 14000)), self.filler_max)
        limit = chance.choice((5, 30, None))
        for _ in range(12):
            records = list(journal.unsealed(limit))
            if not records:
                return
            members = [bytes(r.payload) for r in records if r.kind == journal.SAMPLE]
            told = sum(told_by(r.payload) for r in records if r.kind == journal.EVENT)
            names = [n for r in records if r.kind == journal.EVENT and (n := named_by(r.payload))]
            readings = sum(r.readings for r in records)
            data = b"%d;" % journal.next_seq + chance.randbytes(filler) + b"".join(members)[:1500]
            self.oracle.sealing = Batch(data, readings, members, told, names)
            try:
                meta = b"m" * chance.randrange(65)
                digest = sha256(data).digest()
                journal.commit_batch(journal.next_seq, data, digest, records[-1].position, readings, meta)
            except JournalFull:
                self.oracle.sealing = None
                continue
            self.oracle.committed()
            self.tally.batches += 1
            return
        raise Broken("8: a batch cannot be committed")

    def _acknowledge(self, journal) -> None:
        if not self.online:
            return
        held = journal.held()
        for _ in range(self.chance.choice((1, 1, 3, 20))):
            if not held:
                return
            seq = held[self.chance.choice((0, len(held) - 1, self.chance.randrange(len(held))))]
            self.oracle.batches[seq].acked = True
            journal.acknowledge(seq)
            held = journal.held()

    def _maintain(self, journal) -> None:
        for _ in range(self.chance.choice((1, 2, 8))):
            if not journal.maintain():
                return

    def _note_lost(self, journal) -> None:
        readings = self.chance.randint(1, 40)
        self.oracle.noting = readings
        journal.note_lost(readings)
        journal.sync()
        self.oracle.noting = 0
        self.oracle.noted += readings

    def _save(self, journal) -> None:
        journal.save()

    def _sync(self, journal) -> None:
        journal.sync()

    def _check(self, journal) -> None:
        left, self.medium.cut_in = self.medium.cut_in, -1
        self.oracle.check(journal)
        self.medium.cut_in = left

    def _wipe(self, journal) -> None:
        self.oracle.wiping = True
        self.tally.wipes += 1
        journal.wipe()
        self.oracle.ended.add(self.oracle.epoch or b"")
        self.oracle.begin(journal.epoch)
        self.oracle.boot = journal.boot


def run(seed: int, geometry: str, starts: int = 40, journal_class=Journal, only: frozenset[str] | None = None) -> Tally:
    """One life. Raises Failure."""
    return Life(seed, geometry, journal_class, only).live(starts)
