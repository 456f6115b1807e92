"""The hub's log: one line an entry, nothing in it that a terminal obeys, and so many lines of a kind a minute.

Topics, names and texts of gateways, known or not, come into it: control characters are written as escapes. What
repeats is written BURST times a minute, then counted; the count stands in the next line of its kind.
"""

from __future__ import annotations

import contextlib
import json
import logging
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timezone

from host_tools.base.output import plain

BURST = 10
PERIOD_S = 60.0
KINDS_MAX = 1024
TEXT_MAX = 4000
FORMATS = ("text", "json")
FORM = "%(asctime)s %(levelname)s %(message)s"


class KindLimit(logging.Filter):
    """Passes BURST records of a kind in PERIOD_S. A kind is the place in the program that logs, and its exception."""

    def __init__(self, now_s=time.monotonic):
        super().__init__()
        self._now_s = now_s
        self._lock = threading.Lock()
        self._kinds: dict[tuple, list] = {}  # kind → [begin of the period, passed in it, kept back in it]

    def filter(self, record: logging.LogRecord) -> bool:
        fault = record.exc_info[0] if record.exc_info else None
        kind = record.name, record.levelno, record.pathname, record.lineno, fault
        now = self._now_s()
        with self._lock:
            if kind not in self._kinds and len(self._kinds) >= KINDS_MAX:
                self._kinds.pop(next(iter(self._kinds)))
            seen = self._kinds.setdefault(kind, [now, 0, 0])
            if now - seen[0] >= PERIOD_S:
                seen[0], seen[1] = now, 0
            if seen[1] >= BURST:
                seen[2] += 1
                return False
            seen[1] += 1
            kept_back, seen[2] = seen[2], 0
        record.kept_back = kept_back
        return True


class SafeFormatter(logging.Formatter):
    """One line, with escapes for what is not printable. A traceback keeps its lines, each indented: none of them can be
    taken for an entry."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        kept_back = getattr(record, "kept_back", 0)
        more = f" ({kept_back} more of this kind were not written)" if kept_back else ""
        record.message = plain(record.message[:TEXT_MAX]) + more
        return super().formatMessage(record)

    def formatException(self, ei) -> str:
        return "\n".join(f"  {plain(line)}" for line in super().formatException(ei).split("\n"))


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (UTC), level, logger, message; kept_back and exception where there are any."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds")
        entry: dict = {"time": moment, "level": record.levelname, "logger": record.name}
        entry["message"] = plain(record.getMessage()[:TEXT_MAX])
        if kept_back := getattr(record, "kept_back", 0):
            entry["kept_back"] = kept_back
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry)  # ASCII: nothing in it that a terminal obeys


@contextlib.contextmanager
def prepared(level: int, form: str = "text") -> Iterator[None]:
    """Have everything in this process log so, to standard error, and as before afterwards: a program that runs a hub
    as one of its parts keeps its own log. `form` is one of FORMATS."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if form == "json" else SafeFormatter(FORM))
    handler.addFilter(KindLimit())
    root = logging.getLogger()
    before = root.handlers[:], root.level
    root.handlers[:] = [handler]
    root.setLevel(level)
    try:
        yield
    finally:
        root.handlers[:] = before[0]
        root.setLevel(before[1])
