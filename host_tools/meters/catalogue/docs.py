"""`parkgate meters docs FILE`: the list of meters, written from the profiles."""

from __future__ import annotations

import json
from pathlib import Path

from host_tools.base import files
from host_tools.base.paths import METER_PROFILES

HEAD = """# Meters

Written by `parkgate meters docs lib/METERS.md` from the files in `lib/meters`; do not edit it here. `parkgate
meters show PROFILE` prints the registers, sources and notes of one.

- **Sources** counts the independent projects or texts that a profile's facts are from. *One* means that nobody has
  confirmed them: compare the meter's display with what the gateway reads before you trust it.
- **Side** says whether the meter has multiplied by the ratio of its transformers already (*primary*) or leaves that to
  the reader (*secondary*: the gateway multiplies, by the meter's own ratio registers or by `ct_ratio` and `vt_ratio`).

| profile | meter | protocol | sources | side | variants |
|---|---|---|---|---|---|
"""

IN_VAIN = """
## Looked for in vain

No register facts that could be shipped were found for these. `parkgate meters new` makes a profile of such a meter.

| meter | what there was |
|---|---|
| Delixi DTSU6606 | one program stub, probably with wrong addresses |
| DTSD422 (Deye, Solarman) | addresses without scales; a report says that the values are wrong |
| Eastron SDM320 | its factory baud rate only |
| Mitsubishi ME96, EMU | nothing in public code |
| Panasonic KW9M | the addresses of its ratios; no power or energy registers (it speaks DL/T 645 by setting) |
| Schneider PM8000, EM6400NG | the addresses of the PM5xxx in one text without a licence |
| Taihua | nothing in public code |
| YTL | a panel meter of another maker under the name PD561Z, with units left open |
"""


def add_arguments(parser) -> None:
    """Arguments of the verb."""
    parser.add_argument("file", type=Path, metavar="FILE.md", help="the project's own is lib/METERS.md")


def run(args) -> int:
    """Write the page. Raises FileTrouble."""
    files.write(args.file, markdown())
    return 0


def markdown() -> str:
    """The whole page."""
    rows = []
    for path in sorted(METER_PROFILES.glob("*.json")):
        document = json.loads(path.read_text(encoding="utf-8"))
        sources = "one" if document.get("single_source") else str(len(document["sources"]))
        protocol = {"dlt645": "DL/T 645"}.get(document.get("protocol", ""), "Modbus")
        variants = ", ".join(f"`+{name}`" for name in sorted(document.get("variants", ())))
        side = document.get("side", "")
        rows.append(f"| `{path.stem}` | {document['meter']} | {protocol} | {sources} | {side} | {variants} |")
    return HEAD + "\n".join(rows) + "\n" + IN_VAIN
