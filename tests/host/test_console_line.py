"""The console of a running gateway: as a person types, under streams of rubbish, and with 0 secrets in what it says."""

import os
import random
import re
import time
from pathlib import Path

import pexpect.fdpexpect
import pytest
import serial

from host_tools.gateway import console as console_verb
from host_tools.gateway import pull
from host_tools.gateway import settings as settings_verb
from host_tools.gateway.link import GatewayRefused, Link
from host_tools.sim.simulate import SimulatedGateway
from parkgate.console import line as grammar
from parkgate.errors import LinkError, ParkgateError
from parkgate.settings.schema import LISTS, TABLE

CANARY = "Zq9canary7"  # every secret of the settings
CODE = "Zq9code-7x"  # the console's code
SIZE = int(os.environ.get("PARKGATE_FUZZ_SIZE", "0"))  # make fuzz: the long form
COMMANDS = 100_000 * SIZE or 400
STREAMS = 100_000 * SIZE or 400
SECRET_PATHS = [
    f"{section}.spare.{f[0]}" if section in LISTS else f"{section}.{f[0]}"
    for section, fields in TABLE.items() for f in fields if f[1] == "secret"
]  # fmt: skip
SECRET_FORMS = (
    *[f"settings set {path} {{}}" for path in SECRET_PATHS],
    *[f"settings append {path} 0 {{}}" for path in SECRET_PATHS],
    *[f"set set {path} {{}}" for path in SECRET_PATHS],
    "settings set broker.passwort {}",
    "settings set brocker.password {}",
    "settings set broker.password.x {}",
    "settings append broker.password x {}",
    "settings add broker password={}",
    "settings add buses name=x password={}",
    "settings add buses password={} name=x device=y",
    "settings add networks name=x password={}",
    "settings add networks password={} name=x",
    "code try {}",
    "code {} keep",
    "unlock {}",
    "unlock {} {}",
    "identity new {}",
    "setings set broker.password {}",
    "settings st broker.password {}",
    "broker.password {}",
)
OTHERS = (
    "settings show", "settings diff", "settings show broker", "settings show broker.password", "identity", "status",
    "log", "settings help broker", "journal status", "settings discard", "meters list", "help", "export list",
    "settings set broker.port 1999", "settings set broker.port x", "export beat", "settings set broker.host h",
    "settings commit now", "factory reset NO", "update", "lock", "export seal", "export batch 0",
    "settings show network", "settings help", "sensor read press", "meters test press",
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
        person = pexpect.fdpexpect.fdspawn(line.fileno(), timeout=100)
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
        person.send("settings set broker.port 70000\r")
        person.expect_exact("error: broker.port: not allowed: TCP port of the MQTT broker; 8883 is usual with TLS; 1")
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
        deadline = time.monotonic() + 100
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


@pytest.fixture
def taker(tmp_path):
    """A gateway with a meter that never answers, and a canary in each of its secrets."""
    gateway = SimulatedGateway(tmp_path / "taker")
    settings = {
        "sealing": {"period_s": 1},
        "buses": [{"name": "rs485", "device": str(tmp_path / "no line"), "reply_timeout_ms": 20}],
        "instruments": [{"name": "press", "profile": "pzem-004t", "bus": "rs485", "period_ms": 2000}],
    }
    for path in SECRET_PATHS:
        section, *item, name = path.split(".")
        if item:
            settings[section] = [{"name": item[0], name: CANARY}]
        else:
            settings.setdefault(section, {})[name] = CANARY
    gateway.configure(settings)
    gateway.start()
    gateway.public_key()
    yield gateway
    gateway.kill()


@pytest.mark.fuzz
def test_no_secret_leaves_by_any_command(taker):
    """Random commands, by hand and by program; no canary shows in anything that comes back, in the log, in what is
    exported, nor in the file of a backup."""
    draw = random.Random(5)
    with Link(taker.console()) as link:
        watch(link)
        for turn in range(COMMANDS * 9 // 10):
            try_command(link, draw, draw.choice(SECRET_FORMS if draw.random() < 0.6 else OTHERS))
            if turn % 100 == 99:
                assert taker.status.get("crashes") == 0, taker.lines[-5:]
        # The same with a code. (No wrong one: guesses are slowed down, and nothing else would be tried any more.)
        forms = [form for form in SECRET_FORMS if not form.startswith("unlock")] + ["settings show", "log", "status"]
        for turn in range(COMMANDS // 10):
            if turn % 20 == 0:
                link.ask("settings discard" if turn % 40 else "status")
                link.ask(f"code {CODE}")
            if turn % 20 == 10:
                link.ask(f"unlock {CODE}", 20)
            try_command(link, draw, draw.choice(forms) if turn % 20 != 19 else f"unlock {CODE}")
        link.ask("settings discard")
        for path in SECRET_PATHS:
            link.ask(f"settings set {path} {CANARY}")
        boot = link.boot()
        link.ask("settings commit")
        link.wait_restart(boot)
        link.ask(f"unlock {CODE}", 20)
        for line in OTHERS:
            try_command(link, draw, line, whole=True)
        link.ask(f"unlock {CODE}", 20)  # one of them was lock
        exported = pull.fetch(link)
        backup = settings_verb.to_text(settings_verb.active(link), Path("backup.toml"))
    assert len(exported) > 2 and "press" in backup
    for data in (*[message.data for message in exported], backup.encode(), "\n".join(taker.lines).encode()):
        assert CANARY.encode() not in data and CODE.encode() not in data
    assert taker.status["crashes"] == 0


def watch(link):
    """Look at every byte that comes from the gateway."""
    seen = bytearray()
    taken = link.read

    def listen():
        data = taken()
        seen.extend(data)
        if CANARY.encode() in seen or CODE.encode() in seen or b"a fault of the firmware" in seen:
            raise AssertionError(bytes(seen[-400:]))
        del seen[:-100]
        return data

    link.read = listen


def try_command(link, draw, form, whole=False):
    """One command, whole or damaged, by hand or by program."""
    line = form.format(CANARY, CANARY)
    if draw.random() < 0.1 and not whole:
        line = line.replace(" ", draw.choice(("  ", "\t", " \x7f ")), 1)
    if draw.random() < 0.3 and not whole:
        link.write(line.encode() + draw.choice((b"\r", b"\n", b"\r\n", b"\t\t\r", b"\x03", b"\x7f\r")))
        link.read()
        return
    try:
        link.ask(line, 20)
    except ParkgateError as error:
        assert CANARY not in str(error) and CODE not in str(error), line


@pytest.mark.fuzz
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
            for at in range(0, len(stream), 256):
                link.write(stream[at : at + 256])
                while link._serial.in_waiting:
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
    text = (Path(__file__).resolve().parent.parent.parent / "lib" / "SPEC.md").read_text()
    for words, arguments, needs_unlock, *_ in grammar.COMMANDS:
        usage = f"{words} {arguments}".strip()
        assert re.search(rf"^\| `{re.escape(usage)}` \| {'yes' if needs_unlock else 'no'} \|", text, re.M), usage
