"""Sign in and out at the hub's page, and a new password.

POST /api/login        {"name", "password"}: 200 and a cookie, 401, 429 with Retry-After, 503
POST /api/logout       ends this session
POST /api/password     {"old", "new"}: 200; every session of the account ends but a new one
GET  /api/me           who is signed in, what he may, and the token that his changes must carry
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import math
import time
from collections import OrderedDict

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from host_tools.base import files
from host_tools.hub.people import accounts, sessions
from host_tools.hub.people.door import Door, is_foreign, visitor_of
from host_tools.hub.people.register import Limit
from host_tools.hub.people.rights import RIGHTS
from host_tools.hub.stores.store import connect
from host_tools.log import record
from host_tools.log.database.seam import DatabaseError
from parkgate.errors import ParkgateError, SettingsError
from parkgate.log import statement

log = logging.getLogger("parkgate.hub")

BODY_BYTES_MAX = 4096
FAILURES_MAX, FAILURES_S = 10, 900.0  # wrong passwords of one account: then one try in SLOW_S
SLOW_S = 60.0
ACCOUNTS_REMEMBERED = 1024
WAITING_MAX = 8  # a check of a password takes 64 MiB: one at a time, and so many wait


class Slowed:
    """Wrong passwords of each name that was tried, from any address."""

    def __init__(self, now_s=time.monotonic):
        self._now_s = now_s
        self._failures: OrderedDict[str, list[float]] = OrderedDict()

    def wait_s(self, name: str) -> float:
        """How long to wait before the next try; 0 when it may be now."""
        now = self._now_s()
        times = [each for each in self._failures.get(name, ()) if each > now - FAILURES_S]
        return max(0.0, times[-1] + SLOW_S - now) if len(times) >= FAILURES_MAX else 0.0

    def failed(self, name: str) -> bool:
        """Count a wrong password. True when the account is slowed from now on."""
        now = self._now_s()
        times = [each for each in self._failures.pop(name, []) if each > now - FAILURES_S]
        self._failures[name] = [*times[-FAILURES_MAX:], now]
        while len(self._failures) > ACCOUNTS_REMEMBERED:
            self._failures.popitem(last=False)
        return len(times) + 1 == FAILURES_MAX

    def right(self, name: str) -> None:
        self._failures.pop(name, None)


class PeoplePages:
    """What each address answers."""

    def __init__(self, door: Door):
        self.door = door
        self.limit = Limit()
        self.slowed = Slowed()
        self._checking = asyncio.Lock()
        self._waiting = 0

    def routes(self) -> list[Route]:
        return [
            Route("/api/login", self.login, methods=["POST"]),
            Route("/api/logout", self.logout, methods=["POST"]),
            Route("/api/password", self.password, methods=["POST"]),
            Route("/api/me", self.me),
        ]

    async def me(self, request: Request) -> Response:
        visitor = visitor_of(request)
        may = sorted({path for (_, path), right in RIGHTS.items() if right.changes and visitor.role in right.roles})
        document = {
            "name": visitor.name,
            "role": visitor.role,
            "signed_in": visitor.session is not None,
            "csrf": visitor.csrf,
            "may_acknowledge": any(path.endswith("/acknowledge") for path in may),
        }
        return JSONResponse(document, headers={"Cache-Control": "no-store"})

    async def login(self, request: Request) -> Response:
        address = request.client.host if request.client else ""
        wait_s = self.limit.wait_s(address)
        if wait_s:
            return _wait(wait_s)
        if is_foreign(request):
            return _refuse(403, "sign in at the hub's own page")
        given = await _body(request, "name", "password")
        if given is None:
            return _refuse(400, 'the body is JSON: {"name": …, "password": …}')
        name, password = given
        wait_s = self.slowed.wait_s(name)
        if wait_s:
            return _wait(wait_s)
        try:
            account = self.door.accounts.all().get(name)
        except ParkgateError as error:
            log.error("nobody can sign in: %s", error)
            return _refuse(500, "the hub cannot read its list of accounts")
        right = await self._is_right(account, password)
        if right is None:
            return _refuse(503, "too many people sign in at once", {"Retry-After": "2"})
        if not right or account is None:
            if self.slowed.failed(name) and account is not None:
                await run_in_threadpool(self._say, statement.SIGN_IN_SLOWED, name, None, {"address": address})
            return _refuse(401, "there is no such account, or the password is wrong")
        self.slowed.right(name)
        await run_in_threadpool(self._say, statement.SIGNED_IN, name, f"account {name}", {"address": address})
        return self._begin(request, name, {"name": name, "role": account.role})

    async def logout(self, request: Request) -> Response:
        visitor = visitor_of(request)
        if visitor.session is not None:
            await run_in_threadpool(self.door.sessions.end, visitor.session)
        answer = JSONResponse({"signed_in": False})
        answer.delete_cookie(sessions.COOKIE, path=_path(request))
        return answer

    async def password(self, request: Request) -> Response:
        visitor = visitor_of(request)
        given = await _body(request, "old", "new")
        if given is None:
            return _refuse(400, 'the body is JSON: {"old": …, "new": …}')
        account = self.door.accounts.all().get(visitor.name)
        if visitor.session is None or account is None:
            return _refuse(409, "nobody is signed in: there is no password to change")
        wait_s = self.slowed.wait_s(visitor.name)
        if wait_s:
            return _wait(wait_s)
        right = await self._is_right(account, given[0])
        if right is None:
            return _refuse(503, "too many people sign in at once", {"Retry-After": "2"})
        if not right:
            self.slowed.failed(visitor.name)
            return _refuse(401, "the old password is wrong")
        try:
            await run_in_threadpool(accounts.set_password, self.door.data_dir, visitor.name, given[1])
        except (SettingsError, files.FileTrouble) as error:
            return _refuse(400, str(error))
        facts = {"what": "password"}
        await run_in_threadpool(self._say, statement.ACCOUNT_CHANGED, visitor.name, visitor.by, facts)
        return self._begin(request, visitor.name, {"changed": "password"})

    async def _is_right(self, account, password: str) -> bool | None:
        """None when too many passwords wait to be checked."""
        if self._waiting >= WAITING_MAX:
            return None
        self._waiting += 1
        try:
            async with self._checking:
                return await run_in_threadpool(accounts.is_right, account, password)
        finally:
            self._waiting -= 1

    def _begin(self, request: Request, name: str, document: dict) -> Response:
        token, _ = self.door.sessions.begin(name)
        answer = JSONResponse(document, headers={"Cache-Control": "no-store"})
        answer.set_cookie(
            sessions.COOKIE, token, max_age=sessions.LIFE_MS // 1000, path=_path(request), httponly=True,
            secure=request.url.scheme == "https", samesite="lax",
        )  # fmt: skip
        return answer

    def _say(self, kind: str, name: str, by: str | None, more: dict) -> None:
        """Write to the signed log who came in. A hub whose log cannot be written lets people look all the same."""
        try:
            with contextlib.closing(connect(self.door.data_dir)) as db, record.recording(db) as leaves:
                leaves.statement(kind, {"account": name, **more}, by, record.now_unix_ms())
        except (ParkgateError, DatabaseError) as error:
            log.error("the log does not say %r of account %s: %s", kind, name, error)


async def _body(request: Request, *names: str) -> tuple[str, ...] | None:
    """The texts of these names in a body of JSON; None where it is not such a body."""
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > BODY_BYTES_MAX:
            return None
    try:
        given = json.loads(data)
        found = tuple(given[name] for name in names)
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return found if all(isinstance(text, str) for text in found) else None


def _path(request: Request) -> str:
    """The path of the cookie: that under which a proxy shows the page."""
    return request.scope.get("parkgate.base_path") or "/"


def _wait(seconds: float) -> Response:
    return _refuse(429, "too many tries: wait a little", {"Retry-After": str(math.ceil(seconds))})


def _refuse(status: int, why: str, headers: dict | None = None) -> Response:
    return JSONResponse({"error": why}, status, headers)
