"""How the journal finds its state after a start: headers, then the two open sectors, then one record is written.

 1. All sector headers are read. The newest tells the epoch, unless it is a single sector that strayed here (survey.py);
    sectors of another epoch, with a damaged header or with none are free. A header that was torn when its sector was
    begun is erased now.
 2. In the open sealed sector and the open raw sector the newest ledger is looked for: that with the highest serial
    (of two with the same, a record torn and written anew, the one with the higher position).
 3. Raw records behind that ledger are counted. Bytes behind the last true record that are not blank are a torn tail:
    a record that was being written when the power went, never reported as stored. But if turning back one bit makes a
    true record of them, it was stored and a bit has flipped since: nothing else tells of its readings, so they are
    counted by it, and told as damaged. Nothing is decided by one reading of the sector that does not check.
 4. The newest record of each open sector is programmed once more, so that it is there at every later start too.
 5. A BOOT record makes the new boot number durable, and what was decided: it tells from where on all bytes before it
    are nothing. Whatever they read like at later starts, they stay so. The torn record keeps its position; the TORN
    event stands in its place. From then on appending goes on behind, or in a new sector, whose header says the same.

Nothing is erased but a torn header and what is taken for step 5, and nothing is ever formatted: flash without one
sector of ours begins a new epoch and says why.
"""

from parkgate import events
from parkgate.errors import FlashError, FormatError, JournalFull

from .format import (
    BOOT,
    BORN,
    COMMIT,
    COMMIT_BYTES,
    GAP,
    HEADER_BYTES,
    RAW,
    SEALED,
    STATE,
    TORN,
    VOID_EXTRA,
    Gap,
    Ledger,
    header_rest,
)
from .loaded import Record
from .space import CORRUPT, JOURNAL_LOST
from .survey import Survey, confirm, load_settled

LOST_SERIAL = 1 << 48  # serials begin at a multiple of it after a loss: above all that a sector read wrongly may show


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
    known, epoch = journal.ledger, journal.epoch  # after a failure of flash: what memory knows
    survey = Survey(sectors)
    report.foreign, report.strange, report.unreadable = survey.foreign, survey.strange, survey.unreadable
    journal.failed = False
    if survey.newest < 0:
        if report.unreadable == sectors.count:
            journal.failed = True
            raise FlashError("no sector of the journal can be read")
        lost = report.strange or report.unreadable
        serial = (survey.claimed // LOST_SERIAL + 1) * LOST_SERIAL if lost else 0
        begin_epoch(journal, JOURNAL_LOST if lost else blank_reason, journal.ledger.boot, serial)
    else:
        survey.erase_begun(sectors)
        sectors.read_header(survey.newest)
        journal.epoch = sectors.header.epoch
        _, journal.epoch_reason, _ = header_rest(sectors.buffer)
        journal.ledger = sectors.ledger_read()
        _read_sealed_tail(journal, report)
        void = _read_raw_tail(journal, report)
        ledger = journal.ledger
        if known.serial and journal.epoch == epoch:
            _keep_known(ledger, known)
        if ledger.low == ledger.next_seq:
            sectors.tails[SEALED].close()  # it may have been given up, and half erased: nothing in it is wanted
        ledger.boot += 1
        # Beyond any ledger that was being written when the power went, and any that a torn header may still show.
        ledger.serial += 2 + 8 * report.strange
        journal.owe_missing(report.strange > 0)
        journal.free_raw()
        # An epoch whose first record was torn begins with this one.
        _write_boot(journal, (TORN if report.torn else 0) if ledger.position else BORN, void)
        journal.tell_owed()
    journal.sync()
    report.born = survey.newest < 0
    report.boot = journal.ledger.boot
    report.epoch_reason = journal.epoch_reason
    return report


def _keep_known(ledger, known):
    """Where writes wait in a cache, a failure takes those with it that no sync had covered. Their positions and their
    readings stay: what is missing is stated in its place, and a loss that only they stated is owed."""
    if known.position > ledger.position:
        ledger.position = known.position
        ledger.sampled = known.sampled
    unstored = known.unstored - ledger.unstored
    if unstored > 0:
        ledger.unstored += unstored
        ledger.dropped += unstored
        ledger.unreported += unstored


def begin_epoch(journal, reason: int, boot: int, serial: int = 0):
    """Begin an empty chain in a new sector. Until its header stands nothing of the epoch before is touched, and from
    then on all of it is free. `boot` is the boot before this one, `serial` the least that the first ledger may have."""
    sectors = journal.sectors
    epoch = bytes(journal.new_epoch())
    ledger = Ledger()
    ledger.boot = boot + 1
    ledger.serial = max(journal.ledger.serial, serial)
    journal.forced_erases += not len(sectors.spares)
    while not sectors.open(RAW, 0, reason, epoch, ledger):
        if not len(sectors.raw) or not journal.free_one():
            raise JournalFull("no sector is left to write to")
        ledger.serial = max(journal.ledger.serial, ledger.serial)
    journal.ledger = ledger
    journal.epoch = epoch
    journal.epoch_reason = reason
    sectors.abandon()
    _write_boot(journal, BORN)


def _write_boot(journal, flags, void=None):
    """The BOOT record; the position before it stands for what its flags tell."""
    if journal.sectors.room(RAW) < journal.state_size(VOID_EXTRA):
        # Nothing else is written behind a torn record: what was decided of it must be the next thing on flash.
        journal.sectors.tails[RAW].close()
        journal.room_for_state()
    journal.put_state(BOOT, flags, void=void)


def _is_clean(sectors):
    """Whether nothing in the loaded sector is damaged or torn."""
    record = Record()
    offset = sectors.first
    while sectors.find(offset, record):
        if record.offset != sectors.past_void(offset):
            return False
        offset = sectors.behind(record)
    return not sectors.hurt and sectors.use_end <= offset


def _read_sealed_tail(journal, report):
    """Look for the newest ledger in the open sealed sector, and where the next batch can begin."""
    sectors = journal.sectors
    if not len(sectors.sealed):
        return
    sector = sectors.sealed[-1]
    if not load_settled(sectors, sector, _is_clean):
        return
    record = Record()
    offset = sectors.first
    commit = 0
    unfinished = False
    while sectors.find(offset, record):
        offset = sectors.behind(record)
        unfinished = record.kind != COMMIT
        _take_boot(journal, record)
        if record.kind == COMMIT:
            commit = record.offset
            _take_ledger(journal, sectors.content(record), COMMIT_BYTES)
    report.unfinished = 1 if unfinished or sectors.use_end > offset else 0
    if not unfinished and not confirm(sectors, commit, offset - commit if commit else HEADER_BYTES):
        sectors.give_up(sector, 1)
    sectors.resume(SEALED, sector, offset)


def _read_raw_tail(journal, report):
    """Look for the newest ledger in the open raw sector, count the records behind it, find the torn tail. Gives
    (sector, offset) of the torn tail, or None."""
    sectors = journal.sectors
    if not len(sectors.raw):
        return None
    sector = sectors.raw[-1]
    sectors.give_hurt = True
    if not load_settled(sectors, sector, _is_clean):
        sectors.give_hurt = False
        return None
    record = Record()
    offset = sectors.first
    while sectors.find(offset, record):
        offset = sectors.behind(record)
        _take_boot(journal, record)
        if record.kind in (GAP, BOOT, STATE):
            _take_ledger(journal, sectors.content(record), 0)
    newest = offset - sectors.first and record.offset
    report.torn = 1 if sectors.use_end > offset else 0
    void = (sector, offset) if report.torn else None
    ledger = journal.ledger
    top = sectors.top
    offset = sectors.first
    while sectors.find(offset, record):
        offset = sectors.behind(record)
        position = top.position + (record.a - top.position & 0xFFFF)
        if record.kind < GAP and position >= ledger.position:
            report.missing += position - ledger.position + (record.offset in sectors.hurt)
            ledger.position = position + 1
            ledger.sampled = top.sampled + (record.b - top.sampled & 0xFFFF) + record.count
    hurt = sectors.hurt
    if newest in hurt:
        void = (sector, newest)  # told as damaged, and so it stays, even if it reads well later
    elif not confirm(sectors, newest, offset - newest if newest else HEADER_BYTES):
        sectors.give_up(sector, 1)
    sectors.give_hurt = False
    if sectors.load(sector):
        sectors.resume(RAW, sector, offset)
    if hurt:
        sectors.loaded = -1  # it may not be given
    if newest in hurt and sectors.room(RAW) < journal.state_size(VOID_EXTRA):
        _owe_newest(journal, record)
    return void


def _owe_newest(journal, record):
    """The damaged newest record has no room behind it for the BOOT that would declare it so. The header of the next
    sector does: its position is that of the record, which does not count from then on, and its ledger owes the loss."""
    ledger = journal.ledger
    gap = Gap(CORRUPT)
    gap.records = 1
    gap.readings = record.count
    ledger.position -= 1
    ledger.sampled -= gap.readings
    ledger.unstored += gap.readings
    ledger.dropped += gap.readings
    ledger.unreported += gap.readings
    journal.owe(gap)


def _take_boot(journal, record):
    """The boot number of a record counts, even if the BOOT that gave it is damaged."""
    top = journal.sectors.top
    journal.ledger.boot = max(journal.ledger.boot, top.boot + (record.boot - top.boot & 0xFFFF))


def _take_ledger(journal, content, at):
    ledger = Ledger()
    try:
        ledger.unpack(content, at)
    except (FormatError, ValueError):
        return
    if (ledger.serial, ledger.position) >= (journal.ledger.serial, journal.ledger.position):
        ledger.boot = max(ledger.boot, journal.ledger.boot)
        journal.ledger = ledger
