// Who is signed in, and changes that carry his token.

import { el } from "./show.js";

let me = { name: "", role: "", signed_in: false, csrf: "", may_acknowledge: false };
export const visitor = () => me;

// The words of the hub's refusal are the error's; `wait` is how many seconds it asks for.
export async function post(address, body) {
  let answer;
  try {
    answer = await fetch(address, {
      method: "POST", body: JSON.stringify(body), signal: AbortSignal.timeout(20000),
      headers: { "Content-Type": "application/json", "X-CSRF-Token": me.csrf },
    });
  } catch (error) { throw new Error("The hub cannot be reached."); }
  const found = await answer.json().catch(() => ({}));
  if (!answer.ok) {
    const wait = answer.headers.get("Retry-After");
    throw new Error((found.error || `the hub answered ${answer.status}`) + (wait ? ` (${wait} s)` : ""));
  }
  return found;
}

// Somebody whose session is over signs in again and comes back here.
export function signIn() {
  const here = location.pathname.split("/").pop() + location.search;
  location.replace(`login?next=${encodeURIComponent(here)}`);
}

// Ask who we are, and show it in the header.
export async function whoAmI(place) {
  try {
    const answer = await fetch("api/me", { signal: AbortSignal.timeout(8000) });
    if (answer.status === 401) { signIn(); return; }
    if (answer.ok) me = await answer.json();
  } catch (error) { return; }
  if (!place || !me.signed_in) return;
  const button = el("button", { type: "button", class: "button", onclick: async () => {
    try { await post("api/logout", {}); signIn(); } catch (error) { button.textContent = error.message; }
  } }, "Sign out");
  place.replaceChildren(el("span", { class: "quiet" }, `${me.name} (${me.role})`), button);
}
