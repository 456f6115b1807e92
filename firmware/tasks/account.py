"""The account of time: what became of every period of every instrument, and when the gateway did not run."""

from parkgate import events
from parkgate.errors import JournalError
from parkgate.reading import RELATIVE_ONLY
from parkgate.sensing.periods import NOT_BUILT, Periods


class Account:
    """`note(event)` makes an event durable, `clock` dates."""

    def __init__(self, note, clock, mono_ms, log):
        self._note = note
        self._clock = clock
        self._mono_ms = mono_ms
        self._log = log
        self._unbuilt = []
        self._began_ms = 0
        self.samplers: "list | tuple" = ()
        # (time_ms, trust) of the newest sample before this start, until an event states the time without one
        self.last: "tuple | None" = None

    def instruments(self) -> list:
        """All that are sampled."""
        return [instrument for sampler in self.samplers for instrument in sampler.instruments]

    def leave_out(self, name: str, period_ms: int, error):
        """An instrument of the settings that cannot be built: the others run, and none of its periods is taken."""
        self._log.error("settings", "%s: %s; it is not sampled" % (name, error))
        self._unbuilt.append((name, Periods(period_ms, self._mono_ms())))

    def begin(self):
        """Sampling begins: periods count from now on."""
        self._began_ms = self._mono_ms()
        for sampler in self.samplers:
            sampler.begin()

    def look(self):
        """Settle the periods that are over, and tell what is due to be told. Raises JournalError."""
        for sampler in self.samplers:
            sampler.account()
        for name, periods in self._unbuilt:
            now_ms = self._mono_ms()
            periods.settle(NOT_BUILT, periods.over(now_ms))
            if periods.is_due(now_ms):
                self.tell(name, periods)
        if self.last and self._clock.offset_ms is not None:
            last_ms, trust = self.last
            self.last = None
            first_ms = self._began_ms + self._clock.offset_ms
            known = trust != RELATIVE_ONLY and last_ms <= first_ms
            self._note([events.OFF, last_ms if known else None, first_ms])

    def tell(self, name: str, periods):
        """Make a statement of what became of an instrument's periods durable, and begin the next span."""
        now_ms = self._mono_ms()
        begins_ms, counts = periods.tell(now_ms)
        time_ms, trust = self._clock.date(now_ms)
        self._note([events.PERIODS, name, [time_ms - now_ms + begins_ms, trust], periods.period_ms, counts])

    def tell_all(self):
        """Tell every span as it is: the gateway is about to restart, which may be what mends a journal that fails."""
        try:
            for sampler in self.samplers:
                sampler.tell_all()
        except (JournalError, MemoryError) as e:
            self._log.error("journal", str(e))

    def add_health(self, health: dict):
        """`missed`: periods that passed without their sample, whatever the reason. `away`: instruments whose newest
        period was not taken. `faults`: reads that failed in their driver."""
        samplers = self.samplers
        health["missed"] = sum([s.missed() for s in samplers] + [periods.not_taken for _, periods in self._unbuilt])
        health["away"] = sum([s.away() for s in samplers]) + len(self._unbuilt)
        health["faults"] = sum([s.faults for s in samplers])

    def in_words(self) -> dict:
        """name → "; AWAY …" of each instrument whose newest period was not taken."""
        found = {}
        for sampler in self.samplers:
            for i, periods in enumerate(sampler.periods):
                if periods.last:
                    found[sampler.instruments[i].name] = "; AWAY: %s, %d of %d periods not taken since the start" % (
                        events.PERIOD_OUTCOMES[periods.last], periods.not_taken, periods.settled,
                    )  # fmt: skip
        return found
