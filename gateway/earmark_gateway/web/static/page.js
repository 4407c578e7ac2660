// A page that no longer hears from the gateway must not go on saying "All quiet".
"use strict";
const stale = document.getElementById("stale");
for (const name of ["htmx:sendError", "htmx:responseError", "htmx:timeout"]) {
  document.addEventListener(name, () => { stale.hidden = false; });
}
document.addEventListener("htmx:afterSwap", () => {
  stale.hidden = true;
  // Read aloud by screen readers, and only when it has changed.
  const state = document.querySelector("h1").textContent.trim();
  const announced = document.getElementById("announce");
  if (announced.textContent !== state) announced.textContent = state;
});
