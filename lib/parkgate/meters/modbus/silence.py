"""What a meter leaves unanswered: larger reads are split, and single values that never come are asked for seldom.

Some meters do not refuse a read that is too large for them: they are silent. A block that got no answer while a smaller
read of the same meter was answered is silent, not dead. It is split at its second silence in a row; at once when it has
no fewer registers than another block that was split so; at its third when as many registers were answered before, for
then it is rather the line. A value that stays silent alone is asked for in every 2nd, 4th … 64th sample.
"""

_SKIPS_MAX = 64


class Silence:
    """What was learnt of one meter. Blocks are known by their function, address and count."""

    def __init__(self):
        self.largest = 0  # registers of the largest read that was answered
        self.least = 0  # registers of the smallest read that was split because of its silence; 0: none was
        self.splits = 0
        self._silent = {}  # block → [silences in a row, samples to leave it out]

    def skips(self, block):
        """Whether this block is left out of this sample."""
        entry = self._silent.get(_key(block))
        if entry is None or not entry[1]:
            return False
        entry[1] -= 1
        return True

    def answered(self, block):
        """This block was answered."""
        if block.count > self.largest:
            self.largest = block.count
        if self._silent:
            self._silent.pop(_key(block), None)

    def silent(self, block):
        """This block was not answered, a smaller read was. True when it is to be split."""
        key = _key(block)
        entry = self._silent.setdefault(key, [0, 0])
        entry[0] += 1
        if len(block.rows) > 1:
            patience = 2
            if block.count <= self.largest:
                patience = 3
            elif self.least and block.count >= self.least:
                patience = 1
            if entry[0] < patience:
                return False
            self._silent.pop(key)
            self.splits += 1
            if not self.least or block.count < self.least:
                self.least = block.count
            return True
        if entry[0] > 2:
            entry[1] = min(_SKIPS_MAX, 1 << (entry[0] - 2)) - 1
        return False

    def lines(self):
        """What was learnt, as (name, number)."""
        return (
            ("largest read answered", self.largest),
            ("smallest read left unanswered", self.least),
            ("splits after silence", self.splits),
            ("values that stay silent", len(self._silent)),
        )


def _key(block):
    return block.function, block.address, block.count
