"""What the hub derives from stored batches at its start. It may fail for one batch, and never stops the hub."""

from __future__ import annotations

import logging

from host_tools.hub.reading.decode import blocks, decode_group
from host_tools.hub.receiving import periods
from host_tools.hub.receiving.state import Gateway
from host_tools.hub.stores import kept
from host_tools.hub.stores.damaged import in_words
from host_tools.hub.stores.schema import DECODED
from host_tools.hub.stores.store import Store
from host_tools.log.database.seam import DatabaseError
from parkgate.errors import FormatError
from parkgate.wire.batch import Batch

DAMAGE_NAMED = 5  # of one gateway, in its alarm; the log has all

log = logging.getLogger("parkgate.hub")


class Derived:
    """The derived state of one hub. `damage` is (gateway, what) of stored batches that are not as they were."""

    def __init__(self, store: Store):
        self.store = store
        self.damage: list[tuple[Gateway, str]] = []

    def start(self, now_unix_ms: int) -> None:
        """What a hub does before its first message: fill what is derived from the signed bytes. Nothing that is damaged
        stops it; each is an alarm of its gateway."""
        self.account_anew(now_unix_ms)
        mended = self.retry_undecodable(now_unix_ms)
        if mended:
            log.info("%d batches that could not be decoded before are decoded now", mended)
        self.fill_sparks()
        damage: dict[int, list] = {}
        for gateway, what in (*self.store.damage, *self.damage):
            damage.setdefault(gateway.gw, [gateway]).append(what)
        self.damage = []
        try:
            with self.store.transaction(now_unix_ms):
                for gateway, *found in damage.values():
                    more = f"; and {len(found) - DAMAGE_NAMED} more" if len(found) > DAMAGE_NAMED else ""
                    self.store.alarm(gateway, "damaged", "; ".join(found[:DAMAGE_NAMED]) + more)
        except DatabaseError as error:
            log.error("cannot store alarms: %s", error)

    def account_anew(self, now_unix_ms: int) -> None:
        """Fill what an older database had not: how much time the readings of each block cover."""
        db = self.store.db
        if db.about("account") is None:
            return
        log.info("the database is of an older format: computing what time its readings cover")
        with self.store.transaction(now_unix_ms, changes_all=True):
            for gateway in self.store.by_topic.values():
                for epoch in gateway.epochs.values():
                    for seq, data, batch_hash in self.store.decoded(epoch):
                        batch = self.sound(gateway, epoch, seq, data, batch_hash)
                        if batch is None or batch.schema_id not in gateway.schemas:
                            continue
                        periods.take(self.store, gateway, epoch, seq, batch.events)
                        places = gateway.schemas[batch.schema_id]
                        try:
                            found = blocks(decode_group([batch])[0], places)
                        except FormatError as error:
                            self.note(gateway, f"batch {seq} does not decode: {error}")
                            continue
                        self.store.set_coverage(epoch, seq, found)
            db.execute("DELETE FROM about WHERE name = 'account'")

    def retry_undecodable(self, now_unix_ms: int) -> int:
        """Try again what an earlier hub could not decode. Returns how many batches decode now."""
        mended = 0
        with self.store.transaction(now_unix_ms, changes_all=True):
            places = {
                epoch.ep: (gateway, epoch)
                for gateway in self.store.by_topic.values()
                for epoch in gateway.epochs.values()
            }
            for batch_id, ep, seq, data, batch_hash in self.store.undecodable():
                gateway, epoch = places[ep]
                batch = self.sound(gateway, epoch, seq, data, batch_hash)
                if batch is None:
                    continue
                try:
                    found = blocks(decode_group([batch])[0], gateway.schemas[batch.schema_id])
                except (FormatError, KeyError):
                    continue
                self.store.add_blocks(gateway, epoch, seq, found)
                self.store.set_state(batch_id, DECODED)
                gateway.undecodable -= 1
                mended += 1
        return mended

    def fill_sparks(self) -> None:
        """Give every gateway the newest values of its headline series, as far back as its newest batch
        goes."""
        for gateway in self.store.by_topic.values():
            if gateway.headline is None or gateway.headline.last_place is None:
                continue
            ep, seq = gateway.headline.last_place
            epoch = next(epoch for epoch in gateway.epochs.values() if epoch.ep == ep)
            batch = self.sound(gateway, epoch, seq, *(self.store.batch_bytes(ep, seq) or (b"", b"")))
            if batch is None:
                continue
            try:
                found = blocks(decode_group([batch])[0], gateway.schemas[batch.schema_id])
            except KeyError:
                self.note(gateway, f"the schema of batch {seq} is not here, or cannot be read")
                continue
            except FormatError as error:
                self.note(gateway, f"batch {seq} does not decode: {error}")
                continue
            for block in found:
                if block.series is gateway.headline:
                    gateway.spark.extend(block.spark)

    def sound(self, gateway, epoch, seq, data, batch_hash) -> Batch | None:
        """A stored batch, None where its bytes are not those that were stored: that is named, and stops nothing."""
        if kept.whole(data, batch_hash):
            try:
                return Batch(data)
            except FormatError as error:
                self.note(gateway, f"batch {seq} of epoch {epoch.epoch.hex()[:8]} cannot be read: {error}")
                return None
        self.note(gateway, in_words(epoch.epoch, seq))
        return None

    def note(self, gateway: Gateway, what: str) -> None:
        """Name what is damaged, in the log now and as an alarm at the end of `start`."""
        log.error("%s: %s", gateway.name, what)
        self.damage.append((gateway, what))
