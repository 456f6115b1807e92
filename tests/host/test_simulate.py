"""One gateway a folder: two on one flash would ruin its journal."""

import os
import signal
import time

import pytest

from host_tools import cli
from host_tools.gateway.link import Link
from host_tools.meters.meter_simulator import MeterBus, SimulatedMeter
from host_tools.sim.simulate import GatewayBusy, SimulatedGateway


def test_a_line_that_goes_away_ends_no_gateway(tmp_path):
    """A terminal that hangs up ends the programs whose controlling terminal it is."""

    def bus():
        return MeterBus([SimulatedMeter("pzem-004t", 1)], link=tmp_path / "line")

    meters = bus()
    line = {"name": "rs485", "device": str(tmp_path / "line")}
    meter = {"name": "m", "profile": "pzem-004t", "bus": "rs485", "unit_id": 1, "period_ms": 200}
    gateway = SimulatedGateway(tmp_path / "board")
    gateway.configure({"buses": [line], "instruments": [meter]})

    def sampled(more):
        wanted = gateway.status.get("sampled", 0) + more
        deadline_s = time.monotonic() + 100
        while gateway.status.get("sampled", 0) < wanted and time.monotonic() < deadline_s:
            time.sleep(0.05)
        assert gateway.running() and gateway.status.get("sampled", 0) >= wanted, gateway.lines[-5:]

    try:
        meters.start()
        gateway.start()
        sampled(20)
        first = gateway.pid
        meters.stop()
        time.sleep(1)
        meters = bus()
        meters.start()
        with Link(str(tmp_path / "board")) as link:
            answers = link.ask("sensor read m", 20)
            for _ in range(20):
                if answers[0].endswith("(good)"):
                    break
                time.sleep(0.5)
                answers = link.ask("sensor read m", 20)
            assert answers[0].endswith("(good)"), answers
        assert gateway.pid == first and gateway.running()
    finally:
        gateway.kill()
        meters.stop()


def test_a_folder_belongs_to_one_gateway(tmp_path, capsys):
    folder = tmp_path / "board"
    first, second = SimulatedGateway(folder), SimulatedGateway(folder)
    try:
        first.start()
        console = os.readlink(folder / "console")
        with pytest.raises(GatewayBusy, match="already: stop it first"):
            second.start()
        assert cli.main(["simulate", str(folder)]) == 2
        assert "a folder of its own" in capsys.readouterr().err
        assert os.readlink(folder / "console") == console, "the first one's line is still its own"
        first.kill()
        second.start()
        assert second.public_key()
        os.kill(second.pid or 0, signal.SIGKILL)  # from outside, and on again
        deadline_s = time.monotonic() + 50
        while second.running() and time.monotonic() < deadline_s:
            time.sleep(0.05)
        second.start()
        assert second.running()
    finally:
        first.kill()
        second.kill()
