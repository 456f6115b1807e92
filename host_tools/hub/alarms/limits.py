"""Limits that people set on channels: an alarm when a value leaves them. The hub keeps them in its database, and its
signed log records each change.

A limit with a time (`--for`) is left when the newest value was outside for so long; one without, when any value of the
last RECENT_MS was. Values are exact decimals in the channel's unit.
"""

from __future__ import annotations

import json
from decimal import Decimal, InvalidOperation
from typing import NamedTuple

from host_tools.hub.alarms.causes import Breach
from host_tools.hub.alarms.ledger import put_about
from host_tools.hub.stores.gateways import find
from host_tools.log import record
from host_tools.log.database.seam import Database
from parkgate.errors import SettingsError
from parkgate.log import statement
from parkgate.reading import RELATIVE_ONLY, has_value

NAME = "setting limits"  # in the table `about`
LIMITS_MAX = 1000
RECENT_MS = 5 * 60_000
FRESH_PERIODS = 3
MINUTES_MAX = 7 * 24 * 60
DIGITS_MAX = 15


class Limit(NamedTuple):
    """`above`, `below` are decimals as text, or None. `gateway` is an id of 64 hexadecimal digits."""

    number: int
    gateway: str
    instrument: str
    quantity: str
    above: str | None
    below: str | None
    minutes: int


def load(db: Database) -> list[Limit]:
    """All limits, in the order of their numbers. Raises SettingsError when what is stored cannot be read."""
    row = db.execute("SELECT value FROM about WHERE name = ?", (NAME,)).fetchone()
    try:
        return [Limit(*fields) for fields in json.loads(row[0])] if row else []
    except (ValueError, TypeError, RecursionError):
        raise SettingsError("the limits of channels cannot be read from the database: they are damaged") from None


def add(
    db: Database, channel: tuple[str, str, str], above: str | None, below: str | None, minutes: int, by: str
) -> Limit:
    """Set a limit on a channel (name or id of the gateway, instrument, quantity). Raises SettingsError."""
    gateway, instrument, quantity = channel
    gw, gateway_id, name = find(db, gateway)
    question = "SELECT DISTINCT instrument, quantity FROM series WHERE gw = ? ORDER BY 1, 2"
    there = db.execute(question, (gw,)).fetchall()
    if (instrument, quantity) not in there:
        known = ", ".join(f"{each[0]} {each[1]}" for each in there[:40]) or "none yet"
        raise SettingsError(f"{name} has no channel {instrument} {quantity}; it has {known}")
    above, below = _decimal("--above", above), _decimal("--below", below)
    if above is None and below is None:
        raise SettingsError("name a limit: --above VALUE, --below VALUE, or both")
    if above is not None and below is not None and Decimal(below) >= Decimal(above):
        raise SettingsError(f"--below {below} is not less than --above {above}: every value would leave these limits")
    if not 0 <= minutes <= MINUTES_MAX:
        raise SettingsError(f"--for is 0 to {MINUTES_MAX} minutes")
    with record.recording(db) as leaves:
        limits = load(db)
        if len(limits) >= LIMITS_MAX:
            raise SettingsError(f"there are {LIMITS_MAX} limits already: remove one first")
        number = max((each.number for each in limits), default=0) + 1
        limit = Limit(number, gateway_id.hex(), instrument, quantity, above, below, minutes)
        _store(db, leaves, [*limits, limit], None, limit, by)
    return limit


def remove(db: Database, number: int, by: str) -> Limit:
    """Take a limit away. Raises SettingsError."""
    with record.recording(db) as leaves:
        limits = load(db)
        found = next((each for each in limits if each.number == number), None)
        if found is None:
            raise SettingsError(f"there is no limit {number}: `parkgate alarm limits` shows them")
        _store(db, leaves, [each for each in limits if each is not found], found, None, by)
    return found


def _store(db, leaves, limits, before: Limit | None, value: Limit | None, by: str) -> None:
    put_about(db, NAME, json.dumps([list(each) for each in limits]))
    facts = {"name": "limit", "before": before and list(before), "value": value and list(value)}
    leaves.statement(statement.SETTING, facts, by, record.now_unix_ms())


def _decimal(option: str, text: str | None) -> str | None:
    if text is None:
        return None
    try:
        value = Decimal(text)
        if not value.is_finite() or len(value.as_tuple().digits) > DIGITS_MAX or abs(value.adjusted()) > DIGITS_MAX:
            raise InvalidOperation
    except InvalidOperation:
        raise SettingsError(f"{option} {text!r} is not a decimal number of at most {DIGITS_MAX} digits") from None
    return format(value, "f")


def breaches(db: Database, now_ms: int) -> list[Breach]:
    """The limits that are left at this moment. Raises SettingsError."""
    found = []
    for limit in load(db):
        rows = db.execute(
            "SELECT series, unit, scale, row_ms, last_ms, last_trust, last_quality, last_value FROM series"
            " JOIN gateway USING (gw) WHERE kid = ? AND instrument = ? AND quantity = ? AND revoked_unix_ms IS NULL",
            (bytes.fromhex(limit.gateway), limit.instrument, limit.quantity),
        ).fetchall()
        breach = next((each for each in (_breach(db, limit, row, now_ms) for row in rows) if each), None)
        if breach is not None:
            found.append(breach)
    return found


def _breach(db, limit: Limit, row, now_ms: int) -> Breach | None:
    series, unit, scale, row_ms, last_ms, trust, quality, value = row
    if last_ms is None or trust == RELATIVE_ONLY or now_ms - last_ms > max(RECENT_MS, FRESH_PERIODS * (row_ms or 0)):
        return None
    values = [value] if value is not None and has_value(quality) else []
    if not limit.minutes:
        question = "SELECT min(least), max(most) FROM block WHERE series = ? AND last_ms > ?"
        values += [each for each in db.execute(question, (series, now_ms - RECENT_MS)).fetchone() if each is not None]
    exact = [Decimal(each).scaleb(-scale) for each in values]
    for words, bound, outside in (
        ("above", limit.above, [each for each in exact if limit.above is not None and each > Decimal(limit.above)]),
        ("below", limit.below, [each for each in exact if limit.below is not None and each < Decimal(limit.below)]),
    ):
        if outside:
            worst = format(max(outside) if words == "above" else min(outside), "f")
            quantity = limit.quantity.replace("_", " ")
            what = f"{limit.instrument}: {quantity} {worst} {unit} is {words} the limit {bound}"
            hold_ms = limit.minutes * 60_000
            return Breach(limit.number, limit.gateway, limit.instrument, what, last_ms, hold_ms)
    return None
