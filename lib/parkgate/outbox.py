"""Which batch to send next: the newest first, the backlog paced behind it, a few on their way at a time.

Pure: what is held comes from the journal, time is an argument. Nothing here frees anything; a receipt does that in the
journal, and a batch that is no longer held is forgotten here.
"""


class Outbox:
    """`window` batches may be on their way; each is sent again `receipt_timeout_ms` after it was sent last; batches
    older than the newest are at least `backlog_interval_ms` apart."""

    def __init__(self, window: int, receipt_timeout_ms: int, backlog_interval_ms: int):
        self.window = window
        self.receipt_timeout_ms = receipt_timeout_ms
        self.backlog_interval_ms = backlog_interval_ms
        self.sent_ms = {}  # seq → when it was sent last
        self.backlog_ms = None  # when one of the backlog was sent last
        self.repeats = 0

    def choose(self, held: list, now_ms: int):
        """The seq to send now, or None. `held` are the unacknowledged seqs, oldest first."""
        for seq in [seq for seq in self.sent_ms if seq not in held]:
            del self.sent_ms[seq]
        if not held:
            return None
        newest = held[-1]
        if newest not in self.sent_ms:
            return newest
        if self.backlog_ms is not None and now_ms - self.backlog_ms < self.backlog_interval_ms:
            return None
        if len(self.sent_ms) < self.window:
            for seq in held:
                if seq not in self.sent_ms:
                    return seq
        for seq in held:
            if seq in self.sent_ms and now_ms - self.sent_ms[seq] >= self.receipt_timeout_ms:
                return seq
        return None

    def sent(self, seq: int, newest: int, now_ms: int):
        """`seq` was handed to the broker at `now_ms`; `newest` is the newest held."""
        if seq in self.sent_ms:
            self.repeats += 1
        self.sent_ms[seq] = now_ms
        if seq != newest:
            self.backlog_ms = now_ms

    def round_trip_ms(self, seq: int, now_ms: int):
        """Milliseconds since `seq` was sent last, None when it was not."""
        return now_ms - self.sent_ms[seq] if seq in self.sent_ms else None

    def connection_lost(self):
        """Everything on its way must be sent again."""
        self.sent_ms = {}
        self.backlog_ms = None
