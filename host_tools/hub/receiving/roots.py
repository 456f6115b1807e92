"""The park's root and the gateways (SPEC 3.7): which of the hub's keys each goes by, and who is still to hear of the
newest.

A gateway says which root document it goes by, as an event in its chain. Until that is the newest one, it is shown the
document whenever it is heard, ever more seldom, and its receipts and answers are made with the hub's keys of before as
well, where the hub still has them: one that was away for weeks needs no visit, and neither does one that knows no root.
"""

from __future__ import annotations

from host_tools.base.keys import HubKey
from host_tools.hub.receiving.state import Gateway
from host_tools.hub.stores.store import Store
from host_tools.log.root import Chain
from parkgate import events
from parkgate.errors import FormatError
from parkgate.wire import cbor, cose

RETRY_MS, RETRY_MS_MAX = 600_000, 86_400_000


class Roots:
    """`chain` are the hub's root documents. Used by the hub's writing thread."""

    def __init__(self, store: Store, key: HubKey, chain: Chain):
        self._store, self._key, self._chain = store, key, chain
        self._shown: dict[int, tuple[int, int]] = {}  # gw → when it was shown a document, how often in vain

    def keys(self, gateway: Gateway) -> tuple[HubKey, ...]:
        """The keys of before by which this gateway may still go."""
        return self._key.before if self._key.before and not self._is_settled(gateway) else ()

    def message(self, gateway: Gateway, now_unix_ms: int) -> bytes | None:
        """The document to send to this gateway, which was just heard from; None when nothing is due."""
        if self._chain.newest is None or self._is_settled(gateway):
            self._shown.pop(gateway.gw, None)
            return None
        shown_ms, tries = self._shown.get(gateway.gw, (0, 0))
        if tries and 0 <= now_unix_ms - shown_ms < min(RETRY_MS << min(tries - 1, 10), RETRY_MS_MAX):
            return None
        self._shown[gateway.gw] = now_unix_ms, tries + 1
        # A root that another one followed signs only up to there: one who knows it must see that document first.
        last = len(self._chain.documents) - 1
        ways = [
            at for at, one in enumerate(self._chain.documents)
            if at == last or one.serial > self._held(gateway) and one.next_root != one.root
        ]  # fmt: skip
        return self._chain.bytes[ways[tries % len(ways)]]

    def take(self, gateway: Gateway, batch_events: list) -> None:
        """What a new batch says of it, in the open transaction; a document that this hub does not have is an alarm."""
        wrong = self._take(gateway, batch_events)
        if wrong:
            self._store.alarm(gateway, "restored", wrong)

    def _take(self, gateway: Gateway, batch_events: list) -> str | None:
        wrong = None
        for event in batch_events:
            if event[0] != events.HUB_KEY_TAKEN or [type(item) for item in event[1:]] != [int, bytes]:
                continue
            serial = event[1]
            known = 0 < serial <= len(self._chain.documents)
            if known and cose.thumbprint(self._chain.documents[serial - 1].hub) == event[2]:
                gateway.root_serial = max(self._held(gateway), serial)
                self._shown.pop(gateway.gw, None)
            else:
                wrong = f"it goes by root document {serial}, which this hub lacks: was an older backup put back?"
        return wrong

    def _is_settled(self, gateway: Gateway) -> bool:
        newest = self._chain.newest
        return newest is None or self._held(gateway) == newest.serial

    def _held(self, gateway: Gateway) -> int:
        """The number of the newest document that it went by, by its own word; 0 when it never said."""
        if gateway.root_serial is None:
            gateway.root_serial = 0
            rows = self._store.db.execute(
                "SELECT event FROM event JOIN epoch USING (ep) WHERE gw = ? AND kind = ?",
                (gateway.gw, events.HUB_KEY_TAKEN),
            ).fetchall()
            for (data,) in rows:
                try:
                    self._take(gateway, [cbor.decode(data)])
                except FormatError:
                    continue
        return gateway.root_serial
