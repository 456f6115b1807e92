"""People with an account at the hub's page. A file beside the database, read again when it has changed.

A password is kept as its argon2id hash (RFC 9106, by argon2-cffi). Roles:

    operator     sees all, acknowledges alarms
    technician   sees all but money, acknowledges alarms
    auditor      sees all and changes nothing
    tenant       sees what belongs to his places, and nothing else
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from host_tools.base import files
from parkgate.errors import SettingsError

FILE = "accounts.json"
NAME_LENGTH_MAX = 64
PASSWORD_LENGTH_MIN, PASSWORD_LENGTH_MAX = 10, 256
ACCOUNTS_MAX = 1000
OPERATOR, TECHNICIAN, AUDITOR, TENANT = "operator", "technician", "auditor", "tenant"
ROLES = (OPERATOR, TECHNICIAN, AUDITOR, TENANT)


class Account(NamedTuple):
    """One account. `places` are ids of places in hexadecimal digits, for a tenant. Sessions that were made before
    `since_unix_ms` are over: a new password or role ends them."""

    name: str
    role: str
    hash: str
    places: tuple[str, ...]
    made_unix_ms: int
    since_unix_ms: int


class Accounts:
    """The accounts of one hub, for its page: read at need, checked against the file's own time at each question."""

    def __init__(self, data_dir):
        self._path = Path(data_dir) / FILE
        self._lock = threading.Lock()
        self._stamp: tuple | None = None
        self._known: dict[str, Account] = {}

    def all(self) -> dict[str, Account]:
        """Name → account. Raises SettingsError, FileTrouble: then nobody may in."""
        with self._lock:
            try:
                found = self._path.stat()
                stamp = found.st_mtime_ns, found.st_size, found.st_ino
            except FileNotFoundError:
                stamp = None
            if stamp != self._stamp or stamp is None:
                self._known = load(self._path.parent)
                self._stamp = stamp
            return self._known


def load(data_dir) -> dict[str, Account]:
    """Name → account. Raises SettingsError when the file is damaged, FileTrouble."""
    path = Path(data_dir) / FILE
    if not path.exists():
        return {}
    try:
        found = {name: _account(name, fields) for name, fields in json.loads(files.read_text(path)).items()}
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        raise SettingsError(f"{path} is damaged: take it from a backup, or remove it and make new accounts") from None
    return found


def _account(name: str, fields: dict) -> Account:
    account = Account(
        name, fields["role"], fields["hash"], tuple(fields["places"]), fields["made_unix_ms"], fields["since_unix_ms"]
    )
    if account.role not in ROLES or not all(isinstance(text, str) for text in (account.hash, *account.places)):
        raise ValueError("not an account")
    return account


def _store(data_dir, accounts: dict[str, Account]) -> None:
    document = {}
    for name, account in accounts.items():
        document[name] = {key: value for key, value in account._asdict().items() if key != "name"}
    files.write(Path(data_dir) / FILE, json.dumps(document, indent=1), 0o600)


def add(data_dir, name: str, role: str, password: str, places: Sequence[str] = ()) -> Account:
    """A new account. Raises SettingsError when one has that name, or something cannot be, FileTrouble."""
    if not name.strip() or name != name.strip() or len(name) > NAME_LENGTH_MAX or not name.isprintable():
        raise SettingsError(f"a name is 1 to {NAME_LENGTH_MAX} printable characters, without blanks around it")
    if role not in ROLES:
        raise SettingsError(f"a role is one of {', '.join(ROLES)}")
    if (role == TENANT) != bool(places):
        raise SettingsError("a tenant has places (--place), and nobody else has: the others see all")
    accounts = load(data_dir)
    alike = next((each for each in accounts if each.casefold() == name.casefold()), None)
    if alike is not None:
        raise SettingsError(f"there is an account {alike!r} already")
    if len(accounts) >= ACCOUNTS_MAX:
        raise SettingsError(f"there are {ACCOUNTS_MAX} accounts already: remove one first")
    now = _now()
    account = Account(name, role, hash_of(password), tuple(places), now, now)
    _store(data_dir, {**accounts, name: account})
    return account


def remove(data_dir, name: str) -> Account:
    """Nobody signs in by this name any more. Raises SettingsError, FileTrouble."""
    accounts = load(data_dir)
    account = one(accounts, name)
    del accounts[name]
    _store(data_dir, accounts)
    return account


def set_password(data_dir, name: str, password: str) -> Account:
    """Another password; who is signed in by the old one is not any more. Raises SettingsError, FileTrouble."""
    accounts = load(data_dir)
    account = one(accounts, name)._replace(hash=hash_of(password), since_unix_ms=_now())
    _store(data_dir, {**accounts, name: account})
    return account


def one(accounts: dict[str, Account], name: str) -> Account:
    if name not in accounts:
        raise SettingsError(f"there is no account {name!r}; there are {', '.join(accounts) or 'none'}")
    return accounts[name]


def hash_of(password: str) -> str:
    """Raises SettingsError where this cannot be a password."""
    if not PASSWORD_LENGTH_MIN <= len(password) <= PASSWORD_LENGTH_MAX:
        raise SettingsError(f"a password has {PASSWORD_LENGTH_MIN} to {PASSWORD_LENGTH_MAX} characters")
    return _hasher().hash(password)


_NOBODY: list[str] = []


def is_right(account: Account | None, password: str) -> bool:
    """Whether this is the account's password. It takes the same time where there is no such account."""
    from argon2.exceptions import InvalidHashError, VerificationError

    if not _NOBODY:
        _NOBODY.append(_hasher().hash("nobody's"))
    try:
        right = _hasher().verify(_NOBODY[0] if account is None else account.hash, password[:PASSWORD_LENGTH_MAX])
    except (VerificationError, InvalidHashError):
        return False
    return right and account is not None


def _hasher():
    from argon2 import PasswordHasher

    return PasswordHasher()


def _now() -> int:
    return time.time_ns() // 1_000_000
