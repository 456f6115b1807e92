"""Small files that must survive a power cut whole: old or new, never a mixture."""

import os

from parkgate.errors import SettingsError

READ_TRIES = 3


class Files:
    """Files of one folder, read and replaced whole. `stays` are names that are not the gateway's to remove."""

    def __init__(self, folder: str, stays=()):
        self.folder = folder
        self._stays = stays

    def names(self) -> list:
        """The names of all files there, without those that stay."""
        return [row[0] for row in os.ilistdir(self.folder) if row[1] == 0x8000 and row[0] not in self._stays]

    def read(self, name: str, limit: int = 32768):
        """The content (bytes); None when there is no such file, b"" when it cannot be read, in three tries. Raises
        SettingsError when it is larger than `limit`."""
        path = self.folder + "/" + name
        for _ in range(READ_TRIES):
            try:
                if os.stat(path)[6] > limit:  # asked first: read(n) takes n bytes of heap whatever comes
                    raise SettingsError("%s: larger than %d bytes" % (name, limit))
                with open(path, "rb") as f:
                    return f.read()
            except OSError as e:
                if e.errno in (2, 20):  # ENOENT, ENOTDIR: absence is no failure
                    return None
        return b""

    def write(self, name: str, data: bytes):
        """Replace the file: written aside, then renamed over the old one (atomic on littlefs and POSIX)."""
        path = self.folder + "/" + name
        if "/" in name:
            try:
                os.mkdir(path[: path.rindex("/")])
            except OSError:
                pass  # it is there
        with open(path + ".new", "wb") as f:
            f.write(data)
        os.rename(path + ".new", path)

    def remove(self, name: str):
        """Overwrite a file and delete it; nothing happens when there is none. (A file system that copies on write
        keeps the old bytes in free blocks: hal.device.scrub overwrites those.)"""
        for path in (self.folder + "/" + name, self.folder + "/" + name + ".new"):
            try:
                size = os.stat(path)[6]
                with open(path, "r+b") as f:
                    f.write(bytes(size))
                os.remove(path)
            except OSError:
                pass  # not there
