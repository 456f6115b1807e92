"""How the journal finds its state after a start: headers, then the two open sectors, then one record is written.

 1. All sector headers are read. The newest tells the epoch; sectors of another epoch, with a damaged header or with
    none are free.
 2. In the open sealed sector and the open raw sector the newest ledger is looked for: that with the highest serial
    (of two with the same, a record torn and written anew, the one with the higher position).
 3. Raw records behind that ledger are counted. Bytes behind the last true record that are not blank are a torn tail:
    a record that was being written when the power went, never reported as stored. It keeps its position, so that it
    cannot be taken for another if its cells read well later; the TORN event stands in its place. But if turning back
    one bit makes a true record of them, it was stored and a bit has flipped since: nothing else tells of its readings,
    so they are counted by it, and told as damaged.
 4. A BOOT record makes the new boot number durable. From then on appending goes on, in the same sector behind the
    torn tail, or in a new one.

Nothing is erased but what is taken for step 4, and nothing is ever formatted: flash without one sector of ours begins
a new epoch and says why.
"""

from parkgate import events
from parkgate.errors import FlashError, FormatError

from .format import BOOT, BORN, COMMIT, COMMIT_BYTES, GAP, RAW, SEALED, STATE, TORN, Gap, Ledger, mend_record
from .sectors import Record
from .space import CORRUPT, JOURNAL_LOST

LOST_SERIAL = 1 << 48  # where serials begin after a loss: above all that a sector read wrongly now may show later


class Report:
    """What a start found.

    born         a new epoch began; `epoch_reason` says why (index into events.EPOCH_REASONS)
    torn         1 when a raw record was cut short
    unfinished   1 when a batch was cut short before it was whole; its number and its readings are free again
    missing      raw records in the open sector that no longer check; the TORN one is not among them
    foreign      sectors of another epoch; strange: sectors with something that is not ours or was being erased
    unreadable   sectors whose header the device could not read
    """

    def __init__(self):
        self.born = False
        self.epoch_reason = self.boot = 0
        self.torn = self.unfinished = self.missing = 0
        self.foreign = self.strange = self.unreadable = 0

    def text(self) -> str:
        """One line for people."""
        if self.born:
            words = "new epoch (%s)" % events.EPOCH_REASONS[self.epoch_reason]
        else:
            words = "continued"
        words += ", boot %d" % self.boot
        for count, what in (
            (self.torn, "torn record"),
            (self.unfinished, "unfinished batch"),
            (self.missing, "damaged record"),
            (self.foreign, "sector of another epoch"),
            (self.strange, "sector half erased or strange"),
            (self.unreadable, "unreadable sector"),
        ):
            if count:
                words += ", %d × %s" % (count, what)
        return words


def recover(journal, blank_reason: int) -> Report:
    """Bring `journal` into the state that flash tells, and make the new boot number durable. Raises FlashError when
    no sector can be read at all."""
    sectors = journal.sectors
    report = Report()
    newest, report.foreign, report.strange, report.unreadable = sectors.survey()
    journal.failed = False
    if newest < 0:
        if report.unreadable == sectors.count:
            journal.failed = True
            raise FlashError("no sector of the journal can be read")
        begin_epoch(journal, JOURNAL_LOST if report.strange or report.unreadable else blank_reason, journal.ledger.boot)
    else:
        sectors.read_header(newest)
        journal.epoch = sectors.header.epoch
        journal.epoch_reason = sectors.header.reason
        journal.ledger = sectors.ledger_read()
        _read_sealed_tail(journal, report)
        _read_raw_tail(journal, report)
        ledger = journal.ledger
        ledger.boot += 1
        # Beyond any ledger that was being written when the power went.
        ledger.serial += 2
        journal.free_raw()
        _write_boot(journal, TORN if report.torn else 0)
        if journal.ledger.unreported:
            journal.tell_loss(CORRUPT)
    journal.sync()
    report.born = newest < 0
    report.boot = journal.ledger.boot
    report.epoch_reason = journal.epoch_reason
    return report


def begin_epoch(journal, reason: int, boot: int):
    """Begin an empty chain in a new sector; every sector of the epoch before is free from the moment its header
    stands. `boot` is the boot before this one."""
    sectors = journal.sectors
    ledger = Ledger()
    ledger.serial = max(journal.ledger.serial, LOST_SERIAL if reason == JOURNAL_LOST else 0)
    ledger.boot = boot + 1
    journal.ledger = ledger
    journal.epoch = bytes(journal.new_epoch())
    journal.epoch_reason = reason
    sectors.abandon()
    _write_boot(journal, BORN)


def _write_boot(journal, flags):
    """The BOOT record; the position before it stands for what its flags tell."""
    journal.room_for_state()
    fresh = journal.ledger.copy()
    if flags:
        fresh.position += 1
    journal.put_state(BOOT, flags, fresh, fresh.position)


def _read_sealed_tail(journal, report):
    """Look for the newest ledger in the open sealed sector, and where the next batch can begin."""
    sectors = journal.sectors
    if not len(sectors.sealed):
        return
    sector = sectors.sealed[-1]
    if not sectors.load(sector):
        return
    record = Record()
    offset = sectors.first
    unfinished = False
    while sectors.find(offset, record):
        offset = sectors.behind(record)
        unfinished = record.kind != COMMIT
        if record.kind == COMMIT:
            _take_ledger(journal, sectors.content(record), COMMIT_BYTES)
    report.unfinished = 1 if unfinished or sectors.end_of_use() > offset else 0
    sectors.resume(SEALED, sector, offset)


def _read_raw_tail(journal, report):
    """Look for the newest ledger in the open raw sector, count the records behind it, find the torn tail."""
    sectors = journal.sectors
    if not len(sectors.raw):
        return
    sector = sectors.raw[-1]
    if not sectors.load(sector):
        return
    record = Record()
    offset = sectors.first
    while sectors.find(offset, record):
        offset = sectors.behind(record)
        if record.kind in (GAP, BOOT, STATE):
            _take_ledger(journal, sectors.content(record), 0)
    used = sectors.end_of_use()
    mended = used > offset and mend_record(sectors.whole, offset, sectors.seed) and sectors.find(offset, record)
    if mended:
        offset = sectors.behind(record)
        report.missing += 1
        if record.kind in (GAP, BOOT, STATE):
            _take_ledger(journal, sectors.content(record), 0)
        if record.kind == GAP:  # it cannot be read: what it told is owed again
            gap = Gap(CORRUPT)
            content = bytes(sectors.content(record))
            gap.unpack(content[Ledger().unpack(content, 0) :])
            journal.ledger.unreported += gap.readings
    report.torn = 1 if used > offset else 0
    ledger = journal.ledger
    top = sectors.top
    offset = sectors.first
    while sectors.find(offset, record):
        offset = sectors.behind(record)
        position = top.position + (record.a - top.position & 0xFFFF)
        if record.kind < GAP and position >= ledger.position:
            report.missing += position - ledger.position
            ledger.position = position + 1
            ledger.sampled = top.sampled + (record.b - top.sampled & 0xFFFF) + record.count
    sectors.resume(RAW, sector, offset)
    if mended:
        sectors.loaded = -1


def _take_ledger(journal, content, at):
    ledger = Ledger()
    try:
        ledger.unpack(content, at)
    except (FormatError, ValueError):
        return
    if (ledger.serial, ledger.position) >= (journal.ledger.serial, journal.ledger.position):
        journal.ledger = ledger
