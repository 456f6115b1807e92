"""A baseline model: what energy was to be expected, given the relevant variables; and how certain that is."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from fractions import Fraction
from typing import NamedTuple

from host_tools.evidence.enpi import probability
from host_tools.evidence.enpi.regression import Fit, fit, root, text

CONFIDENCE = Fraction(95, 100)


class Point(NamedTuple):
    """One day or month. `least` and `most` are its energy in kWh, equal where the registers are known at its very
    edges; `variables` in the order of the baseline's."""

    begin: date
    end: date
    least: Fraction
    most: Fraction
    variables: tuple[Fraction, ...]

    @property
    def kwh(self) -> Fraction:
        """The middle of what is possible."""
        return (self.least + self.most) / 2

    @property
    def imputed(self) -> Fraction:
        """How much of it is not measured but shared with its neighbours in time."""
        return self.most - self.least


class Uncertainty(NamedTuple):
    """Standard uncertainties in kWh. `model`: coefficients and the points' own scatter. `meter`: calibration, of the
    difference between expected and actual. `edges`: registers that are not known at the very edges."""

    model: Fraction
    meter: Fraction
    edges: Fraction

    @property
    def variance(self) -> Fraction:
        return self.model**2 + self.meter**2 + self.edges**2

    @property
    def combined(self) -> Fraction:
        return root(self.variance)


def fitted(points: Sequence[Point], intercept: bool = True) -> Fit:
    """Raises RegressionError."""
    return fit([point.variables for point in points], [point.kwh for point in points], intercept)


def expected(made: Fit, points: Sequence[Point]) -> list[Fraction]:
    return [made.expect(point.variables) for point in points]


def uncertainty(made: Fit, points: Sequence[Point], meter_percent: Fraction, same_meter: bool) -> Uncertainty:
    """Of (what the model expects of these points − what was measured). `meter_percent` is the standard uncertainty of
    the meter. An error of the same meter is in the baseline and in the period alike, so it scales the difference; the
    errors of two meters are independent, and each scales its own energy."""
    should, actual = sum(expected(made, points), Fraction(0)), sum((point.kwh for point in points), Fraction(0))
    share = meter_percent / 100
    if same_meter:
        meter = share * abs(should - actual)
    else:
        meter = root(share**2 * (should**2 + actual**2))
    # A register anywhere within a width w has the standard uncertainty w/√12 (GUM 4.3.7); neighbours that share an edge
    # lean against each other, and only the outermost edges stay. The widths of the points added up are a safe bound.
    width = sum((point.imputed for point in points), Fraction(0))
    return Uncertainty(root(made.sum_variance([p.variables for p in points])), meter, root(width**2 / 12))


def coverage_factor(made: Fit) -> Fraction:
    """The factor of the expanded uncertainty: t for 95 %, at the model's degrees of freedom."""
    return probability.t_quantile(made.df_residual, 1 - CONFIDENCE)


class Quality(NamedTuple):
    """Measures of a fit that are not of the fit alone; None where y is 0 on average."""

    cv_rmse_percent: Fraction | None
    nmbe_percent: Fraction | None


def quality(made: Fit, points: Sequence[Point]) -> Quality:
    """CV(RMSE) and NMBE as ASHRAE Guideline 14 has them: over n − p, in percent of the mean."""
    mean = sum((point.kwh for point in points), Fraction(0)) / len(points)
    if not mean:
        return Quality(None, None)
    bias = sum((p.kwh - e for p, e in zip(points, expected(made, points))), Fraction(0)) / made.df_residual
    return Quality(100 * root(made.variance) / abs(mean), 100 * bias / mean)


def names(made: Fit, variables: Sequence[str]) -> list[str]:
    return ["intercept", *variables] if made.intercept else list(variables)


def document(made: Fit, points: Sequence[Point], variables: Sequence[str]) -> dict:
    """The model as JSON: numbers as decimal text of 17 digits."""
    q = quality(made, points)
    return {
        "points": made.points,
        "degrees_of_freedom": [made.df_model, made.df_residual],
        "coefficients": [_coefficient(made, i, name) for i, name in enumerate(names(made, variables))],
        "r2": _text(made.r2),
        "f": _text(made.f),
        "p": _p(made),
        "residual_sd_kwh": text(root(made.variance)),
        "cv_rmse_percent": _text(q.cv_rmse_percent),
        "nmbe_percent": _text(q.nmbe_percent),
        "ranges": [_range([point.variables[i] for point in points], name) for i, name in enumerate(variables)],
    }


def p_of_model(made: Fit) -> Fraction | None:
    """P of an F at least as large by chance; None without a variable; 0 for an exact model."""
    if not made.df_model:
        return None
    return Fraction(0) if made.f is None else Fraction(probability.f_tail(made.f, made.df_model, made.df_residual))


def p_of(made: Fit, at: int) -> Fraction:
    t2 = made.t2(at)
    return Fraction(0) if t2 is None else Fraction(probability.t_tails(t2, made.df_residual))


def _p(made: Fit) -> str | None:
    return _text(p_of_model(made))


def _coefficient(made: Fit, at: int, name: str) -> dict:
    t2 = made.t2(at)
    sign = -1 if made.coefficients[at] < 0 else 1
    return {
        "name": name, "value": text(made.coefficients[at]),
        "standard_error": text(root(made.coefficient_variance(at))),
        "t": None if t2 is None else text(sign * root(t2)), "p": text(p_of(made, at)),
    }  # fmt: skip


def spread(values: Sequence[Fraction]) -> tuple[Fraction, Fraction]:
    """(mean, standard deviation of n − 1)."""
    mean = sum(values, Fraction(0)) / len(values)
    return mean, root(sum(((value - mean) ** 2 for value in values), Fraction(0)) / max(1, len(values) - 1))


def _range(values: Sequence[Fraction], name: str) -> dict:
    mean, sd = spread(values)
    return {
        "name": name, "least": text(min(values)), "most": text(max(values)), "mean": text(mean), "sd": text(sd),
    }  # fmt: skip


def _text(value: Fraction | None) -> str | None:
    return None if value is None else text(value)
