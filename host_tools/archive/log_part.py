"""The part of the log that goes into an archive: the entries from the first of its batches up to a signed checkpoint.

An entry is a hash: of what other gateways measured nothing is in it. With the roots of the subtrees before the first
entry they give the root that the hub signed, so no path is needed for any single batch.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

from host_tools.archive.writer import Archive, Gateway
from host_tools.log.log import Checkpoint, Log, LogError
from parkgate.log import receipt
from parkgate.wire import cose

PIECE = 4096  # entries read at a time


def add(db: sqlite3.Connection, folder: Path, gateways: list[Gateway], archive: Archive) -> tuple[bytes, str]:
    """Write `log/…` for the batches of these gateways. Returns the log's public key (x || y), and why there is no log
    where there is none."""
    try:
        log = Log(db, folder)
    except LogError as error:
        return b"", str(error)
    found = _leaves(db, gateways)
    if found is None:
        return log.key_xy, "no batch of this archive is in the log"
    first, last = found
    row = db.execute(
        "SELECT size FROM checkpoint WHERE log_id = ? AND size > ? ORDER BY size LIMIT 1", (log.log_id, last)
    ).fetchone()
    if row is None:
        return log.key_xy, "its newest checkpoint does not cover the newest batches yet: a running hub signs one soon"
    made = log.checkpoint_of(row[0])
    archive.add("log/checkpoint.cose", [_signed(log, made)])
    if first:
        archive.add("log/frontier.bin", log.frontier(first))
    archive.add("log/entries.bin", _entries(log, first, made.size))
    return log.key_xy, ""


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


def _signed(log: Log, made: Checkpoint) -> bytes:
    """The checkpoint as COSE_Sign1 with the root in its place: the signature is that of the receipts."""
    return cose.sign1_join(receipt.protected_header(log.kid, log.log_id, made.size), made.root, made.signature)
