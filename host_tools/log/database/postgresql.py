"""The database of a hub in a PostgreSQL server, by psycopg 3.

Writers of all processes wait for one another, as with SQLite: a transaction begins by counting up the one row of the
table `writing`, which locks it. Its number tells the hub that somebody else has changed something.

A connection that is lost outside a transaction is made again at the next statement: a hub goes on as soon as its server
does. Inside a transaction the error ends the transaction.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.types.numeric import Int8BinaryDumper, NumericBinaryLoader
from psycopg.types.string import StrBinaryDumper

from host_tools.log.database import seam
from host_tools.log.database.dialect import in_postgresql
from host_tools.log.database.seam import Fact, Values, fact_as_text, fact_of_text, without_nul

CONNECT_TIMEOUT_S = 10
LOCK_TIMEOUT_S = 10
ROWS_AT_ONCE = 256  # of a long answer
EACH_ROWS_LEAST = 4  # for fewer, arrays are not worth their plan
HUB_LOCK = 0x7061726B67617465  # "parkgate": held by the one hub that runs on this database
_SETTINGS = {
    "client_min_messages": "warning",
    "lock_timeout": f"{LOCK_TIMEOUT_S}s",
    "jit": "off",  # no question here is long enough for it
    "tcp_keepalives_idle": "30",  # the server lets go of a hub whose machine is gone
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
}
# Without these a commit is a promise that the next power cut breaks, and the gateway has erased its own copy by then.
SAFE = {
    "fsync": "a commit may never reach the disk",
    "full_page_writes": "a page that was half written when the power failed cannot be repaired",
    "synchronous_commit": "a commit is answered before it is on the disk",
}
_TABLE = """
CREATE TABLE IF NOT EXISTS writing (
    one BIGINT PRIMARY KEY CHECK (one = 1),
    changes BIGINT NOT NULL,
    format BIGINT NOT NULL
)"""


class Server:
    """How a database is reached: `url` as libpq takes it, without a password; the password is given apart."""

    def __init__(self, url: str, password: str | None = None):
        self.url, self.password = url, password

    def connect(self, read_only: bool) -> psycopg.Connection:
        """A connection with our settings. Raises psycopg.Error."""
        settings = {**_SETTINGS, "default_transaction_read_only": "on" if read_only else "off"}
        given: dict[str, Any] = {} if self.password is None else {"password": self.password}
        connection = psycopg.connect(
            self.url, autocommit=True, connect_timeout=CONNECT_TIMEOUT_S, application_name="parkgate",
            options=" ".join(f"-c {name}={value}" for name, value in settings.items()),
            keepalives_idle=30, keepalives_interval=10, keepalives_count=3, tcp_user_timeout=60_000,
            cursor_factory=psycopg.RawCursor, **given,
        )  # fmt: skip
        connection.adapters.register_dumper(int, Int8BinaryDumper)
        connection.adapters.register_dumper(str, _Text)
        connection.adapters.register_loader("numeric", _Whole)
        return connection


class _Text(StrBinaryDumper):
    """A text of PostgreSQL holds no NUL. What a stranger sends is stored with another sign in its place."""

    def dump(self, obj):
        return super().dump(without_nul(obj))


class _Whole(NumericBinaryLoader):
    """Sums of whole numbers come as numeric: nothing here has a fraction."""

    def load(self, data) -> Any:
        return int(super().load(data))


class Postgresql:
    """As `seam.Database` says."""

    def __init__(self, server: Server, folder: Path, read_only: bool = False):
        """Raises DatabaseError when the server cannot be reached."""
        self.folder = folder
        self._server, self._read_only = server, read_only
        self._connection: psycopg.Connection | None = None
        self._bound = False  # to this connection, by a transaction or a snapshot
        self._own_changes = 0
        self._is_hub = False
        self._names = itertools.count()
        self._waiting = seam.Waiting()
        with _mapped():
            self._usable()

    # One statement.

    def execute(self, question: str, values: Values = (), /) -> Any:  # a psycopg.RawCursor
        if self._waiting:
            self._write()
        sql, given = _translated(question, values)
        with _mapped():
            cursor = psycopg.RawCursor(self._usable())
            cursor.execute(sql, given, binary=True)
            return cursor

    def executemany(self, question: str, rows: Iterable[Sequence[Any]], /) -> psycopg.RawCursor:
        if self._waiting:
            self._write()
        sql, _ = _translated(question, ())
        with _mapped():
            cursor = psycopg.RawCursor(self._usable())
            rows = list(rows)
            if rows:
                cursor.executemany(sql, rows)
            return cursor

    def each(self, question: str, rows: Sequence[Sequence[Any]], /) -> None:
        """One statement, to which the rows come as arrays: a round trip, and one plan, for all of them."""
        if len(rows) < EACH_ROWS_LEAST:
            self.executemany(question, rows)
            return
        columns = list(zip(*rows))
        kinds = tuple(_array_of(column) for column in columns)
        given = [_as_array(column, kind) for column, kind in zip(columns, kinds) if kind]
        if self._waiting:
            self._write()
        with _mapped():
            psycopg.RawCursor(self._usable()).execute(_for_all(question, kinds), given)

    def append(self, table: str, columns: str, row: Sequence[Any], /) -> None:
        assert self._bound, "append is for transactions"
        self._waiting.add(table, columns, row)

    def _write(self) -> None:
        """Write what was appended, each table by one COPY."""
        try:
            with _mapped():
                cursor = psycopg.RawCursor(self._usable())
                for (table, columns), rows in self._waiting.take().items():
                    with cursor.copy(f"COPY {table} ({columns}) FROM STDIN (FORMAT BINARY)".encode()) as copy:
                        for row in rows:
                            copy.write_row(row)
        except (*seam.NOT_STORABLE, OverflowError, TypeError, ValueError) as error:
            raise seam.Late(str(error)) from error

    def iterate(self, question: str, values: Values = ()) -> _Part:
        if self._waiting:
            self._write()
        sql, given = _translated(question, values)
        with _mapped():
            connection = self._usable()
            cursor = psycopg.RawServerCursor(
                connection, f"part_{next(self._names)}", withhold=not self.in_transaction, scrollable=False
            )
            cursor.itersize = ROWS_AT_ONCE
            cursor.execute(sql, given, binary=True)
            return _Part(cursor)

    # Transactions.

    @property
    def in_transaction(self) -> bool:
        connection = self._connection
        return connection is not None and connection.info.transaction_status in (
            TransactionStatus.ACTIVE, TransactionStatus.INTRANS, TransactionStatus.INERROR,
        )  # fmt: skip

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        self.execute("BEGIN")
        self._bound = True
        try:
            self.execute("UPDATE writing SET changes = changes + 1")
            yield
            done = self.execute("COMMIT")
            if done.statusmessage != "COMMIT":  # an error before it was caught on the way: the server rolled back
                raise seam.OperationalError("the transaction was rolled back because of an error in it")
            self._own_changes += 1
        finally:
            self._bound = False
            self._waiting.take()
            if self.in_transaction:
                self._roll_back()

    def _roll_back(self) -> None:
        connection = self._connection
        try:
            if connection is not None:
                connection.execute("ROLLBACK")
        except psycopg.Error:
            self.close()

    def begin_snapshot(self) -> None:
        self.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        self._bound = True

    # Facts and tables.

    def about(self, name: str) -> Fact:
        row = self.execute("SELECT value FROM about WHERE name = ?", (name,)).fetchone()
        return fact_of_text(row[0]) if row else None

    def set_about(self, name: str, value: Fact) -> None:
        question = "INSERT INTO about VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
        self.execute(question, (name, fact_as_text(value)))

    def has_table(self, name: str) -> bool:
        return self.execute("SELECT to_regclass(?) IS NOT NULL", (name,)).fetchone()[0]

    def make(self, sql: str) -> None:
        for statement in in_postgresql(sql):
            self.execute(statement)

    def format(self) -> int:
        if not self.has_table("writing"):
            return 0
        return self.execute("SELECT format FROM writing").fetchone()[0]

    def set_format(self, number: int) -> None:
        self.execute("UPDATE writing SET format = ?", (number,))

    def version(self) -> int:
        return self.execute("SELECT changes FROM writing").fetchone()[0] - self._own_changes

    def prepare(self) -> None:
        """Make what transactions need, in an empty database. Raises DatabaseError, also when the server may forget
        what it has committed."""
        for name, what in SAFE.items():
            if self.execute("SELECT current_setting(?)", (name,)).fetchone()[0] == "off":
                raise seam.OperationalError(
                    f"the server's setting {name} is off: {what}. A gateway erases what a hub has acknowledged, so"
                    f" Parkgate does not use such a database; set {name} = on and load the configuration again"
                )
        if not self.has_table("writing"):
            self.execute("SELECT pg_advisory_lock(?)", (HUB_LOCK + 1,))
            try:
                self.execute(_TABLE)
                self.execute("INSERT INTO writing VALUES (1, 0, 0) ON CONFLICT DO NOTHING")
            finally:
                self.execute("SELECT pg_advisory_unlock(?)", (HUB_LOCK + 1,))

    def hold(self) -> bool:
        """Be the one hub of this database from now on; False when there is one already."""
        self._is_hub = self._held(self._usable())
        return self._is_hub

    # All rows of a table at once (`hub move`).

    def tables(self) -> list[str]:
        """Names of its tables, in the order in which they were made: each behind those that it refers to."""
        question = (
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace"
            " AND relname <> 'writing' ORDER BY oid"
        )
        return [name for (name,) in self.execute(question)]

    @staticmethod
    def plain(_table: str, row: tuple) -> tuple:
        return row

    def fill(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Write these rows into an empty table, with their numbers; new rows get numbers behind those."""
        with _mapped():
            cursor = psycopg.RawCursor(self._usable())
            with cursor.copy(f"COPY {table} ({', '.join(columns)}) FROM STDIN (FORMAT BINARY)".encode()) as copy:
                for row in rows:
                    copy.write_row(row)
            question = "SELECT attname FROM pg_attribute WHERE attrelid = $1::regclass AND attidentity = 'd'"
            for (column,) in cursor.execute(question, (table,)).fetchall():
                next_number = f"(SELECT coalesce(max({column}), 0) + 1 FROM {table})"
                question = f"SELECT setval(pg_get_serial_sequence($1, $2), {next_number}, false)"
                cursor.execute(question.encode(), (table, column))

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(psycopg.Error):
                connection.close()

    # The connection.

    def _usable(self) -> psycopg.Connection:
        if self._connection is not None and not self._connection.closed:
            return self._connection
        if self._bound:
            raise seam.OperationalError("the connection to the database server was lost")
        self.close()
        connection = self._server.connect(self._read_only)
        if self._is_hub and not self._held(connection):
            connection.close()
            raise seam.OperationalError("another hub has taken this database")
        self._connection = connection
        return connection

    @staticmethod
    def _held(connection) -> bool:
        return connection.execute("SELECT pg_try_advisory_lock($1)", (HUB_LOCK,)).fetchone()[0]


class _Part:
    """A long answer, of which the server keeps what was not asked for yet."""

    rowcount = -1

    def __init__(self, cursor: psycopg.RawServerCursor):
        self._cursor = cursor

    def fetchone(self):
        with _mapped():
            return self._cursor.fetchone()

    def fetchmany(self, size: int = ROWS_AT_ONCE, /) -> list:
        with _mapped():
            return self._cursor.fetchmany(size)

    def fetchall(self) -> list:
        with _mapped():
            return self._cursor.fetchall()

    def __iter__(self) -> Iterator:
        while rows := self.fetchmany():
            yield from rows
        with _mapped():
            self._cursor.close()

    def __del__(self):
        with contextlib.suppress(psycopg.Error):
            if not self._cursor.connection.closed:
                self._cursor.close()


@contextlib.contextmanager
def _mapped() -> Iterator[None]:
    """psycopg's errors as those of the seam."""
    try:
        yield
    except psycopg.IntegrityError as error:
        raise seam.IntegrityError(_text(error)) from error
    except psycopg.DataError as error:
        raise seam.DataError(_text(error)) from error
    except psycopg.Error as error:  # a lost connection too: psycopg calls that an InterfaceError
        raise seam.OperationalError(_text(error)) from error


def _text(error: psycopg.Error) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _array_of(column: Sequence[Any]) -> str:
    """The type of an array of these values; "" where all are null."""
    first = next((value for value in column if value is not None), None)
    return "" if first is None else {int: "bigint[]", str: "text[]", bytes: "bytea[]"}[type(first)]


def _as_array(column: Sequence[Any], kind: str) -> Any:
    """Numbers in the server's own words: psycopg would take the smallest type that holds the first of them."""
    if kind != "bigint[]":
        return list(column)
    return f"{{{','.join('NULL' if value is None else str(int(value)) for value in column)}}}"


@functools.lru_cache(maxsize=256)
def _for_all(question: str, kinds: tuple[str, ...]) -> bytes:
    """The statement for one row as one for all rows of `given`, whose columns are arrays of these kinds."""
    names = [f"given.c{at}" if kind else "NULL" for at, kind in enumerate(kinds)]
    marks = iter(names)
    text = _MARK.sub(lambda _: next(marks), question)
    there = [(at, kind) for at, kind in enumerate(kinds) if kind]
    casts = {"bigint[]": "text::bigint[]"}
    arrays = ", ".join(f"${number}::{casts.get(kind, kind)}" for number, (_, kind) in enumerate(there, 1))
    given = f"unnest({arrays}) AS given({', '.join(f'c{at}' for at, _ in there)})"
    if text.startswith("INSERT "):
        values = re.search(r"VALUES \(([^()]*)\)", text)
        assert values is not None, question
        return f"{text[: values.start()]}SELECT {values[1]} FROM {given}{text[values.end() :]}".encode()
    word = "USING" if text.startswith("DELETE ") else "FROM"
    head, _, rest = text.partition(" WHERE ")
    return f"{head} {word} {given} WHERE {rest}".encode()


_MARK = re.compile(r"\?")
_NAME = re.compile(r":([a-z_]+)")


def _translated(question: str, values: Values) -> tuple[bytes, Sequence[Any]]:
    """The statement with $1, $2 … for the marks, and the values in that order."""
    if isinstance(values, Mapping):
        sql, names = _by_name(question)
        return sql, [values[name] for name in names]
    return _by_place(question), values


@functools.lru_cache(maxsize=512)
def _by_place(question: str) -> bytes:
    numbers = itertools.count(1)
    return _MARK.sub(lambda _: f"${next(numbers)}", question).encode()


@functools.lru_cache(maxsize=64)
def _by_name(question: str) -> tuple[bytes, list[str]]:
    names = list(dict.fromkeys(_NAME.findall(question)))
    return _NAME.sub(lambda match: f"${names.index(match[1]) + 1}", question).encode(), names
