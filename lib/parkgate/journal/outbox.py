"""Which batch to send next: the newest first, the backlog paced behind it, a few on their way at a time; and waiting
times that grow while nobody answers.

Pure: what is held comes from the journal, time is an argument. Nothing here frees anything; a receipt does that in the
journal, and a batch that is no longer held is forgotten here.

While the hub answers, a batch without a receipt is sent again after the time-out, then after twice that, and so on.
When nothing was heard of the hub for a time-out after something was sent, all sending falls back to single batches at
growing intervals, whatever waits: a broker keeps what it is given for a hub that is away, and its store is small.
"""

BACK_OFF_MS_MAX = 600000  # of batches: without an answer one is sent every five to ten minutes
_REMEMBERED = 32  # batches; further ones are sent as if for the first time


def spread(ms: int, random) -> int:
    """Between half of `ms` and all of it, so that those who fail together do not return together. `random(n)` gives a
    whole number below n."""
    return ms - random(ms // 2 + 1)


class BackOff:
    """Waiting times that double from `first_ms` to `longest_ms` with each failure."""

    def __init__(self, first_ms: int, longest_ms: int, random):
        self._first_ms = first_ms
        self._longest_ms = longest_ms
        self._random = random
        self.failures = 0

    def wait_ms(self) -> int:
        """How long to wait after one more failure."""
        ms = min(self._first_ms << min(self.failures, 20), self._longest_ms)
        self.failures += 1
        return spread(ms, self._random)


class Outbox:
    """At most `window` batches are on their way. Any two sendings are at least `backlog_interval_ms` apart, but for a
    newest batch that goes out for the first time. `random` as in `spread`."""

    def __init__(self, window: int, receipt_timeout_ms: int, backlog_interval_ms: int, random):
        self.window = window
        self.receipt_timeout_ms = receipt_timeout_ms
        self.backlog_interval_ms = backlog_interval_ms
        self.repeats = 0
        self._random = random
        self._tried = {}  # seq → (when it is to be sent again, how often it was sent)
        self._last_ms = None  # when anything was sent
        self._asked_ms = None  # when the first was sent of which nothing was heard since
        self._silence = BackOff(receipt_timeout_ms, BACK_OFF_MS_MAX, random)
        self._pause_ms = 0  # until when nothing is sent while the hub is silent

    def is_silent(self, now_ms: int) -> bool:
        """Whether the hub is not heard, though it was asked long ago."""
        return self._asked_ms is not None and now_ms - self._asked_ms >= self.receipt_timeout_ms

    def choose(self, held, now_ms: int):
        """The seq to send now, or None. `held` are the unacknowledged seqs, oldest first."""
        tried = self._tried
        for seq in [seq for seq in tried if seq not in held]:
            del tried[seq]
        if not held:
            return None
        newest = held[-1]
        if self.is_silent(now_ms):
            if now_ms < self._pause_ms:
                return None
            return newest if newest not in tried else self._first_due(now_ms)
        under_way = len([1 for due_ms, _ in tried.values() if due_ms > now_ms])
        if newest not in tried and under_way < self.window:
            return newest
        if self._last_ms is not None and now_ms - self._last_ms < self.backlog_interval_ms:
            return None
        if under_way < max(1, self.window - 1):  # one is left for a newest that may come
            for seq in held:
                if seq not in tried or tried[seq][0] <= now_ms:
                    return seq
        return None

    def _first_due(self, now_ms):
        first = None
        for seq, (due_ms, _) in self._tried.items():
            if due_ms <= now_ms and (first is None or due_ms < self._tried[first][0]):
                first = seq
        return first

    def sent(self, seq: int, now_ms: int):
        """`seq` was handed to the broker at `now_ms`."""
        tried = self._tried
        times = 0
        if seq in tried:
            self.repeats += 1
            times = tried[seq][1]
        elif len(tried) >= _REMEMBERED:
            del tried[min(tried)]
        if self.is_silent(now_ms):
            self._pause_ms = now_ms + self._silence.wait_ms()
        elif self._asked_ms is None:
            self._asked_ms = now_ms
        wait_ms = min(self.receipt_timeout_ms << min(times, 20), BACK_OFF_MS_MAX)
        tried[seq] = now_ms + (spread(wait_ms, self._random) if times else wait_ms), times + 1
        self._last_ms = now_ms

    def heard(self, now_ms: int):
        """Something authentic came from the hub: what it was not there for may be sent again."""
        if self.is_silent(now_ms):
            for seq in self._tried:
                self._tried[seq] = now_ms, 1
        self._asked_ms = None
        self._pause_ms = self._silence.failures = 0

    def connection_lost(self, now_ms: int):
        """Everything on its way must be sent again; by single batches, if the hub was silent before."""
        if not self.is_silent(now_ms):
            self._asked_ms = None
        for seq in self._tried:
            self._tried[seq] = 0, self._tried[seq][1]
