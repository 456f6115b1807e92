"""A NOR flash in a file, for the Unix board: programs only clear bits, an erase takes a whole sector, and every
operation is in the file when it returns, so that a killed process is a power cut.

Refused as a chip or its driver would refuse it, or stricter: a program that is not whole units, that leaves the
device or its sector, or that meets what is not erased (a chip would give the AND of both and say nothing). `NorFlash`
is the raw partition that the journal uses; `NorBlockDevice` shows the same flash to a file system, with MicroPython's
extended block protocol. Both count what they do.
"""

import os

from parkgate.errors import FlashError


class NorFlash:
    """`sector_count` sectors of `sector_size` bytes in the file `path`, made blank if it is not there."""

    verified = False

    def __init__(self, path: str, sector_size: int, sector_count: int, program_size: int):
        self.sector_size = sector_size
        self.sector_count = sector_count
        self.program_size = program_size
        self.programs = self.programmed_bytes = self.erases = self.reads = 0
        self._blank = b"\xff" * sector_size
        try:
            length = os.stat(path)[6]
        except OSError:
            length = 0
        if length < sector_size * sector_count:
            # A file that was cut short while being made is completed; what is in it stays.
            with open(path, "ab") as f:
                if length % sector_size:
                    f.write(self._blank[: sector_size - length % sector_size])
                    length += sector_size - length % sector_size
                for _ in range(sector_count - length // sector_size):
                    f.write(self._blank)
        elif length > sector_size * sector_count:
            raise FlashError("%s is larger than %d sectors of %d bytes" % (path, sector_count, sector_size))
        self._file = open(path, "r+b", buffering=0)

    def read(self, address: int, buffer):
        """Fill `buffer` from `address` on."""
        self._check(address, len(buffer))
        self.reads += 1
        self._file.seek(address)
        if self._file.readinto(buffer) != len(buffer):
            raise FlashError("read of %d bytes at %d came short" % (len(buffer), address))

    def program(self, address: int, data):
        """Write `data`, whole program units within one sector, to blank flash."""
        length = len(data)
        unit = self.program_size
        if not length or address % unit or length % unit:
            raise FlashError("program of %d bytes at %d is not whole units of %d" % (length, address, unit))
        self._check(address, length)
        if address // self.sector_size != (address + length - 1) // self.sector_size:
            raise FlashError("program of %d bytes at %d is not within one sector" % (length, address))
        there = bytearray(length)
        self._file.seek(address)
        self._file.readinto(there)
        if there != self._blank[:length]:
            raise FlashError("program at %d of what is not erased" % address)
        self.programs += 1
        self.programmed_bytes += length
        self._file.seek(address)
        self._write(data)

    def erase(self, sector: int):
        """Make every byte of `sector` 0xFF."""
        self._check(sector * self.sector_size, self.sector_size)
        self.erases += 1
        self._file.seek(sector * self.sector_size)
        self._write(self._blank)

    def sync(self):
        """Nothing waits here."""

    def close(self):
        """Give the file back."""
        self._file.close()

    def _check(self, address, length):
        if address < 0 or address + length > self.sector_size * self.sector_count:
            raise FlashError("%d bytes at %d are not on this flash" % (length, address))

    def _write(self, data):
        if self._file.write(data) != len(data):
            raise FlashError("the file took less than was written")


class NorBlockDevice:
    """MicroPython's extended block protocol over a NorFlash: one block is one sector."""

    def __init__(self, flash):
        self.flash = flash

    def readblocks(self, block, buffer, offset=0):
        """Fill `buffer` from `offset` in `block` on."""
        address = block * self.flash.sector_size + offset
        view = memoryview(buffer)
        # littlefs reads within a block; a plain read may span several.
        self.flash.read(address, view)

    def writeblocks(self, block, data, offset=None):
        """Program at `offset` of an erased `block`; without an offset erase whole blocks first."""
        size = self.flash.sector_size
        if offset is None:
            for i in range((len(data) + size - 1) // size):
                self.flash.erase(block + i)
            view = memoryview(data)
            for at in range(0, len(data), size):
                self.flash.program(block * size + at, view[at : at + size])
        else:
            self.flash.program(block * size + offset, data)

    def ioctl(self, operation, argument):
        """Block protocol: 3 sync, 4 number of blocks, 5 bytes a block, 6 erase a block."""
        if operation == 4:
            return self.flash.sector_count
        if operation == 5:
            return self.flash.sector_size
        if operation == 6:
            self.flash.erase(argument)
            return 0
        if operation == 3:
            self.flash.sync()
            return 0
        return None
