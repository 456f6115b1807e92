"""One process a folder: two that write to the same data would ruin them."""

import fcntl
import os
from pathlib import Path


def hold(path: Path) -> int:
    """Lock the file `path` (made if missing) and write this process's id into it. The lock is held until the descriptor
    given back, and every copy of it in another process, is closed. Raises BlockingIOError when it is held already."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    os.ftruncate(descriptor, 0)
    os.write(descriptor, b"%d\n" % os.getpid())
    return descriptor
