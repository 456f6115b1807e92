"""How the journal finds room: what it writes a record to, what it frees, and what it drops when nothing is free.

Two rules keep this safe at every cut.

 1. A sector is freed only when a ledger *on flash* says that nothing in it is wanted: an acknowledgement or a drop is
    durable before the erase begins. So a half-erased sector never matters, whatever it reads like.
 2. One free sector is always left for the raw stream, so that a gap record finds a place before what it tells of is
    erased. Should even that fail (a cut in each of many starts in a row), the oldest sector is erased first and the
    loss is in the ledger of the header that follows; `unreported` then says that the gap record is still owed.

What is dropped is the oldest that is not acknowledged: the sealed batches of the oldest sealed sector, and raw records
only when no batch is left. How many readings that are is never guessed: all records and batches carry cumulative
counts, and the loss is the difference between two that can be read.
"""

import struct

from parkgate.errors import FlashError, JournalError, JournalFull

from .format import (
    COMMIT,
    COMMIT_BYTES,
    COMMIT_FIELDS,
    EVENT,
    GAP,
    GAP_BYTES,
    META_MAX,
    RAW,
    SAMPLE,
    SEALED,
    STATE,
    Gap,
    Ledger,
)
from .sectors import Record, Sectors

PUT_TRIES = 6
OVERFLOW, CORRUPT, FLASH_FAULT = 0, 1, 2  # indices into events.GAP_REASONS
FIRST_START, JOURNAL_LOST, FACTORY_RESET, RE_FLASH = 0, 1, 2, 3  # indices into events.EPOCH_REASONS


class Commit:
    """What stands in the COMMIT of a batch. `before` and `after` are readings in all batches before it and with it."""

    def __init__(self, content):
        self.length, self.readings, self.parts, meta_bytes, _, self.digest = struct.unpack_from(
            COMMIT_FIELDS, content, 0
        )
        ledger = Ledger()
        at = ledger.unpack(content, COMMIT_BYTES)
        self.meta = bytes(content[at : at + meta_bytes])
        self.ledger = ledger
        self.after = ledger.sealed
        self.before = ledger.sealed - self.readings


class Space:
    """The sectors, the ledger, and every way to write to them. The journal proper is built on it."""

    def __init__(self, flash, new_epoch, merge_meta=None, meta_of=None, spare_sectors: int = 2, erase_ms: int = 50):
        self.sectors = Sectors(flash)
        self.ledger = Ledger()
        self.new_epoch = new_epoch
        self.merge_meta = merge_meta
        self.meta_of = meta_of
        self.spare_sectors = spare_sectors
        self.erase_ms = erase_ms
        self.epoch = bytes(16)
        self.epoch_reason = 0
        self.failed = True  # until recovered
        self.forced_erases = 0
        self.flash_faults = 0
        self._unsaved = False  # settled batches that no ledger on flash tells yet
        self._tight = False  # the last free sector may be taken
        self._largest = 0  # bytes that the largest raw record of the open sector takes
        self._sealing = -1  # sector in which the batch being written begins
        self._inside = 0

    # Writing one record.

    def _put(self, stream, kind, count, a, b, pieces):
        """Write a record where there is room, elsewhere when flash refuses. Raises FlashError after six places."""
        length = 0
        for piece in pieces:
            length += len(piece)
        size = self.sectors.space_for(length)
        for _ in range(PUT_TRIES):
            if self.sectors.room(stream) < size:
                self._open(stream)
            if self.sectors.write(stream, self.epoch, kind, count, self.ledger.boot, a, b, pieces):
                return
            self.flash_faults += 1
        self.failed = True
        raise FlashError("six places in a row could not be written")

    def put_state(self, kind, flags, fresh, position, extra=b""):
        """Write a raw record with the ledger `fresh`, which is the journal's from then on. The caller has made room."""
        size = self.sectors.space_for(fresh.size() + len(extra))
        tight, self._tight = self._tight, True
        try:
            for _ in range(PUT_TRIES):
                if self.sectors.room(RAW) < size:
                    self._open(RAW)
                fresh.serial = self.ledger.serial + 1
                state = bytearray(fresh.size())
                fresh.pack(state, 0)
                if self.sectors.write(
                    RAW, self.epoch, kind, flags, fresh.boot, position, fresh.sampled, (state, extra)
                ):
                    self.ledger = fresh
                    self._unsaved = False
                    return
                self.flash_faults += 1
        finally:
            self._tight = tight
        self.failed = True
        raise FlashError("six places in a row could not be written")

    def _make_room(self, stream, size):
        """Open a sector when the open one has not `size` bytes left; may drop, never leaves the ledger half changed."""
        if self.failed:
            raise JournalError("the journal must be recovered first")
        if self.sectors.room(stream) < size:
            self._open(stream)

    def _state_size(self, extra=0):
        return self.sectors.space_for(self.ledger.size() + extra)

    def room_for_state(self):
        """Make room for one raw record with a ledger and nothing else."""
        self._make_room(RAW, self._state_size())

    def _open(self, stream):
        if not self._tight:
            while self.sectors.free < 2:
                self._free_one()
        if not len(self.sectors.spares):
            self.forced_erases += 1
            if not self._tight:
                self.rotate()
        if stream == RAW:
            self._largest = 0
        inside = self._inside if stream == SEALED else 0
        self.sectors.open(stream, inside, self.epoch_reason, self.epoch, self.ledger)
        self._unsaved = False

    def save(self):
        """Make acknowledgements durable that are not yet: for an orderly stop, or before a sector is freed by them."""
        if self._unsaved:
            if not self._tight:
                self.room_for_state()
            self.put_state(STATE, 0, self.ledger.copy(), self.ledger.position)

    def sync(self):
        """Make everything written durable; on raw flash it is already. Raises FlashError."""
        try:
            self.sectors.flash.sync()
        except FlashError:
            self.failed = True
            raise

    # Freeing.

    def _free_one(self):
        """Make one more sector free; drops the oldest data when nothing else helps. Raises JournalFull."""
        if not self._release():
            self._drop_oldest()

    def _release(self) -> bool:
        """Free one sealed sector whose batches are all settled; False when there is none."""
        sectors = self.sectors
        # What is settled is a prefix and a few ranges: the first sector wholly inside one is at its start or next.
        candidates = [0]
        for entry in self.ledger.ranges:
            index = sectors.holder(SEALED, entry[0])
            candidates += [index, index + 1]
        for index in candidates:
            if index < len(sectors.sealed) - 1 and self._is_settled(index):
                self._release_sealed(index)
                return True
        return False

    def _release_sealed(self, index):
        """Free the sealed sector at `index`, once flash knows that all in it is settled."""
        if self._unsaved:
            tight, self._tight = self._tight, True
            try:
                self.save()
            finally:
                self._tight = tight
        self.sectors.release(SEALED, index)

    def rotate(self):
        """Free the oldest sealed sector, if all in it is settled and it is worn no more than any free one: else the few
        sectors that are free would wear for all those that only keep what was acknowledged."""
        sectors = self.sectors
        if len(sectors.sealed) > 1:
            sector = sectors.next_free()
            least = 255 if sector < 0 else sectors.wear[sector]
            if sectors.wear[sectors.sealed[0]] <= least and self._is_settled(0):
                self._release_sealed(0)

    def free_raw(self):
        """Free the raw sectors whose records are all sealed or dropped, as the ledger on flash says."""
        sectors = self.sectors
        count = sectors.holder(RAW, self.ledger.consumed)
        if count:
            sectors.release_oldest(RAW, count)

    def _end_of(self, index):
        """The seq before which all batches lie that have a piece in the sealed sector at `index` or before it; None
        when the batch being written has one."""
        sectors = self.sectors
        next_seq = self.ledger.next_seq
        if sectors.sealed[index] == self._sealing:
            return None
        if index + 1 >= len(sectors.sealed):
            return next_seq
        first = min(sectors.begin(SEALED, index + 1), next_seq)
        return first + 1 if sectors.header.inside and first < next_seq else first

    def _is_settled(self, index) -> bool:
        sectors, ledger = self.sectors, self.ledger
        if not sectors.read_header(sectors.sealed[index]):
            return False
        first = max(sectors.header.next_seq, ledger.low)
        if self._sealing >= 0 and first >= ledger.next_seq:
            return False
        end = self._end_of(index)
        if end is None:
            return False
        return first >= end or any(entry[0] <= first and end <= entry[1] for entry in ledger.ranges)

    # Dropping.

    def _drop_oldest(self):
        sectors = self.sectors
        # First the place for the gap record: the header of a sector opened for it must not tell of the drop.
        if sectors.free and sectors.room(RAW) < self._state_size(GAP_BYTES + 2 * META_MAX):
            tight, self._tight = self._tight, True
            try:
                self._open(RAW)
            finally:
                self._tight = tight
        ledger = self.ledger
        if len(sectors.sealed) and ledger.low < ledger.next_seq:
            self._drop_sealed()
        elif len(sectors.raw) > 1:
            self._drop_raw()
        elif len(sectors.sealed) and self._sealing < 0:
            sectors.release(SEALED, 0)
        else:
            raise JournalFull("every sector is in use by the newest data")

    def _drop_sealed(self):
        """Drop all batches that have a piece in the oldest sealed sector."""
        ledger = self.ledger
        end = self._end_of(0)
        if end is None:
            raise JournalFull("the batch being written fills the journal")
        gap = Gap(OVERFLOW)
        if end > ledger.low:
            after = self.known(end)
            while after < 0:
                end += 1
                after = self.known(end)
            for entry in ledger.ranges:
                if entry[0] < end < entry[1]:
                    end, after = entry[1], entry[3]
            gap.first_seq, gap.last_seq = ledger.low, end - 1
            gap.readings = after - ledger.low_sealed - ledger.settled_in(ledger.low, end)
            self._tell_batches(gap)
            ledger.dropped += gap.readings
            ledger.unreported += gap.readings
            ledger.raise_low(end, after)
            self._unsaved = True
        self._tell(gap, SEALED)

    def _tell_batches(self, gap):
        """Count the batches of a gap and merge what their metas say, as far as they can be read."""
        for seq in range(gap.first_seq, gap.last_seq + 1):
            if not self.ledger.settled(seq):
                gap.batches += 1
                commit = self.commit_of(seq)
                if commit is not None:
                    self._merge_meta(gap, commit.meta)

    def _merge_meta(self, gap, meta):
        if not gap.first_meta:
            gap.first_meta = meta
        elif self.merge_meta is not None:
            gap.first_meta = self.merge_meta(gap.first_meta, meta)[:META_MAX]
        else:
            gap.last_meta = meta

    def _drop_raw(self):
        """Drop the records of the oldest raw sector. A gap record among them is told again in the new one."""
        sectors, ledger = self.sectors, self.ledger
        end = min(sectors.begin(RAW, 1), ledger.position)
        sampled = min(sectors.header.sampled, ledger.sampled) if end < ledger.position else ledger.sampled
        gap = Gap(OVERFLOW)
        lost = 0
        if end > ledger.consumed:
            record = Record()
            gap.records = end - ledger.consumed
            lost = sampled - ledger.consumed_sampled
            offset = sectors.first
            while sectors.load(sectors.raw[0]) and sectors.find(offset, record):
                offset = sectors.behind(record)
                position = sectors.top.position + (record.a - sectors.top.position & 0xFFFF)
                if ledger.consumed <= position < end:
                    self._tell_record(gap, record)
            gap.readings += lost
            ledger.dropped += lost
            ledger.unreported += lost
            ledger.consumed, ledger.consumed_sampled = end, sampled
            self._unsaved = True
        self._tell(gap, RAW)

    def _tell_record(self, gap, record):
        content = bytes(self.sectors.content(record))
        if record.kind == EVENT:
            gap.events += 1
        elif record.kind == SAMPLE and self.meta_of is not None:
            self._merge_meta(gap, self.meta_of(content)[:META_MAX])
        elif record.kind == GAP:
            earlier = Gap(0)
            earlier.unpack(content[Ledger().unpack(content, 0) :])
            gap.earlier += 1 + earlier.earlier
            gap.readings += earlier.readings
            gap.batches += earlier.batches
            gap.events += earlier.events
            if earlier.first_seq is not None:
                gap.first_seq = earlier.first_seq if gap.first_seq is None else min(gap.first_seq, earlier.first_seq)
                gap.last_seq = earlier.last_seq if gap.last_seq is None else max(gap.last_seq, earlier.last_seq)
            for meta in (earlier.first_meta, earlier.last_meta):
                if meta:
                    self._merge_meta(gap, meta)

    def _tell(self, gap, stream=0):
        """Write the gap record, and free the oldest sector of `stream` as soon as that is safe."""
        sectors = self.sectors
        tight, self._tight = self._tight, True
        try:
            gap.total = self.ledger.dropped
            told = gap.pack()
            if stream and not sectors.free and sectors.room(RAW) < self._state_size(len(told)):
                sectors.release(stream, 0)  # rule 2: no other way is left
                stream = 0
            if gap.batches or gap.records or gap.readings:
                fresh = self.ledger.copy()
                fresh.position += 1
                fresh.unreported = 0
                self.put_state(GAP, 0, fresh, self.ledger.position, told)
            if stream:
                if self._unsaved:
                    self.save()
                sectors.release(stream, 0)
        finally:
            self._tight = tight

    def tell_loss(self, why: int):
        """Write the gap record of readings that are dropped already and told nowhere."""
        gap = Gap(why)
        gap.readings = self.ledger.unreported
        self._tell(gap)

    # Looking up batches.

    def commit_of(self, seq: int):
        """The Commit of batch `seq`, or None when it is not on flash or cannot be read."""
        sectors = self.sectors
        if not 0 <= seq < self.ledger.next_seq or not len(sectors.sealed):
            return None
        index = sectors.holder(SEALED, seq)
        return self._commit_in(sectors.sealed[index], seq)

    def _commit_in(self, sector, seq):
        sectors = self.sectors
        commit = None
        if sectors.load(sector):
            record = Record()
            offset = sectors.first
            while sectors.find(offset, record):
                offset = sectors.behind(record)
                if record.kind == COMMIT and record.a | record.b << 16 == seq & 0xFFFFFFFF:
                    commit = Commit(sectors.content(record))
        return commit

    def known(self, seq: int) -> int:
        """Readings in all batches before `seq`, from whatever can still be read; −1 when nothing tells."""
        ledger, sectors = self.ledger, self.sectors
        if seq == ledger.low:
            return ledger.low_sealed
        if seq == ledger.next_seq:
            return ledger.sealed
        for entry in ledger.ranges:
            if seq == entry[0]:
                return entry[2]
            if seq == entry[1]:
                return entry[3]
        commit = self.commit_of(seq)
        if commit is not None:
            return commit.before
        commit = self.commit_of(seq - 1)
        if commit is not None:
            return commit.after
        if len(sectors.sealed):
            sectors.begin(SEALED, sectors.holder(SEALED, seq))
            if sectors.header.next_seq == seq:
                return sectors.header.sealed
        return -1
