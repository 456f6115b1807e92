"""MicroPython's prompt on a real board: on purpose only, and never because something went wrong.

`repl` at the console leaves a mark and restarts. The next start takes the mark away and leaves the line to MicroPython:
then no watchdog runs, no radio, and the whole heap is free. The start after that is the gateway's again. (main.py does
that; this module is loaded only when it is needed.)

The prompt says that the program failed; the board waits a minute for somebody who has the code, then starts again.
"""

import os
import sys
import time

import machine

DATA = "/data"
MARK = "repl"
WAIT_MS = 60000
_LOOK_MS = 20
_LINE_MAX = 80


def fallen(error):
    """Say what fell and wait for somebody who may ask for the prompt. Who calls this resets the board then."""
    sys.print_exception(error)
    try:
        _wait()
    except BaseException:
        time.sleep_ms(5000)  # too little memory is left, or there are no files: no code can be checked


def _wait():
    from hal.files import Files
    from parkgate.console.access import Access
    from parkgate.errors import SettingsError
    from parkgate.settings import kept_twice

    os.stat(DATA)  # OSError when the file system is not there: it is not known who may
    files = Files(DATA)
    access = Access(kept_twice.read(files, "access.code"), lambda data: kept_twice.write(files, "access.code", data))
    dog = machine.WDT(timeout=8388)  # may run already, and cannot be stopped
    sys.stdout.write("\nthe gateway stopped; it starts again in a minute. To MicroPython's prompt: repl [CODE]\n")
    start = time.ticks_ms()
    for line in _lines(dog, start):
        if line[:4] != "repl":
            continue
        try:
            if not access.has_code or access.unlock(line[4:].strip(), time.ticks_diff(time.ticks_ms(), start)):
                files.write(MARK, b"")
                return
            sys.stdout.write("wrong code\n")
        except SettingsError as e:
            sys.stdout.write("%s\n" % e)


def _lines(dog, start):
    """Generator: the lines typed until the minute is over."""
    import select

    poll = select.poll()
    poll.register(sys.stdin, select.POLLIN)
    line = bytearray()
    while time.ticks_diff(time.ticks_ms(), start) < WAIT_MS:
        dog.feed()
        while poll.poll(0):
            byte = sys.stdin.buffer.read(1)[0]
            if byte in (10, 13):
                try:
                    yield str(line, "utf-8")
                except ValueError:
                    pass
                line = bytearray()
            elif byte >= 32 and len(line) < _LINE_MAX:
                line.append(byte)
            elif byte < 32:
                line = bytearray()
        time.sleep_ms(_LOOK_MS)
