// The page's heart: asks the hub once a second for what changed and hands it on.

import { Detail } from "./detail.js";
import { List } from "./list.js";
import { signIn, whoAmI } from "./me.js";
import { Park } from "./park.js";
import { ago, clock, compact, copyable, count, el, now, setHubClock, setZone, span, standing } from "./show.js";

const ASK_MS = 1000;
const ASK_HIDDEN_MS = 10000;
const ASK_TIMEOUT_MS = 8000;

const gateways = new Map();
const detail = new Detail();
const list = new List(choose);
const park = new Park((id) => {
  choose(id, false);
  detail.place.scrollIntoView({ behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
});
let heardAt = null;
let rev = 0;
let chosen = null;
let misses = 0;
let hubStarted = null;

function choose(id, focus = true) {
  chosen = id;
  if (decodeURIComponent(location.hash.slice(1)) !== id) history.replaceState(null, "", `#${id}`);
  list.choose(id);
  if (gateways.has(id)) detail.show(gateways.get(id));
  if (focus && matchMedia("(max-width: 60rem)").matches) detail.place.scrollIntoView({ behavior: "smooth" });
}

function drawTotals({ totals }) {
  const standings = [...gateways.values()].map(standing);
  const live = standings.filter((s) => s === "live").length;
  const refused = Object.values(totals.refused).reduce((a, b) => a + b, 0);
  const missing = totals.lost_batches + totals.unexplained_batches;
  const card = (name, value, note, kind = "", title = null) => el("dl", { class: `total ${kind}`, title },
    el("dt", {}, name), el("dd", {}, value, note ? [" ", el("small", {}, note)] : ""));
  document.getElementById("totals").replaceChildren(
    card("Gateways", count(live), `of ${count(totals.gateways)} are live`),
    card("Instruments away", count(totals.instruments_not_good), null, totals.instruments_not_good ? "bad" : ""),
    card("Readings stored", compact(totals.readings_stored), null, "", count(totals.readings_stored)),
    card("Batches verified", compact(totals.batches_verified), null, "", count(totals.batches_verified)),
    card("Backlog, readings", compact(totals.backlog)),
    card("Dropped, readings", compact(totals.dropped), null, totals.dropped ? "warn" : ""),
    card("Gaps", compact(totals.gaps), null, missing ? "bad" : totals.gaps ? "warn" : ""),
    card("Forks", compact(totals.forks), null, totals.forks ? "bad" : ""),
    card("Refused", compact(refused), null, refused ? "warn" : "",
      Object.entries(totals.refused).map(([why, n]) => `${why}: ${count(n)}`).join("\n") || null),
  );
}

function drawHub({ hub }) {
  const broker = document.getElementById("broker");
  const connected = hub.broker.connected_unix_ms !== null;
  broker.className = `pill ${connected ? "good" : "bad"}`;
  broker.textContent = connected ? "broker connected" : "broker not reachable";
  broker.title = `${hub.broker.url}${connected ? `, since ${ago(hub.broker.connected_unix_ms)}` : ""}`;
  const fault = document.getElementById("fault");
  fault.hidden = !hub.storage_fault;
  fault.textContent = hub.storage_fault
    ? `The hub cannot store: ${hub.storage_fault}. Until it can, it acknowledges nothing; the gateways and the broker keep all readings.` : "";
  const link = document.getElementById("link");
  link.className = "pill good";
  link.textContent = `up ${span((hub.now_unix_ms - hub.started_unix_ms) / 1000)}`;
  link.title = `Parkgate ${hub.version}, hub ${hub.id}`;
  document.getElementById("version").textContent = hub.version;
}

function drawNobody({ refused_not_enrolled: refused }) {
  const place = document.getElementById("nobody");
  const reasons = Object.entries(refused).map(([why, n]) => `${why} ${count(n)}`);
  place.hidden = !reasons.length;
  place.replaceChildren("Refused messages from gateways that are not enrolled: ", el("b", {}, reasons.join(", ")));
}

function drawBlank({ hub }) {
  if (gateways.size) return;
  detail.blank(
    el("h2", {}, "No gateway is enrolled yet"),
    el("p", {}, "Give the hub the public key of a gateway. The hub and this page then show the gateway at once:"),
    el("pre", {}, `parkgate enrol --data ${hub.data} PUBKEY_FILE --name NAME`),
    el("p", {}, "The gateway needs this hub's public key:"),
    el("p", {}, copyable(hub.public_key, `${hub.public_key.slice(0, 32)}…`)),
  );
}

function take(answer) {
  setHubClock(answer.hub.now_unix_ms);
  setZone(answer.hub.zone);
  if (hubStarted !== answer.hub.started_unix_ms) {
    hubStarted = answer.hub.started_unix_ms;
  }
  rev = answer.rev;
  for (const gateway of answer.gateways) gateways.set(gateway.id, gateway);
  if (answer.gateways.length) list.take(answer.gateways);
  drawHub(answer);
  drawTotals(answer);
  drawNobody(answer);
  drawBlank(answer);
  if (chosen === null && gateways.size) {
    const wanted = decodeURIComponent(location.hash.slice(1));
    choose(gateways.has(wanted) ? wanted : list.first() || gateways.keys().next().value, false);
  } else if (answer.gateways.some((gateway) => gateway.id === chosen)) {
    detail.show(gateways.get(chosen));
  }
}

// A hub that is down: nothing on the page is of now any more, and all of it says so.
function gone(isGone) {
  document.body.classList.toggle("gone", isGone);
  const place = document.getElementById("gone");
  place.hidden = !isGone;
  place.textContent = isGone ? `The hub cannot be reached. What you see is from ${heardAt ? clock(heardAt) : "before"} and may be out of date.` : "";
  if (isGone) {
    const broker = document.getElementById("broker");
    broker.className = "pill";
    broker.textContent = "broker: unknown";
  }
}

async function ask() {
  try {
    const answer = await fetch(`api/gateways?since=${rev}`, { signal: AbortSignal.timeout(ASK_TIMEOUT_MS) });
    if (answer.status === 401) { signIn(); return; }
    if (!answer.ok) throw new Error(`the hub answered ${answer.status}`);
    take(await answer.json());
    misses = 0;
    heardAt = now();
    gone(false);
  } catch (error) {
    misses += 1;
    if (misses > 1) {
      const link = document.getElementById("link");
      link.className = "pill bad";
      link.textContent = "hub not reachable";
      gone(true);
    }
  }
  if (!misses) { list.tick(); park.tick(); }
  for (const node of document.querySelectorAll("[data-ago]")) node.textContent = ago(Number(node.dataset.ago));
  setTimeout(ask, document.hidden ? ASK_HIDDEN_MS : Math.min(ASK_MS * (1 + misses), 5000));
}

const theme = document.getElementById("theme");
function drawTheme() {
  const dark = document.documentElement.dataset.theme
    ? document.documentElement.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  theme.textContent = dark ? "☀" : "☾";
  return dark;
}
theme.addEventListener("click", () => {
  const next = drawTheme() ? "light" : "dark";
  document.documentElement.dataset.theme = next;
  try { localStorage.setItem("theme", next); } catch (error) { /* only for this page, then */ }
  drawTheme();
  detail.plot.refresh();
});
drawTheme();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { drawTheme(); detail.plot.shape = ""; detail.plot.refresh(); });
window.addEventListener("hashchange", () => {
  const wanted = decodeURIComponent(location.hash.slice(1));
  if (gateways.has(wanted)) choose(wanted);
});
whoAmI(document.getElementById("me")).then(ask);
