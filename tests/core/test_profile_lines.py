"""The line of a profile that a fault is in, the same on the gateway as on the host."""

import json

from check import equal, true
from parkgate.errors import ProfileError
from parkgate.meters import profiles
from parkgate.meters.profile.lines import line_of

GOOD = """{
  "meter": "m", "manual": "m", "sources": ["s"], "licences": ["l"],
  "function": 4,
  "order": "ABCD",
  "usual": ["voltage_l1", "voltage_l2"],
  "registers": [
    ["voltage_l1", 0, "float32", 0, "V", "line 7"],
    ["voltage_l2", 2, "float32", 0, "V", "line 8"],
    ["voltage_l3", 4, "float32", 0, "V", "line 9"]
  ],
  "variants": {
    "other": {
      "why": "sources disagree",
      "registers": [
        ["voltage_l2", 12, "float32", 0, "V", "line 15"]
      ]
    }
  }
}
"""


def line_with(old, new):
    """(line, message) of the fault that is there once `old` is `new`."""
    true(old in GOOD, old)
    text = GOOD.replace(old, new)
    document = json.loads(text)
    try:
        profiles.check(document, "m")
    except ProfileError as e:
        return line_of(text, str(e), document), str(e)
    raise AssertionError("it is good: " + new)


def test_a_row_is_found():
    for old, new, line, words in (
        ('["voltage_l2", 2,', '["volts", 2,', 8, "unknown quantity"),
        ('["voltage_l3", 4,', '["voltage_l3", 65535,', 9, "impossible address"),
        ('"V", "line 9"', '"A", "line 9"', 9, "wrong unit"),
        ('0, "V", "line 9"', '99, "V", "line 9"', 9, "wrong scale"),
        ('["voltage_l2", 12,', '["voltage_l2", -1,', 15, "impossible address"),
    ):
        found, message = line_with(old, new)
        true(words in message, message)
        equal(found, line, message)


def test_a_field_is_found():
    equal(line_with('"order": "ABCD"', '"order": "ABCE"')[0], 4)
    equal(line_with('"function": 4', '"function": 7')[0], 3)
    equal(line_with('"function": 4,', '"function": 4, "colour": 1,')[0], 3)
    equal(line_with('"usual": ["voltage_l1", ', '"usual": ["current", ')[0], 5)
