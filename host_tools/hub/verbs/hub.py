"""`parkgate hub`: run the hub with its page until Ctrl-C or SIGTERM; back its data up, restore it, check it, move it.

parkgate hub --data DIR                              run
parkgate hub backup --data DIR --to FOLDER           copy all of it into a new folder, while it runs
parkgate hub restore --data DIR --from FOLDER        make a hub's folder from a backup
parkgate hub check --data DIR                        read every stored batch: bytes, signature, chain
parkgate hub move --data DIR --to postgresql://…     take its data from the file there to a PostgreSQL server
parkgate hub retain --data DIR --before 2024-01-01   what would go, by place and month; --apply --why TEXT removes it
parkgate hub hold --data DIR --place NAME --from DAY --to DAY --why TEXT      these readings must stay
parkgate hub hold --data DIR                         list the holds; hub release --number N --why TEXT ends one
"""

import argparse
import contextlib
import ipaddress
import json
import logging
import os
import re
from pathlib import Path

from host_tools.base import files, output
from host_tools.base.folder_lock import is_held
from host_tools.base.secret import secret
from host_tools.broker.broker import Broker
from host_tools.hub import logs
from host_tools.hub.people import accounts
from host_tools.hub.receiving.receive import parse_address
from host_tools.hub.service import LOCK_FILE, Hub
from host_tools.hub.stores.store import connect, existing
from host_tools.hub.verbs import hub_keep, own_broker, retain
from host_tools.hub.web import connections
from host_tools.hub.web.server import HUB_FILE, Address, serve
from host_tools.log import stamps
from host_tools.log.database.opening import PASSWORD_VARIABLE
from parkgate.errors import SettingsError

log = logging.getLogger("parkgate.hub")


def add_parser(subparsers) -> None:
    """Arguments of `parkgate hub`."""
    parser = subparsers.add_parser(
        "hub", help="receive, verify and store batches, answer with receipts, show them", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument(
        "action", nargs="?", choices=hub_keep.ACTIONS + retain.ACTIONS, help="what to do instead of running the hub"
    )
    parser.add_argument(
        "--to", metavar="WHERE", help="for backup: the new folder to write; for move: the server; for hold: a day"
    )
    parser.add_argument(
        "--from", type=Path, metavar="WHERE", dest="from_folder", help="for restore: the backup; for hold: a day"
    )
    parser.add_argument("--before", metavar="DAY", help="for retain: readings of this day and later stay")
    parser.add_argument(
        "--place",
        action="append",
        metavar="NAME",
        default=[],
        help="for retain: only these places; for hold: the place",
    )
    parser.add_argument("--apply", action="store_true", help="for retain: remove them, and not only say what would go")
    parser.add_argument("--why", metavar="TEXT", help="for retain, hold and release: the reason, which the log keeps")
    parser.add_argument("--number", type=int, metavar="N", help="for release: the hold")
    parser.add_argument("--data", required=True, metavar="DIR", help="data directory: database and hub key")
    parser.add_argument(
        "--store", metavar="URL",
        help="keep the data in a PostgreSQL server and not in a file of the directory: "
        "postgresql://USER@HOST/DATABASE; it is remembered",
    )  # fmt: skip
    parser.add_argument(
        "--store-password", metavar="FILE",
        help=f"a file with the password for that server (or set {PASSWORD_VARIABLE}, or use ~/.pgpass)",
    )  # fmt: skip
    parser.add_argument(
        "--broker",
        default="mqtt://127.0.0.1:1883",
        metavar="URL",
        help="mqtt://[user:password@]host:port, or mqtts://…",
    )
    parser.add_argument(
        "--own-broker",
        nargs="?",
        const="127.0.0.1:1883",
        metavar="HOST:PORT",
        help="run a broker too (the nats-server that comes with Parkgate); without --accounts any program may "
        "connect, so it is only for trying things out on this computer",
    )
    parser.add_argument(
        "--accounts", action="store_true",
        help="with --own-broker: admit only the hub and enrolled gateways, each to its own topics; "
        "`parkgate provision` gives a gateway its account",
    )  # fmt: skip
    parser.add_argument("--ca", metavar="FILE", help="certificates that the broker's own is checked against (mqtts)")
    parser.add_argument("--cert", metavar="FILE", help="client certificate (mqtts)")
    parser.add_argument("--cert-key", metavar="FILE", help="key of the client certificate (mqtts)")
    parser.add_argument(
        "--http",
        default="127.0.0.1:8080",
        metavar="HOST:PORT",
        help="address of the hub's page; port 0 means any free port",
    )
    parser.add_argument(
        "--name", action="append", metavar="NAME", default=[],
        help="a name under which the page may be reached, besides addresses, localhost and this computer's name",
    )  # fmt: skip
    parser.add_argument(
        "--zone", metavar="ZONE", help="the park's time zone, such as Asia/Phnom_Penh; it is remembered"
    )
    parser.add_argument(
        "--stamps", metavar="URL",
        help="a time stamp authority (RFC 3161): it stamps a checkpoint each day, so that auditors know when readings "
        "were signed",
    )  # fmt: skip
    parser.add_argument(
        "--proxy", metavar="ADDRESS", help="the address of a reverse proxy whose X-Forwarded-For is trusted"
    )
    parser.add_argument(
        "--broker-password", metavar="FILE",
        help="a file with the password for the broker (or set PARKGATE_BROKER_PASSWORD); every user of this computer "
        "can see a password in the URL",
    )  # fmt: skip
    parser.add_argument(
        "--http-cert", metavar="FILE", help="serve the page by TLS: certificate, with its chain, in PEM"
    )
    parser.add_argument("--http-key", metavar="FILE", help="key of that certificate, in PEM, without a passphrase")
    parser.add_argument(
        "--base-path", metavar="PATH", default="", help="the path under which a reverse proxy shows the page: /parkgate"
    )
    parser.add_argument(
        "--open", action="store_true",
        help="without accounts (`parkgate account`), all who reach the page may see all of it and acknowledge "
        "alarms. On loopback alone that is so anyway; elsewhere, and behind a proxy, only with this option",
    )  # fmt: skip
    parser.add_argument(
        "--log-format", choices=logs.FORMATS, default="text", help="one line or one JSON object an entry"
    )
    parser.add_argument("--status", action="store_true", help="show the state of the hub of this folder, and end")
    output.add_json(parser)
    parser.add_argument("--quiet", action="store_true", help="log warnings and errors only")


def run(args) -> int:
    """Run until told to stop. Raises SettingsError, StoreError, FormatError or HubBusy when it cannot
    start."""
    if args.action:
        return retain.run(args) if args.action in retain.ACTIONS else hub_keep.run(args)
    if args.status or output.wanted(args):
        return _status(args)
    host, port = _address("--http", args.http)
    with contextlib.ExitStack() as stack:
        stack.enter_context(logs.prepared(logging.WARNING if args.quiet else logging.INFO, args.log_format))
        place = _address("--own-broker", args.own_broker) if args.own_broker else None
        if args.own_broker is None:
            parse_address(args.broker)  # said before anything is made
        if args.accounts and not place:
            raise SettingsError("--accounts needs --own-broker")
        if place and not args.accounts and not _is_loopback(place[0]):
            raise SettingsError(
                f"--own-broker {args.own_broker}: anybody who reaches this address could fill its store or pose as "
                "the hub: add --accounts, or use 127.0.0.1"
            )
        password = secret("the broker's password", args.broker_password, "PARKGATE_BROKER_PASSWORD")
        path, proxy = _base_path(args.base_path), _one_address(args.proxy)
        may_be_open = args.open or _is_loopback(host) and proxy is None and not path
        address = Address(host, port, proxy, args.name, path, _tls(args), may_be_open)
        if args.stamps:
            stamps.check_url(args.stamps)
        if args.store_password and not args.store:
            raise SettingsError("--store-password needs --store")
        store = (args.store, args.store_password) if args.store else None
        hub = Hub(args.data, store=store)  # the lock, the key and the database are ours before anything else is touched
        stack.callback(hub.stop)
        if args.zone:
            hub.set_zone(args.zone)
        url = args.broker
        if place:
            url, password = _own_broker(stack, hub, place, args.accounts, password)
        if args.stamps:
            daily = stamps.Stamps(lambda: connect(args.data), args.stamps)
            daily.start()
            stack.callback(daily.stop)
        hub.use_broker(url, args.ca, args.cert, args.cert_key, password)
        if not may_be_open and not accounts.load(args.data):
            log.warning(
                "nobody can sign in at %s yet: `parkgate account add NAME --role operator --data %s` makes an account",
                args.http, args.data,
            )  # fmt: skip
        return serve(hub, address, _tell)


def _status(args) -> int:
    """What the folder says: whether a hub runs on it, and what it holds. Exit code 0 when one runs, else 1."""
    folder = existing(args.data)
    try:
        about = json.loads(files.read_text(folder / HUB_FILE))
        page, broker = str(about["page"]), str(about["broker"])
    except (files.FileTrouble, ValueError, KeyError, TypeError):
        page = broker = ""
    with contextlib.closing(connect(folder, read_only=True)) as db:
        gateways, revoked = db.execute("SELECT count(*), count(revoked_unix_ms) FROM gateway").fetchone()
        sums = "SELECT coalesce(sum(batches), 0), coalesce(sum(readings), 0) FROM epoch"
        batches, readings = db.execute(sums).fetchone()
        alarms = db.execute("SELECT count(*) FROM alarm").fetchone()[0]
    running = is_held(folder / LOCK_FILE)
    document = {
        "data": str(folder), "running": running, "page": page if running else None,
        "broker": broker if running else None, "gateways": gateways, "revoked": revoked, "batches": batches,
        "readings": readings, "alarms": alarms,
    }  # fmt: skip
    lines = [
        f"the hub is running: page {page}, broker {broker}" if running else "the hub is not running",
        f"gateways: {gateways} ({revoked} revoked); batches: {batches}, readings: {readings}; alarms: {alarms}",
    ]
    output.show(args, document, lines)
    return 0 if running else 1


def _address(option: str, text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdigit() or int(port) > 65535:
        raise SettingsError(f"{option} {text!r} is not HOST:PORT")
    return host.strip("[]"), int(port)


def _own_broker(stack, hub: Hub, place, with_accounts: bool, password: str | None) -> tuple[str, str | None]:
    """Start it until the stack ends. Its address for the hub, and the hub's password there."""
    if not with_accounts:
        return stack.enter_context(Broker("nats", hub.data_dir / "broker", *place)).url, password
    hub.show_all()
    broker = Broker("nats", hub.data_dir / "broker", *place, accounts=own_broker.accounts(hub))
    stack.enter_context(broker)
    stack.enter_context(own_broker.Doorkeeper(hub, broker))
    hub.has_accounts = True
    return broker.url.replace("://", f"://{own_broker.HUB}@"), hub.key.broker_password(own_broker.HUB)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _one_address(text: str | None) -> str | None:
    try:
        return None if text is None else str(ipaddress.ip_address(text))
    except ValueError:
        raise SettingsError(f"--proxy {text!r} is not an address: it looks like 127.0.0.1") from None


def _tls(args) -> tuple[str, str] | None:
    if not args.http_cert and not args.http_key:
        return None
    if not args.http_cert or not args.http_key:
        raise SettingsError("--http-cert and --http-key belong together")
    connections.check_tls(args.http_cert, args.http_key)
    return args.http_cert, args.http_key


def _base_path(text: str) -> str:
    path = text.rstrip("/")
    if path and not re.fullmatch(r"(/[A-Za-z0-9][A-Za-z0-9._~-]*)+", path):
        raise SettingsError(f"--base-path {text!r} is not a path: it looks like /parkgate")
    return path


def _tell(hub: Hub, url: str) -> None:
    """The one line that a person, or a program that started us, waits for; and the same as a file."""
    files.write(
        Path(hub.data_dir) / HUB_FILE,
        json.dumps(
            {
                "pid": os.getpid(),
                "page": url,
                "broker": hub.receiver.url,
                "broker_ca": hub.broker_ca(),
                "accounts": hub.has_accounts,
                "hub_id": hub.key.id.hex(),
                "public_key": hub.key.xy.hex(),
            }
        )
        + "\n",
    )
    print(f"hub ready: page {url} broker {hub.receiver.url} id {hub.key.id.hex()}", flush=True)
