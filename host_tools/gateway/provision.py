"""`parkgate provision`: give a new gateway its identity, its hub and its settings, by cable.

The key is made on the gateway from its own randomness and this computer's, and never leaves it. The hub learns the
public key: --hub DIR for one on this computer, --hub URL --token TOKEN for one elsewhere (`parkgate operator` makes
tokens), or --hub-key FILE --public-key FILE and `parkgate enrol` there, carried by hand. The gateway learns the hub's
key, the broker and the settings of --settings FILE; its console gets a code; a label with a QR code is printed.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import secrets
from pathlib import Path
from urllib.parse import urlsplit

from host_tools.base.keys import hub_key, read_public
from host_tools.broker import certificates
from host_tools.gateway.link import Link, add_port_argument
from host_tools.gateway.settings import active, changes, push, read_file
from host_tools.hub.stores.store import connect, existing
from host_tools.hub.verbs import enrol, hub_client
from parkgate.errors import SettingsError
from parkgate.settings.schema import validate

_CODE_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"  # none that look alike


def add_parser(subparsers) -> None:
    """Arguments of `parkgate provision`."""
    parser = subparsers.add_parser("provision", help="give a gateway its identity and settings", description=__doc__)
    add_port_argument(parser)
    parser.add_argument(
        "--hub", metavar="DIR|URL", help="data directory of the hub on this computer, or address of its page"
    )
    parser.add_argument("--token", help="operator's token for --hub URL (default: PARKGATE_TOKEN)")
    parser.add_argument("--hub-key", metavar="FILE|HEX", help="public key of a hub elsewhere (hub_public.key there)")
    parser.add_argument("--public-key", type=Path, metavar="FILE", help="write the gateway's public key, for enrolling")
    parser.add_argument("--broker", metavar="URL", help="mqtt[s]://[user[:password]@]host[:port] (default: the hub's)")
    parser.add_argument(
        "--broker-ca", type=Path, metavar="FILE", help="certificate that the broker's comes from; asks for TLS"
    )
    parser.add_argument("--wifi", metavar="SSID", help="Wi-Fi network; asks its password (or PARKGATE_WIFI_PASSWORD)")
    parser.add_argument("--settings", type=Path, metavar="FILE.toml", help="buses, instruments and the rest")
    parser.add_argument("--name", help="what the gateway is called")
    parser.add_argument("--label", type=Path, metavar="FILE.svg", help="write the label with its QR code")
    parser.add_argument("--no-code", action="store_true", help="leave the console open to whoever has the cable")


def run(args) -> int:
    """Raises SettingsError, LinkError, GatewayRefused."""
    if not args.hub and not args.hub_key:
        raise SettingsError("name the hub: --hub DIR, --hub URL --token TOKEN, or --hub-key FILE with --broker URL")
    folder = Path(args.hub) if args.hub and not hub_client.is_address(args.hub) else None
    if folder:
        existing(folder)
    given = read_file(args.settings) if args.settings else {}
    ca = {"tls": "on", "ca": certificates.read(args.broker_ca)} if args.broker_ca else {}
    validate({**given, "broker": {**given.get("broker", {}), **ca}})
    network = _wifi(args)
    with Link(args.port) as link:
        link.unlock(args.code)
        _new_key(link)
        identity = link.facts("identity")
        public_key = bytes.fromhex(identity["public_key"])
        current = active(link)
        name = args.name or given.get("gateway", {}).get("name") or identity["name"]
        if name == "gateway":
            name = "gateway-" + identity["gateway"][:6]
        hub_xy, broker = _hub(args, folder, public_key, name)
        wanted = given or current
        wanted = {**wanted, "hub": {"public_key": hub_xy.hex()}, "gateway": {**wanted.get("gateway", {}), "name": name}}
        wanted["broker"] = {**current["broker"], **broker, **given.get("broker", {}), **_typed_broker(args), **ca}
        if wanted["broker"]["tls"] == "on" and not wanted["broker"]["ca"]:
            raise SettingsError("TLS to the broker needs --broker-ca FILE: what the broker's certificate comes from")
        if network:
            wanted["network"] = {**wanted.get("network", {}), **network}
        if wanted["broker"]["host"] in hub_client.LOOPBACK and identity["board"] != "unix":
            raise SettingsError(
                f"broker {wanted['broker']['host']} would be the board itself: name the broker as the gateway reaches "
                "it, --broker mqtt://HOST:PORT"
            )
        commands = changes(current, wanted)
        if args.public_key:
            args.public_key.write_text(public_key.hex() + "\n")
        if commands:
            push(link, commands)
        code = _set_code(link, identity, args)
    _label(args, identity["gateway"], name, code, validate(wanted)["sealing"]["period_s"])
    return 0


def _new_key(link: Link) -> None:
    """Have a key made with entropy of this computer, unless the gateway's has been used."""
    journal = link.facts("journal status")
    if journal["sampled"] != "0" or journal["next_batch"] != "0":
        print("the gateway has already signed under its key: the key stays")
        return
    link.ask(f"identity new {secrets.token_hex(32)}", 10.0, repeat=False)
    link.wait_restart(int(journal["boot"]))


def _hub(args, folder: Path | None, public_key: bytes, name: str) -> tuple[bytes, dict]:
    """(public key of the hub, its own broker as settings), the gateway enrolled where the hub can be reached."""
    known = read_public(args.hub_key) if args.hub_key else None
    if not args.hub:
        return known or b"", {}
    if folder is None:
        answer = hub_client.enrol(args.hub, args.token, public_key, name)
        xy, broker = answer.hub_xy, {"host": answer.broker_host, "port": answer.broker_port}
    else:
        xy, broker = hub_key(folder).xy, _broker_of(folder)
        with contextlib.closing(connect(folder)) as database:
            enrol.enrol(database, public_key, name)
    if known not in (None, xy):
        raise SettingsError("the hub has another public key than --hub-key says: is that the right hub?")
    return xy, broker


def _broker_of(folder: Path) -> dict:
    # The hub's own name at the broker is not the gateway's: only the place is taken.
    if not (folder / "hub.json").exists():
        return {}
    parts = urlsplit(json.loads((folder / "hub.json").read_text())["broker"])
    return _place(parts)


def _place(parts) -> dict:
    tls = parts.scheme == "mqtts"
    return {"host": parts.hostname, "port": parts.port or (8883 if tls else 1883), "tls": "on" if tls else "off"}


def _wifi(args) -> dict:
    if not args.wifi:
        return {}
    password = os.environ.get("PARKGATE_WIFI_PASSWORD")
    if password is None:
        password = getpass.getpass(f"password of {args.wifi!r} (empty for none): ")
    return {"ssid": args.wifi, "password": password}


def _typed_broker(args) -> dict:
    if not args.broker:
        return {}
    parts = urlsplit(args.broker if "://" in args.broker else "mqtt://" + args.broker)
    if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname:
        raise SettingsError(f"--broker {args.broker!r} is not mqtt://host:port or mqtts://host:port")
    found = _place(parts)
    if parts.username:
        found["user"] = parts.username
    if parts.password:
        found["password"] = parts.password
    return found


def _set_code(link: Link, identity: dict, args) -> str | None:
    if args.no_code or identity["code"] == "set":
        return None
    code = "".join(secrets.choice(_CODE_LETTERS) for _ in range(10))
    link.ask(f"code {code}", 10.0, repeat=False)
    return code


def _label(args, gateway: str, name: str, code: str | None, period_s: int) -> None:
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
    print(f"provisioned; it seals every {period_s} s: so soon its first batch is at the hub, and its settings are kept")
