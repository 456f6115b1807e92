"""The jobs of one chain: entries read in their order, corrections applied first, gaps seen.

The numbers of entries count without a hole, so a number that is missing says that an entry is: what happened then
nobody knows. A job that a later entry names went on through the gap; any other that was open is closed there without a
time, and what the registers grew across the gap belongs to no lot.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from host_tools.hub.production.entries import Chain, Counter, Entry
from parkgate.sensing import jobs as kinds

WHY = ("by hand", "shift ended", "idle", "journal lost")
UNKNOWN_END = "not known"


@dataclass
class Job:
    """One lot at one station, from its start to its stop.

    lot            None where its start is lost
    end_ms         None while it is open, or where its end is not known (`stop` says which)
    stop           None while it is open, else why it stopped
    estimated      its start or its end was typed afterwards: no energy or time of it is measured
    counts         kinds.HAND or kinds.MACHINE; pieces of the machine come from a register (floor)
    first_seq, last_seq    the batches that hold its first and its last entry
    """

    chain: Chain
    number: int
    station: int
    lot: str | None
    start_ms: int
    counts: int
    first_seq: int
    last_seq: int
    end_ms: int | None = None
    stop: str | None = None
    stop_number: int | None = None  # of the entry that stopped it
    forgotten: bool = False
    estimated: bool = False
    corrected: bool = False
    pieces: int = 0
    scrap: dict[int, int] = field(default_factory=dict)
    taken: list[tuple[int, str]] = field(default_factory=list)  # (time, lot) that went in
    given: list[tuple[int, str]] = field(default_factory=list)  # (time, lot) that came out
    operators: list[str] = field(default_factory=list)


@dataclass
class Edge:
    """A moment at which registers are known. `open` are the jobs of all stations from here on; `broken` says that an
    entry is missing just before it. `registers` are by (instrument, quantity)."""

    time_ms: int
    registers: dict[tuple[str, str], int]
    open: tuple[Job, ...]
    broken: bool
    jumps: list[Counter]


@dataclass
class Told:
    """One chain as it was told. `binds`: station → the registers that any statement named; `registers_at`: number of a
    job → those of its station when it began."""

    jobs: list[Job]
    edges: list[Edge]
    names: dict[int, str]
    binds: dict[int, set[tuple[str, str]]]
    missing: int
    doubled: int  # counts by hand of a job that the machine counts: not counted
    registers_at: dict[int, list[tuple[str, str]]] = field(default_factory=dict)


def tell(chain: Chain, is_whole: bool = True) -> Told:
    """Read a chain. One that is not whole holds some jobs' entries only: no number in it that is missing says anything,
    and what its jobs took and gave is right, but not where they end."""
    return _Reader(chain, is_whole).read()


class _Reader:
    def __init__(self, chain: Chain, is_whole: bool):
        self.chain, self.is_whole = chain, is_whole
        entries = [item for item in chain.items if isinstance(item, Entry)]
        self.corrections: dict[int, dict[int, object]] = defaultdict(dict)  # number → what → the last value
        self.named: dict[int, int] = {}  # number of a job → number of the last entry that names it
        for entry in entries:
            if entry.what == kinds.CORRECTION and isinstance(entry.detail, list):
                self.corrections[int(entry.job)][entry.detail[0]] = (entry.detail[1:] or [None])[0]
            elif type(entry.job) is int and entry.job:
                self.named[entry.job] = entry.number
        self.open: dict[int, Job] = {}
        self.operators: dict[int, str] = {}
        self.registers: dict[int, list[tuple[str, str]]] = {}
        self.told = Told([], [], {}, defaultdict(set), 0, 0)
        self._jumps: list[Counter] = []
        self._gap = False

    def read(self) -> Told:
        before = 0
        for item in self.chain.items:
            if isinstance(item, Counter):
                self._jumps.append(item)
                continue
            if item.number <= before:  # none of an honest gateway: its numbers rise
                continue
            if item.number != before + 1 and self.is_whole:
                self._lose(item, item.number - before - 1)
            before = item.number
            self._take(item)
            self._edge(item)
        return self.told

    def _lose(self, entry: Entry, count: int) -> None:
        self.told.missing += count
        self._gap = True
        for number in list(self.open):
            if self.named.get(number, 0) < entry.number:
                job = self.open.pop(number)
                job.stop = UNKNOWN_END

    def _take(self, entry: Entry) -> None:
        corrected = self.corrections.get(entry.number, {})
        if entry.what == kinds.STATION and isinstance(entry.detail, list):
            name, registers = entry.detail
            self.told.names[entry.station] = name
            pairs = [register.rpartition(".")[::2] for register in registers]
            self.registers[entry.station] = pairs
            self.told.binds[entry.station].update(pairs)
        elif entry.what == kinds.CORRECTION or kinds.VOID in corrected:
            return
        elif entry.what == kinds.OPERATOR:
            self.operators[entry.station] = str(entry.detail)
            for job in self.open.values():
                if job.station == entry.station:
                    _add(job.operators, str(entry.detail))
        elif entry.what == kinds.START:
            self._start(entry, corrected)
        elif entry.what != kinds.SHIFT:
            self._of_job(entry, corrected)

    def _start(self, entry: Entry, corrected) -> None:
        lot = corrected.get(kinds.LOT, entry.job)
        job = Job(
            self.chain, entry.number, entry.station, str(lot), corrected.get(kinds.TIME, entry.time_ms),
            kinds.MACHINE if entry.detail == kinds.MACHINE else kinds.HAND, entry.seq, entry.seq,
            estimated=kinds.TIME in corrected, corrected=bool(corrected),
        )  # fmt: skip
        if entry.station in self.operators:
            job.operators.append(self.operators[entry.station])
        self.open[entry.number] = job
        self.told.jobs.append(job)
        self.told.registers_at[entry.number] = self.registers.get(entry.station, [])

    def _job(self, entry: Entry) -> Job | None:
        """The open job that an entry names; one whose start is lost is begun here, with a lot that nobody knows."""
        number = int(entry.job)
        if kinds.VOID in self.corrections.get(number, {}):
            return None
        job = self.open.get(number)
        if job is None and not any(each.number == number for each in self.told.jobs):
            job = Job(
                self.chain, number, entry.station, None, entry.time_ms, kinds.HAND, entry.seq, entry.seq, estimated=True
            )
            self.open[number] = job
            self.told.jobs.append(job)
        return job

    def _of_job(self, entry: Entry, corrected) -> None:
        job = self._job(entry)
        if job is None:
            return
        job.last_seq = entry.seq
        job.corrected = job.corrected or bool(corrected)
        time_ms = corrected.get(kinds.TIME, entry.time_ms)
        if entry.what == kinds.STOP:
            reason = entry.detail if isinstance(entry.detail, int) and 0 <= entry.detail < len(WHY) else 0
            job.stop, job.end_ms, job.stop_number = WHY[reason], time_ms, entry.number
            job.forgotten = reason != kinds.BY_HAND
            job.estimated = job.estimated or kinds.TIME in corrected
            del self.open[job.number]
        elif entry.what == kinds.COUNT:
            if job.counts == kinds.MACHINE:
                self.told.doubled += 1
            else:
                job.pieces += corrected.get(kinds.QUANTITY, entry.detail)
        elif entry.what == kinds.SCRAP and isinstance(entry.detail, list):
            reason, count = entry.detail
            job.scrap[reason] = job.scrap.get(reason, 0) + corrected.get(kinds.QUANTITY, count)
        elif entry.what == kinds.MATERIAL_IN:
            job.taken.append((time_ms, str(corrected.get(kinds.LOT, entry.detail))))
        elif entry.what == kinds.MATERIAL_OUT:
            job.given.append((time_ms, str(corrected.get(kinds.LOT, entry.detail))))

    def _edge(self, entry: Entry) -> None:
        if entry.what in (kinds.STATION, kinds.CORRECTION):
            return
        pairs = self.registers.get(entry.station, [])
        known = {pair: value for pair, value in zip(pairs, entry.registers) if value is not None}
        jobs = tuple(sorted(self.open.values(), key=lambda job: job.number))
        self.told.edges.append(Edge(entry.time_ms, known, jobs, self._gap, self._jumps))
        self._gap, self._jumps = False, []


def _add(names: list[str], name: str) -> None:
    if name not in names:
        names.append(name)
