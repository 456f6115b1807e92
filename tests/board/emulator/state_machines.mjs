// The PIO's state machines in board time, and pins that move by a plan. rp2040js runs the machines as fast as it can,
// whatever their clock divider says; here each does its instructions at its own rate, and sees each pin move when it
// does. The processor sees both at the end of a slice of board time (2 ms).
const INSTRUCTIONS_AT_ONCE = 200000; // more in a slice than this is a rate that cannot be kept up with

export class StateMachines {
  constructor(mcu, clock) {
    this.mcu = mcu;
    this.clock = clock;
    this.blocks = mcu.pio;
    this.next = new Map(); // machine → when its next instruction is due, in ns of the board
    this.plan = []; // [when in ns of the board, pin, value], in order
    for (const block of this.blocks) block.run = () => {};
  }

  // Move a pin: `steps` are [ms from the step before, value]; behind what is planned already.
  play(pin, steps) {
    let at = this.plan.length ? this.plan[this.plan.length - 1][0] : this.clock.nanosCounter;
    for (const [ms, value] of steps) {
      at += ms * 1e6;
      this.plan.push([at, pin, Boolean(value)]);
    }
  }

  // Let happen what happened up to now.
  catchUp() {
    const now = this.clock.nanosCounter;
    while (this.plan.length && this.plan[0][0] <= now) {
      const [at, pin, value] = this.plan.shift();
      this.runTo(at);
      this.mcu.gpio[pin].setInputValue(value);
    }
    this.runTo(now);
  }

  runTo(now) {
    for (const block of this.blocks) {
      if (block.stopped) continue;
      let changed = false;
      for (const machine of block.machines) {
        if (!machine.enabled) {
          this.next.delete(machine);
          continue;
        }
        const divider = (machine.clockDivInt || 65536) + machine.clockDivFrac / 256;
        const period = (divider * 1e9) / this.mcu.clkSys;
        let due = this.next.get(machine) ?? now;
        for (let i = 0; due <= now && i < INSTRUCTIONS_AT_ONCE; i++) {
          machine.step();
          due += period;
          changed = true;
        }
        this.next.set(machine, due);
      }
      if (changed) block.checkChangedPins();
    }
  }
}
