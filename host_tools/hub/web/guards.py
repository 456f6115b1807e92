"""What stands before every answer: headers that keep the page to itself, hosts that it is asked by, and questions at a
time."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Sequence

from starlette.responses import JSONResponse, RedirectResponse

HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-cache",
}
QUESTIONS_AT_ONCE = 2  # to the database: each may hold some tens of megabytes
QUESTIONS_WAITING = 32


class SafeHeaders:
    """ASGI middleware: the headers that keep the page to itself."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        async def send_with_headers(message):
            if message["type"] == "http.response.start":
                message["headers"] = list(message["headers"]) + [
                    (name.lower().encode(), value.encode()) for name, value in HEADERS.items()
                ]
            await send(message)

        await self.app(scope, receive, send_with_headers if scope["type"] == "http" else send)


class OwnHost:
    """ASGI middleware: answers only requests that name this hub by an address, by `localhost`, by this computer's name
    or by one of `names`. A page elsewhere that points a name of its own here is refused, whatever the hub listens
    on."""

    def __init__(self, app, names: Sequence[str] = ()):
        self.app = app
        self.names = {"localhost", socket.gethostname().lower(), *(name.lower() for name in names)}

    async def __call__(self, scope, receive, send):
        if scope["type"] == "http" and not self.is_ours(_host_of(scope)):
            why = "this hub is not known by that name: `parkgate hub --name NAME` makes it known"
            await JSONResponse({"error": why}, 400)(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def is_ours(self, host: str) -> bool:
        """Whether a request for this host (with or without a port) is one for this hub."""
        name = host_part(host)
        if name.lower().rstrip(".") in self.names:
            return True
        try:
            ipaddress.ip_address(name)
            return True
        except ValueError:
            return False


class BasePath:
    """ASGI middleware: the hub under a path of its own behind a proxy, such as /parkgate. A proxy may leave the path in
    front or take it away; the page's own addresses are relative."""

    def __init__(self, app, path: str):
        """`path` begins with a slash and does not end with one."""
        self.app = app
        self.path = path

    async def __call__(self, scope, receive, send):
        if scope["type"] == "http":
            asked = scope["path"]
            if asked == self.path:  # without the slash at its end, relative addresses would lead beside it
                await RedirectResponse(f"{self.path}/", 308)(scope, receive, send)
                return
            scope = {**scope, "parkgate.base_path": f"{self.path}/"}
            if asked.startswith(f"{self.path}/"):
                scope = {**scope, "path": asked[len(self.path) :], "raw_path": scope["raw_path"][len(self.path) :]}
        await self.app(scope, receive, send)


def host_part(host: str) -> str:
    """The host of HOST[:PORT], without the brackets of an IPv6 address."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if host.count(":") == 1 else host


def _host_of(scope) -> str:
    found = [value for name, value in scope["headers"] if name == b"host"]
    return found[0].decode("latin-1") if len(found) == 1 else ""


class Busy(Exception):
    """Too many questions are waiting."""


class Questions:
    """Lets QUESTIONS_AT_ONCE run and QUESTIONS_WAITING wait; more raise Busy. What many ask at once costs no more
    memory than what two ask."""

    def __init__(self):
        self._running = asyncio.Semaphore(QUESTIONS_AT_ONCE)
        self._waiting = 0

    async def __aenter__(self) -> None:
        if self._waiting >= QUESTIONS_WAITING:
            raise Busy
        self._waiting += 1
        try:
            await self._running.acquire()
        finally:
            self._waiting -= 1

    async def __aexit__(self, *_) -> None:
        self._running.release()
