"""One column encoded from lib/SPEC.md 8 with plain arithmetic: whole numbers of any size, nothing clever.

The range coder is done as the mathematics says it: the interval is a pair of exact integers, carries do not exist,
and its bytes are found at the end by trying 1, 2, 3 … bytes.
"""

from itertools import pairwise
from math import gcd

LEVEL, FLOOR, DELTA, DELTA2, DELTA3 = range(5)


class Bits:
    """Verbatim bits, the first one lowest; the bytes are read from the end backwards."""

    def __init__(self):
        self.value = self.length = 0

    def put(self, value: int, bits: int):
        self.value |= value << self.length
        self.length += bits

    def bytes(self) -> bytes:
        return self.value.to_bytes((self.length + 7) // 8, "big")


def zigzag(r: int) -> int:
    return 2 * r if r >= 0 else -2 * r - 1


def signed(r: int) -> int:
    """The signed 64-bit number equal to r modulo 2^64."""
    r %= 1 << 64
    return r - (1 << 64) if r >> 63 else r


def class_of(u: int, fine: bool) -> int:
    if u < 4:
        return u
    if not fine:
        return u.bit_length() + 1
    return 2 * u.bit_length() - 2 + (u >> u.bit_length() - 2 & 1)


def mantissa(u: int, fine: bool) -> tuple:
    """(number, bits) of what the class of u >= 4 does not say."""
    bits = u.bit_length() - (2 if fine else 1)
    return u % (1 << bits), bits


def residuals(transform: int, anchor: int, values: list) -> list:
    if transform == FLOOR:
        return [value - anchor for value in values]
    if transform == LEVEL:
        return [signed(value - anchor) for value in values]
    rs = [b - a for a, b in pairwise(values)]
    for _ in range(transform - DELTA):
        rs = [b - a for a, b in pairwise([0, *rs])]
    return [signed(r) for r in rs]


def interval(symbols: list, size: int):
    """(low, width, bits): the classes, by their index, as part of [0, 2^bits)."""
    shift = 0
    while (size - 1) >> shift >= 8:
        shift += 1
    column, contexts = [4] * size, [[0] * size for _ in range(8)]
    low, width, bits, before = 0, 1 << 24, 24, 0
    for n, symbol in enumerate(symbols):
        context = contexts[before]
        shares = [a + b for a, b in zip(column, context)]
        unit = width // sum(shares)
        low += unit * sum(shares[:symbol])
        width = unit * shares[symbol]
        while width < 1 << 16:
            low, width, bits = low << 8, width << 8, bits + 8
        if n < 64:
            column[symbol] += 1
        context[symbol] += 24
        if sum(context) >= 8192:
            context[:] = [count // 2 for count in context]
        before = symbol >> shift
    return low, width, bits


def shortest(low: int, width: int, bits: int, more: int = 0) -> bytes:
    """The fewest bytes (and `more`), and of these the lowest, such that whatever follows them stays in the interval."""
    size = 1
    while (-(-low // (1 << bits - 8 * size)) + 1) << bits - 8 * size > low + width:
        size += 1
    size += more
    return (-(-low // (1 << bits - 8 * size))).to_bytes(size, "big")


def header(bits: Bits, anchor: int, step: int, us: list, fine: bool, hide: tuple, extra: tuple, say_step: bool):
    """Write the header; the classes that are listed, and which of them have more than one number."""
    a = zigzag(anchor)
    bits.put(a.bit_length(), 7)
    if a.bit_length() > 1:
        bits.put(a - (1 << a.bit_length() - 1), a.bit_length() - 1)
    if not us:
        return [], set()
    bits.put(step > 1 or say_step, 1)
    if step > 1 or say_step:
        bits.put(step.bit_length() - 1, 6)
        bits.put(step - (1 << step.bit_length() - 1), step.bit_length() - 1)
    bits.put(fine, 1)
    members = {}
    for u in us:
        members.setdefault(class_of(u, fine), set()).add(u)
    used = sorted({*members, *extra})
    bits.put(used[0], 7)
    bits.put(used[-1] - used[0], 7)
    for k in range(used[0] + 1, used[-1]):
        bits.put(k in used, 1)
    mixed = {k for k in used if k > 3 and (len(members[k]) > 1 or k in hide)}
    for k in used:
        if k > 3:
            bits.put(k not in mixed, 1)
            if k not in mixed:
                bits.put(*mantissa(members[k].pop(), fine))
    return used, mixed


def encode(transform: int, values: list, anchor=None, step=None, fine: bool = False, **wrong) -> bytes:
    """The column as it stands in a batch: coder id, range code, verbatim bits. `values` is not empty.

    `anchor`, `step` and `wrong` (see `encode_numbers`) break the rules where a vector wants that."""
    if transform >= DELTA:
        anchor = values[0]
    elif anchor is None:
        anchor = min(values) if transform == FLOOR else sorted(values)[len(values) // 2]
    rs = residuals(transform, anchor, values)
    step = step or gcd(*rs) or 1
    us = [r // step if transform == FLOOR else zigzag(r // step) for r in rs]
    return encode_numbers(transform, anchor, step, us, fine, **wrong)


def encode_numbers(
    transform: int, anchor: int, step: int, us: list, fine: bool = False, *, hide: tuple = (), extra: tuple = (),
    say_step: bool = False, more: int = 0, end=bytes,
) -> bytes:  # fmt: skip
    """The column of these numbers. Against the rules: `hide` are classes of one number not marked as such, `extra` ones
    that do not occur, `say_step` writes a step of 1 out, `more` bytes end the range code, `end` changes its bytes."""
    bits = Bits()
    used, mixed = header(bits, anchor, step, us, fine, hide, extra, say_step)
    for u in us:
        if class_of(u, fine) in mixed:
            bits.put(*mantissa(u, fine))
    code = b""
    if len(used) > 1:
        code = end(shortest(*interval([used.index(class_of(u, fine)) for u in us], len(used)), more))
    return bytes([transform]) + code + bits.bytes()
