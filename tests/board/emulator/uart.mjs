// A PL011 UART with its FIFOs, interrupts and true byte times (RP2040 data sheet 4.2). rp2040js has one that moves
// bytes at once and can neither overrun nor be late, which is what firmware for a bus must be tried against.
import { BasePeripheral } from './library.mjs';

const REG = {
  data: 0x00, flags: 0x18, divisor: 0x24, fraction: 0x28, line: 0x2c, control: 0x30, levels: 0x34, mask: 0x38,
  raw: 0x3c, masked: 0x40, clear: 0x44,
};
const INT = { receive: 0x10, transmit: 0x20, receiveTimeout: 0x40, overrun: 0x400 };
const FLAG = { busy: 0x08, rxEmpty: 0x10, txFull: 0x20, rxFull: 0x40, txEmpty: 0x80 };
const LINE = { parity: 0x02, twoStop: 0x08, fifos: 0x10 };
const ENABLED_TO_RECEIVE = 0x201;
const FIFO_BYTES = 32;
const LEVELS = [4, 8, 16, 24, 28];
const RECEIVE_TIMEOUT_BITS = 32;
const DATA_OVERRUN = 0x800;
const QUIET_NANOS = 400e6; // what is sent after such a silence begins a new turn of the bus
const TURNS_MAX = 10000;

export class Uart extends BasePeripheral {
  // onSent(byte) is called when a byte has left; driverOn() tells whether the RS-485 driver is enabled now.
  constructor(mcu, index, irq, onSent, driverOn) {
    super(mcu, `UART${index}`);
    Object.assign(this, { index, irq, onSent, driverOn });
    this.registers = { [REG.line]: 0, [REG.control]: 0x300, [REG.levels]: 0x12, [REG.divisor]: 0, [REG.fraction]: 0 };
    this.toSend = [];
    this.received = [];
    this.onTheWire = [];
    this.pending = 0;
    this.mask = 0;
    this.overrunFlag = false;
    this.sending = false;
    this.receiving = false;
    this.turnsMs = []; // when each turn began, since power on
    this.sentNanos = -QUIET_NANOS;
    this.counts = {
      sent: 0, received: 0, overruns: 0, received_while_off: 0, sent_without_driver: 0, received_while_driving: 0,
    };
    this.sendAlarm = mcu.clock.createAlarm(() => this.byteSent());
    this.receiveAlarm = mcu.clock.createAlarm(() => this.byteReceived());
    this.timeoutAlarm = mcu.clock.createAlarm(() => this.received.length && this.raise(INT.receiveTimeout));
  }

  get baudRate() {
    const divider = this.registers[REG.divisor] + this.registers[REG.fraction] / 64;
    return divider ? this.rp2040.clkPeri / (16 * divider) : 0;
  }

  get bitsPerByte() {
    const line = this.registers[REG.line];
    return 1 + 5 + ((line >> 5) & 3) + (line & LINE.parity ? 1 : 0) + (line & LINE.twoStop ? 2 : 1);
  }

  get byteNanos() {
    return (1e9 * this.bitsPerByte) / (this.baudRate || 115200);
  }

  get fifoBytes() {
    return this.registers[REG.line] & LINE.fifos ? FIFO_BYTES : 1;
  }

  get sendLevel() {
    return this.fifoBytes === 1 ? 0 : LEVELS[this.registers[REG.levels] & 7] ?? 28;
  }

  get receiveLevel() {
    return this.fifoBytes === 1 ? 1 : LEVELS[(this.registers[REG.levels] >> 3) & 7] ?? 28;
  }

  raise(bits) {
    this.pending |= bits;
    this.updateInterrupt();
  }

  lower(bits) {
    this.pending &= ~bits;
    this.updateInterrupt();
  }

  updateInterrupt() {
    this.rp2040.setInterrupt(this.irq, (this.pending & this.mask) !== 0);
  }

  // Bytes that begin to arrive on the wire now, one after the other at the board's own baud rate.
  feed(bytes) {
    for (const byte of bytes) this.onTheWire.push(byte);
    if (!this.receiving && this.onTheWire.length) {
      this.receiving = true;
      this.receiveAlarm.schedule(this.byteNanos);
    }
  }

  byteReceived() {
    const byte = this.onTheWire.shift();
    this.counts.received++;
    if (this.driverOn() === true) this.counts.received_while_driving++;
    if ((this.registers[REG.control] & ENABLED_TO_RECEIVE) !== ENABLED_TO_RECEIVE) {
      this.counts.received_while_off++;
    } else if (this.received.length >= this.fifoBytes) {
      this.counts.overruns++;
      this.overrunFlag = true;
      this.raise(INT.overrun);
    } else {
      this.received.push(byte);
      if (this.received.length >= this.receiveLevel) this.raise(INT.receive);
      this.timeoutAlarm.schedule((RECEIVE_TIMEOUT_BITS * 1e9) / (this.baudRate || 115200));
    }
    if (this.onTheWire.length) this.receiveAlarm.schedule(this.byteNanos);
    else this.receiving = false;
  }

  startSending() {
    this.sending = true;
    const now = this.rp2040.clock.nanos;
    if (now - this.sentNanos > QUIET_NANOS && this.turnsMs.length < TURNS_MAX) this.turnsMs.push(Math.round(now / 1e3) / 1e3);
    this.sentNanos = now;
    this.driverWasOn = this.driverOn() !== false;
    this.sendAlarm.schedule(this.byteNanos);
  }

  byteSent() {
    const byte = this.toSend.shift();
    this.counts.sent++;
    // Half a byte with the driver off is no byte to anyone on the bus.
    if (this.driverWasOn && this.driverOn() !== false) this.onSent(byte);
    else this.counts.sent_without_driver++;
    if (this.toSend.length === this.sendLevel) this.raise(INT.transmit);
    if (this.toSend.length) this.startSending();
    else this.sending = false;
  }

  readUint32(offset) {
    switch (offset) {
      case REG.data: {
        let value = this.received.length ? this.received.shift() : 0;
        if (this.overrunFlag) value |= DATA_OVERRUN;
        this.overrunFlag = false;
        if (this.received.length < this.receiveLevel) this.lower(INT.receive);
        if (!this.received.length) this.lower(INT.receiveTimeout);
        return value;
      }
      case REG.flags:
        return (
          (this.sending ? FLAG.busy : 0) |
          (this.received.length ? 0 : FLAG.rxEmpty) |
          (this.received.length >= this.fifoBytes ? FLAG.rxFull : 0) |
          (this.toSend.length > this.fifoBytes ? FLAG.txFull : 0) |
          (this.toSend.length ? 0 : FLAG.txEmpty)
        );
      case REG.mask:
        return this.mask;
      case REG.raw:
        return this.pending;
      case REG.masked:
        return this.pending & this.mask;
      default:
        return this.registers[offset] ?? 0;
    }
  }

  writeUint32(offset, value) {
    switch (offset) {
      case REG.data:
        this.toSend.push(value & 0xff);
        if (this.toSend.length > this.sendLevel) this.lower(INT.transmit);
        if (!this.sending) this.startSending();
        return;
      case REG.mask:
        this.mask = value & 0x7ff;
        return this.updateInterrupt();
      case REG.clear:
        return this.lower(this.rawWriteValue);
      default:
        this.registers[offset] = value;
    }
  }

  summary() {
    return { baud_rate: Math.round(this.baudRate), bits_per_byte: this.bitsPerByte, ...this.counts, turns_ms: this.turnsMs };
  }
}
