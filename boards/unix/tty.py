"""A serial line on any tty path: a pty of a simulated meter or a real USB-RS-485 adapter."""

import asyncio
import termios

from parkgate.errors import LinkError

# Linux's speed codes; MicroPython's termios names only some of them.
_SPEED = {1200: 9, 2400: 11, 4800: 12, 9600: 13, 19200: 14, 38400: 15, 57600: 0x1001, 115200: 0x1002}
_CS8, _CSTOPB, _CREAD, _PARENB, _PARODD, _CLOCAL = 0x30, 0x40, 0x80, 0x100, 0x200, 0x800
_CFLAG, _ISPEED, _OSPEED, _CC = 2, 4, 5, 6
_VTIME, _VMIN = 5, 6
_REOPEN_MS = 500


class Serial:
    """Half-duplex serial line. Opened on first use and again after it was lost; nothing is touched here."""

    def __init__(self, device: str, baud: int, parity: str, stop_bits: int):
        self.device = device
        self.baud = baud
        self._parity = parity
        self._stop_bits = stop_bits
        self._file = None
        self._reader = None

    def _open(self):
        try:
            self._file = open(self.device, "r+b")
            fd = self._file.fileno()
            termios.setraw(fd)
            attributes = termios.tcgetattr(fd)
            cflag = _CS8 | _CREAD | _CLOCAL
            if self._stop_bits == 2:
                cflag |= _CSTOPB
            if self._parity != "N":
                cflag |= _PARENB | (_PARODD if self._parity == "O" else 0)
            attributes[_CFLAG] = cflag
            attributes[_ISPEED] = attributes[_OSPEED] = _SPEED[self.baud]
            attributes[_CC][_VMIN] = attributes[_CC][_VTIME] = 0  # or a read would block the whole event loop
            termios.tcsetattr(fd, termios.TCSANOW, attributes)
        except OSError as e:
            self._close()
            raise LinkError("serial port %s: %s" % (self.device, e)) from None
        self._reader = asyncio.StreamReader(self._file)

    def _close(self):
        if self._file:
            self._file.close()
        self._file = self._reader = None

    async def write(self, data: bytes) -> bytes:
        """Send `data`; what had arrived before is returned. The kernel does not tell when the last bit leaves, so this
        is the latest moment that is known to be before the end of the request. Raises LinkError when the port is not
        there."""
        early = self.drain()
        try:
            self._file.write(data)
        except OSError as e:
            self._close()
            raise LinkError("serial port %s: %s" % (self.device, e)) from None
        return early

    def drain(self) -> bytes:
        """What has arrived, b"" for nothing. Never waits. Raises LinkError when the port is not there."""
        if self._file is None:
            self._open()
        try:
            return self._file.read(512) or b""
        except OSError as e:
            self._close()
            raise LinkError("serial port %s: %s" % (self.device, e)) from None

    async def read(self, timeout_ms: int) -> bytes:
        """What has arrived, at least a byte, or b"" when nothing did within `timeout_ms`. Raises LinkError."""
        if self._file is None:
            self._open()
        try:
            data = await asyncio.wait_for_ms(self._reader.read(256), timeout_ms)
        except asyncio.TimeoutError:
            return b""
        except OSError as e:
            self._close()
            raise LinkError("serial port %s: %s" % (self.device, e)) from None
        if not data:  # readable, yet nothing there: the other end is gone
            self._close()
            await asyncio.sleep_ms(_REOPEN_MS)
            raise LinkError("serial port %s: hung up" % self.device)
        return data
