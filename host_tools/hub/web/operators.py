"""Who may enrol gateways over HTTP: operators with a token each. A file beside the database, read at each question.

A token is 32 random bytes, shown once; the file has its SHA-256 (there is nothing to guess, so nothing to slow down)
and who it is. A question is compared with every hash on file in constant time.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import time
from pathlib import Path

from parkgate.errors import SettingsError

FILE = "operators.json"
PREFIX = "pgop_"  # so that whoever finds one knows what it is
NAME_LENGTH_MAX = 64


def load(data_dir: Path) -> dict[str, dict]:
    """name → {"sha256": hex, "made_unix_ms": …}. Raises SettingsError when the file is damaged."""
    path = Path(data_dir) / FILE
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not all(isinstance(entry["sha256"], str) for entry in found.values()):
            raise ValueError("an entry has no hash")
        return found
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise SettingsError(f"{path}: {error}") from None


def _store(data_dir: Path, operators: dict[str, dict]) -> None:
    path = Path(data_dir) / FILE
    draft = path.with_suffix(f".{os.getpid()}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(operators, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def add(data_dir: Path, name: str) -> str:
    """A token for a new operator. Raises SettingsError when the name is taken or cannot be one."""
    if not name.strip() or len(name) > NAME_LENGTH_MAX or not name.isprintable():
        raise SettingsError(f"a name is 1 to {NAME_LENGTH_MAX} printable characters")
    operators = load(data_dir)
    if name in operators:
        raise SettingsError(f"there is an operator {name!r}; remove that one first for a new token")
    token = PREFIX + secrets.token_urlsafe(32)
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
