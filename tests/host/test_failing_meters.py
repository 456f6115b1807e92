"""The verbs of meters with every call made to fail: files, terminal, cable. A sentence each, and a whole state.

As test_failing_calls.py, with a meter on a serial line that can fail too.
"""

import builtins
import json
import os
import shutil
import socket
import threading
from types import SimpleNamespace

import pytest

import failing_calls
from console_gateway import Gateway, Port
from failing_calls import each_failure, run
from host_tools.base import profile_files
from host_tools.base.paths import METER_PROFILES
from host_tools.gateway import link
from host_tools.meters.lines import serial_bus
from host_tools.meters.register_map import RegisterMap
from parkgate.meters.modbus.frame import frame
from tasks import console_upload
from test_failing_calls import check, no_drafts

PROFILE, UNIT = "pzem-004t", 1


@pytest.fixture(autouse=True)
def quick(monkeypatch, tmp_path):
    """Nothing waits for its time here, and nothing of this user is touched."""
    monkeypatch.setattr(link.time, "sleep", lambda _s: None)
    monkeypatch.setattr(link, "REPLY_TIMEOUT_S", 0.02)
    monkeypatch.setattr(link, "RESTART_REPLY_TIMEOUT_S", 0.01)
    monkeypatch.setenv("PARKGATE_PATIENCE", "0.01")
    monkeypatch.setattr(failing_calls, "FEW", 1)
    monkeypatch.setenv("PARKGATE_METERS", str(tmp_path / "own"))
    monkeypatch.delenv("PARKGATE_CODE", raising=False)
    yield
    profile_files.use(())


class Meter:
    """What serial.Serial would be: a meter that answers at once. `on_call(kind)` may raise before each operation."""

    registers = RegisterMap(PROFILE).words(lambda quantity: 230.0 if quantity == "voltage" else 5.0)

    def __init__(self, on_call):
        self._on_call = on_call
        self._waiting = b""

    @property
    def in_waiting(self):
        return len(self._waiting)

    def write(self, data):
        self._on_call("serial write")
        unit_id, function, address, count = data[0], data[1], data[2] << 8 | data[3], data[4] << 8 | data[5]
        if unit_id != UNIT:
            return
        if function != 4 or any(address + i not in self.registers for i in range(count)):
            self._waiting += frame(bytes((unit_id, function | 0x80, 2)))
            return
        words = b"".join(self.registers[address + i].to_bytes(2, "big") for i in range(count))
        self._waiting += frame(bytes((unit_id, function, len(words))) + words)

    def read(self, count):
        if count:
            self._on_call("serial read")
        found, self._waiting = self._waiting[:count], self._waiting[count:]
        return found

    def close(self):
        pass


@pytest.fixture
def line(monkeypatch):
    """The meter on every port; its calls are counted as those of the run that is under way."""
    there = SimpleNamespace(on_call=lambda _kind: None)
    plain = failing_calls._Calls.__init__

    def noting(self, *args):
        plain(self, *args)
        there.on_call = self

    def opened(*_args, **_named):
        there.on_call("serial open")
        return Meter(there.on_call)

    monkeypatch.setattr(failing_calls._Calls, "__init__", noting)
    monkeypatch.setattr(serial_bus.serial, "Serial", opened)
    return there


LIVE = {
    "meters scan": ["meters", "scan", "x", "--line", "9600", "--units", "1", "--timeout-ms", "10"],
    "meters scan --json": ["meters", "scan", "x", "--line", "9600", "--units", "1", "--no-identify", "--json"],
    "meters test": ["meters", "test", "x", f"{PROFILE}@{UNIT}", "--samples", "1", "--timeout-ms", "50"],
}


@pytest.mark.parametrize("name", LIVE)
def test_a_live_line(name, line, monkeypatch):
    # What identifies a meter is tried elsewhere: here one profile does.
    monkeypatch.setattr(profile_files, "paths", lambda: [METER_PROFILES / f"{PROFILE}.json"])
    tried = 0
    for number, result, error in each_failure(LIVE[name]):
        tried += 1
        if result.exit_code == 1:
            result = result._replace(exit_code=0)  # nobody answered, or not all is well: the lines say so
        check(name, result, error, number)
    assert tried > 5


def test_meters_new(line, tmp_path, monkeypatch):
    """From a CSV, tried live: after every failure there is no profile or a whole one, and the command goes on."""
    listed = tmp_path / "registers.csv"
    listed.write_text("quantity,address,type,decimals,unit,words\nvoltage,0,uint16,1,V,U\n")
    own = tmp_path / "own"

    def answered(question=""):
        line.on_call("stdout")
        for beginning, text in (("Function", "4"), ("Is that right", "y"), ("Go on with", "y"), ("Maker", "Acme")):
            if beginning in question:
                return text
        return ""

    monkeypatch.setattr(builtins, "input", answered)
    words = ["meters", "new", "acme-m1", "--port", "x", "--unit", "1", "--csv", listed]
    made = own / "acme-m1.json"

    def begin():
        shutil.rmtree(own, ignore_errors=True)

    begin()
    expected = run(words)
    assert expected.exit_code == 0, expected
    whole = made.read_bytes()
    for number, result, error in each_failure(words, None, begin):
        what = check("meters new", result, error, number)
        assert no_drafts(tmp_path), what
        assert not made.exists() or made.read_bytes() == whole, what
        if not made.exists():
            again = run(words)
            assert again.exit_code == 0 and made.read_bytes() == whole, (what, again.err)


class Uploads(Gateway):
    """The gateway of test_failing_calls, which also takes profiles in."""

    def _carry_out(self, request, lines):
        handler = getattr(console_upload.Upload(self), request.name.replace(" ", "_"), None)
        if handler is None:
            return super()._carry_out(request, lines)

        async def say(text):
            lines.append(text)

        try:
            handler(request, say).send(None)
        except StopIteration as end:
            return end.value
        raise AssertionError(request.name)


def test_meters_push_carries_on_after_every_failure(tmp_path):
    document = json.loads((METER_PROFILES / f"{PROFILE}.json").read_text(encoding="utf-8"))
    path = tmp_path / "acme-m1.json"
    path.write_text(json.dumps(document, indent=1))
    there = {}

    def begin():
        there["gateway"] = gateway = Uploads()
        gateway.read_profile = lambda name: gateway.files.read(f"meters/{name}.json")

    def port(on_call):
        return Port(there["gateway"], on_call)

    words = ["meters", "push", path, "--port", "x", "--json"]
    kept = None
    for number, result, error in each_failure(words, port, begin):
        what = check("meters push", result, error, number)
        second = run(words, port)
        assert second.exit_code == 0, (what, second.err)
        now = there["gateway"].files.read("meters/acme-m1.json")
        kept = kept or now
        assert now == kept and json.loads(now)["meter"] == document["meter"], what
    assert kept


REFUSED = {
    "a link in a missing folder": ["--link", "{tmp}/none/line"],
    "a log that is a folder": ["--log", "{tmp}"],
    "settings that are a folder": ["--settings", "{tmp}"],
    "a port that is not there": ["--device", "{tmp}/tty"],
    "a port of TCP that is taken": ["--device", "tcp:127.0.0.1:{taken}"],
}


@pytest.mark.parametrize("protocol", ["modbus", "dlt645"])
@pytest.mark.parametrize("fault", REFUSED)
def test_meters_simulate_ends_with_a_sentence_and_leaves_nothing(fault, protocol, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["parkgate", "meters", "simulate"])  # its arguments are loaded on demand
    before = threading.active_count(), len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    with socket.create_server(("127.0.0.1", 0)) as server:
        places = {"tmp": tmp_path, "taken": server.getsockname()[1]}
        words = [word.format(**places) for word in REFUSED[fault]]
        result = run(["meters", "simulate", "--protocol", protocol, *words])
    assert result.exit_code == 2 and result.err.count("\n") == 1 and "Errno" not in result.err, result.err
    assert list(tmp_path.iterdir()) == []
    after = threading.active_count(), len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    assert after == before
