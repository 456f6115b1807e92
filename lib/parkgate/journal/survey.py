"""Finding out at a start which sector is what, and making sure of what is built on.

Used by `recovery` only; a board takes both out of its memory afterwards.

*Made sure of* means: the newest record of each open sector, and a header with nothing behind it, are programmed once
more with what they read as. A cut may have left exactly these with cells that are hardly programmed, which read well
now and wrong later. Programming the same bits again pulls no bit up and leaves none weak. Where the device checks its
own writes (segment files) a torn write is never seen, and nothing is programmed twice.
"""

import struct
from binascii import crc32

from parkgate.errors import FlashError

from .format import BLANK, HEADER_BYTES, MAGIC, RAW, SEALED, header_rest
from .loaded import READ_TRIES, Record

_PASSES = 3
_READINGS = 5
_SEARCHES = 64  # for one flipped bit, of all headers together: 8 ms each on an RP2040
_BEGUN_MAX = 4  # torn headers erased at one start: each start before that was cut leaves one
_SERIAL_AT = 24
_SERIAL_MAX = 1 << 62


class Survey:
    """What the headers say. `newest` is the sector of the newest header or −1, `foreign` counts sectors of another
    epoch, `strange` those with something else in them, `unreadable` those whose header the device cannot read;
    `claimed` is the highest serial that a header which does not check seems to have."""

    def __init__(self, sectors):
        self.strays = ()
        self._read_thrice(sectors)
        while self.alone:
            # One sector of an epoch, and not its first: it strayed here from another flash, or from an older image.
            self.strays += (self.newest,)
            self._read_thrice(sectors)
        sectors.searches = 1 << 30

    def _read_thrice(self, sectors):
        for _ in range(_PASSES):
            sectors.searches = _SEARCHES
            self._read_all(sectors)
            # Nothing is given up for one wrong read: what was no header is looked at again, after all the others.
            valid = self.valid
            if not any([not sectors.marked(valid, i) and sectors.read_header(i) for i in range(sectors.count)]):
                break

    def _read_all(self, sectors):
        sectors.clear()
        newest, newest_serial, epoch = -1, -1, b""
        self.foreign = self.strange = self.unreadable = self.claimed = 0
        self.valid = bytearray(len(sectors.used))
        mine = known = total = late = 0
        sectors.wear_base = -1
        # 2 × serial + stream of every sector, 0 for none of ours; the sector buffer is not needed before the end.
        fits = sectors.first + sectors.count * 8 <= sectors.size
        keys = sectors.whole[sectors.first :] if fits else memoryview(bytearray(sectors.count * 8))
        header = sectors.header
        for sector in range(sectors.count):
            ours = sectors.read_header(sector)
            key = 0
            if ours is None:
                self.unreadable += 1
                sectors.give_up(sector, 0)
            elif not ours:
                self._note_strange(sectors, sector)
            elif sector in self.strays or header.epoch != epoch and header.serial < newest_serial:
                self.foreign += 1
            else:
                if header.epoch != epoch:
                    epoch = header.epoch
                    self.foreign += mine
                    mine = 0
                    for i in range(sector * 8):
                        keys[i] = 0
                mine += 1
                key = 2 * header.serial + (header.stream == SEALED)
                if header.serial > newest_serial:
                    newest, newest_serial = sector, header.serial
                    late = header.position + header.next_seq
            struct.pack_into("<Q", keys, sector * 8, key)
            sectors.wear[sector] = 255
            if ours:
                sectors.mark(self.valid, sector, True)
                _, _, wear = header_rest(sectors.buffer)
                if sectors.wear_base < 0:
                    sectors.wear_base = max(0, wear - 100)
                sectors.wear[sector] = max(0, min(wear - sectors.wear_base, 254))
                known += 1
                total += sectors.wear[sector]
        # Of a sector without a header nothing is known: it counts as the mean.
        sectors.wear_base = max(0, sectors.wear_base)
        for sector in range(sectors.count):
            if sectors.wear[sector] == 255:
                sectors.wear[sector] = total // known if known else 0
        for sector in sorted(range(sectors.count), key=lambda sector: struct.unpack_from("<Q", keys, sector * 8)):
            (key,) = struct.unpack_from("<Q", keys, sector * 8)
            if key:
                sectors.add(SEALED if key & 1 else RAW, sector)
        self.newest = newest
        self.alone = mine == 1 and late and self.foreign > len(self.strays)
        if newest >= 0:
            sectors.cursor = newest + 1

    def _note_strange(self, sectors, sector):
        view = sectors.view
        if view[:HEADER_BYTES] == BLANK:
            return
        self.strange += 1
        if not sectors.doubted:
            sectors.doubted = bytearray(len(sectors.used))
        sectors.mark(sectors.doubted, sector, True)
        (serial,) = struct.unpack_from("<Q", view, _SERIAL_AT)
        if view[:4] == MAGIC and serial < _SERIAL_MAX:
            self.claimed = max(self.claimed, serial)

    def erase_begun(self, sectors):
        """Erase sectors that have nothing but a header which does not check: torn when a sector was begun. Else it
        might read well at a later start, and be taken for newer than what is written from now on."""
        left = _BEGUN_MAX
        for sector in range(sectors.count):
            if left and sectors.doubted and sectors.marked(sectors.doubted, sector) and _has_no_record(sectors, sector):
                sectors.erase_begun(sector)
                left -= 1


def _has_no_record(sectors, sector):
    sectors.loaded = -1
    return sectors.read_bytes(sector * sectors.size, sectors.whole) and sectors.end_of_use() == sectors.first


def load_settled(sectors, sector: int, is_clean) -> bool:
    """Load `sector` to decide by it. Unless `is_clean(sectors)`, it is read until two readings in a row are the same.
    False when it cannot be read."""
    sectors.loaded = -1
    if not sectors.load(sector):
        return False
    before = -1
    for _ in range(_READINGS):
        if is_clean(sectors):
            break
        sectors.loaded = -1
        if not sectors.load(sector):
            return False
        crc = crc32(sectors.whole)
        if crc == before:
            break
        before = crc
    return True


def confirm(sectors, offset: int, length: int) -> bool:
    """Program `length` bytes at `offset` of the loaded sector again, as they are in the buffer: a record, or at 0 its
    header. False when they do not check afterwards: then nothing must be built on them."""
    if sectors.verified:
        return True
    sector = sectors.loaded
    address = sector * sectors.size + offset
    unit = sectors.flash.program_size
    data = sectors.whole[offset : offset + (length + unit - 1) // unit * unit]
    # Of a record that was mended, cells read otherwise than the buffer says: they are programmed as they read.
    wanted = crc = crc32(data)
    before = -1
    for _ in range(_READINGS):
        if not sectors.read_bytes(address, data):
            return False
        crc = crc32(data)
        if crc in (wanted, before):
            break
        before = crc
    try:
        sectors.flash.program(address, data)
    except FlashError:
        return False
    for _ in range(READ_TRIES):
        if sectors.read_bytes(address, data) and crc32(data) == wanted:
            return True
    sectors.loaded = -1
    record = Record()
    return sectors.load(sector) and (not offset or sectors.find(offset, record) and record.offset == offset)
