"""`parkgate enrol`: let the hub know a gateway's public key; list the gateways, rename or revoke one, clear its alarms.

Works on the hub's database, whether the hub runs or not; a running hub notices within a second.
"""

import sqlite3
import time
from pathlib import Path

from host_tools.base.keys import hub_key, read_public
from host_tools.hub.stores.store import connect, existing
from parkgate.errors import SettingsError
from parkgate.wire import cose

NAME_LENGTH_MAX = 64


def add_parser(subparsers) -> None:
    """Arguments of `parkgate enrol`."""
    parser = subparsers.add_parser("enrol", help="let the hub know a gateway's public key", description=__doc__)
    parser.add_argument(
        "key", nargs="?", metavar="PUBKEY_FILE|HEX", help="public key: a file, or 128 hex digits (x, y)"
    )
    parser.add_argument("--data", required=True, metavar="DIR", help="data directory of the hub")
    parser.add_argument("--name", help="what the gateway is called on the page (default: the start of its id)")
    parser.add_argument("--list", action="store_true", help="list the gateways that are enrolled")
    parser.add_argument("--revoke", metavar="NAME|ID", help="take nothing more from this gateway; its data stays")
    parser.add_argument(
        "--clear-alarms",
        metavar="NAME|ID",
        help="what the hub said of this gateway was looked into: evidence and counts stay",
    )
    parser.add_argument("--restore", metavar="NAME|ID", help="undo a revocation")


def run(args) -> int:
    """Do one of these. Raises SettingsError, FormatError or StoreError."""
    db = connect(existing(args.data))
    try:
        if args.list:
            _print_list(db)
        elif args.revoke or args.restore:
            gateway_id, name = revoke(db, args.revoke or args.restore, undo=bool(args.restore))
            print(f"{'restored' if args.restore else 'revoked'} {name} ({gateway_id.hex()})")
        elif args.clear_alarms:
            print(f"cleared {clear_alarms(db, args.clear_alarms)} alarms")
        elif args.key:
            gateway_id = enrol(db, read_public(args.key), args.name)
            print(f"enrolled {args.name or gateway_id.hex()[:8]} ({gateway_id.hex()})")
            print(f"topics   tele/{gateway_id.hex()[:32]}/… and cmd/{gateway_id.hex()[:32]}/…")
            print(f"hub key  {hub_key(Path(args.data)).xy.hex()}")
        else:
            raise SettingsError("name a public key, or --list, --revoke, --restore or --clear-alarms")
    finally:
        db.close()
    return 0


def enrol(db: sqlite3.Connection, public_key: bytes, name: str | None = None) -> bytes:
    """Write the gateway with this key (x || y) to the hub's database; give it `name` if it is there already.
    Returns its id. Raises SettingsError when the name cannot be used."""
    gateway_id = cose.thumbprint(public_key)
    row = db.execute("SELECT name FROM gateway WHERE kid = ?", (gateway_id,)).fetchone()
    name = name or str(row[0] if row else gateway_id.hex()[:8])
    if not name.strip() or len(name) > NAME_LENGTH_MAX or not name.isprintable():
        raise SettingsError(f"a name is 1 to {NAME_LENGTH_MAX} printable characters")
    clash = db.execute(
        "SELECT kid FROM gateway WHERE kid <> ? AND (name = ? OR substr(kid, 1, 16) = ?)",
        (gateway_id, name, gateway_id[:16]),
    ).fetchone()
    if clash:
        raise SettingsError(f"another gateway ({clash[0].hex()[:8]}…) has the name {name!r}")
    db.execute(
        "INSERT INTO gateway (kid, public_key, name, enrolled_unix_ms) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (kid) DO UPDATE SET name = excluded.name",
        (gateway_id, public_key, name, int(time.time() * 1000)),
    )
    return gateway_id


def find(db: sqlite3.Connection, name_or_id: str) -> tuple[int, bytes, str]:
    """(gw, id, name) of the gateway with this name, or whose id begins so (8 hex digits at least). Raises
    SettingsError."""
    rows = db.execute("SELECT gw, kid, name FROM gateway WHERE name = ?", (name_or_id,)).fetchall()
    if not rows and len(name_or_id) >= 8:
        wanted = name_or_id.lower()
        rows = [row for row in db.execute("SELECT gw, kid, name FROM gateway") if row[1].hex().startswith(wanted)]
    if len(rows) != 1:
        raise SettingsError(f"{'several gateways match' if rows else 'no gateway is called'} {name_or_id!r}")
    return rows[0]


def revoke(db: sqlite3.Connection, name_or_id: str, undo: bool = False) -> tuple[bytes, str]:
    """Refuse this gateway from now on, or take it back. Returns its id and name. Raises SettingsError."""
    gw, gateway_id, name = find(db, name_or_id)
    when = None if undo else int(time.time() * 1000)
    db.execute("UPDATE gateway SET revoked_unix_ms = ? WHERE gw = ?", (when, gw))
    return gateway_id, name


def clear_alarms(db: sqlite3.Connection, name_or_id: str) -> int:
    """Forget the alarms of this gateway, not what caused them. Returns how many. Raises SettingsError."""
    gw, _, _ = find(db, name_or_id)
    return db.execute("DELETE FROM alarm WHERE gw = ?", (gw,)).rowcount


def _print_list(db):
    rows = db.execute("SELECT name, kid, revoked_unix_ms FROM gateway ORDER BY name").fetchall()
    for name, gateway_id, revoked in rows:
        print(f"{name:24} {gateway_id.hex()}{'  revoked' if revoked else ''}")
    if not rows:
        print("no gateway is enrolled yet")
