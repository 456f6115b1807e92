"""Waiting for the right moment: pauses of the buses, and long work in short steps."""

import asyncio

WAIT_MS_MAX = 1000  # the monotonic clock wants to be asked now and then
QUIET_MS = 500  # a file system may take about so long to keep a batch
QUIET_LOOK_MS = 50
QUIET_WAIT_MS = 2500  # then it is done whether a bus is quiet or not


def quiet_ms(samplers, flash: bool = True) -> int:
    """How long all buses will be idle from now on; `flash` as in Sampler.quiet_ms."""
    return min([sampler.quiet_ms(flash) for sampler in samplers] or [WAIT_MS_MAX])


async def until_quiet(samplers, wanted_ms: int = QUIET_MS, look_ms: int = QUIET_LOOK_MS, flash: bool = True):
    """Wait for a pause of all buses that lasts so long (usual: to write flash in it); give up after a while."""
    for _ in range(QUIET_WAIT_MS // look_ms):
        if quiet_ms(samplers, flash) >= wanted_ms:
            return
        await asyncio.sleep_ms(look_ms)


def flush_is_due(now_ms: int, due_ms: int, interval_ms: int, pause_ms: int, look_ms: int) -> bool:
    """Whether to make readings durable now that must be so at `due_ms`, `interval_ms` after the last time: in a pause
    of the buses that is long enough, if it comes in the last eighth; and in any case while there is still a look to
    spare (they come every `look_ms`), for the loss bound is a promise."""
    ahead_ms = interval_ms // 8 if pause_ms >= QUIET_MS else 0
    return now_ms + max(2 * look_ms, ahead_ms) > due_ms


async def in_steps(steps):
    """Drive a generator of short steps, letting the other tasks run between them; its return value."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value
        await asyncio.sleep_ms(0)
