"""Runs a verb of `parkgate` in this process and has one call to the system fail: the first, the second, and so on.

Failing are: opening, reading, writing, renaming, making and removing files; standard output; the serial line; child
processes; the hub's database. Each with what such a call can meet: a full disk, no permission, a folder in the place of
a file, a device that fails, a pipe that nobody reads, Ctrl-C.
"""

import builtins
import contextlib
import errno
import io
import os
import sqlite3
import subprocess
import sys
from typing import NamedTuple

import serial

from host_tools import cli
from host_tools.base import output
from host_tools.log.database.sqlite import Sqlite

EVERY = bool(os.environ.get("PARKGATE_FUZZ_SIZE"))  # make fuzz: every call of all verbs
FEW = 3
_FUNCTIONS = ("open", "replace", "rename", "link", "symlink", "mkdir", "unlink", "remove", "fsync", "fchmod", "stat",
              "listdir", "scandir")  # fmt: skip


def _os(number):
    return OSError(number, os.strerror(number))


def _database(text):
    return sqlite3.OperationalError(text)


FAULTS = {
    "open": [lambda: _os(errno.EACCES), lambda: _os(errno.EISDIR), lambda: _os(errno.ENOSPC), KeyboardInterrupt],
    "file read": [lambda: _os(errno.EIO), KeyboardInterrupt],
    "file write": [lambda: _os(errno.ENOSPC), lambda: _os(errno.EIO), KeyboardInterrupt],
    "file close": [lambda: _os(errno.ENOSPC), KeyboardInterrupt],
    "change": [lambda: _os(errno.EACCES), lambda: _os(errno.EROFS), lambda: _os(errno.ENOSPC), KeyboardInterrupt],
    "look": [lambda: _os(errno.EACCES), lambda: _os(errno.EIO), KeyboardInterrupt],
    "stdout": [lambda: _os(errno.EPIPE), lambda: _os(errno.ENOSPC), lambda: _os(errno.EIO), KeyboardInterrupt],
    "serial write": [lambda: serial.SerialException("device disconnected"), lambda: _os(errno.EIO), KeyboardInterrupt],
    "serial read": [lambda: serial.SerialException("device disconnected"), lambda: _os(errno.EIO), KeyboardInterrupt],
    "serial open": [lambda: _os(errno.ENOENT), lambda: _os(errno.EACCES), lambda: _os(errno.EBUSY), KeyboardInterrupt],
    "child": [lambda: _os(errno.EAGAIN), lambda: _os(errno.ENOENT), lambda: _os(errno.EACCES), KeyboardInterrupt],
    "database": [lambda: _database("database or disk is full"), lambda: _database("disk I/O error"), KeyboardInterrupt],
}
_KINDS = {"stat": "look", "listdir": "look", "scandir": "look", "open": "open"}


class Result(NamedTuple):
    """How a run ended. `failed` is the kind of the call that failed, None when there were fewer calls."""

    exit_code: int
    out: str
    err: str
    calls: list
    failed: str | None


class _Calls:
    """Counts the calls; the one with number `fail_at` (from 1) raises."""

    def __init__(self, fail_at=0, make_error=None):
        self.made = []
        self.failed = None
        self._fail_at = fail_at
        self._make_error = make_error

    def __call__(self, kind):
        self.made.append(kind)
        if len(self.made) == self._fail_at:
            self.failed = kind
            raise self._make_error()  # pyright: ignore[reportOptionalCall]


class _File:
    """A file whose operations are counted."""

    def __init__(self, file, calls):
        self._file, self._calls = file, calls

    def write(self, data):
        self._calls("file write")
        return self._file.write(data)

    def read(self, *count):
        self._calls("file read")
        return self._file.read(*count)

    def close(self):
        if not self._file.closed:
            try:
                self._calls("file close")
            finally:
                self._file.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __iter__(self):
        return iter(self._file)

    def __getattr__(self, name):
        return getattr(self._file, name)


class _Screen(io.StringIO):
    """Standard output that can fail. As with a real one, what was not brought out fails again at the next flush."""

    encoding = "utf-8"  # pyright: ignore[reportAssignmentType]

    def __init__(self, calls):
        super().__init__()
        self._calls = calls
        self._stuck = None

    def write(self, text):
        self._fail()
        return super().write(text)

    def flush(self):
        self._fail()

    def _fail(self):
        if self._stuck is not None:
            raise self._stuck
        try:
            self._calls("stdout")
        except OSError as error:
            self._stuck = error
            raise


@contextlib.contextmanager
def _patched(calls, port):
    saved = {name: getattr(os, name) for name in _FUNCTIONS}
    plain_open, plain_connect, plain_serial = builtins.open, sqlite3.connect, serial.serial_for_url
    plain_run = subprocess.run

    def counted(name):
        def call(*args, **named):
            calls(_KINDS.get(name, "change"))
            return saved[name](*args, **named)

        return call

    def opened(file, *args, **named):
        if not isinstance(file, int):
            calls("open")
        return _File(plain_open(file, *args, **named), calls)

    class Connection(Sqlite):
        def execute(self, *args):
            calls("database")
            return super().execute(*args)

    def connect(*args, **named):
        calls("database")
        return plain_connect(*args, **{**named, "factory": Connection})

    def started(*args, **named):
        calls("child")
        return plain_run(*args, **named)

    def serial_for_url(*_args, **_named):
        calls("serial open")
        return port(calls)

    try:
        for name in _FUNCTIONS:
            setattr(os, name, counted(name))
        builtins.open = io.open = opened
        sqlite3.connect = connect
        serial.serial_for_url = serial_for_url
        subprocess.run = started
        yield
    finally:
        for name, function in saved.items():
            setattr(os, name, function)
        builtins.open = io.open = plain_open
        sqlite3.connect = plain_connect
        serial.serial_for_url = plain_serial
        subprocess.run = plain_run


def run(words, port=None, fail_at=0, make_error=None) -> Result:
    """One run of `parkgate WORDS`; `port(on_call)` gives the line. What escapes `main` is raised: a traceback."""
    calls = _Calls(fail_at, make_error)
    screen, errors = _Screen(calls), io.StringIO()
    before = sys.stdout, sys.stderr
    output.prepare()
    try:
        sys.stdout, sys.stderr = screen, errors
        with _patched(calls, port):
            try:
                code = cli.main([str(word) for word in words])
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else 2
    finally:
        sys.stdout, sys.stderr = before
    return Result(code, screen.getvalue(), errors.getvalue(), calls.made, calls.failed)


def each_failure(words, port=None, begin=lambda: None, every=EVERY):
    """Run with each call failing in each way: (number of the call, Result, the error). `begin` lays all as it was
    before. Not `every`: of many calls of one kind (the lines of a table) the first, the last, and some between."""
    begin()
    whole = run(words, port)
    for number, kind in enumerate(whole.calls, 1):
        at = [i for i, other in enumerate(whole.calls, 1) if other == kind]
        place = at.index(number)
        faults = FAULTS[kind]
        if not every:
            if FEW <= place < len(at) - FEW and place % (1 + len(at) // (4 * FEW)):
                continue
            faults = [faults[number % (len(faults) - 1)], *(faults[-1:] if number % 2 else [])]  # the last is Ctrl-C
        for make_error in faults:
            begin()
            error = make_error()
            yield number, run(words, port, number, lambda error=error: error), error
