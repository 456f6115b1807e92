// What the workshops made: what runs where, every lot, and one lot with its jobs, figures and proofs.

import { watchHub } from "./alive.js";
import { signIn, whoAmI } from "./me.js";
import { clock, el, setZone, unitText, words } from "./show.js";

const REDRAW_MS = 15000;
const SHARED = { equal: "shared in equal parts", "machine time": "shared by machine time", count: "shared by pieces" };
const FLAGS = { forgotten: "closed by rule", corrected: "corrected", estimated: "estimate", "end not known": "end not known" };
const byId = (id) => document.getElementById(id);
const lotName = new URLSearchParams(location.search).get("lot");

async function json(address) {
  const answer = await fetch(address, { signal: AbortSignal.timeout(15000) });
  if (answer.status === 401) signIn();
  const found = await answer.json();
  if (!answer.ok) throw new Error(found.error || `the hub answered ${answer.status}`);
  return found;
}

const time = (ms) => (ms === null ? "not known" : clock(ms));
const COUNTED = { Wh: "kWh", varh: "kvarh", VAh: "kVAh" };

// "46.9 kWh" for 46921 Wh: as many digits as a person can use. The exact amount stands in the title.
export function amountText(text, unit) {
  const value = Number(text);
  if (!COUNTED[unit] || Math.abs(value) < 1000) return `${text} ${unitText(unit)}`;
  const size = Math.abs(value) / 1000, places = size >= 100 ? 0 : size >= 10 ? 1 : 2;
  return `${new Intl.NumberFormat("en", { minimumFractionDigits: places, maximumFractionDigits: places }).format(value / 1000).replaceAll(",", "\u202f")} ${COUNTED[unit]}`;
}
const amount = (text, unit) => el("span", { title: `${text} ${unitText(unit)}` }, amountText(text, unit));
const link = (lot) => el("a", { href: `lots?lot=${encodeURIComponent(lot)}` }, lot);

function figure(f) {
  const notes = [f.basis === "measured" ? "" : f.basis, ...f.shared_by.map((rule) => SHARED[rule] || rule)].filter(Boolean);
  const name = f.quantity === "import_active_energy" ? "" : ` ${words(f.quantity)}`;
  return el("div", { title: `${f.amount} ${unitText(f.unit)} ${words(f.quantity)} of ${f.gateway} / ${f.instrument}` }, `${amountText(f.amount, f.unit)}${name}`,
    notes.length ? el("span", { class: "mark" }, ` (${notes.join("; ")})`) : "");
}

const marks = (flags) => el("span", { class: "mark" }, flags.map((flag) => FLAGS[flag] || flag).join(", "));

function table(heads, rows) {
  return el("div", { class: "wide" }, el("table", {},
    el("thead", {}, el("tr", {}, ...heads.map((head) => el("th", { scope: "col" }, head)))),
    el("tbody", {}, ...rows.map((cells) => el("tr", {}, ...cells.map((cell) => el("td", {}, cell)))))));
}

function card(title, ...content) {
  return el("section", { class: "panel card" }, el("h2", {}, title), ...content);
}

function drawAll(found) {
  const running = found.lots.filter((lot) => lot.open);
  const row = (lot) => [link(lot.lot), `${lot.gateway} / ${lot.station}`, time(lot.start_ms),
    el("div", {}, ...lot.totals.map(figure)), marks(lot.flags)];
  const heads = ["Lot", "Machine", "Since", "So far", ""];
  byId("lots").replaceChildren(
    card("Running now", running.length ? table(heads, running.map(row)) : el("p", { class: "quiet" }, "No lot is open.")),
    card("All lots", found.lots.length ? table(["Lot", "Last machine", "Began", "In all", ""], found.lots.map(row))
      : el("p", { class: "quiet" }, "No gateway has sent an entry of the floor."),
    found.left_out ? el("p", { class: "quiet" }, `${found.left_out} older lots are not shown; parkgate lot list has them.`) : ""),
    card("Where the meters' counts went", table(["Register", "Meter", "Lots", "Idle", "Unassigned"], found.registers.map((r) => [
      `${r.gateway} / ${r.instrument} ${words(r.quantity)}`, amount(r.meter, r.unit), amount(r.lots, r.unit), amount(r.idle, r.unit),
      el("span", {}, amount(r.unassigned, r.unit), r.unknown_steps ? ` (${r.unknown_steps} steps not known)` : "")]))));
}

function drawLot(lot, recall) {
  byId("name").textContent = `Lot ${lot.lot}`;
  byId("all").hidden = false;
  const pieces = lot.pieces === null ? "not known" : String(lot.pieces);
  const scrap = lot.scrap.map((s) => `${s.pieces} for reason ${s.reason}`).join(", ") || "none";
  const jobs = lot.jobs.map((job) => [`${job.gateway} / ${job.station}`, time(job.start_ms),
    job.stop === null ? "still open" : time(job.end_ms), job.stop ?? "", el("div", {}, ...job.figures.map(figure)),
    job.operators.join(", "), marks(job.flags), proof(job)]);
  const list = (found) => (found.length ? table(["Lot", "Steps", "Where"], found.map((r) => [link(r.lot), String(r.steps), r.where.join(", ")]))
    : el("p", { class: "quiet" }, "None is known."));
  byId("lots").replaceChildren(
    card(lot.open ? "Open" : "Done", el("p", {}, `Good pieces: ${pieces}. Scrap: ${scrap}.`), ...lot.totals.map(figure),
      el("p", { class: "quiet" }, `Where lots shared a machine, the rule is: ${lot.rule}.`),
      el("p", {}, el("a", { href: `api/archive?lot=${encodeURIComponent(lot.lot)}`, download: `${lot.lot.replaceAll("/", "_")}.zip` }, "Proof for the buyer"),
        " One file that anybody can check alone: it goes on verify.html, which is inside.")),
    card("Jobs", table(["Machine", "From", "To", "Stopped", "Took", "Operators", "", "Signed in"], jobs)),
    card("Made of", list(recall.back)), card("Went into", list(recall.forward)),
    lot.refused.length ? card("Refused: it would close a circle", table(["From", "Entry"], lot.refused.map((r) => [link(r.lot), String(r.number)]))) : "");
}

function proof(job) {
  const { epoch, first_seq: first, last_seq: last } = job.proof;
  const batch = (seq) => el("a", { href: `log/batch/${job.gateway_id}/${epoch}/${seq}` }, `batch ${seq}`);
  return first === last ? batch(first) : el("span", {}, batch(first), " to ", batch(last));
}

async function load() {
  try {
    if (lotName) {
      const name = encodeURIComponent(lotName);
      const [lot, recall] = await Promise.all([json(`api/lots/one?lot=${name}`), json(`api/lots/recall?lot=${name}`)]);
      setZone(lot.zone);
      drawLot(lot, recall);
    } else {
      const found = await json("api/lots");
      setZone(found.zone);
      drawAll(found);
    }
    byId("gone").hidden = true;
  } catch (error) {
    byId("gone").hidden = false;
    const unheard = error.name === "TypeError" || error.name === "TimeoutError";
    byId("gone").textContent = unheard ? "The hub cannot be reached. What you see may be out of date." : error.message;
  }
  setTimeout(load, REDRAW_MS);
}

whoAmI(byId("me")).then(load);
watchHub(() => location.reload());
