"""Lots as documents: what `--json`, the API and the page show. Keys are described in host_tools/JSON.md."""

from __future__ import annotations

from host_tools.hub.production.floor import Figure, Floor, LotError, Register, decimal
from host_tools.hub.production.genealogy import Link
from host_tools.hub.production.index import Recall
from host_tools.hub.production.jobs import Job
from host_tools.log.database.seam import Database
from parkgate.sensing import jobs as kinds

MEASURED, PARTLY, ESTIMATED = "measured", "partly estimated", "estimated"


def lots(floor: Floor) -> list[dict]:
    """Every lot, the one that was started last first."""
    found = []
    for name, jobs in floor.by_lot.items():
        last = max(jobs, key=lambda job: job.start_ms)
        found.append({
            "lot": name,
            "jobs": len(jobs),
            "open": any(job.stop is None for job in jobs),
            "station": floor.station(last),
            "gateway": last.chain.gateway,
            "start_ms": min(job.start_ms for job in jobs),
            "last_start_ms": last.start_ms,
            "flags": sorted({flag for job in jobs for flag in flags(job)}),
            "totals": [_figure(figure) for figure in floor.totals(jobs)],
        })  # fmt: skip
    return sorted(found, key=lambda lot: (-lot["last_start_ms"], lot["lot"]))


def lot(floor: Floor, name: str) -> dict:
    """One lot whole. Raises LotError."""
    jobs = floor.lot(name)
    scrap: dict[int, int] = {}
    for job in jobs:
        for reason, count in job.scrap.items():
            scrap[reason] = scrap.get(reason, 0) + count
    counted = [floor.pieces(job) for job in jobs]
    return {
        "lot": name,
        "rule": floor.rule,
        "open": any(job.stop is None for job in jobs),
        "pieces": None if not counted or None in counted else sum(count or 0 for count in counted),
        "scrap": [{"reason": reason, "pieces": count} for reason, count in sorted(scrap.items())],
        "totals": [_figure(figure) for figure in floor.totals(jobs)],
        "jobs": [_job(floor, job) for job in jobs],
        "made_of": [_link(link, link.source) for link in floor.genealogy.made_of(name)],
        "went_into": [_link(link, link.target) for link in floor.genealogy.went_into(name)],
        "refused": [_link(link, link.source) for link in floor.genealogy.refused if name in (link.source, link.target)],
    }


def recall(db: Database, name: str) -> dict:
    """Every lot that a fault of this one may have reached, and all that it may have come from, the nearest first.
    Raises LotError."""
    found = Recall(db, name)
    if not found.is_known:
        raise LotError(f"no entry names a lot {name!r}; `parkgate lot list` shows the lots")

    def named(lots: dict[str, int]) -> list[dict]:
        return [{"lot": lot, "steps": steps, "where": found.where.get(lot, [])} for lot, steps in lots.items()]

    return {"lot": name, "forward": named(found.forward), "back": named(found.back)}


def balance(floor: Floor) -> list[dict]:
    """Of each register: what it grew, and that lots, idle and unassigned add up to it."""
    found = []
    for register, made in floor.balance.items():
        scale = register.scale
        found.append({
            **_register(register),
            "meter": decimal(made.meter, scale),
            "lots": decimal(sum(share.amount for share in made.jobs.values()), scale),
            "idle": decimal(made.idle, scale),
            "unassigned": decimal(made.unassigned, scale),
            "unknown_steps": made.unknown,
        })  # fmt: skip
    return found


def flags(job: Job) -> list[str]:
    """What a reader must know before believing a job's figures."""
    found = []
    if job.forgotten:
        found.append("forgotten")
    if job.corrected:
        found.append("corrected")
    if job.estimated:
        found.append("estimated")
    if job.stop == "not known":
        found.append("end not known")
    return found


def _job(floor: Floor, job: Job) -> dict:
    return {
        "gateway": job.chain.gateway,
        "gateway_id": job.chain.gateway_id,
        "station": floor.station(job),
        "number": job.number,
        "start_ms": job.start_ms,
        "end_ms": job.end_ms,
        "stop": job.stop,
        "flags": flags(job),
        "counted_by": "machine" if job.counts == kinds.MACHINE else "hand",
        "pieces": floor.pieces(job),
        "scrap": [{"reason": reason, "pieces": count} for reason, count in sorted(job.scrap.items())],
        "operators": job.operators,
        "figures": [_figure(figure) for figure in floor.figures(job)],
        "proof": {"epoch": job.chain.epoch, "first_seq": job.first_seq, "last_seq": job.last_seq},
    }


def _register(register: Register) -> dict:
    return {
        "gateway": register.gateway, "instrument": register.instrument, "quantity": register.quantity,
        "unit": register.unit,
    }  # fmt: skip


def _figure(figure: Figure) -> dict:
    basis = ESTIMATED if figure.amount == figure.estimated else PARTLY
    return {
        **_register(figure.register),
        "amount": figure.text(),
        "basis": MEASURED if not figure.estimated else basis,
        "shared_by": sorted(figure.rules),
    }


def _link(link: Link, lot: str) -> dict:
    return {"lot": lot, "time_ms": link.time_ms, "gateway_id": link.gateway, "number": link.number}
