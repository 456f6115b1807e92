// Before the first paint, so that the page does not flash in the other colours.
(function () {
  let chosen = null;
  try { chosen = localStorage.getItem("theme"); } catch (error) { /* storage may be forbidden: follow the system */ }
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
})();
