"""What the hub and its log ask of a database: `Database`. Behind it stands SQLite, a file in the hub's folder, or
PostgreSQL.

    db.execute(question, values)         one statement; `?` or `:name` stands for a value; rows come as tuples
    db.executemany(question, rows)       the same statement for each row
    db.each(question, rows)              the same, where no two concern the same row of the table
    db.append(table, columns, row)       a new row that may be written later: before the next statement, or at COMMIT
    db.iterate(question, values)         the rows of a long answer, a part of it in memory at a time
    with db.transaction():               all or nothing; one writer at a time, whatever process it is in
    db.begin_snapshot()                  from here to `close`, all answers are of one moment
    db.about(name), db.set_about(…)      facts of the database as a whole, in its table `about`
    db.has_table(name), db.make(sql)     tables
    db.format(), db.set_format(number)   of its tables, 0 where there are none yet
    db.version()                         another number as soon as another connection has changed something
    db.hold()                            be the one hub of this database; False when another one is
    db.folder                            the data folder that belongs to it: keys, tiles, operators

SQL is plain, so that every database takes it: INSERT … ON CONFLICT (…) DO UPDATE or DO NOTHING, with columns named
`table.column` where `excluded.column` stands beside them; RETURNING instead of the last row's number; CASE instead of
min and max of two values; `IS NOT NULL`; a name for each subquery in FROM. Bytes become text in Python, not by hex().

Errors are those of Python's DB-API (PEP 249), for every database the same classes: `DatabaseError` for all of them,
NOT_STORABLE where what was to be stored is at fault, and not the database; `Late` is one of these.

`append` exists because a statement for each row costs a server a round trip each: 128 batches are a thousand. Rows are
written in the order of the tables, each table's together; what comes behind them sees them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

DatabaseError = sqlite3.Error
IntegrityError, DataError, InterfaceError = sqlite3.IntegrityError, sqlite3.DataError, sqlite3.InterfaceError
OperationalError = sqlite3.OperationalError
NOT_STORABLE = (IntegrityError, DataError, InterfaceError)


class Late(DataError):
    """Rows that were appended cannot be stored. Which of them is at fault is not known."""


Values = Sequence[Any] | Mapping[str, Any]
Fact = str | bytes | int | None


# Where a database wants one type a column, facts are text, so that any program can read them; those that are bytes or a
# number begin with a sign of theirs.


def fact_as_text(value: Fact) -> str | None:
    """As it stands in the table `about`."""
    if isinstance(value, bytes):
        return f"\x01bytes {value.hex()}"
    return f"\x01number {value}" if isinstance(value, int) else value


def fact_of_text(text: str | None) -> Fact:
    """What `fact_as_text` wrote."""
    if text is not None and text.startswith("\x01bytes "):
        return bytes.fromhex(text[7:])
    return int(text[8:]) if text is not None and text.startswith("\x01number ") else text


def without_nul(text: str) -> str:
    """A text of PostgreSQL holds no NUL: what a stranger sends is stored with the sign for it in its place."""
    return text.replace("\0", "\u2400") if "\0" in text else text


class Waiting:
    """Rows that were appended and are not written yet, by (table, columns)."""

    def __init__(self):
        self._rows: dict[tuple[str, str], list[Sequence[Any]]] = {}

    def __bool__(self) -> bool:
        return bool(self._rows)

    def add(self, table: str, columns: str, row: Sequence[Any]) -> None:
        self._rows.setdefault((table, columns), []).append(row)

    def take(self) -> dict[tuple[str, str], list[Sequence[Any]]]:
        """All of them; none is waiting afterwards."""
        rows, self._rows = self._rows, {}
        return rows


class Cursor(Protocol):
    """The answer to one statement."""

    @property
    def rowcount(self) -> int: ...

    def fetchone(self) -> Any: ...

    def fetchmany(self, size: int = ..., /) -> list[Any]: ...

    def fetchall(self) -> list[Any]: ...

    def __iter__(self) -> Iterator[Any]: ...


class Database(Protocol):
    """One connection to a hub's database. Each call may raise DatabaseError."""

    folder: Path

    @property
    def in_transaction(self) -> bool: ...

    def execute(self, question: str, values: Any = ..., /) -> Cursor: ...

    def executemany(self, question: str, rows: Iterable[Any], /) -> Cursor: ...

    def each(self, question: str, rows: Sequence[Sequence[Any]], /) -> None: ...

    def append(self, table: str, columns: str, row: Sequence[Any], /) -> None: ...

    def iterate(self, question: str, values: Values = ()) -> Cursor: ...

    def transaction(self) -> AbstractContextManager[None]: ...

    def begin_snapshot(self) -> None: ...

    def about(self, name: str) -> Any: ...

    def set_about(self, name: str, value: Fact) -> None: ...

    def has_table(self, name: str) -> bool: ...

    def make(self, sql: str) -> None: ...

    def format(self) -> int: ...

    def set_format(self, number: int) -> None: ...

    def version(self) -> int: ...

    def hold(self) -> bool: ...

    def close(self) -> None: ...
