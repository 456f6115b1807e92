"""Short names, shared by many classes, for the private attributes of the firmware.

Each name that MicroPython meets takes some twenty bytes of a board's heap for good, and there are two hundred private
attributes (`self._journal`). Two classes that are not related may call theirs alike, so a few dozen names do for all.
Only what is private is renamed: an attribute with one leading underscore that a class stores through `self`, or a
method with one that is called through `self` only; and that stands in no string (nor may one be put together from
strings). firmware_names.py then does the rest.

On a Pico W with MicroPython's own image this saves 3.7 kB of the flash that holds names, of which there is too little:
without this step 3.9 kB more of the code that few gateways use would be copied into the heap.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from itertools import count

from host_tools.image.app.trees import walk

SIGNS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def share(sources: dict[str, str]) -> dict[str, str]:
    """The same modules (dotted name → source) with the private attributes renamed."""
    trees = {name: ast.parse(text) for name, text in sources.items()}
    owners = _owners(trees.values())
    taken, fixed = _names_of(trees.values())
    short = _short({name: owner for name, owner in owners.items() if name not in fixed}, taken)
    return {name: _renamed(text, trees[name], short) for name, text in sources.items()}


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def _owners(trees) -> dict[str, set[str]]:
    """Private attribute → the families that have it. A family is all classes that inherit from one another."""
    classes = [node for tree in trees for node in walk(tree) if isinstance(node, ast.ClassDef)]
    family: dict[str, str] = {}

    def head(name):
        while family.setdefault(name, name) != name:
            name = family[name]
        return name

    for node in classes:
        for base in node.bases:
            family[head(node.name)] = head(base.attr if isinstance(base, ast.Attribute) else getattr(base, "id", ""))
    owners: dict[str, set[str]] = defaultdict(set)
    for node in classes:
        for each in walk(node):
            if isinstance(each, ast.Attribute) and _of_self(each) and _is_private(each.attr):
                owners[each.attr].add(head(node.name))
        for each in _methods(node):
            owners[each.name].add(head(node.name))
    return owners


def _methods(node: ast.ClassDef) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    """The private methods of a class."""
    functions = [each for each in node.body if isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef))]
    return [each for each in functions if _is_private(each.name)]


def _of_self(node: ast.Attribute) -> bool:
    return isinstance(node.value, ast.Name) and node.value.id == "self"


def _names_of(trees) -> tuple[set[str], set[str]]:
    """All names there are, and those that must stay: they are more than attributes of `self`, or stand in a string."""
    taken: set[str] = set()
    fixed: set[str] = set()
    stored: set[str] = set()
    for tree in trees:
        texts = {id(node.value) for node in walk(tree) if isinstance(node, ast.Expr)}  # docstrings name nothing
        methods = [each for node in walk(tree) if isinstance(node, ast.ClassDef) for each in _methods(node)]
        stored.update(each.name for each in methods)
        taken.update(each.name for each in methods)
        inside = set(map(id, methods))
        for node in walk(tree):
            if id(node) in inside:
                continue
            if isinstance(node, ast.Attribute):
                taken.add(node.attr)
                if not _of_self(node):
                    fixed.add(node.attr)
                elif not isinstance(node.ctx, ast.Load):
                    stored.add(node.attr)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in texts:
                fixed.update(re.findall(r"\w+", node.value))
                fixed.add("_" + re.sub(r"\W", "", node.value))  # "wi-fi" is taken for _wifi
            elif isinstance(node, ast.JoinedStr):  # before Python 3.12 nobody knows where their parts stand
                fixed.update(each.attr for each in walk(node) if isinstance(each, ast.Attribute))
            else:
                fixed.update(
                    value for field in ("id", "name", "arg", "asname")
                    if isinstance(value := getattr(node, field, None), str)
                )  # fmt: skip
    used = {name for name in taken if _is_private(name)}
    return taken | fixed, fixed | (used - stored)


def _short(owners: dict[str, set[str]], taken: set[str]) -> dict[str, str]:
    """Name → its short one: none is given twice in one family."""
    given: dict[str, set[str]] = defaultdict(set)
    short = {}
    for name in sorted(owners, key=lambda name: (-len(owners[name]), name)):
        in_use = taken.union(*(given[family] for family in owners[name]))
        signs = ("_" + SIGNS[number % len(SIGNS)] + str(number // len(SIGNS) or "") for number in count())
        sign = short[name] = next(sign for sign in signs if sign not in in_use)
        for family in owners[name]:
            given[family].add(sign)
    return short


def _renamed(text: str, tree: ast.Module, short: dict[str, str]) -> str:
    lines = text.encode().splitlines(keepends=True)
    found = []  # (row, first column, name)
    for node in walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in short:
            end = node.end_col_offset or 0
            found.append(((node.end_lineno or 0) - 1, end - len(node.attr.encode()), node.attr))
        elif isinstance(node, ast.ClassDef):
            for each in _methods(node):
                if each.name in short:
                    row = each.lineno - 1
                    found.append((row, lines[row].index(b"def ", each.col_offset) + 4, each.name))
    for row, at, name in sorted(found, reverse=True):
        lines[row] = lines[row][:at] + short[name].encode() + lines[row][at + len(name.encode()) :]
    return b"".join(lines).decode()
