// Repeatable random numbers (the generator "mulberry32"): a torn power cut can be torn the same way again.
export class Random {
  constructor(seed) {
    this.state = seed >>> 0;
  }

  // A whole number from 0 to below - 1.
  below(limit) {
    this.state = (this.state + 0x6d2b79f5) >>> 0;
    let z = this.state;
    z = Math.imul(z ^ (z >>> 15), z | 1);
    z ^= z + Math.imul(z ^ (z >>> 7), z | 61);
    return Math.floor((((z ^ (z >>> 14)) >>> 0) / 4294967296) * limit);
  }
}
