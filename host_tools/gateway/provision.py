"""`parkgate provision`: give a new gateway its identity, its hub and its settings, by cable.

The key is made on the gateway from its own randomness and this computer's, and never leaves it. The hub learns the
public key: --hub DIR for one on this computer, --hub URL --token-file FILE for one elsewhere (`parkgate operator` makes
tokens), or --hub-key FILE --public-key FILE and `parkgate enrol` there, carried by hand. The gateway learns the hub's
key, the broker and the settings of --settings FILE; its console gets a code; a label with a QR code is made.

Everything is checked before anything is changed, here, at the hub and on the gateway. The code is shown before it locks
the console. Whatever comes in between (a cable, a disk, Ctrl-C), the same command carries on and ends the same way;
--again repeats the label and the code alone.

--rotate has a provisioned gateway sign with its next key. That key was made here, and the hub knows its id since then.
The last batch of the old key names it, and both keys sign: a thief of the old key alone cannot do that. The gateway
keeps its id, place, history and broker account. Rotate when the key may have been copied, or once a year.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import secrets
import shutil
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from host_tools.base import files, output
from host_tools.base.keys import HubKey, hub_key, read_public
from host_tools.base.names import check_gateway_name
from host_tools.base.secret import secret
from host_tools.broker import certificates
from host_tools.gateway import label
from host_tools.gateway.link import GatewayRefused, Link, add_port_argument
from host_tools.gateway.settings import active, changes, check_whole, commit, discard, read_file, stage
from host_tools.hub.park import exchange
from host_tools.hub.stores.store import connect, existing
from host_tools.hub.verbs import hub_client
from host_tools.log import root
from parkgate.errors import FormatError, ParkgateError, SettingsError
from parkgate.settings.schema import validate

AFTER_CTRL_C = "interrupted; nothing is lost: the same command carries on"
_CODE_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"  # none that look alike
_CODE_LENGTH = 10


class Given(NamedTuple):
    """All that is known before the gateway is asked, and good."""

    folder: Path | None  # of a hub on this computer
    settings: dict[str, Any]
    ca: dict[str, str]
    broker: dict[str, Any]
    network: dict[str, str]


class Hub(NamedTuple):
    """What the hub says before it takes the gateway: its key (x || y), its broker, whether it knows the gateway; the id
    of the root that may give it another key, with the number of its newest document."""

    xy: bytes
    broker: dict[str, Any]
    known: bool
    root: tuple[str, int] = ("", 0)


def add_parser(subparsers) -> None:
    """Arguments of `parkgate provision`."""
    parser = subparsers.add_parser("provision", help="give a gateway its identity and settings", description=__doc__)
    add_port_argument(parser)
    parser.add_argument(
        "--hub", metavar="DIR|URL", help="data directory of the hub on this computer, or address of its page"
    )
    parser.add_argument(
        "--token-file", metavar="FILE", help="a file with the operator's token for --hub URL (default: PARKGATE_TOKEN)"
    )
    parser.add_argument("--token", help="the token itself; every user of this computer can see it: prefer --token-file")
    parser.add_argument("--hub-key", metavar="FILE|HEX", help="public key of a hub elsewhere (hub_public.key there)")
    parser.add_argument("--public-key", type=Path, metavar="FILE", help="write the gateway's public key, for enrolling")
    parser.add_argument("--broker", metavar="URL", help="mqtt[s]://[user[:password]@]host[:port] (default: the hub's)")
    parser.add_argument(
        "--broker-ca", type=Path, metavar="FILE", help="certificate of the broker's authority; switches TLS on"
    )
    parser.add_argument("--wifi", metavar="SSID", help="Wi-Fi; asks for the password (or PARKGATE_WIFI_PASSWORD)")
    parser.add_argument("--settings", type=Path, metavar="FILE.toml", help="buses, instruments and the rest")
    parser.add_argument("--name", help="name of the gateway, 1 to 32 characters")
    parser.add_argument(
        "--place", default="", metavar="NAME", help="the place where it stands, also on the label; a new name makes one"
    )
    parser.add_argument(
        "--replaces", metavar="NAME|ID", help="the gateway whose place it takes: the history of the place goes on"
    )
    parser.add_argument("--label", type=Path, metavar="FILE.svg|.pdf", help="write the label, for tape of 62 mm")
    output.add_json(parser)
    parser.add_argument("--code-file", type=Path, metavar="FILE", help="write the console's code there too, mode 0600")
    parser.add_argument("--no-code", action="store_true", help="set no code: anybody with a cable can use the console")
    parser.add_argument("--again", action="store_true", help="make only label and code again (provisioned gateway)")
    parser.add_argument("--rotate", action="store_true", help="have it sign with its next key (provisioned gateway)")


def run(args) -> int:
    """Raises SettingsError, LinkError, GatewayRefused, FileTrouble, OutputTrouble."""
    with output.talk(args):
        given = _given(args)
        with Link(args.port) as link:
            link.unlock(args.code)
            if args.again:
                code = _again(args, link)
            else:
                code = _rotate(args, link) if args.rotate else _provision(args, given, link)
            about = _about(args, link) if output.wanted(args) else {}
    if about:
        output.show(args, about)
    return code


def _about(args, link: Link) -> dict[str, Any]:
    """What the gateway is now, for programs. Its code is none of theirs: --code-file keeps it."""
    identity = link.facts("identity")
    written = [str(path) for path in (args.label, args.public_key, args.code_file) if path]
    return {"gateway": identity["gateway"], "name": identity["name"], "id": identity["id"], "files": written}


# Before anything is changed: what can be known on this computer.


def _given(args) -> Given:
    if args.again or args.rotate:
        _check_files(args)
        if args.rotate and not args.hub:
            raise SettingsError("name the hub, which must know the next key: --hub DIR, or --hub URL --token-file FILE")
        return Given(None, {}, {}, {}, {})
    if not args.hub and not args.hub_key:
        raise SettingsError("name the hub: --hub DIR, --hub URL --token-file FILE, or --hub-key FILE with --broker URL")
    if args.name is not None:
        check_gateway_name(args.name)
    folder = Path(args.hub) if args.hub and not hub_client.is_address(args.hub) else None
    if folder:
        existing(folder)
    settings = read_file(args.settings) if args.settings else {}
    ca = {"tls": "on", "ca": certificates.read(args.broker_ca)} if args.broker_ca else {}
    section = settings.get("broker", {})
    broker = {**(section if isinstance(section, dict) else {}), **_typed_broker(args), **ca}
    # What the hub will add is not known yet: a certificate may come with it, so TLS without one is judged later.
    trial = {**settings, "broker": section if not isinstance(section, dict) else {**broker, "tls": "off"}}
    check_whole(trial, own_profiles=True)
    _check_files(args)
    if not args.no_code:
        output.check()
    return Given(folder, settings, ca, broker, _wifi(args))


def _check_files(args) -> None:
    if args.label:
        label.check(args.label, args.name or "", args.place)
    for path in (args.label, args.public_key, args.code_file):
        if path:
            files.check_target(path)


def _wifi(args) -> dict[str, str]:
    if not args.wifi:
        return {}
    password = os.environ.get("PARKGATE_WIFI_PASSWORD")
    if password is None:
        try:
            password = getpass.getpass(f"password of {args.wifi!r} (empty for none): ")
        except EOFError:
            raise SettingsError("no password was given: type it, or set PARKGATE_WIFI_PASSWORD") from None
    network = {"ssid": args.wifi, "password": password}
    validate({"network": network})
    return network


def _typed_broker(args) -> dict[str, Any]:
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


def _place(parts) -> dict[str, Any]:
    tls = parts.scheme == "mqtts"
    try:
        port = parts.port or (8883 if tls else 1883)
    except ValueError:
        raise SettingsError("the broker's port must be a number from 1 to 65535") from None
    return {"host": parts.hostname, "port": port, "tls": "on" if tls else "off"}


# What the gateway and the hub say, still with nothing changed; then the changes, each of which may be done again.


def _provision(args, given: Given, link: Link) -> int:
    identity, current = link.facts("identity"), active(link)
    journal = link.facts("journal status")
    signed = journal["sampled"] != "0" or journal["next_batch"] != "0"
    name = _name(args, given, identity)
    hub = _ask_hub(args, given, bytes.fromhex(identity["public_key"]), name)
    # A key that the hub knows, or the file for it has, was made by a run of this command that was cut off: it stays.
    new_key = not signed and not hub.known and not _is_written(args.public_key, identity["public_key"])
    commands = changes(current, _wanted(given, hub, current, identity, name))
    if args.label:
        label.check(args.label, name, args.place)
    if commands:
        stage(link, commands)  # the gateway checks them; nothing changes before commit
    try:
        if signed:
            print("the gateway has already signed with its key, so the key is kept")
        if new_key:
            identity = _new_key(link, int(journal["boot"]))
            name = _name(args, given, identity)
            if f"settings set gateway.name {name}" not in commands and name != current["gateway"]["name"]:
                link.ask(f"settings set gateway.name {name}")  # a name after the id, which is another one now
        if args.public_key:
            files.write(args.public_key, identity["public_key"] + "\n")
        _write_label(args, identity["gateway"], name)
        _enrol(args, given, bytes.fromhex(identity["public_key"]), name, next_key(link))
    except BaseException:
        if commands:
            discard(link)
        raise
    if commands:
        commit(link)
    _show_identity(args, identity["gateway"], name)
    _set_code(args, link, identity)
    period_s = _period(given, current)
    print(f"provisioned; a batch is sealed every {period_s} s; once the hub accepts the first, the settings stay")
    return 0


def _new_key(link: Link, boot: int) -> dict[str, str]:
    """Have a key made with entropy of this computer too; who the gateway is then. What is staged stays staged."""
    link.ask(f"identity new {secrets.token_hex(32)}", 10.0, repeat=False)
    link.wait_restart(boot)
    return link.facts("identity")


def next_key(link: Link) -> str | None:
    """The id of the key that will follow the gateway's own, in hexadecimal; None from firmware that knows no other."""
    try:
        return link.facts(f"identity next {secrets.token_hex(32)}").get("next")
    except GatewayRefused as error:
        if not str(error).startswith("usage"):
            raise
        return None


def _period(given: Given, current: dict[str, Any]) -> int:
    return validate({"sealing": (given.settings or current).get("sealing", {})})["sealing"]["period_s"]


def _name(args, given: Given, identity: dict[str, str]) -> str:
    section = given.settings.get("gateway", {})
    name = args.name or section.get("name") or identity["name"]
    if name == "gateway":
        name = "gateway-" + identity["gateway"][:6]
    return check_gateway_name(name)


def _wanted(given: Given, hub: Hub, current: dict[str, Any], identity: dict[str, str], name: str) -> dict[str, Any]:
    """The settings that the gateway shall have. Raises SettingsError."""
    wanted = given.settings or current
    of_hub: dict[str, Any] = {"public_key": hub.xy.hex()}
    if hub.root[0] or "root" in current["hub"]:  # an older gateway knows no root
        of_hub |= {"root": hub.root[0], "root_serial": hub.root[1]}
    wanted = {**wanted, "hub": of_hub, "gateway": {**wanted.get("gateway", {}), "name": name}}
    wanted["broker"] = {**current["broker"], **hub.broker, **given.broker}
    if wanted["broker"]["tls"] == "on" and not wanted["broker"]["ca"]:
        raise SettingsError("TLS to the broker needs --broker-ca FILE: what the broker's certificate comes from")
    if given.network:
        wanted["network"] = {**wanted.get("network", {}), **given.network}
    host = wanted["broker"]["host"]
    if host in ("0.0.0.0", "::"):
        raise SettingsError(
            f"the hub's broker listens on every address of its computer ({host}), and that is no address to call: name "
            "the broker as the gateway reaches it, --broker mqtt://HOST:PORT"
        )
    if host in hub_client.LOOPBACK and identity["board"] != "unix":
        raise SettingsError(
            f"broker {host} would be the board itself: name the broker as the gateway reaches it, "
            "--broker mqtt://HOST:PORT"
        )
    return wanted


def _is_written(path: Path | None, public_key: str) -> bool:
    if path is None or not path.is_file():
        return False
    with contextlib.suppress(ParkgateError):
        return read_public(str(path)).hex() == public_key
    return False


def _ask_hub(args, given: Given, public_key: bytes, name: str) -> Hub:
    """What the hub says of this gateway and name, with nothing changed there. Raises SettingsError, LinkError."""
    known = read_public(args.hub_key) if args.hub_key else None
    if not args.hub:
        return Hub(known or b"", {}, False)
    if given.folder is None:
        answer = hub_client.enrol(args.hub, _token(args), public_key, name, True, args.place, args.replaces)
        broker = {"host": answer.broker_host, "port": answer.broker_port, "tls": "on" if answer.broker_tls else "off"}
        if answer.broker_tls and answer.broker_ca:
            broker["ca"] = answer.broker_ca
        if answer.broker_account:
            broker["user"], broker["password"] = answer.broker_account
        hub = Hub(answer.hub_xy, broker, answer.known, answer.hub_root)
    else:
        with contextlib.closing(connect(given.folder)) as database:
            checked = exchange.check(database, public_key, name, args.place or None, args.replaces)
        key = hub_key(given.folder, make=False)
        newest = root.check_keys(given.folder, key.xy, None).newest
        of_root = (newest.next_root.hex(), newest.serial) if newest else ("", 0)
        hub = Hub(key.xy, _broker_of(given.folder, key, checked.gateway_id.hex()[:32]), checked.known, of_root)
    if known not in (None, hub.xy):
        raise SettingsError("the hub has another public key than --hub-key says: is that the right hub?")
    return hub


def _enrol(args, given: Given, public_key: bytes, name: str, next_id: str | None) -> None:
    """Have the hub take it; twice does no harm."""
    if given.folder is not None:
        with contextlib.closing(connect(given.folder)) as database:
            following = bytes.fromhex(next_id) if next_id else None
            exchange.enrol(database, public_key, name, None, args.place or None, args.replaces, following)
    elif args.hub:
        hub_client.enrol(args.hub, _token(args), public_key, name, False, args.place, args.replaces, next_id)


def _token(args) -> str | None:
    return args.token or secret("the operator's token", args.token_file, "PARKGATE_TOKEN")


def _broker_of(folder: Path, key: HubKey, topic: str) -> dict[str, Any]:
    # The hub's own name at the broker is not the gateway's: only the place is taken, and the gateway's own account.
    path = folder / "hub.json"
    if not path.exists():
        return {}
    try:
        about = json.loads(files.read_text(path))
        place = _place(urlsplit(about["broker"]))
        if about.get("broker_ca"):
            place["ca"] = str(about["broker_ca"])
        if about.get("accounts") is True:
            place["user"], place["password"] = topic, key.broker_password(topic)
        return place
    except (ValueError, KeyError, TypeError):
        raise FormatError(f"{path} is damaged: start the hub again, it writes it") from None


# The next key.


def _rotate(args, link: Link) -> int:
    identity, next_id = link.facts("identity"), next_key(link)
    if next_id is None:
        raise SettingsError("this gateway's firmware knows no next key: write a newer one first (`parkgate flash`)")
    _commit_at_hub(args, bytes.fromhex(identity["public_key"]), next_id)
    boot = link.boot()
    link.ask(f"identity rotate {secrets.token_hex(32)}", 120.0, repeat=False)
    link.wait_restart(boot)
    now = link.facts("identity")
    if now["id"] != identity["id"] or now["public_key"] == identity["public_key"]:
        raise SettingsError("the gateway came back with its old key: see its log, and run the same command again")
    print(f"{identity['name']} signs with its next key now; its id stays {identity['id']}")
    print("the hub takes the new key with the last batch of the old one; until then readings wait in the gateway")
    return 0


def _commit_at_hub(args, public_key: bytes, next_id: str) -> None:
    """The hub knows this gateway, and the key that follows: without that it would refuse the new key."""
    unknown = SettingsError("this hub does not know the gateway: provision it first")
    if hub_client.is_address(args.hub):
        if not hub_client.enrol(args.hub, _token(args), public_key, "", True).known:
            raise unknown
        hub_client.enrol(args.hub, _token(args), public_key, "", next_key=next_id)
        return
    with contextlib.closing(connect(existing(Path(args.hub)))) as database:
        if not exchange.check(database, public_key, None).known:
            raise unknown
        exchange.enrol(database, public_key, None, next_id=bytes.fromhex(next_id))


# The label and the code.


def _again(args, link: Link) -> int:
    identity = link.facts("identity")
    if identity["hub"] == "none":
        raise SettingsError("this gateway was not provisioned yet: the same command without --again, and with --hub")
    if args.label:
        label.check(args.label, identity["name"], args.place)
    needs_code = identity["code"] != "set" and not args.no_code
    if needs_code:
        output.check()
    _write_label(args, identity["gateway"], identity["name"])
    _show_identity(args, identity["gateway"], identity["name"])
    _set_code(args, link, identity)
    if not needs_code and not args.no_code:
        print("its console already has a code, which is kept; parkgate console --code CODE code NEW sets another")
    return 0


def _write_label(args, gateway: str, name: str) -> None:
    if args.label:
        files.write(args.label, label.content(args.label, gateway, name, args.place))


def _show_identity(args, gateway: str, name: str) -> None:
    columns = shutil.get_terminal_size((100, 24)).columns
    for line in label.terminal_lines(label.qr_text(gateway, name), output.can_write("█▀▄"), columns):
        print(line)
    print(f"{name}\n{gateway}")
    if args.label:
        print(f"label written to {args.label}")


def _set_code(args, link: Link, identity: dict[str, str]) -> None:
    """A code for the console. It is shown while it is on trial on the gateway, and locks only when it was shown: a run
    that is cut in between leaves the console open, and the next one shows another."""
    if args.no_code or identity["code"] == "set":
        return
    code = "".join(secrets.choice(_CODE_LETTERS) for _ in range(_CODE_LENGTH))
    with_trial = True
    try:
        link.ask(f"code try {code}", 10.0)
    except GatewayRefused as error:
        if not str(error).startswith("usage"):
            raise
        with_trial = False  # firmware that knows no trial: shown first all the same
    if args.code_file:
        files.write(args.code_file, code + "\n", 0o600)
    output.secret(f"code of its console, shown only now: {code}")
    link.ask("code keep" if with_trial else f"code {code}", 10.0, repeat=with_trial)
