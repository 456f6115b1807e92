"""The pure console under streams of anything: no exception, no stuck session, no secret, no more memory than a line."""

import os
import random

import pytest

from parkgate.console.line import COMMANDS, LINE_BYTES_MAX, Console, Refused, Request, find, frame
from parkgate.settings import edit
from parkgate.settings.schema import TABLE

SIZE = int(os.environ.get("PARKGATE_FUZZ_SIZE", "0"))
STREAMS = 100_000 * SIZE or 1_500
CANARY = b"Zq9canary7"
SECRETS = [f"{section}.{f[0]}" for section, fields in TABLE.items() for f in fields if f[1] == "secret"]
WORDS = [word.encode() for entry in COMMANDS for word in entry[0].split()]
PIECES = (
    b"\r", b"\n", b"\r\n", b"\t", b"\x03", b"\x15", b"\x04", b"\x01", b"\x02", b"\x05", b"\0", b"\x1b[A", b"\x1b",
    b"\x1b[", b"\x1bO", b"\x7f", b"\x08", b"\xff\xfe", b"\xc3\x28", b"\xe2\x82", b"\xf0\x9f\x98\x80", b"\xc3\xbc",
    b"@", b"@1 ", b" *", b"@1 status *00000000\r", b"@999999 ", b"x" * 511, b"x" * 513, b"*", b'""', b"=", b".", b",",
)  # fmt: skip


def _candidates(name, index):
    return ("broker.host", "broker.port", "gateway.name") if name.startswith("settings ") and index == 0 else ()


def _stream(draw):
    """(bytes, whether they hold a secret where one belongs or by mistake)."""
    kind = draw.random()
    if kind < 0.02:
        return bytes(draw.choice((32, 64, 120, 255))) * 1 + draw.randbytes(1) * 10_240 + b"\r", False
    if kind < 0.10:
        wanted = b"settings set %s %s" % (draw.choice(SECRETS).encode(), CANARY)
        start = draw.choice((b"", b"set ", b"@5 ", b"xx ", b"\t"))
        return start + wanted + draw.choice((b"\r", b"\t\t\r", b"\x7f\r", b" z\r", b"\x03", b"")), True
    if kind < 0.14:
        words = (b"unlock ", b"code ", b"unlock\t", b"identity new ", b"settings append network.password 0 ")
        return draw.choice(words) + CANARY + draw.choice((b"\r", b"\t\r", b"\x7f\r")), True
    if kind < 0.2:
        line = draw.choice(("status", "settings set gateway.name ü", ""))
        data = bytearray(frame(draw.randrange(1, 1_000_000), "", line))
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8) if draw.random() < 0.5 else 0
        return bytes(data), False
    if kind < 0.35:
        words = draw.choice(COMMANDS)
        return b"\x15%s%s\r" % (words[0].encode(), b" 7" * len(words[1].split())), False
    parts = []
    for _ in range(draw.randrange(1, 14)):
        choice = draw.random()
        if choice < 0.5:
            parts.append(draw.choice(PIECES))
        elif choice < 0.8:
            parts.append(draw.choice(WORDS)[: draw.randrange(1, 9)] + draw.choice((b" ", b"  ", b"", b"\t")))
        else:
            parts.append(draw.randbytes(draw.randrange(1, 6)))
    return b"".join(parts), False


def _takes_arguments(line):
    """Whether what is typed behind this line is the argument of a command, which may be shown."""
    try:
        return bool(find(line.decode(errors="replace").split())[0][1])
    except Refused:
        return False


@pytest.mark.fuzz
def test_no_stream_sticks_shows_a_secret_or_grows():
    draw = random.Random(8)
    console = Console(edit.is_public, _candidates)
    fed = requests = 0
    for _ in range(STREAMS):
        stream, secret = _stream(draw)
        if draw.random() < 0.3 or secret and _takes_arguments(bytes(console._line)):
            stream = b"\x15" + stream  # on a line of its own
        fed += len(stream)
        at = 0
        said = bytearray()
        before = bytes(console._line)
        while at < len(stream):
            size = len(stream) if draw.random() < 0.7 else draw.randrange(1, 30)
            for item in console.feed(stream[at : at + size]):
                if isinstance(item, Request):
                    requests += 1
                    said += console.line(item, "an answer\x1b[2J") + console.end(item, draw.choice((None, "no")))
                else:
                    assert type(item) is bytes
                    said += item
            at += size
        assert len(console._line) <= LINE_BYTES_MAX
        assert CANARY[:-1] not in said, (before, stream, bytes(said))
        assert len(said) <= 200 * len(stream) + 4096, "an answer is no flood"
        assert not secret or not console._line or console.feed(b"\x03")
        if draw.random() < 0.2:  # not stuck: the next command is understood
            console.feed(b"\x1b[A\r\x03")
            found = [item for item in console.feed(b"status\r") if isinstance(item, Request)]
            assert [item.name for item in found] == ["status"]
            console.feed(frame(7, "", "time"))
            assert console.resting
    print(f"{STREAMS} streams, {fed} bytes, {requests} commands understood")
    assert requests > STREAMS // 20
