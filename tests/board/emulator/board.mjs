// A Raspberry Pi Pico: the RP2040 of rp2040js with a flash chip, UARTs and a USB host that keep real time.
//
// Not modelled: the second core, bus contention, ADC and radio. Time is the sum of the processor's cycles, plus the
// waits of the flash cache if asked for; the cycles of each instruction are those of rp2040js.
import fs from 'node:fs';
import { BasePeripheral, RP2040, SimulationClock } from './library.mjs';
import { Console } from './console.mjs';
import { FlashCache, FlashPins, SerialFlashController } from './flash_bus.mjs';
import { FlashChip, FlashStore } from './flash_chip.mjs';
import { Random } from './random.mjs';
import { StateMachines } from './state_machines.mjs';
import { Uart } from './uart.mjs';

const AT = {
  flashCache: 0x14000, flashController: 0x18000, powerOnStates: 0x40010, flashPins: 0x40018, uart0: 0x40034,
  uart1: 0x40038, watchdog: 0x40058, ringOscillator: 0x40060, regulator: 0x40064,
};
const UART_IRQ = [20, 21];
const FLASH_BASE = 0x10000000;
const CORE1_IN_RESET = 1 << 16;

// A register file with some registers that read as a function says.
class Registers extends BasePeripheral {
  constructor(mcu, name, read) {
    super(mcu, name);
    this.read = read;
    this.values = {};
  }

  readUint32(offset) {
    return this.read(offset) ?? this.values[offset] ?? 0;
  }

  writeUint32(offset, value) {
    this.values[offset] = value;
  }
}

export class Board {
  // options: see main.mjs; hooks: onConsole(bytes), onUart(index, byte), onEvent(object)
  constructor(options, hooks) {
    this.options = options;
    this.hooks = hooks;
    const rom = fs.readFileSync(options.boot_rom);
    this.bootRom = new Uint32Array(rom.buffer.slice(rom.byteOffset, rom.byteOffset + rom.length));
    this.store = new FlashStore(options.flash);
    this.random = new Random(options.seed ?? 0);
    this.on = false;
    this.cycles = 0;
    this.instructions = 0;
    this.idleNanos = 0;
    this.nanosBefore = 0; // of all runs since the emulator began
    this.resets = [];
  }

  powerOn() {
    this.start({ reason: 0, scratch: null });
  }

  powerOff() {
    if (this.on) this.nanosBefore += this.clock.nanos;
    this.on = false;
  }

  start({ reason, scratch }) {
    this.powerOff();
    this.resetWanted = null;
    this.clock = new SimulationClock();
    const mcu = (this.mcu = new RP2040(this.clock));
    mcu.logger = { debug() {}, info() {}, warn() {}, error: (name, text) => this.event('fault', { name, text }) };
    mcu.loadBootrom(this.bootRom);
    mcu.flash.set(this.store.bytes, 0);
    this.fitFlash(mcu);
    this.fitUarts(mcu);
    this.fitOddities(mcu, reason);
    this.fitWatchdog(mcu, reason, scratch);
    this.stateMachines = new StateMachines(mcu, this.clock);
    if (this.options.usb !== false) {
      this.console = new Console(mcu.usbCtrl);
      this.console.onSerialData = (bytes) => this.hooks.onConsole(Buffer.from(bytes));
      this.console.onDeviceConnected = () => this.event('usb', {});
    }
    mcu.core.PC = FLASH_BASE; // the boot ROM found boot stage 2 here
    this.on = true;
  }

  fitFlash(mcu) {
    const { options, random } = this;
    const onPowerCut = (operation, address) => {
      this.powerOff();
      this.event('power_cut', { operation, address });
    };
    const settings = { uniqueId: options.unique_id ?? 'e6614103e7452c2f', random, onPowerCut };
    const before = this.flash;
    this.flash = new FlashChip(this.clock, this.store, mcu.flash, settings);
    if (before) {
      this.flash.counts = before.counts;
      Object.assign(this.flash, { cutAfter: before.cutAfter, tear: before.tear });
    }
    const controller = new SerialFlashController(mcu, this.flash);
    this.cache = new FlashCache(mcu);
    if (options.cache) this.cache.attach();
    mcu.peripherals[AT.flashController] = controller;
    mcu.peripherals[AT.flashPins] = new FlashPins(mcu, controller);
    mcu.peripherals[AT.flashCache] = this.cache;
  }

  fitUarts(mcu) {
    const before = this.uarts;
    this.uarts = [0, 1].map((index) => {
      const pin = (this.options.driver_enable ?? {})[index];
      const driverOn = () => {
        if (pin === undefined) return null; // a bus that needs no driver
        return mcu.gpio[pin].outputEnable && mcu.gpio[pin].outputValue;
      };
      const uart = new Uart(mcu, index, UART_IRQ[index], (byte) => this.hooks.onUart(index, byte), driverOn);
      if (before) uart.counts = before[index].counts;
      mcu.peripherals[index ? AT.uart1 : AT.uart0] = uart;
      return uart;
    });
    mcu.uart = this.uarts.map(() => ({ clkPeriChanged() {} }));
  }

  fitOddities(mcu, reason) {
    mcu.peripherals[AT.ringOscillator] = new Registers(mcu, 'ROSC', (offset) => {
      if (offset === 0x18) return 0x80001000; // stable and enabled
      if (offset === 0x1c) return this.random.below(2);
      return undefined;
    });
    mcu.peripherals[AT.regulator] = new Registers(mcu, 'VREG_AND_CHIP_RESET', (offset) => {
      if (offset === 0x00) return 0x10b1; // in regulation
      if (offset === 0x08) return reason ? 0 : 0x100; // power-on reset
      return undefined;
    });
    this.fitMailbox(mcu);
  }

  // Core 1 is not there. All the firmware asks of it is to say 0 in the mailbox when it has been reset.
  fitMailbox(mcu) {
    const { sio } = mcu;
    const read = sio.readUint32.bind(sio);
    const write = sio.writeUint32.bind(sio);
    let letters = [];
    sio.readUint32 = (offset) => {
      if (offset === 0x50) return letters.length ? 3 : 2;
      if (offset === 0x58) return letters.shift() ?? 0;
      return read(offset);
    };
    sio.writeUint32 = (offset, value) => {
      if (offset === 0x54) return letters.push(value);
      return offset === 0x50 ? undefined : write(offset, value);
    };
    const states = mcu.peripherals[AT.powerOnStates];
    const force = states.writeUint32.bind(states);
    let held = false;
    states.writeUint32 = (offset, value) => {
      if (offset === 4) {
        const holds = (value & CORE1_IN_RESET) !== 0;
        if (held && !holds) letters = [0];
        held = holds;
      }
      force(offset, value);
    };
  }

  fitWatchdog(mcu, reason, scratch) {
    const watchdog = mcu.peripherals[AT.watchdog];
    watchdog.reason = reason;
    if (scratch) watchdog.scratchData.set(scratch);
    watchdog.onWatchdogTrigger = () => {
      watchdog.alarm.enable = false; // it would fire again within the same tick of the clock
      watchdog.timer.enable = false;
      this.resetWanted = { reason: watchdog.reason || 1, scratch: Uint32Array.from(watchdog.scratchData) };
    };
  }

  event(name, details) {
    const at_ms = this.clock ? +(this.clock.nanos / 1e6).toFixed(3) : 0;
    this.hooks.onEvent({ event: name, at_ms, ...details });
  }

  // Lets the given time pass on the board, or less if it is reset or cut off.
  run(nanos) {
    const { clock, cache, mcu } = this;
    const { core } = mcu;
    const end = clock.nanosCounter + nanos;
    let cycleNanos = 1e9 / mcu.clkSys;
    let count = 0;
    let cycles = 0;
    while (clock.nanosCounter < end) {
      if (core.waiting) {
        const next = clock.nextAlarm;
        let pause = end - clock.nanosCounter;
        if (next !== null) pause = Math.min(pause, next.nanos - clock.nanosCounter);
        pause = Math.max(pause, 1);
        this.idleNanos += pause;
        clock.tick(pause);
      } else {
        let taken = core.executeInstruction();
        if (cache.stallCycles) {
          taken += cache.stallCycles;
          cache.stallCycles = 0;
        }
        cycles += taken;
        if ((++count & 1023) === 0) cycleNanos = 1e9 / mcu.clkSys;
        // The usual case of clock.tick() without the call: no alarm is due.
        const then = clock.nanosCounter + taken * cycleNanos;
        const next = clock.nextAlarm;
        if (next === null || next.nanos > then) clock.nanosCounter = then;
        else clock.tick(taken * cycleNanos);
      }
      if (this.resetWanted || !this.on) break;
    }
    this.instructions += count;
    this.cycles += cycles;
    this.stateMachines.catchUp();
    if (this.on && this.resetWanted) {
      const wanted = this.resetWanted;
      this.resets.push(wanted.reason);
      this.event('reset', { reason: wanted.reason === 2 ? 'software' : 'watchdog' });
      this.start(wanted);
    }
  }

  summary() {
    const now = this.nanosBefore + (this.on ? this.clock.nanos : 0);
    return {
      on: this.on,
      board_ms: +(now / 1e6).toFixed(3),
      idle_ms: +(this.idleNanos / 1e6).toFixed(3),
      instructions: this.instructions,
      cycles: this.cycles,
      clock_hz: this.mcu ? this.mcu.clkSys : 0,
      resets: this.resets.length,
      flash: this.flash ? { ...this.flash.counts } : null,
      cache: this.options.cache && this.cache ? { hits: this.cache.hits, misses: this.cache.misses } : null,
      uart: this.uarts ? this.uarts.map((uart) => uart.summary()) : [],
      console_waiting: this.console ? this.console.waiting.length : 0,
    };
  }
}
