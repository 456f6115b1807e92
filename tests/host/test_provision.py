"""From a bare gateway to verified readings by cable alone: provision, settings, doctor, pull, import."""

import base64
import json
import subprocess
import sys
import time

import pytest

from host_tools.base import keys
from host_tools.broker.broker import Broker
from host_tools.gateway import pull
from host_tools.gateway import settings as settings_verb
from host_tools.gateway.link import GatewayRefused, Link
from host_tools.hub.stores.store import connect
from host_tools.hub.verbs import import_messages
from host_tools.meters.meter_simulator import MeterBus, SimulatedMeter
from host_tools.sim.demo import Hub
from host_tools.sim.simulate import SimulatedGateway
from park import BUSY_MACHINE
from parkgate.console.line import LINE_BYTES_MAX, SEQ_MAX, frame
from parkgate.errors import LinkError, SettingsError
from parkgate.settings import edit

CANARY = "canary-password-7391"


def parkgate(*words, check=True):
    """One command as a person types it; what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "host_tools.cli", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )
    if check:
        assert done.returncode == 0, done.stdout
    return done.stdout


def wait(condition, timeout_s, what):
    deadline = time.monotonic() + timeout_s * BUSY_MACHINE
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s} s: {what()}")
        time.sleep(0.1)


@pytest.fixture
def bus(tmp_path):
    meters = MeterBus([SimulatedMeter("pzem-004t", 2)], log=tmp_path / "meters.jsonl")
    device = meters.start()
    (tmp_path / "workshop.json").write_text(
        json.dumps(
            {
                "broker": {"password": CANARY},
                "sealing": {"period_s": 2},
                "sending": {"beat_period_s": 2},
                "buses": [{"name": "rs485", "device": device}],
                "instruments": [
                    {"name": "press", "profile": "pzem-004t", "bus": "rs485", "unit_id": 2, "period_ms": 500}
                ],
            }
        )
    )
    yield device
    meters.stop()


@pytest.fixture
def gateway(tmp_path):
    # `meters scan` at the console wants more than the usual heap leaves: LIMITS.md.
    gateway = SimulatedGateway(tmp_path / "gateway", 600_000)
    gateway.bring_meters()
    gateway.start()
    gateway.public_key()
    yield gateway
    gateway.kill()


def code_of(printed):
    return next(line.split(": ")[1] for line in printed.splitlines() if line.startswith("code of its console"))


def test_from_bare_to_verified_and_back_from_bad_settings(tmp_path, bus, gateway):
    with Broker("nats", tmp_path / "broker") as broker:
        hub = Hub(tmp_path / "hub", broker.url, "127.0.0.1:0")
        hub.start()
        try:
            _from_bare_to_verified(tmp_path, gateway, hub)
        finally:
            hub.stop()


def _from_bare_to_verified(tmp_path, gateway, hub):
    port = tmp_path / "gateway"
    started = time.monotonic()
    words = ["--port", port, "--hub", hub.folder, "--name", "hall-3", "--settings", tmp_path / "workshop.json"]
    printed = parkgate("provision", *words, "--label", tmp_path / "label.svg")
    code = code_of(printed)
    assert (tmp_path / "label.svg").read_text().startswith("<?xml")

    def verified():
        return [g["batches_verified"] for g in hub.gateways().values() if g["batches_verified"]]

    wait(verified, 40, lambda: (hub.gateways(), gateway.lines[-10:]))
    took_s = time.monotonic() - started
    print(f"from bare to a verified batch: {took_s:.1f} s")
    wait(lambda: any("confirmed, generation" in line for line in gateway.lines), 20, lambda: gateway.lines)

    # Locked: nothing but looking; the code opens it, a wrong one does not.
    with Link(str(port)) as link:
        with pytest.raises(GatewayRefused, match="locked"):
            link.ask("settings show")
        with pytest.raises(GatewayRefused, match="wrong code"):
            link.ask("unlock not-the-code")
        with pytest.raises(SettingsError, match="--code"):
            link.unlock(None)
    answers = parkgate("console", "--port", port, "--code", code, "meters", "scan", "rs485", "1", "4")
    assert "unit id 2: answers" in answers and "1 of 4" in answers
    answers = parkgate("console", "--port", port, "--code", code, "meters", "test", "press")
    assert "voltage = " in answers and "(good)" in answers and "line ok" in answers
    said = parkgate("doctor", "--port", port, "--code", code)
    assert "nothing is wrong" in said and "meter press answers" in said and "receipt: ok" in said

    # As a file, and back.
    file = tmp_path / "pulled.json"
    parkgate("settings", "pull", file, "--port", port, "--code", code)
    assert CANARY not in file.read_text()
    pulled = json.loads(file.read_text())
    assert pulled["instruments"][0]["period_ms"] == 500
    assert "nothing differs" in parkgate("settings", "diff", file, "--port", port, "--code", code)
    pulled["broker"]["port"] = 1  # nobody listens there
    file.write_text(json.dumps(pulled))
    assert "broker.port = " in parkgate("settings", "diff", file, "--port", port, "--code", code)
    bare = tmp_path / "bare.json"  # the file of the first day again: it names neither hub nor broker
    bare.write_text(json.dumps({name: pulled[name] for name in ("buses", "instruments")}))
    said = parkgate("settings", "push", bare, "--port", port, "--code", code, check=False)
    assert "hub.public_key" in said and "settings pull" in said and "on trial" not in said
    said = parkgate("settings", "push", file, "--port", port, "--code", code)
    assert "broker.port = " in said and "on trial" in said
    with Link(str(port)) as link:
        assert "on trial" in link.facts("identity")["settings"]
    said = parkgate("doctor", "--port", port, "--code", code, check=False)
    assert "tcp fails" in said and "broker.port" in said
    for _ in range(5):  # the power fails, and it comes back each time
        gateway.kill()
        gateway.start()
        wait(lambda: gateway.status, 10, lambda: gateway.lines)
    with Link(str(port)) as link:
        assert "on trial" not in link.facts("identity")["settings"]
        assert "reverted" in link.facts("status")["problem"]
    before = sum(verified())
    wait(lambda: sum(verified()) > before, 30, lambda: gateway.lines[-10:])

    # A new key, and another one: the same gateway, and its chain goes on.
    for _ in range(2):
        said = parkgate("provision", "--rotate", "--port", port, "--hub", hub.folder, "--code", code)
        assert "signs with its next key" in said, said
        (before,) = [(g["batches_verified"], g["epoch"]) for g in hub.gateways().values()]
        wait(lambda: sum(verified()) > before[0] + 1, 40, lambda: (hub.gateways(), gateway.lines[-10:]))  # noqa: B023
    (summary,) = hub.gateways().values()
    assert summary["epoch"] == before[1] and not summary["alarms"] and summary["forks"] == 0, summary

    # No secret anywhere but where it must be.
    assert not any(CANARY in line for line in gateway.lines)
    parkgate("console", "--port", port, "--code", code, "factory reset ERASE")
    wait(lambda: any("made a new key" in line for line in gateway.lines[-4:]), 20, lambda: gateway.lines[-5:])
    gateway.kill()
    for path in (tmp_path / "gateway").rglob("*"):
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            assert CANARY.encode() not in content, path


def test_readings_travel_by_cable(tmp_path, bus, gateway):
    """No network at all: batches are pulled, judged by the hub's own intake, and freed by its receipts."""
    port, folder = tmp_path / "gateway", tmp_path / "hub"
    words = ["--port", port, "--hub", folder, "--broker", "127.0.0.1:1", "--settings", tmp_path / "workshop.json"]
    said = parkgate("provision", *words, "--no-code", check=False)
    assert "there is no hub in" in said and not folder.exists()
    folder.mkdir()
    connect(folder).close()  # a hub that was started once: its database and its key
    keys.hub_key(folder)
    parkgate("provision", *words, "--no-code")
    wait(lambda: gateway.status.get("held", 0) >= 2, 30, lambda: gateway.status)
    file, receipts = tmp_path / "pulled.jsonl", tmp_path / "receipts.jsonl"
    parkgate("pull", "--port", port, "--out", file)
    assert len(pull.read_messages(file)) >= 3
    assert "there is no hub" in parkgate("import", file, "--data", tmp_path / "typo", check=False)
    said = parkgate("pull", "--port", port, "--receipts", file, check=False)
    assert "holds no receipts" in said
    first = parkgate("import", file, "--data", folder, "--receipts", receipts)
    assert " new" in first and "1 beat" in first
    again = parkgate("import", file, "--data", folder, "--receipts", receipts)
    assert "duplicate" in again and " new" not in again
    database = connect(folder)
    stored = database.execute("SELECT count(*) FROM batch").fetchone()[0]
    database.close()
    assert stored == len(pull.read_messages(file)) - 1
    assert gateway.status["acknowledged"] == 0
    said = parkgate("pull", "--port", port, "--receipts", receipts)
    assert said.startswith(f"{stored} of {stored} receipts taken")
    wait(lambda: gateway.status["acknowledged"] > 0, 10, lambda: gateway.status)
    assert parkgate("pull", "--port", port, "--receipts", receipts).startswith("0 of ")
    wait(lambda: any("confirmed, generation" in line for line in gateway.lines), 5, lambda: gateway.lines)

    # A changed message is refused by name, and nothing else suffers.
    messages = pull.read_messages(file)
    broken = bytearray(messages[0].data)
    broken[-1] ^= 1
    counts = import_messages.through_intake(folder, [messages[0]._replace(data=bytes(broken)), messages[1]])[1]
    assert any(kind.startswith("refused (signature") for kind in counts)
    assert counts["duplicate"] == 1


def test_changes_are_the_fewest_commands():
    before = settings_verb.validate({"buses": [{"name": "a", "device": "x"}], "broker": {"port": 7}})
    assert settings_verb.changes(before, before) == [
        'settings set network.password ""',
        'settings set broker.password ""',
    ]
    after = {"buses": [{"name": "b", "device": "y", "baud": 19200}], "broker": {"port": 8}}
    assert settings_verb.changes(before, after) == [
        "settings set broker.port 8",
        "settings remove buses.a",
        "settings add buses name=b device=y",
        "settings set buses.b.baud 19200",
    ]


def test_a_long_text_goes_in_pieces_that_lines_can_hold():
    certificate = base64.b64encode(bytes(range(256)) * 5).decode()
    before = settings_verb.validate({})
    commands = settings_verb.changes(before, {"broker": {"tls": "on", "ca": certificate}})
    assert all(len(frame(SEQ_MAX, "", command)) <= LINE_BYTES_MAX for command in commands)
    staged = settings_verb.validate({})
    for command in commands + commands[-2:]:  # an answer may be lost: sent again, a piece does the same
        words = command.split(" ", 4)
        if words[1] == "append":
            edit.append(staged, words[2], int(words[3]), words[4])
        else:
            edit.put(staged, words[2], command.split(" ", 3)[3])
    assert staged["broker"]["ca"] == certificate and staged["broker"]["tls"] == "on"


def test_a_line_without_a_gateway_says_so(tmp_path):
    with pytest.raises(LinkError, match="does not open"):
        Link(str(tmp_path / "nothing"))
