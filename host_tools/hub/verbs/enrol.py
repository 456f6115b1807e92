"""`parkgate enrol`: let the hub know a gateway's public key; list the gateways, rename or revoke one, clear its alarms.

Works on the hub's database, whether the hub runs or not; a running hub notices within a second.
"""

import contextlib
from datetime import datetime
from pathlib import Path

from host_tools.base import output
from host_tools.base.keys import hub_key, read_public
from host_tools.hub.stores import gateway_keys
from host_tools.hub.stores.gateways import check as check
from host_tools.hub.stores.gateways import clear_alarms as clear_alarms
from host_tools.hub.stores.gateways import enrol as enrol
from host_tools.hub.stores.gateways import find as find
from host_tools.hub.stores.gateways import listed
from host_tools.hub.stores.gateways import revoke as revoke
from host_tools.hub.stores.gateways import whoami as whoami
from host_tools.hub.stores.store import connect, existing
from parkgate.errors import SettingsError


def add_parser(subparsers) -> None:
    """Arguments of `parkgate enrol`."""
    parser = subparsers.add_parser("enrol", help="let the hub know a gateway's public key", description=__doc__)
    parser.add_argument(
        "key", nargs="?", metavar="PUBKEY_FILE|HEX", help="public key: a file, or 128 hex digits (x, y)"
    )
    parser.add_argument("--data", required=True, metavar="DIR", help="data directory of the hub")
    parser.add_argument("--name", help="what the gateway is called on the page (default: the start of its id)")
    parser.add_argument("--next", metavar="HEX", help="id of the key that will follow it, as `identity next` shows it")
    parser.add_argument("--list", action="store_true", help="list the gateways that are enrolled")
    parser.add_argument("--revoke", metavar="NAME|ID", help="accept nothing more from this gateway; its data stays")
    parser.add_argument("--since", metavar="TIME", help="for --revoke: since when its key was not its own (ISO 8601)")
    parser.add_argument(
        "--clear-alarms",
        metavar="NAME|ID",
        help="clear this gateway's alarms, once they were looked into; evidence stays",
    )
    parser.add_argument("--restore", metavar="NAME|ID", help="undo a revocation")
    output.add_json(parser)


def run(args) -> int:
    """Do one of these. Raises SettingsError, FormatError or StoreError."""
    db = connect(existing(args.data))
    try:
        if args.list:
            _show_list(args, db)
        elif args.revoke or args.restore:
            gateway_id, name = revoke(db, args.revoke or args.restore, bool(args.restore), _since(args.since))
            done = "restored" if args.restore else "revoked"
            output.show(args, {done: name, "id": gateway_id.hex()}, [f"{done} {name} ({gateway_id.hex()})"])
        elif args.clear_alarms:
            cleared = clear_alarms(db, args.clear_alarms)
            output.show(args, {"cleared": cleared}, [f"cleared {cleared} alarms"])
        elif args.key:
            hub_xy = hub_key(Path(args.data), make=False).xy.hex()
            public_key = read_public(args.key)
            name = check(db, public_key, args.name, check_revoked=False).name
            gateway_id = enrol(db, public_key, args.name).hex()
            if args.next:
                gateway_keys.commit(db, bytes.fromhex(gateway_id), _id(args.next), whoami())
            lines = [
                f"enrolled {name} ({gateway_id})",
                f"topics   tele/{gateway_id[:32]}/… and cmd/{gateway_id[:32]}/…",
                f"hub key  {hub_xy}",
            ]
            document = {"enrolled": name, "id": gateway_id, "topic": gateway_id[:32], "hub_public_key": hub_xy}
            output.show(args, document, lines)
        else:
            raise SettingsError("name a public key, or --list, --revoke, --restore or --clear-alarms")
    finally:
        db.close()
    return 0


def _id(text: str) -> bytes:
    with contextlib.suppress(ValueError):
        if len(bytes.fromhex(text)) == 32:
            return bytes.fromhex(text)
    raise SettingsError("--next is an id: 64 hexadecimal digits")


def _since(text: str | None) -> int | None:
    """Unix time in ms of an ISO 8601 time with its offset."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise SettingsError("--since is a time with its offset, such as 2026-11-28T09:30:00+07:00")
    return int(moment.timestamp() * 1000)


def _show_list(args, db):
    rows = listed(db)
    document = [
        {"name": name, "id": kid.hex(), "enrolled_unix_ms": enrolled, "revoked_unix_ms": revoked}
        for name, kid, enrolled, revoked in rows
    ]
    lines = [f"{name:24} {kid.hex()}{'  revoked' if revoked else ''}" for name, kid, _, revoked in rows]
    output.show(args, {"gateways": document}, lines or ["no gateway is enrolled yet"])
