"""Least squares in rational numbers: exact, so no conditioning, no rounding, and the same result on every machine.

In floating point the usual ways are wrong in all digits on hard data (NIST StRD "Filip"); with fractions the normal
equations are as good as any way.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import isqrt, lcm
from typing import NamedTuple

from parkgate.errors import ParkgateError


class RegressionError(ParkgateError):
    """These points have no unique model: too few of them, or variables that depend on each other."""


class Fit(NamedTuple):
    """A linear model y = Σ coefficient · variable; with an intercept its variable, the first one, is 1.

    inverse    (XᵀX)⁻¹: covariances of the coefficients in units of the residual variance
    sse, sst   sums of squares: of the residuals; of y about its mean (about 0 without an intercept)
    """

    coefficients: tuple[Fraction, ...]
    inverse: tuple[tuple[Fraction, ...], ...]
    intercept: bool
    points: int
    sse: Fraction
    sst: Fraction

    @property
    def df_model(self) -> int:
        return len(self.coefficients) - self.intercept

    @property
    def df_residual(self) -> int:
        return self.points - len(self.coefficients)

    @property
    def variance(self) -> Fraction:
        """Of the residuals: SSE over its degrees of freedom."""
        return self.sse / self.df_residual

    @property
    def r2(self) -> Fraction | None:
        """None where y does not vary."""
        return 1 - self.sse / self.sst if self.sst else None

    @property
    def f(self) -> Fraction | None:
        """None where the model is exact, or has no variable."""
        if not self.sse or not self.df_model:
            return None
        return (self.sst - self.sse) / self.df_model / self.variance

    def coefficient_variance(self, at: int) -> Fraction:
        return self.variance * self.inverse[at][at]

    def t2(self, at: int) -> Fraction | None:
        """t² of a coefficient; None where its error is 0."""
        variance = self.coefficient_variance(at)
        return self.coefficients[at] ** 2 / variance if variance else None

    def expect(self, row: Sequence[Fraction]) -> Fraction:
        """The model's y for variables without the intercept's 1."""
        return sum((coefficient * value for coefficient, value in zip(self.coefficients, self.row(row))), Fraction(0))

    def row(self, variables: Sequence[Fraction]) -> list[Fraction]:
        return [Fraction(1), *variables] if self.intercept else list(variables)

    def sum_variance(self, rows: Sequence[Sequence[Fraction]]) -> Fraction:
        """The variance of (sum of what the model expects − sum of what would have come) over these rows: that of the
        coefficients, and that of the points themselves."""
        total = [sum(column, Fraction(0)) for column in zip(*(self.row(row) for row in rows))]
        spread = sum(
            (a * b * self.inverse[i][j] for i, a in enumerate(total) for j, b in enumerate(total)), Fraction(0)
        )
        return self.variance * (len(rows) + spread)


def fit(rows: Sequence[Sequence[Fraction]], y: Sequence[Fraction], intercept: bool = True) -> Fit:
    """The least squares model of y over the rows of variables. Raises RegressionError."""
    design = [[Fraction(1), *row] if intercept else list(row) for row in rows]
    width = len(design[0]) if design else 0
    if len(design) != len(y) or any(len(row) != width for row in design):
        raise ValueError("each point needs the same variables and one y")
    if not width:
        raise RegressionError("a model needs a variable or an intercept")
    if len(design) <= width:
        raise RegressionError(f"{len(design)} points are too few for {width} coefficients: at least {width + 1}")
    # Whole numbers are several times quicker than fractions: each column by its own denominator.
    scales = [lcm(*(row[i].denominator for row in design)) for i in range(width)]
    whole = [[int(row[i] * scales[i]) for i in range(width)] for row in design]
    y_scale = lcm(*(value.denominator for value in y))
    y_whole = [int(value * y_scale) for value in y]
    normal = [[sum(row[i] * row[j] for row in whole) for j in range(width)] for i in range(width)]
    right = [sum(row[i] * value for row, value in zip(whole, y_whole)) for i in range(width)]
    solved = _solve(normal, right)
    coefficients = [solved[i][0] * scales[i] / y_scale for i in range(width)]
    inverse = [[solved[i][1 + j] * scales[i] * scales[j] for j in range(width)] for i in range(width)]
    explained = sum((solved[i][0] * right[i] for i in range(width)), Fraction(0))
    squares = sum(value * value for value in y_whole)
    sse = (squares - explained) / y_scale**2
    sst = Fraction(squares, y_scale**2)
    if intercept:
        sst -= Fraction(sum(y_whole), y_scale) ** 2 / len(y)
    return Fit(tuple(coefficients), tuple(tuple(row) for row in inverse), intercept, len(y), sse, sst)


def _solve(matrix: list[list[int]], right: list[int]) -> list[list[Fraction]]:
    """matrix⁻¹ · (right | identity) by fraction-free elimination (Bareiss 1968). Raises RegressionError."""
    width = len(matrix)
    rows = [[*matrix[i], right[i], *(int(i == j) for j in range(width))] for i in range(width)]
    before = 1
    for at in range(width):
        pivot = next((i for i in range(at, width) if rows[i][at]), None)
        if pivot is None:
            raise RegressionError("variables depend on each other, or one never changes: leave one out")
        rows[at], rows[pivot] = rows[pivot], rows[at]
        head = rows[at]
        for i in range(width):
            if i != at:
                factor = rows[i][at]
                rows[i] = [(head[at] * value - factor * lead) // before for value, lead in zip(rows[i], head)]
        before = head[at]
    return [[Fraction(value, before) for value in row[width:]] for row in rows]


def root(value: Fraction, digits: int = 20) -> Fraction:
    """The square root to this many significant digits, rounded down; exact where it is rational."""
    if value < 0:
        raise ValueError("a negative number has no root")
    top, below = isqrt(value.numerator), isqrt(value.denominator)
    if top * top == value.numerator and below * below == value.denominator:
        return Fraction(top, below)
    shift = 0
    while value * 100**shift < 100**digits:
        shift += 1
    while shift <= 0 and value * Fraction(100) ** (shift - 1) >= 100**digits:
        shift -= 1
    scaled = value * Fraction(100) ** shift
    return isqrt(scaled.numerator // scaled.denominator) / Fraction(10) ** shift


def text(value: Fraction, digits: int = 17) -> str:
    """To this many significant digits, halves to even, as a decimal without an exponent where that is short."""
    from decimal import ROUND_HALF_EVEN, Context, Decimal

    context = Context(prec=digits, rounding=ROUND_HALF_EVEN)
    found = context.divide(Decimal(value.numerator), Decimal(value.denominator)).normalize(context)
    exponent = found.as_tuple().exponent
    assert isinstance(exponent, int)
    return format(found, "f") if -20 < exponent <= 3 else str(found)
