"""Which identifiers of a DL/T 645 meter to read together, and what to do when it refuses.

Two or more wanted values that stand in one block (values.block_of) are read by the block's identifier: one exchange,
one moment. The reply holds as many items as the meter has; a value behind its end is one that the meter does not have
(NOT_CONFIGURED). Many meters refuse blocks (error byte 02); then each value is read by its own identifier. A single
one that is refused is left out and says NOT_CONFIGURED, until `ask_again`.
"""

from parkgate.meters import registers
from parkgate.meters.read_plan import Block, ReadPlan
from parkgate.reading import BAD_REPLY, GOOD, NOT_CONFIGURED, SECONDARY_SIDE

from .frame import READ
from .values import block_of, item_bytes, number


class Dlt645Plan(ReadPlan):
    """A read_plan.ReadPlan over data identifiers. `entries`: (identifier, layout code, exponent)."""

    def __init__(self, entries, channels=None, rules=None):
        ReadPlan.__init__(self, (), 1, 0, (), channels, rules)
        self.entries = entries
        self.channels = len(entries) if channels is None else channels
        self.blocks = []
        by_block = {}
        for i, entry in enumerate(entries):
            found = block_of(entry[0])
            by_block.setdefault(found[0] if found else entry[0], []).append(i)
        for block in sorted(by_block):
            self.blocks += self._reads(block, by_block[block])

    def _reads(self, block, rows):
        """The reads of rows that stand in one block: the block, or the only identifier that is wanted of it."""
        identifiers = set([self.entries[i][0] for i in rows])
        if len(identifiers) < 2:
            return self._singles(rows)
        last = max([_item_of(identifier) for identifier in identifiers])
        return [Block(READ, block, (last + 1) * self._item_bytes(rows[0]), rows)]

    def _singles(self, rows):
        """One read for each identifier of these rows."""
        by_identifier = {}
        for i in rows:
            by_identifier.setdefault(self.entries[i][0], []).append(i)
        return [
            Block(READ, identifier, self._item_bytes(by_identifier[identifier][0]), by_identifier[identifier])
            for identifier in sorted(by_identifier)
        ]

    def _item_bytes(self, row):
        return item_bytes(self.entries[row][0], self.entries[row][1])

    def decode(self, index, data, values, qualities):
        """Put the values that block `index` holds into `values` and `qualities` (one entry a channel). `data` is what
        stands behind the identifier in the reply; one that is no whole number of items leaves BAD_REPLY."""
        block = self.blocks[index]
        step = self._item_bytes(block.rows[0])
        whole = len(data) >= step and len(data) % step == 0
        for i in block.rows:
            identifier, code, exponent = self.entries[i]
            if not whole or (identifier == block.address and len(data) != step):
                values[i], qualities[i] = None, BAD_REPLY
                continue
            at = 0 if identifier == block.address else _item_of(identifier) * step
            if at >= len(data):
                values[i], qualities[i] = None, NOT_CONFIGURED
                continue
            value, quality = number(data, at, identifier, code)
            if quality == GOOD:
                if code & registers.RULED:
                    value = (value, 1)
                else:
                    value, quality = registers.scaled(value, 1, exponent)
                    if code & registers.SECONDARY_SIDE and quality == GOOD:
                        quality = SECONDARY_SIDE
            values[i], qualities[i] = value, quality

    def refused(self, index) -> int:
        """The meter refuses block `index`: put its identifiers in its place.

        Returns how many reads stand there now; 0 means that its one identifier was left out.
        """
        self.refusals += 1
        before = len(self.blocks)
        if self.split(index):
            return 1 + len(self.blocks) - before
        self.left_out.append(self.blocks.pop(index))
        return 0

    def split(self, index):
        """Put the single identifiers of a block in its place; False when it is a single one."""
        block = self.blocks[index]
        if not self._is_block(block):
            return False
        self.blocks[index : index + 1] = self._singles(block.rows)
        return True

    def part(self, index, turn=0):
        """(function, identifier, bytes) of a read of one value of block `index`, another one each `turn`; None when it
        is a single identifier."""
        block = self.blocks[index]
        if not self._is_block(block):
            return None
        row = block.rows[turn % len(block.rows)]
        return READ, self.entries[row][0], self._item_bytes(row)

    def _is_block(self, block):
        return self.entries[block.rows[0]][0] != block.address


def _item_of(identifier):
    """The place of an identifier, which stands in a block, in that block."""
    found = block_of(identifier)
    assert found is not None
    return found[1]
