"""A file system as littlefs keeps its word: a file is as it was at its last flush, whole, or as it was before.

Stands in for `open` and `os` in hal.segment_files. What a handle has written is its own until `flush` or `close`
commits it; a commit is one change, done or not done when the power goes in it. A handle whose write failed commits
nothing more. Faults: a commit or a write fails for want of space (`full_every`), a read errs once (`transient_every`).
"""

from __future__ import annotations

import random

from .chip import Erring, PowerCut


class Files:
    """All files by path, and what may go wrong with them."""

    def __init__(self, chance: random.Random):
        self.chance = chance
        self.kept: dict[str, bytes] = {}
        self.folders: set[str] = set()
        self.cut_in = -1
        self.changes = 0
        self.full_every = 0  # a write or commit in so many fails; 0: none
        self.transient_every = 0
        self.erred = 0
        self.flipped: set[str] = set()
        self.erring = Erring(chance)

    # What hal.segment_files takes from `os` and the built-ins.

    def mkdir(self, path: str) -> None:
        """Make a folder. Raises OSError 17 when it is there."""
        if path in self.folders:
            raise OSError(17, "EEXIST")
        if self._power_goes():
            raise PowerCut
        self.folders.add(path)

    def listdir(self, path: str) -> list[str]:
        """Names of the files in a folder. Raises OSError 2 when it is not there, OSError 5 now and then."""
        if path not in self.folders:
            raise OSError(2, "ENOENT")
        if self.erring.now(path, self.transient_every):
            self.erred += 1
            raise OSError(5, "EIO")
        return [name.rpartition("/")[2] for name in self.kept if name.rpartition("/")[0] == path]

    def stat(self, path: str) -> tuple[int, ...]:
        """Only the size is right."""
        return (0, 0, 0, 0, 0, 0, len(self.kept[path]))

    def open(self, path: str, mode: str):
        """A handle in mode rb, wb or ab. Raises OSError 2 when a file to read is not there."""
        if mode == "rb" and path not in self.kept:
            raise OSError(2, "ENOENT")
        return Handle(self, path, mode)

    # What happens to them.

    def power_on(self) -> None:
        """Another start: handles are gone, what was not committed with them."""
        self.cut_in = -1

    def flip(self) -> None:
        """One bit of one file flips for good."""
        paths = [path for path, data in self.kept.items() if data and path not in self.flipped]
        if paths:  # one bit a file: several in one place are a limit that README states
            path = self.chance.choice(sorted(paths))
            self.flipped.add(path)
            data = bytearray(self.kept[path])
            data[self.chance.randrange(len(data))] ^= 1 << self.chance.randrange(8)
            self.kept[path] = bytes(data)

    def commit(self, path: str, data: bytes) -> None:
        """Make `data` the content of the file. One change."""
        self.fail_sometimes()
        if self._power_goes():
            if self.chance.randrange(2):
                self.kept[path] = data
            raise PowerCut
        self.kept[path] = data

    def fail_sometimes(self) -> None:
        """Raise OSError 28 now and then."""
        if self.full_every and self.chance.randrange(self.full_every) == 0:
            raise OSError(28, "ENOSPC")

    def read(self, path: str, at: int, buffer) -> int:
        """Fill `buffer`; how many bytes there were."""
        data = self.kept.get(path, b"")[at : at + len(buffer)]
        buffer[: len(data)] = data
        if data and self.erring.now(path, self.transient_every):
            self.erred += 1
            buffer[self.chance.randrange(len(data))] ^= 1 << self.chance.randrange(8)
        return len(data)

    def _power_goes(self) -> bool:
        self.changes += 1
        if self.cut_in < 0:
            return False
        self.cut_in -= 1
        return self.cut_in < 0


class Handle:
    """One open file."""

    def __init__(self, files: Files, path: str, mode: str):
        self.files = files
        self.path = path
        self.mode = mode
        self.at = 0
        self.data = b"" if mode == "wb" else files.kept.get(path, b"")
        self.dirty = mode != "rb" and (mode == "wb" or path not in files.kept)
        self.dead = False

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def seek(self, at: int) -> None:
        """Read from here on."""
        self.at = at

    def readinto(self, buffer) -> int:
        """Fill `buffer` from what is committed."""
        return self.files.read(self.path, self.at, buffer)

    def write(self, data) -> int:
        """Append in memory."""
        if self.dead:
            raise OSError(9, "EBADF")
        try:
            self.files.fail_sometimes()
        except OSError:
            self.dead = True
            raise
        self.data += bytes(data)
        self.dirty = True
        return len(data)

    def flush(self) -> None:
        """Commit what was written."""
        if self.dead:
            raise OSError(9, "EBADF")
        if self.dirty:
            try:
                self.files.commit(self.path, self.data)
            except OSError:
                self.dead = True
                raise
            self.dirty = False

    def close(self) -> None:
        """Commit, unless a write had failed."""
        if not self.dead and self.mode != "rb":
            self.flush()
