"""The page lib/SETTINGS.md, written from the one table of settings that gateway, console and host tools use."""

from __future__ import annotations

from parkgate.settings import DEFAULT, KIND, MEANING, NAME, sensors
from parkgate.settings.edit import shown
from parkgate.settings.schema import BUSES, INSTRUMENTS, LISTS, NETWORKS, REQUIRED, SENSORS, STATIONS, TABLE

TEXT = {
    "gateway": "",
    "hub": "`parkgate provision` sets it.",
    NETWORKS: (
        "A list, at most {}: further Wi-Fi networks, tried in this order after `network.ssid`. After a connection is\n"
        "lost, the first is tried again. A network that is connected and passes nothing is left for the next."
    ),
    BUSES: "A list, at most {}: the serial lines with meters.",
    INSTRUMENTS: "A list, at most {}: the meters, each on a bus. `parkgate meters list` shows the profiles.",
    SENSORS: "A list, at most {}: what is wired to the board itself. `options` depends on the family, see below.",
    STATIONS: (
        "A list, at most {}: the machines and workplaces where lots are made (SPEC 15). Stations may share a scanner;\n"
        "then the machine's tag is scanned first. Scanner, console and rules write entries into the gateway's chain."
    ),
}
HEAD = """# Settings

Written by `parkgate settings docs lib/SETTINGS.md` from `lib/parkgate/settings/schema.py`; do not edit it here.

A file of settings is TOML (or JSON, named .json) with a section for each heading; what is left out has its default.
`parkgate settings check FILE` checks it without a gateway, `diff` shows what it would change, `push` makes it active:
stored whole and on trial. If the hub accepts no batch under it, the gateway goes back to the settings before. At the
console the same settings are set one by one: `settings set SECTION.NAME VALUE`, or in a list
`settings set SECTION.ITEM.NAME VALUE`. A secret can be set but not read: no command shows it.
"""
EXAMPLE = """
## Example

```toml
[gateway]
name = "hall-3"

[[buses]]
name = "rs485"
device = "rs485"       # as `parkgate boards NAME` lists it
baud = 9600

[[instruments]]
name = "press"
profile = "pzem-004t"
bus = "rs485"
unit_id = 2
channels = ["voltage", "active_power", "import_active_energy"]  # else the profile's usual ones
report = { every = 60 }  # one row of 60 samples; else each is kept

[[sensors]]
name = "gas"
family = "pulses"
port = "s0_1"
options = { quantity = "gas_volume", numerator = 10, denominator = 1 }

[[stations]]
name = "press"
scanner = "rs485_b"    # a serial port without a bus
registers = ["press.import_active_energy"]
shift_ends = "06:00 14:00 22:00"
utc_offset_min = 420
```
"""


def markdown() -> str:
    """The whole page."""
    parts = [HEAD, EXAMPLE]
    for section, fields in TABLE.items():
        title = f"[[{section}]]" if section in LISTS else f"[{section}]"
        parts.append(f"\n## `{title}`\n")
        text = TEXT.get(section, "").format(LISTS.get(section))
        if text:
            parts.append(f"\n{text}\n")
        parts.append(_table(fields))
    parts.append("\n## `report` of an instrument or sensor\n\nHow samples are reduced before they are kept.\n")
    parts.append(_table(sensors.REPORT))
    for family in sensors.FAMILIES:
        parts.append(f"\n## `options` of family `{family}`\n\n{sensors.title(family)}.\n")
        parts.append(_table(sensors.option_fields(family, REQUIRED)))
    return "".join(parts)


def _table(fields) -> str:
    rows = ["", "| setting | default | may be | meaning |", "|---|---|---|---|"]
    for field in fields:
        rows.append(f"| `{field[NAME]}` | {_default(field)} | {_allowed(field)} | {_cell(field[MEANING])} |")
    return "\n".join(rows) + "\n"


def _default(field) -> str:
    if field[DEFAULT] is REQUIRED:
        return "must be given"
    if field[KIND] == "secret":
        return "not set"
    if field[DEFAULT] is None:
        return "chosen by the gateway"
    text = shown(field, field[DEFAULT])
    return "empty" if text in ('""', "{}") else f"`{text}`"


def _allowed(field) -> str:
    _, kind, _, low, high, unit, _ = field
    if kind == "int":
        return f"{low:,} to {high:,} {unit}".strip()
    if kind == "choice":
        return _cell(", ".join(f"`{choice}`" for choice in high) + (f" {unit}" if unit else ""))
    if kind == "names":
        return f"list of up to {high} names"
    if kind == "map":
        return "map"
    if kind == "hex":
        return f"{low} bytes in hexadecimal, or empty"
    if kind == "base64":
        return f"base64, up to {high:,} characters"
    return f"{'secret, ' if kind == 'secret' else ''}{low} to {high} characters"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
