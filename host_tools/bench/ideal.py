"""The code length of an ideal adaptive coder, the yardstick for columns.

Each column is taken raw, as differences, and as second differences, whichever is best; signs fold into the lowest
bit; the bit length is written in unary, each bit at the cost that an adaptive probability gives it (context: the
length before, the place in the unary word); then the bit below the leading one at an adaptive cost, the rest at one
bit each. No real coder stands behind it: fractions of bits count, and nothing is spent on a header or a last byte.
"""

import math
from itertools import pairwise


class _Odds:
    """Adaptive probabilities of ones, one a context."""

    def __init__(self):
        self.seen = {}

    def cost_bits(self, context, bit):
        ones, count = self.seen.get(context, (0.5, 0))
        cost = -math.log2(ones if bit else 1 - ones)
        ones += (bit - ones) * max(1 / 16, 1 / (count + 1.5))
        least = 1 / 64 if count < 8 else 1 / 512
        self.seen[context] = (min(max(ones, least), 1 - least), count + 1)
        return cost


def _differences(values):
    return values[:1] + [after - before for before, after in pairwise(values)]


def _code_bits(values):
    odds, before, total = _Odds(), 0, 0.0
    for value in values:
        u = 2 * value if value >= 0 else -2 * value - 1
        length = u.bit_length()
        for place in range(length + 1):
            total += odds.cost_bits((min(before, 20), place), place < length)
        if length > 1:
            total += odds.cost_bits(("top", length), u >> length - 2 & 1) + length - 2
        before = length
    return total


def ideal_bytes(values: list[int]) -> float:
    """The code length of one column in bytes."""
    first = _differences(values)
    second = first[:1] + _differences(first[1:])
    return min(_code_bits(values), _code_bits(first), _code_bits(second)) / 8
