// The first screen: power now, energy today, what is off, what needs a person; then a tile for each gateway, trouble first.

import { post, visitor } from "./me.js";
import { STANDING_WORDS, clock, count, duration, el, moment, now } from "./show.js";

const ASK_MS = 5000;
const NEEDS_SHOWN = 8;

const thin = (text) => text.replaceAll(",", " ");
export function decimals(value, places) {
  return thin(new Intl.NumberFormat("en", { minimumFractionDigits: places, maximumFractionDigits: places }).format(value));
}

// Milliwatts as kW, milliwatt-hours as kWh: as many decimals as a person can use.
export function kilo(milli) {
  const value = milli / 1e6;
  const size = Math.abs(value);
  return decimals(value, size >= 100 ? 0 : size >= 10 ? 1 : 2);
}

// [text, exact]: an interval where the figure is not known to the step.
export function energyText(energy) {
  if (!energy || !energy.known) return ["–", false];
  const least = kilo(energy.least_mwh), most = kilo(energy.most_mwh);
  return [least === most ? least : `${least} … ${most}`, least === most && energy.exact === energy.of];
}

// While the hub has not added up all readings of a time, it knows no sum of them and no completeness.
export const beingAdded = (one) => (one && one.made_percent < 100 ? `being added up, ${one.made_percent} % done` : "");

const meters = (known, of) => (known === of ? (of === 1 ? "1 meter" : `all ${count(of)} meters`) : `${count(known)} of ${count(of)} meters`);

function completeness(energy) {
  if (!energy.of) return "no energy meter";
  if (beingAdded(energy)) return beingAdded(energy);
  const parts = [`${energy.percent ?? 0} % of the time read`];
  if (energy.known < energy.of) parts.push(`${count(energy.of - energy.known)} of ${count(energy.of)} meters unknown`);
  else if (energy.exact < energy.of) parts.push("not exact yet");
  return parts.join(", ");
}

// How today stands to yesterday up to the same time: only where both are known.
function against(energy) {
  const { today, yesterday_by_now: before, yesterday } = energy;
  if (beingAdded(before)) return `yesterday: ${beingAdded(before)}`;
  if (today.known < today.of || !before.of || before.exact < before.of) {
    if (beingAdded(yesterday)) return `yesterday: ${beingAdded(yesterday)}`;
    return yesterday.known ? `yesterday ${energyText(yesterday)[0]} kWh, ${yesterday.percent ?? 0} % of the time read` : "nothing to compare with yet";
  }
  const a = (today.least_mwh + today.most_mwh) / 2, b = (before.least_mwh + before.most_mwh) / 2;
  const change = b ? `${a >= b ? "+" : "−"}${Math.abs(Math.round((a / b - 1) * 100))} % against ` : "";
  return `${change}${energyText(before)[0]} kWh yesterday by now`;
}

export class Park {
  constructor(onChoose) {
    this.onChoose = onChoose;
    this.place = document.getElementById("park");
    this.tiles = new Map();
    this.figures = el("div", { class: "figures" });
    this.needs = el("section", { class: "panel card needs", "aria-label": "What needs attention" });
    this.grid = el("ul", { class: "tiles", "aria-label": "Gateways, trouble first" });
    this.contents = el("details", { class: "contents" });
    this.contentsSaid = "";
    this.place.replaceChildren(this.figures, this.contents, this.needs, this.grid);
    this.loaded = 0;
  }

  async tick() {
    if (Date.now() - this.loaded < ASK_MS) return;
    this.loaded = Date.now();
    try {
      const answer = await fetch("api/park", { signal: AbortSignal.timeout(8000) });
      if (answer.ok) this.draw(await answer.json());
    } catch (error) { /* the page greys itself when the hub is gone */ }
  }

  draw(park) {
    this.place.hidden = !park.halls.length;
    const { power, energy } = park;
    const [today, exact] = energyText(energy.today);
    const figure = (name, value, unit, notes, kind = "") => el("dl", { class: `figure ${kind}` },
      el("dt", {}, name), el("dd", {}, el("b", {}, value), unit ? el("span", { class: "unit" }, unit) : null,
        ...notes.map((note) => el("small", {}, note))));
    const partly = power.known < power.of;
    this.figures.replaceChildren(
      figure("Power now", power.known ? `${partly ? "≥ " : ""}${kilo(power.value_mw)}` : "–", power.known ? "kW" : "",
        [power.of ? meters(power.known, power.of) : "no power meter"], partly ? "warn" : ""),
      figure("Energy today", today, today === "–" ? "" : "kWh", [against(energy), completeness(energy.today)],
        energy.today.known < energy.today.of || (energy.today.percent ?? 100) < 95 ? "warn" : exact ? "" : "soft"),
      figure("Off", count(park.off.length), "", [park.off.length ? this.offText(park.off) : "every instrument answers"],
        park.off.length ? "bad" : "good"),
      this.needsFigure(figure, park.needs),
    );
    this.drawContents(park.meters);
    this.drawNeeds(park);
    this.drawTiles(park);
  }

  // Which meters the two totals contain: a meter behind another would count twice.
  drawContents(found) {
    const said = JSON.stringify(found);
    if (said === this.contentsSaid) return;
    this.contentsSaid = said;
    const { inside, left_out: out } = found;
    const name = (meter) => `${meter.name}: ${meter.instrument}`;
    this.contents.hidden = !inside.length;
    this.contents.replaceChildren(
      el("summary", {}, `The totals contain ${inside.length === 1 ? "1 meter" : `${count(inside.length)} meters`}`
        + (out.length ? `; ${count(out.length)} more ${out.length === 1 ? "stands" : "stand"} behind them and would count twice` : "")),
      el("ul", {}, inside.map((meter) => el("li", {}, name(meter),
        el("ul", {}, out.filter((one) => one.behind.gateway === meter.gateway && one.behind.instrument === meter.instrument)
          .map((one) => el("li", { class: "quiet" }, `not counted: ${name(one)}, behind it`)))))),
      el("p", { class: "quiet" }, "Is a meter in here that measures the same energy as another? ",
        el("code", {}, "parkgate park behind"), " says so."));
  }

  needsFigure(figure, needs) {
    const seen = needs.filter((one) => one.acknowledged).length;
    const note = seen ? `${count(seen)} more ${seen === 1 ? "is" : "are"} seen and not over` : needs.length ? "see below" : "nothing known to the hub";
    return figure("Needs attention", count(needs.length - seen), "", [note], needs.length > seen ? "bad" : "good");
  }

  offText(off) {
    const first = off.slice(0, 2).map((one) => `${one.name}${one.instrument ? `: ${one.instrument}` : ""}`);
    return first.join(", ") + (off.length > 2 ? ` and ${off.length - 2} more` : "");
  }

  drawNeeds(park) {
    const dead = new Set(park.needs.filter((one) => one.kind === "dead").map((one) => one.gateway));
    const lines = [
      ...park.needs.map((one) => ({ ...one, kind: one.acknowledged ? "seen" : "needs", text: one.what })),
      ...park.off.filter((one) => one.instrument && !dead.has(one.gateway)).map((one) => ({ ...one, kind: "off",
        text: `${one.instrument} ${one.state === "partly" ? "partly without good readings" : one.state}${one.why ? `: ${one.why}` : ""}` })),
    ];
    if (this.needs.querySelector("form")) return; // somebody is writing
    this.needs.hidden = !lines.length;
    const shown = lines.slice(0, NEEDS_SHOWN);
    this.needs.replaceChildren(el("h2", {}, "What needs attention"),
      el("ul", {}, shown.map((one) => {
        const button = el("button", { type: "button", class: `need ${one.kind}`, title: one.todo || null }, el("b", {}, one.name), " ",
          el("span", {}, one.text), one.since_ms ? el("small", {}, ` since ${moment(one.since_ms)} (${duration(now() - one.since_ms)})`) : null,
          one.acknowledged ? el("small", { class: "word" }, `seen by ${one.acknowledged.by.replace(/^account /, "")} ${moment(one.acknowledged.unix_ms)}: ${one.acknowledged.word}`)
            : one.todo ? el("small", { class: "word" }, one.todo) : null);
        button.addEventListener("click", () => one.gateway && this.onChoose(one.gateway));
        return el("li", { class: "need-line" }, button, this.acknowledgeButton(one));
      })), lines.length > shown.length ? el("p", { class: "quiet" }, `and ${lines.length - shown.length} more`) : "");
  }

  // "I have seen it": a word, and a name where nobody signs in.
  acknowledgeButton(one) {
    if (!one.alarm || one.acknowledged || !visitor().may_acknowledge) return null;
    const open = el("button", { type: "button", class: "button small" }, "Acknowledge");
    open.addEventListener("click", () => {
      const by = visitor().signed_in ? null : el("input", { "aria-label": "Your name", placeholder: "Your name", maxlength: 64, required: true });
      const word = el("input", { "aria-label": "What you found or do", placeholder: "What you found or do", maxlength: 500, required: true });
      const why = el("small", { class: "bad", role: "alert" });
      const form = el("form", { class: "acknowledge" }, by, word, el("button", { type: "submit", class: "button small" }, "Say so"), why);
      form.addEventListener("submit", async (event) => {
        event.preventDefault();
        try {
          await post(`api/alarms/${one.alarm}/acknowledge`, { word: word.value, by: by ? by.value : "" });
          form.replaceWith(el("small", { class: "quiet" }, "acknowledged"));
          this.loaded = 0;
        } catch (error) { why.textContent = error.message; }
      });
      form.addEventListener("keydown", (event) => { if (event.key === "Escape") form.replaceWith(open); });
      open.replaceWith(form);
      (by || word).focus();
    });
    return open;
  }

  drawTiles(park) {
    const wanted = park.halls.map((hall) => {
      let tile = this.tiles.get(hall.id);
      if (!tile) {
        const button = el("button", { type: "button", class: "tile" });
        button.addEventListener("click", () => this.onChoose(hall.id));
        tile = { button, item: el("li", {}, button), said: "" };
        this.tiles.set(hall.id, tile);
      }
      const said = JSON.stringify(hall);
      if (said !== tile.said) { tile.said = said; this.drawTile(tile, hall); }
      return tile.item;
    });
    if (wanted.length !== this.grid.children.length || wanted.some((item, i) => item !== this.grid.children[i])) {
      this.grid.replaceChildren(...wanted);
    }
  }

  drawTile(tile, hall) {
    const { power, energy } = hall;
    const share = energy.today.percent;
    const why = hall.needs[0] ? hall.needs[0].what : hall.off[0] && hall.off[0].instrument
      ? `${hall.off[0].instrument} ${hall.off[0].state}` : null;
    tile.button.className = `tile ${hall.standing}`;
    tile.button.replaceChildren(
      el("span", { class: "tile-head" }, el("i", { class: `dot ${hall.standing}` }), el("b", { title: hall.name }, hall.place ? hall.place.name : hall.name),
        el("small", {}, STANDING_WORDS[hall.standing])),
      el("span", { class: "tile-figures" },
        el("span", {}, el("b", {}, power.known ? `${power.known < power.of ? "≥ " : ""}${kilo(power.value_mw)}` : "–"), " kW now"),
        el("span", {}, el("b", {}, energyText(energy.today)[0]), " kWh today")),
      energy.today.of ? el("span", { class: "tile-share", title: completeness(energy.today) },
        beingAdded(energy.today) ? "" : el("i", { class: share >= 95 ? "k-good" : share >= 50 ? "k-warn" : "k-bad", style: null, "data-share": share }),
        el("small", {}, completeness(energy.today))) : el("small", { class: "quiet" }, "no energy meter"),
      why ? el("small", { class: "tile-why" }, why) : "",
    );
    const bar = tile.button.querySelector("[data-share]");
    if (bar) bar.style.width = `${Math.max(0, Math.min(100, share ?? 0)) * 0.6}px`;
  }
}

// Energy of one gateway as bars: solid what is known, hatched what may be more, nothing where nothing is known.
const UNITS = [["Hours", "hour"], ["Days", "day"], ["Months", "month"]];
const NAMES = {
  hour: (t) => t.slice(11, 16), day: (t) => t.slice(8, 10), month: (t) => t.slice(0, 7),
};
const SVG = "http://www.w3.org/2000/svg";
const svg = (tag, attributes, ...children) => {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
};

export class Bars {
  constructor() {
    this.unit = "hour";
    this.gateway = null;
    this.loaded = 0;
    this.note = el("span", { class: "quiet" });
    this.box = el("div", { class: "bars" });
    this.chips = UNITS.map(([name, unit]) => {
      const chip = el("button", { type: "button", class: "chip", "aria-pressed": String(unit === this.unit) }, name);
      chip.addEventListener("click", () => {
        this.unit = unit;
        this.chips.forEach((other) => other.setAttribute("aria-pressed", String(other === chip)));
        this.load(true);
      });
      return chip;
    });
    this.card = el("section", { class: "panel card", "aria-label": "Energy" },
      el("div", { class: "card-head" }, el("h3", {}, "Energy"), this.note,
        el("div", { class: "chips", role: "group", "aria-label": "Unit of time" }, this.chips)), this.box);
  }

  show(gatewayId) {
    const other = gatewayId !== this.gateway;
    this.gateway = gatewayId;
    this.load(other);
  }

  async load(at_once) {
    if (!at_once && Date.now() - this.loaded < 15000) return;
    this.loaded = Date.now();
    const { gateway, unit } = this;
    try {
      const answer = await fetch(`api/gateways/${gateway}/energy?unit=${unit}`);
      if (!answer.ok) return;
      const found = await answer.json();
      if (gateway === this.gateway && unit === this.unit) this.draw(found);
    } catch (error) { /* the page greys itself */ }
  }

  draw(found) {
    if (!found.series.length) {
      this.note.textContent = "";
      this.box.replaceChildren(el("p", { class: "quiet" }, "This gateway has no energy meter."));
      return;
    }
    this.note.textContent = `by ${found.unit}, ${found.zone}`;
    this.box.replaceChildren(...found.series.map((one) => this.one(found, one)));
  }

  one(found, { instrument, scale, bars }) {
    const kwh = (value) => value / 10 ** scale / 1000;
    const first = bars.findIndex((bar) => bar.energy || !bar.made), shown = first < 0 ? bars : bars.slice(Math.max(0, first));
    const top = Math.max(1e-9, ...shown.map((bar) => (bar.energy ? kwh(bar.energy.most) : 0)));
    const wide = 100 / shown.length, names = NAMES[found.unit];
    const step = Math.max(1, Math.ceil((shown.length * 52) / Math.max(200, this.box.clientWidth || 600)));
    const picture = svg("svg", { viewBox: "0 0 100 40", preserveAspectRatio: "none", "aria-hidden": "true" },
      svg("defs", {}, svg("pattern", { id: "maybe", width: 1.2, height: 1.2, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
        svg("rect", { width: 0.6, height: 1.2, class: "maybe" }))));
    const total = { least: 0, most: 0 };
    const told = el("p", { class: "bar-told quiet", "aria-live": "polite" });
    shown.forEach((bar, i) => {
      const x = i * wide + wide * 0.12, width = wide * 0.76;
      const text = this.words(found.unit, bar, kwh);
      const hit = svg("rect", { x: i * wide, y: 0, width: wide, height: 40, class: "hit" });
      hit.append(svg("title", {}, text));
      hit.addEventListener("pointerenter", () => { told.textContent = text; });
      hit.addEventListener("click", () => { told.textContent = text; });
      if (!bar.energy) picture.append(svg("rect", { x, y: 39.2, width, height: 0.8, class: bar.made ? "unknown" : "due" }));
      else {
        const least = (kwh(Math.max(0, bar.energy.least)) / top) * 38, most = (kwh(bar.energy.most) / top) * 38;
        total.least += bar.energy.least; total.most += bar.energy.most;
        picture.append(svg("rect", { x, y: 40 - least, width, height: least, class: bar.percent >= 95 ? "sure" : "sure partly" }));
        if (most > least) picture.append(svg("rect", { x, y: 40 - most, width, height: most - least, class: "perhaps", fill: "url(#maybe)" }));
      }
      picture.append(hit);
    });
    const newest = shown[shown.length - 1];
    told.textContent = newest ? this.words(found.unit, newest, kwh) : "";
    return el("div", { class: "bar-one" },
      el("p", { class: "bar-head" }, el("b", {}, instrument), el("span", { class: "quiet" }, ` up to ${decimals(top, top < 10 ? 2 : 0)} kWh`)),
      picture,
      el("div", { class: "bar-names", "aria-hidden": "true" }, shown.map((bar, i) => el("span", {}, i % step ? "" : names(bar.from)))),
      told,
      el("div", { class: "visually-hidden" }, el("table", {}, el("caption", {}, `Energy of ${instrument} by ${found.unit}`),
        el("tbody", {}, shown.map((bar) => el("tr", {}, el("td", {}, this.words(found.unit, bar, kwh))))))));
  }

  words(unit, bar, kwh) {
    const from = unit === "hour" ? `${bar.from.slice(0, 10)} ${bar.from.slice(11, 16)}–${bar.to.slice(11, 16)}`
      : unit === "day" ? bar.from.slice(0, 10) : bar.from.slice(0, 7);
    if (!bar.made) return `${from}: ${beingAdded(bar)}`;
    if (!bar.energy) return `${from}: not known`;
    const least = decimals(kwh(Math.max(0, bar.energy.least)), 2), most = decimals(kwh(bar.energy.most), 2);
    const notes = [`${bar.percent} % of the time read`];
    if (bar.exchanges) notes.push("meter exchanged or reset");
    if (bar.rollovers) notes.push("register began again");
    if (bar.unexplained) notes.push("a step of the register that nobody explains");
    if (bar.begin_open) notes.push("first readings");
    if (bar.end_open) notes.push("not over yet");
    else if (least !== most) notes.push("an edge lies in a gap");
    return `${from}: ${least === most ? least : `${least} to ${most}`} kWh (${notes.join(", ")})`;
  }
}

export const since = clock;
