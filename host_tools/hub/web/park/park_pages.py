"""The park's figures as JSON, and whether the hub works, for a program that watches it.

/api/park                     power now, energy today, what is off and what needs a person
/api/gateways/ID/energy       ?unit=hour|day|month|minute &from=MS &to=MS &series=1,2
/api/places                   the places: id, name, the gateway that stands there
/api/places/ID/view           ?span=year|month|week|day|hour &at=2026-11-28: one stretch of time, whichever gateway
                              stood there; &beside=ID of another place, &beside_at=2026-10-28 of another time
/api/gateways/ID/view         the same of one gateway by itself
/api/gateways/ID/proof        ?series=1 &from=MS &to=MS: the registers that a sum rests on
/healthz, /readyz             for a program that watches the process
"""

from __future__ import annotations

import asyncio
import contextlib
import time

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from host_tools.hub.alarms import ledger, limits
from host_tools.hub.park import answers, place, proof, zone
from host_tools.hub.park.book import Book
from host_tools.hub.park.zone import PIECE_MS
from host_tools.hub.people.door import Door, visitor_of
from host_tools.hub.reading import readings
from host_tools.hub.service import Hub, now_unix_ms
from host_tools.hub.stores import places
from host_tools.hub.stores.store import connect
from host_tools.hub.web import guards
from host_tools.hub.web.park.alarm_pages import of_own
from parkgate.errors import SettingsError

KEPT_S = 3.0  # the park's answer is the same for all who ask within it and may see the same
KEPT_MAX = 100
SERIES_MAX = 16


class ParkPages:
    """What each address answers. `questions` bounds what is asked of the database at once."""

    def __init__(self, hub: Hub, door: Door, questions: guards.Questions):
        self.hub, self.door = hub, door
        self.questions = questions
        self._lock = asyncio.Lock()
        self._kept: dict[frozenset[str] | None, tuple[float, dict]] = {}

    def routes(self) -> list[Route]:
        return [
            Route("/api/park", self.overview),
            Route("/api/gateways/{id}/energy", self.energy),
            Route("/api/places", self.places),
            Route("/api/places/{id}/view", self.view_of_place),
            Route("/api/gateways/{id}/view", self.view),
            Route("/api/gateways/{id}/proof", self.proof),
            Route("/healthz", self.healthz),
            Route("/readyz", self.readyz),
        ]

    async def overview(self, request: Request) -> Response:
        """GET /api/park."""
        own = await self.door.own(request)
        whose = None if own is None else frozenset(own)

        def run():
            gateways = self.hub.board.since(0)[1]
            with contextlib.closing(connect(self.hub.data_dir, read_only=True)) as db:
                alarms = of_own(ledger.listed(db), own)
                mine = gateways if own is None else [each for each in gateways if each["id"] in own]
                return answers.overview(db, mine, self.hub.zone, now_unix_ms(), alarms)

        async with self._lock:  # one makes it, the others wait for it
            kept = self._kept.get(whose)
            if kept is None or time.monotonic() - kept[0] > KEPT_S:
                try:
                    async with self.questions:
                        kept = time.monotonic(), await run_in_threadpool(run)
                except guards.Busy:
                    return _busy()
                except SettingsError as error:
                    return JSONResponse({"error": str(error)}, 500)
                if len(self._kept) >= KEPT_MAX:
                    self._kept.clear()
                self._kept[whose] = kept
            return JSONResponse(kept[1])

    async def energy(self, request: Request) -> Response:
        """GET /api/gateways/ID/energy."""
        query = request.query_params
        unit = query.get("unit", "day")
        try:
            from_ms, to_ms = (int(query[name]) if name in query else None for name in ("from", "to"))
            wanted = [int(number) for number in query.get("series", "").split(",") if number]
        except ValueError:
            return _wrong("from, to and series are integers")
        if unit not in zone.UNITS or len(wanted) > SERIES_MAX:
            return _wrong(f"unit is one of {', '.join(zone.UNITS)}, series at most {SERIES_MAX}")
        if any(n is not None and not 0 <= n < 1 << 47 for n in [from_ms, to_ms, *wanted]) or (
            from_ms is not None and to_ms is not None and from_ms >= to_ms
        ):
            return _wrong("a number is out of range, or from is not before to")

        def run():
            with contextlib.closing(connect(self.hub.data_dir, read_only=True)) as db:
                gw = readings.gateway_row(db, request.path_params["id"])
                return answers.bars(db, gw, unit, from_ms, to_ms, self.hub.zone, now_unix_ms(), wanted)

        try:
            async with self.questions:
                return JSONResponse(await run_in_threadpool(run))
        except readings.UnknownGateway:
            return JSONResponse({"error": "no such gateway"}, 404)
        except answers.TooMuch as error:
            return _wrong(str(error))
        except guards.Busy:
            return _busy()

    async def places(self, request: Request) -> Response:
        """GET /api/places."""
        own = visitor_of(request).places

        def run():
            with contextlib.closing(connect(self.hub.data_dir, read_only=True)) as db:
                return [
                    {"id": one.id.hex(), "name": one.name, "gateway": one.gateway}
                    for one in places.listed(db)
                    if one.closed_unix_ms is None and (own is None or one.id.hex() in own)
                ]

        return JSONResponse({"places": await run_in_threadpool(run)})

    async def view_of_place(self, request: Request) -> Response:
        """GET /api/places/ID/view."""
        return await self._view(request, self._place(request, request.path_params["id"]))

    async def view(self, request: Request) -> Response:
        """GET /api/gateways/ID/view."""

        def subject(db):
            gw = readings.gateway_row(db, request.path_params["id"])
            kid = db.execute("SELECT kid FROM gateway WHERE gw = ?", (gw,)).fetchone()[0]
            return place.of_gateway(db, gw, self._used(kid.hex()))

        return await self._view(request, subject)

    def _place(self, request: Request, place_id: str):
        """What asks for the place with this id. Of a place that is not his a tenant learns nothing."""
        own = visitor_of(request).places

        def subject(db):
            one = next((each for each in places.listed(db) if each.id.hex() == place_id.lower()), None)
            if one is None or (own is not None and one.id.hex() not in own):
                raise readings.UnknownGateway
            stays = places.stays(db, one.pl)
            return place.of_place(db, one, self._used(stays[-1].gateway_id.hex()) if stays else [])

        return subject

    def _used(self, gateway_id: str) -> list[str]:
        summary = self.hub.board.get(gateway_id)
        return [each["instrument"] for each in summary["instruments"]] if summary else []

    async def _view(self, request: Request, subject_of) -> Response:
        query = request.query_params
        span = query.get("span", "day")
        if span not in place.UNITS:
            return _wrong(f"span is one of {', '.join(place.UNITS)}")
        now_ms = now_unix_ms()
        try:
            at_ms = place.moment(query["at"], self.hub.zone) if "at" in query else now_ms
            beside_ms = place.moment(query["beside_at"], self.hub.zone) if "beside_at" in query else at_ms
        except SettingsError as error:
            return _wrong(str(error))

        def run():
            with contextlib.closing(connect(self.hub.data_dir, read_only=True)) as db:
                subject, beside = subject_of(db), None
                if "beside" in query or "beside_at" in query:
                    other = self._place(request, query["beside"])(db) if "beside" in query else subject
                    beside = place.Beside(other, beside_ms)
                found = place.view(db, subject, span, at_ms, self.hub.zone, now_ms, beside)
                _with_limits(found, limits.load(db), {each[1] for each in subject.gateways})
                return found

        try:
            async with self.questions:
                return JSONResponse(await run_in_threadpool(run))
        except readings.UnknownGateway:
            return JSONResponse({"error": "no such place or gateway"}, 404)
        except SettingsError as error:
            return JSONResponse({"error": str(error)}, 500)
        except guards.Busy:
            return _busy()

    async def proof(self, request: Request) -> Response:
        """GET /api/gateways/ID/proof."""
        try:
            series, from_ms, to_ms = (int(request.query_params.get(name, "")) for name in ("series", "from", "to"))
        except ValueError:
            return _wrong("series, from and to are integers")
        if not 0 <= series < 1 << 47 or not 0 <= from_ms < to_ms < 1 << 47 or from_ms % PIECE_MS or to_ms % PIECE_MS:
            return _wrong("from is before to, and both are multiples of 15 minutes in ms")
        return await self._of_gateway(request, lambda db, gw, _: proof.proof(Book(db), gw, series, from_ms, to_ms))

    async def _of_gateway(self, request: Request, ask) -> Response:
        def run():
            with contextlib.closing(connect(self.hub.data_dir, read_only=True)) as db:
                gw = readings.gateway_row(db, request.path_params["id"])
                kid = db.execute("SELECT kid FROM gateway WHERE gw = ?", (gw,)).fetchone()[0]
                return ask(db, gw, kid.hex())

        try:
            async with self.questions:
                answer = await run_in_threadpool(run)
        except readings.UnknownGateway:
            return JSONResponse({"error": "no such gateway"}, 404)
        except SettingsError as error:
            return JSONResponse({"error": str(error)}, 500)
        except guards.Busy:
            return _busy()
        return JSONResponse({"error": "no such series"}, 404) if answer is None else JSONResponse(answer)

    async def healthz(self, _request: Request) -> Response:
        """Whether the process lives: its writer goes round."""
        lives = self.hub.is_alive()
        return JSONResponse({"ok": lives}, 200 if lives else 503)

    async def readyz(self, _request: Request) -> Response:
        """Whether batches are taken and answered: broker connected, database writable, writer alive."""
        faults = []
        if not self.hub.is_alive():
            faults.append("the writer does not go round")
        if self.hub.receiver.connected_unix_ms is None:
            faults.append("the broker is not connected")
        if self.hub.storage_fault:
            faults.append("the database cannot be written")
        if self.hub.log_fault:
            faults.append("the log does not go on")
        return JSONResponse({"ok": not faults, "faults": faults}, 503 if faults else 200)


def _with_limits(found: dict, known, gateways: set[str]) -> None:
    """Put the limits that people set beside the sensors that they are for."""
    for one in found["sensors"]:
        one["limits"] = [
            {"above": each.above, "below": each.below, "minutes": each.minutes}
            for each in known
            if (each.instrument, each.quantity) == (one["instrument"], one["quantity"]) and each.gateway in gateways
        ]


def _wrong(why: str) -> Response:
    return JSONResponse({"error": why}, 400)


def _busy() -> Response:
    return JSONResponse({"error": "too many questions at once"}, 503, {"Retry-After": "2"})
