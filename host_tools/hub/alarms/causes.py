"""What is wrong now: from the state of the hub to a list of causes. Pure: the time is an argument.

A cause has a key, which is the same as long as it is the same cause. There are two forms:

- a *state* is in the list as long as it lasts. Where the hub cannot judge it (a meter behind a silent gateway, any
  gateway while the broker is away), the cause is not `sure`: it keeps an open alarm open, and opens none.
- *news* is in the list once, when it happened: readings lost, a sector of flash given up. Its alarm ends when a person
  has acknowledged it.

Every limit here is a constant with a name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from host_tools.hub.receiving.present import duration

MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000

SILENT_MS = 5 * MINUTE_MS  # as the page calls it, for a gateway that usually speaks each minute
SILENT_PERIODS = 4  # … and so many of its usual periods where that is longer
SILENT_HOLD_MS = 3 * MINUTE_MS
USUAL_MS = 60_000  # between two statements of a gateway, where nothing else is known
AWAY_HOLD_MS, AWAY_SPREAD_MS = 3 * MINUTE_MS, 3 * MINUTE_MS
PARTLY_HOLD_MS = 15 * MINUTE_MS
DISAGREE_HOLD_MS = 2 * MINUTE_MS
LATE_MS, LATE_HOLD_MS = 10 * MINUTE_MS, 30 * MINUTE_MS
BACKLOG_HOLD_MS = 6 * HOUR_MS  # sealed batches that are not here, all that time
LOSS_NEAR_S, LOSS_HOLD_MS = 6 * 3600, 10 * MINUTE_MS
UNSET_HOLD_MS = 60 * MINUTE_MS  # a clock that was never set
LOST_HOLD_MS = 15 * MINUTE_MS  # the signed gap that explains it may be on its way
BROKER_HOLD_MS = 2 * MINUTE_MS
STORAGE_HOLD_MS = MINUTE_MS
DISK_FREE_MIN, DISK_PART = 2 << 30, 20  # less than this and than one part in so many
CERTIFICATE_MS, CERTIFICATE_URGENT_MS = 21 * DAY_MS, 3 * DAY_MS
WITNESS_MS, WITNESS_HOLD_MS = 24 * HOUR_MS, 4 * HOUR_MS  # after a long stop, gateways need some time to confirm
REVOKED_MS = HOUR_MS

URGENT, NORMAL = "urgent", "normal"


class Kind(NamedTuple):
    """One kind of alarm: how urgent, and what a person does about it."""

    weight: str
    todo: str


KINDS = {
    "silent": Kind(URGENT, "check its power and its network"),
    "away": Kind(NORMAL, "check the bus, the wiring and the power of the meter"),
    "partly": Kind(NORMAL, "look at the channels of the instrument: the page of the gateway says why"),
    "disagreement": Kind(NORMAL, "check wiring, phase order and transformer ratio before these numbers are used"),
    "late": Kind(NORMAL, "it sends only old readings: wait for its backlog, or check its clock"),
    "backlog": Kind(NORMAL, "its network is too slow or fails often: check signal and broker"),
    "loss near": Kind(URGENT, "bring its network back, or carry its journal by `parkgate pull`"),
    "clock": Kind(NORMAL, "check the time of the hub's computer, then restart the gateway"),
    "clock not set": Kind(NORMAL, "it knows no time: its readings are dated later. Check its way to the hub"),
    "gap": Kind(NORMAL, "readings are lost: look at the reason, and at bills of that time"),
    "lost": Kind(URGENT, "batches are missing without a reason: look at the gateway's journal before it is erased"),
    "flash": Kind(NORMAL, "its flash begins to fail: plan a new board (`parkgate provision --replaces`)"),
    "fork": Kind(URGENT, "two devices may sign with one key: find both boards"),
    "epoch": Kind(NORMAL, "it began a new chain: ask who erased or replaced the board"),
    "restored": Kind(URGENT, "this hub was set back: keep every copy of its database, and let the gateways send again"),
    "damaged": Kind(URGENT, "stored batches changed on the hub's disk: run `parkgate hub check`, use a backup"),
    "counters": Kind(URGENT, "its counters contradict each other: keep the board for an examination"),
    "witness": Kind(URGENT, "it holds a checkpoint that this log does not have: was the hub's data restored?"),
    "undecodable": Kind(NORMAL, "bring the hub up to the version of the gateway"),
    "schema": Kind(NORMAL, "bring the hub up to the version of the gateway"),
    "event": Kind(NORMAL, "bring the hub up to the version of the gateway"),
    "revoked": Kind(NORMAL, "it is revoked and still sends: find the board"),
    "limit": Kind(NORMAL, "see why it left the limits that people set"),
    "broker": Kind(URGENT, "start the broker, or check the hub's way to it"),
    "storage": Kind(URGENT, "the hub cannot store: make room on the disk, check its rights"),
    "log": Kind(URGENT, "the signed log does not go on: the hub's messages say why"),
    "disk": Kind(URGENT, "make room on the hub's disk"),
    "certificate": Kind(NORMAL, "renew the certificate before it ends"),
    "unwitnessed": Kind(NORMAL, "no gateway confirms the hub's log: check that gateways hear the hub"),
    "undelivered": Kind(NORMAL, "alarms do not reach this address: `parkgate alarm test` says why"),
}
# Found while messages are taken (receiving/intake): rows of the table `alarm`, each there until somebody clears it. A
# clock that is right again clears its own.
FINDINGS = ("fork", "epoch", "restored", "damaged", "counters", "witness", "undecodable", "schema", "event", "clock")


class Cause(NamedTuple):
    """One thing that is wrong. Times are Unix times in ms. It began at `begun_ms` or, where `by_ms` is given,
    between the two: causes of one `group` that can have begun at the same moment are taken for one."""

    key: str
    kind: str
    what: str
    begun_ms: int
    gateway: str | None = None  # id, 64 hexadecimal digits
    name: str | None = None  # of the gateway
    instrument: str | None = None
    hold_ms: int = 0  # how long it must be seen before it is an alarm
    group: str | None = None
    by_ms: int | None = None
    sure: bool = True
    news: bool = False
    times: int = 1  # of news: how often it happened
    mark: int | None = None  # a number that only grows: acknowledged at one, it is an alarm again at a higher one
    urgent: bool = False  # more urgent than its kind


class Happened(NamedTuple):
    """An event in a batch that came just now: of which gateway, its kind of alarm, in words."""

    gateway: str
    kind: str
    what: str
    unix_ms: int


class Certificate(NamedTuple):
    what: str
    ends_ms: int


class Breach(NamedTuple):
    """A channel beyond a limit that people set (limits.Limit)."""

    number: int
    gateway: str
    instrument: str
    what: str
    begun_ms: int
    hold_ms: int


class Facts(NamedTuple):
    """The state of the hub at one moment. `gateways` are summaries (web.summary)."""

    now_ms: int
    gateways: list[dict]
    connected: bool = True
    connected_since_ms: int = 0  # since when it is as `connected` says
    listening_ms: int = 1 << 53  # how long the hub has heard the broker without a break
    usual_ms: Mapping[str, int] = {}  # gateway → its usual time between two new statements
    revoked_ms: Mapping[str, int] = {}  # gateway → when a message of it was refused last because it is revoked
    happened: Iterable[Happened] = ()
    breaches: Iterable[Breach] = ()
    disk: tuple[int, int] | None = None  # free and all bytes
    storage_fault: str | None = None
    log_fault: str | None = None
    certificates: Iterable[Certificate] = ()
    witnessed_ms: int | None = None  # when a gateway confirmed a checkpoint last; None: no gateway speaks
    undelivered: Mapping[str, int] = {}  # address → since when nothing arrives there


def causes(facts: Facts) -> list[Cause]:
    """All that is wrong at this moment."""
    found = [*_of_hub(facts), *_news(facts)]
    for gateway in facts.gateways:
        if gateway["revoked_unix_ms"]:
            found += _revoked(gateway, facts)
        elif gateway["last_seen_unix_ms"] is not None:
            found += _of_gateway(gateway, facts)
    return found


# Gateways.


def _cause(gateway: dict, kind: str, what: str, begun_ms: int, part: str = "", **fields) -> Cause:
    key = f"{kind}:{gateway['id']}{':' if part else ''}{part}"
    return Cause(key, kind, what, begun_ms, gateway["id"], gateway["name"], **fields)


def silent_after_ms(usual_ms: int | None) -> int:
    """How long a gateway may say nothing new."""
    return max(SILENT_MS, SILENT_PERIODS * (usual_ms or 0))


def _of_gateway(gateway: dict, facts: Facts) -> Iterable[Cause]:
    now_ms, heard_ms = facts.now_ms, gateway["last_seen_unix_ms"]
    after_ms = silent_after_ms(facts.usual_ms.get(gateway["id"]))
    quiet = now_ms - heard_ms > after_ms
    listening = facts.connected and facts.listening_ms > after_ms
    usual_ms = facts.usual_ms.get(gateway["id"]) or USUAL_MS
    if quiet and gateway["place"] is not None:  # another has taken the place of one that stands nowhere
        yield _cause(
            gateway, "silent", "it has signed nothing new", heard_ms, hold_ms=SILENT_HOLD_MS, group="park",
            by_ms=heard_ms + 2 * usual_ms, sure=listening,
        )  # fmt: skip
    knows = not quiet and facts.connected  # of a gateway that speaks, its own statements are of now
    yield from _instruments(gateway, now_ms, knows)
    for alarm in gateway["alarms"]:
        kind = alarm["kind"] if alarm["kind"] in FINDINGS else "event"
        yield _cause(gateway, kind, alarm["what"], alarm["first_unix_ms"], alarm["kind"])
    missing = gateway["unexplained_batches"]
    if missing:
        what = f"{missing} batches are missing, and no signed record says why"
        yield _cause(gateway, "lost", what, now_ms, hold_ms=LOST_HOLD_MS, mark=missing)
    yield from _sending(gateway, now_ms, knows)


def _instruments(gateway: dict, now_ms: int, knows: bool) -> Iterable[Cause]:
    for one in gateway["instruments"]:
        name, state, reason = one["instrument"], one["state"], one["reason"] or ""
        since_ms = min(one["since_ms"] or now_ms, now_ms)
        if state in ("away", "not built"):
            what = f"{name} is away" if state == "away" else f"{name} is not read"
            yield _cause(
                gateway, "away", f"{what}{f': {reason}' if reason else ''}", since_ms, name, instrument=name,
                hold_ms=AWAY_HOLD_MS, group=gateway["id"], by_ms=since_ms + AWAY_SPREAD_MS, sure=knows,
            )  # fmt: skip
        elif state == "partly" and "inconsistent" in reason:
            yield _cause(
                gateway, "disagreement", f"the numbers of {name} contradict each other", since_ms, name,
                instrument=name, hold_ms=DISAGREE_HOLD_MS, sure=knows,
            )  # fmt: skip
        elif state == "partly":
            yield _cause(
                gateway, "partly", f"channels of {name} give no good readings: {reason}", since_ms, name,
                instrument=name, hold_ms=PARTLY_HOLD_MS, sure=knows,
            )  # fmt: skip


def _sending(gateway: dict, now_ms: int, knows: bool) -> Iterable[Cause]:
    signed_ms, beat = gateway["signed_ms"], gateway["beat"]
    awaited = gateway["awaited_batches"]
    wrong_clock = any(alarm["kind"] == "clock" for alarm in gateway["alarms"])
    if signed_ms is not None and now_ms - signed_ms > LATE_MS and not wrong_clock:
        what = f"its newest statement is of {duration(now_ms - signed_ms)} ago"
        yield _cause(gateway, "late", what, signed_ms, hold_ms=LATE_HOLD_MS, sure=knows)
    if awaited:
        what = f"{awaited} batches that it has sealed are not here"
        yield _cause(gateway, "backlog", what, now_ms, hold_ms=BACKLOG_HOLD_MS, sure=knows)
    left_s = gateway["loss_in_s"]
    if awaited and left_s is not None and left_s < LOSS_NEAR_S:
        what = f"it loses its first readings in {duration(left_s * 1000)}, if nothing gets through"
        yield _cause(gateway, "loss near", what, now_ms, hold_ms=LOSS_HOLD_MS, sure=knows)
    if beat is not None and beat["clock_trust"] == "relative only":
        yield _cause(gateway, "clock not set", "its clock is not set", now_ms, hold_ms=UNSET_HOLD_MS, sure=knows)


def _revoked(gateway: dict, facts: Facts) -> Iterable[Cause]:
    last_ms = facts.revoked_ms.get(gateway["id"])
    if last_ms is not None and facts.now_ms - last_ms < REVOKED_MS:
        what = f"it is revoked and sends on: {gateway['refused'].get('revoked', 0)} messages were refused"
        yield _cause(gateway, "revoked", what, last_ms)


# The hub itself.


def _of_hub(facts: Facts) -> Iterable[Cause]:
    now_ms = facts.now_ms
    if not facts.connected:
        what = "the hub does not reach the broker: nothing new arrives"
        yield Cause("broker", "broker", what, facts.connected_since_ms, hold_ms=BROKER_HOLD_MS)
    if facts.storage_fault:
        yield Cause(
            "storage", "storage", f"the hub cannot store: {facts.storage_fault}", now_ms, hold_ms=STORAGE_HOLD_MS
        )
    if facts.log_fault:
        yield Cause("log", "log", f"the log is not signed: {facts.log_fault}", now_ms, hold_ms=STORAGE_HOLD_MS)
    if facts.disk is not None:
        free, size = facts.disk
        least = min(DISK_FREE_MIN, size // DISK_PART)
        if free < 2 * least:  # between once and twice that much, an open alarm stays
            what = f"{free >> 20} MiB are left on the hub's disk"
            yield Cause("disk", "disk", what, now_ms, sure=free < least)
    for what, ends_ms in facts.certificates:
        left_ms = ends_ms - now_ms
        if left_ms < CERTIFICATE_MS:
            when = f"ends in {duration(left_ms)}" if left_ms > 0 else f"ended {duration(-left_ms)} ago"
            urgent = left_ms < CERTIFICATE_URGENT_MS
            yield Cause(f"certificate:{what}", "certificate", f"{what} {when}", now_ms, urgent=urgent)
    if facts.witnessed_ms is not None and now_ms - facts.witnessed_ms > WITNESS_MS:
        what = f"for {duration(now_ms - facts.witnessed_ms)} no gateway has confirmed a checkpoint of the log"
        begun_ms, sure = facts.witnessed_ms, facts.connected
        yield Cause("unwitnessed", "unwitnessed", what, begun_ms, hold_ms=WITNESS_HOLD_MS, sure=sure)
    for address, since_ms in facts.undelivered.items():
        yield Cause(f"undelivered:{address}", "undelivered", f"no message reaches {address}", since_ms)


def _news(facts: Facts) -> Iterable[Cause]:
    names = {gateway["id"]: gateway["name"] for gateway in facts.gateways}
    for one in facts.happened:
        yield Cause(
            f"{one.kind}:{one.gateway}", one.kind, one.what, one.unix_ms, one.gateway, names.get(one.gateway), news=True
        )
    for breach in facts.breaches:
        yield Cause(
            f"limit:{breach.number}", "limit", breach.what, breach.begun_ms, breach.gateway, names.get(breach.gateway),
            breach.instrument, breach.hold_ms,
        )  # fmt: skip


def together(kind: str, members: list[Cause], ever: int, known: int) -> str:
    """The words of one alarm. `members` are the causes that are still there, `ever` how many there were, `known` how
    many gateways the park has."""
    if ever <= 1:
        return members[0].what
    names = [member.name or member.gateway or "?" for member in members]
    parts = [member.instrument or "?" for member in members]
    if kind == "silent":
        whose = "the park" if 2 * ever >= known else "a part of the park"
        still = "" if len(members) == ever else f"; {len(members)} of them still are"
        return f"{ever} gateways fell silent together{still}: power or network of {whose}? ({_some(names)})"
    return f"{ever} instruments went away together: {_some(parts)}"


def _some(names: list[str]) -> str:
    shown = sorted(names)[:5]
    return ", ".join(shown) + (f" and {len(names) - len(shown)} more" if len(names) > len(shown) else "")
