// Sign in, and go where one wanted to.

import { post } from "./me.js";

const byId = (id) => document.getElementById(id);

// Only a page of this hub: never an address elsewhere.
function after() {
  const wanted = new URLSearchParams(location.search).get("next") || "";
  return /^[a-z]*(\?[^\\]*)?$/i.test(wanted) ? wanted || "./" : "./";
}

byId("open").hidden = location.protocol === "https:" || ["localhost", "127.0.0.1", "[::1]"].includes(location.hostname);
byId("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  byId("go").disabled = true;
  byId("why").hidden = true;
  try {
    await post("api/login", { name: byId("name").value.trim(), password: byId("password").value });
    location.replace(after());
  } catch (error) {
    byId("why").textContent = error.message;
    byId("why").hidden = false;
    byId("go").disabled = false;
    byId("password").select();
  }
});
byId("name").focus();
