"""A PostgreSQL server for tests: its own folder, a socket there and no port, ended by its process id.

The system's programs are used (Debian: package postgresql; another place: PARKGATE_POSTGRESQL names their folder). The
server refuses to run as root: then it runs as another user.
"""

import contextlib
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from park import BUSY_MACHINE

START_S = 60 * BUSY_MACHINE


def programs() -> Path | None:
    """The folder with initdb and postgres; None where there is none."""
    named = os.environ.get("PARKGATE_POSTGRESQL")
    found = [Path(named)] if named else sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_version)
    found += [Path(path).parent for path in (shutil.which("postgres"),) if path]
    return next((folder for folder in reversed(found) if (folder / "initdb").exists()), None)


def _version(folder: Path) -> int:
    return int(folder.parent.name) if folder.parent.name.isdigit() else 0


class Server:
    """`start` and `kill` as often as wanted; `close` at the end. `url()` of a new, empty database is for one hub."""

    def __init__(self, settings=()):
        found = programs()
        assert found is not None
        self._programs, self._settings = found, settings
        self.folder = Path(tempfile.mkdtemp(prefix="pg"))
        self._as = {}
        if os.getuid() == 0:
            user = next(one for name in ("postgres", "nobody") for one in pwd.getpwall() if one.pw_name == name)
            os.chown(self.folder, user.pw_uid, user.pw_gid)
            self._as = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        self._process = None
        self._numbers = itertools.count(1)
        self._run("initdb", "-D", "data", "-U", "test", "--auth=trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
        self.start()

    def _run(self, program, *words):
        command = [str(self._programs / program), *words]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False, **self._as)
        assert done.returncode == 0, done.stderr

    def start(self) -> None:
        """Returns when it answers."""
        import psycopg

        words = [f"-c{each}" for each in ("listen_addresses=", f"unix_socket_directories={self.folder}",
                                          "shared_buffers=32MB", "max_wal_size=256MB", *self._settings)]  # fmt: skip
        with open(self.folder / "log", "ab") as log:
            command = [str(self._programs / "postgres"), "-D", "data", *words]
            self._process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log, **self._as)
        until_s = time.monotonic() + START_S
        while True:
            try:
                psycopg.connect(self.address("test", "postgres")).close()
                return
            except psycopg.OperationalError:
                assert self._process.poll() is None and time.monotonic() < until_s, (self.folder / "log").read_text()
                time.sleep(0.05)

    def kill(self) -> None:
        """Immediate stop: nothing is written any more, as with a power cut of the server's machine."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(START_S)
            self._process = None

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def address(self, user: str, database: str) -> str:
        return f"postgresql://{user}@/{database}?host={self.folder}"

    def run(self, sql: str) -> list:
        """As the server's owner."""
        import psycopg

        with psycopg.connect(self.address("test", "postgres"), autocommit=True) as db:
            cursor = db.execute(sql)
            return cursor.fetchall() if cursor.description else []

    def new(self) -> str:
        """The address of an empty place for one hub: a role without special rights, and a schema that is its own."""
        name = f"hub{next(self._numbers)}"
        self.run(f"CREATE ROLE {name} LOGIN; CREATE SCHEMA {name} AUTHORIZATION {name}")
        return self.address(name, "postgres")


@contextlib.contextmanager
def server(settings=()):
    """A server until the end of the block; without its programs or psycopg the test is skipped."""
    if programs() is None:
        pytest.skip("PostgreSQL is not installed")
    pytest.importorskip("psycopg", reason="psycopg is not installed: pip install 'parkgate[postgresql]'")
    found = Server(settings)
    try:
        yield found
    finally:
        found.close()
