// Between the processor and its flash chip: the serial controller (RP2040 data sheet 4.10), the pin that selects the
// chip (2.19.6.2) and the cache (2.6.3). Boot ROM and boot stage 2 drive all three, so they run unchanged.
import { BasePeripheral } from './library.mjs';

const REG = {
  control0: 0x00, enable: 0x08, baud: 0x14, txLevel: 0x20, rxLevel: 0x24, status: 0x28, id: 0x58, version: 0x5c,
  data: 0x60,
};
const STATUS = { busy: 1, txNotFull: 2, txEmpty: 4, rxNotEmpty: 8 };
const SELECT_LOW = 2; // values of OUTOVER: the pin is forced low or high, else the controller drives it
const SELECT_HIGH = 3;

export class SerialFlashController extends BasePeripheral {
  constructor(mcu, chip) {
    super(mcu, 'SSI');
    this.chip = chip;
    this.registers = { [REG.baud]: 4 };
    this.received = []; // [byte, time at which it is there]
    this.lineFreeAt = 0;
    this.override = 0;
  }

  // Written to the pin's control register by the boot ROM, which selects the chip by hand.
  overrideSelect(value) {
    if (value === this.override) return;
    this.override = value;
    this.chip.deselect();
    if (value === SELECT_LOW) this.chip.select();
  }

  get byteNanos() {
    return (8 * Math.max(this.registers[REG.baud], 2) * 1e9) / this.rp2040.clkSys;
  }

  arrived() {
    const now = this.rp2040.clock.nanos;
    let count = 0;
    while (count < this.received.length && this.received[count][1] <= now) count++;
    return count;
  }

  readUint32(offset) {
    const arrived = this.arrived();
    switch (offset) {
      case REG.txLevel:
        return this.received.length - arrived;
      case REG.rxLevel:
        return arrived;
      case REG.status: {
        const busy = this.rp2040.clock.nanos < this.lineFreeAt;
        return (busy ? STATUS.busy : STATUS.txEmpty) | STATUS.txNotFull | (arrived ? STATUS.rxNotEmpty : 0);
      }
      case REG.id:
        return 0x51535049;
      case REG.version:
        return 0x3430312a;
      case REG.data: {
        const byte = arrived ? this.received.shift()[0] : 0;
        if (!this.received.length) this.release();
        return byte;
      }
      default:
        return this.registers[offset] ?? 0;
    }
  }

  writeUint32(offset, value) {
    if (offset === REG.data) return this.send(value & 0xff);
    if (offset === REG.enable) {
      this.received.length = 0;
      this.release();
    }
    this.registers[offset] = value;
  }

  send(byte) {
    const control = this.registers[REG.control0] ?? 0;
    if ((control >>> 21) & 3) return; // quad lines: boot stage 2 starts continuous reading, which the cache does
    if (this.override !== SELECT_LOW && this.override !== SELECT_HIGH && !this.chip.selected) this.chip.select();
    const now = this.rp2040.clock.nanos;
    this.lineFreeAt = Math.max(now, this.lineFreeAt) + this.byteNanos;
    const answer = this.chip.exchange(byte);
    const sendOnly = ((control >>> 8) & 3) === 1;
    if (sendOnly) this.release();
    else this.received.push([answer, this.lineFreeAt]);
  }

  // With nothing more to send, the controller lets go of the pin by itself unless it is forced.
  release() {
    if (this.override !== SELECT_LOW) this.chip.deselect();
  }
}

// The pins of the flash chip; only the select pin's control register has an effect.
export class FlashPins extends BasePeripheral {
  constructor(mcu, controller) {
    super(mcu, 'IO_QSPI');
    this.controller = controller;
    this.registers = { 0x0c: 0x1f };
  }

  readUint32(offset) {
    return this.registers[offset] ?? 0;
  }

  writeUint32(offset, value) {
    this.registers[offset] = value;
    if (offset === 0x0c) this.controller.overrideSelect((value >>> 8) & 3);
  }
}

// 16 KiB in two ways of 1024 lines of 8 bytes, which are filled by halves. A miss holds the processor for one
// serial read of 4 bytes: 8 clocks of address and mode, 4 of waiting, 8 of data, and some of hand-over.
// Which of the two ways is given up is not documented; here it is the one not used last.
const SETS = 1024;
const MISS_SERIAL_CLOCKS = 20;
const MISS_HANDOVER_CYCLES = 6;
const SERIAL_CLOCK_DIVIDER = 2;

export class FlashCache extends BasePeripheral {
  constructor(mcu) {
    super(mcu, 'XIP_CTRL');
    this.tags = new Int32Array(2 * SETS).fill(-1);
    this.halves = new Uint8Array(2 * SETS);
    this.lastWay = new Uint8Array(SETS);
    this.stallCycles = 0;
    this.hits = 0;
    this.misses = 0;
  }

  // Lets every read of the cached flash through the cache, and so cost what it costs.
  attach() {
    const mcu = this.rp2040;
    for (const name of ['readUint8', 'readUint16', 'readUint32']) {
      const read = mcu[name].bind(mcu);
      mcu[name] = (address) => {
        if (address >>> 24 === 0x10) this.look(address & 0xffffff);
        return read(address);
      };
    }
  }

  look(offset) {
    const line = offset >>> 3;
    const set = line & (SETS - 1);
    const half = offset & 4 ? 2 : 1;
    let slot = set;
    if (this.tags[slot] !== line) {
      slot = set + SETS;
      if (this.tags[slot] !== line) {
        slot = this.lastWay[set] ? set : set + SETS;
        this.tags[slot] = line;
        this.halves[slot] = 0;
      }
    }
    this.lastWay[set] = slot === set ? 0 : 1;
    if (this.halves[slot] & half) {
      this.hits++;
      return;
    }
    this.halves[slot] |= half;
    this.misses++;
    this.stallCycles += MISS_SERIAL_CLOCKS * SERIAL_CLOCK_DIVIDER + MISS_HANDOVER_CYCLES;
  }

  readUint32(offset) {
    if (offset === 0x00) return 3; // enabled
    if (offset === 0x08) return 7; // flush done, stream idle
    return 0;
  }

  writeUint32(offset) {
    if (offset === 0x04) this.tags.fill(-1);
  }
}
