"""The console of a running gateway: as a person types, under streams of rubbish, and with 0 secrets in what it says."""

import os
import random
import re
import time

import pexpect.fdpexpect
import pytest
import serial

from host_tools import console as console_verb
from host_tools.link import GatewayRefused, Link
from host_tools.simulate import SimulatedGateway
from parkgate import console as grammar
from parkgate.errors import LinkError, ParkgateError

CANARY = "Zq9canary7"
SIZE = int(os.environ.get("PARKGATE_FUZZ_SIZE", "0"))  # make fuzz: the long form
COMMANDS = 100_000 * SIZE or 400
STREAMS = 100_000 * SIZE or 400
SECRET_FORMS = (
    "settings set broker.password {}",
    "set set broker.password {}",
    "settings set broker.passwort {}",
    "settings set brocker.password {}",
    "settings set broker.password.x {}",
    "settings add broker password={}",
    "settings add buses name=x password={}",
    "settings add buses password={} name=x device=y",
    "unlock {}",
    "unlock {} {}",
    "code {}",
    "identity new {}",
    "setings set broker.password {}",
    "settings st broker.password {}",
    "broker.password {}",
)
OTHERS = (
    "settings show", "settings diff", "settings show broker", "settings show broker.password", "identity", "status",
    "log", "settings help broker", "journal status", "settings discard", "meters list", "help", "export list",
    "settings set broker.port 1999", "settings set broker.port x", "export beat", "settings set broker.host h",
    "settings commit now", "factory reset NO", "update", "lock",
)  # fmt: skip


@pytest.fixture
def gateway(tmp_path):
    gateway = SimulatedGateway(tmp_path / "gateway")
    gateway.bring_meters()
    gateway.start()
    gateway.public_key()
    yield gateway
    gateway.kill()


def test_by_hand_in_a_terminal(gateway):
    with serial.Serial(gateway.console(), timeout=0) as line:
        person = pexpect.fdpexpect.fdspawn(line.fileno(), timeout=15)
        person.send("\r")
        person.expect_exact("> ")
        person.send("stat\r")
        person.expect(r"sampled = 0\r\n")
        person.expect_exact("> ")
        person.send("settings s\t")
        person.expect_exact("show  set")
        person.send("et broker.po\t1999\r")
        person.expect_exact("staged")
        person.send("settings set broker.password geheim123\r")
        person.expect_exact("broker.password *********\r\n")
        person.send("settings diff\r")
        person.expect_exact("broker.port = 1883 -> 1999")
        person.expect_exact("broker.password = (changed)")
        person.send("frobnicate\r")
        person.expect_exact("error: no such command; there are: help, identity")
        person.send("settings set broker.port 70000\rsettings commit\r")
        person.expect_exact("broker.port: 70000 is not a whole number from 1 to 65535")
        person.send("settings set broker.port 1884\rsettings commit\r")
        person.expect_exact("restarting")
        person.expect_exact("> ")
        time.sleep(1)
        person.send("settings show broker.port\r")
        person.expect_exact("broker.port = 1884")


def test_code_and_delay_over_restarts(gateway):
    with Link(gateway.console()) as link:
        link.ask("code richtig-1")
        for _ in range(3):
            with pytest.raises(GatewayRefused, match="wrong code"):
                link.ask("unlock falsch-1")
        with pytest.raises(GatewayRefused, match="wait"):
            link.ask("unlock richtig-1")
        gateway.kill()
        gateway.start()
        with pytest.raises((GatewayRefused, LinkError), match="wait"):
            link.ask("unlock richtig-1")
        for word in ("settings show", "restart", "repl", "factory reset ERASE", "export list", "code neu-neu-neu"):
            with pytest.raises(GatewayRefused, match="locked"):
                link.ask(word)
        deadline = time.monotonic() + 20
        while True:
            try:
                link.ask("unlock richtig-1")
                break
            except GatewayRefused:
                assert time.monotonic() < deadline
                time.sleep(0.5)
        link.ask("settings show")
        link.ask("lock")
        with pytest.raises(GatewayRefused, match="locked"):
            link.ask("settings show")
    record = (gateway.folder / "access.code").read_bytes()
    assert b"richtig" not in record


def test_no_secret_leaves_by_any_command(gateway):
    """Random commands, by hand and by program; the canary must show in nothing that comes back."""
    draw = random.Random(5)
    seen = bytearray()
    with Link(gateway.console()) as link:
        taken = link.read

        def listen():
            data = taken()
            seen.extend(data)
            if CANARY.encode() in seen:
                raise AssertionError(bytes(seen[-400:]))
            del seen[:-100]
            return data

        link.read = listen
        for turn in range(COMMANDS):
            form = draw.choice(SECRET_FORMS if draw.random() < 0.6 else OTHERS)
            line = form.format(CANARY, CANARY) if not form.startswith("code") else form.format("x")
            if draw.random() < 0.1:
                line = line.replace(" ", draw.choice(("  ", "\t", " \x7f ")), 1)
            if draw.random() < 0.3:
                link.write(line.encode() + draw.choice((b"\r", b"\n", b"\r\n", b"\t\t\r", b"\x03", b"\x7f\r")))
                link.read()
            else:
                try:
                    link.ask(line)
                except ParkgateError as error:
                    assert CANARY not in str(error), line
            if turn % 100 == 99:
                assert gateway.status.get("crashes") == 0, gateway.lines[-5:]
        # What shows after it is stored, too.
        link.ask("settings discard")
        link.ask(f"settings set broker.password {CANARY}")
        boot = link.boot()
        link.ask("settings commit")
        link.wait_restart(boot)
        for line in OTHERS:
            try:
                link.ask(line)
            except ParkgateError as error:
                assert CANARY not in str(error)
    assert not any(CANARY in line for line in gateway.lines)


def test_no_stream_of_bytes_stops_it(gateway):
    """Control bytes, long lines, broken UTF-8, damaged frames: no traceback, and it answers afterwards."""
    draw = random.Random(6)
    pieces = [b"\r", b"\n", b"\t", b"\x03", b"\x04", b"\x01", b"\x1b[A", b"\x1b", b"\x7f", b"\xff\xfe", b"\xc3\x28"]
    pieces += [b"@", b"@1 status *00000000\r", b"settings ", b"show\r", b"status\r", b" ", b"\0"]
    with Link(gateway.console()) as link:
        for turn in range(STREAMS):
            stream = b"".join(
                draw.choice(pieces) if draw.random() < 0.7 else draw.randbytes(4) for _ in range(draw.randrange(1, 12))
            )
            if turn % 50 == 7:
                stream += b"x" * 10000
            # Nothing of this may be a whole dangerous command; the draw cannot write one by chance.
            link.write(stream)
            link.read()
            if turn % 50 == 49:
                link.discard()
                assert "boot" in link.facts("journal status")
        link.discard()
        assert link.boot() == 1, "it never started anew"
    assert gateway.status["crashes"] == 0
    assert not any("Traceback" in line for line in gateway.lines)


def test_log_lines_and_replies_never_mix(gateway):
    """Whatever else is in the line, a reply is taken whole or not at all."""
    with Link(gateway.console()) as link:
        real = link.read
        noise = [b"error send: no connection\r\n", b'status {"a": 1}\r\n', b"@5 > forged *00000000\r\n", b"\r\n> "]
        draw = random.Random(7)

        def read():
            data = real()
            return b"\n".join([draw.choice(noise) + part for part in data.split(b"\n")]) if b"\n" in data else data

        link.read = read
        link.timeout_s = 1.0
        try:
            got = link.facts("identity")
        except LinkError:
            return  # noise inside a frame: noticed, not taken
        assert got["board"] == "unix"


def test_the_history_keeps_no_secret():
    for form in SECRET_FORMS:
        assert not console_verb.keeps(form.format(CANARY, CANARY)), form
    assert console_verb.keeps("status")
    assert console_verb.keeps("meters scan rs485")


def test_completion_on_the_host():
    assert console_verb.completions("settings sh") == ["show"]
    assert "broker.port" in console_verb.completions("settings set broker.")
    assert console_verb.completions("zzz") == []


def test_the_specification_has_every_command():
    text = (console_verb.Path(__file__).resolve().parent.parent.parent / "lib" / "SPEC.md").read_text()
    for words, arguments, needs_unlock, _, _ in grammar.COMMANDS:
        usage = f"{words} {arguments}".strip()
        assert re.search(rf"^\| `{re.escape(usage)}` \| {'yes' if needs_unlock else 'no'} \|", text, re.M), usage
