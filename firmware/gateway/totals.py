"""Totals that survive a restart: the last journalled value of every counter is known again at the next start.

Counters of pulses and seconds live in RAM; what they were is in the samples that the journal holds. At the start the
newest sample of each instrument is looked for

1. among the samples that are not sealed yet, and
2. in a small file that is written each time before samples are sealed (and so may leave the journal).

Whatever moment the power is cut, one of the two has the newest journalled sample: what is lost is what was counted
since then, so at most one period of the instrument (its heartbeat, where it reports by exception), and nothing else.
The file is written once a batch. It also has the time of the newest sample of any instrument (under an empty name), so
that the next start can tell for how long nothing was sampled.

A meter's counter that jumped is judged by more than its newest value: that one is left out (a total that was read while
the meter booted is no total), and what the judgement rests on goes into a second file at the same moments.
"""

from parkgate.errors import FormatError
from parkgate.reading import COUNTER_GLITCH, RELATIVE_ONLY, decode_sample, has_value
from parkgate.wire import cbor

FILE = "totals.last"
JUDGED = "judged.last"  # [[name, mono_ms, time_ms, trust, memory], …]


class Totals:
    """`files` as hal.files.Files."""

    def __init__(self, files, log):
        self._files = files
        self._log = log
        self._kept = {}  # name → [(channel, quantity), …] of its counters
        self._good_only = []
        self._last = {}  # name → (time_ms, trust, {quantity: value})
        self._written = None
        self.newest = None  # (time_ms, trust) of the newest sample of any instrument
        self._judging = []  # instruments that have `memory`
        self._judged = []  # what of it is on flash
        self._date = None

    def watch(self, name: str, schema: list, judged=False):
        """Keep the counters among the channels of an instrument. Those of one whose counters are `judged` are kept as
        they were before a jump."""
        from parkgate import quantities  # needed at the start only, and large: not kept

        kept = []
        for i, row in enumerate(schema):
            quantity = quantities.find(row[0])
            if quantity is not None and quantity.cumulative:
                kept.append((i, row[0]))
        if kept:
            self._kept[name] = kept
            if judged:
                self._good_only.append(name)

    def load(self, unsealed, schema: list) -> dict:
        """name → (time_ms, trust, {quantity: value}) as the last run left them. `unsealed` are the journal's records
        of samples, taken under `schema` ([[name, profile, channels], …])."""
        data = self._files.read(FILE)
        if data:
            try:
                for name, time_ms, trust, values in cbor.decode(data):
                    if name:
                        self._last[name] = (time_ms, trust, values)
                    else:
                        self.newest = (time_ms, trust)
            except (FormatError, ValueError, TypeError) as e:
                self._log.error("totals", "%s: %s; only unsealed samples are known" % (FILE, e))
        self._written = data
        for payload in unsealed:
            try:
                index, time_ms, trust, values, qualities = decode_sample(payload)
                name, _, channels = schema[index]
            except (FormatError, IndexError, ValueError):
                continue  # said when it is sealed
            self.newest = (time_ms, trust)
            kept = [(i, row[0]) for i, row in enumerate(channels) if (i, row[0]) in self._kept.get(name, ())]
            self._take(name, kept, time_ms, trust, values, qualities)
        return self._last

    def note(self, name: str, time_ms: int, trust: int, values: list, qualities):
        """A sample was journalled."""
        self.newest = (time_ms, trust)
        kept = self._kept.get(name)
        if kept:
            self._take(name, kept, time_ms, trust, values, qualities)

    def _take(self, name, kept, time_ms, trust, values, qualities):
        if qualities and name in self._good_only and any([_jumped(qualities, i) for i, _ in kept]):
            return
        good = {}
        for i, quantity in kept:
            if i < len(values) and values[i] is not None and (not qualities or has_value(qualities[i])):
                good[quantity] = values[i]
        if good:
            self._last[name] = (time_ms, trust, good)

    def remember(self, instruments, clock, mono_ms: int):
        """Give each instrument that judges counters what it had in mind before the restart, and keep what it has."""
        self._judging = [i for i in instruments if hasattr(i, "memory")]
        self._date = clock.date
        data = self._files.read(JUDGED)
        if not data:
            return
        try:
            self._judged = cbor.decode(data)
            for name, then_ms, time_ms, trust, memory in self._judged:
                for instrument in self._judging:
                    if instrument.name == name:
                        passed_ms = age_ms(time_ms, trust, clock, mono_ms)
                        instrument.remember(memory, None if passed_ms is None else mono_ms - passed_ms - then_ms)
        except (FormatError, ValueError, TypeError) as e:
            self._judged = []
            self._log.error("totals", "%s: %s; jumps of counters are judged from the start" % (JUDGED, e))

    def _write_judged(self, mono_ms):
        now = []
        for instrument in self._judging:
            memory = instrument.memory()
            if memory:
                now.append([instrument.name, mono_ms, 0, 0, memory])
        if [[row[0], row[4]] for row in now] != [[row[0], row[4]] for row in self._judged]:
            assert self._date is not None
            for row in now:
                row[2], row[3] = self._date(mono_ms)
            self._files.write(JUDGED, cbor.encode(now))
            self._judged = now

    def write(self, mono_ms: int):
        """Make what is known durable; before samples are sealed."""
        self._write_judged(mono_ms)
        rows = [[name, last[0], last[1], last[2]] for name, last in sorted(self._last.items())]
        if self.newest:
            rows.insert(0, ["", self.newest[0], self.newest[1], {}])
        data = cbor.encode(rows)
        if data != self._written:
            self._files.write(FILE, data)
            self._written = data


def _jumped(qualities, i):
    return i < len(qualities) and qualities[i] == COUNTER_GLITCH


def age_ms(time_ms: int, trust: int, clock, mono_ms: int):
    """How long ago a sample of an earlier run was, None when nobody can know."""
    now_ms, now_trust = clock.date(mono_ms)
    if RELATIVE_ONLY in (trust, now_trust) or now_ms < time_ms:
        return None
    return now_ms - time_ms
