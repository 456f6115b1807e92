"""Gateways as witnesses: what each is shown of the log, and when (SPEC 13.6).

A gateway that holds no checkpoint of this log gets an introduction, the others a receipt of consistency from what they
hold by their own signed word to the newest checkpoint. Each is asked once in WITNESS_MS, again sooner while it does
not answer. What is sent is kept, so that an archive can show the hub's signature for whatever a gateway claims.
"""

from __future__ import annotations

from host_tools.base.keys import HubKey
from host_tools.hub.receiving.answer import shared_key
from host_tools.hub.receiving.roots import Roots
from host_tools.hub.receiving.state import Gateway
from host_tools.hub.stores.store import Store
from host_tools.log.log import Log
from host_tools.log.signer import Signer
from parkgate import events
from parkgate.errors import FormatError
from parkgate.log.witness import INTRODUCTION_TYPE, encode_introduction
from parkgate.wire import cbor, cose

WITNESS_MS = 7_200_000  # how often a gateway is shown the newest checkpoint
RETRY_MS = 600_000  # … while it has not said that it holds what it was shown


def held_by(batch_events: list) -> tuple[int, bytes] | None:
    """(size, root) of the largest checkpoint that a batch says its gateway holds; None when it says none."""
    found = [tuple(event[1:]) for event in batch_events if event[0] == events.CHECKPOINT_HELD and _is_claim(event)]
    return max(found, default=None)


def _is_claim(event) -> bool:
    if len(event) != 3 or type(event[1]) is not int or type(event[2]) is not bytes:
        return False
    return event[1] > 0 and len(event[2]) == 32


def log_topic(gateway: Gateway) -> str:
    return f"cmd/{gateway.topic_name()}/log"


class Witnesses:
    """Used by the hub's writing thread."""

    def __init__(self, store: Store, signer: Signer, key: HubKey, data_dir, roots: Roots | None = None):
        self._store, self._signer, self._key, self._data_dir = store, signer, key, data_dir
        self._roots = roots
        self._log: Log | None = None
        self._shown: dict[int, tuple[int, int]] = {}  # gw → when it was shown something, what it held then

    def message(self, gateway: Gateway, now_unix_ms: int) -> bytes | None:
        """What to send to this gateway, which was just heard from; None when nothing is due. Raises LogError."""
        held = self._held(gateway)
        size = held[0] if held else 0
        shown = self._shown.get(gateway.gw)
        if shown is not None:
            wait_ms = WITNESS_MS if size > shown[1] else RETRY_MS
            if 0 <= now_unix_ms - shown[0] < wait_ms:
                return None
        if self._log is None:
            self._log = Log(self._store.db, self._data_dir)
        made = self._log.checkpoint()
        known = held is not None and size <= made.size and self._log.root_of_kept(size) == held[1]
        if known and size == made.size:
            return None
        if held is not None and not known and not self._is_of_older_log(held):
            what = f"it holds a checkpoint of {size} leaves that this log does not have: was the hub's data restored?"
            with self._store.transaction(now_unix_ms):
                self._store.alarm(gateway, "witness", what)
        self._signer.keep(made)
        self._shown[gateway.gw] = (now_unix_ms, size)
        if known:
            return self._log.consistency_receipt(size, made.size)
        payload = encode_introduction(
            gateway.kid, self._log.key_xy, self._log.log_id, made.size, made.root, made.signature
        )
        before = self._roots.keys(gateway) if self._roots else ()
        key = before[0] if before else self._key
        return cose.mac0(shared_key(key, gateway), key.id, INTRODUCTION_TYPE, payload)

    def _held(self, gateway: Gateway) -> tuple[int, bytes] | None:
        """What it holds by its own word: the newest batch that says so, of all its chains."""
        if gateway.checkpoint_held is ...:
            rows = self._store.db.execute(
                "SELECT event FROM event JOIN epoch USING (ep) WHERE gw = ? AND kind = ?"
                " ORDER BY ep DESC, seq DESC LIMIT 1",
                (gateway.gw, events.CHECKPOINT_HELD),
            ).fetchall()
            gateway.checkpoint_held = None
            for (data,) in rows:
                try:
                    gateway.checkpoint_held = held_by([cbor.decode(data)])
                except FormatError:
                    continue
        return gateway.checkpoint_held

    def _is_of_older_log(self, held) -> bool:
        question = "SELECT 1 FROM checkpoint WHERE log_id <> ? AND size = ? AND root = ?"
        return self._store.db.execute(question, (self._signer.log_id, *held)).fetchone() is not None
