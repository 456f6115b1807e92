"""Whose turn it is on a bus, so that dead units cannot stop the live ones.

A turn is one instrument's reads. All turns keep the phase of their unit's period, so that each turn lies in the period
that it is for (sensing/periods.py accounts for every one). A unit that has not answered `PATIENCE` turns in a row is
taken for dead: its turns are spaced out by a back-off that doubles from its period up to `backoff_max_ms` (rounded down
to its phase), and a dead unit's turn comes only

- when no live unit is due, or
- when there were as many live turns as there are live units since the last dead unit's turn (so that a full
  bus still finds units that come back).

A dead unit's turn is one exchange: the first read that is not answered ends a turn. Therefore, with N units
of which D are dead and backed off, one round (each live unit once) takes at most

    C = sum over the N - D live units of W(i)  +  max over the dead units of S(j)

    S(j)  one exchange that is not answered:   request + reply time-out + reply + silence (Client.slot_us)
    W(i)  all reads of a live unit's turn:     sum over its blocks of request + latency + reply + silence,
          with the latency at most the reply time-out; one S(i) more for each retry that a turn may
          make (after a damaged reply, never after a time-out) and for the read that shows a copy of a reply

and a live unit is read within C of being due; it keeps its period as long as C <= period. The number of dead
units is not in the formula. While units are dying each costs S(j) in each of its first PATIENCE turns, so
that such a round takes up to the sum over all dying units of S(j) more.
"""

PATIENCE = 2
BACKOFF_MAX_MS = 60000


def round_bound(live_turns, dead_slots):
    """C of the formula above, in the unit of its arguments: turn times W of live units, slots S of dead ones."""
    return sum(live_turns) + max(list(dead_slots) + [0])


class BusSchedule:
    """Decides whose turn it is. Times are ms of a clock that does not wrap; units go by their index."""

    def __init__(self, periods_ms, start_ms, stagger_ms=20, backoff_max_ms=BACKOFF_MAX_MS):
        self._periods_ms = list(periods_ms)
        self._due_ms = [start_ms + i * stagger_ms for i in range(len(periods_ms))]
        self._turn_ms = start_ms
        self._failures = [0] * len(periods_ms)
        self._live_turns = 0
        self._backoff_max_ms = backoff_max_ms
        self.missed = [0] * len(periods_ms)  # periods that passed without their turn

    def is_dead(self, index):
        """Whether a unit is taken for dead, and so read at its back-off only."""
        return self._failures[index] >= PATIENCE

    def dead_count(self):
        """How many units are taken for dead."""
        return len([failures for failures in self._failures if failures >= PATIENCE])

    def due_ms(self, index):
        """When the next turn of a unit is due."""
        return self._due_ms[index]

    def next(self, t_ms):
        """Index of the unit whose turn is now, or None when nobody is due."""
        live = self._earliest(False)
        dead = self._earliest(True)
        live_due = live is not None and self._due_ms[live] <= t_ms
        if (
            dead is not None
            and self._due_ms[dead] <= t_ms
            and (not live_due or self._live_turns >= len(self._due_ms) - self.dead_count())
        ):
            self._turn_ms = t_ms
            return dead
        if not live_due:
            return None
        self._turn_ms = t_ms
        return live

    def wait_ms(self, t_ms):
        """Time until somebody is due; 0 when somebody is, None without units."""
        if not self._due_ms:
            return None
        wait = min(self._due_ms) - t_ms
        return wait if wait > 0 else 0

    def done(self, index, answered, t_ms):
        """The turn of a unit is over at t_ms; `answered` is whether anything usable came, exceptions included."""
        was_dead = self.is_dead(index)
        if was_dead:
            self._live_turns = 0
        else:
            self._live_turns += 1
        self._failures[index] = 0 if answered else self._failures[index] + 1
        if self.is_dead(index):
            doublings = min(self._failures[index] - PATIENCE + 1, 16)
            wait_ms = min(self._periods_ms[index] << doublings, self._backoff(index))
            soonest_ms = self._grid(index, t_ms) + self._periods_ms[index]
            self._due_ms[index] = max(self._grid(index, t_ms + wait_ms), soonest_ms)
            return
        # The period after the one in which the turn began; or the one that it is now, when the turn took so long.
        begun_ms = self._grid(index, self._turn_ms)
        due_ms = max(begun_ms + self._periods_ms[index], self._grid(index, t_ms))
        if not was_dead:
            self.missed[index] += (due_ms - self._due_ms[index]) // self._periods_ms[index] - 1
        self._due_ms[index] = due_ms

    def _grid(self, index, t_ms):
        """When the period of a unit that t_ms lies in began."""
        return t_ms - (t_ms - self._due_ms[index]) % self._periods_ms[index]

    def _backoff(self, index):
        """The longest wait of a dead unit: never shorter than its own period."""
        return max(self._backoff_max_ms, self._periods_ms[index])

    def _earliest(self, dead):
        """The unit that is due first among the dead or the live ones, or None."""
        earliest = None
        for i, due_ms in enumerate(self._due_ms):
            if self.is_dead(i) == dead and (earliest is None or due_ms < self._due_ms[earliest]):
                earliest = i
        return earliest
