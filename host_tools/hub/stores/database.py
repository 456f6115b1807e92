"""The hub's database file: opened, made, brought up from an older format."""

import os
import sqlite3
from pathlib import Path

from host_tools.hub.production import index
from host_tools.hub.stores import kept, places
from host_tools.hub.stores.schema import ALARMS, FORMAT, LOTS, PLACES, TABLES, TO_FORMAT_2, TO_FORMAT_3, TO_FORMAT_4
from parkgate.errors import ParkgateError

DATABASE_FILE = "hub.sqlite"
BUSY_TIMEOUT_MS = 10_000


class StoreError(ParkgateError):
    """The database cannot be used: of another format, or not a database."""


def existing(data_dir) -> Path:
    """The data folder of a hub that has run. Raises StoreError: a mistyped name must not become another hub."""
    if not (Path(data_dir) / DATABASE_FILE).is_file():
        raise StoreError(f"there is no hub in {data_dir}; is the name right? `parkgate hub --data DIR` makes one")
    return Path(data_dir)


def connect(data_dir, read_only: bool = False, name: str = DATABASE_FILE) -> sqlite3.Connection:
    """A connection to the hub's database, made with its tables at first. Raises StoreError. A read-only one of a file
    on a medium that cannot be written reads what is in that file alone."""
    path = Path(data_dir) / name
    connection = None
    try:
        if read_only:
            alone = name != DATABASE_FILE and not path.with_name(f"{name}-wal").exists()  # a backup stays as it is
            mode = "mode=ro&immutable=1" if alone or not os.access(path.parent, os.W_OK) else "mode=ro"
            connection = sqlite3.connect(
                f"{path.absolute().as_uri()}?{mode}", uri=True, check_same_thread=False, isolation_level=None
            )
        else:
            connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        if not read_only:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("BEGIN IMMEDIATE")
            _bring_up(connection)
            connection.execute("COMMIT")
        found = connection.execute("PRAGMA user_version").fetchone()[0]
    except BaseException as error:  # Ctrl-C too: nothing stays locked
        if connection is not None:
            connection.close()
        if isinstance(error, sqlite3.Error):
            raise StoreError(f"cannot open {path}: {error}") from None
        raise
    if found != FORMAT:
        if found > FORMAT:
            why = f"it was written by a newer parkgate (format {found}); this one reads formats up to {FORMAT}"
        else:
            why = f"it has the older format {found}: start the hub once, or `parkgate enrol --list`, to bring it up"
        raise StoreError(f"{path}: {why}")
    return connection


def _bring_up(connection) -> None:
    """Make the tables, or bring those of an older format up to this one."""
    before = connection.execute("PRAGMA user_version").fetchone()[0]
    if before not in range(FORMAT):
        return
    if before == 0:
        _run(connection, TABLES)
    if before == 1:
        _run(connection, TO_FORMAT_2 + _tables("periods"))
    if before in (1, 2):
        _run(connection, _tables("gateway_history") + _tables("beats") + TO_FORMAT_3)
        kept.take_standing(connection)
    if before in (1, 2, 3):
        _run(connection, _tables("sums") + _tables("sums_due") + TO_FORMAT_4)
    if before in (1, 2, 3, 4):
        _run(connection, PLACES)
        places.take_gateways(connection)
    if before in (1, 2, 3, 4, 5):
        _run(connection, LOTS)
        index.make(connection)
    if before in (1, 2, 3, 4, 5, 6):
        _run(connection, ALARMS)
    if 0 < before < 8:
        _run(connection, _tables("gateway_key"))
    connection.execute(f"PRAGMA user_version = {FORMAT}")


def _run(connection, text: str) -> None:
    for statement in text.split(";\n"):
        if statement.strip():
            connection.execute(statement)


def _tables(name: str) -> str:
    """The statements of TABLES that make the table `name` and its index."""
    wanted = f"CREATE TABLE {name} ", f"CREATE INDEX {name}_of "
    found = [part for part in TABLES.split(";\n") if any(text in part for text in wanted)]
    return "".join(part[part.index("CREATE ") :] + ";\n" for part in found)
