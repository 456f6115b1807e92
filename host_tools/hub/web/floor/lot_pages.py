"""What the workshops made, as a page and as JSON.

/api/lots                  every lot, the newest first, and what the registers of the stations add up to
/api/lots/one?lot=NAME     one lot with its jobs, figures and proofs; &rule=equal|machine-time|count
/api/lots/recall?lot=NAME  what it went into and what it was made of
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from host_tools.hub.production import document
from host_tools.hub.production.allocation import EQUAL, RULES
from host_tools.hub.production.floor import Floor, LotError
from host_tools.hub.service import Hub
from host_tools.hub.stores.store import connect
from host_tools.hub.web import guards

KEPT_S = 3.0  # the floor is the same for all who ask within it
LOTS_MAX = 1000  # in one answer; the command lists all
_BUSY = {"error": "too many questions at once"}
_RULES = {rule.replace(" ", "-"): rule for rule in RULES}


class LotPages:
    """`questions` bounds what is asked of the database at once."""

    def __init__(self, hub: Hub, questions: guards.Questions):
        self._hub = hub
        self._data_dir = hub.data_dir
        self._questions = questions
        self._lock = asyncio.Lock()
        self._kept: dict[str, tuple[float, Floor]] = {}

    def routes(self) -> list[Route]:
        return [
            Route("/api/lots", self.lots),
            Route("/api/lots/one", self.lot),
            Route("/api/lots/recall", self.recall),
        ]

    async def lots(self, request: Request) -> Response:
        def answer(floor: Floor) -> dict:
            found = document.lots(floor)
            return {
                "lots": found[:LOTS_MAX], "left_out": len(found[LOTS_MAX:]), "registers": document.balance(floor),
                "zone": self._hub.zone.key,
            }  # fmt: skip

        return await self._ask(request, answer)

    async def lot(self, request: Request) -> Response:
        name = request.query_params.get("lot", "")
        return await self._ask(request, lambda floor: {**document.lot(floor, name), "zone": self._hub.zone.key})

    async def recall(self, request: Request) -> Response:
        name = request.query_params.get("lot", "")
        try:
            async with self._questions:
                return JSONResponse(await run_in_threadpool(self._recalled, name))
        except LotError as error:
            return JSONResponse({"error": str(error)}, 404)
        except guards.Busy:
            return JSONResponse(_BUSY, 503, {"Retry-After": "2"})

    async def _ask(self, request: Request, answer: Callable[[Floor], dict]) -> Response:
        rule = _RULES.get(request.query_params.get("rule", EQUAL))
        if rule is None:
            return JSONResponse({"error": f"rule is one of {', '.join(_RULES)}"}, 400)
        try:
            async with self._lock:  # one reads the floor, the others wait for it
                kept = self._kept.get(rule)
                if kept is None or time.monotonic() - kept[0] > KEPT_S:
                    async with self._questions:
                        kept = self._kept[rule] = time.monotonic(), await run_in_threadpool(self._read, rule)
            return JSONResponse(await run_in_threadpool(answer, kept[1]))
        except LotError as error:
            return JSONResponse({"error": str(error)}, 404)
        except guards.Busy:
            return JSONResponse(_BUSY, 503, {"Retry-After": "2"})

    def _recalled(self, lot: str) -> dict:
        with contextlib.closing(connect(self._data_dir, read_only=True)) as db:
            return document.recall(db, lot)

    def _read(self, rule: str) -> Floor:
        with contextlib.closing(connect(self._data_dir, read_only=True)) as db:
            return Floor(db, rule)
