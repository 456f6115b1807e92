"""Names of the source for those in a gateway's traceback.

To save memory the firmware on a board has other names for functions and attributes than the source; the build writes
down which is which (names.json, see host_tools.image.app). File and line in a traceback are those of the source.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

from host_tools.base.paths import build_folder
from parkgate import VERSION

_FRAME = re.compile(r'(File "[\w.<>/-]+", line \d+, in )(\w+)')
_ATTRIBUTE = re.compile(r"(has no attribute ')(\w+)(')")
_UNDEFINED = re.compile(r"(name ')(\w+)(' (?:isn't|is not) defined)")


def names(identity: dict[str, str]) -> dict[str, str]:
    """Name on the board → name in the source, for the gateway with this `identity`. Empty when this computer has not
    built that version for that board."""
    board = identity.get("board", "")
    path = build_folder() / f"app-{board}" / "names.json"
    if identity.get("firmware") != VERSION or not board.isidentifier() or not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def in_words_of_the_source(lines: Iterable[str], known: dict[str, str]) -> list[str]:
    """The same lines; in a traceback the name of the source stands behind each that is another: "in aq (seal_one)".
    What `known` has as "module:name" holds in that module only. A module gets its dotted name, which `known` has as
    "module:"."""

    def named(match):
        before, name, *after = match.groups()
        module = before.split('"')[1] if before.startswith("File") else ""
        source = known.get(f"{module}:{name}", known.get(name))
        if module:
            before = before.replace(f'"{module}"', f'"{known.get(module + ":", module)}"', 1)
        return "".join([before, name, *after, "" if source is None else f" ({source})"])

    found = []
    for line in lines:
        for pattern in (_FRAME, _ATTRIBUTE, _UNDEFINED):
            line = pattern.sub(named, line)
        found.append(line)
    return found


def last_fault(lines: list[str]) -> str:
    """The newest traceback in one line: where, and what; "" when there is none."""
    begins = [at for at, line in enumerate(lines) if "Traceback (most recent call last)" in line]
    if not begins:
        return ""
    where, what = "", ""
    for line in lines[begins[-1] + 1 :]:
        frame = re.search(r'File "([\w.<>/-]+)", line (\d+), in (\S+(?: \(\w+\))?)', line)
        if frame:
            where = f"{frame[1]} line {frame[2]} in {frame[3]}"
        elif line.strip() and not re.match(r" *\d+ ms ", line):
            what = line.strip()
            break
    return ": ".join(filter(None, (where, what)))
