"""A half-duplex serial line on a UART, with a driver-enable pin where the RS-485 transceiver has one."""

import asyncio
import time

from machine import UART, Pin

from parkgate.errors import LinkError

_RX_BYTES = 512  # two of the longest Modbus frames
_PAUSE_MS = 5  # between looks at the receiver; its FIFO and buffer hold far more
_ENOUGH_BYTES = 256  # a whole Modbus frame


class Serial:
    """`pins` is (uart, tx, rx, driver enable or None), or None when the board has no such port: then every use says
    so. Nothing is touched before the first use."""

    def __init__(self, device: str, pins, baud: int, parity: str, stop_bits: int):
        self.device = device
        self.baud = baud
        self._pins = pins
        self._parity = {"N": None, "E": 0, "O": 1}[parity]
        self._stop_bits = stop_bits
        self._uart = None
        self._drive = None

    def _open(self):
        if self._pins is None:
            raise LinkError("this board has no serial port %r" % self.device)
        number, tx, rx, enable = self._pins
        if enable is not None:
            self._drive = Pin(enable, Pin.OUT, value=0)
        try:
            self._uart = UART(
                number,
                baudrate=self.baud,
                bits=8,
                parity=self._parity,
                stop=self._stop_bits,
                tx=Pin(tx),
                rx=Pin(rx, Pin.IN, Pin.PULL_UP),
                rxbuf=_RX_BYTES,
                timeout=0,
            )
        except (OSError, ValueError) as e:
            raise LinkError("serial port %s: %s" % (self.device, e))
        return self._uart

    async def write(self, data: bytes) -> bytes:
        """Send `data` and give the line back. Returns when the last bit is out (8.3 ms for a request at 9,600 baud):
        a driver that stays on a moment too long would cut into the answer, so no other task runs meanwhile. What the
        receiver holds at that moment is returned: it came before the request had ended."""
        uart = self._uart or self._open()
        drive = self._drive
        try:
            if drive:
                drive(1)
            if uart.write(data) != len(data):
                raise LinkError("serial port %s took less than was sent" % self.device)
            uart.flush()  # the driver ends it by a timeout of its own
        except OSError as e:
            raise LinkError("serial port %s: %s" % (self.device, e))
        finally:
            if drive:
                drive(0)
        return self.drain()

    def drain(self) -> bytes:
        """What has arrived, b"" for nothing. Never waits."""
        uart = self._uart or self._open()
        count = uart.any()
        return (uart.read(count) or b"") if count else b""

    async def read(self, timeout_ms: int) -> bytes:
        """What has arrived when the line falls silent for a moment, at least a byte, or b"" when nothing did within
        `timeout_ms`. A reply is handed over whole: each piece costs more of an RP2040 than all the waiting for it."""
        uart = self._uart or self._open()
        deadline = time.ticks_add(time.ticks_ms(), timeout_ms)
        before = 0
        while True:
            count = uart.any()
            left = time.ticks_diff(deadline, time.ticks_ms())
            if count and (count == before or count >= _ENOUGH_BYTES or left <= 0):
                return uart.read(count) or b""
            if left <= 0:
                return b""
            before = count
            await asyncio.sleep_ms(min(left, _PAUSE_MS))
