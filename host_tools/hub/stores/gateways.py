"""The rows of enrolled gateways: enrol, rename, revoke, clear alarms; each change with its line in the history and its
leaf in the log."""

import contextlib
import getpass
import time
from typing import NamedTuple

from host_tools.base.names import check_gateway_name, place_name
from host_tools.hub.stores import gateway_keys, places
from host_tools.log.database.seam import Database, IntegrityError
from host_tools.log.record import recording
from parkgate.errors import SettingsError
from parkgate.log import statement


class Checked(NamedTuple):
    """What `check` found: the gateway's id, its name, whether the hub knows it already, and by another name."""

    gateway_id: bytes
    name: str
    known: bool
    renames: bool


def enrol(
    db: Database, public_key: bytes, name: str | None = None, by: str | None = None, place: str | None = None
) -> bytes:
    """Write the gateway with this key (x || y) to the hub's database and log; give it `name` if it is there already.
    `by` is the operator who asked for it. `place` is where it stands, by name or id: one that is not there is made.
    None: where it stood, else a place of its own, with its name; NOWHERE: none yet. Returns its id. Raises
    SettingsError when a name cannot be used; then nothing has changed."""
    checked = check(db, public_key, name, check_revoked=False, place=place)
    now_unix_ms = int(time.time() * 1000)
    try:
        with recording(db) as leaves:
            before = db.execute("SELECT name FROM gateway WHERE kid = ?", (checked.gateway_id,)).fetchone()
            db.execute(
                "INSERT INTO gateway (kid, public_key, name, enrolled_unix_ms) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (kid) DO UPDATE SET name = excluded.name",
                (checked.gateway_id, public_key, checked.name, now_unix_ms),
            )
            if before is None or before[0] != checked.name:
                _note(db, checked.gateway_id, "renamed" if before else "enrolled", checked.name, now_unix_ms)
                facts = {"gateway": checked.gateway_id, "name": checked.name}
                facts |= {"before": before[0]} if before else {"key": public_key, "place": None}
                kind = statement.RENAMED if before else statement.ENROLLED
                leaves.statement(kind, facts, by or whoami(), now_unix_ms)
            gw = db.execute("SELECT gw FROM gateway WHERE kid = ?", (checked.gateway_id,)).fetchone()[0]
            _stand(db, leaves, (gw, checked.gateway_id, checked.name), place, by or whoami(), now_unix_ms)
    except IntegrityError:  # somebody else was quicker with the same name
        raise SettingsError(f"another gateway has the name {checked.name!r}") from None
    return checked.gateway_id


def _stand(db, leaves, gateway: tuple[int, bytes, str], place: str | None, by: str, now_unix_ms: int) -> None:
    """In the open transaction: the gateway stands at this place."""
    gw, gateway_id, name = gateway
    if place == places.NOWHERE:
        return
    if place is None:
        if db.execute("SELECT 1 FROM place_stay WHERE gw = ?", (gw,)).fetchone() is None:
            places.new(db, leaves, places.own_name(db, name, gateway_id), by, (gw, gateway_id))
        return
    if _is_place(db, place):
        places.move(db, leaves, gateway, place, now_unix_ms, by)
    elif db.execute("SELECT 1 FROM place_stay WHERE gw = ?", (gw,)).fetchone() is None:
        places.new(db, leaves, place_name(place), by, (gw, gateway_id))
    else:
        places.new(db, leaves, place_name(place), by)
        places.move(db, leaves, gateway, place_name(place), now_unix_ms, by)


def _is_place(db: Database, name_or_id: str) -> bool:
    with contextlib.suppress(SettingsError):
        return bool(places.find(db, name_or_id, in_use=True))
    return False


def whoami() -> str:
    """Who types at this computer, as the log names him."""
    try:
        return f"user {getpass.getuser()}"
    except (KeyError, OSError, ImportError):
        return "somebody at the hub's computer"


def _note(db: Database, gateway_id: bytes, what: str, name: str, now_unix_ms: int) -> None:
    """Write one line of a key's history, which archives carry."""
    question = "INSERT INTO gateway_history SELECT gw, ?, ?, ? FROM gateway WHERE kid = ?"
    db.execute(question, (now_unix_ms, what, name, gateway_id))


def check(
    db: Database, public_key: bytes, name: str | None = None, check_revoked: bool = True,
    place: str | None = None,
) -> Checked:  # fmt: skip
    """Whether `enrol` would take this gateway, with nothing changed. Raises SettingsError that says why not."""
    gateway_id = gateway_keys.gateway_id_of(db, public_key)
    row = db.execute("SELECT name, revoked_unix_ms FROM gateway WHERE kid = ?", (gateway_id,)).fetchone()
    if row and row[1] is not None and check_revoked:
        raise SettingsError("this gateway is revoked: parkgate enrol --restore accepts it again")
    known_as = str(row[0]) if row else None
    name = name or known_as or gateway_id.hex()[:8]
    if name != known_as:  # one that an older version took stays as it is
        check_gateway_name(name)
    clash = db.execute(
        "SELECT kid FROM gateway WHERE kid <> ? AND (name = ? OR substr(kid, 1, 16) = ?)",
        (gateway_id, name, gateway_id[:16]),
    ).fetchone()
    if clash:
        raise SettingsError(f"another gateway ({clash[0].hex()[:8]}…) has the name {name!r}")
    if place:
        gw = db.execute("SELECT gw FROM gateway WHERE kid = ?", (gateway_id,)).fetchone()
        if _is_place(db, place):
            places.check_free(db, place, gw[0] if gw else None)
        else:
            places.alike(db, place_name(place))
    return Checked(gateway_id, name, row is not None, known_as not in (None, name))


def find(db: Database, name_or_id: str) -> tuple[int, bytes, str]:
    """(gw, id, name) of the gateway with this name, or whose id begins so (8 hex digits at least). Raises
    SettingsError."""
    rows = db.execute("SELECT gw, kid, name FROM gateway WHERE name = ?", (name_or_id,)).fetchall()
    if not rows and len(name_or_id) >= 8:
        wanted = name_or_id.lower()
        rows = [row for row in db.execute("SELECT gw, kid, name FROM gateway") if row[1].hex().startswith(wanted)]
    if len(rows) != 1:
        raise SettingsError(f"{'several gateways match' if rows else 'no gateway is called'} {name_or_id!r}")
    return rows[0]


def revoke(db: Database, name_or_id: str, undo: bool = False, since_ms: int | None = None) -> tuple[bytes, str]:
    """Refuse this gateway from now on, or take it back. `since_ms`: since when its key was not its own, where that was
    earlier: what it dated later is shown as evidence in archives. Returns its id and name. Raises SettingsError."""
    gw, gateway_id, name = find(db, name_or_id)
    now_unix_ms = int(time.time() * 1000)
    if since_ms is not None and not 0 < since_ms <= now_unix_ms:
        raise SettingsError("a revocation begins now or earlier")
    from_ms = since_ms or now_unix_ms
    with recording(db) as leaves:
        db.execute("UPDATE gateway SET revoked_unix_ms = ? WHERE gw = ?", (None if undo else from_ms, gw))
        _note(db, gateway_id, "restored" if undo else "revoked", name, now_unix_ms if undo else from_ms)
        facts = {"gateway": gateway_id, "name": name}
        facts |= {} if undo else {"from_ms": from_ms}
        leaves.statement(statement.RESTORED if undo else statement.REVOKED, facts, whoami(), now_unix_ms)
    return gateway_id, name


def clear_alarms(db: Database, name_or_id: str) -> int:
    """Forget the alarms of this gateway, not what caused them. Returns how many. Raises SettingsError."""
    gw, gateway_id, _ = find(db, name_or_id)
    with recording(db) as leaves:
        alarms = db.execute("SELECT kind, count, what FROM alarm WHERE gw = ? ORDER BY kind", (gw,)).fetchall()
        if alarms:
            db.execute("DELETE FROM alarm WHERE gw = ?", (gw,))
            facts = {"gateway": gateway_id, "alarms": [list(alarm) for alarm in alarms]}
            leaves.statement(statement.ALARMS_CLEARED, facts, whoami(), int(time.time() * 1000))
    return len(alarms)


def listed(db: Database) -> list[tuple[str, bytes, int, int | None]]:
    """(name, id, enrolled, revoked or None) of all gateways by name; times are Unix times in ms."""
    return db.execute("SELECT name, kid, enrolled_unix_ms, revoked_unix_ms FROM gateway ORDER BY name").fetchall()
