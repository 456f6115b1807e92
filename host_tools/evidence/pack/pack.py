"""Writes an evidence pack. Its members are named with their hashes in a signed statement of the hub's log, so that the
pack has a place in the log and none of its members can be exchanged."""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
import zipfile
from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

from host_tools.archive import command as archive
from host_tools.base import files
from host_tools.evidence.pack import figures, paper
from host_tools.evidence.pack.check import KEY, STATEMENT
from host_tools.evidence.pack.factors import Factor
from host_tools.hub.park import zone
from host_tools.hub.production.floor import Floor
from host_tools.hub.stores.gateways import whoami
from host_tools.hub.stores.places import Place
from host_tools.log import keys, record
from host_tools.log.database.seam import Database
from host_tools.log.log import Log
from parkgate.errors import SettingsError
from parkgate.log import statement

HERE = Path(__file__).parent
ARCHIVE = "proofs/archive.zip"
MONTHS_MAX = 36


class Asked(NamedTuple):
    """What a pack is of: whole months from the day `first` to the day `last`."""

    place: Place
    first: date
    last: date
    tz: ZoneInfo
    now_ms: int
    factors: list[Factor]
    enpi: Mapping[str, bytes]  # name → bytes of baseline.json and enpi.json, empty without a baseline


def members(db: Database, data_dir: Path, asked: Asked) -> tuple[dict[str, bytes], list[str]]:
    """(name → bytes of each member, what is left out). Raises SettingsError, ArchiveError."""
    first, last, tz = asked.first, asked.last, asked.tz
    if first.day != 1 or (last + timedelta(days=1)).day != 1 or not 0 <= (last - first).days < 31 * MONTHS_MAX:
        raise SettingsError(f"a pack is of 1 to {MONTHS_MAX} whole months: --from 2026-01-01 --to 2026-12-31")
    begin, end = zone.midnight(first, tz), zone.midnight(last + timedelta(days=1), tz)
    if end > asked.now_ms:
        raise SettingsError("the last month is not over: a pack is of months that are")
    made, instruments = figures.months(db, asked.place, first, last, tz, asked.now_ms)
    rows = figures.rows(db, asked.place, made, instruments, asked.factors, tz)
    meters = figures.meters(db, asked.place, instruments, first, last)
    sheet, why = figures.higg(made, asked.place)
    left_out = [] if sheet is not None else [f"higg_fem.csv: {why}"]
    if not asked.enpi:
        left_out.append("a baseline: none was named")
    left_out += [f"{method}-based CO2e: no factor covers the months" for method in ("location", "market")
                 if not any(one.method == method for one in asked.factors)]  # fmt: skip
    used = [one.record for one in asked.factors]
    about = {"place": asked.place.name, "from": first.isoformat(), "to": last.isoformat(), "zone": tz.key,
             "left_out": left_out}  # fmt: skip
    enpi = json.loads(asked.enpi["enpi.json"]) if asked.enpi else None
    lots = figures.lots(Floor(db), asked.place, begin, end, asked.factors, tz)
    found = {
        "report.html": paper.page(about, rows, meters, used, enpi).encode(),
        "figures.csv": figures.as_csv(figures.HEAD, rows),
        "meters.csv": figures.as_csv(figures.METERS_HEAD, meters),
        "events.csv": figures.as_csv(figures.EVENTS_HEAD, figures.events_of(db, asked.place, begin, end, tz)),
        "lots.csv": figures.as_csv(figures.LOTS_HEAD, lots),
        "factors.json": (json.dumps(used, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode(),
        "mapping.md": (HERE / "mapping.md").read_bytes(),
        **asked.enpi,
    }
    if sheet is not None:
        found["higg_fem.csv"] = figures.as_csv(figures.HIGG_HEAD, sheet)
    for name in ("audit.py", "verify.html"):
        found[name] = files.read_bytes(archive.HERE / name)
    found[ARCHIVE] = _archive(data_dir, asked)
    return found, left_out


def _archive(data_dir: Path, asked: Asked) -> bytes:
    """The signed batches behind the figures, as `parkgate archive --place` writes them."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "archive.zip"
        after = (asked.last + timedelta(days=1)).isoformat()
        args = argparse.Namespace(
            data=str(data_dir), messages=None, key=None, lot=None, gateway=None, place=asked.place.id.hex(), month=None,
            begin=asked.first.isoformat(), end=after, zone=asked.tz.key, out=out,
        )  # fmt: skip
        archive.write(args, archive.span_of(args, asked.tz), asked.tz)
        return out.read_bytes()


def write(db: Database, data_dir: Path, out: Path, asked: Asked, found: Mapping[str, bytes]) -> dict:
    """Sign and write the pack. Returns {"entry", "leaf", "log_key"}. Raises FileTrouble."""
    listed = [[name, len(data), hashlib.sha256(data).digest()] for name, data in sorted(found.items())]
    facts = {
        "place": asked.place.id, "name": asked.place.name, "from": asked.first.isoformat(),
        "to": asked.last.isoformat(), "members": listed,
    }  # fmt: skip
    with record.recording(db) as leaves:
        entry = leaves.statement(statement.EVIDENCE_PACK, facts, whoami(), record.now_unix_ms())
    with Log.open(data_dir) as log:
        leaf = log.leaf_of_entry(entry)
        assert leaf is not None  # it was committed above
        signed = log.statement(leaf)
    key = keys.read(data_dir)
    try:
        with files.creating(out) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as pack:
            for name, data in (*sorted(found.items()), (KEY, f"{key.xy.hex()}\n".encode()), (STATEMENT, signed)):
                info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
                info.external_attr = 0o644 << 16
                info.compress_type = zipfile.ZIP_STORED if name == ARCHIVE else zipfile.ZIP_DEFLATED
                pack.writestr(info, data)
    except OSError as error:
        raise files.trouble("cannot write", out, error) from None
    return {"entry": entry.hex(), "leaf": leaf, "log_key": key.id.hex()}
