"""One process a folder: two that write to the same data would ruin them."""

import contextlib
import fcntl
import os
from pathlib import Path

from host_tools.base import files


def hold(path: Path) -> int:
    """Lock the file `path` (made if missing) and write this process's id into it. The lock is held until the descriptor
    given back, and every copy of it in another process, is closed. Raises BlockingIOError when it is held already,
    FileTrouble when it cannot be made or locked for another reason."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise files.trouble("cannot write", path, error) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with contextlib.suppress(OSError):  # the number is for people only
            os.ftruncate(descriptor, 0)
            os.write(descriptor, b"%d\n" % os.getpid())
    except BlockingIOError:
        os.close(descriptor)
        raise
    except OSError as error:  # a network disk without locks
        os.close(descriptor)
        raise files.trouble("cannot lock", path, error) from None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def is_held(path: Path) -> bool:
    """Whether a process holds the lock, without taking it for longer than a moment. Raises FileTrouble where that
    cannot be known."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise files.trouble("cannot look at", path, error) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    except OSError as error:
        raise files.trouble("cannot lock", path, error) from None
    finally:
        os.close(descriptor)
