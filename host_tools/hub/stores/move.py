"""A hub's data, taken from the file in its folder to a PostgreSQL server: all of it or nothing.

No hub may run meanwhile. Every row is written in one transaction, read back from the server, and compared with the file
by its hash before the transaction is committed. The file stays, under another name.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from host_tools.base import folder_lock
from host_tools.hub.stores.backup import LOCK_FILE
from host_tools.hub.stores.database import StoreError, connect, existing
from host_tools.hub.stores.schema import FORMAT, TABLES
from host_tools.log import tables as log_tables
from host_tools.log.database import opening
from host_tools.log.database.seam import Database, DatabaseError

MOVED_FILE = "hub.moved.sqlite"


def move(data_dir, url: str, password_file: str | None = None, tell: Callable[[str], None] = lambda _: None) -> dict:
    """Returns {"tables": {name: rows}, "seconds": …}. Raises StoreError, SettingsError, FileTrouble; then the hub is
    where it was, and the server's database is as empty as before."""
    folder = existing(data_dir)
    opening.check_url(url)
    if not opening.is_file(folder):
        raise StoreError(f"the hub of {folder} is in a server already: only a hub's file can be moved")
    try:
        lock = folder_lock.hold(folder / LOCK_FILE)
    except BlockingIOError:
        raise StoreError(f"a hub runs on {folder}: end it first; gateways keep what they have meanwhile") from None
    try:
        began_s = time.monotonic()
        connect(folder).close()  # of an older format: brought up first
        with (
            contextlib.closing(opening.opened(folder, read_only=True)) as source,
            contextlib.closing(opening.opened_server(url, password_file, folder)) as target,
        ):
            rows = _copy(source, target, tell)
        opening.choose_server(folder, url, password_file)
        _put_aside(folder)
        return {"tables": rows, "seconds": round(time.monotonic() - began_s, 1)}
    except DatabaseError as error:
        raise StoreError(f"nothing was moved: {error}") from None
    finally:
        os.close(lock)


def _copy(source: Any, target: Any, tell) -> dict[str, int]:
    if not target.hold():
        raise StoreError("a hub runs on that database: name an empty one")
    if target.format():
        raise StoreError("that database holds a hub's data already: name an empty one")
    source.begin_snapshot()
    rows: dict[str, int] = {}
    with target.transaction():
        target.make(TABLES)
        log_tables.make(target)
        there, made = set(source.tables()), target.tables()
        if not there <= set(made):
            raise StoreError(f"the file has tables that are not a hub's: {', '.join(sorted(there - set(made)))}")
        for table in (name for name in made if name in there):
            columns, order = source.columns(table)
            tell(table)
            target.fill(table, columns, _rows(source, table, columns, order))
            wanted, found = (_seen(db, table, columns, order) for db in (source, target))
            if wanted != found:
                raise StoreError(
                    f"the table {table} is not the same in the server ({found[0]} rows) as in the file ({wanted[0]}"
                    " rows). Nothing was moved"
                )
            rows[table] = wanted[0]
        target.set_format(FORMAT)
    return rows


def _rows(db: Database, table: str, columns: list[str], order: list[str]) -> Iterator[tuple]:
    question = f"SELECT {', '.join(columns)} FROM {table} ORDER BY {', '.join(order)}"
    for row in db.iterate(question):
        yield db.plain(table, row)  # type: ignore[attr-defined]


def _seen(db: Database, table: str, columns: list[str], order: list[str]) -> tuple[int, str]:
    """(rows, hash of all of them in their order)."""
    count, found = 0, hashlib.sha256()
    for row in _rows(db, table, columns, order):
        found.update(repr(row).encode())
        count += 1
    return count, found.hexdigest()


def _put_aside(folder: Path) -> None:
    """From here on `store.json` says where the hub is; the file is not opened by mistake."""
    path = folder / opening.DATABASE_FILE
    for ending in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + ending).rename(folder / f"{MOVED_FILE}{ending}")
