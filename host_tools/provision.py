"""`parkgate provision`: give a new gateway its identity, its hub and its settings, by cable.

The key is made on the gateway from its own randomness and this computer's, and never leaves it. The hub learns the
public key (--hub DIR, or --public-key FILE to be carried there by hand); the gateway learns the hub's key, the broker
and the settings of --settings FILE; its console gets a code; a label with a QR code is printed.
"""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from urllib.parse import urlsplit

from parkgate.errors import SettingsError

from . import enrol
from .hub.store import connect
from .keys import hub_key, read_public
from .link import Link, add_port_argument
from .settings import active, changes, push, read_file

_CODE_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"  # none that look alike


def add_parser(subparsers) -> None:
    """Arguments of `parkgate provision`."""
    parser = subparsers.add_parser("provision", help="give a gateway its identity and settings", description=__doc__)
    add_port_argument(parser)
    parser.add_argument("--hub", type=Path, metavar="DIR", help="data directory of the hub on this computer")
    parser.add_argument("--hub-key", metavar="FILE|HEX", help="public key of a hub elsewhere (hub_public.key there)")
    parser.add_argument("--public-key", type=Path, metavar="FILE", help="write the gateway's public key, for enrolling")
    parser.add_argument("--broker", metavar="URL", help="mqtt://[user[:password]@]host[:port] (default: the hub's own)")
    parser.add_argument("--settings", type=Path, metavar="FILE.toml", help="buses, instruments and the rest")
    parser.add_argument("--name", help="what the gateway is called")
    parser.add_argument("--label", type=Path, metavar="FILE.svg", help="write the label with its QR code")
    parser.add_argument("--no-code", action="store_true", help="leave the console open to whoever has the cable")


def run(args) -> int:
    """Raises SettingsError, LinkError, GatewayRefused."""
    if not args.hub and not args.hub_key:
        raise SettingsError("name the hub: --hub DIR, or --hub-key FILE with --broker URL")
    if args.hub:
        args.hub.mkdir(parents=True, exist_ok=True)
    hub_xy = hub_key(args.hub).xy if args.hub else read_public(args.hub_key)
    given = read_file(args.settings) if args.settings else {}
    with Link(args.port) as link:
        link.unlock(args.code)
        _new_key(link)
        identity = link.facts("identity")
        public_key = bytes.fromhex(identity["public_key"])
        current = active(link)
        wanted = given or current
        wanted = {**wanted, "hub": {"public_key": hub_xy.hex()}}
        wanted["broker"] = {**current["broker"], **wanted.get("broker", {}), **_broker(args)}
        name = args.name or wanted.get("gateway", {}).get("name") or identity["name"]
        if name == "gateway":
            name = "gateway-" + identity["gateway"][:6]
        wanted["gateway"] = {**wanted.get("gateway", {}), "name": name}
        commands = changes(current, wanted)
        if args.hub:
            _enrol(args.hub, public_key, name)
        if args.public_key:
            args.public_key.write_text(public_key.hex() + "\n")
        if commands:
            push(link, commands)
        code = _set_code(link, identity, args)
    _label(args, identity["gateway"], name, code)
    return 0


def _new_key(link: Link) -> None:
    """Have a key made with entropy of this computer, unless the gateway's has been used."""
    journal = link.facts("journal status")
    if journal["sampled"] != "0" or journal["next_batch"] != "0":
        print("the gateway has readings under its key: the key stays")
        return
    link.ask(f"identity new {secrets.token_hex(32)}", 10.0, repeat=False)
    link.wait_restart(int(journal["boot"]))


def _broker(args) -> dict:
    url = args.broker
    if not url and args.hub and (args.hub / "hub.json").exists():
        url = json.loads((args.hub / "hub.json").read_text())["broker"]
    if not url:
        return {}
    parts = urlsplit(url if "://" in url else "mqtt://" + url)
    if parts.scheme != "mqtt" or not parts.hostname:
        raise SettingsError(f"--broker {url!r} is not mqtt://host:port")
    found: dict = {"host": parts.hostname, "port": parts.port or 1883}
    # The hub's own name at the broker is not the gateway's: only what was typed is taken.
    if args.broker and parts.username:
        found["user"] = parts.username
    if args.broker and parts.password:
        found["password"] = parts.password
    return found


def _enrol(folder: Path, public_key: bytes, name: str) -> None:
    database = connect(folder)
    try:
        enrol.enrol(database, public_key, name)
    finally:
        database.close()


def _set_code(link: Link, identity: dict, args) -> str | None:
    if args.no_code or identity["code"] == "set":
        return None
    code = "".join(secrets.choice(_CODE_LETTERS) for _ in range(10))
    link.ask(f"code {code}", 10.0, repeat=False)
    return code


def _label(args, gateway: str, name: str, code: str | None) -> None:
    import segno

    text = f"parkgate:{gateway}:{name}"
    label = segno.make(text, error="m")
    label.terminal(compact=True)
    print(f"{name}\n{gateway}")
    if args.label:
        label.save(str(args.label), kind="svg", scale=4, title=text)
        print(f"label written to {args.label}")
    if code:
        print(f"code of its console, shown only now: {code}")
    print("provisioned; its first batch reaches the hub within a sealing period")
