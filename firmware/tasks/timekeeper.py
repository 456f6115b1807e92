"""What sets the clock: the board's own source, the hub's answers, a person. What of it becomes an event: SPEC 6.4."""

from parkgate.errors import SettingsError
from parkgate.events import CLOCK_DISPUTED, CLOCK_SET, HUB, PERSON

PERSON_ERROR_MS = 1000  # of somebody who types the time
DISPUTE_MS = 3600000  # between events of one dispute


class Timekeeper:
    """`wall_time()` is the board's source, `note(event)` makes an event durable."""

    def __init__(self, clock, wall_time, note, mono_ms, log):
        self._clock = clock
        self._wall_time = wall_time
        self._note = note
        self._mono_ms = mono_ms
        self._log = log
        self._dispute_due_ms = 0
        self.chip = None  # a clock chip that wants to know the time

    def ask_board(self):
        """Take the time of the board's own source, where it has one."""
        wall = self._wall_time()
        if wall is not None:
            try:
                self.synchronise(*wall)
            except SettingsError as e:
                self._log.error("clock", str(e))
        if self.chip:
            self.chip.keep(self._clock, self._mono_ms())

    def take_hub_time(self, unix_ms: int, uncertainty_ms: int):
        """The hub's time, from the answer to a beat: it sets a clock that knows less and judges one that knows more."""
        clock, mono_ms = self._clock, self._mono_ms()
        if clock.offset_ms is None or uncertainty_ms < clock.uncertainty_ms(mono_ms):
            self.synchronise(unix_ms, uncertainty_ms, HUB)
            return
        apart_ms = clock.judge(mono_ms, unix_ms, uncertainty_ms)
        if apart_ms is not None:
            self._dispute(HUB, unix_ms, "the hub's clock differs by %d ms" % apart_ms)

    def synchronise(self, unix_ms: int, uncertainty_ms: int = PERSON_ERROR_MS, source: int = PERSON):
        """Set the clock; the first time of a boot, every step and a source that is refused are events. Raises
        SettingsError only to a person."""
        first = self._clock.offset_ms is None
        mono_ms = self._mono_ms()
        try:
            step = self._clock.synchronise(mono_ms, unix_ms, uncertainty_ms, source != PERSON)
        except SettingsError as e:
            if source == PERSON:
                raise
            self._dispute(source, unix_ms, str(e))
            return
        if first or step is not None:
            self._note([CLOCK_SET, mono_ms, step])

    def _dispute(self, source, unix_ms, text):
        """Say that a source of time says what cannot be so, and make it an event, once an hour."""
        self._log.error("clock", text)
        mono_ms = self._mono_ms()
        if mono_ms >= self._dispute_due_ms:
            self._dispute_due_ms = mono_ms + DISPUTE_MS
            self._note([CLOCK_DISPUTED, source, unix_ms, list(self._clock.date(mono_ms))])
