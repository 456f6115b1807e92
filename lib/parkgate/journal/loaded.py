"""The sector that is loaded: its records, found by their CRC, and what is no record.

No read is believed at once when something would be lost by it: a header that does not check is read again, and so are
records by those who miss one. A record that one flipped bit has damaged is read as it was, if it is the journal's own
(GAP, BOOT, STATE) or a piece of a batch, whose SHA-256 decides. A SAMPLE or EVENT so found is not given to anybody.
Bytes that a BOOT has declared to be nothing (SPEC 9.5) are passed over, whatever they read like.
"""

import struct
from binascii import crc32

from parkgate.errors import FlashError, JournalError

from .format import (
    BLANK,
    BOOT,
    COMMIT,
    EVENT,
    HEAD_BYTES,
    HEADER_BYTES,
    RAW,
    SAMPLE,
    SEALED,
    STATE,
    VOID_EXTRA,
    Header,
    header_ledger,
    header_rest,
    mend_record,
    record_seed,
)

READ_TRIES = 3
SECTORS_MIN = 8

_KINDS = {RAW: range(1, STATE + 1), SEALED: range(16, COMMIT + 1)}


class Record:
    """A record found in the sector that is loaded; `a` and `b` are the low 16 bits the head has."""

    def __init__(self):
        self.offset = self.kind = self.count = self.length = self.boot = self.a = self.b = 0


class Loaded:
    """Reading of one flash device. `flash` keeps the contract of SPEC 9.12."""

    searches = 1 << 30  # for the flipped bit of a header that may still be made

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
        self.top = Header()  # of the loaded sector
        self.loaded = -1
        self.seed = 0
        self.use_end = page  # of the loaded sector: behind its last byte that is not blank, in whole program units
        self.hurt = self.void = ()  # of the loaded sector: offsets of damaged samples; (from, to) of what is nothing
        self.give_hurt = False  # whether `find` gives damaged samples: at a start, to count them

    def read_bytes(self, address: int, buffer) -> bool:
        """Fill `buffer` from `address` on; False when the device fails three times in a row."""
        for _ in range(READ_TRIES):
            try:
                self.flash.read(address, buffer)
                return True
            except FlashError:
                pass
        return False

    def read_header(self, sector: int):
        """True when `sector` has a header of ours, which is then in `header`; None when it cannot be read at all. What
        is not blank and does not check is read until two readings in a row are the same, thrice at most."""
        view = self.view[:HEADER_BYTES]
        before = -1
        for _ in range(READ_TRIES):
            if not self.read_bytes(sector * self.size, view):
                return None
            crc = crc32(view)
            if crc == before or view == BLANK:
                break
            if self.header.unpack(self.buffer, sector, self.searches > 0):
                return True
            self.searches -= 1
            before = crc
        return False

    def begun_inside(self) -> bool:
        """Whether the sector whose header `read_header` has just read was begun inside a batch."""
        return header_rest(self.buffer)[0] == 1

    def ledger_read(self):
        """The ledger in the header that `read_header` has just read."""
        return header_ledger(self.buffer)

    def load(self, sector: int) -> bool:
        """Bring the records of `sector` into the buffer, its header into `top`; False when it cannot be read."""
        if self.loaded == sector:
            return True
        self.loaded = -1
        self.hurt = self.void = ()
        for _ in range(READ_TRIES):
            if not self.read_bytes(sector * self.size, self.buffer):
                return False
            if self.top.unpack(self.buffer, sector):
                if self.top.epoch == self.header.epoch:  # one copy of it is enough
                    self.top.epoch = self.header.epoch
                self.seed = record_seed(self.top.epoch, self.top.serial, sector)
                self.loaded = sector
                self.use_end = self.end_of_use()
                if self.top.stream == RAW:
                    self._find_void()
                return True
        return False

    def _find_void(self):
        """Look for what starts have declared to be nothing, in the loaded sector. The newest start is right: a BOOT
        that lies in what a later one has declared so says nothing."""
        buffer, epoch = self.buffer, self.top.epoch
        offset = self.use_end - self.unit
        while offset >= self.first:
            differs = buffer[offset + 4] ^ epoch[0] | buffer[offset + 5] ^ epoch[1] | buffer[offset + 6] ^ BOOT
            if differs & differs - 1 == 0 and (self._is_true(offset) or self._mend(offset)):
                length = buffer[offset + 8] + (buffer[offset + 9] << 8)
                if buffer[offset + 6] == BOOT and length & 15 == VOID_EXTRA:
                    at = offset + HEAD_BYTES + length
                    since = (buffer[at - 2] + (buffer[at - 1] << 8)) * self.unit
                    if self.first <= since < offset:
                        self.void += ((since, offset),)
                        offset = since
            offset -= self.unit

    def past_void(self, offset: int) -> int:
        """`offset`, or behind the declared nothing that it lies in."""
        for since, until in self.void:
            if since <= offset < until:
                return until
        return offset

    def _is_true(self, offset) -> bool:
        """Whether a record of the loaded sector's stream stands at `offset`, whole and true."""
        buffer = self.buffer
        end = offset + HEAD_BYTES + buffer[offset + 8] + (buffer[offset + 9] << 8)
        return (
            buffer[offset + 4] == self.top.epoch[0]
            and buffer[offset + 5] == self.top.epoch[1]
            and buffer[offset + 6] in _KINDS[self.top.stream]
            and end <= self.size
            and struct.unpack_from("<I", buffer, offset)[0] == crc32(self.whole[offset + 4 : end], self.seed)
        )

    def _mend(self, offset) -> bool:
        """Turn one flipped bit of the record at `offset` back, in the buffer. False when that is not what is wrong
        with it, and for a damaged SAMPLE or EVENT unless they are asked for."""
        buffer, epoch = self.buffer, self.top.epoch
        if offset in self.hurt:
            return False
        differs = buffer[offset + 4] ^ epoch[0] | (buffer[offset + 5] ^ epoch[1]) << 8
        if differs & differs - 1 or not mend_record(self.whole, offset, self.seed) or not self._is_true(offset):
            return False
        if buffer[offset + 6] in (SAMPLE, EVENT):
            self.hurt += (offset,)
            if not self.give_hurt:
                buffer[offset] ^= 0xFF
                return False
        return True

    def find(self, offset: int, record: Record) -> bool:
        """Look for the first whole and true record at or behind `offset` of the loaded sector; True when `record`
        now tells of it."""
        buffer, whole = self.buffer, self.whole
        tag0, tag1 = self.top.epoch[0], self.top.epoch[1]
        kinds = _KINDS[self.top.stream]
        unit, size = self.unit, self.size
        while offset < self.use_end:
            if self.void:
                offset = self.past_void(offset)
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
            if buffer[offset + 6] == 0xFF or not self._mend(offset):
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
        """Offset behind the last byte of the buffer that is not blank, in whole program units."""
        end = self.size
        blank = memoryview(BLANK)
        for step in (HEADER_BYTES, min(self.unit, HEADER_BYTES)):
            piece = blank[:step]
            while end > self.first and self.whole[end - step : end] == piece:
                end -= step
        return self._aligned(end)

    def _aligned(self, offset):
        return (offset + self.unit - 1) // self.unit * self.unit
