"""MicroPython's prompt: there on purpose only, and then all that mpremote does works, on the simulated board."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest
import serial

from host_tools.gateway.link import GatewayRefused, Link
from host_tools.sim.simulate import SimulatedGateway
from parkgate.errors import LinkError

PROMPTS = (b">>>", b"raw REPL")
CODE = "richtig-1"
MOMENTS = 8 * (1 + int(os.environ.get("PARKGATE_FUZZ_SIZE", "0")))
START_S = 0.6  # a start of the simulated board, to past its first status line


@pytest.fixture
def gateway(tmp_path):
    gateway = SimulatedGateway(tmp_path / "gateway")
    gateway.start()
    gateway.public_key()
    yield gateway
    gateway.kill()


def mpremote(gateway, *words):
    done = subprocess.run(
        [sys.executable, "-m", "mpremote", "connect", gateway.console(), *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def to_prompt(gateway):
    with Link(gateway.console()) as link:
        assert "prompt" in link.ask("repl")[0]
    deadline = time.monotonic() + 100
    while not any("prompt is on the console" in line for line in gateway.lines):
        assert time.monotonic() < deadline, gateway.lines
        time.sleep(0.05)


def test_mpremote_works_behind_the_command_repl(gateway, tmp_path):
    to_prompt(gateway)
    # Plain mpremote: raw REPL, and a soft reset first.
    assert mpremote(gateway, "exec", "import sys; print(sys.platform, 6 * 7)").split() == [sys.platform, "42"]
    file = tmp_path / "sent.bin"
    file.write_bytes(random.Random(3).randbytes(20_000))
    mpremote(gateway, "fs", "cp", file, ":sent.bin")
    assert (gateway.folder / "sent.bin").read_bytes() == file.read_bytes()
    mpremote(gateway, "resume", "fs", "cp", ":sent.bin", tmp_path / "back.bin")
    assert (tmp_path / "back.bin").read_bytes() == file.read_bytes()
    assert "identity.key" in mpremote(gateway, "fs", "ls")
    mpremote(gateway, "fs", "rm", ":sent.bin", "+", "soft-reset")
    assert not (gateway.folder / "sent.bin").exists()
    assert mpremote(gateway, "resume", "eval", "1+1").strip() == "2"
    # A reset is the gateway's start, and only the console leads to the prompt again.
    mpremote(gateway, "reset")
    with Link(gateway.console()) as link:
        link.wait_restart(1)
        assert link.boot() == 2
    assert gateway.status.get("crashes", 0) == 0


def test_ctrl_d_at_the_prompt_starts_the_gateway(gateway):
    to_prompt(gateway)
    with serial.Serial(gateway.console(), timeout=10) as line:
        line.write(b"\r\n1+1\r")
        assert line.read_until(b"1+1\r\n2\n").endswith(b"2\n")
        line.write(b"\x04")
        assert b"soft reboot" in line.read_until(b"soft reboot")
    with Link(gateway.console()) as link:
        link.wait_restart(1)


def test_no_prompt_without_the_code(gateway):
    with Link(gateway.console()) as link:
        link.ask(f"code {CODE}")
        with pytest.raises(GatewayRefused, match="locked"):
            link.ask("repl")
        link.ask(f"unlock {CODE}")
        link.ask("lock")
        with pytest.raises(GatewayRefused, match="locked"):
            link.ask("repl")
    command = [sys.executable, "-m", "mpremote", "connect", gateway.console(), "exec", "print(1)"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as waiting:
        time.sleep(2.5)
        waiting.kill()
        assert b"1\n" not in waiting.communicate()[0]
    with Link(gateway.console()) as link:
        assert link.boot() == 1  # mpremote's Ctrl-C, Ctrl-A and Ctrl-D did nothing


@pytest.mark.fuzz
@pytest.mark.parametrize("by", ["byte", "signal"])
def test_ctrl_c_at_any_moment_of_the_start_opens_no_prompt(gateway, by):
    """As a byte on the console, and as the signal by which the Unix port knows Ctrl-C."""
    with Link(gateway.console()) as link:
        link.ask(f"code {CODE}")
    with serial.Serial(gateway.console(), timeout=0) as line:
        for moment in range(MOMENTS):
            gateway.kill()
            line.reset_input_buffer()
            gateway.start()
            time.sleep(moment * START_S / MOMENTS)
            if by == "byte":
                line.write(b"\x03\x03\x01\x04")
            else:
                os.kill(gateway.pid, signal.SIGINT)
            time.sleep(0.1)
            said = line.read(65536)
            assert not any(prompt in said for prompt in PROMPTS), (moment, said)
        if by == "byte":  # (a signal ends the process: that is a power cut, not a prompt)
            deadline = time.monotonic() + 100
            while True:
                try:
                    with Link(gateway.console()) as link:
                        assert link.facts("identity")["unlocked"] == "no"
                    break
                except LinkError:
                    assert time.monotonic() < deadline
    assert not any(prompt.decode() in text for text in gateway.lines for prompt in PROMPTS)
