"""`parkgate place`: the places of the park, where gateways stand. A place outlives boards: readings belong to it.

    parkgate place list --data DIR
    parkgate place show "Hall 3" --data DIR               its gateways, its names, its exchanges
    parkgate place energy "Hall 3" --data DIR             its days; --unit hour or month
    parkgate place add "Hall 3" --data DIR                a place where nothing stands yet
    parkgate place rename "Hall 3" "Foundry" --data DIR
    parkgate place put "Hall 3" GATEWAY --data DIR        from now on, or from --at
    parkgate place replace OLD NEW --data DIR             gateway NEW stands from now on where OLD stood
    parkgate place close "Hall 3" --data DIR              nothing stands there any more; its history stays

A board that has died is replaced by `parkgate flash` and `parkgate provision --replaces OLD`, or by `place replace`
when the new one was provisioned already. No key is copied. The moment is that of the new gateway's first reading behind
the old one's last, or now when it has none yet; --at names another. Every change is a signed statement in the log.

Works on the hub's database, whether the hub runs or not.
"""

from __future__ import annotations

import argparse
import contextlib
import time
from datetime import datetime, timezone
from zoneinfo import ZoneInfo

from host_tools.base import output
from host_tools.hub.park import exchange
from host_tools.hub.stores import places
from host_tools.hub.stores.gateways import find as find_gateway
from host_tools.hub.stores.gateways import whoami
from host_tools.hub.stores.store import connect, existing
from parkgate.errors import SettingsError

NAMES = {"list": 0, "show": 1, "energy": 1, "add": 1, "rename": 2, "put": 2, "replace": 2, "close": 1}


def add_parser(subparsers) -> None:
    """Arguments of `parkgate place`."""
    parser = subparsers.add_parser(
        "place", help="list, add, rename places; replace the gateway of a place",
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("action", choices=tuple(NAMES))
    parser.add_argument("names", nargs="*", metavar="NAME|ID", help="place, or gateways, as above")
    parser.add_argument("--data", required=True, metavar="DIR", help="data directory of the hub")
    parser.add_argument("--at", metavar="TIME", help="from when on, in the park's time: 2026-10-01T08:00")
    parser.add_argument("--unit", choices=("hour", "day", "month"), help="for energy (default: day)")
    output.add_json(parser)


def run(args) -> int:
    """Raises SettingsError, StoreError, LogError."""
    if len(args.names) != NAMES[args.action]:
        raise SettingsError(
            f"place {args.action} takes {NAMES[args.action]} names; the form is in `parkgate place --help`"
        )
    if args.unit and args.action != "energy":
        raise SettingsError("--unit is for energy")
    if args.at and args.action not in ("put", "replace"):
        raise SettingsError("--at is for put and replace")
    with contextlib.closing(connect(existing(args.data))) as db:
        verbs = {
            "list": _list, "show": _show, "energy": _energy, "add": _add, "rename": _rename, "put": _put,
            "replace": _replace, "close": _close,
        }  # fmt: skip
        return verbs[args.action](args, db, *args.names)


def _list(args, db) -> int:
    found = places.listed(db)
    lines = [
        f"{place.name:32} {place.id.hex()}  {'closed' if place.closed_unix_ms else place.gateway or 'no gateway'}"
        for place in found
    ]
    output.show(args, {"places": [_document(place) for place in found]}, lines or ["there is no place yet"])
    return 0


def _document(place: places.Place) -> dict:
    return {
        "id": place.id.hex(), "name": place.name, "gateway": place.gateway, "closed_unix_ms": place.closed_unix_ms,
    }  # fmt: skip


def _show(args, db, name) -> int:
    place = places.find(db, name)
    stays, zone = places.stays(db, place.pl), _zone(db)
    history = places.history(db, place.pl)
    document = {
        **_document(place),
        "gateways": [
            {"name": s.gateway, "id": s.gateway_id.hex(), "from_ms": s.from_ms, "to_ms": s.to_ms} for s in stays
        ],
        "history": [
            {"unix_ms": unix_ms, "kind": kind, "by": by, "facts": _plain(facts)} for unix_ms, kind, by, facts in history
        ],
    }
    lines = [f"{place.name}   id {place.id.hex()}"]
    for s in stays:
        begin = "its first reading" if not s.from_ms else _clock(s.from_ms, zone)
        lines.append(f"  {s.gateway} ({s.gateway_id.hex()[:16]}): from {begin} to {_clock(s.to_ms, zone)}")
    for unix_ms, kind, by, facts in history:
        words = f": {facts['before']} became {facts['name']}" if kind == "place renamed" else ""
        lines.append(f"  {_clock(unix_ms, zone)}  {kind}{words}{f', by {by}' if by else ''}")
        lines += [f"      {_register_words(line, zone)}" for line in facts.get("registers", ())]
    output.show(args, document, lines)
    return 0


def _energy(args, db, name) -> int:
    from host_tools.hub.park import by_place, zone

    place = places.find(db, name)
    tz = zone.zone(db.about("setting zone") or zone.local_zone_name())
    found = by_place.bars(db, place, args.unit or "day", None, None, tz, _now())
    lines = []
    for series in found["series"]:
        lines.append(f"{place.name}, {series['instrument']}, {series['quantity'].replace('_', ' ')}:")
        for bar in series["bars"]:
            energy = bar["energy"]
            if not bar["made"]:
                lines.append(f"  {bar['from']} to {bar['to']}  being added up, {bar['made_percent']} % done")
            if energy is None:
                continue
            ends = [register_text(energy[end], series["scale"]) for end in ("least", "most")]
            about = ends[0] if ends[0] == ends[1] else f"between {ends[0]} and {ends[1]}"
            lines.append(
                f"  {bar['from']} to {bar['to']}  {about} {series['unit']}, {bar['percent']} % of the time read"
            )
    output.show(args, found, lines or [f"no energy meter was read at {place.name} yet"])
    return 0


def _register_words(line, zone) -> str:
    instrument, quantity, unit, scale, before_ms, before, after_ms, after = line
    old = f"{register_text(before, scale)} {unit} at {_clock(before_ms, zone)}"
    fresh = "not read yet" if after is None else f"{register_text(after, scale)} {unit} at {_clock(after_ms, zone)}"
    return f"{instrument} {quantity}: the old gateway read {old}; the new one {fresh}"


def register_text(value: int, scale: int) -> str:
    """A register for people: never through a float."""
    if scale <= 0:
        return str(value * 10**-scale)
    digits = str(abs(value)).rjust(scale + 1, "0")
    return f"{'-' if value < 0 else ''}{digits[:-scale]}.{digits[-scale:]}"


def _plain(item):
    if isinstance(item, bytes):
        return item.hex()
    if isinstance(item, dict):
        return {name: _plain(fact) for name, fact in item.items()}
    return [_plain(each) for each in item] if isinstance(item, list) else item


def _add(args, db, name) -> int:
    warnings = places.alike(db, name)
    place_id = places.add(db, name, whoami())
    place = places.find(db, place_id.hex())
    _done(args, place, f"added {place.name} ({place_id.hex()})", warnings)
    return 0


def _rename(args, db, name, new_name) -> int:
    place = places.find(db, name, in_use=True)
    warnings = places.alike(db, new_name, place.pl)
    places.rename(db, name, new_name, whoami())
    _done(args, places.find(db, place.id.hex()), f"{place.name} is now called {new_name}", warnings)
    return 0


def _put(args, db, name, gateway) -> int:
    found = find_gateway(db, gateway)
    place = places.put(db, found, name, _moment(args, db) or _now(), whoami())
    _done(args, places.find(db, place.id.hex()), f"gateway {found[2]} stands at {place.name}")
    return 0


def _replace(args, db, old, fresh) -> int:
    place = exchange.replace(db, old, fresh, _moment(args, db))
    _done(args, place, f"gateway {find_gateway(db, fresh)[2]} stands at {place.name} now; its history goes on")
    return 0


def _close(args, db, name) -> int:
    place = places.close(db, name, whoami())
    _done(args, places.find(db, place.id.hex()), f"closed {place.name}")
    return 0


def _done(args, place: places.Place, line: str, warnings=()) -> None:
    lines = [line, *(f"careful: {other!r} looks much like it" for other in warnings)]
    output.show(args, {"place": _document(place), "looks_like": list(warnings)}, lines)


def _zone(db):
    name = db.about("setting zone")
    return ZoneInfo(name) if name else None


def _moment(args, db) -> int | None:
    if not args.at:
        return None
    try:
        moment = datetime.strptime(args.at, "%Y-%m-%dT%H:%M")
    except ValueError:
        raise SettingsError(f"--at {args.at!r}: a time is written 2026-10-01T08:00") from None
    zone = _zone(db)
    moment = moment.replace(tzinfo=zone) if zone else moment.astimezone()
    at_ms = int(moment.timestamp()) * 1000
    if at_ms > _now():
        raise SettingsError("--at names a time that has not come yet")
    return at_ms


def _clock(unix_ms: int | None, zone) -> str:
    if unix_ms is None:
        return "now"
    return f"{datetime.fromtimestamp(unix_ms / 1000, zone or timezone.utc):%Y-%m-%d %H:%M:%S %z}"


def _now() -> int:
    return time.time_ns() // 1_000_000
