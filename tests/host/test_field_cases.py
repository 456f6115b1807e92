"""Reports from the field, end to end: a meter on a pseudo-terminal, the gateway, a broker, the hub, the export.

The cases are those of tests/vectors/field_cases/line.json, which names their sources.
"""

import asyncio
import json
import socket
import threading
from pathlib import Path

import pytest
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from host_tools.meters.register_map import RegisterMap
from odd_meter import OddMeter
from park import Park

CASES = {
    case["id"]: case
    for case in json.loads((Path(__file__).parent.parent / "vectors/field_cases/line.json").read_text())["cases"]
}


class Field(Park):
    """A park whose one bus is an odd meter. `bus` goes into the settings of the bus, more into those of the meter."""

    def __init__(self, folder, meter, profile, period_ms=1000, unit_ids=(1,), bus=None, **instrument):
        super().__init__(folder, [(f"m{i}", profile, i) for i in unit_ids], period_ms)
        self.bus = meter
        self._changes = bus or {}
        self._instrument = instrument

    def settings(self, meters=None):
        settings = super().settings(meters)
        settings["buses"][0].update({"reply_timeout_ms": 300, **self._changes})
        for item in settings["instruments"]:
            item.update(self._instrument)
        return settings

    def rows_after(self, count, timeout_s=60):
        """The rows at the hub once it has `count` readings."""
        self.start_gateway()
        self.wait(lambda: self.at_hub().get("readings_stored", 0) >= count, timeout_s, f"the hub has {count} readings")
        self.drain()
        assert self.gateway.status["crashes"] == 0
        return self.readings()


def by_quantity(rows, quantity):
    return [row for row in rows if row["quantity"] == quantity]


@pytest.mark.parametrize("delay_ms", [332, 400])
def test_w1_a_late_answer_is_never_the_next_ones_value(tmp_path, delay_ms):
    """Registers 0/1 are volts × 10 and count the seconds, 12/13 amperes × 1000: a mix-up or an old value would show."""
    case = CASES["W1"]

    def words(t_s):
        volts, milliamperes = 1000 + int(t_s), 5_000_000 + int(t_s)
        return {0: volts, 1: 0, 12: milliamperes & 0xFFFF, 13: milliamperes >> 16}

    meter = OddMeter(words, delay_s=delay_ms / 1000)
    with Field(tmp_path, meter, case["profile"], 1500, channels=["voltage_l1", "current_l1"]) as park:
        rows = park.rows_after(16)
    good = [row for row in rows if row["quality"] == "good"]
    assert {row["quality"] for row in rows} <= {"good", "timeout", "bad reply"}, "the last: it may be a copy"
    assert len(good) >= 8, "after it was late once its time-out is longer"
    for row in good:
        value = float(row["value"])
        if row["quantity"] == "current_l1":
            assert 5000 <= value < 5001
        else:
            assert 100 <= value < 110
    # Each good voltage is the one that the meter answered last before the sample was taken.
    volts = [round(float(row["value"]) * 10) - 1000 for row in by_quantity(good, "voltage_l1")]
    times_s = [int(row["time_unix_ms"]) / 1000 for row in by_quantity(good, "voltage_l1")]
    for (v, t), (w, u) in zip(zip(volts, times_s), zip(volts[1:], times_s[1:])):
        # A busy machine answers late, and the hub may set the clock in between.
        assert abs((w - v) - (u - t)) <= 6, "no value is that of the sample before"


@pytest.mark.parametrize("largest", [60, 40])
def test_w5_a_meter_that_is_silent_above_some_registers_gives_all_its_values(tmp_path, largest):
    """60 is what the profile says; 40 has to be learnt."""
    case = CASES["W5"]
    registers = RegisterMap(case["profile"])
    words = registers.words(lambda quantity: 230.0 if quantity.startswith("voltage") else 7.0)
    meter = OddMeter(lambda _t_s: words, silent_above=largest)
    channels = sorted(registers.units)
    with Field(tmp_path, meter, case["profile"], 1000, channels=channels) as park:
        rows = park.rows_after(8 * len(channels))
    good = {row["quantity"] for row in rows if row["quality"] == "good"}
    assert good == set(channels)
    newest = max(int(row["time_unix_ms"]) for row in rows)
    assert {row["quality"] for row in rows if int(row["time_unix_ms"]) == newest} == {"good"}


@pytest.mark.parametrize("where", ["profile", "instrument", "bus"])
def test_w6_a_meter_that_needs_a_rest_is_read_without_a_restart(tmp_path, where):
    case = CASES["W6"]
    registers = RegisterMap(case["profile"])
    words = registers.words(lambda quantity: 50.0)
    meter = OddMeter(lambda _t_s: words, rest_s=0.5)
    more = {"profile": {}, "bus": {"bus": {"rest_ms": 550}}, "instrument": {"rest_ms": 550}}[where]
    with Field(tmp_path, meter, case["profile"], 3000, **more) as park:
        rows = park.rows_after(9)
    assert meter.restarts == 0
    assert {row["quality"] for row in rows} == {"good"}


def test_w9_unit_ids_up_to_255_are_read(tmp_path):
    ids = tuple(CASES["W9"]["unit_ids"])
    registers = RegisterMap("pzem-004t")
    words = registers.words(lambda quantity: 50.0)
    meter = OddMeter(lambda _t_s: words, unit_ids=ids)
    with Field(tmp_path, meter, "pzem-004t", 1000, unit_ids=ids) as park:
        rows = park.rows_after(36)
    assert {row["instrument"] for row in rows if row["quality"] == "good"} == {f"m{i}" for i in ids}


def test_a_meter_that_answers_twice_gives_right_values(tmp_path):
    def words(t_s):
        return {0: 1000 + int(t_s), 1: 0, 12: 0x4B40, 13: 0x4C}

    meter = OddMeter(words, copies=1)
    with Field(tmp_path, meter, "carlo-gavazzi-em24", 1000, channels=["voltage_l1", "current_l1"]) as park:
        rows = park.rows_after(16)
    good = [row for row in rows if row["quality"] == "good"]
    assert len(good) >= 10
    assert all(float(row["value"]) < 200 for row in by_quantity(good, "voltage_l1"))
    assert all(float(row["value"]) == 5000.0 for row in by_quantity(good, "current_l1"))


class TcpMeters:
    """pymodbus' own TCP server with several units behind one address: a foreign peer of our Modbus TCP."""

    def __init__(self, profile, unit_ids):
        self.registers = RegisterMap(profile)
        self.unit_ids = unit_ids
        self.device = ""
        self._ready = threading.Event()
        self._loop = None
        self._server = None

    def start(self):
        threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True).start()
        assert self._ready.wait(10)

    async def _serve(self):
        words = self.registers.words(lambda quantity: 50.0)
        data = [
            SimData(first, values=[words.get(first + i, 0) for i in range(count)], datatype=DataType.REGISTERS)
            for first, count in self.registers.ranges()
        ]
        devices = [SimDevice(unit_id, simdata=data) for unit_id in self.unit_ids]
        self._loop = asyncio.get_running_loop()
        here = socket.getaddrinfo("localhost", 1, type=socket.SOCK_STREAM)[0][4][0]
        self._server = ModbusTcpServer(devices, address=(here, 0))
        await self._server.serve_forever(background=True)
        self.device = "tcp:localhost:%d" % self._server.transport.sockets[0].getsockname()[1]
        self._ready.set()
        await self._server.serving

    def stop(self):
        if self._server:
            asyncio.run_coroutine_threadsafe(self._server.shutdown(), self._loop).result(5)


def test_units_behind_one_tcp_address_are_read(tmp_path):
    meters = TcpMeters("pzem-004t", (1, 2))
    with Field(tmp_path, meters, "pzem-004t", 500, unit_ids=(1, 2)) as park:
        rows = park.rows_after(36)
    assert {row["instrument"] for row in rows if row["quality"] == "good"} == {"m1", "m2"}
    assert {row["value"] for row in by_quantity(rows, "voltage") if row["value"]} == {"50.0"}
