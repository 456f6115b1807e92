"""The journal's sectors: which is free, which holds what, and nothing believed that was not read back.

A sector is free, or belongs to the raw stream (records as they come) or to the sealed stream (batches), or is bad.
Streams are lists of sectors, oldest first. A free sector is always erased, and seen to be blank, between being taken
and being used: a cut may have left it half erased with a header that still looks whole. The free sector that was erased
least often is taken next (each header has that number; of equal ones the next by address), so that all wear alike even
after weeks in which most of them held batches. A sector that fails an erase or two programs is bad until the next
start: what it holds is still read, but nothing is written to it again.

Every program is read back and compared (by CRC, in the same buffer), unless the device says that it does so
itself (`flash.verified`): a NOR chip that drops or weakens a write gives no error.
"""

import struct
from array import array
from binascii import crc32

from parkgate.errors import FlashError

from .format import BLANK, HEAD, HEAD_BYTES, HEADER_BYTES, RAW, SEALED, pack_header, record_seed
from .loaded import READ_TRIES, Loaded

FAULTS_MAX = 2  # failed programs after which a sector is given up
BEYOND = 1 << 62  # behind every position and seq


class Tail:
    """Where a stream is being written: the next record goes to `offset` of `sector` (−1 when no sector is open)."""

    def __init__(self):
        self.close()

    def close(self):
        """Nothing more is written to the sector."""
        self.sector = -1
        self.offset = self.seed = self.faults = 0


class Sectors(Loaded):
    """All sectors of one flash device. `flash` keeps the contract of SPEC 9.12."""

    doubted = None  # bits of the sectors in which there was something at the start that was no header
    forgiven = False

    def __init__(self, flash):
        super().__init__(flash)
        self.verified = getattr(flash, "verified", False)
        self.wear = bytearray(self.count)  # erases of each sector, less `wear_base`; 255 is that or more
        self.wear_base = 0
        self.clear()

    def clear(self):
        """Forget every sector; nothing on flash changes."""
        self.raw = self._no_sectors()
        self.sealed = self._no_sectors()
        # By stream; none is number 0.
        self.tails: "tuple[Tail, Tail, Tail]" = (None, Tail(), Tail())  # pyright: ignore[reportAttributeAccessIssue]
        self.spares = self._no_sectors()
        self.used = bytearray((self.count + 7) // 8)
        self.bad = bytearray((self.count + 7) // 8)
        if self.doubted:
            self.doubted = None
        self.free = self.count
        self.faults = ()  # (sector, operation) given up and not yet told
        self.cursor = 0
        self.loaded = -1
        self.shape = 0  # changes whenever a list of sectors does

    def abandon(self):
        """Free every sector but the newest raw one: what the others hold belongs to an epoch that is over."""
        self.release_oldest(SEALED, len(self.sealed))
        self.release_oldest(RAW, len(self.raw) - 1)
        self.tails[SEALED].close()
        self.doubted = None

    def writable(self) -> int:
        """Sectors that are not bad, as far as is known."""
        return self.count - sum(self.marked(self.bad, sector) for sector in range(self.count))

    def resume(self, stream: int, sector: int, behind: int):
        """Go on writing to `sector`, which is loaded and has its last true record before `behind`.

        Whatever is not blank is left alone, and so is the whole length that the head of a torn record claims: else
        the first bytes of the next record might happen to be those it lacks, and make it true after all."""
        if self.marked(self.bad, sector):
            return
        tail = self.tails[stream]
        tail.sector = sector
        tail.seed = self.seed
        tail.faults = 0
        buffer, epoch = self.buffer, self.top.epoch
        used = self.use_end
        tail.offset = max(used, behind)
        for offset in range(behind, used, self.unit):
            if buffer[offset + 4] == epoch[0] and buffer[offset + 5] == epoch[1]:
                claimed = offset + HEAD_BYTES + buffer[offset + 8] + (buffer[offset + 9] << 8)
                tail.offset = max(tail.offset, min(self._aligned(claimed), self.size))

    def _no_sectors(self):
        return array("B" if self.count <= 256 else "H")

    def stream(self, stream: int):
        """The list of sectors of RAW or SEALED, oldest first."""
        return self.raw if stream == RAW else self.sealed

    def mark(self, bits, sector: int, on: bool):
        """Set or clear the bit of `sector` in `bits`."""
        if on:
            bits[sector >> 3] |= 1 << (sector & 7)
        else:
            bits[sector >> 3] &= ~(1 << (sector & 7)) & 0xFF

    def marked(self, bits, sector: int) -> int:
        """Whether the bit of `sector` is set in `bits`."""
        return bits[sector >> 3] >> (sector & 7) & 1

    # Erasing and taking.

    def is_free(self, sector: int) -> bool:
        """Whether `sector` belongs to no stream and is not bad."""
        return not (self.marked(self.used, sector) or self.marked(self.bad, sector))

    def add(self, stream: int, sector: int):
        """`sector` is the newest of a stream."""
        self.stream(stream).append(sector)
        if self.is_free(sector):
            self.free -= 1
        self.mark(self.used, sector, True)
        self.shape += 1

    def release(self, stream: int, index: int) -> int:
        """Take the sector at `index` out of its stream; it is free now."""
        sectors = self.stream(stream)
        sector = sectors[index]
        sectors[index : index + 1] = self._no_sectors()
        self.mark(self.used, sector, False)
        if self.is_free(sector):
            self.free += 1
        if self.tails[stream].sector == sector:
            self.tails[stream].close()
        self.shape += 1
        return sector

    def release_oldest(self, stream: int, count: int):
        """Take the `count` oldest sectors out of a stream; they are free now."""
        sectors = self.stream(stream)
        for index in range(count):
            self.mark(self.used, sectors[index], False)
            if self.is_free(sectors[index]):
                self.free += 1
        sectors[:count] = self._no_sectors()
        self.shape += 1

    def give_up(self, sector: int, operation: int):
        """Write nothing more to `sector` until the next start. `operation`: 0 read, 1 program, 2 erase."""
        if self.marked(self.bad, sector):
            return
        if self.is_free(sector):
            self.free -= 1
        self.mark(self.bad, sector, True)
        if len(self.faults) < 8:
            self.faults += ((sector, operation),)
        for tail in self.tails[RAW:]:
            if tail.sector == sector:
                tail.close()

    def forgive(self) -> bool:
        """Take all sectors that were given up for good again: where a file system refuses a write, no sector is bad.
        Once only, until a sector has been begun; False then, and on raw flash."""
        if not self.verified or self.forgiven:
            return False
        self.forgiven = True
        for sector in range(self.count):
            if self.marked(self.bad, sector):
                self.mark(self.bad, sector, False)
                self.free += self.is_free(sector)
        return True

    def erase_next(self) -> bool:
        """Erase the next free sector and keep it in hand; False when there is none or it failed. Raises FlashError
        when what waited in a cache is gone: that is no fault of the sector."""
        sector = self.next_free()
        if sector < 0:
            return False
        self.cursor = sector + 1
        if self.doubted and self.marked(self.doubted, sector):
            # Read wrongly at the start? Then it may hold what is missed: left alone, the next start knows it again.
            self.mark(self.doubted, sector, False)
            if self.read_header(sector):
                self.give_up(sector, 0)
                return False
        if not self._erase(sector):
            self.give_up(sector, 2)
            return False
        self.spares.append(sector)
        return True

    def let_go(self):
        """Keep one sector fewer in hand; it is erased anew before it is used."""
        self.spares[-1:] = self._no_sectors()

    def next_free(self) -> int:
        """The free sector, not in hand, that was erased least often; −1 when there is none."""
        best, least = -1, 256
        for i in range(self.count):
            sector = (self.cursor + i) % self.count
            if self.wear[sector] < least and self.is_free(sector) and not self._is_spare(sector):
                best, least = sector, self.wear[sector]
        return best

    def _count_wear(self, sector):
        if self.wear[sector] == 255:
            least = min(self.wear)
            self.wear_base += least
            for i in range(self.count):
                self.wear[i] -= least
        if self.wear[sector] < 255:
            self.wear[sector] += 1

    def _is_spare(self, sector):
        return any(spare == sector for spare in self.spares)

    def erase_begun(self, sector: int):
        """Erase a free sector that has a torn header in it and nothing else. It is not taken."""
        if self._erase(sector):
            if self.doubted:
                self.mark(self.doubted, sector, False)
        else:
            self.give_up(sector, 2)

    def _erase(self, sector):
        if self.loaded == sector:
            self.loaded = -1
        self.flash.sync()  # where writes wait in a cache, none may be overtaken by an erase
        try:
            self._count_wear(sector)
            self.flash.erase(sector)
        except FlashError:
            return False
        return self.verified or self._is_blank(sector)

    def _is_blank(self, sector):
        view = self.view[:HEADER_BYTES]
        address = sector * self.size
        for offset in range(0, self.size, HEADER_BYTES):
            for _ in range(READ_TRIES):
                if self.read_bytes(address + offset, view) and view == BLANK:
                    break
            else:
                return False
        return True

    def open(self, stream: int, inside: int, reason: int, epoch: bytes, ledger) -> bool:
        """Begin a new sector of `stream`: its header gets `ledger` with the next serial. Erases one where none is in
        hand. False when no sector can be used."""
        while True:
            while not len(self.spares):
                if self.next_free() < 0:
                    return False
                self.erase_next()
            sector = self.spares[0]
            self.spares[0:1] = self._no_sectors()
            ledger.serial += 1
            pack_header(self.buffer, sector, self.wear_base + self.wear[sector], stream, inside, reason, epoch, ledger)
            if self._program(sector * self.size, HEADER_BYTES):
                break
            self.give_up(sector, 1)
        tail = self.tails[stream]
        tail.sector = sector
        tail.offset = self.first
        tail.faults = 0
        tail.seed = record_seed(epoch, ledger.serial, sector)
        self.add(stream, sector)
        if self.forgiven:
            self.forgiven = False
        return True

    # Programming.

    def _program(self, address, length):
        """Program the first `length` bytes of the page buffer, blank up to the program unit, and read them back."""
        unit = self.flash.program_size
        end = (length + unit - 1) // unit * unit
        view = self.view
        if end > length:
            view[length:end] = b"\xff" * (end - length)
        data = view[:end]
        crc = crc32(data)
        if self.loaded == address // self.size:
            self.loaded = -1
        try:
            self.flash.program(address, data)
            if self.verified:
                return True
            self.flash.read(address, data)
            return crc32(data) == crc or self._reads_later(address, data, crc)
        except FlashError:
            return False

    def _reads_later(self, address, data, crc):
        for _ in range(READ_TRIES - 1):
            self.flash.read(address, data)
            if crc32(data) == crc:
                self.flash.program(address, data)  # it has read wrong before: no cell of it may be left weak
                return True
        return False

    def space_for(self, length: int) -> int:
        """Bytes of flash that a record of `length` bytes behind its head takes."""
        return self._aligned(HEAD_BYTES + length)

    def room(self, stream: int) -> int:
        """Bytes left in the open sector of a stream."""
        tail = self.tails[stream]
        return self.size - tail.offset if tail.sector >= 0 else 0

    def write(self, stream: int, tag: bytes, kind: int, count: int, boot: int, a: int, b: int, pieces) -> bool:
        """Program one record at the tail of `stream`; `pieces` are what stands behind its head. True when it stands
        there as it should; else it does not count and the tail is past it, or its sector has been given up."""
        tail = self.tails[stream]
        length = 0
        for piece in pieces:
            length += len(piece)
        page, view = self.buffer, self.view
        low = 0xFFFF  # struct would not say that a number is too large
        struct.pack_into(HEAD, page, 4, tag[0] | tag[1] << 8, kind, count, length, boot & low, a & low, b & low)
        crc = crc32(view[4:HEAD_BYTES], tail.seed)
        for piece in pieces:
            crc = crc32(piece, crc)
        struct.pack_into("<I", page, 0, crc)
        sector = tail.sector
        address = sector * self.size + tail.offset
        tail.offset += self.space_for(length)
        filled = HEAD_BYTES
        good = True
        for piece in pieces:
            end = filled + len(piece)
            if end < len(view):  # nearly always, and much quicker
                view[filled:end] = piece
                filled = end
                continue
            piece = memoryview(piece)
            at = 0
            while at < len(piece):
                step = min(len(piece) - at, len(view) - filled)
                view[filled : filled + step] = piece[at : at + step]
                at += step
                filled += step
                if filled == len(view):
                    good = good and self._program(address, filled)
                    address += filled
                    filled = 0
        if filled and good:
            good = self._program(address, filled)
        if not good:
            tail.faults += 1
            if tail.faults >= FAULTS_MAX:
                self.give_up(sector, 1)
        return good

    # Looking up.

    def begin(self, stream: int, index: int) -> int:
        """Position or seq with which the sector at `index` of a stream begins, by its header; where that cannot be
        read any more, the one of the next sector. `header` is the header read."""
        sectors = self.stream(stream)
        while index < len(sectors):
            if self.read_header(sectors[index]):
                return self.header.position if stream == RAW else self.header.next_seq
            index += 1
        return BEYOND

    def holder(self, stream: int, number: int) -> int:
        """Index of the last sector of a stream that begins at or before `number`; 0 when there is none."""
        low, high = 0, len(self.stream(stream)) - 1
        while low < high:
            middle = (low + high + 1) // 2
            if self.begin(stream, middle) <= number:
                low = middle
            else:
                high = middle - 1
        return low
