"""Places: where gateways stand. A place outlives boards and keys, and readings belong to places.

Each change is one transaction: the rows, a line in `place_history`, and a statement in the log, signed by the hub's
log key. Each statement of a place names the hash of the one before it, so none can be left out between two others.
"""

from __future__ import annotations

import os
import time
from typing import NamedTuple

from host_tools.base.names import look, place_name, rough_look
from host_tools.log.database.seam import Database
from host_tools.log.record import Recorder, recording, say_of_place
from parkgate.errors import SettingsError
from parkgate.log import statement
from parkgate.wire import cbor

NOWHERE = ""  # for `gateways.enrol`: the gateway gets no place


class Place(NamedTuple):
    """One place, and the gateway that stands there now: its number and name, or None."""

    pl: int
    id: bytes
    name: str
    closed_unix_ms: int | None
    gw: int | None
    gateway: str | None


class Stay(NamedTuple):
    """Readings of this gateway dated from_ms or later, and before to_ms (None: it still stands there), belong to the
    place."""

    gw: int
    gateway_id: bytes
    gateway: str
    from_ms: int
    to_ms: int | None


# What there is.


def listed(db: Database) -> list[Place]:
    """All places by name, those in use first."""
    rows = db.execute(
        "SELECT place.pl, id, place.name, closed_unix_ms, gw, gateway.name FROM place"
        " LEFT JOIN place_stay ON place_stay.pl = place.pl AND to_ms IS NULL LEFT JOIN gateway USING (gw)"
        " ORDER BY closed_unix_ms IS NOT NULL, place.name"
    )
    return [Place(*row) for row in rows]


def find(db: Database, name_or_id: str, in_use: bool = False) -> Place:
    """The place with this name, or whose id begins so (8 hexadecimal digits at least). Raises SettingsError."""
    places = [place for place in listed(db) if not (in_use and place.closed_unix_ms)]
    wanted = " ".join(name_or_id.split())
    found = [place for place in places if place.name == wanted and not place.closed_unix_ms]
    found = found or [place for place in places if look(place.name) == look(wanted) and not place.closed_unix_ms]
    if not found and len(name_or_id) >= 8:
        found = [place for place in places if place.id.hex().startswith(name_or_id.lower())]
    if len(found) != 1:
        raise SettingsError(
            f"{'several places match' if found else 'no place is called'} {name_or_id!r}; `parkgate place list` names"
            " them"
        )
    return found[0]


def stays(db: Database, pl: int) -> list[Stay]:
    """Which gateways stood at this place, in the order of time."""
    rows = db.execute(
        "SELECT gw, kid, name, from_ms, to_ms FROM place_stay JOIN gateway USING (gw) WHERE pl = ?"
        " ORDER BY from_ms, to_ms IS NULL, place_stay.rowid", (pl,),
    )  # fmt: skip
    return [Stay(*row) for row in rows]


def times(db: Database, pl: int, from_ms: int | None, to_ms: int | None) -> dict[int, tuple]:
    """gw → (from, to) of each gateway that stood at this place within a span of time: from the beginning of its first
    stay there to the end of its last, no longer than the span. None is no end."""
    found: dict[int, tuple] = {}
    for stay in stays(db, pl):
        begin, end = max(stay.from_ms, from_ms or 0), stay.to_ms
        if to_ms is not None:
            end = to_ms if end is None else min(end, to_ms)
        if end is None or begin < end:
            found[stay.gw] = found[stay.gw][0] if stay.gw in found else begin or None, end
    return found


def of_gateways(db: Database) -> dict[int, tuple[bytes, str]]:
    """gw → (id, name) of the place where it stands now."""
    rows = db.execute("SELECT gw, id, name FROM place_stay JOIN place USING (pl) WHERE to_ms IS NULL")
    return {gw: (place_id, name) for gw, place_id, name in rows}


def history(db: Database, pl: int) -> list[tuple[int, str, str | None, dict]]:
    """(Unix time in ms, kind, who did it, facts) of each statement about this place."""
    rows = db.execute("SELECT unix_ms, what, by, facts FROM place_history WHERE pl = ? ORDER BY rowid", (pl,))
    return [(unix_ms, what, by, cbor.decode(facts)) for unix_ms, what, by, facts in rows]  # type: ignore[misc]


def alike(db: Database, name: str, pl: int | None = None) -> list[str]:
    """Names of places in use that are easily taken for `name`. Raises SettingsError where one looks the same."""
    found = []
    for place in listed(db):
        if place.closed_unix_ms or place.pl == pl:
            continue
        if look(place.name) == look(name):
            raise SettingsError(f"there is a place {place.name!r} already, and {name!r} looks the same: choose another")
        if rough_look(place.name) == rough_look(name):
            found.append(place.name)
    return found


# What is done. `by` is who did it.


def add(db: Database, name: str, by: str) -> bytes:
    """Make a place where no gateway stands yet. Returns its id. Raises SettingsError."""
    name = place_name(name)
    with recording(db) as leaves:
        alike(db, name)
        return new(db, leaves, name, by)


def new(db, leaves: Recorder, name: str, by: str, gateway: tuple[int, bytes] | None = None) -> bytes:
    """In the open transaction: a place with a good name, with `gateway` (gw, id) there from its first reading on."""
    place_id = os.urandom(16)
    pl = db.execute("INSERT INTO place (id, name) VALUES (?, ?) RETURNING pl", (place_id, name)).fetchone()[0]
    facts: dict = {"place": place_id, "name": name}
    if gateway is not None:
        db.execute("INSERT INTO place_stay VALUES (?, ?, 0, NULL)", (pl, gateway[0]))
        facts |= {"gateway": gateway[1], "from_ms": 0}
    _say(db, leaves, pl, statement.PLACE_ADDED, facts, by)
    return place_id


def own_name(db: Database, gateway_name: str, gateway_id: bytes) -> str:
    """A name for the place that a gateway gets when none is named: its own, made unique."""
    name = gateway_name[:40]
    for candidate in (name, f"{name} {gateway_id.hex()[:6]}", f"{name} {gateway_id.hex()[:12]}", gateway_id.hex()[:32]):
        try:
            candidate = place_name(candidate)
            if not alike(db, candidate):
                return candidate
        except SettingsError:
            continue
    return gateway_id.hex()


def rename(db: Database, name_or_id: str, name: str, by: str) -> Place:
    """Give a place another name; the old one stays in its history. Returns what it was. Raises SettingsError."""
    place, name = find(db, name_or_id, in_use=True), place_name(name)
    with recording(db) as leaves:
        alike(db, name, place.pl)
        if place.name != name:
            db.execute("UPDATE place SET name = ? WHERE pl = ?", (name, place.pl))
            facts = {"place": place.id, "before": place.name, "name": name}
            _say(db, leaves, place.pl, statement.PLACE_RENAMED, facts, by)
    return place


def close(db: Database, name_or_id: str, by: str) -> Place:
    """End a place where no gateway stands: its name is free again, its history stays. Raises SettingsError."""
    place = find(db, name_or_id, in_use=True)
    if place.gw is not None:
        raise SettingsError(f"gateway {place.gateway!r} stands at {place.name!r}: take it to another place first")
    with recording(db) as leaves:
        _close(db, leaves, place, by)
    return place


def put(db: Database, gateway: tuple[int, bytes, str], name_or_id: str, from_ms: int, by: str) -> Place:
    """The gateway (gw, id, name) stands at this place from from_ms on, and no more where it stood. Raises
    SettingsError."""
    with recording(db) as leaves:
        return move(db, leaves, gateway, name_or_id, from_ms, by)


def move(db, leaves: Recorder, gateway: tuple[int, bytes, str], name_or_id: str, from_ms: int, by: str) -> Place:
    """`put` in the open transaction."""
    gw, gateway_id, _ = gateway
    place = check_free(db, name_or_id, gw)
    if place.gw == gw:
        return place
    ends = [stay.to_ms or 0 for stay in stays(db, place.pl)]
    if ends and from_ms < max(ends):
        raise SettingsError(f"at that time another gateway stood at {place.name!r}: name a later time")
    _leave(db, leaves, gw, gateway_id, from_ms, by)
    db.execute("INSERT INTO place_stay VALUES (?, ?, ?, NULL)", (place.pl, gw, from_ms))
    facts = {"place": place.id, "gateway": gateway_id, "from_ms": from_ms}
    _say(db, leaves, place.pl, statement.PLACED, facts, by)
    return place


def check_free(db, name_or_id: str, gw: int | None) -> Place:
    """The place, where no other gateway than `gw` stands. Raises SettingsError."""
    place = find(db, name_or_id, in_use=True)
    if place.gw is not None and place.gw != gw:
        raise SettingsError(
            f"gateway {place.gateway!r} stands at {place.name!r}. Where the new one takes its place: --replaces"
            f" {place.gateway!r}, or `parkgate place replace`"
        )
    return place


def check_replace(db, old: tuple[int, bytes, str], new_gateway_id: bytes) -> Place:
    """The place of the gateway that is to be replaced. Raises SettingsError."""
    if old[1] == new_gateway_id:
        raise SettingsError("a gateway does not replace itself: name the old one and the new one")
    for place in listed(db):
        if place.gw == old[0]:
            return place
    raise SettingsError(f"gateway {old[2]!r} stands at no place: it was replaced or taken away already")


def replace(
    db, old: tuple[int, bytes, str], fresh: tuple[int, bytes, str], at_ms: int, registers: list, by: str
) -> Place:
    """From at_ms on the gateway `fresh` stands where `old` stood. `registers` are those of the meters there, as
    reading.registers has them. Raises SettingsError; then nothing has changed."""
    with recording(db) as leaves:
        place = check_replace(db, old, fresh[1])
        begun = next(stay.from_ms for stay in stays(db, place.pl) if stay.to_ms is None)
        if at_ms <= begun:
            raise SettingsError(f"gateway {old[2]!r} stands there only since a later time: name a later one")
        _leave(db, leaves, fresh[0], fresh[1], at_ms, by)
        db.execute("UPDATE place_stay SET to_ms = ? WHERE gw = ? AND to_ms IS NULL", (at_ms, old[0]))
        db.execute("INSERT INTO place_stay VALUES (?, ?, ?, NULL)", (place.pl, fresh[0], at_ms))
        facts = {
            "place": place.id, "before": old[1], "gateway": fresh[1], "at_ms": at_ms, "registers": registers,
        }  # fmt: skip
        _say(db, leaves, place.pl, statement.REPLACED, facts, by)
        if any(line[6] is None for line in registers):
            db.execute("INSERT INTO exchange VALUES (?, ?, ?, ?)", (place.pl, old[0], fresh[0], at_ms))
    return place


def exchange_read(db, leaves: Recorder, exchange: tuple[int, int, int, int], registers: list) -> None:
    """In the open transaction: the registers of an exchange (pl, old gw, new gw, at_ms) are all known now."""
    pl, old_gw, new_gw, at_ms = exchange
    ids = dict(db.execute("SELECT gw, kid FROM gateway WHERE gw IN (?, ?)", (old_gw, new_gw)))
    place_id = db.execute("SELECT id FROM place WHERE pl = ?", (pl,)).fetchone()[0]
    facts = {
        "place": place_id, "before": ids[old_gw], "gateway": ids[new_gw], "at_ms": at_ms, "registers": registers,
    }  # fmt: skip
    _say(db, leaves, pl, statement.EXCHANGE_READ, facts, None)
    db.execute("DELETE FROM exchange WHERE pl = ? AND at_ms = ?", (pl, at_ms))


def _leave(db, leaves: Recorder, gw: int, gateway_id: bytes, to_ms: int, by: str) -> None:
    """The gateway stands no more where it stood. A place that was only made for it is closed."""
    row = db.execute("SELECT pl, from_ms FROM place_stay WHERE gw = ? AND to_ms IS NULL", (gw,)).fetchone()
    if row is None:
        return
    place, from_ms = next(place for place in listed(db) if place.pl == row[0]), row[1]
    to_ms = max(to_ms, from_ms)
    db.execute("UPDATE place_stay SET to_ms = ? WHERE gw = ? AND to_ms IS NULL", (to_ms, gw))
    facts = {"place": place.id, "gateway": gateway_id, "to_ms": to_ms}
    _say(db, leaves, place.pl, statement.TAKEN_AWAY, facts, by)
    if from_ms == 0 and len(stays(db, place.pl)) == 1:
        _close(db, leaves, place, by)


def _close(db, leaves, place: Place, by: str) -> None:
    db.execute("UPDATE place SET closed_unix_ms = ? WHERE pl = ?", (_now(), place.pl))
    _say(db, leaves, place.pl, statement.PLACE_CLOSED, {"place": place.id}, by)


def _say(db, leaves: Recorder, pl, kind: str, facts: dict, by: str | None) -> None:
    unix_ms = _now()
    row = db.execute(
        "INSERT INTO place_history VALUES (?, ?, ?, ?, ?, NULL) RETURNING rowid",
        (pl, unix_ms, kind, by, cbor.encode(facts)),
    ).fetchone()
    say_of_place(leaves, row[0], pl, kind, facts, by, unix_ms)


def _now() -> int:
    return time.time_ns() // 1_000_000


# An older hub's gateways.


def take_gateways(db: Database) -> None:
    """In the open transaction: a place for each gateway that an older hub enrolled, with its name and all its readings.
    The log says so when it is opened next (`record.open_recorder`)."""
    now = _now()
    for gw, gateway_id, name in db.execute("SELECT gw, kid, name FROM gateway ORDER BY gw").fetchall():
        place_id, name = os.urandom(16), own_name(db, name, gateway_id)
        pl = db.execute("INSERT INTO place (id, name) VALUES (?, ?) RETURNING pl", (place_id, name)).fetchone()[0]
        db.execute("INSERT INTO place_stay VALUES (?, ?, 0, NULL)", (pl, gw))
        facts = cbor.encode({"place": place_id, "name": name, "gateway": gateway_id, "from_ms": 0})
        db.execute("INSERT INTO place_history VALUES (?, ?, ?, NULL, ?, NULL)", (pl, now, statement.PLACE_ADDED, facts))
