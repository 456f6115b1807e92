"""Readings back out of the database, for the plot and for programs: decoded from the signed bytes when asked
for.

`block` says which batches hold a series' readings around a time. Few blocks are decoded; when a window
holds more readings than DECODE_READINGS, the extremes that each block carries are enough for a plot. More
points than were asked for are thinned to the least and the most of each step, so that no peak is lost.
"""

from itertools import pairwise

from host_tools.hub.reading import availability
from host_tools.hub.reading.decode import decode_stored
from host_tools.hub.stores.damaged import Damaged
from parkgate.errors import FormatError
from parkgate.reading import RELATIVE_ONLY

DECODE_READINGS = 100_000
POINTS_MAX = 20_000  # of all series together
SERIES_PER_QUESTION = 16


def window(
    db,
    gw,
    wanted: list[int],
    from_ms: int | None,
    to_ms: int | None,
    last_s: int | None,
    points: int,
    damaged: Damaged | None = None,
):
    """For each wanted series of the gateway its readings in from_ms..to_ms: a dictionary with `times` (Unix
    ms) and `values` (integers at `scale`, None where a reading has no value). Without `to_ms` the window ends
    with the newest reading of them, without `from_ms` it is `last_s` long or has no beginning. A batch whose bytes are
    not those that were stored is left out, and noted in `damaged`."""
    marks = ",".join("?" * len(wanted)) or "NULL"
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
    damaged = Damaged() if damaged is None else damaged
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
            times.append(times[-1] + 1)  # a moment of its own: the reading before it stays
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
