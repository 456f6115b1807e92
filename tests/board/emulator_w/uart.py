"""A PL011 UART with FIFOs, interrupts and true byte times (RP2040 data sheet 4.2), as in emulator/uart.mjs.

rp2040py's own moves bytes at once and never lets go of its transmit interrupt.
"""

from collections import deque

from rp2040py.gpio_pin import GPIOPinState
from rp2040py.peripherals.peripheral import BasePeripheral

DATA, FLAGS, DIVISOR, FRACTION, LINE, CONTROL, LEVELS, MASK, RAW, MASKED, CLEAR = (
    0x00, 0x18, 0x24, 0x28, 0x2C, 0x30, 0x34, 0x38, 0x3C, 0x40, 0x44)  # fmt: skip
INT_RECEIVE, INT_TRANSMIT, INT_RECEIVE_TIMEOUT, INT_OVERRUN = 0x10, 0x20, 0x40, 0x400
FLAG_BUSY, FLAG_RX_EMPTY, FLAG_TX_FULL, FLAG_RX_FULL, FLAG_TX_EMPTY = 0x08, 0x10, 0x20, 0x40, 0x80
LINE_PARITY, LINE_TWO_STOP, LINE_FIFOS = 0x02, 0x08, 0x10
ENABLED_TO_RECEIVE = 0x201
FIFO_BYTES = 32
FIFO_LEVELS = (4, 8, 16, 24, 28, 28, 28, 28)
RECEIVE_TIMEOUT_BITS = 32
DATA_OVERRUN = 0x800
ADDRESSES = (0x40034, 0x40038)
QUIET_NANOS = 400e6  # what is sent after such a silence begins a new turn of the bus
TURNS_MAX = 10000
CLOCK_HZ = 48_000_000  # MicroPython runs the UARTs from the USB clock


class Uart(BasePeripheral):
    """One UART, put in the place of rp2040py's."""

    def __init__(self, mcu, index, on_sent, driver_pin=None):
        replaced = mcu.uart[index]
        super().__init__(mcu, replaced.name)
        self.irq = replaced.irq
        self.on_sent = on_sent
        self.driver_pin = driver_pin
        self.counts = dict.fromkeys(
            ("sent", "received", "overruns", "received_while_off", "sent_without_driver", "received_while_driving"), 0
        )
        self.send_alarm = mcu.clock.create_alarm(self._byte_sent)
        self.receive_alarm = mcu.clock.create_alarm(self._byte_received)
        self.timeout_alarm = mcu.clock.create_alarm(self._receive_timeout)
        self.on_the_wire = deque()
        self.receiving = False
        self.turns_ms = []  # when each turn began, since power on
        self.sent_nanos = -QUIET_NANOS
        self.reset()
        mcu.uart[index] = self
        mcu.peripherals[ADDRESSES[index]] = self

    def reset(self):
        """The chip was reset: registers and FIFOs are empty, what is on the wire goes on."""
        self.registers = {LINE: 0, CONTROL: 0x300, LEVELS: 0x12, DIVISOR: 0, FRACTION: 0}
        self.to_send = deque()
        self.received = deque()
        self.pending = 0
        self.mask = 0
        self.overrun = False
        self.sending = False

    @property
    def baud_rate(self):
        divider = self.registers[DIVISOR] + self.registers[FRACTION] / 64
        return CLOCK_HZ / (16 * divider) if divider else 115200

    @property
    def bits_per_byte(self):
        line = self.registers[LINE]
        return 7 + ((line >> 5) & 3) + bool(line & LINE_PARITY) + bool(line & LINE_TWO_STOP)

    @property
    def byte_nanos(self):
        return 1e9 * self.bits_per_byte / self.baud_rate

    @property
    def fifo_bytes(self):
        return FIFO_BYTES if self.registers[LINE] & LINE_FIFOS else 1

    @property
    def send_level(self):
        return FIFO_LEVELS[self.registers[LEVELS] & 7] if self.fifo_bytes > 1 else 0

    @property
    def receive_level(self):
        return FIFO_LEVELS[self.registers[LEVELS] >> 3 & 7] if self.fifo_bytes > 1 else 1

    def driver_on(self):
        """Whether the RS-485 driver is enabled; None where there is none to enable."""
        if self.driver_pin is None:
            return None
        return self.rp2040.gpio[self.driver_pin].value == GPIOPinState.HIGH

    def _interrupt(self, raised=0, lowered=0):
        self.pending = (self.pending | raised) & ~lowered
        self.rp2040.set_interrupt(self.irq, bool(self.pending & self.mask))

    def feed(self, data):
        """Bytes that begin to arrive on the wire now, one after the other at the board's own baud rate."""
        self.on_the_wire.extend(data)
        if self.on_the_wire and not self.receiving:
            self.receiving = True
            self.receive_alarm.schedule(self.byte_nanos)

    def _byte_received(self):
        byte = self.on_the_wire.popleft()
        self.counts["received"] += 1
        if self.driver_on():
            self.counts["received_while_driving"] += 1
        if self.registers[CONTROL] & ENABLED_TO_RECEIVE != ENABLED_TO_RECEIVE:
            self.counts["received_while_off"] += 1
        elif len(self.received) >= self.fifo_bytes:
            self.counts["overruns"] += 1
            self.overrun = True
            self._interrupt(INT_OVERRUN)
        else:
            self.received.append(byte)
            if len(self.received) >= self.receive_level:
                self._interrupt(INT_RECEIVE)
            self.timeout_alarm.schedule(RECEIVE_TIMEOUT_BITS * 1e9 / self.baud_rate)
        self.receiving = bool(self.on_the_wire)
        if self.receiving:
            self.receive_alarm.schedule(self.byte_nanos)

    def _receive_timeout(self):
        if self.received:
            self._interrupt(INT_RECEIVE_TIMEOUT)

    def _start_sending(self):
        self.sending = True
        now = self.rp2040.clock.nanos
        if now - self.sent_nanos > QUIET_NANOS and len(self.turns_ms) < TURNS_MAX:
            self.turns_ms.append(round(now / 1e6, 3))
        self.sent_nanos = now
        self.driver_was_on = self.driver_on() is not False
        self.send_alarm.schedule(self.byte_nanos)

    def _byte_sent(self):
        if not self.to_send:  # a reset came between
            self.sending = False
            return
        byte = self.to_send.popleft()
        self.counts["sent"] += 1
        if self.driver_was_on and self.driver_on() is not False:
            self.on_sent(byte)
        else:
            self.counts["sent_without_driver"] += 1
        if len(self.to_send) == self.send_level:
            self._interrupt(INT_TRANSMIT)
        self.sending = False
        if self.to_send:
            self._start_sending()

    def read_uint32(self, offset):
        if offset == DATA:
            value = self.received.popleft() if self.received else 0
            if self.overrun:
                value |= DATA_OVERRUN
                self.overrun = False
            if len(self.received) < self.receive_level:
                self._interrupt(lowered=INT_RECEIVE)
            if not self.received:
                self._interrupt(lowered=INT_RECEIVE_TIMEOUT)
            return value
        if offset == FLAGS:
            return (
                FLAG_BUSY * self.sending
                | FLAG_RX_EMPTY * (not self.received)
                | FLAG_RX_FULL * (len(self.received) >= self.fifo_bytes)
                | FLAG_TX_FULL * (len(self.to_send) > self.fifo_bytes)
                | FLAG_TX_EMPTY * (not self.to_send)
            )
        special = {MASK: self.mask, RAW: self.pending, MASKED: self.pending & self.mask}
        return special[offset] if offset in special else self.registers.get(offset, 0)

    def write_uint32(self, offset, value):
        if offset == DATA:
            self.to_send.append(value & 0xFF)
            if len(self.to_send) > self.send_level:
                self._interrupt(lowered=INT_TRANSMIT)
            if not self.sending:
                self._start_sending()
        elif offset == MASK:
            self.mask = value & 0x7FF
            self._interrupt()
        elif offset == CLEAR:
            self._interrupt(lowered=self.raw_write_value)
        else:
            self.registers[offset] = value

    def summary(self):
        line = {"baud_rate": round(self.baud_rate), "bits_per_byte": self.bits_per_byte}
        return {**line, **self.counts, "turns_ms": self.turns_ms}
