"""A NOR flash that is stricter than flash, loses power on demand, and can be as bad as flash gets.

The model
---------
Memory is sectors of bytes. Erased is all ones. A program writes whole program units, only turns ones into zeros, and is
refused unless every byte of its target is blank, or reads already as what is programmed: real chips
take any second program and give the AND of both, which hides the bug, so here it is an error. A program never
crosses a sector. Nothing is cached: what a call has done is
there when it returns.

*Power.* It can go at any operation. A program then leaves its target blank (clean), its first n × 32 bytes (torn), or
for each bit that was to become zero the toss of a coin (garbled). An erase leaves the sector as it was (clean), one
half erased and the other as it was, old and new bits mixed, everything zero (chips program a sector to zero before
they erase it), blank but for a few bits, or blank behind a header that still looks whole. Cells that were hardly
touched may read one way at one start and another way at the next (flicker): the harness makes both orders.

*Badness*, each by its own chance in 1,000, drawn from one seed: a program or an erase fails with an error after doing
half of its work; it is silently ignored; a read fails with an error, but not thrice in a row; a bit flips from one to
zero or back while nobody looks; and a sector that has been erased `wear_limit` times no longer erases whole.

Every operation that changes memory goes into `trace` (if it is a list) as (address, data) for a program and
(sector, None) for an erase. Programs, erases, reads and their bytes are counted, erases for each sector, and
`busy_us` adds up what a W25Q16-class chip needs by its data sheet: 400 µs a page of 256, 45 ms an erase.
"""

from parkgate.errors import FlashError

TEAR_BYTES = 32
PAGE_US, ERASE_US, READ_US_PER_KIB = 400, 45000, 20


class PowerCut(Exception):
    """The power went; nothing after this operation has happened."""


class Chance:
    """Random numbers that are the same on every Python: xorshift, 32 bits."""

    def __init__(self, seed: int):
        self.state = (seed * 2654435761 + 1) & 0xFFFFFFFF or 1

    def bits(self) -> int:
        """32 random bits."""
        x = self.state
        x ^= x << 13 & 0xFFFFFFFF
        x ^= x >> 17
        x ^= x << 5 & 0xFFFFFFFF
        self.state = x
        return x

    def below(self, n: int) -> int:
        """A number from 0 to n − 1."""
        return (self.bits() >> 4) % n

    def data(self, n: int) -> bytes:
        """`n` random bytes."""
        return bytes([self.bits() >> 11 & 255 for _ in range(n)])


class FlashSim:
    """The flash of the model. Sectors are copied when first changed, so that `copy` costs next to nothing."""

    verified = False

    def __init__(self, sector_size: int = 4096, sector_count: int = 256, program_size: int = 256):
        self.sector_size = sector_size
        self.sector_count = sector_count
        self.program_size = program_size
        self.blank = b"\xff" * sector_size
        self.sectors = [self.blank] * sector_count
        self.trace = None
        self.cut_in = -1  # operations until the power goes; −1: never
        self.programs = self.programmed_bytes = self.erases = self.reads = self.read_bytes = self.busy_us = 0
        self.erases_of = [0] * sector_count

    def copy(self):
        """Another flash with the same content."""
        other = FlashSim(self.sector_size, self.sector_count, self.program_size)
        for i, sector in enumerate(self.sectors):
            if isinstance(sector, bytearray):
                self.sectors[i] = bytes(sector)
        other.sectors = list(self.sectors)
        return other

    def own(self, sector: int) -> bytearray:
        """The bytes of `sector`, for changing."""
        found = self.sectors[sector]
        if not isinstance(found, bytearray):
            found = self.sectors[sector] = bytearray(found)
        return found

    # The storage seam.

    def read(self, address: int, buffer):
        """Fill `buffer` from `address` on."""
        length = len(buffer)
        sector, at = divmod(address, self.sector_size)
        if not 0 <= sector < self.sector_count or at + length > self.sector_size:
            raise FlashError("read of %d bytes at %d is not within one sector" % (length, address))
        self.reads += 1
        self.read_bytes += length
        self.busy_us += length * READ_US_PER_KIB // 1024
        buffer[:] = self.sectors[sector] if length == self.sector_size else self.sectors[sector][at : at + length]

    def program(self, address: int, data):
        """Write `data`, whole program units, to blank flash."""
        data = bytes(data)
        sector, at = divmod(address, self.sector_size)
        unit = self.program_size
        if not data or address % unit or len(data) % unit:
            raise FlashError("program of %d bytes at %d is not whole units of %d" % (len(data), address, unit))
        if not 0 <= sector < self.sector_count or at + len(data) > self.sector_size:
            raise FlashError("program of %d bytes at %d is not within one sector" % (len(data), address))
        if self.sectors[sector][at : at + len(data)] not in (self.blank[: len(data)], data):
            raise FlashError("program at %d of what is not erased" % address)
        self._power(address, data)
        self.programs += 1
        self.programmed_bytes += len(data)
        self.busy_us += (len(data) * PAGE_US + 255) // 256
        self._program(sector, at, data)

    def erase(self, sector: int):
        """Make every byte of `sector` 0xFF."""
        if not 0 <= sector < self.sector_count:
            raise FlashError("there is no sector %d" % sector)
        self._power(sector, None)
        self.erases += 1
        self.erases_of[sector] += 1
        self.busy_us += ERASE_US
        self._erase(sector)

    def sync(self):
        """Nothing waits here."""

    def _power(self, place, data):
        if self.cut_in == 0:
            raise PowerCut()
        if self.cut_in > 0:
            self.cut_in -= 1
        if self.trace is not None:
            self.trace.append((place, data))

    def _program(self, sector, at, data):
        put(self.own(sector), at, data)

    def _erase(self, sector):
        self.sectors[sector] = self.blank

    # What a cut leaves.

    def apply(self, operation):
        """Do a traced operation whole."""
        place, data = operation
        if data is None:
            self.sectors[place] = self.blank
        else:
            sector, at = divmod(place, self.sector_size)
            put(self.own(sector), at, data)

    def apply_cut(self, operation, way: int, seed: int = 1):
        """Do a traced operation as far as a cut of the kind `way` (1 … ways(operation) − 1; 0 is clean) lets it."""
        place, data = operation
        if way == 0:
            return
        chance = Chance(seed * 1000003 + way)
        if data is None:
            self.sectors[place] = half_erased(self.sectors[place], way, chance)
            return
        tears = (len(data) - 1) // TEAR_BYTES
        sector, at = divmod(place, self.sector_size)
        memory = self.own(sector)
        if way <= tears:
            put(memory, at, data[: way * TEAR_BYTES])
        else:
            # One garbling tosses for every bit, the other leaves most of the work undone.
            for i in range(len(data)):
                mask = chance.bits() if way == tears + 1 else chance.bits() | chance.bits() | chance.bits()
                memory[at + i] &= data[i] | mask & 255

    def one_bit_short(self, operation) -> bool:
        """Whether all of a traced program is there but for one bit."""
        place, data = operation
        if data is None:
            return False
        sector, at = divmod(place, self.sector_size)
        there = self.sectors[sector]
        differing = [data[i] ^ there[at + i] for i in range(len(data)) if data[i] != there[at + i]]
        return len(differing) == 1 and not differing[0] & differing[0] - 1


def put(memory, at: int, data):
    """Program `data` at `at`: ones become zeros, and no zero a one."""
    old = memory[at : at + len(data)]
    if old.count(b"\xff") == len(old):
        memory[at : at + len(data)] = data
    else:
        memory[at : at + len(data)] = bytes([a & b for a, b in zip(old, data)])


def ways(operation) -> int:
    """In how many ways a cut can leave this operation, the clean one included."""
    data = operation[1]
    return 8 if data is None else 1 + (len(data) - 1) // TEAR_BYTES + 2


def half_erased(old, way: int, chance: Chance) -> bytes:
    """What an interrupted erase leaves of the bytes `old`; `way` is 1 to 7."""
    size = len(old)
    half = size // 2
    if way == 1:
        return b"\xff" * half + bytes(old[half:])
    if way == 2:
        return bytes(old[:half]) + b"\xff" * half
    if way == 3:
        return bytes(size)
    if way == 4:
        return bytes(old[:256]) + b"\xff" * (size - 256)
    if way == 5:
        new = bytearray(b"\xff" * size)
        for _ in range(3):
            new[chance.below(size)] &= ~(1 << chance.below(8)) & 255
        return bytes(new)
    mask = bytearray()
    for _ in range(size // 16):
        x = chance.bits()
        mask.extend(bytes([x >> shift & 255 for shift in (0, 8, 16, 24, 4, 12, 20, 2)] * 2))
    if way == 6:
        return bytes([a | b for a, b in zip(old, mask)])
    return bytes([0 if b & 1 else a for a, b in zip(old, mask)])


class BadFlash(FlashSim):
    """The flash of the model with its badness. `chances` maps fault → chance in 1,000; see FAULTS."""

    FAULTS = ("program error", "erase error", "program ignored", "erase ignored", "read error", "flip")

    def __init__(self, sector_size, sector_count, program_size, seed: int, chances: dict, wear_limit: int = 0):
        super().__init__(sector_size, sector_count, program_size)
        self.chance = Chance(seed)
        self.chances = chances
        self.wear_limit = wear_limit
        self.happened = {}
        self.flips = []
        self._reads_failed = 0

    def _happens(self, fault) -> bool:
        if self.chance.below(1000) >= self.chances.get(fault, 0):
            return False
        self.happened[fault] = self.happened.get(fault, 0) + 1
        return True

    def read(self, address, buffer):
        """As FlashSim; may fail, and a bit may have flipped somewhere."""
        if self._happens("flip"):
            sector, at = self.chance.below(self.sector_count), self.chance.below(self.sector_size)
            self.own(sector)[at] ^= 1 << self.chance.below(8)
            self.flips.append((sector, at))
        if self._reads_failed < 2 and self._happens("read error"):
            self._reads_failed += 1
            raise FlashError("read error")
        self._reads_failed = 0
        super().read(address, buffer)

    def _program(self, sector, at, data):
        if self._happens("program ignored"):
            return
        if self._happens("program error"):
            half = len(data) // 2
            self.own(sector)[at : at + half] = data[:half]
            raise FlashError("program error")
        super()._program(sector, at, data)

    def _erase(self, sector):
        if self._happens("erase ignored"):
            return
        worn = self.wear_limit and self.erases_of[sector] > self.wear_limit
        if worn or self._happens("erase error"):
            self.sectors[sector] = half_erased(self.sectors[sector], 1 + self.chance.below(7), self.chance)
            if not worn:
                raise FlashError("erase error")
            return
        super()._erase(sector)


class WeakFlash(FlashSim):
    """The flash of the model with faults that are placed one by one, and not drawn.

    `weaken` leaves cells hardly programmed: at each `power_on` they read as programmed, or as erased. A program of what
    they read as makes those firm that read as programmed; an erase ends all. Sectors in `program_fails` and
    `erase_fails` do half of the work and raise. The read number `err_in` (0 is the next) has `err_bits` wrong in it,
    once; with `err_every` every so many reads go wrong, never two in a row."""

    def __init__(self, sector_size: int = 4096, sector_count: int = 16, program_size: int = 256):
        super().__init__(sector_size, sector_count, program_size)
        self.weak = {}  # (sector, offset) → mask
        self.program_fails = set()
        self.erase_fails = set()
        self.err_in = -1
        self.err_every = 0
        self.err_bits = ((40, 1), (41, 2))  # (offset in the read, mask)

    def weaken(self, address: int, mask: int):
        """The cells `mask` of the byte at `address`, programmed already, are weak."""
        self.weak[divmod(address, self.sector_size)] = mask

    def power_on(self, programmed: bool):
        """Another start: weak cells read as `programmed`, or as erased."""
        for (sector, at), mask in self.weak.items():
            self.own(sector)[at] = self.own(sector)[at] & ~mask & 255 if programmed else self.own(sector)[at] | mask

    def read(self, address, buffer):
        """As FlashSim; may be wrong."""
        super().read(address, buffer)
        if self.err_every and self.reads % self.err_every == 0:
            self.err_in = 0
        if self.err_in == 0:
            for at, mask in self.err_bits:
                if at < len(buffer):
                    buffer[at] ^= mask
        if self.err_in >= 0:
            self.err_in -= 1

    def _program(self, sector, at, data):
        if sector in self.program_fails:
            put(self.own(sector), at, data[: len(data) // 2])
            raise FlashError("sector %d takes no program" % sector)
        super()._program(sector, at, data)
        for place in [p for p in self.weak if p[0] == sector and at <= p[1] < at + len(data)]:
            self.weak[place] &= self.sectors[sector][place[1]]  # what reads as programmed is firm now
            if not self.weak[place]:
                del self.weak[place]

    def _erase(self, sector):
        for place in [p for p in self.weak if p[0] == sector]:
            del self.weak[place]
        if sector in self.erase_fails:
            self.sectors[sector] = half_erased(self.sectors[sector], 3, Chance(sector))
            raise FlashError("sector %d takes no erase" % sector)
        super()._erase(sector)


class BlockDevice:
    """MicroPython's extended block protocol over a FlashSim, for a file system; one block is one sector. After
    `flash = None` everything fails."""

    def __init__(self, flash):
        self.flash = flash

    def readblocks(self, block, buffer, offset=0):
        """Fill `buffer`."""
        if self.flash is None:
            return -5
        buffer[:] = memoryview(self.flash.sectors[block])[offset : offset + len(buffer)]
        return 0

    def writeblocks(self, block, data, offset=0):
        """Program."""
        if self.flash is None:
            return -5
        self.flash.program(block * 4096 + offset, data)
        return 0

    def ioctl(self, operation, argument):
        """Number and size of the blocks, and erase."""
        if operation == 4:
            return self.flash.sector_count
        if operation == 5:
            return 4096
        if self.flash is None:
            return -5
        if operation == 6:
            self.flash.erase(argument)
        return 0
