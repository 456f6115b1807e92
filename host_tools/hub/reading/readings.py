"""What the hub holds of one gateway, in plain words and numbers: channels, events, evidence, the bytes of a batch."""

import json
from datetime import datetime, timezone

from host_tools.hub.reading import availability
from host_tools.hub.reading.summary import decimal_text
from host_tools.log.database.seam import Database
from parkgate import events
from parkgate.meters.consistency import diagnosis
from parkgate.quantities import STATES
from parkgate.reading import QUALITY_NAMES, RELATIVE_ONLY, TRUST_NAMES
from parkgate.wire import cbor, cose

EVENTS_MAX = 500


class UnknownGateway(Exception):
    """No enrolled gateway has this id."""


def gateway_row(db: Database, gateway_id: str) -> int:
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


def channels(db: Database, gw: int, until_ms: int = 0) -> list[dict]:
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


def recent_events(db: Database, gw: int, limit: int) -> list[dict]:
    """The newest events that the gateway signed, newest first."""
    rows = db.execute(
        "SELECT epoch.epoch, event.seq, event.event, batch.received_unix_ms FROM epoch"
        " JOIN event ON event.ep = epoch.ep JOIN batch ON batch.ep = event.ep AND batch.seq = event.seq"
        " WHERE epoch.gw = ? ORDER BY event.ep DESC, event.seq DESC, event.place DESC LIMIT ?",
        (gw, min(limit, EVENTS_MAX)),
    )
    found = []
    for epoch, seq, data, received in rows:
        found.append({"epoch": epoch.hex(), "seq": seq, "received_unix_ms": received, **plain_event(data)})
    return found


def plain_event(data: bytes) -> dict:
    """A stored event: its kind, what it says in words, and its fields."""
    event: list = cbor.decode(data)  # type: ignore[assignment]
    kind = events.NAMES.get(event[0], f"kind {event[0]}")
    return {"kind": kind, "what": describe(event), "event": _plain(event)}


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
            source = ("the hub", "the NTP server", "a person", "the gateway's clock chip")[event[1]]
            return f"{source} says that it is {moment:%Y-%m-%d %H:%M:%S} UTC; the gateway does not accept this time"
        if kind == events.SETTINGS:
            problem = f"; the settings in the file were refused: {event[2]}" if event[2] else ""
            return f"settings {event[1].hex()[:8]} are in use{problem}"
        if kind == events.GAP:
            where = "before they were sealed" if event[1] is None else f"in batches {event[1]} to {event[2]}"
            return f"{event[3]} readings lost {where}: {events.GAP_REASONS[event[4]]}"
        if kind == events.TORN:
            return f"{event[1]} records cut short by a power cut"
        if kind == events.CORRUPT:
            return f"{event[3]} damaged journal records in sector {event[1]}"
        if kind == events.FLASH_FAULT:
            return f"flash sector {event[1]} failed ({('read', 'program', 'erase')[event[2]]}) and is no longer used"
        if kind == events.TASK_STALLED:
            what = ("the task was started again", "the gateway restarts")[event[2]]
            return f"task {event[1]} made no progress for {event[3] / 1000:.0f} s: {what}"
        if kind == events.CRASH:
            last = event[2].strip().split("\n")[-1]
            return f"an error in the firmware ended task {event[1]}, and it was started again: {last}"
        if kind == events.CHECKPOINT_HELD:
            return f"the gateway verified the hub's log up to {event[1]} entries"
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
        if kind == events.HUB_KEY_TAKEN:
            return f"it goes by root document {event[1]}, and so by the hub's key {event[2].hex()[:16]}"
        if kind == events.KEY_ROTATED:
            return f"a new key signs from the next batch on: {cose.thumbprint(event[1]).hex()[:16]}…"
        if kind == events.PRODUCTION:
            return _describe_production(*event[1:8])
    except (ValueError, IndexError, KeyError, TypeError, AttributeError):
        return "fields that this hub does not understand"
    return "a kind that this hub does not know"


def _describe_production(what, station, number, _time_ms, _trust, job, detail) -> str:
    """An entry of the floor (SPEC 15.2)."""
    words = (
        lambda: f"station {detail[0]}, with the registers {', '.join(detail[1]) or 'none'}",
        lambda: f"lot {job} was started",
        lambda: f"job {job} was stopped{('', ' by rule: the shift ended', ' by rule: nothing was entered')[detail]}",
        lambda: f"{detail} pieces of job {job}",
        lambda: f"{detail[1]} pieces of job {job} are scrap, reason {detail[0]}",
        lambda: f"lot {detail} went into job {job}",
        lambda: f"lot {detail} came out of job {job}",
        lambda: f"operator {detail}",
        lambda: f"shift {detail} begins",
        lambda: (
            f"entry {job} is corrected: {('void', 'pieces', 'lot', 'time')[detail[0]]}"
            + "".join(f" {value}" for value in detail[1:])
        ),
    )
    return f"entry {number}, station {station}: {words[what]()}"


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


def commissionings(db: Database, gw: int) -> dict[str, dict]:
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
        1: "reached its end and began again at zero (rollover)",
        2: "is another meter's, or was reset (exchange)",
        3: "jumped further than the meter can have counted (glitch)",
        4: "continues from the value before its jump",
        5: "continues from the value before: the meter was not exchanged after all (exchange undone)",
        6: "was reset: the serial number says that it is the same meter",
        7: "has another unit or scale from here on: the profile or a transformer ratio was changed",
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


def refusals(db: Database, gw: int, limit: int) -> list[dict]:
    """The newest kept evidence about a gateway (0: about nobody), without its bytes."""
    rows = db.execute(
        "SELECT id, reason, what, topic, received_unix_ms, size, hash FROM evidence WHERE gw = ?"
        " ORDER BY id DESC LIMIT ?",
        (gw, min(limit, EVENTS_MAX)),
    )
    names = ("id", "reason", "what", "topic", "received_unix_ms", "size", "hash")
    return [dict(zip(names, (*row[:-1], row[-1].hex().upper()))) for row in rows]


def batch_bytes(db: Database, gw: int, epoch: str, seq: int) -> bytes | None:
    """The signed bytes of one batch, None when it is not held."""
    try:
        row = db.execute(
            "SELECT bytes FROM batch JOIN epoch USING (ep) WHERE gw = ? AND epoch = ? AND seq = ?",
            (gw, bytes.fromhex(epoch), seq),
        ).fetchone()
    except (ValueError, OverflowError):
        return None
    return row[0] if row else None
