// For an auditor: the newest checkpoint as a QR code, who has seen the log, an archive to take away. A device that has
// been here remembers the last checkpoint, and refuses one that does not continue it.

import { el } from "./show.js";
import { Checkpoint, consistent, holds, read } from "./checkpoint.js";

const KEPT = "parkgate-log";
const byId = (id) => document.getElementById(id);
const time = (ms) => (ms === null ? "not yet" : new Date(ms).toLocaleString());

async function json(address) {
  const answer = await fetch(address, { signal: AbortSignal.timeout(20000) });
  const found = await answer.json();
  if (!answer.ok) throw new Error(found.error || `the hub answered ${answer.status}`);
  return found;
}

function remembered() {
  try {
    const kept = JSON.parse(localStorage.getItem(KEPT));
    return kept && Checkpoint.of(kept);
  } catch {
    return null;
  }
}

// Whether the hub can show that `old` is the beginning of its newest log: "" or why not.
async function continues(old, now, name) {
  if (old.log !== now.log) return `${name} is of another log, ${old.log}; this one is ${now.log}.`;
  if (old.key !== now.key) return `${name} is signed by another key.`;
  if (old.size === now.size) return old.root === now.root ? "" : `${name} has the same number of entries, and another root.`;
  if (old.size > now.size) return `${name} has ${old.size} entries, and the hub shows ${now.size}: some are gone.`;
  let told;
  try {
    told = await json(`api/log/consistency?size=${old.size}`);
  } catch (error) {
    return `The hub does not show that ${name} (${old.size} entries) is the beginning of its log: ${error.message}.`;
  }
  if (told.log !== now.log || told.key !== now.key || told.size < now.size) return "The hub's answers contradict each other.";
  const good = consistent(old.size, told.size, old.root, told.root, told.path) && (await holds(Checkpoint.of(told))) !== false;
  return good ? "" : `${name} (${old.size} entries) is not the beginning of the log that the hub shows now.`;
}

async function judge(now) {
  const box = byId("verdict"), lines = [], faults = [];
  const signed = await holds(now);
  if (signed === false) faults.push("The signature of the hub's checkpoint does not hold.");
  const kept = remembered();
  const scanned = location.hash ? read(location.hash.slice(1), now.key) : null;
  if (location.hash && !scanned) faults.push("The scanned code is damaged: scan it again.");
  if (scanned) {
    if ((await holds(scanned)) === false) faults.push("The signature of the scanned checkpoint does not hold.");
    const why = await continues(scanned, now, "The scanned checkpoint");
    if (why) faults.push(why);
    else lines.push(`The scanned checkpoint of ${scanned.size} entries belongs to this log.`);
  }
  if (kept) {
    const why = await continues(kept, now, "The checkpoint that this device remembers");
    if (why) faults.push(why);
    else lines.push(`Everything that this device saw on ${time(kept.seen)} (${kept.size} entries) is still there, unchanged.`);
  } else lines.push("This device saw this log for the first time. From now on it notices when something is taken out or changed.");
  if (signed === null) lines.push("The signature was not checked: the browser does that only over https. An archive's verifier does.");
  box.classList.add(faults.length ? "audit-bad" : "audit-good");
  box.replaceChildren(el("h2", {}, faults.length ? "Do not trust this log" : "The log continues what this device saw"),
    ...[...faults, ...lines].map((line) => el("p", {}, line)));
  if (faults.length) {
    if (kept) box.append(el("p", {}, `This device keeps what it saw before: log ${kept.log}, ${kept.size} entries, root ${kept.root}.`),
      forget());
  } else localStorage.setItem(KEPT, JSON.stringify({ ...now, seen: Date.now() }));
  box.dataset.state = faults.length ? "refused" : "good";
}

function forget() {
  const button = el("button", { type: "button" }, "Forget it, and begin with what the hub shows now");
  button.addEventListener("click", () => { localStorage.removeItem(KEPT); location.hash = ""; location.reload(); });
  return button;
}

function show(log) {
  const address = location.href.split("#")[0];
  const image = el("img", { class: "audit-code", alt: "QR code of the newest checkpoint", src: `api/log/code?page=${encodeURIComponent(address)}` });
  byId("now").hidden = byId("seen").hidden = false;
  byId("now").replaceChildren(el("h2", {}, "The newest checkpoint"), image,
    el("p", { class: "quiet" }, "Scan it with your phone. The phone remembers it, and at your next visit it tells whether the log still continues it."),
    el("dl", {}, ...[["Entries", log.size], ["Signed", time(log.signed_unix_ms)], ["Root", log.root], ["Log", log.log],
      ["Id of the log key, for audit.py --trust", log.key_id]].flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, String(value))])));
  const word = (one) => (one.agrees === null ? "has confirmed nothing yet" : one.agrees ? `has confirmed ${one.size} entries` : `holds ${one.size} entries of another log`);
  const rows = (items) => (items.length ? el("ul", {}, ...items.map((item) => el("li", {}, item))) : el("p", { class: "quiet" }, "none"));
  byId("seen").replaceChildren(el("h2", {}, "Who has seen it"), el("h3", {}, "Gateways, by their own signature"),
    rows(log.witnesses.map((one) => `${one.gateway}: ${word(one)}${one.received_unix_ms === null ? "" : ` (${time(one.received_unix_ms)})`}`)),
    el("h3", {}, "Time stamps from outside"), rows(log.stamps.map((one) => `${one.authority}: ${one.size} entries, ${time(one.unix_ms)}`)));
  byId("take").gateway.append(...log.witnesses.map((one) => el("option", { value: one.id }, one.gateway)));
}

byId("take").addEventListener("submit", async (event) => {
  event.preventDefault();
  const said = byId("taken"), asked = new URLSearchParams([...new FormData(event.target)].filter(([, value]) => value));
  said.textContent = "The hub puts the archive together…";
  try {
    const answer = await fetch(`api/archive?${asked}`);
    if (!answer.ok) throw new Error((await answer.json()).error);
    const data = await answer.blob(), link = el("a", { href: URL.createObjectURL(data), download: "parkgate-archive.zip" });
    link.click();
    said.textContent = `${data.size.toLocaleString()} bytes were saved.`;
  } catch (error) {
    said.textContent = `There is no archive: ${error.message}`;
  }
});

try {
  const log = await json("api/log");
  show(log);
  await judge(Checkpoint.of(log));
} catch (error) {
  byId("verdict").classList.add("audit-bad");
  byId("verdict").replaceChildren(el("h2", {}, "The log cannot be shown"), el("p", {}, error.message));
  byId("verdict").dataset.state = "refused";
}
