"""A reporting period against its baseline: actual energy, what was to be expected, the difference, how certain it is.

EnPI here is actual over expected energy: below 1 the place needs less than the baseline says. No verdict is given where
less than 90 % of the days are known, more than 5 % of the energy is imputed, or a rule fails; the figures are shown all
the same, with the rules that failed.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from fractions import Fraction

from host_tools.evidence.enpi import baselines, model, rules
from host_tools.evidence.enpi.baselines import Adjustment, Baseline
from host_tools.evidence.enpi.data import Energy
from host_tools.evidence.enpi.model import Point
from host_tools.evidence.enpi.regression import text
from host_tools.hub.park.metering.register import Record, at, in_force, limit

NO_VERDICT, LESS, MORE, SAME = "no verdict", "less than expected", "more than expected", "no significant change"


def meter(records: Sequence[Sequence[Record]], first: date, last: date) -> dict:
    """The meters of a total: {"serials", "percent": standard uncertainty in percent or None, "why"}. `records` are
    those of each meter. Of several meters the largest is taken for all: a safe bound."""
    serials, percents, why = [], [], []
    for own in records:
        one = at(in_force(list(own)), last)
        if one is None:
            return {"serials": [], "percent": None, "why": "a meter is not in the meter register"}
        serials.append(one.fields["serial"])
        allowed = limit(one.fields)
        if "uncertainty" in one.fields:
            error = Fraction(one.fields.get("as_left", one.fields.get("as_found", "0")))
            percents.append(model.root((Fraction(one.fields["uncertainty"]) / 2) ** 2 + error**2 / 3))
            why.append("calibration: half of the uncertainty (k = 2), and its error as a rectangle")
        elif allowed is not None:
            percents.append(model.root(allowed**2 / 3))
            why.append("limit of its class, as a rectangle")
        else:
            return {"serials": serials, "percent": None, "why": "the register says no class and no uncertainty"}
    if not percents:
        return {"serials": [], "percent": None, "why": "no meter"}
    return {"serials": serials, "percent": max(percents), "why": "; ".join(dict.fromkeys(why))}


def document(
    baseline: Baseline, adjusted: Sequence[Adjustment], found: Energy, points: Sequence[Point], meter_now: dict,
    first: date, last: date,
) -> dict:  # fmt: skip
    """The report as JSON: energies as exact decimals, derived figures with 17 digits. Raises RegressionError."""
    before, variables = baseline.points(), [one["name"] for one in baseline.content["variables"]]
    made = model.fitted(before, baseline.content["intercept"])
    verdicts = [
        rules.coverage(found.days, found.known), rules.imputed(found.day_points),
        *rules.of_model(made, before, variables), *rules.of_period(points, before, variables),
    ]  # fmt: skip
    base_rules = [one for one in baseline.content["rules"] if one["rule"] in ("days known", "energy imputed")]
    failed = rules.failed(verdicts) + [f"baseline: {one['rule']}" for one in base_rules if one["verdict"] == rules.FAIL]
    should = model.expected(made, points)
    extra = sum((one.of(*_whole(points, first, last)) for one in adjusted), Fraction(0)) if points else Fraction(0)
    actual, expected = sum((p.kwh for p in points), Fraction(0)), sum(should, Fraction(0)) + extra
    percent = meter_now["percent"]
    same = meter_now["serials"] == baseline.content["meter"]["serials"] and bool(meter_now["serials"])
    unsure = model.uncertainty(made, points, percent or Fraction(0), same)
    expanded = unsure.combined * model.coverage_factor(made)
    saved = expected - actual
    verdict = NO_VERDICT
    if not failed and points:
        verdict = SAME if abs(saved) <= expanded else LESS if saved > 0 else MORE
    return {
        "baseline": {key: getattr(baseline, key) for key in ("name", "sha256", "unix_ms", "by", "entry")},
        "from": first.isoformat(), "to": last.isoformat(), "unit": baseline.content["unit"],
        "actual_kwh": baselines.float_free(actual), "expected_kwh": text(expected),
        "adjustments_kwh": baselines.float_free(extra), "difference_kwh": text(saved),
        "enpi": text(actual / expected) if expected else None,
        "percent_less": text(100 * saved / expected) if expected else None,
        "uncertainty": {
            "model_kwh": text(unsure.model), "meter_kwh": text(unsure.meter) if percent is not None else None,
            "edges_kwh": text(unsure.edges), "combined_kwh": text(unsure.combined),
            "factor": text(model.coverage_factor(made), 8), "confidence_percent": 95, "expanded_kwh": text(expanded),
            "meter_percent": None if percent is None else text(percent, 6), "meter_why": meter_now["why"],
            "same_meter": same,
        },
        "verdict": verdict, "failed": failed, "rules": [one.document() for one in verdicts],
        "points": [
            {"from": p.begin.isoformat(), "to": (p.end - timedelta(days=1)).isoformat(),
             "actual_kwh": baselines.float_free(p.kwh), "imputed_kwh": baselines.float_free(p.imputed),
             "expected_kwh": text(e), "variables": [baselines.float_free(value) for value in p.variables]}
            for p, e in zip(points, should)
        ],
        "days": found.days, "days_known": found.known,
        "adjustments": [one.document() for one in adjusted],
    }  # fmt: skip


def _whole(points: Sequence[Point], first: date, last: date) -> tuple[date, date]:
    """The days that the points are of: a day or month that is not known has no part in the adjustments either."""
    return max(first, points[0].begin), min(last, points[-1].end - timedelta(days=1))
