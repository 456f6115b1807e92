"""Which database belongs to a data folder, and a connection to it.

Without more it is a file in the folder. `store.json` in the folder names a PostgreSQL server instead; it holds no
password: that is in a file which it names, in PARKGATE_STORE_PASSWORD, or where libpq looks for it (~/.pgpass).
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from urllib.parse import urlsplit

from host_tools.base import files
from host_tools.base.secret import secret
from host_tools.log.database import sqlite
from host_tools.log.database.seam import Database
from parkgate.errors import SettingsError

DATABASE_FILE = "hub.sqlite"
STORE_FILE = "store.json"
SCHEMES = ("postgresql", "postgres")
PASSWORD_VARIABLE = "PARKGATE_STORE_PASSWORD"


def is_there(folder) -> bool:
    """Whether a hub has run on this folder."""
    return any((Path(folder) / name).is_file() for name in (DATABASE_FILE, STORE_FILE))


def is_file(folder) -> bool:
    """Whether its database is the file in the folder. Raises FileTrouble, SettingsError."""
    return _chosen(folder) is None


def choose(folder, url: str, password_file: str | None = None) -> None:
    """The hub of this folder keeps its data in this server from now on. Raises SettingsError, FileTrouble."""
    check_url(url)
    known = _chosen(folder)
    if known is not None and known["url"] != url:
        raise SettingsError(f"the hub of {folder} keeps its data in {known['url']}, and not in {url}")
    if known is None and (Path(folder) / DATABASE_FILE).is_file():
        raise SettingsError(
            f"the hub of {folder} keeps its data in a file there: `parkgate hub move --data {folder} --to {url}` takes"
            " it to the server"
        )
    choose_server(folder, url, password_file)


def choose_server(folder, url: str, password_file: str | None = None) -> None:
    """As `choose`, whatever was before. Raises FileTrouble."""
    text = json.dumps({"url": url, "password_file": password_file and str(Path(password_file).absolute())})
    files.write(Path(folder) / STORE_FILE, text + "\n", 0o600)


def check_url(url: str) -> None:
    """Raises SettingsError when it is none of a PostgreSQL database, or holds a password."""
    try:
        parts = urlsplit(url)
        password, database = parts.password, parts.path.strip("/")
    except ValueError as error:
        raise SettingsError(f"{url!r} is not the address of a database: {error}") from None
    if parts.scheme not in SCHEMES or not database:
        raise SettingsError(f"{url!r} is not the address of a database: it looks like postgresql://USER@HOST/DATABASE")
    if password is not None or "password=" in parts.query:
        raise SettingsError(
            "a password on the command line can be read by every user of this computer: put it into a file"
            f" (--store-password FILE) or into {PASSWORD_VARIABLE}, and leave it out of the address"
        )


def opened(folder, read_only: bool = False, name: str = DATABASE_FILE) -> Database:
    """A connection to the folder's database, as it is: a writing one makes an empty one where there is none. A
    read-only one of a file on a medium that cannot be written, or of a copy, reads what is in that file alone. Raises
    DatabaseError, and SettingsError or FileTrouble when the server's address or password cannot be read."""
    chosen = _chosen(folder) if name == DATABASE_FILE else None
    if chosen is not None:
        return opened_server(chosen["url"], chosen["password_file"], Path(folder), read_only)
    path = Path(folder) / name
    is_copy = name != DATABASE_FILE and not path.with_name(f"{name}-wal").exists()
    return sqlite.opened(path, read_only, alone=is_copy or not os.access(path.parent, os.W_OK))


def opened_server(url: str, password_file: str | None, folder: Path, read_only: bool = False) -> Database:
    """A connection to a database in a server. Raises DatabaseError, SettingsError, FileTrouble."""
    try:
        from host_tools.log.database.postgresql import Postgresql, Server
    except ImportError as error:
        raise SettingsError(f"PostgreSQL needs a library more: pip install 'parkgate[postgresql]' ({error})") from None
    db = Postgresql(Server(url, secret("the database's password", password_file, PASSWORD_VARIABLE)), folder, read_only)
    try:
        if not read_only:
            db.prepare()
    except BaseException:
        db.close()
        raise
    return db


def _chosen(folder) -> dict | None:
    path = Path(folder) / STORE_FILE
    if not path.is_file():
        return None
    try:
        found = json.loads(files.read_text(path))
        return {"url": str(found["url"]), "password_file": found["password_file"]}
    except (ValueError, KeyError, TypeError, RecursionError):
        raise SettingsError(f"{path} is damaged: it should name the database of this hub") from None
