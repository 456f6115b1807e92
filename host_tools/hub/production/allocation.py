"""What a register grew, shared out: to jobs, to idle time, and to nobody where nobody can know. All of it, to the unit.

A register is read at *edges*, the entries of the stations that are bound to it, in the order in which they were signed.
Between two edges the set of open jobs at these stations does not change; what the register grew there belongs

- to idle, where no job was open;
- to the jobs that were open, by a *rule*: in equal parts, or in the proportion of each job's machine time or pieces to
  the time that it lasted. Where the rule gives no job anything to go by, the parts are equal, and the figure says so;
- to nobody (*unassigned*), where an entry is missing in between, the gateway began a new chain, or a register was not
  known at an edge at which the jobs changed.

So lots + idle + unassigned is the difference of the register between the first edge and the last, plus what signed
counter events say of exchanges and rollovers. Parts are whole units: what is left by rounding goes to the largest
remainders, of equal ones to the older job.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from host_tools.hub.park import sums
from host_tools.hub.production.entries import Counter
from host_tools.hub.production.jobs import Edge, Job

EQUAL, MACHINE_TIME, COUNT = "equal", "machine time", "count"
RULES = (EQUAL, MACHINE_TIME, COUNT)


@dataclass
class Share:
    """What one job got of one register, in its units. `rules` are those by which it was shared with others; empty where
    the job was alone all the time."""

    amount: int = 0
    rules: set[str] = field(default_factory=set)


@dataclass
class Allocated:
    """What one register grew from its first edge to its last. `unknown` counts steps whose size nobody can say: they
    are in no sum, the meter's included."""

    meter: int = 0
    idle: int = 0
    unassigned: int = 0
    unknown: int = 0
    jobs: dict[int, Share] = field(default_factory=dict)  # id() of a Job → its share


def allocate(
    chains: Sequence[Sequence[Edge]],
    pair: tuple[str, str],
    stations: Mapping[int, set[int]] | set[int],
    weigh: Callable[[Job], Fraction | None] | None = None,
    rule: str = EQUAL,
) -> Allocated:
    """Share out the register `pair` (instrument, quantity) over the edges of one gateway's chains, each in its order.
    `stations` are the places of the stations that are bound to it. `weigh(job)` is what the job has per millisecond of
    what the rule goes by, None or 0 where there is none."""
    made = Allocated()
    last: tuple[int, tuple[Job, ...]] | None = None
    for edges in chains:
        steady, jumps = False, []  # a new chain: nobody knows what was open in between
        for edge in edges:
            jumps += [jump for jump in edge.jumps if (jump.instrument, jump.quantity) == pair]
            now_open = tuple(job for job in edge.open if job.station in stations)
            steady = steady and not edge.broken
            value = edge.registers.get(pair)
            if value is None:
                steady = steady and last is not None and now_open == last[1]
                continue
            if last is not None:
                grown = _grown(last[0], value, jumps)
                _share(made, grown, last[1] if steady else None, weigh, rule)
            last, steady, jumps = (value, now_open), True, []
    return made


def _grown(before: int, value: int, jumps: Sequence[Counter]) -> int | None:
    """How far a register grew from one edge to the next, over what its counter did meanwhile; None: nobody can say."""
    grown, start = 0, before
    known = sums.jumps([(jump.what, jump.before, jump.value) for jump in jumps])
    for (left, came), jump in known.items():
        if jump.what == sums.UNDONE:
            return None if jump.grown is None else _plain(start, value)
        if jump.grown is None or left < before:
            return None
        grown += left - before + jump.grown
        before = came
    rest = _plain(before, value)
    return None if rest is None else grown + rest


def _plain(before: int, value: int) -> int | None:
    return value - before if value >= before else None


def _share(made: Allocated, grown: int | None, jobs: tuple[Job, ...] | None, weigh, rule: str) -> None:
    if grown is None:
        made.unknown += 1
        return
    made.meter += grown
    if jobs is None or any(job.lot is None for job in jobs):
        made.unassigned += grown
    elif not jobs:
        made.idle += grown
    else:
        weights, by = _weights(jobs, weigh, rule)
        for job, part in zip(jobs, parts(grown, weights)):
            share = made.jobs.setdefault(id(job), Share())
            share.amount += part
            if len(jobs) > 1:
                share.rules.add(by)


def _weights(jobs: tuple[Job, ...], weigh, rule: str) -> tuple[list[Fraction], str]:
    if rule != EQUAL and weigh is not None:
        found = [weigh(job) for job in jobs]
        known = [weight for weight in found if weight is not None]
        if len(known) == len(found) and sum(known) > 0:
            return known, rule
    return [Fraction(1)] * len(jobs), EQUAL


def parts(amount: int, weights: Sequence[Fraction]) -> list[int]:
    """`amount` in whole parts in the proportion of `weights`, of which one is above 0; their sum is `amount`."""
    total = sum(weights)
    exact = [amount * weight / total for weight in weights]
    whole = [part.numerator // part.denominator for part in exact]
    order = sorted(range(len(exact)), key=lambda i: (whole[i] - exact[i], i))
    for i in order[: amount - sum(whole)]:
        whole[i] += 1
    return whole
