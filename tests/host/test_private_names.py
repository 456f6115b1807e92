"""Renamed private attributes change nothing that the firmware does."""

import ast
import re

import pytest

from host_tools.image.app.private_names import share
from tests.host.test_shrink import run, small_of

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
PROGRAM = {
    "main": """
from base import Base, Other
from more import Child
import more
RESULT = [Child(3).told(), Base(1).told(), Other(2).told(), more.look(Child(5)), more.by_name(Other(7))]
""",
    "base": """
class Base:
    _kind = "base"  # an attribute of the class too

    def __init__(self, value):
        self._value = value
        self._number = self._twice()

    def _twice(self):
        return 2 * self._value

    def told(self):
        return [self._value, self._number, self._kind, f"{self._shown()}"]

    def _shown(self):
        self._in_a_string = "é"; return self._in_a_string


class Other:
    def __init__(self, value):
        self._alone = self._value = value
        self._named, self._second = value + 1, 9

    def told(self):
        self._alone += 1
        del self._second
        return [self._alone, self._value, hasattr(self, "_second"), vars(self)["_value"]]
""",
    "more": """
from base import Base


class Child(Base):
    def __init__(self, value):
        super().__init__(value)
        self._of_the_child = 10 * value
        self.__mangled = 1

    def told(self):
        return super().told() + [self._of_the_child, self.__mangled]


def look(child):
    return child._number


def by_name(other):
    return getattr(other, "_named")
""",
}


def test_what_is_renamed_does_the_same(tmp_path):
    small = share(PROGRAM)
    assert run(small, tmp_path / "small") == run(PROGRAM, tmp_path / "whole")
    text = "".join(small.values())
    assert not re.search(r"_(alone|of_the_child|in_a_string)\b", text)
    assert "_twice" not in text, "a method that is called through self only"
    for kept in ("_value", "_second", "_named", "_number", "_kind", "_shown", "__mangled"):
        assert kept in text, f"{kept} is looked up by name, from outside, or is more than an attribute"


def test_no_family_gives_a_name_twice():
    many = {"main": "class A:\n def a(self):\n  " + "".join(f"self._name_{i} = " for i in range(120)) + "0\n"}
    many["main"] += "class B(A):\n def b(self):\n  self._name_of_b = 1\n"
    found = re.findall(r"self\.(\w+)", share(many)["main"])
    assert len(set(found)) == len(found) == 121 and max(map(len, found)) == 3
    apart = "class A:\n def a(self):\n  self._first = 1\nclass B:\n def b(self):\n  self._second = 1\n"
    assert set(re.findall(r"self\.(\w+)", share({"main": apart})["main"])) == {"_a"}


@pytest.mark.parametrize("board", ["unix", "pico_w", "esp32_wt32_eth01"])
def test_only_names_change(board):
    whole = small_of(board)
    small = share(whole)
    before = set()
    after = set()
    for name, text in small.items():
        old, new = list(ast.walk(ast.parse(whole[name]))), list(ast.walk(ast.parse(text)))
        assert len(old) == len(new)
        for left, right in zip(old, new):
            assert type(left) is type(right) and getattr(left, "lineno", 0) == getattr(right, "lineno", 0)
            if isinstance(left, ast.Attribute) and isinstance(right, ast.Attribute) and left.attr != right.attr:
                before.add(left.attr)
                after.add(right.attr)
                right.attr = left.attr
            elif isinstance(left, FUNCTIONS) and isinstance(right, FUNCTIONS):
                right.name = left.name
        assert ast.dump(old[0]) == ast.dump(new[0]), name
    assert len(before) > 100 and len(after) < len(before) / 3
