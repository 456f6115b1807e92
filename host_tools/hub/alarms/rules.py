"""From causes to alarms: one alarm for each cause, opened once, ended by the return. Pure: no clock, no database.

    changes = step(open_alarms, memory, causes, acknowledged, now_ms, known)

A cause becomes an alarm when it was seen for its `hold_ms` without a break; it counts as gone when it was not seen for
GONE_MS. Causes of one group that can have begun at the same moment are one alarm: a power cut silences each gateway of
the park, and is one alarm. Such an alarm ends when all have returned; when nearly all have and the rest stay
away for LEFT_BEHIND_MS, it ends and the rest become alarms of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from host_tools.hub.alarms.causes import Cause, together

GONE_MS = 60_000
LEFT_BEHIND_MS = 15 * 60_000
LEFT_BEHIND_PART = 10  # at most one part in so many
OPENED, CHANGED, CLOSED = "opened", "changed", "closed"


class Alarm:
    """One alarm that is open. `id` is None until the ledger has numbered it."""

    def __init__(self, kind: str, begun_ms: int, opened_ms: int):
        self.id: int | None = None
        self.kind = kind
        self.begun_ms, self.opened_ms = begun_ms, opened_ms
        self.members: dict[str, Cause] = {}  # key → cause that is still there
        self.window: tuple[int, int] | None = None  # when all of them can have begun together
        self.ever = 0  # how many causes it has had
        self.count = 0  # of news
        self.news = False
        self.what = ""
        self.returned_ms = opened_ms  # when a member was seen to be gone last
        self.acknowledged: tuple[int, str, str] | None = None  # when, by whom, in which words
        self.urgent = False

    def add(self, cause: Cause) -> None:
        if cause.key not in self.members:
            self.ever += 1
        self.members[cause.key] = cause
        self.window = self.together(cause)
        self.begun_ms = min(self.begun_ms, cause.begun_ms)
        self.news = self.news or cause.news
        self.urgent = self.urgent or cause.urgent

    def together(self, cause: Cause) -> tuple[int, int] | None:
        """When this cause can have begun together with all that this alarm has had; None when it cannot."""
        if cause.by_ms is None or self.ever > 1 and self.window is None:
            return None
        low, high = self.window or (cause.begun_ms, cause.by_ms)
        low, high = max(low, cause.begun_ms), min(high, cause.by_ms)
        return (low, high) if low <= high else None


class Memory:
    """What is remembered between steps. What is forgotten at a restart only makes an alarm later; `seen` is kept over
    one, else a hub that restarts often would never say what it says after hours."""

    def __init__(self, seen: dict[str, int] | None = None):
        self.seen = seen or {}  # key → since when it is seen without a break
        self.missed: dict[str, int] = {}  # key → since when it is not


def step(
    alarms: list[Alarm], memory: Memory, causes: Sequence[Cause], acknowledged: Mapping[str, int], now_ms: int,
    known: int,
) -> list[tuple[str, Alarm]]:  # fmt: skip
    """Bring `alarms` up to date and say what changed. `acknowledged` is the mark at which a cause with a mark was
    acknowledged; `known` is how many gateways there are."""
    states = {cause.key: cause for cause in causes if not cause.news and _is_new(cause, acknowledged)}
    changes = _refresh(alarms, memory, states, now_ms, known)
    changes += _news(alarms, [cause for cause in causes if cause.news], now_ms)
    return changes + _open(alarms, memory, states, now_ms, known)


def _is_new(cause: Cause, acknowledged: Mapping[str, int]) -> bool:
    return cause.mark is None or cause.mark > acknowledged.get(cause.key, -1)


def _refresh(alarms, memory, states, now_ms, known) -> list[tuple[str, Alarm]]:
    """Members of open alarms that are still there, and those that are gone."""
    changes = []
    for alarm in list(alarms):
        if alarm.news and not any(key in states for key in alarm.members):
            continue  # what happened does not return: a person acknowledges it
        before = alarm.what, len(alarm.members)
        gone = []
        for key in alarm.members:
            if key in states:
                memory.missed.pop(key, None)
                alarm.members[key] = states[key]
                alarm.urgent = alarm.urgent or states[key].urgent
            elif now_ms - memory.missed.setdefault(key, now_ms) >= GONE_MS:
                gone.append(key)
        if len(gone) == len(alarm.members) or _left_behind(alarm, now_ms):
            alarms.remove(alarm)  # with its last members: who reads it later wants to know whom it concerned
            changes.append((CLOSED, alarm))
            continue
        for key in gone:
            del alarm.members[key], memory.missed[key]
            alarm.returned_ms = now_ms
        _say(alarm, known)
        if before != (alarm.what, len(alarm.members)):
            changes.append((CHANGED, alarm))
    return changes


def _left_behind(alarm: Alarm, now_ms: int) -> bool:
    few = max(1, alarm.ever // LEFT_BEHIND_PART)
    return alarm.ever > 2 and len(alarm.members) <= few and now_ms - alarm.returned_ms >= LEFT_BEHIND_MS


def _news(alarms, news, now_ms) -> list[tuple[str, Alarm]]:
    changes = []
    for cause in news:
        alarm = next((each for each in alarms if cause.key in each.members), None)
        what = CHANGED
        if alarm is None:
            alarm, what = Alarm(cause.kind, cause.begun_ms, now_ms), OPENED
            alarms.append(alarm)
        alarm.add(cause)
        alarm.count += cause.times
        alarm.what = f"{cause.what}{f' ({alarm.count} times, this is the newest)' if alarm.count > 1 else ''}"
        if (OPENED, alarm) not in changes:
            changes.append((what, alarm))
    return changes


def _open(alarms, memory, states, now_ms, known) -> list[tuple[str, Alarm]]:
    """Causes that have been there long enough: into an alarm that they belong to, or a new one."""
    belongs = {key for alarm in alarms for key in alarm.members}
    waiting = {key: cause for key, cause in states.items() if cause.sure and key not in belongs}
    memory.seen = {key: memory.seen.get(key, now_ms) for key in waiting}
    for key in [key for key in memory.missed if key not in belongs]:
        del memory.missed[key]
    changes = []
    for key, cause in waiting.items():
        if key not in memory.seen or now_ms - memory.seen[key] < cause.hold_ms:
            continue
        alarm = next((each for each in alarms if _is_one(each, cause)), None)
        what = CHANGED
        if alarm is None:
            alarm, what = Alarm(cause.kind, cause.begun_ms, now_ms), OPENED
            alarms.append(alarm)
        alarm.add(cause)
        del memory.seen[key]
        for other in waiting.values():  # the rest of a group that began with it need not wait any more
            if other.key in memory.seen and _is_one(alarm, other):
                alarm.add(other)
                del memory.seen[other.key]
        _say(alarm, known)
        if all(alarm is not each for _, each in changes):
            changes.append((what, alarm))
    return changes


def _is_one(alarm: Alarm, cause: Cause) -> bool:
    """Whether the cause began with those of this alarm, in the same group."""
    if cause.group is None or alarm.kind != cause.kind or alarm.window is None:
        return False
    groups = {member.group for member in alarm.members.values()}
    return cause.group in groups and alarm.together(cause) is not None


def _say(alarm: Alarm, known: int) -> None:
    alarm.what = together(alarm.kind, list(alarm.members.values()), alarm.ever, known)
