"""What the hub knows of one gateway: from its folder on this computer, or from its page. Only looked at."""

from __future__ import annotations

import contextlib
import http.client
import json
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import NamedTuple

from host_tools.hub.stores.store import StoreError, connect, existing
from host_tools.hub.verbs.hub_client import is_address
from host_tools.log.database.seam import DatabaseError
from parkgate.errors import LinkError

TIMEOUT_S = 10.0


class HubView(NamedTuple):
    """`known` is whether the gateway is enrolled; times are Unix times in ms, None where there is none."""

    known: bool
    name: str = ""
    revoked_unix_ms: int | None = None
    last_seen_unix_ms: int | None = None
    refused: dict[str, int] = {}
    alarms: tuple[str, ...] = ()
    asked_unix_ms: int = 0


def ask(hub: str, gateway_id: str) -> HubView:
    """`hub` is a folder or an address, `gateway_id` 64 hexadecimal digits. Raises StoreError, LinkError."""
    view = _by_address(hub, gateway_id) if is_address(hub) else _by_folder(existing(hub), gateway_id)
    return view._replace(asked_unix_ms=time.time_ns() // 1_000_000)


def _by_folder(folder: Path, gateway_id: str) -> HubView:
    with contextlib.closing(connect(folder, read_only=True)) as db:
        try:
            row = db.execute(
                "SELECT gw, name, revoked_unix_ms FROM gateway WHERE kid = ?", (bytes.fromhex(gateway_id),)
            ).fetchone()
            if row is None:
                return HubView(False)
            gw, name, revoked = row
            seen = db.execute("SELECT last_seen_unix_ms FROM standing WHERE gw = ?", (gw,)).fetchone()
            refused = dict(db.execute("SELECT reason, count FROM refused WHERE gw = ?", (gw,)).fetchall())
            alarms = tuple(f"{kind}: {what}" for kind, what in db.execute(
                "SELECT kind, what FROM alarm WHERE gw = ? ORDER BY kind", (gw,)))  # fmt: skip
        except DatabaseError as error:
            raise StoreError(f"the hub's database in {folder} cannot be read: {error}") from None
    return HubView(True, name, revoked, seen[0] if seen else None, refused, alarms)


def _by_address(url: str, gateway_id: str) -> HubView:
    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/api/gateways/{gateway_id}", timeout=TIMEOUT_S) as answer:
            found = json.loads(answer.read(4 * 1024 * 1024))
        alarms = tuple(f"{alarm['kind']}: {alarm['what']}" for alarm in found["alarms"])
        return HubView(
            True, found["name"], found["revoked_unix_ms"], found["last_seen_unix_ms"], dict(found["refused"]), alarms
        )
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return HubView(False)
        raise LinkError(f"{url}: it answers with status {error.code}") from None
    except (OSError, http.client.HTTPException) as error:
        raise LinkError(f"{url}: {getattr(error, 'reason', None) or error}") from None
    except (ValueError, KeyError, TypeError):
        raise LinkError(f"{url} answers, but not as a hub does") from None
