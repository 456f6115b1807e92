"""A Pico W: rp2040py's RP2040 and radio with a flash chip that lasts and can be cut, UARTs in time, a silent USB host.

The radio's access point is RP2040PY-GUEST, without a password; the board becomes 10.0.0.2, and what it connects to at
10.0.0.1 is 127.0.0.1 here. The flash takes no time in this emulator and the cycles are rough: measure on the plain
Pico. rp2040py has no public way to some of its parts; this is written for version 0.3.6.
"""

import asyncio
import contextlib
import os
import random
import time
from collections import deque

from rp2040py.boards import BoardSpec, build_rp2040_from_spec
from rp2040py.device.bootrom import BOOTROM_B1
from rp2040py.external.cyw43 import Cyw43439
from rp2040py.simulator import Simulator
from rp2040py.usb.cdc import USBCDC
from rp2040py.utils.logging import ConsoleLogger, LogLevel

from tests.board.emulator_w.uart import Uart

FLASH_BYTES = 2 * 1024 * 1024
FLASH_BASE = 0x10000000
THIS_MACHINE = "10.0.0.1"
ERASES = {0x20: 4096, 0xD8: 65536}
PROGRAM = 0x02
PAGE_BYTES = 256
PACKET_BYTES = 64
HOST_POLL_NANOS = 100_000
LOOK_NANOS = 2_000_000  # board time between two looks at the wall clock
LAG_FORGIVEN_S = 0.01


class PicoW:
    """options, on_console(bytes), on_uart(index, byte), on_event(dict): as in emulator/main.mjs."""

    def __init__(self, options, on_console, on_uart, on_event):
        self.options = options
        self.on_console = on_console
        self.on_uart = on_uart
        self.on_event = on_event
        self.pace = options.get("pace", 1)
        self.random = random.Random(options.get("seed", 0))
        self.flash_file = os.open(options["flash"], os.O_RDWR)
        self.flash = {"erases": 0, "programs": 0, "not_erased": 0}
        self.cut_after = -1
        self.tear = False
        self.on = False
        self.resets = 0
        self.board_ms_before = 0.0
        self.uart_counts = [None, None]

    def power_on(self):
        self.power_off()
        self.radio = Cyw43439()
        mcu = self.mcu = build_rp2040_from_spec(BoardSpec(extras=(lambda: self.radio,)))
        self.simulator = Simulator(rp2040=mcu)
        self.simulator.bind_loop(asyncio.get_running_loop())
        mcu.logger = ConsoleLogger(LogLevel.ERROR)
        mcu.load_bootrom(BOOTROM_B1)
        mcu.flash[:FLASH_BYTES] = os.pread(self.flash_file, FLASH_BYTES, 0)
        self._fit_flash()
        self._fit_console()
        self._fit_radio()
        self.uarts = [self._fit_uart(index) for index in (0, 1)]
        mcu.watchdog.on_watchdog_trigger = self._reset
        mcu.core.pc = FLASH_BASE
        self.on = True

    def power_off(self):
        if self.on:
            self.board_ms_before += self.simulator.clock.nanos / 1e6
            self.uart_counts = [uart.counts for uart in self.uarts]
        self.on = False

    def event(self, name, **details):
        self.on_event({"event": name, "at_ms": round(self.simulator.clock.nanos / 1e6, 3), **details})

    def _reset(self):
        self.resets += 1
        self.event("reset", reason="software" if self.mcu.watchdog.read_uint32(0x08) & 2 else "watchdog")
        self.mcu.enter_reset(from_watchdog=True)
        self.mcu.leave_reset()

    def _fit_uart(self, index):
        pin = self.options.get("driver_enable", {}).get(str(index))
        uart = Uart(self.mcu, index, lambda byte: self.on_uart(index, byte), pin)
        uart.counts = self.uart_counts[index] or uart.counts
        return uart

    def _fit_radio(self):
        async def connect(address, port):
            host = "127.0.0.1" if address == THIS_MACHINE else address
            reader, writer = await asyncio.open_connection(host, port)
            end = writer.write_eof

            def write_eof():
                with contextlib.suppress(OSError):  # the other side has gone: the bridge does not expect that here
                    end()

            writer.write_eof = write_eof
            return reader, writer

        self.radio.bus.nat_bridge._tcp._connect_fn = connect

    # Flash: every change goes to the file at once; a cut may come before it or half-way.

    def _fit_flash(self):
        controller, flash = self.mcu.ssi, self.mcu.flash
        apply = controller._apply_command

        def change():
            command = bytes(controller._tx_buffer)
            size = ERASES.get(command[0]) if command else None
            if command[:1] == bytes((PROGRAM,)) and len(command) > 4:
                size = PAGE_BYTES
            if not size or not controller._write_enabled:
                apply()
                return
            start = int.from_bytes(command[1:4], "big") & -size
            before = bytes(flash[start : start + size])
            erase = command[0] in ERASES
            if not erase:
                at = command[3]
                self.flash["not_erased"] += sum(
                    new != 0xFF and bool(new & ~before[(at + i) % PAGE_BYTES]) for i, new in enumerate(command[4:260])
                )
            apply()
            if self._cut_is_due():
                torn = self._torn(before, bytes(flash[start : start + size]), erase) if self.tear else before
                os.pwrite(self.flash_file, torn, start)
                self.event("power_cut", operation="erase" if erase else "program", address=start)
                self.power_off()
                self.simulator.stopped = True
                return
            self.flash["erases" if erase else "programs"] += 1
            os.pwrite(self.flash_file, bytes(flash[start : start + size]), start)

        controller._apply_command = change

    def _torn(self, before, after, erase):
        """Half-way: some bytes are programmed already, or some bits erased."""
        wanted = bytes(old | self.random.randrange(256) for old in before) if erase else after
        return bytes(new if self.random.randrange(2) else old for old, new in zip(before, wanted))

    def _cut_is_due(self):
        if self.cut_after < 0:
            return False
        self.cut_after -= 1
        return self.cut_after < 0

    # USB: rp2040py answers each request for data at once, with an empty packet if need be, for ever. This host waits.

    def _fit_console(self):
        console = self.console = USBCDC(self.mcu.usb_ctrl)
        console.on_serial_data = lambda data: self.on_console(bytes(data))
        console.on_device_connected = lambda: self.event("usb")
        self.to_board = deque()
        self.room = 0
        usb = self.mcu.usb_ctrl
        own_answer, own_reset = usb.on_endpoint_read, usb.on_reset

        def asked(endpoint, size):
            if endpoint == console._out_endpoint:
                self.room = size
                self._deliver()
            else:
                own_answer(endpoint, size)

        def reset():
            self.room = 0
            own_reset()

        usb.on_endpoint_read, usb.on_reset = asked, reset

    def send_console(self, data):
        """Bytes from the computer to the board."""
        self.to_board.extend(data)
        self._deliver()

    def _deliver(self):
        if self.room and self.to_board:
            count = min(self.room, PACKET_BYTES, len(self.to_board))
            self.room = 0
            packet = bytearray(self.to_board.popleft() for _ in range(count))
            self.mcu.usb_ctrl.endpoint_read_done(self.console._out_endpoint, packet)

    # Time: not ahead of the wall clock; lag is forgiven.

    async def run(self):
        """Lets the board run until it is off."""
        simulator, clock = self.simulator, self.simulator.clock
        wall, board = time.monotonic(), clock.nanos

        def lead_s():
            return (clock.nanos - board) / 1e9 / self.pace - (time.monotonic() - wall) if self.pace else 0

        def look():
            if lead_s() > 0:
                simulator.stopped = True  # ends this batch of instructions
            alarm.schedule(LOOK_NANOS)

        alarm = clock.create_alarm(look)
        alarm.schedule(LOOK_NANOS)
        while self.on and simulator is self.simulator:
            simulator.stopped = False
            simulator._execute_batch()
            lead = lead_s()
            if lead < -LAG_FORGIVEN_S:
                wall, board = time.monotonic(), clock.nanos
            await asyncio.sleep(min(max(lead, 0), 0.01))

    def summary(self):
        now = self.simulator.clock.nanos / 1e6 if self.on else 0
        return {
            "on": self.on,
            "board_ms": round(self.board_ms_before + now, 3),
            "resets": self.resets,
            "flash": dict(self.flash),
            "uart": [uart.summary() for uart in self.uarts],
            "console_waiting": len(self.to_board),
        }
