"""What a gateway may be called: one rule for its settings, the hub, the label and the console's lines."""

from __future__ import annotations

from parkgate.errors import SettingsError
from parkgate.settings import NAME
from parkgate.settings.schema import GATEWAY, TABLE

_, _, _, LENGTH_MIN, LENGTH_MAX, _, _ = next(field for field in TABLE[GATEWAY] if field[NAME] == "name")


def check_gateway_name(name: str) -> str:
    """`name` itself. Raises SettingsError saying what a name may be."""
    if not LENGTH_MIN <= len(name) <= LENGTH_MAX:
        raise SettingsError(
            f"the name {name[:40]!r} has {len(name)} characters; {LENGTH_MIN} to {LENGTH_MAX} are possible"
        )
    if not name.isprintable() or name != name.strip() or name in ('""', "''"):
        raise SettingsError(f"the name {name!r} is not possible: printable characters, no space at its ends")
    return name
