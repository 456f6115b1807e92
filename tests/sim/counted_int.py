"""Counts the big-integer arithmetic of a module by giving it an `int` that counts (CPython only).

A module that makes its big numbers with `int.from_bytes` finds `Counted` under the name `int` while
`counting` lasts; every number computed from one is a Counted too, so nothing in the module needs to know.

What is counted, and what each would take on an RP2040 (a 256-bit a * b % p takes 190 us there, a * b 56 us,
an inversion by Euclid a seventh of the 65 ms that pow(a, p - 2, p) takes, over some 148 divisions; HMAC is an
estimate from 1.2 ms for the SHA-256 of 1 KB):
"""

from contextlib import contextmanager

MULTIPLICATION_US = 56  # both factors above 64 bits; a product with a small constant is free
REDUCTION_US = 134  # `%` by a big modulus
DIVISION_US = 63  # `divmod` and the subtraction that follows, in Euclid's algorithm
HMAC_US = 600

_BIG = 1 << 64


class Tally:
    """How many operations of each kind were done, and how many inversions were begun."""

    def __init__(self):
        self.multiplications = 0
        self.reductions = 0
        self.divisions = 0
        self.inversions = 0
        self.hmacs = 0

    def rp2040_us(self) -> int:
        """What all of it would take on an RP2040, interpreter overhead and garbage collection apart."""
        return (
            MULTIPLICATION_US * self.multiplications
            + REDUCTION_US * self.reductions
            + DIVISION_US * self.divisions
            + HMAC_US * self.hmacs
        )


_tally = Tally()


class Counted(int):
    """An int whose big multiplications, reductions and divisions go to the tally."""

    def __mul__(self, other):
        if abs(self) >= _BIG and abs(other) >= _BIG:
            _tally.multiplications += 1
        return Counted(int(self) * int(other))

    __rmul__ = __mul__

    def __mod__(self, other):
        if other >= _BIG:
            _tally.reductions += 1
        return Counted(int(self) % int(other))

    def __rmod__(self, other):
        return Counted(other) % self

    def __divmod__(self, other):
        _tally.divisions += 1
        quotient, remainder = divmod(int(self), int(other))
        return Counted(quotient), Counted(remainder)

    def __rdivmod__(self, other):
        return divmod(Counted(other), self)

    def __add__(self, other):
        return Counted(int(self) + int(other))

    __radd__ = __add__

    def __sub__(self, other):
        return Counted(int(self) - int(other))

    def __rsub__(self, other):
        return Counted(int(other) - int(self))

    def __rshift__(self, other):
        return Counted(int(self) >> other)

    def __or__(self, other):
        return Counted(int(self) | other)


@contextmanager
def counting(module):
    """While this lasts, `module` counts its work in the Tally given; its _inverse_steps are the inversions."""
    global _tally
    inverse, hmac = module._inverse_steps, module.hmac_sha256
    tally = _tally = Tally()

    def counted_inverse(*args):
        tally.inversions += 1
        return inverse(*args)

    def counted_hmac(*args):
        tally.hmacs += 1
        return hmac(*args)

    module.int, module._inverse_steps, module.hmac_sha256 = Counted, counted_inverse, counted_hmac
    try:
        yield tally
    finally:
        del module.int
        module._inverse_steps, module.hmac_sha256 = inverse, hmac


def longest_step_us(tally, steps):
    """Drive the generator `steps` to its end; give its result and the RP2040 time of its longest step."""
    longest = 0
    while True:
        before = tally.rp2040_us()
        try:
            next(steps)
        except StopIteration as end:
            return end.value, max(longest, tally.rp2040_us() - before)
        longest = max(longest, tally.rp2040_us() - before)
