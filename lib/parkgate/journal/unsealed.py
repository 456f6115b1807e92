"""The raw records that are in no batch yet, in order, with every loss among them told where it happened.

Positions number raw records without a hole, and each head has the readings sampled before it; so what is missing
between two records that check is known exactly, whatever stands there now. The header of the next sector rules how far
the sector before it counts.
"""

from collections import namedtuple

from parkgate import events
from parkgate.wire import cbor

from .format import BOOT, EVENT, GAP, HEAD_BYTES, RAW, SAMPLE, STATE, TORN, Gap, Ledger
from .loaded import READ_TRIES
from .loaded import Record as Found
from .space import CORRUPT, Space

Record = namedtuple("Record", ("kind", "payload", "boot", "readings", "position"))


class Cursor:
    """A place in the raw stream; `found` and the full numbers beside it are the record there."""

    def __init__(self):
        self.shape = -1  # of the sectors when the index was right
        self.index = self.sector = self.offset = 0
        self.position = self.sampled = self.boot = 0
        self.end = 0
        self.found = Found()


def _told(gap) -> bytes:
    """The event (CBOR, events.GAP) of a gap statement. Its details are [batches, raw records, events among
    them, earlier gap records told again, all readings dropped so far, meta of the first, meta of the last]."""
    details = [gap.batches, gap.records, gap.events, gap.earlier, gap.total, gap.first_meta, gap.last_meta]
    return cbor.encode([events.GAP, gap.first_seq, gap.last_seq, gap.readings, gap.why, details])


class Unsealed(Space):
    """Reading the raw stream."""

    _taken = -1  # `consumed` when the records of the next batch were last given out
    _first_boot = None
    told_back = 0  # how far before the next batch those begin that gap records given out name

    @property
    def unsealed_records(self) -> int:
        """Raw records that are in no batch."""
        return self.ledger.position - self.ledger.consumed

    @property
    def unsealed_readings(self) -> int:
        """Readings in them."""
        return self.ledger.sampled - self.ledger.consumed_sampled

    @property
    def unsealed_boot(self) -> int:
        """Boot of the oldest raw record that is in no batch; this boot when there is none."""
        if not self.unsealed_records:
            return self.ledger.boot
        if self._first_boot is None or self._first_boot[0] != self.ledger.consumed:
            boot = self.ledger.boot
            for record in self._records(1):
                boot = record.boot
            self._first_boot = (self.ledger.consumed, boot)
        return self._first_boot[1]

    def unsealed(self, limit=None):
        """Raw records that are in no batch, oldest first, as (kind, payload, boot, readings, position), at most
        `limit`. Losses are EVENT records like those appended. Ends early when records are dropped meanwhile."""
        self._taken = self.ledger.consumed
        return self._records(limit)

    def _records(self, limit):
        taken = position = self.ledger.consumed
        sampled = self.ledger.consumed_sampled
        cursor = Cursor()
        boot = -1
        given = tries = 0
        while (limit is None or given < limit) and self.ledger.consumed == taken:
            there = self._seek(cursor, position)
            found = cursor.found
            silent = there and found.kind == BOOT
            sequel, before = self.ledger.position, self.ledger.sampled
            if there:
                sequel, before = cursor.position, cursor.sampled
                if silent:
                    sequel -= 1  # the event a BOOT stands for has the position before it
            if boot < 0 or there and sequel == position:
                boot = cursor.boot if there else self.ledger.boot
            if sequel > position and tries < READ_TRIES - 1:
                tries += 1  # nothing is missing because it was not read once
                self.sectors.loaded = cursor.shape = -1
                continue
            tries = 0
            if sequel > position:
                record = Record(EVENT, self._damage(cursor, sequel - position, before - sampled), boot, 0, sequel - 1)
                position, sampled = sequel, before
                cursor.shape = -1
            elif not there:
                return
            else:
                sampled = before + found.count if found.kind == SAMPLE else before
                record = self._record(found, boot, position)
                position += 1
            yield record
            given += 1

    def _record(self, found, boot, position):
        if found.kind == BOOT:
            event = [events.TORN, 1] if found.count & TORN else [events.EPOCH_BORN, self.epoch_reason]
            return Record(EVENT, cbor.encode(event), boot, 0, position)
        content = bytes(self.sectors.content(found))
        if found.kind == GAP:
            gap = Gap(0)
            gap.unpack(content[Ledger().unpack(content, 0) :])
            if gap.first_seq is not None:
                self.told_back = max(self.told_back, self.ledger.next_seq - gap.first_seq)
            return Record(EVENT, _told(gap), boot, 0, position)
        return Record(found.kind, content, boot, found.count, position)

    def _damage(self, cursor, records, readings):
        if readings > 0:
            return cbor.encode([events.GAP, None, None, readings, CORRUPT, [0, records, 0, 0, self.ledger.dropped]])
        return cbor.encode([events.CORRUPT, cursor.sector, cursor.offset, records])

    def _seek(self, cursor, position) -> bool:
        """Move `cursor` to the first record at or behind `position` that counts: true, not silent, not disowned."""
        sectors = self.sectors
        if cursor.shape != sectors.shape:
            cursor.shape = sectors.shape
            self._enter(cursor, sectors.holder(RAW, position))
        while cursor.index < len(sectors.raw):
            end = self.ledger.position if cursor.end < 0 else cursor.end
            if sectors.load(cursor.sector):
                while sectors.find(cursor.offset, cursor.found):
                    cursor.offset = sectors.behind(cursor.found)
                    if self._counts(cursor, position, end):
                        return True
            if cursor.end < 0:
                return False
            self._enter(cursor, cursor.index + 1)
        return False

    def _enter(self, cursor, index):
        """Go to the start of a sector. The next one's header rules how far this one counts: `end`, −1 for the open
        one, which counts as far as the ledger says."""
        sectors = self.sectors
        cursor.index = index
        cursor.offset = sectors.first
        if index < len(sectors.raw):
            cursor.sector = sectors.raw[index]
            cursor.end = sectors.begin(RAW, index + 1) if index + 1 < len(sectors.raw) else -1

    def _counts(self, cursor, position, end):
        """Whether the record found is one to give; its full numbers go into `cursor`."""
        sectors, found, top = self.sectors, cursor.found, self.sectors.top
        at = top.position + (found.a - top.position & 0xFFFF)
        if found.kind == STATE:
            return False
        if found.kind == BOOT:
            if not found.count or at <= position or at > end:
                return False
        elif not position <= at < end:
            return False
        # What a start declared torn stays so. (Newer starts tell from where on: such bytes are never found.)
        offset = cursor.offset
        if offset + HEAD_BYTES <= sectors.size and sectors.buffer[offset + 6] == BOOT:
            follower = Found()
            torn = sectors.find(offset, follower) and follower.offset == offset and follower.count & TORN
            if torn and follower.a == at + 1 & 0xFFFF:
                return False
        cursor.position = at
        cursor.sampled = top.sampled + (found.b - top.sampled & 0xFFFF)
        cursor.boot = top.boot + (found.boot - top.boot & 0xFFFF)
        return True
