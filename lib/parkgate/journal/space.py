"""How the journal finds room: what it writes a record to, what it frees, and what it drops when nothing is free.

Three rules keep this safe at every cut, without an end.

 1. A sector is freed only when a ledger *on flash* says that nothing in it is wanted: an acknowledgement or a drop is
    durable before the erase begins. So a half-erased sector never matters, whatever it reads like.
 2. One free sector is always left for the raw stream; and when it is the last, the oldest data are dropped while the
    open raw sector has room for the gap record. So the gap record is on flash before what it tells of is erased, and
    that sector may fail.
 3. There is always a way on. When no sector can be written to although that (several fail at once, or at a start with
    a full open sector), the oldest is erased first. Its loss is in the ledger of the header that follows, as owed
    (`unreported`), and a gap record pays the debt as soon as there is room. A cut between the two leaves batches and
    positions missing, which are found, counted and told. It ends only when fewer than two sectors can be written.

Each gap record takes off the debt what it tells itself. The oldest that is not acknowledged is dropped: the batches of
the oldest sealed sector, and raw records only when no batch is left. How many readings that are is never guessed: all
records and batches carry cumulative counts, and the loss is the difference between two that can be read.
"""

import struct

from parkgate.errors import FlashError, JournalError, JournalFull

from .format import (
    BOOT,
    EVENT,
    GAP,
    GAP_BYTES,
    LEDGER_BYTES,
    META_MAX,
    RANGE_BYTES,
    RANGES_MAX,
    RAW,
    SAMPLE,
    SEALED,
    STATE,
    VOID_EXTRA,
    Gap,
    Ledger,
)
from .loaded import READ_TRIES, Record
from .lookup import Lookup

_PUT_TRIES = 6
OVERFLOW, CORRUPT, FLASH_FAULT = 0, 1, 2  # indices into events.GAP_REASONS
FIRST_START, JOURNAL_LOST, FACTORY_RESET, RE_FLASH = 0, 1, 2, 3  # indices into events.EPOCH_REASONS


class Space(Lookup):
    """The sectors, the ledger, and every way to write to them. The journal proper is built on it."""

    def __init__(self, flash, new_epoch, merge_meta=None, meta_of=None, spare_sectors: int = 2, erase_ms: int = 50):
        super().__init__(flash)
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
        self._keep_raw = False  # no raw record may be dropped
        self._owed = None  # the Gap of what was erased before it was told
        self._gap_room = self.sectors.space_for(LEDGER_BYTES + RANGES_MAX * RANGE_BYTES + GAP_BYTES + 2 * META_MAX)
        self._largest = 0  # bytes that the largest raw record of the open sector takes
        self._sealing = -1  # sector in which the batch being written begins
        self._inside = 0

    # Writing one record.

    def put_tries(self, tried: int = 0):
        """Places at which a record is tried, `tried` of them before. A file that refuses a write loses what waited in
        it: only a recovery knows then what is there."""
        return range(tried, 1 if self.sectors.verified else _PUT_TRIES)

    def _put(self, stream, kind, count, seq, pieces, tried=0):
        """Write a record where there is room, elsewhere when flash refuses. Raises FlashError after six places."""
        length = 0
        for piece in pieces:
            length += len(piece)
        size = self.sectors.space_for(length)
        for _ in self.put_tries(tried):
            if self.sectors.room(stream) < size:
                self._open(stream, size)
            ledger = self.ledger
            if stream == RAW:
                a, b = ledger.position, ledger.sampled
            else:
                a, b = seq, seq >> 16
            if self.sectors.write(stream, self.epoch, kind, count, ledger.boot, a, b, pieces):
                return
            self.flash_faults += 1
        self.failed = True
        raise FlashError("no place could be written to")

    def put_state(self, kind, flags=0, gap=None, told=0, unstored=0, void=None):
        """Write a raw record with the ledger, which is the journal's from then on. `gap` is the statement of a GAP,
        which tells `told` readings of those owed, and `unstored` that are counted by it. `void` is where the bytes
        that a BOOT declares to be nothing begin, (sector, offset)."""
        sectors = self.sectors
        self.ledger.owe_names(gap)  # until it stands
        tight, self._tight = self._tight, True
        try:
            for _ in self.put_tries():
                extra = gap.pack() if gap else bytes(VOID_EXTRA if void else 0)
                size = sectors.space_for(self.ledger.size() + len(extra))
                if sectors.room(RAW) < size:
                    self._open(RAW, size)
                fresh = self.ledger.copy()  # now: what had to go to make room is in it
                fresh.serial += 1
                fresh.dropped += unstored
                fresh.unstored += unstored
                fresh.unreported -= told
                position = fresh.position
                if gap or flags:
                    fresh.position += 1
                if kind == BOOT:
                    position = fresh.position
                if gap:
                    gap.total = fresh.dropped
                    if gap.first_seq is not None and gap.first_seq <= fresh.low - fresh.unnamed:
                        fresh.unnamed = 0
                        fresh.owe_names(self._owed)  # what went since
                    extra = gap.pack()
                elif void:
                    here = void[0] == sectors.tails[RAW].sector
                    extra = struct.pack("<H", void[1] // sectors.unit) if here else b""
                state = bytearray(fresh.size())
                fresh.pack(state, 0)
                if sectors.write(RAW, self.epoch, kind, flags, fresh.boot, position, fresh.sampled, (state, extra)):
                    self.ledger = fresh
                    self._unsaved = False
                    return
                self.flash_faults += 1
        finally:
            self._tight = tight
        self.failed = True
        raise FlashError("no place could be written to")

    def _make_room(self, stream, size):
        """Open a sector when the open one has not `size` bytes left; may drop, never leaves the ledger half changed."""
        if self.failed:
            raise JournalError("the journal must be recovered first")
        room = self.sectors.room(stream)
        if room < size or room < size + self._gap_room and self.sectors.free < 2:
            self._make_scarce_room(stream, size)

    def _make_scarce_room(self, stream, size):
        sectors = self.sectors
        if stream == RAW and not self._tight:
            # Rule 2: as long as there is room here to tell of it.
            while sectors.free < 2 and sectors.room(RAW) - size < self._gap_room:
                if sectors.room(RAW) < self.state_size() or not self.free_one():
                    break
        if sectors.room(stream) < size:
            self._open(stream, size)
            self.tell_owed()
            if sectors.room(stream) < size:
                self._open(stream, size)
        else:
            self.tell_owed()

    def state_size(self, extra: int = 0) -> int:
        """Bytes of flash that a record takes with the ledger and `extra` bytes behind it."""
        return self.sectors.space_for(self.ledger.size() + extra)

    def room_for_state(self):
        """Make room for one raw record with a ledger and nothing else."""
        self._make_room(RAW, self.state_size(VOID_EXTRA))

    def _open(self, stream, size=0):
        """Begin a sector of `stream`, unless `size` bytes of the open one have become free of what was in their way."""
        if not self._tight:
            while self.sectors.free < 2 and self.free_one():
                pass
            if size and self.sectors.room(stream) >= size:
                return
        if not len(self.sectors.spares):
            self.forced_erases += 1
            if not self._tight:
                self.rotate()
        inside = self._inside if stream == SEALED else 0
        try:
            while not self.sectors.open(stream, inside, self.epoch_reason, self.epoch, self.ledger):
                self._force_one()
        except FlashError:
            self.failed = True
            raise
        if stream == RAW:
            self._largest = 0
        self._unsaved = False

    def save(self):
        """Make acknowledgements durable that are not yet: for an orderly stop, or before a sector is freed by them."""
        if self._unsaved:
            if not self._tight:
                self.room_for_state()
            self.put_state(STATE)
            self.tell_owed()

    def sync(self):
        """Make everything written durable; on raw flash it is already. Raises FlashError."""
        try:
            self.sectors.flash.sync()
        except FlashError:
            self.failed = True
            raise

    # Freeing.

    def free_one(self) -> bool:
        """Make one more sector free; drops the oldest data when nothing else helps. False when nothing is left to be
        freed but the newest data."""
        return self._release() or self._drop_oldest()

    def _release(self) -> bool:
        """Free one sealed sector whose batches are all settled; False when there is none."""
        index = self._settled_sector()
        if index >= 0:
            self._release_sealed(index)
        return index >= 0

    def _settled_sector(self) -> int:
        """Index of a sealed sector, not the newest, whose batches are all settled; −1 when there is none."""
        sectors = self.sectors
        # What is settled is a prefix and a few ranges: the first sector wholly inside one is at its start or next.
        candidates = [0]
        for entry in self.ledger.ranges:
            index = sectors.holder(SEALED, entry[0])
            candidates += [index, index + 1]
        for index in candidates:
            if index < len(sectors.sealed) - 1 and self._is_settled(index):
                return index
        return -1

    def _release_sealed(self, index):
        """Free the sealed sector at `index`, once flash knows that all in it is settled."""
        sectors = self.sectors
        sector = sectors.sealed[index]
        if self._unsaved:
            tight, self._tight = self._tight, True
            try:
                self.save()
            finally:
                self._tight = tight
        for index in range(len(sectors.sealed)):
            if sectors.sealed[index] == sector:  # else it had to go before
                sectors.release(SEALED, index)
                return

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
        return first + 1 if sectors.begun_inside() and first < next_seq else first

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

    def _oldest(self) -> int:
        """The stream whose oldest sector is the next to go; 0 when there is none."""
        sectors = self.sectors
        if len(sectors.sealed) and self.ledger.low < self.ledger.next_seq and self._end_of(0) is not None:
            return SEALED
        if len(sectors.raw) > 1 and not self._keep_raw:
            return RAW
        return SEALED if len(sectors.sealed) and self._sealing < 0 else 0

    def _drop_oldest(self) -> bool:
        sectors = self.sectors
        stream = self._oldest()
        if not stream:
            return False
        # First the place to tell of it: the header of a sector opened for it must not tell of the drop.
        if sectors.free and sectors.room(RAW) < self.state_size():
            self._open_tight()
            stream = self._oldest()
            if not stream:
                return False
        sector = sectors.stream(stream)[0]
        gap = self._drop(stream)
        if sectors.room(RAW) < self._gap_room:
            self.owe(gap)  # only the debt has room here
            gap = Gap(OVERFLOW)
        self._tell(gap, stream, sector)
        return True

    def _open_tight(self):
        tight, self._tight = self._tight, True
        try:
            self._open(RAW)
        finally:
            self._tight = tight

    def _force_one(self):
        """Rule 3: the oldest sector becomes free before anything tells what was in it. Raises JournalFull."""
        settled = self._settled_sector()
        if settled >= 0:
            self.sectors.release(SEALED, settled)
            return
        stream = self._oldest()
        if self.sectors.forgive():
            return
        if not stream:
            raise JournalFull("no sector is left to write to")
        self.owe(self._drop(stream))
        self.sectors.release(stream, 0)

    def owe(self, gap):
        """What `gap` tells is dropped, and will be told when there is room for it."""
        if gap.batches or gap.records or gap.readings:
            if self._owed is not None:
                gap.records += self._owed.records
                self._merge_gap(gap, self._owed)
            self._owed = gap
            self.ledger.owe_names(gap)

    def tell_owed(self):
        """Write the gap record of readings that are dropped already and told nowhere, if there are any."""
        # Again and again: to find room for one record, the oldest may have to go once more.
        while not self._tight and (self._owed is not None or self.ledger.unreported or self.ledger.unnamed):
            gap = self._owed or Gap(OVERFLOW)
            first = self.ledger.low - self.ledger.unnamed
            if self.ledger.unnamed and (gap.first_seq is None or first < gap.first_seq):
                gap.earlier += 1
                gap.name(first, self.ledger.low - 1)
            gap.readings = owed = self.ledger.unreported
            self._owed = None
            self.put_state(GAP, 0, gap, owed)

    def _drop(self, stream):
        """Take what the oldest sector of `stream` holds out of the ledger; gives the Gap to tell."""
        gap = self._drop_sealed() if stream == SEALED else self.drop_raw()
        self._unsaved = self._unsaved or bool(gap.batches or gap.records or gap.readings)
        return gap

    def _drop_sealed(self):
        """Drop all batches that have a piece in the oldest sealed sector."""
        end = self._end_of(0)
        return Gap(OVERFLOW) if end is None else self.drop_before(end)

    def drop_before(self, end):
        """Drop the batches before `end`, and those behind it whose readings cannot be told apart from theirs."""
        ledger = self.ledger
        gap = Gap(OVERFLOW)
        if end > ledger.low:
            after = self.known(end)
            while after < 0:
                end += 1
                after = self.known(end)
            for entry in ledger.ranges:
                if entry[0] < end < entry[1]:
                    end, after = entry[1], entry[3]
            gap.readings = after - ledger.low_sealed - ledger.settled_in(ledger.low, end)
            self._tell_batches(gap, end)
            gap.first_seq, gap.last_seq = ledger.low - ledger.unnamed, end - 1
            ledger.dropped += gap.readings
            ledger.unreported += gap.readings
            ledger.raise_low(end, after)
        return gap

    def _tell_batches(self, gap, end):
        """Count the batches before `end` and merge what their metas say, as far as they can be read."""
        for seq in range(self.ledger.low, end):
            if not self.ledger.settled(seq):
                gap.batches += 1
                commit = self.commit_of(seq)
                if commit is not None:
                    self._merge_meta(gap, commit.meta)
                if self.owe_told(seq, commit):
                    gap.earlier += 1

    def _merge_meta(self, gap, meta):
        if not gap.first_meta:
            gap.first_meta = meta
        elif self.merge_meta is not None:
            gap.first_meta = self.merge_meta(gap.first_meta, meta)[:META_MAX]
        else:
            gap.last_meta = meta

    def drop_raw(self, index=1):
        """Drop the records before the raw sector at `index`. The new gap record repeats a gap record among them."""
        sectors, ledger = self.sectors, self.ledger
        end = min(sectors.begin(RAW, index), ledger.position)
        sampled = min(sectors.header.sampled, ledger.sampled) if end < ledger.position else ledger.sampled
        gap, seen = Gap(OVERFLOW), -1
        if end > ledger.consumed:
            for _ in range(READ_TRIES if index else 0):
                other = Gap(OVERFLOW)
                count = self._tell_records(other, end)
                if count > seen:
                    gap, seen = other, count
                if seen == end - ledger.consumed:
                    break
                sectors.loaded = -1  # one is missing: perhaps it was read wrongly
            gap.records = end - ledger.consumed
            lost = sampled - ledger.consumed_sampled
            gap.readings += lost
            ledger.dropped += lost
            ledger.unreported += gap.readings  # what an earlier gap record told is owed again
            ledger.consumed, ledger.consumed_sampled = end, sampled
        return gap

    def _tell_records(self, gap, end) -> int:
        """Tell in `gap` of the records from `consumed` to before `end` in the oldest raw sector; gives how many
        positions are accounted for."""
        sectors = self.sectors
        record = Record()
        position = self.ledger.consumed
        offset = sectors.first
        seen = 0
        while sectors.load(sectors.raw[0]) and sectors.find(offset, record):
            offset = sectors.behind(record)
            at = sectors.top.position + (record.a - sectors.top.position & 0xFFFF)
            if record.kind == BOOT and record.count:
                at -= 1
            elif record.kind > GAP:
                continue
            if position <= at < end:
                seen += 1
                position = at + 1
                self._tell_record(gap, record)
        return seen

    def _tell_record(self, gap, record):
        if record.kind == EVENT:
            gap.events += 1
        elif record.kind == SAMPLE and self.meta_of is not None:
            self._merge_meta(gap, self.meta_of(bytes(self.sectors.content(record)))[:META_MAX])
        elif record.kind == GAP:
            content = bytes(self.sectors.content(record))
            earlier = Gap(0)
            earlier.unpack(content[Ledger().unpack(content, 0) :])
            gap.earlier += 1
            gap.readings += earlier.readings
            self._merge_gap(gap, earlier)

    def _merge_gap(self, gap, other):
        """Tell in `gap` what `other` tells, but its readings."""
        gap.earlier += other.earlier
        gap.batches += other.batches
        gap.events += other.events
        if other.first_seq is not None:
            gap.name(other.first_seq, other.last_seq)
        for meta in (other.first_meta, other.last_meta):
            if meta:
                self._merge_meta(gap, meta)

    def _tell(self, gap, stream=0, sector=-1):
        """Write the gap record, and then free `sector`, the oldest of `stream`."""
        tight, self._tight = self._tight, True
        try:
            if gap.batches or gap.records or gap.readings:
                self.put_state(GAP, 0, gap, gap.readings)
            elif self._unsaved:
                self.save()
        finally:
            self._tight = tight
        if stream:
            sectors = self.sectors.stream(stream)
            if len(sectors) and sectors[0] == sector:  # else it had to go before
                self.sectors.release(stream, 0)
