"""`parkgate hub retain | hold | release`: remove old readings, and forbid that."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from datetime import date, datetime

from host_tools.base import output
from host_tools.hub.park import zone
from host_tools.hub.stores import places, retention
from host_tools.hub.stores.gateways import whoami
from host_tools.hub.stores.store import connect, existing
from parkgate.errors import SettingsError

ACTIONS = ("retain", "hold", "release")


def run(args) -> int:
    """One of ACTIONS. Raises SettingsError, StoreError, LogError."""
    with contextlib.closing(connect(existing(args.data))) as db:
        tz = zone.zone(db.about("setting zone") or zone.local_zone_name())
        return {"retain": _retain, "hold": _hold, "release": _release}[args.action](args, db, tz)


def _retain(args, db, tz) -> int:
    if not args.before:
        raise SettingsError("hub retain: --before DAY says from when on readings stay, such as 2024-01-01")
    before_ms = _day("--before", args.before, tz)
    if before_ms > datetime.now(tz).timestamp() * 1000:
        raise SettingsError("--before is a day that has begun: what comes later cannot be judged today")
    pls = {places.find(db, name).pl for name in args.place} if args.place else None
    if args.apply and not args.why:
        raise SettingsError("--apply needs --why TEXT: the log keeps the reason")
    names = {place.pl: place.name for place in places.listed(db)}
    groups: dict[tuple[str, str], list[int]] = {}
    kept: Counter[str] = Counter()
    if args.apply:
        found = retention.remove(db, before_ms, pls, args.why, whoami())
    else:
        found = ((one, one.stays is None) for one in retention.plan(db, before_ms, pls))
    for one, goes in found:
        if not goes:
            kept[one.stays or ""] += 1
            continue
        month = datetime.fromtimestamp(one.last_ms / 1000, tz).strftime("%Y-%m")
        group = groups.setdefault((names.get(one.pl or 0, ""), month), [0, 0, 0])
        for at, number in enumerate((1, one.readings, one.size)):
            group[at] += number
    document = {
        "dry_run": not args.apply,
        "before_ms": before_ms,
        "groups": [
            {"place": place or None, "month": month, "batches": sums[0], "readings": sums[1], "bytes": sums[2]}
            for (place, month), sums in sorted(groups.items())
        ],
        "kept": dict(kept),
        "holds": [_as_json(one) for one in retention.holds(db)],
    }
    output.show(args, document, _lines(args, document))
    return 0


def _lines(args, document: dict) -> list[str]:
    lines = [
        f"{group['place'] or 'no place':32} {group['month']}  {group['batches']:>9,} batches {group['readings']:>13,}"
        f" readings {group['bytes']:>13,} bytes"
        for group in document["groups"]
    ]
    lines += [f"{count:,} batches stay: each {why}" for why, count in sorted(document["kept"].items())]
    total = [sum(group[name] for group in document["groups"]) for name in ("batches", "readings", "bytes")]
    what = f"{total[0]:,} batches with {total[1]:,} readings, {total[2]:,} bytes"
    if document["dry_run"]:
        lines.append(f"{what} would be removed; nothing was changed. --apply --why TEXT removes them, for good")
    else:
        lines.append(
            f"{what} were removed; the log has a statement of it. The disk's room is used again by the database"
        )
    return lines


def _hold(args, db, tz) -> int:
    if args.place or args.why or args.from_folder or args.to:
        if len(args.place) != 1 or not args.from_folder or not args.why:
            raise SettingsError(
                "hub hold takes --place NAME --from DAY [--to DAY] --why TEXT; alone it lists all holds"
            )
        from_ms = _day("--from", str(args.from_folder), tz)
        to_ms = _day("--to", args.to, tz) if args.to else None
        number = retention.hold(db, places.find(db, args.place[0]), from_ms, to_ms, args.why, whoami())
        output.say(args, f"hold {number} is in force")
    found = retention.holds(db)
    lines = [
        f"hold {one.number}: {one.place}, from {zone.label(one.from_ms, tz)}"
        f" {'to ' + zone.label(one.to_ms, tz) if one.to_ms is not None else 'on'}: {one.why} ({one.by})"
        for one in found
    ]
    output.show(args, {"holds": [_as_json(one) for one in found]}, lines or ["there is no legal hold"])
    return 0


def _release(args, db, _tz) -> int:
    if args.number is None or not args.why:
        raise SettingsError("hub release takes --number N --why TEXT; `parkgate hub hold` lists the numbers")
    found = retention.release(db, args.number, args.why, whoami())
    output.show(args, {"number": found.number, "place": found.place}, [f"hold {found.number} of {found.place} is over"])
    return 0


def _as_json(one: retention.Hold) -> dict:
    fields = one._asdict()
    del fields["pl"]
    return fields


def _day(option: str, text: str, tz) -> int:
    """The first moment of a local day (or month, such as 2024-01) in Unix ms. Raises SettingsError."""
    try:
        if not re.fullmatch(r"\d{4}-\d\d(-\d\d)?", text):
            raise ValueError
        return zone.midnight(date.fromisoformat(text if len(text) == 10 else f"{text}-01"), tz)
    except (ValueError, OverflowError):
        raise SettingsError(
            f"{option} {text}: a day such as 2024-01-01, or a month such as 2024-01, is wanted"
        ) from None
