// Runs one emulated Pico. Usage: RP2040JS=FOLDER node main.mjs OPTIONS, where OPTIONS is one JSON object:
//
//   flash      file with all 2 MiB of the flash chip; each change is written to it at once
//   boot_rom   file with the 16 KiB of the RP2040's boot ROM
//   pace       greatest speed against the wall clock (default 1; 0: no limit, and waiting takes no time at all)
//   cache      true: reckon with the misses of the flash cache (slower to emulate)
//   usb        false: nothing is plugged into the USB socket
//   driver_enable  {"1": 2}: GPIO 2 enables the RS-485 driver of UART 1; what is sent without it is lost
//   connect    {"1": "127.0.0.1:5020"}: the wires of UART 1 lead to this TCP server, instead of to a port of our own
//   seed       of all random numbers
//   unique_id  of the flash chip, 16 hexadecimal digits
//
// It is driven by lines of JSON on standard input, each with a field "do", and answers each by a line on standard
// output; lines with a field "event" tell what happens by itself. The first line names the TCP ports of the USB
// serial console and the UARTs on 127.0.0.1. The board is off until "power_on". End of input ends it all.
import net from 'node:net';
import readline from 'node:readline';
import { performance } from 'node:perf_hooks';
import { Board } from './board.mjs';

const SLICE_MS = 2; // board time between two looks at sockets and commands
const LAG_FORGIVEN_MS = 10;

const options = JSON.parse(process.argv[2]);
let pace = options.pace ?? 1;
const tell = (object) => process.stdout.write(JSON.stringify(object) + '\n');

const consoles = new Set();
const wires = [new Set(), new Set()];
const outgoing = [[], []];

const board = new Board(options, {
  onConsole: (bytes) => consoles.forEach((socket) => socket.write(bytes)),
  onUart: (index, byte) => outgoing[index].push(byte),
  onEvent: tell,
});

function flushWires() {
  outgoing.forEach((bytes, index) => {
    if (!bytes.length) return;
    const chunk = Buffer.from(bytes.splice(0));
    wires[index].forEach((socket) => socket.write(chunk));
  });
}

// ---- pace: the board may not run ahead of the wall clock; where it lags, the lag is forgiven, never caught up.

let origin = { wall: 0, board: 0 };

function setOrigin() {
  origin = { wall: performance.now(), board: board.on ? board.clock.nanos / 1e6 : 0, clock: board.clock };
}

function leadMs() {
  if (!pace || !board.on) return 0;
  if (origin.clock !== board.clock) setOrigin();
  return board.clock.nanos / 1e6 - origin.board - (performance.now() - origin.wall) * pace;
}

let cpuMs = 0;
let typing = []; // [{ at_ms, bytes }], by time: what the computer will type
let running = false; // one chain of slices at most

function slice() {
  running = board.on;
  if (!running) return;
  const lead = leadMs();
  if (lead > 0) {
    setTimeout(slice, Math.max(1, lead / pace));
    return;
  }
  if (lead < -LAG_FORGIVEN_MS) setOrigin();
  const start = performance.now();
  const clock = board.clock; // another one after a reset
  const end = clock.nanos + SLICE_MS * 1e6;
  while (typing.length && board.clock === clock && typing[0].at_ms * 1e6 <= end) {
    const { at_ms, bytes } = typing.shift();
    if (at_ms * 1e6 > clock.nanos) board.run(at_ms * 1e6 - clock.nanos);
    board.console?.send(Buffer.from(bytes, 'hex'));
  }
  if (board.on && board.clock === clock && clock.nanos < end) board.run(end - clock.nanos);
  cpuMs += performance.now() - start;
  flushWires();
  setImmediate(slice);
}

// ---- sockets

function listen(onSocket) {
  return new Promise((resolve) => {
    const server = net.createServer((socket) => {
      socket.setNoDelay(true);
      socket.on('error', () => socket.destroy());
      onSocket(socket);
    });
    server.listen(0, '127.0.0.1', () => resolve(server.address().port));
  });
}

function join(set, socket, onData) {
  set.add(socket);
  socket.on('data', onData);
  socket.on('close', () => set.delete(socket));
}

const joinConsole = (socket) => join(consoles, socket, (bytes) => board.on && board.console?.send(bytes));
const joinWire = (index) => (socket) =>
  join(wires[index], socket, (bytes) => board.on && board.uarts[index].feed(bytes));

function connectWire(index, address) {
  const [host, port] = address.split(':');
  const socket = net.connect(Number(port), host);
  socket.setNoDelay(true);
  socket.on('connect', () => joinWire(index)(socket));
  socket.on('error', () => {});
  socket.on('close', () => setTimeout(() => connectWire(index, address), 100).unref());
}

// ---- commands

const commands = {
  power_on() {
    typing = [];
    board.powerOn();
    setOrigin();
    if (!running) setImmediate(slice);
    running = true;
  },
  power_off: () => board.powerOff(),
  cut_after({ operations, torn }) {
    Object.assign(board.flash, { cutAfter: operations, tear: Boolean(torn) });
  },
  // Type on the console at a time of the board since its start, to the microsecond.
  type_at({ at_ms, bytes }) {
    typing.push({ at_ms, bytes });
    typing.sort((a, b) => a.at_ms - b.at_ms);
  },
  set_pace({ pace: value }) {
    pace = value;
    setOrigin();
  },
  set_pin: ({ pin, value }) => board.mcu.gpio[pin].setInputValue(Boolean(value)),
  // steps: [ms of the board after the step before, value]
  play_pin: ({ pin, steps }) => board.stateMachines.play(pin, steps),
  get_pin({ pin }) {
    const { outputEnable, outputValue, inputValue } = board.mcu.gpio[pin];
    return { drives: Boolean(outputEnable), out: Boolean(outputValue), in: Boolean(inputValue) };
  },
  stats: () => ({ cpu_ms: Math.round(cpuMs), ...board.summary() }),
  quit: () => process.exit(0),
};

const lines = readline.createInterface({ input: process.stdin });
lines.on('line', (line) => {
  try {
    const command = JSON.parse(line);
    if (!(command.do in commands)) throw new Error(`no command "${command.do}"`);
    tell({ ok: true, ...commands[command.do](command) });
  } catch (error) {
    tell({ ok: false, error: error.message });
  }
});
lines.on('close', () => process.exit(0));

const ports = { console: await listen(joinConsole) };
for (const index of [0, 1]) {
  const address = (options.connect ?? {})[index];
  if (address) connectWire(index, address);
  else ports[`uart${index}`] = await listen(joinWire(index));
}
tell({ event: 'ready', ports });
