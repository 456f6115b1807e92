// Elements and words: everything that turns numbers into what a person reads.

export function el(tag, attributes = {}, ...children) {
  const node = tag === "svg" || tag === "polyline"
    ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

const whole = new Intl.NumberFormat("en");
export const count = (n) => (n === null || n === undefined ? "–" : whole.format(n).replaceAll(",", "\u202f"));

export function compact(n) {
  if (n === null || n === undefined) return "–";
  if (n < 100000) return count(n);
  for (const [size, letter] of [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
    if (n >= size) return (n / size).toPrecision(4) + "\u2009" + letter;
  }
  return count(n);
}

// The hub's clock counts, not this computer's: `offset` is what it is ahead.
let offset = 0;
export const setHubClock = (hubNow) => { offset = hubNow - Date.now(); };
export const now = () => Date.now() + offset;

export function span(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  if (s < 86400 * 400) return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
  return `${(s / 31557600).toFixed(1)} years`;
}

export function ago(ms) {
  if (ms === null || ms === undefined) return "never";
  const seconds = (now() - ms) / 1000;
  if (seconds < -5) return `in ${span(-seconds)}`;
  return seconds < 2 ? "just now" : `${span(seconds)} ago`;
}

// Every time that a page shows is the park's, wherever its reader is. Until the hub has said the zone it is the reader's.
let park, form;
export function setZone(name) {
  if (name === park && form) return;
  park = name;
  form = new Intl.DateTimeFormat("sv-SE", { timeZone: name, dateStyle: "short", timeStyle: "medium" });
}
setZone(undefined);
export const parkZone = () => park;

// 2026-11-28 13:00:05
export const clock = (ms) => form.format(ms);

export const when = (ms) => (ms === null || ms === undefined ? "never"
  : el("time", { datetime: new Date(ms).toISOString(), title: clock(ms), "data-ago": ms }, ago(ms)));

export const words = (name) => name.replaceAll("_", " ").replace(/\bl([123])\b/g, "L$1");
export const unitText = (unit) => ({ Cel: "°C", "1": "", "%RH": "% RH", m3: "m³", "m/s2": "m/s²", deg: "°" })[unit] ?? unit;

export function sparkline(values) {
  const svg = el("svg", { class: "spark", viewBox: "0 0 84 22", preserveAspectRatio: "none", "aria-hidden": "true" });
  if (values.length > 1) {
    const least = Math.min(...values), range = Math.max(...values) - least;
    const y = (v) => (range ? 20 - ((v - least) / range) * 18 : 11);
    const points = values.map((v, i) => `${((i / (values.length - 1)) * 84).toFixed(1)},${y(v).toFixed(1)}`);
    svg.append(el("polyline", { points: points.join(" ") }));
  }
  return svg;
}

export function copyable(text, shown = text) {
  const button = el("button", { type: "button", class: "copy", title: "Copy" }, shown);
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "copied";
      setTimeout(() => { button.textContent = shown; }, 900);
    } catch (error) { button.textContent = text; }
  });
  return button;
}

// How a gateway stands, in one word; as park/answers.py decides it. Live is only what has signed something new just now,
// of a time that is now, with a good reading from each instrument.
const SILENT_MS = 5 * 60 * 1000;
export function standing(gateway) {
  if (gateway.revoked_unix_ms) return "revoked";
  if (gateway.alarms.length || gateway.unexplained_batches) return "attention";
  if (!gateway.last_seen_unix_ms) return "new";
  if (now() - gateway.last_seen_unix_ms > SILENT_MS) return gateway.place ? "silent" : "replaced";
  if (gateway.signed_ms && now() - gateway.signed_ms > 2 * SILENT_MS) return gateway.place ? "late" : "replaced";
  const used = gateway.instruments.filter((one) => one.state !== "not in the settings");
  if (!used.some((one) => one.state === "good" || one.state === "partly")) return used.every((one) => one.state === "nothing yet") ? "new" : "dead";
  return used.every((one) => one.state === "good") ? "live" : "away";
}
export const STANDING_WORDS = {
  live: "live", away: "an instrument is away", dead: "no instrument answers", late: "only old readings", silent: "silent",
  attention: "needs attention", revoked: "revoked", replaced: "replaced by another", new: "nothing read yet",
};
// Trouble first.
export const SEVERITY = { attention: 5, dead: 4, silent: 4, late: 3, away: 2, new: 1, revoked: 0, replaced: 0, live: 0 };

// "2 min 7 s", as exact as two units say it.
export function duration(ms) {
  const s = Math.max(0, Math.round(ms / 1000));
  for (const [unit, size, small, part] of [["d", 86400, "h", 3600], ["h", 3600, "min", 60], ["min", 60, "s", 1]]) {
    if (s >= size) {
      const rest = Math.floor((s % size) / part);
      return `${Math.floor(s / size)} ${unit}${rest ? ` ${rest} ${small}` : ""}`;
    }
  }
  return `${s} s`;
}

// The time of day, with its date when it is not of today.
export function moment(ms) {
  const text = clock(ms);
  return text.slice(0, 10) === clock(now()).slice(0, 10) ? text.slice(11, 16) : text.slice(5, 16);
}

// How an instrument stands: [kind of colour, words].
export function instrumentWords(one) {
  const since = one.since_ms ? ` since ${moment(one.since_ms)} (${duration(one.for_ms)})` : "";
  const why = one.reason ? `: ${one.reason}` : "";
  return {
    good: ["good", "answers"],
    partly: ["warn", `partly without good readings${since}${why}`],
    away: ["bad", `away${since}${why}`],
    "not built": ["bad", `not read${why}`],
    "nothing yet": ["idle", "nothing yet"],
    "not in the settings": ["idle", "no longer in the settings"],
  }[one.state] || ["idle", one.state];
}
