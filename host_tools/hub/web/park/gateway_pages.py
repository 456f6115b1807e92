"""The hub, its gateways and their readings as JSON.

/api/summary                       the hub, totals, every gateway
/api/gateways?since=REV            gateways that changed after REV, and the newest REV
/api/gateways/ID                   one gateway with its channels, chains, events and refused messages
/api/gateways/ID/readings          ?series=1,2 &from=MS &to=MS &last_s=S &points=N
/api/gateways/ID/batches/EPOCH/SEQ the signed bytes of a batch
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from host_tools.hub.people.door import Door, visitor_of
from host_tools.hub.reading import readings, window
from host_tools.hub.service import Hub, now_unix_ms
from host_tools.hub.stores.damaged import Damaged
from host_tools.hub.stores.store import DATABASE_FILE, connect
from host_tools.hub.web import guards
from parkgate import VERSION

EVENTS_SHOWN = 100
SUMS = (
    "batches_verified", "readings_stored", "duplicates", "forks", "gaps", "gap_readings", "sampled", "dropped",
    "backlog", "undecoded", "undecodable", "awaited_batches", "lost_batches", "unexplained_batches",
)  # fmt: skip


class GatewayPages:
    """What each address answers. `questions` bounds what is asked of the database at once."""

    def __init__(self, hub: Hub, door: Door, questions: guards.Questions):
        self.hub, self.door = hub, door
        self.questions = questions

    def routes(self) -> list[Route]:
        return [
            Route("/api/summary", self.summary),
            Route("/api/gateways", self.gateways),
            Route("/api/gateways/{id}", self.gateway),
            Route("/api/gateways/{id}/readings", self.readings),
            Route("/api/gateways/{id}/batches/{epoch}/{seq:int}", self.batch),
        ]

    async def summary(self, request: Request) -> Response:
        rev, gateways = await self._own(request, 0)
        return JSONResponse({"rev": rev, **self._about(request, gateways), "gateways": gateways})

    async def _own(self, request: Request, since: int) -> tuple[int, list[dict]]:
        """(newest rev, gateways that changed after `since`), of the visitor's own."""
        rev, gateways = self.hub.board.since(since)
        own = await self.door.own(request)
        return rev, gateways if own is None else [each for each in gateways if each["id"] in own]

    async def gateways(self, request: Request) -> Response:
        try:
            since = int(request.query_params.get("since", "0"))
        except ValueError:
            return _wrong("since is the number of an earlier answer")
        rev, changed = await self._own(request, since)
        _, everyone = await self._own(request, 0)
        return JSONResponse({"rev": rev, **self._about(request, everyone), "gateways": changed})

    def _about(self, request: Request, gateways):
        """The hub itself, and sums over these gateways. A tenant learns nothing of others, nor of where the hub is."""
        hub, receiver = self.hub, self.hub.receiver
        now = now_unix_ms()
        is_staff = visitor_of(request).places is None
        nobody = hub.board.nobody() if is_staff else {}
        refused = dict(nobody)
        for gateway in gateways:
            for reason, count in gateway["refused"].items():
                refused[reason] = refused.get(reason, 0) + count
        totals: dict = {name: sum(gateway[name] for gateway in gateways) for name in SUMS}
        totals["gateways"] = len(gateways)
        totals["instruments_not_good"] = sum(len(gateway["instruments_not_good"]) for gateway in gateways)
        totals["buffered"] = sum(gateway["buffered"] or 0 for gateway in gateways)
        totals["refused"] = refused
        return {
            "hub": {
                "version": VERSION,
                "id": hub.key.id.hex(),
                "public_key": hub.key.xy.hex(),
                "data": str(hub.data_dir) if is_staff else "",
                "started_unix_ms": hub.started_unix_ms,
                "now_unix_ms": now,
                "zone": hub.zone.key,
                "broker": {
                    "url": receiver.url if is_staff else "",
                    "connected_unix_ms": receiver.connected_unix_ms,
                    "connects": receiver.connects,
                    "overflows": receiver.overflows,
                    "receipts_unsent": receiver.unsent,
                },
                "storage_fault": hub.storage_fault,
                "log_fault": hub.log_fault,
                "database_bytes": _size(hub.data_dir / DATABASE_FILE),
                "messages": hub.messages,
                "transactions": hub.groups,
                "faults": hub.faults,
            },
            "totals": totals,
            "refused_not_enrolled": nobody,
        }

    async def gateway(self, request: Request) -> Response:
        summaries = self._summaries(request.path_params["id"])
        until_ms = (summaries[0]["until_ms"] if summaries else None) or 0

        def ask(db):
            gw = readings.gateway_row(db, request.path_params["id"])
            return {
                "channels": readings.channels(db, gw, until_ms),
                "commissioned": readings.commissionings(db, gw),
                "events": readings.recent_events(db, gw, EVENTS_SHOWN),
                "evidence": readings.refusals(db, gw, EVENTS_SHOWN),
            }

        return await self._ask(request, ask, summaries)

    def _summaries(self, gateway_id):
        return [g for g in self.hub.board.since(0)[1] if g["id"].startswith(gateway_id.lower())]

    async def readings(self, request: Request) -> Response:
        query = request.query_params
        try:
            wanted = [int(number) for number in query.get("series", "").split(",") if number]
            numbers = {name: int(query[name]) if name in query else None for name in ("from", "to", "last_s")}
            points = int(query.get("points", "2000"))
        except ValueError:
            return _wrong("series, from, to, last_s and points are integers")
        if not 0 < len(wanted) <= window.SERIES_PER_QUESTION:
            return _wrong(f"name 1 to {window.SERIES_PER_QUESTION} series: ?series=1,2")
        if points < 2 or any(n is not None and not 0 <= n < 1 << 53 for n in [*numbers.values(), *wanted]):
            return _wrong("a number is out of range")

        damaged = Damaged()

        def ask(db):
            gw = readings.gateway_row(db, request.path_params["id"])
            return window.window(db, gw, wanted, numbers["from"], numbers["to"], numbers["last_s"], points, damaged)

        answer = await self._ask(request, ask)
        await run_in_threadpool(damaged.alarm, self.hub.data_dir)
        return answer

    async def _ask(self, request, ask, summaries=()):
        def run():
            with contextlib.closing(connect(self.hub.data_dir, read_only=True)) as db:
                return ask(db)

        try:
            async with self.questions:
                answer = await run_in_threadpool(run)
        except readings.UnknownGateway:
            return JSONResponse({"error": "no such gateway"}, 404)
        except guards.Busy:
            return JSONResponse({"error": "too many questions at once"}, 503, {"Retry-After": "2"})
        if summaries:
            answer = {**summaries[0], **answer}
        return JSONResponse(answer)

    async def batch(self, request: Request) -> Response:
        def run():
            with contextlib.closing(connect(self.hub.data_dir, read_only=True)) as db:
                gw = readings.gateway_row(db, request.path_params["id"])
                return readings.batch_bytes(db, gw, request.path_params["epoch"], request.path_params["seq"])

        try:
            data = await run_in_threadpool(run)
        except readings.UnknownGateway:
            data = None
        if data is None:
            return JSONResponse({"error": "no such batch"}, 404)
        return Response(data, media_type='application/cose; cose-type="cose-sign1"')


def _wrong(why: str) -> Response:
    return JSONResponse({"error": why}, 400)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
