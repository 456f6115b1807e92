"""Samples and events made durable in the journal."""

from parkgate.errors import JournalError
from parkgate.reading import encode_sample
from parkgate.wire import cbor


class Records:
    """`journal` is recovered; `cause` is the one of this start, `totals` a Totals."""

    def __init__(self, journal, cause: int, clock, totals, log):
        self._journal = journal
        self._cause = cause
        self._clock = clock
        self._totals = totals
        self._log = log
        self.lost = 0  # readings that the journal could not even count yet
        self.heard = None  # told of each sample that is durable, as `record` is

    def record(self, instrument, values, qualities, taken_ms):
        """Make one sample durable that was acquired at `taken_ms`."""
        time_ms, trust = self._clock.date(taken_ms)
        try:
            payload = encode_sample(instrument.index, time_ms, trust, values, qualities)
        except Exception:
            self.lost += len(values)
            raise
        self.append(self._journal.SAMPLE, payload, len(values))
        self._totals.note(instrument.name, time_ms, trust, values, qualities)
        if self.heard:
            self.heard(instrument, values, qualities, taken_ms)

    def note(self, event: list):
        """Make one event durable."""
        self.append(self._journal.EVENT, cbor.encode(event), 0)

    def append(self, kind, payload, readings):
        """Append to the journal. After a failure of flash, or without memory, the journal is recovered and the record
        written behind the bad place. Raises JournalError, MemoryError when that fails too; the readings are recorded as
        lost as soon as the journal can be written again."""
        journal = self._journal
        sampled = journal.ledger.sampled
        lost, self.lost = self.lost, self.lost + readings
        if not journal.failed:
            try:
                journal.append(kind, payload, readings)
                self.lost = lost
            except (JournalError, MemoryError) as e:
                self._log.error("journal", "%s; recovering" % (e or "out of memory"))
                journal.failed = True
        if journal.failed:
            journal.recover(self._cause)
            if not readings or journal.ledger.sampled <= sampled:  # else it is on flash already
                journal.append(kind, payload, readings)
            self.lost = lost
        if lost:
            journal.note_lost(lost)
            self.lost = 0
