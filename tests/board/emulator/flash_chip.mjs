// The flash chip of a Pico: a W25Q16JV with 2 MiB, 256-byte pages and 4 KiB sectors, seen from its serial pins.
//
// Durations are the typical ones of the data sheet; the most it allows are 400 ms for a sector and 3 ms for a page.
// Every change goes to the file at once, so killing the emulator is a power cut; a cut can also be ordered for the
// nth operation from now, before it begins or half-way through it ("torn").
import fs from 'node:fs';

export const FLASH_BYTES = 2 * 1024 * 1024;
const ERASE_MS = { 0x20: [4096, 45], 0x52: [32768, 120], 0xd8: [65536, 150] };
const PAGE_PROGRAM_MS = 0.4;
const STATUS_WRITE_MS = 10;
const JEDEC_ID = [0xef, 0x40, 0x15];

const CMD = {
  writeStatus: 0x01, pageProgram: 0x02, readData: 0x03, writeDisable: 0x04, readStatus: 0x05, writeEnable: 0x06,
  fastRead: 0x0b, writeStatus3: 0x11, readStatus3: 0x15, writeStatus2: 0x31, readStatus2: 0x35, uniqueId: 0x4b,
  jedecId: 0x9f,
};

// What survives a power cut: the contents, in memory and in the file.
export class FlashStore {
  constructor(file) {
    this.bytes = new Uint8Array(FLASH_BYTES).fill(0xff);
    this.handle = fs.openSync(file, 'r+');
    fs.readSync(this.handle, this.bytes, 0, FLASH_BYTES, 0);
  }

  save(address, length) {
    fs.writeSync(this.handle, this.bytes, address, length, address);
  }
}

export class FlashChip {
  // clock: the board's; view: where the processor sees the contents (kept equal to the store's bytes).
  constructor(clock, store, view, { uniqueId, random, onPowerCut }) {
    Object.assign(this, { clock, store, view, random, onPowerCut });
    this.uniqueId = Buffer.from(uniqueId, 'hex');
    this.writeEnabled = false;
    this.busyUntil = 0;
    this.selected = false;
    this.bytes = [];
    this.cutAfter = -1; // operations still to be done before the cut; -1: none is ordered
    this.tear = false;
    this.counts = { erases: 0, programs: 0, programmed_bytes: 0, busy_ms: 0, not_erased: 0, while_busy: 0 };
  }

  select() {
    this.selected = true;
    this.bytes = [];
  }

  deselect() {
    if (!this.selected) return;
    this.selected = false;
    if (this.bytes.length) this.finish(this.bytes[0]);
  }

  // One byte in on the data pin, one byte out.
  exchange(byte) {
    if (!this.selected) return 0xff;
    const index = this.bytes.length;
    this.bytes.push(byte);
    if (index === 0) {
      if (byte === CMD.writeEnable) this.writeEnabled = true;
      if (byte === CMD.writeDisable) this.writeEnabled = false;
      return 0;
    }
    switch (this.bytes[0]) {
      case CMD.readStatus:
        return this.status(index);
      case CMD.readStatus2:
        return 0x02; // quad enable is set
      case CMD.jedecId:
        return JEDEC_ID[index - 1] ?? 0;
      case CMD.uniqueId:
        return index >= 5 ? this.uniqueId[(index - 5) % this.uniqueId.length] : 0;
      case CMD.readData:
        return index >= 4 ? this.view[(this.address() + index - 4) % FLASH_BYTES] : 0;
      case CMD.fastRead:
        return index >= 5 ? this.view[(this.address() + index - 5) % FLASH_BYTES] : 0;
      default:
        return 0;
    }
  }

  address() {
    return ((this.bytes[1] << 16) | (this.bytes[2] << 8) | this.bytes[3]) & (FLASH_BYTES - 1);
  }

  status(index) {
    const left = this.busyUntil - this.clock.nanos;
    // Firmware polls here until the chip is done. It sees "busy" once; then the rest of the time passes at one go,
    // which costs the emulator nothing. Alarms on the way (bytes arriving at a UART) still come in order.
    if (left > 0 && index === 1) this.clock.tick(left);
    return (left > 0 ? 1 : 0) | (this.writeEnabled ? 2 : 0);
  }

  finish(command) {
    const length = this.bytes.length;
    const erase = ERASE_MS[command];
    const changes = erase || [CMD.pageProgram, CMD.writeStatus, CMD.writeStatus2, CMD.writeStatus3].includes(command);
    if (!changes || !this.writeEnabled) return;
    if (this.clock.nanos < this.busyUntil) {
      this.counts.while_busy++; // a real chip ignores it
      return;
    }
    this.writeEnabled = false;
    if (erase && length === 4) this.erase(this.address(), ...erase);
    else if (command === CMD.pageProgram && length > 4) this.program(this.address(), this.bytes.slice(4));
    else this.busy(STATUS_WRITE_MS);
  }

  erase(address, size, durationMs) {
    const start = address & -size;
    if (this.cutIsDue()) {
      // Half erased: some bits are 1 already, in cells all over the sector.
      if (this.tear) this.change(start, size, (old) => old | this.random.below(256));
      return this.onPowerCut('erase', start);
    }
    this.change(start, size, () => 0xff);
    this.counts.erases++;
    this.busy(durationMs);
  }

  program(address, data) {
    const page = address & -256;
    const wanted = new Uint8Array(256).fill(0xff);
    data.forEach((byte, i) => (wanted[(address + i) & 255] = byte));
    for (let i = 0; i < 256; i++) if (wanted[i] & ~this.view[page + i]) this.counts.not_erased += wanted[i] !== 0xff;
    if (this.cutIsDue()) {
      // Half programmed: some of the bits that shall become 0 did.
      if (this.tear) this.change(page, 256, (old, i) => old & (wanted[i] | this.random.below(256)));
      return this.onPowerCut('program', page);
    }
    this.change(page, 256, (old, i) => old & wanted[i]);
    this.counts.programs++;
    this.counts.programmed_bytes += data.length;
    this.busy(PAGE_PROGRAM_MS);
  }

  change(start, length, newByte) {
    const { view, store } = this;
    for (let i = 0; i < length; i++) view[start + i] = newByte(view[start + i], i);
    store.bytes.set(view.subarray(start, start + length), start);
    store.save(start, length);
  }

  busy(durationMs) {
    this.busyUntil = this.clock.nanos + durationMs * 1e6;
    this.counts.busy_ms += durationMs;
  }

  cutIsDue() {
    return this.cutAfter >= 0 && this.cutAfter-- === 0;
  }
}
