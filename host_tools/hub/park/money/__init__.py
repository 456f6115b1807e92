"""Tariffs and bills: from signed registers to money, in exact arithmetic.

located   JSON whose every value knows its line       tariff    a tariff file, checked strictly
measured  energy and demand of a month, with proofs   bill      the lines of a bill, each from least to most
paper     a bill as CSV and as a printable page       command   `parkgate tariff`, `parkgate bill`
"""
