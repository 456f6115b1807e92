"""Alarms on the hub's page.

GET  /api/alarms                    those that are open, and the newest that are over
POST /api/alarms/N/acknowledge      {"word": …, "by": …}: who has seen it. `by` counts only where nobody signs in
"""

from __future__ import annotations

import contextlib
import json

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from host_tools.hub.alarms import ledger
from host_tools.hub.people.door import Door, visitor_of
from host_tools.hub.service import now_unix_ms
from host_tools.hub.stores.store import connect
from host_tools.hub.web import guards
from host_tools.log.keys import LogError
from parkgate.errors import SettingsError

ENDED_SHOWN = 50
BODY_BYTES_MAX = 4096


class AlarmPages:
    """What each address answers. `questions` bounds what is asked of the database at once."""

    def __init__(self, data_dir, door: Door, questions: guards.Questions):
        self._data_dir, self._door, self._questions = data_dir, door, questions

    def routes(self) -> list[Route]:
        return [
            Route("/api/alarms", self.listed),
            Route("/api/alarms/{id:int}/acknowledge", self.acknowledge, methods=["POST"]),
        ]

    async def listed(self, request: Request) -> Response:
        own = await self._door.own(request)

        def run():
            with contextlib.closing(connect(self._data_dir, read_only=True)) as db:
                return {
                    "now_unix_ms": now_unix_ms(),
                    "open": of_own(ledger.listed(db), own),
                    "ended": of_own(ledger.listed(db, ended=True, limit=ENDED_SHOWN), own),
                }

        try:
            async with self._questions:
                return JSONResponse(await run_in_threadpool(run))
        except guards.Busy:
            return JSONResponse({"error": "too many questions at once"}, 503, {"Retry-After": "2"})

    async def acknowledge(self, request: Request) -> Response:
        visitor = visitor_of(request)
        data = bytearray()
        async for chunk in request.stream():
            data += chunk
            if len(data) > BODY_BYTES_MAX:
                return _wrong(413, f"at most {BODY_BYTES_MAX} bytes")
        try:
            given = json.loads(data)
            word, by = given["word"], given.get("by", "")
            if not isinstance(word, str) or not isinstance(by, str):
                raise TypeError
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return _wrong(400, 'the body is JSON: {"word": "what you found or do", "by": "your name"}')
        who = visitor.by if visitor.name else by

        def run():
            with contextlib.closing(connect(self._data_dir)) as db:
                return ledger.acknowledge(db, request.path_params["id"], who, word, now_unix_ms())

        try:
            return JSONResponse(await run_in_threadpool(run))
        except SettingsError as error:
            return _wrong(409, str(error))
        except LogError:
            return _wrong(500, "the hub's signed log cannot continue; the hub's messages say why")


def of_own(alarms: list[dict], own: set[str] | None) -> list[dict]:
    """Those of the visitor's own gateways, without anything about others."""
    if own is None:
        return alarms
    found = []
    for alarm in alarms:
        mine = [each for each in alarm["gateways"] if each["id"] in own]
        if not mine:
            continue
        if len(mine) < alarm["concerned"]:
            alarm = {**alarm, "what": f"{alarm['kind']}: your gateway and others", "concerned": len(mine)}
            alarm |= {
                "ever": len(mine),
                "acknowledged": alarm["acknowledged"] and {**alarm["acknowledged"], "word": ""},
            }
        found.append({**alarm, "gateways": mine})
    return found


def _wrong(status: int, why: str) -> Response:
    return JSONResponse({"error": why}, status)
