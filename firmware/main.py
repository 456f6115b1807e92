"""The start: this board's parts, the gateway made of them, run. Where that fails, safe mode (gateway/safe.py) runs.
MicroPython's prompt opens on purpose only."""

try:
    from micropython import kbd_intr

    kbd_intr(-1)  # from here on Ctrl-C is a byte like any other, for the console
    for _ in range(2):  # one that came in the instants before shows itself at this jump
        pass
except KeyboardInterrupt:
    pass

import asyncio
import gc
import os
import sys


def run():
    # What is loaded stays between what was only needed to load it: without many collections now, the heap is full of
    # holes.
    gc.threshold(16384)

    from board import this_board

    board = this_board()  # first: it keeps a place in the heap that must lie near its beginning

    from start import Start

    gc.threshold(32768)  # profiles and keys are made in far more than they leave: collecting each 16 kB takes seconds
    start = Start(board)
    gc.collect()
    gc.threshold(16384)

    # The deepest imports come first: imports nest, each takes of a stack of 8 kB on an RP2040, and what fails for want
    # of it looks like a module that is not there.
    import parkgate.journal.space  # noqa: I001
    import parkgate.journal.journal  # noqa: F401
    from app import App

    gc.collect()
    gc.threshold(32768)
    app = App(board, start)
    start = None
    pack = sys.modules.get("pack")  # where the firmware lies in one file
    if pack:
        pack.mounted.rest()
    gc.collect()
    gc.threshold(gc.mem_free() // 4)  # the same later: what lives long must not spread over all of the heap
    asyncio.run(app.main())


def prompt_wanted() -> bool:
    """Whether the console asked for MicroPython's prompt: true for one start."""
    try:
        os.remove("/data/repl")
        return True
    except OSError:
        return False


simulated = sys.platform in ("linux", "darwin")
if simulated or not prompt_wanted():
    try:
        run()
    except BaseException as e:
        if simulated and isinstance(e, (SystemExit, KeyboardInterrupt)):
            raise  # the parent process sees how it ends
        try:
            try:
                from gateway.safe import stay

                stay(e)
            except Exception as another:
                sys.print_exception(another)
            if not simulated:
                from hal.device.prompt import fallen

                fallen(e)
        finally:
            if simulated:
                sys.exit(75)

            import machine

            machine.reset()  # pyright: ignore[reportAttributeAccessIssue]
