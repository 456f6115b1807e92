"""Enrolling at a place, and the exchange of one gateway for another: what verbs, the hub's address for operators and
the running hub do alike."""

from __future__ import annotations

import time

from host_tools.hub.stores import gateway_keys, gateways, places
from host_tools.log.database.seam import Database
from host_tools.log.record import Recorder, recording
from parkgate.errors import SettingsError

WAIT_MS = 30 * 86_400_000  # for the first registers behind an exchange; what is not known then stays unknown


def check(
    db: Database, public_key: bytes, name: str | None, place: str | None = None, replaces: str | None = None
) -> gateways.Checked:
    """Whether `enrol` would take this gateway, with nothing changed. Raises SettingsError that says why not."""
    if place and replaces:
        raise SettingsError("a gateway that replaces another stands where that one stood: name no place")
    if replaces:
        old = gateways.find(db, replaces)
        gateway_id = gateway_keys.gateway_id_of(db, public_key)
        if not _is_done(db, old[0], gateway_id):
            places.check_replace(db, old, gateway_id)
    return gateways.check(db, public_key, name, place=place)


def enrol(
    db: Database, public_key: bytes, name: str | None, by: str | None = None, place: str | None = None,
    replaces: str | None = None, next_id: bytes | None = None,
) -> bytes:  # fmt: skip
    """Enrol a gateway at a place (None: one of its own), or in the place of the one that it replaces. `next_id` is the
    id of the key that will follow its own. Twice does no harm. Returns its id. Raises SettingsError."""
    check(db, public_key, name, place, replaces)
    gateway_id = gateways.enrol(db, public_key, name, by, places.NOWHERE if replaces else place)
    if next_id is not None:
        gateway_keys.commit(db, gateway_id, next_id, by or gateways.whoami())
    if not replaces:
        return gateway_id
    if not _is_done(db, gateways.find(db, replaces)[0], gateway_id):
        replace(db, replaces, gateway_id.hex(), None, by)
    return gateway_id


def _is_done(db, old_gw: int, gateway_id: bytes) -> bool:
    """Whether this gateway took the place of that one already."""
    question = (
        "SELECT 1 FROM place_stay AS old JOIN place_stay AS new ON new.pl = old.pl AND new.from_ms = old.to_ms"
        " JOIN gateway ON gateway.gw = new.gw WHERE old.gw = ? AND kid = ?"
    )
    return db.execute(question, (old_gw, gateway_id)).fetchone() is not None


def replace(db: Database, old: str, fresh: str, at_ms: int | None = None, by: str | None = None) -> places.Place:
    """Gateway `fresh` (name or id) takes the place of `old`, with the meters' registers as they are known. Returns the
    place as it stands now. Raises SettingsError; then nothing has changed."""
    from host_tools.hub.reading import registers  # with a numeric library, which other verbs do not wait for

    before, after = gateways.find(db, old), gateways.find(db, fresh)
    places.check_replace(db, before, after[1])
    at_ms = at_ms or registers.moment(db, before[0], after[0], time.time_ns() // 1_000_000)
    lines = registers.exchange(db, before[0], after[0], at_ms)
    place = places.replace(db, before, after, at_ms, lines, by or gateways.whoami())
    return places.find(db, place.id.hex())


def complete(db: Database, leaves: Recorder, now_ms: int) -> int:
    """Say what new gateways read first, of the exchanges of which that was not known. Returns of how many."""
    from host_tools.hub.reading import registers

    done = 0
    for pl, old_gw, new_gw, at_ms in db.execute("SELECT pl, old_gw, new_gw, at_ms FROM exchange").fetchall():
        lines = registers.exchange(db, old_gw, new_gw, at_ms)
        known = [line[6] is not None for line in lines]
        if lines and all(known) or now_ms - at_ms > WAIT_MS:
            with recording(db, leaves):
                places.exchange_read(db, leaves, (pl, old_gw, new_gw, at_ms), lines)
            done += 1
    return done
