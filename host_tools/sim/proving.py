"""The demo's proof of one lot, for a buyer to drop on verify.html."""

from __future__ import annotations

import contextlib
from pathlib import Path
from types import SimpleNamespace

from host_tools.archive import command, selection
from host_tools.base import files
from host_tools.hub.production import proof
from host_tools.hub.production.floor import LotError
from host_tools.hub.stores.store import connect


def page() -> str:
    """The verifier as a page."""
    return files.read_text(command.HERE / "verify.html")


def write_proof(folder: Path, lot: str, out: Path) -> bool:
    """Write the proof of a lot from the hub in `folder`, once all that was signed of it has arrived; whether it was
    written. One of an earlier run is replaced. Raises ArchiveError, StoreError, FileTrouble."""
    with contextlib.closing(connect(folder, read_only=True)) as db:
        try:
            jobs = proof.prove(db, lot).jobs
        except LotError:
            return False
    if not all(job.is_whole and job.job.stop is not None for job in jobs):
        return False
    out.unlink(missing_ok=True)
    asked = SimpleNamespace(data=folder, messages=None, lot=lot, gateway=None, place=None, zone="UTC", out=out)
    command.write(asked, selection.Span(None, None), command.zone_of("UTC"))
    return True
