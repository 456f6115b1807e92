"""The hub's page and its JSON, read only but for enrolment: one process with the receiver, started and stopped with it.

    /, /place, /lots, /audit, /login   the pages (html_pages); /bill is made for each bill
    /api/summary, /api/gateways…       the hub, its gateways, their readings and batches (park/gateway_pages)
    POST /api/gateways                 enrol one, by an operator with a token (people/register)
    /api/park, …/energy, …/view, …/proof, /healthz, /readyz   the park's figures (park/park_pages)
    /bill, /api/tariffs, …/bill        what a month costs (park/bill_pages)
    /api/alarms…                       what is wrong, and who has seen it (park/alarm_pages)
    /api/export                        readings as a file: as `parkgate export` (park/export_pages)
    /api/lots…                         what the workshops made (floor/lot_pages)
    /api/login, /api/me …              who is signed in (people/pages)
    /metrics                           for Prometheus (metrics)
    /api/log…, /api/archive            for an auditor: checkpoint, witnesses, archive (auditing/audit_pages)
    /log/…                             the log: checkpoint, tiles, proofs (auditing/log_pages)

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
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from host_tools.hub.people.door import Door
from host_tools.hub.people.pages import PeoplePages
from host_tools.hub.people.register import Registration
from host_tools.hub.service import Hub
from host_tools.hub.web import connections, guards, html_pages
from host_tools.hub.web.auditing.audit_pages import AuditPages
from host_tools.hub.web.auditing.log_pages import LogPages
from host_tools.hub.web.floor.lot_pages import LotPages
from host_tools.hub.web.metrics import Metrics
from host_tools.hub.web.park.alarm_pages import AlarmPages
from host_tools.hub.web.park.bill_pages import BillPages
from host_tools.hub.web.park.export_pages import ExportPages
from host_tools.hub.web.park.gateway_pages import GatewayPages
from host_tools.hub.web.park.park_pages import ParkPages
from parkgate.errors import SettingsError

HUB_FILE = "hub.json"
STATIC = Path(__file__).parent / "static"


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
    questions = guards.Questions()
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
                *html_pages.routes(),
                *GatewayPages(hub, door, questions).routes(),
                Route("/api/gateways", Registration(hub).post, methods=["POST"]),
                *ParkPages(hub, door, questions).routes(),
                *BillPages(hub, questions).routes(),
                Route("/api/export", ExportPages(hub, door).export),
                Route("/metrics", Metrics(hub).metrics),
                *LotPages(hub, questions).routes(),
                *AlarmPages(hub.data_dir, door, questions).routes(),
                *PeoplePages(door).routes(),
                *LogPages(hub.data_dir).routes(),
                *AuditPages(hub.data_dir, questions).routes(),
                Mount("/static", StaticFiles(directory=STATIC)),
            ]
        ),
    )


class Address(NamedTuple):
    """Where and how the page is served. `proxy` is the address of a proxy that may name the client, `names` are those
    by which the page is reached besides addresses, `base_path` is where a proxy shows it, `tls` are the files of
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
