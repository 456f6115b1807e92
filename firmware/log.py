"""The one place that prints: short lines to the console, each repeated line held back and counted.

A fault that comes back every second must not drown the line that explains it, so a text seen within `HOLD_MS` is only
counted, and said with its count when it may be said again.
"""

HOLD_MS = 10000
_REMEMBERED = 16


class Log:
    """`write_line` takes text without a line end; `mono_ms` is asked for the time."""

    def __init__(self, write_line, mono_ms):
        self._write_line = write_line
        self._mono_ms = mono_ms
        self._seen = {}  # text → [last said, times held back]
        self.errors = 0

    def info(self, room: str, text: str):
        self._say("info", room, text)

    def error(self, room: str, text: str):
        """Something failed; it is counted even when it is held back."""
        self.errors += 1
        self._say("error", room, text)

    def recent(self) -> list:
        """The last things said, oldest first, for the console."""
        return sorted(["%10d ms %s" % (seen[0], key) for key, seen in self._seen.items()])

    def raw(self, text: str):
        """A line for programs, never held back."""
        self._write_line(text)

    def _say(self, level, room, text):
        now = self._mono_ms()
        key = room + ": " + text
        seen = self._seen.get(key)
        if seen and now - seen[0] < HOLD_MS:
            seen[1] += 1
            return
        if seen is None and len(self._seen) >= _REMEMBERED:
            del self._seen[min(self._seen, key=lambda k: self._seen[k][0])]
        again = " (%d times more)" % seen[1] if seen and seen[1] else ""
        self._seen[key] = [now, 0]
        self._write_line("%s %s: %s%s" % (level, room, text, again))
