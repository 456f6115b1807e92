"""Which registers to read together, and what to do when a meter refuses.

Neighbouring values are read in one request: it saves a turnaround and makes the sample coherent. A block
never holds more registers than the meter allows, never bridges a gap longer than `gap_max` registers and
never touches a forbidden range.

Some meters of a family refuse a block whose registers they do not all have (exception 2, illegal data
address; some say 3). Then the block is split, first at its widest gap, else in the middle, and each part
is asked alone; a single value that is refused is left out and says NOT_CONFIGURED, until `ask_again`. With n
values this takes at most 2n - 1 refusals in all, so it ends.
"""

from parkgate.reading import BAD_REPLY, GOOD, NOT_CONFIGURED, SECONDARY_SIDE

from . import registers

_BITS_A_REQUEST_MAX = 2000
_SPECIAL = registers.RULED | registers.SECONDARY_SIDE


class Block:
    """One read: `count` registers (or bits) from `address` by `function`, holding the values of entries `rows`; `page`
    is the number of the page they are on (0: none)."""

    __slots__ = ("address", "count", "function", "page", "rows")

    def __init__(self, function, address, count, rows, page=0):
        self.function = function
        self.address = address
        self.count = count
        self.rows = rows
        self.page = page


class ReadPlan:
    """The reads for the channels of an instrument. `entries`: (address, layout code, exponent) for each channel and,
    behind the first `channels`, for each register that others need (scale, sign, ratio); `rules`: profile.rules.Rules
    where a register needs more than a decimal scale; `pages`: the writes of page 1, 2 …; `unlock`: writes before each
    read. A write is (address, value) of one holding register."""

    def __init__(self, entries, registers_max, gap_max=0, forbidden=(), channels=None, rules=None, pages=(), unlock=()):
        self.entries = entries
        self.channels = len(entries) if channels is None else channels
        self.rules = rules
        self.refusals = 0
        self.left_out = []
        self._pages = pages
        self._unlock = unlock
        order = sorted(range(len(entries)), key=lambda i: _place(entries[i]))
        self.blocks = []
        block = None
        for i in order:
            address, code, _ = entries[i]
            end = address + registers.width(code)
            function, page = registers.function(code), code >> registers.PAGE_SHIFT
            if block is not None and block.function == function and block.page == page:
                gap_start = block.address + block.count
                fits = (
                    address - gap_start <= gap_max
                    and end - block.address <= (_BITS_A_REQUEST_MAX if function < 3 else registers_max)
                    and not any(first < address and last >= gap_start for first, last in forbidden)
                )
                if fits:
                    block.count = max(block.count, end - block.address)
                    block.rows.append(i)
                    continue
            block = Block(function, address, end - address, [i], page)
            self.blocks.append(block)

    @property
    def ratios(self):
        """name → (numerator, denominator) of the transformer ratios that the last sample read, "ct" and "vt"."""
        return self.rules.ratios if self.rules else {}

    @property
    def ends(self):
        """Place of a channel → (value at which its counter begins again, its smallest growth), of those whose scale or
        ratio stands in registers, as the last sample read them."""
        return self.rules.ends if self.rules else ()

    def writes(self, index):
        """The (address, value) of the holding registers to write before block `index` is read: all of them each time,
        so that no write that was lost lets another page be taken for this one."""
        page = self.blocks[index].page
        return self._unlock + self._pages[page - 1] if page else self._unlock

    def decode(self, index, data, values, qualities):
        """Put the values that block `index` holds into `values` and `qualities` (one entry a channel).

        `data` are the bytes of its reply. A reply of another size leaves BAD_REPLY without a value.
        """
        block = self.blocks[index]
        needed = (block.count + 7) // 8 if block.function < 3 else 2 * block.count
        for i in block.rows:
            if len(data) == needed:
                address, code, exponent = self.entries[i]
                if code & _SPECIAL:
                    self._special(i, registers.raw(data, address - block.address, code), values, qualities)
                else:
                    values[i], qualities[i] = registers.decode(data, address - block.address, code, exponent)
            else:
                values[i], qualities[i] = None, BAD_REPLY

    def _special(self, i, contents, values, qualities):
        """An entry with a rule: its number is kept until `finish`; one of the secondary side is marked so."""
        _, code, exponent = self.entries[i]
        if code & registers.RULED:
            bits = 16 * registers.width(code)
            assert self.rules is not None
            n, d = self.rules.number(i, contents, registers.kind(code), bits, code & registers.ENDS)
            values[i], qualities[i] = ((n, d), GOOD) if d else (None, n)
        else:
            values[i], qualities[i] = registers.convert(contents, code, exponent)
            if qualities[i] == GOOD:
                qualities[i] = SECONDARY_SIDE

    def finish(self, values, qualities):
        """(values, qualities) of the channels once every block of a sample was decoded or failed: applies what stands
        in other registers."""
        if self.rules is None:
            return values, qualities
        values, qualities = self.rules.finish(values, qualities)
        for i in range(self.channels):
            if self.entries[i][1] & registers.SECONDARY_SIDE and qualities[i] == GOOD:
                qualities[i] = SECONDARY_SIDE
        return values, qualities

    def failed(self, index, quality, values, qualities):
        """Note for all values of block `index` why there are none."""
        for i in self.blocks[index].rows:
            values[i], qualities[i] = None, quality

    def empty(self):
        """(values, qualities) with every channel NOT_CONFIGURED: what is refused for good stays so."""
        return [None] * len(self.entries), bytearray([NOT_CONFIGURED] * len(self.entries))

    def refused(self, index) -> int:
        """The meter refuses block `index`: put smaller ones in its place.

        Returns how many blocks stand there now; 0 means that its one value was left out.
        """
        self.refusals += 1
        block = self.blocks.pop(index)
        if len(block.rows) < 2:
            self.left_out.append(block)
            if self.rules:
                self.rules.absent.append(block.rows[0])
            return 0
        self.blocks.insert(index, block)
        self.split(index)
        return 2

    def split(self, index):
        """Put two smaller blocks in the place of block `index`; False when it holds only one value."""
        block = self.blocks[index]
        if len(block.rows) < 2:
            return False
        self.blocks.pop(index)
        cut = self._cut(block.rows)
        for part in (block.rows[cut:], block.rows[:cut]):
            first = self.entries[part[0]][0]
            end = max(self.entries[i][0] + registers.width(self.entries[i][1]) for i in part)
            self.blocks.insert(index, Block(block.function, first, end - first, part, block.page))
        return True

    def part(self, index, turn=0):
        """(function, address, count) of a read of one value of block `index`, another one each `turn`; None when it
        holds only one."""
        block = self.blocks[index]
        if len(block.rows) < 2:
            return None
        address, code = self.entries[block.rows[turn % len(block.rows)]][:2]
        return block.function, address, registers.width(code)

    def move(self, base):
        """Add `base` to every address: those of a SunSpec profile count from the model's first register."""
        self.entries = [(address + base, code, exponent) for address, code, exponent in self.entries]
        for block in self.blocks:
            block.address += base

    def ask_again(self):
        """Read what was left out once more: a meter may have been starting, or have got an extension."""
        self.blocks.extend(self.left_out)
        self.left_out = []
        if self.rules:
            self.rules.absent.clear()

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


def _place(entry):
    """Where an entry stands among the reads: by page, function, address."""
    code = entry[1]
    return code >> registers.PAGE_SHIFT << 20 | registers.function(code) << 17 | entry[0]
