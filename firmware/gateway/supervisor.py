"""Tasks that are kept alive, and looked after: the loop turns is no proof that its tasks do.

A task that raises is begun anew, whatever it raised. A task that makes no progress within its own bound is cancelled
and begun anew; if that happens again within an hour, the board is restarted. Both are events in the chain before they
happen (SPEC 5.4). The caller feeds the watchdog only while `look` says that all is well.
"""

import asyncio
import gc
import io
import sys

from parkgate.errors import ParkgateError
from parkgate.events import CRASH, TASK_STALLED

AGAIN_MS = 1000
SECOND_MS = 3600000  # a second stall of one task within this time restarts the board
BEGUN_ANEW, RESTARTED = 0, 1
RECORD_MS = 600000  # between faults of the program that are kept in the journal
CRASH_CHARACTERS = 600  # of each, its end


class Supervisor:
    """`note(event)` makes an event durable, `restart()` restarts the board."""

    def __init__(self, note, restart, mono_ms, log):
        self._note = note
        self._restart = restart
        self._mono_ms = mono_ms
        self._log = log
        self._watched = []  # [name, owner, bound in ms, task, when it stalled last]
        self._record_due_ms = 0
        self._ends = False  # the board is to restart: no food for the watchdog from now on
        self.crashes = 0
        self.stalls = 0

    def start(self, name: str, run, owner=None, bound_ms: int = 0):
        """Keep `run()` running. `owner.turned_ms` is the time of its last progress, by mono_ms."""
        task = asyncio.create_task(self.keep(name, run))
        if owner:
            owner.turned_ms = self._mono_ms()
            self._watched.append([name, owner, bound_ms, task, None])
        return task

    async def keep(self, name, run):
        """Run a task without an end. What it raises is logged and counted, and the task starts again."""
        while True:
            try:
                await run()
            except (asyncio.CancelledError, Exception) as e:  # one that is cancelled too: no task may end
                try:
                    self._say(name, e)
                except Exception:  # no memory to say it in, or a journal that fails
                    gc.collect()
            try:
                await asyncio.sleep_ms(AGAIN_MS)
            except asyncio.CancelledError:
                pass

    def _say(self, name, error):
        if isinstance(error, ParkgateError):
            self._log.error(name, str(error))
            return
        if isinstance(error, MemoryError):
            gc.collect()
        self.crashes += 1
        text = io.StringIO()
        sys.print_exception(error, text)
        text = text.getvalue()
        self._log.error(name, text)
        now_ms = self._mono_ms()
        if now_ms >= self._record_due_ms:
            self._record_due_ms = now_ms + RECORD_MS
            self._note([CRASH, name, text[-CRASH_CHARACTERS:], now_ms])

    def give_up(self, name, silent_ms):
        """Nothing but a restart is left to be tried: the next look does it."""
        self._tell(name, RESTARTED, silent_ms)
        self._ends = True

    def _tell(self, name, what, silent_ms):
        self.stalls += 1
        try:
            self._log.error(name, "no progress for %d s" % (silent_ms // 1000))
            self._note([TASK_STALLED, name, what, silent_ms])
        except Exception:  # the journal may be what hangs; the count is kept
            pass

    def look(self) -> bool:
        """Whether every task has made progress within its bound. Of those that have not, the first is begun anew; on
        its second time the board restarts. No fault of others comes out of it: it decides on the watchdog's food."""
        now_ms = self._mono_ms()
        for row in self._watched:
            name, owner, bound_ms, task, before_ms = row
            silent_ms = now_ms - owner.turned_ms
            if silent_ms <= bound_ms:
                continue
            what = BEGUN_ANEW if before_ms is None or now_ms - before_ms > SECOND_MS else RESTARTED
            owner.turned_ms = row[4] = now_ms
            self._tell(name, what, silent_ms)
            if what == RESTARTED:
                self._ends = True
            else:
                task.cancel()
            break
        if self._ends:
            try:
                self._restart()
            except Exception:  # the watchdog does it
                pass
        return not self._ends
