"""Bills on the hub's page: those of the tariff files in the folder `tariffs` of the hub's data.

/bill?id=ID&month=2026-10&tariff=FILE    to look at and to print; &form=lines or &form=registers for CSV
/api/tariffs                             the tariff files, and what is wrong with them
/api/gateways/ID/bill                    ?month= &tariff=: the bill as JSON
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from host_tools.base import files
from host_tools.hub.park.money import bill as bills
from host_tools.hub.park.money import command_bill, paper, tariff
from host_tools.hub.park.money.located import FileFault
from host_tools.hub.reading import readings
from host_tools.hub.service import Hub, now_unix_ms
from host_tools.hub.stores.store import connect
from host_tools.hub.web import guards
from parkgate.errors import SettingsError

FOLDER = "tariffs"
FILES_MAX = 100
STYLE = "static/bill.css"


class BillPages:
    """What each address answers. `questions` bounds what is asked of the database at once."""

    def __init__(self, hub: Hub, questions: guards.Questions):
        self.hub = hub
        self.questions = questions

    def routes(self) -> list[Route]:
        return [
            Route("/api/tariffs", self.tariffs),
            Route("/api/gateways/{id}/bill", self.json),
            Route("/bill", self.page),
        ]

    async def tariffs(self, _request: Request) -> Response:
        """GET /api/tariffs."""
        return JSONResponse({"tariffs": await run_in_threadpool(self._listed)})

    def _listed(self) -> list[dict]:
        found = []
        for path in self._paths():
            about: dict = {"file": path.name, "name": None, "currency": None, "from": None, "to": None, "fault": None}
            try:
                read = tariff.read(files.read_text(path))
                first, last = read.versions[0].first, read.versions[-1].last
                about |= {
                    "name": read.name,
                    "currency": read.currency,
                    "from": _month(first),
                    "to": last and _month(last),
                }
            except (FileFault, files.FileTrouble) as error:
                about["fault"] = str(error)
            found.append(about)
        return found

    def _paths(self) -> list[Path]:
        return sorted((Path(self.hub.data_dir) / FOLDER).glob("*.json"))[:FILES_MAX]

    async def json(self, request: Request) -> Response:
        """GET /api/gateways/ID/bill."""
        return await self._answer(request, request.path_params["id"], JSONResponse, _refuse)

    async def page(self, request: Request) -> Response:
        """GET /bill."""
        form = request.query_params.get("form", "page")
        made = {"page": _page, "lines": _lines, "registers": _registers}.get(form)
        if made is None:
            return PlainTextResponse("form is page, lines or registers\n", 400)
        return await self._answer(request, request.query_params.get("id", ""), made, _say)

    async def _answer(self, request: Request, gateway_id: str, made, refuse) -> Response:
        query = request.query_params

        def run():
            month = command_bill.month(query.get("month", ""))
            path = next((each for each in self._paths() if each.name == query.get("tariff")), None)
            if path is None:
                raise SettingsError(f"there is no such tariff in the folder {FOLDER!r} of the hub's data")
            text = files.read_text(path)
            prices = tariff.read(text)
            with contextlib.closing(connect(self.hub.data_dir, read_only=True)) as db:
                gw = readings.gateway_row(db, gateway_id)
                digest = command_bill.digest(text)
                return bills.bill(db, gw, month, prices, digest, self.hub.zone, now_unix_ms())

        try:
            async with self.questions:
                return made(await run_in_threadpool(run))
        except readings.UnknownGateway:
            return refuse("no such gateway", 404)
        except (SettingsError, files.FileTrouble) as error:
            return refuse(str(error), 400)
        except guards.Busy:
            return refuse("too many questions at once", 503)


def _month(month: tuple[int, int]) -> str:
    return f"{month[0]}-{month[1]:02}"


def _refuse(why: str, status: int) -> Response:
    return JSONResponse({"error": why}, status, {"Retry-After": "2"} if status == 503 else None)


def _say(why: str, status: int) -> Response:
    return PlainTextResponse(f"{why}\n", status)


def _page(bill: dict) -> Response:
    return HTMLResponse(paper.page(bill, STYLE))


def _lines(bill: dict) -> Response:
    return _file(bill, "lines", paper.lines_csv(bill))


def _registers(bill: dict) -> Response:
    return _file(bill, "registers", paper.registers_csv(bill))


def _file(bill: dict, what: str, text: str) -> Response:
    name = f"bill-{bill['id'][:8]}-{bill['month']}-{what}.csv"
    return Response(
        text, media_type="text/csv; charset=utf-8", headers={"Content-Disposition": f'attachment; filename="{name}"'}
    )
