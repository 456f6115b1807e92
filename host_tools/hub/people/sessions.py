"""Who is signed in at the hub's page. A session is a random token in a cookie; the hub keeps its SHA-256, in memory and
in a file, so that a restart of the hub signs nobody out.

A session ends IDLE_MS after it was used last, and LIFE_MS after it began. Each has a second token that its own page
sends with every change (CSRF): a page elsewhere cannot know it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import secrets
import threading
import time
from pathlib import Path
from typing import NamedTuple

from host_tools.base import files

log = logging.getLogger("parkgate.hub")

FILE = "sessions.json"
COOKIE = "parkgate"
IDLE_MS, LIFE_MS = 12 * 3_600_000, 7 * 86_400_000
SESSIONS_MAX = 2000
KEEP_MS = 15 * 60_000  # how often the time of use is written


class Session(NamedTuple):
    """One person signed in. `csrf` is what changes must carry."""

    account: str
    csrf: str
    begun_unix_ms: int
    used_unix_ms: int


class Sessions:
    """The sessions of one hub."""

    def __init__(self, data_dir):
        self._path = Path(data_dir) / FILE
        self._lock = threading.Lock()
        self._open: dict[str, Session] = self._load()
        self._kept_ms = 0

    def _load(self) -> dict[str, Session]:
        if not self._path.exists():
            return {}
        try:
            return {key: Session(*fields) for key, fields in json.loads(files.read_text(self._path)).items()}
        except (ValueError, TypeError, AttributeError, RecursionError, files.FileTrouble) as error:
            log.warning("everybody has to sign in again: %s cannot be read (%s)", self._path, error)
            return {}

    def begin(self, account: str, now_ms: int | None = None) -> tuple[str, Session]:
        """(token for the cookie, session) of somebody who has just signed in."""
        now_ms = _now() if now_ms is None else now_ms
        token = secrets.token_urlsafe(32)
        session = Session(account, secrets.token_urlsafe(24), now_ms, now_ms)
        with self._lock:
            self._forget_old(now_ms)
            self._open[_hash(token)] = session
            self._keep(now_ms)
        return token, session

    def find(self, token: str, now_ms: int | None = None) -> Session | None:
        """The session of this token, None where there is none or it is over."""
        now_ms = _now() if now_ms is None else now_ms
        key = _hash(token)
        with self._lock:
            session = self._open.get(key)
            if session is None or not _lives(session, now_ms):
                return None
            self._open[key] = session._replace(used_unix_ms=now_ms)
            if not 0 <= now_ms - self._kept_ms < KEEP_MS:
                self._keep(now_ms)
            return session

    def end(self, token: str) -> None:
        """Sign out."""
        with self._lock:
            if self._open.pop(_hash(token), None) is not None:
                self._keep(_now())

    def _forget_old(self, now_ms: int) -> None:
        self._open = {key: session for key, session in self._open.items() if _lives(session, now_ms)}
        while len(self._open) >= SESSIONS_MAX:
            del self._open[min(self._open, key=lambda key: self._open[key].used_unix_ms)]

    def _keep(self, now_ms: int) -> None:
        self._kept_ms = now_ms
        try:
            files.write(self._path, json.dumps({key: list(each) for key, each in self._open.items()}), 0o600)
        except files.FileTrouble as error:
            log.warning("a restart of the hub will sign people out: %s", error)


def same(a: str, b: str) -> bool:
    """Whether two tokens are the same, in a time that says nothing of where they differ."""
    return hmac.compare_digest(a.encode(), b.encode())


def _lives(session: Session, now_ms: int) -> bool:
    return now_ms - session.used_unix_ms < IDLE_MS and now_ms - session.begun_unix_ms < LIFE_MS


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode(errors="surrogateescape")).hexdigest()


def _now() -> int:
    return time.time_ns() // 1_000_000
