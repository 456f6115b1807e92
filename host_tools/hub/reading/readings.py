"""Readings back out of the database, for the plot and for programs: decoded from the signed bytes when asked
for.

`block` says which batches hold a series' readings around a time. Few blocks are decoded; when a window
holds more readings than DECODE_READINGS, the extremes that each block carries are enough for a plot. More
points than were asked for are thinned to the least and the most of each step, so that no peak is lost.
"""

import json
import sqlite3
from datetime import datetime, timezone
from itertools import pairwise

from host_tools.hub.reading import availability
from host_tools.hub.reading.decode import decode_stored
from host_tools.hub.stores import kept
from host_tools.hub.web.summary import decimal_text
from parkgate import events
from parkgate.errors import FormatError
from parkgate.meters.consistency import diagnosis
from parkgate.quantities import STATES
from parkgate.reading import QUALITY_NAMES, RELATIVE_ONLY, TRUST_NAMES
from parkgate.wire import cbor

DECODE_READINGS = 100_000
POINTS_MAX = 20_000  # of all series together
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


def channels(db: sqlite3.Connection, gw: int, until_ms: int = 0) -> list[dict]:
    """Every channel of a gateway and how it stands, in the order in which they appeared. `availability` is of the day
    before `until_ms`, up to which the gateway has told what it did."""
    found = []
    covered = availability.covered(db, gw, max(0, until_ms - availability.DAY_MS), until_ms) if until_ms else {}
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
                "availability": covered.get(row[0]),
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


def window(
    db,
    gw,
    wanted: list[int],
    from_ms: int | None,
    to_ms: int | None,
    last_s: int | None,
    points: int,
    damaged: kept.Damaged | None = None,
):
    """For each wanted series of the gateway its readings in from_ms..to_ms: a dictionary with `times` (Unix
    ms) and `values` (integers at `scale`, None where a reading has no value). Without `to_ms` the window ends
    with the newest reading of them, without `from_ms` it is `last_s` long or has no beginning. A batch whose bytes are
    not those that were stored is left out, and noted in `damaged`."""
    marks = ",".join("?" * len(wanted))
    rows = db.execute(
        "SELECT series, instrument, quantity, unit, scale, span_ms, last_ms, last_trust, row_ms FROM series"
        f" WHERE gw = ? AND series IN ({marks}) ORDER BY series",
        (gw, *wanted),
    ).fetchall()
    if to_ms is None:
        to_ms = max((_newest_ms(db, row) for row in rows), default=0)
    if from_ms is None:
        from_ms = 0 if last_s is None else max(0, to_ms - last_s * 1000)
    found = [
        {
            "series": r[0], "instrument": r[1], "quantity": r[2], "unit": r[3], "scale": r[4], "span_ms": r[5],
            "row_ms": r[8] or 0,
        }
        for r in rows
    ]  # fmt: skip
    damaged = kept.Damaged() if damaged is None else damaged
    points = max(2, min(points, POINTS_MAX // max(1, len(found))))
    if _are_few(db, found, from_ms, to_ms):
        blocks = {item["series"]: list(_blocks(db, item, from_ms, to_ms)) for item in found}
        _decoded(db, found, blocks, from_ms, to_ms, damaged)
    else:
        for item in found:
            _extremes(item, _blocks(db, item, from_ms, to_ms), from_ms, to_ms, points)
    off = availability.times_off(db, gw, from_ms, to_ms)
    for item in found:
        told = availability.statements(db, gw, item["instrument"], from_ms, to_ms)
        gaps = sorted(item["gaps"], key=lambda gap: gap[0] - gap[1])[: availability.GAPS_MAX]  # the longest
        item["gaps_left_out"] = len(item["gaps"]) - len(gaps)
        item["gaps"] = [_gap(gap, told, off) for gap in sorted(gaps)]
        del item["span_ms"]
        _thin(item, points)
    return {
        "from_ms": from_ms, "to_ms": to_ms, "series": found,
        "damaged": [{"epoch": epoch.hex(), "seq": seq} for _, _, epoch, seq, _ in damaged.named],
    }  # fmt: skip


def _gap(gap, told, off):
    """An outage with its reason: the gateway was off, or what the statements of that time say."""
    first, last, code = gap
    reason = availability.in_words(code) if code else "no reading"
    if any(begin < last and end > first for begin, end in off):
        reason = "the gateway was off"
    else:
        counts: dict[str, int] = {}
        for one in told:
            if one["from_ms"] < last and one["to_ms"] > first:
                for name, n in one["not_taken"].items():
                    counts[name] = counts.get(name, 0) + n
        if counts:
            most = max(counts, key=lambda name: counts[name])
            reason = "no answer" if most == "backed off" else most
    return {"from_ms": first, "to_ms": last, "reason": reason}


def _newest_ms(db, row):
    series, last_ms, last_trust = row[0], row[6], row[7]
    if last_ms is not None and last_trust != RELATIVE_ONLY:
        return last_ms
    found = db.execute("SELECT max(last_ms) FROM block WHERE series = ?", (series,)).fetchone()[0]
    return max(found or 0, 0)


def _blocks(db, item, from_ms, to_ms):
    """The blocks of a series that reach into the window, one after the other: (ep, seq, instrument, channel, readings,
    first_ms, last_ms, least, most)."""
    # A block that reaches into the window begins at most span_ms before its own end.
    rows = db.execute(
        "SELECT ep, seq, instrument, channel, readings, first_ms, last_ms, least, most FROM block"
        " WHERE series = ? AND last_ms BETWEEN ? AND ? ORDER BY last_ms",
        (item["series"], max(from_ms, 0), to_ms + item["span_ms"]),
    )
    return (row for row in rows if row[5] <= to_ms)


def _are_few(db, found, from_ms, to_ms) -> bool:
    """Whether all the blocks together hold so few readings that they are decoded. Looks at no more than it must."""
    left = DECODE_READINGS
    for item in found:
        for block in _blocks(db, item, from_ms, to_ms):
            left -= block[4]
            if left < 0:
                return False
    return True


def _extremes(item, blocks, from_ms, to_ms, points):
    """The plot from the extremes that blocks carry. However many blocks there are, memory holds 3 numbers for each of
    `points` steps of the window."""
    item["from_blocks"] = True
    item["gaps"] = []
    row_ms = item["row_ms"]
    begin_ms = step_ms = 0
    steps: dict[int, list] = {}  # step → [first_ms, last_ms, least, most]
    before_ms = None
    for _, _, _, _, _, first_ms, last_ms, least, most in blocks:
        if least is None:
            continue
        if before_ms is not None and row_ms and 2 * (first_ms - before_ms) > 3 * row_ms:
            item["gaps"].append((before_ms + row_ms, first_ms, 0))
            if len(item["gaps"]) > 4 * availability.GAPS_MAX:
                item["gaps"] = sorted(item["gaps"], key=lambda gap: gap[0] - gap[1])[: 2 * availability.GAPS_MAX]
        before_ms = last_ms if before_ms is None else max(before_ms, last_ms)
        first_ms, last_ms = max(first_ms, from_ms), min(last_ms, to_ms)
        if not step_ms:  # the steps begin with the data; two entries each
            begin_ms, step_ms = first_ms, max(1, -(-2 * (to_ms - first_ms + 1) // points))
        step = steps.setdefault(max(0, first_ms - begin_ms) // step_ms, [first_ms, last_ms, least, most])
        step[0], step[1] = min(step[0], first_ms), max(step[1], last_ms)
        step[2], step[3] = min(step[2], least), max(step[3], most)
    item["times"], item["values"] = times, values = [], []
    gaps = iter(sorted(item["gaps"]))
    gap = next(gaps, None)
    for _, (first_ms, last_ms, least, most) in sorted(steps.items()):
        broken = False
        while gap is not None and gap[0] <= first_ms:
            gap, broken = next(gaps, None), True
        if broken and times:
            times.append(times[-1])
            values.append(None)
        times += [first_ms, last_ms]
        values += [least, most]


def _decoded(db, found, blocks, from_ms, to_ms, damaged):
    places: dict[tuple[int, int], list] = {}
    for item in found:
        item["from_blocks"] = False
        item["times"], item["values"], item["codes"] = [], [], []
        for block in blocks[item["series"]]:
            places.setdefault(block[:2], []).append((item, block[2], block[3]))
    for (ep, seq), wanted in places.items():
        row = db.execute(
            "SELECT bytes, hash, gw, epoch FROM batch JOIN epoch USING (ep) WHERE ep = ? AND seq = ?", (ep, seq)
        ).fetchone()
        if row is None:
            continue  # the index speaks of a batch that is gone: the start of the hub says so
        data, batch_hash, gw, epoch = row
        if not damaged.check((gw, "", epoch, seq), data, batch_hash):
            continue
        tables = decode_stored([data])[0]
        if isinstance(tables, FormatError):
            damaged.leave_out((gw, "", epoch, seq), str(tables))
            continue
        by_instrument = {table.instrument: table for table in tables}
        for item, instrument, channel in wanted:
            table = by_instrument[instrument]
            codes, values = table.rows_of(channel)
            for time_ms, trust, value, code in zip(map(int, table.times), table.trust, values, codes):
                if from_ms <= time_ms <= to_ms and trust != RELATIVE_ONLY:
                    item["times"].append(time_ms)
                    item["values"].append(value)
                    item["codes"].append(code)
    for item in found:
        _sort(item)
        item["gaps"] = availability.gaps(item["times"], item.pop("codes"), item["row_ms"])
        _break_at_gaps(item)


def _sort(item):
    times, values = item["times"], item["values"]
    if any(a > b for a, b in pairwise(times)):
        order = sorted(range(len(times)), key=times.__getitem__)
        item["times"] = [times[i] for i in order]
        item["values"] = [values[i] for i in order]
        if "codes" in item:
            item["codes"] = [item["codes"][i] for i in order]


def _break_at_gaps(item):
    """A reading that is not there between two that are further apart than their cadence: no line may join them."""
    row_ms = item["row_ms"]
    if not row_ms:
        return
    times, values = [], []
    for i, time_ms in enumerate(item["times"]):
        if i and 2 * (time_ms - item["times"][i - 1]) > 3 * row_ms and item["values"][i - 1] is not None:
            times.append(item["times"][i - 1] + row_ms)
            values.append(None)
        times.append(time_ms)
        values.append(item["values"][i])
    item["times"], item["values"] = times, values


def _thin(item, points):
    times, values = item["times"], item["values"]
    item["readings"] = len(times) - sum(1 for value in values if value is None)
    if len(times) <= points:
        return
    step = -(-2 * len(times) // points)
    kept_times, kept_values = [], []
    for start in range(0, len(times), step):
        part = [i for i in range(start, min(start + step, len(times))) if values[i] is not None]
        if part:
            least, most = min(part, key=values.__getitem__), max(part, key=values.__getitem__)
            holes = [i for i in range(start, min(start + step, len(times))) if values[i] is None][:1]
            for i in sorted({least, most, *holes}):
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
        if kind == events.CLOCK_DISPUTED:
            moment = datetime.fromtimestamp(event[2] / 1000, timezone.utc)
            source = ("the hub", "the NTP server", "a person")[event[1]]
            return f"{source} says that it is {moment:%Y-%m-%d %H:%M:%S} UTC: not believed"
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
        if kind == events.COMMISSIONED:
            return commissioned(event)["what"]
        if kind == events.PERIODS:
            return _describe_periods(*event[1:])
        if kind == events.OFF:
            if event[1] is None:
                return "the gateway did not run; since when is not known"
            return f"the gateway did not run for {duration((event[2] - event[1]) // 1000)}"
        if kind == events.RATIO:
            return _describe_ratio(*event[1:])
        if kind == events.COUNTER:
            return _describe_counter(*event[1:])
        if kind == events.CONSISTENCY:
            return _describe_consistency(*event[1:])
    except (ValueError, IndexError, KeyError, TypeError, AttributeError):
        return "fields that this hub does not understand"
    return "a kind that this hub does not know"


def commissioned(event: list) -> dict:
    """A commissioning record in words and parts. Raises IndexError, KeyError, TypeError, AttributeError for another
    shape."""
    _, (time_ms, trust), instrument, by, facts = event
    compared = facts.get("compared", [])
    agree = sum(1 for one in compared if one[4])
    parts = []
    if facts.get("answers") == 0:
        parts.append("it did not answer")
    if compared:
        parts.append(f"the display agrees in {agree} of {len(compared)} values")
    parts += [str(text) for text in facts.get("phases", [])]
    if facts.get("serial"):
        parts.append(f"serial number {facts['serial']}")
    if facts.get("ratio"):
        parts.append(f"transformers {facts['ratio']}")
    if facts.get("photos"):
        count = len(facts["photos"])
        parts.append("a photograph" if count == 1 else f"{count} photographs")
    if "report" in facts:
        parts.append(f"report with SHA-256 {facts['report'].hex()}")
    if facts.get("differs"):
        parts.append(f"to be looked at: {', '.join(facts['differs'])}")
    good = facts.get("answers") != 0 and agree == len(compared) and not facts.get("phases") and not facts.get("differs")
    return {
        "instrument": instrument,
        "by": by,
        "time_ms": time_ms if trust != RELATIVE_ONLY else None,
        "good": bool(good),
        "what": f"{instrument or 'the hall'}, by {by}: " + ("; ".join(parts) or "nothing noted"),
        "facts": _plain(facts),
    }


def commissionings(db: sqlite3.Connection, gw: int) -> dict[str, dict]:
    """instrument → its newest commissioning record ("" for the whole hall)."""
    rows = db.execute(
        "SELECT event, seq FROM event JOIN epoch USING (ep) WHERE gw = ? AND kind = ? ORDER BY ep, seq, place",
        (gw, events.COMMISSIONED),
    )
    found = {}
    for data, seq in rows:
        event: list = cbor.decode(data)  # type: ignore[assignment]
        try:
            one = commissioned(event)
        except (ValueError, IndexError, KeyError, TypeError, AttributeError):
            continue
        found[one["instrument"]] = {**one, "seq": seq}
    return found


def duration(seconds: int) -> str:
    """A stretch of time in words: "2 min 7 s"."""
    if seconds < 1:
        return "less than a second"
    for unit, size, small, part in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if seconds >= size:
            rest = seconds % size // part
            return f"{seconds // size} {unit}" + (f" {rest} {small}" if rest else "")
    return f"{seconds} s"


def _describe_periods(instrument: str, _begin: list, period_ms: int, counts: list) -> str:
    """A statement of periods: how many were taken, and why the others were not."""
    total = sum(counts)
    names = [*events.PERIOD_OUTCOMES, *["another reason"] * 10]
    missing = ", ".join(f"{n} {names[i]}" for i, n in enumerate(counts) if i and n)
    span = duration(total * period_ms // 1000)
    if not missing:
        return f"{instrument}: all {total} periods of {span} taken"
    return f"{instrument}: {counts[0]} of {total} periods taken in {span}; not taken: {missing}"


def _describe_ratio(instrument: str, ratio: str, before: list | None, now: list, _when: list) -> str:
    """The ratio of a meter's current or voltage transformers, as its registers say it."""
    which = {"ct": "current transformers", "vt": "voltage transformers"}[ratio]
    changed = f", changed from {before[0]}:{before[1]}" if before else ""
    return f"{instrument}: {which} {now[0]}:{now[1]}{changed}"


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


def _describe_consistency(
    instrument: str, check: str, what: int, code: int, stated: int, expected: int, scale: int, _when: list
) -> str:
    """Numbers of a meter that disagree, with the likely cause, or that agree again."""
    words = {1: diagnosis.sentence(check, code, stated, expected, scale), 2: f"{check}: the numbers agree again"}[what]
    return f"{instrument}: {words}"


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
