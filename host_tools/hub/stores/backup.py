"""A hub's folder copied while it runs, put back, and looked through.

A backup is a folder: the database as of one moment (SQLite's own online copy: a `cp` of a running database misses what
is still in its log beside it), every other file of the hub's folder and of the folders in it (keys, accounts,
operators, alarm addresses, tariffs, baselines, certificates), and `backup.json` with the hash of each. It holds the
hub's private keys: keep it as safe as the hub.

A backup leaves out what belongs to one run, what the hub makes again and what would do harm: locks and logs, the own
broker's store (gateways send again what has no receipt), the tiles of the log (made from the database), the memory of
what the log signed (SPEC 13: it must not go back with the database), sessions (somebody may have signed out since), and
backups.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path, PurePosixPath

from host_tools.base import files, folder_lock
from host_tools.base.keys import HUB_KEY_FILE, HUB_PUBLIC_FILE, Verifier
from host_tools.hub.stores import gateway_keys, kept
from host_tools.hub.stores.database import DATABASE_FILE, StoreError, connect, existing
from host_tools.hub.stores.schema import REMOVED
from host_tools.log import removed
from host_tools.log.database.opening import is_file
from host_tools.log.database.sqlite import Sqlite
from parkgate.errors import FormatError, IntegrityError
from parkgate.wire.batch import Batch

MANIFEST = "backup.json"
FORM = "parkgate hub backup 2"
FORMS = ("parkgate hub backup 1", FORM)  # the first had no folders
LOCK_FILE = "hub.lock"
COPY_BYTES = 1 << 20
# Of this run of the hub, or copied in another way; names in the hub's own folder.
_LEFT_OUT = {
    LOCK_FILE, "hub.json", "hub.log", "sessions.json", MANIFEST, DATABASE_FILE, f"{DATABASE_FILE}-wal",
    f"{DATABASE_FILE}-shm", "broker", "log",
}  # fmt: skip


def backup(data_dir, target) -> dict:
    """Copy the hub in `data_dir`, running or not, into the new folder `target`. Returns its manifest. Raises
    StoreError, FileTrouble; then there is no folder `target`."""
    source, target = existing(data_dir), Path(target)
    if not is_file(source):
        raise StoreError(
            f"the database of {source} is in a PostgreSQL server, whose own tools copy it best. First copy the folder"
            " (keys, operators, the log's tiles), then run `pg_dump --format=custom` on the database: in this order the"
            " database is never older than what the log remembers. To restore: `pg_restore`, and the folder"
        )
    if target.exists():
        raise files.FileTrouble(f"{target} is there already: a backup goes into a new folder")
    if not target.absolute().parent.is_dir():
        raise files.FileTrouble(f"cannot make {target}: the folder {target.absolute().parent} does not exist")
    draft = target.with_name(f".{target.name}.{os.getpid()}.new")
    try:
        draft.mkdir(mode=0o700)
        _copy_database(source, draft)
        for path in _files(source, _LEFT_OUT):
            with contextlib.suppress(FileNotFoundError):  # it was deleted just now
                _copy(path, draft / path.relative_to(source))
        manifest = {
            "form": FORM,
            "made_unix_ms": time.time_ns() // 1_000_000,
            "files": {
                path.relative_to(draft).as_posix(): {"bytes": path.stat().st_size, "sha256": _hash(path)}
                for path in _files(draft)
            },
        }
        if not {DATABASE_FILE, HUB_KEY_FILE, HUB_PUBLIC_FILE} <= manifest["files"].keys():
            raise StoreError(f"{source} has not all that a hub needs: {HUB_KEY_FILE} and {HUB_PUBLIC_FILE}")
        files.write(draft / MANIFEST, json.dumps(manifest, indent=1) + "\n", 0o600)
        os.rename(draft, target)
    except OSError as error:
        raise files.trouble("cannot copy", error.filename or target, error) from None
    except sqlite3.Error as error:
        raise StoreError(f"the database cannot be copied: {error}") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return manifest


def _copy_database(source: Path, folder: Path) -> None:
    with (
        contextlib.closing(connect(source, read_only=True)) as db,
        contextlib.closing(sqlite3.connect(folder / DATABASE_FILE)) as copy,
    ):
        assert isinstance(db, Sqlite)  # `backup` has looked
        db.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")  # one file, whole
        found = copy.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise StoreError(f"the database in {source} is damaged ({found}): `parkgate hub check` says more")
    _sync(folder / DATABASE_FILE)


def _files(folder: Path, left_out: Collection[str] = (), above: tuple[Path, ...] = ()) -> Iterator[Path]:
    """The files of a folder and of those in it, without backups, drafts and what is no file. Where a link leads to is
    copied as if it stood there. Raises FileTrouble, also for links that lead in a circle."""
    real = Path(os.path.realpath(folder))
    if real in above:
        raise files.FileTrouble(f"cannot copy {folder}: its links lead in a circle")
    for path in files.listed(folder):
        if path.name in left_out or path.name.startswith(".") and path.name.endswith(".new"):
            continue
        if path.is_dir():
            if not (path / MANIFEST).exists():
                yield from _files(path, above=(*above, real))
        elif path.is_file():
            yield path


def _copy(path: Path, to: Path) -> None:
    to.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    shutil.copyfile(path, to)
    shutil.copymode(path, to)
    _sync(to)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _hash(path: Path) -> str:
    found = hashlib.sha256()
    with open(path, "rb") as file:
        while data := file.read(COPY_BYTES):
            found.update(data)
    return found.hexdigest()


def verify(folder) -> dict:
    """The manifest of a backup, all of whose files are as they were written. Raises StoreError, FileTrouble."""
    folder = Path(folder)
    try:
        manifest = json.loads(files.read_text(folder / MANIFEST))
        named = {str(name): str(about["sha256"]) for name, about in manifest["files"].items()}
        if manifest["form"] not in FORMS or not all(map(_is_inside, named)):
            raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise StoreError(f"{folder / MANIFEST} is not that of a backup, or is damaged") from None
    for name, wanted in named.items():
        try:
            found = _hash(folder / name)
        except OSError as error:
            raise files.trouble("cannot read", folder / name, error) from None
        if found != wanted:
            raise StoreError(f"{folder / name} is damaged: it is not as it was written. Nothing was restored")
    return manifest


def _is_inside(name: str) -> bool:
    """Whether a name in a manifest is one of a file below the folder, in its one spelling."""
    parts = PurePosixPath(name).parts
    return bool(parts) and "/".join(parts) == name and parts[0] != "/" and ".." not in parts and "\0" not in name


def restore(folder, data_dir) -> dict:
    """Make a hub's folder `data_dir` from a backup; there must be no hub in it. Returns the manifest. Raises
    StoreError, FileTrouble; then nothing was changed."""
    folder, data_dir = Path(folder), Path(data_dir)
    manifest = verify(folder)
    files.make_folder(data_dir)
    try:
        lock = folder_lock.hold(data_dir / LOCK_FILE)
    except BlockingIOError:
        raise StoreError(f"a hub runs on {data_dir}: a backup is restored into an empty folder") from None
    made: list[Path] = []
    try:
        there = [name for name in manifest["files"] if os.path.lexists(data_dir / name)]
        if there:
            raise StoreError(f"{data_dir} holds {there[0]} already: a backup is restored into an empty folder")
        # The database last: without it there is no hub, whatever ends this.
        for name in sorted(manifest["files"], key=lambda name: name == DATABASE_FILE):
            made.append(data_dir / name)
            _copy(folder / name, data_dir / name)
            if _hash(data_dir / name) != manifest["files"][name]["sha256"]:
                raise StoreError(f"{data_dir / name} is not what was written there: is the disk damaged?")
        for path in {path.parent for path in made}:
            _sync(path)
        made.clear()
    except OSError as error:
        raise files.trouble("cannot write", data_dir, error) from None
    finally:
        _remove(made, data_dir)
        os.close(lock)
    return manifest


def _remove(made: list[Path], data_dir: Path) -> None:
    """Undo a restore that failed: these files, and the folders that are empty without them."""
    for path in made:
        path.unlink(missing_ok=True)
    folders = {folder for path in made for folder in path.parents if data_dir in folder.parents}
    for path in sorted(folders, reverse=True):  # the inner ones first
        with contextlib.suppress(OSError):
            path.rmdir()


def check(data_dir, signatures: bool = True) -> Iterator[dict]:
    """Read everything that is stored, beside a running hub too. Gives {"gateway", "epoch", "seq", "what"} of each
    fault (None where it is the database's own), and at last {"batches": how many were read}. Raises StoreError."""
    read = 0
    with contextlib.closing(connect(existing(data_dir), read_only=True)) as db:
        try:
            db.begin_snapshot()
            for (line,) in db.execute("PRAGMA integrity_check(20)") if is_file(data_dir) else ():  # else: pg_amcheck
                if line != "ok":
                    yield {"gateway": None, "epoch": None, "seq": None, "what": f"the database: {line}"}
            gateways = db.execute("SELECT gw, name, kid, public_key FROM gateway ORDER BY name").fetchall()
            keys, gone = gateway_keys.load(db), removed.stated(db)
            for gw, name, kid, public_key in gateways:
                known = keys.get(gw) or [gateway_keys.GatewayKey(kid, public_key)]
                verifiers = {key.kid: key.verifier() for key in known} if signatures else None
                for ep, epoch in db.execute("SELECT ep, epoch FROM epoch WHERE gw = ? ORDER BY ep", (gw,)).fetchall():
                    is_stated = functools.partial(gone.names, kid, epoch)
                    for seq, what in _faults_of_chain(db, ep, epoch, verifiers, is_stated):
                        if seq is None:
                            read += int(what)
                        else:
                            yield {"gateway": name, "epoch": epoch.hex(), "seq": seq, "what": what}
        except sqlite3.Error as error:
            raise StoreError(f"the database cannot be read to its end: {error}") from None
    yield {"batches": read}


def _faults_of_chain(
    db, ep: int, epoch: bytes, verifiers: dict[bytes, Verifier] | None, is_stated: Callable[[int], bool]
):  # fmt: skip
    """(seq, what is wrong) of each fault, at last (None, batches read). `verifiers` are those of the gateway's keys;
    `is_stated` tells whether the log says that a batch was removed."""
    read, before = 0, None
    ranges = db.execute("SELECT first_seq, last_seq FROM held WHERE ep = ? ORDER BY 1", (ep,)).fetchall()
    held = sum(last - first + 1 for first, last in ranges)
    for seq, data, batch_hash, prev, state in db.iterate(
        "SELECT seq, bytes, hash, prev, state FROM batch WHERE ep = ? ORDER BY seq", (ep,)
    ):
        read += 1
        if before is not None and before[0] == seq - 1 and before[1] != prev:
            yield seq, "it does not continue the batch before it"
        before = seq, batch_hash
        if state == REMOVED:  # its hash still binds its neighbours
            if not is_stated(seq):
                yield seq, "it was removed, and no statement in the log says so"
            continue
        if not kept.whole(data, batch_hash):
            yield seq, "its bytes are not those that were stored"
            continue
        try:
            sign1 = Batch(data).sign1
            if (sign1.epoch, sign1.seq) != (epoch, seq):
                yield seq, "it stands in another batch's place"
            if verifiers is not None and sign1.kid not in verifiers:
                yield seq, "it names a key that is none of its gateway's"
            elif verifiers is not None:
                verifiers[sign1.kid].check(sign1.digest(), sign1.signature)
        except FormatError as error:
            yield seq, f"it cannot be read: {error}"
        except IntegrityError as error:
            yield seq, f"its signature: {error}"
    if read != held:
        yield ranges[-1][1] if ranges else 0, f"{held} batches should be here, and there are {read}"
    yield None, read
