"""The thread of the running hub that looks for alarms each LOOK_S: collects the state, asks `causes` and `rules`, and
stores what changed with the messages that tell it. It has a connection of its own and writes only when something
changed, so receipts never wait for it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import statistics
import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import timezone
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

from host_tools.hub.alarms import ledger, limits, rules
from host_tools.hub.alarms.addresses import Address
from host_tools.hub.alarms.causes import HOUR_MS, KINDS, URGENT, Certificate, Facts, Happened, causes
from host_tools.hub.alarms.ledger import CHANGED_EVERY_MS
from host_tools.hub.alarms.rules import CHANGED, OPENED, Alarm
from host_tools.hub.alarms.send import Sender
from host_tools.hub.reading.readings import plain_event
from host_tools.log.database.seam import Database, DatabaseError
from parkgate import events
from parkgate.errors import ParkgateError

log = logging.getLogger("parkgate.hub")

LOOK_S = 5.0
BATCHES_AT_ONCE = 20_000
GAPS_KEPT = 15  # between statements of a gateway, to learn its usual pace
GAPS_LEAST = 5
CERTIFICATES_EVERY_S = 3600.0
KEEP_SEEN_MS = 10 * 60_000  # how often what was learnt is written, when nothing else is
PENDING_MS = 3_600_000  # causes seen before a longer stop are waited for anew
SEEN = "alarms seen"  # in the table `about`
_KINDS = {
    events.GAP: "gap", events.CORRUPT: "flash", events.FLASH_FAULT: "flash", events.CHECKPOINT_HELD: "",
}  # fmt: skip


class Sources(NamedTuple):
    """What the watch asks of the hub; each may be called from another thread."""

    gateways: Callable[[], list[dict]]  # summaries
    connected: Callable[[], bool]
    storage_fault: Callable[[], str | None]
    log_fault: Callable[[], str | None]
    certificates: Callable[[], list[tuple[str, Path]]]  # what it is, and its file
    publish: Callable[[str, bytes], None]
    zone: Callable[[], ZoneInfo]


class Watch:
    """`open_db` gives a connection for the calling thread."""

    def __init__(self, data_dir, sources: Sources, open_db: Callable[[], Database]):
        self._data_dir, self._sources, self._open_db = Path(data_dir), sources, open_db
        self.sender = Sender(open_db, data_dir, sources.publish, sources.zone)
        self.looks = 0
        self._memory = rules.Memory()
        self._pace: dict[str, tuple[int, deque[int]]] = {}  # gateway → when it was heard last, times between
        self._refused: dict[str, int] = {}
        self._revoked_ms: dict[str, int] = {}
        self._connected: tuple[bool, int, float] | None = None  # as it is, since (Unix ms), since (monotonic s)
        self._certificates: tuple[float, list[Certificate]] = (0.0, [])
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="hub-alarms", daemon=True)

    def start(self) -> None:
        self._thread.start()
        self.sender.start()

    def stop(self) -> None:
        self._stopping.set()
        self.sender.stop()
        if self._thread.is_alive():
            self._thread.join(LOOK_S)

    def _run(self) -> None:
        while not self._stopping.wait(LOOK_S):
            try:
                with contextlib.closing(self._open_db()) as db:
                    while not self._stopping.is_set():
                        self.look(db, time.time_ns() // 1_000_000, time.monotonic())
                        self._stopping.wait(LOOK_S)
            except (ParkgateError, DatabaseError) as error:
                log.error("cannot look for alarms: %s", error)
            except Exception:
                log.exception("looking for alarms failed; it goes on")

    def look(self, db: Database, now_ms: int, mono_s: float) -> list[tuple[str, Alarm]]:
        """One look. Returns what changed."""
        self.looks += 1
        known = self.sender.addresses()
        seen = self._seen(db, now_ms)
        if self.looks == 1 and 0 <= now_ms - seen["kept_ms"] < PENDING_MS:
            self._memory = rules.Memory(seen["pending"])
        newest, happened, witnessed_ms = self._scan(db, seen["batch"])
        learnt = {**seen, "batch": newest, "witnessed_ms": max(witnessed_ms, seen["witnessed_ms"])}
        facts = self._facts(db, learnt, happened, now_ms, mono_s)
        alarms = ledger.open_alarms(db)
        changes = rules.step(alarms, self._memory, causes(facts), ledger.marks(db), now_ms, len(facts.gateways))
        changes = [change for change in changes if self._is_worth_writing(db, change, now_ms)]
        learnt["pending"] = self._memory.seen
        stale = not seen["kept_ms"] or learnt != seen and not 0 <= now_ms - seen["kept_ms"] < KEEP_SEEN_MS
        if changes or happened or stale or learnt["witnessed_ms"] != seen["witnessed_ms"]:
            learnt["kept_ms"] = now_ms
            with ledger.writing(db):
                ledger.write(db, changes, now_ms)
                self._tell(db, changes, known, now_ms)
                ledger.put_about(db, SEEN, json.dumps(learnt))
        for what, alarm in changes:
            if what != CHANGED:
                log.warning("alarm %s %s: %s", alarm.id, what, alarm.what)
        return changes

    def _is_worth_writing(self, db, change: tuple[str, Alarm], now_ms: int) -> bool:
        """Words that change with each look are written now and then."""
        what, alarm = change
        if what != CHANGED or alarm.news:
            return True
        row = db.execute("SELECT ever, causes, changed_unix_ms FROM raised WHERE id = ?", (alarm.id,)).fetchone()
        if row is None or row[0] != alarm.ever or len(json.loads(row[1])["members"]) != len(alarm.members):
            return True
        return not 0 <= now_ms - row[2] < CHANGED_EVERY_MS

    def _tell(self, db, changes, known: list[Address], now_ms: int) -> None:
        """Messages for all who want them."""
        for what, alarm in changes:
            if what == CHANGED or alarm.id is None:
                continue
            urgent = what == OPENED and (alarm.urgent or KINDS[alarm.kind].weight == URGENT)
            for address in known:
                if address.wants(alarm.kind):
                    due_ms = address.due_ms(now_ms, urgent, self._sources.zone())
                    ledger.add_message(db, alarm.id, what, address.name, due_ms)

    # The state of the hub.

    def _seen(self, db, now_ms: int) -> dict:
        """What was learnt before. At the first look of all, what the database holds already is no news."""
        row = db.execute("SELECT value FROM about WHERE name = ?", (SEEN,)).fetchone()
        if row is not None:
            return json.loads(row[0])
        newest = db.execute("SELECT max(id) FROM batch").fetchone()[0] or 0
        return {"batch": newest, "witnessed_ms": now_ms, "kept_ms": 0, "usual_ms": {}, "pending": {}}

    def _scan(self, db, last: int) -> tuple[int, list[Happened], int]:
        """(the newest batch looked at, what happened by the batches since, when a checkpoint was confirmed last)."""
        newest = db.execute("SELECT max(id) FROM batch").fetchone()[0] or 0
        newest = min(newest, last + BATCHES_AT_ONCE)
        if newest <= last:
            return last, [], 0
        marks = ",".join("?" * len(_KINDS))
        rows = db.execute(
            "SELECT gateway.kid, event.kind, event.event, batch.received_unix_ms FROM batch"
            " JOIN event ON event.ep = batch.ep AND event.seq = batch.seq"
            " JOIN epoch ON epoch.ep = batch.ep JOIN gateway ON gateway.gw = epoch.gw"
            f" WHERE batch.id > ? AND batch.id <= ? AND event.kind IN ({marks}) ORDER BY batch.id, event.place",
            (last, newest, *_KINDS),
        ).fetchall()
        happened, witnessed_ms = [], 0
        for kid, kind, data, received_ms in rows:
            if kind == events.CHECKPOINT_HELD:
                witnessed_ms = max(witnessed_ms, received_ms)
            else:
                happened.append(Happened(kid.hex(), _KINDS[kind], plain_event(data)["what"], received_ms))
        return newest, happened, witnessed_ms

    def _facts(self, db, seen: dict, happened, now_ms: int, mono_s: float) -> Facts:
        gateways = self._sources.gateways()
        connected, since_ms, listening_s = self._connection(now_ms, mono_s)
        self._learn(gateways, seen["usual_ms"], now_ms)
        speaks = [each for each in gateways if now_ms - (each["last_seen_unix_ms"] or 0) < HOUR_MS]
        found = os.statvfs(self._data_dir)
        return Facts(
            now_ms,
            gateways,
            connected,
            since_ms,
            int(listening_s * 1000),
            seen["usual_ms"],
            self._revoked_ms,
            happened,
            limits.breaches(db, now_ms),
            (found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize),
            self._sources.storage_fault(),
            self._sources.log_fault(),
            self._ends(mono_s),
            seen["witnessed_ms"] if speaks else None,
            dict(self.sender.failing),
        )

    def _connection(self, now_ms: int, mono_s: float) -> tuple[bool, int, float]:
        """(whether the broker is connected, since when, how long without a break by a clock that no one sets)."""
        connected = self._sources.connected()
        if self._connected is None or self._connected[0] != connected:
            self._connected = connected, now_ms, mono_s
        return connected, self._connected[1], mono_s - self._connected[2]

    def _learn(self, gateways: list[dict], usual_ms: dict[str, int], now_ms: int) -> None:
        """How often each gateway says something new, and when a revoked one was refused last."""
        for gateway in gateways:
            key, heard_ms = gateway["id"], gateway["last_seen_unix_ms"]
            if heard_ms is not None:
                before, gaps = self._pace.get(key, (heard_ms, deque(maxlen=GAPS_KEPT)))
                if heard_ms > before:
                    gaps.append(heard_ms - before)
                self._pace[key] = heard_ms, gaps
                if len(gaps) >= GAPS_LEAST:
                    usual_ms[key] = int(statistics.median(gaps))
            count = gateway["refused"].get("revoked", 0)
            if count > self._refused.get(key, count):
                self._revoked_ms[key] = now_ms
            self._refused[key] = count

    def _ends(self, mono_s: float) -> list[Certificate]:
        """When the certificates in the hub's files end; those that cannot be read have their own message elsewhere."""
        made_s, found = self._certificates
        if not made_s or mono_s - made_s >= CERTIFICATES_EVERY_S:
            found = []
            for what, path in self._sources.certificates():
                with contextlib.suppress(OSError, ValueError):
                    found.append(Certificate(what, _ends_ms(path.read_bytes())))
            self._certificates = mono_s, found
        return found


def _ends_ms(data: bytes) -> int:
    """When the first certificate of a file in PEM ends, or one behind it before. Raises ValueError."""
    from cryptography import x509

    ends = [each.not_valid_after_utc for each in x509.load_pem_x509_certificates(data)]
    return min(int(end.astimezone(timezone.utc).timestamp() * 1000) for end in ends)
