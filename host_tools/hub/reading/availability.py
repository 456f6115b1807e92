"""How much of the time an instrument's readings cover, and what it is doing now (SPEC 5.7). By time, never by rows.

What is known of a gateway ends at `until_ms`, the newest time that it has told anything of: what is still on its way is
neither an outage nor covered.
"""

from itertools import pairwise

from host_tools.hub.receiving.state import Gateway
from host_tools.log.database.seam import Database
from parkgate import events
from parkgate.reading import NOT_CONFIGURED, QUALITY_NAMES, RELATIVE_ONLY, TIMEOUT, has_value
from parkgate.wire import cbor

DAY_MS = 86_400_000
GAPS_MAX = 500
_SLACK_MS = 2000
_STATED_MS = 2 * 3_600_000  # statements come once an hour at least

GOOD, PARTLY, AWAY, NOT_BUILT, NOTHING_YET, REMOVED = (
    "good", "partly", "away", "not built", "nothing yet", "not in the settings",
)  # fmt: skip
NOT_GOOD = (PARTLY, AWAY, NOT_BUILT)


def until_ms(gateway: Gateway) -> int:
    """The newest time that the gateway has told anything of; 0 when there is none."""
    ends = [account.end_ms for account in gateway.accounts.values() if account.end_ms is not None]
    dated = [series for series in gateway.series.values() if series.last_trust != RELATIVE_ONLY]
    return max([*ends, *(series.last_ms for series in dated if series.last_ms is not None)], default=0)


def instruments(gateway: Gateway) -> list[dict]:
    """Each instrument of the gateway and how it stands, those of the newest schema first."""
    now_ms = until_ms(gateway)
    current = gateway.schemas.get(gateway.schema_id) if gateway.schema_id else None
    by_name: dict[str, list] = {}
    for series in gateway.series.values():
        by_name.setdefault(series.instrument, []).append(series)
    wanted = {part.instrument: list(part) for part in current or ()}
    profiles = {part.instrument: part.profile for part in current or ()}
    found = []
    for name in [*wanted, *(name for name in by_name if name not in wanted)]:
        channels = wanted.get(name) or by_name[name]
        account = gateway.accounts.get(name)
        state = _state(channels, now_ms, account) if name in wanted else _left_out(account, now_ms)
        if state["state"] == NOT_BUILT:
            good = [series.good_ms + (series.row_ms or 0) for series in channels if series.good_ms is not None]
            state["since_ms"] = max(good, default=None)
        found.append(_about(gateway, name, profiles.get(name) or channels[0].profile, state, now_ms))
    for name, account in gateway.accounts.items():
        if name not in by_name:
            found.append(_about(gateway, name, None, _left_out(account, now_ms), now_ms))
    return found


def _left_out(account, now_ms) -> dict:
    """Of an instrument that the newest schema does not have: the gateway could not build it, which it states each hour
    at least, or it is no longer in the settings."""
    stated = account and account.last and account.last[events.PERIOD_OUTCOMES.index("not built")]
    if not stated or account.end_ms is not None and now_ms - account.end_ms >= _STATED_MS:
        return {"state": REMOVED}
    return {"state": NOT_BUILT, "reason": "the gateway could not make it from its settings: see its log"}


def _about(gateway, name, profile, state, now_ms):
    account = gateway.accounts.get(name)
    periods = None
    if account:
        told = dict(zip(events.PERIOD_OUTCOMES, account.counts))
        periods = {"elapsed": sum(account.counts), "taken": told.pop("taken"), "not_taken": told}
    since_ms = state.get("since_ms")
    return {
        "instrument": name,
        "profile": profile,
        "state": state["state"],
        "since_ms": since_ms,
        "for_ms": None if since_ms is None else max(0, now_ms - since_ms),
        "until_ms": now_ms or None,
        "reason": state.get("reason"),
        "periods": periods,
    }


def _state(channels, now_ms, account) -> dict:
    """Of the instrument's channels together."""
    each = [_channel_state(series, now_ms) for series in channels]
    configured = [one for one, series in zip(each, channels) if series.last_quality != NOT_CONFIGURED] or each
    if all(series.last_ms is None for series in channels):
        return {"state": NOTHING_YET}
    bad = [one for one in configured if one[0] != GOOD]
    if not bad:
        return {"state": GOOD}
    since_ms = min((one[1] for one in bad if one[1] is not None), default=None)
    if len(bad) == len(configured) and all(one[0] == AWAY for one in bad):
        return {"state": AWAY, "since_ms": since_ms, "reason": _why(bad[0][2], account)}
    reasons = sorted({one[2] for one in bad})
    return {"state": PARTLY, "since_ms": since_ms, "reason": ", ".join(reasons)}


def _channel_state(series, now_ms):
    """(GOOD, PARTLY for a value that is not good, AWAY for none; since when; why)."""
    row_ms = series.row_ms or 0
    since_ms = None if series.good_ms is None else series.good_ms + row_ms
    if series.last_ms is None:
        return AWAY, None, "nothing yet"
    dated = series.last_trust != RELATIVE_ONLY
    if dated and row_ms and now_ms - series.last_ms > 2 * row_ms + _SLACK_MS:
        return AWAY, since_ms, QUALITY_NAMES[TIMEOUT] if series.last_quality == TIMEOUT else "no reading"
    if not series.last_quality:
        return GOOD, None, ""
    name = QUALITY_NAMES.get(series.last_quality, f"code {series.last_quality}")
    if has_value(series.last_quality) or series.last_quality != TIMEOUT:
        return PARTLY, since_ms, name
    return AWAY, since_ms, name


def in_words(code: int) -> str:
    """Why a reading is not good, as a person would say it."""
    return "no answer" if code == TIMEOUT else QUALITY_NAMES.get(code, f"code {code}")


def _why(name, account) -> str:
    """The reason of an outage in a person's words. `name` is the quality of the last reading: an instrument that was
    asked and gave no answer is away, however busy its bus has become by asking it."""
    if name != QUALITY_NAMES[TIMEOUT] and account and account.last:
        told = dict(zip(events.PERIOD_OUTCOMES, account.last))
        if told["bus busy"] > told["no answer"] + told["backed off"]:
            return "the bus is too busy"
        if told["failed"] > told["no answer"] + told["backed off"]:
            return "its driver fails: see the gateway's log"
    return "no answer" if name == QUALITY_NAMES[TIMEOUT] else name


# Availability.

_COVERED = """
SELECT series, sum(CASE WHEN covered_ms > 9007199254740992 THEN 9007199254740992 ELSE covered_ms END) + sum(CASE
    WHEN tail_ms = 0 THEN 0
    WHEN step_ms IS NULL AND last_ms >= :until THEN 0
    WHEN step_ms IS NULL AND tail_ms > :until - last_ms THEN :until - last_ms
    WHEN step_ms IS NULL THEN tail_ms
    WHEN step_ms <= 0 THEN 0
    WHEN 2 * step_ms <= 3 * tail_ms THEN step_ms
    ELSE tail_ms END), min(first_ms), max(last_ms)
FROM (SELECT series, covered_ms, tail_ms, first_ms, last_ms,
        lead(first_ms) OVER (PARTITION BY series ORDER BY first_ms, last_ms) - last_ms AS step_ms
    FROM block WHERE series IN (SELECT series FROM series WHERE gw = :gw) AND last_ms >= :from AND first_ms >= 0
        AND first_ms <= :until) AS stepped
GROUP BY series
"""


def covered(db: Database, gw: int, from_ms: int, to_ms: int) -> dict[int, dict]:
    """series → {from_ms, to_ms, good_ms, time_ms, percent} in that stretch of time, as far as it is known. It begins
    with the instrument's first readings, where there are none from before. Raises DatabaseError."""
    first: dict[str, int] = {}
    for instrument, first_ms in db.execute(
        "SELECT instrument, (SELECT first_ms FROM block WHERE block.series = series.series AND last_ms >= 0"
        " ORDER BY last_ms LIMIT 1) FROM series WHERE gw = ?",
        (gw,),
    ):
        if first_ms is not None:
            first[instrument] = min(first_ms, first.get(instrument, first_ms))
    good = {row[0]: row[1:] for row in db.execute(_COVERED, {"gw": gw, "from": from_ms, "until": to_ms})}
    found = {}
    for series, instrument in db.execute("SELECT series, instrument FROM series WHERE gw = ?", (gw,)).fetchall():
        if instrument not in first:
            continue
        good_ms, first_ms, _ = good.get(series, (0, None, None))
        begin_ms = max(from_ms, first[instrument])
        if first_ms is not None and first_ms < begin_ms:
            begin_ms = first_ms  # a batch counts whole
        time_ms = to_ms - begin_ms
        if time_ms <= 0:
            continue
        found[series] = {
            "from_ms": begin_ms, "to_ms": to_ms, "good_ms": min(good_ms, time_ms), "time_ms": time_ms,
            "percent": percent(min(good_ms, time_ms), time_ms),
        }  # fmt: skip
    return found


def percent(good_ms: int, time_ms: int) -> str:
    """With two decimals, rounded down: 100.00 means all of it."""
    share = 10_000 * good_ms // time_ms if time_ms else 0
    return f"{share // 100}.{share % 100:02}"


# Outages.


def gaps(times: list[int], codes: list[int], row_ms: int) -> list[tuple[int, int, int]]:
    """(from, to, quality code of its first row, 0 where it has none) of the stretches between the first and the last
    time that no good reading covers."""
    found: list[tuple[int, int, int]] = []
    opened: tuple[int, int] | None = None
    for (time_ms, code), (next_ms, next_code) in pairwise(zip(times, codes)):
        if not code and opened is not None:
            found.append((opened[0], time_ms, opened[1]))
            opened = None
        if code and opened is None:
            opened = time_ms, code
        if not code and row_ms and 2 * (next_ms - time_ms) > 3 * row_ms:
            opened = time_ms + row_ms, next_code
    if times and opened is not None:
        found.append((opened[0], times[-1], opened[1]))
    return [gap for gap in found if gap[1] > gap[0]]


def statements(db: Database, gw: int, instrument: str | None, from_ms: int, to_ms: int) -> list[dict]:
    """What was signed of an instrument's periods (None: of each one's) that were not all taken, oldest first."""
    rows = db.execute(
        "SELECT instrument, begin_ms, end_ms, period_ms, taken, no_answer, backed_off, bus_busy, not_built, failed"
        " FROM periods WHERE gw = ? AND (CAST(? AS TEXT) IS NULL OR instrument = ?) AND end_ms >= ? AND begin_ms <= ?"
        " AND no_answer + backed_off + bus_busy + not_built + failed > 0 ORDER BY begin_ms LIMIT ?",
        (gw, instrument, instrument, from_ms, to_ms, GAPS_MAX),
    )
    return [
        {
            "instrument": row[0], "from_ms": row[1], "to_ms": row[2], "period_ms": row[3], "taken": row[4],
            "not_taken": {name: n for name, n in zip(events.PERIOD_OUTCOMES[1:], row[5:]) if n},
        }
        for row in rows
    ]  # fmt: skip


def times_off(db: Database, gw: int, from_ms: int, to_ms: int) -> list[tuple[int, int]]:
    """(from, to) in which the gateway did not run, as it signed it."""
    rows = db.execute(
        "SELECT event FROM event JOIN epoch USING (ep) WHERE gw = ? AND kind = ? ORDER BY ep DESC, seq DESC LIMIT ?",
        (gw, events.OFF, GAPS_MAX),
    )
    found = []
    for (data,) in rows:
        event: list = cbor.decode(data)  # type: ignore[assignment]
        if len(event) == 3 and type(event[1]) is int and type(event[2]) is int and event[1] < event[2]:
            found.append((event[1], event[2]))
    return sorted((first, last) for first, last in found if last >= from_ms and first <= to_ms)


def until_of(db: Database, gw: int) -> int:
    """As `until_ms`, from the database."""
    row = db.execute(
        "SELECT (SELECT coalesce(max(end_ms), 0) FROM periods WHERE gw = :gw),"
        " (SELECT coalesce(max((SELECT max(last_ms) FROM block WHERE block.series = series.series)), 0) FROM series"
        " WHERE gw = :gw)",
        {"gw": gw},
    ).fetchone()
    return max(0, *row)
