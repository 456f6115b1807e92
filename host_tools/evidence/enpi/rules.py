"""Whether a model may be used, and a result believed. One verdict a rule, each with its limit and where that is from:
a reader may hold another rule than ours, and must see which ones hold.

EnPI Lite    LBNL, EnPI Lite: model validity
VERIFI       VERIFI: warnings of its regression models
ASHRAE 14    ASHRAE Guideline 14 and IPMVP, as cited for monthly models
Parkgate     our own

Verdicts: pass, fail, warn (a reader should look), none (the rule says nothing here).
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

from host_tools.evidence.enpi import model
from host_tools.evidence.enpi.model import Point
from host_tools.evidence.enpi.regression import Fit, text

PASS, FAIL, WARN, NONE = "pass", "fail", "warn", "none"
DAYS_PERCENT, IMPUTED_PERCENT = Fraction(90), Fraction(5)
POINTS = 12


class Verdict(NamedTuple):
    """`value` is what was found, in text; None where there is nothing to find."""

    rule: str
    verdict: str
    value: str | None
    limit: str
    source: str

    def document(self) -> dict:
        return self._asdict()


def _judge(rule: str, value: Fraction | None, passes: bool, limit: str, source: str, other: str = FAIL) -> Verdict:
    if value is None:
        return Verdict(rule, NONE, None, limit, source)
    return Verdict(rule, PASS if passes else other, text(value, 8), limit, source)


def coverage(days: int, known: int) -> Verdict:
    """Days of which the energy is known, of those of the period."""
    share = Fraction(100 * known, days) if days else Fraction(0)
    return _judge("days known", share, share >= DAYS_PERCENT, "at least 90 %", "EnPI Lite (328 of 365), Parkgate")


def imputed(points: Sequence[Point]) -> Verdict:
    """How much of the energy is not measured between the edges of its day, but shared."""
    total = sum((point.kwh for point in points), Fraction(0))
    open_kwh = sum((point.imputed for point in points), Fraction(0))
    share = 100 * open_kwh / total if total > 0 else Fraction(100 if open_kwh or not points else 0)
    return _judge("energy imputed", share, share <= IMPUTED_PERCENT, "at most 5 %", "Parkgate")


def of_model(made: Fit, points: Sequence[Point], variables: Sequence[str]) -> list[Verdict]:
    """Of a model over its own points."""
    p, r2, q = model.p_of_model(made), made.r2 if made.df_model else None, model.quality(made, points)
    first = int(made.intercept)
    ps = [model.p_of(made, first + i) for i in range(made.df_model)]
    least = min(made.coefficients[first:], default=None)
    nmbe = None if q.nmbe_percent is None else abs(q.nmbe_percent)
    cv = q.cv_rmse_percent
    worst, best = max(ps, default=None), min(ps, default=None)
    return [
        _judge("points", Fraction(made.points), made.points >= POINTS, f"at least {POINTS}", "ASHRAE 14"),
        _judge("variables", Fraction(made.df_model), made.df_model > 0, "at least one", "VERIFI", WARN),
        _judge("F test", p, p is not None and p < Fraction(1, 10), "p below 0.10", "EnPI Lite"),
        _judge("every variable", worst, worst is not None and worst < Fraction(1, 5), "p below 0.20", "EnPI Lite"),
        _judge("best variable", best, best is not None and best < Fraction(1, 10), "p below 0.10", "EnPI Lite"),
        _judge("R²", r2, r2 is not None and r2 >= Fraction(1, 2), "at least 0.5", "EnPI Lite"),
        _judge("R², stricter", r2, r2 is not None and r2 >= Fraction(3, 4), "at least 0.75", "ASHRAE 14", WARN),
        _judge("CV(RMSE)", cv, cv is not None and cv <= 15, "at most 15 %", "ASHRAE 14", WARN),
        _judge("NMBE", nmbe, nmbe is not None and nmbe <= 5, "at most 5 %", "ASHRAE 14", WARN),
        _judge("least coefficient", least, least is not None and least >= 0, "not below 0", "VERIFI", WARN),
        _judge("intercept", made.coefficients[0] if made.intercept else None, made.coefficients[0] >= 0, "not below 0",
               "VERIFI", WARN),
    ]  # fmt: skip


def of_period(points: Sequence[Point], baseline: Sequence[Point], variables: Sequence[str]) -> list[Verdict]:
    """Whether the variables of a period are where the model was made: their mean is within the baseline's range, or
    within three standard deviations of its mean."""
    found = []
    for i, name in enumerate(variables):
        before = [point.variables[i] for point in baseline]
        mean, sd = model.spread(before)
        now = sum((point.variables[i] for point in points), Fraction(0)) / len(points) if points else None
        good = now is not None and (min(before) <= now <= max(before) or abs(now - mean) <= 3 * sd)
        limit = f"{text(min(before), 6)} to {text(max(before), 6)}, or 3 standard deviations from {text(mean, 6)}"
        found.append(_judge(f"range of {name}", now, good, limit, "EnPI Lite"))
    return found


def failed(found: Sequence[Verdict]) -> list[str]:
    return [verdict.rule for verdict in found if verdict.verdict == FAIL]
