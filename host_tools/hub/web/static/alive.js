// Whether the hub is there, whatever time a page shows: a page whose hub is down is grey, at once and all of it.

const EVERY_MS = 3000, TIMEOUT_MS = 5000, MISSES = 2;

// `onReturn` is called when the hub is back: what the page shows is old then.
export function watchHub(onReturn) {
  let misses = 0;
  const place = document.getElementById("gone");
  async function look() {
    try {
      await fetch("healthz", { cache: "no-store", signal: AbortSignal.timeout(TIMEOUT_MS) }); // any answer is one
      if (misses >= MISSES) {
        document.body.classList.remove("gone");
        place.hidden = true;
        onReturn();
      }
      misses = 0;
    } catch (error) {
      misses += 1;
      if (misses >= MISSES) {
        document.body.classList.add("gone");
        place.hidden = false;
        place.textContent = "The hub cannot be reached. What you see may be out of date.";
      }
    }
    setTimeout(look, EVERY_MS);
  }
  setTimeout(look, EVERY_MS);
}
