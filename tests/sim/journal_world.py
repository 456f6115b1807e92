"""A gateway's life with its journal, and a memory of it that cannot be cut: the oracle.

`World` drives a journal through a seeded plan: samples of several sizes, events, sealing, receipts in time, late, lost
or newest first, weeks without a hub, a sealer that stalls, starts in between, space running out. Beside it, it keeps
what every call promised when it returned and how many flash operations had been done by then. So for a flash on
which only the first n operations have happened (the next one perhaps in part), `check` knows what must be there:

 - every sample whose append had returned is unsealed with the same bytes, or in a batch that is held, or in one that
   was acknowledged, or counted as dropped; the one in flight may be there whole or not at all;
 - what is unsealed was sampled, in this order, and nothing else was;
 - no batch number is free that had been committed, every batch held has the very bytes committed under its number,
   and a batch is settled only if its receipt had come or it was dropped;
 - sampled = acknowledged + buffered + dropped, where buffered is counted anew from what can be read; the counters lie
   between those before and those after the call in flight; what gap records tell adds up to what was dropped;
 - every batch that is gone without a receipt is named by a gap record that is unsealed, or in a batch that is held or
   was acknowledged;
 - the epoch is the same, the boot number is new.

A world over a file system promises only what had been synced: it passes `synced=False` and calls `sync`.
"""

from hashlib import sha256

from flash_sim import Chance
from parkgate import events
from parkgate.errors import JournalFull
from parkgate.wire import cbor

READINGS_OF_SIZE = 8


class Wrong(Exception):
    """The journal broke a promise."""


class Sample:
    """One sample as the oracle remembers it."""

    def __init__(self, payload, readings, boot, began):
        self.payload = payload
        self.readings = readings
        self.boot = boot
        self.began = began  # operations done when append was called
        self.kept = None  # … when it was durable


class Batch:
    """One batch as the oracle remembers it."""

    def __init__(self, sealed, readings, first, last, told, names, began):
        self.sealed = sealed
        self.readings = readings
        self.first, self.last = first, last  # positions
        self.told = told  # readings that gap records in it tell
        self.names = names  # [(first, last)]: the seqs that they name
        self.began = began
        self.acked = None  # operations done when acknowledge was called


class Moment:
    """What the counters were after a call, and how many operations had been done."""

    def __init__(self, operations, journal, restarts):
        self.operations = operations
        self.counters = journal.counters
        self.next_seq = journal.next_seq
        self.position = journal.ledger.position
        self.boot = journal.boot
        self.epoch = journal.epoch
        self.restarts = restarts


class World:
    """`make_journal(flash)` gives an unrecovered journal; `flash.trace` must be a list. `synced` tells whether every
    call is durable when it returns."""

    def __init__(self, flash, make_journal, seed: int, synced: bool = True, trace=None):
        self.flash = flash
        self.trace = flash.trace if trace is None else trace
        self.make_journal = make_journal
        self.chance = Chance(seed)
        self.synced = synced
        self.samples = {}  # position → Sample
        self.batches = {}  # seq → Batch
        self.told_before = [0]  # seq → readings that gap records in batches before it tell
        self.moments = []
        self.unkept = []
        self.readings = 0
        self.appended = 0
        self.restarts = 0
        self.start()

    # The plan.

    def start(self):
        """A start of the gateway, its memory gone; an orderly one where writes wait."""
        if not self.synced and self.moments:
            self.sync()
        self.journal = self.make_journal(self.flash)
        self.restarts += 1
        self.report = self.journal.recover(1)
        self._moment(True)

    def _moment(self, durable):
        journal = self.journal
        counters = journal.counters
        if counters.sampled != counters.acked + counters.buffered + counters.dropped or counters.buffered < 0:
            raise Wrong("identity: %s" % (counters,))
        moment = Moment(len(self.trace), journal, self.restarts)
        moment.durable = durable
        if self.moments and counters.dropped > self.moments[-1].counters.dropped and journal.space.free > 12:
            raise Wrong("dropped with %d sectors free" % journal.space.free)
        self._check_order(moment)
        self.moments.append(moment)
        if durable:
            for sample in self.unkept:
                sample.kept = moment.operations
            self.unkept = []

    def _check_order(self, moment):
        """Raw records are dropped only when no batch, all of which are older, is held."""
        ledger = self.journal.ledger
        moment.consumed = ledger.consumed
        moment.held = len(self.journal.held())
        if self.moments:
            last = self.moments[-1]
            if moment.next_seq == last.next_seq and moment.consumed > last.consumed and moment.held:
                raise Wrong("raw records were dropped before %d batches" % moment.held)

    def sample(self, size=None, readings=None):
        """Append one sample."""
        chance = self.chance
        size = (12, 24, 40, 48, 48, 60, 90, 300)[chance.below(8)] if size is None else size
        readings = 1 + chance.below(READINGS_OF_SIZE) if readings is None else readings
        payload = b"%d:" % self.appended + chance.data(size)
        began = len(self.trace)
        position = self.journal.append(self.journal.SAMPLE, payload, readings)
        self.appended += 1
        self.readings += readings
        sample = Sample(payload, readings, self.journal.boot, began)
        self.samples[position] = sample
        self.unkept.append(sample)
        self._moment(self.synced)

    def event(self):
        """Append one event, as a change of settings would."""
        self.journal.append(self.journal.EVENT, cbor.encode([events.SETTINGS, self.chance.data(8), None]))
        self._moment(self.synced)

    def maintain(self):
        """Take what is due in a quiet moment."""
        while self.journal.maintain(1000):
            self._moment(self.synced)

    def sync(self):
        """Make everything durable, on a world that does not do so at each call."""
        self.journal.sectors.flash.sync()
        self._moment(True)

    def seal(self, limit=None, filler=0):
        """Seal the oldest unsealed records of one boot."""
        parts, names, readings, told, first, last, boot = [], [], 0, 0, None, None, None
        for record in self.journal.unsealed(limit):
            if boot is not None and record.boot != boot:
                break
            boot = record.boot
            first = record.position if first is None else first
            last = record.position
            readings += record.readings
            told += told_by(self.journal, record)
            names += named_by(self.journal, record)
            parts.append(record.payload)
        if last is None:
            return
        parts.append(self.chance.data(filler % 997) * (filler // 997 + 1))
        sealed = b"".join(parts)[:16384]
        seq = self.journal.next_seq
        began = len(self.trace)
        earlier = self.batches.get(seq)
        if earlier is not None and earlier.began < began:
            raise Wrong("batch %d is sealed again" % seq)
        self.batches[seq] = Batch(sealed, readings, first, last, told, names, began)
        try:
            self.journal.commit_batch(seq, sealed, sha256(sealed).digest(), last, readings, b"m%d" % seq)
        except JournalFull:
            del self.batches[seq]
        else:
            self.told_before.append(self.told_before[seq] + told)
        self._moment(True)

    def acknowledge(self, seq):
        """A receipt came."""
        if seq in self.journal.held():
            batch = self.batches[seq]
            sealed = self.journal.read_batch(seq)
            if sealed is None or bytes(sealed) != batch.sealed:
                raise Wrong("batch %d is not what was committed" % seq)
            if batch.acked is None:
                batch.acked = len(self.trace)
            self.journal.acknowledge(seq)
            self._moment(False)

    def work(self, records, seal_every, online, filler=0, receipts="all"):
        """`records` samples with everything that goes with them. `receipts`: all, some, newest (and the backlog
        behind it); only while `online`."""
        chance = self.chance
        for i in range(records):
            self.sample()
            if chance.below(4):
                self.maintain()
            if not chance.below(97):
                self.event()
            if not chance.below(211):
                self.start()
            if seal_every and i % seal_every == seal_every - 1:
                size = filler and chance.below(filler)
                for _ in range(8):
                    if self.journal.ready_for(min(size + 8000, 16384)):
                        break
                    self.maintain()
                self.seal(2 * seal_every, size)
                held = self.journal.held()
                if online and held:
                    if receipts == "all":
                        for seq in list(held)[:8]:
                            self.acknowledge(seq)
                    elif receipts == "some" and chance.below(3):
                        self.acknowledge(held[chance.below(len(held))])
                    elif receipts == "newest":
                        self.acknowledge(held[-1])
                        self.acknowledge(held[0])
            if not self.synced and not chance.below(8):
                self.sync()

    # The oracle.

    def around(self, operations):
        """(last durable moment at or before, first moment behind) the first `operations` operations."""
        low, high = 0, len(self.moments)
        while low < high:
            middle = (low + high) // 2
            if self.moments[middle].operations <= operations:
                low = middle + 1
            else:
                high = middle
        after = self.moments[min(low, len(self.moments) - 1)]
        low -= 1
        while low >= 0 and not self.moments[low].durable:
            low -= 1
        return (self.moments[low] if low >= 0 else None), after

    def check(self, journal, operations, thorough=True, more_boots=1, one_bit_short=False):
        """Compare a recovered `journal` with what must be there after `operations` whole operations and perhaps a part
        of the next. `one_bit_short`: that part is all of it but for one bit. Raises Wrong."""
        before, after = self.around(operations)
        counters = journal.counters
        if before is None:
            _want(counters.sampled <= after.counters.sampled and journal.next_seq == 0, "a journal that never was")
            return
        low, high = before.counters, after.counters
        where = "after %d operations" % operations
        _want(not journal.flash_faults and not journal.sectors.faults, "good flash refused an operation " + where)
        _want(journal.epoch == before.epoch or journal.epoch == after.epoch, "another epoch " + where)
        if journal.epoch != before.epoch:
            return
        _want(before.boot < journal.boot <= after.boot + more_boots, "boot %d %s" % (journal.boot, where))
        _want(before.next_seq <= journal.next_seq <= after.next_seq, "next seq is %d %s" % (journal.next_seq, where))
        _want(low.sampled <= counters.sampled <= high.sampled, "%s sampled %s" % (counters, where))
        # A sample in flight that lacks one bit looks like a stored one in which a bit has flipped since. It is counted,
        # and told as damaged in its place, or as lost at the end of a sector, which has no room for this (SPEC 9.7).
        short = high.sampled - low.sampled if one_bit_short else 0
        flying = journal.ledger.unstored
        _want(flying in (0, short), "%d readings were never stored %s" % (flying, where))
        _want(low.dropped <= counters.dropped <= high.dropped + flying, "%s dropped %s" % (counters, where))
        _want(journal.ledger.position >= before.position, "position %d %s" % (journal.ledger.position, where))
        _want(counters.acked <= max(low.acked, high.acked), "%s acknowledged %s" % (counters, where))
        _want(counters.sampled == counters.acked + counters.buffered + counters.dropped, "identity %s" % where)
        held = journal.held()
        self._check_batches(journal, held, operations, thorough)
        unsealed, told, gone, names = self._check_unsealed(journal, operations)
        _want(gone in (0, short - flying), "%d readings are damaged %s" % (gone, where))
        sealed = sum(self.batches[seq].readings for seq in held)
        _want(
            unsealed + sealed + gone == counters.buffered,
            "%d unsealed, %d held, %d damaged, %d buffered %s" % (unsealed, sealed, gone, counters.buffered, where),
        )
        told += self.told_before[journal.next_seq]
        _want(told == counters.dropped + gone, "%d told, %d dropped %s" % (told, counters.dropped, where))
        if thorough or not operations % 4:
            self._check_names(journal, held, operations, names)

    def check_damaged(self, journal, report, operations):
        """As `check`, after a bit flipped somewhere: nothing altered, no seq used again, every loss in the counts."""
        before, _ = self.around(operations)
        if before is None:
            return
        if journal.epoch != before.epoch:
            _want(report.born and report.epoch_reason == 1, "another epoch and no reason")
            return
        _want(journal.next_seq >= before.next_seq, "next seq is %d, was %d" % (journal.next_seq, before.next_seq))
        present = 0
        for seq in journal.held():
            sealed = journal.read_batch(seq)
            if sealed is not None:
                _want(bytes(sealed) == self.batches[seq].sealed, "batch %d has other bytes" % seq)
        present = sum(self.batches[seq].readings for seq in journal.held())
        gone = 0
        for record in journal.unsealed():
            present += record.readings
            if record.kind == journal.SAMPLE:
                sample = self.samples.get(record.position)
                _want(sample is not None and record.payload == sample.payload, "sample %d is altered" % record.position)
                _want(record.boot == sample.boot, "sample %d of another boot" % record.position)
            else:
                event = cbor.decode(record.payload)
                if event[0] == events.GAP and len(event[5]) == 5:
                    gone += event[3]
        counters = journal.counters
        _want(counters.sampled == counters.acked + counters.buffered + counters.dropped, "identity")
        _want(present + gone == counters.buffered, "%d there, %d told, %s" % (present, gone, counters))
        missing = before.counters.sampled - counters.sampled
        _want(missing <= 0, "%d readings are missing and nothing tells" % missing)

    def _check_batches(self, journal, held, operations, thorough):
        count = len(held)
        for index in range(count):
            if not thorough and 1 < index < count - 2 and (index + operations) % 32:
                continue
            seq = held[index]
            sealed = journal.read_batch(seq)
            _want(sealed is not None, "batch %d cannot be read after %d operations" % (seq, operations))
            _want(bytes(sealed) == self.batches[seq].sealed, "batch %d has other bytes" % seq)
        # What is settled was acknowledged, or was dropped with all that was older and not acknowledged.
        for seq in range(held[0] if count else journal.next_seq, journal.next_seq):
            acked = self.batches[seq].acked
            _want(
                seq in held or acked is not None and acked <= operations, "batch %d was settled without a receipt" % seq
            )
        if thorough:
            acked = 0
            for seq in range(journal.next_seq):
                batch = self.batches[seq]
                if seq not in held and batch.acked is not None and batch.acked <= operations:
                    acked += batch.readings
            _want(journal.counters.acked <= acked, "more acknowledged than receipts came")

    def _check_names(self, journal, held, operations, unsealed_names):
        """A batch that is gone without a receipt is named where the hub will read it, or has read it."""
        names, lost = list(unsealed_names), []
        for seq in range(journal.next_seq):
            batch = self.batches[seq]
            if seq in held or batch.acked is not None and batch.acked <= operations:
                names += batch.names
            else:
                lost.append(seq)
        for seq in lost:
            named = any([first <= seq <= last for first, last in names])
            _want(named, "batch %d is gone and nothing names it after %d operations" % (seq, operations))

    def _check_unsealed(self, journal, operations):
        """(readings, readings told by gap records, readings damaged, batches named) of what is unsealed."""
        position = journal.ledger.consumed
        readings = told = damaged = 0
        names = []
        for record in journal.unsealed():
            _want(record.position >= position, "position %d again" % record.position)
            for missing in range(position, record.position):
                sample = self.samples.get(missing)
                kept = sample is not None and sample.kept is not None and sample.kept <= operations
                _want(not kept, "sample %d is missing after %d operations" % (missing, operations))
            position = record.position + 1
            readings += record.readings
            if record.kind == journal.SAMPLE:
                sample = self.samples.get(record.position)
                _want(sample is not None, "a sample that never was at %d" % record.position)
                _want(sample.began <= operations, "a sample of later at %d" % record.position)
                same = record.payload == sample.payload and record.readings == sample.readings
                _want(same, "sample %d is altered" % record.position)
                _want(record.boot == sample.boot, "sample %d of another boot" % record.position)
            else:
                event = cbor.decode(record.payload)
                if event[0] == events.GAP:
                    told += event[3]
                    names += _named(event)
                    self._check_gap(journal, event)
                    if len(event[5]) == 5:  # told where it stood, not yet counted as dropped
                        damaged += event[3]
                sample = self.samples.get(record.position)
                kept = sample is not None and sample.kept is not None and sample.kept <= operations
                if kept:
                    raise Wrong("sample %d is an event now" % record.position)
        for missing in range(position, journal.ledger.position):
            raise Wrong("position %d is told of by nothing" % missing)
        return readings, told, damaged, names

    def _check_gap(self, journal, event):
        """The batches of a gap record that tells nothing but batches are gone, and had the readings it tells. Those
        acknowledged may be among them: a cut can take an acknowledgement back."""
        _, first, last, readings, _, details = event
        if first is None or details[1] or details[3]:
            return
        held = journal.held()
        total = count = acked = acked_count = 0
        for seq in range(first, last + 1):
            _want(seq < journal.next_seq and seq not in held, "a gap record tells of batch %d, which is here" % seq)
            if self.batches[seq].acked is None:
                total += self.batches[seq].readings
                count += 1
            else:
                acked += self.batches[seq].readings
                acked_count += 1
        _want(0 <= details[0] - count <= acked_count, "a gap record tells of %d batches, not %d" % (details[0], count))
        _want(0 <= readings - total <= acked, "a gap record tells of %d readings, not %d" % (readings, total))


def told_by(journal, record) -> int:
    """Readings that a record tells as lost."""
    if record.kind == journal.SAMPLE:
        return 0
    event = cbor.decode(record.payload)
    return int(event[3]) if event[0] == events.GAP else 0


def _want(good, message):
    if not good:
        raise Wrong(message)


def named_by(journal, record):
    """[(first, last)]: the batches that a record names as lost."""
    if record.kind == journal.SAMPLE:
        return []
    return _named(cbor.decode(record.payload))


def _named(event):
    return [(event[1], event[2])] if event[0] == events.GAP and event[1] is not None else []
