"""The hub's page and its JSON, read only but for enrolment: one process with the receiver, started and stopped with it.

    /                                  the page
    /place?id=ID                       the page of one gateway's place
    /api/summary                       the hub, totals, every gateway
    /api/gateways?since=REV            gateways that changed after REV, and the newest REV
    POST /api/gateways                 enrol one, by an operator with a token (register)
    /api/gateways/ID                   one gateway with its channels, chains, events and refused messages
    /api/gateways/ID/readings          ?series=1,2 &from=MS &to=MS &last_s=S &points=N
    /api/gateways/ID/energy            ?unit=hour|day|month|minute &from=MS &to=MS &series=1,2 (park_pages)
    /api/gateways/ID/view              ?span=year|month|week|day|hour &at=2026-11-28: one stretch of time (park_pages)
    /api/gateways/ID/proof             ?series=1 &from=MS &to=MS: the registers that a sum rests on
    /api/gateways/ID/batches/EPOCH/SEQ the signed bytes of a batch
    /bill, /api/tariffs, /api/gateways/ID/bill   what a month costs (bill_pages)
    /api/park                          power now, energy today, what is off and what needs a person
    /lots, /api/lots…                  what the workshops made (lot_pages)
    /api/alarms…                       what is wrong, and who has seen it (alarm_pages)
    /login, /api/login, /api/me …      who is signed in (people/pages)
    /api/export                        readings as a file: as `parkgate export` (export_pages)
    /healthz, /readyz, /metrics        for whatever watches the process
    /audit, /api/log…, /api/archive    for an auditor: checkpoint, witnesses, archive (audit_pages)
    /log/…                             the log: checkpoint, tiles, proofs (log_pages)

Every address stands behind one door (people/door), which knows who may ask it.

Nothing comes from another host, and the content security policy forbids it. Only requests that name the hub by an
address or by one of its names are answered: a page elsewhere cannot read it through a name that it points here.
"""

import contextlib
import signal
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from host_tools.hub.people.door import Door, visitor_of
from host_tools.hub.people.pages import PeoplePages
from host_tools.hub.people.register import Registration
from host_tools.hub.reading import readings, window
from host_tools.hub.service import Hub, now_unix_ms
from host_tools.hub.stores.damaged import Damaged
from host_tools.hub.stores.store import DATABASE_FILE, connect
from host_tools.hub.web import connections, guards
from host_tools.hub.web.alarm_pages import AlarmPages
from host_tools.hub.web.audit_pages import AuditPages
from host_tools.hub.web.bill_pages import BillPages
from host_tools.hub.web.export_pages import ExportPages
from host_tools.hub.web.log_pages import LogPages
from host_tools.hub.web.lot_pages import LotPages
from host_tools.hub.web.metrics import Metrics
from host_tools.hub.web.park_pages import ParkPages
from parkgate import VERSION
from parkgate.errors import SettingsError

HUB_FILE = "hub.json"
STATIC = Path(__file__).parent / "static"
EVENTS_SHOWN = 100
SUMS = (
    "batches_verified", "readings_stored", "duplicates", "forks", "gaps", "gap_readings", "sampled", "dropped",
    "backlog", "undecoded", "undecodable", "awaited_batches", "lost_batches", "unexplained_batches",
)  # fmt: skip


def make_app(
    hub: Hub, ready=None, names: Sequence[str] = (), base_path: str = "", may_be_open: bool = True
) -> Starlette:
    """The web application; it starts the hub when it starts and stops it when it ends, then calls `ready`. `names` are
    those by which it is reached, besides addresses; `base_path` is where a proxy shows it. `may_be_open`: without any
    account, all who reach it may do all."""

    @contextlib.asynccontextmanager
    async def lifespan(_app):
        await run_in_threadpool(hub.start)
        try:
            if ready:
                ready()
            yield
        finally:
            await run_in_threadpool(hub.stop)

    door = Door(hub.data_dir, may_be_open)
    pages = Pages(hub, door)
    park = ParkPages(hub, door, pages.questions)
    bill = BillPages(hub, pages.questions)
    middleware = [
        Middleware(guards.SafeHeaders),
        Middleware(guards.OwnHost, names=names),
        Middleware(GZipMiddleware, minimum_size=2000),
        *([Middleware(guards.BasePath, path=base_path)] if base_path else []),
    ]
    return Starlette(
        lifespan=lifespan,
        middleware=middleware,
        routes=door.guard(
            [
                Route("/", pages.index),
                Route("/place", pages.place),
                Route("/api/summary", pages.summary),
                Route("/api/gateways", pages.gateways),
                Route("/api/gateways", Registration(hub).post, methods=["POST"]),
                Route("/api/gateways/{id}", pages.gateway),
                Route("/api/gateways/{id}/readings", pages.readings),
                Route("/api/gateways/{id}/energy", park.energy),
                Route("/api/gateways/{id}/view", park.view),
                Route("/api/gateways/{id}/proof", park.proof),
                Route("/api/gateways/{id}/bill", bill.json),
                Route("/api/tariffs", bill.tariffs),
                Route("/bill", bill.page),
                Route("/api/park", park.overview),
                Route("/api/export", ExportPages(hub, door).export),
                Route("/metrics", Metrics(hub).metrics),
                Route("/healthz", park.healthz),
                Route("/readyz", park.readyz),
                Route("/api/gateways/{id}/batches/{epoch}/{seq:int}", pages.batch),
                *LotPages(hub.data_dir, pages.questions, STATIC / "lots.html").routes(),
                *AlarmPages(hub.data_dir, door, pages.questions).routes(),
                *PeoplePages(door, STATIC / "login.html").routes(),
                *LogPages(hub.data_dir).routes(),
                *AuditPages(hub.data_dir, pages.questions, STATIC / "audit.html").routes(),
                Mount("/static", StaticFiles(directory=STATIC)),
            ]
        ),
    )


class Pages:
    """What each address answers."""

    def __init__(self, hub: Hub, door: Door):
        self.hub, self.door = hub, door
        self.questions = guards.Questions()

    async def index(self, _request: Request) -> Response:
        return FileResponse(STATIC / "index.html")

    async def place(self, _request: Request) -> Response:
        return FileResponse(STATIC / "place.html")

    async def summary(self, request: Request) -> Response:
        rev, gateways = await self._own(request, 0)
        return JSONResponse({"rev": rev, **self._about(request, gateways), "gateways": gateways})

    async def _own(self, request: Request, since: int) -> tuple[int, list[dict]]:
        """(newest rev, gateways that changed after `since`), of those that belong to who asks."""
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


class Address(NamedTuple):
    """Where and how the page is served. `proxy` is the address of a proxy that may say who asks, `names` are those by
    which the page is reached besides addresses, `base_path` is where a proxy shows it, `tls` are the files of
    certificate and key, `may_be_open` lets anybody in while there is no account."""

    host: str
    port: int
    proxy: str | None = None
    names: Sequence[str] = ()
    base_path: str = ""
    tls: tuple[str, str] | None = None
    may_be_open: bool = True


def serve(hub: Hub, address: Address, ready) -> int:
    """Run hub and page until SIGINT or SIGTERM, then end both in order. Raises SettingsError when the address cannot be
    listened on."""
    host, port = address.host, address.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(256)
    except OSError as error:
        listener.close()
        raise SettingsError(f"the page cannot be at {host}:{port}: {error.strerror or error}") from None
    port = listener.getsockname()[1]
    scheme = "https" if address.tls else "http"
    url = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}{address.base_path}/"
    hub.page_certificate = Path(address.tls[0]) if address.tls else None
    app = make_app(hub, lambda: ready(hub, url), address.names, address.base_path, address.may_be_open)
    connections.raise_descriptor_limit()
    # uvicorn ends in order on these and then raises them again; by then all is done and the exit code is 0.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    server = uvicorn.Server(connections.config(app, address.proxy, address.tls))
    server.run(sockets=[listener])
    return 0 if server.started else 1
