"""Two tables of `parkgate export` that speak of time: how much of it readings cover, and what was not read, and why."""

import csv
import io

from host_tools.hub.reading import availability
from host_tools.hub.verbs.enrol import find
from parkgate import events

FORMATS = ("availability", "outages")
AVAILABILITY = ("gateway", "instrument", "quantity", "from_unix_ms", "to_unix_ms", "good_ms", "time_ms", "percent")
OUTAGES = ("gateway", "instrument", "from_unix_ms", "to_unix_ms", "period_ms",
           *(name.replace(" ", "_") for name in events.PERIOD_OUTCOMES))  # fmt: skip


def write(form: str, db, names, from_ms: int | None, to_ms: int | None, out) -> tuple[int, int]:
    """Write one of FORMATS as CSV. A time in which the gateway did not run has no instrument. Raises SettingsError."""
    gateways = [find(db, name) for name in names] if names else None
    if gateways is None:
        gateways = db.execute("SELECT gw, kid, name FROM gateway ORDER BY name").fetchall()
    text = io.TextIOWrapper(out, encoding="utf-8", newline="", write_through=True)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(AVAILABILITY if form == "availability" else OUTAGES)
    written = 0
    for gw, _, name in gateways:
        until_ms = availability.until_of(db, gw)
        span = from_ms or 0, until_ms if to_ms is None else min(to_ms, until_ms)
        rows = _availability(db, gw, *span) if form == "availability" else _outages(db, gw, *span)
        for row in rows:
            writer.writerow((name, *row))
            written += 1
    text.detach()
    return written, 0


def _availability(db, gw, from_ms, to_ms):
    covered = availability.covered(db, gw, from_ms, to_ms)
    for series, instrument, quantity in db.execute(
        "SELECT series, instrument, quantity FROM series WHERE gw = ? ORDER BY series", (gw,)
    ):
        if series in covered:
            yield instrument, quantity, *covered[series].values()


def _outages(db, gw, from_ms, to_ms):
    found = [
        (told["instrument"], told["from_ms"], told["to_ms"], told["period_ms"], told["taken"],
         *(told["not_taken"].get(name, 0) for name in events.PERIOD_OUTCOMES[1:]))
        for told in availability.statements(db, gw, None, from_ms, to_ms)
    ]  # fmt: skip
    found += [("", first, last, "", *[""] * len(events.PERIOD_OUTCOMES)) for first, last in
              availability.times_off(db, gw, from_ms, to_ms)]  # fmt: skip
    return sorted(found, key=lambda row: row[1])
