"""The compiled firmware in one file, mounted as a folder.

littlefs gives each file a block of 4 KiB of its own. The firmware is some 140 files of two kilobytes: as files they
take twice their size, and the journal of a Pico W wants that space. `parkgate flash` writes them into one file
(host_tools/image/pack.py says how); this module lets MicroPython import from it. Nothing else reads it.
"""

import struct
import sys
from binascii import crc32

import vfs

PACK = "/lib/app.pak"
FOLDER = "/app"
_MAGIC = b"parkpak2"
_IS_FOLDER = 0xFFFFFFFF
_HEAD_BYTES = 16
_ENTRY_BYTES = 8
_PIECE_BYTES = 1024
_FOLDER_STAT = (0x4000, 0, 0, 0, 0, 0, 0, 0, 0, 0)
_FILE_STAT = (0x8000, 0, 0, 0, 0, 0, 0, 0, 0, 0)

mounted = None


class Pack:
    """A read-only file system with what `import` asks of one: stat and open. Raises OSError when there is no pack, or
    one that is cut short."""

    def __init__(self, path):
        self._path = path
        self._found, self._offset = "", 0  # of the last stat: who opens a file has asked for it just before
        with open(path, "rb") as f:
            head = f.read(_HEAD_BYTES)
            if head[:8] != _MAGIC:
                raise OSError(19)  # ENODEV
            self._count, crc = struct.unpack_from("<II", head, 8)
            self._index = f.read(_ENTRY_BYTES * self._count)
        self._piece = bytearray(_PIECE_BYTES)  # for all modules of a start: made anew each would be garbage
        if crc32(self._index) != crc:
            raise OSError(5)  # EIO

    def rest(self):
        """Most is loaded: from now on the index is read from the file when somebody asks, and takes no memory else."""
        self._index = self._piece = None

    def mount(self, readonly, mkfs):
        """Nothing is to be done."""

    def umount(self):
        """Nothing is to be done."""

    def stat(self, path):
        """Whether it is a folder or a file. Raises OSError. The search by CRC-32 stands here and not in a function of
        its own: imports nest deep, and each call takes of a stack of 8 kB."""
        wanted = crc32(path[1:].encode())
        index = self._index
        if index is None:
            with open(self._path, "rb") as f:
                f.seek(_HEAD_BYTES)
                index = f.read(_ENTRY_BYTES * self._count)
        low, high = 0, self._count
        while low < high:
            middle = (low + high) // 2
            crc, offset = struct.unpack_from("<II", index, _ENTRY_BYTES * middle)
            if crc == wanted:
                self._found, self._offset = path, offset
                return _FOLDER_STAT if offset == _IS_FOLDER else _FILE_STAT
            if crc < wanted:
                low = middle + 1
            else:
                high = middle
        raise OSError(2)  # ENOENT

    def open(self, path, mode):
        """The file of the pack, standing where the module begins: who loads a module reads no further than it goes.
        Raises ImportError when the module is damaged: MicroPython may read it without an end."""
        if path != self._found:
            self.stat(path)
        f = open(self._path, "rb")
        f.seek(self._offset)
        size, wanted = struct.unpack("<II", f.read(8))
        piece, crc = self._piece or bytearray(_PIECE_BYTES // 4), 0
        while size > 0:
            count = f.readinto(piece)
            if not count:
                break
            crc = crc32(piece if len(piece) == count <= size else piece[: min(count, size)], crc)
            size -= count
        if size > 0 or crc != wanted:
            f.close()
            raise ImportError("%s is damaged" % path)
        f.seek(self._offset + 8)
        return f


def mount():
    """Let modules be imported from the pack, before any other place."""
    global mounted
    mounted = Pack(PACK)
    vfs.mount(mounted, FOLDER)
    sys.path.insert(0, FOLDER)
