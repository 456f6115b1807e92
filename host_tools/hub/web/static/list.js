// The list of gateways: one row each, changed in place, so that 300 of them cost little and nothing jumps.

import { SEVERITY, STANDING_WORDS, ago, count, el, instrumentWords, now, sparkline, standing, unitText } from "./show.js";

const FILTERS = [
  ["all", "All", () => true],
  ["attention", "Trouble", (s) => s === "attention" || s === "away" || s === "dead" || s === "late" || s === "silent"],
  ["silent", "Silent", (s) => s === "silent" || s === "new"],
];

export class List {
  constructor(onChoose) {
    this.onChoose = onChoose;
    this.rows = new Map();
    this.filter = "all";
    this.chosen = null;
    this.list = document.getElementById("list");
    this.search = document.getElementById("search");
    this.empty = document.getElementById("list-empty");
    this.filters = document.getElementById("filters");
    this.chips = FILTERS.map(([key, name]) => {
      const chip = el("button", { type: "button", class: "chip", "aria-pressed": String(key === "all") }, name);
      chip.addEventListener("click", () => { this.filter = key; this.arrange(); });
      this.filters.append(chip);
      return chip;
    });
    this.search.addEventListener("input", () => this.arrange());
    this.list.addEventListener("keydown", (event) => this.move(event));
  }

  // `changed` are gateways as the hub describes them.
  take(changed) {
    for (const gateway of changed) {
      let row = this.rows.get(gateway.id);
      if (!row) {
        const button = el("button", { type: "button", class: "row" });
        button.addEventListener("click", () => this.onChoose(gateway.id));
        row = { button, item: el("li", {}, button) };
        this.rows.set(gateway.id, row);
      }
      row.gateway = gateway;
      this.draw(row);
    }
    this.arrange();
  }

  draw(row) {
    const g = row.gateway;
    row.standing = standing(g);
    const notes = [];
    if (row.standing === "attention") notes.push(el("b", { class: "bad" }, "needs attention"));
    const away = g.instruments_not_good;
    if (away.length) {
      const one = g.instruments.find((i) => i.instrument === away[0]);
      notes.push(el("b", { class: instrumentWords(one)[0] === "bad" ? "bad" : "" },
        away.length > 1 ? `${count(away.length)} instruments without good readings` : `${away[0]} ${instrumentWords(one)[1]}`));
    }
    if (g.awaited_batches > 3) notes.push(el("b", {}, `${count(g.awaited_batches)} batches behind`));
    if (g.dropped) notes.push(el("b", {}, `${count(g.dropped)} dropped`));
    const seen = g.revoked_unix_ms ? "revoked" : g.last_reading_ms ? ago(g.last_reading_ms) : STANDING_WORDS[row.standing];
    // A number only while it is of now: an old one would be taken for the newest.
    const fresh = row.standing === "live" || row.standing === "away" || row.standing === "attention" && now() - g.last_reading_ms < 300000;
    const value = g.headline && g.headline.value !== null && fresh
      ? [g.headline.value, " ", el("small", {}, unitText(g.headline.unit))] : [];
    row.when = el("span", { class: "when" }, seen, ...notes.flatMap((note) => [" · ", note]));
    row.button.replaceChildren(
      el("span", { class: `dot ${row.standing}`, title: STANDING_WORDS[row.standing] }),
      el("span", { class: "name" }, g.name),
      el("span", { class: "value" }, ...value),
      row.when,
      sparkline(g.spark),
    );
  }

  // Once a second: "3 s ago" goes on without news.
  tick() {
    let moved = false;
    for (const row of this.rows.values()) {
      const g = row.gateway;
      if (standing(g) !== row.standing) { this.draw(row); moved = true; }
      else if (g.last_reading_ms && !g.revoked_unix_ms) row.when.firstChild.textContent = ago(g.last_reading_ms);
    }
    if (moved) this.arrange();
  }

  choose(id) {
    this.chosen = id;
    for (const [key, row] of this.rows) row.button.setAttribute("aria-current", String(key === id));
  }

  arrange() {
    const all = [...this.rows.values()];
    const sought = this.search.value.trim().toLowerCase();
    FILTERS.forEach(([key, name, fits], i) => {
      const n = all.filter((row) => fits(row.standing)).length;
      this.chips[i].replaceChildren(name, " ", el("b", {}, String(n)));
      this.chips[i].setAttribute("aria-pressed", String(key === this.filter));
    });
    const fits = FILTERS.find(([key]) => key === this.filter)[2];
    const shown = all.filter((row) => fits(row.standing) && (!sought
      || row.gateway.name.toLowerCase().includes(sought) || row.gateway.id.startsWith(sought)));
    shown.sort((a, b) => SEVERITY[b.standing] - SEVERITY[a.standing]
      || a.gateway.name.localeCompare(b.gateway.name, "en", { numeric: true }));
    const wanted = shown.map((row) => row.item);
    if (wanted.length !== this.list.children.length || wanted.some((item, i) => item !== this.list.children[i])) {
      this.list.replaceChildren(...wanted);
    }
    this.empty.hidden = shown.length > 0;
    this.empty.textContent = all.length ? "No gateway matches." : "No gateway is enrolled yet.";
    this.choose(this.chosen);
  }

  // The one to show when nobody has chosen yet: the first that has something to show.
  first() {
    const shown = [...this.list.children].map((item) => [...this.rows].find(([, row]) => row.item === item));
    const [id] = shown.find(([, row]) => row.gateway.last_reading_ms) || shown[0] || [null];
    return id;
  }

  move(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    const buttons = [...this.list.querySelectorAll(".row")];
    const next = buttons[buttons.indexOf(document.activeElement) + step];
    if (next) { next.focus(); event.preventDefault(); }
  }
}
