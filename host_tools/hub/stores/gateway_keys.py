"""The keys of a gateway, one after the other (SPEC 3.6). The first is the one that it was enrolled with. A gateway
whose next key is not committed has no rows here: its key stands in `gateway`."""

from __future__ import annotations

import time

from host_tools.base.keys import Verifier
from host_tools.log.database.seam import Database
from host_tools.log.record import Recorder, recording
from parkgate.errors import SettingsError
from parkgate.log import statement
from parkgate.wire import cose


class GatewayKey:
    """`kid`, `xy` (64 bytes), `next`: the id of the key after it, None where none is committed; `last`: (epoch, seq) of
    the last batch that it signed, None while it is in use."""

    def __init__(self, kid: bytes, xy: bytes, next_id: bytes | None = None, last: tuple[bytes, int] | None = None):
        self.kid, self.xy, self.next, self.last = kid, xy, next_id, last
        self._verifier: Verifier | None = None

    def verifier(self) -> Verifier:
        if self._verifier is None:
            self._verifier = Verifier(self.xy)
        return self._verifier


def load(db: Database) -> dict[int, list[GatewayKey]]:
    """The keys of each gateway that has rows, the first one first."""
    found: dict[int, list[GatewayKey]] = {}
    for gw, kid, xy, next_id, epoch, seq in db.execute(
        "SELECT gateway_key.gw, kid, public_key, next_id, epoch, seq FROM gateway_key LEFT JOIN epoch USING (ep)"
        " ORDER BY gateway_key.gw, number"
    ):
        found.setdefault(gw, []).append(GatewayKey(kid, xy, next_id, None if epoch is None else (epoch, seq)))
    return found


def gateway_id_of(db: Database, xy: bytes) -> bytes:
    """The id of the gateway that has or had this key, known or not: that of its first key."""
    kid = cose.thumbprint(xy)
    row = db.execute(
        "SELECT gateway.kid FROM gateway JOIN gateway_key USING (gw) WHERE gateway_key.kid = ?", (kid,)
    ).fetchone()
    return row[0] if row else kid


def commit(db: Database, gateway_id: bytes, next_id: bytes, by: str) -> bool:
    """Write down which key will follow that of this gateway; once, as a thief of the current key could name one of his
    own. False when it is known already. Raises SettingsError for another one than is known."""
    gw, xy = db.execute("SELECT gw, public_key FROM gateway WHERE kid = ?", (gateway_id,)).fetchone()
    known = load(db).get(gw, [])
    if known:
        if known[-1].next == next_id:
            return False
        raise SettingsError(
            "this gateway's next key was committed before, and the gateway shows another one: was it erased, or is this"
            " a copy? Enrol the board as a new gateway that replaces this one"
        )
    if db.execute("SELECT 1 FROM gateway WHERE kid = ?", (next_id,)).fetchone() or next_id == gateway_id:
        raise SettingsError("the next key is one that is in use")
    now_unix_ms = time.time_ns() // 1_000_000
    with recording(db) as leaves:
        db.execute(
            "INSERT INTO gateway_key VALUES (?, 0, ?, ?, ?, NULL, NULL, ?)", (gw, gateway_id, xy, next_id, now_unix_ms)
        )
        leaves.statement(statement.NEXT_KEY, {"gateway": gateway_id, "next": next_id}, by, now_unix_ms)
    return True


def rotate(
    db: Database, leaves: Recorder, gateway: tuple[int, bytes], keys: list[GatewayKey],
    new: tuple[bytes, bytes], place: tuple[int, bytes, int, bytes], now_unix_ms: int,
) -> list[GatewayKey]:  # fmt: skip
    """In the open transaction: from this batch on the gateway (gw, id) signs with `new` (x || y, id of the key after
    it); the batch at `place` (ep, epoch, seq, hash) is the last one of the newest of `keys`. Returns the keys now."""
    gw, gateway_id = gateway
    xy, next_id = new
    ep, epoch, seq, batch_hash = place
    old, kid = keys[-1], cose.thumbprint(xy)
    db.execute("UPDATE gateway_key SET ep = ?, seq = ? WHERE gw = ? AND number = ?", (ep, seq, gw, len(keys) - 1))
    row = (gw, len(keys), kid, xy, next_id, now_unix_ms)
    db.execute("INSERT INTO gateway_key VALUES (?, ?, ?, ?, ?, NULL, NULL, ?)", row)
    facts = {"gateway": gateway_id, "before": old.kid, "key": xy, "next": next_id, "batch": [epoch, seq, batch_hash]}
    leaves.statement(statement.ROTATED, facts, None, now_unix_ms)
    return [*keys[:-1], GatewayKey(old.kid, old.xy, old.next, (epoch, seq)), GatewayKey(kid, xy, next_id)]
