"""What tests/bench/drivers.py runs on MicroPython's Unix port, once for each family; prints one line of JSON."""

import gc
import json
import math
import sys
import time

from sensor_fakes import (
    FakeAdc,
    FakeAds1115,
    FakeAdxl345,
    FakeBme280,
    FakeCounter,
    FakeI2c,
    FakeLis3dh,
    FakePin,
    FakeSht3x,
    FakeSpi,
    FakeWire,
    Faults,
    World,
    run,
)

POLLS = {"lis3dh": 20, "adxl345": 20, "ct_clamp": 100}


def used():
    """Bytes of the heap in use."""
    gc.collect()
    return gc.mem_alloc()


def shaking(t):
    return 0.05 * math.sin(155 * t), 0.0, 1.0


def bme280_coefficients():
    import struct

    data = struct.pack("<Hhh", 27504, 26435, -1000)
    data += struct.pack("<Hhhhhhhhh", 36477, -10685, 3024, 2855, 140, -7, 15500, -14600, 6000) + bytes([0, 75])
    return data + struct.pack("<hB", 367, 0) + bytes([313 >> 4, 313 & 15 | (50 & 15) << 4, 50 >> 4, 30])


class Board:
    """Every port has the part that the family wants."""

    def __init__(self, world, family):
        self.clock = world
        chips = {
            "sht3x": lambda: {0x44: FakeSht3x(lambda t: 20, lambda t: 50)},
            "bme280": lambda: {0x76: FakeBme280(bme280_coefficients(), lambda t: (519888, 415148, 30000))},
            "current_loop": lambda: {0x48: FakeAds1115([lambda t: 1200000, None, None, None])},
            "lis3dh": lambda: {0x18: FakeLis3dh(shaking, Faults(noise=1))},
            "adxl345": lambda: {0x53: FakeAdxl345(shaking, Faults(noise=1))},
        }
        self._i2c = FakeI2c(chips.get(family, dict)(), world.now_us, world.spend_us)
        self._counter = FakeCounter(lambda t: 2 * t, world.now_us)
        self._pins = {name: FakePin() for name in ("p", "alarm", "power")}
        self._wire = FakeWire({b"": lambda t: 40.0}, world.now_us)
        self._adc = FakeAdc(lambda t: 0.5 + 0.2 * math.sin(314.16 * t), world.now_us, world.sleep_ms)

    def i2c(self, port):
        return self._i2c

    def spi(self, port):
        return FakeSpi(self._i2c.chips[0x53], self.clock.now_us), None

    def counter(self, port, debounce_us):
        return self._counter

    def input(self, port):
        return self._pins[port]

    def adc(self, port):
        return self._adc

    def onewire(self, port):
        return self._wire


OPTIONS = {
    "current_loop": {"quantity": "level", "at_4ma": 0, "at_20ma": 1000},
    "ct_clamp": {"calibration_id": "CT-1", "ma_numerator": 1},
    "machine_state": {"alarm": "alarm", "power": "power"},
    "pulses": {"quantity": "import_active_energy", "numerator": 1000, "denominator": 800},
}


def measure(family, size):
    """Figures of one family as (name, value, unit)."""
    from parkgate.settings.schema import validate

    item = validate({"sensors": [{"name": "x", "family": family, "port": "p", "options": OPTIONS.get(family, {})}]})
    item = item["sensors"][0]
    from sensors.build import build

    world = World()
    board = Board(world, family)
    before = used()
    sensor = build(item, board, world.sleep_ms)
    built = used()
    run(sensor.read())
    polled = used()
    polls = POLLS.get(family, 500) * size
    run(sensor.read())
    gc.collect()
    start = gc.mem_alloc()
    gc.disable()
    run(sensor.read())
    garbage = gc.mem_alloc() - start
    gc.enable()
    first = used()
    began_us = time.ticks_us()
    for _ in range(polls):
        run(sensor.read())
    taken_us = time.ticks_diff(time.ticks_us(), began_us)
    grown = used() - first
    return [
        ("code and objects", built - before, "B"),
        ("kept after a first poll", polled - before, "B"),
        ("garbage of a poll", garbage, "B"),
        ("poll, the simulated part included", taken_us // polls, "us"),
        ("growth over %d polls" % polls, grown, "B"),
    ]


def measure_reduction():
    """A Reporter for six channels with four reductions."""
    import parkgate.quantities
    import parkgate.reading  # noqa: F401

    before = used()
    from parkgate.sensing.reduction import Reporter

    schema = [["voltage_l%d" % i, "V", 1] for i in (1, 2, 3)] + [["current_l%d" % i, "A", 3] for i in (1, 2, 3)]
    code = used()
    reporter = Reporter(schema, ("mean", "min", "max", "last"), 10)
    values = [2301, 2302, 2303, 5000, 6000, 7000]
    for i in range(20):
        reporter.add(1000 * i, values)
    made = used()
    for i in range(20, 1020):
        reporter.add(1000 * i, values)
    return [
        ("code", code - before, "B"),
        ("objects for six channels", made - code, "B"),
        ("growth over 1,000 samples", used() - made, "B"),
    ]


def measure_parts():
    """What the demo's workshop simulates with: code of its parts, and the parts."""
    before = used()
    import fake_accelerometer
    import fake_bus
    import fake_inputs
    import workshop  # noqa: F401

    code = used()
    world = World()
    chips = {0x18: fake_accelerometer.FakeLis3dh(shaking, fake_bus.Faults(noise=1))}
    parts = [fake_bus.FakeI2c(chips, world.now_us), fake_inputs.FakePin(), fake_inputs.FakePin()]
    parts.append(fake_inputs.FakeCounter(lambda t: 2 * t, world.now_us))
    return [("code of the demo's parts", code - before, "B"), ("%d parts" % (len(parts) + 1), used() - code, "B")]


def main(family, size):
    """Measure and print."""
    if family == "simulated parts":
        for name in ("fake_accelerometer", "fake_bus", "fake_inputs"):
            sys.modules.pop(name)  # to be loaded anew
        found = measure_parts()
    elif family == "reduction":
        found = measure_reduction()
    else:
        found = measure(family, size)
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
