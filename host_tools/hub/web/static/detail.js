// One gateway: how it stands, its plot, its channels, what it signed about itself, what was refused.

import { Bars } from "./park.js";
import { COLOURS, Plot } from "./plot.js";
import { STANDING_WORDS, ago, clock, copyable, count, duration, el, instrumentWords, now, span, standing, unitText, when, words } from "./show.js";

const REDRAW_MS = 1000;
const MILD_ALARMS = new Set(["counters", "schema", "event"]);

const stat = (name, value, note, kind = "") => el("div", { class: `stat ${kind}` },
  el("dt", {}, name), el("dd", {}, value, note ? el("span", { class: "note" }, note) : null));

export class Detail {
  constructor() {
    this.place = document.getElementById("detail");
    this.plot = new Plot();
    this.bars = new Bars();
    this.id = null;
    this.chosen = new Map(); // gateway id → [{series, colour}]
    this.head = el("section", { class: "panel card" });
    this.channels = el("section", { class: "panel card" });
    this.events = el("section", { class: "panel card" });
    this.evidence = el("section", { class: "panel card" });
    this.loadedAt = 0;
    this.timer = null;
  }

  blank(...children) {
    this.id = null;
    this.place.replaceChildren(el("section", { class: "panel blank" }, ...children));
  }

  // The chosen gateway, or news of it.
  show(gateway) {
    if (this.id !== gateway.id) {
      this.id = gateway.id;
      this.detail = null;
      this.loadedAt = 0;
      this.place.replaceChildren(this.head, this.bars.card, this.plot.card, this.channels, el("div", { class: "two" }, this.events, this.evidence));
      for (const part of [this.channels, this.events, this.evidence]) part.replaceChildren(el("p", { class: "quiet" }, "…"));
      this.plot.show(null, []);
    }
    this.gateway = gateway;
    this.drawHead();
    this.bars.show(gateway.id);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.load(), Math.max(0, this.loadedAt + REDRAW_MS - Date.now()));
  }

  async load() {
    this.loadedAt = Date.now();
    const id = this.id;
    try {
      const answer = await fetch(`api/gateways/${id}`);
      if (!answer.ok || id !== this.id) return;
      const detail = await answer.json();
      if (id !== this.id) return;
      this.detail = detail;
    } catch (error) { return; }
    this.drawChannels();
    this.drawEvents();
    this.drawEvidence();
    await this.drawPlot();
  }

  selection() {
    let chosen = this.chosen.get(this.id);
    if (!chosen && this.detail && this.detail.channels.length) {
      const headline = this.gateway.headline;
      const first = this.detail.channels.find((c) => headline && c.quantity === headline.quantity) || this.detail.channels[0];
      chosen = [{ series: first.series, colour: 0 }];
      this.chosen.set(this.id, chosen);
    }
    return chosen || [];
  }

  drawPlot() { return this.plot.show(this.id, this.selection()); }

  toggle(series) {
    const chosen = this.selection();
    const at = chosen.findIndex((one) => one.series === series);
    if (at >= 0) chosen.splice(at, 1);
    else {
      const used = new Set(chosen.map((one) => one.colour));
      const colour = [...Array(COLOURS).keys()].find((n) => !used.has(n)) ?? 0;
      if (chosen.length >= COLOURS) chosen.shift();
      chosen.push({ series, colour });
    }
    this.drawChannels();
    this.drawPlot();
  }

  drawHead() {
    const g = this.gateway, s = standing(g), beat = g.beat;
    const refused = Object.entries(g.refused).filter(([, n]) => n);
    const refusedSum = refused.reduce((sum, [, n]) => sum + n, 0);
    const behind = g.awaited_batches;
    const health = beat ? beat.health : {};
    this.head.replaceChildren(
      el("div", { class: "title" }, el("h2", {}, g.name), el("span", { class: `tag ${s}` }, STANDING_WORDS[s]),
        el("span", { class: "quiet" }, "heard ", when(g.last_seen_unix_ms)),
        el("a", { class: "button", href: `place?id=${g.id}` }, "Energy over time, and its proof")),
      el("p", { class: "ids" }, el("span", {}, "id ", copyable(g.id, `${g.id.slice(0, 16)}…`)),
        el("span", {}, "topics ", copyable(`tele/${g.topic}/batch`, `tele/${g.topic.slice(0, 8)}…/batch`)),
        g.epoch && el("span", {}, "epoch ", copyable(g.epoch, `${g.epoch.slice(0, 8)}…`), g.epochs > 1 ? ` (${g.epochs} so far)` : ""),
        beat && el("span", {}, `start ${beat.boot}`), g.firmware && el("span", {}, `firmware ${g.firmware}`)),
      el("dl", { class: "stats" },
        stat("Last reading", g.last_reading_ms ? when(g.last_reading_ms) : "none yet", g.clock_trust ? `clock ${g.clock_trust}` : null,
          g.clock_trust === "relative only" || g.clock_trust === "held over" ? "warn" : ""),
        stat("Batches verified", count(g.batches_verified), g.duplicates ? `${count(g.duplicates)} received more than once` : null),
        stat("Readings stored", count(g.readings_stored), g.undecoded ? `${count(g.undecoded)} batches wait for their schema` : null),
        stat("Backlog", g.last_seen_unix_ms ? count(g.backlog) : "–", behind ? `in ${count(behind)} batches on their way`
          : g.backlog ? "readings not sealed yet" : g.last_seen_unix_ms ? "when last heard" : null),
        stat("Until first loss", beat && g.loss_in_s !== null && g.loss_in_s !== undefined ? span(g.loss_in_s) : "–",
          "if the gateway cannot send", g.loss_in_s !== null && g.loss_in_s < 86400 ? "warn" : ""),
        health.signal_dbm !== undefined && stat("Wi-Fi signal", `${health.signal_dbm} dBm`,
          health.signal_dbm < -75 ? "weak" : null, health.signal_dbm < -75 ? "warn" : ""),
        health.erases_max !== undefined && stat("Flash used up", `${(health.erases_max / 1000).toFixed(1)} %`,
          beat.flash_years !== null ? `lasts ${count(beat.flash_years)} years more at this rate` : null,
          beat.flash_years !== null && beat.flash_years < 2 ? "warn" : ""),
        health.safe_mode && stat("Safe mode", "on", "its start failed: see its events", "bad"),
        stat("Dropped", count(g.dropped), g.dropped ? "signed by the gateway" : null, g.dropped ? "warn" : ""),
        stat("Gaps", count(g.gaps), g.unexplained_batches ? `${count(g.unexplained_batches)} batches unexplained`
          : g.lost_batches ? `${count(g.lost_batches)} batches lost at the hub` : g.gaps ? "explained by signed records" : null,
        g.lost_batches || g.unexplained_batches ? "bad" : g.gaps ? "warn" : ""),
        stat("Forks", count(g.forks), g.forks ? "two devices with one key?" : null, g.forks ? "bad" : ""),
        stat("Refused", count(refusedSum), refused.map(([why, n]) => `${why} ${n}`).join(", ") || null, refusedSum ? "warn" : "")),
      this.balance(),
      g.alarms.length ? el("ul", { class: "alarms" }, g.alarms.map((alarm) => el("li", {
        class: `alarm ${MILD_ALARMS.has(alarm.kind) ? "mild" : ""}` }, el("b", {}, words(alarm.kind)), `: ${alarm.what} `,
      el("time", { title: clock(alarm.last_unix_ms) }, `(${alarm.count > 1 ? `${count(alarm.count)} times, last ` : ""}${ago(alarm.last_unix_ms)})`)))) : "",
    );
  }

  // sampled = stored here + still at the gateway + dropped, as a bar.
  balance() {
    const g = this.gateway;
    if (!g.sampled) return "";
    const rest = g.backlog;
    const part = (n, kind) => {
      const piece = el("i", { class: kind });
      piece.style.flexGrow = n;
      return n ? piece : null;
    };
    return el("div", { class: "balance" },
      el("div", { class: "bar", role: "img", "aria-label": "Where the readings are: stored here, not here yet, dropped" },
        part(g.readings_stored, "k-acc"), part(rest, "k-warn"), part(g.dropped, "k-bad")),
      el("p", {}, el("b", {}, `${count(g.sampled)} readings taken`),
        el("span", { class: "l-acc" }, `${count(g.readings_stored)} verified and stored here`),
        el("span", { class: "l-warn" }, `${count(rest)} not here yet`),
        el("span", { class: "l-bad" }, `${count(g.dropped)} dropped`)));
  }

  drawChannels() {
    const { channels } = this.detail;
    if (!channels.length && !this.detail.instruments.length) {
      this.channels.replaceChildren(el("h3", {}, "Channels"), el("p", { class: "quiet" }, this.gateway.undecoded
        ? "Batches have arrived and are safe. The batch that names their channels has not arrived yet."
        : "Nothing yet. Channels appear with the first batch."));
      return;
    }
    const chosen = new Map(this.selection().map((one) => [one.series, one.colour]));
    const focused = document.activeElement && document.activeElement.dataset ? document.activeElement.dataset.series : null;
    const rows = [];
    let instrument = null;
    for (const c of channels) {
      if (c.instrument !== instrument) {
        instrument = c.instrument;
        rows.push(this.instrumentRow(instrument, c.profile));
      }
      const pick = el("button", { type: "button", class: "pick", "data-series": c.series, "aria-pressed": String(chosen.has(c.series)),
        "data-colour": chosen.get(c.series), title: "Show in the plot" }, words(c.quantity));
      pick.addEventListener("click", () => this.toggle(c.series));
      rows.push(el("tr", {}, el("td", {}, pick),
        el("td", { class: "num" }, c.value === null ? el("span", { class: "quiet" }, "no value") : el("b", {}, c.state || c.value)),
        el("td", {}, unitText(c.unit)),
        el("td", {}, availabilityBar(c)),
        el("td", { class: "num" }, count(c.readings)),
        el("td", { class: "quiet" }, c.clock_trust === "relative only" ? "not dated" : when(c.last_ms))));
    }
    for (const one of this.detail.instruments) {
      if (!channels.some((c) => c.instrument === one.instrument)) rows.push(this.instrumentRow(one.instrument, ""));
    }
    this.channels.replaceChildren(el("h3", {}, "Channels"), el("div", { class: "table-wrap" }, el("table", {},
      el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Channel"), el("th", { scope: "col", class: "num" }, "Newest"),
        el("th", { scope: "col" }, "Unit"), el("th", { scope: "col" }, "Availability"), el("th", { scope: "col", class: "num" }, "Readings"),
        el("th", { scope: "col" }, "When"))),
      el("tbody", {}, rows))));
    if (focused) this.channels.querySelector(`[data-series="${focused}"]`)?.focus();
  }

  // The head of an instrument's channels: what it is, and whether it answers.
  instrumentRow(name, profile) {
    const one = this.detail.instruments.find((i) => i.instrument === name);
    // What is known of a gateway that says nothing new is of then: neither green nor red.
    const [kindThen, textThen] = one ? instrumentWords(one) : ["idle", ""];
    const isNow = ["live", "away", "dead", "attention"].includes(standing(this.gateway))
      && now() - (this.gateway.last_seen_unix_ms || 0) < 300000;
    const [kind, text] = isNow || !one ? [kindThen, textThen] : ["idle", `when last heard: ${textThen}`];
    return el("tr", { class: `group ${kind}` }, el("td", { colspan: 6 }, el("span", { class: `light ${kind}` }), name, " ",
      text && el("span", { class: `state ${kind}` }, text), " ", el("small", {}, (one && one.profile) || profile),
      this.commissioned(name)));
  }

  // What the technician left when the instrument was put into service.
  commissioned(name) {
    const record = this.detail.commissioned[name];
    if (!record) return null;
    return el("small", { class: `commissioned ${record.good ? "" : "warn"}` },
      `Commissioned${record.time_ms ? ` ${clock(record.time_ms)}` : ""}, ${record.what}`);
  }

  drawEvents() {
    const { events } = this.detail;
    this.events.replaceChildren(el("h3", {}, "Events that the gateway signed"), events.length
      ? el("ul", { class: "log" }, events.map((e) => el("li", {}, el("time", { title: clock(e.received_unix_ms) }, ago(e.received_unix_ms)),
        el("span", { class: "what" }, el("b", {}, e.kind), ` · ${e.what} `, el("span", { class: "quiet" }, `(batch ${e.seq})`)))))
      : el("p", { class: "quiet" }, "No events yet. Starts, clock changes, gaps and faults are listed here."));
  }

  drawEvidence() {
    const { evidence } = this.detail;
    this.evidence.replaceChildren(el("h3", {}, "Refused messages, kept as evidence"), evidence.length
      ? el("ul", { class: "log" }, evidence.map((e) => el("li", {}, el("time", { title: clock(e.received_unix_ms) }, ago(e.received_unix_ms)),
        el("span", { class: "what" }, el("b", {}, e.reason), ` · ${e.what} `, el("span", { class: "quiet" }, `(${count(e.size)} bytes)`)))))
      : el("p", { class: "quiet" }, "None. This gateway signed every message that arrived under its name."));
  }
}

// The share of the last day (or of the time since the first reading) that good readings cover. By time, never by rows.
function availabilityBar(channel) {
  const a = channel.availability;
  const now = channel.quality && channel.quality !== "good" ? `now ${channel.quality}` : "";
  if (!a) return el("span", { class: "quiet" }, now || "no dated reading");
  const missing = a.time_ms - a.good_ms;
  const piece = (n, kind) => {
    if (!n) return null;
    const part = el("i", { class: kind });
    part.style.flexGrow = n;
    return part;
  };
  const rows = Object.entries(channel.qualities).map(([q, n]) => `${count(n)} rows ${q}`).join(", ");
  const title = `good readings cover ${duration(a.good_ms)} of ${duration(a.time_ms)}, ${clock(a.from_ms)} to ${clock(a.to_ms)}\n${rows}`;
  return el("div", { class: "quality", title },
    el("div", { class: "bar" }, piece(a.good_ms, now ? "k-warn" : "k-good"), piece(missing, "k-bad")),
    el("span", {}, `${a.percent} % of ${duration(a.time_ms)}${now ? `, ${now}` : ""}`));
}
