"""Every period has one outcome: taken + not taken, by reason = settled, at every moment, whatever the bus does."""

import asyncio

from check import equal, true
from parkgate.errors import JournalError
from parkgate.meters.bus_schedule import BusSchedule
from parkgate.sensing.periods import BACKED_OFF, BUSY, HOUR_MS, MINUTE_MS, NO_ANSWER, TAKEN, Periods


def rolls(seed):
    """Numbers that look random, the same on every Python."""
    while True:
        seed = (seed * 1103515245 + 12345) & 0x7FFFFFFF
        yield seed >> 8


def test_a_meter_away_for_127_seconds_at_1_hz():
    """W10: the outage has its beginning, its end, and 127 periods with their reasons."""
    told, samples, periods = play(away=(300000, 427000), seconds=900)
    outage = [span for span in told if sum(span[1][1:])]
    equal(outage[0][0], 300000, "begins with the first period that was not taken")
    last_ms, counts = outage[-1]
    # The back-off finds it again up to 60 s later: those periods were not taken either.
    end_ms = last_ms + 1000 * sum(counts)
    equal(end_ms, min(t_ms for t_ms in samples if t_ms > 300000))
    equal(sum([sum(span[1]) for span in outage]), (end_ms - 300000) // 1000)
    equal(sum([span[1][TAKEN] for span in outage]), 0)
    asked = sum([span[1][NO_ANSWER] for span in outage])
    backed_off = sum([span[1][BACKED_OFF] for span in outage])
    true(5 <= asked <= 10, "%d" % asked)
    equal(asked + backed_off, (end_ms - 300000) // 1000)
    equal(periods.not_taken, asked + backed_off)
    true(len(told) <= 8, "%s" % told)


def play(away, seconds, period_ms=1000, roll=None, slow=0):
    """One unit on a bus, beside another one; ((begin, counts) of each statement, times of samples, the account)."""
    schedule = BusSchedule([period_ms, period_ms], 0, stagger_ms=0)
    periods = Periods(period_ms, schedule.due_ms(0))
    told, samples, model = [], [], {}
    t_ms = 0
    while t_ms < 1000 * seconds:
        index = schedule.next(t_ms)
        if index == 0:
            settle(periods, schedule, t_ms, told)
            begun_ms = t_ms
            answers = not away[0] <= t_ms < away[1] and (roll is None or next(roll) % 11)
            t_ms += (50 if answers else 300) + (next(roll) % slow if slow else 0)
            if periods.may_settle(begun_ms):
                outcome = TAKEN if answers else NO_ANSWER
                if periods.cuts(outcome, begun_ms):
                    told.append(periods.tell(begun_ms))
                periods.settle(outcome)
                true(begun_ms // period_ms not in model, "one outcome a period")
                model[begun_ms // period_ms] = outcome
                if answers:
                    samples.append(begun_ms // period_ms * period_ms)
            schedule.done(0, bool(answers), t_ms)
        elif index == 1:
            t_ms += 50 + (next(roll) % slow if slow else 0)
            schedule.done(1, True, t_ms)
        else:
            t_ms += min(200, max(1, schedule.wait_ms(t_ms)))
        settle(periods, schedule, t_ms, told)
        check_identity(periods, told, model, t_ms)
    return told, samples, periods


def settle(periods, schedule, t_ms, told):
    count = periods.over(t_ms)
    if count:
        outcome = BACKED_OFF if schedule.is_dead(0) else BUSY
        if periods.cuts(outcome, t_ms):
            told.append(periods.tell(t_ms))
        periods.settle(outcome, count)
    if periods.is_due(t_ms):
        told.append(periods.tell(t_ms))


def check_identity(periods, told, model, t_ms):
    """Against a list of single periods: what is told and what is open are side by side and make up all of time."""
    begin_ms = 0
    for span_ms, counts in told:
        equal(span_ms, begin_ms, "spans lie side by side")
        true(sum(counts) > 0, "no empty statement")
        begin_ms += periods.period_ms * sum(counts)
    equal(begin_ms, periods.begins_ms(periods.first))
    elapsed = t_ms // periods.period_ms
    true(elapsed <= periods.settled <= elapsed + 1, "%d of %d" % (periods.settled, elapsed))
    counts = [sum([span[1][i] for span in told]) + periods._counts[i] for i in range(6)]
    equal(sum(counts), periods.settled, "taken + not taken = settled")
    equal(counts[TAKEN], len([k for k in model if model[k] == TAKEN]))
    equal(counts[NO_ANSWER], len([k for k in model if model[k] == NO_ANSWER]))
    equal(sum(counts[2:]), periods.settled - len(model), "a period without a turn has a reason")
    equal(periods.not_taken, sum(counts[1:]))


def test_the_identity_holds_whatever_happens():
    """Slow turns, a busy bus, losses of single answers, an outage: 200 worlds from one seed."""
    roll = rolls(20261127)
    for _ in range(60):
        begin_ms = next(roll) % 60000
        away = (begin_ms, begin_ms + next(roll) % 60000)
        slow = (1, 300, 1500, 4000)[next(roll) % 4]
        play(away, 100, (200, 1000, 1700)[next(roll) % 3], roll, slow)


def test_statements_are_bounded_in_number():
    """A meter that answers every other time for two hours: four at once, then one a minute."""
    periods, told = Periods(1000, 0), 0
    for second in range(7200):
        outcome = TAKEN if second & 1 else NO_ANSWER
        if periods.cuts(outcome, 1000 * second):
            periods.tell(1000 * second)
            told += 1
        periods.settle(outcome)
        if periods.is_due(1000 * (second + 1)):
            periods.tell(1000 * (second + 1))
            told += 1
    true(100 <= told <= 120 + 4, "%d" % told)


def test_a_long_outage_is_told_again_ever_more_seldom_and_a_good_hour_once():
    periods, times = Periods(1000, 0), []
    for second in range(1, 6 * 3600 + 1):
        periods.settle(BACKED_OFF)
        if periods.is_due(1000 * second):
            periods.tell(1000 * second)
            times.append(1000 * second)
    equal(times[0], 1000, "at once")
    gaps = [b - a for a, b in zip(times, times[1:])]
    equal(gaps, [120000, 240000, 480000, 960000, 1920000] + [HOUR_MS] * 4)
    periods, times = Periods(1000, 0), []
    for second in range(1, 6 * 3600 + 1):
        periods.settle(TAKEN)
        if periods.is_due(1000 * second):
            times.append(1000 * second - periods.tell(1000 * second)[0])
    true(5 <= len(times) <= 6 and max(times) <= HOUR_MS + MINUTE_MS, "%s" % times)


class Instrument:
    name, index, channels, period_ms = "press", 0, 1, 1000
    taken_ms = report = None

    def __init__(self, world):
        self.world = world

    async def read(self):
        from parkgate.reading import TIMEOUT

        self.world.now_ms += 30
        if self.world.fails:
            raise ValueError("a fault of the driver")
        return ([None], bytes([TIMEOUT])) if self.world.away else ([5], None)


class World:
    """A sampler in virtual time; `events` are its statements, `rows` what it recorded."""

    def __init__(self, report=None):
        from tasks.sample import Sampler

        self.now_ms, self.away, self.fails = 5000, False, False
        self.rows, self.spans = [], []
        self.refuses = None
        instrument = Instrument(self)
        instrument.report = report
        self.sampler = Sampler([instrument], self._record, self._tell, lambda: self.now_ms, self)
        self.sampler.begin()

    def error(self, name, text):
        pass

    def _record(self, instrument, values, qualities, taken_ms):
        if self.refuses:
            raise self.refuses
        self.rows.append((taken_ms, values, qualities))

    def _tell(self, name, periods):
        self.spans.append(periods.tell(self.now_ms))

    def run(self, seconds):
        """So long, with a look at the account each second."""
        until_ms = self.now_ms + 1000 * seconds
        asyncio.run(self._run(until_ms))

    async def _run(self, until_ms):
        sampler = self.sampler
        schedule = sampler._schedule
        while self.now_ms < until_ms:
            turn = schedule.next(self.now_ms)
            if turn is None:
                self.now_ms += min(1000, max(1, schedule.wait_ms(self.now_ms)))
            else:
                sampler._pass(turn, self.now_ms)
                begun_ms = self.now_ms
                schedule.done(turn, await sampler._one(turn, begun_ms), self.now_ms)
            sampler.account()


def test_a_sample_that_is_not_kept_stops_no_other():
    for error in (JournalError("full"), MemoryError("memory allocation failed")):
        world = World()
        world.run(5)
        kept = len(world.rows)
        world.refuses = error
        world.run(5)
        equal((len(world.rows), world.sampler.faults), (kept, 5))
        world.refuses = None
        world.run(5)
        equal(len(world.rows), kept + 5)


def test_the_sampler_accounts_for_what_it_reads():
    world = World()
    world.run(10)
    world.away = True
    world.run(127)
    world.away = False
    world.run(90)
    world.fails = True
    world.run(5)
    periods = world.sampler.periods[0]
    world.sampler.tell_all()
    counts = [sum([span[1][i] for span in world.spans]) for i in range(6)]
    equal(sum(counts), periods.settled)
    equal(counts[0] + counts[1] + counts[5], len(world.rows), "a row for each turn")
    true(counts[2] > 100 and counts[5] >= 2, "%s" % counts)
    equal(world.sampler.missed(), periods.not_taken)
    equal(world.sampler.away(), 1)


def test_a_window_lasts_its_periods_though_the_meter_is_away():
    from parkgate.reading import SUBSTITUTED, TIMEOUT
    from parkgate.sensing.reduction import Reporter

    world = World(Reporter([["active_power", "W", 0]], ("mean",), 10))
    world.run(25)
    world.away = True
    world.run(60)
    world.away = False
    world.run(60)
    times = [row[0] for row in world.rows]
    equal([(b - a + 500) // 1000 for a, b in zip(times, times[1:])], [10] * (len(times) - 1))
    qualities = [row[2][0] if row[2] else 0 for row in world.rows]
    equal(qualities[:2], [0, 0])
    equal(qualities[2], SUBSTITUTED, "half of its samples were taken")
    true(qualities.count(TIMEOUT) >= 4, "%s" % qualities)
    equal(qualities[-1], 0)


class Told:
    """What an Account notes."""

    def __init__(self):
        from parkgate.clock import Clock
        from tasks.account import Account

        self.now_ms, self.events = 1000, []
        self.clock = Clock(0)
        self.account = Account(self.events.append, self.clock, lambda: self.now_ms, self)

    def error(self, name, text):
        self.said = text


def test_an_instrument_that_cannot_be_built_is_told_and_so_is_the_time_without_power():
    from parkgate import events

    world = Told()
    world.account.leave_out("oven", 1000, "no such profile")
    equal(world.said, "oven: no such profile; it is not sampled")
    world.account.last = (900000, 0)
    world.account.begin()
    for _ in range(90):
        world.now_ms += 1000
        world.account.look()
        if world.now_ms == 31000:
            world.clock.synchronise(world.now_ms, 2000000)
    first = world.events[0]
    equal(first, [events.PERIODS, "oven", [1000, 3], 1000, [0, 0, 0, 0, 1, 0]], "at once, in time since the start")
    off = [event for event in world.events if event[0] == events.OFF]
    equal(off, [[events.OFF, 900000, 1970000]], "once, when the clock is set")
    health = {}
    world.account.add_health(health)
    equal(health, {"missed": 90, "away": 1, "faults": 0})
