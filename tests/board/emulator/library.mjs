// The parts of the npm package rp2040js that the emulated board is made of. The package exports only some of them,
// so they are loaded from its folder, which the environment variable RP2040JS names.
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const folder = process.env.RP2040JS;
if (!folder) {
  console.error('RP2040JS must name the folder of the npm package rp2040js');
  process.exit(2);
}
const load = (file) => import(pathToFileURL(path.join(folder, 'dist/esm', file)));

export const { RP2040, USBCDC, BasePeripheral } = await load('index.js');
export const { SimulationClock } = await load('clock/simulation-clock.js');
