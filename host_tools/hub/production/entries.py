"""The entries of the floor as rows of the hub's database hold them: signed, in the order of their chains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from host_tools.log.database.seam import Database
from parkgate import events
from parkgate.sensing import jobs
from parkgate.wire import cbor

NAMES = ("station", "start", "stop", "count", "scrap", "material in", "material out", "operator", "shift", "correction")


class Entry(NamedTuple):
    """One entry. `seq` is of the batch that holds it; `registers` are steps of channels, None where not known."""

    seq: int
    what: int
    station: int
    number: int
    time_ms: int
    trust: int
    job: int | str
    detail: object
    age: int | None
    registers: tuple[int | None, ...]


class Counter(NamedTuple):
    """What a meter's counter did, in its place among the entries (SPEC 5.4)."""

    seq: int
    instrument: str
    quantity: str
    what: int
    before: int
    value: int


class Chain(NamedTuple):
    """One chain of one gateway. `items` are Entry and Counter in the order in which they were signed; `strange` counts
    entries of a shape that this hub does not know."""

    gw: int
    gateway: str
    gateway_id: str
    epoch: str
    items: list[Entry | Counter]
    strange: int


def chains(db: Database) -> list[Chain]:
    """The chains with entries, gateway by gateway, each in the order in which its chains began."""
    rows = db.execute(
        "SELECT ep, gw, name, kid, epoch.epoch FROM epoch JOIN gateway USING (gw) WHERE EXISTS"
        " (SELECT 1 FROM event WHERE event.ep = epoch.ep AND kind = ?) ORDER BY gw, ep", (events.PRODUCTION,),
    ).fetchall()  # fmt: skip
    found = []
    for ep, gw, name, kid, epoch in rows:
        items, strange = _read(db, ep, 0, 1 << 62)
        found.append(Chain(gw, name, kid.hex(), epoch.hex(), items, strange))
    return found


def read_items(db: Database, ep: int, first: int, last: int) -> list[Entry | Counter]:
    """The entries and counter events in batches `first` to `last` of a chain, in their order."""
    return _read(db, ep, first, last)[0]


def _read(db: Database, ep: int, first: int, last: int) -> tuple[list[Entry | Counter], int]:
    items: list[Entry | Counter] = []
    strange = 0
    for seq, kind, data in db.execute(
        "SELECT seq, kind, event FROM event WHERE ep = ? AND seq BETWEEN ? AND ? AND kind IN (?, ?)"
        " ORDER BY seq, place", (ep, first, last, events.PRODUCTION, events.COUNTER),
    ):  # fmt: skip
        event: list = cbor.decode(data)  # type: ignore[assignment]
        item = parse_entry(seq, event) if kind == events.PRODUCTION else _counter(seq, event)
        if item is not None:
            items.append(item)
        strange += item is None and kind == events.PRODUCTION
    return items, strange


def parse_entry(seq: int, event: Sequence) -> Entry | None:
    """The entry that an event is; None for another shape, as a later firmware may write."""
    if len(event) < 9 or any(type(n) is not int for n in event[1:6]):
        return None
    _, what, station, number, time_ms, trust, job, detail, age, *registers = event
    numbers = [*registers, 0 if age is None else age]
    if any(n is not None and type(n) is not int for n in numbers) or not 0 <= what < len(NAMES) or number < 1:
        return None
    if not _is_detail(what, job, detail):
        return None
    return Entry(seq, what, station, number, time_ms, trust, job, detail, age, tuple(registers))


def _is_detail(what: int, job: object, detail) -> bool:
    """Whether job and detail are what SPEC 15.2 says of this kind of entry."""
    if type(job) is not (str if what == jobs.START else int):
        return False
    if what == jobs.STATION:
        return (
            type(detail) is list and len(detail) == 2 and type(detail[0]) is str and type(detail[1]) is list
            and all(type(name) is str for name in detail[1])
        )  # fmt: skip
    if what == jobs.SCRAP:
        return type(detail) is list and len(detail) == 2 and all(type(n) is int for n in detail)
    if what == jobs.CORRECTION:
        if type(detail) is not list or not detail or type(detail[0]) is not int:
            return False
        wanted = {jobs.VOID: (), jobs.QUANTITY: (int,), jobs.LOT: (str,), jobs.TIME: (int,)}.get(detail[0])
        return wanted is not None and tuple(type(value) for value in detail[1:]) == wanted
    return type(detail) is (str if what in (jobs.MATERIAL_IN, jobs.MATERIAL_OUT, jobs.OPERATOR) else int)


def _counter(seq: int, event: Sequence) -> Counter | None:
    if len(event) != 7 or type(event[1]) is not str or type(event[2]) is not str:
        return None
    _, instrument, quantity, what, before, value, _ = event
    if any(type(n) is not int for n in (what, before, value)):
        return None
    return Counter(seq, instrument, quantity, what, before, value)
