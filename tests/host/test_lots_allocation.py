"""Lots + idle + unassigned = meter, to the unit, on random days; whose each unit is, by another reckoning."""

import os
import random
from collections import defaultdict
from fractions import Fraction

import pytest

from host_tools.hub.production import allocation
from host_tools.hub.production.entries import Chain, Counter, Entry
from host_tools.hub.production.jobs import tell
from parkgate.sensing import jobs as kinds

DAYS = 10_000 * int(os.environ.get("PARKGATE_FUZZ_SIZE", "0")) or 300
PAIR = ("m", "import_active_energy")
EXCHANGE = 2


class Day:
    """A gateway with two stations that are bound to one meter, as it is: what the meter counts, which jobs are open.
    Its own reckoning is a list of (growth, open jobs) that knows nothing of entries."""

    def __init__(self, dice: random.Random, trouble: bool):
        self.dice, self.trouble = dice, trouble
        self.chains: list[Chain] = []
        self.register = dice.randrange(10**6)
        self.truth: list[tuple[int, tuple]] = []
        self.times: list[int] = []  # when each growth had ended
        self.time_ms = 10**12
        self.begin_chain()
        self.open: dict[int, tuple[int, str]] = {}  # number → (station, lot)

    def begin_chain(self):
        self.items: list = []
        self.chains.append(Chain(1, "hall", "aa" * 32, f"{len(self.chains):032x}", self.items, 0))
        self.number, self.open = 1, {}
        self.state()

    def state(self):
        for station in (0, 1):
            self.put(kinds.STATION, station, 0, [f"s{station}", [".".join(PAIR)]], [])

    def put(self, what, station, job, detail, registers=None):
        """Write an entry, or lose it as a gap does; its number is used up."""
        if registers is None:
            known = not (self.trouble and self.dice.random() < 0.05)
            registers = [self.register if known else None]
        number = self.number
        self.number += 1
        if self.trouble and what != kinds.STATION and self.dice.random() < 0.03:
            return number
        self.items.append(Entry(number, what, station, number, self.time_ms, 0, job, detail, 1, tuple(registers)))
        return number

    def grow(self):
        amount = self.dice.choice((0, 1, self.dice.randrange(5000)))
        self.register += amount
        self.time_ms += self.dice.randrange(1, 3_600_000)
        self.truth.append((amount, tuple(sorted(self.open))))
        self.times.append(self.time_ms)

    def step(self):
        self.grow()
        dice = self.dice
        what = dice.random()
        if what < 0.4 and len(self.open) < 6:
            station, lot = dice.randrange(2), f"L{dice.randrange(8)}"
            self.open[self.put(kinds.START, station, lot, 0)] = (station, lot)
        elif what < 0.7 and self.open:
            number = dice.choice(sorted(self.open))
            self.put(kinds.STOP, self.open.pop(number)[0], number, dice.randrange(3))
        elif what < 0.8 and self.open:
            number = dice.choice(sorted(self.open))
            self.put(kinds.COUNT, self.open[number][0], number, dice.randrange(1, 100))
        elif what < 0.85:
            self.put(kinds.SHIFT, dice.randrange(2), 0, 7)
        elif what < 0.9:
            self.state()  # the gateway started again
        elif what < 0.95:
            fresh = dice.randrange(100)  # another meter
            self.items.append(Counter(self.number, *PAIR, EXCHANGE, self.register, fresh))
            self.register = fresh
        elif self.trouble and what < 0.97:
            self.begin_chain()

    def read(self, rule=allocation.EQUAL, weigh=None):
        self.told = [tell(chain) for chain in self.chains]
        return allocation.allocate([told.edges for told in self.told], PAIR, {0, 1}, weigh, rule)


@pytest.mark.parametrize("trouble", [False, True])
def test_it_adds_up_on_every_day(trouble):
    unassigned = 0
    for seed in range(DAYS):
        day = Day(random.Random(f"{trouble} {seed}"), trouble)
        for _ in range(day.dice.randrange(2, 40)):
            day.step()
        made = day.read()
        lots = sum(share.amount for share in made.jobs.values())
        assert lots + made.idle + made.unassigned == made.meter, seed
        assert min([0, made.idle, made.unassigned, *(share.amount for share in made.jobs.values())]) == 0
        unassigned += made.unassigned
        if not trouble:
            assert made.unassigned == made.unknown == 0
            check_by_the_unit(day, made, seed)
    assert bool(unassigned) is trouble


def check_by_the_unit(day, made, seed):
    """The day's own reckoning: each unit to the jobs that were open when it was counted. Growth before the first entry
    with a register and behind the last is nobody's."""
    edges = day.told[0].edges
    if len(edges) < 2:
        assert made.meter == 0
        return
    # The same steps, found by counting the entries that have registers.
    seen = [item for item in day.items if isinstance(item, Entry) and item.registers]
    first, last = seen[0].time_ms, seen[-1].time_ms
    idle, shares, meter = 0, defaultdict(Fraction), 0
    for (amount, jobs), at in zip(day.truth, day.times):
        if not first < at <= last:
            continue
        meter += amount
        if not jobs:
            idle += amount
        for job in jobs:
            shares[job] += Fraction(amount, len(jobs))
    assert (made.meter, made.idle) == (meter, idle), seed
    by_number = {job.number: made.jobs.get(id(job)) for job in day.told[0].jobs}
    for number, exact in shares.items():
        share = by_number[number]
        assert abs((share.amount if share else 0) - exact) <= len(edges), (seed, number)


def test_parts_are_whole_and_in_proportion():
    dice = random.Random(3)
    for _ in range(2000):
        weights = [Fraction(dice.randrange(50), dice.randrange(1, 9)) for _ in range(dice.randrange(1, 8))]
        if not sum(weights):
            continue
        amount = dice.randrange(10 ** dice.randrange(1, 12))
        made = allocation.parts(amount, weights)
        assert sum(made) == amount
        assert all(abs(part - amount * w / sum(weights)) < 1 for part, w in zip(made, weights))
    assert allocation.parts(10, [Fraction(1)] * 3) == [4, 3, 3]


def chain(*items):
    return Chain(1, "hall", "aa" * 32, "0" * 32, list(items), 0)


def entry(number, what, job, detail, value=None, station=0, time_ms=None):
    registers = () if value is None else (value,)
    return Entry(number, what, station, number, time_ms or number * 60_000, 0, job, detail, 1, registers)


STATED = entry(1, kinds.STATION, 0, ["press", [".".join(PAIR)]])


def shares(*items, rule=allocation.EQUAL, weigh=None):
    told = tell(chain(STATED, *items))
    made = allocation.allocate([told.edges], PAIR, {0}, weigh, rule)
    return told, made, {job.number: made.jobs[id(job)].amount for job in told.jobs if id(job) in made.jobs}


def test_two_lots_at_once_share_and_say_by_what():
    items = (
        entry(2, kinds.START, "A", 0, 100), entry(3, kinds.START, "B", 0, 110), entry(4, kinds.STOP, 2, 0, 121),
        entry(5, kinds.STOP, 3, 0, 131), entry(6, kinds.START, "C", 0, 140),
    )  # fmt: skip
    told, made, got = shares(*items)
    assert got == {2: 10 + 6, 3: 5 + 10} and (made.idle, made.unassigned, made.meter) == (9, 0, 40)
    assert made.jobs[id(told.jobs[0])].rules == {"equal"}
    weights = {2: Fraction(3), 3: Fraction(1)}
    told, made, got = shares(*items, rule=allocation.COUNT, weigh=lambda job: weights[job.number])
    assert got == {2: 10 + 8, 3: 3 + 10} and made.jobs[id(told.jobs[0])].rules == {"count"}
    told, made, got = shares(*items, rule=allocation.COUNT, weigh=lambda _: Fraction(0))
    assert got == {2: 16, 3: 15} and made.jobs[id(told.jobs[0])].rules == {"equal"}, "nothing to go by: it says so"


def test_across_a_lost_entry_nobody_gets_anything():
    told, made, got = shares(
        entry(2, kinds.START, "A", 0, 100), entry(4, kinds.COUNT, 2, 5, 150), entry(5, kinds.STOP, 2, 0, 160)
    )
    assert told.missing == 1 and got == {2: 10} and (made.unassigned, made.meter) == (50, 60)
    told, _, _ = shares(entry(2, kinds.START, "A", 0, 100), entry(4, kinds.START, "B", 0, 150))
    assert told.jobs[0].stop == "not known", "no later entry names it"
    told, made, got = shares(entry(3, kinds.COUNT, 2, 5, 100), entry(4, kinds.STOP, 2, 0, 130))
    assert told.jobs[0].lot is None and made.unassigned == 30 and got == {}, "the start is lost: whose lot it was, too"


def test_corrections_come_first_and_are_estimates():
    told, _, _ = shares(
        entry(2, kinds.START, "A", 0, 100), entry(3, kinds.COUNT, 2, 50, 110), entry(4, kinds.SCRAP, 2, [3, 9], 110),
        entry(5, kinds.STOP, 2, kinds.IDLE, 160), entry(6, kinds.CORRECTION, 3, [kinds.QUANTITY, 40]),
        entry(7, kinds.CORRECTION, 5, [kinds.TIME, 200_000]), entry(8, kinds.CORRECTION, 3, [kinds.QUANTITY, 41]),
        entry(9, kinds.CORRECTION, 2, [kinds.LOT, "B"]),
    )  # fmt: skip
    job = told.jobs[0]
    assert (job.lot, job.pieces, job.scrap, job.end_ms) == ("B", 41, {3: 9}, 200_000)
    assert job.forgotten and job.estimated and job.corrected and job.stop == "idle"
    told, made, got = shares(
        entry(2, kinds.START, "A", 0, 100), entry(3, kinds.COUNT, 2, 5, 110), entry(4, kinds.STOP, 2, 0, 160),
        entry(5, kinds.CORRECTION, 2, [kinds.VOID]),
    )  # fmt: skip
    assert not told.jobs and got == {} and made.idle == 60, "it never was"
    told, _, _ = shares(
        entry(2, kinds.START, "A", 0, 100), entry(3, kinds.STOP, 2, 0, 110), entry(4, kinds.CORRECTION, 3, [kinds.VOID])
    )
    assert told.jobs[0].stop is None


def test_pieces_have_one_source():
    dice = random.Random(11)
    for _ in range(DAYS):
        source = dice.randrange(2)
        items, by_hand = [entry(2, kinds.START, "A", source, 0)], 0
        for number in range(3, dice.randrange(4, 12)):
            count = dice.randrange(1, 50)
            by_hand += count
            items.append(entry(number, kinds.COUNT, 2, count, 0))
        told, _, _ = shares(*items)
        if source == kinds.MACHINE:
            assert told.jobs[0].pieces == 0 and told.doubled == len(items) - 1
        else:
            assert told.jobs[0].pieces == by_hand and told.doubled == 0


def test_an_exchange_a_rollover_and_a_step_back():
    def between(*jumps):
        items = [entry(2, kinds.START, "A", 0, 9_990), *jumps, entry(3, kinds.STOP, 2, 0, 30)]
        return shares(*items)[1]

    assert between(Counter(2, *PAIR, EXCHANGE, 9_995, 10)).meter == 5 + 20
    full = 2**32
    items = entry(2, kinds.START, "A", 0, full - 9), Counter(2, *PAIR, 1, full - 5, 10), entry(3, kinds.STOP, 2, 0, 30)
    assert shares(*items)[1].meter == 4 + 15 + 20, "it began again at 2^32"
    made = between()
    assert (made.meter, made.unknown) == (0, 1)
    assert between(Counter(2, "other", PAIR[1], EXCHANGE, 9_995, 10)).unknown == 1
