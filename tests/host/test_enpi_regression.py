"""Least squares against NIST's reference sets, and the tails of F and t against published tables."""

import hashlib
import json
import random
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest

from host_tools.evidence.enpi import probability
from host_tools.evidence.enpi.regression import RegressionError, fit, root, text

SETS = json.loads((Path(__file__).parent.parent / "vectors/regression/nist_strd_linear.json").read_text())["sets"]
CLOSE = Fraction(1, 10**12)


def close(found, expected, to=CLOSE):
    expected = Fraction(expected)
    return abs(found - expected) <= to * abs(expected) if expected else found == 0


def fitted(one):
    if one["name"] == "longley":
        rows = [[Fraction(value) for value in row] for row in one["x"]]
    else:
        powers = range(1, one["params"] + (not one["intercept"]))
        rows = [[Fraction(value) ** power for power in powers] for value in one["x"]]
    return fit(rows, [Fraction(value) for value in one["y"]], one["intercept"])


@pytest.mark.parametrize("one", SETS, ids=lambda one: one["name"])
def test_the_sets_of_nist(one):
    found = fitted(one)
    assert (found.df_model, found.df_residual) == tuple(one["df"])
    assert all(close(a, b) for a, b in zip(found.coefficients, one["coef"], strict=True))
    errors = [root(found.coefficient_variance(i)) for i in range(one["params"])]
    assert all(close(a, b) for a, b in zip(errors, one["stderr"], strict=True))
    assert close(root(found.variance), one["rsd"]) and close(found.r2, one["r2"])
    assert found.f is None if one["F"] is None else close(found.f, one["F"])


def test_there_are_eleven_sets_and_the_digits_are_the_same_everywhere():
    assert len(SETS) == 11
    made = json.dumps([[text(value) for value in fitted(one).coefficients] for one in SETS])
    digest = hashlib.sha256(made.encode()).hexdigest()
    assert digest == "12e1c1014c6b672b4a73cd35f035403c0842029365cbd29901823663e3479950"


@pytest.mark.parametrize("rows, y, words", [
    ([[1], [2]], [1, 2], "too few"),
    ([[1], [1], [1]], [1, 2, 3], "depend on each other"),
    ([[1, 2], [2, 4], [3, 6], [5, 10]], [1, 2, 3, 5], "depend on each other"),
])  # fmt: skip
def test_points_without_a_model(rows, y, words):
    with pytest.raises(RegressionError, match=words):
        fit([[Fraction(v) for v in row] for row in rows], [Fraction(v) for v in y])


def test_roots_are_right_to_the_digit():
    dice = random.Random(7)
    for _ in range(500):
        value = Fraction(dice.randrange(1, 10 ** dice.randrange(1, 40)), dice.randrange(1, 10 ** dice.randrange(1, 40)))
        found = root(value)
        assert found * found <= value < (found * (1 + Fraction(1, 10**18))) ** 2
    assert root(Fraction(9, 16)) == Fraction(3, 4) and root(Fraction(0)) == 0


# Critical values of F at p = 0.10 for 12 points and 1 to 5 variables (EnPI Lite), and of NIST's tables at 0.05.
@pytest.mark.parametrize("f, df_model, df_residual, p, to", [
    ("3.285", 1, 10, "0.10", "0.00005"), ("3.0065", 2, 9, "0.10", "0.00005"), ("2.9238", 3, 8, "0.10", "0.00005"),
    ("2.9605", 4, 7, "0.10", "0.00005"), ("3.1075", 5, 6, "0.10", "0.00005"),
    ("161.448", 1, 1, "0.05", "0.000001"), ("4.965", 1, 10, "0.05", "0.0001"), ("2.975", 10, 10, "0.05", "0.0002"),
    ("1.392", 100, 100, "0.05", "0.0003"), ("3.936", 1, 100, "0.05", "0.0001"),
])  # fmt: skip
def test_tails_of_f(f, df_model, df_residual, p, to):
    assert abs(probability.f_tail(Fraction(f), df_model, df_residual) - Decimal(p)) < Decimal(to)


@pytest.mark.parametrize("df, expected", [
    (1, "12.7062047361747"), (2, "4.30265272974946"), (10, "2.22813885196494"), (30, "2.04227245630124"),
    (120, "1.97993040505"),
])  # fmt: skip
def test_quantiles_of_t(df, expected):
    assert abs(probability.t_quantile(df) - Fraction(expected)) < Fraction(1, 10**10)


def test_tails_in_closed_form():
    """With 2 degrees of freedom the tail of F is (1 + 2f/n)^(-n/2); with 1 and 1 it is 1 - (2/π)·atan(√f)."""
    for f in (Fraction(1, 7), Fraction(2), Fraction(50)):
        for n in (2, 6, 12):
            exact = 1 / (1 + 2 * f / n) ** (n // 2)
            assert abs(Fraction(probability.f_tail(f, 2, n)) - exact) < Fraction(1, 10**40)
    assert abs(probability.f_tail(Fraction(1), 1, 1) - Decimal("0.5")) < Decimal(10) ** -40
    assert probability.f_tail(Fraction(0), 3, 9) == 1
