"""Energy baselines and energy performance indicators. Exact arithmetic to the last figure: no float, the same digits on
every machine.

regression      least squares in rational numbers
probability     tails of the F and t distributions, quantiles of t, in decimals of fixed precision
model           a baseline model: coefficients, their errors, F, R², ranges; what it expects, and how certain that is
rules           whether a model may be used and a result believed: one verdict a rule, with its limit and its source
data            days of energy at a place, and relevant variables from a file
baselines       baselines as files that never change, with signed statements; adjustments with reasons
report          a reporting period against its baseline
"""
