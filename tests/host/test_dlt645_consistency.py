"""DL/T 645 meters are judged like Modbus ones: a fault of the installation is flagged, signed, and rightly named."""

import asyncio
import json
from types import SimpleNamespace

import pytest

from host_tools.base import profile_files
from host_tools.meters.dlt645.simulator import Memory, SimulatedMeter
from host_tools.meters.load_curve import read as read_curve
from parkgate.meters.consistency import diagnosis
from parkgate.meters.dlt645.client import Client
from parkgate.meters.dlt645.frame import Reply, text_of
from parkgate.reading import INCONSISTENT
from sensors import build

ADDRESS = "000006605518"
EVERY_S = 20


class Line:
    """A bus whose meter answers at once."""

    def __init__(self, memory):
        self.client = Client(2400)
        self.memory = memory
        self.now_s = 0

    async def exchange(self, unit_id, function, address, _content):
        statistics = self.client.unit(unit_id).statistics
        statistics.requests += 1
        statistics.ok += 1
        data = self.memory.read(text_of(address), self.now_s)
        assert data is not None, text_of(address)
        return Reply(unit_id, function, address, data, False, 0, 0, False)


def life(wiring, samples=120):
    """(events of the check, samples that were flagged) of a meter's first samples."""
    told = []
    line = Line(Memory(SimulatedMeter(ADDRESS, "dlt645-2007", wiring=wiring), read_curve()))
    item = {
        "name": "m", "profile": "dlt645-2007", "channels": [], "ct_ratio": "", "vt_ratio": "", "rest_ms": 0,
        "address": ADDRESS, "unit_id": 0, "period_ms": 1000 * EVERY_S,
    }  # fmt: skip
    notes = SimpleNamespace(
        counter=lambda *event: told.append(("counter", *event)), ratio=None,
        consistency=lambda _name, *event: told.append(event),
    )  # fmt: skip

    def read_profile(name):
        path = profile_files.find(name)
        assert path
        return json.dumps(json.loads(path.read_text(encoding="utf-8"))).encode()

    meter, schema, _ = build.meter(item, line, read_profile, lambda: 1000 * line.now_s, notes)
    assert len(schema) > 10
    flagged = 0
    for _ in range(samples):
        line.now_s += EVERY_S
        _, qualities = asyncio.run(meter.read())
        flagged += bool(qualities) and INCONSISTENT in qualities
    return told, flagged


def test_a_sound_meter_agrees_with_itself():
    assert life("") == ([], 0)


@pytest.mark.parametrize("wiring, words", [("reversed=2", "L2 reversed"), ("ratio=20", "wrong ratio")])
def test_a_fault_is_flagged_told_and_named(wiring, words):
    told, flagged = life(wiring)
    said = [diagnosis.sentence(check, *rest) for check, what, *rest in told if what == 1]
    assert flagged and any(words in text for text in said), said
