"""The simulated board's sensors: chips and contacts on its ports, as the file workshop.json of its folder says.

    {"seed": 1, "ports": {
        "s0":   {"part": "pulses", "hz": 2.5},
        "s1":   {"part": "pulses", "steps": [[40, 1], [15, 0], [18, 1], [60, 0]]},
        "run":  {"part": "contact", "on_s": 40, "off_s": 20, "bounces": 3},
        "w1":   {"part": "ds18b20", "rom": "28…", "world": {"value": 61, "swing": [4, 600]}},
        "w2":   {"part": "ds18s20", "world": {"value": 25}, "tail": "FFFF0C10"},
        "adc0": {"part": "clamp", "amplitude": 0.2, "hz": 50},
        "i2c0": {"chips": [
            {"part": "lis3dh", "address": 24, "hz": 24.7, "mm_s": 2.8, "faults": {"noise": 1}},
            {"part": "sht3x", "address": 68, "world": {"value": 22}, "percent": {"value": 45}},
            {"part": "ads1115", "address": 72, "microvolts": [{"value": 1200000}]}]}}}

A world is {"value": v}, with "swing": [amplitude, period in s] for a sine about it, or a recording:
{"file": "name.csv", "column": 1, "step_s": 300} with "speed" for how much faster it is replayed. "faults" of a part
are the chances and noise of fake_bus.Faults, drawn from the seed. A port that the file does not name has nothing on it.
Pulses with "steps", in ms and whether closed, are a contact that bounces, played again and again. "tail" takes the
place of bytes 4 to 7 of a 1-Wire sensor's scratchpad.
Only the parts in use are loaded: what they take comes off the simulated board's heap.
"""

import asyncio
import json
import math
import time

from parkgate.errors import SettingsError

MM_S2_A_G = 9806.65
FAULTS = ("unplugged", "damaged", "stuck", "noise")


class Workshop:
    """`files` as hal.files.Files. Nothing is touched before a port is asked for."""

    def __init__(self, files):
        self._files = files
        self._ports = None
        self._made = {}
        self._seed = 1
        self._start_us = time.ticks_us()

    def now_us(self) -> int:
        """Time since the start of the board."""
        return time.ticks_diff(time.ticks_us(), self._start_us)

    def _port(self, name):
        if self._ports is None:
            data = self._files.read("workshop.json")
            known = json.loads(data.decode()) if data else {}
            self._ports = known.get("ports", {})
            self._seed = known.get("seed", 1)
        if name not in self._ports:
            raise SettingsError("this board has no port %r; there are %s" % (name, ", ".join(sorted(self._ports))))
        return self._ports[name]

    def _faults(self, part):
        from fake_bus import Faults

        self._seed += 1
        given = part.get("faults", {})
        for name in given:
            if name not in FAULTS:
                raise SettingsError("workshop.json: there is no fault %r; there are %s" % (name, ", ".join(FAULTS)))
        return Faults(self._seed, *[given.get(name, 0) for name in FAULTS])

    def _once(self, name, make):
        if name not in self._made:
            self._made[name] = make(self._port(name))
            self._ports[name] = None  # its description is not needed again
        return self._made[name]

    def i2c(self, name):
        """A bus with its chips."""
        return self._once(name, self._make_i2c)

    def spi(self, name):
        """(bus, select) of one chip."""
        from fake_accelerometer import FakeSpi

        spi = self._once(name, lambda port: FakeSpi(self._make_chip(port), self.now_us))
        return spi, spi.select

    def counter(self, name, debounce_us):
        """A hardware counter."""
        from fake_inputs import Bouncing, FakeCounter

        def make(port):
            if "steps" in port:
                return Bouncing(port["steps"], self.now_us, debounce_us)
            return FakeCounter(lambda t: t * port["hz"], self.now_us)

        return self._once(name, make)

    def input(self, name):
        """A contact that opens and closes on a timetable."""
        return self._once(name, Contact)

    def adc(self, name):
        """An input that a current transformer is on."""
        from fake_analog import FakeAdc

        def make(port):
            amplitude, hz = port.get("amplitude", 0.2), port.get("hz", 50)
            return FakeAdc(
                lambda t: 0.5 + amplitude * math.sin(2 * math.pi * hz * t), self.now_us, asyncio.sleep_ms, 5000,
                self._faults(port),
            )  # fmt: skip

        return self._once(name, make)

    def onewire(self, name):
        """A line with one sensor."""
        from fake_analog import FakeWire

        def make(port):
            rom = bytes.fromhex(port.get("rom", ""))
            wire = FakeWire({rom: self._world(port.get("world", {}))}, self.now_us, self._faults(port))
            wire.part = port["part"]
            wire.tail = bytes.fromhex(port.get("tail", "")) or None
            return wire

        return self._once(name, make)

    def _make_i2c(self, port):
        from fake_bus import FakeI2c

        return FakeI2c({chip["address"]: self._make_chip(chip) for chip in port["chips"]}, self.now_us)

    def _make_chip(self, chip):
        part, faults = chip["part"], self._faults(chip)
        if part in ("lis3dh", "adxl345"):
            import fake_accelerometer as parts

            make = parts.FakeLis3dh if part == "lis3dh" else parts.FakeAdxl345
            return make(shaking(chip.get("mm_s", 1.0), chip.get("hz", 25.0)), faults)
        from fake_chips import FakeAds1115, FakeSht3x

        if part == "sht3x":
            return FakeSht3x(self._world(chip.get("world", {})), self._world(chip.get("percent", {})), faults)
        if part == "ads1115":
            worlds = [self._world(w) if w else None for w in chip["microvolts"]]
            return FakeAds1115(worlds + [None] * (4 - len(worlds)), faults)
        raise SettingsError("workshop.json: there is no part %r" % part)

    def _world(self, world):
        """A function of time."""
        if "file" in world:
            return Recording(self._files.folder + "/" + world["file"], world)
        value = world.get("value", 0)
        if "swing" not in world:
            return lambda t: value
        amplitude, period_s = world["swing"]
        return lambda t: value + amplitude * math.sin(2 * math.pi * t / period_s)


def shaking(mm_s, hz):
    """A machine that vibrates along x with this RMS velocity, a third of it along y, twice as fast."""
    g = mm_s * math.sqrt(2) * 2 * math.pi * hz / MM_S2_A_G
    turn = 2 * math.pi * hz
    return lambda t: (g * math.sin(turn * t), g / 1.5 * math.sin(2 * turn * t), 1.0)


class Recording:
    """One column of a CSV file, a row for each step of time; from the start again at its end."""

    def __init__(self, path, world):
        self._file = open(path)
        self._file.readline()
        self._column = world.get("column", 1)
        self._step_s = world.get("step_s", 1) / world.get("speed", 1)
        self._row = -1
        self._value = 0.0

    def __call__(self, t):
        wanted = int(t / self._step_s)
        while self._row < wanted:
            line = self._file.readline()
            if not line:
                self._file.seek(0)
                self._file.readline()
                continue
            self._value = float(line.split(",")[self._column])
            self._row += 1
        return self._value


class Contact:
    """A contact that closes and opens by a plan, with bounces, as a task calls it from the moment it is listened to."""

    def __init__(self, port):
        from fake_inputs import FakePin

        self._pin = FakePin()
        self._plan = port
        self.value = self._pin.value

    def on_edge(self, handler):
        self._pin.on_edge(handler)
        self._task = asyncio.create_task(self._play())

    async def _play(self):
        plan = self._plan
        while True:
            for level, seconds in ((1, plan["on_s"]), (0, plan["off_s"])):
                for _ in range(plan.get("bounces", 0)):
                    self._pin.set(level)
                    await asyncio.sleep_ms(1)
                    self._pin.set(1 - level)
                    await asyncio.sleep_ms(1)
                self._pin.set(level)
                await asyncio.sleep_ms(int(seconds * 1000))
