"""The journal: every reading is on flash before the next is taken, and none leaves it without a receipt.

    j = Journal(flash, new_epoch)           stores only; `new_epoch()` gives 16 random bytes
    report = j.recover(reset_cause)         find the state, make the new boot number durable; report.text() for people
    j.epoch, j.epoch_reason, j.boot, j.next_seq, j.head_hash, j.receipt_seq
    j.append(kind, payload, readings)       SAMPLE (0…255 readings) or EVENT (0): durable on return
    for record in j.unsealed():             (kind, payload, boot, readings, position), oldest first, across starts;
                                            losses come as EVENT records whose payload is CBOR (events.py)
    j.commit_batch(seq, sealed, digest, position, readings, meta)
    j.held(), j.read_batch(seq), j.batch_hash(seq), j.acknowledge(seq)
    j.counters                              sampled = acked + buffered + dropped, always
    j.needs_erase, j.maintain(quiet_ms), j.ready_for(byte_count), j.space, j.seconds_to_loss(mono_ms)
    j.sync()                                where writes wait (segment files): every 10 s, and before power is cut
    j.save(), j.note_lost(readings), j.wipe(reason), j.scrub(), j.scrub_next()

Theory of operation
-------------------
*Storage* is `read, program, erase, sync` and a geometry. The flash is a pool of sectors. Two streams take sectors from
it: the raw stream (samples and events as they come) and the sealed stream (batches). A sealed batch is about a tenth
of its raw records, and raw sectors are free again as soon as what they hold is sealed.

*What is durable when.* `append` returns when the record has been programmed and read back; a cut at any moment loses
at most the record being written, whose `append` had not returned. (Behind a file system that keeps writes in memory,
the same holds at every `flash.sync()`.) `commit_batch` is atomic: its pieces mean nothing before the COMMIT record
behind them, and that one program makes the batch exist, moves the chain head and frees the raw records, all at once.
Before `commit_batch` returns, a second record in another sector says the same: no single damaged sector can make a
number that the hub may have seen be used again. `acknowledge` is in memory until the next ledger is written, at the
latest with the next batch; a lost acknowledgement costs one duplicate, an immediate one would cost a page each.

*One truth.* Whole state = the ledger (format.py). It stands in every sector header and in every record that
changes it, each with a higher serial; the highest that can be read is the state, plus the raw records behind it.

*What a cut leaves.* A torn record: bytes that do not check, at the end. A cut after that is nothing new: appending goes
on behind the torn bytes, which are never programmed again. A half-erased sector: free by the ledger, whatever its
header reads like, and erased anew before use. A batch without its COMMIT: its number is free and its readings are
still raw; it was never shown to anybody, so that sealing it anew, with other bytes, is no fork.

*Torn or damaged.* Positions count raw records without a hole. Bytes that do not check and no position missing: torn
(or given up by a failing chip, and written again behind). A position missing: damage, and an EVENT in its place says
how many records, and by the cumulative counts how many readings. Batches are checked by their hash at each reading; a
damaged one is dropped and told in a gap record.

*Space* (space.py): a sector is freed when a ledger on flash says that it is not wanted. When none is free the
oldest unacknowledged data are dropped, counted, and told in a gap record which stands on flash before the erase.
Acknowledged batches stay readable until their sector is needed.

*Numbers.* `seq` and the chain head are in every ledger. An epoch is born with an empty journal, its 16 random bytes
stand in every header; all records are bound to epoch, generation and place by their CRC. An old image of the whole
flash, written back, cannot be told from the truth here: the hub sees a fork.
"""

from collections import namedtuple

from parkgate import events
from parkgate.errors import FlashError, JournalError
from parkgate.wire import cbor

from .batches import Batches
from .format import EVENT, GAP, GAP_BYTES, RAW, SAMPLE, SEALED, Gap
from .space import FACTORY_RESET, FIRST_START, FLASH_FAULT

PAYLOAD_MAX = 2048
RATE_SPAN_MS = 86400000
OPEN_MS = 5  # what beginning a sector may take on an RP2040
LARGE_PART = 16  # of a sector at most is left unused for its header to be written ahead

Counters = namedtuple("Counters", ("sampled", "acked", "buffered", "dropped"))
SpaceLeft = namedtuple("SpaceLeft", ("total", "free", "raw", "sealed"))


def seconds_until_loss(free_bytes: int, used_bytes: int, span_ms: int):
    """Seconds until `free_bytes` are full when `used_bytes` go in each `span_ms`; None when there is no rate yet."""
    return free_bytes * span_ms // (used_bytes * 1000) if used_bytes > 0 and span_ms > 0 else None


class Journal(Batches):
    """See the module. All methods but `recover` raise JournalError before it, and FlashError when the device fails for
    good; after a FlashError the journal must be recovered again.

    `flash` and `new_epoch` as above. `merge_meta(a, b)` makes one meta of two batches lost together, `meta_of(payload)`
    one of a sample lost unsealed (each up to 64 bytes; without them a gap record has the first and the last meta).
    `spare_sectors` are kept erased ahead of need, `erase_ms` is what an erase may take in a quiet window."""

    SAMPLE, EVENT = SAMPLE, EVENT

    def recover(self, reset_cause: int = 0, blank_reason: int = FIRST_START):
        """Find the state and make a new boot number durable; gives a Report. `blank_reason` is the reason of the new
        epoch if the flash is blank (index into events.EPOCH_REASONS); `reset_cause` is only kept, for the caller."""
        from .recovery import recover  # once a start: a board takes it out of its memory afterwards

        self.reset_cause = reset_cause
        self._taken = self._doubted = -1
        self._owed = None
        self._first_boot = None
        self._wanted = self._largest = self.told_back = 0
        self._unsaved = False
        self._rate_ms = None
        try:
            self.sectors.flash.sync()  # what can be kept is kept; what is gone is counted by what memory knows
        except FlashError:
            pass
        try:
            report = recover(self, blank_reason)
        except Exception:
            self.failed = True  # half recovered: nothing may be written
            raise
        self._to_scrub = self.sectors.free if report.foreign else 0
        return report

    def wipe(self, reason: int = FACTORY_RESET):
        """Begin a new epoch now; everything held is gone. Old sectors are erased as they are needed, or by `scrub`."""
        from .recovery import begin_epoch

        if self.failed:
            raise JournalError("the journal must be recovered first")
        self._taken = -1
        self.told_back = 0
        try:
            begin_epoch(self, reason, self.ledger.boot - 1)
        except FlashError:
            self.failed = True
            raise
        self._unsaved = False
        self._owed = None
        self._to_scrub = self.sectors.free
        self.sync()

    def scrub(self):
        """Erase every free sector (45 ms each on RP2, 11 s for 256): nothing older can be read any more."""
        while self.scrub_next():
            pass

    def scrub_next(self) -> bool:
        """Erase one more of the sectors that were free at `wipe`, or at a start that found sectors of another epoch;
        False when there is none left. For callers that have a watchdog to feed."""
        if self._to_scrub <= 0:
            return False
        self._to_scrub -= 1
        self._erase_next()
        if len(self.sectors.spares) > self.spare_sectors:
            self.sectors.let_go()
        return True

    @property
    def boot(self) -> int:
        """Number of this start."""
        return self.ledger.boot

    @property
    def counters(self):
        """(sampled, acked, buffered, dropped), in readings of this epoch: sampled = acked + buffered + dropped."""
        ledger = self.ledger
        sampled = ledger.sampled + ledger.unstored
        return Counters(sampled, ledger.acked, sampled - ledger.acked - ledger.dropped, ledger.dropped)

    def append(self, kind: int, payload, readings: int = 0) -> int:
        """Make one record durable and give its position. `payload` up to 2,048 bytes; `readings` 0…255, 0 for EVENT.
        Raises JournalError for anything else, FlashError when it could not be stored."""
        if kind not in (SAMPLE, EVENT) or not 0 <= readings <= (255 if kind == SAMPLE else 0):
            raise JournalError("no record of kind %d with %d readings" % (kind, readings))
        if len(payload) > PAYLOAD_MAX:
            raise JournalError("a record of %d bytes, %d are allowed" % (len(payload), PAYLOAD_MAX))
        size = self.sectors.space_for(len(payload))
        self._make_room(RAW, size)
        if size > self._largest:
            self._largest = size
        ledger = self.ledger
        position = ledger.position
        if not self.sectors.write(RAW, self.epoch, kind, readings, ledger.boot, position, ledger.sampled, (payload,)):
            self.flash_faults += 1
            self._put(RAW, kind, readings, 0, (payload,), 1)
            ledger = self.ledger
            position = ledger.position
        ledger.position = position + 1
        ledger.sampled += readings
        if self._owed is not None:
            self.tell_owed()
        if self.sectors.faults:
            sector, operation = self.sectors.faults[0]
            self.sectors.faults = self.sectors.faults[1:]
            self.append(EVENT, cbor.encode([events.FLASH_FAULT, sector, operation]))
        return position

    def note_lost(self, readings: int):
        """Count readings that were taken but could not be appended: sampled and dropped, told in a gap record."""
        self._make_room(RAW, self.state_size(GAP_BYTES))
        gap = Gap(FLASH_FAULT)
        gap.readings = readings
        self.put_state(GAP, 0, gap, 0, readings)
        self.tell_owed()

    # Erasing ahead.

    @property
    def needs_erase(self) -> bool:
        """Whether `maintain` has an erase to do: fewer sectors are in hand than should be."""
        return len(self.sectors.spares) < max(self.spare_sectors, self._wanted)

    def maintain(self, quiet_ms=None) -> bool:
        """Do what the next append would else wait for, if it fits into `quiet_ms` (None: it does): begin a sector when
        the open one has no room for such a record as those in it, or erase one when `needs_erase`. True when something
        was done. Nothing else ever erases, but a journal without a sector in hand (`forced_erases` counts those)."""
        if self.failed:
            return False
        self.tell_owed()
        full = self.sectors.room(RAW) < min(self._largest, self.sectors.size // LARGE_PART)
        if full and len(self.sectors.spares) and (quiet_ms is None or quiet_ms >= OPEN_MS):
            self._open(RAW)
            self.tell_owed()
            return True
        if not self.needs_erase or quiet_ms is not None and quiet_ms < self.erase_ms:
            return False
        if self.sectors.free <= len(self.sectors.spares):
            self.free_one()
        self.rotate()
        self.tell_owed()
        return self._erase_next()

    def ready_for(self, byte_count: int) -> bool:
        """Whether a batch of so many bytes can be committed without an erase; if not, `maintain` works towards it."""
        room = self.sectors.room(SEALED)
        self._wanted = min(self.sectors_for(max(0, byte_count - room)), self.sectors.count // 2)
        return not self.needs_erase

    def _erase_next(self) -> bool:
        try:
            return self.sectors.erase_next()
        except FlashError:
            self.failed = True
            raise

    # How much is left.

    @property
    def space(self):
        """Sectors: (total, free for new data, in use by raw records, in use by batches that are held)."""
        sectors, ledger = self.sectors, self.ledger
        settled = 0
        if len(sectors.sealed):
            settled = sectors.holder(SEALED, ledger.low)
            if settled and sectors.begin(SEALED, settled) == ledger.low and sectors.begun_inside():
                settled -= 1
        free = max(0, sectors.free + settled - self.spare_sectors)
        return SpaceLeft(sectors.count, free, len(sectors.raw), len(sectors.sealed) - settled)

    def seconds_to_loss(self, mono_ms: int):
        """Seconds until the first reading would be dropped if no receipt came from now on, by the rate of batches
        since the start (over two days at most); None in the first minute. `mono_ms` is the time since boot."""
        if self._rate_ms is None:
            self._rate_ms = mono_ms
            self.sealed_bytes = 0
        span_ms = mono_ms - self._rate_ms
        if span_ms > 2 * RATE_SPAN_MS:
            span_ms //= 2
            self.sealed_bytes //= 2
            self._rate_ms = mono_ms - span_ms
        if span_ms < 60000:
            return None
        sectors = self.sectors
        return seconds_until_loss(self.space.free * (sectors.size - sectors.first), self.sealed_bytes, span_ms)
