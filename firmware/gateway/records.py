"""Samples and events made durable in the journal; what happens to a meter's numbers is one of them."""

from gateway.loaded import drop
from parkgate import events
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


class MeterNotes:
    """What happens to a meter's numbers, said in the log and made durable as signed events. Made before there is a
    journal; `use` comes before the first sample."""

    def __init__(self, log, mono_ms):
        self._log = log
        self._mono_ms = mono_ms
        self._note = self._date = None

    def use(self, note, date):
        """`note(event)` makes an event durable, `date(mono_ms)` gives (time, trust)."""
        self._note = note
        self._date = date

    def counter(self, name, quantity, what, before, value):
        """What a counter did; see counters.CounterCheck."""
        self._log.info(name, "%s: %s, %d after %d" % (quantity, events.COUNTER_EVENTS[what], value, before))
        self._keep([events.COUNTER, name, quantity, what, before, value])

    def ratio(self, name, ratio, before, now):
        """A meter's registers say a transformer ratio, "ct" or "vt", for the first time (before is None) or another."""
        self._log.info(name, "%s ratio %d:%d%s" % (ratio, now[0], now[1], ", changed" if before else ""))
        self._keep([events.RATIO, name, ratio, before and list(before), list(now)])

    def consistency(self, name, check, what, code, stated, expected, scale):
        """Numbers of a meter disagree, or agree again; see consistency.check."""
        if code:
            from parkgate.meters.consistency import diagnosis

            self._log.error(name, diagnosis.sentence(check, code, stated, expected, scale))
            drop(("parkgate.meters.consistency.diagnosis",))
        else:
            self._log.info(name, "%s: the numbers agree again" % check)
        self._keep([events.CONSISTENCY, name, check, what, code, stated, expected, scale])

    def _keep(self, event):
        """Make an event durable, with its time at the end."""
        assert self._note is not None and self._date is not None
        self._note(event + [list(self._date(self._mono_ms()))])
