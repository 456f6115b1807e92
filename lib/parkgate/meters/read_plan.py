"""Which registers to read together, and what to do when a meter refuses.

Neighbouring values are read in one request: it saves a turnaround and makes the sample coherent. A block
never holds more registers than the meter allows, never bridges a gap longer than `gap_max` registers and
never touches a forbidden range.

Some meters of a family refuse a block whose registers they do not all have (exception 2, illegal data
address; some say 3). Then the block is split, first at its widest gap, else in the middle, and each part
is asked alone; a single value that is refused is left out and says NOT_CONFIGURED, until `ask_again`. With n
values this takes at most 2n - 1 refusals in all, so it ends.
"""

from parkgate.reading import BAD_REPLY, NOT_CONFIGURED

from . import registers

_BITS_A_REQUEST_MAX = 2000


class Block:
    """One read: `count` registers (or bits) from `address`, holding the values of channels `rows`."""

    __slots__ = ("address", "count", "function", "rows")

    def __init__(self, function, address, count, rows):
        self.function = function
        self.address = address
        self.count = count
        self.rows = rows


class ReadPlan:
    """The reads for the channels of an instrument. `entries`: (address, layout code, exponent) a channel."""

    def __init__(self, function, entries, registers_max, gap_max=0, forbidden=()):
        self.function = function
        self.entries = entries
        self.refusals = 0
        self.left_out = []
        limit = _BITS_A_REQUEST_MAX if function < 3 else registers_max
        order = sorted(range(len(entries)), key=lambda i: entries[i][0])
        self.blocks = []
        block = None
        for i in order:
            address = entries[i][0]
            end = address + registers.width(entries[i][1])
            if block is not None:
                gap_start = block.address + block.count
                fits = (
                    address - gap_start <= gap_max
                    and end - block.address <= limit
                    and not any(first < address and last >= gap_start for first, last in forbidden)
                )
                if fits:
                    block.count = max(block.count, end - block.address)
                    block.rows.append(i)
                    continue
            block = Block(function, address, end - address, [i])
            self.blocks.append(block)

    def decode(self, index, data, values, qualities):
        """Put the values that block `index` holds into `values` and `qualities` (one entry a channel).

        `data` are the bytes of its reply. A reply of another size leaves BAD_REPLY without a value.
        """
        block = self.blocks[index]
        needed = (block.count + 7) // 8 if self.function < 3 else 2 * block.count
        for i in block.rows:
            address, code, exponent = self.entries[i]
            if len(data) == needed:
                values[i], qualities[i] = registers.decode(data, address - block.address, code, exponent)
            else:
                values[i], qualities[i] = None, BAD_REPLY

    def failed(self, index, quality, values, qualities):
        """Note for all values of block `index` why there are none."""
        for i in self.blocks[index].rows:
            values[i], qualities[i] = None, quality

    def empty(self):
        """(values, qualities) with every channel NOT_CONFIGURED: what is refused for good stays so."""
        return [None] * len(self.entries), bytearray([NOT_CONFIGURED] * len(self.entries))

    def refused(self, index):
        """The meter refuses block `index`: put smaller ones in its place.

        Returns how many blocks stand there now; 0 means that its one value was left out.
        """
        self.refusals += 1
        block = self.blocks.pop(index)
        if len(block.rows) < 2:
            self.left_out.append(block)
            return 0
        cut = self._cut(block.rows)
        for part in (block.rows[cut:], block.rows[:cut]):
            first = self.entries[part[0]][0]
            end = max(self.entries[i][0] + registers.width(self.entries[i][1]) for i in part)
            self.blocks.insert(index, Block(self.function, first, end - first, part))
        return 2

    def ask_again(self):
        """Read what was left out once more: a meter may have been starting, or have got an extension."""
        self.blocks.extend(self.left_out)
        self.left_out = []

    def _cut(self, rows):
        """Where to split: before the row that follows the widest gap, or in the middle."""
        widest, cut = 0, len(rows) // 2
        end = 0
        for n, i in enumerate(rows):
            address, code, _ = self.entries[i]
            if n and address - end > widest:
                widest, cut = address - end, n
            end = max(end, address + registers.width(code))
        return cut
