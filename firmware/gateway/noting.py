"""What happens to a meter's numbers, said in the log and made durable as signed events."""

from gateway.loaded import drop
from parkgate import events


class MeterNotes:
    """Made before there is a journal; `use` comes before the first sample."""

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
