"""Runs on MicroPython: polls instruments for a long time and says what is left of each poll in the heap.

micropython sampling_memory_device.py POLLS [leak]

A Modbus meter is read by the firmware's bus over a line with all its faults (silence, damage, late and foreign replies,
exceptions), every other family by its driver on the simulated parts; each sample is encoded as for the journal. `leak`
plants a fault: one small object a poll is kept. Prints {name: [bytes after POLLS, after 2 POLLS, after 3 POLLS]}.
"""

import asyncio
import gc
import json
import sys

POLLS = int(sys.argv[1])
SLOW = {"ct_clamp": 10, "lis3dh": 50, "adxl345": 50}  # these measure for longer
LEAK = [] if len(sys.argv) > 2 else None


class Line:
    """A serial line in virtual time with a meter of ten floats, whose replies suffer in turn."""

    def __init__(self):
        self.us = 0
        self._waiting = []
        self._asked = 0

    def ticks_us(self):
        return self.us & 0x3FFFFFFF

    def mono_ms(self):
        return self.us // 1000

    async def write(self, data):
        self.us += 8 * 1146
        self._asked += 1
        count = data[4] << 8 | data[5]
        reply = frame(bytes((data[0], data[1], 2 * count)) + bytes([self._asked & 127, 1, 2, 3]) * (count // 2 + 1))
        reply = frame(bytes((data[0], data[1], 2 * count)) + reply[3 : 3 + 2 * count])
        fault = self._asked % 23
        if fault == 1:  # silence, and the reply when nobody waits any more
            self._waiting = [(700, reply)]
        elif fault == 4:
            self._waiting = [(20, reply[:7] + b"\xa5" + reply[8:])]
        elif fault == 7:
            self._waiting = [(20, frame(bytes((9,)) + reply[1:-2])), (5, reply)]
        elif fault == 9:
            self._waiting = [(20, frame(bytes((data[0], data[1] | 0x80, 6))))]
        elif fault == 12:
            self._waiting = [(20, reply[:11])]
        elif fault == 15:
            self._waiting = [(20, data), (20, reply)]
        else:
            self._waiting = [(20, reply[:20]), (30, reply[20:])]

    def drain(self):
        if self._waiting and self._waiting[0][0] <= 0:
            return self._waiting.pop(0)[1]
        return b""

    async def read(self, timeout_ms):
        if self._waiting and self._waiting[0][0] <= timeout_ms:
            wait_ms, data = self._waiting.pop(0)
            self.us += wait_ms * 1000
            return data
        if self._waiting:
            self._waiting[0] = (self._waiting[0][0] - timeout_ms, self._waiting[0][1])
        self.us += timeout_ms * 1000
        return b""


def used():
    gc.collect()
    return gc.mem_alloc()


def drive(coroutine):
    return asyncio.get_event_loop().run_until_complete(coroutine)


async def polls(instrument, report, clock):
    for _ in range(POLLS // SLOW.get(instrument.name, 1)):
        try:
            values, qualities = await instrument.read()
        except OSError:
            values, qualities = [None] * instrument.channels, bytes([10] * instrument.channels)
        row = report.add(clock(), values, qualities) if report else (values, qualities)
        if row:
            encode_sample(3, 1800000000000, 0, *row)
        if LEAK is not None:
            LEAK.append(bytes(16))


def grown(instrument, report, clock):
    """Heap in use after each of three times POLLS, from where it was after a first few."""
    drive(polls(instrument, report, clock))  # buffers have their size, counters are no small integers any more
    before = used()
    found = []
    for _ in range(3):
        drive(polls(instrument, report, clock))
        found.append(used() - before)
    if LEAK:
        LEAK.clear()
    return found


from drivers_device import OPTIONS, Board, World  # noqa: E402

from bus import ModbusBus  # noqa: E402
from parkgate.meters import counters, registers  # noqa: E402
from parkgate.meters.modbus.client import Client  # noqa: E402
from parkgate.meters.modbus.frame import frame  # noqa: E402
from parkgate.meters.read_plan import ReadPlan  # noqa: E402
from parkgate.reading import encode_sample  # noqa: E402
from parkgate.sensing.reduction import Reporter  # noqa: E402
from parkgate.settings.schema import validate  # noqa: E402
from parkgate.settings.sensors import FAMILIES  # noqa: E402
from sensors.build import build  # noqa: E402
from sensors.modbus_meter import ModbusMeter  # noqa: E402


def meter():
    line = Line()
    bus = ModbusBus(line, Client(9600), line.ticks_us)
    bus.client.unit(1)
    float32 = registers.layout("float32", "ABCD", False, 4)
    plan = ReadPlan([(2 * i, float32, 1) for i in range(10)], 125)
    made = ModbusMeter("meter", 1, 1000, plan, bus)
    check = counters.CounterCheck(10000, None)
    made.check_counters([("voltage", None)] * 9 + [("import_active_energy", check)], line.mono_ms, lambda *event: None)
    return made, line.mono_ms


def main():
    found = {}
    made, clock = meter()
    found["modbus"] = grown(made, None, clock)
    made, clock = meter()
    schema = [["voltage_l%d" % i, "V", 1] for i in range(10)]
    found["modbus, reduced"] = grown(made, Reporter(schema, ("mean", "max"), 10, 60000), clock)
    for family in FAMILIES:
        item = {"name": family, "family": family, "port": "p", "options": OPTIONS.get(family, {})}
        item = validate({"sensors": [item]})["sensors"][0]
        world = World()
        sensor = build(item, Board(world, family), world.sleep_ms)
        found[family] = grown(sensor, None, world.mono_ms)
    print(json.dumps(found))


main()
