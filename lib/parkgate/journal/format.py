"""The journal's bytes on flash: sector header, ledger and record heads (SPEC, "Journal").

Everything is little-endian. A sector begins with a header of 256 bytes; records follow, each at a multiple of the
program unit (16 bytes where the unit is smaller), each with a head of 16 bytes:

    0  u32 crc       CRC-32 of bytes 4.. of the record, seeded with epoch, generation and index of the sector
    4  u16 tag       first two bytes of the epoch
    6  u8  kind      SAMPLE, EVENT, GAP, BOOT, STATE in a raw sector; PART, COMMIT in a sealed one
    7  u8  count     readings of a SAMPLE; index of a PART; flags of a BOOT; else 0
    8  u16 length    bytes behind the head
    10 u16 boot      low bits of the boot number
    12 u16 a, u16 b  raw: low bits of position and of readings sampled before; sealed: low 32 bits of the seq

The *ledger* is the whole state of the journal in 144 bytes and 16 more for each settled range; it stands in every
sector header and in every GAP, BOOT, STATE and COMMIT. The one with the highest serial is true.
"""

import struct
from binascii import crc32

from parkgate.errors import FormatError

from .single_bit import mend

MAGIC = b"PkJ1"
VERSION = 1
HEADER_BYTES = 256
HEAD_BYTES = 16
BLANK = b"\xff" * HEADER_BYTES
RAW, SEALED = 1, 2

SAMPLE, EVENT, GAP, BOOT, STATE = 1, 2, 3, 4, 5
PART, COMMIT = 16, 17
TORN, BORN = 1, 2  # flags of a BOOT: the position before it was a torn record; an epoch begins
VOID_EXTRA = 2  # bytes behind the ledger of a BOOT: from which program unit on all before it is nothing

RANGES_MAX = 4
META_MAX = 64

_HEADER = "<4sBBBB16s"
_HEADER_CRC_AT = HEADER_BYTES - 4
_WEAR_AT = HEADER_BYTES - 8
_LEDGER_AT = 24
_LEDGER = "<QIIQQQQQQQQQQQII32s"
_HEADER_LEDGER = "<QI4xQQ16xQQ"  # of that: serial, boot, position, sampled, next_seq, sealed
LEDGER_BYTES = struct.calcsize(_LEDGER)
_RANGE = "<IIII"
RANGE_BYTES = 16
_U32 = 0xFFFFFFFF
_UNNAMED_MAX = 0xFFFFFF

HEAD = "<HBBHHHH"  # behind the CRC
COMMIT_FIELDS = "<IIBBH32s"  # bytes of the batch, readings, parts, bytes of meta, told, SHA-256
COMMIT_BYTES = struct.calcsize(COMMIT_FIELDS)
TOLD_MAX = 0xFFFF  # told: how far before its batch those begin that its gap records name; this much or more
GAP_FIELDS = "<BBBBIIIIQQQQ"  # why, has seqs, two meta lengths, batches, records, events, earlier gaps, readings, ...
GAP_BYTES = struct.calcsize(GAP_FIELDS)


class Ledger:
    """The state of the journal. All are counts since the epoch began, but `serial` and `boot`.

    serial            number of this ledger, growing; in a sector header it is the sector's generation
    position          number of the next raw record
    sampled           readings in raw records before `position`
    consumed          raw records before it are sealed or dropped
    consumed_sampled  readings sampled before `consumed`
    next_seq, sealed  number of the next batch; readings in all batches before it
    low, low_sealed   batches before `low` are settled (acknowledged or dropped); readings in them
    acked, dropped    readings acknowledged; readings lost
    unreported        those of the dropped that no gap record tells yet
    unstored          those of the dropped that never were in a raw record
    unnamed           of the batches before `low` the last so many: a gap record that names them is owed
    receipt           highest seq acknowledged + 1, 0 before the first
    head              SHA-256 of the newest batch, zeros before the first
    ranges            settled batches above `low`: [first, end, readings before first, readings before end] each
    """

    unnamed = 0  # of the class, as it is mostly: one attribute more would cost each ledger 48 bytes of a board's memory

    def __init__(self):
        self.serial = self.boot = 0
        self.position = self.sampled = self.consumed = self.consumed_sampled = 0
        self.next_seq = self.sealed = self.low = self.low_sealed = 0
        self.acked = self.dropped = self.unreported = self.unstored = self.receipt = 0
        self.head = bytes(32)
        self.ranges = []

    def size(self) -> int:
        """Bytes that `pack` needs."""
        return LEDGER_BYTES + RANGE_BYTES * len(self.ranges)

    def pack(self, buffer, at: int):
        """Write the ledger into `buffer` at offset `at`."""
        struct.pack_into(
            _LEDGER,
            buffer,
            at,
            self.serial,
            self.boot,
            len(self.ranges) | min(self.unnamed, _UNNAMED_MAX) << 8,
            self.position,
            self.sampled,
            self.consumed,
            self.consumed_sampled,
            self.next_seq,
            self.sealed,
            self.low,
            self.low_sealed,
            self.acked,
            self.dropped,
            self.receipt,
            min(self.unreported, _U32),
            min(self.unstored, _U32),
            self.head,
        )
        at += LEDGER_BYTES
        for first, end, before, after in self.ranges:
            struct.pack_into(
                _RANGE, buffer, at, first - self.low, end - first, before - self.low_sealed, after - before
            )
            at += RANGE_BYTES

    def unpack(self, buffer, at: int) -> int:
        """Take everything from `buffer` at offset `at`; gives the offset behind. Raises FormatError."""
        (
            self.serial,
            self.boot,
            count,
            self.position,
            self.sampled,
            self.consumed,
            self.consumed_sampled,
            self.next_seq,
            self.sealed,
            self.low,
            self.low_sealed,
            self.acked,
            self.dropped,
            self.receipt,
            self.unreported,
            self.unstored,
            self.head,
        ) = struct.unpack_from(_LEDGER, buffer, at)
        if count > 255:
            self.unnamed = count >> 8
            count &= 255
        if count > RANGES_MAX:
            raise FormatError("a ledger of %d ranges, %d are allowed" % (count, RANGES_MAX))
        at += LEDGER_BYTES
        self.ranges = []
        for _ in range(count):
            first, length, before, readings = struct.unpack_from(_RANGE, buffer, at)
            first += self.low
            before += self.low_sealed
            self.ranges.append([first, first + length, before, before + readings])
            at += RANGE_BYTES
        return at

    def copy(self):
        """Another ledger with the same content."""
        other = Ledger()
        buffer = bytearray(self.size())
        self.pack(buffer, 0)
        other.unpack(buffer, 0)
        return other

    def settled(self, seq: int) -> bool:
        """Whether the batch `seq` is acknowledged or dropped."""
        return seq < self.low or any(entry[0] <= seq < entry[1] for entry in self.ranges)

    def settled_in(self, first: int, end: int) -> int:
        """Readings of the batches from `first` to before `end` that are in ranges lying wholly inside."""
        total = 0
        for entry in self.ranges:
            if first <= entry[0] and entry[1] <= end:
                total += entry[3] - entry[2]
        return total

    def settle(self, first: int, end: int, before: int, after: int) -> bool:
        """Note batches `first` to before `end`, all above `low` and in no range, as settled; `before` and `after` are
        the readings in all batches before them and before `end`. False when there is no room to note it."""
        if end - self.low > _U32 or after - self.low_sealed > _U32:
            return False
        at = 0
        while at < len(self.ranges) and self.ranges[at][0] < first:
            at += 1
        if at and self.ranges[at - 1][1] == first:
            at -= 1
            self.ranges[at][1] = end
            self.ranges[at][3] = after
        elif at < len(self.ranges) and self.ranges[at][0] == end:
            self.ranges[at][0] = first
            self.ranges[at][2] = before
        elif len(self.ranges) < RANGES_MAX or first == self.low:
            self.ranges.insert(at, [first, end, before, after])
        else:
            return False
        if at + 1 < len(self.ranges) and self.ranges[at][1] == self.ranges[at + 1][0]:
            follower = self.ranges.pop(at + 1)
            self.ranges[at][1] = follower[1]
            self.ranges[at][3] = follower[3]
        self.raise_low(self.low, self.low_sealed)
        return True

    def owe_names(self, gap):
        """Until a gap record does so, this ledger says which batches `gap` (a Gap, or None) names."""
        if gap and gap.first_seq is not None:
            self.unnamed = max(self.unnamed, self.low - gap.first_seq)

    def raise_low(self, low: int, low_sealed: int):
        """Everything before `low` is settled; ranges below it or touching it are taken in."""
        while self.ranges and self.ranges[0][0] <= low:
            first = self.ranges.pop(0)
            if first[1] > low:
                low = first[1]
                low_sealed = first[3]
        if self.unnamed:
            self.unnamed += low - self.low
        self.low = low
        self.low_sealed = low_sealed


class Header:
    """What a sector header says: which stream, epoch and generation, and from its ledger where its records begin. The
    rest is in the buffer (`header_rest`): each field of the two headers that are kept costs a board's memory."""

    def __init__(self):
        self.stream = 0
        self.epoch = b""
        self.serial = self.boot = 0
        self.position = self.sampled = self.next_seq = self.sealed = 0

    def unpack(self, buffer, sector: int, search: bool = True) -> bool:
        """Take the header of `sector` from the start of `buffer`; False when it is not one of ours, whole and true, but
        for one flipped bit, if that is to be searched for."""
        (stored,) = struct.unpack_from("<I", buffer, _HEADER_CRC_AT)
        if stored != header_crc(buffer, sector) and not (search and _mend_header(buffer, sector)):
            return False
        magic, version, stream, _, _, epoch = struct.unpack_from(_HEADER, buffer, 0)
        if magic != MAGIC or version != VERSION or stream not in (RAW, SEALED):
            return False
        self.stream = stream
        if self.epoch != epoch:  # else one copy is enough: the journal's is this one
            self.epoch = epoch
        self.serial, self.boot, self.position, self.sampled, self.next_seq, self.sealed = struct.unpack_from(
            _HEADER_LEDGER, buffer, _LEDGER_AT
        )
        return True


def _mend_header(buffer, sector):
    """One flipped bit is corrected, in `buffer` only: of the open sector's header there is no other copy."""
    alike = 0
    for i in range(4):
        alike += buffer[i] == MAGIC[i]
    if alike < 3:
        return False
    (stored,) = struct.unpack_from("<I", buffer, _HEADER_CRC_AT)
    return mend(memoryview(buffer)[:_HEADER_CRC_AT], header_crc(buffer, sector), stored)


def pack_header(buffer, sector: int, wear: int, stream: int, inside: int, reason: int, epoch: bytes, ledger):
    """Write a whole sector header to the start of `buffer`; `wear` is how often the sector has been erased."""
    buffer[:HEADER_BYTES] = BLANK
    struct.pack_into(_HEADER, buffer, 0, MAGIC, VERSION, stream, inside, reason, epoch)
    ledger.pack(buffer, _LEDGER_AT)
    struct.pack_into("<I", buffer, _WEAR_AT, wear)
    struct.pack_into("<I", buffer, _HEADER_CRC_AT, header_crc(buffer, sector))


def header_rest(buffer):
    """(inside, reason, wear) of the header at the start of `buffer`."""
    return buffer[6], buffer[7], struct.unpack_from("<I", buffer, _WEAR_AT)[0]


def header_ledger(buffer):
    """The ledger in the header at the start of `buffer`."""
    ledger = Ledger()
    ledger.unpack(buffer, _LEDGER_AT)
    return ledger


def header_crc(buffer, sector: int) -> int:
    """CRC-32 of a header; the sector's index goes in too, so that a misdirected write is found."""
    return crc32(memoryview(buffer)[:_HEADER_CRC_AT], crc32(struct.pack("<H", sector)))


def record_seed(epoch: bytes, serial: int, sector: int) -> int:
    """Start value of the CRC of a sector's records: a record of an older use of the sector never fits."""
    return crc32(struct.pack("<QH", serial, sector), crc32(epoch))


def mend_record(sector, offset: int, seed: int) -> bool:
    """Correct the record at `offset` of `sector` (a whole one, writable) if one flipped bit is all that is wrong with
    it; True when it was. `seed` is that of the sector's records."""
    if offset + HEAD_BYTES > len(sector):
        return False
    stored, _, _, _, length = struct.unpack_from("<IHBBH", sector, offset)
    for bit in range(17):  # 0: the length is right; else one of its bits is not
        claimed = length ^ 1 << bit >> 1
        end = offset + HEAD_BYTES + claimed
        if end <= len(sector):
            struct.pack_into("<H", sector, offset + 8, claimed)
            checked = sector[offset + 4 : end]
            crc = crc32(checked, seed)
            if crc == stored or not bit and mend(checked, crc, stored):
                struct.pack_into("<I", sector, offset, crc32(checked, seed))
                return True
    struct.pack_into("<H", sector, offset + 8, length)
    return False


class Gap:
    """A statement of loss. `why` as in events.GAP_REASONS; `first_seq`, `last_seq` None when no batch was lost;
    `earlier` counts the gap records that were lost themselves and are stated here again; `total` is every reading
    dropped in this epoch, this gap included."""

    def __init__(self, why: int):
        self.why = why
        self.first_seq = self.last_seq = None
        self.batches = self.records = self.events = self.earlier = 0
        self.readings = self.total = 0
        self.first_meta = self.last_meta = b""

    def name(self, first: int, last: int):
        """Batches `first` to `last` are lost too."""
        self.first_seq = first if self.first_seq is None else min(self.first_seq, first)
        self.last_seq = last if self.last_seq is None else max(self.last_seq, last)

    def pack(self) -> bytes:
        """The bytes of the statement as they stand behind the ledger."""
        known = self.first_seq is not None
        return (
            struct.pack(
                GAP_FIELDS,
                self.why,
                1 if known else 0,
                len(self.first_meta),
                len(self.last_meta),
                self.batches,
                self.records,
                self.events,
                self.earlier,
                self.readings,
                self.first_seq if known else 0,
                self.last_seq if known else 0,
                self.total,
            )
            + self.first_meta
            + self.last_meta
        )

    def unpack(self, data) -> None:
        """Take everything from `data`. Raises FormatError when it is cut off."""
        if len(data) < GAP_BYTES:
            raise FormatError("a gap record cut off")
        (
            self.why,
            known,
            first_bytes,
            last_bytes,
            self.batches,
            self.records,
            self.events,
            self.earlier,
            self.readings,
            self.first_seq,
            self.last_seq,
            self.total,
        ) = struct.unpack_from(GAP_FIELDS, data, 0)
        if len(data) != GAP_BYTES + first_bytes + last_bytes:
            raise FormatError("a gap record of the wrong length")
        if not known:
            self.first_seq = self.last_seq = None
        self.first_meta = bytes(data[GAP_BYTES : GAP_BYTES + first_bytes])
        self.last_meta = bytes(data[GAP_BYTES + first_bytes :])
