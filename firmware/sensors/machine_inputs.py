"""State of a machine by its own contacts: what it does, for how long, how often it began.

Edges are stamped at their interrupt and debounced afterwards, so the totals are exact to the millisecond whatever the
event loop does. At a power cut less than a second a state and the time since the last journalled sample are lost.
Must be read at least every 12 days (ticks wrap), and before 32 edges of one input have come: more are counted and the
sample is SUBSTITUTED, because its seconds then follow levels and not all edges.
"""

from parkgate.reading import SUBSTITUTED
from parkgate.sensing.debounce import Debounce
from parkgate.sensing.machine_state import ALARM, IDLE, RUN, MachineTime, state_of

from .edges import WRAP, Edges
from .sensor import Sensor


class MachineInputs(Sensor):
    """`run`, `alarm` and `power` are pins as edges.Edges wants them; alarm and power may be None (no alarm, always on).
    Channels: machine_state, run_time, idle_time, alarm_time, cycle_count."""

    waits = False

    def __init__(self, name, period_ms, run, alarm, power, debounce_ms, mono_ms, ticks_ms):
        super().__init__(
            name, period_ms, "machine inputs", ("machine_state", 0), ("run_time", 0), ("idle_time", 0),
            ("alarm_time", 0), ("cycle_count", 0),
        )  # fmt: skip
        self._inputs = [pin and Edges(pin, ticks_ms) for pin in (power, run, alarm)]
        self._levels = [1, 0, 0]
        self._debounce_ms = debounce_ms
        self._debounced = []
        self._mono_ms = mono_ms
        self._ticks_ms = ticks_ms
        self._time = None
        self._before = None
        self.overflows = 0

    def restore(self, values: dict, age_ms):
        """Go on from the last journalled sample, by quantity."""
        self._before = [values.get(name) or 0 for name in ("run_time", "idle_time", "alarm_time", "cycle_count")]

    async def read(self):
        """(values, qualities or None) as of now."""
        now_ms = self._mono_ms()
        ticks = self._ticks_ms() & WRAP
        if self._time is None:
            self._start(now_ms)
        for time_ms, which, level in self._changes(now_ms, ticks):
            self._levels[which] = level
            self._time.change(state_of(*self._levels), time_ms)
        time = self._time
        values = [time.state]
        values += [time.seconds(state, now_ms) for state in (RUN, IDLE, ALARM)]
        values.append(time.cycles)
        overflows = sum([edges.overflows for edges in self._inputs if edges])
        if overflows != self.overflows:
            self.overflows = overflows
            return values, bytes([SUBSTITUTED] * self.channels)
        return values, None

    def _start(self, now_ms):
        self._debounced = []
        for which, edges in enumerate(self._inputs):
            if edges:
                self._levels[which] = edges.start()
            self._debounced.append(Debounce(self._levels[which], self._debounce_ms))
        self._time = MachineTime(state_of(*self._levels), now_ms)
        if self._before:
            self._time.restore(*self._before)

    def _changes(self, now_ms, ticks):
        """Clean changes of all inputs as (time_ms, input, level), in the order of their times."""
        changes = []
        for which, edges in enumerate(self._inputs):
            if not edges:
                continue
            clean = self._debounced[which]
            while True:
                edge = edges.next()
                changed = clean.edge(*edge) if edge else clean.settle(ticks)
                if changed:
                    changes.append((now_ms - ((ticks - clean.changed_at) & WRAP), which, clean.level))
                if edge is None:
                    break
            if edges.level() != clean.raw and clean.settled():
                clean.edge(ticks, edges.level())  # an edge that no interrupt told of: seen now at the latest
        return sorted(changes)
