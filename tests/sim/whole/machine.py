"""A board of the world: flash, files, clock, serial line and meters, and the lives that the gateway's code lives on it.

A cut of power ends a life between two steps, or inside an operation of flash or file system, which is then done in
part. Flash, files, line and meters outlive it.
"""

import random
import types
from typing import Any

from flash_sim import BadFlash, ways
from tests.sim.whole import loop as virtual
from tests.sim.whole.modules import Modules

SECTOR_BYTES, SECTORS, PAGE_BYTES = 4096, 64, 256
WATCHDOG_MS = 8388
POWER_ON, HARD_RESET, WATCHDOG, SOFT_RESET = 1, 2, 3, 5
LINE_BAUD = 19200
VOLTAGES = 97


class PowerCut(BaseException):
    """The power went in the middle of this operation."""


class Restart(BaseException):
    """The gateway restarts its board."""


class Flash(BadFlash):
    """The strict flash, which may be bad and may lose its power at any operation."""

    machine: "Machine"

    def _power(self, place, data):
        machine = self.machine
        if not machine.powered:
            raise PowerCut
        if machine.cut_in is not None:
            machine.cut_in -= 1
            if machine.cut_in <= 0:
                way = machine.draw.randrange(ways((place, data)))
                self.apply_cut((place, data), way, machine.draw.randrange(1 << 30))
                machine.cut_in = None
                raise PowerCut
        super()._power(place, data)


class Disk:
    """A file system in memory: a file is there as it was at its last close, a rename is whole. `os` and `open` are for
    hal.files."""

    def __init__(self, machine):
        self.machine = machine
        self.files: dict[str, bytes] = {}
        self.fails = 0  # of a thousand reads
        self.failed = 0
        self._in_a_row = 0

    def module(self):
        made = types.ModuleType("os")
        for name in ("stat", "rename", "remove", "mkdir", "ilistdir"):
            setattr(made, name, getattr(self, name))
        return made

    def _changes(self):
        if not self.machine.powered:
            raise PowerCut
        if self.machine.cut_in is not None:
            self.machine.cut_in -= 1
            if self.machine.cut_in <= 0:
                self.machine.cut_in = None
                raise PowerCut

    def stat(self, path):
        if path not in self.files:
            raise OSError(2, "ENOENT")
        return (0, 0, 0, 0, 0, 0, len(self.files[path]))

    def rename(self, old, new):
        self._changes()
        self.files[new] = self.files.pop(old)

    def remove(self, path):
        self.stat(path)
        self._changes()
        del self.files[path]

    def mkdir(self, _path):
        pass

    def ilistdir(self, folder):
        return [(path[len(folder) + 1 :], 0x8000, 0, len(data)) for path, data in sorted(self.files.items())]

    def open(self, path, mode="r"):
        if mode == "rb":
            self.stat(path)
            if self.fails and self._in_a_row < 2 and self.machine.draw.randrange(1000) < self.fails:
                self._in_a_row += 1
                self.failed += 1
                raise OSError(5, "EIO")
            self._in_a_row = 0
        return _Open(self, path, mode)


class _Open:
    def __init__(self, disk, path, mode):
        self.disk, self.path, self.writes = disk, path, mode != "rb"
        self.data = bytearray(disk.files.get(path, b"") if mode != "wb" else b"")
        self.at = 0

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if self.writes and kind is None:
            self.disk._changes()
            self.disk.files[self.path] = bytes(self.data)

    def read(self, count=-1):
        end = len(self.data) if count < 0 else self.at + count
        found = bytes(self.data[self.at : end])
        self.at += len(found)
        return found

    def write(self, data):
        self.data[self.at : self.at + len(data)] = data
        self.at += len(data)
        return len(data)


class Meter:
    """A meter with two registers worth reading: an energy that grows by one at each request, so that no two samples are
    the same, and a voltage that follows from it."""

    def __init__(self, base: int):
        self.value = base
        self.silent = False
        self.damages = 0  # of a thousand answers
        self.asked: list = []  # true ms of each request
        self.delivered: list = []  # (value, true ms) of each answer that went out whole

    def voltage(self, value: int) -> int:
        return 2200 + value * 31 % VOLTAGES

    def answer(self, machine, function: int, address: int, count: int):
        """The bytes behind the unit id, and whether they are damaged."""
        self.asked.append(machine.loop.now_us // 1000)
        if self.silent:
            return None
        self.value += 1
        energy = self.value
        registers = [energy >> 16, energy & 0xFFFF, self.voltage(energy)]
        if function != 3 or address + count > 3:
            return bytes([function | 0x80, 2]), False
        content = b"".join(register.to_bytes(2, "big") for register in registers[address : address + count])
        damaged = self.damages > 0 and machine.draw.randrange(1000) < self.damages
        if (address, count) == (0, 3) and not damaged:
            self.delivered.append((energy, machine.loop.now_us // 1000))
        return bytes([function, len(content)]) + content, damaged


class Line:
    """A serial line with meters on it. What goes over it takes its time."""

    def __init__(self, machine, meters: dict):
        self.machine, self.meters = machine, meters
        self._arrives: list = []  # (µs, bytes)

    def drain(self):
        now_us = self.machine.loop.now_us
        found = b"".join(data for at_us, data in self._arrives if at_us <= now_us)
        self._arrives = [each for each in self._arrives if each[0] > now_us]
        return found

    def power_lost(self):
        """What arrives while the gateway is dark is gone."""
        self._arrives.clear()

    async def write(self, data):
        early = self.drain()
        loop = self.machine.loop
        meter = self.meters.get(data[0])
        sent_us = len(data) * 11_000_000 // LINE_BAUD
        if meter and len(data) == 8:
            said = meter.answer(
                self.machine, data[1], int.from_bytes(data[2:4], "big"), int.from_bytes(data[4:6], "big")
            )
            if said:
                frame = data[:1] + said[0]
                frame += crc16(frame).to_bytes(2, "little")
                if said[1]:
                    frame = frame[:3] + bytes([frame[3] ^ 0x40]) + frame[4:]
                back_us = len(frame) * 11_000_000 // LINE_BAUD
                self._arrives.append((loop.now_us + sent_us + 4000 + back_us, frame))
        return early

    async def read(self, timeout_ms):
        loop = self.machine.loop
        end_us = loop.now_us + timeout_ms * 1000
        while not (found := self.drain()):
            due_us = min([at_us for at_us, _ in self._arrives] + [end_us])
            if loop.now_us >= end_us:
                return b""
            await virtual.sleep_ms((due_us - loop.now_us + 999) // 1000)
        return found


def crc16(data: bytes) -> int:
    """Modbus over Serial Line V1.02, 6.2.2."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
    return crc


class Counter:
    """A pulse input: so many pulses an hour, counted since the start."""

    modulo = 1 << 16

    def __init__(self, life):
        self._life = life

    def value(self):
        return (self._life.machine.loop.now_us - self._life.began_us) // 7_000_000 % self.modulo


class Heap:
    peak_bytes = used_bytes = 0

    def look(self):
        return 0

    def limit_bytes(self):
        return 195_000


class Watchdog:
    def __init__(self, life):
        self._life = life

    def feed(self):
        self._life.fed_us = self._life.machine.loop.now_us


class Board:
    """What the firmware needs of a board, with the members of boards/unix."""

    name = "world"
    journal_kind = "raw"
    has_network = True

    def __init__(self, life, modules):
        self._life, machine = life, life.machine
        self._machine = machine
        self.files = modules.load("hal.files").Files("/data")
        self.clock = modules.load("hal.clock").MonotonicClock()
        self.heap = Heap()
        self.watchdog = Watchdog(life)

    def comb_point(self):
        return None

    def wall_time(self):
        return self._machine.wall_time()

    def use_network(self, _settings):
        pass

    async def connect(self, host, port, timeout_ms, ca=b"", _unix_ms=0, pause=None):
        return await self._machine.network.connect(self._life, host, port, timeout_ms)

    def journal_flash(self):
        return self._machine.flash

    def serial(self, _bus):
        return self._machine.line

    def counter(self, _port, _debounce_us):
        return Counter(self._life)

    def entropy(self, count):
        return self._machine.draw.randbytes(count)

    def reset_cause(self):
        return self._life.cause

    def write_console(self, text):
        self._machine.console(text)

    def console(self):
        return None

    def restart(self):
        raise Restart


class Life:
    """One start of the gateway's code, up to its end."""

    def __init__(self, machine, cause: int):
        self.machine, self.cause = machine, cause
        self.alive = True
        self.tasks: list = []
        self.began_us = self.fed_us = machine.loop.now_us
        self._busy_us = machine.flash.busy_us
        self._ticks = machine.draw.choice((0, 12345, (1 << 30) - machine.draw.randrange(1, 86_400_000)))
        self._task = None

    def time_module(self):
        made = types.ModuleType("time")
        loop, machine = self.machine.loop, self.machine

        def mono_us():
            passed = loop.now_us - self.began_us
            return passed + passed * machine.ppm // 1_000_000

        half = 1 << 29
        made.__dict__.update(
            ticks_us=lambda: mono_us() + self._ticks & 0x3FFFFFFF,
            ticks_ms=lambda: mono_us() // 1000 + self._ticks & 0x3FFFFFFF,
            ticks_diff=lambda later, earlier: (later - earlier + half & 0x3FFFFFFF) - half,
            gmtime=lambda _s: (1970, 1, 1, 0, 0, 0, 3, 1),
            time_ns=lambda: loop.now_us * 1000,
        )
        return made

    def begin(self) -> None:
        """As firmware/main.py does it."""
        machine = self.machine
        given = {"asyncio": virtual.module(), "time": self.time_module(), "os": machine.disk.module()}
        modules = self.modules = Modules(given, machine.disk.open, machine.world.edits)
        self._task = virtual.Task(self._main(modules), self)
        self.tasks.append(self._task)
        machine.loop.push(self._task)
        machine.loop.call(machine.loop.now_us + 1_000_000, self._watch)

    async def _main(self, modules):
        machine = self.machine
        board = Board(self, modules)
        start = modules.load("start").Start(board)
        application = modules.load("app")
        for name, constant, value in machine.world.paces:
            setattr(modules.load(name), constant, value)
        self.app = application.App(board, start)
        machine.world.note("start")
        await self.app.main()

    def _watch(self):
        if self.alive:
            loop = self.machine.loop
            if loop.now_us - self.fed_us > WATCHDOG_MS * 1000 and self.fed_us > self.began_us:
                self.machine.world.note("watchdog")
                self.machine.off(WATCHDOG, 0)
            else:
                loop.call(loop.now_us + 1_000_000, self._watch)

    def stepped(self):
        """What flash did takes time."""
        busy_us = self.machine.flash.busy_us
        if busy_us != self._busy_us:
            self.machine.loop.now_us += busy_us - self._busy_us
            self._busy_us = busy_us

    def uncaught(self, error):
        self.machine.world.falls(self.machine, error)

    def fallen(self) -> bool:
        """Whether the program itself has ended: main.py restarts the board then."""
        return self._task is not None and self._task.done()

    def ends(self, error):
        """The power went inside an operation, or the gateway restarts."""
        if isinstance(error, Restart):
            self.machine.world.note("restart")
            self.machine.off(SOFT_RESET, 1)
        elif isinstance(error, PowerCut):
            self.machine.off(POWER_ON, self.machine.dark_s)
        else:
            raise error

    def close(self):
        """Drop every task where it stands."""
        self.alive = False
        for task in self.tasks:
            try:
                task.coro.close()
            except (Exception, virtual.CancelledError, PowerCut):
                pass
        self.tasks.clear()


class Machine:
    """One board in the world. `off` and `on` are its power."""

    def __init__(self, world, number: int, seed: int):
        self.world, self.loop, self.number = world, world.loop, number
        self.name = f"gateway {number}"
        self.draw = random.Random(seed)
        self.powered = False
        self.cut_in: int | None = None  # operations of flash and files until the power goes
        self.dark_s = 1
        self.life: Life | None = None
        self.ppm = self.draw.randint(-45, 45)
        self.flash = Flash(SECTOR_BYTES, world.plan.sectors, PAGE_BYTES, self.draw.randrange(1 << 30), {})
        self.flash.machine = self
        self.disk = Disk(self)
        base = (number + 1) * 100_000_000
        self.meters = {unit: Meter(base + unit * 10_000_000) for unit in range(1, world.plan.meters + 1)}
        self.line = Line(self, self.meters)
        self.source = None  # (offset in ms, how far it may be off by its own word, who) of the board's own source
        self.lines: list[str] = []
        self.on_ms: list = []  # [from, to] true ms in which it had power
        self.cuts = 0
        self.network: Any = None  # the world gives it one

    def console(self, text):
        if self.powered and not text.startswith("status "):
            self.lines.append(f"{self.loop.now_us // 1000} {text}")
            if len(self.lines) > 400:
                del self.lines[:200]

    def wall_time(self):
        if self.source is None:
            return None
        offset_ms, error_ms, who = self.source
        return self.loop.now_us // 1000 + offset_ms, error_ms, who

    def on(self, cause: int = POWER_ON) -> None:
        if self.powered:
            return
        self.powered = True
        self.on_ms.append([self.loop.now_us // 1000, None])
        self.life = Life(self, cause)
        self.life.begin()

    def off(self, cause: int, seconds: int) -> None:
        """End this life, and begin the next one after so many seconds."""
        if not self.powered:
            return
        self.powered, self.cut_in = False, None
        self.cuts += 1
        self.on_ms[-1][1] = self.loop.now_us // 1000
        self.network.power_lost()
        self.line.power_lost()
        if self.life:
            self.life.close()
        self.loop.call(self.loop.now_us + seconds * 1_000_000 + 1000, self.on, cause)
