"""Driven as a person would: each command typed in a terminal of its own, the simulated board powered on bare.

The park's side (broker, hub, a meter on a serial line) runs already, and its operator has handed out a token.
"""

import csv
import json
import os
import re
import signal
import sys
import time

import pexpect
import pytest

from host_tools.broker.broker import Broker
from host_tools.hub.people import operators
from host_tools.meters.meter_simulator import MeterBus, SimulatedMeter
from host_tools.sim.demo import Hub

BARE_TO_VERIFIED_S = 300  # a minute on an idle machine


def typed(*words, timeout=300, **environment):
    """`parkgate WORDS` in a terminal of its own."""
    environment = {**os.environ, "PROMPT_TOOLKIT_NO_CPR": "1", **environment}  # this terminal answers no questions
    words = ["-m", "host_tools.cli", *map(str, words)]
    terminal = pexpect.spawn(
        sys.executable,
        words,
        timeout=timeout,
        encoding="utf-8",
        dimensions=(40, 120),
        env=environment,
        preexec_fn=_heed_ctrl_c,
    )
    terminal.delaybeforesend = None
    return terminal


def _heed_ctrl_c():
    """Whoever started the tests in the background has made them ignore it, and that is inherited."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def park(tmp_path):
    """A hub, its broker, a meter, an operator's token and the settings file of a workshop."""
    meters = MeterBus([SimulatedMeter("pzem-004t", 2)], log=tmp_path / "meters.jsonl")
    device = meters.start()
    (tmp_path / "workshop.json").write_text(
        json.dumps(
            {
                "sealing": {"period_s": 2},
                "sending": {"beat_period_s": 2},
                "buses": [{"name": "rs485", "device": device}],
                "instruments": [{"name": "press", "profile": "pzem-004t", "bus": "rs485", "unit_id": 2}],
            }
        )
    )
    with Broker("nats", tmp_path / "broker") as broker:
        hub = Hub(tmp_path / "hub", broker.url, "127.0.0.1:0")
        hub.start()
        try:
            yield hub, operators.add(hub.folder, "anna")
        finally:
            hub.stop()
            meters.stop()


def test_from_a_bare_board_to_a_verified_reading(tmp_path, park):
    hub, token = park
    began = time.monotonic()
    board = typed("simulate", tmp_path / "flash")  # 1: power on, nothing on its flash
    try:
        board.expect("none yet: using defaults")
        words = ["--port", tmp_path / "flash", "--hub", hub.page, "--settings", tmp_path / "workshop.json"]
        provision = typed("provision", *words, "--name", "hall-3", PARKGATE_TOKEN=token)  # 2
        provision.expect(r"code of its console, shown only now: (\S+)")
        code = provision.match.group(1)
        provision.expect("provisioned")
        provision.expect(pexpect.EOF)
        deadline = time.monotonic() + BARE_TO_VERIFIED_S
        while not any(gateway["readings_stored"] for gateway in hub.gateways().values()):
            assert time.monotonic() < deadline, hub.gateways()
            time.sleep(0.1)
        export = typed("export", "--data", hub.folder, "--format", "csv", "--out", tmp_path / "out.csv")  # 3
        export.expect(pexpect.EOF)
        took_s = time.monotonic() - began
        rows = list(csv.DictReader((tmp_path / "out.csv").open()))
        voltage = next(row for row in rows if row["quantity"] == "voltage")
        assert voltage["gateway"] == "hall-3" and voltage["quality"] == "good" and 200 < float(voltage["value"]) < 260
        print(f"from a bare board to a verified reading: {took_s:.1f} s, 3 commands")
        _console(tmp_path, code)
    finally:
        board.sendintr()
        board.expect(pexpect.EOF)


def _console(tmp_path, code):
    """The interactive console: history, completion, errors in words; what is locked, and the code."""
    person = typed("console", "--port", tmp_path / "flash", HOME=str(tmp_path), XDG_STATE_HOME=str(tmp_path))
    person.expect("gateway>")
    person.send("settings show\r")
    person.expect("locked: unlock CODE first")
    person.send(f"unlock {code}\r")
    person.expect("unlocked for ten minutes")
    person.send("settings sh\t broker.port\r")
    person.expect(r"broker.port = \d+")
    person.send("statu\t\r")
    person.expect("sampled = ")
    person.send("\x1b[A")  # the line before
    person.send("\r")
    person.expect("sampled = ")
    person.send("frobnicate\r")
    person.expect("no such command; there are: help")
    person.expect("gateway>")  # before it, the terminal itself would take the Ctrl-C
    person.send("repl")
    person.send("\x03")  # Ctrl-C takes the line back and stops nothing
    person.send("time\r")
    person.expect(r"unix_ms = \d+")
    for _ in range(20):  # one that comes before the prompt is lost in the terminal
        person.send("\x04")
        if person.expect([pexpect.EOF, pexpect.TIMEOUT], timeout=1) == 0:
            break
    history = next(tmp_path.rglob("console_history")).read_text()
    assert "statu" in history and code not in history
    assert not re.search("unlock", history)
