"""Looking up batches by their COMMIT records, wherever one can still be read."""

import struct

from .format import COMMIT, COMMIT_BYTES, COMMIT_FIELDS, SEALED, TOLD_MAX, Ledger
from .loaded import READ_TRIES, Record
from .sectors import Sectors


class Commit:
    """What stands in the COMMIT of a batch. `before` and `after` are readings in all batches before it and with it;
    `told` is how far before it the batches begin that gap records in it name, 0 when there are none."""

    def __init__(self, content):
        self.length, self.readings, self.parts, meta_bytes, self.told, self.digest = struct.unpack_from(
            COMMIT_FIELDS, content, 0
        )
        ledger = Ledger()
        at = ledger.unpack(content, COMMIT_BYTES)
        self.meta = bytes(content[at : at + meta_bytes])
        self.ledger = ledger
        self.after = ledger.sealed
        self.before = ledger.sealed - self.readings


class Lookup:
    """The sectors and the ledger, and what they tell of each batch."""

    def __init__(self, flash):
        self.sectors = Sectors(flash)
        self.ledger = Ledger()

    def commit_of(self, seq: int):
        """The Commit of batch `seq`, or None when it is not on flash or cannot be read, thrice."""
        sectors = self.sectors
        if not 0 <= seq < self.ledger.next_seq or not len(sectors.sealed):
            return None
        for _ in range(READ_TRIES):
            commit = self._commit_in(sectors.sealed[sectors.holder(SEALED, seq)], seq)
            if commit is not None:
                return commit
            sectors.loaded = -1
        return None

    def _commit_in(self, sector, seq):
        sectors = self.sectors
        commit = None
        if sectors.load(sector):
            record = Record()
            offset = sectors.first
            while sectors.find(offset, record):
                offset = sectors.behind(record)
                if record.kind == COMMIT and record.a | record.b << 16 == seq & 0xFFFFFFFF:
                    commit = Commit(sectors.content(record))
        return commit

    def owe_told(self, seq: int, commit) -> bool:
        """The batch `seq` goes, and with it the gap records in it: what they name is owed again. `commit` is its
        Commit; without one it is all from the highest receipt on, none of which was acknowledged. True when anything
        is owed."""
        ledger = self.ledger
        first = ledger.receipt if commit is None or commit.told == TOLD_MAX else seq - commit.told
        ledger.unnamed = max(ledger.unnamed, ledger.low - first)
        return first < ledger.low

    def known(self, seq: int) -> int:
        """Readings in all batches before `seq`, from whatever can still be read; −1 when nothing tells."""
        ledger, sectors = self.ledger, self.sectors
        if seq == ledger.low:
            return ledger.low_sealed
        if seq == ledger.next_seq:
            return ledger.sealed
        for entry in ledger.ranges:
            if seq == entry[0]:
                return entry[2]
            if seq == entry[1]:
                return entry[3]
        commit = self.commit_of(seq)
        if commit is not None:
            return commit.before
        commit = self.commit_of(seq - 1)
        if commit is not None:
            return commit.after
        if len(sectors.sealed):
            sectors.begin(SEALED, sectors.holder(SEALED, seq))
            if sectors.header.next_seq == seq:
                return sectors.header.sealed
        return -1
