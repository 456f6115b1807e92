"""Readings back out of the database, for the plot and for programs: decoded from the signed bytes when asked
for.

`block` says which batches hold a series' readings around a time. Few blocks are decoded; when a window
holds more readings than DECODE_READINGS, the extremes that each block carries are enough for a plot. More
points than were asked for are thinned to the least and the most of each step, so that no peak is lost.
"""

import json
import sqlite3
from itertools import pairwise

from host_tools.hub.web.summary import decimal_text
from parkgate import events
from parkgate.quantities import STATES
from parkgate.reading import QUALITY_NAMES, RELATIVE_ONLY, TRUST_NAMES
from parkgate.wire import cbor
from parkgate.wire.batch import Batch

DECODE_READINGS = 100_000
POINTS_MAX = 20_000
SERIES_PER_QUESTION = 16
EVENTS_MAX = 500


class UnknownGateway(Exception):
    """No enrolled gateway has this id."""


def gateway_row(db: sqlite3.Connection, gateway_id: str) -> int:
    """The database's number of the gateway with this id (64 hex digits, or the 32 of its topics).
    Raises UnknownGateway."""
    try:
        raw = bytes.fromhex(gateway_id)
    except ValueError:
        raw = b""
    if len(raw) in (16, 32):
        row = db.execute("SELECT gw FROM gateway WHERE substr(kid, 1, ?) = ?", (len(raw), raw)).fetchone()
        if row:
            return row[0]
    raise UnknownGateway(gateway_id)


def channels(db: sqlite3.Connection, gw: int) -> list[dict]:
    """Every channel of a gateway and how it stands, in the order in which they appeared."""
    found = []
    rows = db.execute(
        "SELECT series, instrument, profile, quantity, unit, scale, readings, undated, qualities, last_ms,"
        " last_trust, last_quality, last_value FROM series WHERE gw = ? ORDER BY series",
        (gw,),
    )
    for row in rows:
        qualities = {_quality(int(code)): count for code, count in json.loads(row[8]).items()}
        found.append(
            {
                "series": row[0],
                "instrument": row[1],
                "profile": row[2],
                "quantity": row[3],
                "unit": row[4],
                "scale": row[5],
                "readings": row[6],
                "undated": row[7],
                "qualities": qualities,
                "last_ms": row[9],
                "clock_trust": TRUST_NAMES.get(row[10]) if row[10] is not None else None,
                "quality": _quality(row[11]) if row[11] is not None else None,
                "value": decimal_text(row[12], row[5]),
                "state": _state(row[3], row[12]),
            }
        )
    return found


def _state(quantity: str, value: int | None) -> str | None:
    """The word for a number that stands for a machine's state."""
    known = quantity == "machine_state" and value is not None and 0 <= value < len(STATES)
    return STATES[value] if known else None  # type: ignore[index]


def _quality(code: int) -> str:
    return QUALITY_NAMES.get(code, f"code {code}")


def window(db, gw, wanted: list[int], from_ms: int | None, to_ms: int | None, last_s: int | None, points: int):
    """For each wanted series of the gateway its readings in from_ms..to_ms: a dictionary with `times` (Unix
    ms) and `values` (integers at `scale`, None where a reading has no value). Without `to_ms` the window ends
    with the newest reading of them, without `from_ms` it is `last_s` long or has no beginning."""
    marks = ",".join("?" * len(wanted))
    rows = db.execute(
        "SELECT series, instrument, quantity, unit, scale, span_ms, last_ms, last_trust FROM series"
        f" WHERE gw = ? AND series IN ({marks}) ORDER BY series",
        (gw, *wanted),
    ).fetchall()
    if to_ms is None:
        to_ms = max((_newest_ms(db, row) for row in rows), default=0)
    if from_ms is None:
        from_ms = 0 if last_s is None else max(0, to_ms - last_s * 1000)
    found = [
        {"series": r[0], "instrument": r[1], "quantity": r[2], "unit": r[3], "scale": r[4], "span_ms": r[5]}
        for r in rows
    ]
    blocks = {item["series"]: _blocks(db, item, from_ms, to_ms) for item in found}
    if sum(block[4] for item in blocks.values() for block in item) > DECODE_READINGS:
        for item in found:
            _extremes(item, blocks[item["series"]], from_ms, to_ms)
    else:
        _decoded(db, found, blocks, from_ms, to_ms)
    for item in found:
        del item["span_ms"]
        _thin(item, min(points, POINTS_MAX))
    return {"from_ms": from_ms, "to_ms": to_ms, "series": found}


def _newest_ms(db, row):
    series, last_ms, last_trust = row[0], row[6], row[7]
    if last_ms is not None and last_trust != RELATIVE_ONLY:
        return last_ms
    found = db.execute("SELECT max(last_ms) FROM block WHERE series = ?", (series,)).fetchone()[0]
    return max(found or 0, 0)


def _blocks(db, item, from_ms, to_ms):
    # A block that reaches into the window begins at most span_ms before its own end.
    rows = db.execute(
        "SELECT ep, seq, instrument, channel, readings, first_ms, last_ms, least, most FROM block"
        " WHERE series = ? AND last_ms BETWEEN ? AND ? ORDER BY last_ms",
        (item["series"], max(from_ms, 0), to_ms + item["span_ms"]),
    )
    return [row for row in rows if row[5] <= to_ms]


def _extremes(item, blocks, from_ms, to_ms):
    item["from_blocks"] = True
    item["times"], item["values"] = times, values = [], []
    for _, _, _, _, _, first_ms, last_ms, least, most in blocks:
        if least is None:
            continue
        times += [max(first_ms, from_ms), min(last_ms, to_ms)]
        values += [least, most]
    _sort(item)


def _decoded(db, found, blocks, from_ms, to_ms):
    places: dict[tuple[int, int], list] = {}
    for item in found:
        item["from_blocks"] = False
        item["times"], item["values"] = [], []
        for block in blocks[item["series"]]:
            places.setdefault(block[:2], []).append((item, block[2], block[3]))
    for (ep, seq), wanted in places.items():
        row = db.execute("SELECT bytes FROM batch WHERE ep = ? AND seq = ?", (ep, seq)).fetchone()
        batch = Batch(row[0])
        tables = {table.instrument: table for table in batch.tables}
        for item, instrument, channel in wanted:
            table = tables[instrument]
            dated = table.times(batch.base_ms)
            for time_ms, trust, value in zip(dated, table.trust, table.column(channel)):
                if from_ms <= time_ms <= to_ms and trust != RELATIVE_ONLY:
                    item["times"].append(time_ms)
                    item["values"].append(value)
    for item in found:
        _sort(item)


def _sort(item):
    times, values = item["times"], item["values"]
    if any(a > b for a, b in pairwise(times)):
        order = sorted(range(len(times)), key=times.__getitem__)
        item["times"] = [times[i] for i in order]
        item["values"] = [values[i] for i in order]


def _thin(item, points):
    times, values = item["times"], item["values"]
    item["readings"] = len(times)
    if len(times) <= points:
        return
    step = -(-2 * len(times) // points)
    kept_times, kept_values = [], []
    for start in range(0, len(times), step):
        part = [i for i in range(start, min(start + step, len(times))) if values[i] is not None]
        if part:
            least, most = min(part, key=values.__getitem__), max(part, key=values.__getitem__)
            for i in sorted({least, most}):
                kept_times.append(times[i])
                kept_values.append(values[i])
        else:
            kept_times.append(times[start])
            kept_values.append(None)
    item["times"], item["values"] = kept_times, kept_values


def recent_events(db: sqlite3.Connection, gw: int, limit: int) -> list[dict]:
    """The newest events that the gateway signed, newest first."""
    rows = db.execute(
        "SELECT hex(epoch.epoch), event.seq, event.event, batch.received_unix_ms FROM epoch"
        " JOIN event ON event.ep = epoch.ep JOIN batch ON batch.ep = event.ep AND batch.seq = event.seq"
        " WHERE epoch.gw = ? ORDER BY event.ep DESC, event.seq DESC, event.place DESC LIMIT ?",
        (gw, min(limit, EVENTS_MAX)),
    )
    found = []
    for epoch, seq, data, received in rows:
        event: list = cbor.decode(data)  # type: ignore[assignment]
        found.append(
            {
                "epoch": epoch.lower(),
                "seq": seq,
                "received_unix_ms": received,
                "kind": events.NAMES.get(event[0], f"kind {event[0]}"),
                "what": describe(event),
                "event": _plain(event),
            }
        )
    return found


def describe(event: list) -> str:
    """An event in words, as far as its kind is known and its fields are what they should be."""
    try:
        kind = event[0]
        if kind == events.RESET:
            return f"start {event[1]}, cause: {events.CAUSES[event[2]]}"
        if kind == events.EPOCH_BORN:
            return f"a new chain begins: {events.EPOCH_REASONS[event[1]]}"
        if kind == events.CLOCK_SET:
            step = event[2]
            return "for the first time since the start" if step is None else f"clock corrected by {step / 1000:.3f} s"
        if kind == events.SETTINGS:
            problem = f"; the file's own were refused: {event[2]}" if event[2] else ""
            return f"settings {event[1].hex()[:8]} taken into use{problem}"
        if kind == events.GAP:
            where = "before they were sealed" if event[1] is None else f"in batches {event[1]} to {event[2]}"
            return f"{event[3]} readings lost {where}: {events.GAP_REASONS[event[4]]}"
        if kind == events.TORN:
            return f"{event[1]} records cut short by a power cut"
        if kind == events.CORRUPT:
            return f"{event[3]} journal records that no longer check, sector {event[1]}"
        if kind == events.FLASH_FAULT:
            return f"sector {event[1]} given up ({event[2]})"
        if kind == events.COUNTER:
            return _describe_counter(*event[1:])
    except (IndexError, KeyError, TypeError, AttributeError):
        return "fields that this hub does not understand"
    return "a kind that this hub does not know"


def _describe_counter(instrument: str, quantity: str, what: int, before: int, value: int, _when: list) -> str:
    """A counter's event. Its values are in steps of the channel's scale."""
    meaning = {
        1: "began again at its end (rollover)",
        2: "is another meter's, or was reset (exchange)",
        3: "jumped as the meter cannot have counted (glitch)",
        4: "goes on from before its jump",
        5: "goes on from before: it never was another meter's (exchange undone)",
        6: "was reset: the serial number says that it is the same meter",
    }[what]
    return f"{instrument}: {quantity} {meaning}, {value} after {before} steps"


def _plain(item):
    if isinstance(item, bytes):
        return item.hex()
    if isinstance(item, list):
        return [_plain(each) for each in item]
    if isinstance(item, dict):
        return {str(key): _plain(value) for key, value in item.items()}
    return item


def refusals(db: sqlite3.Connection, gw: int, limit: int) -> list[dict]:
    """The newest kept evidence about a gateway (0: about nobody), without its bytes."""
    rows = db.execute(
        "SELECT id, reason, what, topic, received_unix_ms, size, hex(hash) FROM evidence WHERE gw = ?"
        " ORDER BY id DESC LIMIT ?",
        (gw, min(limit, EVENTS_MAX)),
    )
    names = ("id", "reason", "what", "topic", "received_unix_ms", "size", "hash")
    return [dict(zip(names, row)) for row in rows]


def batch_bytes(db: sqlite3.Connection, gw: int, epoch: str, seq: int) -> bytes | None:
    """The signed bytes of one batch, None when it is not held."""
    try:
        row = db.execute(
            "SELECT bytes FROM batch JOIN epoch USING (ep) WHERE gw = ? AND epoch = ? AND seq = ?",
            (gw, bytes.fromhex(epoch), seq),
        ).fetchone()
    except (ValueError, OverflowError):
        return None
    return row[0] if row else None
