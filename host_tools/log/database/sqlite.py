"""The database of a hub as a file, by SQLite: nothing to install, and fast."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from host_tools.log.database.seam import NOT_STORABLE, Fact, Late, Values, Waiting, fact_as_text, without_nul

BUSY_TIMEOUT_MS = 10_000


class Sqlite(sqlite3.Connection):
    """As `seam.Database` says. Made by `opened`."""

    folder: Path

    def __init__(self, *given, **named):
        self._waiting = Waiting()
        super().__init__(*given, **named)

    def execute(self, *question) -> sqlite3.Cursor:
        if self._waiting:
            self._write()
        return super().execute(*question)

    def executemany(self, *question) -> sqlite3.Cursor:
        if self._waiting:
            self._write()
        return super().executemany(*question)

    def each(self, question: str, rows: Sequence[Sequence[Any]], /) -> None:
        self.executemany(question, rows)

    def append(self, table: str, columns: str, row: Sequence[Any], /) -> None:
        assert self.in_transaction, "append is for transactions"
        self._waiting.add(table, columns, row)

    def _write(self) -> None:
        try:
            for (table, columns), rows in self._waiting.take().items():
                marks = ",".join("?" * len(rows[0]))
                super().executemany(f"INSERT INTO {table} ({columns}) VALUES ({marks})", rows)
        except (*NOT_STORABLE, OverflowError, TypeError, ValueError) as error:
            raise Late(str(error)) from error

    def iterate(self, question: str, values: Values = ()) -> sqlite3.Cursor:
        return self.execute(question, values)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        self.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.execute("COMMIT")
        finally:
            self._waiting.take()
            if self.in_transaction:
                self.execute("ROLLBACK")

    def begin_snapshot(self) -> None:
        self.execute("BEGIN")

    def about(self, name: str) -> Fact:
        row = self.execute("SELECT value FROM about WHERE name = ?", (name,)).fetchone()
        return row[0] if row else None

    def set_about(self, name: str, value: Fact) -> None:
        question = "INSERT INTO about VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
        self.execute(question, (name, value))

    def has_table(self, name: str) -> bool:
        question = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
        return self.execute(question, (name,)).fetchone() is not None

    def make(self, sql: str) -> None:
        for statement in sql.split(";\n"):
            if statement.strip():
                self.execute(statement)

    def format(self) -> int:
        return self.execute("PRAGMA user_version").fetchone()[0]

    def set_format(self, number: int) -> None:
        self.execute(f"PRAGMA user_version = {number}")

    def tables(self) -> list[str]:
        """Names of its tables."""
        question = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY name"
        return [name for (name,) in self.execute(question)]

    def columns(self, table: str) -> tuple[list[str], list[str]]:
        """(all columns of a table, those by which its rows have an order). A table without a key has one by `rowid`."""
        rows = self.execute(f"PRAGMA table_info({table})").fetchall()
        keys = [row[1] for row in sorted(rows, key=lambda row: row[5]) if row[5]]
        names = [row[1] for row in rows]
        return (names, keys) if keys else ([*names, "rowid"], ["rowid"])

    @staticmethod
    def plain(table: str, row: tuple) -> tuple:
        """A row as every database can hold it: texts without NUL, the facts of `about` as text."""
        if table == "about":
            row = (row[0], fact_as_text(row[1]))
        return tuple(without_nul(each) if type(each) is str else each for each in row)

    def hold(self) -> bool:
        return True  # the folder's lock has said so

    def version(self) -> int:
        return self.execute("PRAGMA data_version").fetchone()[0]


def opened(path: Path, read_only: bool = False, alone: bool = False) -> Sqlite:
    """A connection to the file; `alone`: nothing of it stands in files beside it, which cannot be made there. Every
    statement is a transaction of its own until one is begun. Raises DatabaseError."""
    if read_only:
        mode = "mode=ro&immutable=1" if alone else "mode=ro"
        name = f"{path.absolute().as_uri()}?{mode}"
    else:
        name = str(path)
    db = sqlite3.connect(name, uri=read_only, check_same_thread=False, isolation_level=None, factory=Sqlite)
    db.folder = path.parent
    try:
        db.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        if not read_only:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            db.execute("PRAGMA foreign_keys = ON")
    except BaseException:
        db.close()
        raise
    return db
