"""The log over plain HTTP, for anybody: C2SP's checkpoint, tiles and entry bundles, and proofs ready made.

/log/checkpoint                  the newest signed checkpoint (c2sp.org/tlog-checkpoint)
/log/tile/L/N[.p/W]              hashes (c2sp.org/tlog-tiles)
/log/tile/entries/N[.p/W]        entries: hashes of what was signed; never a reading
/log/key                         the log's public keys
/log/receipt/LEAF                COSE receipt of a leaf (RFC 9942)
/log/consistency/SIZE            COSE receipt that a tree of SIZE leaves is the beginning of the newest
/log/proof/LEAF                  c2sp.org/tlog-proof
/log/batch/GATEWAY/EPOCH/SEQ     which leaf a batch is, as JSON
"""

from __future__ import annotations

import re
from collections.abc import Callable

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from host_tools.log.keys import LogError
from host_tools.log.log import Log
from host_tools.log.tree import WIDTH, tile_path

RECEIPT_TYPE = 'application/cose; cose-type="cose-sign1"'
TEXT = "text/plain; charset=utf-8"
_TILE = re.compile(r"(entries|[0-9]{1,2})/((?:x[0-9]{3}/){0,5}[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?")
_FOR_EVER = {"Cache-Control": "public, max-age=31536000, immutable"}
_MUTABLE = {"Cache-Control": "no-cache"}


def parse_tile(path: str) -> tuple[int | None, int, int] | None:
    """(level, or None for entries; number; width) of a tile's path in its one form, else None."""
    found = _TILE.fullmatch(path)
    if not found:
        return None
    level = None if found[1] == "entries" else int(found[1])
    number = int("".join(part.lstrip("x") for part in found[2].split("/")))
    width = int(found[3]) if found[3] else WIDTH
    if width > WIDTH or found[3] and width == WIDTH:
        return None
    right = tile_path(level or 0, number, width)
    if level is None:
        right = "entries" + right[1:]
    return (level, number, width) if right == path else None


class LogPages:
    """Answers for the log in `data_dir`; each question opens it anew, so it never waits for the hub."""

    def __init__(self, data_dir):
        self.data_dir = data_dir

    def routes(self) -> list[Route]:
        return [
            Route("/log/checkpoint", self.checkpoint),
            Route("/log/key", self.key),
            Route("/log/tile/{path:path}", self.tile),
            Route("/log/receipt/{leaf:int}", self.receipt),
            Route("/log/consistency/{size:int}", self.consistency),
            Route("/log/proof/{leaf:int}", self.proof),
            Route("/log/batch/{gateway}/{epoch}/{seq:int}", self.batch),
        ]

    async def _ask(self, ask: Callable[[Log], Response]) -> Response:
        def run():
            with Log.open(self.data_dir) as log:
                return ask(log)

        try:
            return await run_in_threadpool(run)
        except LogError as error:
            return PlainTextResponse(f"{error}\n", 404)

    async def checkpoint(self, _request: Request) -> Response:
        return await self._ask(lambda log: Response(log.checkpoint().note, headers=_MUTABLE, media_type=TEXT))

    async def key(self, _request: Request) -> Response:
        def ask(log):
            return Response("\n".join([log.key_xy.hex(), *log.verifier_keys, ""]), headers=_MUTABLE, media_type=TEXT)

        return await self._ask(ask)

    async def tile(self, request: Request) -> Response:
        asked = parse_tile(request.path_params["path"])
        if asked is None:
            return PlainTextResponse("not the path of a tile\n", 404)
        level, number, width = asked

        def ask(log):
            found = log.entries(number, width) if level is None else log.tile(level, number, width)
            if found is None:
                return PlainTextResponse("the newest checkpoint has no such tile\n", 404)
            return Response(found, headers=_FOR_EVER, media_type="application/octet-stream")

        return await self._ask(ask)

    async def receipt(self, request: Request) -> Response:
        leaf = request.path_params["leaf"]
        return await self._ask(lambda log: Response(log.receipt(leaf), headers=_MUTABLE, media_type=RECEIPT_TYPE))

    async def consistency(self, request: Request) -> Response:
        size = request.path_params["size"]

        def ask(log):
            return Response(log.consistency_receipt(size), headers=_MUTABLE, media_type=RECEIPT_TYPE)

        return await self._ask(ask)

    async def proof(self, request: Request) -> Response:
        leaf = request.path_params["leaf"]
        return await self._ask(lambda log: Response(log.tlog_proof(leaf), headers=_MUTABLE, media_type=TEXT))

    async def batch(self, request: Request) -> Response:
        place = request.path_params

        def ask(log):
            found = log.find_batch(place["gateway"], place["epoch"], place["seq"])
            return JSONResponse({"leaf": found.leaf_index, "entry": found.entry.hex()}, headers=_MUTABLE)

        return await self._ask(ask)
