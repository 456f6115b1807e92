// The live plot of the chosen channels: uPlot, one axis a unit, integers scaled only here, for the eye.

import { clock, duration, el, parkZone, unitText, words } from "./show.js";

const WINDOWS = [["15 min", 900], ["1 h", 3600], ["6 h", 21600], ["1 day", 86400], ["1 week", 604800], ["all", null]];
const HEIGHT = 320;
export const COLOURS = 8;

export class Plot {
  constructor() {
    this.lastSeconds = 3600;
    this.box = el("div", { class: "plot" });
    this.note = el("span", { class: "quiet" });
    this.chips = WINDOWS.map(([name, seconds]) => {
      const chip = el("button", { type: "button", class: "chip", "aria-pressed": String(seconds === 3600) }, name);
      chip.addEventListener("click", () => {
        this.lastSeconds = seconds;
        this.chips.forEach((other) => other.setAttribute("aria-pressed", String(other === chip)));
        this.refresh();
      });
      return chip;
    });
    this.card = el("section", { class: "panel card", "aria-label": "Plot" },
      el("div", { class: "card-head" }, el("h3", {}, "Readings"), this.note,
        el("div", { class: "chips", role: "group", "aria-label": "Time shown" }, this.chips)),
      this.box);
    this.gateway = null;
    this.series = [];
    this.busy = false;
    this.again = false;
    new ResizeObserver(() => this.resize()).observe(this.box);
    this.shape = "";
  }

  // `series`: [{series, colour}], in the order in which they were chosen.
  show(gatewayId, series) {
    this.gateway = gatewayId;
    this.series = series;
    return this.refresh();
  }

  async refresh() {
    if (this.busy) { this.again = true; return; }
    this.busy = true;
    try {
      do {
        this.again = false;
        await this.load();
      } while (this.again);
    } finally { this.busy = false; }
  }

  async load() {
    const { gateway, series } = this;
    if (!gateway || !series.length) { this.draw(null); return; }
    const points = Math.max(400, Math.round(this.box.clientWidth * 2));
    let question = `api/gateways/${gateway}/readings?series=${series.map((s) => s.series).join()}&points=${points}`;
    if (this.lastSeconds) question += `&last_s=${this.lastSeconds}`;
    try {
      const answer = await fetch(question);
      if (!answer.ok) return;
      const found = await answer.json();
      if (gateway === this.gateway) this.draw(found);
    } catch (error) { /* the page says elsewhere that the hub cannot be reached; the old plot stays */ }
  }

  draw(found) {
    const drawn = found ? found.series.filter((s) => s.times.length) : [];
    if (!drawn.length) {
      if (this.u) { this.u.destroy(); this.u = null; this.shape = ""; }
      this.note.textContent = "";
      this.box.replaceChildren(el("p", { class: "plot-empty" },
        this.series.length ? "No dated readings in this time." : "Choose a channel below to see it here."));
      return;
    }
    const readings = drawn.reduce((sum, s) => sum + s.readings, 0);
    const thinned = drawn.some((s) => s.from_blocks || s.times.length < s.readings);
    this.note.textContent = drawn.some((s) => s.from_blocks) ? "extremes of each batch"
      : `${readings.toLocaleString("en").replaceAll(",", "\u202f")} readings${thinned ? ", extremes shown" : ""}`;
    // A gap of one channel stays a gap where the other has readings: nulls spread over the moments between (mode 2).
    const data = uPlot.join(drawn.map((s) => [
      s.times.map((ms) => ms / 1000),
      s.values.map((v) => (v === null ? null : v / 10 ** s.scale)),
    ]), drawn.map(() => [0, 2]));
    const shape = JSON.stringify([drawn.map((s) => s.series), this.series, document.documentElement.dataset.theme]);
    this.newest = drawn;
    if (this.u && shape === this.shape) {
      this.u.setData(data);
      this.tellNewest();
      return;
    }
    this.shape = shape;
    if (this.u) this.u.destroy();
    this.box.replaceChildren();
    this.u = new uPlot(this.options(drawn), data, this.box);
    this.tellNewest();
  }

  // Without a pointer over the plot, the words below it tell the newest readings.
  tellNewest() {
    if (this.u.cursor.left < 0) this.u.setLegend({ idx: this.u.data[0].length - 1 }, false);
  }

  options(drawn) {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    const units = [...new Set(drawn.map((s) => s.unit))];
    const grid = { stroke: colour("--line-soft"), width: 1 };
    const font = "12px system-ui, sans-serif";
    const axis = { stroke: colour("--ink-2"), grid, ticks: { ...grid, size: 4 }, font };
    return {
      width: Math.max(200, this.box.clientWidth),
      height: HEIGHT,
      tzDate: (s) => (parkZone() ? uPlot.tzDate(new Date(s * 1000), parkZone()) : new Date(s * 1000)),
      cursor: { points: { size: 7 }, drag: { x: true, y: false } },
      hooks: { drawClear: [(u) => this.drawGaps(u, drawn, colour("--bad-soft"), colour("--bad"))], setCursor: [(u) => { if (u.cursor.left < 0 && u.data[0].length) u.setLegend({ idx: u.data[0].length - 1 }, false); }] },
      scales: Object.fromEntries([["x", { time: true }], ...units.map((unit) => [unit || "1", { auto: true }])]),
      axes: [
        { ...axis, space: 70, values: [
          [31536000, "{YYYY}", null, null, null, null, null, null, 1],
          [2419200, "{MMM}", "\n{YYYY}", null, null, null, null, null, 1],
          [86400, "{YYYY}-{MM}-{DD}", null, null, null, null, null, null, 1],
          [3600, "{HH}:{mm}", "\n{YYYY}-{MM}-{DD}", null, "\n{MM}-{DD}", null, null, null, 1],
          [60, "{HH}:{mm}", "\n{YYYY}-{MM}-{DD}", null, "\n{MM}-{DD}", null, null, null, 1],
          [1, "{HH}:{mm}:{ss}", "\n{YYYY}-{MM}-{DD}", null, "\n{MM}-{DD}", null, null, null, 1],
          [0.001, ":{ss}.{fff}", "\n{YYYY}-{MM}-{DD} {HH}:{mm}", null, null, null, "\n{HH}:{mm}", null, 1],
        ] },
        ...units.slice(0, 2).map((unit, i) => ({
          ...axis, scale: unit || "1", side: i ? 1 : 3, size: 64, label: unitText(unit), labelFont: font, labelSize: 18,
          grid: i ? { show: false } : grid,
        })),
      ],
      series: [
        { value: (u, s) => (s === null ? "–" : clock(s * 1000)) },
        ...drawn.map((s) => {
          const chosen = this.series.find((one) => one.series === s.series);
          return {
            label: `${s.instrument} · ${words(s.quantity)}`,
            scale: s.unit || "1",
            stroke: colour(`--c${(chosen ? chosen.colour : 0) % COLOURS}`),
            width: 1.5,
            points: { show: s.times.length < 60, size: 4 },
            spanGaps: false,
            value: (u, v) => (v === null || v === undefined ? "–" : `${v.toFixed(Math.max(0, s.scale))} ${unitText(s.unit)}`),
          };
        }),
      ],
    };
  }

  // Outages behind the lines: what no good reading covers, with the reason where there is room.
  drawGaps(u, drawn, fill, ink) {
    const { ctx, bbox } = u;
    ctx.save();
    ctx.font = `${12 * devicePixelRatio}px system-ui, sans-serif`;
    ctx.textBaseline = "top";
    ctx.textAlign = "left";
    const told = new Set();
    for (const s of this.newest || drawn) for (const gap of s.gaps) {
      const left = Math.max(bbox.left, u.valToPos(gap.from_ms / 1000, "x", true));
      const right = Math.min(bbox.left + bbox.width, u.valToPos(gap.to_ms / 1000, "x", true));
      if (right <= left) continue;
      ctx.fillStyle = fill;
      ctx.fillRect(left, bbox.top, Math.max(1, right - left), bbox.height);
      const text = `${duration(gap.to_ms - gap.from_ms)}: ${gap.reason}`;
      if (!told.has(gap.from_ms) && ctx.measureText(text).width < right - left - 8) {
        told.add(gap.from_ms);
        ctx.fillStyle = ink;
        ctx.fillText(text, left + 4, bbox.top + 4);
      }
    }
    ctx.restore();
  }

  resize() {
    if (this.u) this.u.setSize({ width: Math.max(200, this.box.clientWidth), height: HEIGHT });
  }
}
