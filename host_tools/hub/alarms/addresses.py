"""Who gets messages about alarms: the file `alarms.toml` in the hub's data. It holds passwords and tokens, so it
belongs to the hub's user alone (chmod 600); nothing of it is ever an argument of a command.

    [[address]]
    name = "manager"
    url = "mailtos://user:password@mail.example?to=manager@park.example"     # any address of apprise
    quiet = "22:00-06:00"            # in the park's time: what is not urgent waits until the morning
    urgent_in_quiet = true           # the default: what is urgent does not wait
    kinds = ["silent", "fork"]       # without it: all

    [[address]]
    name = "control room"
    mqtt = "park/alarms"             # a topic at the hub's own broker, JSON

apprise knows e-mail, webhooks (json://), Telegram (tgram://), and some hundred services more.
"""

from __future__ import annotations

import re
import stat
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

from host_tools.base import files
from host_tools.hub.alarms.causes import KINDS
from parkgate.errors import SettingsError

FILE = "alarms.toml"
ADDRESSES_MAX = 50
NAME_LENGTH_MAX = 64
_QUIET = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")
_TOPIC = re.compile(r"[^+#\x00-\x1f]{1,200}")


class Address(NamedTuple):
    """One address. `quiet` is (from, to) in minutes of the day, or None."""

    name: str
    url: str | None
    mqtt: str | None
    kinds: frozenset[str] | None
    quiet: tuple[int, int] | None
    urgent_in_quiet: bool

    def wants(self, kind: str) -> bool:
        return self.kinds is None or kind in self.kinds

    def due_ms(self, now_ms: int, urgent: bool, tz: ZoneInfo) -> int:
        """When a message may go: now, or at the end of the quiet hours."""
        if self.quiet is None or urgent and self.urgent_in_quiet:
            return now_ms
        local = datetime.fromtimestamp(now_ms / 1000, tz)
        minute, (begin, end) = local.hour * 60 + local.minute, self.quiet
        inside = begin <= minute < end if begin < end else minute >= begin or minute < end
        if not inside:
            return now_ms
        morning = local.replace(hour=end // 60, minute=end % 60, second=0, microsecond=0)
        if morning <= local:
            morning += timedelta(days=1)
        return int(morning.timestamp() * 1000)


def load(data_dir) -> list[Address]:
    """The addresses of the file; none where there is no file. Raises SettingsError, FileTrouble."""
    path = Path(data_dir) / FILE
    if not path.exists():
        return []
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise SettingsError(f"{path} can be read by other users, and it holds passwords: chmod 600 {path}")
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib  # pyright: ignore[reportMissingImports]
    try:
        document = tomllib.loads(files.read_text(path))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise SettingsError(f"{path}: {error}") from None
    return read(document, str(path))


def read(document: dict, where: str = FILE) -> list[Address]:
    """The addresses of a document. Raises SettingsError."""
    unknown = document.keys() - {"address"}
    entries = document.get("address", [])
    if unknown or not isinstance(entries, list) or len(entries) > ADDRESSES_MAX:
        raise SettingsError(f"{where} has 1 to {ADDRESSES_MAX} sections [[address]], and nothing else")
    found = [_address(entry, f"{where}, address {number}") for number, entry in enumerate(entries, 1)]
    names = [each.name for each in found]
    if len(set(names)) < len(names):
        raise SettingsError(f"{where}: two addresses have one name")
    return found


def _address(entry, where: str) -> Address:
    known = {"name": str, "url": str, "mqtt": str, "kinds": list, "quiet": str, "urgent_in_quiet": bool}
    if not isinstance(entry, dict) or entry.keys() - known.keys():
        raise SettingsError(f"{where}: the keys are {', '.join(known)}")
    for key, value in entry.items():
        if not isinstance(value, known[key]):
            raise SettingsError(f"{where}: {key} has the wrong type")
    name, url, mqtt = entry.get("name", ""), entry.get("url"), entry.get("mqtt")
    if not name.strip() or len(name) > NAME_LENGTH_MAX or not name.isprintable():
        raise SettingsError(f"{where}: name is 1 to {NAME_LENGTH_MAX} printable characters")
    if (url is None) == (mqtt is None):
        raise SettingsError(f"{where}: name either url or mqtt")
    if url is not None and "://" not in url:
        raise SettingsError(f"{where}: url begins with a scheme, such as mailtos:// or json://")
    if mqtt is not None and not _TOPIC.fullmatch(mqtt):
        raise SettingsError(f"{where}: mqtt is a topic without wildcards")
    kinds = entry.get("kinds")
    if kinds is not None and not (kinds and all(kind in KINDS for kind in kinds)):
        raise SettingsError(f"{where}: kinds are some of {', '.join(KINDS)}")
    quiet = _QUIET.fullmatch(entry.get("quiet", "00:00-00:00"))
    if quiet is None:
        raise SettingsError(f"{where}: quiet looks like 22:00-06:00")
    h1, m1, h2, m2 = map(int, quiet.groups())
    hours = (h1 * 60 + m1, h2 * 60 + m2)
    return Address(
        name, url, mqtt, None if kinds is None else frozenset(kinds), hours if hours[0] != hours[1] else None,
        entry.get("urgent_in_quiet", True),
    )  # fmt: skip
