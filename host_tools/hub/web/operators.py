"""Who may enrol gateways over HTTP: operators with a token each. A file beside the database, read at each question.

A token is 32 random bytes, shown once; the file has its SHA-256 (there is nothing to guess, so nothing to slow down)
and who it is. A question is compared with every hash on file in constant time.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable
from pathlib import Path

from host_tools.base import files
from parkgate.errors import SettingsError

FILE = "operators.json"
PREFIX = "pgop_"  # so that whoever finds one knows what it is
NAME_LENGTH_MAX = 64


def load(data_dir: Path) -> dict[str, dict]:
    """name → {"sha256": hex, "made_unix_ms": …}. Raises SettingsError when the file is damaged, FileTrouble."""
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


def add(data_dir: Path, name: str, show: Callable[[str], None] = lambda _token: None) -> str:
    """A token for a new operator. `show` is called with it before it is good: what that raises leaves all as it was.
    Raises SettingsError when the name is taken or cannot be one, FileTrouble."""
    if not name.strip() or len(name) > NAME_LENGTH_MAX or not name.isprintable():
        raise SettingsError(f"a name is 1 to {NAME_LENGTH_MAX} printable characters")
    operators = load(data_dir)
    if name in operators:
        raise SettingsError(f"there is an operator {name!r}; remove that one first for a new token")
    files.check_target(Path(data_dir) / FILE)
    token = PREFIX + secrets.token_urlsafe(32)
    show(token)
    operators[name] = {"sha256": _hash(token).hex(), "made_unix_ms": int(time.time() * 1000)}
    _store(data_dir, operators)
    return token


def remove(data_dir: Path, name: str) -> None:
    """Take nothing more from this operator. Raises SettingsError."""
    operators = load(data_dir)
    if name not in operators:
        raise SettingsError(f"there is no operator {name!r}; there are {', '.join(operators) or 'none'}")
    del operators[name]
    _store(data_dir, operators)


def who(data_dir: Path, token: str) -> str | None:
    """The operator with this token, None when there is none."""
    wanted = _hash(token)
    found = None
    for name, entry in load(data_dir).items():
        if hmac.compare_digest(bytes.fromhex(entry["sha256"]), wanted):
            found = name
    return found


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="surrogateescape")).digest()
