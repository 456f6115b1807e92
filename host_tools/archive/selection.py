"""What goes into an archive: read from a hub's database, running or backed up, or from a file of `parkgate pull`.

Nothing is held but one batch at a time. The batches that are taken of each chain are those whose readings reach into
the span, one dated batch before them and one behind: so the archive shows that its chain began before and goes on.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import NamedTuple

from host_tools.archive.writer import Archive, ArchiveError, Chain, Gateway
from host_tools.base.messages import Message
from host_tools.hub.production.proof import Proof
from host_tools.hub.stores import kept
from host_tools.hub.stores.schema import REMOVED
from host_tools.log.database.seam import Database
from parkgate.errors import FormatError
from parkgate.events import KEY_ROTATED
from parkgate.log import rotation
from parkgate.wire import cbor, cose
from parkgate.wire.batch import Batch
from parkgate.wire.beat import Beat

FORKS_MAX = 1024
LOTS = "lots.cbor"
SCHEMAS_PIECE = 256


class Span(NamedTuple):
    """From when to when, in Unix ms; None where there is no end."""

    from_ms: int | None
    to_ms: int | None


class Taken(NamedTuple):
    """What was written: gateways for the statement, how many batches, what is left out, and the times that were met."""

    gateways: list[Gateway]
    batches: int
    left_out: list[str]
    first_ms: int | None
    last_ms: int | None


def from_database(db: Database, gateways: list[tuple], spans: dict[int, Span], archive: Archive) -> Taken:
    """Write the members of these gateways (gw, id, name), as `find` gives them; `spans` says from when to when."""
    taken = _Members(db, archive)
    for gateway in gateways:
        chains = []
        for ep, epoch in db.execute("SELECT ep, epoch FROM epoch WHERE gw = ? ORDER BY ep", (gateway[0],)).fetchall():
            found = _range(db, gateway[0], ep, spans[gateway[0]])
            if found is not None:
                first, last, *times = found
                chains.append((ep, epoch, [(first, last)]))
                taken.times += [ms for ms in times if ms is not None]
        taken.add(gateway, chains, with_beats=True)
    return taken.all()


def of_lot(db: Database, proof: Proof, archive: Archive) -> Taken:
    """Write the batches that prove a lot: those of each of its jobs, and the later ones that correct them."""
    ranges: dict[int, list[tuple[int, int]]] = {}
    chains: dict[int, dict[int, bytes]] = {}
    for job in proof.jobs:
        ranges.setdefault(job.ep, []).append((job.first_seq, job.last_seq))
        ranges[job.ep] += [(seq, seq) for seq in job.later]
        chains.setdefault(job.gw, {})[job.ep] = job.epoch
    taken = _Members(db, archive)
    times = [ms for job in proof.jobs for ms in (job.job.start_ms, job.job.end_ms) if ms is not None]
    taken.times += [min(times), max(times)] if times else []
    rows = db.execute("SELECT gw, kid, name FROM gateway ORDER BY kid").fetchall()
    for gateway in (row for row in rows if row[0] in chains):
        own = sorted(chains[gateway[0]].items())
        taken.add(gateway, [(ep, epoch, _merged(ranges[ep])) for ep, epoch in own], with_beats=False)
    archive.add(LOTS, [proof.member()])
    return taken.all()


def _merged(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges of seqs as disjoint ones that rise."""
    found: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if found and first <= found[-1][1] + 1:
            found[-1] = found[-1][0], max(found[-1][1], last)
        else:
            found.append((first, last))
    return found


class _Members:
    """The members of gateways, written one by one; `times` are those that were met, in Unix ms."""

    def __init__(self, db: Database, archive: Archive):
        self._db, self._archive = db, archive
        self.times: list[int] = []
        self._taken: list[Gateway] = []
        self._batches = 0
        self._left_out: list[str] = []

    def add(self, gateway: tuple, eps: list[tuple[int, bytes, list[tuple[int, int]]]], with_beats: bool) -> None:
        """Write one gateway (gw, id, name): of each chain (ep, epoch) the batches in these ranges."""
        db, archive, (gw, gateway_id, name) = self._db, self._archive, gateway
        key = db.execute("SELECT public_key FROM gateway WHERE gw = ?", (gw,)).fetchone()[0]
        question = "SELECT unix_ms, what, name FROM gateway_history WHERE gw = ? ORDER BY rowid"
        history = [tuple(row) for row in db.execute(question, (gw,))]
        folder = f"gateways/{gateway_id.hex()}/"
        chains, schema_ids = [], set()
        for ep, epoch, ranges in eps:
            chain = _ChainParts(db, ep, ranges, schema_ids)
            archive.add(f"{folder}batches-{epoch.hex()}.cbor", chain)
            chains.append(Chain(epoch, chain.runs, chain.set_aside))
            self._batches += chain.count
            for seq in chain.set_aside[:20]:
                self._left_out.append(
                    f"{name}: batch {seq} of chain {epoch.hex()[:8]} is damaged in the hub's database"
                )
            self._left_out += _removed(name, epoch, chain.removed)
        if with_beats:
            archive.add(f"{folder}beats.cbor", _beats(db, [ep for ep, _, _ in eps]))
        archive.add(f"{folder}forks.cbor", _forks(db, gw, [chain.epoch for chain in chains]))
        archive.add(f"{folder}rotations.cbor", _rotations(db, gw, name, self._left_out))
        archive.add(f"{folder}schemas.cbor", _schemas(db, gw, schema_ids))
        self._taken.append(Gateway(gateway_id, key, name, history, chains))

    def all(self) -> Taken:
        """What was written."""
        first_ms, last_ms = min(self.times, default=None), max(self.times, default=None)
        return Taken(self._taken, self._batches, self._left_out, first_ms, last_ms)


def _range(db, gw, ep, span: Span):
    """(first seq, last seq, first time, last time) to be taken of a chain, None where nothing of it belongs here."""
    ends = db.execute("SELECT min(first_seq), max(last_seq) FROM held WHERE ep = ?", (ep,)).fetchone()
    if ends[0] is None:
        return None
    blocks = " FROM block WHERE series IN (SELECT series FROM series WHERE gw = ?) AND ep = ? AND last_ms >= 0"
    first, last = ends
    if span.from_ms is not None:
        first = db.execute(f"SELECT min(seq) {blocks} AND last_ms >= ?", (gw, ep, span.from_ms)).fetchone()[0]
    if span.to_ms is not None:
        last = db.execute(f"SELECT max(seq) {blocks} AND first_ms < ?", (gw, ep, span.to_ms)).fetchone()[0]
    if first is None and ep == db.execute("SELECT max(ep) FROM epoch WHERE gw = ?", (gw,)).fetchone()[0]:
        first = ends[1]  # its newest chain has nothing later: its last batch and beat say so
    if first is None or last is None:
        return None
    first, last = min(first, last), max(first, last)
    if span.from_ms is not None:
        before = db.execute(f"SELECT max(seq) {blocks} AND seq < ?", (gw, ep, first)).fetchone()[0]
        first = ends[0] if before is None else before
    if span.to_ms is not None:
        behind = db.execute(f"SELECT min(seq) {blocks} AND seq > ?", (gw, ep, last)).fetchone()[0]
        last = ends[1] if behind is None else behind
    times = f"SELECT min(first_ms), max(last_ms) {blocks} AND seq BETWEEN ? AND ?"
    return (first, last, *db.execute(times, (gw, ep, first, last)).fetchone())


def _removed(name: str, epoch: bytes, runs: list[tuple[int, int]]) -> list[str]:
    """What an operator removed from this stretch of a chain, in words: the statements `readings removed` say why."""
    if not runs:
        return []
    named = ", ".join(f"{first} to {last}" if last > first else str(first) for first, last in runs[:20])
    more = f" and {len(runs) - 20} stretches more" if len(runs) > 20 else ""
    return [f"{name}: an operator removed batches {named}{more} of chain {epoch.hex()[:8]}; the hub's log says why"]


class _ChainParts:
    """The batches of a chain as parts of a member; afterwards what they were."""

    def __init__(self, db, ep, ranges, schema_ids):
        self._db, self._ep, self._ranges, self._schema_ids = db, ep, ranges, schema_ids
        self.runs: list[tuple[int, int]] = []
        self.set_aside: list[int] = []
        self.removed: list[tuple[int, int]] = []
        self.count = 0

    def __iter__(self) -> Iterator[bytes]:
        for first, last in self._ranges:
            yield from self._part(first, last)

    def _part(self, first: int, last: int) -> Iterator[bytes]:
        question = (
            "SELECT seq, bytes, hash, schema_id, state FROM batch WHERE ep = ? AND seq BETWEEN ? AND ? ORDER BY seq"
        )
        for seq, data, batch_hash, schema_id, state in self._db.iterate(question, (self._ep, first, last)):
            if state == REMOVED:
                _extend(self.removed, seq)
                continue
            if not kept.whole(data, batch_hash):
                self.set_aside.append(seq)
                continue
            _extend(self.runs, seq)
            self._schema_ids.add(schema_id)
            self.count += 1
            yield data


def _extend(runs: list[tuple[int, int]], seq: int) -> None:
    if runs and runs[-1][1] == seq - 1:
        runs[-1] = runs[-1][0], seq
    else:
        runs.append((seq, seq))


def _beats(db, eps) -> Iterator[bytes]:
    for ep in eps:
        for (data,) in db.execute("SELECT bytes FROM beats WHERE ep = ? ORDER BY boot, seq, sampled", (ep,)):
            yield data


def _forks(db, gw, epochs) -> Iterator[bytes]:
    question = "SELECT bytes, size FROM evidence WHERE gw = ? AND reason = 'fork' AND topic LIKE '%/batch' ORDER BY id"
    for data, size in db.iterate(question, (gw,)):
        if size == len(data) and Batch(data).sign1.epoch in epochs:
            yield data


def _rotations(db, gw, name, left_out) -> Iterator[bytes]:
    """The batches that brought the gateway's keys, of all times: they tell whose the later messages are."""
    for data, batch_hash in db.execute(
        "SELECT bytes, hash FROM gateway_key JOIN batch USING (ep, seq) WHERE gw = ? ORDER BY number", (gw,)
    ):
        if not kept.whole(data, batch_hash):
            left_out.append(f"{name}: a batch that brought a new key is damaged in the hub's database")
            return
        yield data


def _schemas(db, gw, schema_ids) -> Iterator[bytes]:
    for schema_id in sorted(schema_ids):
        row = db.execute("SELECT bytes FROM schema WHERE gw = ? AND schema_id = ?", (gw, schema_id)).fetchone()
        if row:
            yield cbor.encode(row[0])


def _followed(batches: list[tuple[Batch, bytes]], gateway_id: bytes) -> Iterator[bytes]:
    """Of the batches of one gateway those that bring a new key, each by the key that was brought before."""
    rotations = {}
    for batch, data in batches:
        for event in batch.events:
            if event[0] == KEY_ROTATED:
                with contextlib.suppress(FormatError):
                    rotations[batch.sign1.kid] = data, cose.thumbprint(rotation.read_event(event)[0])
    kid = gateway_id
    while kid in rotations:
        data, kid = rotations.pop(kid)
        yield data


def from_messages(messages: list[Message], public_key: bytes, name: str, archive: Archive) -> Taken:
    """Write what a gateway handed over by cable. The hub has no part in it: nobody signs a statement. Raises
    ArchiveError for messages of another gateway."""
    gateway_id = cose.thumbprint(public_key)
    topic = f"tele/{gateway_id.hex()[:32]}/"
    if any(not message.topic.startswith(topic) for message in messages):
        raise ArchiveError("the file holds messages of another gateway than the one with this key")
    try:
        batches = [(Batch(m.data), m.data) for m in messages if m.topic.endswith("/batch")]
        beats = [Beat(m.data) and m.data for m in messages if m.topic.endswith("/beat")]
    except FormatError as error:
        raise ArchiveError(f"a message in the file is damaged: {error}") from None
    batches.sort(key=lambda item: (item[0].sign1.epoch, item[0].sign1.seq))
    folder, chains = f"gateways/{gateway_id.hex()}/", []
    for epoch in sorted({batch.sign1.epoch for batch, _ in batches}):
        own = [(batch, data) for batch, data in batches if batch.sign1.epoch == epoch]
        archive.add(f"{folder}batches-{epoch.hex()}.cbor", (data for _, data in own))
        runs: list[tuple[int, int]] = []
        for batch, _ in own:
            _extend(runs, batch.sign1.seq)
        chains.append(Chain(epoch, runs, []))
    archive.add(f"{folder}rotations.cbor", _followed(batches, gateway_id))
    archive.add(f"{folder}beats.cbor", beats)
    times = [batch.base_ms for batch, _ in batches if batch.base_ms >= 10**12]
    left_out = ["batches that the hub had acknowledged before: the gateway no longer holds them"]
    gateway = Gateway(gateway_id, public_key, name, [], chains)
    return Taken([gateway], len(batches), left_out, min(times, default=None), max(times, default=None))
