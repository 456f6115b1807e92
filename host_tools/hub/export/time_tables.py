"""Tables of an export that are not of readings: how much of the time they cover, what was not read and why, and what
the gateways signed of themselves. All are CSV."""

from __future__ import annotations

import json
from collections.abc import Iterator

from host_tools.hub.export import csv_text
from host_tools.hub.export.rows import Choice, Gateway, Tally, seqs
from host_tools.hub.reading import availability, readings
from host_tools.log.database.seam import Database
from parkgate import events

FORMATS = ("availability", "outages", "events")
_START = ("gateway", "gateway_id")
_HEADERS = {
    "availability": (*_START, "instrument", "quantity", "from_unix_ms", "to_unix_ms", "good_ms", "time_ms", "percent"),
    "outages": (*_START, "instrument", "from_unix_ms", "to_unix_ms", "period_ms",
                *(name.replace(" ", "_") for name in events.PERIOD_OUTCOMES)),
    "events": (*_START, "epoch", "seq", "received_unix_ms", "kind", "what", "event"),
}  # fmt: skip


def answer(
    form: str, db: Database, choice: Choice, tally: Tally, style: csv_text.Style | None = None
) -> Iterator[bytes]:
    """One of FORMATS. In `outages` a time in which the gateway did not run has no instrument. `events` has those of the
    batches whose readings reach into the span, and of batches without dated readings those received in it."""
    return csv_text.pieces(_lines(form, db, choice, tally, style), style)


def _lines(form, db, choice, tally, style) -> Iterator[str]:
    yield csv_text.line(_HEADERS[form], style)
    make = {"availability": _availability, "outages": _outages, "events": _events}[form]
    for gateway in choice.gateways:
        for row in make(db, gateway, choice):
            tally.written += 1
            yield csv_text.line((gateway.name, gateway.id.hex(), *row), style)


def _known_span(db, gateway: Gateway, choice: Choice) -> tuple[int, int]:
    """The span, up to what is known of the gateway."""
    until_ms = availability.until_of(db, gateway.gw)
    return choice.from_ms or 0, until_ms if choice.to_ms is None else min(choice.to_ms, until_ms)


def _availability(db, gateway, choice):
    covered = availability.covered(db, gateway.gw, *_known_span(db, gateway, choice))
    for series, instrument, quantity in db.execute(
        "SELECT series, instrument, quantity FROM series WHERE gw = ? ORDER BY series", (gateway.gw,)
    ):
        if series in covered:
            yield instrument, quantity, *covered[series].values()


def _outages(db, gateway, choice):
    from_ms, to_ms = _known_span(db, gateway, choice)
    found = [
        (stated["instrument"], stated["from_ms"], stated["to_ms"], stated["period_ms"], stated["taken"],
         *(stated["not_taken"].get(name, 0) for name in events.PERIOD_OUTCOMES[1:]))
        for stated in availability.statements(db, gateway.gw, None, from_ms, to_ms)
    ]  # fmt: skip
    found += [("", first, last, "", *[""] * len(events.PERIOD_OUTCOMES)) for first, last in
              availability.times_off(db, gateway.gw, from_ms, to_ms)]  # fmt: skip
    return sorted(found, key=lambda row: row[1])


def _events(db, gateway, choice):
    for ep, epoch in db.execute("SELECT ep, epoch FROM epoch WHERE gw = ? ORDER BY ep", (gateway.gw,)).fetchall():
        for seq, data, received in _stored_events(db, gateway, choice, ep):
            event = readings.plain_event(data)
            kind, what, fields = event["kind"], event["what"], json.dumps(event["event"], ensure_ascii=False)
            yield epoch.hex(), seq, received, kind, what, fields


def _stored_events(db, gateway, choice, ep):
    """(seq, event, when it was received) of a chain, in its order."""
    question = (
        "SELECT event.seq, event.event, batch.received_unix_ms FROM event JOIN batch USING (ep, seq)"
        " WHERE event.ep = ? {} ORDER BY event.seq, event.place"
    )
    index = seqs(db, choice, gateway, ep) if choice.has_span() else None
    if index is None:
        return db.iterate(question.format(""), (ep,))
    low, high = choice.span()
    of_span = {seq for (seq,) in index}
    undated = (
        "SELECT seq FROM block WHERE ep = ? AND last_ms = -1 AND series IN (SELECT series FROM series WHERE gw = ?)"
    )
    of_span.update(seq for (seq,) in db.execute(
        f"SELECT seq FROM batch WHERE ep = ? AND received_unix_ms >= ? AND received_unix_ms < ? AND seq IN ({undated}"
        " UNION SELECT event.seq FROM event JOIN batch USING (ep, seq)"
        " WHERE event.ep = ? AND (batch.readings = 0 OR batch.state <> 0))",
        (ep, low, high, ep, gateway.gw, ep),
    ))  # fmt: skip
    return _of_seqs(db, question.format("AND event.seq = ?"), ep, sorted(of_span))


def _of_seqs(db, question, ep, wanted):
    for seq in wanted:
        yield from db.execute(question, (ep, seq))
