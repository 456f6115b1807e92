"""For an auditor at the hub: what is signed, who has seen it, and an archive to take away.

/api/log                     the newest checkpoint, who witnesses the log, the newest time stamps
/api/log/consistency         ?size=N: what proves that the checkpoint of N leaves is the beginning of the newest one
/api/log/code                ?page=ADDRESS: the newest checkpoint as a QR code of the page's address (SVG)
/api/archive                 ?from=DAY&to=DAY&gateway=NAME, or ?lot=NAME: as `parkgate archive`; a file
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import sys
import tempfile
from base64 import urlsafe_b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import segno
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from host_tools.hub.web import guards
from host_tools.log import stamps
from host_tools.log.keys import LogError
from host_tools.log.log import Checkpoint, Log
from host_tools.log.tables import STATEMENT
from parkgate import events
from parkgate.errors import FormatError
from parkgate.log.statement import Statement
from parkgate.wire import cbor
from parkgate.wire.cose import thumbprint

CODE_CHARACTERS_MAX = 300
STAMPS_SHOWN = 20
ARCHIVE_S = 600
ASKED = {"from": "--from", "to": "--to", "gateway": "--gateway", "place": "--place", "lot": "--lot"}
_BUSY = {"error": "too many questions at once"}


def code_text(page: str, log_id: bytes, made: Checkpoint) -> str:
    """What the QR code says: the page's address, and behind # log id, size, root and signature (base64url)."""
    parts = (_short(log_id), str(made.size), _short(made.root), _short(made.signature))
    return f"{page}#{'.'.join(parts)}"


def _short(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def witnesses(log: Log) -> list[dict]:
    """Each gateway, and the newest checkpoint that it holds by its own signed word; `agrees`: it is one of this log."""
    found = []
    for gw, kid, name in log.db.execute("SELECT gw, kid, name FROM gateway ORDER BY name").fetchall():
        row = log.db.execute(
            "SELECT event, received_unix_ms FROM event JOIN epoch USING (ep) JOIN batch USING (ep, seq)"
            " WHERE gw = ? AND event.kind = ? ORDER BY ep DESC, seq DESC LIMIT 1", (gw, events.CHECKPOINT_HELD),
        ).fetchone()  # fmt: skip
        size: Any = None
        root: Any = None
        if row:
            with contextlib.suppress(FormatError, ValueError, TypeError):
                held: Any = cbor.decode(row[0])
                _, size, root = held
        agrees = None
        if type(size) is int and type(root) is bytes:
            agrees = 0 < size <= log.size and log.root(size) == root
        found.append({
            "gateway": name, "id": kid.hex(), "size": size if agrees is not None else None, "agrees": agrees,
            "received_unix_ms": row[1] if row else None,
        })  # fmt: skip
    return found


def stamped(log: Log) -> list[dict]:
    """The newest time stamps: which size, by whom, when the hub had it."""
    found, leaf = [], log.size
    while len(found) < STAMPS_SHOWN:
        at = stamps.last_before(log.db, leaf)
        if at is None:
            break
        said, leaf = Statement(log.statement(at)), at
        facts = said.facts
        found.append({
            "leaf": at, "size": facts["size"], "authority": facts.get("authority"), "unix_ms": said.time_ms,
        })  # fmt: skip
    return found


class AuditPages:
    """`questions` bounds what is asked of the database at once."""

    def __init__(self, data_dir, questions: guards.Questions):
        self._data_dir, self._questions = Path(data_dir), questions
        self._writing = asyncio.Semaphore(1)

    def routes(self) -> list[Route]:
        return [
            Route("/api/log", self.log),
            Route("/api/log/consistency", self.consistency),
            Route("/api/log/code", self.code),
            Route("/api/archive", self.archive),
        ]

    async def _ask(self, ask: Callable[[Log], Response]) -> Response:
        def run() -> Response:
            with Log.open(self._data_dir) as log:
                return ask(log)

        try:
            async with self._questions:
                return await run_in_threadpool(run)
        except LogError as error:
            return JSONResponse({"error": str(error)}, 404)
        except guards.Busy:
            return JSONResponse(_BUSY, 503, {"Retry-After": "2"})

    async def log(self, _request: Request) -> Response:
        def ask(log: Log) -> Response:
            made = log.checkpoint()
            statements = log.db.execute("SELECT count(*) FROM leaf WHERE kind = ?", (STATEMENT,)).fetchone()[0]
            return JSONResponse({
                **_checkpoint(log, made), "signed_unix_ms": made.signed_unix_ms, "hub_statements": statements,
                "witnesses": witnesses(log), "stamps": stamped(log),
            })  # fmt: skip

        return await self._ask(ask)

    async def consistency(self, request: Request) -> Response:
        text = request.query_params.get("size", "")
        if not text.isascii() or not text.isdigit() or len(text) > 19 or int(text) == 0:
            return JSONResponse({"error": "size is the number of leaves of an earlier checkpoint"}, 400)

        def ask(log: Log) -> Response:
            made, size = log.checkpoint(), int(text)
            if size > made.size:
                return JSONResponse({"error": f"this log has {made.size} leaves, and not {size}"}, 404)
            path = log.consistency(size, made.size)
            return JSONResponse({**_checkpoint(log, made), "old_size": size, "path": [each.hex() for each in path]})

        return await self._ask(ask)

    async def code(self, request: Request) -> Response:
        page = request.query_params.get("page", "")
        parts = urlsplit(page)
        if parts.scheme not in ("http", "https") or parts.netloc != request.headers.get("host") or "#" in page:
            return JSONResponse({"error": "page is the address under which this page was opened"}, 400)

        def ask(log: Log) -> Response:
            text = code_text(page, log.log_id, log.checkpoint())
            if len(text) > CODE_CHARACTERS_MAX:
                return JSONResponse({"error": "the address of this page is too long for a code"}, 400)
            out = io.BytesIO()
            segno.make(text, error="l", micro=False).save(out, kind="svg", border=4, omitsize=True, xmldecl=False)
            return Response(out.getvalue(), media_type="image/svg+xml")

        return await self._ask(ask)

    async def archive(self, request: Request) -> Response:
        """Made by the command of the same name, in a process of its own: what it takes is not the hub's."""
        query = request.query_params
        if query.keys() - ASKED.keys():
            return JSONResponse({"error": f"what can be asked with: {', '.join(ASKED)}"}, 400)
        words = [f"{ASKED[name]}={value}" for name, value in query.multi_items() if value]
        if self._writing.locked():
            return JSONResponse({"error": "an archive is being made: ask again soon"}, 503, {"Retry-After": "10"})
        async with self._writing:
            folder = tempfile.TemporaryDirectory(prefix="parkgate-archive-")
            out = Path(folder.name) / "parkgate-archive.zip"
            try:
                why = await _write(["archive", f"--data={self._data_dir}", f"--out={out}", *words])
            except BaseException:
                folder.cleanup()
                raise
        if why is not None:
            folder.cleanup()
            return JSONResponse({"error": why}, 400)
        return FileResponse(
            out, media_type="application/zip", filename=out.name, background=BackgroundTask(folder.cleanup)
        )


def _checkpoint(log: Log, made: Checkpoint) -> dict:
    return {
        "log": log.log_id.hex(), "key": log.key_xy.hex(), "key_id": thumbprint(log.key_xy).hex(), "size": made.size,
        "root": made.root.hex(), "signature": made.signature.hex(),
    }  # fmt: skip


async def _write(words: list[str]) -> str | None:
    """Run the command; None when it went well, else what it says."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "host_tools.cli", *words,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        _, said = await asyncio.wait_for(process.communicate(), ARCHIVE_S)
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        raise
    return None if process.returncode == 0 else said.decode(errors="replace").strip()[-500:] or "it could not be made"
