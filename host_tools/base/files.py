"""The one room through which the tools write files, and say in plain words why a file cannot be read or written.

    files.check_target(path)            before anything is changed: could a file be written there? Leaves nothing behind
    files.write(path, data)             text or bytes: the file is then whole and new, or as it was before
    with files.writing(path) as out:    the same for what is too long to hold in memory
    files.read_text(path)               or FileTrouble

A file is written beside its place under another name, brought to the disk, and renamed: a full disk, a cut or Ctrl-C
leaves the old file, or none. What is no regular file (/dev/stdout, a pipe) is written as it is.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from parkgate.errors import ParkgateError

READ_BYTES_MAX = 64 * 1024 * 1024


class FileTrouble(ParkgateError):
    """A file or folder cannot be read or written. The text says which, why, and what to do."""


_WORDS = {
    errno.ENOENT: "there is no such file or folder",
    errno.EACCES: "this user has no permission there",
    errno.EPERM: "this user has no permission there",
    errno.EROFS: "the disk there is read-only",
    errno.ENOSPC: "no space is left on the disk",
    errno.EDQUOT: "this user's share of the disk is full",
    errno.EFBIG: "the file would become larger than is allowed here",
    errno.EISDIR: "it is a folder, and a file is wanted",
    errno.ENOTDIR: "a part of its path is a file, and a folder is wanted",
    errno.ENOTEMPTY: "there is a folder of this name that is not empty",
    errno.EEXIST: "there is something of this name already",
    errno.ENAMETOOLONG: "the name is too long",
    errno.ELOOP: "its links lead in a circle",
    errno.EIO: "the device failed (input/output error)",
    errno.EMFILE: "too many files are open",
    errno.ENFILE: "too many files are open on this computer",
    errno.EBUSY: "something else is using it",
    errno.ETXTBSY: "it is a program that runs just now",
    errno.EPIPE: "the program that reads this output has ended",
    errno.ENXIO: "nothing is connected there",
    errno.ENODEV: "nothing is connected there",
}


def why(error: OSError) -> str:
    """What went wrong in plain words, without the path."""
    if error.errno in _WORDS:
        return _WORDS[error.errno]
    return error.strerror or str(error) or type(error).__name__


def trouble(doing: str, path: object, error: OSError) -> FileTrouble:
    """The error to raise: `doing` is such as "cannot write"."""
    return FileTrouble(f"{doing} {path}: {why(error)}")


def check_target(path: Path | str) -> None:
    """Raise FileTrouble where `write` to `path` would surely fail. Nothing stays behind."""
    path = Path(path)
    target = _behind_links(path)
    found = _kind(path, target)
    if found == "folder":
        raise FileTrouble(f"cannot write {path}: {_WORDS[errno.EISDIR]}")
    if found == "special":
        return
    if not target.parent.is_dir():
        missing = "is not a folder" if target.parent.exists() else "does not exist"
        raise FileTrouble(f"cannot write {path}: the folder {target.parent} {missing}")
    draft = _draft(target)
    try:
        os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except OSError as error:
        raise trouble("cannot write", path, error) from None
    finally:
        _forget(draft)


def check_folder(path: Path | str) -> None:
    """Before anything is changed: raise FileTrouble where files could not be written into this folder, which
    `make_folder` would make. Nothing stays behind."""
    path = Path(path)
    there = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    if not there.is_dir():
        raise FileTrouble(f"cannot make the folder {path}: {there} is a file")
    check_target(there / ".parkgate")


def write(path: Path | str, data: str | bytes, mode: int | None = None) -> None:
    """Make `path` hold `data` (text as UTF-8). `mode` are its permissions; without it those it had, or the usual ones.
    Raises FileTrouble; the file is then as it was before."""
    with writing(path, mode) as out:
        out.write(data.encode() if isinstance(data, str) else data)


def write_once(path: Path | str, data: str | bytes, mode: int) -> None:
    """Make a new file that holds `data`, whole or not at all. A file that is there already stays as it is: another
    process was quicker. Raises FileTrouble."""
    try:
        with creating(Path(path), mode) as out:
            out.write(data.encode() if isinstance(data, str) else data)
    except FileExistsError:
        pass
    except OSError as error:
        raise trouble("cannot make", path, error) from None


@contextlib.contextmanager
def creating(path: Path, mode: int = 0o666) -> Iterator[BinaryIO]:
    """A binary file that appears as `path` when the block has ended well; unlike a rename, it never replaces a file.
    Raises FileExistsError when there is one by then, OSError."""
    draft = _draft(path)
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode & ~_umask())
        with open(descriptor, "wb") as out:
            yield out
            out.flush()
            os.fsync(descriptor)
        os.link(draft, path)
    finally:
        _forget(draft)


@contextlib.contextmanager
def writing(path: Path | str, mode: int | None = None) -> Iterator[BinaryIO]:
    """A binary file whose content becomes that of `path` when the block ends without an error. Raises FileTrouble for
    every OSError of the file; what else the block raises goes on, and the file is as it was."""
    path = Path(path)
    target = _behind_links(path)
    kind = _kind(path, target)
    if kind == "folder":
        raise FileTrouble(f"cannot write {path}: {_WORDS[errno.EISDIR]}")
    guarded = _Guarded(path)
    if kind == "special":
        with _told(path), open(target, "wb") as out:
            yield guarded.around(out)
        return
    draft = _draft(target)
    try:
        with _told(path):
            if mode is None:
                mode = stat.S_IMODE(os.stat(target).st_mode) if kind == "file" else 0o666 & ~_umask()
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with guarded.closing(descriptor, mode) as out:
            yield out
        with _told(path):
            os.replace(draft, target)
            _sync_folder(target.parent)
    finally:
        _forget(draft)


@contextlib.contextmanager
def undoing(*paths: Path) -> Iterator[None]:
    """Where the block raises, each of these files has its old content again, or is not there as before. Raises
    FileTrouble."""
    before = {path: read_bytes(path) if path.exists() else None for path in paths}
    try:
        yield
    except BaseException:
        for path, data in before.items():
            with contextlib.suppress(OSError, FileTrouble):
                if data is None:
                    path.unlink(missing_ok=True)
                elif read_bytes(path) != data:
                    write(path, data)
        raise


class _Guarded:
    """A file whose own errors become FileTrouble, whatever the block around it may raise besides."""

    def __init__(self, path: Path):
        self._path = path
        self._file: BinaryIO | None = None

    def around(self, file) -> BinaryIO:
        self._file = file
        return self  # pyright: ignore[reportReturnType]

    @contextlib.contextmanager
    def closing(self, descriptor: int, mode: int) -> Iterator[BinaryIO]:
        with _told(self._path):
            file = os.fdopen(descriptor, "wb")
        try:
            yield self.around(file)
            with _told(self._path):
                file.flush()
                os.fchmod(file.fileno(), mode)
                os.fsync(file.fileno())
                file.close()
        finally:
            with contextlib.suppress(OSError):
                file.close()

    def write(self, data) -> int:
        assert self._file is not None
        with _told(self._path):
            return self._file.write(data)

    def flush(self) -> None:
        assert self._file is not None
        with _told(self._path):
            self._file.flush()

    def __getattr__(self, name: str):
        return getattr(self._file, name)


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise trouble("cannot write", path, error) from None


def make_folder(path: Path | str) -> None:
    """Make a folder and those above it. Raises FileTrouble."""
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise FileTrouble(f"cannot make the folder {path}: a file has this name") from None
    except OSError as error:
        raise trouble("cannot make the folder", path, error) from None


def listed(folder: Path | str, suffix: str = "") -> list[Path]:
    """What is in a folder and ends with `suffix`, sorted. Raises FileTrouble where a glob would pass over what it may
    not look at, and give fewer."""
    try:
        return sorted(Path(folder) / name for name in os.listdir(folder) if name.endswith(suffix))
    except OSError as error:
        raise trouble("cannot look into the folder", folder, error) from None


def read_bytes(path: Path | str, bytes_max: int = READ_BYTES_MAX) -> bytes:
    """The content of a file of at most `bytes_max` bytes. Raises FileTrouble."""
    try:
        with open(path, "rb") as file:
            data = file.read(bytes_max + 1)
    except OSError as error:
        raise trouble("cannot read", path, error) from None
    if len(data) > bytes_max:
        raise FileTrouble(f"cannot read {path}: it has more than {bytes_max:,} bytes")
    return data


def read_text(path: Path | str, bytes_max: int = READ_BYTES_MAX) -> str:
    """A file of UTF-8 (a byte order mark is passed over). Raises FileTrouble."""
    try:
        return read_bytes(path, bytes_max).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FileTrouble(f"cannot read {path}: it is not a text in UTF-8 (byte {error.start})") from None


def _kind(path: Path, target: Path) -> str:
    """ "file", "folder", "special" or "" for what is not there."""
    try:
        mode = os.stat(target).st_mode
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise trouble("cannot write", path, error) from None
    return "folder" if stat.S_ISDIR(mode) else "file" if stat.S_ISREG(mode) else "special"


def _behind_links(path: Path) -> Path:
    """Where links lead: the link stays one, and what it names becomes new. /dev/stdout and its like are left alone."""
    try:
        if path.is_symlink() and not str(path).startswith(("/dev/", "/proc/")):
            return Path(os.path.realpath(path))
    except OSError:
        pass  # what is wrong shows at the next step
    return path


def _draft(target: Path) -> Path:
    return target.with_name(f".{target.name[:200]}.{os.getpid()}.new")


def _forget(draft: Path) -> None:
    try:
        os.unlink(draft)
    except OSError:
        pass  # it became the file, or was never made
    except KeyboardInterrupt:
        with contextlib.suppress(OSError):
            os.unlink(draft)  # Ctrl-C just now: nothing is left behind all the same
        raise


def _umask() -> int:
    now = os.umask(0o077)
    os.umask(now)
    return now


def _sync_folder(folder: Path) -> None:
    """So that a power cut does not undo the renaming. Where a folder cannot be synchronised, it cannot."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
