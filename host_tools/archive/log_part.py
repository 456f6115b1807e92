"""The part of the log that goes into an archive: the entries from the first of its batches up to a signed checkpoint.
Beside them stands what the hub itself signed: its starts and stops, and what was done with the gateways of the archive.

An entry is a hash: of what other gateways measured nothing is in it. With the roots of the subtrees before the first
entry they give the root that the hub signed, so no path is needed for any single batch.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from host_tools.archive.writer import Archive, Gateway
from host_tools.hub.stores import kept
from host_tools.log import stamps
from host_tools.log.database.seam import Database
from host_tools.log.log import Checkpoint, Log, LogError
from host_tools.log.tables import STATEMENT
from parkgate.errors import FormatError
from parkgate.log import receipt, statement
from parkgate.wire import cose

REACH_BACK = 200_000  # leaves before the first batch that are taken so that a stamp is among them
PIECE = 4096  # entries read at a time
WHOLE_BELOW = 1024  # a part that would begin before this leaf begins with the log: the enrolments are then in it


def add(
    db: Database, folder: Path, gateways: list[Gateway], archive: Archive, newest: bool,
    place: bytes | None = None,
):  # fmt: skip
    """Write `log/…` for the batches of these gateways, up to the newest checkpoint or the first one that has them all;
    of places, what was said of `place`, or else of all where they stood. Returns the log's public key (x || y), and
    lines about what is left out."""
    try:
        log = Log(db, folder)
    except LogError as error:
        return b"", [f"the log: {error}"]
    found = _leaves(db, gateways)
    if found is None:
        return log.key_xy, ["the log: no batch of this archive is in it"]
    first, last = found
    # From the stamp before the first batch to the one that covers the last: they say when all of it was signed.
    before, over = stamps.last_before(db, first), stamps.first_over(db, log.log_id, last)
    first = before if before is not None and first - before <= REACH_BACK else first
    first = 0 if first < WHOLE_BELOW else first
    which = "max" if newest else "min"
    question = f"SELECT {which}(size) FROM checkpoint WHERE log_id = ? AND size > ?"
    row = db.execute(question, (log.log_id, last if over is None else over)).fetchone()
    if row[0] is None and over is not None:
        row = db.execute(question, (log.log_id, last)).fetchone()
    if row[0] is None:
        return log.key_xy, ["the log: no checkpoint covers the newest batches yet; a running hub signs one soon"]
    made = log.checkpoint_of(row[0])
    archive.add("log/checkpoint.cose", [_signed(log, made)])
    if first:
        archive.add("log/frontier.bin", log.frontier(first))
    archive.add("log/entries.bin", _entries(log, first, made.size))
    left_out: list[str] = []
    archive.add("log/statements.cbor", _statements(db, gateways, place, first, made.size, left_out))
    return log.key_xy, left_out


def _leaves(db, gateways) -> tuple[int, int] | None:
    """The first and last leaf of all batches that the archive holds; None when one of them has no leaf."""
    found = []
    for gateway in gateways:
        for chain in gateway.chains:
            question = "SELECT ep FROM epoch JOIN gateway USING (gw) WHERE kid = ? AND epoch = ?"
            ep = db.execute(question, (gateway.id, chain.epoch)).fetchone()[0]
            for first, last in chain.runs:
                count, *ends = db.execute(
                    "SELECT count(*), min(leaf), max(leaf) FROM leaf WHERE kind = 1 AND ep = ? AND seq BETWEEN ? AND ?",
                    (ep, first, last),
                ).fetchone()
                if count < last - first + 1:
                    return None
                found += ends
    return (min(found), max(found)) if found else None


def _entries(log: Log, first: int, size: int) -> Iterator[bytes]:
    for at in range(first, size, PIECE):
        yield b"".join(leaf.entry for leaf in log.leaves(at, min(at + PIECE, size) - 1))


def _statements(db, gateways, place, first: int, size: int, left_out: list[str]) -> Iterator[bytes]:
    """What the hub signed of these gateways and their places since the log began, and of itself in this part of the
    log."""
    ids = {gateway.id for gateway in gateways}
    stays = db.execute("SELECT kid, id FROM place_stay JOIN place USING (pl) JOIN gateway USING (gw)")
    places = {place} if place else {place_id for kid, place_id in stays if kid in ids}
    rows = db.iterate(
        "SELECT leaf, entry, bytes FROM leaf JOIN statement USING (leaf) WHERE kind = ? AND leaf < ? ORDER BY leaf",
        (STATEMENT, size),
    )
    for leaf, entry, data in rows:
        said = None
        if kept.whole(data, entry):
            with contextlib.suppress(FormatError):
                said = statement.Statement(data)
        if said is None:
            left_out.append(f"statement {leaf} of the hub: it is damaged in the hub's database")
            continue
        if said.kind in statement.OF_PLACES:
            if said.facts["place"] in places:
                yield data
            continue
        about = {said.facts[name] for name in ("gateway", "before") if type(said.facts.get(name)) is bytes}
        if about & ids or not about and (leaf >= first or leaf == 0):
            yield data


def _signed(log: Log, made: Checkpoint) -> bytes:
    """The checkpoint as COSE_Sign1 with the root in its place: the signature is that of the receipts."""
    return cose.sign1_join(receipt.protected_header(log.kid, log.log_id, made.size), made.root, made.signature)
