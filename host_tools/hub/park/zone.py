"""The park's time zone: hours, days and months as its people have them, days of 23 and 25 hours included."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from parkgate.errors import SettingsError

MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
UNITS = ("minute", "hour", "day", "month")
PIECE_MS = 900_000  # every zone's offset of today is a multiple of it, so each hour and day is made of whole pieces


def zone(name: str) -> ZoneInfo:
    """The zone of this name. Raises SettingsError."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise SettingsError(f"there is no time zone {name!r}; examples are Asia/Phnom_Penh and UTC") from None


def begin(unit: str, moment_ms: int, tz: ZoneInfo) -> int:
    """When the hour, day or month (or minute) began that `moment_ms` is in, as Unix time in ms."""
    if unit == "minute":
        return moment_ms // MINUTE_MS * MINUTE_MS
    local = datetime.fromtimestamp(moment_ms / 1000, tz)
    if unit == "hour":
        # From the offset, not the wall clock: the hour that is there twice is two hours.
        offset_ms = int(local.utcoffset() / timedelta(milliseconds=1))  # type: ignore[operator]
        return (moment_ms + offset_ms) // HOUR_MS * HOUR_MS - offset_ms
    day = local.date()
    return midnight(day.replace(day=1) if unit == "month" else day, tz)


def midnight(day: date, tz: ZoneInfo) -> int:
    """The first moment of a local day. Where clocks skip midnight, the day begins when they have."""
    wall = datetime(day.year, day.month, day.day, tzinfo=tz)
    moment_ms = int(wall.timestamp() * 1000)
    while datetime.fromtimestamp(moment_ms / 1000, tz).date() < day:
        moment_ms += PIECE_MS
    while datetime.fromtimestamp((moment_ms - PIECE_MS) / 1000, tz).date() == day:
        moment_ms -= PIECE_MS
    return moment_ms


def spans(unit: str, from_ms: int, to_ms: int, tz: ZoneInfo) -> Iterator[tuple[int, int]]:
    """(begin, end) of each unit that reaches into from_ms..to_ms, whole."""
    at = begin(unit, from_ms, tz)
    while at < to_ms:
        end = next_begin(unit, at, tz)
        yield at, end
        at = end


def next_begin(unit: str, begin_ms: int, tz: ZoneInfo) -> int:
    if unit == "minute":
        return begin_ms + MINUTE_MS
    if unit == "hour":
        return begin_ms + HOUR_MS if begin("hour", begin_ms + HOUR_MS, tz) > begin_ms else begin_ms + 2 * HOUR_MS
    day = datetime.fromtimestamp(begin_ms / 1000, tz).date()
    if unit == "day":
        return midnight(day + timedelta(days=1), tz)
    return midnight((day.replace(day=1) + timedelta(days=32)).replace(day=1), tz)


def label(moment_ms: int, tz: ZoneInfo) -> str:
    """The moment with its offset from UTC, as ISO 8601."""
    return datetime.fromtimestamp(moment_ms // 1000, tz).isoformat()


def local_zone_name() -> str:
    """The zone of this computer where its system says one, else UTC."""
    import os

    try:
        target = os.path.realpath("/etc/localtime")
    except OSError:
        return "UTC"
    name = target.partition("zoneinfo/")[2]
    try:
        return name if name and ZoneInfo(name) else "UTC"
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return "UTC"


UTC = timezone.utc
