"""The technician's console on the board's serial line. What it needs is loaded when somebody types, and dropped when
nobody does: a gateway on the wall pays only for this file.
"""

import asyncio
import gc

from gateway.loaded import drop
from parkgate.errors import LinkError, ParkgateError

_IDLE_MS = 30000
_PIECE_BYTES = 32
_HUSH_MS = 30000
_REQUEST_MS_MAX = 120000
_WRITE_MS_MAX = 3000
_BY_COMMAND = ("parkgate.settings.schema", "parkgate.settings.edit", "parkgate.settings.slots")
_BY_COMMAND += ("parkgate.settings.sensors", "parkgate.meters.profile.staging", "parkgate.meters.profile.lines")
_BY_COMMAND += ("parkgate.settings.stations",)
_BY_COMMAND += ("parkgate.meters.profiles", "parkgate.meters.identify", "parkgate.meters.profile.rows")
_BY_COMMAND += ("parkgate.meters.profile.compiling", "parkgate.meters.profile.sunspec")
_BY_COMMAND += ("parkgate.quantities", "tasks.console_look", "tasks.console_change", "tasks.console_test")
_BY_COMMAND += ("tasks.console_dlt645",)
_BY_COMMAND += ("tasks.console_upload",)


class ConsoleTask:
    """`line` has async `read(timeout_ms)` → bytes and `write(data)`; `gateway` is the App whose state is shown;
    `access` decides what is allowed."""

    def __init__(self, line, gateway, access):
        self._line = line
        self._gateway = gateway
        self._access = access
        self._console = None
        self.turned_ms = 0

    def is_open(self) -> bool:
        """Whether somebody has typed within the last half minute, or types."""
        return self._console is not None

    async def run(self):
        """Serve the line without an end."""
        while True:
            self.turned_ms = self._gateway.mono_ms()
            try:
                data = await self._line.read(_IDLE_MS)
            except LinkError:
                await asyncio.sleep_ms(_WRITE_MS_MAX)
                continue
            if data:
                await self._take(data)
            elif self._console is not None and self._console.resting:
                self._console = None
                drop(("parkgate.console.line",))

    async def _take(self, data):
        if self._console is None:
            from parkgate.console.line import Console

            self._console = Console(_is_public, _candidates)
        console = self._console
        deaf = False  # nobody reads the answers: do not wait to echo the rest
        for at in range(0, len(data), _PIECE_BYTES):  # each line may be answered: not all answers at once in memory
            for item in console.feed(data[at : at + _PIECE_BYTES]):
                try:
                    by_hand = not console.resting if isinstance(item, bytes) else item.seq is None
                    if by_hand:
                        self._gateway.board.hush(_HUSH_MS)  # no log between what somebody types and reads
                    if not isinstance(item, bytes):
                        await self._carry_out(console, item)
                    elif not deaf:
                        await self._write(item)
                except LinkError:
                    deaf = True

    async def _write(self, data):
        try:
            await asyncio.wait_for_ms(self._line.write(data), _WRITE_MS_MAX)
        except asyncio.TimeoutError:
            raise LinkError("the console takes nothing") from None

    async def _carry_out(self, console, request):
        async def say(text):
            await self._write(console.line(request, text))

        error = None
        after = None
        gateway = self._gateway
        self.turned_ms = gateway.mono_ms()
        try:
            if request.needs_unlock and not self._access.open(gateway.mono_ms()):
                error = "locked: unlock CODE first"
            else:
                after = await asyncio.wait_for_ms(self._handler(request)(request, say), _REQUEST_MS_MAX)
        except asyncio.TimeoutError:
            error = "not done within %d s" % (_REQUEST_MS_MAX // 1000)
        except LinkError as e:
            error = str(e)
        except ParkgateError as e:
            error = str(e)
        except MemoryError:
            error = "out of memory just now: try again"
        except Exception as e:  # its text could hold what was typed
            gateway.supervisor.crashes += 1
            error = "a fault of the firmware: " + type(e).__name__
        if error is not None:
            gc.collect()
        drop(_BY_COMMAND)
        await self._write(console.end(request, error))
        if after is not None:
            await asyncio.sleep_ms(200)  # let the answer leave
            after()

    def _handler(self, request):
        from parkgate.console.line import LOOK, TEST, UPLOAD

        if request.where == UPLOAD:
            from tasks.console_upload import Upload

            commands = Upload(self._gateway)
        elif request.where == TEST:
            from tasks.console_test import Tests

            commands = Tests(self._gateway)
        elif request.where == LOOK:
            from tasks.console_look import Look

            commands = Look(self._gateway, self._access)
        else:
            from tasks.console_change import Change

            commands = Change(self._gateway, self._access)
        return getattr(commands, request.name.replace(" ", "_"))


def _is_public(args, word):
    from parkgate.settings.edit import is_public

    return is_public(args, word)


def _candidates(name, index):
    if name in ("settings set", "settings append", "settings show", "settings help") and index == 0:
        from parkgate.settings import NAME
        from parkgate.settings.schema import TABLE

        return [section + "." + field[NAME] for section in sorted(TABLE) for field in TABLE[section]]
    return ()
