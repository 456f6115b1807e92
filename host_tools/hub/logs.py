"""The hub's log: one line an entry, nothing in it that a terminal obeys, and so many lines of a kind a minute.

Topics, names and texts of gateways, known or not, come into it: control characters are written as escapes. What
repeats is written BURST times a minute, then counted; the count stands in the next line of its kind.
"""

from __future__ import annotations

import logging
import threading
import time

from host_tools.base.output import plain

BURST = 10
PERIOD_S = 60.0
KINDS_MAX = 1024
TEXT_MAX = 4000
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


def prepare(level: int) -> None:
    """Have everything in this process log so, to standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(SafeFormatter(FORM))
    handler.addFilter(KindLimit())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
