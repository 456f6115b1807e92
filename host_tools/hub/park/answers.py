"""What the first screen says: power now, energy today against yesterday, what is off, what needs a person. Each figure
says how complete it is; nothing is called known that is not.

A total contains the meters that stand behind no other meter of that total (`meters`).
"""

from __future__ import annotations

from collections.abc import Sequence
from zoneinfo import ZoneInfo

from host_tools.hub.park import sums, zone
from host_tools.hub.park.book import Book
from host_tools.hub.park.metering import meters
from host_tools.hub.park.metering.meters import Meter
from host_tools.hub.park.sums import Piece
from host_tools.hub.park.zone import DAY_MS, PIECE_MS
from host_tools.log.database.seam import Database
from parkgate.reading import RELATIVE_ONLY

POWER, ENERGY = "active_power", "import_active_energy"
FRESH_MS = 5 * 60_000  # a reading older than this, and than three of its periods, says nothing of now
BARS_MAX = {"minute": 24 * 60, "hour": 31 * 24, "day": 400, "month": 120}
USUAL_MS = {"minute": 3 * 3_600_000, "hour": 2 * DAY_MS, "day": 31 * DAY_MS, "month": 366 * DAY_MS}


class TooMuch(Exception):
    """More bars than one answer gives."""


def overview(db: Database, gateways: Sequence[dict], tz: ZoneInfo, now_ms: int, alarms: Sequence[dict] = ()) -> dict:
    """The park and each of its gateways, trouble first. `gateways` are summaries (web.summary), `alarms` those that are
    open (alarms.ledger)."""
    today = zone.begin("day", now_ms, tz)
    yesterday = zone.begin("day", today - 1, tz)
    so_far_ms = (now_ms - today) // PIECE_MS * PIECE_MS
    spans = (yesterday, min(yesterday + so_far_ms, today)), (yesterday, today), (today, max(now_ms, today + 1))
    series, behind = _series(db), meters.load(db)
    book = Book(db)
    parts: dict[str, dict[Meter, list]] = {POWER: {}, ENERGY: {}}
    halls = []
    for gateway in gateways:
        is_gone = standing(gateway, now_ms) == "replaced"  # its part of today is asked of its place
        own = _parts(book, gateway, [] if is_gone else series.get(gateway["id"], []), spans, now_ms)
        halls.append(_hall(gateway, own, behind, now_ms))
        for quantity, found in own.items():
            parts[quantity].update(found)
    halls.sort(key=_trouble_first)
    names = {hall["id"]: hall["name"] for hall in halls}
    return {
        "zone": tz.key,
        "now_unix_ms": now_ms,
        "today_ms": today,
        **_totals(parts, behind),
        "meters": contents(parts[ENERGY], behind, names),
        "off": [_of(hall, one) for hall in halls for one in hall["off"]],
        "needs": _needs(halls, alarms),
        "halls": halls,
    }


def _trouble_first(hall: dict) -> tuple:
    return -hall["severity"], hall["standing"] == "replaced", hall["name"].casefold(), hall["id"]


_SPANS = ("yesterday_by_now", "yesterday", "today")


def _of(hall, one) -> dict:
    return {"gateway": hall["id"], "name": hall["name"], **one}


_SAME = {"dead": "away"}  # kinds of needs that are another kind of alarm


def _needs(halls: list[dict], alarms: Sequence[dict]) -> list[dict]:
    """What needs a person: alarms, and what is so new that it is none yet. What somebody has seen comes last."""
    told = {(one["kind"], gateway["id"]) for one in alarms for gateway in one["gateways"]}
    found = []
    for alarm in alarms:
        whose = alarm["gateways"][0] if len(alarm["gateways"]) == 1 else {"id": None, "name": ""}
        found.append({
            "gateway": whose["id"], "name": whose["name"], "kind": alarm["kind"], "what": alarm["what"],
            "since_ms": alarm["begun_unix_ms"], "alarm": alarm["id"], "todo": alarm["todo"],
            "acknowledged": alarm["acknowledged"],
        })  # fmt: skip
    for hall in halls:
        for one in hall["needs"]:
            if (_SAME.get(one["kind"], one["kind"]), hall["id"]) not in told:
                found.append({**_of(hall, one), "alarm": None, "todo": "", "acknowledged": None})
    return sorted(found, key=lambda one: one["acknowledged"] is not None)


def _series(db) -> dict[str, list[tuple]]:
    """Gateway id → (series, instrument, quantity, scale, row_ms, last_ms, last_trust, last_quality, last_value)."""
    found: dict[str, list[tuple]] = {}
    for kid, *row in db.execute(
        "SELECT kid, series, instrument, quantity, scale, row_ms, last_ms, last_trust, last_quality, last_value"
        " FROM series JOIN gateway USING (gw) WHERE quantity IN (?, ?) ORDER BY series", (POWER, ENERGY),
    ):  # fmt: skip
        found.setdefault(kid.hex(), []).append(tuple(row))
    return found


def _parts(book: Book, gateway: dict, series: list[tuple], spans, now_ms: int) -> dict[str, dict[Meter, list]]:
    """Quantity → meter → its parts of the totals: of power one figure a series, of energy three (one a span)."""
    used = {one["instrument"] for one in gateway["instruments"] if one["state"] != "not in the settings"}
    found: dict[str, dict[Meter, list]] = {POWER: {}, ENERGY: {}}
    for number, instrument, quantity, scale, row_ms, last_ms, trust, quality, value in _current(series, spans[0][0]):
        if instrument not in used or gateway["revoked_unix_ms"]:
            continue
        parts = found[quantity].setdefault(Meter(gateway["id"], instrument), [])
        if quantity == POWER:
            old_ms = None if last_ms is None or trust == RELATIVE_ONLY else now_ms - last_ms
            fresh = old_ms is not None and old_ms <= max(FRESH_MS, 3 * (row_ms or 0)) and quality == 0
            milliwatt = milli(value, scale) if fresh and value is not None else None
            parts.append({"value_mw": milliwatt or 0, "known": int(milliwatt is not None), "of": 1})
        else:
            # Separate questions: these stretches overlap, and a question's stretches touch.
            parts.append([energy_of(*book.ask(number, [span])[0], scale, span, now_ms) for span in spans])
    return found


def _current(series: list[tuple], from_ms: int) -> list[tuple]:
    """Without those that ended before `from_ms` and are another's earlier self: the same channel of the same meter in
    another unit or scale."""
    newest = {(row[1], row[2]): row[0] for row in series}
    return [row for row in series if row[0] == newest[row[1], row[2]] or (row[5] or 0) >= from_ms]


def _hall(gateway: dict, parts: dict[str, dict[Meter, list]], behind, now_ms: int) -> dict:
    return {
        "id": gateway["id"],
        "name": gateway["name"],
        "place": gateway["place"],
        "standing": standing(gateway, now_ms),
        **_totals(parts, behind),
        "meters": contents(parts[ENERGY], behind, {gateway["id"]: gateway["name"]}),
        **_trouble(gateway, now_ms),
    }


def _totals(parts: dict[str, dict[Meter, list]], behind) -> dict:
    """Power and energy over the meters that stand behind no other of them."""
    powers, energies = (
        [part for meter in meters.contained(of, behind)[0] for part in of[meter]]
        for of in (parts[POWER], parts[ENERGY])
    )
    return {
        "power": _power(powers),
        "energy": {name: added([part[i] for part in energies]) for i, name in enumerate(_SPANS)},
    }


def contents(of: dict[Meter, list], behind, names: dict[str, str]) -> dict:
    """Which energy meters a total contains, and which it leaves out because of which."""

    def plain(meter: Meter) -> dict:
        return {"gateway": meter.gateway, "name": names.get(meter.gateway, ""), "instrument": meter.instrument}

    inside, left_out = meters.contained(of, behind)
    return {
        "inside": [plain(meter) for meter in inside],
        "left_out": [{**plain(meter), "behind": plain(main)} for meter, main in left_out.items()],
    }


def milli(value: int, scale: int) -> int:
    """In thousandths of the unit, rounded to the nearest where the channel is finer."""
    if scale <= 3:
        return value * 10 ** (3 - scale)
    step = 10 ** (scale - 3)
    return (2 * value + step) // (2 * step)


def _power(parts: list[dict]) -> dict:
    """Added up: {"value_mw": milliwatts of those that are known, "known": how many, "of": how many there are}."""
    return {
        "value_mw": sum(part["value_mw"] for part in parts),
        "known": sum(int(part["known"]) for part in parts),
        "of": sum(part["of"] for part in parts),
    }


def energy_of(piece: Piece, due_ms: int, scale: int, span, now_ms: int) -> dict:
    """One meter's part of a total. While some of the time is not added up it says no energy and no completeness."""
    time_ms = max(0, min(span[1], now_ms) - span[0])
    if due_ms:
        nothing = dict.fromkeys(("least_mwh", "most_mwh", "known", "exact", "good_ms"), 0)
        return {**nothing, "of": 1, "time_ms": time_ms, "due_ms": due_ms}
    found = piece.energy()
    return {
        "least_mwh": milli(found[0], scale) if found else 0,
        "most_mwh": milli(found[1], scale) if found else 0,
        "known": int(found is not None),
        "exact": int(found is not None and not piece.begin_width and not piece.end_width
                     and not piece.begin_open and not piece.unexplained),
        "of": 1,
        "good_ms": min(piece.good_ms, time_ms),
        "time_ms": time_ms,
        "due_ms": 0,
    }  # fmt: skip


def added(parts: list[dict]) -> dict:
    """Sums of energies: milliwatt-hours at least and at most, how many meters are known, exact, and there at all, and
    the share of the time that good readings cover. While the readings of the time are not all added up (`made_percent`
    says how far that is) none of it is known: a sum of a part would be a wrong one."""
    names = "least_mwh", "most_mwh", "known", "exact", "of", "good_ms", "time_ms"
    total: dict = {name: sum(part[name] for part in parts) for name in names}
    made = sums.made_percent(sum(part["due_ms"] for part in parts), total["time_ms"])
    if made < 100:
        hidden = {"least_mwh": None, "most_mwh": None, "known": 0, "exact": 0, "good_ms": None, "percent": None}
        return {**total, **hidden, "made_percent": made}
    share = 100 * total["good_ms"] // total["time_ms"] if total["time_ms"] else None
    return {**total, "percent": share, "made_percent": made}


# How a gateway stands.

SILENT_MS = 5 * 60_000
SEVERITY = {
    "attention": 5, "silent": 4, "dead": 4, "late": 3, "away": 2, "new": 1, "revoked": 0, "replaced": 0, "live": 0,
}  # fmt: skip


def standing(gateway: dict, now_ms: int) -> str:
    """One word. `live` is only what has signed something new just now, of a time that is now, and has a good reading
    from each instrument. `replaced` stands at no place and says nothing new: another is there in its stead."""
    if gateway["revoked_unix_ms"]:
        return "revoked"
    if gateway["alarms"] or gateway["unexplained_batches"]:
        return "attention"
    new_ms, signed_ms = gateway["last_seen_unix_ms"], gateway["signed_ms"]
    if new_ms is None:
        return "new"
    if now_ms - new_ms > SILENT_MS:
        return "silent" if gateway["place"] is not None else "replaced"
    if signed_ms is not None and now_ms - signed_ms > 2 * SILENT_MS:
        return "late" if gateway["place"] is not None else "replaced"
    used = [one for one in gateway["instruments"] if one["state"] != "not in the settings"]
    if not any(one["state"] in ("good", "partly") for one in used):
        return "new" if all(one["state"] == "nothing yet" for one in used) else "dead"
    return "live" if all(one["state"] == "good" for one in used) else "away"


_NEEDS = {
    "silent": "nothing new arrives from it; check its power and network",
    "dead": "none of its instruments gives good readings; check the bus and its power",
    "late": "it sends only old readings: a backlog is on its way, or its clock is wrong",
}


def _trouble(gateway: dict, now_ms: int) -> dict:
    """What is off, and what needs a person, of one gateway."""
    how = standing(gateway, now_ms)
    off = [
        {"instrument": one["instrument"], "state": one["state"], "since_ms": one["since_ms"], "why": one["reason"]}
        for one in gateway["instruments"]
        if one["state"] in ("away", "partly", "not built")
    ]
    if how == "replaced":
        off = []
    since_ms = gateway["last_seen_unix_ms"]
    if how == "dead":
        since_ms = max((one["since_ms"] for one in off if one["since_ms"] is not None), default=None)
    needs = [{"kind": how, "what": _NEEDS[how], "since_ms": since_ms}] if how in _NEEDS else []
    if how in ("silent", "late"):
        off.insert(0, {"instrument": None, "state": how, "since_ms": gateway["last_seen_unix_ms"], "why": None})
    needs += [
        {"kind": alarm["kind"], "what": alarm["what"], "since_ms": alarm["first_unix_ms"]}
        for alarm in gateway["alarms"]
    ]
    shouted = gateway["refused"].get("revoked", 0)
    if gateway["revoked_unix_ms"] and shouted:
        what = f"it is revoked but still sends: {shouted} messages were refused. Find the board"
        needs.append({"kind": "revoked", "what": what, "since_ms": gateway["revoked_unix_ms"]})
    return {"off": off, "needs": needs, "severity": SEVERITY[how] or (5 if needs else 1 if off else 0)}


# Bars of one gateway.


def bars(
    db: Database, gw: int, unit: str, from_ms: int | None, to_ms: int | None, tz: ZoneInfo, now_ms: int,
    wanted: Sequence[int] = (),
) -> dict:  # fmt: skip
    """Hours, days or months of the gateway's energy, or of the `wanted` series. Raises TooMuch."""
    to_ms = now_ms if to_ms is None else to_ms
    from_ms = to_ms - USUAL_MS[unit] if from_ms is None else from_ms
    spans = []
    for span in zone.spans(unit, from_ms, to_ms, tz):
        spans.append(span)
        if len(spans) > BARS_MAX[unit]:
            raise TooMuch(f"more than {BARS_MAX[unit]} bars")
    marks = ",".join("?" * len(wanted))
    which = f"series IN ({marks})" if wanted else "quantity = ?"
    rows = db.execute(
        f"SELECT series, instrument, quantity, unit, scale FROM series WHERE gw = ? AND {which}"
        " ORDER BY series LIMIT 16",
        (gw, *(wanted or (ENERGY,))),
    ).fetchall()
    book = Book(db)
    return {
        "unit": unit, "zone": tz.key, "from_ms": spans[0][0] if spans else from_ms,
        "to_ms": spans[-1][1] if spans else to_ms,
        "series": [
            {
                "series": row[0], "instrument": row[1], "quantity": row[2], "unit": row[3], "scale": row[4],
                "bars": [bar(piece, due_ms, tz) for piece, due_ms in _asked(book, row[0], unit, spans)],
            }
            for row in rows
        ],
    }  # fmt: skip


def _asked(book: Book, series: int, unit: str, spans) -> list[tuple[Piece, int]]:
    if not spans:
        return []
    if unit == "minute":
        return [(piece, 0) for piece in book.make(series, spans[0][0], spans[-1][1], zone.MINUTE_MS)]
    return book.ask(series, spans)


def bar(piece: Piece, due_ms: int, tz: ZoneInfo) -> dict:
    """One stretch as JSON: values are integers at the channel's scale; the mean has three decimals more. While it is
    not all added up (`made` is false, `made_percent` says how far) its values are None."""
    if due_ms:
        made = sums.made_percent(due_ms, piece.end_ms - piece.begin_ms)
        return {**bar(Piece(piece.begin_ms, piece.end_ms), 0, tz), "count": None, "good_ms": None, "percent": None,
                "made": False, "made_percent": made}  # fmt: skip
    energy = piece.energy()
    span_ms = piece.end_ms - piece.begin_ms
    return {
        "from_ms": piece.begin_ms, "to_ms": piece.end_ms,
        "from": zone.label(piece.begin_ms, tz), "to": zone.label(piece.end_ms, tz),
        "count": piece.good_count, "good_ms": piece.good_ms, "percent": 100 * piece.good_ms // span_ms,
        "least": piece.least, "most": piece.most,
        "mean_milli": (2000 * piece.weight + piece.good_ms) // (2 * piece.good_ms) if piece.good_ms else None,
        "first": piece.first, "last": piece.last,
        "energy": None if energy is None else {"least": energy[0], "most": energy[1]},
        "exact": piece.is_exact(), "made": True, "made_percent": 100,
        "begin_open": piece.begin_open, "end_open": piece.end_open,
        "rollovers": piece.rollovers, "exchanges": piece.exchanges, "unexplained": piece.unexplained,
    }  # fmt: skip
