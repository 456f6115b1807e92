// The page of one place: a stretch of time, its energy and power, the proof of each figure. Its address is its state.

import { STANDING_WORDS, copyable, duration, el, setHubClock, standing, unitText, words } from "./show.js";
import { watchHub } from "./alive.js";
import { signIn, visitor, whoAmI } from "./me.js";
import { decimals, beingAdded, energyText, kilo } from "./park.js";

const SPANS = [["year", "Year"], ["month", "Month"], ["week", "Week"], ["day", "Day"], ["hour", "Hour"]];
const BEFORE = { year: "the year before", month: "the month before", week: "the week before", day: "the day before", hour: "the hour before" };
const REDRAW_MS = 30000;
const byId = (id) => document.getElementById(id);
const query = () => new URLSearchParams(location.search);

let shown = null; // the answer that is drawn
let gateway = null;
let asked = 0;
let timer = null;
let tariffs = null;
let places = null;

// Where we are: place or id (a gateway; its place, where it stands at one), beside and beside_at (what is compared), span, at (a date, or nothing for now), meter (a series, or nothing for the total), bar (its begin in ms).
function state() {
  const q = query();
  const span = SPANS.some(([name]) => name === q.get("span")) ? q.get("span") : "day";
  return {
    id: q.get("id") || "", place: q.get("place"), span, at: q.get("at"), meter: q.get("meter"), bar: q.get("bar"),
    beside: q.get("beside"), besideAt: q.get("beside_at"),
  };
}

// The gateway that stands there now, or stood there last.
const currentId = () => (gateway ? gateway.id : state().id);

function question() {
  const { id, place, span, at, beside, besideAt } = state();
  const whose = place || (gateway && gateway.place && gateway.place.id);
  const q = new URLSearchParams({ span });
  for (const [name, value] of [["at", at], ["beside", beside], ["beside_at", besideAt]]) if (value) q.set(name, value);
  return `api/${whose ? `places/${encodeURIComponent(whose)}` : `gateways/${encodeURIComponent(id)}`}/view?${q}`;
}

function go(changes, replace = false) {
  const q = query();
  for (const [name, value] of Object.entries(changes)) {
    if (value === null) q.delete(name);
    else q.set(name, value);
  }
  history[replace ? "replaceState" : "pushState"](null, "", `place?${q}`);
  return load();
}

async function json(address) {
  const answer = await fetch(address, { signal: AbortSignal.timeout(15000) });
  if (answer.status === 401) signIn();
  const found = await answer.json();
  if (!answer.ok) throw new Error(found.error || `the hub answered ${answer.status}`);
  return found;
}

async function load() {
  clearTimeout(timer);
  const mine = ++asked;
  try {
    if (!gateway && !state().place) await loadGateway(state().id);
    const found = await json(question());
    if (mine !== asked) return;
    shown = found;
    const newest = found.history.gateways[found.history.gateways.length - 1];
    if (newest && (!gateway || gateway.id !== newest.id)) await loadGateway(newest.id);
    setHubClock(found.now_ms);
    gone(null);
    draw();
  } catch (error) {
    if (mine === asked) gone(error.name === "TypeError" || error.name === "TimeoutError" ? null : error.message, true);
  }
  // What is of now goes on; what is over stays as it is.
  if (!shown || shown.to_ms > shown.now_ms) timer = setTimeout(load, REDRAW_MS);
}

function gone(why, isGone = false) {
  document.body.classList.toggle("gone", isGone);
  byId("gone").hidden = !isGone;
  byId("gone").textContent = isGone ? why || "The hub cannot be reached. What you see may be out of date." : "";
}

async function loadGateway(id) {
  try {
    gateway = await json(`api/gateways/${encodeURIComponent(id)}`);
    const name = gateway.place ? gateway.place.name : gateway.name;
    byId("name").textContent = name;
    document.title = `${name} · Parkgate hub`;
    const how = standing(gateway);
    byId("standing").className = `tag ${how}`;
    byId("standing").textContent = STANDING_WORDS[how];
    drawAbout();
  } catch (error) { /* the other question says so */ }
}

// Words of time. The hub says each moment as the park's people do: 2026-11-28T13:00:00+07:00.
const MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];
const day = (t) => `${Number(t.slice(8, 10))} ${MONTHS[Number(t.slice(5, 7)) - 1]} ${t.slice(0, 4)}`;
const TITLES = {
  year: (t) => t.slice(0, 4), month: (t) => `${MONTHS[Number(t.slice(5, 7)) - 1]} ${t.slice(0, 4)}`,
  week: (t) => `Week from ${day(t)}`, day, hour: (t, end) => `${day(t)}, ${t.slice(11, 16)}–${end.slice(11, 16)}`,
};
const BAR_NAMES = {
  month: (t) => MONTHS[Number(t.slice(5, 7)) - 1].slice(0, 3), day: (t) => String(Number(t.slice(8, 10))),
  hour: (t) => t.slice(11, 13), minute: (t) => t.slice(14, 16),
};
const BAR_TITLES = {
  month: TITLES.month, day, hour: (t, end) => `${t.slice(11, 16)}–${end.slice(11, 16)}`,
  minute: (t) => t.slice(11, 16),
};
function at(ms) { // a moment in the park's zone, to the second
  return new Intl.DateTimeFormat("sv-SE", { timeZone: shown.zone, dateStyle: "short", timeStyle: "medium" }).format(ms);
}
const address = (label) => (state().span === "hour" || label.slice(11, 19) !== "00:00:00" ? label : label.slice(0, 10));

// The bars of the total, or of one meter in the same form.
function chosen() {
  const { meter } = state();
  const one = shown.energy.find((each) => String(each.series) === meter);
  if (!one) return { title: null, bars: shown.total.bars, whole: shown.total.whole };
  const milli = (value) => (one.scale <= 3 ? value * 10 ** (3 - one.scale) : Math.round(value / 10 ** (one.scale - 3)));
  const bars = one.bars.map((bar) => {
    const time = Math.max(0, Math.min(bar.to_ms, shown.now_ms) - bar.from_ms);
    return {
      ...bar, least_mwh: bar.energy ? milli(bar.energy.least) : 0, most_mwh: bar.energy ? milli(bar.energy.most) : 0,
      known: bar.energy && time ? 1 : 0, of: 1, exact: bar.exact ? 1 : 0, time_ms: time,
      percent: time && bar.made ? Math.floor((100 * Math.min(bar.good_ms, time)) / time) : null,
    };
  });
  return { title: one, bars, whole: null };
}

function draw() {
  const { span } = state();
  byId("title").textContent = TITLES[span](shown.from, shown.to);
  byId("zone").textContent = `All times are those of ${shown.zone}.`;
  byId("date").value = shown.from.slice(0, 10);
  byId("forward").disabled = shown.to_ms > shown.now_ms;
  byId("spans").replaceChildren(...SPANS.map(([name, word]) => el("button", {
    type: "button", class: "chip", "aria-pressed": String(name === span),
    onclick: () => go({ span: name, at: inside(), bar: null }),
  }, word)));
  drawExport();
  drawMeters();
  drawBars();
  drawPower();
  drawSensors();
  drawStates();
  drawBeside();
  drawHistory();
  drawBills();
  drawProof();
}

// The readings of this stretch of time as a file, for who may have it.
function drawExport() {
  const link = byId("export");
  link.hidden = visitor().role === "technician";
  link.href = `api/export?${new URLSearchParams({ format: "csv", excel: "1", gateway: currentId(), from: shown.from_ms, to: shown.to_ms })}`;
}

// The moment to keep when the length of time changes: now where it is in view, else the begin.
function inside() {
  const { bar } = state();
  const marked = bar && chosen().bars.find((each) => String(each.from_ms) === bar);
  if (marked) return marked.from;
  return shown.from_ms <= shown.now_ms && shown.now_ms < shown.to_ms ? null : shown.from.slice(0, 19);
}

function drawMeters() {
  const { meter } = state();
  const chip = (name, series, title) => el("button", {
    type: "button", class: "chip", title, "aria-pressed": String((meter || null) === series && true),
    onclick: () => go({ meter: series }, true),
  }, name);
  const many = shown.energy.length > 1;
  byId("meters").replaceChildren(...(many ? [chip("Total", null, contentsText())] : []),
    ...shown.energy.map((one) => chip(one.instrument + (one.inside || !many ? "" : " (behind)"), many ? String(one.series) : null, null)));
}

function contentsText() {
  const names = shown.meters.inside.map((one) => one.instrument).join(", ");
  const out = shown.meters.left_out.map((one) => `${one.instrument} (behind ${one.behind.instrument})`).join(", ");
  return `The total contains ${names || "no meter"}${out ? `; not counted twice: ${out}` : ""}.`;
}

function completeness(bar) {
  if (!bar.time_ms) return "still to come";
  if (beingAdded(bar)) return beingAdded(bar);
  const parts = [`${bar.percent} % of the time read`];
  if (bar.known < bar.of) parts.push(`${bar.of - bar.known} of ${bar.of} meters unknown`);
  else if (bar.exact < bar.of) parts.push(bar.to_ms > shown.now_ms ? "not over yet" : "not exact: see the proof");
  return parts.join(", ");
}

const barText = (bar) => {
  const [text] = energyText(bar);
  if (bar.time_ms && beingAdded(bar)) return `${BAR_TITLES[shown.unit](bar.from, bar.to)}: ${beingAdded(bar)}`;
  return `${BAR_TITLES[shown.unit](bar.from, bar.to)}: ${bar.time_ms ? (bar.known ? `${text} kWh` : "not known") : ""} (${completeness(bar)})`;
};

function drawBars() {
  const { bars, whole, title } = chosen();
  const box = byId("bars");
  if (!shown.energy.length) {
    byId("headline").textContent = "No energy meter has readings in this time.";
    byId("compared").textContent = "";
    byId("legend").hidden = true;
    box.replaceChildren();
    return;
  }
  byId("legend").hidden = false;
  byId("legend").replaceChildren(...[["sure", "known"], ["partly", "less than 95 % of the time read"], ["perhaps", "may be more: an edge lies in a gap"],
    ["unknown", "not known"], ...(bars.some((bar) => bar.time_ms && beingAdded(bar)) ? [["due", "being added up"]] : [])].map(([kind, words]) => el("span", {}, el("i", { class: kind }), words)));
  if (whole) drawHeadline(whole);
  else {
    byId("headline").textContent = title.instrument;
    byId("compared").textContent = "The bars of this meter alone.";
  }
  const top = Math.max(1, ...bars.map((bar) => (bar.known ? bar.most_mwh : 0)), ...bars.map((_, i) => besideBar(i)?.most_mwh || 0));
  const { bar: marked } = state();
  box.replaceChildren(
    el("div", { class: "columns", role: "group", "aria-label": `Energy by ${shown.unit}`, onkeydown: moveFocus }, bars.map((bar, i) => column(bar, top, marked, besideBar(i)))),
    el("div", { class: "share", "aria-hidden": "true" }, bars.map((bar) => el("span", { class: !bar.time_ms || beingAdded(bar) ? "later" : bar.percent >= 95 ? "" : bar.percent ? "some" : "none" }))),
    names(bars),
    el("span", { class: "scale", "aria-hidden": "true" }, `${kilo(top)} kWh`));
}

function names(bars) {
  const step = Math.max(1, Math.ceil((bars.length * 34) / Math.max(200, byId("bars").clientWidth || 600)));
  return el("div", { class: "names", "aria-hidden": "true" }, bars.map((bar, i) => el("span", {}, i % step ? "" : BAR_NAMES[shown.unit](bar.from))));
}

// The bar of what is compared; only beside the total, and only where it is known.
function besideBar(i) {
  const found = shown.beside && !state().meter && shown.beside.bars[i];
  return found && found.known ? found : null;
}

function column(bar, top, marked, other) {
  const button = el("button", {
    type: "button", "aria-pressed": String(String(bar.from_ms) === marked), "aria-label": barText(bar), title: barText(bar), disabled: !bar.time_ms,
    onclick: () => go({ bar: String(bar.from_ms) === marked ? null : bar.from_ms }, true),
  });
  if (other) { const line = el("i", { class: "beside", title: `${shown.beside.name}: ${energyText(other)[0]} kWh` }); line.style.bottom = `${(other.most_mwh / top) * 94}%`; button.append(line); }
  if (!bar.time_ms) return button;
  if (!bar.known) { button.append(el("span", { class: beingAdded(bar) ? "due" : "unknown" })); return button; }
  const least = (Math.max(0, bar.least_mwh) / top) * 94, most = (bar.most_mwh / top) * 94;
  if (most > least) { const part = el("span", { class: "perhaps" }); part.style.height = `${most - least}%`; button.append(part); }
  const part = el("span", { class: bar.percent >= 95 && bar.known === bar.of ? "sure" : "sure partly" });
  part.style.height = `${least}%`;
  button.append(part);
  return button;
}

// Arrow keys walk over the bars.
function moveFocus(event) {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step) return;
  const all = [...event.currentTarget.children];
  const next = all[all.indexOf(document.activeElement) + step];
  if (next && !next.disabled) { next.focus(); event.preventDefault(); }
}

function drawHeadline(whole) {
  const [text, exact] = energyText(whole);
  const { span } = state();
  byId("headline").replaceChildren(el("b", {}, beingAdded(whole) && whole.time_ms ? "" : text), whole.known ? "kWh " : "",
    el("span", { class: exact && whole.percent >= 95 ? "quiet" : "warn" }, whole.time_ms ? `${shown.to_ms > shown.now_ms ? "so far, " : ""}${completeness({ ...whole, to_ms: shown.to_ms })}` : "still to come"),
    " ", el("button", { type: "button", class: "button", onclick: () => go({ bar: "all" }, true) }, "Proof"));
  const { compared } = shown, before = shown.to_ms > shown.now_ms ? compared.by_then : compared.whole;
  const [then] = energyText(before);
  const fits = whole.percent >= 95 && before.percent >= 95 && whole.known && whole.known === whole.of && before.known && before.known === before.of && before.of === whole.of;
  const a = whole.least_mwh + whole.most_mwh, b = before.least_mwh + before.most_mwh;
  byId("compared").textContent = beingAdded(before) && before.time_ms ? `${BEFORE[span]}: ${beingAdded(before)}` : !before.known ? `Nothing is known of ${BEFORE[span]}.`
    : `${fits && b ? `${a >= b ? "+" : "−"}${decimals(Math.abs(a / b - 1) * 100, 1)} % against ` : ""}${then} kWh ${BEFORE[span]}`
      + `${shown.to_ms > shown.now_ms ? " by the same time" : ""} (${before.percent} % of that time read)`;
}

// Power: least to most as a band, the mean as a line, nothing where nothing was read.
function drawPower() {
  const { meter } = state();
  const wanted = shown.energy.find((one) => String(one.series) === meter);
  const only = shown.meters.inside.length === 1 ? shown.meters.inside[0].instrument : null;
  const name = wanted ? wanted.instrument : only;
  const one = shown.power.find((each) => each.instrument === name) || (shown.power.length === 1 ? shown.power[0] : null);
  byId("power-card").hidden = !one;
  if (!one) return;
  drawCurve(one, "power", "power-note", 1000, "kW");
}

// Least, mean and most of each bar, gaps left open; dashed where people set a limit.
function drawCurve(one, box, note, divisor, unit, limits = []) {
  const place = typeof box === "string" ? byId(box) : box, words = typeof note === "string" ? byId(note) : note;
  const size = 10 ** one.scale * divisor, read = one.bars.filter((bar) => bar.mean_milli !== null);
  const due = one.bars.filter((bar) => !bar.made).length;
  if (!read.length) { words.textContent = `${one.instrument}: ${due ? "being added up" : "no readings"}`; place.replaceChildren(); return; }
  const marks = limits.flatMap((limit) => [limit.above, limit.below]).filter((value) => value !== null).map(Number);
  const top = Math.max(...read.map((bar) => bar.most / size), ...marks), low = Math.min(0, ...read.map((bar) => bar.least / size), ...marks);
  const told = limits.map((limit) => [limit.above !== null && `above ${limit.above}`, limit.below !== null && `below ${limit.below}`].filter(Boolean).join(" or ") + (unit && ` ${unit}`) + (limit.minutes ? ` for ${limit.minutes} min` : ""));
  words.textContent = `${one.instrument}: least, mean and most of each ${shown.unit}, up to ${decimals(Math.max(...read.map((bar) => bar.most / size)), top < 10 ? 2 : 1)} ${unit}`
    + (due ? `; ${due} of ${one.bars.length} are still being added up` : "") + (told.length ? `; alarm when ${told.join(", or ")}` : "");
  const wide = 1000 / one.bars.length, y = (value) => 100 - ((value - low) / Math.max(1e-9, top - low)) * 96;
  const node = (tag, attributes, title) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (title) { const text = document.createElementNS("http://www.w3.org/2000/svg", "title"); text.textContent = title; made.append(text); }
    return made;
  };
  const picture = node("svg", { viewBox: "0 0 1000 100", preserveAspectRatio: "none", role: "img", "aria-label": words.textContent });
  let line = [];
  const flush = () => { if (line.length) picture.append(node("polyline", { points: line.join(" "), class: "mean" })); line = []; };
  one.bars.forEach((bar, i) => {
    if (bar.mean_milli === null) { flush(); return; }
    const mean = bar.mean_milli / 1000 / size, text = `${BAR_TITLES[shown.unit](bar.from, bar.to)}: ${decimals(bar.least / size, 2)} to ${decimals(bar.most / size, 2)} ${unit}, mean ${decimals(mean, 2)} ${unit}`;
    picture.append(node("rect", { x: i * wide, width: wide, y: y(bar.most / size), height: Math.max(0.6, y(bar.least / size) - y(bar.most / size)), class: "band" }, text));
    line.push(`${(i * wide).toFixed(1)},${y(mean).toFixed(2)}`, `${((i + 1) * wide).toFixed(1)},${y(mean).toFixed(2)}`);
  });
  flush();
  for (const mark of marks) picture.append(node("line", { x1: 0, x2: 1000, y1: y(mark), y2: y(mark), class: "limit" }));
  place.replaceChildren(picture, names(one.bars));
}

function drawSensors() {
  const box = byId("sensors");
  box.hidden = !shown.sensors.length;
  if (box.hidden) return;
  box.replaceChildren(el("h3", {}, "Temperature and vibration"), ...shown.sensors.map((one) => {
    const note = el("p", { class: "quiet" }), chart = el("div", { class: "chart" });
    drawCurve({ ...one, instrument: `${one.instrument} · ${words(one.quantity)}` }, chart, note, 1, unitText(one.unit), one.limits);
    return el("div", {}, note, chart);
  }));
}

// What is shown beside: another place at the same time, or this one at another.
async function drawBeside() {
  const select = byId("beside"), { beside, besideAt } = state();
  if (places === null) {
    try { places = (await json("api/places")).places; } catch (error) { places = []; }
    select.replaceChildren(el("option", { value: "" }, "nothing"), ...places.map((one) => el("option", { value: one.id }, one.name)));
  }
  select.value = beside || "";
  byId("beside-date").value = besideAt ? besideAt.slice(0, 10) : "";
  const box = byId("beside-said");
  box.hidden = !shown.beside;
  if (shown.beside) {
    const [text] = energyText(shown.beside.whole);
    box.textContent = `Lines: ${shown.beside.name}, ${TITLES[shown.span](shown.beside.from, shown.beside.to)}: ${text === "–" ? "" : `${text} kWh `}(${completeness({ ...shown.beside.whole, to_ms: 0 })})`;
  }
}

// Which gateways stood here, and what became of the registers of the meters.
function drawHistory() {
  const { gateways, registers } = shown.history;
  const box = byId("history");
  box.hidden = gateways.length < 2 && !registers.length;
  const kwh = (value, instrument) => { const one = shown.energy.find((each) => each.instrument === instrument); return one ? `${decimals(value / 10 ** one.scale / 1000, 1)} kWh` : String(value); };
  const stay = (one, i) => `${one.gateway}: ${one.from_ms ? `from ${at(one.from_ms)}` : "from the beginning"}${one.to_ms ? ` to ${at(one.to_ms)}` : i === gateways.length - 1 ? ", stands here now" : ""}`;
  box.replaceChildren(el("h3", {}, "Exchanges"),
    el("ul", {}, gateways.map((one, i) => el("li", {}, stay(one, i))),
      registers.map((one) => el("li", {}, `${one.instrument}: ${one.what} at ${at(one.time_ms)}, register ${kwh(one.before, one.instrument)} and then ${kwh(one.value, one.instrument)} (signed by ${one.gateway}, batch ${one.seq})`))));
}

const STATE_WORDS = { run: "runs", idle: "idle", off: "off", alarm: "alarm", several: "several in a quarter of an hour", unknown: "unknown" };
function drawStates() {
  const box = byId("states");
  box.hidden = !shown.states.length;
  if (box.hidden) return;
  const end = Math.min(shown.to_ms, shown.now_ms);
  box.replaceChildren(el("h3", {}, "Machines"), ...shown.states.map((one) => {
    if (beingAdded(one)) return el("div", { class: "machine" }, el("p", {}, el("b", {}, one.instrument), `: ${beingAdded(one)}`));
    if (!one.segments) return el("div", { class: "machine" }, el("p", {}, el("b", {}, one.instrument), ": choose a month, a week, a day or an hour to see its states."));
    const parts = one.segments.map((part) => {
      const kind = part.state === null ? "unknown" : part.state;
      const piece = el("span", { class: `s-${STATE_WORDS[kind] ? kind : "several"}`, title: `${STATE_WORDS[kind] || kind}, ${at(part.from_ms)} to ${at(part.to_ms)} (${duration(part.to_ms - part.from_ms)})` });
      piece.style.flexGrow = part.to_ms - part.from_ms;
      return piece;
    });
    if (shown.to_ms > end) { const rest = el("span", {}); rest.style.flexGrow = shown.to_ms - end; parts.push(rest); }
    const share = one.run && (one.run.least === one.run.most ? `${one.run.least / 10} %` : `${one.run.least / 10} to ${one.run.most / 10} %`);
    const times = Object.entries(one.ms).map(([name, ms]) => `${STATE_WORDS[name] || name} ${duration(ms)}`).join(", ");
    return el("div", { class: "machine" }, el("p", {}, el("b", {}, one.instrument), share ? ` runs ${share} of the time: ` : "", times),
      el("div", { class: "lane", role: "img", "aria-label": `${one.instrument}: ${times}` }, parts));
  }));
}

// The proof of a bar, or of all that is shown: for each meter of the total the registers at both ends.
async function drawProof() {
  const box = byId("proof"), { bar, meter } = state(), { bars, whole } = chosen();
  const marked = bar === "all" ? { from_ms: shown.from_ms, to_ms: shown.to_ms, from: shown.from, to: shown.to, ...(whole || {}) } : bars.find((each) => String(each.from_ms) === bar);
  box.hidden = !marked;
  if (!marked) { box.replaceChildren(); return; }
  const mine = `${bar} ${meter} ${shown.from_ms}`;
  if (box.dataset.of === mine && shown.to_ms <= shown.now_ms && box.childElementCount) return;
  box.dataset.of = mine;
  const name = bar === "all" ? TITLES[state().span](shown.from, shown.to) : BAR_TITLES[shown.unit](marked.from, marked.to);
  const head = el("h3", {}, `Proof: ${name}`);
  if (bar !== "all" && shown.inner) {
    head.append(el("button", { type: "button", class: "button go", onclick: () => go({ span: shown.inner, at: address(marked.from), bar: null }) }, `Open this ${shown.inner}`));
  }
  const wanted = shown.energy.filter((one) => (meter ? String(one.series) === meter : one.inside));
  const quarter = 900000, from = marked.from_ms, to = Math.min(marked.to_ms, Math.ceil(shown.now_ms / quarter) * quarter);
  if (from % quarter || to % quarter || from >= to) {
    box.replaceChildren(head, el("p", { class: "quiet" }, "A minute is made of the readings in it; the proof of its quarter of an hour, hour or day has the registers."));
    return;
  }
  if (!box.childElementCount) box.replaceChildren(head, el("p", { class: "quiet" }, "…"));
  try {
    // Each gateway that read the meter in that time proves its part.
    const low = (leg) => Math.max(from, Math.floor(leg.from_ms / quarter) * quarter), high = (leg) => Math.min(to, leg.to_ms === null ? to : Math.ceil(leg.to_ms / quarter) * quarter);
    const legs = wanted.flatMap((one) => one.legs).filter((leg) => low(leg) < high(leg));
    const found = await Promise.all(legs.map((leg) => json(`api/gateways/${leg.gateway}/proof?series=${leg.series}&from=${low(leg)}&to=${high(leg)}`)));
    if (box.dataset.of === mine) box.replaceChildren(head, ...found.map((one, i) => proofOf(one, legs[i].gateway)));
  } catch (error) { box.replaceChildren(head, el("p", {}, error.message)); }
}

function proofOf(one, id) {
  const shownAs = (value) => `${decimals(value / 10 ** one.scale / 1000, Math.max(0, one.scale) + 3)} kWh`;
  const energy = one.energy && (one.energy.least === one.energy.most ? shownAs(one.energy.least) : `${shownAs(one.energy.least)} to ${shownAs(one.energy.most)}`);
  const reading = (found) => (found ? [el("p", {}, el("b", {}, shownAs(found.value)), ` at ${at(found.time_ms)}`),
    el("p", { class: "quiet" }, el("a", { href: `api/gateways/${id}/batches/${found.epoch}/${found.seq}`, download: `batch-${found.seq}.cose` }, `signed batch ${found.seq}`),
      `, row ${found.row + 1}, SHA-256 `, copyable(found.hash, `${found.hash.slice(0, 12)}…`), ", ",
      found.leaf === null ? "not in the log yet" : el("a", { href: `log/proof/${found.leaf}`, target: "_blank", rel: "noopener" }, `the log's proof of leaf ${found.leaf}`))] : []);
  const edge = (words, found) => el("div", {}, el("h4", {}, `${words} ${at(found.at_ms)}`), ...reading(found.before),
    found.holds ? "" : el("p", { class: "quiet" }, found.before && found.behind ? "No reading holds here. The next one:" : found.behind ? "No reading before. The first one:" : "No reading behind it yet."),
    ...(found.holds ? [] : reading(found.behind)));
  const verdict = one.agrees === null ? "" : one.agrees ? " The difference of the registers is this sum." : " The registers do not add up to this sum: the hub's sums are damaged, see parkgate hub check.";
  return el("div", {}, el("p", {}, el("b", {}, one.instrument), `: ${energy || beingAdded(one) || "not known"}${one.exact ? ", exact to the step." : "."}${verdict}`),
    el("div", { class: "registers" }, edge("Register at", one.begin), edge("Register at", one.end)),
    one.jumps.length ? el("ul", { class: "jumps" }, one.jumps.map((jump) => el("li", {}, `${jump.what} at ${at(jump.time_ms)}: from ${shownAs(jump.before)} to ${shownAs(jump.value)}, counted as ${jump.grown === null ? "unknown" : shownAs(jump.grown)} (`,
      el("a", { href: `api/gateways/${id}/batches/${jump.epoch}/${jump.seq}`, download: `batch-${jump.seq}.cose` }, `signed in batch ${jump.seq}`), ")"))) : "");
}

// A month's bill by each tariff of the hub that has prices for it.
async function drawBills() {
  const box = byId("bills"), { span } = state(), id = currentId();
  box.hidden = span !== "month";
  if (box.hidden) return;
  if (tariffs === null) {
    try { tariffs = (await json("api/tariffs")).tariffs; } catch (error) { return; }
  }
  const month = shown.from.slice(0, 7);
  const address = (one, form) => `bill?id=${id}&month=${month}&tariff=${encodeURIComponent(one.file)}${form ? `&form=${form}` : ""}`;
  const fits = tariffs.filter((one) => !one.fault && one.from <= month && (!one.to || month <= one.to));
  box.replaceChildren(el("h3", {}, `Bill of ${TITLES.month(shown.from)}`),
    ...fits.map((one) => el("p", {}, el("a", { href: address(one) }, `${one.name} (${one.currency})`), ": ",
      el("a", { href: address(one, "lines") }, "lines as CSV"), ", ", el("a", { href: address(one, "registers") }, "register readings as CSV"))),
    ...tariffs.filter((one) => one.fault).map((one) => el("p", { class: "quiet" }, `${one.file} is no tariff: ${one.fault}`)),
    fits.length ? "" : el("p", { class: "quiet" }, "The hub has no tariff for this month. Put tariff files into the folder ", el("code", {}, "tariffs"), " of its data; ", el("code", {}, "parkgate tariff check"), " checks them."));
}

// What is known of the meters themselves.
function drawAbout() {
  const names = [...new Set(gateway.channels.map((one) => one.instrument))];
  const card = (name) => {
    const channel = (quantity) => gateway.channels.find((one) => one.instrument === name && one.quantity === quantity);
    const record = gateway.commissioned[name], facts = record ? record.facts : {};
    const rows = [];
    const row = (term, ...value) => rows.push(el("dt", {}, term), el("dd", {}, ...value));
    const one = gateway.instruments.find((each) => each.instrument === name);
    row("Profile", (one && one.profile) || gateway.channels.find((each) => each.instrument === name).profile);
    const power = channel("active_power"), energy = channel("import_active_energy");
    if (power) row("Power", power.value === null ? "no value" : `${power.value} W`);
    if (energy) row("Register", energy.value === null ? "no value" : `${energy.value} Wh`);
    const serial = channel("serial_number");
    row("Serial number", String(facts.serial || (serial && serial.value) || "not stored"));
    const ratio = [["ct_ratio", "CT"], ["vt_ratio", "VT"]].map(([quantity, word]) => channel(quantity) && `${word} ${channel(quantity).value}`).filter(Boolean).join(", ");
    row("Transformers", String(facts.ratio || ratio || "not stored"));
    const registered = shown.register.find((each) => each.instrument === name);
    if (registered) {
      row("Meter register", registered.serial ? `serial number ${registered.serial}${registered.class ? `, class ${registered.class}` : ""}` : "no record");
      if (registered.due_on) row("Calibrated", `on ${registered.calibrated_on}, due on ${registered.due_on}`);
      for (const each of registered.remarks) if (each.kind !== "not registered") row("Careful", el("span", { class: "warn" }, `${each.kind}: ${each.text}${each.months.length ? ` (${each.months.join(", ")})` : ""}`));
    }
    row("Commissioned", record ? `${record.time_ms ? at(record.time_ms) : "undated"} by ${record.by}: ${record.what}` : "no record is stored");
    return el("div", {}, el("h4", {}, name), el("dl", {}, rows));
  };
  if (!shown) { setTimeout(drawAbout, 200); return; }
  byId("about").replaceChildren(el("h3", {}, "Meters and instruments"), names.length ? el("div", { class: "facts" }, names.map(card)) : el("p", { class: "quiet" }, "Nothing was read yet."));
}

byId("back").addEventListener("click", () => shown && go({ at: address(shown.before), bar: null }));
byId("forward").addEventListener("click", () => shown && go({ at: shown.to_ms > shown.now_ms ? null : address(shown.after), bar: null }));
byId("date").addEventListener("change", (event) => event.target.value && go({ at: event.target.value, bar: null }));
window.addEventListener("popstate", load);
byId("beside").addEventListener("change", (event) => go({ beside: event.target.value || null }));
byId("beside-date").addEventListener("change", (event) => go({ beside_at: event.target.value || null }));
whoAmI(byId("me")).then(load);
watchHub(load);
