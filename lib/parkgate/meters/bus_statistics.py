"""What happened on the bus, unit by unit, in fixed memory.

Every request ends in exactly one outcome, so that at any time

    requests = ok + refused + timeout + crc + short + foreign + (1 while one is under way)

Beside the outcomes stand counters of what was seen on the line and never credited: frames that came
too late, frames that answer somebody else, own requests echoed by the adapter, bytes that are part
of no frame. A loss therefore always has a name and a number.

Latencies go into a histogram of 96 bins of 16 bits (192 bytes): 1 ms wide up to 16 ms, then eight
bins an octave up to 16.4 s, so a percentile read from it is at most one eighth too high and never
too low. When a bin is full all bins are halved: old days fade, the shape stays.
"""

from array import array

_LINEAR_BINS = 16
_BINS = 96
_BIN_MAX = 65535

# Exception codes of the Modbus Application Protocol V1.1b3, section 7. Index 0 counts all other codes.
EXCEPTION_CODE_MAX = 11
EXCEPTION_NAMES = (
    "unknown",
    "illegal function",
    "illegal data address",
    "illegal data value",
    "device failure",
    "acknowledge",
    "device busy",
    "negative acknowledge",
    "memory parity error",
    "unknown",
    "gateway path unavailable",
    "gateway target failed to respond",
)


def _bin_of(latency_ms):
    """Bin of a latency; bins are ordered and the last one is open."""
    if latency_ms < _LINEAR_BINS:
        return max(0, latency_ms)
    octave = 0
    while latency_ms >= 2 * _LINEAR_BINS:
        latency_ms >>= 1
        octave += 1
    index = _LINEAR_BINS + 8 * octave + ((latency_ms - _LINEAR_BINS) >> 1)
    return index if index < _BINS else _BINS - 1


def _bin_end_ms(index):
    """Largest latency (ms) that a bin counts."""
    if index < _LINEAR_BINS:
        return index
    octave = (index - _LINEAR_BINS) >> 3
    step = (index - _LINEAR_BINS) & 7
    return ((_LINEAR_BINS + 2 * step + 2) << octave) - 1


class Statistics:
    """Counters of one unit on the bus. All are plain integers that only grow."""

    # Outcomes of requests, then what was seen on the line.
    NAMES = (
        "requests",
        "ok",
        "refused",
        "timeout",
        "crc",
        "short",
        "foreign",
        "late_frames",
        "foreign_frames",
        "echo_frames",
        "noise_bytes",
    )

    def __init__(self):
        self.requests = 0
        self.ok = 0
        self.refused = 0
        self.timeout = 0
        self.crc = 0
        self.short = 0
        self.foreign = 0
        self.late_frames = 0
        self.foreign_frames = 0
        self.echo_frames = 0
        self.noise_bytes = 0
        self.exceptions = [0] * (EXCEPTION_CODE_MAX + 1)
        self._latency = array("H", bytes(2 * _BINS))

    def heard(self):
        """How many requests were answered, refusals included."""
        return self.ok + self.refused

    def count_exception(self, code):
        """Count an exception reply; codes outside the specification share entry 0."""
        self.refused += 1
        self.exceptions[code if 0 < code <= EXCEPTION_CODE_MAX else 0] += 1

    def count_ok(self, latency_us):
        """Count a good reply and its latency (µs from the end of our request to the end of the reply)."""
        self.ok += 1
        index = _bin_of(latency_us // 1000)
        if self._latency[index] == _BIN_MAX:
            for i in range(_BINS):
                self._latency[i] >>= 1
        self._latency[index] += 1

    def latency_ms(self, percent=95):
        """Upper bound (ms) that `percent` of the good replies kept; 0 when there was none yet."""
        seen = 0
        for count in self._latency:
            seen += count
        needed = (seen * percent + 99) // 100
        if seen == 0:
            return 0
        for index in range(_BINS):
            needed -= self._latency[index]
            if needed <= 0:
                return _bin_end_ms(index)
        return _bin_end_ms(_BINS - 1)

    def as_dict(self):
        """All counters by name, with the exceptions by code and the 95th percentile of latency in ms."""
        counters = {name: getattr(self, name) for name in self.NAMES}
        counters["exceptions"] = {code: n for code, n in enumerate(self.exceptions) if n}
        counters["latency_ms_p95"] = self.latency_ms(95)
        return counters
