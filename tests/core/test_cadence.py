"""The cadence in words, and back."""

from check import equal
from parkgate.sensing.cadence import row_ms, without, words

MEAN = {"reductions": ["mean", "max"], "every": 60, "heartbeat_s": 0, "deadbands": {}}
CHANGE = {"reductions": ["last"], "every": 1, "heartbeat_s": 60, "deadbands": {}}


def test_there_and_back():
    for profile in ("eastron-sdm630", "ads1115 input 1, 0..100 at 4..20 mA", "ds18b20 28ff; every day"):
        for period_ms, report, text, longest_ms in (
            (1000, {}, "; every 1 s", 1000),
            (250, {}, "; every 0.25 s", 250),
            (60000, {}, "; every 60 s", 60000),
            (1005, MEAN, "; every 1.005 s; mean+max of 60", 60300),
            (2000, CHANGE, "; every 2 s; last of 1, on change or every 60 s", 62000),
        ):
            made = words(profile, period_ms, report)
            equal(made, profile + text)
            equal(row_ms(made), longest_ms, made)
            equal(without(made), profile)


def test_words_of_others_tell_nothing():
    for text in ("SDM630", "x; every", "x; every day", "x; every 0 s", "x; every 1.2345 s", "x; every -1 s"):
        equal(row_ms(text), None, text)
    equal(row_ms("x; every 5 s; strange"), 5000)
