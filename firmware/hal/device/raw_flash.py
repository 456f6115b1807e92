"""A part of the flash chip as the journal wants it: rp2.Flash or esp32.Partition behind read, program, erase, sync.

Both devices speak MicroPython's extended block protocol. With an offset it writes without erasing, which is what a
journal needs. Neither reports an error of the chip: the journal reads back what it wrote.
"""

from parkgate.errors import FlashError

_COUNT, _SIZE, _ERASE = 4, 5, 6  # operations of ioctl


class BlockFlash:
    """`device` from its first block to its last. `program_size` is the smallest piece that is written at once."""

    def __init__(self, device, program_size: int):
        self._device = device
        self.program_size = program_size
        self.sector_size = device.ioctl(_SIZE, 0)
        self.sector_count = device.ioctl(_COUNT, 0)

    def read(self, address: int, buffer):
        """Fill `buffer` from `address` on."""
        size = self.sector_size
        self._check(address, len(buffer))
        try:
            self._device.readblocks(address // size, buffer, address % size)
        except OSError as e:
            raise FlashError("read at %d: %s" % (address, e))

    def program(self, address: int, data):
        """Write `data`, whole program units within one sector. Bits can only be cleared."""
        size, unit, length = self.sector_size, self.program_size, len(data)
        if not length or address % unit or length % unit or address % size + length > size:
            raise FlashError("program of %d bytes at %d is not whole units of %d in a sector" % (length, address, unit))
        self._check(address, length)
        try:
            self._device.writeblocks(address // size, data, address % size)
        except OSError as e:
            raise FlashError("program at %d: %s" % (address, e))

    def erase(self, sector: int):
        """Make every byte of `sector` 0xFF. On RP2 all interrupts stop for about 45 ms."""
        self._check(sector * self.sector_size, self.sector_size)
        try:
            failed = self._device.ioctl(_ERASE, sector)
        except OSError as e:
            raise FlashError("erase of sector %d: %s" % (sector, e))
        if failed:
            raise FlashError("erase of sector %d: %s" % (sector, failed))

    def sync(self):
        """Nothing waits here: both drivers return when the chip has finished."""

    def _check(self, address, length):
        if address < 0 or address + length > self.sector_size * self.sector_count:
            raise FlashError("%d bytes at %d are not in this region" % (length, address))
