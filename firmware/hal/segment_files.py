"""The journal's storage on a file system, for stock boards that have no partition to spare: each sector is a file.

A file holds a sector as far as it has been written; behind its end everything reads blank. Files are only appended to
and emptied, 32 in a folder (littlefs searches a folder from its start). littlefs shows a file as it was at the last
flush, whole, or as it was before; so nothing tears, and what was written since the last `sync` may be gone.

The order of writes must survive as well: a batch must not be told of by a file that got to flash before it. So at most
the two open sectors wait, everything that waits is flushed before another file is begun, and the journal syncs before
each erase and around each batch. littlefs compares what it programs, so the journal need not (`verified`).

Blocks needed: one for each sector, two for each folder, and eight to breathe. `sync` every 10 s costs about 0.1 erases
a second, whatever the rate of readings: littlefs copies the last block of a file that is flushed.
"""

import os

from parkgate.errors import FlashError

FOLDER_FILES = 32
BLANK_CHUNK = b"\xff" * 64


class SegmentFiles:
    """`sector_count` sectors of `sector_size` bytes as files in `folder`, which is made if it is not there."""

    verified = True

    def __init__(self, folder: str, sector_count: int, sector_size: int = 4096, program_size: int = 16):
        self.folder = folder
        self.sector_count = sector_count
        self.sector_size = sector_size
        self.program_size = program_size
        self._open = {}  # sector → its file, open for appending
        self._ends = {}  # sector → bytes in that file
        self._waiting = []  # sectors with bytes not flushed, the one that waits longest first
        self._lost = False  # what was to be flushed is gone, and no sync has said so yet
        self._made = False
        self._there = bytearray(sector_count)  # 1 where a sector has a file: to look for one in vain takes 4 ms
        for i in range(0, sector_count, FOLDER_FILES):
            self._look_into(i)

    def read(self, address: int, buffer):
        """Fill `buffer` from `address` on; what waits there is flushed first."""
        sector, at = self._place(address, len(buffer))
        if sector in self._waiting:
            self._flush()
        view = memoryview(buffer)
        count = 0
        try:
            if self._there[sector]:
                with open(self._path(sector), "rb") as f:
                    f.seek(at)
                    count = f.readinto(view) or 0
        except OSError as e:
            if e.errno != 2:
                raise FlashError("sector %d: %s" % (sector, e)) from None
        while count < len(view):
            step = min(len(view) - count, len(BLANK_CHUNK))
            view[count : count + step] = BLANK_CHUNK[:step]
            count += step

    def program(self, address: int, data):
        """Write `data`, whole program units, behind everything written to the sector."""
        sector, at = self._place(address, len(data))
        if address % self.program_size or len(data) % self.program_size or not len(data):
            raise FlashError("program of %d bytes at %d is not whole units" % (len(data), address))
        waits = False
        try:
            f = self._open.get(sector) or self._begin(sector)
            if at < self._ends[sector]:
                raise FlashError("program at %d of what is not erased" % address)
            waits = sector in self._waiting
            if not waits:
                self._waiting.append(sector)
            while self._ends[sector] < at:
                self._ends[sector] += f.write(BLANK_CHUNK[: min(at - self._ends[sector], len(BLANK_CHUNK))])
            if f.write(data) != len(data):
                raise OSError(28)
            self._ends[sector] += len(data)
        except OSError as e:
            # After a failed write littlefs flushes half a record; closed without a flush, the file is as it was.
            self._lost = self._lost or waits
            self._forget(sector)
            raise FlashError("sector %d: %s" % (sector, e)) from None

    def erase(self, sector: int):
        """Empty the file of `sector`."""
        self._place(sector * self.sector_size, self.sector_size)
        self._forget(sector)
        try:
            self._make_folders()
            self._there[sector] = 1
            open(self._path(sector), "wb").close()
        except OSError as e:
            raise FlashError("sector %d: %s" % (sector, e)) from None

    def sync(self):
        """Flush what waits; it is durable when this returns. Raises FlashError when something that was written since
        the last time is gone, whether now or before."""
        self._flush()
        if self._lost:
            self._lost = False
            raise FlashError("a file could not be written, and what waited in it is gone")

    def _flush(self):
        while self._waiting:
            sector = self._waiting[0]
            try:
                self._open[sector].flush()
            except OSError as e:
                self._lost = True
                self._forget(sector)
                raise FlashError("sector %d: %s" % (sector, e)) from None
            self._waiting.pop(0)

    def close(self):
        """Flush and close every file."""
        self.sync()
        for sector in list(self._open):
            self._forget(sector)

    def _begin(self, sector):
        self._flush()
        while len(self._open) > 2:
            self._forget(next(iter(self._open)))
        path = self._path(sector)
        self._make_folders()
        self._there[sector] = 1
        f = open(path, "ab")
        self._open[sector] = f
        self._ends[sector] = os.stat(path)[6]
        return f

    def _forget(self, sector):
        f = self._open.pop(sector, None)
        self._ends.pop(sector, None)
        if sector in self._waiting:
            self._waiting.remove(sector)
        if f is not None:
            try:
                f.close()
            except OSError:
                pass

    def _place(self, address, length):
        sector, at = divmod(address, self.sector_size)
        if not 0 <= sector < self.sector_count or at + length > self.sector_size:
            raise FlashError("%d bytes at %d are not within one sector" % (length, address))
        return sector, at

    def _path(self, sector):
        return "%s/%d/%d" % (self.folder, sector // FOLDER_FILES, sector % FOLDER_FILES)

    def _look_into(self, first):
        """Which sectors of the folder that begins with the sector `first` have a file."""
        try:
            names = os.listdir(self._path(first).rpartition("/")[0])
        except OSError as e:
            if e.errno == 2:
                return
            names = [str(i) for i in range(FOLDER_FILES)]  # a read of each will say what is wrong
        for name in names:
            if name.isdigit() and int(name) < min(FOLDER_FILES, self.sector_count - first):
                self._there[first + int(name)] = 1

    def _make_folders(self):
        if self._made:
            return
        wanted = [self.folder]
        for i in range((self.sector_count + FOLDER_FILES - 1) // FOLDER_FILES):
            wanted.append("%s/%d" % (self.folder, i))
        for path in wanted:
            try:
                os.mkdir(path)
            except OSError as e:
                if e.errno != 17:
                    raise
        self._made = True
