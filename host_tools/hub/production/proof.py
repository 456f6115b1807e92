"""What the proof of a lot holds (SPEC 15.3): its jobs and those of what went into it, the batches between the start and
the end of each, and what they come to.

Everything is worked out from the batches that go into the proof, and from no other, so that a buyer's verifier gets the
same. Where jobs shared a machine, amounts are shared in equal parts.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from host_tools.hub.production import index
from host_tools.hub.production.entries import Chain, Counter, Entry, read_items
from host_tools.hub.production.floor import COUNTING, LotError, decimal
from host_tools.hub.production.jobs import Edge, Job, Told, tell
from host_tools.hub.stores.schema import REMOVED
from host_tools.log.database.seam import Database
from parkgate.sensing import jobs as kinds
from parkgate.wire import cbor

FORM = "parkgate lots 1"
JOBS_MAX = 1000


@dataclass
class Amount:
    """What a job has of one register; `steps` is None where a part of it cannot be told."""

    instrument: str
    quantity: str
    unit: str
    scale: int
    steps: int | None
    is_shared: bool

    def text(self) -> str | None:
        """The amount in the register's unit, exactly."""
        return None if self.steps is None else decimal(self.steps, self.scale)


@dataclass
class Proved:
    """One job, and where its proof stands: batches `first_seq` to `last_seq` of a chain, and `later`, the batches with
    corrections that were signed behind them."""

    ep: int
    gw: int
    gateway: str
    gateway_id: bytes
    epoch: bytes
    job: Job
    station: str
    amounts: list[Amount]
    first_seq: int
    last_seq: int
    later: list[int]
    is_whole: bool

    @property
    def pieces(self) -> int | None:
        """Good pieces, from the one source that counts them; None where they are not known."""
        if self.job.counts == kinds.HAND:
            return self.job.pieces
        for quantity in COUNTING:
            for amount in self.amounts:
                if amount.quantity == quantity:
                    return amount.steps
        return None


@dataclass
class Proof:
    """A lot with all jobs that its proof holds. `outside` are lots that went in and of which the hub has no job."""

    lot: str
    jobs: list[Proved]
    outside: list[str]

    def member(self) -> bytes:
        """The file `lots.cbor` of an archive."""
        return cbor.encode({
            "form": FORM, "lot": self.lot, "outside": self.outside,
            "jobs": [
                [
                    one.job.lot, one.gateway_id, one.epoch, one.job.number, one.first_seq, one.last_seq, one.pieces,
                    [list(pair) for pair in sorted(one.job.scrap.items())],
                    [[each.instrument, each.quantity, each.unit, each.text()] for each in one.amounts],
                ]
                for one in self.jobs
            ],
        })  # fmt: skip


def prove(db: Database, lot: str) -> Proof:
    """The proof of a lot. Raises LotError where no entry names it, or where it would be too large."""
    lots = index.behind(db, lot)
    places = index.jobs_of(db, lots)
    if not places and len(lots) == 1:
        raise LotError(f"no entry names a lot {lot!r}; `parkgate lot list` shows the lots")
    if len(places) > JOBS_MAX:
        raise LotError(f"{len(places)} jobs are behind lot {lot}: a proof holds at most {JOBS_MAX}")
    jobs = [proved(db, ep, number) for ep, number in places]
    for one in jobs:
        _need_batches(db, one)
    known = {one.job.lot for one in jobs} | {given for one in jobs for _, given in one.job.given}
    return Proof(lot, jobs, sorted(set(lots[1:]) - known))


def _need_batches(db, one: Proved) -> None:
    """Raises LotError where the batches of a job were removed from the hub."""
    row = db.execute(
        "SELECT count(*) FROM batch WHERE ep = ? AND seq BETWEEN ? AND ? AND state = ?",
        (one.ep, one.first_seq, one.last_seq, REMOVED),
    ).fetchone()
    if row[0]:
        raise LotError(
            f"lot {one.job.lot} cannot be proved: {row[0]} batches of its job at {one.gateway} were removed from the"
            " hub; an archive that was made before has them"
        )


def proved(db: Database, ep: int, number: int) -> Proved:
    """One job of the index, told from the batches of its proof alone."""
    gw, name, kid, epoch = db.execute(
        "SELECT gw, name, kid, epoch.epoch FROM epoch JOIN gateway USING (gw) WHERE ep = ?", (ep,)
    ).fetchone()
    first, last = index.window(db, ep, number)
    items = read_items(db, ep, first, last)
    corrections, later = _corrections(db, ep, [item for item in items if isinstance(item, Entry)], last)
    told = tell(Chain(gw, name, kid.hex(), epoch.hex(), [*items, *corrections], 0), is_whole=False)
    job = next(job for job in told.jobs if job.number == number)
    is_whole = _is_whole(db, ep, first, last, items)
    end = job.stop_number or job.number
    own = [item.seq for item in items if isinstance(item, Entry) and job.number <= item.number <= end]
    units = _Units(db, gw, ep, own)
    amounts = [_amount(units, told, job, pair, is_whole) for pair in told.registers_at.get(number, ())]
    return Proved(ep, gw, name, kid, epoch, job, told.names.get(job.station, ""), amounts, first, last, later, is_whole)


def _corrections(db, ep: int, entries: list[Entry], last: int) -> tuple[list[Entry], list[int]]:
    """The corrections behind the window of what is in it, and the batches that hold them."""
    found = index.corrections_behind(db, ep, [entry.number for entry in entries], last)
    return found, sorted({entry.seq for entry in found})


def _is_whole(db, ep: int, first: int, last: int, items: list[Entry | Counter]) -> bool:
    """Whether every batch of the window is held, and no number is missing between its entries."""
    count = db.execute("SELECT count(*) FROM batch WHERE ep = ? AND seq BETWEEN ? AND ?", (ep, first, last)).fetchone()
    numbers = [item.number for item in items if isinstance(item, Entry)]
    rising = [number for at, number in enumerate(numbers) if number > max(numbers[:at], default=0)]
    return count[0] == last - first + 1 and all(other == one + 1 for one, other in pairwise(rising))


class _Units:
    """What the schemas of some batches say of a register."""

    def __init__(self, db: Database, gw: int, ep: int, seqs: list[int]):
        self._schemas = []
        ids = {}
        for seq in dict.fromkeys(seqs):
            row = db.execute("SELECT schema_id FROM batch WHERE ep = ? AND seq = ?", (ep, seq)).fetchone()
            ids[bytes(row[0]) if row else b""] = None
        for schema_id in ids:
            row = db.execute("SELECT bytes FROM schema WHERE gw = ? AND schema_id = ?", (gw, schema_id)).fetchone()
            self._schemas.append(cbor.decode(row[0]) if row else [])

    def of(self, pair: tuple[str, str]) -> tuple[str, int] | None:
        """(unit, scale) of a register; None where it is not the same in all batches, or not known."""
        found = [self._in(schema, pair) for schema in self._schemas]
        return found[0] if found and all(unit == found[0] for unit in found) else None

    @staticmethod
    def _in(schema, pair: tuple[str, str]) -> tuple[str, int] | None:
        for name, _, channels in schema:
            for quantity, unit, scale in channels:
                if (name, quantity) == pair:
                    return unit, scale
        return None


def _amount(units: _Units, told: Told, job: Job, pair: tuple[str, str], is_whole: bool) -> Amount:
    unit = units.of(pair)
    can_be_told = is_whole and job.stop is not None
    steps, shared = _grown(told, job, pair) if can_be_told else (None, False)
    return Amount(*pair, *(unit or ("", 0)), None if unit is None else steps, shared)


def _grown(told: Told, job: Job, pair: tuple[str, str]) -> tuple[int | None, bool]:
    """What a register grew for a job between its start and its stop, and whether it was shared; None where a part of
    it cannot be told: a counter began again, or the jobs changed where the register was not known."""
    bound = {station for station, pairs in told.binds.items() if pair in pairs}
    total, shared = 0, False
    last: tuple[int, tuple[Job, ...]] | None = None
    for edge in _edges(told, job):
        here = tuple(each for each in edge.open if each.station in bound)
        value = edge.registers.get(pair)
        jumped = any((jump.instrument, jump.quantity) == pair for jump in edge.jumps)
        if last is None:
            if value is None:
                return None, shared
        else:
            if jumped or value is None and here != last[1]:
                return None, shared
            if value is None:
                continue
            step = value - last[0]
            if step < 0 or any(each.lot is None for each in last[1]):
                return None, shared
            place = [id(each) for each in last[1]].index(id(job))
            total += step // len(last[1]) + (place < step % len(last[1]))
            shared = shared or len(last[1]) > 1
        last = value, here
    return (total if last is not None and job not in last[1] else None), shared


def _edges(told: Told, job: Job) -> list[Edge]:
    """The edges of a job: from that of its start to that of its stop."""
    inside = [at for at, edge in enumerate(told.edges) if any(each is job for each in edge.open)]
    return told.edges[inside[0] : inside[-1] + 2] if inside else []
