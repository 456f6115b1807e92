"""JSON whose every value knows the line on which it stands, so that a fault is named by its line.

Stricter than JSON allows: a key that stands twice, a number with a point or an exponent and NaN are faults. A number
with decimals is written as text ("0.164"): it must not become a float on its way.
"""

from __future__ import annotations

import re
from json.decoder import JSONDecodeError, scanstring  # type: ignore[attr-defined]
from typing import Any, NamedTuple

from parkgate.errors import SettingsError

DEPTH_MAX = 12
_SPACE = re.compile(r"[ \t\r\n]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})(?![0-9.eE])")
_WORDS = {"true": True, "false": False, "null": None}


class FileFault(SettingsError):
    """What is wrong with a file: `line` (from 1) and `text`."""

    def __init__(self, line: int, text: str):
        super().__init__(f"line {line}: {text}")
        self.line, self.text = line, text


class Node(NamedTuple):
    """A value: an object (name → Node), a list of Nodes, text, an integer, true, false or null; and its line."""

    value: Any
    line: int


def parse(text: str) -> Node:
    """Raises FileFault."""
    node, at = _value(text, _SPACE.match(text, 0).end(), 0)  # type: ignore[union-attr]
    if _after(text, at) != len(text):
        raise FileFault(_line(text, at), "there is more behind the end of the document")
    return node


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1


def _after(text: str, at: int) -> int:
    return _SPACE.match(text, at).end()  # type: ignore[union-attr]


def _value(text: str, at: int, depth: int) -> tuple[Node, int]:
    line = _line(text, at)
    first = text[at : at + 1]
    if first in ("{", "[") and depth >= DEPTH_MAX:
        raise FileFault(line, f"more than {DEPTH_MAX} levels")
    if first == "{":
        return _object(text, at, depth)
    if first == "[":
        return _list(text, at, depth)
    if first == '"':
        value, end = _string(text, at)
        return Node(value, line), end
    number = _NUMBER.match(text, at)
    if number:
        return Node(int(number[0]), line), number.end()
    for word, value in _WORDS.items():
        if text.startswith(word, at):
            return Node(value, line), at + len(word)
    seen = text[at : at + 20].split("\n")[0]
    if seen[:1].isdigit() or seen[:1] in ("-", "+", "."):
        raise FileFault(line, f'{seen!r}: write a number with decimals as text, such as "0.164"')
    raise FileFault(line, f"{seen!r} is no value" if seen else "the document ends too early")


def _string(text: str, at: int) -> tuple[str, int]:
    try:
        return scanstring(text, at + 1, True)
    except JSONDecodeError as error:
        raise FileFault(_line(text, at), error.msg) from None


def _object(text: str, at: int, depth: int) -> tuple[Node, int]:
    line, found = _line(text, at), {}
    at = _after(text, at + 1)
    while text[at : at + 1] != "}":
        if text[at : at + 1] != '"':
            raise FileFault(_line(text, at), "a name in quotation marks is missing")
        name, end = _string(text, at)
        if name in found:
            raise FileFault(_line(text, at), f"{name!r} stands twice")
        end = _after(text, end)
        if text[end : end + 1] != ":":
            raise FileFault(_line(text, end), f"the colon behind {name!r} is missing")
        found[name], at = _value(text, _after(text, end + 1), depth + 1)
        at = _next(text, at, "}")
    return Node(found, line), at + 1


def _list(text: str, at: int, depth: int) -> tuple[Node, int]:
    line, found = _line(text, at), []
    at = _after(text, at + 1)
    while text[at : at + 1] != "]":
        node, at = _value(text, at, depth + 1)
        found.append(node)
        at = _next(text, at, "]")
    return Node(found, line), at + 1


def _next(text: str, at: int, end: str) -> int:
    at = _after(text, at)
    if text[at : at + 1] == end:
        return at
    if text[at : at + 1] != ",":
        raise FileFault(_line(text, at), f"a comma or {end} is missing")
    behind = _after(text, at + 1)
    if text[behind : behind + 1] == end:
        raise FileFault(_line(text, at), f"a comma before {end}")
    return behind
