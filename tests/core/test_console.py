"""The console's lines: found by hand and by program, masked where they may be secret, never stuck, never a surprise."""

from binascii import crc32

from check import equal, raises, true
from parkgate.console.line import (
    COMMANDS,
    LINE_BYTES_MAX,
    Console,
    Refused,
    Request,
    complete,
    find,
    frame,
    help_lines,
    parse,
    unframe,
)
from parkgate.settings import edit

# Secrets stand behind these; "~" is where the canary goes.
SECRET_LINES = (
    "settings set broker.password ~",
    "set set broker.password ~",
    "settings set broker.pasword ~",
    "settings set brocker.password   x ~ y",
    "settings add broker password=~",
    "settings add buses password=~ name=x",
    "settings add buses name=x ~",
    "unlock ~",
    "unlock ~ ~",
    "unl   ~",
    "code ~",
    "code ~ ~",
    "cod  ~ ~",
    "identity new ~",
    "passwd for ~",
    "there is ~",
    "broker.password~",
    "~",
    "settings ~",
    "time ~",
    "identity ~",
)
CANARY = "Zq9canary7"


def split(items):
    """(all bytes written, all requests) of what feed gives."""
    return b"".join([i for i in items if not isinstance(i, Request)]), [i for i in items if isinstance(i, Request)]


def typed(text, console=None):
    return split((console or Console()).feed(text.encode() if isinstance(text, str) else text))


def test_commands_may_be_shortened_while_they_are_the_only_one():
    for line, name in (
        ("status", "status"),
        ("stat", "status"),
        ("set sh", "settings show"),
        ("settings show broker.port", "settings show"),
        ("j s", "journal status"),
        ("ident", "identity"),
        ("time", "time"),
        ("time set 5", "time set"),
        ("log", "log"),
        ("h settings", "help"),
    ):
        equal(parse(line)[0][0], name, line)


def test_errors_say_what_is_allowed_and_repeat_nothing():
    for line, says in (
        ("frobnicate", "no such command; there are: help, identity, status"),
        ("l", "that may be: link, log, lock"),
        ("settings", "there is: show, help, set"),
        ("settings frob", "there is: show, help, set"),
        ("settings set", "usage: settings set PATH VALUE..."),
        ("status now", "status takes nothing more"),
        ("meters scan", "usage: meters scan BUS [FIRST] [LAST]"),
        ("export batch", "usage: export batch SEQ"),
    ):
        error = str(raises(Refused, parse, line))
        true(says in error, "%s: %s" % (line, error))
        true("frob" not in error)


def test_the_last_argument_is_the_rest_of_the_line():
    equal(parse("settings set gateway.name  Hall 3,  east ")[1], ["gateway.name", "Hall 3,  east"])
    equal(parse("settings add buses name=a device=b")[1], ["buses", "name=a device=b"])


def test_every_command_is_found_and_explained():
    for entry in COMMANDS:
        equal(find(entry[0].split())[0], entry)
    equal(len(list(help_lines())), len(COMMANDS))
    true(all(line.startswith("settings") for line in help_lines("settings")))


def test_by_hand():
    out, requests = typed("status\r")
    equal(out, b"status\r\n")
    equal((requests[0].name, requests[0].args, requests[0].seq), ("status", [], None))
    out, requests = typed("staX\x7ftus\r\n")
    equal(out, b"sta*\x08 \x08tus\r\n")
    equal(requests[0].name, "status")
    out, requests = typed("rubbish\x03time\n")
    equal((out, requests[0].name), (b"r******\r\n> time\r\n", "time"))
    equal(typed("\r")[0], b"\r\n> ")
    equal(typed("\x1b[A\x1b[3~\x1bOPlog\r")[1][0].name, "log", "keys that are not known are taken out")
    console = Console()
    request = typed("log\r", console)[1][0]
    equal(console.line(request, "a\x1b[2Jb\nc"), b"a?[2Jb?c\r\n")
    equal(console.end(request), b"> ")
    equal(console.end(request, "no"), b"error: no\r\n> ")


def test_backspace_takes_a_whole_character():
    console = Console()
    typed("settings set gateway.name M\u00fc\x7f\x7f\x7fM\u00fchle\r", console)
    _, requests = typed("settings set gateway.name \u00fc\x7fx\r")
    equal(requests[0].args, ["gateway.name", "x"])


def test_tab():
    equal(complete("stat", lambda name, index: ()), ("us ", ()))
    equal(complete("settings s", lambda name, index: ()), ("", ("show", "set")))
    paths = ("broker.host", "broker.port")
    equal(complete("settings set bro", lambda name, index: paths), ("ker.", paths))
    out, _ = typed("ident\t\r")
    equal(out, b"identity \r\n")
    out, _ = typed("settings s\t")
    true(b"show  set\r\n> settings s" in out, out)


def test_by_program():
    sent = frame(7, "", "status")
    equal(sent, b"@7 status *%08x\r\n" % crc32(b"@7 status"))
    console = Console()
    out, requests = typed(sent, console)
    equal(out, b"", "no echo")
    equal((requests[0].name, requests[0].seq), ("status", 7))
    request = requests[0]
    equal(unframe(console.line(request, "a = 1").strip()), (7, "> a = 1"))
    equal(unframe(console.end(request).strip()), (7, ". 1"))
    equal(unframe(console.end(request, "why").strip()), (7, "! why"))
    out, requests = typed(frame(8, "", "frob"), console)
    true(unframe(out.strip())[1].startswith("! no such command"), out)


def test_damaged_frames_are_refused_and_run_nothing():
    sent = frame(7, "", "settings set gateway.name a")
    for at in range(1, len(sent) - 2):
        damaged = bytearray(sent)
        damaged[at] ^= 1
        _, requests = typed(bytes(damaged))
        equal(requests, [], at)
        equal(typed(sent[:at] + sent[at + 1 :])[1], [], at)


def test_log_lines_are_no_frames():
    for line in (b"status {}", b"info send: connected", b"@", b"@7 x", b"@ *00000000", b"@x y *12345678", b""):
        equal(unframe(line), None)


def test_long_lines_are_refused_whole():
    console = Console()
    out, requests = typed(b"x" * 10240 + b"\r", console)
    true(b"at most %d bytes" % LINE_BYTES_MAX in out)
    equal(requests, [])
    equal(typed("time\r", console)[1][0].name, "time")
    out, requests = typed(b"@1 " + b"status" * 1000 + b"\r\n", console)
    equal(requests, [])
    true(b"at most" in out and len(out) < 100, out)


def test_secrets_are_masked_while_they_are_typed():
    for line in SECRET_LINES:
        for end in ("\r", "\t\r", "\t\t", "\x7f\r", "x\x03"):
            out, _ = typed(line.replace("~", CANARY) + end, Console(edit.is_public))
            if CANARY[:-1].encode() in out:
                raise AssertionError("%s%r shows it: %r" % (line, end, out))
    out, _ = typed("settings set broker.password a b\r", Console(edit.is_public))
    equal(out, b"settings set broker.password * *\r\n")
    out, _ = typed("settings set broker.host hub.local\r", Console(edit.is_public))
    equal(out, b"settings set broker.host hub.local\r\n", "what is no secret is shown")
    out, _ = typed("settings add buses name=a\r", Console(edit.is_public))
    equal(out, b"settings add buses name=a\r\n")


def draw(state):
    """A small generator that gives the same numbers everywhere (numerical recipes' constants)."""
    return (state * 1664525 + 1013904223) & 0xFFFFFFFF


def test_no_byte_stream_sticks_or_surprises():
    state = 1
    console = Console(edit.is_public)
    for turn in range(300):
        data = bytearray()
        for _ in range(1 + turn % 40):
            state = draw(state)
            choice = state >> 24
            if choice < 40:
                data.extend(b"set status @1 *".split()[choice % 4] + b" ")
            elif choice < 60:
                data.extend(b"\r\n\t\x03\x1b[\x08\x7f@ "[choice % 9 : choice % 9 + 1])
            else:
                data.append(state >> 16 & 255)
        console.feed(bytes(data))
        state = draw(state)
    console.feed(b"\x1b[A\r\x03")
    equal(typed("status\r", console)[1][0].name, "status", "and it still works")


def test_settings_by_path():
    from parkgate.settings.schema import validate

    settings = validate({"buses": [{"name": "rs485", "device": "d"}]})
    edit.put(settings, "broker.port", "1884")
    edit.put(settings, "broker.password", "canary")
    edit.add(settings, "instruments", "name=a.b profile=pzem-004t bus=rs485 unit_id=3")
    edit.put(settings, "instruments.a.b.channels", "voltage, current")
    settings = validate(settings)
    shown = dict([(path, edit.shown(field, value)) for path, field, value in edit.entries(settings)])
    equal(shown["broker.port"], "1884")
    equal(shown["broker.password"], "(set)")
    equal(shown["instruments.a.b.channels"], "voltage,current")
    before = validate({"buses": [{"name": "rs485", "device": "d"}]})
    lines = list(edit.differences(before, settings))
    true("broker.port = 1883 -> 1884" in lines and "broker.password = (changed)" in lines, lines)
    true("+ instruments.a.b.unit_id = 3" in lines and "canary" not in str(lines), lines)
    edit.remove(settings, "instruments.a.b")
    equal(settings["instruments"], [])
    for wrong in (("x.y", "1"), ("broker.x", "1"), ("broker", "1"), ("broker.port", "x"), ("buses.none.baud", "1")):
        raises(edit.SettingsError, edit.put, settings, *wrong)
    true(len(list(edit.help_entries())) > 20)
    equal(len(list(edit.help_entries("broker.port"))), 1)
