"""NOR flash as it fails: cells that a cut left weak, sectors that go bad, reads that err once, bits that flip.

A chip is sectors of cells. An erased cell reads 1, a program turns cells to 0, and only an erase turns them back.

*Power.* `cut_in = n` ends the power in the n-th change from now. A program that is cut leaves each cell that it was to
turn: done, not done, or weak. An erase that is cut does the same with the cells that were 0. A weak cell reads as it
likes: `power_on` draws its value anew at each start. A second program of the same cell to 0 makes it firm, an erase
makes it blank. A program that is cut so early that all its cells read 1 at the next start is taken to have left
nothing: no code could know of it.

*Second programs.* The chip refuses a program of any cell that does not read 1, but for the one case that every NOR chip
allows: data equal to what the cells read already.

*Faults*, each drawn from the seed of the life: `bad` sectors refuse programs or erases from some moment on, and
leave half of the work; that moment may be any change (`bad_in`), or between two starts. A read errs (`transient`) in up
to three bits, and the next reads of that sector are right; a bit flips for good (`flip`).
"""

from __future__ import annotations

import random

from parkgate.errors import FlashError


class PowerCut(Exception):
    """The power went in the middle of a change."""


class Erring:
    """When a read errs: one in so many, but never soon again at the same place."""

    APART = 40

    def __init__(self, chance: random.Random):
        self.chance = chance
        self.reads = 0
        self.last: dict[object, int] = {}

    def now(self, place, every: int) -> bool:
        """Whether this read of `place` errs; `every` 0: none does."""
        self.reads += 1
        if not every or self.reads - self.last.get(place, -self.APART) < self.APART or self.chance.randrange(every):
            return False
        self.last[place] = self.reads
        return True


class Chip:
    """The storage seam (read, program, erase, sync and the geometry) over such cells."""

    verified = False

    def __init__(self, sector_count: int, program_size: int, chance: random.Random, sector_size: int = 4096):
        self.sector_size = sector_size
        self.sector_count = sector_count
        self.program_size = program_size
        self.chance = chance
        self.cells = [bytearray(b"\xff" * sector_size) for _ in range(sector_count)]
        self.weak: list[dict[int, int]] = [{} for _ in range(sector_count)]  # offset → mask of weak cells
        self.cut_in = -1
        self.changes = 0
        self.bad_in = -1  # the sector that the n-th change from now touches goes bad with it
        self.bad_max = 0
        self.program_fails: set[int] = set()
        self.erase_fails: set[int] = set()
        self.transient_every = 0  # a read in so many errs once; 0: none
        self.keeps_weak = True
        self.erring = Erring(chance)
        self.erred = 0
        self.flipped: set[int] = set()

    # The storage seam.

    def read(self, address: int, buffer) -> None:
        """Fill `buffer` from `address` on."""
        sector, at = self._place(address, len(buffer))
        buffer[:] = self.cells[sector][at : at + len(buffer)]
        if len(buffer) and self.erring.now(sector, self.transient_every):
            self.erred += 1
            for _ in range(self.chance.randint(1, 3)):
                buffer[self.chance.randrange(len(buffer))] ^= 1 << self.chance.randrange(8)

    def program(self, address: int, data) -> None:
        """Turn cells to 0 where `data` has zeros; whole program units, blank before or equal already."""
        data = bytes(data)
        sector, at = self._place(address, len(data))
        if not data or at % self.program_size or len(data) % self.program_size:
            raise FlashError("program of %d bytes at %d is not whole units" % (len(data), address))
        cells, weak = self.cells[sector], self.weak[sector]
        old = bytes(cells[at : at + len(data)])
        if old != b"\xff" * len(data) and old != data:
            raise FlashError("program at %d of what is neither blank nor the same" % address)
        self._wear(sector, self.program_fails)
        if self._power_goes():
            self._half_program(sector, at, data)
            raise PowerCut
        if sector in self.program_fails:
            half = len(data) // 2
            if old != data:
                cells[at : at + half] = data[:half]
            raise FlashError("program fails in sector %d" % sector)
        cells[at : at + len(data)] = data
        for offset in [o for o in weak if at <= o < at + len(data)]:
            del weak[offset]

    def erase(self, sector: int) -> None:
        """Turn every cell of the sector to 1."""
        self._place(sector * self.sector_size, 0)
        self._wear(sector, self.erase_fails)
        if self._power_goes():
            self._half_erase(sector)
            raise PowerCut
        if sector in self.erase_fails:
            self._half_erase(sector)
            raise FlashError("erase fails in sector %d" % sector)
        self._blank(sector, 0, self.sector_size)

    def sync(self) -> None:
        """Nothing waits here."""

    # What happens to the chip.

    def bad(self) -> set[int]:
        """All sectors that refuse something."""
        return self.program_fails | self.erase_fails

    def _wear(self, sector, fails) -> None:
        if self.bad_in >= 0:
            self.bad_in -= 1
            if self.bad_in < 0 and len(self.bad()) < self.bad_max:
                fails.add(sector)

    def power_on(self) -> None:
        """Another start: each weak cell draws what it reads as, whole regions alike now and then. Without `keeps_weak`
        it stays what it read first."""
        self.cut_in = -1
        for sector, weak in enumerate(self.weak):
            whim = self.chance.randrange(4)  # all read 0, all read 1, each for itself
            for offset, mask in list(weak.items()):
                zeros = mask if whim == 0 else 0 if whim == 1 else self.chance.getrandbits(8) & mask
                self.cells[sector][offset] = (self.cells[sector][offset] | mask) & ~zeros & 255
            if not self.keeps_weak:
                weak.clear()

    def flip(self, sector: int) -> None:
        """One bit among what is written there flips for good."""
        cells = self.cells[sector]
        end = len(cells.rstrip(b"\xff"))
        if end and sector not in self.flipped:  # one bit a sector: several in one place are a limit that README states
            self.flipped.add(sector)
            cells[self.chance.randrange(end)] ^= 1 << self.chance.randrange(8)

    def _place(self, address, length):
        sector, at = divmod(address, self.sector_size)
        if not 0 <= sector < self.sector_count or at + length > self.sector_size:
            raise FlashError("%d bytes at %d are not within one sector" % (length, address))
        return sector, at

    def _power_goes(self) -> bool:
        self.changes += 1
        if self.cut_in < 0:
            return False
        self.cut_in -= 1
        return self.cut_in < 0

    def _half_program(self, sector, at, data):
        cells, weak, chance = self.cells[sector], self.weak[sector], self.chance
        old = bytes(cells[at : at + len(data)])
        way = chance.randrange(6)
        if way == 0:
            return
        done = len(data) if way >= 3 else chance.randrange(0, len(data) + 1, 32) if len(data) > 32 else 0
        for i, byte in enumerate(data):
            zeros = ~byte & cells[at + i] & 255
            if not zeros or i >= done:
                continue
            if way in (1, 2):
                cells[at + i] &= byte
            elif way == 3:  # most are done, a few are weak
                self._weaken(weak, cells, at + i, zeros, zeros if chance.randrange(len(data)) < 2 else 0)
            elif way == 4:  # each for itself
                self._weaken(weak, cells, at + i, zeros, chance.getrandbits(8) & chance.getrandbits(8))
            else:  # few are done
                cells[at + i] &= ~(zeros & chance.getrandbits(8) & chance.getrandbits(8)) & 255
        if way == 3:  # one or two cells decide
            for _ in range(chance.randint(1, 2)):
                i = chance.randrange(len(data))
                zeros = ~data[i] & old[i]  # a cell that was 0 already is not weakened by a second pulse
                if zeros:
                    bit = chance.choice([b for b in range(8) if zeros >> b & 1])
                    self._weaken(weak, cells, at + i, zeros, 1 << bit)
        if bytes(cells[at : at + len(data)]) == b"\xff" * len(data):
            for offset in [o for o in weak if at <= o < at + len(data)]:
                del weak[offset]

    def _weaken(self, weak, cells, offset, zeros, mask):
        """Turn the cells `zeros`, those of them in `mask` only weakly."""
        cells[offset] &= ~zeros & 255
        mask &= zeros
        if mask:
            weak[offset] = weak.get(offset, 0) | mask

    def _blank(self, sector, first, end):
        self.cells[sector][first:end] = b"\xff" * (end - first)
        for offset in [o for o in self.weak[sector] if first <= o < end]:
            del self.weak[sector][offset]

    def _half_erase(self, sector):
        cells, weak, chance = self.cells[sector], self.weak[sector], self.chance
        way = chance.randrange(6)
        if way == 0:
            return
        if way == 1:
            half = chance.randrange(0, self.sector_size, 256)
            self._blank(sector, 0, half)
        elif way == 2:
            half = chance.randrange(0, self.sector_size, 256)
            self._blank(sector, half, self.sector_size)
        elif way == 3:  # chips program a sector to zero before they erase it
            cells[:] = bytes(self.sector_size)
            weak.clear()
        elif way == 4:  # the header still reads whole, or not
            for offset in chance.sample(range(256), 3):
                if cells[offset] != 255:
                    weak[offset] = ~cells[offset] & 255
        else:
            for offset in range(self.sector_size):
                zeros = ~cells[offset] & 255
                if zeros:
                    cells[offset] |= chance.getrandbits(8) & zeros
                    if chance.randrange(64) == 0:
                        weak[offset] = zeros
