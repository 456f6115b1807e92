"""`parkgate hub`: run the hub with its page until Ctrl-C or SIGTERM."""

import contextlib
import json
import logging
import os
from pathlib import Path

from host_tools.broker.broker import Broker
from host_tools.hub.service import Hub
from host_tools.hub.web.server import HUB_FILE, serve
from parkgate.errors import SettingsError


def add_parser(subparsers) -> None:
    """Arguments of `parkgate hub`."""
    parser = subparsers.add_parser("hub", help="receive, verify and store batches, answer with receipts, show them")
    parser.add_argument("--data", required=True, metavar="DIR", help="data directory: database and hub key")
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
        help="run a broker too (the nats-server that comes with Parkgate), for trying things out: it asks nobody for a "
        "name; gateways on a network reach it when HOST is an address of this computer there",
    )
    parser.add_argument("--ca", metavar="FILE", help="certificates the broker's is checked against (mqtts)")
    parser.add_argument("--cert", metavar="FILE", help="client certificate (mqtts)")
    parser.add_argument("--cert-key", metavar="FILE", help="key of the client certificate (mqtts)")
    parser.add_argument(
        "--http",
        default="127.0.0.1:8080",
        metavar="HOST:PORT",
        help="where the page is; port 0 takes a free one",
    )
    parser.add_argument("--quiet", action="store_true", help="log warnings and errors only")


def run(args) -> int:
    """Run until told to stop. Raises SettingsError, StoreError, FormatError or HubBusy when it cannot
    start."""
    logging.basicConfig(
        level=logging.WARNING if args.quiet else logging.INFO, format="%(asctime)s %(levelname)s %(message)s"
    )
    host, port = _address("--http", args.http)
    with contextlib.ExitStack() as stack:
        url = args.broker
        if args.own_broker:
            place = _address("--own-broker", args.own_broker)
            url = stack.enter_context(Broker("nats", Path(args.data) / "broker", *place)).url
        hub = Hub(args.data, url, args.ca, args.cert, args.cert_key)
        return serve(hub, host, port, ready=_tell)


def _address(option: str, text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdigit() or int(port) > 65535:
        raise SettingsError(f"{option} {text!r} is not HOST:PORT")
    return host.strip("[]"), int(port)


def _tell(hub: Hub, url: str) -> None:
    """The one line that a person, or a program that started us, waits for; and the same as a file."""
    draft = hub.data_dir / f"{HUB_FILE}.new"
    draft.write_text(
        json.dumps(
            {
                "pid": os.getpid(),
                "page": url,
                "broker": hub.receiver.url,
                "hub_id": hub.key.id.hex(),
                "public_key": hub.key.xy.hex(),
            }
        )
        + "\n"
    )
    draft.replace(Path(hub.data_dir) / HUB_FILE)
    print(f"hub ready: page {url} broker {hub.receiver.url} id {hub.key.id.hex()}", flush=True)
