"""The hub's rows: one writer, one transaction for a group of messages, and the copy in memory that follows it.

    with store.transaction(now_unix_ms):     # BEGIN IMMEDIATE … COMMIT; on any error ROLLBACK, and memory is built anew
        store.add_batch(…)

`parkgate enrol` writes the table `gateway` from another process; the hub notices by `Database.version`.
"""

import contextlib
import json
import logging

from host_tools.hub.park import book
from host_tools.hub.receiving.state import Account, Channels, Epoch, Gateway, Series, unlike
from host_tools.hub.stores import gateway_keys, kept, loading, places
from host_tools.hub.stores.database import DATABASE_FILE as DATABASE_FILE
from host_tools.hub.stores.database import StoreError as StoreError
from host_tools.hub.stores.database import connect as connect
from host_tools.hub.stores.database import existing as existing
from host_tools.hub.stores.schema import DECODED, UNDECODABLE, WAITS_FOR_SCHEMA
from parkgate.sensing import cadence
from parkgate.wire import batch as batch_format
from parkgate.wire import cbor
from parkgate.wire.beat import Beat

log = logging.getLogger("parkgate.hub")

ALL = None  # of the gateways whose memory must be built anew: each one
EVIDENCE_KEPT = 64  # a gateway and reason; forks matter most and come validly signed, so they get more
FORK_EVIDENCE_KEPT = 1024
EVIDENCE_BYTES = batch_format.MAX_BATCH_BYTES
FORKS_KNOWN = 4096  # hashes an epoch
EPOCHS_MAX = 4096  # a gateway
SERIES_MAX = 16384  # a gateway
SCHEMAS_MAX = 4096  # a gateway
LINKS_KNOWN = 16  # an epoch
_PERIODS = (
    "ep, seq, place, gw, instrument, begin_ms, end_ms, period_ms, taken, no_answer, backed_off, bus_busy, not_built,"
    " failed"
)
_BLOCK = "series, last_ms, ep, seq, first_ms, instrument, channel, readings, least, most, good_ms, covered_ms, tail_ms"


class Store:
    """The writing side. Used by one thread."""

    def __init__(self, data_dir):
        self.db = connect(data_dir)
        self.by_topic: dict[str, Gateway] = {}
        self.nobody: dict[str, int] = {}  # refusals where no enrolled gateway is named
        self._touched: dict[int, Gateway] = {}
        self._evidence: dict[tuple[int, str], int] = {}
        self._stale: set[int] | None = ALL
        self.damage: list[loading.Damage] = []  # what the last `load` could not read
        self.now_unix_ms = 0
        self.load()

    def belong_to(self, hub_id: bytes) -> None:
        """Write down which hub's database this is, at the first start. Raises StoreError when it is another one's."""
        known = self.db.about("hub_id")
        if known is None:
            self.db.set_about("hub_id", hub_id.hex())
        elif known != hub_id.hex():
            raise StoreError(
                f"the database here is that of hub {known[:16]}…, and hub_key.pem is the key of hub "
                f"{hub_id.hex()[:16]}…: put the files of one and the same hub together. Nothing was changed"
            )

    def setting(self, name: str) -> str | None:
        """A setting of the hub (`parkgate hub --zone`); None where it was never made."""
        return self.db.about(f"setting {name}")

    def set_setting(self, name: str, value: str) -> None:
        """Keep a setting of the hub from now on."""
        self.db.set_about(f"setting {name}", value)

    def close(self) -> None:
        self.db.close()

    # What is in the database, in memory.

    def load(self) -> None:
        """Build everything in memory from the database."""
        self._version = self.db.version()
        self._load_gateways()
        self._fill(list(self.by_topic.values()))

    def mend(self) -> None:
        """Build anew what the last transaction changed in memory, if it failed."""
        if self._stale is ALL:
            self.load()
        elif self._stale:
            self._load_gateways()
            self._fill([gateway for gateway in self.by_topic.values() if gateway.gw in self._stale])

    def _fill(self, gateways: list[Gateway]) -> None:
        self._stale = ALL  # until this has come to its end
        self._due = book.Due()
        self._dirty_series: dict[int, Series] = {}
        self._dirty_epochs: dict[int, Epoch] = {}
        self._held: dict[tuple[int, int], int | None] = {}  # what changes in the table of this name
        self.damage = loading.fill(self.db, gateways, self._resolve)
        for gateway, what in self.damage:
            log.error("%s: %s", gateway.name, what)
        self.nobody = dict(self.db.execute("SELECT reason, count FROM refused WHERE gw = 0"))
        self._evidence = {
            (gw, reason): n
            for gw, reason, n in self.db.execute("SELECT gw, reason, count(*) FROM evidence GROUP BY 1, 2")
        }
        self._stale = set()

    def _load_gateways(self) -> None:
        by_gw = {gateway.gw: gateway for gateway in self.by_topic.values()}
        standing, keys = places.of_gateways(self.db), gateway_keys.load(self.db)
        rows = self.db.execute("SELECT gw, kid, public_key, name, enrolled_unix_ms, revoked_unix_ms FROM gateway")
        for gw, kid, public_key, name, enrolled, revoked in rows:
            gateway = by_gw.get(gw) or Gateway(gw, kid, public_key, name, enrolled)
            gateway.name, gateway.revoked_unix_ms, gateway.place = name, revoked, standing.get(gw)
            known = keys.get(gw) or [gateway_keys.GatewayKey(kid, public_key)]
            if known[-1].kid != gateway.keys[-1].kid or known[-1].next != gateway.keys[-1].next:
                gateway.keys, gateway.receipt_keys = known, {}
            self.by_topic[gateway.topic_name()] = gateway

    def refresh(self) -> bool:
        """See gateways that were enrolled, renamed or revoked meanwhile, and mend the memory after an error.
        True when something may have changed."""
        if self._stale is ALL or self._stale:
            self.mend()
            return True
        version = self.db.version()
        if version == self._version:
            return False
        self._version = version
        self._load_gateways()
        loading.alarms(self.db, {gateway.gw: gateway for gateway in self.by_topic.values()})
        return True

    # A transaction.

    @contextlib.contextmanager
    def transaction(self, now_unix_ms: int, changes_all: bool = False):
        """One group of messages, all or nothing. After an error the memory of the gateways that were touched (with
        `changes_all`: of all) is built anew before the next transaction."""
        self.now_unix_ms = now_unix_ms
        self.mend()
        self._touched = {}
        committed = False
        try:
            with self.db.transaction():
                yield self
                self._flush()
            committed = True
        finally:
            if not committed:
                self._stale = ALL if changes_all else {*self._touched, 0}

    def touch(self, gateway: Gateway) -> None:
        """This transaction changes what is counted of this gateway."""
        self._touched[gateway.gw] = gateway

    def heard(self, gateway: Gateway) -> None:
        """A signed statement came that was not here before. A message that is played again proves nothing of now."""
        gateway.last_seen_unix_ms = self.now_unix_ms

    def touched(self) -> list[Gateway]:
        """The gateways that the last transaction changed."""
        return list(self._touched.values())

    def _flush(self) -> None:
        db = self.db
        db.each(
            "INSERT INTO standing VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (gw) DO UPDATE SET"
            " last_seen_unix_ms = excluded.last_seen_unix_ms, duplicates = excluded.duplicates,"
            " stale_beats = excluded.stale_beats, beat = excluded.beat, beat_unix_ms = excluded.beat_unix_ms",
            [
                (g.gw, g.last_seen_unix_ms, g.duplicates, g.stale_beats, g.beat_bytes, g.beat_unix_ms)
                for g in self._touched.values()
            ],
        )
        db.each(
            "UPDATE epoch SET batches = ?, readings = ?, sampled = ?, dropped = ?, gap_events = ?, gap_readings = ?"
            " WHERE ep = ?",
            [
                (e.batches, e.readings, e.sampled, e.dropped, e.gap_events, e.gap_readings, e.ep)
                for e in self._dirty_epochs.values()
            ],
        )
        db.each(
            "UPDATE series SET readings = ?, undated = ?, span_ms = ?, qualities = ?, last_ep = ?, last_seq = ?,"
            " last_ms = ?, last_trust = ?, last_quality = ?, last_value = ?, good_ms = ?, row_ms = ? WHERE series = ?",
            [
                (s.readings, s.undated, s.span_ms, json.dumps(s.qualities), *(s.last_place or (None, None)),
                 s.last_ms, s.last_trust, s.last_quality, s.last_value, s.good_ms, s.row_ms, s.id)
                for s in self._dirty_series.values()
            ],
        )  # fmt: skip
        gone = [key for key, last in self._held.items() if last is None]
        if gone:
            db.each("DELETE FROM held WHERE ep = ? AND first_seq = ?", gone)
        db.each(
            "INSERT INTO held VALUES (?, ?, ?) ON CONFLICT (ep, first_seq) DO UPDATE SET last_seq = excluded.last_seq",
            [(*key, last) for key, last in self._held.items() if last is not None],
        )
        self._dirty_series, self._dirty_epochs, self._held = {}, {}, {}
        self._due.write(db)

    # Chains and batches.

    def epoch(self, gateway: Gateway, epoch_id: bytes) -> Epoch | None:
        """This chain of the gateway, begun now if it is new; None when there are already EPOCHS_MAX."""
        found = gateway.epochs.get(epoch_id)
        if found is None and len(gateway.epochs) < EPOCHS_MAX:
            row = self.db.execute(
                "INSERT INTO epoch (gw, epoch, seen_unix_ms, batches, readings, sampled, dropped, gap_events,"
                " gap_readings) VALUES (?, ?, ?, 0, 0, 0, 0, 0, 0) RETURNING ep",
                (gateway.gw, epoch_id, self.now_unix_ms),
            ).fetchone()
            found = gateway.epochs[epoch_id] = Epoch(row[0], epoch_id)
        return found

    def keep_beat(self, epoch: Epoch, beat: Beat, data: bytes) -> None:
        """Keep a verified beat of this chain as evidence of where it ends."""
        kept.keep_beat(self.db, epoch.ep, beat, data, self.now_unix_ms)
        if epoch.beat is None or kept.rank(beat) >= kept.rank(epoch.beat):
            epoch.beat = beat

    def links(self, epoch: Epoch, first_seq: int, last_seq: int) -> dict[int, tuple]:
        """seq → (hash, prev, sampled, readings, dropped) of the batches held in that range of a few seqs. Those that
        came last are known: a copy, or a batch that was overtaken, costs no question to the database."""
        held = [seq for seq in range(first_seq, last_seq + 1) if seq in epoch.held]
        if all(seq in epoch.links for seq in held):
            return {seq: epoch.links[seq] for seq in held}
        rows = self.db.execute(
            "SELECT seq, hash, prev, sampled, readings, dropped FROM batch WHERE ep = ? AND seq BETWEEN ? AND ?",
            (epoch.ep, first_seq, last_seq),
        )
        return {row[0]: row[1:] for row in rows}

    def batch_bytes(self, ep: int, seq: int) -> tuple[bytes, bytes] | None:
        """(signed bytes, hash) of a batch that is held."""
        return self.db.execute("SELECT bytes, hash FROM batch WHERE ep = ? AND seq = ?", (ep, seq)).fetchone()

    def add_batch(self, gateway: Gateway, epoch: Epoch, batch, batch_hash: bytes, data: bytes, state: int) -> None:
        """One verified, accepted batch with its bytes."""
        db, seq = self.db, batch.sign1.seq
        db.append(
            "batch",
            "ep, seq, hash, prev, received_unix_ms, sampled, readings, dropped, schema_id, state, bytes",
            (epoch.ep, seq, batch_hash, batch.prev, self.now_unix_ms, batch.sampled, batch.readings, batch.dropped,
             batch.schema_id, state, data),
        )  # fmt: skip
        link = epoch.links[seq] = (batch_hash, batch.prev, batch.sampled, batch.readings, batch.dropped)
        if len(epoch.links) > LINKS_KNOWN:
            del epoch.links[next(iter(epoch.links))]
        if epoch.held.head() is None or seq > epoch.held.head():
            epoch.head_link = link
            epoch.sampled, epoch.dropped = batch.sampled, batch.dropped
        gone, (first, last) = epoch.held.add(seq)
        self._held.update(((epoch.ep, first_seq), None) for first_seq in gone)
        self._held[epoch.ep, first] = last
        epoch.batches += 1
        epoch.readings += batch.readings
        if gateway.schema_place is None or (epoch.ep, seq) > gateway.schema_place:
            gateway.schema_place, gateway.schema_id = (epoch.ep, seq), batch.schema_id
        self._dirty_epochs[epoch.ep] = epoch

    def add_events(self, epoch: Epoch, seq: int, events: list) -> None:
        """The events of one batch, as they stand in it."""
        for place, event in enumerate(events):
            row = (epoch.ep, seq, place, event[0], cbor.encode(event))
            self.db.append("event", "ep, seq, place, kind, event", row)

    def add_periods(self, gateway: Gateway, epoch: Epoch, seq: int, place: int, told: tuple) -> None:
        """One statement: (instrument, begin or None, period_ms, counts of the six outcomes)."""
        instrument, begin_ms, period_ms, counts = told
        end_ms = None if begin_ms is None else begin_ms + period_ms * sum(counts)
        row = (epoch.ep, seq, place, gateway.gw, instrument, begin_ms, end_ms, period_ms, *counts)
        self.db.append("periods", _PERIODS, row)
        account = gateway.accounts.setdefault(instrument, Account([0] * len(counts)))
        account.add(counts)
        account.newest((epoch.ep, seq, place), end_ms, counts)

    def add_missing(self, epoch: Epoch, first_seq: int, last_seq: int, why: str) -> None:
        """These seqs will not come, because of `why` ("gap" or "lost")."""
        epoch.missing[why].add_range(first_seq, last_seq)
        self.db.execute(
            "INSERT INTO missing VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (epoch.ep, first_seq, last_seq, why, self.now_unix_ms),
        )

    # Schemas, series, blocks.

    def add_schema(self, gateway: Gateway, schema_id: bytes, data: bytes) -> bool:
        """Learn a schema; False when it was known or cannot be used. Raises FormatError when it is
        malformed."""
        if schema_id in gateway.schemas:
            return False
        resolved = self._resolve(gateway, schema_id, data)
        if resolved:
            # One that was damaged is not in memory: what the gateway sends again takes its place.
            self.db.execute(
                "INSERT INTO schema VALUES (?, ?, ?) ON CONFLICT (gw, schema_id) DO UPDATE SET bytes = excluded.bytes",
                (gateway.gw, schema_id, data),
            )
        return resolved

    def _resolve(self, gateway: Gateway, schema_id: bytes, data: bytes) -> bool:
        schema = batch_format.decode_schema(data)
        if (
            len(gateway.schemas) >= SCHEMAS_MAX
            or len(gateway.series) + sum(len(part[2]) for part in schema) > SERIES_MAX
        ):
            return False
        names: set[str] = set()
        places = []
        for name, profile, channels in schema:
            instrument = unlike(names, name)
            quantities: set[str] = set()
            of_instrument = Channels(
                self._series(gateway, instrument, unlike(quantities, quantity), unit, scale, profile)
                for quantity, unit, scale in channels
            )
            of_instrument.instrument, of_instrument.profile = instrument, profile
            of_instrument.row_ms = cadence.row_ms(profile)
            places.append(of_instrument)
        gateway.schemas[schema_id] = places
        gateway.choose_headline()
        return True

    def _series(self, gateway, instrument, quantity, unit, scale, profile) -> Series:
        key = (instrument, quantity, unit, scale)
        found = gateway.series.get(key)
        if found is None:
            row = self.db.execute(
                "INSERT INTO series (gw, instrument, quantity, unit, scale, profile, readings, undated, span_ms,"
                " qualities) VALUES (?, ?, ?, ?, ?, ?, 0, 0, 0, '{}') RETURNING series",
                (gateway.gw, *key, profile),
            ).fetchone()
            found = gateway.series[key] = Series(row[0], *key, profile)
            found.until_ms = -1
        return found

    def add_blocks(self, gateway: Gateway, epoch: Epoch, seq: int, blocks: list) -> None:
        """The readings of one batch, a block a series, as `decode.blocks` found them."""
        place = (epoch.ep, seq)
        for b in blocks:
            self.db.append(
                "block", _BLOCK,
                (b.series.id, b.last_ms, epoch.ep, seq, b.first_ms, b.instrument, b.channel, b.readings, b.least,
                 b.most, b.good_ms, b.covered_ms, b.tail_ms),
            )  # fmt: skip
        for block in blocks:
            series = block.series
            self._due.add(self.db, series, block.first_ms, block.last_ms)
            series.readings += block.readings
            series.undated += block.undated
            series.span_ms = max(series.span_ms, block.last_ms - block.first_ms)
            for code, count in block.qualities.items():
                series.qualities[code] = series.qualities.get(code, 0) + count
            if block.good_ms >= 0:
                series.good_ms = max(block.good_ms, series.good_ms or 0)
            if series.last_place is None or place > series.last_place:
                series.last_place = place
                series.row_ms = block.row_ms
                series.last_ms, series.last_trust = block.newest_ms, block.newest_trust
                series.last_quality, series.last_value = block.newest_quality, block.newest_value
                gateway.took(series)
                if series is gateway.headline:
                    gateway.spark.extend(block.spark)
            self._dirty_series[series.id] = series

    def waiting(self, gateway: Gateway, schema_id: bytes) -> list[tuple]:
        """(id, ep, seq, bytes, hash) of this gateway's batches that wait for that schema."""
        eps = [epoch.ep for epoch in gateway.epochs.values()]
        marks = ",".join("?" * len(eps))
        return self.db.execute(
            f"SELECT id, ep, seq, bytes, hash FROM batch WHERE state = {WAITS_FOR_SCHEMA} AND schema_id = ?"
            f" AND ep IN ({marks}) ORDER BY ep, seq",
            (schema_id, *eps),
        ).fetchall()

    def undecodable(self) -> list[tuple]:
        """(id, ep, seq, bytes, hash) of the batches that an earlier hub could not decode."""
        return self.db.execute(
            f"SELECT id, ep, seq, bytes, hash FROM batch WHERE state = {UNDECODABLE} ORDER BY ep, seq"
        ).fetchall()

    def decoded(self, epoch: Epoch):
        """(seq, bytes, hash) of the batches of a chain whose readings are indexed."""
        question = f"SELECT seq, bytes, hash FROM batch WHERE ep = ? AND state = {DECODED} ORDER BY seq"
        return self.db.execute(question, (epoch.ep,)).fetchall()

    def set_coverage(self, epoch: Epoch, seq: int, blocks: list) -> None:
        """What time the readings of one batch cover, for blocks that an older hub wrote."""
        for block in blocks:
            self.db.execute(
                "UPDATE block SET good_ms = ?, covered_ms = ?, tail_ms = ? WHERE series = ? AND last_ms = ? AND ep = ?"
                " AND seq = ?",
                (block.good_ms, block.covered_ms, block.tail_ms, block.series.id, block.last_ms, epoch.ep, seq),
            )
            if block.good_ms >= 0:
                block.series.good_ms = max(block.good_ms, block.series.good_ms or 0)
            if block.series.last_place == (epoch.ep, seq):
                block.series.row_ms = block.row_ms
            self._dirty_series[block.series.id] = block.series

    def set_state(self, batch_id: int, state: int) -> None:
        self.db.execute("UPDATE batch SET state = ? WHERE id = ?", (state, batch_id))

    # What did not become data.

    def refuse(self, gateway: Gateway | None, reason: str, what: str, topic: str, data: bytes, data_hash: bytes) -> int:
        """Count a refusal and keep the message as evidence while there is room. Returns the new count."""
        gw = gateway.gw if gateway else 0
        counts = gateway.refused if gateway else self.nobody
        counts[reason] = counts.get(reason, 0) + 1
        self.db.execute(
            "INSERT INTO refused VALUES (?, ?, 1, ?) ON CONFLICT (gw, reason) DO UPDATE SET count = refused.count + 1,"
            " last_unix_ms = excluded.last_unix_ms",
            (gw, reason, self.now_unix_ms),
        )
        kept = self._evidence.get((gw, reason), 0)
        if kept < (FORK_EVIDENCE_KEPT if reason == "fork" else EVIDENCE_KEPT):
            cursor = self.db.execute(
                "INSERT INTO evidence (gw, reason, what, topic, received_unix_ms, size, hash, bytes)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (gw, reason, what[:500], topic[:200], self.now_unix_ms, len(data), data_hash, data[:EVIDENCE_BYTES]),
            )
            self._evidence[gw, reason] = kept + cursor.rowcount
        if gateway:
            self._touched[gateway.gw] = gateway
        return counts[reason]

    def add_fork(self, epoch: Epoch, seq: int, fork_hash: bytes) -> bool:
        """False when it was known, or there are FORKS_KNOWN of this chain."""
        new = len(epoch.forks) < FORKS_KNOWN and fork_hash not in epoch.forks
        if new:
            epoch.forks.add(fork_hash)
            self.db.execute("INSERT INTO fork VALUES (?, ?, ?)", (epoch.ep, fork_hash, seq))
        return new

    def alarm(self, gateway: Gateway, kind: str, what: str) -> None:
        """Raise or repeat an alarm of this kind."""
        alarm = gateway.alarms.setdefault(kind, {"kind": kind, "count": 0, "first_unix_ms": self.now_unix_ms})
        alarm["what"], alarm["last_unix_ms"] = what, self.now_unix_ms
        alarm["count"] += 1
        self.db.execute(
            "INSERT INTO alarm VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (gw, kind) DO UPDATE SET what = excluded.what,"
            " count = excluded.count, first_unix_ms = excluded.first_unix_ms, last_unix_ms = excluded.last_unix_ms",
            (gateway.gw, kind, what, alarm["count"], alarm["first_unix_ms"], self.now_unix_ms),
        )
        self._touched[gateway.gw] = gateway

    def end_alarm(self, gateway: Gateway, kind: str) -> None:
        """What this alarm was about is well again."""
        if gateway.alarms.pop(kind, None) is not None:
            self.db.execute("DELETE FROM alarm WHERE gw = ? AND kind = ?", (gateway.gw, kind))
            self._touched[gateway.gw] = gateway
