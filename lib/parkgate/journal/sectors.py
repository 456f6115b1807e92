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

from parkgate.errors import FlashError, JournalError, JournalFull

from .format import (
    BLANK,
    COMMIT,
    HEAD,
    HEAD_BYTES,
    HEADER_BYTES,
    RAW,
    SEALED,
    STATE,
    Header,
    Top,
    header_ledger,
    pack_header,
    record_seed,
)

READ_TRIES = 3
FAULTS_MAX = 2  # failed programs after which a sector is given up
SECTORS_MIN = 8
BEYOND = 1 << 62  # behind every position and seq

_KINDS = {RAW: range(1, STATE + 1), SEALED: range(16, COMMIT + 1)}


class Tail:
    """Where a stream is being written: the next record goes to `offset` of `sector` (−1 when no sector is open)."""

    def __init__(self):
        self.close()

    def close(self):
        """Nothing more is written to the sector."""
        self.sector = -1
        self.offset = self.seed = self.faults = 0


class Record:
    """A record found in the sector that is loaded; `a` and `b` are the low 16 bits the head has."""

    def __init__(self):
        self.offset = self.kind = self.count = self.length = self.boot = self.a = self.b = 0


class Sectors:
    """All sectors of one flash device. `flash` is described in the contract of the storage seam (DESIGN)."""

    def __init__(self, flash):
        self.flash = flash
        self.size = flash.sector_size
        self.count = flash.sector_count
        unit = flash.program_size
        self.unit = max(unit, 16)
        page = max(unit, HEADER_BYTES)
        if self.count < SECTORS_MIN or self.size < 8 * HEADER_BYTES or self.size % page or page % self.unit:
            raise JournalError("a journal cannot use %d sectors of %d bytes by %d" % (self.count, self.size, unit))
        if (self.size - page) // self.unit * 255 >= 1 << 16:
            raise JournalError("sectors of %d bytes hold more records than their heads can count" % self.size)
        self.first = page  # offset of the first record
        self.buffer = bytearray(self.size)  # the loaded sector from `first` on, and before that a page for all else
        self.whole = memoryview(self.buffer)
        self.view = self.whole[:page]
        self.header = Header()  # the one read last
        self.top = Top()  # of the loaded sector
        self.verified = getattr(flash, "verified", False)
        self.wear = bytearray(self.count)  # erases of each sector, less `wear_base`; 255 is that or more
        self.wear_base = 0
        self.clear()

    def clear(self):
        """Forget every sector; nothing on flash changes."""
        self.raw = self._no_sectors()
        self.sealed = self._no_sectors()
        self.tails = (None, Tail(), Tail())  # by stream
        self.spares = self._no_sectors()
        self.used = bytearray((self.count + 7) // 8)
        self.bad = bytearray((self.count + 7) // 8)
        self.free = self.count
        self.faults = ()  # (sector, operation) given up and not yet told
        self.cursor = 0
        self.loaded = -1
        self.shape = 0  # changes whenever a list of sectors does

    def abandon(self):
        """Free every sector that is not bad: what they hold belongs to an epoch that is over."""
        for stream in (RAW, SEALED):
            while len(self.stream(stream)):
                self.release(stream, 0)

    def resume(self, stream: int, sector: int, behind: int):
        """Go on writing to `sector`, which is loaded and has its last true record before `behind`.

        Whatever is not blank is left alone, and so is the whole length that the head of a torn record claims: else
        the first bytes of the next record might happen to be those it lacks, and make it true after all."""
        if self._marked(self.bad, sector):
            return
        tail = self.tails[stream]
        tail.sector = sector
        tail.seed = self.seed
        tail.faults = 0
        buffer, epoch = self.buffer, self.top.epoch
        used = self.end_of_use()
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

    def _mark(self, bits, sector, on):
        if on:
            bits[sector >> 3] |= 1 << (sector & 7)
        else:
            bits[sector >> 3] &= ~(1 << (sector & 7)) & 0xFF

    def _marked(self, bits, sector):
        return bits[sector >> 3] >> (sector & 7) & 1

    # Reading.

    def _read(self, address, buffer) -> bool:
        for _ in range(READ_TRIES):
            try:
                self.flash.read(address, buffer)
                return True
            except FlashError:
                pass
        return False

    def read_header(self, sector: int):
        """True when `sector` has a header of ours, which is then in `header`; None when it cannot be read at all."""
        if not self._read(sector * self.size, self.view[:HEADER_BYTES]):
            return None
        return self.header.unpack(self.buffer, sector)

    def ledger_read(self):
        """The ledger in the header that `read_header` has just read."""
        return header_ledger(self.buffer)

    def load(self, sector: int) -> bool:
        """Bring the records of `sector` into the buffer, its header into `top`; False when it cannot be read."""
        if self.loaded == sector:
            return True
        self.loaded = -1
        if not self._read(sector * self.size, self.buffer) or not self.top.unpack(
            self.buffer, sector, self.header.epoch
        ):
            return False
        self.seed = record_seed(self.top.epoch, self.top.serial, sector)
        self.loaded = sector
        return True

    def find(self, offset: int, record: Record) -> bool:
        """Look for the first whole and true record at or behind `offset` of the loaded sector; True when `record`
        now tells of it."""
        buffer, whole = self.buffer, self.whole
        tag0, tag1 = self.top.epoch[0], self.top.epoch[1]
        kinds = _KINDS[self.top.stream]
        unit, size = self.unit, self.size
        while offset <= size - HEAD_BYTES:
            if buffer[offset + 4] == tag0 and buffer[offset + 5] == tag1 and buffer[offset + 6] in kinds:
                end = offset + HEAD_BYTES + buffer[offset + 8] + (buffer[offset + 9] << 8)
                crc = struct.unpack_from("<I", buffer, offset)[0]
                if end <= size and crc == crc32(whole[offset + 4 : end], self.seed):
                    record.offset = offset
                    record.kind = buffer[offset + 6]
                    record.count = buffer[offset + 7]
                    record.length = end - offset - HEAD_BYTES
                    record.boot = buffer[offset + 10] | buffer[offset + 11] << 8
                    record.a = buffer[offset + 12] | buffer[offset + 13] << 8
                    record.b = buffer[offset + 14] | buffer[offset + 15] << 8
                    return True
            offset += unit
        return False

    def behind(self, record: Record) -> int:
        """Offset at which the next record can begin."""
        return self._aligned(record.offset + HEAD_BYTES + record.length)

    def content(self, record: Record):
        """View of the bytes behind the record's head, good until another sector is loaded."""
        at = record.offset + HEAD_BYTES
        return self.whole[at : at + record.length]

    def end_of_use(self) -> int:
        """Offset behind the last byte of the loaded sector that is not blank, rounded up to the program unit."""
        end = self.size
        step = min(self.unit, HEADER_BYTES)
        blank = memoryview(BLANK)[:step]
        while end > self.first and self.whole[end - step : end] == blank:
            end -= step
        return self._aligned(end)

    def _aligned(self, offset):
        return (offset + self.unit - 1) // self.unit * self.unit

    # Erasing and taking.

    def is_free(self, sector: int) -> bool:
        """Whether `sector` belongs to no stream and is not bad."""
        return not (self._marked(self.used, sector) or self._marked(self.bad, sector))

    def add(self, stream: int, sector: int):
        """`sector` is the newest of a stream."""
        self.stream(stream).append(sector)
        if self.is_free(sector):
            self.free -= 1
        self._mark(self.used, sector, True)
        self.shape += 1

    def release(self, stream: int, index: int) -> int:
        """Take the sector at `index` out of its stream; it is free now."""
        sectors = self.stream(stream)
        sector = sectors[index]
        sectors[index : index + 1] = self._no_sectors()
        self._mark(self.used, sector, False)
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
            self._mark(self.used, sectors[index], False)
            if self.is_free(sectors[index]):
                self.free += 1
        sectors[:count] = self._no_sectors()
        self.shape += 1

    def give_up(self, sector: int, operation: int):
        """Write nothing more to `sector` until the next start. `operation`: 0 read, 1 program, 2 erase."""
        if self._marked(self.bad, sector):
            return
        if self.is_free(sector):
            self.free -= 1
        self._mark(self.bad, sector, True)
        if len(self.faults) < 8:
            self.faults += ((sector, operation),)
        for tail in self.tails[RAW:]:
            if tail.sector == sector:
                tail.close()

    def erase_next(self) -> bool:
        """Erase the next free sector and keep it in hand; False when there is none or it failed."""
        sector = self.next_free()
        if sector < 0:
            return False
        self.cursor = sector + 1
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

    def _erase(self, sector):
        if self.loaded == sector:
            self.loaded = -1
        try:
            self.flash.sync()  # where writes wait in a cache, none may be overtaken by an erase
            self._count_wear(sector)
            self.flash.erase(sector)
        except FlashError:
            return False
        return self.verified or self._is_blank(sector)

    def _is_blank(self, sector):
        view = self.view[:HEADER_BYTES]
        address = sector * self.size
        for offset in range(0, self.size, HEADER_BYTES):
            if not self._read(address + offset, view) or view != BLANK:
                return False
        return True

    def open(self, stream: int, inside: int, reason: int, epoch: bytes, ledger):
        """Begin a new sector of `stream`: its header gets `ledger` with the next serial. Erases one where none is in
        hand. Raises JournalFull when no sector can be used."""
        while True:
            while not len(self.spares):
                if self.next_free() < 0:
                    raise JournalFull("no sector is left to write to")
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
        except FlashError:
            return False
        return crc32(data) == crc

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

    # Finding out at the start.

    def survey(self):
        """Read all headers and sort the sectors of the newest epoch into their streams. Gives (sector of the newest
        header or −1, sectors of another epoch, sectors with something else in them, sectors that cannot be read)."""
        self.clear()
        newest, newest_serial, epoch = -1, -1, b""
        foreign = strange = unreadable = mine = known = total = 0
        self.wear_base = -1
        # 2 × serial + stream of every sector, 0 for none of ours; the sector buffer is not needed before the end.
        fits = self.first + self.count * 8 <= self.size
        keys = self.whole[self.first :] if fits else memoryview(bytearray(self.count * 8))
        for sector in range(self.count):
            ours = self.read_header(sector)
            header = self.header
            key = 0
            if ours is None:
                unreadable += 1
                self.give_up(sector, 0)
            elif not ours:
                strange += self.view[:HEADER_BYTES] != BLANK
            elif header.epoch != epoch and header.serial < newest_serial:
                foreign += 1
            else:
                if header.epoch != epoch:
                    epoch = header.epoch
                    foreign += mine
                    mine = 0
                    for i in range(sector * 8):
                        keys[i] = 0
                mine += 1
                key = 2 * header.serial + (header.stream == SEALED)
                if header.serial > newest_serial:
                    newest, newest_serial = sector, header.serial
            struct.pack_into("<Q", keys, sector * 8, key)
            self.wear[sector] = 255
            if ours:
                if self.wear_base < 0:
                    self.wear_base = max(0, header.wear - 100)
                self.wear[sector] = max(0, min(header.wear - self.wear_base, 254))
                known += 1
                total += self.wear[sector]
        # Of a sector without a header nothing is known: it counts as the mean.
        self.wear_base = max(0, self.wear_base)
        for sector in range(self.count):
            if self.wear[sector] == 255:
                self.wear[sector] = total // known if known else 0
        for sector in sorted(range(self.count), key=lambda sector: struct.unpack_from("<Q", keys, sector * 8)):
            (key,) = struct.unpack_from("<Q", keys, sector * 8)
            if key:
                self.add(SEALED if key & 1 else RAW, sector)
        if newest >= 0:
            self.cursor = newest + 1
        return newest, foreign, strange, unreadable

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
