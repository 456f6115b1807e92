"""GET /api/export: the readings as a file, by the same code as `parkgate export`. It streams: memory holds one group of
batches, however long the file is."""

from __future__ import annotations

import threading
import time
import zlib
from collections.abc import Iterator

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from host_tools.hub.export import question, rows
from host_tools.hub.people.door import Door, visitor_of
from host_tools.hub.service import Hub
from host_tools.hub.stores import gateways, places
from host_tools.hub.stores.store import connect
from host_tools.hub.web.connections import PROGRESS
from host_tools.log.database.seam import Database
from parkgate.errors import SettingsError

EXPORTS_AT_ONCE = 2  # each keeps a snapshot of the database
EXPORT_S = 3600.0  # … no longer than this
WORDS = ("format", "from", "to", "day", "month", "zone")
NAMES = ("gateway", "place", "instrument", "quantity")
FLAGS = ("undated", "excel", "decimal-comma")
_END = b""


class ExportPages:
    """Answers with files, EXPORTS_AT_ONCE at a time, of what belongs to the visitor."""

    def __init__(self, hub: Hub, door: Door):
        self.hub, self.door = hub, door
        self._free = threading.BoundedSemaphore(EXPORTS_AT_ONCE)

    async def export(self, request: Request) -> Response:
        """GET /api/export."""
        query = request.query_params
        unknown = query.keys() - {*WORDS, *NAMES, *FLAGS}
        if unknown or any(query.get(flag, "1") != "1" for flag in FLAGS):
            known = ", ".join((*WORDS, *NAMES, *(f"{flag}=1" for flag in FLAGS)))
            return JSONResponse({"error": f"what can be asked with: {known}"}, 400)
        if not self._free.acquire(blocking=False):
            return JSONResponse({"error": "too many exports at once"}, 503, {"Retry-After": "10"})
        export = _Export(self.hub.data_dir, self._free, visitor_of(request).places, await self.door.own(request))
        try:
            await run_in_threadpool(export.open, query, "gzip" in request.headers.get("accept-encoding", ""))
        except SettingsError as error:
            export.close()
            return JSONResponse({"error": str(error)}, 400)
        except BaseException:
            export.close()
            raise
        return _Download(export, request.scope.get(PROGRESS, lambda: None))


class _Export:
    """One export: its connection, its pieces, and its turn."""

    def __init__(self, data_dir, free: threading.BoundedSemaphore, own_places, own_gateways: set[str] | None):
        """`own_places` and `own_gateways` are ids of what belongs to the visitor, None for all."""
        self.data_dir = data_dir
        self._own_places, self._own_gateways = own_places, own_gateways
        self.tally = rows.Tally()
        self.headers: dict[str, str] = {}
        self._free: threading.BoundedSemaphore | None = free
        self._db: Database | None = None
        self._pieces: Iterator[bytes] = iter(())
        self._until_s = time.monotonic() + EXPORT_S

    def open(self, query, compressed: bool) -> None:
        """Understand the question and make the first piece. Raises SettingsError, StoreError."""
        self._db = connect(self.data_dir, read_only=True)
        self._db.begin_snapshot()
        words = {name: query[name] for name in WORDS if name in query}
        names = {name: query.getlist(name) for name in NAMES}
        if self._own_gateways is not None:
            self._check_own(names)
        wanted = question.ask(self._db, words, names, [flag for flag in FLAGS if flag in query])
        self._pieces = question.answer(self._db, wanted, self.tally)
        span = words.get("day") or words.get("month")
        name = (
            f"readings{f'-{span}' if span else ''}"
            if wanted.form not in ("events", "outages", "availability")
            else wanted.form
        )
        ending = {"senml-json": "senml", "senml-cbor": "senmlc", "parquet": "parquet"}.get(wanted.form, "csv")
        self.headers = {
            "content-type": wanted.media_type(),
            "content-disposition": f'attachment; filename="{name}.{ending}"',
        }
        if compressed:
            self.headers |= {"content-encoding": "gzip", "vary": "Accept-Encoding"}
            self._pieces = _compressed(self._pieces)

    def _check_own(self, names: dict[str, list[str]]) -> None:
        """Only what belongs to the visitor: each name given must be one of his; without a name he gets all that is his.
        Raises SettingsError."""
        assert self._db is not None and self._own_gateways is not None
        for name in (*names["place"], *names["gateway"]):
            is_place = name in names["place"]
            try:
                if is_place:
                    mine = places.find(self._db, name).id.hex() in self._own_places
                else:
                    mine = gateways.find(self._db, name)[1].hex() in self._own_gateways
            except SettingsError:  # it may name what is not his
                mine = False
            if not mine:
                raise SettingsError(f"there is no {'place' if is_place else 'gateway'} {name!r}")
        if not names["place"] and not names["gateway"]:
            names["gateway"] = sorted(self._own_gateways)
            if not names["gateway"]:
                raise SettingsError("no gateway stands at your places")

    def piece(self) -> bytes:
        """The next piece, _END behind the last one. A damaged batch is then an alarm of its gateway."""
        if time.monotonic() > self._until_s:
            raise TimeoutError(f"an export took longer than {EXPORT_S:.0f} s")
        found = next(self._pieces, _END)
        if found == _END:
            self.tally.damaged.alarm(self.data_dir)
        return found

    def close(self) -> None:
        """End it; again does nothing."""
        close = getattr(self._pieces, "close", None)
        if close:
            close()
        if self._db is not None:
            self._db.close()
        if self._free is not None:
            self._free.release()
            self._free = None


class _Download(StreamingResponse):
    """An answer of unknown length. What fails on the way ends the connection without an end of the answer, so that no
    half file is taken for a whole one."""

    def __init__(self, export: _Export, progress):
        self._export, self._progress = export, progress
        super().__init__(self._body(), headers=export.headers)

    async def _body(self):
        while (piece := await run_in_threadpool(self._export.piece)) != _END:
            yield piece
            self._progress()

    async def __call__(self, scope, receive, send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._export.close()


def _compressed(pieces: Iterator[bytes]) -> Iterator[bytes]:
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)  # as gzip; fast, and in the export's own thread
    for piece in pieces:
        if packed := packer.compress(piece):
            yield packed
    yield packer.flush()
