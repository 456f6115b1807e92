"""`parkgate account`: people who sign in at the hub's page.

    parkgate account add sok --role operator --data DIR            asks for the password, or takes --password-file
    parkgate account add dara --role tenant --place "Hall 3" --data DIR
    parkgate account list --data DIR
    parkgate account password sok --data DIR                       a new one; ends the sessions of the old one
    parkgate account remove sok --data DIR

Roles: an operator sees all and acknowledges alarms; a technician the same without bills and exports; an auditor sees
all and changes nothing; a tenant sees what belongs to his places. As soon as there is one account, everybody signs in.
A running hub notices at once. The signed log records each change.
"""

from __future__ import annotations

import argparse
import contextlib
import getpass
import sys
from collections.abc import Iterator
from pathlib import Path

from host_tools.base import files, output
from host_tools.base.secret import secret
from host_tools.hub.people import accounts
from host_tools.hub.stores import places
from host_tools.hub.stores.gateways import whoami
from host_tools.hub.stores.store import connect, existing
from host_tools.log import record
from parkgate.errors import SettingsError
from parkgate.log import statement


def add_parser(subparsers) -> None:
    """Arguments of `parkgate account`."""
    parser = subparsers.add_parser(
        "account", help="people who sign in at the hub's page", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("action", choices=("add", "list", "password", "remove"))
    parser.add_argument("name", nargs="?", help="of the account")
    parser.add_argument("--data", required=True, type=Path, metavar="DIR", help="data directory of the hub")
    parser.add_argument("--role", choices=accounts.ROLES, help="for add")
    parser.add_argument("--place", action="append", default=[], metavar="NAME|ID", help="of a tenant; may be repeated")
    parser.add_argument(
        "--password-file", metavar="FILE",
        help="a file whose first line is the password (or set PARKGATE_PASSWORD); without it you are asked",
    )  # fmt: skip
    output.add_json(parser)


def run(args) -> int:
    """Raises SettingsError, StoreError, LogError, FileTrouble."""
    folder = existing(args.data)
    if (args.action == "list") != (args.name is None):
        raise SettingsError(f"account {args.action} {'takes no name' if args.action == 'list' else 'wants a name'}")
    if args.action != "add" and (args.role or args.place):
        raise SettingsError("--role and --place are for add")
    with contextlib.closing(connect(folder)) as db:
        verbs = {"add": _add, "list": _list, "password": _password, "remove": _remove}
        return verbs[args.action](args, db, folder)


def _list(args, db, folder) -> int:
    names = {place.id.hex(): place.name for place in places.listed(db)}
    found = [
        {"name": each.name, "role": each.role, "made_unix_ms": each.made_unix_ms,
         "places": [{"id": place, "name": names.get(place)} for place in each.places]}
        for each in accounts.load(folder).values()
    ]  # fmt: skip
    lines = []
    for each in found:
        where = ", ".join(place["name"] or place["id"] for place in each["places"])
        lines.append(f"{each['name']:24} {each['role']}{f' of {where}' if where else ''}")
    output.show(args, {"accounts": found}, lines or ["there is no account: the page is open to this computer alone"])
    return 0


def _add(args, db, folder) -> int:
    if args.role is None:
        raise SettingsError(f"account add: --role is one of {', '.join(accounts.ROLES)}")
    own = [places.find(db, name).id for name in args.place]
    password = _ask_password(args)
    with _logged(db, folder) as leaves:
        made = accounts.add(folder, args.name, args.role, password, [place.hex() for place in own])
        _say(leaves, statement.ACCOUNT_ADDED, {"account": made.name, "role": made.role, "places": own})
    output.show(args, {"account": made.name, "role": made.role}, [f"{made.name} may sign in as {made.role}"])
    return 0


def _password(args, db, folder) -> int:
    accounts.one(accounts.load(folder), args.name)
    password = _ask_password(args)
    with _logged(db, folder) as leaves:
        changed = accounts.set_password(folder, args.name, password)
        _say(leaves, statement.ACCOUNT_CHANGED, {"account": changed.name, "what": "password"})
    output.show(args, {"account": changed.name, "role": changed.role}, [f"{changed.name} has a new password"])
    return 0


def _remove(args, db, folder) -> int:
    with _logged(db, folder) as leaves:
        gone = accounts.remove(folder, args.name)
        own = [bytes.fromhex(place) for place in gone.places]
        _say(leaves, statement.ACCOUNT_REMOVED, {"account": gone.name, "role": gone.role, "places": own})
    lines = [f"{gone.name} may not sign in any more"]
    if not accounts.load(folder):
        lines.append("there is no account left: the page of a hub on loopback is open to this computer")
    output.show(args, {"removed": gone.name}, lines)
    return 0


def _ask_password(args) -> str:
    found = secret("the password", args.password_file, "PARKGATE_PASSWORD")
    if found is not None:
        return found
    if not sys.stdin.isatty():
        raise SettingsError("nobody is here to type the password: --password-file FILE or PARKGATE_PASSWORD gives it")
    found = getpass.getpass(f"password ({accounts.PASSWORD_LENGTH_MIN} characters or more): ")
    if getpass.getpass("again: ") != found:
        raise SettingsError("these are two different passwords: nothing was changed")
    return found


@contextlib.contextmanager
def _logged(db, folder) -> Iterator[record.Recorder]:
    """The log says what happens to an account, or nothing happens: neither is there without the other."""
    with files.undoing(folder / accounts.FILE), record.recording(db) as leaves:
        yield leaves


def _say(leaves: record.Recorder, kind: str, facts: dict) -> None:
    leaves.statement(kind, facts, whoami(), record.now_unix_ms())
