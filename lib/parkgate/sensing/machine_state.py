"""How long a machine ran, stood and was in alarm, to the millisecond of the edges that say so.

The state is one of quantities.STATES: off, idle, run, alarm. Time is credited to the state that held until an edge,
by the time stamped at that edge's interrupt, so a slow poll loses nothing. Whole seconds go into the readings; the
rest stays here, so a restart costs less than one second a state. Time without power is nobody's: it is in no total.
"""

OFF, IDLE, RUN, ALARM = 0, 1, 2, 3


def state_of(power: bool, run: bool, alarm: bool) -> int:
    """The state that the inputs mean. Alarm outranks run: a machine that signals a fault is not producing."""
    if not power:
        return OFF
    if alarm:
        return ALARM
    return RUN if run else IDLE


class MachineTime:
    """Milliseconds in each state since the totals began, and how often a run began."""

    def __init__(self, state: int, time_ms: int):
        self.state = state
        self.cycles = 0
        self._since_ms = time_ms
        self._spent_ms = [0, 0, 0, 0]

    def change(self, state: int, time_ms: int):
        """The machine went over to `state` at `time_ms`. An edge that comes out of order adds no negative time."""
        self._credit(time_ms)
        if state == RUN and self.state != RUN:
            self.cycles += 1
        self.state = state

    def seconds(self, state: int, time_ms: int) -> int:
        """Whole seconds in `state` up to `time_ms`."""
        self._credit(time_ms)
        return self._spent_ms[state] // 1000

    def restore(self, run_s: int, idle_s: int, alarm_s: int, cycles: int):
        """Go on from the totals before the restart."""
        self._spent_ms[RUN] += run_s * 1000
        self._spent_ms[IDLE] += idle_s * 1000
        self._spent_ms[ALARM] += alarm_s * 1000
        self.cycles += cycles

    def _credit(self, time_ms):
        passed_ms = time_ms - self._since_ms
        if passed_ms > 0:
            self._spent_ms[self.state] += passed_ms
            self._since_ms = time_ms
