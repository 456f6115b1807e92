"""What a verb prints: text for people, or with `--json` one document for programs; and a standard output that can fail.

    output.add_json(parser)                 the option, the same for every verb that lists or reports
    output.show(args, document, lines)      the document when --json was given, else the lines
    output.say(args, line)                  progress: to standard error under --json, so that the document stays alone
    with output.talk(args): …               all that is printed and asked meanwhile is such progress
    output.secret(line)                     shown and taken by the reader, or OutputTrouble

The document is one JSON object in ASCII, whatever the terminal can write. Its first keys are `verb` and `ok`; those of
each verb are listed in host_tools/JSON.md. After an error it is {"verb", "ok": false, "error": {"kind", "text"},
"exit_code"}, on standard output too, while the sentence is on standard error as always.

A terminal that cannot write a character gets the nearest that it can (`prepare`); text never fails for its letters.
"""

from __future__ import annotations

import codecs
import contextlib
import errno
import fcntl
import json
import os
import select
import stat
import struct
import sys
import termios
import time
from collections.abc import Iterable

from host_tools.base.files import why
from parkgate.errors import ParkgateError

TAKEN_S = 10.0  # how long the reader of a pipe may leave a secret in it
_PLAIN = {
    "…": "...", "—": "-", "–": "-", "−": "-", "×": "x", "→": "->", "←": "<-", "⇒": "=>", "≥": ">=", "≤": "<=",
    "“": '"', "”": '"', "‘": "'", "’": "'", "°": " deg ", "µ": "u", "²": "2", "³": "3", "·": ".", "•": "-",
    "█": "#", "▀": "#", "▄": "#", "━": "-", "─": "-", "│": "|", "╸": "-", "╺": "-", "\xa0": " ",
}  # fmt: skip


class OutputTrouble(ParkgateError):
    """Standard output does not take what is printed."""


def add_json(parser) -> None:
    """The option --json."""
    parser.add_argument("--json", action="store_true", help="print one JSON document for programs (host_tools/JSON.md)")


def wanted(args) -> bool:
    """Whether --json was given. (For `demo` the option names a file.)"""
    return getattr(args, "json", None) is True


def show(args, document: dict, lines: Iterable[str] = ()) -> None:
    """Print `document` under --json, else `lines`. A document that does not say otherwise is `ok`."""
    if wanted(args):
        print(to_json({"verb": verb_of(args), "ok": True, **document}))
        return
    for line in lines:
        print(plain(line))


def plain(text: str) -> str:
    """`text` with escapes for what is not printable: a name that came from elsewhere must not command a terminal."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\t" else c.encode("unicode_escape").decode("ascii") for c in text)


def say(args, line: str) -> None:
    """A line about what goes on, for people."""
    print(line, file=sys.stderr if wanted(args) else sys.stdout, flush=True)


def talk(args) -> contextlib.AbstractContextManager:
    """Meanwhile, what is printed and asked goes to standard error under --json."""
    return contextlib.redirect_stdout(sys.stderr) if wanted(args) else contextlib.nullcontext()


def error_document(verb: str | None, kind: str, text: str, exit_code: int) -> str:
    """What a program gets instead of the document."""
    return to_json({"verb": verb, "ok": False, "error": {"kind": kind, "text": text}, "exit_code": exit_code})


def to_json(document: dict) -> str:
    return json.dumps(document, indent=1)


def verb_of(args) -> str | None:
    """The verb with its own verb, as "settings check"."""
    sub = getattr(args, "action", None) or getattr(args, "meters_verb", None)
    return f"{args.verb} {sub}" if isinstance(sub, str) else args.verb


def prepare() -> None:
    """Have standard output and standard error write what they cannot encode in the nearest plain letters."""
    codecs.register_error("parkgate", _nearest)
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            with contextlib.suppress(OSError, ValueError):
                reconfigure(errors="parkgate")


def _nearest(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    plain = "".join(_PLAIN.get(c) or c.encode("ascii", "backslashreplace").decode() for c in error.object[
        error.start : error.end
    ])  # fmt: skip
    return plain, error.end


def can_write(text: str) -> bool:
    """Whether standard output has all of these characters."""
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "ascii")
        return True
    except (UnicodeEncodeError, LookupError):
        return False


def check() -> None:
    """Before anything is changed: raise OutputTrouble where a secret could not be shown."""
    if sys.stdout is None or sys.stdout.closed:
        raise OutputTrouble("standard output is closed: what must be shown once could not be seen")
    try:
        mode = os.fstat(sys.stdout.fileno())
    except (OSError, ValueError):
        return  # a test's, or another program's own: its write will tell
    if stat.S_ISCHR(mode.st_mode) and mode.st_rdev == os.stat(os.devnull).st_rdev:
        raise OutputTrouble("standard output goes to /dev/null: what must be shown once could not be seen")
    if stat.S_ISFIFO(mode.st_mode) and _reader_gone():
        raise OutputTrouble("the program that reads this output has ended: what must be shown once could not be seen")


def secret(line: str) -> None:
    """Print a line that is shown only once, and return when it is out: on the terminal, in the file and its disk, or
    taken from the pipe. Raises OutputTrouble when it is not."""
    check()
    try:
        print(line, flush=True)
    except (OSError, ValueError) as error:
        text = why(error) if isinstance(error, OSError) else str(error)
        raise OutputTrouble(f"it could not be shown: {text}") from None
    try:
        descriptor = sys.stdout.fileno()
        mode = os.fstat(descriptor).st_mode
    except (OSError, ValueError):
        return
    if stat.S_ISREG(mode):
        try:
            os.fsync(descriptor)
        except OSError as error:
            raise OutputTrouble(f"it could not be shown: {why(error)}") from None
    elif stat.S_ISFIFO(mode):
        _wait_taken(descriptor)


def _wait_taken(descriptor: int) -> None:
    """Until the pipe is empty. Raises OutputTrouble when its reader ends, or takes nothing."""
    deadline = time.monotonic() + TAKEN_S
    while True:
        try:
            left = struct.unpack("i", fcntl.ioctl(descriptor, termios.FIONREAD, b"\0" * 4))[0]
        except OSError:
            return  # not every system can say
        if left == 0:
            return
        if _reader_gone():
            raise OutputTrouble("it could not be shown: the program that reads this output has ended")
        if time.monotonic() > deadline:
            raise OutputTrouble("it could not be shown: the program that reads this output does not take it")
        time.sleep(0.01)


def _reader_gone() -> bool:
    poll = select.poll()
    poll.register(sys.stdout.fileno(), select.POLLOUT)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def finish() -> None:
    """Bring out what is still in memory. Raises OSError."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and not stream.closed:
            stream.flush()


def give_up() -> None:
    """Standard output failed: have nothing more written there, not even when Python ends."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            _to_nowhere(stream)


def _to_nowhere(stream) -> None:
    try:
        descriptor = stream.fileno()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, descriptor)
        os.close(nowhere)
    except (OSError, ValueError, AttributeError):
        pass  # no file of the system behind it: nothing is written when Python ends


def open_all_three() -> None:
    """Started with a standard stream closed, the next file that is opened would take its number, and what a library
    prints would go into that file: put the null device there."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError as error:
            if error.errno == errno.EBADF:
                with contextlib.suppress(OSError):
                    os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one
