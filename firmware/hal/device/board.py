"""What every real board has in common. A folder of boards/ adds its pins, firmware/hal the rest.

Small files lie in /data, the compiled firmware in /lib: a new firmware replaces /lib and touches nothing else.
"""

import asyncio
import os
import sys
import time

import machine

from hal.clock import EPOCH_OFFSET_S, MonotonicClock, rtc_unix_ms
from hal.device.console import StandardConsole
from hal.device.entropy import Entropy
from hal.device.uart import Serial
from hal.device.watchdog import Watchdog
from hal.files import Files
from hal.memory import HeapWatch, tls_room
from parkgate.clock import DRIFT_PPM, LIFE_MS
from parkgate.errors import LinkError, NoAnswer, SettingsError
from parkgate.events import NTP

DATA = "/data"
JOURNAL = "/journal"  # where there is no raw region: folders of files
TABLE = "/lib/p256.tbl"
I2C_HZ = 100000
SPI_HZ = 1000000
NTP_TIMEOUT_MS = 3000
RTC_WRONG_MS = 60000
NTP_AGAIN_MS = 6 * 3600 * 1000
NTP_RETRY_MS = 300000  # after nobody answered, or no two agreed
DNS_TIMEOUT_MS = 5000
SILENCES_MAX = 3  # connections in a row to which nothing came back
# The place in events.CAUSES of each cause that machine.reset_cause knows on some port.
CAUSES = {"PWRON_RESET": 1, "HARD_RESET": 2, "WDT_RESET": 3, "DEEPSLEEP_RESET": 4, "SOFT_RESET": 5}


class DeviceBoard:
    """`ports` maps the names of serial ports to (uart, tx, rx, driver enable or None), `pins` the names of all other
    pins to their numbers. `link` has `async up(ms)`,
    and is None on a board without a network. `journal_kind` tells what journal_flash() gave."""

    name = "?"
    ports = {}
    pins = {}
    irq_options = {}
    adc_timer = -1  # a timer of its own, or one in software
    link = None
    journal_kind = None
    tls_room_bytes = 0  # of the heap, where mbedTLS lives there

    def __init__(self):
        tls_room.keep(self.tls_room_bytes)
        self._hush_until = None
        self._prepare_files()
        self.files = Files(DATA)
        self.clock = MonotonicClock()
        self.heap = HeapWatch()
        self.entropy = Entropy()
        self.watchdog = Watchdog()
        self._network = {}
        self._counters = 0
        self._silences = self.link_resets = self.link_downs = self.link_up_ms = 0
        self._time_at = self._asking = None
        self._offset_ms = self._error_ms = self._ask_due_ms = 0

    def _prepare_files(self):
        try:
            os.stat(DATA)
        except OSError:
            os.mkdir(DATA)

    def comb_point(self):
        """Reader of the signing table for p256.use_table; None where the module p256_table is frozen."""
        try:
            os.stat(TABLE)
        except OSError:
            return None
        from hal.comb_table import CombTable

        return CombTable(TABLE).point

    def use_network(self, settings: dict):
        """Take what the settings say of the network, and whether there will be TLS."""
        self._network = settings["network"]
        if settings["networks"]:
            self._network = dict(self._network)
            self._network["more"] = settings["networks"]
        if settings["broker"]["tls"] != "on":
            tls_room.keep(0)

    def network(self) -> dict:
        """ssid, password, country, hostname and ntp, and perhaps `more` networks; empty before there are
        settings."""
        return self._network

    @property
    def has_network(self) -> bool:
        """Whether this board can reach a broker; without, its batches are fetched by cable."""
        return self.link is not None

    async def connect(self, host: str, port: int, timeout_ms: int, ca: bytes = b"", unix_ms: int = 0, pause=None):
        """(reader, writer) of a TCP connection, by TLS where `ca` is given; the network is brought up first. `unix_ms`
        is the best guess of the time, for a board without an NTP server; `pause`: see hal.net. Raises LinkError."""
        if self.link is None:
            raise LinkError("this board has no network: its batches are fetched by cable")
        from hal import net  # not on a board without sockets

        if pause:
            await pause()  # to start a radio takes a second
        await self.link.up(timeout_ms)  # pyright: ignore[reportGeneralTypeIssues]
        self._ask_time()
        if ca:
            if self._asking and self._time_at is None:
                await self._asking  # ends within NTP_TIMEOUT_MS
            wall = self.wall_time()
            believed = wall and unix_ms - RTC_WRONG_MS <= wall[0] <= unix_ms + LIFE_MS
            self._set_tls_clock(wall[0] if wall and believed else unix_ms)
        servers = self._name_servers()
        try:
            found = await net.connect(host, port, timeout_ms, ca, pause, servers)
        except LinkError as e:
            self._silences = self._silences + 1 if isinstance(e, NoAnswer) else 0
            if self._silences >= SILENCES_MAX and hasattr(self.link, "down"):
                await self._look_at_network(servers)
            raise
        self._silences = self.link_downs = 0
        return found

    async def _look_at_network(self, servers):
        """Nobody answered several times in a row: where the name server is silent too, the network says that it is
        connected and passes nothing. Then it is brought down, and up again by the next try. `link_downs` is how often
        in a row."""
        from hal.resolver import is_silent

        self._silences = 0
        for server in servers:
            if not await is_silent(server, DNS_TIMEOUT_MS):
                return
        self.link_resets += 1
        if not self.link_downs:
            self.link_up_ms = self.clock.mono_ms()
        if servers:  # silent, all of them; where none is known it may be the broker that is away
            self.link_downs += 1
        self.link.down()

    def _set_tls_clock(self, unix_ms):
        """Set the real-time clock, by which TLS checks the dates of certificates; nothing else here looks at it."""
        if abs(rtc_unix_ms() - unix_ms) > RTC_WRONG_MS:
            now = time.gmtime(unix_ms // 1000 - EPOCH_OFFSET_S)
            machine.RTC().datetime((now[0], now[1], now[2], now[6], now[3], now[4], now[5], 0))

    def wifi_state(self) -> str:
        """The state of the network in words. Raises LinkError when it is not there."""
        state = getattr(self.link, "state", None)
        return state() if state else "this board has no Wi-Fi"

    async def resolve(self, host: str, timeout_ms: int = DNS_TIMEOUT_MS) -> str:
        """The address of a name, as text. Raises LinkError."""
        if self.link is None:
            raise LinkError("this board has no network")
        from hal import net

        return await net.resolve(host, self._name_servers(), timeout_ms)

    def _name_servers(self):
        server = self.link.name_server() if hasattr(self.link, "name_server") else "0.0.0.0"
        return () if server == "0.0.0.0" else (server,)

    def _ask_time(self):
        wanted = self._network.get("ntp")
        mono_ms = self.clock.mono_ms()
        if wanted and not self._asking and mono_ms >= self._ask_due_ms:
            self._ask_due_ms = mono_ms + NTP_RETRY_MS
            self._asking = asyncio.create_task(self._learn_time(wanted))

    async def _learn_time(self, hosts):
        """Ask every server of the setting `ntp` (names or addresses, spaces between)."""
        from hal.device.ntp import SERVERS_MAX, ask, choose

        found = []
        try:
            for host in hosts.replace(",", " ").split()[:SERVERS_MAX]:
                try:
                    unix_ms, error_ms = await ask(await self.resolve(host, NTP_TIMEOUT_MS), NTP_TIMEOUT_MS)
                    found.append((unix_ms - self.clock.mono_ms(), error_ms))
                except LinkError:
                    pass  # the others decide
            self._offset_ms, self._error_ms = choose(found)
            self._time_at = self.clock.mono_ms()
            self._ask_due_ms = self._time_at + NTP_AGAIN_MS
        except LinkError:
            pass  # asked again soon; until then the hub's answers tell the time
        finally:
            self._asking = None

    def wall_time(self):
        """(Unix time in ms, how far it may be off, source as in parkgate.events) now, as the NTP server of the settings
        told it; None while none has. It is the further off the longer ago that was."""
        if self._ask_due_ms:  # there was a connection: the time is asked for without waiting for the next
            self._ask_time()
        if self._time_at is None:
            return None
        mono_ms = self.clock.mono_ms()
        error_ms = self._error_ms + (mono_ms - self._time_at) * DRIFT_PPM // 1000000
        return self._offset_ms + mono_ms, error_ms, NTP

    def serial(self, bus: dict):
        """The serial line of one entry of settings `buses`."""
        return Serial(bus["device"], self.ports.get(bus["device"]), bus["baud"], bus["parity"], bus["stop_bits"])

    def pin(self, name: str) -> int:
        """The number of a named pin. Raises SettingsError when this board has none of that name."""
        number = self.pins.get(name)
        if number is None:
            raise SettingsError("%s has no port %r; there are %s" % (self.name, name, ", ".join(sorted(self.pins))))
        return number

    def input(self, port: str):
        """A digital input: value(), and on_edge(handler) for its interrupt."""
        from hal.device.inputs import Contact

        return Contact(self.pin(port), self.irq_options)

    def adc(self, port: str):
        """An analogue input: rate_hz and async burst(buffer)."""
        from hal.device.inputs import AnalogueInput

        return AnalogueInput(self.pin(port), self.adc_timer)

    def i2c(self, port: str):
        """An I2C bus: `port` "i2c" is on the pins i2c_sda and i2c_scl."""
        sda, scl = self.pin(port + "_sda"), self.pin(port + "_scl")
        return machine.I2C(0, sda=machine.Pin(sda), scl=machine.Pin(scl), freq=I2C_HZ)

    def spi(self, port: str):
        """(bus, select) of one chip: the calls of machine.SPI, and select(0 or 1)."""
        clock, data_out, data_in = [self.pin(port + end) for end in ("_sck", "_mosi", "_miso")]
        select = machine.Pin(self.pin(port + "_cs"), machine.Pin.OUT, value=1)
        pins = {"sck": machine.Pin(clock), "mosi": machine.Pin(data_out), "miso": machine.Pin(data_in)}
        return machine.SPI(1, baudrate=SPI_HZ, polarity=1, phase=1, **pins), select

    def onewire(self, port: str):
        """A 1-Wire line, with the calls of onewire.OneWire."""
        from onewire import OneWire

        return OneWire(machine.Pin(self.pin(port)))

    def counter_number(self) -> int:
        """A counting unit that is still free."""
        self._counters += 1
        return self._counters - 1

    def reset_cause(self) -> int:
        """Index into events.CAUSES. On RP2 a reset by the program itself looks like the watchdog's."""
        cause = machine.reset_cause()
        for name, index in CAUSES.items():
            if getattr(machine, name, None) == cause:
                return index
        return 0

    def write_console(self, text: str):
        """One line of the log to the console, while nobody types there."""
        if self._hush_until is None or time.ticks_diff(self._hush_until, time.ticks_ms()) <= 0:
            self._hush_until = None
            sys.stdout.write(text + "\n")

    def hush(self, ms: int):
        """Somebody types at the console: keep the log out of it so long."""
        self._hush_until = time.ticks_add(time.ticks_ms(), ms)

    def console(self):
        """The technician's line."""
        return StandardConsole()

    def scrub_files(self, feed):
        """Overwrite what the file system keeps of files that are gone; `feed` is called all the while."""
        from hal.device.scrub import scrub

        folders = [DATA]
        try:
            folders += [JOURNAL + "/" + row[0] for row in os.ilistdir(JOURNAL)]
        except OSError:
            pass  # it is not in files here
        scrub(folders, feed)

    def leave_to_prompt(self):
        """The next start, and no other, leads to MicroPython's prompt: main.py looks for this mark."""
        self.files.write("repl", b"")

    def restart(self):
        """Start again at once, as after a power cut."""
        machine.reset()
