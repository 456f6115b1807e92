"""From the database to memory: what the hub keeps of each gateway, built from its rows.

`fill` does it for all gateways at the start, and for a few after a transaction of theirs has failed. A row that is
damaged costs what it says and no more: `fill` gives it back by name, and goes on.
"""

import json
from collections.abc import Callable, Iterable

from host_tools.hub.receiving.accept import Held
from host_tools.hub.receiving.state import Account, Epoch, Gateway, Series
from host_tools.hub.stores import kept
from host_tools.hub.stores.schema import WAITS_FOR_SCHEMA
from host_tools.log.database.seam import Database
from parkgate.errors import FormatError
from parkgate.wire.beat import Beat

OUTCOME_COLUMNS = ("taken", "no_answer", "backed_off", "bus_busy", "not_built", "failed")

Damage = tuple[Gateway, str]
Resolve = Callable[[Gateway, bytes, bytes], bool]


def fill(db: Database, gateways: Iterable[Gateway], resolve: Resolve) -> list[Damage]:
    """Build what is kept in memory of these gateways. `resolve` takes a schema into a gateway's memory; it raises
    FormatError. Returns what is damaged, in words that name it."""
    by_gw = {gateway.gw: gateway for gateway in gateways}
    part = f"gw IN ({','.join(map(str, by_gw)) or 'NULL'})"  # our own integers
    damage: list[Damage] = []
    for gateway in by_gw.values():
        gateway.forget()
    _standings(db, by_gw, part, damage)
    by_ep = _epochs(db, by_gw, part, damage)
    _series(db, by_gw, part, damage)
    for gw, schema_id, data in db.execute(f"SELECT gw, schema_id, bytes FROM schema WHERE {part}"):
        try:
            resolve(by_gw[gw], schema_id, data)
        except FormatError as error:
            damage.append((by_gw[gw], f"the schema {schema_id.hex()} is damaged: {error}"))
    _accounts(db, by_gw, part)
    for gw, reason, count in db.execute(f"SELECT gw, reason, count FROM refused WHERE {part}"):
        by_gw[gw].refused[reason] = count
    alarms(db, by_gw, part)
    for ep, state, count in db.execute(
        f"SELECT ep, state, count(*) FROM batch WHERE state > 0 AND ep IN (SELECT ep FROM epoch WHERE {part})"
        " GROUP BY ep, state"
    ):
        if state == WAITS_FOR_SCHEMA:
            by_ep[ep].undecoded += count
        else:
            by_ep[ep].undecodable += count
    return damage


def _standings(db, by_gw, part, damage) -> None:
    for gw, seen, duplicates, stale, beat, beat_ms in db.execute(f"SELECT * FROM standing WHERE {part}"):
        gateway = by_gw[gw]
        gateway.last_seen_unix_ms, gateway.duplicates, gateway.stale_beats = seen, duplicates, stale
        try:
            gateway.beat = Beat(beat) if beat else None
        except FormatError as error:
            damage.append((gateway, f"the newest beat is damaged: {error}"))
            continue
        gateway.beat_bytes, gateway.beat_unix_ms = beat, beat_ms


def _epochs(db, by_gw, part, damage) -> dict[int, Gateway]:
    by_ep, epochs = {}, {}
    for row in db.execute("SELECT gw, ep, epoch, batches, readings, sampled, dropped, gap_events, gap_readings"
                          f" FROM epoch WHERE {part}"):  # fmt: skip
        epoch = Epoch(row[1], row[2])
        epoch.batches, epoch.readings, epoch.sampled, epoch.dropped = row[3:7]
        epoch.gap_events, epoch.gap_readings = row[7:]
        by_ep[epoch.ep], epochs[epoch.ep] = by_gw[row[0]], epoch
        by_gw[row[0]].epochs[epoch.epoch] = epoch
    for gateway in by_gw.values():
        if gateway.beat is not None and gateway.beat.sign1.epoch not in gateway.epochs:
            damage.append((gateway, "the newest beat is of a chain that is not here"))
            gateway.beat = gateway.beat_bytes = gateway.beat_unix_ms = None
    of_these = f"ep IN (SELECT ep FROM epoch WHERE {part})"
    ranges: dict[int, list] = {}
    for ep, first, last in db.execute(f"SELECT ep, first_seq, last_seq FROM held WHERE {of_these} ORDER BY 1, 2"):
        ranges.setdefault(ep, []).append((first, last))
    for ep, found in ranges.items():
        epoch = epochs[ep]
        epoch.held = Held(found)
        head = found[-1][1]
        row = db.execute(
            "SELECT hash, prev, sampled, readings, dropped FROM batch WHERE ep = ? AND seq = ?", (ep, head)
        ).fetchone()
        epoch.head_link = row
        if row is None:
            what = f"batch {head} of epoch {epoch.epoch.hex()} should be here and is not"
            damage.append((by_ep[ep], what))
    for ep, first, last in db.execute(f"SELECT ep, first_seq, last_seq FROM missing WHERE why = 'lost' AND {of_these}"):
        epochs[ep].missing["lost"].add_range(first, last)
    for ep, first, last in kept.signed_gaps(db, f"event.{of_these}"):
        epochs[ep].missing["gap"].add_range(first, last)
    _beats(db, by_ep, epochs, of_these, damage)
    for ep, fork_hash in db.execute(f"SELECT ep, hash FROM fork WHERE {of_these}"):
        epochs[ep].forks.add(fork_hash)
    return by_ep


def _beats(db, by_ep, epochs, of_these, damage) -> None:
    for ep, data in db.execute(f"SELECT ep, bytes FROM beats WHERE {of_these} ORDER BY ep, boot, seq, sampled"):
        try:
            epochs[ep].beat = Beat(data)
        except FormatError as error:
            damage.append((by_ep[ep], f"a kept beat of epoch {epochs[ep].epoch.hex()} is damaged: {error}"))


def _series(db, by_gw, part, damage) -> None:
    for row in db.execute("SELECT gw, series, instrument, quantity, unit, scale, profile, readings, undated,"
                          " span_ms, qualities, last_ep, last_seq, last_ms, last_trust, last_quality, last_value,"
                          f" good_ms, row_ms FROM series WHERE {part} ORDER BY series"):  # fmt: skip
        series = Series(*row[1:7])
        series.readings, series.undated, series.span_ms = row[7:10]
        try:
            series.qualities = {int(code): int(count) for code, count in json.loads(row[10]).items()}
        except (ValueError, TypeError, AttributeError):
            damage.append((by_gw[row[0]], f"the count of qualities of {row[2]} {row[3]} is damaged"))
        series.last_place = (row[11], row[12]) if row[11] is not None else None
        series.last_ms, series.last_trust, series.last_quality, series.last_value = row[13:17]
        series.good_ms, series.row_ms = row[17:]
        by_gw[row[0]].series[row[2:6]] = series
    for gateway in by_gw.values():
        gateway.choose_headline()
        newest = max(gateway.series.values(), key=lambda s: s.last_place or (-1, -1), default=None)
        if newest:
            gateway.took(newest)


def _accounts(db, by_gw, part) -> None:
    """What each instrument's statements say together, and what the newest one says."""
    newest = ", ".join(OUTCOME_COLUMNS)
    # Added up here: a sum of SQLite ends in an error where it does not fit into 64 bits.
    for gw, instrument, ep, seq, place, end_ms, *counts in db.execute(
        f"SELECT gw, instrument, ep, seq, place, end_ms, {newest} FROM periods WHERE {part} ORDER BY ep, seq, place"
    ):
        account = by_gw[gw].accounts.setdefault(instrument, Account([0] * len(counts)))
        account.add(counts)
        account.newest((ep, seq, place), end_ms, counts)
    for gateway in by_gw.values():
        epoch = gateway.current()
        if epoch is not None and epoch.held.head() is not None:
            row = db.execute(
                "SELECT schema_id FROM batch WHERE ep = ? AND seq = ?", (epoch.ep, epoch.held.head())
            ).fetchone()
            gateway.schema_place, gateway.schema_id = (epoch.ep, epoch.held.head()), row[0] if row else None


def alarms(db: Database, by_gw: dict[int, Gateway], part: str = "1 = 1") -> None:
    """Take the alarms of these gateways anew: `parkgate enrol --clear-alarms` may have removed some."""
    for gateway in by_gw.values():
        gateway.alarms = {}
    for gw, kind, what, count, first_ms, last_ms in db.execute(f"SELECT * FROM alarm WHERE {part}"):
        by_gw[gw].alarms[kind] = {
            "kind": kind, "what": what, "count": count, "first_unix_ms": first_ms, "last_unix_ms": last_ms,
        }  # fmt: skip
