"""The hub's database: opened, made, brought up from an older format."""

from pathlib import Path

from host_tools.hub.production import index
from host_tools.hub.stores import kept, places
from host_tools.hub.stores.schema import (
    ALARMS,
    FORMAT,
    HOLDS,
    LOTS,
    PLACES,
    TABLES,
    TO_FORMAT_2,
    TO_FORMAT_3,
    TO_FORMAT_4,
)
from host_tools.log.database.opening import DATABASE_FILE, is_file, is_there, opened
from host_tools.log.database.seam import Database, DatabaseError
from parkgate.errors import ParkgateError


class StoreError(ParkgateError):
    """The database cannot be used: of another format, or not a database."""


def existing(data_dir) -> Path:
    """The data folder of a hub that has run. Raises StoreError: a mistyped name must not become another hub."""
    if not is_there(data_dir):
        raise StoreError(f"there is no hub in {data_dir}; is the name right? `parkgate hub --data DIR` makes one")
    return Path(data_dir)


def connect(data_dir, read_only: bool = False, name: str = DATABASE_FILE) -> Database:
    """A connection to the hub's database, made with its tables at first. Raises StoreError. A read-only one of a file
    on a medium that cannot be written reads what is in that file alone."""
    path = Path(data_dir) / name if is_file(data_dir) else Path(data_dir)
    connection = None
    try:
        connection = opened(data_dir, read_only, name)
        if not read_only:
            with connection.transaction():
                _bring_up(connection)
        found = connection.format()
    except BaseException as error:  # Ctrl-C too: nothing stays locked
        if connection is not None:
            connection.close()
        if isinstance(error, DatabaseError):
            raise StoreError(f"cannot open {path}: {error}") from None
        raise
    if found != FORMAT:
        if found > FORMAT:
            why = f"it was written by a newer parkgate (format {found}); this one reads formats up to {FORMAT}"
        else:
            why = f"it has the older format {found}: start the hub once, or `parkgate enrol --list`, to bring it up"
        raise StoreError(f"{path}: {why}")
    return connection


def _bring_up(connection: Database) -> None:
    """Make the tables, or bring those of an older format up to this one."""
    before = connection.format()
    if before not in range(FORMAT):
        return
    if before == 0:
        connection.make(TABLES)
    if before == 1:
        connection.make(TO_FORMAT_2 + _tables("periods"))
    if before in (1, 2):
        connection.make(_tables("gateway_history") + _tables("beats") + TO_FORMAT_3)
        kept.take_standing(connection)
    if before in (1, 2, 3):
        connection.make(_tables("sums") + _tables("sums_due") + TO_FORMAT_4)
    if before in (1, 2, 3, 4):
        connection.make(PLACES)
        places.take_gateways(connection)
    if before in (1, 2, 3, 4, 5):
        connection.make(LOTS)
        index.make(connection)
    if before in (1, 2, 3, 4, 5, 6):
        connection.make(ALARMS)
    if 0 < before < 8:
        connection.make(_tables("gateway_key"))
    if 0 < before < 9:
        connection.make(HOLDS)
    connection.set_format(FORMAT)


def _tables(name: str) -> str:
    """The statements of TABLES that make the table `name` and its index."""
    wanted = f"CREATE TABLE {name} ", f"CREATE INDEX {name}_of "
    found = [part for part in TABLES.split(";\n") if any(text in part for text in wanted)]
    return "".join(part[part.index("CREATE ") :] + ";\n" for part in found)
