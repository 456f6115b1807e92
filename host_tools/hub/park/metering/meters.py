"""Which meter stands behind which, so that no energy counts twice in a total. The hub keeps it in its database.

A meter is (gateway's id in hexadecimal digits, instrument). A meter stands behind another when the other measures its
energy too. For example, a machine's meter stands behind the main meter of its hall. The rule for every total:

    a total over some meters contains those that stand behind no other of these meters

So the machine's meter counts where it is asked for alone, and does not count where its main meter is in the same total.
Only meters that are in the gateway's settings are in a total. A main meter that gives no readings leaves the total
unknown: what stands behind it is not put in its place, for nobody knows what else the main meter would have measured.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import NamedTuple

from host_tools.hub.stores.gateways import find, whoami
from host_tools.log import record
from host_tools.log.database.seam import Database
from parkgate.errors import SettingsError
from parkgate.log import statement

NAME = "setting meters behind"  # in the table `about`
ENERGY = "import_active_energy"


class Meter(NamedTuple):
    """A meter by its gateway's id (64 hexadecimal digits) and its name there."""

    gateway: str
    instrument: str


def load(db: Database) -> dict[Meter, Meter]:
    """Meter → its main meter. Raises SettingsError when what is stored cannot be read."""
    text = db.about(NAME)
    if text is None:
        return {}
    try:
        found = {Meter(*meter): Meter(*main) for meter, main in json.loads(text)}
        if not all(isinstance(text, str) for pair in found.items() for meter in pair for text in meter):
            raise TypeError
    except (ValueError, TypeError, RecursionError):
        raise SettingsError("which meter stands behind which cannot be read from the database: it is damaged") from None
    return found


def contained(meters: Collection[Meter], behind: Mapping[Meter, Meter]) -> tuple[list[Meter], dict[Meter, Meter]]:
    """(the meters that a total over `meters` contains, those left out → the nearest meter of the total before it)."""
    inside, left_out = [], {}
    for meter in meters:
        main = _before(meter, meters, behind)
        if main is None:
            inside.append(meter)
        else:
            left_out[meter] = main
    return inside, left_out


def _before(meter, meters, behind) -> Meter | None:
    """The nearest of `meters` that `meter` stands behind, directly or behind others."""
    main = behind.get(meter)
    for _ in behind:
        if main is None or main in meters:
            return main
        main = behind.get(main)
    return None


def find_meter(db: Database, gateway: str, instrument: str) -> Meter:
    """The energy meter of the gateway with this name or id. Raises SettingsError, which lists those that there are."""
    gw, gateway_id, name = find(db, gateway)
    question = "SELECT DISTINCT instrument FROM series WHERE gw = ? AND quantity = ? ORDER BY instrument"
    there = [row[0] for row in db.execute(question, (gw, ENERGY))]
    if instrument not in there:
        known = ", ".join(there) or "none yet: a meter is known when its first readings have come"
        raise SettingsError(f"{name} has no energy meter {instrument!r}; it has {known}")
    return Meter(gateway_id.hex(), instrument)


def put(db: Database, meter: Meter, main: Meter | None) -> Meter | None:
    """Say that `meter` stands behind `main`, or behind none (None). The signed log says it too. Returns what it stood
    behind before. Raises SettingsError: a meter cannot stand behind itself."""
    with record.recording(db) as leaves:
        behind = load(db)
        before = behind.pop(meter, None)
        if main is not None:
            behind[meter] = main
            if main == meter or _before(meter, (meter,), behind) is not None:
                raise SettingsError(f"{meter.instrument!r} would stand behind itself: {_chain(meter, behind)}")
        if before != main:
            text = json.dumps([[list(pair) for pair in item] for item in sorted(behind.items())])
            db.set_about(NAME, text)
            facts = {"name": "meter behind", "meter": list(meter), "before": before and list(before)}
            facts["value"] = main and list(main)
            leaves.statement(statement.SETTING, facts, whoami(), record.now_unix_ms())
    return before


def _chain(meter, behind) -> str:
    names, at = [meter.instrument], behind[meter]
    while at != meter and len(names) <= len(behind):
        names.append(at.instrument)
        at = behind[at]
    return " behind ".join(repr(name) for name in [*names, meter.instrument])


def listed(db: Database) -> list[dict]:
    """Every energy meter that the hub knows: {"gateway": name, "id", "instrument", "behind"}, by gateway and name;
    `behind` is None or {"gateway", "id", "instrument"} of its main meter."""
    behind = load(db)
    rows = db.execute(
        "SELECT DISTINCT kid, name, instrument FROM series JOIN gateway USING (gw) WHERE quantity = ?"
        " ORDER BY name, instrument", (ENERGY,),
    ).fetchall()  # fmt: skip
    names = {kid.hex(): name for kid, name in db.execute("SELECT kid, name FROM gateway")}
    found = []
    for kid, name, instrument in rows:
        main = behind.get(Meter(kid.hex(), instrument))
        found.append({
            "gateway": name, "id": kid.hex(), "instrument": instrument,
            "behind": main and {"gateway": names.get(main.gateway), "id": main.gateway, "instrument": main.instrument},
        })  # fmt: skip
    return found
