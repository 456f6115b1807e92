"""Settings on trial: they count once the hub has accepted a batch under them, or a person says so."""

from gateway.loaded import drop


class Trial:
    """`generation` of the active settings; `on_trial`; `problem`: what was wrong with others, text or None. `start` as
    start.Start; `restart()` starts the gateway again."""

    def __init__(self, start, files, restart, log):
        self.generation = start.generation
        self.problem = start.problem
        self.on_trial = start.on_trial
        self._until_ms = start.trial_ms
        self._files = files
        self._restart = restart
        self._log = log
        self._first_seq = None

    def begin(self, next_seq: int):
        """What is sealed from now on is sealed under these settings."""
        self._first_seq = next_seq

    def _slots(self):
        """The slots without the schema: enough to confirm or to revert."""
        from parkgate.settings.slots import Slots

        slots = Slots(self._files, lambda settings: settings)
        slots.load(None, False)
        drop(("parkgate.settings.slots",))
        return slots

    def accepted(self, seq: int):
        """The hub accepted a batch."""
        if self.on_trial and self._first_seq is not None and seq >= self._first_seq:
            self.confirm()

    def confirm(self):
        """The settings are good."""
        self._slots().confirm()
        self.on_trial = False
        self._until_ms = None
        self._log.info("settings", "confirmed, generation %d" % self.generation)

    def look(self, now_ms: int):
        """End a trial that has lasted too long; then this does not return."""
        if self._until_ms is not None and now_ms >= self._until_ms:
            self._until_ms = None
            self._slots().revert("the hub accepted nothing")
            self._log.error("settings", "the hub accepted nothing under them: going back to those before")
            self._restart()
