"""The technician's console: bytes in, bytes and requests out; no I/O, no clock (SPEC 12).

    console = Console(is_public, candidates)
    for item in console.feed(data):         bytes are to be written, a Request is to be carried out:
        console.line(request, text)         → bytes of one line of its reply
        console.end(request, error)         → bytes that end it; `error` is text, or None when all went well

By hand: any terminal; what is typed is echoed, Backspace and Ctrl-C (or Ctrl-U) work, Tab completes, and any command
may be shortened as far as it stays the only one. By program: `@SEQ LINE *CRC`, which is never echoed; every line of the
reply is framed in the same way, so a reader can tell it from log lines and sees each lost byte:

    @7 status *90d2c0f1          request: CRC-32 of all before " *", eight hexadecimal digits
    @7 > sampled = 412 *…        a line of the reply
    @7 . 1 *…                    its end, with the number of lines before; or  @7 ! TEXT *…  when it failed

What may be secret is masked in the echo, and no error repeats what was typed: a password in the wrong place is not
shown either.
"""

from binascii import crc32

from parkgate.errors import ParkgateError

LINE_BYTES_MAX = 512
ECHO_BYTES_MAX = 1024  # of what one call of feed echoes: who sends more at once is no person
SEQ_MAX = 999999
_REST = "..."

OPEN, LOCKED = False, True
LOOK, CHANGE, TEST, UPLOAD = 0, 1, 2, 3
WORDS, ARGUMENTS, NEEDS_UNLOCK, WHERE, SHOWN, HELP = 0, 1, 2, 3, 4, 5  # fields of a row of COMMANDS
# (words, arguments, needs unlocking, which of firmware/tasks/console_*.py carries it out, how many arguments are always
# shown in the echo, help)
COMMANDS = (
    ("help", "[COMMAND...]", OPEN, LOOK, 9, "what can be typed here"),
    ("identity", "", OPEN, LOOK, 9, "who this gateway is: id, public key, firmware, board"),
    ("identity new", "HOST_ENTROPY", LOCKED, CHANGE, 0, "make a key from the randomness of board and host; restarts"),
    ("identity next", "HOST_ENTROPY", LOCKED, CHANGE, 0, "the id of the next key; makes that key if there is none"),
    ("identity rotate", "HOST_ENTROPY", LOCKED, CHANGE, 0, "sign with the next key from now on; restarts"),
    ("status", "", OPEN, LOOK, 9, "readings, batches, connection, memory"),
    ("settings show", "[PATH]", LOCKED, CHANGE, 9, "settings with unit and meaning; PATH as broker or broker.port"),
    ("settings help", "[PATH]", OPEN, CHANGE, 9, "what each setting may be"),
    ("settings set", "PATH VALUE...", LOCKED, CHANGE, 1, "stage one setting; nothing changes before commit"),
    ("settings append", "PATH AT VALUE...", LOCKED, CHANGE, 2, "stage more of a long text, after AT characters"),
    ("settings add", "SECTION NAME=VALUE...", LOCKED, CHANGE, 1, "stage a new bus or instrument"),
    ("settings remove", "PATH", LOCKED, CHANGE, 9, "stage the removal of a bus or instrument"),
    ("settings diff", "", LOCKED, CHANGE, 9, "what is staged and differs from what is active"),
    ("settings discard", "", LOCKED, CHANGE, 9, "forget what is staged"),
    ("settings commit", "", LOCKED, CHANGE, 9, "check what is staged as a whole, store it, restart with it on trial"),
    ("settings confirm", "", LOCKED, CHANGE, 9, "keep the settings on trial without waiting for the hub"),
    ("settings revert", "", LOCKED, CHANGE, 9, "go back to the settings before; restarts"),
    ("meters list", "", LOCKED, TEST, 9, "the instruments that are read"),
    ("meters scan", "BUS [FIRST] [LAST]", LOCKED, TEST, 9, "which unit ids answer on a bus"),
    ("meters test", "NAME", LOCKED, TEST, 9, "read one meter now, with what its line has counted"),
    ("meters stats", "NAME", LOCKED, TEST, 9, "what the line of one meter has counted and what was learnt of it"),
    ("meters keep", "NAME SHA256", LOCKED, UPLOAD, 9, "take in the uploaded meter profile as NAME"),
    ("upload", "AT BASE64", LOCKED, UPLOAD, 9, "stage bytes for meters keep or commission sign, from byte AT on"),
    ("commission sign", "SHA256", LOCKED, UPLOAD, 9, "put the uploaded commissioning record into the chain"),
    ("floor show", "", LOCKED, UPLOAD, 9, "the stations, their registers and the lots that are open"),
    ("floor enter", "STATION KIND BODY", LOCKED, UPLOAD, 9, "enter lot, count, scrap, in, out or operator"),
    ("floor correct", "NUMBER WHAT [VALUE]", LOCKED, UPLOAD, 9, "correct it: void, quantity N, lot LOT, time UNIX_MS"),
    ("sensor read", "NAME", LOCKED, TEST, 9, "read one instrument now"),
    ("journal status", "", OPEN, LOOK, 9, "chain, space and what is held"),
    ("link test", "", LOCKED, TEST, 9, "network to receipt, step by step, with what to do"),
    ("time", "", OPEN, LOOK, 9, "the clock and how far it can be trusted"),
    ("time set", "UNIX_MS", LOCKED, LOOK, 9, "set the clock"),
    ("log", "", LOCKED, LOOK, 9, "the last things said"),
    ("export list", "", LOCKED, LOOK, 9, "the sealed batches that wait for their receipt"),
    ("export seal", "", LOCKED, LOOK, 9, "seal now what is not sealed yet"),
    ("export batch", "SEQ", LOCKED, LOOK, 9, "one sealed batch in base64"),
    ("export beat", "", LOCKED, LOOK, 9, "a signed heartbeat in base64"),
    ("export receipt", "BASE64", LOCKED, LOOK, 9, "hand over a receipt of the hub"),
    ("code", "CODE", LOCKED, CHANGE, 0, "set the code that unlocks this console"),
    ("code try", "CODE", LOCKED, CHANGE, 0, "try a code: it locks nothing before code keep or its first unlock"),
    ("code keep", "", LOCKED, CHANGE, 9, "have the code on trial lock this console"),
    ("unlock", "CODE", OPEN, CHANGE, 0, "allow everything for ten minutes"),
    ("lock", "", OPEN, CHANGE, 9, "end that"),
    ("repl", "", LOCKED, CHANGE, 9, "restart into MicroPython's prompt, once"),
    ("restart", "", LOCKED, CHANGE, 9, "start again"),
    ("factory reset", "WORD", LOCKED, CHANGE, 9, "erase key, settings, readings: type factory reset ERASE"),
    ("update", "", OPEN, LOOK, 9, "reserved"),
)
_PROMPT = b"> "
_PLAIN, _ESCAPE, _SEQUENCE = 0, 1, 2


class Request:
    """One command to carry out: `name` (its words), `args`, `seq` (None by hand), `needs_unlock`, `where` (LOOK,
    CHANGE, TEST or UPLOAD)."""

    def __init__(self, name: str, args: list, seq, needs_unlock: bool, where: int):
        self.name = name
        self.args = args
        self.seq = seq
        self.needs_unlock = needs_unlock
        self.where = where
        self.lines = 0


class Refused(ParkgateError):
    """A line that is no command: the text says what is allowed and repeats nothing that was typed. `words` are how
    many words of it were understood."""

    def __init__(self, text: str, words: int = 0):
        super().__init__(text)
        self.words = words


def frame(seq: int, kind: str, text: str) -> bytes:
    """One framed line with its end. `kind` is one of > . ! in replies, empty in a request."""
    body = "@%d %s%s" % (seq, kind + " " if kind else "", printable(text))
    return b"%s *%08x\r\n" % (body.encode(), crc32(body.encode()) & 0xFFFFFFFF)


def unframe(line: bytes):
    """(seq, text) of a framed line without its end, None when it is damaged or not one."""
    if len(line) < 13 or line[:1] != b"@" or line[-10:-8] != b" *":
        return None
    body = line[:-10]
    try:
        seq, text = str(body, "utf-8")[1:].split(" ", 1)
        if not seq.isdigit() or len(seq) > 6 or line[-8:] != b"%08x" % (crc32(body) & 0xFFFFFFFF):
            return None
        return int(seq), text
    except ValueError:
        return None


def printable(text: str) -> str:
    """`text` without anything that steers a terminal or ends a line."""
    return "".join([c if " " <= c < "\x7f" or c >= "\xa0" else " " if c == "\t" else "?" for c in text])


def find(words: list):
    """(entry of COMMANDS, number of words it took) that `words` name, each as far as it is the only one. Raises
    Refused, which says what is allowed there."""
    entries = COMMANDS
    depth = 0
    while True:
        here = []  # words that may stand at this depth, in the order of the table
        for entry in entries:
            parts = entry[WORDS].split()
            if len(parts) > depth and parts[depth] not in here:
                here.append(parts[depth])
        whole = [entry for entry in entries if len(entry[WORDS].split()) == depth]
        word = words[depth] if depth < len(words) else None
        fits = [] if word is None else [w for w in here if w == word] or [w for w in here if w.startswith(word)]
        if len(fits) == 1:
            entries = [e for e in entries if e[WORDS].split()[depth : depth + 1] == fits]
            depth += 1
            if len(entries) == 1 and len(entries[0][WORDS].split()) == depth:
                return entries[0], depth
            continue
        if whole and (word is None or not fits):
            return whole[0], depth
        if fits:
            raise Refused("that may be: " + ", ".join(fits), depth)
        raise Refused(("there is: " if depth else "no such command; there are: ") + ", ".join(here), depth)


def parse(line: str):
    """(entry, args) of a line. Raises Refused."""
    words = line.split()
    entry, depth = find(words)
    wanted = entry[ARGUMENTS].split()
    given = words[depth:]
    if wanted and wanted[-1].rstrip("]").endswith(_REST) and len(given) >= len(wanted):
        # The last argument is the rest of the line as it stands, inner spaces and all.
        rest = line
        for _ in range(depth + len(wanted) - 1):
            rest = rest.lstrip()
            rest = rest[len(rest.split(None, 1)[0]) :]
        given = given[: len(wanted) - 1] + [rest.strip()]
    needed = len([w for w in wanted if w[0] != "["])
    if not needed <= len(given) <= len(wanted):
        raise Refused("usage: %s %s" % entry[:NEEDS_UNLOCK] if wanted else "%s takes nothing more" % entry[WORDS])
    return entry, given


def help_lines(prefix: str = ""):
    """Generator: a line for each command whose words begin with `prefix`."""
    for words, arguments, needs_unlock, _, _, text in COMMANDS:
        if words.startswith(prefix):
            usage = words + (" " + arguments if arguments else "")
            yield "%-34s %s%s" % (usage, text, " (unlocked)" if needs_unlock else "")


def complete(line: str, candidates) -> tuple:
    """(what to append, choices) for Tab behind `line`; `candidates(name, index)` gives the words that may stand as
    argument `index` of the command `name`."""
    words = line.split()
    partial = words.pop() if line and not line.endswith(" ") else ""
    options = []
    for entry in COMMANDS:
        parts = entry[WORDS].split()
        if len(parts) <= len(words) or not all(p.startswith(w) for p, w in zip(parts, words)):
            continue
        option = parts[len(words)]
        if option.startswith(partial) and option not in options:
            options.append(option)
    if not options:
        try:
            entry, depth = find(words)
            options = [c for c in candidates(entry[WORDS], len(words) - depth) if c.startswith(partial)]
        except Refused:
            pass
    if not options:
        return "", ()
    common = options[0]
    for option in options:
        while not option.startswith(common):
            common = common[:-1]
    if len(options) == 1:
        return common[len(partial) :] + ("" if common.endswith(".") else " "), ()
    return common[len(partial) :], tuple(options)


def _never(_args, _word):
    return False


def _nothing(_name, _index):
    return ()


def _begins(words, word):
    """Whether `word` (bytes) begins a command word behind `words`, of which all were understood."""
    for entry in COMMANDS:
        parts = entry[WORDS].encode().split()
        behind = parts[len(words) :]
        if behind and behind[0].startswith(word) and all([p.startswith(w.encode()) for p, w in zip(parts, words)]):
            return True
    return False


class Console:
    """One line of input at a time, in memory of a fixed size. `is_public(args, word)` tells whether `word` (bytes),
    begun behind the whole arguments `args` of `settings set`, `append` or `add`, may be shown; `candidates` is for
    `complete`."""

    def __init__(self, is_public=_never, candidates=_nothing):
        self._is_public = is_public
        self._candidates = candidates
        self._line = bytearray()
        self._state = _PLAIN
        self._long = False
        self._after_cr = False
        self._each_byte = False
        self._listed = False  # the choices for Tab stand above the line already
        self._masked = None  # for the line as it is: whether its next bytes are masked; None: not known yet

    @property
    def resting(self) -> bool:
        """Whether no line is half typed: then this object may be dropped and made anew later."""
        return not self._line and self._state == _PLAIN

    def feed(self, data: bytes) -> list:
        """Take in bytes; gives what to write (bytes) and what to do (Request), in order."""
        out = []
        echo = bytearray()
        for byte in data:
            if self._state != _PLAIN and byte >= 32:
                self._escape(byte)
            elif byte in (10, 13):
                if byte == 10 and self._after_cr:
                    self._after_cr = False
                    continue
                self._after_cr = byte == 13
                self._end_line(out, echo)
                echo = bytearray()
            else:
                self._after_cr = False
                self._state = _PLAIN  # a control byte ends an escape sequence that is not complete
                self._take(byte, echo)
                if len(echo) > ECHO_BYTES_MAX:
                    echo = echo[:ECHO_BYTES_MAX]
        if echo:
            out.append(bytes(echo))
        return out

    def _escape(self, byte):
        if self._state == _ESCAPE:
            self._state = _SEQUENCE if byte in (0x5B, 0x4F) else _PLAIN  # [ or O: arrows and function keys
        elif byte >= 0x40:
            self._state = _PLAIN

    def _take(self, byte, echo):
        line = self._line
        listed, self._listed = self._listed, False
        if byte == 0x1B:
            self._state = _ESCAPE
        elif byte in (0x03, 0x15):
            self._reset()
            echo.extend(b"\r\n" + _PROMPT)
        elif byte in (0x08, 0x7F):
            if line and not self._framed():
                end = len(line) - 1
                while end and line[end] & 0xC0 == 0x80:
                    end -= 1  # all bytes of one character
                self._line = line[:end]
                self._masked = None
                echo.extend(b"\b \b")
        elif byte == 9:
            if not self._framed():
                self._listed = self._tab(echo, listed)
        elif byte >= 32:
            if len(line) >= LINE_BYTES_MAX:
                self._long = True
                return
            line.append(byte)
            if not self._framed():
                self._echo(byte, echo)

    def _framed(self):
        return self._line[:1] == b"@"

    def _echo(self, byte, echo):
        if byte == 32:
            self._masked = None  # a word is complete: what comes next may be shown or not
            echo.append(byte)
            return
        if self._masked is None or self._each_byte:
            self._masked = self._hides(bytes(self._line))
        if not self._masked:
            echo.append(byte)
        elif byte & 0xC0 != 0x80:
            echo.append(0x2A)

    def _hides(self, line):
        """Whether the end of `line` must not be shown: all but commands and public arguments."""
        self._each_byte = False
        before, _, word = line.rpartition(b" ")
        words = []
        try:
            words = str(before, "utf-8").split()
            entry, depth = find(words)
        except Refused as e:
            self._each_byte = True
            return e.words < len(words) or not _begins(words, word)  # no command, or none any more
        except ValueError:
            return True
        typed = words[depth:]
        if not entry[ARGUMENTS] and not typed:
            self._each_byte = True
            return not _begins(words, word)
        if entry[WORDS] == "help":
            self._each_byte = True
            return not _begins(typed, word)
        if len(typed) >= len(entry[ARGUMENTS].split()) and _REST not in entry[ARGUMENTS]:
            return True  # more than it takes: typed for something else
        if len(typed) < entry[SHOWN]:
            return False
        if entry[WORDS] not in ("settings set", "settings append", "settings add"):
            return True
        self._each_byte = entry[WORDS] == "settings add"  # NAME=VALUE: what it is shows as it is typed
        return not self._is_public(typed, word)

    def _shown(self):
        """The line as it may be shown again."""
        shown = bytearray()
        line, self._line, self._masked = self._line, bytearray(), None
        for byte in line:
            self._line.append(byte)
            self._echo(byte, shown)
        return shown

    def _tab(self, echo, listed):
        """Complete the line, or show what may come, once. Gives whether the choices have been shown."""
        try:
            text, choices = complete(str(bytes(self._line), "utf-8"), self._candidates)
        except ValueError:
            return False
        if choices and not text and listed:
            return True
        if choices and not text:
            echo.extend(b"\r\n" + printable("  ".join(choices)).encode() + b"\r\n" + _PROMPT + self._shown())
            return True
        for byte in text.encode():
            if len(self._line) < LINE_BYTES_MAX:
                self._line.append(byte)
                self._echo(byte, echo)
        return False

    def _reset(self):
        self._line = bytearray()
        self._long = False
        self._masked = None

    def _end_line(self, out, echo):
        line, too_long, framed = bytes(self._line), self._long, self._framed()
        self._reset()
        if not framed:
            echo.extend(b"\r\n")
        if echo:
            out.append(bytes(echo))
        seq = None
        try:
            if too_long:
                raise Refused("a line has at most %d bytes" % LINE_BYTES_MAX)
            if framed:
                found = unframe(line)
                if found is None:
                    seq = 0
                    raise Refused("damaged: send it again")
                seq, text = found
            else:
                text = str(line, "utf-8")
            if not text.strip():
                if not framed:
                    out.append(_PROMPT)
                    return
                raise Refused("empty")
            entry, args = parse(text)
            out.append(Request(entry[WORDS], args, seq, entry[NEEDS_UNLOCK], entry[WHERE]))
        except Refused as e:
            out.append(self._error(0 if framed and seq is None else seq, str(e)))
        except ValueError:
            out.append(self._error(seq, "not UTF-8"))

    def _error(self, seq, text):
        if seq is None:
            return ("error: " + printable(text)).encode() + b"\r\n" + _PROMPT
        return frame(seq, "!", text)

    def line(self, request: Request, text: str) -> bytes:
        """One line of a reply."""
        request.lines += 1
        if request.seq is None:
            return printable(text).encode() + b"\r\n"
        return frame(request.seq, ">", text)

    def end(self, request: Request, error=None) -> bytes:
        """The end of a reply."""
        if error is not None:
            return self._error(request.seq, error)
        return _PROMPT if request.seq is None else frame(request.seq, ".", str(request.lines))
