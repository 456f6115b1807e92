"""The floor of the whole park: every lot with its jobs, figures and links. Made from the database for one question."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple

from host_tools.hub.production import allocation, entries
from host_tools.hub.production.allocation import Allocated
from host_tools.hub.production.genealogy import Genealogy, Link
from host_tools.hub.production.jobs import Job, Told, tell
from host_tools.log.database.seam import Database
from parkgate.errors import ParkgateError
from parkgate.sensing import jobs as kinds

COUNTING = ("piece_count", "cycle_count", "pulse_count")
WORKING = "run_time"
OPEN, CLOSED = "open", "closed"


class LotError(ParkgateError):
    """No entry names this lot."""


class Register(NamedTuple):
    """A register of one gateway that stations are bound to. A unit is 10^-scale of `unit`."""

    gw: int
    gateway: str
    instrument: str
    quantity: str
    unit: str
    scale: int


@dataclass
class Figure:
    """What a lot or a job has of one register: `amount` in its steps, by `rules` (empty: alone all the time)."""

    register: Register
    amount: int
    estimated: int = 0  # the part of it that rests on a corrected time or a lost entry
    rules: set[str] = field(default_factory=set)

    def text(self) -> str:
        """The amount in the register's unit, exactly."""
        return decimal(self.amount, self.register.scale)


def decimal(amount: int, scale: int) -> str:
    """amount · 10^-scale, exactly."""
    if scale <= 0:
        return str(amount * 10**-scale)
    whole, rest = divmod(abs(amount), 10**scale)
    return f"{'-' if amount < 0 else ''}{whole}.{rest:0{scale}d}"


class Floor:
    """`rule` is one of allocation.RULES: how a register is shared where jobs were open at the same time."""

    def __init__(self, db: Database, rule: str = allocation.EQUAL):
        self.rule = rule
        self.chains = entries.chains(db)
        self.told: list[Told] = [tell(chain) for chain in self.chains]
        self._names = {id(chain): told.names for chain, told in zip(self.chains, self.told)}
        self.jobs = [job for told in self.told for job in told.jobs]
        self.by_lot: dict[str, list[Job]] = defaultdict(list)
        for job in self.jobs:
            if job.lot is not None:
                self.by_lot[job.lot].append(job)
        self.genealogy = Genealogy(self._links())
        self.balance: dict[Register, Allocated] = {}
        self._figures: dict[int, list[Figure]] = defaultdict(list)  # id() of a Job → its figures
        self._share(self._registers(db))

    def _links(self):
        for job in self.jobs:
            if job.lot is None:
                continue
            about = job.chain.gateway_id, job.number
            for time_ms, lot in job.taken:
                yield Link(time_ms, *about, lot, job.lot)
            for time_ms, lot in job.given:
                yield Link(time_ms, *about, job.lot, lot)

    def _registers(self, db) -> dict[tuple[int, str, str], Register]:
        found = {}
        for gw, name, instrument, quantity, unit, scale in db.execute(
            "SELECT gw, name, instrument, quantity, unit, scale FROM series JOIN gateway USING (gw) ORDER BY series"
        ):
            found[gw, instrument, quantity] = Register(gw, name, instrument, quantity, unit, scale)
        return found

    def _share(self, known: dict[tuple[int, str, str], Register]) -> None:
        """Share out every register: counters first, because the rules may go by them."""
        by_gateway: dict[int, list[Told]] = defaultdict(list)
        for chain, told in zip(self.chains, self.told):
            by_gateway[chain.gw].append(told)
        for gw, tolds in by_gateway.items():
            bound: dict[tuple[str, str], set[int]] = defaultdict(set)
            for told in tolds:
                for station, pairs in told.binds.items():
                    for pair in pairs:
                        bound[pair].add(station)
            for pair in sorted(bound, key=lambda pair: (pair[1] not in (*COUNTING, WORKING), pair)):
                register = known.get((gw, *pair))
                if register is not None:  # else no reading of it came yet, and its unit is not known
                    self._share_one(register, [told.edges for told in tolds], bound[pair])

    def _share_one(self, register: Register, edges, stations: set[int]) -> None:
        pair = register.instrument, register.quantity
        goes_by = self.rule if register.quantity not in (*COUNTING, WORKING) else allocation.EQUAL
        made = allocation.allocate(edges, pair, stations, self._weigh, goes_by)
        self.balance[register] = made
        for job in self.jobs:
            share = made.jobs.get(id(job))
            if share is not None:
                estimated = share.amount if job.estimated else 0
                self._figures[id(job)].append(Figure(register, share.amount, estimated, set(share.rules)))

    def _weigh(self, job: Job) -> Fraction | None:
        """What a job has per millisecond of what the rule goes by; None where that is not known."""
        if job.end_ms is None or job.end_ms <= job.start_ms:
            return None
        amount = self.pieces(job) if self.rule == allocation.COUNT else self._of(job, WORKING)
        return None if amount is None else Fraction(amount, job.end_ms - job.start_ms)

    def _of(self, job: Job, quantity: str) -> int | None:
        found = [figure.amount for figure in self.figures(job) if figure.register.quantity == quantity]
        return found[0] if found else None

    def figures(self, job: Job) -> list[Figure]:
        """What the job got of each register of its station."""
        return self._figures[id(job)]

    def pieces(self, job: Job) -> int | None:
        """Good pieces of a job, from its one source: people, or the machine's register; None where it is not known."""
        if job.counts == kinds.HAND:
            return job.pieces
        for quantity in COUNTING:
            amount = self._of(job, quantity)
            if amount is not None:
                return amount
        return None

    def lot(self, name: str) -> list[Job]:
        """The jobs of a lot, the oldest first. Raises LotError where no entry names it."""
        jobs = self.by_lot.get(name, [])
        if not jobs and not self.genealogy.made_of(name) and not self.genealogy.went_into(name):
            raise LotError(f"no entry names a lot {name!r}; `parkgate lot list` shows the lots")
        return sorted(jobs, key=lambda job: (job.start_ms, job.chain.gateway_id, job.number))

    def totals(self, jobs: list[Job]) -> list[Figure]:
        """The figures of these jobs, added up by register."""
        found: dict[Register, Figure] = {}
        for job in jobs:
            for figure in self.figures(job):
                total = found.setdefault(figure.register, Figure(figure.register, 0))
                total.amount += figure.amount
                total.estimated += figure.estimated
                total.rules |= figure.rules
        return list(found.values())

    def station(self, job: Job) -> str:
        """The name of a job's station; its place where no statement of it is held."""
        return self._names[id(job.chain)].get(job.station, f"station {job.station}")
