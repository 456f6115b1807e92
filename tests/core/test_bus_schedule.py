"""The published bound of a bus cycle: 32 units of which 8 are dead, asked by the real client on a simulated line."""

from check import equal, true
from parkgate.meters.bus_schedule import PATIENCE, BusSchedule, round_bound
from parkgate.meters.modbus.client import Client
from parkgate.meters.modbus.frame import Reply, characters_us, frame

BAUD = 19200
UNITS = 32
DEAD = (3, 7, 8, 15, 16, 23, 24, 31)
PERIOD_MS = 2500
BLOCKS = ((0, 12), (52, 24))
TIMEOUT_US = 250000
STRIDE_US = 1 << 30


class Line:
    """A serial line with meters that answer after a latency of their own; time is a number that the line moves."""

    def __init__(self, dead):
        self.client = Client(BAUD, TIMEOUT_US)
        self.t_us = 0
        self.dead = dead

    def exchange(self, unit_id, address, count, probe=False, function=4):
        """One exchange to its end; the event."""
        client = self.client
        self.t_us += client.wait_us(unit_id, self.t_us % STRIDE_US)
        client.request(unit_id, function, address, count, self.t_us % STRIDE_US, probe)
        if unit_id not in self.dead:
            answer = frame(bytes((unit_id, function, 2 * count)) + bytes(2 * count))
            self.t_us += characters_us(8 + len(answer), BAUD) + latency_us(unit_id)
            return client.receive(answer, self.t_us % STRIDE_US)
        while True:
            self.t_us += client.due_us(self.t_us % STRIDE_US)
            event = client.poll(self.t_us % STRIDE_US)
            if event is not None:
                return event

    def turn(self, unit_id):
        """All reads of a unit, given up at the first that is not answered; whether all were answered."""
        client = self.client
        for address, count in BLOCKS:
            if not client.may_ask(unit_id, 4, count, self.t_us % STRIDE_US):
                probe = client.probe(unit_id, 4, address, count, self.t_us % STRIDE_US)
                if probe:
                    self.exchange(unit_id, address, probe[2], True, probe[0])
                if not client.may_ask(unit_id, 4, count, self.t_us % STRIDE_US):
                    return False
            if not isinstance(self.exchange(unit_id, address, count), Reply):
                return False
        return True


def latency_us(unit_id):
    return 5000 + 700 * (unit_id % 11)


def turn_us(unit_id):
    """W of a live unit: what its reads take."""
    total = 0
    for _, count in BLOCKS:
        total += characters_us(8 + 5 + 2 * count, BAUD) + latency_us(unit_id) + 2006
    return total


def play(dead, seconds, revive_at_s=None):
    """Run a bus of 32 units; (schedule, worst delay of a live turn in ms, turns by unit, missed periods).

    Delay and missed periods count from two periods after all dead units have been recognised.
    """
    line = Line(dead)
    schedule = BusSchedule([PERIOD_MS] * UNITS, 0, stagger_ms=PERIOD_MS // UNITS)
    worst_ms, missed, settled_ms = 0, 0, None
    turns = [0] * UNITS
    while line.t_us < seconds * 1000000:
        if revive_at_s is not None and line.t_us >= revive_at_s * 1000000:
            line.dead = ()
        index = schedule.next(line.t_us // 1000)
        if index is None:
            line.t_us += 1000 * max(1, schedule.wait_ms(line.t_us // 1000))
            line.client.poll(line.t_us % STRIDE_US)
            continue
        due_ms, missed_before = schedule.due_ms(index), schedule.missed[index]
        alive = not schedule.is_dead(index)
        schedule.done(index, line.turn(index + 1), line.t_us // 1000)
        turns[index] += 1
        if settled_ms is None and schedule.dead_count() == len(dead):
            settled_ms = line.t_us // 1000 + 2 * PERIOD_MS
        if alive and settled_ms is not None and due_ms >= settled_ms:
            worst_ms = max(worst_ms, line.t_us // 1000 - due_ms)
            missed += schedule.missed[index] - missed_before
    return schedule, worst_ms, turns, missed


def test_thirty_two_units_with_eight_dead_keep_the_published_bound():
    live = [u for u in range(1, UNITS + 1) if u not in DEAD]
    slot_us = Client(BAUD, TIMEOUT_US).slot_us(1, 4, 24)
    bound_ms = (round_bound([turn_us(u) for u in live], [slot_us] * len(DEAD)) + 999) // 1000
    true(bound_ms <= PERIOD_MS, "this bus is meant to have room: %d ms" % bound_ms)
    seconds = 600
    _, worst_ms, turns, missed = play(DEAD, seconds)
    # One millisecond more, because the schedule counts in whole ones.
    true(0 < worst_ms <= bound_ms + 1, "%d ms of at most %d" % (worst_ms, bound_ms))
    equal(missed, 0)
    for unit_id in live:
        # Two rounds are disturbed while the dead ones are recognised.
        true(turns[unit_id - 1] >= seconds * 1000 // PERIOD_MS - 3, "unit %d keeps its period" % unit_id)
    for unit_id in DEAD:
        # 2 turns at its period, then after 5, 10, 20, 40, 60, 60 … s.
        true(PATIENCE <= turns[unit_id - 1] <= 16, "%d turns of a dead unit" % turns[unit_id - 1])


def test_without_dead_units_the_bound_is_the_sum_of_the_turns():
    seconds = 100
    _, _, turns, _ = play((), seconds)
    for count in turns:
        true(count >= seconds * 1000 // PERIOD_MS - 1)


def test_units_that_come_back_are_live_again_within_the_longest_back_off():
    schedule, _, turns, _ = play(DEAD, 250, revive_at_s=100)
    equal(schedule.dead_count(), 0)
    for unit_id in DEAD:
        true(turns[unit_id - 1] >= (250 - 160 - 3) * 1000 // PERIOD_MS, "unit %d" % unit_id)


def test_a_full_bus_still_asks_dead_units():
    schedule = BusSchedule([100] * 3, 0)
    t_ms, asked = 0, [0] * 3
    for _ in range(3000):
        index = schedule.next(t_ms)
        if index is None:
            t_ms += schedule.wait_ms(t_ms)
            continue
        asked[index] += 1
        t_ms += 80
        schedule.done(index, index != 1, t_ms)
    true(asked[1] >= 4, "%s" % asked)
    true(asked[1] * 3 < asked[0] + asked[2], "%s" % asked)
    true(schedule.missed[0] > 0, "periods that do not fit are counted")


def test_alone_and_dead_is_asked_at_its_back_off():
    schedule = BusSchedule([1000], 0)
    t_ms, times = 0, []
    while len(times) < 9:
        if schedule.next(t_ms) is None:
            t_ms += schedule.wait_ms(t_ms)
            continue
        times.append(t_ms)
        t_ms += 300
        schedule.done(0, False, t_ms)
    equal([b - a for a, b in zip(times[1:], times[2:])], [2000, 4000, 8000, 16000, 32000, 60000, 60000], "in its phase")


def test_a_unit_that_comes_back_keeps_the_phase_of_its_period():
    schedule = BusSchedule([1000, 1000], 5, stagger_ms=20)
    t_ms, begun = 0, []
    while t_ms < 60000:
        index = schedule.next(t_ms)
        if index is None:
            t_ms += schedule.wait_ms(t_ms)
            continue
        if index == 1:
            begun.append(t_ms)
        t_ms += 137 if index else 41
        schedule.done(index, index == 0 or not 3000 < t_ms < 20000, t_ms)
    live = [t_ms for t_ms in begun if t_ms < 3000 or t_ms > 25000]
    true(len(live) > 15, "%s" % begun)
    for t_ms in live:
        # Its phase is 25; it may wait for the other unit's turn.
        true(25 <= t_ms % 1000 <= 25 + 41, "%s" % begun)
    equal(sum(schedule.missed), 0, "a period without a turn because of back-off is none that the bus was too busy for")


def test_no_units_no_turn():
    schedule = BusSchedule([], 0)
    equal(schedule.next(0), None)
    equal(schedule.wait_ms(0), None)
