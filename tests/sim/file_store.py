"""A file system that keeps littlefs' word, for cutting the journal in segment files quickly.

littlefs shows a file as it was at the last flush, whole, or as it was before; a new file and a new folder are there or
not. So whatever a cut leaves of littlefs' own writes, the files are those before a commit or those after it, and one
state for each commit is all there is. That littlefs keeps its word is what `littlefs_cuts.py` tries.

`FileStore` has the interface of FlashSim that journal_cuts.py uses: copy, trace, apply, apply_cut.
"""


class FileStore:
    """Folders and files by path. `trace`, if it is a list, takes each commit: (path, content), None for a folder."""

    def __init__(self):
        self.kept = {}
        self.trace = None

    def copy(self):
        """Another store with the same files."""
        other = FileStore()
        other.kept = dict(self.kept)
        return other

    def apply(self, operation):
        """Do a traced commit."""
        self.kept[operation[0]] = operation[1]

    def apply_cut(self, operation, way, seed=1):
        """A commit that is cut is not done."""

    def one_bit_short(self, operation) -> bool:
        """Never: a file is as it was before or as it is after."""
        return False

    def commit(self, path, content):
        """Make `content` the file at `path`, None for a folder."""
        if self.trace is not None:
            self.trace.append((path, content))
        self.kept[path] = content

    # What hal.segment_files takes from `os` and the built-ins.

    def mkdir(self, path):
        """Raises OSError 17 when it is there."""
        if path in self.kept:
            raise OSError(17, "EEXIST")
        self.commit(path, None)

    def listdir(self, path):
        """Names of the files and folders in a folder. Raises OSError 2 when it is not there."""
        if path not in self.kept:
            raise OSError(2, "ENOENT")
        return [name.rpartition("/")[2] for name in self.kept if name.rpartition("/")[0] == path]

    def stat(self, path):
        """Only the size is right."""
        return (0, 0, 0, 0, 0, 0, len(self.kept[path]))

    def open(self, path, mode):
        """A handle in mode rb, ab or wb. A file to be written is made at once, and emptied with the first flush."""
        if path not in self.kept:
            if mode == "rb":
                raise OSError(2, "ENOENT")
            self.commit(path, b"")
        return _Handle(self, path, mode)


def one_way(_operation) -> int:
    """In how many ways a cut can leave a commit that is not done."""
    return 1


class _Handle:
    def __init__(self, store, path, mode):
        self.store = store
        self.path = path
        self.at = 0
        self.writes = mode != "rb"
        self.data = b"" if mode == "wb" else store.kept[path]
        self.dirty = mode == "wb" and bool(store.kept[path])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def seek(self, at):
        self.at = at

    def readinto(self, buffer):
        piece = self.data[self.at : self.at + len(buffer)]
        buffer[: len(piece)] = piece
        return len(piece)

    def write(self, data):
        self.data += bytes(data)
        self.dirty = True
        return len(data)

    def flush(self):
        if self.dirty:
            self.store.commit(self.path, self.data)
            self.dirty = False

    def close(self):
        if self.writes:
            self.flush()


def live(world, samples, segments):
    """A life in short; about every tenth call something is synced."""
    while world.appended < samples:
        world.work(60, 12, True)
        world.work(segments * 14, 12, False, 9000)
        world.work(60, 12, True, 2000, "newest")
        world.work(60, 12, True, 500, "some")
        world.work(60, 0, False)
    world.sync()
