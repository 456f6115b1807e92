"""A DL/T 645 library that is not ours (PyPI dlt645), as the meter and as the client."""

import json
import os
import select
import subprocess
import threading
import time
import tty
from pathlib import Path

import pytest

from host_tools.meters.dlt645.line import Dlt645Bus
from host_tools.meters.dlt645.simulator import Dlt645Line, SimulatedMeter
from parkgate.errors import Dlt645Refusal, ModbusTimeout
from parkgate.meters.dlt645.frame import ANY, address_bytes, identifier_bytes, text_of
from parkgate.meters.dlt645.values import layout, number

PEER = Path(__file__).resolve().parent / "dlt645_peer.py"
METER, OTHER = "166816681605", "201000000012"
VALUES = {
    "02010100": 230.3, "02010200": 0.0, "02020100": -4.999, "02030000": -0.2512, "02040000": 0.4331, "02060000": 0.501,
    "00000000": -12.34, "00010000": 75026.4, "00020000": 0.01, "00010100": 799999.99, "02800002": 49.98,
}  # fmt: skip
TYPES = {
    "02010100": ("bcd16", 1), "02010200": ("bcd16", 1), "02020100": ("sbcd24", 3), "02030000": ("sbcd24", 4),
    "02040000": ("sbcd24", 4), "02060000": ("sbcd16", 3), "00000000": ("sbcd32", 2), "00010000": ("bcd32", 2),
    "00020000": ("bcd32", 2), "00010100": ("bcd32", 2), "02800002": ("bcd16", 2),
}  # fmt: skip


class Wire:
    """Two pseudo-terminals and the bytes between them, held back as long as they take at 9,600 baud."""

    def __init__(self):
        self._masters, self.ends = [], []
        self._slaves = []
        for _ in range(2):
            master, slave = os.openpty()
            for descriptor in (master, slave):
                tty.setraw(descriptor)
            self._masters.append(master)
            self._slaves.append(slave)
            self.ends.append(os.ttyname(slave))
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._carry, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stopping.set()
        self._thread.join(5)
        for descriptor in (*self._masters, *self._slaves):
            os.close(descriptor)

    def _carry(self):
        while not self._stopping.is_set():
            for source in select.select(self._masters, [], [], 0.05)[0]:
                data = os.read(source, 4096)
                time.sleep(len(data) * 11 / 9600)
                os.write(self._masters[1 - self._masters.index(source)], data)


@pytest.fixture
def peer(dlt645_python):
    """A meter of the library; our end of the wire to it."""
    with Wire() as wire:
        words = [str(dlt645_python), str(PEER), "serve", wire.ends[1], "9600", "E", METER, json.dumps(VALUES)]
        process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout.readline() == "ready\n"
            with Dlt645Bus(wire.ends[0], 9600) as bus:
                yield bus
        finally:
            process.stdin.close()
            process.wait(60)


def test_our_client_reads_their_meter(peer):
    meter = address_bytes(METER)
    for identifier, value in VALUES.items():
        type_name, decimals = TYPES[identifier]
        name = identifier_bytes(identifier)
        reply = peer.ask(meter, name)
        assert text_of(reply.unit_id) == METER
        assert number(reply.data, 0, name, layout(type_name)) == (round(value * 10**decimals), 0), identifier
    time.sleep(1.1)  # a refusal is credited when no other one can still come
    with pytest.raises(Dlt645Refusal):
        peer.ask(meter, identifier_bytes("0201FF00"))
    with pytest.raises(ModbusTimeout):
        peer.ask(address_bytes(OTHER), identifier_bytes("02010100"))
    statistics = peer.meters.unit(meter).statistics
    assert (statistics.ok, statistics.refused, statistics.noise_bytes) == (len(VALUES), 1, 0)


def test_their_meter_tells_its_address(peer):
    assert text_of(peer.ask(ANY).unit_id) == METER
    assert text_of(peer.ask(ANY, identifier_bytes("02010100")).unit_id) == METER
    ending = address_bytes("AAAAAAAAAA05")
    assert text_of(peer.ask(ending, identifier_bytes("00010000")).unit_id) == METER


def test_their_client_reads_our_meter(dlt645_python):
    identifiers = ["02010100", "02020100", "02030000", "00010000", "02800002", "02060000"]
    meter = SimulatedMeter(METER, delay_ms=(20, 60), fixed={"02020100": "994980", "00010000": "64025007"})
    with Dlt645Line([meter, SimulatedMeter(OTHER)], baud=9600) as line:
        # A pseudo-terminal keeps no parity, and the library sets its port again at each read.
        words = [str(dlt645_python), str(PEER), "read", line.device, "9600", "N", METER, *identifiers]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True)
    found = json.loads(done.stdout)
    assert found["02020100"] == pytest.approx(-4.999)
    assert found["00010000"] == pytest.approx(75002.64)
    assert 200 < found["02010100"] < 260
    assert 49 < found["02800002"] < 51
    assert 0 < found["02060000"] <= 1
    assert found["02030000"] > 0
