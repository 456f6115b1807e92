"""Enrolment over HTTP: `POST /api/gateways` by an operator with a token, for `parkgate provision --hub URL`.

    Authorization: Bearer TOKEN
    {"public_key": "128 hexadecimal digits", "name": "hall-3", "place": "Hall 3"}

"place" is where the gateway stands (without it, the gateway gets a place of its own); "replaces" instead names the
gateway whose place it takes.

With "check": true in the body nothing is written: the answer (200) says whether this gateway would be taken, and
`known`, whether the hub has it already.

    201 or 200 {"gateway": …, "id": …, "name": …, "hub_public_key": …, "broker": {"host": …, "port": …}}
`broker` is as a gateway reaches it: `tls` and `ca` (base64 of the certificate that its own comes from, or null) go into
the gateway's settings with it.

    400 not such a body  401 no such operator, or the token has expired  403 the token is not for that  409 name taken,
    or the gateway is revoked  413 too large  429 too many requests: Retry-After says how long to wait

Each network address may ask only so many times a minute. A browser cannot be made to send a token, so no page
elsewhere can enrol. Without TLS in front, listen on loopback only.
"""

from __future__ import annotations

import collections
import contextlib
import json
import logging
import math
import time
from urllib.parse import urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from host_tools.base.keys import parse_public
from host_tools.hub.park import exchange
from host_tools.hub.people import operators
from host_tools.hub.service import Hub
from host_tools.hub.stores.store import connect
from host_tools.log.keys import LogError
from parkgate.errors import FormatError, ParkgateError, SettingsError

log = logging.getLogger("parkgate.hub")

BODY_BYTES_MAX = 4096
REQUESTS_MAX, PERIOD_S = 12, 60.0  # an address
ADDRESSES_MAX = 1024
EVERY_ADDRESS = ("0.0.0.0", "::")


class Limit:
    """At most `REQUESTS_MAX` in `PERIOD_S` from each address; the addresses seen longest ago are forgotten."""

    def __init__(self, now_s=time.monotonic):
        self._now_s = now_s
        self._seen: collections.OrderedDict[str, collections.deque[float]] = collections.OrderedDict()

    def wait_s(self, address: str) -> float:
        """0 when this request is taken (and counted), else how long to wait."""
        now = self._now_s()
        times = self._seen.setdefault(address, collections.deque())
        self._seen.move_to_end(address)
        while len(self._seen) > ADDRESSES_MAX:
            self._seen.popitem(last=False)
        while times and times[0] <= now - PERIOD_S:
            times.popleft()
        if len(times) >= REQUESTS_MAX:
            return times[0] + PERIOD_S - now
        times.append(now)
        return 0.0


class Registration:
    """Answers POST for `hub`."""

    def __init__(self, hub: Hub):
        self.hub = hub
        self.limit = Limit()

    async def post(self, request: Request) -> Response:
        wait_s = self.limit.wait_s(request.client.host if request.client else "")
        if wait_s:
            return _refuse(429, "too many requests", {"Retry-After": str(math.ceil(wait_s))})
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > BODY_BYTES_MAX:
                return _refuse(413, f"at most {BODY_BYTES_MAX} bytes")
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        token = token if kind.lower() == "bearer" else ""
        reached_at = str((request.scope.get("server") or ("",))[0])
        return await run_in_threadpool(self._answer, token, bytes(body), reached_at)

    def _answer(self, token: str, body: bytes, reached_at: str) -> Response:
        try:
            operator = operators.who(self.hub.data_dir, token)
        except ParkgateError as error:
            log.error("%s", error)
            return _refuse(500, "the hub cannot read its list of operators")
        if operator is None:
            return _refuse(401, "no operator has this token, or it has expired", {"WWW-Authenticate": "Bearer"})
        try:
            given = json.loads(body)
            public_key, name, only = given["public_key"], given.get("name"), given.get("check", False)
            stands = given.get("place") or None, given.get("replaces") or None
            next_key = given.get("next_key")
            if not isinstance(public_key, str) or not isinstance(name, str | None) or not isinstance(only, bool):
                raise TypeError
            if not all(isinstance(text, str | None) for text in stands):
                raise TypeError
            next_id = None if next_key is None else bytes.fromhex(next_key)
            if next_id is not None and len(next_id) != 32:
                raise ValueError
            xy = parse_public(public_key)
        except (ValueError, KeyError, TypeError, AttributeError):
            why = "public_key is 128 hexadecimal digits, next_key 64; name, place, replaces are text; check is boolean"
            return _refuse(400, why)
        except FormatError as error:
            return _refuse(400, str(error))
        return self._enrol(operator, xy, name, stands, next_id, only, reached_at)

    def _account(self, topic: str) -> dict:
        if not self.hub.has_accounts:
            return {}
        return {"user": topic, "password": self.hub.key.broker_password(topic)}

    def _enrol(self, operator, xy: bytes, name, stands, next_id, only_check: bool, reached_at: str) -> Response:
        with contextlib.closing(connect(self.hub.data_dir)) as db:
            try:
                checked = exchange.check(db, xy, name, *stands)
                changes = checked.renames or checked.known and any(stands)
                if not operator.may(operators.RENAME if changes else operators.ENROL):
                    return _refuse(403, f"the token of {operator.name} is not for that: `parkgate operator --may`")
                if not only_check:
                    exchange.enrol(db, xy, name, f"operator {operator.name}", *stands, next_id=next_id)
            except SettingsError as error:
                return _refuse(409, str(error))
            except LogError as error:
                log.error("%s", error)
                return _refuse(500, "the hub's signed log cannot continue; the hub's messages say why")
        kid, stored = checked.gateway_id, checked.name
        if not only_check:
            log.info("operator %s enrolled %s (%s)", operator.name, stored, kid.hex())
        broker, root = urlsplit(self.hub.receiver.url), self.hub.root
        answer = {
            "gateway": kid[:16].hex(),
            "id": kid.hex(),
            "name": stored,
            "known": checked.known,
            "hub_public_key": self.hub.key.xy.hex(),
            "hub_root": {"id": root.next_root.hex(), "serial": root.serial} if root else None,
            "broker": {
                "host": _to_call(broker.hostname or "", reached_at),
                "port": broker.port,
                "tls": broker.scheme == "mqtts",
                "ca": self.hub.broker_ca(),
                **self._account(kid[:16].hex()),
            },
        }
        return JSONResponse(answer, 200 if checked.known or only_check else 201)


def _to_call(host: str, reached_at: str) -> str:
    """The broker's host for a gateway: one that means "every address here" becomes that by which this question came."""
    return reached_at if host in EVERY_ADDRESS and reached_at else host


def _refuse(status: int, why: str, headers: dict | None = None) -> Response:
    return JSONResponse({"error": why}, status, headers)
