"""Programs at the hub's HTTP: operators with a token each, to enrol gateways or to read. A file beside the database,
read at each question.

A token is 32 random bytes, shown once; the file has its SHA-256 (there is nothing to guess, so nothing to slow down),
who it is, until when it is good, and what for. A question is compared with every hash on file in constant time.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from host_tools.base import files
from parkgate.errors import SettingsError

FILE = "operators.json"
PREFIX = "pgop_"  # so that whoever finds one knows what it is
NAME_LENGTH_MAX = 64
DAYS, DAYS_MAX = 90, 366
DAY_MS = 86_400_000
ENROL, RENAME, READ = "enrol", "rename", "read"
# New gateways, and known ones by their name; known ones by another name; all that an auditor may read (people/door).
SCOPES = (ENROL, RENAME, READ)


class Operator(NamedTuple):
    """Whose token it is, and what it is for."""

    name: str
    scopes: tuple[str, ...]

    def may(self, scope: str) -> bool:
        return scope in self.scopes


def load(data_dir: Path) -> dict[str, dict]:
    """name → {"sha256": hex, "made_unix_ms": …, "until_unix_ms": …, "may": […]}. Raises SettingsError when the file is
    damaged, FileTrouble."""
    path = Path(data_dir) / FILE
    if not path.exists():
        return {}
    text = files.read_text(path)
    try:
        found = json.loads(text)
        if not all(isinstance(entry["sha256"], str) for entry in found.values()):
            raise ValueError("an entry has no hash")
        return found
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        raise SettingsError(f"{path} is damaged: take it from a backup, or remove it and make new tokens") from None


def _store(data_dir: Path, operators: dict[str, dict]) -> None:
    files.write(Path(data_dir) / FILE, json.dumps(operators, indent=1), 0o600)


def add(
    data_dir: Path,
    name: str,
    show: Callable[[str], None] = lambda _token: None,
    days: int = DAYS,
    scopes: Sequence[str] = (ENROL,),
) -> str:
    """A token for a new operator, good for so many days and for `scopes` of SCOPES. `show` is called with it before it
    is good: what that raises leaves all as it was. Raises SettingsError when the name is taken or cannot be one, or
    the rest is not possible, FileTrouble."""
    if not name.strip() or len(name) > NAME_LENGTH_MAX or not name.isprintable():
        raise SettingsError(f"a name is 1 to {NAME_LENGTH_MAX} printable characters")
    if not 1 <= days <= DAYS_MAX:
        raise SettingsError(f"a token is good for 1 to {DAYS_MAX} days, not {days}")
    if not scopes or any(scope not in SCOPES for scope in scopes):
        raise SettingsError(f"a token is for one or more of {', '.join(SCOPES)}")
    operators = load(data_dir)
    if name in operators:
        raise SettingsError(f"there is an operator {name!r}; remove that one first for a new token")
    files.check_target(Path(data_dir) / FILE)
    token = PREFIX + secrets.token_urlsafe(32)
    show(token)
    now_unix_ms = int(time.time() * 1000)
    operators[name] = {
        "sha256": _hash(token).hex(), "made_unix_ms": now_unix_ms, "until_unix_ms": now_unix_ms + days * DAY_MS,
        "may": sorted(set(scopes)),
    }  # fmt: skip
    _store(data_dir, operators)
    return token


def remove(data_dir: Path, name: str) -> None:
    """Take nothing more from this operator. Raises SettingsError."""
    operators = load(data_dir)
    if name not in operators:
        raise SettingsError(f"there is no operator {name!r}; there are {', '.join(operators) or 'none'}")
    del operators[name]
    _store(data_dir, operators)


def who(data_dir: Path, token: str, now_unix_ms: int | None = None) -> Operator | None:
    """The operator with this token, None when there is none or it is good no longer."""
    now_unix_ms = int(time.time() * 1000) if now_unix_ms is None else now_unix_ms
    wanted = _hash(token)
    found = None
    for name, entry in load(data_dir).items():
        if hmac.compare_digest(bytes.fromhex(entry["sha256"]), wanted) and now_unix_ms < until(entry):
            found = Operator(name, tuple(entry.get("may", (ENROL,))))
    return found


def until(entry: dict) -> int:
    """Until when a token is good; one from before tokens ended ends DAYS after it was made."""
    return int(entry.get("until_unix_ms", entry.get("made_unix_ms", 0) + DAYS * DAY_MS))


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="surrogateescape")).digest()
