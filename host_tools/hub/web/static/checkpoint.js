// Checkpoints of the log, and the proof that one continues another (RFC 9162 2.1.4, lib/SPEC.md 13). SHA-256 is written
// out because browsers give theirs only to pages over https.

const HEX = /^(?:[0-9a-f]{2})*$/;
const unhex = (text) => Uint8Array.from(text.match(/../g) || [], (pair) => parseInt(pair, 16));
const hex = (data) => [...data].map((byte) => byte.toString(16).padStart(2, "0")).join("");

const K = [], H = [];
for (let n = 2; K.length < 64; n++) {
  let prime = true;
  for (let d = 2; d * d <= n; d++) if (n % d === 0) prime = false;
  if (!prime) continue;
  const part = (x) => Math.floor((x - Math.floor(x)) * 4294967296) | 0;
  if (H.length < 8) H.push(part(Math.sqrt(n)));
  K.push(part(Math.cbrt(n)));
}

export function sha256(data) {
  const size = data.length, whole = new Uint8Array(((size + 72) >> 6) << 6), view = new DataView(whole.buffer);
  whole.set(data);
  whole[size] = 0x80;
  view.setUint32(whole.length - 4, size * 8);
  const h = [...H], w = new Int32Array(64), turn = (x, n) => (x >>> n) | (x << (32 - n));
  for (let at = 0; at < whole.length; at += 64) {
    for (let i = 0; i < 16; i++) w[i] = view.getInt32(at + 4 * i);
    for (let i = 16; i < 64; i++) {
      const a = w[i - 15], b = w[i - 2];
      w[i] = w[i - 16] + (turn(a, 7) ^ turn(a, 18) ^ (a >>> 3)) + w[i - 7] + (turn(b, 17) ^ turn(b, 19) ^ (b >>> 10));
    }
    let [a, b, c, d, e, f, g, last] = h;
    for (let i = 0; i < 64; i++) {
      const one = (last + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + ((e & f) ^ (~e & g)) + K[i] + w[i]) | 0;
      const two = ((turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      [last, g, f, e, d, c, b, a] = [g, f, e, (d + one) | 0, c, b, a, (one + two) | 0];
    }
    [a, b, c, d, e, f, g, last].forEach((x, i) => { h[i] = (h[i] + x) | 0; });
  }
  const out = new DataView(new ArrayBuffer(32));
  h.forEach((x, i) => out.setInt32(4 * i, x));
  return new Uint8Array(out.buffer);
}

const node = (left, right) => hex(sha256(Uint8Array.of(1, ...unhex(left), ...unhex(right))));

export class Checkpoint {
  // `log`, `key`, `root`, `signature` in hexadecimal, `size` a number. Throws what is not one.
  static of({ log, key, size, root, signature, seen = null }) {
    const made = Object.assign(new Checkpoint(), { log, key, size, root, signature, seen });
    for (const [text, length] of [[log, 32], [key, 128], [root, 64], [signature, 128]])
      if (typeof text !== "string" || text.length !== length || !HEX.test(text)) throw new Error("not a checkpoint");
    if (!Number.isSafeInteger(size) || size < 1) throw new Error("not a checkpoint");
    return made;
  }
}

// What a QR code says behind its #: log id, size, root and signature; null where it is damaged. The key is the hub's.
export function read(text, key) {
  const parts = text.split(".");
  try {
    const [log, root, signature] = [parts[0], parts[2], parts[3]].map((part) =>
      hex(Uint8Array.from(atob(part.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0))));
    return parts.length === 4 && /^[1-9][0-9]{0,15}$/.test(parts[1]) ? Checkpoint.of({ log, key, size: Number(parts[1]), root, signature }) : null;
  } catch {
    return null;
  }
}

// Whether a tree of `oldSize` leaves is the beginning of one of `size` (RFC 9162 2.1.4.2). Sizes are numbers below 2^53.
export function consistent(oldSize, size, oldRoot, root, path) {
  if (!Array.isArray(path) || !path.every((each) => typeof each === "string" && each.length === 64 && HEX.test(each))) return false;
  if (oldSize < 1 || oldSize > size) return false;
  if (oldSize === size) return path.length === 0 && oldRoot === root;
  const rest = [...path], half = (n) => Math.floor(n / 2);
  if (Number.isInteger(Math.log2(oldSize))) rest.unshift(oldRoot);
  let fn = oldSize - 1, sn = size - 1;
  while (fn % 2) { fn = half(fn); sn = half(sn); }
  if (!rest.length) return false;
  let fr = rest[0], sr = rest[0];
  for (const c of rest.slice(1)) {
    if (sn === 0) return false;
    if (fn % 2 || fn === sn) {
      fr = node(c, fr);
      sr = node(c, sr);
      while (fn % 2 === 0 && fn !== 0) { fn = half(fn); sn = half(sn); }
    } else sr = node(sr, c);
    fn = half(fn);
    sn = half(sn);
  }
  return sn === 0 && fr === oldRoot && sr === root;
}

function sizeBytes(size) {
  const big = BigInt(size), width = size < 24 ? 0 : size < 256 ? 1 : size < 65536 ? 2 : size < 4294967296 ? 4 : 8;
  if (!width) return [size];
  const bytes = [0x17 + { 1: 1, 2: 2, 4: 3, 8: 4 }[width]];
  for (let at = width - 1; at >= 0; at--) bytes.push(Number((big >> BigInt(8 * at)) & 255n));
  return bytes;
}

const bytesHead = (n) => (n < 24 ? [0x40 + n] : [0x58, n]);

// Whether the log key's signature holds (lib/SPEC.md 13.4); null where this browser does not check any.
export async function holds(made) {
  if (!globalThis.crypto?.subtle) return null;
  const xy = unhex(made.key);
  const kid = sha256(Uint8Array.of(0xa4, 1, 2, 0x20, 1, 0x21, 0x58, 0x20, ...xy.slice(0, 32), 0x22, 0x58, 0x20, ...xy.slice(32)));
  const header = [...unhex("a40126045820"), ...kid, ...unhex("19018b013a000100008250"), ...unhex(made.log), ...sizeBytes(made.size)];
  const signed = Uint8Array.of(...unhex("846a5369676e617475726531"), ...bytesHead(header.length), ...header, 0x40, 0x58, 0x20, ...unhex(made.root));
  try {
    const key = await crypto.subtle.importKey("raw", Uint8Array.of(4, ...xy), { name: "ECDSA", namedCurve: "P-256" }, false, ["verify"]);
    return await crypto.subtle.verify({ name: "ECDSA", hash: "SHA-256" }, key, unhex(made.signature), signed);
  } catch {
    return false;
  }
}
