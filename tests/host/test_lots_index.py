"""The index of the floor's entries: the same rows from entries in any order as from all of them at once, and a recall
from it is the recall of the whole floor."""

import contextlib
import os
import random
import sqlite3

import pytest

from host_tools.hub.production import document, index
from host_tools.hub.production.floor import Floor
from host_tools.hub.stores.database import connect
from hub_rig import make_older
from parkgate import events
from parkgate.sensing import jobs as kinds
from parkgate.wire import cbor

PARKS = 1000 if os.environ.get("PARKGATE_FUZZ_SIZE") else 40
TABLES = ("lot_entry", "lot_job", "lot_link", "lot_station")


class Chain:
    """The entries of one chain as an honest gateway signs them, one batch each; some batches are lost."""

    def __init__(self, dice: random.Random, ep: int):
        self.dice, self.ep, self.events = dice, ep, []
        self.open: list[int] = []
        self.lots: dict[int, str] = {}
        self.put(kinds.STATION, 0, 0, [f"saw-{ep}", []])
        for _ in range(dice.randrange(3, 40)):
            self.step()

    def put(self, what, station, job, detail):
        number = len(self.events) + 1
        time_ms = 10**12 + number * 1000 + self.dice.randrange(900)
        self.events.append([events.PRODUCTION, what, station, number, time_ms, 0, job, detail, 1])
        return number

    def lot(self):
        return f"L{self.dice.randrange(12)}"

    def step(self):
        dice, what = self.dice, self.dice.random()
        if what < 0.3:
            self.open.append(self.put(kinds.START, dice.randrange(2), self.lot(), 0))
        elif what < 0.6 and self.open:
            self.put(dice.choice((kinds.MATERIAL_IN, kinds.MATERIAL_OUT)), 0, dice.choice(self.open), self.lot())
        elif what < 0.7 and self.open:
            self.put(kinds.STOP, 0, self.open.pop(dice.randrange(len(self.open))), 0)
        elif what < 0.75:
            self.put(kinds.STATION, 0, 0, [f"saw-{self.ep}-{len(self.events)}", []])
        elif what < 0.95:
            corrected = dice.randrange(1, len(self.events) + 1)
            detail = dice.choice(([kinds.VOID], [kinds.LOT, self.lot()], [kinds.TIME, 10**12 + dice.randrange(10**6)]))
            if self.events[corrected - 1][1] in (kinds.START, kinds.MATERIAL_IN, kinds.MATERIAL_OUT, kinds.STOP):
                self.put(kinds.CORRECTION, 0, corrected, detail)
        else:
            self.put(kinds.SHIFT, 0, 0, 7)

    def batches(self):
        """(ep, seq, events of the batch) of those that came."""
        found, seq, at = [], 0, 0
        while at < len(self.events):
            size = self.dice.randrange(1, 4)
            if self.dice.random() > 0.1:
                found.append((self.ep, seq, self.events[at : at + size]))
            seq, at = seq + 1, at + size
        return found


@pytest.fixture
def db(tmp_path):
    with contextlib.closing(connect(tmp_path)) as made:
        for gw in (1, 2, 3):
            made.execute("INSERT INTO gateway VALUES (?, ?, ?, ?, 1, NULL)", (gw, bytes([gw]) * 32, b"", f"hall-{gw}"))
            made.execute("INSERT INTO epoch VALUES (?, ?, ?, 1, 0, 0, 0, 0, 0, 0)", (gw, gw, bytes([gw]) * 16))
        yield made


def come(db: sqlite3.Connection, batches) -> None:
    """The batches come, one after the other."""
    for ep, seq, found in batches:
        rows = [(ep, seq, place, event[0], cbor.encode(event)) for place, event in enumerate(found)]
        db.executemany("INSERT INTO event VALUES (?, ?, ?, ?, ?)", rows)
        index.take(db, ep, seq, found)


def held(db: sqlite3.Connection) -> list[list[tuple]]:
    return [sorted(db.execute(f"SELECT * FROM {table}").fetchall()) for table in TABLES]


def test_any_order_of_the_batches_gives_the_same(db):
    links = 0
    db.execute("BEGIN")
    for seed in range(PARKS):
        dice = random.Random(seed)
        batches = [batch for ep in (1, 2, 3) for batch in Chain(dice, ep).batches()]
        dice.shuffle(batches)
        for table in ("event", *TABLES):
            db.execute(f"DELETE FROM {table}")
        come(db, batches)
        found = held(db)
        index.make(db)
        assert held(db) == found, seed
        links += len(found[2])
        check_recalls(db, seed)
    assert links > PARKS * 5


def check_recalls(db, seed):
    floor = Floor(db)
    lots = {lot for (lot,) in db.execute("SELECT lot FROM lot_job")}
    assert lots == set(floor.by_lot), seed
    for lot in lots:
        made = document.recall(db, lot)
        for way, whole in (("forward", floor.genealogy.forward(lot)), ("back", floor.genealogy.back(lot))):
            assert {row["lot"]: row["steps"] for row in made[way]} == whole, (seed, lot)
            for row in made[way]:
                jobs = floor.by_lot.get(row["lot"], [])
                assert row["where"] == sorted({f"{job.chain.gateway}/{floor.station(job)}" for job in jobs})


@pytest.mark.sqlite
def test_a_database_of_the_format_before_gets_its_index(tmp_path):
    with contextlib.closing(connect(tmp_path)) as db:
        db.execute("INSERT INTO gateway VALUES (1, ?, ?, 'hall', 1, NULL)", (bytes(32), b""))
        db.execute("INSERT INTO epoch VALUES (1, 1, ?, 1, 0, 0, 0, 0, 0, 0)", (bytes(16),))
        come(db, Chain(random.Random(3), 1).batches())
        before = held(db)
        make_older(db, 5)
    with contextlib.closing(connect(tmp_path)) as db:
        assert held(db) == before and all(before)
