"""Tails of the F and t distributions, and quantiles of t. Decimal arithmetic of fixed precision: the same digits on
every machine, right to more than 20 of them.

For whole degrees of freedom the beta function's arguments are whole or half, so that its factor needs no logarithm:
Γ(n) and Γ(n + ½)/√π are rational. The incomplete beta function is its continued fraction (DLMF 8.17.22).
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext
from fractions import Fraction
from functools import cache

_PRECISION = 60
_CONTEXT = Context(prec=_PRECISION, rounding=ROUND_HALF_EVEN)
_PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459230781640628620899")
_TERMS_MAX = 20_000
_SMALL = Decimal(10) ** -45


def f_tail(f: Fraction, df_model: int, df_residual: int) -> Decimal:
    """P(F ≥ f)."""
    if f <= 0:
        return Decimal(1)
    return _beta(Fraction(df_residual) / (df_residual + df_model * f), df_residual, df_model)


def t_tails(t2: Fraction, df: int) -> Decimal:
    """P(|T| ≥ t), of t²."""
    return f_tail(t2, 1, df)


@cache
def t_quantile(df: int, two_sided: Fraction = Fraction(1, 20)) -> Fraction:
    """The t that |T| exceeds with this probability, to 15 decimals, rounded up: 12.706… for 1 degree of freedom."""
    low, high = Fraction(0), Fraction(1)
    wanted = Decimal(two_sided.numerator) / Decimal(two_sided.denominator)
    while t_tails(high * high, df) > wanted:
        high *= 2
    step = Fraction(1, 10**15)
    first, last = 0, int(high / step)
    while last - first > 1:
        middle = (first + last) // 2
        at = middle * step
        first, last = (middle, last) if t_tails(at * at, df) > wanted else (first, middle)
    return low + last * step


def _beta(x: Fraction, two_a: int, two_b: int) -> Decimal:
    """The regularised incomplete beta function I_x(a, b); a and b are given doubled."""
    if x <= 0 or x >= 1:
        return Decimal(int(x >= 1))
    if x > Fraction(two_a + 2, two_a + two_b + 4):  # where the fraction converges quickly
        with localcontext(_CONTEXT):
            return 1 - _beta(1 - x, two_b, two_a)
    with localcontext(_CONTEXT):
        at = Decimal(x.numerator) / Decimal(x.denominator)
        a, b = Decimal(two_a) / 2, Decimal(two_b) / 2
        factor = _power(at, two_a) * _power(1 - at, two_b) / (a * _complete(two_a, two_b))
        return factor / _fraction(at, a, b)


def _power(base: Decimal, doubled: int) -> Decimal:
    whole = base ** (doubled // 2)
    return whole * base.sqrt() if doubled % 2 else whole


def _complete(two_a: int, two_b: int) -> Decimal:
    """B(a, b) = Γ(a)Γ(b)/Γ(a + b)."""
    found = _gamma(two_a) * _gamma(two_b) / _gamma(two_a + two_b)
    value = Decimal(found.numerator) / Decimal(found.denominator)
    return value * _PI if two_a % 2 and two_b % 2 else value


@cache
def _gamma(doubled: int) -> Fraction:
    """Γ of half of this; of an odd number, without its factor √π."""
    found, at = Fraction(1), doubled
    while at > 2:
        at -= 2
        found *= Fraction(at, 2)
    return found


def _fraction(x: Decimal, a: Decimal, b: Decimal) -> Decimal:
    """1/(the continued fraction), by Lentz's way."""
    tiny = Decimal(10) ** -300
    c, d = Decimal(1), 1 - (a + b) * x / (a + 1)
    d = 1 / (d or tiny)
    h = d
    for m in range(1, _TERMS_MAX):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / ((1 + term * d) or tiny)
            c = (1 + term / c) or tiny
            h *= d * c
        if abs(d * c - 1) < _SMALL:
            return 1 / h
    raise ArithmeticError(f"the continued fraction does not end for {a}, {b}")
