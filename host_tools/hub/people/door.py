"""Who asks, and whether he may: the one place that every address of the page passes (`Door.guard`).

Without any account the page of a hub on loopback is open to this computer, as an operator. As soon as there is one
account, everybody signs in. A hub that is reached from elsewhere wants an account before it starts.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import quote, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from host_tools.hub.people import accounts, operators, sessions
from host_tools.hub.people.rights import GATEWAY, PUBLIC, RIGHTS, Right
from host_tools.hub.stores.store import connect
from parkgate.errors import ParkgateError

log = logging.getLogger("parkgate.hub")

VISITOR = "parkgate.visitor"
CSRF_HEADER = "x-csrf-token"


class Visitor(NamedTuple):
    """Who asks. `places` are those of a tenant, None for who sees all. `by` is how the log names him; `session` is what
    his cookie holds."""

    name: str
    role: str
    places: tuple[str, ...] | None
    csrf: str
    by: str
    session: str | None = None


class Unlisted(ParkgateError):
    """An address is served that `rights` does not list."""


class Door:
    """Finds out who the visitor is. `may_be_open`: without any account, all who reach the page may do all."""

    def __init__(self, data_dir, may_be_open: bool = True):
        self.data_dir = data_dir
        self.accounts = accounts.Accounts(data_dir)
        self.sessions = sessions.Sessions(data_dir)
        self._may_be_open = may_be_open
        self._csrf = secrets.token_urlsafe(24)  # of a page that is open

    def guard(self, routes: Iterable[BaseRoute]) -> list[BaseRoute]:
        """The same routes, each behind this door. Raises Unlisted for an address that nobody has thought about."""
        found: list[BaseRoute] = []
        for route in routes:
            if isinstance(route, Mount) and route.path == "/static":
                found.append(route)  # the files of the pages: the same for every hub
                continue
            if not isinstance(route, Route):
                raise Unlisted(f"{route} is no route that the door knows")
            for method in sorted((route.methods or set()) - {"HEAD"}):
                right = RIGHTS.get((method, route.path))
                if right is None:
                    raise Unlisted(f"{method} {route.path} is not in the list of rights")
                found.append(Route(route.path, self._behind(route.endpoint, right), methods=[method]))
        return found

    def _behind(self, endpoint, right: Right):
        async def answer(request: Request) -> Response:
            if PUBLIC not in right.roles:
                refusal = await self._check(request, right)
                if refusal is not None:
                    return refusal
            return await endpoint(request)

        return answer

    async def _check(self, request: Request, right: Right) -> Response | None:
        try:
            visitor = await run_in_threadpool(self.visitor, request)
        except ParkgateError as error:
            log.error("nobody can sign in: %s", error)
            return _refuse(500, "the hub cannot read its list of accounts")
        if visitor is None:
            if right.page:
                after = request.url.path + (f"?{request.url.query}" if request.url.query else "")
                return RedirectResponse(f"login?next={quote(after.lstrip('/'))}", 303)
            return _refuse(401, "sign in first", {"WWW-Authenticate": "Bearer"})
        if visitor.role not in right.roles:
            return _refuse(403, f"this is not for the role {visitor.role}")
        if right.changes and not is_own_page(request, visitor):
            return _refuse(403, "a change needs the token of this page: load it again")
        if right.belongs == GATEWAY and visitor.places is not None:
            wanted = request.path_params.get("id", request.query_params.get("id", ""))
            if not await run_in_threadpool(self.owns, visitor, wanted):
                return _refuse(404, "no such gateway")
        request.scope[VISITOR] = visitor
        return None

    def visitor(self, request: Request) -> Visitor | None:
        """Who asks; None for somebody who has not said it. Raises SettingsError, FileTrouble."""
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            operator = operators.who(self.data_dir, token)
            if operator is None or not operator.may(operators.READ):
                return None
            return Visitor(operator.name, accounts.AUDITOR, None, "", f"operator {operator.name}")
        known = self.accounts.all()
        if not known and self._may_be_open:
            return Visitor("", accounts.OPERATOR, None, self._csrf, "somebody at the hub's page")
        cookie = request.cookies.get(sessions.COOKIE)
        session = self.sessions.find(cookie) if cookie else None
        account = known.get(session.account) if session else None
        if session is None or account is None or session.begun_unix_ms < account.since_unix_ms:
            return None
        own = account.places if account.role == accounts.TENANT else None
        return Visitor(account.name, account.role, own, session.csrf, f"account {account.name}", cookie)

    def owns(self, visitor: Visitor, gateway: str) -> bool:
        """Whether the gateway of this whole id (or name of its topics) belongs to the visitor."""
        return any(gateway.lower() in (each, each[:32]) for each in self.own_gateways(visitor) or ())

    def own_gateways(self, visitor: Visitor) -> set[str] | None:
        """Ids of the gateways that the visitor may see; None: all. A gateway belongs to a tenant when each place where
        it ever stood is his: what it read elsewhere is another's."""
        if visitor.places is None:
            return None
        own = {bytes.fromhex(place) for place in visitor.places}
        stays: dict[bytes, set[bytes]] = {}
        question = "SELECT kid, place.id FROM place_stay JOIN place USING (pl) JOIN gateway USING (gw)"
        with contextlib.closing(connect(self.data_dir, read_only=True)) as db:
            for kid, place in db.execute(question):
                stays.setdefault(kid, set()).add(place)
        return {kid.hex() for kid, places in stays.items() if places <= own}

    async def own(self, request: Request) -> set[str] | None:
        """`own_gateways` of the visitor who asks, for answers that hold only what is his."""
        visitor = visitor_of(request)
        return None if visitor.places is None else await run_in_threadpool(self.own_gateways, visitor)


def visitor_of(request: Request) -> Visitor:
    """Who asks, behind the door."""
    return request.scope[VISITOR]


def is_own_page(request: Request, visitor: Visitor) -> bool:
    """Whether a change comes from the hub's own page: it carries the session's second token, and the browser does not
    say that it comes from elsewhere."""
    sent = request.headers.get(CSRF_HEADER, "")
    return bool(visitor.csrf) and sessions.same(sent, visitor.csrf) and not is_foreign(request)


def is_foreign(request: Request) -> bool:
    """Whether a browser says that this request comes from a page elsewhere."""
    site = request.headers.get("sec-fetch-site", "same-origin")
    origin = request.headers.get("origin")
    same_host = origin is None or urlsplit(origin).netloc == request.headers.get("host", "")
    return site not in ("same-origin", "none") or not same_host


def _refuse(status: int, why: str, headers: dict | None = None) -> Response:
    return JSONResponse({"error": why}, status, headers)
