"""Modbus TCP from this computer: scan, test and simulate over a network, against pymodbus' server and odd ones."""

import contextlib
import json
import socket
import threading

import pytest

from host_tools import cli
from host_tools.meters.lines.tcp_bus import TcpBus
from host_tools.meters.load_curve import read as read_curve
from host_tools.meters.meter_simulator import Faults, MeterBus, SimulatedMeter
from parkgate.errors import LinkError, ModbusError, ModbusForeign, ModbusTimeout, SettingsError

CURVE = read_curve()


def tcp_meters(*meters):
    return MeterBus(meters, CURVE, device="tcp:127.0.0.1:0", seed=5)


def test_scan_finds_the_meters_behind_a_gateway(capsys):
    dead = SimulatedMeter("abb-b2x", 7, dead=True)
    with tcp_meters(SimulatedMeter("eastron-sdm120", 2), SimulatedMeter("pzem-004t", 5), dead) as bus:
        assert cli.main(["meters", "scan", bus.device, "--units", "1-8", "--json"]) == 0
        assert bus.counts["dead"] and bus.counts["foreign"]
    said = json.loads(capsys.readouterr().out)
    found = {item["unit_id"]: item for item in said["found"]}
    assert sorted(found) == [2, 5] and said["asked"] == 8
    assert {item["baud"] for item in found.values()} == {None}
    assert found[5]["candidates"][0]["profile"] == "pzem-004t"


def test_a_meter_that_answers_under_every_unit_id_is_named_once(capsys):
    with Odd(answer) as odd:
        assert cli.main(["meters", "scan", odd.device, "--units", "1-8", "--no-identify"]) == 0
    said = capsys.readouterr().out
    assert "under every unit id" in said and "1 answered, of 1 asked" in said


def test_wrong_words_are_refused(capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["parkgate", "meters", "simulate"])  # its arguments are loaded on demand
    for words in (
        ["scan", "tcp:127.0.0.1:9", "--line", "9600"], ["scan", "tcp:a:b:c"],
        ["simulate", "--device", "tcp:127.0.0.1:0", "--link", "here"],
        ["simulate", "--device", "tcp:127.0.0.1:0", "--protocol", "dlt645"],
    ):  # fmt: skip
        assert cli.main(["meters", *words]) == 2
        assert "Traceback" not in capsys.readouterr().err


def test_nobody_there_is_a_sentence(capsys):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert cli.main(["meters", "scan", f"tcp:127.0.0.1:{port}"]) == 2
    assert f"no connection to 127.0.0.1:{port}" in capsys.readouterr().err


def test_a_meter_is_tested_over_tcp(capsys):
    with tcp_meters(SimulatedMeter("eastron-sdm120", 2)) as bus:
        words = ["meters", "test", bus.device, "eastron-sdm120@2", "--samples", "1"]
        assert cli.main(words) == 0
    assert "voltage" in capsys.readouterr().out


def test_late_and_damaged_answers_are_never_values():
    """A late reply is known by its number; one whose number was damaged is nobody's."""
    faults = Faults(crc=0.2, dropped=0.1, late=0.3, late_ms=120, doubled=0.2, doubled_ms=10)
    with tcp_meters(SimulatedMeter("pzem-004t", 3, faults=faults)) as line, TcpBus(line.device) as bus:
        bus.client.unit(3, 60_000)
        good = failures = 0
        for n in range(60):
            try:
                reply = bus.read(3, 4, 0, 1 + n % 9)
                assert len(reply.data) == 2 * (1 + n % 9)
                good += 1
            except ModbusError:
                failures += 1
        statistics = bus.client.unit(3).statistics
    assert good > 10 and failures > 3
    assert statistics.late_frames and statistics.foreign_frames
    assert statistics.requests == statistics.ok + statistics.timeout + statistics.foreign


def test_a_connection_that_was_closed_is_opened_anew():
    closing = []

    def once(request):
        closing.append(request)
        return b"" if len(closing) == 2 else answer(request)

    with Odd(once) as odd, TcpBus(odd.device) as bus:
        assert bus.read(1, 4, 0, 2).data == b"\x00\x07\x00\x07"
        assert bus.read(1, 4, 0, 2).data == b"\x00\x07\x00\x07"
        assert odd.connections == 2


def test_what_is_no_gateway_is_said():
    no_modbus = pytest.raises(ModbusForeign, match="does not speak Modbus TCP")
    with Odd(lambda _request: b"SSH-2.0-OpenSSH_9.2\r\n") as odd, TcpBus(odd.device) as bus, no_modbus:
        bus.read(1, 4, 0, 2)
    with Odd(lambda _request: b"") as odd, TcpBus(odd.device) as bus, pytest.raises(LinkError, match="broke"):
        bus.read(1, 4, 0, 2)
    with Odd(lambda _request: None) as odd, TcpBus(odd.device, 30) as bus, pytest.raises(ModbusTimeout):
        bus.read(1, 4, 0, 2)
    with pytest.raises(SettingsError):
        TcpBus("tcp:")


def answer(request):
    """Registers that all hold 7."""
    count = request[11]
    return request[:5] + bytes((3 + 2 * count,)) + request[6:8] + bytes((2 * count,)) + b"\x00\x07" * count


class Odd:
    """A server that sends what `said` makes of each request: b"" closes the connection, None is silence."""

    def __init__(self, said):
        self.said = said
        self.connections = 0
        self._server = socket.create_server(("127.0.0.1", 0))
        self.device = "tcp:127.0.0.1:%d" % self._server.getsockname()[1]

    def __enter__(self):
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.close()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._server.accept()
                self.connections += 1
                threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection):
        with connection, contextlib.suppress(OSError):
            while request := connection.recv(260):
                said = self.said(request)
                if said == b"":
                    return
                if said:
                    connection.sendall(said)
