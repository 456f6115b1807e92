"""Batches in the journal: stored whole or not at all, held until their receipt, checked at every reading.

A batch is written as PART records, one in each sector it touches, and a COMMIT record behind them. The COMMIT has the
ledger in which the batch exists, so that one program decides. All of it stays as it is until the sector is freed: a
batch that is sent twice is the same bytes twice.

Receipts come in any order (the newest batch is sent first, the backlog behind it). What is settled is a prefix of all
seqs and at most four ranges above it; an acknowledgement for which there is no room is refused, and its batch is simply
sent again later: the oldest can always be noted, so the prefix always moves on.
"""

import struct
from hashlib import sha256

from parkgate.errors import FlashError, JournalError, JournalFull

from .format import (
    COMMIT,
    COMMIT_BYTES,
    COMMIT_FIELDS,
    HEAD_BYTES,
    META_MAX,
    PART,
    RAW,
    SAMPLE,
    SEALED,
    STATE,
    TOLD_MAX,
    Gap,
)
from .loaded import READ_TRIES
from .loaded import Record as Found
from .space import CORRUPT
from .unsealed import Cursor, Unsealed

BATCH_MAX = 16384
PIECE_MIN = 256  # a batch is not begun, or gone on with, in less room


class Held:
    """The seqs of all batches not acknowledged, oldest first, as they were at one moment. A sequence without a list."""

    def __init__(self, ledger):
        self._spans = []
        first = ledger.low
        for entry in ledger.ranges:
            self._spans.append((first, entry[0]))
            first = entry[1]
        if first < ledger.next_seq:
            self._spans.append((first, ledger.next_seq))

    def __len__(self):
        return sum(end - first for first, end in self._spans)

    def __bool__(self):
        return bool(self._spans)

    def __contains__(self, seq):
        return any(first <= seq < end for first, end in self._spans)

    def __iter__(self):
        for first, end in self._spans:
            for seq in range(first, end):
                yield seq

    def __getitem__(self, index):
        if index < 0:
            index += len(self)
        for first, end in self._spans:
            if 0 <= index < end - first:
                return first + index
            index -= end - first
        raise IndexError("no such batch is held")


class Batches(Unsealed):
    """Writing, reading and settling batches."""

    _wanted = 0  # sectors to have in hand for the next batch
    _doubted = -1  # the batch that could not be read at the last call
    sealed_bytes = 0  # written since the start

    @property
    def next_seq(self) -> int:
        """Number of the next batch."""
        return self.ledger.next_seq

    @property
    def head_hash(self) -> bytes:
        """SHA-256 of the newest batch, zeros before the first."""
        return self.ledger.head

    @property
    def receipt_seq(self):
        """Highest seq acknowledged in this epoch, None before the first."""
        return self.ledger.receipt - 1 if self.ledger.receipt else None

    @property
    def oldest_on_flash(self) -> int:
        """No batch before this seq can be read any more; those from it on, settled or not, may be."""
        sectors = self.sectors
        return sectors.begin(SEALED, 0) if len(sectors.sealed) else self.ledger.next_seq

    def commit_batch(self, seq: int, sealed, digest: bytes, position: int, readings: int, meta: bytes = b""):
        """Store the sealed batch (bytes, or parts of it in a list; up to 16 KiB) and free the raw records up to and
        with `position`, the last that `unsealed` gave for it. `digest` is the SHA-256 of the whole, `readings` what is
        in it, `meta` up to 64 bytes that a gap record would tell. On return the batch may be sent. Readings of those
        records that are not in the batch count as dropped.

        Raises JournalError for a batch that does not fit the state, JournalFull when its records were dropped
        meanwhile or there is no room; then nothing has changed, and `next_seq` tells so."""
        parts = (sealed,) if isinstance(sealed, (bytes, bytearray, memoryview)) else tuple(sealed)
        length = self._check_batch(seq, parts, digest, position, meta)
        taken = self._taken
        lost = self._sampled_after(position) - self.ledger.consumed_sampled - readings
        if lost < 0:
            raise JournalError("%d readings more than were stored" % -lost)
        self._reserve(length)
        if self.ledger.consumed != taken:
            raise JournalFull("the records under this batch have been dropped")
        tight, self._tight = self._tight, True
        self._keep_raw = True  # from here on none of its records is dropped, whatever sector fails
        try:
            count = self._put_parts(seq, parts, length)
            told = min(self.told_back, TOLD_MAX)
            self._put_commit(seq, position, lost, (length, readings, count, len(meta), told, digest), meta)
        finally:
            self._tight = tight
            self._keep_raw = False
            self._sealing = -1
            self._inside = 0
        self._taken = -1
        self._wanted = self.told_back = 0
        self.sealed_bytes += length + 2 * PIECE_MIN
        # The witness: the same ledger in another sector, before anybody may see the batch. Where writes wait in a
        # cache, it must not overtake the batch it tells of.
        self.sync()
        self.room_for_state()
        self.put_state(STATE)
        self.sync()
        self.free_raw()
        self.tell_owed()

    def _check_batch(self, seq, parts, digest, position, meta):
        ledger = self.ledger
        if self.failed:
            raise JournalError("the journal must be recovered first")
        if seq != ledger.next_seq:
            raise JournalError("batch %d is not the next one, %d is" % (seq, ledger.next_seq))
        if self._taken != ledger.consumed:
            raise JournalFull("the records under this batch have been dropped or sealed")
        if not ledger.consumed <= position < ledger.position:
            raise JournalError("no raw record has position %d" % position)
        length = 0
        whole = sha256()
        for part in parts:
            length += len(part)
            whole.update(part)
        if not 0 < length <= BATCH_MAX or len(meta) > META_MAX:
            raise JournalError("a batch of %d bytes with %d of meta" % (length, len(meta)))
        if whole.digest() != digest:
            raise JournalError("the digest is not that of the batch")
        return length

    def sectors_for(self, byte_count: int) -> int:
        """Sectors that a batch of so many bytes may have to open."""
        return 2 + (byte_count + PIECE_MIN) // (self.sectors.size - self.sectors.first - PIECE_MIN)

    def _reserve(self, length):
        """Free what the batch needs before its first byte is written."""
        room = self.sectors.room(SEALED)
        if room >= length + 4 * PIECE_MIN and self.sectors.room(RAW) >= 2 * PIECE_MIN:
            return
        wanted = 1 + self.sectors_for(max(0, length - room))
        if wanted >= self.sectors.writable() and not self.sectors.forgive():
            raise JournalFull("a batch of %d bytes needs %d sectors more than can be written" % (length, wanted))
        full = False
        while self.sectors.free < wanted and not full:
            full = not self.free_one()
        self.tell_owed()
        if full or self.sectors.free < wanted - 1:
            raise JournalFull("a batch of %d bytes finds no room" % length)

    def _put_parts(self, seq, parts, length):
        """Write the batch in pieces, each a PART record that fits its sector; gives their number."""
        sectors = self.sectors
        count = at = index = 0
        while length:
            room = sectors.room(SEALED)
            if room < min(length, PIECE_MIN) + HEAD_BYTES:
                self._open(SEALED)
                room = sectors.room(SEALED)
            if self._sealing < 0:
                self._sealing = sectors.tails[SEALED].sector
                self._inside = 1
            piece = []
            left = min(length, room - HEAD_BYTES)
            length -= left
            while left:
                step = min(left, len(parts[index]) - at)
                piece.append(memoryview(parts[index])[at : at + step])
                at += step
                left -= step
                if at == len(parts[index]):
                    index += 1
                    at = 0
            self._put(SEALED, PART, count, seq, piece)
            count += 1
        return count

    def _put_commit(self, seq, position, lost, fields, meta):
        sectors = self.sectors
        _, readings, _, _, _, digest = fields
        for _ in self.put_tries():
            size = sectors.space_for(COMMIT_BYTES + self.ledger.size() + len(meta))
            if sectors.room(SEALED) < size:
                self._open(SEALED, size)
            fresh = self.ledger.copy()
            fresh.serial += 1
            fresh.consumed = position + 1
            fresh.consumed_sampled += lost + readings
            fresh.dropped += lost
            fresh.next_seq = seq + 1
            fresh.sealed += readings
            fresh.head = bytes(digest)
            body = bytearray(COMMIT_BYTES + fresh.size())
            struct.pack_into(COMMIT_FIELDS, body, 0, *fields)
            fresh.pack(body, COMMIT_BYTES)
            if sectors.write(SEALED, self.epoch, COMMIT, 0, fresh.boot, seq, seq >> 16, (body, meta)):
                self.ledger = fresh
                self._unsaved = False
                return
            self.flash_faults += 1
        self.failed = True
        raise FlashError("no place could be written to")

    def _sampled_after(self, position):
        """Readings sampled up to and with the raw record `position`."""
        cursor = Cursor()
        if not self._seek(cursor, position):
            return self.ledger.sampled
        count = cursor.found.count if cursor.found.kind == SAMPLE and cursor.position == position else 0
        return cursor.sampled + count

    # Reading and settling.

    def held(self):
        """Seqs of all batches that have no receipt, oldest first, as they are now (see Held)."""
        return Held(self.ledger)

    def read_batch(self, seq: int):
        """The bytes of batch `seq`, exactly as committed. None when it is settled and its sector used again; None too
        when it cannot be read, in three readings. If it cannot at the next call either, it is damaged: then it is
        dropped, counted, told in a gap record, and held no more."""
        self._check_seq(seq)
        batch = self._gather_again(seq)
        if batch is not None:
            self._doubted = -1
            return batch
        if not self.ledger.settled(seq):
            if self._doubted == seq:
                self._lose(seq)
            else:
                self._doubted = seq
        return None

    def batch_hash(self, seq: int):
        """SHA-256 of batch `seq`, None when it cannot be read."""
        self._check_seq(seq)
        commit = self.commit_of(seq)
        return None if commit is None else commit.digest

    def acknowledge(self, seq: int) -> bool:
        """The hub has batch `seq` for good. True when that is noted (or was before); False when there is no room to
        note it, so that it must be sent once more. Durable with the next ledger."""
        self._check_seq(seq)
        ledger = self.ledger
        if ledger.settled(seq):
            return True
        before, after = self._around(seq)
        if before < 0 or after < 0:
            self._lose(seq)  # several in a row are damaged: which of them was acknowledged cannot be told apart
            return True
        if not ledger.settle(seq, seq + 1, before, after):
            return False
        ledger.acked += after - before
        ledger.receipt = max(ledger.receipt, seq + 1)
        self._unsaved = True
        return True

    def _around(self, seq):
        commit = self.commit_of(seq)
        if commit is not None:
            return commit.before, commit.after
        return self.known(seq), self.known(seq + 1)

    def _check_seq(self, seq):
        if not 0 <= seq < self.ledger.next_seq:
            raise JournalError("there is no batch %d, %d is the next" % (seq, self.ledger.next_seq))

    def _gather_again(self, seq):
        for _ in range(READ_TRIES):
            batch = self._gather(seq)
            if batch is not None:
                return batch
            self.sectors.loaded = -1
        return None

    def _gather(self, seq):
        sectors = self.sectors
        commit = self.commit_of(seq)
        if commit is None:
            return None
        last = sectors.holder(SEALED, seq)
        first = last
        while first and sectors.begin(SEALED, first) >= seq:
            first -= 1
        batch = bytearray(commit.length)
        at = count = 0
        found = Found()
        for index in range(first, last + 1):
            offset = sectors.first
            while sectors.load(sectors.sealed[index]) and sectors.find(offset, found):
                offset = sectors.behind(found)
                if found.kind != PART or found.a | found.b << 16 != seq & 0xFFFFFFFF:
                    continue
                if found.count == 0:
                    at = count = 0  # what was before had been cut short
                if found.count == count and at + found.length <= commit.length:
                    batch[at : at + found.length] = sectors.content(found)
                    at += found.length
                    count += 1
        if count != commit.parts or at != commit.length or sha256(batch).digest() != commit.digest:
            return None
        return batch

    def owe_missing(self, half_erased: bool):
        """Drop what stood in sectors that are gone at the old end, as rule 3 of space.py leaves it when the power goes
        at that moment. Its gap record is owed. With `half_erased` the header of the oldest sector may still be whole,
        and what stood behind it gone."""
        sectors, ledger = self.sectors, self.ledger
        if ledger.low < ledger.next_seq:
            first = ledger.next_seq
            if len(sectors.sealed):
                first = min(sectors.begin(SEALED, 0), first)
                inside = sectors.begun_inside()  # its first pieces may have stood in the sector before
                if inside and ledger.low <= first < ledger.next_seq and self._gather_again(first) is None:
                    first += 1
                if half_erased and first <= ledger.low:
                    first, end = ledger.low, self._end_of(0) or 0
                    while first < end and not ledger.settled(first) and self._gather_again(first) is None:
                        first += 1
            self.owe(self.drop_before(first))
        if len(sectors.raw) and sectors.begin(RAW, 0) > ledger.consumed:
            self.owe(self.drop_raw(0))

    def _lose(self, seq):
        """Drop the damaged batch `seq`, and with it those beside it whose number of readings cannot be told apart."""
        gap = Gap(CORRUPT)
        self._make_room(RAW, self.state_size(len(gap.pack()) + META_MAX))
        if self.ledger.settled(seq):
            return
        first, end = seq, seq + 1
        before, after = self._around(seq)
        while before < 0:
            first -= 1
            before = self.known(first)
        while after < 0:
            end += 1
            after = self.known(end)
        for lost in range(first, end):
            self.owe_told(lost, self.commit_of(lost))
        ledger = self.ledger
        if not ledger.settle(first, end, before, after):
            return
        gap.first_seq, gap.last_seq, gap.batches, gap.readings = first, end - 1, end - first, after - before
        commit = self.commit_of(seq)
        if commit is not None:
            gap.first_meta = commit.meta
        ledger.dropped += gap.readings
        ledger.unreported += gap.readings
        self._unsaved = True
        self._tell(gap)
        self.tell_owed()
